from __future__ import annotations

import pandas as pd

from relevance.pages import figures

MODELS = {"deterministic": 1, "MAP": 1, "ensemble of MAP": 3, "Bayesian, 1": 1, "Bayesian, 9": 9}


def averages():
    rows = [
        {"n_train": n_train, "prior scale": scale, "trajectory": 1.0, "model": name, "n_samples": count, "attack": attack,
         "effective draws": count, "mean": 0.5 + 0.1 * (attack == "noise") + 0.01 * count, "low": 0.4, "high": 0.8}
        for n_train, scale in ((60, 0.2), (60, 0.5), (30, 0.2)) for name, count in MODELS.items() for attack in ("FGSM", "noise")
        if name != "deterministic" or scale == 0.2
    ]  # fmt: skip
    short = {**rows[0], "model": "Bayesian, 9", "n_samples": 9, "trajectory": 0.1, "effective draws": 2, "mean": 0.45}
    return pd.DataFrame([*rows, short])


def test_the_crossing_is_drawn_against_draws_prior_and_training_size():
    draws, prior, size = figures.when(averages(), "FGSM").axes
    assert [text.get_text() for text in draws.get_legend().get_texts()] == ["0.2", "0.5"]
    whole = draws.lines[0]
    assert list(whole.get_xdata()) == [1, 9]
    assert [round(y, 6) for y in whole.get_ydata()] == [0.51, 0.59]
    assert any(list(line.get_xdata()) == [2] and line.get_markerfacecolor() == "#ffffff" for line in draws.lines)
    assert [label.get_text() for label in prior.get_xticklabels()] == ["0.2", "0.5"]
    assert [label.get_text() for label in size.get_xticklabels()] == ["30", "60"]
    assert len({axis.get_ylim() for axis in (draws, prior, size)}) == 1


def test_one_size_leaves_its_panel_out():
    rows = averages()
    assert len(figures.when(rows[rows["n_train"] == 60], "FGSM").axes) == 2


def test_own_and_other_draws_are_two_lines_through_the_means_of_runs():
    rows = pd.DataFrame([
        {"run": run, "n_samples": count, "draws": kind, "accuracy under attack": 0.1 * run + shift, "lrp_robustness": 0.5}
        for run in (0, 2) for count in (1, 10) for kind, shift in (("own draws", 0.0), ("other draws", 0.5))
    ])  # fmt: skip
    left, _ = figures.transfer(rows).axes
    lines = {line.get_label(): list(line.get_ydata()) for line in left.lines}
    assert lines["judged on own draws"] == [0.1, 0.1]
    assert lines["judged on other draws"] == [0.6, 0.6]


def test_each_part_of_rho_has_its_place():
    rows = pd.DataFrame({"model": "a", "part": ["all images", "class stays"], "rho": [0.5, None], "low": [0.4, None],
                         "high": [0.6, None]})  # fmt: skip
    (axis,) = figures.rho_parts(rows).axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["all images", "class stays"]
    assert list(axis.lines[0].get_xdata()) == [0.5]


def test_each_step_of_a_ladder_has_its_place_under_every_attack():
    rungs = pd.DataFrame([
        {"attack": attack, "step": step, "mean": 0.1, "low": 0.0, "high": 0.2, "standing": standing}
        for attack, standing in (("FGSM", "higher"), ("PGD", "not judged"))
        for step in ("prior", "averaging", "posterior beyond it", "all together")
    ])  # fmt: skip
    figure = figures.steps(rungs)
    assert [axis.get_title() for axis in figure.axes] == ["FGSM", "PGD"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == list(rungs["step"].unique())
    assert {bar.lines[0].get_markerfacecolor() for bar in figure.axes[1].containers} == {"#ffffff"}
