"""The experiment on photographs: layers that compute the same, ways back against other ones, and what is found and kept."""

from __future__ import annotations

from functools import partial

import pandas as pd
import pytest
import torch
from torch import nn

from oracles import random_posterior
from relevance import explanations
from relevance.attacks.manipulation import Manipulation, manipulated, shares
from relevance.base import balls
from relevance.datasets import photographs as data
from relevance.explanations.smoothing import softened
from relevance.networks import pretrained
from relevance.networks.architectures import Classifier
from relevance.networks.efficientnet_lite import InvertedResidual, Size
from relevance.studies.dombrowski import manipulation, photographs
from relevance.studies.dombrowski.manipulation import METHODS

HOW = Manipulation(epsilon=1.0, n_steps=4, output_weight=1.0, betas=((10.0, 30.0),), n_quadrature=3)


class Small(nn.Module):
    """Two blocks of the network, one with a sum, on images of 3x8x8 pixels; the last layer gives logits of 4 classes."""

    def __init__(self):
        super().__init__()
        size = Size(8, 8)
        self.stem, self.activation = size.convolution(3, 6, 3, 2), nn.ReLU6()
        self.blocks = nn.Sequential(
            InvertedResidual(size, 6, 6, 2, 3, 1), InvertedResidual(size, 6, 8, 2, 3, 2), nn.ReLU6()
        )
        self.dense = nn.Sequential(nn.Flatten(), nn.Linear(8 * 2 * 2, 4))

    def forward(self, x):
        return self.dense(self.blocks(self.activation(self.stem(x))))


@pytest.fixture
def posterior():
    network = Classifier(Small(), settings={"architecture": "small", "image_shape": [3, 8, 8], "n_classes": 4})
    found = random_posterior(network, n_samples=1)
    # Wide enough for ReLU6 to cut on both sides.
    samples = {name: 3 * value if name.endswith("norm.weight") else value for name, value in found.samples.items()}
    return type(found)(found.network, samples)


@pytest.fixture
def images():
    return torch.rand((3, 3, 8, 8), generator=torch.Generator().manual_seed(3), dtype=torch.float64)


@pytest.fixture
def target(posterior, images):
    return posterior.predict(images).argmax(1)


def test_layers_that_can_be_followed_compute_the_same(posterior, images):
    ready = photographs.softenable(posterior)
    assert torch.allclose(ready.logits(images), posterior.logits(images), rtol=0, atol=1e-12)
    kinds = {type(module) for module in ready.network.modules()}
    assert photographs.ClippedReLU in kinds
    assert nn.ReLU6 not in kinds
    # Softened, it is softplus(x) - softplus(x - 6).
    x = torch.linspace(-3, 9, 50, dtype=torch.float64)
    network = softened(ready, 5.0).network
    soft = next(one for one in network.modules() if isinstance(one, photographs.ClippedReLU))
    wanted = nn.functional.softplus(x, 5.0) - nn.functional.softplus(x - 6, 5.0)
    assert torch.allclose(soft(x), wanted, rtol=0, atol=1e-12)


def test_gradients_layer_by_layer_are_autograd_s(posterior, images, target):
    ready = photographs.softenable(posterior)
    wanted = explanations.gradient(ready, images, target)
    assert torch.allclose(photographs.by_graph(ready, images, target), wanted, rtol=0, atol=1e-10)
    assert torch.allclose(photographs.times_input(ready, images, target), wanted * images, rtol=0, atol=1e-10)
    path = explanations.integrated_gradients(ready, images, target, n_steps=3)
    assert torch.allclose(photographs.integrated(ready, images, target, n_steps=3), path, rtol=0, atol=1e-10)


@pytest.mark.parametrize("explain", [photographs.by_graph, partial(explanations.lrp, rule=photographs.COMPOSITE)])
def test_a_sharpened_network_is_one_softened_so(posterior, images, target, explain):
    """Also where its graph was traced before."""
    ready = photographs.softenable(posterior)
    soft = softened(ready, 3.0)
    before = explain(soft, images, target)
    photographs.sharpen(soft, 40.0)
    after = explain(soft, images, target)
    assert torch.equal(after, explain(softened(ready, 40.0), images, target))
    assert not torch.allclose(before, after)


