"""Everything that computes, with images and networks on a GPU that is not there: no tensor is left on the CPU."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn
from torch.func import vmap

from devices import FakeGPU
from oracles import random_posterior
from relevance import attacks, explanations, inference, metrics
from relevance.attacks.named import Attack
from relevance.datasets.dataset import Dataset
from relevance.explanations.rules import (
    AlphaBeta,
    Composite,
    Epsilon,
    Flat,
    Gamma,
    GeneralisedGamma,
    WSquare,
    ZBox,
    ZPlus,
)
from relevance.networks import architectures
from relevance.studies import experiment

SHAPE = (1, 16, 16)
NETWORKS = {
    "dense": lambda: architectures.fully_connected(SHAPE, hidden=7, n_classes=3),
    "convolutional": lambda: architectures.convolutional(SHAPE, 4, n_classes=3),
}
RULES = (
    Epsilon(), Gamma(), GeneralisedGamma(), AlphaBeta(), AlphaBeta(2, 1), ZPlus(), WSquare(), Flat(),
    Composite(Epsilon(), first=ZBox()),
)  # fmt: skip
MAPS = {
    **{repr(rule)[:30]: partial(explanations.lrp, rule=rule) for rule in RULES},
    "a map for each sample": lambda p, x, y: explanations.lrp(p, x, y, per_sample=True, own_class=True),
    "deep Taylor": explanations.deep_taylor,
    "gradient": explanations.gradient,
    "gradient x input": explanations.gradient_x_input,
    "guided backpropagation": explanations.guided_backprop,
    "integrated gradients": lambda p, x, y: explanations.integrated_gradients(p, x, y, n_steps=3),
    "SmoothGrad": explanations.smooth_grad,
    "NoiseGrad": explanations.noise_grad(explanations.gradient, 0.1, 2),
    "pattern attribution": lambda p, x, y: explanations.pattern_attribution(
        p, x, y, patterns=explanations.fit_patterns(p, x)
    ),
}
ATTACKS = {
    "FGSM": lambda p, x, y: attacks.fgsm(p, x, y, 0.1),
    "PGD": lambda p, x, y: attacks.pgd(p, x, y, 0.1, n_steps=2, progress=False),
    "square": lambda p, x, y: attacks.square(p, x, y, 0.1, n_queries=5),
    "top-k": lambda p, x, y: attacks.top_k(p, x, y, 0.1, n_steps=2),
    "region": lambda p, x, y: attacks.target_region(p, x, y, 0.1, region=attacks.random_region(SHAPE), n_steps=2),
    "target map": lambda p, x, y: attacks.target_map(
        p, x, y, 0.1, target_maps=explanations.lrp(p, x, y).roll(1, 0), n_steps=2
    ),
    "manipulation": lambda p, x, y: attacks.manipulated(
        p, x, y, explanations.gradient, explanations.gradient(p, x, y).abs().roll(1, 0), attacks.Manipulation(n_steps=2)
    ),
}
TRAINED = {
    "sgd": {}, "map_estimate": {}, "deep_ensemble": {"n_samples": 2}, "variational": {"n_samples": 2},
    "mc_dropout": {"n_samples": 2}, "swag": {"n_samples": 2, "rank": 2}, "laplace": {"n_samples": 2}, "adversarial": {},
    "distillation": {}, "jacobian": {}, "low_curvature": {},
}  # fmt: skip


@pytest.fixture(params=NETWORKS)
def network(request):
    return NETWORKS[request.param]()


@pytest.fixture
def gpu():
    with FakeGPU() as there:
        yield there


@pytest.fixture
def given(gpu, network):
    """A posterior, images and labels, on the GPU."""
    posterior = random_posterior(network, n_samples=3)
    images, labels = torch.rand((6, *SHAPE), dtype=torch.float64), torch.tensor([0, 1, 2, 2, 1, 0])
    gpu.put(posterior.network, *posterior.samples.values(), images, labels)
    return posterior, images, labels


@pytest.fixture
def data(gpu):
    labels = torch.arange(60) % 3
    images = torch.rand((60, *SHAPE))
    found = Dataset("own", images[:45], labels[:45], images[45:], labels[45:], ("a", "b", "c"), "made up")
    gpu.put(found.train_images, found.train_labels, found.test_images, found.test_labels)
    return found


@pytest.mark.parametrize("make", MAPS.values(), ids=MAPS)
def test_maps_are_where_the_images_are(gpu, given, make):
    assert gpu.is_there(make(*given))


@pytest.mark.parametrize("make", ATTACKS.values(), ids=ATTACKS)
def test_attacked_images_are_where_the_images_are(gpu, given, make):
    assert gpu.is_there(make(*given))


def test_scores_take_what_is_on_a_gpu(gpu, given):
    posterior, images, labels = given
    maps, others = explanations.lrp(*given), explanations.gradient(*given)
    assert len(metrics.map_scores(maps, others, 20)) == len(images)
    assert metrics.unrelated_robustness(maps, others, 20).isfinite().all()
    assert metrics.softmax_robustness(posterior.predict(images), posterior.predict(1 - images)).isfinite().all()
    assert metrics.deletion(posterior, images, labels, maps).isfinite().all()
    metrics.infidelity(posterior, images, labels, maps)
    metrics.conservation(posterior, images, labels, {"epsilon": Epsilon()})
    attacks.evaluate(posterior, images, labels, epsilon=0.1)


@pytest.mark.parametrize("method", TRAINED)
def test_what_is_trained_is_where_the_data_are(gpu, network, data, method):
    posterior = getattr(inference, method)(network, data, epochs=1, progress=False, **TRAINED[method])
    assert all(map(gpu.is_there, posterior.samples.values()))
    assert gpu.is_there(posterior.predict(data.test_images))


def test_chains_draw_where_the_data_are(gpu, network, data):
    posterior = inference.hmc(network, data, n_samples=4, warmup=2, n_chains=2, progress=False)
    assert all(map(gpu.is_there, posterior.samples.values()))


@pytest.mark.parametrize("attack", ["FGSM", "PGD", "noise"])
def test_an_experiment_is_done_where_the_data_are(given, attack):
    posterior, images, labels = given
    layers = [name for name, module in posterior.network.named_modules() if isinstance(module, nn.Linear)]
    rules = {"epsilon": Epsilon(), "gamma": Gamma()}
    rows = experiment.rows(posterior, images, labels, attack=Attack(attack, 0.1), rules=rules, layers=layers)
    assert len(rows) >= len(images) * len(layers)


@pytest.mark.parametrize("mix", [
    lambda there: there + torch.ones(3),
    lambda there: torch.rand(3, generator=torch.Generator(), device=there.device) * there,
    lambda there: torch.zeros(2)[there.argsort()[:1] % 2],
    lambda there: there.index_put((torch.tensor([0]),), torch.ones(1)),
    vmap(lambda one: one + torch.ones(2)),
    lambda there: there.numpy(),
], ids=["sum", "drawn elsewhere", "indices", "values", "mapped", "numpy"])  # fmt: skip
def test_what_a_gpu_would_refuse_is_an_error(gpu, mix):
    there = torch.rand(3)
    gpu.put(there)
    with pytest.raises(AssertionError, match=r"on two devices|on a GPU"):
        mix(there)


def test_what_a_gpu_allows_is_none(gpu):
    there = torch.rand(3)
    gpu.put(there)
    assert gpu.is_there(there * torch.tensor(2.0) + there[torch.tensor([0, 1, 2])])
    assert gpu.is_there(torch.arange(3).to(there.device) * there)
    assert gpu.is_there(torch.zeros(3, device=there.device) + there)
    assert not gpu.is_there(there.cpu() + torch.ones(3))
    assert len(there.cpu().numpy()) == 3
