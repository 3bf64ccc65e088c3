"""Generators of attribution maps: planted saliency, what they look at, and their gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from oracles import GENERATOR_SHAPE, trained_generator
from relevance import attacks, explanations
from relevance.networks import architectures
from relevance.networks.posterior import Posterior
from relevance.studies import store
from relevance.studies.zeng.generator import measures, networks, tables, training
from relevance.studies.zeng.generator.setting import ALONE, MEAN, OF_CLASS, OTHER, Setting
from relevance.studies.zeng.generator.training import Generated, train_generator

pytestmark = pytest.mark.stochastic


def test_it_learns_a_planted_map_that_depends_on_the_image(alone, robust, halves):
    reader = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    reader[1].weight = nn.Parameter(torch.stack([torch.zeros(64), (torch.arange(64) < 8).float()]))
    reader[1].bias = nn.Parameter(torch.tensor([4.0, 0.0]))
    setting = Setting(Posterior.of(reader), robust, {ALONE: Generated(alone)}, halves)
    assert setting.standard.accuracy(halves.test_images, halves.test_labels) == 1
    truth = (halves.test_images * robust.network.mask[halves.test_labels]).abs()
    saliency = training.saliency(robust, halves.test_images, halves.test_labels)
    torch.testing.assert_close(saliency, truth)
    maps = Generated(alone)(robust, halves.test_images, halves.test_labels)
    rows = measures.alignment_with({ALONE: maps, **setting.controls(halves.test_images)}, truth)
    cosine = tables.means(rows)["cosine"]
    assert cosine[ALONE] > 0.95
    assert cosine[MEAN] < 0.7
    assert cosine[OF_CLASS] < 0.8
    assert cosine[OTHER] < 0.7


def test_the_same_seed_gives_the_same_generator_and_another_seed_another(robust, halves):
    first, again, other = (trained_generator(robust, halves, epochs=1, seed=seed) for seed in (3, 3, 4))
    for name, value in first.samples.items():
        assert torch.equal(value, again.samples[name])
    assert not torch.equal(first.samples["middle.weight"], other.samples["middle.weight"])


def test_the_store_finds_it_again(robust, halves, tmp_path):
    keep = store.Store(tmp_path)
    given = {"epochs": 1, "progress": False}
    first = keep(train_generator, networks.encoder_decoder(GENERATOR_SHAPE, 4), robust, halves, **given)
    again = keep(train_generator, networks.encoder_decoder(GENERATOR_SHAPE, 4), robust, halves, **given)
    assert len(list(tmp_path.glob("train_generator-*"))) == 1
    target = halves.test_labels[:5]
    maps = [Generated(one)(robust, halves.test_images[:5], target) for one in (first, again)]
    assert torch.equal(*maps)
    assert store.describe(Generated(first)) == store.describe(Generated(again))


@pytest.mark.parametrize("reads", [False, True])
def test_its_gradient_is_that_of_finite_differences(reads, halves):
    torch.manual_seed(1)
    network = architectures.fully_connected(GENERATOR_SHAPE, hidden=5, n_classes=2, activation="softplus").double()
    classifier = Posterior.of(network)
    built = networks.decoder(classifier, GENERATOR_SHAPE, 3) if reads else networks.encoder_decoder(GENERATOR_SHAPE, 3)
    explain = Generated(Posterior.of(built.double()), reads)
    images = (halves.test_images[:1].double() * 0.9 + 0.05).requires_grad_()
    weights = torch.randn(GENERATOR_SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def seen(points):
        return (explain(classifier, points, torch.zeros(1, dtype=torch.long)) * weights).sum()

    assert torch.autograd.gradcheck(seen, (images,), atol=1e-8)


def test_it_can_be_manipulated_where_the_prediction_is_held(alone, classifier, halves):
    images = halves.test_images[:6]
    explain = Generated(alone)
    target = classifier.predict(images).argmax(1)
    with torch.no_grad():
        before = explain(classifier, images, target)
    given = {"explain": explain, "target_maps": before.roll(1, 0), "norm": "l2", "n_steps": 10, "progress": False}
    found = attacks.target_map(classifier, images, target, 1.0, **given)
    with torch.no_grad():
        after = explain(classifier, found, target)
    assert (classifier.predict(found).argmax(1) == target).all()
    distance = [(maps - before.roll(1, 0)).flatten(1).norm(dim=1) for maps in (before, after)]
    # With seeds of their own it went down to 0.71 to 0.76 in the median, and nowhere to more than 0.89.
    assert (distance[1] < distance[0]).all()
    assert (distance[1] / distance[0]).median() < 0.9


def test_the_masking_terms_are_those_of_their_formulas(robust, halves):
    images, target = halves.test_images[:5], halves.test_labels[:5]
    maps = torch.rand((5, *GENERATOR_SHAPE), generator=torch.Generator().manual_seed(0))
    mean = halves.train_images.mean(0)

    def of(**weights):
        return training._masking(maps, robust, images, target, mean, training.Settings(**weights)).item()

    kept = robust.predict(maps * images + (1 - maps) * mean)[range(5), target]
    lost = robust.predict((1 - maps) * images + maps * mean)[range(5), target]
    assert of(keep=2.0) == pytest.approx(-2 * kept.log().mean().item(), rel=1e-5)
    assert of(lose=3.0) == pytest.approx(3 * lost.mean().item(), rel=1e-5)
    assert of(area=1.0) == pytest.approx(maps.mean().item())
    down, across = (maps[:, :, 1:] - maps[:, :, :-1]), (maps[..., 1:] - maps[..., :-1])
    assert of(variation=1.0) == pytest.approx((down**2).mean().item() + (across**2).mean().item(), rel=1e-5)


def test_a_large_weight_of_the_area_makes_maps_small(robust, halves):
    means = [
        Generated(trained_generator(robust, halves, epochs=2, area=area))(
            robust, halves.test_images, halves.test_labels
        )
        .mean()
        .item()
        for area in (0.0, 30.0)
    ]
    assert means[1] < 0.5 * means[0]


def test_bad_input_gets_a_sentence(alone, decoded, robust, halves, classifier):
    with pytest.raises(ValueError, match="keep is -1; it must be a finite number at least 0"):
        trained_generator(robust, halves, keep=-1)
    with pytest.raises(ValueError, match="explained is 'other'; it may be one of: label, prediction"):
        trained_generator(robust, halves, explained="other")
    with pytest.raises(ValueError, match="'depth' is not a setting here"):
        trained_generator(robust, halves, depth=3)
    with pytest.raises(ValueError, match=r"image_shape is \(1, 2, 8\); it must be"):
        networks.encoder_decoder((1, 2, 8))
    with pytest.raises(ValueError, match="without a last hidden layer to read"):
        networks.features(robust, halves.test_images)
    larger, wide = Posterior.of(architectures.fully_connected((1, 12, 12), 12, 2)), torch.zeros(1, 1, 12, 12)
    with pytest.raises(ValueError, match=r"images has shape \[1, 1, 12, 12\]; it must have shape \[N, 1, 8, 8\]"):
        Generated(alone)(larger, wide, torch.zeros(1, dtype=torch.long))
    with pytest.raises(ValueError, match=r"the generator gives maps of shape \[1, 1, 8, 8\]; for these images"):
        decoded(larger, wide, torch.zeros(1, dtype=torch.long))
    with pytest.raises(ValueError, match=r"target has shape \[2\]"):
        Generated(alone)(classifier, halves.test_images[:3], torch.tensor([0, 1]))


def test_saliency_is_the_gradient_s_size(classifier, halves):
    images, target = halves.test_images[:3], halves.test_labels[:3]
    wanted = explanations.gradient(classifier, images, target).abs()
    torch.testing.assert_close(training.saliency(classifier, images, target), wanted)
