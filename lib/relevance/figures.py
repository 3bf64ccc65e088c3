"""The figures of the book: the same functions draw every build and every recorded run.

Heatmaps are diverging and centred on zero, and a shared colour bar says how they were normalised. Colours of
categories are those of Okabe and Ito, which colour-blind readers can tell apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor

from relevance import checks, evidence, robustness
from relevance.experiments import Outcome
from relevance.gallery import CLEAN, Gallery
from relevance.posterior import Posterior

BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#56B4E9",
)
COLOURS = [BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY]
HEATMAP = "RdBu_r"
OVERLAP = ["white", SKY, ORANGE, "#222222", "0.8"]  # neither, before only, after only, both, tied
STYLE: Any = {
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.titlepad": 6,
    "legend.frameon": False,
    "svg.hashsalt": "resilient-relevance",
}


def _sharp_in_notebooks() -> None:
    """Have notebooks show figures at twice the resolution, so that they are sharp on small and on dense screens."""
    from IPython import get_ipython

    if get_ipython() is not None:
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("retina")


_sharp_in_notebooks()


@contextmanager
def _figure(rows: int, columns: int, size: tuple[float, float]) -> Iterator[tuple[Figure, np.ndarray]]:
    """Give a figure in the book's style, and close it, so that a notebook shows it once: as the value of a cell."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
        yield figure, axes
        plt.close(figure)


def _picture(axis: Axes, image: Tensor) -> None:
    """Draw an image [C, H, W] in [0, 1]; one channel as ink on paper."""
    pixels = image.detach().cpu().numpy()
    if len(pixels) == 3:
        axis.imshow(pixels.transpose(1, 2, 0), interpolation="nearest")
    else:
        axis.imshow(pixels[0], cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
    _frame(axis)


def _frame(axis: Axes) -> None:
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set_visible(True)
        spine.set_color("0.8")


def _heatmap(axis: Axes, relevance: Tensor, scale: float) -> Any:
    """Draw a map [C, H, W], its channels summed, in units of ``scale``."""
    values = relevance.detach().cpu().sum(0).numpy() / scale
    drawn = axis.imshow(values, cmap=HEATMAP, norm=TwoSlopeNorm(0, -1, 1), interpolation="nearest")
    _frame(axis)
    return drawn


def _only_top(relevance: Tensor, top_percent: float) -> Tensor:
    share = robustness.top_share(relevance[None], top_percent).reshape(relevance.shape)
    return relevance * (share == 1)


def first_of_each_class(labels: Tensor, n_classes: int) -> list[int]:
    """Return the index of the first image of each of the first ``n_classes`` classes that occur."""
    classes = labels.unique().tolist()[: checks.count("n_classes", n_classes)]
    return [int((labels == label).nonzero()[0]) for label in classes]


def heatmaps(images: Tensor, maps: Tensor, titles: Sequence[str]) -> Figure:
    """Draw images and under each its relevance map, divided by the map's largest absolute relevance.

    Args:
        images: [N, C, H, W] in [0, 1].
        maps: [N, C, H, W].
        titles: one for each image.
    """
    with _figure(2, len(images), (1.45 * len(images), 3.9)) as (figure, axes):
        for column, image, relevance, title in zip(axes.T, images, maps, titles, strict=True):
            _picture(column[0], image)
            column[0].set_title(title)
            drawn = _heatmap(column[1], relevance, relevance.sum(0).abs().max().item() or 1.0)
        bar = figure.colorbar(drawn, ax=axes, location="bottom", shrink=0.4, aspect=30, pad=0.03)
        bar.set_ticks([-1, 0, 1])
        bar.set_label("relevance / largest |relevance| of the map")
    return figure


def side_by_side(image: Tensor, maps: Mapping[str, Tensor], columns: int = 5) -> Figure:
    """Draw an image and several relevance maps of it, each divided by its largest absolute relevance.

    Args:
        image: [C, H, W] in [0, 1].
        maps: title -> map [C, H, W].
        columns: panels in a row.
    """
    checks.count("columns", columns)
    rows = math.ceil((len(maps) + 1) / columns)
    with _figure(rows, columns, (1.75 * columns, 0.5 + 2.0 * rows)) as (figure, axes):
        _picture(axes.flat[0], image)
        axes.flat[0].set_title("image")
        for axis, (title, relevance) in zip(axes.flat[1:], maps.items(), strict=False):
            drawn = _heatmap(axis, relevance, relevance.sum(0).abs().max().item() or 1.0)
            axis.set_title(title)
        for axis in axes.flat[len(maps) + 1 :]:
            axis.set_axis_off()
        bar = figure.colorbar(drawn, ax=axes, location="bottom", shrink=0.4, aspect=30, pad=0.03)
        bar.set_ticks([-1, 0, 1])
        bar.set_label("relevance / largest |relevance| of the map")
    return figure


def reliability(
    posteriors: Mapping[str, Posterior], images: Tensor, labels: Tensor, n_bins: int = 10, columns: int = 4
) -> Figure:
    """Draw accuracy against confidence for each posterior; one that knows what it knows lies on the diagonal.

    Args:
        posteriors: name -> posterior.
        images: test images [N, C, H, W] in [0, 1].
        labels: [N].
        n_bins: of the confidence; the area of a mark is the share of the images in its bin.
        columns: panels in a row.
    """
    rows = math.ceil(len(posteriors) / checks.count("columns", columns))
    with _figure(rows, columns, (2.1 * columns, 0.4 + 2.1 * rows)) as (figure, axes):
        for axis, (name, posterior) in zip(axes.flat, posteriors.items(), strict=False):
            bins = evidence.calibration(posterior.predict(images), labels, n_bins)
            axis.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle="--", zorder=0)
            axis.scatter(
                bins["confidence"], bins["accuracy"], 6 + 300 * bins["share"], color=BLUE, alpha=0.7, linewidths=0
            )
            axis.set(title=name, xlim=(0, 1.06), ylim=(0, 1.06), xticks=[0, 0.5, 1], yticks=[0, 0.5, 1], aspect="equal")
        for axis in axes.flat[len(posteriors) :]:
            axis.set_axis_off()
        figure.supxlabel("confidence: largest predictive probability", fontsize=10)
        figure.supylabel("accuracy", fontsize=10)
    return figure


