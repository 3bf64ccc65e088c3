"""Exported graphs give what the library gives; the oracle that runs them is onnxruntime."""

from __future__ import annotations

import copy

import numpy as np
import onnxruntime
import pytest
import torch

from oracles import ROOT, random_posterior
from relevance import attacks, explanations
from relevance.explanations.rules import AlphaBeta, Composite, Epsilon, Gamma
from relevance.networks import architectures
from relevance.networks.posterior import Posterior
from relevance.pages.interactive.onnx import OUTPUTS, to_onnx

SHAPE = (1, 8, 8)


def run(onnx, image, epsilon):
    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    given = {"image": image.numpy(), "epsilon": np.array(epsilon, dtype=np.float32)}
    return dict(zip(OUTPUTS, map(torch.as_tensor, session.run(None, given)), strict=True))


def expected(posterior, image, epsilon, rule, found, layer=None, kind=torch.float64):
    """The same by the public functions, each by itself; in float64, as float32 errs where a rule divides by little.

    Where the loss hardly slopes, rounding decides the sign, differently on every CPU: there the attack's step may be either.
    What follows from the attacked image is that of the image that was found.
    """
    image = image.to(kind)
    samples = {name: value.to(kind) for name, value in posterior.samples.items()}
    posterior = Posterior(copy.deepcopy(posterior.network).to(kind), samples)
    probabilities = posterior.predict(image)
    target = probabilities.argmax(-1)
    slope, attacked = attacks.loss_gradient(posterior, image, target), found["attacked"].to(kind)
    clear = slope.abs() > 1e-4 * slope.abs().max()
    assert clear.double().mean() > 0.95
    assert all(((attacked - (image + way * epsilon).clamp(0, 1)).abs() < 1e-6).any() for way in (1, -1)) or epsilon == 0
    return {
        "probabilities": probabilities,
        "relevance": explanations.lrp(posterior, image, target, rule=rule, layer=layer),
        "attacked": torch.where(clear, attacks.fgsm(posterior, image, target, epsilon), attacked),
        "attacked_probabilities": posterior.predict(attacked),
        "attacked_relevance": explanations.lrp(posterior, attacked, target, rule=rule, layer=layer),
        "zero_gradient": (attacks.loss_gradient(posterior, image, target) == 0).to(kind).mean(),
    }


def images():
    generator = torch.Generator().manual_seed(3)
    drawn = torch.rand((6, 1, *SHAPE), generator=generator) * (torch.rand((6, 1, *SHAPE), generator=generator) > 0.5)
    return [torch.zeros(1, *SHAPE), torch.ones(1, *SHAPE), *drawn]


def posterior_of(n_samples, network=None):
    network = network or architectures.fully_connected(SHAPE, hidden=9, n_classes=5)
    middle, noise = random_posterior(network, 1, seed=1), random_posterior(network, n_samples, seed=2)
    # Around one network with small biases, so that it is the image that decides the class.
    sizes = {name: 0.1 if name.endswith("bias") else 2.0 for name in noise.samples}
    samples = {
        name: sizes[name] * (middle.samples[name] + 0.3 * value).float() for name, value in noise.samples.items()
    }
    return Posterior(noise.network.float(), samples)


@pytest.fixture(scope="module")
def exported():
    """Ten samples, and their graph with the epsilon rule."""
    posterior = posterior_of(10)
    return posterior, to_onnx(posterior, rule=Epsilon(0.1))


@pytest.mark.parametrize(
    ("n_samples", "rule", "layer"),
    [
        pytest.param(10, Epsilon(0.1), None, marks=pytest.mark.slow),
        pytest.param(2, Gamma(0.2), None, marks=pytest.mark.slow),
        pytest.param(10, AlphaBeta(2, 1), "3", marks=pytest.mark.slow),
        pytest.param(1, Composite(Epsilon(0), first=explanations.ZBox()), None, marks=pytest.mark.slow),
    ],
)
def test_the_graph_agrees_with_the_library(exported, n_samples, rule, layer):
    same = (n_samples, rule, layer) == (10, Epsilon(0.1), None)
    posterior = exported[0] if same else posterior_of(n_samples)
    onnx = exported[1] if same else to_onnx(posterior, rule=rule, layer=layer)
    classes = set()
    for image in images():
        for epsilon in (0.0, 0.15):
            found = run(onnx, image, epsilon)
            wanted = expected(posterior, image, epsilon, rule, found, layer)
            for name in OUTPUTS:
                scale = max(1.0, wanted[name].abs().max().item())
                assert (found[name] - wanted[name]).abs().max() <= 1e-4 * scale, name
            classes.add(int(found["probabilities"].argmax()))
    assert len(classes) > 1  # the class is chosen in the graph, not when it is traced


@pytest.mark.slow
@pytest.mark.stochastic
def test_a_convolutional_network_agrees_too():
    network = architectures.convolutional((1, 28, 28), hidden=16, n_classes=4)
    posterior = posterior_of(2, network)
    onnx = to_onnx(posterior)
    image = torch.rand((1, 1, 28, 28), generator=torch.Generator().manual_seed(0))
    found = run(onnx, image, 0.1)
    wanted = expected(posterior, image, 0.1, Epsilon(0.1), found, kind=torch.float32)
    for name in OUTPUTS:
        assert torch.allclose(found[name], wanted[name], atol=1e-4), name


@pytest.mark.slow
def test_a_graph_tells_nothing_of_the_machine_and_is_hardly_larger_than_its_weights(exported):
    posterior, onnx = exported
    assert b".py" not in onnx
    assert str(ROOT).encode() not in onnx
    weights = 4 * sum(value.numel() for value in posterior.samples.values())
    assert len(onnx) < 2 * weights + 100_000


def test_wrong_input_gets_a_sentence():
    with pytest.raises(ValueError, match="posterior is a str; it must be a Posterior"):
        to_onnx("a network")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="does not say the shape of its images"):
        to_onnx(random_posterior(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2)), 1))
    with pytest.raises(ValueError, match="rule is 'epsilon'"):
        to_onnx(posterior_of(1), rule="epsilon")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="layer is '9'"):
        to_onnx(posterior_of(1), layer="9")
