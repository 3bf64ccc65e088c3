from __future__ import annotations

import numpy as np
import pytest

from relevance.pages import figures
from relevance.studies.zeng import effects, source, words

pytestmark = pytest.mark.stochastic


@pytest.fixture(scope="module")
def compared(digits, trained):
    images, labels = digits.balanced_test(100, 0)
    size = source.scaled_epsilon(2.5, "l2", digits.image_shape)
    return effects.compare(trained[1], images, labels, linf=0.1, l2=size, n_steps=10)


# On digits


def test_jacobian_regularisation_lowers_the_input_gradient(compared):
    norms = compared["mean gradient"]
    assert norms["Jacobian"] < 0.7 * norms["standard"]
    assert compared.loc["Jacobian", "clean"] > compared.loc["standard", "clean"] - 0.05


def test_adversarial_training_helps_against_an_attack_that_it_was_not_trained_on(compared, trained):
    assert compared.loc["PGD-l2 2.5", "margin linf"] > compared.loc["standard", "margin linf"] + words.CLEARLY
    assert compared.loc["PGD-linf 16/255", "margin l2"] > compared.loc["standard", "margin l2"] + words.CLEARLY
    assert words.transfer(compared, trained[0]).startswith("It helps against the other norm too in all")


def test_distillation_hides_gradients_and_the_margin_attack_undoes_it(compared):
    standard, distilled = compared.loc["standard"], compared.loc["distillation"]
    assert distilled["zero gradients"] > 0.4 > standard["zero gradients"]
    assert distilled["median gradient"] < standard["median gradient"] / 10
    assert distilled["PGD linf"] > standard["PGD linf"] + 0.3
    assert distilled["margin linf"] < standard["margin linf"] + 0.1
    assert "**undone**" in words.undone(compared)


def test_alignment_by_epsilon_is_paired_with_standard_training(digits, trained):
    chosen, posteriors = trained
    images, labels = digits.balanced_test(40, 0)
    rows = effects.bounds(posteriors, images, labels, n_radii=6, n_steps=8)
    standard = rows[rows["training"] == "standard"]
    assert standard["label"].tolist() == labels.tolist()
    assert standard["clean_class"].tolist() == posteriors["standard"].predict(images).argmax(1).tolist()
    curve = effects.by_epsilon(rows, chosen, digits.image_shape)
    sizes = source.sizes(chosen, digits.image_shape)
    assert list(sizes.index) == ["PGD-l2 2.5", "PGD-linf 16/255"]
    part = curve[(curve["norm"] == "l2") & (curve["quantity"] == "rho")]
    means = [rows.loc[rows["training"] == name, "rho"].mean() for name in ("standard", "PGD-l2 2.5")]
    assert part["mean"].tolist() == pytest.approx(means)
    assert part["gain"].tolist() == pytest.approx([0, means[1] - means[0]])
    assert part["epsilon"].tolist() == [0, sizes.loc["PGD-l2 2.5", "here"]]
    assert np.all(curve["low"] <= curve["mean"])
    # Training moves the boundary away.
    assert part["gain low"].iloc[1] > 0
    assert "As the attack in training grows, so do all 4 lengths: how far" in words.alignment(curve)
    for picture in (
        figures.alignment_by_epsilon(curve),
        figures.saliency_by_training(images[:2], dict.fromkeys(chosen, images[:2] - 0.5)),
    ):
        assert len(picture.axes) > 1
    with pytest.raises(ValueError, match="standard training among the rows is 'standard'"):
        effects.by_epsilon(rows[rows["training"] != "standard"], chosen, digits.image_shape)
    with pytest.raises(ValueError, match="at least one must be PGD's"):
        effects.by_epsilon(rows, {"standard": chosen["standard"]}, digits.image_shape)