def known_posterior(mean: Tensor, covariance: Tensor, draws: Mapping[str, Tensor], names: tuple[str, str]) -> Figure:
    """Draw samples of two parameters beside the ellipses of the normal distribution that they should come from.

    Args:
        mean, covariance: [2] and [2, 2], exact.
        draws: title -> [S, 2].
        names: of the two parameters.
    """
    values, directions = np.linalg.eigh(covariance.cpu().numpy())
    circle = np.stack([np.cos(angles := np.linspace(0, 2 * np.pi, 200)), np.sin(angles)])
    with _figure(1, len(draws), (3.1 * len(draws), 3.2)) as (figure, axes):
        for axis, (title, points), colour in zip(axes[0], draws.items(), COLOURS * len(draws), strict=False):
            axis.scatter(*points.cpu().numpy().T, s=5, color=colour, alpha=0.35, linewidths=0, rasterized=True)
            for n_deviations in (1, 2):
                ellipse = mean.cpu().numpy()[:, None] + n_deviations * directions @ (np.sqrt(values)[:, None] * circle)
                axis.plot(*ellipse, color="0.15", linewidth=1)
            reach = 3.5 * covariance.diagonal().sqrt()
            axis.set(title=title, xlabel=names[0], xlim=_around(mean[0], reach[0]), ylim=_around(mean[1], reach[1]))
        axes[0, 0].set_ylabel(names[1])
    return figure


