"""ROAR against what is planted: classes that sit in known pixels, and closed forms of what is left of them."""

from __future__ import annotations

import copy
import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from torch import nn

from oracles import MOST, errors_off
from relevance import figures, inference, networks, removal, retraining, roar, robustness, workers, zeng
from relevance.datasets import Dataset
from relevance.explanations import gradient
from relevance.posterior import Posterior
from relevance.roar import BASELINES, Attribution

KNOWN = (8, 27)  # of 36 pixels; each holds one of two bits of the class
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


def planted_maps(posterior, images, target):
    maps = torch.zeros_like(images).flatten(1)
    maps[:, KNOWN] = 1.0
    return maps.reshape(images.shape)


def inverted_maps(posterior, images, target):
    return -planted_maps(posterior, images, target)


def half_known_maps(posterior, images, target):
    maps = torch.zeros_like(images).flatten(1)
    maps[:, KNOWN[0]] = 1.0
    return maps.reshape(images.shape)


def telling_maps(posterior, images, target):
    """Point at a noise pixel for each class: which pixel is gone says what the target is."""
    maps = torch.zeros_like(images).flatten(1)
    maps[torch.arange(len(images)), target] = 1.0
    return maps.reshape(images.shape)


@pytest.fixture(scope="module")
def planted():
    """Images of 6x6 pixels: noise, but for two pixels that are black or white as the class's two bits say."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand((4000, 36), generator=generator)
    labels = torch.arange(4000) % 4
    images[:, KNOWN[0]], images[:, KNOWN[1]] = (labels % 2).float(), (labels // 2).float()
    images = images.reshape(-1, 1, 6, 6)
    return Dataset("planted", images[:2000], labels[:2000], images[2000:], labels[2000:], tuple("abcd"), "made up")


@pytest.fixture
def linear():
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 4))


@pytest.fixture(autouse=True)
def _own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("RELEVANCE_STORE", str(tmp_path / "store"))
    CALLS.clear()


def run(network, data, attributions, shares=(0.2, 0.4, 0.8), **settings):
    given = {"train": least_squares, "seeds": (0, 1), "jobs": 1, **settings}
    return roar.roar(network, data, attributions, shares, **given)


def guessed(accuracy):
    """Return what a share of the 2000 test images may be that are right by chance, in so many standard errors."""
    return pytest.approx(accuracy, abs=MOST * (accuracy * (1 - accuracy) / 2000) ** 0.5)


PLANTED = {
    "perfect": Attribution(planted_maps),
    "half": Attribution(half_known_maps),
    "random": BASELINES["random"],
    "inverted": Attribution(inverted_maps, measure="signed"),
}


@pytest.mark.stochastic
def test_roar_tells_the_planted_truth(planted, linear):
    table = run(linear, planted, PLANTED)
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
    found = removal.differences(table, ("random",))
    assert list(found.index) == ["perfect", "half", "random", "inverted"]
    said = removal.told(table, ("random",))
    assert said.index("sooner") < said.index("perfect (") < said.index("half (") < said.index("**later**")
    assert said.index("**later**") < said.index("inverted (")


@pytest.mark.stochastic
def test_a_network_that_is_explained_ranks_what_it_uses(planted, linear):
    explained = least_squares(linear, planted)
    attributions = {"gradient": Attribution(gradient, explained), **BASELINES}
    table = run(linear, planted, attributions, shares=(0.2,))
    mean = table.groupby(["attribution", "share"])["accuracy"].mean()
    assert mean["gradient", 0.2] == guessed(0.25)
    # Sobel's filters know nothing of classes, though black and white pixels have steeper surroundings than noise.
    assert mean["gradient", 0.2] < mean["Sobel", 0.2] - 0.1


@pytest.mark.stochastic
def test_a_constant_map_says_so_much_as_a_random_order():
    order = roar.rankings(torch.full((3000, 1, 4, 4), 0.3))
    assert (order.flatten(1).sort(1).values == torch.arange(16)).all()
    # Each pixel is at each place equally often.
    counts = torch.stack([torch.bincount(order.flatten(1)[:, pixel].long(), minlength=16) for pixel in range(16)])
    assert stats.chisquare(counts.flatten().numpy(), ddof=30).pvalue > stats.norm.sf(MOST)
    share = robustness.top_share(torch.full((1, 16), 0.3), 100 * 3 / 16)[0]
    assert errors_off((order < 3).flatten(1).double(), share).abs().max() < MOST
    assert (order == roar.rankings(torch.full((3000, 1, 4, 4), 0.3))).all()
    assert (order != roar.rankings(torch.full((3000, 1, 4, 4), 0.3), seed=1)).any()


def test_ties_are_random_and_the_rest_is_in_order():
    maps = torch.tensor([5.0, 0.0, -7.0, 0.0, 2.0, 0.0]).repeat(200, 1).reshape(200, 1, 2, 3)
    order = roar.rankings(maps).flatten(1)
    assert (order[:, [2, 0, 4]] == torch.tensor([0, 1, 2])).all()
    assert {tuple(row) for row in order[:, [1, 3, 5]].tolist()} == {
        (3, 4, 5), (3, 5, 4), (4, 3, 5), (4, 5, 3), (5, 3, 4), (5, 4, 3)
    }  # fmt: skip
    assert (roar.rankings(maps, "signed").flatten(1)[:, [0, 4, 2]] == torch.tensor([0, 1, 5])).all()


def test_channels_are_summed_or_ranked_by_themselves():
    maps = torch.zeros(1, 3, 1, 3)
    maps[0, :, 0, 0] = torch.tensor([3.0, 3.0, 3.0])
    maps[0, :, 0, 1] = torch.tensor([-8.0, 0.0, 0.0])
    maps[0, :, 0, 2] = torch.tensor([4.0, -5.0, 1.0])
    order = {measure: roar.rankings(maps, measure)[0, 0, 0].tolist() for measure in roar.MEASURES}
    # Absolute sums 9, 8, 10; squares 27, 64, 42; signed sums 9, -8, 0.
    assert order == {"absolute": [1, 2, 0], "squared": [2, 0, 1], "signed": [0, 2, 1]}
    single = roar.rankings(maps, per="channel")
    assert single.shape == maps.shape
    assert single[0, 0, 0, 1] == 0
    assert single[0, 1, 0, 2] == 1
    images = torch.rand(1, 3, 1, 3)
    fill = torch.tensor([0.1, 0.2, 0.3])[:, None, None]
    whole = roar.removed(images, roar.rankings(maps), 1 / 3, fill)
    assert (whole[0, :, 0, 2] == fill[:, 0, 0]).all()
    assert (whole[0, :, 0, :2] == images[0, :, 0, :2]).all()
    parts = roar.removed(images, single, 2 / 9, fill)
    assert (parts != images).nonzero().tolist() == [[0, 0, 0, 1], [0, 1, 0, 2]]
    assert parts[0, 1, 0, 2] == fill[1, 0, 0]


def test_what_is_removed_becomes_the_mean_of_the_training_images():
    generator = torch.Generator().manual_seed(3)
    train, test = torch.rand((50, 3, 4, 4), generator=generator) * 0.5, torch.ones((20, 3, 4, 4))
    train[:, 1] += 0.5
    labels = torch.arange(50) % 2
    data = Dataset("colours", train, labels, test, labels[:20], ("a", "b"), "made up")
    fill = roar.channel_mean(data)
    np.testing.assert_allclose(fill[:, 0, 0], train.numpy().mean((0, 2, 3)), rtol=1e-6)
    seen = []

    def look(network, data, *, seed, progress):
        seen.append(data)
        return Posterior.of(network)

    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 2))
    orders = tuple(BASELINES["random"].order(images, labels[: len(images)]) for images in (train, test))
    retraining.retrained(network, data, look, {}, orders=orders, share=0.25)
    for images, changed in ((train, seen[0].train_images), (test, seen[0].test_images)):
        gone = (changed != images).all(1)
        assert (gone.flatten(1).sum(1) == 4).all()
        assert torch.equal(changed, torch.where(gone[:, None], fill, images))


@pytest.mark.stochastic
def test_a_mask_that_tells_the_class_is_found_out(planted, linear):
    attributions = {"telling": Attribution(telling_maps), "random": BASELINES["random"]}
    shares = (1 / 36,)
    masks = run(linear, planted, attributions, shares, sees="mask")
    mean = masks.groupby("attribution")["accuracy"].mean()
    assert mean["telling"] == 1
    assert mean["random"] == guessed(0.25)
    said = removal.told_by_masks(masks, run(linear, planted, attributions, shares), 4)
    assert "1.000 for telling and" in said
    # By the least squares both seeds are the same, so the random mask's interval has no width: either side of chance.
    assert "chance (telling" in said
    assert "better than from the image" not in said


def test_a_map_of_no_class_is_the_length_of_the_jacobian_s_columns(dense_posterior, some_images, some_labels):
    found = roar.any_class(dense_posterior, some_images, some_labels)
    for index, image in enumerate(some_images):
        jacobian = torch.func.jacrev(lambda x: dense_posterior.logits(x[None])[:, 0].mean(0))(image)
        torch.testing.assert_close(found[index], jacobian.square().sum(0).sqrt())
    assert (found == roar.any_class(dense_posterior, some_images, some_labels.flip(0))).all()


def test_a_blur_of_a_wide_gaussian_leaves_no_detail(dense_posterior, some_images, some_labels):
    sharp = gradient(dense_posterior, some_images, some_labels).abs()
    soft = roar.blurred(dense_posterior, some_images, some_labels, width=30.0)
    torch.testing.assert_close(soft, sharp.mean((2, 3), keepdim=True).expand_as(sharp), rtol=0.02, atol=0)
    hardly = roar.blurred(dense_posterior, some_images, some_labels, width=0.01)
    torch.testing.assert_close(hardly, sharp)


def test_the_explained_class_is_the_prediction_or_the_label(planted, linear):
    wrong = least_squares(linear, planted)
    wrong = Posterior(wrong.network, {**wrong.samples, "1.bias": torch.tensor([[9.0, 0, 0, 0]])})
    images, labels = planted.test_images[:8], planted.test_labels[:8]
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
    network = networks.fully_connected((1, 4, 4), 4, 2)
    given = {"train": inference.sgd, "epochs": 20, "learning_rate": 0.02, "batch_size": 16, "seeds": (0, 1)}
    attributions = {"random": BASELINES["random"]}
    one = run(network, small, attributions, (0.5,), **given)
    monkeypatch.setenv("RELEVANCE_STORE", str(tmp_path / "another"))
    # A network of other weights is the same architecture, and two jobs give what one did.
    two = run(networks.fully_connected((1, 4, 4), 4, 2), small, attributions, (0.5,), **given, jobs=2)
    pd.testing.assert_frame_equal(one, two)
    assert one["accuracy"].nunique() > 1


def test_a_killed_run_goes_on_where_it_was(planted, linear, monkeypatch):
    some = {name: PLANTED[name] for name in ("perfect", "random")}
    before = workers.Store.__call__

    def killed(self, *arguments, **settings):
        if len(CALLS) == 5:
            raise KeyboardInterrupt
        return before(self, *arguments, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(workers.Store, "__call__", killed)
        with pytest.raises(KeyboardInterrupt):
            run(linear, planted, some, (0.2, 0.4))
    assert len(CALLS) == 5
    table = run(linear, planted, some, (0.2, 0.4))
    # Two attributions, two shares, two seeds; and what is whole, once for each seed.
    assert len(CALLS) == 10
    again = run(nn.Sequential(nn.Flatten(), nn.Linear(36, 4)), planted, some, (0.2, 0.4))
    assert len(CALLS) == 10
    pd.testing.assert_frame_equal(table, again)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda x, o: roar.rankings(x, "size"), "measure is 'size'; it may be one of: absolute, signed, squared"),
        (lambda x, o: roar.rankings(x, per="row"), "per is 'row'; it may be one of: channel, pixel"),
        (lambda x, o: roar.rankings(x * math.nan), "maps have values that are NaN"),
        (lambda x, o: roar.removed(x, o, 0, 0.5), "share is 0; it must be a finite number above 0 and at most 1"),
        (lambda x, o: roar.removed(x, o, 1, 0.5), "share is 1; it must be below 1"),
        (lambda x, o: roar.removed(x, o[:1], 0.5, torch.zeros(1)), r"order has shape \[1, 1, 6, 6\]"),
        (lambda x, o: Attribution(gradient, target="truth"), "target is 'truth'"),
    ],
)
def test_what_cannot_be_is_said(planted, call, sentence):
    images = planted.test_images[:3]
    with pytest.raises(ValueError, match=sentence):
        call(images, roar.rankings(images))


def test_what_a_run_cannot_be_is_said_before_it_starts(planted, linear):
    for given, sentence in (
        ({"shares": (0.2, 1.2)}, "share is 1.2"),
        ({"shares": ()}, r"shares are \[\]"),
        ({"seeds": (1, 1)}, r"seeds are \[1, 1\]"),
        ({"sees": "nothing"}, "sees is 'nothing'"),
        ({"jobs": 0}, "jobs is 0"),
    ):
        with pytest.raises(ValueError, match=sentence):
            run(linear, planted, PLANTED, **given)
    assert not CALLS


def curves(**by_name):
    """A table of straight curves: accuracy 1 - slope x share, each seed with an offset."""
    rows = [
        {"attribution": name, "share": share, "seed": seed, "accuracy": 1 - slope * share + offset}
        for name, (slope, offsets) in by_name.items()
        for share in (0.0, 0.5)
        for seed, offset in enumerate(offsets)
    ]
    return pd.DataFrame(rows)


def test_summaries_against_closed_forms():
    table = curves(random=(0.2, [0, 0.1, 0.2]), Sobel=(0.2, [0.01, 0.08, 0.21]), good=(0.8, [0, 0.1, 0.2]))
    half = stats.t.ppf(0.975, 2) * 0.1 / math.sqrt(3)
    found = removal.accuracies(table)
    assert tuple(found.loc[1, ["mean", "low", "high"]]) == pytest.approx((1.0, 1.0 - half, 1.0 + half))
    same = stats.t.interval(0.95, 2, loc=1.0, scale=stats.sem([0.9, 1.0, 1.1]))
    assert tuple(found.loc[1, ["low", "high"]]) == pytest.approx(same)
    np.testing.assert_allclose(removal.areas(table).loc["good"], [0.8, 0.9, 1.0])
    rows = removal.differences(table)
    assert rows.index[0] == "good"
    # Paired by seed, the offsets cancel.
    assert tuple(removal.compared(rows.loc["good"], "random")) == pytest.approx((-0.15, -0.15, -0.15))
    said = removal.told(table)
    assert "sooner than in the random order for good (" in said
    assert "Not told apart from the random order by 3 seeds: Sobel" in said
    assert "*good* falls **sooner** than that of *random*" in removal.told_by_pair(table, "good", "random")
    assert math.isnan(removal.t_interval([0.5]).low)
    with pytest.raises(ValueError, match="baselines is 'random'"):
        removal.differences(table[table["attribution"] == "good"])


def test_the_source_s_table_stands_beside_ours():
    source = zeng.table_1()
    assert len(source) == 14 * 4
    one = source[(source["norm"] == "linf") & (source["epsilon"] == "8/255") & (source["steps"] == 40)]
    assert list(one["accuracy"]) == [0.8943, 0.8405, 0.7703, 0.6524]
    table = pd.concat([curves(random=(0.2, [0, 0.1]))] * 1).replace({"share": {0.5: 0.4}})
    rows = removal.beside(table)
    assert list(rows.columns) == ["40% removed"]
    assert rows.loc["source, PGD l2", "40% removed"] == "0.815 to 0.838"
    assert list(rows.index[-1:]) == ["random"]


def test_a_curve_that_rises_as_more_is_removed_is_said():
    falling = curves(good=(0.8, [0, 0.1, 0.2]), Sobel=(0.2, [0, 0.1, 0.2]))
    assert "No curve rises" in removal.told_rises(falling)
    rising = curves(good=(0.8, [0, 0.1, 0.2]), leaky=(-0.4, [0, 0.1, 0.2]))
    said = removal.told_rises(rising)
    assert "from 0% to 50% for leaky (+0.200)." in said
    assert "good" not in said


def test_many_names_are_not_all_read_out():
    said = removal.told(curves(random=(0.2, [0, 0.1]), **{f"map {index}": (0.3 + index / 100, [0, 0.1]) for index in range(9)}),
                        ("random",))  # fmt: skip
    assert said.count("map") == 6
    assert "and 6 more, the last map 0" in said


def test_what_size_steps_and_norm_do_is_by_paired_areas():
    names = {"PGD-l2 1, 20 steps": 0.2, "PGD-l2 2.5, 20 steps": 0.4, "PGD-l2 1, 40 steps": 0.2, "PGD-l2 2.5, 40 steps": 0.4,
             "PGD-linf 16/255, 20 steps": 0.3, "PGD-linf 16/255, 40 steps": 0.3}  # fmt: skip
    said = removal.told_settings(
        curves(**{name: (slope, [0, 0.1]) for name, slope in names.items()}, random=(0.9, [0, 0.1]))
    )
    minus = "\N{MINUS SIGN}0.100"
    assert f"largest epsilon in l2 by {minus} (95 % interval {minus} to {minus})" in said
    assert "epsilon in linf" not in said
    assert "from 20 to 40 steps, in the mean over sizes, by 0.000" in said
    assert "from l2 to linf, in the mean over sizes and steps, by 0.000" in said
    # By hand from the source's table: means of its trapezoids.
    whole = zeng.table_1().pivot(index=["norm", "epsilon", "steps"], columns="share", values="accuracy")
    areas = (whole[0.2] / 2 + whole[0.4] + whole[0.6] + whole[0.8] / 2) / 3
    gap = areas["linf"].mean() - areas["l2"].mean()
    assert f"sizes and steps, by {gap:+.3f}." in removal.told_settings(zeng.as_roar())


def test_figures_draw_every_attribution_and_every_share(planted):
    table = curves(random=(0.2, [0, 0.1]), Sobel=(0.2, [0.01, 0.08]), good=(0.8, [0, 0.1]))
    figure = figures.removal_curves(removal.accuracies(table), chance=0.25)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["random", "Sobel", "good"]
    orders = {name: PLANTED[name].order(planted.test_images[:1], planted.test_labels[:1])[0] for name in PLANTED}
    drawn = figures.removals(planted.test_images[0], orders, (0.2, 0.8), torch.tensor([[[0.5]]]))
    assert [axis.get_title() for axis in drawn.axes[:3]] == ["0%", "20%", "80%"]
    shown = np.asarray(drawn.axes[2].images[0].get_array())
    assert (shown == 0.5).sum() == 29
