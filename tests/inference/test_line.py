from __future__ import annotations

import pytest
import torch

from oracles import MOST, moments_off
from relevance.inference.line import Line

pytestmark = pytest.mark.stochastic


def test_the_exact_posterior_of_a_line_is_that_of_a_fine_grid():
    line = Line(n_points=6, noise=0.7, prior_scale=0.9, seed=3)
    mean, covariance = line.exact()
    grid = torch.linspace(-6, 6, 801, dtype=torch.float64)
    slope, intercept = torch.meshgrid(grid, grid, indexing="ij")
    log = -0.5 * (slope**2 + intercept**2) / 0.9**2
    for x, y in zip(line.data.train_images.flatten(), line.data.train_labels, strict=True):
        log = log - 0.5 * ((y - slope * x - intercept) / 0.7) ** 2
    weight = (log - log.max()).exp()
    weight = weight / weight.sum()
    points = torch.stack([slope.flatten(), intercept.flatten()])
    wanted = points @ weight.flatten()
    centred = points - wanted[:, None]
    assert torch.allclose(mean, wanted, atol=1e-6)
    assert torch.allclose(covariance, (centred * weight.flatten()) @ centred.T, atol=1e-6)


def test_the_algorithms_find_the_line_s_posterior_as_far_as_they_can():
    line = Line()
    draws = {"HMC": line.by_hmc(1500), "Laplace": line.by_laplace(4000), "VI": line.by_variational(4000)}
    rows = line.compare(draws)
    exact = rows.loc["exact"]
    for name in ("HMC", "Laplace"):
        assert moments_off(draws[name], *line.exact(), chain=name == "HMC").abs().max() < MOST
        deviations = draws[name].std(0).tolist()
        assert rows.loc[name, ["sd slope", "sd intercept"]].tolist() == pytest.approx(deviations)
        assert rows.loc[name, ["mean slope", "mean intercept"]].tolist() == pytest.approx(draws[name].mean(0).tolist())
        assert rows.loc[name, "correlation"] == pytest.approx(draws[name].T.corrcoef()[0, 1].item())
    # Where the last steps of its optimiser leave it: from seed to seed means of the slope have a standard deviation of 0.023,
    # correlations one of 0.022, and deviations one of 0.03 of themselves.
    assert rows.loc["VI", "mean slope"] == pytest.approx(exact["mean slope"], abs=MOST * 0.023)
    assert abs(rows.loc["VI", "correlation"]) < MOST * 0.022
    # An independent normal is as wide as the others given: narrower by sqrt(1 - correlation^2).
    narrow = (1 - exact["correlation"] ** 2) ** 0.5
    assert rows.loc["VI", "sd slope"] == pytest.approx(narrow * exact["sd slope"], rel=MOST * 0.03)
    assert rows.loc["VI", "sd intercept"] == pytest.approx(narrow * exact["sd intercept"], rel=MOST * 0.03)