def attack_gallery(galleries: Mapping[str, Gallery], index: int, attacks: Sequence[str]) -> Figure:
    """Draw one image under several attacks, and under each its map, for several models.

    Maps are divided by the largest absolute relevance of the model's clean map.

    Args:
        galleries: model -> the images and maps.
        index: which image.
        attacks: which attacks; the clean image comes first.
    """
    names = [CLEAN, *attacks]
    rows = 2 * len(galleries)
    with _figure(rows, len(names), (1.5 * len(names), 0.7 + 1.62 * rows)) as (figure, axes):
        for number, (model, gallery) in enumerate(galleries.items()):
            pictures, maps = axes[2 * number], axes[2 * number + 1]
            scale = gallery.maps[CLEAN][index].sum(0).abs().max().item() or 1.0
            predicted = {name: gallery.posterior.predict(gallery.images[name][index][None])[0] for name in names}
            for picture, under, name in zip(pictures, maps, names, strict=True):
                _picture(picture, gallery.images[name][index])
                picture.set_title(name if number == 0 else "")
                picture.set_xlabel(f"class {predicted[name].argmax()} ({predicted[name].max():.0%})", fontsize=8)
                drawn = _heatmap(under, gallery.maps[name][index], scale)
                if name != CLEAN:
                    before, after = (gallery.maps[one][index][None] for one in (CLEAN, name))
                    overlap = robustness.map_scores(before, after, gallery.top_percent)["lrp_robustness"][0]
                    under.set_xlabel(f"overlap {overlap:.2f}", fontsize=8)
            pictures[0].set_ylabel(model)
            maps[0].set_ylabel("relevance")
        bar = figure.colorbar(drawn, ax=axes, location="bottom", shrink=0.4, aspect=30, pad=0.02, extend="both")
        bar.set_ticks([-1, 0, 1])
        bar.set_label("relevance / largest |relevance| of the model's clean map")
    return figure


