from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from oracles import FakeOutcome, FakePosterior, made_up_scores, planted_scores
from relevance.explanations.rules import Epsilon
from relevance.studies import experiment, tables
from relevance.studies.carbone import geometry, words
from relevance.studies.differences import paired_differences
from relevance.studies.experiment import Settings


def test_without_a_failed_attack_that_is_said():
    none = FakeOutcome([False, False, False], [0.9, 0.5, 0.1])
    shown = experiment.representative({"a": none})
    assert shown == 1
    assert "no failed attack can be shown" in words.failed_attacks({"a": none}, shown)


class FakeData:
    name = "digits"


SCORED = Settings(0.1, Epsilon(), 20)


def answer(outcome_rows, **diagnostics):
    return words.answer(outcome_rows, FakeData(), FakePosterior(**diagnostics), SCORED)


@pytest.mark.parametrize(
    ("shift", "verdict", "words"),
    [
        (0.1, "is **more robust** than", "a difference of +0.100 (95 % interval +0.100 to +0.100) over 20 images"),
        (-0.1, "is **less robust** than", "a difference of \N{MINUS SIGN}0.100"),
        (0.0, "is **as robust** as that of the deterministic network, within 0.02,", "a difference of 0.000"),
    ],
)
def test_the_answer_follows_the_numbers(shift, verdict, words):
    scores = np.linspace(0.3, 0.6, 20)
    text = answer(made_up_scores(scores, scores + shift))
    assert verdict in text
    assert words in text
    assert f"{0.45 + shift:.3f} against 0.450" in text
    assert "under a one-step attack of size 0.1 on" in text
    assert "have not converged" not in text
    assert "have not converged" in answer(made_up_scores(scores, scores), certificate="not converged")


def test_the_scaled_score_stands_beside_the_verdict():
    scores = np.linspace(0.3, 0.6, 20)
    table = made_up_scores(scores, scores + 0.1)
    table.loc[table["model"] == "10 samples", "unrelated_lrp_robustness"] = 0.5
    text = answer(table)
    assert "is **more robust** than" in text
    # (0.55 - 0.5) / (1 - 0.5) beside (0.45 - 0.2) / (1 - 0.2).
    assert "as a share of the room above unrelated maps, it is lower, \N{MINUS SIGN}0.212" in text
    noisy = np.where(np.arange(20) % 2, scores - 0.1, scores + 0.11)
    assert "**cannot be told apart** in robustness from" in answer(made_up_scores(scores, noisy))


def test_the_answer_is_that_of_the_most_samples_whatever_the_order():
    scores = np.linspace(0.3, 0.6, 20)
    table = pd.concat([
        made_up_scores(scores, scores + 0.2, "100 samples", 100),
        made_up_scores(scores, scores - 0.1, "1 sample", 1).query("model != 'deterministic'"),
    ])  # fmt: skip
    text = answer(table)
    assert "averaged over 100 samples of the posterior is **more robust**" in text
    assert (
        "A single draw of the posterior is less robust than the deterministic network; from it to 100 samples the"
        in text
    )
    assert "difference is +0.300" in text
    assert "A single draw" not in answer(table.query("model != '1 sample'"))
    assert "A single draw" not in answer(table.query("model != '100 samples'"))


def test_images_whose_prediction_stays_are_told_apart():
    scores = np.linspace(0.3, 0.6, 20)
    table = made_up_scores(scores, np.where(np.arange(20) < 12, scores + 0.1, scores - 0.1))
    assert "before and after the attack" not in answer(table)  # all images are such
    table.loc[(table["model"] == "10 samples") & (table["image"] >= 12), "attacked_class"] = 1
    assert (
        "On 12 of them both models predict rightly before and after the attack; there the difference is +0.100"
        in answer(table)
    )
    table.loc[table["image"] >= 5, "clean_class"] = 1
    assert "On 5 of them both models predict rightly before and after the attack: too few" in answer(table)
    single = table[table["model"] == "deterministic"].assign(model="1 sample", attacked_class=1)
    assert "On 5 of them" in answer(pd.concat([table, single]))  # a third model's failures do not count
    assert tables.surviving(table)["image"].unique().tolist() == [0, 1, 2, 3, 4]