def test_what_is_led_is_nearer_to_its_aim_in_the_ball_in_bytes_and_of_its_class(posterior, images, target):
    ready = photographs.softenable(posterior)
    explain = shares(photographs.by_graph)
    aims = explain(ready, images, target).roll(1, 0).detach()
    images = (images * 255).round() / 255
    found = photographs.led(ready, images, target, explain, aims, HOW)
    # Rounding moves each pixel by half a step at most.
    assert (balls.sizes(found - images, "l2") <= HOW.epsilon + 0.5 / 255 * images[0].numel() ** 0.5).all()
    assert torch.allclose(found * 255, (found * 255).round(), atol=1e-9)
    assert torch.equal(ready.predict(found).argmax(1), target)

    def errors(some):
        return (explain(ready, some, target) - aims).flatten(1).square().mean(1)

    assert (errors(found) <= errors(images)).all()
    assert (errors(found) < 0.9 * errors(images)).any()
    # As near as by the library's own search, but for what rounding and the softened outputs make of it.
    other = manipulated(ready, images, target, explain, aims, HOW)
    assert errors(found).mean() < 1.5 * errors(other).mean()


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_a_case_whose_aims_are_the_other_image_s_maps(posterior, images, method, own_store):
    ready = photographs.softenable(posterior)
    found = (images + 0.01).clamp(0, 1)
    case = photographs.case_of(ready, images, found, method, HOW, images)
    assert torch.equal(case.aims, case.maps.roll(1, 0))
    assert torch.allclose(case.maps.flatten(1).mean(1), torch.ones(3, dtype=torch.float64))
    assert set(case.table()["change"]) == {manipulation.MANIPULATED, manipulation.NOISE}


def test_what_was_added_comes_back_from_its_table(posterior, images):
    images = (images * 255).round() / 255
    generator = torch.Generator().manual_seed(4)
    cases = {}
    for method in ("gradient", "LRP"):
        steps = torch.randint(-4, 5, images.shape, generator=generator)
        found = ((images * 255 + steps).clamp(0, 255)).round() / 255
        cases["deterministic", method] = photographs.case_of(posterior, images, found, "gradient", HOW, images)
    rows = photographs.pixels(cases)
    assert len(rows) == 3 * 64
    back = photographs.of_pixels(rows, images)
    for (_, method), case in cases.items():
        assert torch.allclose(back[method], case.found, rtol=0, atol=1e-12)


def test_medians_are_those_of_the_table(posterior, images):
    one = photographs.case_of(posterior, images, (images + 0.02).clamp(0, 1), "gradient", HOW, images)
    rows = manipulation.table({("deterministic", "gradient"): one})
    found = photographs.medians(rows)
    assert found.index.tolist() == ["gradient"]
    part = rows[rows["change"] == manipulation.MANIPULATED]
    assert found["to target"].item() == pytest.approx(part["correlation_target"].median())


@pytest.mark.slow
@pytest.mark.skipif(
    not data.are_installed() or pretrained.published_file(pretrained.LITE0) is None,
    reason="the group photographs is not installed",
)
def test_the_experiment_runs_on_the_real_network(own_store, monkeypatch):
    """A few steps at a small side: the tables have the forms of their records."""
    experiment = photographs.Experiment(
        ["cat", "coffee"], 64, 2, ["LRP"], [("softplus", 30.0), ("posterior", 2.0)], 2, 0.05,
        Manipulation(epsilon=2.0, n_steps=2, betas=((10.0, 100.0),), n_quadrature=2),
    )  # fmt: skip
    kept: dict[str, pd.DataFrame] = {}
    monkeypatch.setattr(
        photographs.records, "keep", lambda record, name, made, *about, **also: kept.update({name: made})
    )
    experiment.keep("")
    assert not kept
    experiment.keep("a-run")
    assert kept.keys() == {"photographs", "defended"}
    assert kept["photographs"]["label_kept"].all()
    assert set(kept["defended"]["defence"]) == {"none", "softplus", "posterior"}
    # What was found comes back from its pixels, and is explained as it was.
    rows = photographs.pixels(experiment.cases)
    again = photographs.explained(rows, ["cat", "coffee"], experiment.how)["LRP"]
    assert torch.equal(again.reached, experiment.cases["deterministic", "LRP"].reached)
    # Relevance by the composite is positive wherever the dense layer's is, and the logit does not run away.
    network, images = experiment.network, experiment.images
    target = network.predict(images).argmax(1)
    maps = explanations.lrp(network, images, target, rule=photographs.COMPOSITE)
    logits = network.logits(images)[0].gather(1, target[:, None])[:, 0]
    assert (maps.flatten(1).abs().sum(1) < 10 * logits.abs()).all()