def attack_curves(by_epsilon: Mapping[str, pd.DataFrame], by_steps: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw accuracy against the size of the ball, and the loss against the steps, for several models.

    Args:
        by_epsilon: model -> rows of :func:`relevance.attacks.accuracy_by_epsilon`.
        by_steps: model -> rows of :func:`relevance.attacks.loss_by_steps`.
    """
    with _figure(1, 2, (7.6, 3.2)) as (figure, axes):
        marks = ["o", "s", "^", "D", "v", "P"] * len(by_epsilon)
        for (name, rows), colour, mark in zip(by_epsilon.items(), COLOURS * len(by_epsilon), marks, strict=False):
            axes[0, 0].plot(rows["epsilon"], rows["accuracy"], color=colour, marker=mark, markersize=4, label=name)
            steps = by_steps[name]
            gained = (steps["best"] - steps["best"].iloc[0]) / (steps["best"].iloc[-1] - steps["best"].iloc[0])
            axes[0, 1].plot(steps["step"], gained, color=colour, marker=mark, markersize=4, markevery=5)
        axes[0, 0].set(
            xlabel=r"size of the ball, $\delta$", ylabel="accuracy under PGD on the margin", ylim=(-0.03, 1.03)
        )
        axes[0, 1].set(xlabel="step of PGD", ylabel="share of the gain in margin", ylim=(-0.03, 1.03))
        figure.legend(loc="outside lower center", ncols=len(by_epsilon))
    return figure


def _around(centre: Tensor, reach: Tensor) -> tuple[float, float]:
    return (centre - reach).item(), (centre + reach).item()


def top_pixels(outcome: Outcome, index: int) -> Figure:
    """Draw the definition of k-LRP robustness on one image (the idea of Carbone et al., Fig. 5).

    Args:
        outcome: one model under attack, on images of one channel or more.
        index: which of its images.

    Returns:
        Clean image, attacked image, and the pixels on top before, after and both, with the score.
    """
    _in_range(outcome, index)
    before, after = (
        robustness.top_share(maps[index][None], outcome.top_percent)[0].reshape(maps.shape[1:]).amax(0).cpu().numpy()
        for maps in (outcome.before, outcome.after)
    )
    on_top = [before == 1, after == 1]
    tied = ((before > 0) & (before < 1)) | ((after > 0) & (after < 1))
    kinds = np.select([on_top[0] & on_top[1], on_top[1], on_top[0], tied], [3, 2, 1, 4], 0)
    with _figure(1, 3, (7.4, 3.0)) as (figure, axes):
        for axis, image, title in zip(
            axes[0],
            (outcome.images[index], outcome.attacked[index]),
            ("image $x$", r"attacked image $\tilde{x}$"),
            strict=False,
        ):
            _picture(axis, image)
            axis.set_title(title)
        axis = axes[0, 2]
        axis.imshow(kinds, cmap=ListedColormap(OVERLAP), vmin=0, vmax=len(OVERLAP) - 1, interpolation="nearest")
        _frame(axis)
        axis.set_title(f"overlap: {outcome.lrp_robustness[index].item():.2f}")
        percent = f"top {outcome.top_percent:g} %"
        names = [f"{percent} of $R(x)$ only", rf"{percent} of $R(\tilde{{x}})$ only", "in both"]
        handles = [Patch(color=colour) for colour in OVERLAP[1:4]]
        if (kinds == 4).any():
            names.append("tied: a share of a place")
            handles.append(Patch(color=OVERLAP[4]))
        figure.legend(handles, names, loc="outside lower center", ncols=len(names))
    return figure


def failed_attack(outcomes: Mapping[str, Outcome], index: int) -> Figure:
    """Draw one image under attack, and its explanation, for several models (the idea of Carbone et al., Fig. 6).

    Each row is a model with the same image. Both maps of a row are divided by the largest absolute relevance of its
    clean map, and only the pixels that are wholly on top are drawn, without the tied ones.

    Args:
        outcomes: model -> its outcome, all on the same images.
        index: which of the images.
    """
    with _figure(len(outcomes), 5, (9.0, 0.5 + 2.05 * len(outcomes))) as (figure, axes):
        for row, (name, outcome) in zip(axes, outcomes.items(), strict=True):
            _in_range(outcome, index)
            percent = f"top {outcome.top_percent:g} %"
            maps = [_only_top(part[index], outcome.top_percent) for part in (outcome.before, outcome.after)]
            scale = max(maps[0].sum(0).abs().max().item(), float(np.finfo(np.float32).tiny))
            _picture(row[0], outcome.images[index])
            _picture(row[1], outcome.attacked[index])
            drawn, _ = (_heatmap(axis, part, scale) for axis, part in zip(row[2:4], maps, strict=True))
            common = (maps[0] != 0) & (maps[1] != 0)
            row[4].imshow(common.any(0).cpu().numpy(), cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
            _frame(row[4])
            row[0].set_ylabel(name)
            clean, attacked = (
                f"{probabilities[index].argmax().item()} ({probabilities[index].max().item():.0%})"
                for probabilities in (outcome.before_probabilities, outcome.after_probabilities)
            )
            row[0].set_xlabel(f"predicts class {clean}")
            row[1].set_xlabel(f"predicts class {attacked}")
            row[4].set_xlabel(f"LRP robustness {outcome.lrp_robustness[index].item():.2f}")
            row[2].set_title(f"$R(x)$, {percent}")
            row[3].set_title(rf"$R(\tilde{{x}})$, {percent}")
        for axis, title in (
            (axes[0, 0], "image $x$"),
            (axes[0, 1], r"attacked $\tilde{x}$"),
            (axes[0, 4], "on top in both"),
        ):
            axis.set_title(title)
        bar = figure.colorbar(drawn, ax=axes[:, 2:4], location="bottom", shrink=0.8, aspect=30, pad=0.02)
        bar.set_label("relevance / largest |relevance| of the row's $R(x)$")
    return figure


def _in_range(outcome: Outcome, index: int) -> None:
    checks.count("index", index, at_least=0, at_most=len(outcome.images) - 1)


def robustness_distributions(table: pd.DataFrame, score: str = "lrp_robustness") -> Figure:
    """Draw the distribution of a score over the images for each model, with the score of unrelated maps.

    Args:
        table: from :func:`relevance.experiments.robustness_table`.
        score: ``"lrp_robustness"`` or ``"softmax_robustness"``.
    """
    labels = {"lrp_robustness": "LRP robustness", "softmax_robustness": "softmax robustness"}
    checks.one_of("score", score, labels)
    models = list(table["model"].unique())
    with _figure(1, 1, (7.4, 0.9 + 0.55 * len(models))) as (figure, axes):
        axis = axes[0, 0]
        _boxes(axis, [table.loc[table["model"] == model, score] for model in models], models)
        axis.set_xlabel(f"{labels[score]} of an image")
        axis.set_xlim(-0.02, 1.02)
        if score == "lrp_robustness":
            chance = [table.loc[table["model"] == model, f"unrelated_{score}"].mean() for model in models]
            axis.scatter(chance, range(len(models)), marker="|", s=260, color=VERMILION, linewidths=2, zorder=3)
            handle = plt.Line2D([], [], color=VERMILION, marker="|", markersize=12, markeredgewidth=2, linestyle="")
            figure.legend([handle], ["mean score of unrelated maps"], loc="outside upper right")
    return figure


def paired_differences(table: pd.DataFrame, baseline: str, score: str = "lrp_robustness") -> Figure:
    """Draw, for each other model, the image-by-image difference of a score from ``baseline`` (Carbone et al., Fig. 2).

    Args:
        table: from :func:`relevance.experiments.robustness_table`.
        baseline: the model that is subtracted.
        score: a column of the table.
    """
    by_model = table.pivot(index="image", columns="model", values=score)
    checks.one_of("baseline", baseline, by_model.columns)
    models = [model for model in table["model"].unique() if model != baseline]
    differences = [by_model[model] - by_model[baseline] for model in models]
    with _figure(1, 1, (7.4, 0.9 + 0.55 * len(models))) as (figure, axes):
        axis = axes[0, 0]
        axis.axvline(0, color="0.5", linewidth=1, linestyle="--", zorder=0)
        _boxes(axis, differences, models)
        axis.set_xlabel(f"{score.replace('_', ' ').replace('lrp', 'LRP')} minus that of {baseline}, image by image")
    return figure


def _boxes(axis: Axes, values: Sequence[pd.Series], names: Sequence[str]) -> None:
    """Draw horizontal boxes (quartiles, whiskers to 1.5 times their distance), each with its points and its mean."""
    positions = np.arange(len(names))
    generator = np.random.default_rng(0)
    for position, value in zip(positions, values, strict=True):
        jitter = generator.uniform(-0.28, 0.28, len(value))
        axis.scatter(value, position + jitter, s=5, color=BLUE, alpha=0.35, linewidths=0, rasterized=True)
    axis.boxplot(
        values,
        positions=positions,
        orientation="horizontal",
        widths=0.56,
        showfliers=False,
        showmeans=True,
        medianprops={"color": "black", "linewidth": 1.6},
        meanprops={"marker": "D", "markerfacecolor": ORANGE, "markeredgecolor": "black", "markersize": 5},
    )
    axis.set_yticks(positions, names)
    axis.invert_yaxis()


def chain(history: Sequence[Sequence[Mapping[str, float]]], n_warmup: int) -> Figure:
    """Draw the energy of Markov chains, transition by transition, with the warm-up shaded.

    Args:
        history: for each chain, a row for each transition (``record["history"]`` of an HMC posterior).
        n_warmup: transitions of each chain before the first one that is kept.
    """
    with _figure(1, 1, (7.4, 2.6)) as (figure, axes):
        axis = axes[0, 0]
        for rows, colour in zip(history, [BLUE, ORANGE, GREEN, PURPLE] * len(history), strict=False):
            axis.plot([row["energy"] for row in rows], color=colour, linewidth=1)
        axis.axvspan(0, n_warmup, color="0.92", zorder=0)
        axis.text(n_warmup / 2, 0.06, "warm-up", transform=axis.get_xaxis_transform(), ha="center", color="0.35")
        axis.set_xlabel("transition")
        axis.set_ylabel("energy (nats)")
    return figure
