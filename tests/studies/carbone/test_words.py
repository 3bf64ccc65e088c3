from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from oracles import FakePosterior, made_up_scores
from relevance.studies.carbone import words


def settings(**counts):
    """Settings of a claim, so many of each standing, with differences from 0.1 upwards."""
    standings = [name for name, count in counts.items() for _ in range(count)]
    return pd.DataFrame({
        "standing": [name.replace("_", " ") for name in standings], "mean": [0.1 + 0.01 * at for at in range(len(standings))],
        "reason": ["at chance" if name == "not_judged" else "" for name in standings],
    })  # fmt: skip


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (settings(higher=3), "Bayesian explanations are steadier than others in all 3 settings (+0.100 to +0.120)."),
        (settings(lower=2), "Bayesian explanations are less steady than others in both settings (+0.100 to +0.110)."),
        (settings(equivalent=1), "Bayesian explanations are as steady as others (+0.100)."),
        (settings(higher=2, undecided=1, not_judged=4),
         "Bayesian explanations are steadier than others in 2 of 3 settings, and not to be told from them in 1."),
        (settings(undecided=3, equivalent=1, higher=1),
         "Bayesian explanations are not to be told from others in 3 of 5 settings, as steady as them in 1 and steadier than them "
         "in 1."),
        (settings(not_judged=2), "Whether Bayesian explanations are steadier than others cannot be judged here: at chance."),
        (settings(),
         "Whether Bayesian explanations are steadier than others cannot be judged here: there is nothing to compare."),
    ],
)  # fmt: skip
def test_the_word_for_most_settings_comes_with_their_number(found, told):
    assert words.steadiness(found, "others") == told


def test_a_link_is_told_with_the_attacks_that_show_it():
    found = settings(higher=2).assign(attack=["FGSM", "PGD"])
    assert words.linked(found, "Bayesian") == (
        "Maps of Bayesian networks hold better where predictions do under FGSM (rank correlation +0.100) and PGD (+0.110)."
    )
    mixed = settings(undecided=1, equivalent=1).assign(attack=["FGSM", "PGD"])
    assert words.linked(mixed, "deterministic") == (
        "Maps of deterministic networks show no link that counts to predictions under PGD (rank correlation +0.110); they show a "
        "link that cannot be told from none under FGSM (+0.100)."
    )
    none = settings(not_judged=2).assign(attack=["FGSM", "PGD"])
    assert words.linked(none, "any").endswith("networks hold better where predictions do cannot be judged here.")


def answer(outcome_rows, **diagnostics):
    return words.answer(outcome_rows, "digits", FakePosterior(**diagnostics))


@pytest.mark.parametrize(
    ("shift", "verdict", "numbers"),
    [
        (0.1, "**steadier than** that of the deterministic network", "by +0.100 (95 % interval +0.100 to +0.100)"),
        (-0.1, "**less steady than** that", "by \N{MINUS SIGN}0.100"),
        (0.0, "**as steady as** that of the deterministic network", "by 0.000"),
    ],
)
def test_the_answer_follows_the_numbers(shift, verdict, numbers):
    scores = np.linspace(0.3, 0.6, 20)
    text = answer(made_up_scores(scores, scores + shift))
    assert text.startswith("On digits, under a one-step attack on the prediction, ")
    assert verdict in text
    assert numbers in text
    assert "have not converged" not in text
    assert "have not converged" in answer(made_up_scores(scores, scores), certificate="not converged")


def test_a_scaled_score_that_says_otherwise_is_said():
    scores = np.linspace(0.3, 0.6, 20)
    table = made_up_scores(scores, scores + 0.1)
    assert "As a share of the room" not in answer(table)
    table.loc[table["model"] == "10 samples", "unrelated_lrp_robustness"] = 0.5
    assert "As a share of the room above unrelated maps it is less steady than it." in answer(table)
    noisy = np.where(np.arange(20) % 2, scores - 0.1, scores + 0.11)
    assert "**not to be told from** that" in answer(made_up_scores(scores, noisy))


def test_the_answer_is_that_of_the_most_samples_whatever_the_order():
    scores = np.linspace(0.3, 0.6, 20)
    table = pd.concat([
        made_up_scores(scores, scores + 0.2, "100 samples", 100),
        made_up_scores(scores, scores - 0.1, "1 sample", 1).query("model != 'deterministic'"),
    ])  # fmt: skip
    assert "by +0.200 (" in answer(table)
    assert "by \N{MINUS SIGN}0.100 (" in answer(table.query("model != '100 samples'"))


def test_the_steps_of_a_ladder_are_told_in_one_sentence():
    rows = pd.DataFrame({
        "n_train": 600, "prior scale": [0.2] * 4 + [1.0], "attack": ["PGD"] * 5,
        "step": ["prior", "averaging", "posterior beyond it", "all together", "prior"],
        "mean": [0.041, 0.001, 0.002, 0.044, 0.3], "standing": ["higher", "equivalent", "equivalent", "higher", "higher"],
        "scaled": 0.031, "scaled standing": "equivalent",
    })  # fmt: skip
    assert words.when_in_short(rows, "PGD", 0.2) == (
        "**Bayesian explanations are steadier than those of ordinary networks (+0.044 under PGD).** What steadies them is the "
        "prior (+0.041); no difference that counts comes from averaging over networks with that prior (+0.001) or the rest of "
        "the posterior (+0.002). A single network can have the prior, too."
    )
    assert words.when_in_short(rows, "FGSM", 0.2) == "No step of the ladder can be judged."
    worse = words.when_in_short(
        rows.assign(standing=["lower", "undecided", "undecided", "lower", "higher"]), "PGD", 0.2
    )
    assert worse.startswith(
        "**Bayesian explanations are less steady than those of ordinary networks (+0.044 under PGD).** What makes them"
    )
    assert "them less steady is the prior (+0.041); undecided is averaging" in worse
    assert "A single network" not in worse
    unjudged = rows.assign(standing=rows["standing"].where(rows["step"] != "posterior beyond it", "not judged"))
    assert words.when_in_short(unjudged, "PGD", 0.2).endswith(" The posterior's own step is not judged.")
    rows.loc[2, "scaled standing"] = "higher"
    told = words.when_in_short(rows, "PGD", 0.2)
    assert told.endswith(
        " As a share of the room that unrelated maps leave, the rest of the posterior (+0.031) counts."
    )


@pytest.mark.parametrize(
    ("standing", "mean", "how"),
    [
        ("higher", 0.05, "and not under attack in particular"),
        ("higher", 0.02, "and more so under attack"),
        ("higher", 0.09, "and less so under attack"),
        ("lower", 0.05, ""),
    ],
)
def test_a_gap_that_noise_shows_too_is_said_to_be_no_answer_to_attacks(standing, mean, how):
    rows = pd.DataFrame({
        "n_train": 600, "prior scale": 0.2, "attack": ["PGD", "PGD", "noise"], "step": ["prior", "all together", "all together"],
        "mean": [0.041, 0.044, mean], "standing": ["higher", "higher", standing], "scaled": 0.0, "scaled standing": "higher",
    })  # fmt: skip
    told = words.when_in_short(rows, "PGD", 0.2)
    assert f"(+0.044 under PGD; +{mean:.3f} under mere noise of that size).**" in told
    assert (f"steadier under any change, {how}." in told) == bool(how)
