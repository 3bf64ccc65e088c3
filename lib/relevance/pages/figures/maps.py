"""Figures of images and their relevance maps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor

from relevance.base import checks
from relevance.explanations.top import top_share
from relevance.metrics.overlap import lrp_robustness
from relevance.metrics.similarity import map_scores
from relevance.pages.figures.style import OVERLAP, frame, heatmap, new_figure, picture
from relevance.pages.vector import PAGE
from relevance.studies.experiment import CLEAN, Gallery, Outcome


def _only_top(relevance: Tensor, top_percent: float) -> Tensor:
    share = top_share(relevance[None], top_percent).reshape(relevance.shape)
    return relevance * (share == 1)


def first_of_each_class(labels: Tensor, n_classes: int) -> list[int]:
    """Return the index of the first image of each of the first ``n_classes`` classes that occur in ``labels``, [N]."""
    classes = labels.unique().tolist()[: checks.count("n_classes", n_classes)]
    return [int((labels == label).nonzero()[0]) for label in classes]


def heatmaps(images: Tensor, maps: Tensor, titles: Sequence[str]) -> Figure:
    """Draw images and under each its relevance map, divided by the map's largest absolute relevance.

    Args:
        images: [N, C, H, W] in [0, 1].
        maps: [N, C, H, W].
        titles: one for each image.
    """
    panel = min(1.9, PAGE / len(images))
    with new_figure(2, len(images), (panel * len(images), 2 * panel + 0.9)) as (figure, axes):
        for column, image, relevance, title in zip(axes.T, images, maps, titles, strict=True):
            picture(column[0], image)
            column[0].set_title(title)
            drawn = heatmap(column[1], relevance, relevance.sum(0).abs().max().item() or 1.0)
        bar = figure.colorbar(drawn, ax=axes, location="bottom", shrink=0.4, aspect=30, pad=0.03)
        bar.set_ticks([-1, 0, 1])
        bar.set_label("relevance / largest |relevance| of the map")
    return figure


def side_by_side(image: Tensor, maps: Mapping[str, Tensor], columns: int = 3) -> Figure:
    """Draw an image and several relevance maps of it, each divided by its largest absolute relevance.

    Args:
        image: [C, H, W] in [0, 1].
        maps: title -> map [C, H, W].
        columns: panels in a row.
    """
    checks.count("columns", columns)
    rows = math.ceil((len(maps) + 1) / columns)
    with new_figure(rows, columns, (1.9 * columns, 0.6 + 2.05 * rows)) as (figure, axes):
        panels = list(axes.flat[: len(maps) + 1])
        for axis in axes.flat[len(panels) :]:
            axis.remove()
        picture(panels[0], image)
        panels[0].set_title("image")
        for axis, (title, relevance) in zip(panels[1:], maps.items(), strict=True):
            drawn = heatmap(axis, relevance, relevance.sum(0).abs().max().item() or 1.0)
            axis.set_title(title)
        bar = figure.colorbar(drawn, ax=panels, location="bottom", shrink=0.4, aspect=30, pad=0.03)
        bar.set_ticks([-1, 0, 1])
        bar.set_label("relevance / largest |relevance| of the map")
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
    rows, panel = 2 * len(galleries), min(1.9, PAGE / len(names))
    with new_figure(rows, len(names), (panel * len(names), 0.7 + (panel + 0.15) * rows)) as (figure, axes):
        for number, (model, gallery) in enumerate(galleries.items()):
            pictures, maps = axes[2 * number], axes[2 * number + 1]
            scale = gallery.maps[CLEAN][index].sum(0).abs().max().item() or 1.0
            predicted = {name: gallery.posterior.predict(gallery.images[name][index][None])[0] for name in names}
            for above, under, name in zip(pictures, maps, names, strict=True):
                picture(above, gallery.images[name][index])
                above.set_title(name if number == 0 else "")
                above.set_xlabel(f"class {predicted[name].argmax()} ({predicted[name].max():.0%})")
                drawn = heatmap(under, gallery.maps[name][index], scale)
                if name != CLEAN:
                    before, after = (gallery.maps[one][index][None] for one in (CLEAN, name))
                    overlap = map_scores(before, after, gallery.top_percent)["lrp_robustness"][0]
                    under.set_xlabel(f"overlap {overlap:.2f}")
            pictures[0].set_ylabel(model)
            maps[0].set_ylabel("relevance")
        bar = figure.colorbar(drawn, ax=axes, location="bottom", shrink=0.4, aspect=30, pad=0.02, extend="both")
        bar.set_ticks([-1, 0, 1])
        bar.set_label("relevance / largest |relevance| of the model's clean map")
    return figure


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
        top_share(maps[index][None], outcome.top_percent)[0].reshape(maps.shape[1:]).amax(0).cpu().numpy()
        for maps in (outcome.before, outcome.after)
    )
    on_top = [before == 1, after == 1]
    tied = ((before > 0) & (before < 1)) | ((after > 0) & (after < 1))
    kinds = np.select([on_top[0] & on_top[1], on_top[1], on_top[0], tied], [3, 2, 1, 4], 0)
    with new_figure(1, 3, (7.4, 3.0)) as (figure, axes):
        for axis, image, title in zip(
            axes[0],
            (outcome.images[index], outcome.attacked[index]),
            ("image $x$", r"attacked image $\tilde{x}$"),
            strict=False,
        ):
            picture(axis, image)
            axis.set_title(title)
        axis = axes[0, 2]
        axis.imshow(kinds, cmap=ListedColormap(OVERLAP), vmin=0, vmax=len(OVERLAP) - 1, interpolation="nearest")
        frame(axis)
        axis.set_title(f"overlap: {outcome.lrp_robustness[index].item():.2f}")
        percent = f"top {outcome.top_percent:g} %"
        names = [f"{percent} of $R(x)$ only", rf"{percent} of $R(\tilde{{x}})$ only", "in both"]
        handles = [Patch(color=colour) for colour in OVERLAP[1:4]]
        if (kinds == 4).any():
            names.append("tied: a share of a place")
            handles.append(Patch(color=OVERLAP[4]))
        figure.legend(handles, names, loc="outside lower center", ncols=len(names))
    return figure


def layer_heatmaps(outcome: Outcome, index: int, maps: Mapping[str, tuple[Tensor, Tensor]]) -> Figure:
    """Draw the explanations of several layers before and after an attack (the idea of Carbone et al., Fig. 1).

    Both maps of a column are divided by the largest absolute relevance of its clean map, and only the pixels that are wholly on
    top are drawn.

    Args:
        outcome: of the model that was attacked.
        index: which of its images.
        maps: layer, each a column -> its maps [C, H, W] before and after the attack, such as
            :func:`relevance.studies.scoring.layer_pairs` gives them.
    """
    _in_range(outcome, index)
    with new_figure(2, len(maps), (1.9 * len(maps) + 0.4, 5.0)) as (figure, axes):
        for column, (layer, (before, after)) in zip(axes.T, maps.items(), strict=True):
            tops = [_only_top(found, outcome.top_percent) for found in (before, after)]
            scale = max(tops[0].sum(0).abs().max().item(), float(np.finfo(np.float32).tiny))
            drawn, _ = (heatmap(axis, part, scale) for axis, part in zip(column, tops, strict=True))
            overlap = lrp_robustness(before[None], after[None], outcome.top_percent).item()
            column[0].set_title(f"layer {layer}")
            column[1].set_xlabel(f"LRP robustness {overlap:.2f}")
        axes[0, 0].set_ylabel("clean")
        axes[1, 0].set_ylabel("attacked")
        bar = figure.colorbar(drawn, ax=axes, location="bottom", shrink=0.5, aspect=30, pad=0.02)
        bar.set_ticks([-1, 0, 1])
        bar.set_label("relevance / largest |relevance| of the clean map")
    return figure


def failed_attack(outcomes: Mapping[str, Outcome], index: int) -> Figure:
    """Draw one image under attack, and its explanation, for several models (the idea of Carbone et al., Fig. 6).

    Each row is a model with the same image: the attacked image, and the maps before and after. Both maps of a row are divided by
    the largest absolute relevance of the clean one, and only the pixels that are wholly on top are drawn, without the tied ones.

    Args:
        outcomes: model -> its outcome, all on the same images.
        index: which of the images.
    """
    with new_figure(len(outcomes), 3, (6.6, 0.6 + 2.25 * len(outcomes))) as (figure, axes):
        for row, (name, outcome) in zip(axes, outcomes.items(), strict=True):
            _in_range(outcome, index)
            maps = [_only_top(part[index], outcome.top_percent) for part in (outcome.before, outcome.after)]
            scale = max(maps[0].sum(0).abs().max().item(), float(np.finfo(np.float32).tiny))
            picture(row[0], outcome.attacked[index])
            drawn, _ = (heatmap(axis, part, scale) for axis, part in zip(row[1:], maps, strict=True))
            predicted = outcome.after_probabilities[index]
            row[0].set_ylabel(name)
            row[0].set_xlabel(f"class {predicted.argmax().item()} ({predicted.max().item():.0%})")
            row[2].set_xlabel(f"LRP robustness {outcome.lrp_robustness[index].item():.2f}")
        for axis, title in zip(axes[0], ("attacked image", "map, clean", "map, attacked"), strict=True):
            axis.set_title(title)
        bar = figure.colorbar(drawn, ax=axes, location="bottom", shrink=0.5, aspect=30, pad=0.02)
        bar.set_ticks([-1, 0, 1])
        bar.set_label("relevance / largest |relevance| of the row's clean map")
    return figure


def _in_range(outcome: Outcome, index: int) -> None:
    checks.count("index", index, at_least=0, at_most=len(outcome.images) - 1)