def test_a_comparison_names_each_model_with_its_own_direction():
    scores = np.linspace(0.3, 0.6, 20)
    differences = paired_differences(made_up_scores(scores, scores - 0.1), "deterministic")
    assert words.comparison(differences, "the deterministic network", "score") == (
        "Compared with the deterministic network over the same 20 images, the mean score is lower with 10 samples, by "
        "\N{MINUS SIGN}0.100 (95 % interval \N{MINUS SIGN}0.100 to \N{MINUS SIGN}0.100)."
    )


def test_a_blind_attack_is_said():
    table = made_up_scores([0.1, 0.2], [0.3, 0.4])
    assert "No image's gradient is zero in every pixel" in words.attack_strength(table)
    table.loc[0, "gradient_is_zero"] = True
    assert "On 1 of 2 (deterministic) images the gradient is exactly zero" in words.attack_strength(table)
    assert "deterministic from 100% to 100%" in words.attack_strength(table)


def test_the_theorem_is_judged_by_the_largest_case():
    cases = []
    for count, inside in ((50, 0.0), (800, 0.6)):
        row = {"manifold": "sphere", "method": "hmc", "training points": count, "width": 16, "R-hat": 1.02}
        for part, value in ((geometry.OUTSIDE, 0.001), (geometry.CURVED, inside)):
            row |= {part: value, f"{part}, low": value - 0.01, f"{part}, high": value + 0.01}
        cases.append(row)
    found = words.theorem(pd.DataFrame(cases))
    assert found[geometry.OUTSIDE].startswith("vanishes: sphere 0.00")
    wide = words.theorem(pd.DataFrame(cases).assign(**{f"{geometry.OUTSIDE}, high": 0.2}))
    assert wide[geometry.OUTSIDE].startswith("cannot be told from zero: sphere 0.00")
    assert found[geometry.CURVED].startswith("premise not met: sphere 0.60 [0.59, 0.61], R-hat 1.02")


def test_noise_that_does_as_much_is_named():
    rows = planted_scores({"deterministic": lambda attack, layer: 0.1 if attack == "PGD" else 0.0, "Bayesian, 10": 0.0},
                 attacks=("FGSM", "PGD", "noise")).assign(rule="epsilon")  # fmt: skip
    rows.loc[rows["attack"] == "FGSM", "lrp_robustness"] -= 0.3
    told = words.against_noise(rows)
    assert "deterministic, epsilon: PGD" in told
    assert "FGSM" not in told
    assert "not known" in words.against_noise(rows[rows["attack"] != "noise"])


def test_the_steps_of_a_ladder_are_told_in_one_sentence():
    rows = pd.DataFrame({
        "n_train": 600, "prior scale": [0.2] * 4 + [1.0], "attack": ["PGD"] * 5,
        "step": ["prior", "averaging", "posterior beyond it", "all together", "prior"],
        "mean": [0.041, 0.001, 0.002, 0.044, 0.3], "standing": ["higher", "equivalent", "equivalent", "higher", "higher"],
    })  # fmt: skip
    assert words.when_in_short(rows, "PGD", 0.2) == (
        "**Bayesian explanations are steadier than those of ordinary networks (+0.044).** What steadies them is the prior "
        "(+0.041); no difference that counts comes from averaging over networks (+0.001) and the rest of the posterior (+0.002). "
        "A single network can have the prior, too."
    )
    assert words.when_in_short(rows, "FGSM", 0.2) == "No step of the ladder is measured."
    worse = words.when_in_short(
        rows.assign(standing=["lower", "undecided", "undecided", "lower", "higher"]), "PGD", 0.2
    )
    assert worse.startswith(
        "**Bayesian explanations are less steady than those of ordinary networks (+0.044).** What makes them"
    )
    assert "them less steady is the prior (+0.041); undecided is averaging" in worse
    assert "A single network" not in worse


def test_how_much_of_a_gradient_is_across_is_said():
    along = torch.tensor([[[3.0, 0.0]], [[3.0, 0.0]]])
    across = torch.tensor([[[0.0, 4.0]], [[0.0, -4.0]]])
    assert words.averaging({geometry.ALONG: along, geometry.ACROSS: across}) == (
        "Across the (estimated) manifold lie 0% of the averaged gradient's squared length, and 64% of a single sample's."
    )
