"""ROAR against what is planted: classes that sit in known pixels, and closed forms of what is left of them."""

from __future__ import annotations

import copy
import math

import pandas as pd
import pytest
import torch
from scipy import stats
from torch import nn

from oracles import MOST, PLANTED_ATTRIBUTIONS, errors_off
from relevance import explanations, inference
from relevance.datasets.dataset import Dataset
from relevance.explanations import gradient
from relevance.networks import architectures
from relevance.networks.posterior import Posterior
from relevance.studies import store
from relevance.studies.zeng import retraining, tables, words
from relevance.studies.zeng import roar as zeng_roar
from relevance.studies.zeng.roar import BASELINES, Attribution, roar

CALLS = []


def least_squares(network, data, *, seed=0, progress=True):
    """Least squares of the one-hot labels on the pixels: no seed, no steps, and the best linear classifier of planted bits."""
    CALLS.append(seed)
    pixels = torch.cat([data.train_images.flatten(1), torch.ones(len(data.train_labels), 1)], 1).double()
    targets = nn.functional.one_hot(data.train_labels, len(data.classes)).double()
    # A little ridge, since removed pixels may be the same in all images.
    normal = pixels.T @ pixels + 1e-6 * torch.eye(pixels.shape[1], dtype=torch.float64)
    weights = torch.linalg.solve(normal, pixels.T @ targets).float()
    fresh = copy.deepcopy(network)
    with torch.no_grad():
        fresh[1].weight.copy_(weights[:-1].T)
        fresh[1].bias.copy_(weights[-1])
    return Posterior.of(fresh)


def telling_maps(posterior, images, target):
    """Point at a noise pixel for each class: which pixel is gone says what the target is."""
    maps = torch.zeros_like(images).flatten(1)
    maps[torch.arange(len(images)), target] = 1.0
    return maps.reshape(images.shape)


@pytest.fixture
def linear():
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 4))


@pytest.fixture(autouse=True)
def _own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("RELEVANCE_STORE", str(tmp_path / "store"))
    CALLS.clear()


def run(network, data, attributions, shares=(0.2, 0.4, 0.8), **settings):
    given = {"train": least_squares, "seeds": (0, 1), "jobs": 1, **settings}
    return roar(network, data, attributions, shares, **given)


def guessed(accuracy):
    """Return what a share of the 2000 test images may be that are right by chance, in so many standard errors."""
    return pytest.approx(accuracy, abs=MOST * (accuracy * (1 - accuracy) / 2000) ** 0.5)


@pytest.mark.stochastic
def test_roar_tells_the_planted_truth(planted_bits, linear):
    table = run(linear, planted_bits, PLANTED_ATTRIBUTIONS)
    assert list(table.columns) == ["attribution", "share", "seed", "accuracy"]
    assert len(table) == 4 * 4 * 2
    mean = table.groupby(["attribution", "share"])["accuracy"].mean()
    # Noise costs the best linear classifier hardly an image.
    assert (mean[:, 0.0] > 0.97).all()
    for share in (0.2, 0.4, 0.8):
        # Without its pixels a class is a guess; of an order that keeps both for last nothing is lost.
        assert mean["perfect", share] == guessed(0.25)
        assert mean["inverted", share] > 0.97
        # A bit that is gone is guessed: half of the bits at random, ((1 - s) + s / 2)^2.
        assert mean["random", share] == guessed((1 - share / 2) ** 2)
        assert mean["half", share] == guessed((1 - (share - 1 / 36) / 2) / 2)
    found = tables.differences(table, ("random",))
    assert list(found.index) == ["perfect", "half", "random", "inverted"]
    assert words.roar(table) == (
        "Compared with a random order, accuracy falls sooner for 2 of 3 maps, and **later** for *inverted*."
    )


@pytest.mark.stochastic
def test_a_network_that_is_explained_ranks_what_it_uses(planted_bits, linear):
    explained = least_squares(linear, planted_bits)
    attributions = {"gradient": Attribution(gradient, explained), **BASELINES}
    table = run(linear, planted_bits, attributions, shares=(0.2,))
    mean = table.groupby(["attribution", "share"])["accuracy"].mean()
    assert mean["gradient", 0.2] == guessed(0.25)
    # Sobel's filters know nothing of classes, though black and white pixels have steeper surroundings than noise.
    assert mean["gradient", 0.2] < mean["Sobel", 0.2] - 0.1


