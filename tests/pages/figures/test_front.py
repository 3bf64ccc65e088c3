"""The book in one figure."""

from __future__ import annotations

import pandas as pd
import torch

from relevance.pages import figures
from relevance.pages.narrow import PHONE, narrowed
from relevance.studies.carbone.front import Front


def made_up():
    models = ("deterministic", "adversarially trained", "Bayesian, 9")
    maps = {model: {kind: torch.randn(1, 6, 6) for kind in ("clean", "noise", "FGSM")} for model in models}
    rows = [
        {
            "model": model,
            "attack": attack,
            "image": image,
            "lrp_robustness": 0.1 * image,
            "unrelated_lrp_robustness": 0.3,
        }
        for model in models
        for attack in ("noise", "FGSM")
        for image in range(5)
    ]
    return Front(torch.rand(1, 6, 6), "four", maps, pd.DataFrame(rows), 2, "FGSM")


def test_a_row_for_each_model_with_the_scores_of_all_images_and_of_this_one():
    figure = figures.front(made_up())
    panels = figure.axes
    assert [axis.get_ylabel() for axis in panels[::5]] == ["deterministic", "adversarially\ntrained", "Bayesian"]
    strips = panels[4::5]
    assert [[text.get_text() for text in axis.texts] for axis in strips] == [["0.20", "0.20"]] * 3
    assert [len(points.get_offsets()) for points in strips[0].collections] == [5, 5]
    this = [line for line in strips[0].lines if line.get_label() == "this image"]
    assert [line.get_xdata()[0] for line in this] == [0.2, 0.2]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["mean", "this image", "unrelated maps"]


def test_on_a_phone_the_scores_stand_below_the_maps():
    figure = figures.front(made_up())
    assert narrowed(figure)
    assert figure.get_size_inches()[0] == PHONE
    figure.draw_without_rendering()
    found = [axis.get_window_extent() for axis in figure.axes]
    for row in (found[:5], found[5:10], found[10:]):
        assert len({round(box.y0) for box in row[:4]}) == 1
        assert row[4].y1 < row[0].y0
