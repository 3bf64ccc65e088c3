from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure

from relevance.pages import figures
from relevance.pages.figures import maps
from relevance.studies import experiment


def test_figures_are_drawn_and_closed(outcomes, outcome_rows, some_images, some_labels):
    history = [[{"energy": float(index)} for index in range(10)]]
    drawn = [
        figures.heatmaps(some_images[:3], outcomes["deterministic"].before[:3], ["a", "b", "c"]),
        figures.top_pixels(outcomes["deterministic"], 0),
        figures.failed_attack(outcomes, 5),
        figures.robustness_distributions(outcome_rows),
        figures.paired_differences(outcome_rows, "deterministic"),
        figures.chain(history, 4),
    ]
    assert all(isinstance(figure, Figure) for figure in drawn)
    assert not plt.get_fignums()


def test_heatmaps_are_centred_on_zero_with_one_scale(outcomes):
    figure = figures.failed_attack(outcomes, 0)
    for axis in (figure.axes[1], figure.axes[2], figure.axes[4]):
        norm = axis.images[0].norm
        assert (norm.vmin, norm.vcenter, norm.vmax) == (-1, 0, 1)
    assert np.abs(figure.axes[1].images[0].get_array()).max() == pytest.approx(1)


def test_the_overlap_picture_has_as_many_pixels_as_the_score_says(outcomes):
    outcome = outcomes["deterministic"]
    for index in range(6):
        kinds = np.asarray(figures.top_pixels(outcome, index).axes[2].images[0].get_array())
        both, lost = (kinds == 3).sum(), (kinds == 1).sum()
        assert both / (both + lost) == pytest.approx(outcome.lrp_robustness[index].item())


def test_a_figure_of_an_image_that_is_not_there_gets_a_sentence(outcomes, outcome_rows):
    with pytest.raises(ValueError, match="index is 6; it must be a whole number of at least 0 and at most 5"):
        figures.top_pixels(outcomes["deterministic"], 6)
    with pytest.raises(ValueError, match="score is 'beauty'"):
        figures.robustness_distributions(outcome_rows, "beauty")


def test_one_image_of_each_class_is_found():
    assert figures.first_of_each_class(torch.tensor([2, 0, 2, 1, 0]), 2) == [1, 3]


def test_both_maps_of_a_row_have_the_clean_map_s_scale(outcomes):
    outcome = outcomes["deterministic"]
    figure = figures.failed_attack(outcomes, 1)
    scale = maps._only_top(outcome.before[1], 25).sum(0).abs().max()
    wanted = maps._only_top(outcome.after[1], 25).sum(0) / scale
    assert np.allclose(figure.axes[2].images[0].get_array(), wanted)


def test_ties_are_drawn_apart_from_what_is_on_top(some_images):
    maps = torch.zeros(1, 1, 4, 4)
    maps[0, 0, 0, :2] = torch.tensor([2.0, -1.0])
    outcome = experiment.Outcome(
        *(some_images[:1], torch.tensor([0]), some_images[:1], torch.ones(1, 3) / 3, torch.ones(1, 3) / 3, maps, maps),
        gradient_is_zero=torch.tensor([False]), top_percent=25, n_samples=1,
    )  # fmt: skip
    kinds = np.asarray(figures.top_pixels(outcome, 0).axes[2].images[0].get_array())
    assert (kinds == 3).sum() == 2
    assert (kinds == 4).sum() == 14
    assert outcome.lrp_robustness.item() == pytest.approx((2 + 14 * (2 / 14) ** 2) / 4)


def test_figures_draw_the_images_and_the_curves(galleries):
    figure = figures.attack_gallery(galleries, 2, ["FGSM", "top-k"])
    axes = [axis for axis in figure.axes if axis.images]
    assert len(axes) == 12
    drawn = axes[1].images[0].get_array()
    assert drawn.tolist() == pytest.approx(galleries["one"].images["FGSM"][2, 0].numpy())
    overlap = galleries["one"].scores("top-k")["lrp_robustness"][2]
    assert axes[5].get_xlabel() == f"overlap {overlap:.2f}"

    by_epsilon = {"one": pd.DataFrame({"epsilon": [0, 0.5], "accuracy": [1, 0.25]})}
    by_steps = {"one": pd.DataFrame({"step": [0, 1, 2], "loss": [1, 3, 2], "best": [1.0, 3.0, 3.0]})}
    left, right = figures.attack_curves(by_epsilon, by_steps).axes
    assert left.lines[0].get_ydata().tolist() == [1, 0.25]
    assert right.lines[0].get_ydata().tolist() == [0, 1, 1]
