"""The figure of generated maps: beside the saliency that they were aligned with, and that of the classifier in use."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure
from torch import Tensor

from relevance.pages.figures.style import heatmap, new_figure, picture


def generated_maps(images: Tensor, maps: Mapping[str, Tensor]) -> Figure:
    """Draw a row of images, and under it a row for each kind of map, each divided by its largest absolute value.

    Args:
        images: [N, C, H, W] in [0, 1].
        maps: title of the row -> [N, C or 1, H, W].

    Raises:
        ValueError: there are no images, or not one map for each.
    """
    for name, values in maps.items():
        if not len(images) or len(values) != len(images):
            raise ValueError(
                f"{name!r} has {len(values)} maps for {len(images)} images; it must have one for each, at least 1."
            )
    rows = 1 + len(maps)
    with new_figure(rows, len(images), (2.2 + 1.1 * len(images), 0.7 + 1.15 * rows)) as (figure, axes):
        for axis, image in zip(axes[0], images, strict=True):
            picture(axis, image)
        for row, values in zip(axes[1:], maps.values(), strict=True):
            for axis, relevance in zip(row, values, strict=True):
                drawn = heatmap(axis, relevance, relevance.sum(0).abs().max().item() or 1.0)
        for row, name in zip(axes, ["image", *maps], strict=True):
            row[0].set_ylabel(name.replace(" ", "\n", 1), rotation=0, ha="right", va="center", fontsize=11)
        if maps:
            bar = figure.colorbar(drawn, ax=axes, location="bottom", shrink=0.4, aspect=30, pad=0.03)
            bar.set_ticks([-1, 0, 1])
            bar.set_label("relevance / largest |relevance| of the map")
    return figure
