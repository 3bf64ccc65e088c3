"""Whether a posterior predicts what its source does: every cause that is known is named, and rounding is no cause."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from oracles import random_posterior
from relevance.networks import agreement, architectures
from relevance.networks.layouts import columns
from relevance.networks.posterior import Posterior

IMAGES = torch.rand((3, 3, 4, 4), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
SQUARE = architectures.fully_connected((3, 4, 4), hidden=6, n_classes=4).double()
POSTERIOR = random_posterior(SQUARE, n_samples=3)
LOGITS = POSTERIOR.logits(IMAGES)


def other(**changed):
    return Posterior(
        POSTERIOR.network, {**POSTERIOR.samples, **{name.replace("_", "."): v for name, v in changed.items()}}
    )


def test_the_same_agrees_and_says_what_was_compared():
    assert agreement.compared(POSTERIOR, IMAGES, LOGITS) == {"images": 3, "largest difference": 0.0}
    assert agreement.compared(POSTERIOR, IMAGES.float(), LOGITS.float())["largest difference"] < 1e-5


@pytest.mark.parametrize("mean", [LOGITS.mean(0), LOGITS.softmax(-1).mean(0)], ids=["of logits", "of probabilities"])
def test_a_mean_agrees_and_another_does_not(mean):
    assert agreement.compared(POSTERIOR, IMAGES, mean)["largest difference"] < 1e-12
    with pytest.raises(ValueError, match="the mean over the draws differs by up to"):
        agreement.compared(POSTERIOR[:2], IMAGES, mean)


def test_a_difference_names_its_draw_and_size():
    wanted = LOGITS.clone()
    wanted[1, 2, 3] += 0.5
    off = agreement.difference(LOGITS, wanted)
    assert (off.draw, off.agrees) == (1, False)
    assert off.largest == pytest.approx(0.5)
    assert off.size == wanted.abs().max()
    with pytest.raises(
        ValueError, match="draw 1 differs by up to 0.5 from the source, .*likely the source was in training"
    ):
        agreement.compared(POSTERIOR, IMAGES, wanted)


def test_a_transposed_square_weight_is_named():
    wrong = other(**{"3_weight": POSTERIOR.samples["3.weight"].mT})
    with pytest.raises(ValueError, match="draw [012] differs by .*agree .3.weight transposed would, .*layout='jax'"):
        agreement.compared(wrong, IMAGES, LOGITS)


def test_one_of_two_square_weights_is_named():
    network = nn.Sequential(
        nn.Flatten(), nn.Linear(48, 5), nn.ReLU(), nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 5)
    ).double()
    right = random_posterior(network, n_samples=2)
    wrong = Posterior(network, {**right.samples, "5.weight": right.samples["5.weight"].mT})
    both = Posterior(network, {**wrong.samples, "3.weight": right.samples["3.weight"].mT})
    with pytest.raises(ValueError, match="agree .5.weight transposed would, so"):
        agreement.compared(wrong, IMAGES, right.logits(IMAGES))
    with pytest.raises(ValueError, match="agree .3.weight, 5.weight transposed would, so"):
        agreement.compared(both, IMAGES, right.logits(IMAGES))


@pytest.mark.parametrize("turn", [False, True])
def test_columns_in_another_order_are_named(turn):
    shape = (3, 4, 4)
    samples = dict(POSTERIOR.samples)
    # What is given in the order H, W, C.
    samples["1.weight"] = samples["1.weight"].reshape(3, 6, *shape).movedim(2, -1).reshape(3, 6, 48)
    assert torch.equal(columns(samples["1.weight"], shape), POSTERIOR.samples["1.weight"])
    if turn:
        samples["3.weight"] = samples["3.weight"].mT
    with pytest.raises(ValueError, match=r"1\.weight with its columns from H, W, C.* would, so") as error:
        agreement.compared(Posterior(POSTERIOR.network, samples), IMAGES, LOGITS)
    assert ("square weights transposed" in str(error.value)) is turn


def test_outputs_of_softmax_and_another_order_of_draws_are_named():
    for wanted, cause in (
        (LOGITS.softmax(-1), "softmax outputs, and check must have the logits"),
        (LOGITS.log_softmax(-1), "log-softmax outputs, and check must have the logits"),
        (LOGITS[[2, 0, 1]], "the same draws in another order would"),
    ):
        with pytest.raises(ValueError, match=cause):
            agreement.compared(POSTERIOR, IMAGES, wanted)


@pytest.mark.parametrize("shape", [(2, 3, 4), (3, 3, 5), (3,), (3, 2, 3, 4), (1, 3, 3, 4)])
def test_logits_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match="logits of check have shape .* they must have shape "):
        agreement.compared(POSTERIOR, IMAGES, torch.zeros(shape, dtype=torch.float64))


def test_every_sentence_is_short():
    deep = nn.Sequential(nn.Flatten(), nn.Linear(48, 5), *[nn.Linear(5, 5) for _ in range(20)]).double()
    right = random_posterior(deep, n_samples=2)
    wrong = Posterior(deep, {n: v.mT if n != "1.weight" and v.ndim == 3 else v for n, v in right.samples.items()})
    with pytest.raises(ValueError, match="transposed would, so") as error:
        agreement.compared(wrong, IMAGES, right.logits(IMAGES))
    assert len(str(error.value)) <= 300