@pytest.mark.stochastic
def test_a_constant_map_says_so_much_as_a_random_order():
    order = zeng_roar.rankings(torch.full((3000, 1, 4, 4), 0.3))
    assert (order.flatten(1).sort(1).values == torch.arange(16)).all()
    # Each pixel is at each place equally often.
    counts = torch.stack([torch.bincount(order.flatten(1)[:, pixel].long(), minlength=16) for pixel in range(16)])
    assert stats.chisquare(counts.flatten().numpy(), ddof=30).pvalue > stats.norm.sf(MOST)
    share = explanations.top_share(torch.full((1, 16), 0.3), 100 * 3 / 16)[0]
    assert errors_off((order < 3).flatten(1).double(), share).abs().max() < MOST
    assert (order == zeng_roar.rankings(torch.full((3000, 1, 4, 4), 0.3))).all()
    assert (order != zeng_roar.rankings(torch.full((3000, 1, 4, 4), 0.3), seed=1)).any()


def test_ties_are_random_and_the_rest_is_in_order():
    maps = torch.tensor([5.0, 0.0, -7.0, 0.0, 2.0, 0.0]).repeat(200, 1).reshape(200, 1, 2, 3)
    order = zeng_roar.rankings(maps).flatten(1)
    assert (order[:, [2, 0, 4]] == torch.tensor([0, 1, 2])).all()
    assert {tuple(row) for row in order[:, [1, 3, 5]].tolist()} == {
        (3, 4, 5), (3, 5, 4), (4, 3, 5), (4, 5, 3), (5, 3, 4), (5, 4, 3)
    }  # fmt: skip
    assert (zeng_roar.rankings(maps, "signed").flatten(1)[:, [0, 4, 2]] == torch.tensor([0, 1, 5])).all()


def test_channels_are_summed_or_ranked_by_themselves():
    maps = torch.zeros(1, 3, 1, 3)
    maps[0, :, 0, 0] = torch.tensor([3.0, 3.0, 3.0])
    maps[0, :, 0, 1] = torch.tensor([-8.0, 0.0, 0.0])
    maps[0, :, 0, 2] = torch.tensor([4.0, -5.0, 1.0])
    order = {measure: zeng_roar.rankings(maps, measure)[0, 0, 0].tolist() for measure in zeng_roar.MEASURES}
    # Absolute sums 9, 8, 10; squares 27, 64, 42; signed sums 9, -8, 0.
    assert order == {"absolute": [1, 2, 0], "squared": [2, 0, 1], "signed": [0, 2, 1]}
    single = zeng_roar.rankings(maps, per="channel")
    assert single.shape == maps.shape
    assert single[0, 0, 0, 1] == 0
    assert single[0, 1, 0, 2] == 1
    images = torch.rand(1, 3, 1, 3)
    fill = torch.tensor([0.1, 0.2, 0.3])[:, None, None]
    whole = retraining.removed(images, zeng_roar.rankings(maps), 1 / 3, fill)
    assert (whole[0, :, 0, 2] == fill[:, 0, 0]).all()
    assert (whole[0, :, 0, :2] == images[0, :, 0, :2]).all()
    parts = retraining.removed(images, single, 2 / 9, fill)
    assert (parts != images).nonzero().tolist() == [[0, 0, 0, 1], [0, 1, 0, 2]]
    assert parts[0, 1, 0, 2] == fill[1, 0, 0]


@pytest.mark.stochastic
def test_a_mask_that_tells_the_class_is_found_out(planted_bits, linear):
    attributions = {"telling": Attribution(telling_maps), "random": BASELINES["random"]}
    shares = (1 / 36,)
    masks = run(linear, planted_bits, attributions, shares, sees="mask")
    mean = masks.groupby("attribution")["accuracy"].mean()
    assert mean["telling"] == 1
    assert mean["random"] == guessed(0.25)
    said = words.masks(masks, run(linear, planted_bits, attributions, shares))
    assert "with an accuracy of 1.00" in said


def test_a_map_of_no_class_is_the_length_of_the_jacobian_s_columns(dense_posterior, some_images, some_labels):
    found = zeng_roar.any_class(dense_posterior, some_images, some_labels)
    for index, image in enumerate(some_images):
        jacobian = torch.func.jacrev(lambda x: dense_posterior.logits(x[None])[:, 0].mean(0))(image)
        torch.testing.assert_close(found[index], jacobian.square().sum(0).sqrt())
    assert (found == zeng_roar.any_class(dense_posterior, some_images, some_labels.flip(0))).all()


def test_a_blur_of_a_wide_gaussian_leaves_no_detail(dense_posterior, some_images, some_labels):
    sharp = gradient(dense_posterior, some_images, some_labels).abs()
    soft = zeng_roar.blurred(dense_posterior, some_images, some_labels, width=30.0)
    torch.testing.assert_close(soft, sharp.mean((2, 3), keepdim=True).expand_as(sharp), rtol=0.02, atol=0)
    hardly = zeng_roar.blurred(dense_posterior, some_images, some_labels, width=0.01)
    torch.testing.assert_close(hardly, sharp)


