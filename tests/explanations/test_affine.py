"""Affine maps and their transposes against dense matrices, and the layers of torch that they stand for."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.autograd.functional import jacobian

from relevance.explanations.affine import (
    Bilinear,
    Convolution,
    Dense,
    Layer,
    Padded,
    Scaling,
    TransposedConvolution,
    convolution_of,
    norm_factors,
    scaled_inputs,
    scaled_outputs,
    transposed_convolution_of,
)


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# Map, shape of the inputs, shape of the weights, number of biases.
MAPS = {
    "dense": (Dense(), (3, 5), (4, 5), 4),
    "plain": (Convolution(), (2, 3, 6, 5), (4, 3, 3, 2), 4),
    "padded": (Convolution(padding=(2, 1)), (2, 3, 6, 5), (4, 3, 3, 3), 4),
    "stride": (Convolution(stride=(2, 3)), (2, 3, 6, 9), (4, 3, 2, 3), 4),
    # A row and two columns are left over.
    "sizes that do not divide": (Convolution(stride=(2, 3)), (2, 3, 7, 8), (4, 3, 2, 3), 4),
    "padding that no window reaches": (Convolution(stride=(3, 3), padding=(1, 1)), (1, 2, 6, 6), (3, 2, 3, 3), 3),
    "dilated": (Convolution(dilation=(2, 3)), (2, 3, 7, 8), (4, 3, 3, 2), 4),
    "groups": (Convolution(groups=2), (2, 4, 5, 5), (6, 2, 3, 3), 6),
    "depthwise": (Convolution(groups=4), (2, 4, 5, 5), (4, 1, 3, 3), 4),
    "all of it": (Convolution((3, 2), (1, 2), (2, 1), 2), (2, 4, 11, 8), (6, 2, 3, 4), 6),
    "line": (Convolution((2,), (1,), (2,), 2), (2, 4, 11), (6, 2, 3), 6),
    "volume": (Convolution((1, 2, 1), (0, 1, 1), (1, 1, 2), 1), (1, 2, 3, 5, 6), (3, 2, 2, 2, 3), 3),
    "reflected": (Padded(Convolution(), (1, 2, 0, 1), "reflect"), (2, 3, 4, 5), (4, 3, 2, 3), 4),
    "one side": (Padded(Convolution((2, 1)), (1, 0, 0, 1), "constant"), (2, 3, 4, 5), (4, 3, 2, 3), 4),
    "transposed line": (TransposedConvolution((2,), (1,), (1,), (1,), 2), (2, 4, 5), (4, 3, 3), 6),
    "transposed": (TransposedConvolution((3, 2), (1, 0), (2, 1), (1, 2), 1), (2, 3, 3, 4), (3, 4, 2, 3), 4),
    "transposed with as much rest": (
        TransposedConvolution((1, 1), (0, 0), (1, 1), (2, 2), 1),
        (1, 2, 3, 3),
        (2, 3, 2, 2),
        3,
    ),
    "transposed volume": (
        TransposedConvolution((1, 2, 1), (0, 0, 1), (0, 1, 0), (1, 1, 1), 1),
        (1, 2, 2, 3, 3),
        (2, 3, 2, 2, 2),
        3,
    ),
    "scaled features": (Scaling(), (3, 5), (5,), 5),
    "scaled images": (Scaling(), (2, 3, 4, 5), (3,), 3),
}


@pytest.mark.parametrize(("how", "inputs", "weight", "n_biases"), MAPS.values(), ids=list(MAPS))
def test_the_transpose_is_the_adjoint(how, inputs, weight, n_biases):
    a, w, bias = drawn(*inputs, seed=1), drawn(*weight, seed=2), drawn(n_biases, seed=3)
    out = how.forward(a, w, None)
    s = drawn(*out.shape, seed=4)
    back = how.transpose(s, w, a)
    assert back.shape == a.shape
    assert (out * s).sum().item() == pytest.approx((a * back).sum().item(), rel=1e-12, abs=1e-12)
    if isinstance(how, Dense):
        assert torch.equal(how.spread(bias, out), bias)
    # The bias is a shift and nothing else, one for each output channel.
    shift = how.forward(a, w, bias) - out
    assert torch.allclose(shift, bias.reshape(-1, *[1] * (out.ndim - 2)).expand_as(out), atol=1e-12)


@pytest.mark.parametrize(("how", "inputs", "weight", "n_biases"), MAPS.values(), ids=list(MAPS))
def test_the_transpose_is_that_of_the_dense_matrix(how, inputs, weight, n_biases):
    a, w = drawn(*inputs, seed=1)[:1], drawn(*weight, seed=2)
    out = how.forward(a, w, None)
    matrix = jacobian(lambda x: how.forward(x, w, None), a).reshape(out.numel(), a.numel())
    s = drawn(*out.shape, seed=4)
    assert torch.allclose(how.transpose(s, w, a).flatten(), matrix.T @ s.flatten(), atol=1e-12)
    assert torch.allclose(out.flatten(), matrix @ a.flatten(), atol=1e-12)


def test_a_layer_applies_its_map_with_other_weights():
    a, w, b, other = drawn(2, 5, seed=1), drawn(4, 5, seed=2), drawn(4, seed=3), drawn(4, 5, seed=5)
    layer = Layer(Dense(), a, w, b, a @ w.T + b)
    assert torch.allclose(layer.forward(2 * a, other), 2 * a @ other.T)
    assert torch.allclose(layer.forward(a, w, b), layer.outputs)
    assert torch.allclose(layer.transpose(layer.outputs, other), layer.outputs @ other)


def normalisation(kind, **settings):
    torch.manual_seed(0)
    module = kind(3, eps=1e-2, **settings).double()
    module.running_mean.normal_()
    module.running_var.uniform_(0.1, 2)
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    return module.eval()


@pytest.mark.parametrize(
    ("kind", "shape"), [(nn.BatchNorm1d, (4, 3)), (nn.BatchNorm1d, (4, 3, 5)), (nn.BatchNorm2d, (4, 3, 2, 5))]
)
@pytest.mark.parametrize("affine", [True, False])
def test_the_factors_of_batch_norm_are_those_of_evaluation_mode(kind, shape, affine):
    module, inputs = normalisation(kind, affine=affine), drawn(*shape)
    factor, shift = norm_factors(module, module.weight, module.bias, None, None)
    assert torch.allclose(Scaling().forward(inputs, factor, shift), module(inputs), atol=1e-12)


def test_a_sample_s_own_statistics_go_before_the_module_s():
    module, inputs = normalisation(nn.BatchNorm2d), drawn(4, 3, 2, 5)
    mean, variance = drawn(3, seed=6), drawn(3, seed=7).square()
    found = Scaling().forward(inputs, *norm_factors(module, module.weight, module.bias, mean, variance))
    module.running_mean.copy_(mean)
    module.running_var.copy_(variance)
    assert torch.allclose(found, module(inputs), atol=1e-12)


def test_batch_norm_without_running_statistics_gets_its_sentence():
    module = nn.BatchNorm2d(3, track_running_stats=False)
    with pytest.raises(ValueError, match="without running statistics depends on the batch; lrp needs track_running"):
        norm_factors(module, module.weight, module.bias, None, None)


CONVOLUTIONS = [
    {"kernel_size": 3},
    {"kernel_size": (2, 3), "stride": (2, 1), "padding": (1, 2), "dilation": (1, 2), "groups": 2},
    {"kernel_size": 3, "padding": "valid", "stride": 2},
    {"kernel_size": 3, "padding": "same"},
    {"kernel_size": (3, 5), "padding": "same", "dilation": (2, 1)},
    {"kernel_size": (1, 2), "padding": "same", "dilation": (1, 2)},
    {"kernel_size": 4, "padding": "same"},
    {"kernel_size": (2, 3), "padding": "same", "dilation": (3, 1)},
    {"kernel_size": 3, "padding": 1, "padding_mode": "reflect"},
    {"kernel_size": 3, "padding": (2, 1), "padding_mode": "replicate", "stride": 2},
    {"kernel_size": (3, 2), "padding": "same", "padding_mode": "circular"},
]


@pytest.mark.parametrize("settings", CONVOLUTIONS, ids=str)
def test_a_convolution_acts_as_its_module(settings):
    torch.manual_seed(0)
    module, inputs = nn.Conv2d(4, 6, **settings).double(), drawn(2, 4, 7, 8)
    found = convolution_of(module).forward(inputs, module.weight, module.bias)
    assert torch.allclose(found, module(inputs), atol=1e-12)


@pytest.mark.parametrize(
    ("kind", "settings", "n_dims"),
    [
        (nn.ConvTranspose1d, {"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1, "groups": 2}, 1),
        (nn.ConvTranspose2d, {"kernel_size": (2, 3), "stride": (2, 1), "dilation": 2}, 2),
        (nn.ConvTranspose3d, {"kernel_size": 2, "bias": False}, 3),
    ],
)
def test_a_transposed_convolution_acts_as_its_module(kind, settings, n_dims):
    torch.manual_seed(0)
    module, inputs = kind(4, 6, **settings).double(), drawn(2, 4, *[4] * n_dims)
    found = transposed_convolution_of(module, n_dims).forward(inputs, module.weight, module.bias)
    assert torch.allclose(found, module(inputs), atol=1e-12)


def test_a_product_with_a_matrix_is_linear_in_both():
    how, a, w = Bilinear(lambda inputs, weight: weight @ inputs), drawn(2, 3, 4, seed=1), drawn(5, 3, seed=2)
    out, s = how.forward(a, w, None), drawn(2, 5, 4, seed=4)
    assert torch.allclose(how.transpose(s, w, a), w.T @ s)
    assert torch.allclose(how.forward(a, w, out), 2 * out)
    assert how.spread(out, out) is out


@pytest.mark.parametrize(("how", "inputs", "weight", "n_biases"), MAPS.values(), ids=list(MAPS))
def test_a_factor_of_the_outputs_or_inputs_may_be_in_the_weights(how, inputs, weight, n_biases):
    a, w = drawn(*inputs, seed=1), drawn(*weight, seed=2)
    out = how.forward(a, w, None)
    if not isinstance(how, Scaling):
        factor = drawn(n_biases, seed=3)
        found = how.forward(a, scaled_outputs(how, w, factor), None)
        assert torch.allclose(found, out * how.spread(factor, out), atol=1e-12)
    if not isinstance(how, (Scaling, TransposedConvolution)):
        factor = drawn(inputs[1], seed=3)
        spread = factor.reshape(-1, *[1] * (len(inputs) - 2))
        assert torch.allclose(
            how.forward(a, scaled_inputs(how, w, factor), None), how.forward(a * spread, w, None), atol=1e-12
        )
