from __future__ import annotations

import pytest
import torch
from torch import nn

from relevance import explanations
from relevance.networks import architectures
from relevance.networks.posterior import Posterior


def test_the_dense_network_has_the_paper_s_layer_indices():
    network = architectures.fully_connected((1, 28, 28), hidden=512)
    dense = [index for index, layer in enumerate(network) if isinstance(layer, nn.Linear)]
    assert dense == [1, 3, 5]
    assert [(network[i].in_features, network[i].out_features) for i in dense] == [(784, 512), (512, 512), (512, 10)]
    assert isinstance(network[2], nn.LeakyReLU)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 16, 17)])
def test_the_convolutional_network_has_the_paper_s_layer_indices(shape, tmp_path):
    network = architectures.convolutional(shape, hidden=6)
    assert [index for index, layer in enumerate(network) if isinstance(layer, (nn.Conv2d, nn.Linear))] == [0, 3, 7]
    assert (network[0].out_channels, network[3].out_channels, network[7].out_features) == (32, 6, 10)
    images = torch.rand(2, *shape)
    posterior = Posterior.of(network)
    assert posterior.predict(images).shape == (2, 10)
    posterior.save(tmp_path / "one")
    assert torch.equal(Posterior.load(tmp_path / "one").predict(images), posterior.predict(images))
    with pytest.raises(ValueError, match="the smaller side of image_shape is 15"):
        architectures.convolutional((1, 15, 28))


def test_bad_networks_get_a_sentence():
    with pytest.raises(ValueError, match="activation is 'tanh'; it may be one of: leaky_relu, relu, softplus"):
        architectures.fully_connected((1, 28, 28), activation="tanh")
    with pytest.raises(ValueError, match="hidden is 0"):
        architectures.fully_connected((1, 28, 28), hidden=0)
    with pytest.raises(ValueError, match="architecture is 'transformer'"):
        architectures.build({"architecture": "transformer"})


def test_resnet20_is_the_published_one():
    """20 layers, 0.27 million parameters, with two shortcuts of 1 x 1 convolutions (He et al. 2016, Sec. 4.2)."""
    network = architectures.resnet20((3, 32, 32))
    main = [name for name, part in network.named_modules()
            if isinstance(part, (nn.Conv2d, nn.Linear)) and "shortcut" not in name]  # fmt: skip
    assert len(main) == 20
    counted = sum(value.numel() for name, value in network.named_parameters())
    assert counted == 272_474  # 269,722 of the paper's without normalisation's factors, and the shortcuts
    shapes = []
    hooks = [part.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape[1:])))
             for part in network if isinstance(part, architectures.ResidualBlock)]  # fmt: skip
    assert network.eval()(torch.rand(2, 3, 32, 32)).shape == (2, 10)
    assert shapes == [(16, 32, 32)] * 3 + [(32, 16, 16)] * 3 + [(64, 8, 8)] * 3
    for hook in hooks:
        hook.remove()
    again = architectures.build(network.settings)
    assert again.settings == network.settings
    assert {k: v.shape for k, v in again.state_dict().items()} == {k: v.shape for k, v in network.state_dict().items()}


def test_a_residual_network_normalises_inside_explains_and_is_saved(tmp_path):
    torch.manual_seed(0)
    network = architectures.resnet20((1, 8, 8), hidden=2, n_classes=3, mean=[0.3], scale=[0.2])
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.running_mean)
            nn.init.uniform_(part.running_var, 0.5, 2)
    posterior = Posterior.of(network.eval())
    images = torch.rand(3, 1, 8, 8)
    target = torch.tensor([0, 1, 2])
    assert torch.allclose(network[0](images), (images - 0.3) / 0.2)
    maps = explanations.lrp(posterior, images, target, rule=explanations.Epsilon(1e-6))
    assert maps.shape == images.shape
    assert maps.isfinite().all()
    # Relevance of a normalised pixel is the pixel's own; guided backpropagation does not cut it there.
    guided = explanations.guided_backprop(posterior, images, target)
    assert guided.min() < 0
    kept = explanations.kept_by_layer(posterior, images, target, rule=explanations.Epsilon(1e-6))
    logits = posterior.logits(images)[0].gather(1, target[:, None]).squeeze(1)
    assert torch.allclose(sum(kept.values()) + maps.flatten(1).sum(1), logits, atol=1e-3)
    posterior.save(tmp_path / "resnet.safetensors")
    loaded = Posterior.load(tmp_path / "resnet.safetensors", device="cpu")
    assert torch.equal(loaded.logits(images), posterior.logits(images))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_shape": (8, 8)}, r"image_shape is \(8, 8\); it must be \(C, H, W\)"),
        ({"mean": [0.1, 0.2]}, r"mean is \[0.1, 0.2\]; it must be a list of 1 numbers, one for each channel"),
        ({"scale": [0]}, "scale is 0; it must be a finite number above 0"),
        ({"activation": "tanh"}, "activation is 'tanh'"),
    ],
)
def test_bad_settings_of_a_residual_network_get_a_sentence(settings, message):
    with pytest.raises(ValueError, match=message):
        architectures.resnet20(**({"image_shape": (1, 8, 8)} | settings))


def test_a_shape_that_can_be_read_once_is_read_once():
    assert architectures.fully_connected(iter((1, 4, 4)), hidden=3).settings["image_shape"] == [1, 4, 4]
    assert architectures.fully_connected(iter((1, 4, 4)), hidden=3)[1].in_features == 16