def test_the_explained_class_is_the_prediction_or_the_label(planted_bits, linear):
    wrong = least_squares(linear, planted_bits)
    wrong = Posterior(wrong.network, {**wrong.samples, "1.bias": torch.tensor([[9.0, 0, 0, 0]])})
    images, labels = planted_bits.test_images[:8], planted_bits.test_labels[:8]
    by_prediction, by_label = (
        Attribution(telling_maps, wrong, target=target).order(images, labels).flatten(1)
        for target in ("prediction", "label")
    )
    assert (by_prediction[:, 0] == 0).all()
    assert (by_label.argmin(1) == labels).all()


@pytest.fixture
def small():
    """A sixth of a second's training on noise with planted bits."""
    generator = torch.Generator().manual_seed(1)
    images, labels = torch.rand((120, 1, 4, 4), generator=generator), torch.arange(120) % 2
    images[:, 0, 1, 1] = labels.float()
    return Dataset("small", images[:80], labels[:80], images[80:], labels[80:], ("a", "b"), "made up")


@pytest.mark.slow
@pytest.mark.stochastic
def test_the_number_of_jobs_changes_no_result(small, tmp_path, monkeypatch):
    network = architectures.fully_connected((1, 4, 4), 4, 2)
    given = {"train": inference.sgd, "epochs": 20, "learning_rate": 0.02, "batch_size": 16, "seeds": (0, 1)}
    attributions = {"random": BASELINES["random"]}
    one = run(network, small, attributions, (0.5,), **given)
    monkeypatch.setenv("RELEVANCE_STORE", str(tmp_path / "another"))
    # A network of other weights is the same architecture, and two jobs give what one did.
    two = run(architectures.fully_connected((1, 4, 4), 4, 2), small, attributions, (0.5,), **given, jobs=2)
    pd.testing.assert_frame_equal(one, two)
    assert one["accuracy"].nunique() > 1


def test_a_killed_run_goes_on_where_it_was(planted_bits, linear, monkeypatch):
    some = {name: PLANTED_ATTRIBUTIONS[name] for name in ("perfect", "random")}
    before = store.Store.__call__

    def killed(self, *arguments, **settings):
        if len(CALLS) == 5:
            raise KeyboardInterrupt
        return before(self, *arguments, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(store.Store, "__call__", killed)
        with pytest.raises(KeyboardInterrupt):
            run(linear, planted_bits, some, (0.2, 0.4))
    assert len(CALLS) == 5
    table = run(linear, planted_bits, some, (0.2, 0.4))
    # Two attributions, two shares, two seeds; and what is whole, once for each seed.
    assert len(CALLS) == 10
    again = run(nn.Sequential(nn.Flatten(), nn.Linear(36, 4)), planted_bits, some, (0.2, 0.4))
    assert len(CALLS) == 10
    pd.testing.assert_frame_equal(table, again)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda x, o: zeng_roar.rankings(x, "size"), "measure is 'size'; it may be one of: absolute, signed, squared"),
        (lambda x, o: zeng_roar.rankings(x, per="row"), "per is 'row'; it may be one of: channel, pixel"),
        (lambda x, o: zeng_roar.rankings(x * math.nan), "maps have values that are NaN"),
        (lambda x, o: retraining.removed(x, o, 0, 0.5), "share is 0; it must be a finite number above 0 and at most 1"),
        (lambda x, o: retraining.removed(x, o, 1, 0.5), "share is 1; it must be below 1"),
        (lambda x, o: retraining.removed(x, o[:1], 0.5, torch.zeros(1)), r"order has shape \[1, 1, 6, 6\]"),
        (lambda x, o: Attribution(gradient, target="truth"), "target is 'truth'"),
    ],
)
def test_what_cannot_be_is_said(planted_bits, call, sentence):
    images = planted_bits.test_images[:3]
    with pytest.raises(ValueError, match=sentence):
        call(images, zeng_roar.rankings(images))


def test_what_a_run_cannot_be_is_said_before_it_starts(planted_bits, linear):
    for given, sentence in (
        ({"shares": (0.2, 1.2)}, "share is 1.2"),
        ({"shares": ()}, r"shares are \[\]"),
        ({"seeds": (1, 1)}, r"seeds are \[1, 1\]"),
        ({"sees": "nothing"}, "sees is 'nothing'"),
        ({"jobs": 0}, "jobs is 0"),
    ):
        with pytest.raises(ValueError, match=sentence):
            run(linear, planted_bits, PLANTED_ATTRIBUTIONS, **given)
    assert not CALLS
