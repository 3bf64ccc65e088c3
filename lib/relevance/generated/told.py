"""The sentences that the measured tables give."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from torch import Tensor

from relevance import faithfulness, report, robustness
from relevance.generated.setting import GENERATED, MEAN, OF_CLASS, OTHER, STANDARD


def means(rows: pd.DataFrame, by: str = "map") -> pd.DataFrame:
    """Return the means over the images."""
    return rows.drop(columns="image").groupby(by, sort=False).mean(numeric_only=True)


def aligned(rows: pd.DataFrame, measure: str = "correlation") -> str:
    """Say, from :func:`alignment_with`, whether generators know more than the mean map of a class, image by image."""
    wide = rows.pivot(index="image", columns="map", values=measure)
    told = []
    for name in GENERATED:
        found = robustness.paired_difference(wide[OF_CLASS].to_numpy(), wide[name].to_numpy())
        word = {1: "more", 0: "neither more nor less, as far as these images tell,", -1: "less"}[found.direction]
        told.append(f"the {name} knows {word} than the {OF_CLASS}, by {report.interval(found)}")
    average = wide.mean()
    text = (
        f"By {measure} with the robust network's saliency, {report.join(told)}. One map for all images reaches "
        f"{average[MEAN]:.3f}, the {STANDARD} {average[STANDARD]:.3f}, another image's robust map {average[OTHER]:.3f}."
    )
    if "beyond the class" in rows:
        rest = means(rows)["beyond the class"]
        text += (
            " Of what is particular to an image, beyond its class, the correlations are "
            f"{report.join([f'{rest[name]:.3f} ({name})' for name in (*GENERATED, STANDARD)])}."
        )
    return text


def deleted(curves: Mapping[str, Mapping[str, Tensor]]) -> str:
    """Say, from :func:`deletion_curves`, whether generators order the pixels better than their class's mean map does."""
    told = []
    for title, panel in curves.items():
        areas = {name: faithfulness.deletion_area(values) for name, values in panel.items()}
        order = sorted(areas, key=lambda name: areas[name].mean().item())
        parts = [
            f"{name} {report.interval(robustness.paired_difference(areas[OF_CLASS], areas[name]))}"
            for name in GENERATED
        ]
        ranked = ", ".join(f"{name} {areas[name].mean():.3f}" for name in order)
        told.append(f"Judged by the {title}: {ranked}. Difference from the {OF_CLASS}: {report.join(parts)}.")
    return f"Areas under the curves, the lowest (the most telling) first. {' '.join(told)}"


def faster(found: Mapping[str, pd.DataFrame]) -> str:
    """Say, from :func:`speed` beside some classifiers, what a generated map costs: name of the classifier -> table."""
    told = []
    for classifier, rows in found.items():
        times = [f"{float(rows['time'][name]):.2f} times ({name})" for name in GENERATED if name in rows.index]
        told.append(f"{report.join(times)} as long as a gradient of the {classifier}")
    return f"A generated map takes {'; '.join(told)}."


def steady(rows: pd.DataFrame) -> str:
    """Say, from :func:`steadiness`, which map stays best under each change."""
    averages = means(rows)
    told = []
    for change in ("noise", "FGSM", "manipulated"):
        order = averages[change].sort_values(ascending=False)
        told.append(f"{change}: {', '.join(f'{name} {value:.2f}' for name, value in order.items())}")
    unlike = ", ".join(f"{name!s} {value:.2f}" for name, value in averages["unrelated"].items())
    return f"Overlap of the top pixels, the steadiest first. {'; '.join(told)}. Maps of different images overlap by: {unlike}."


def sane(rows: pd.DataFrame) -> str:
    """Say, from :func:`sanity`, which maps notice that the classifier has forgotten everything."""
    last, first = rows.iloc[-1], rows.iloc[1]
    blind = [str(name) for name in rows.columns if last[name] > 1 - 1e-6]
    rest = [f"{name} {report.signed(last[name])}" for name in rows.columns if name not in blind]
    unmoved = [str(name) for name in rows.columns if first[name] > 1 - 1e-6]
    text = f"With every layer of the classifier random, rank correlations with the map before are: {', '.join(rest)}."
    if blind:
        text += (
            f" The map of the {report.join(blind)} is **exactly the same**: it fails the check, since it never asks the "
            "classifier."
        )
    if half := [name for name in unmoved if name not in blind]:
        text += f" The map of the {report.join(half)} does not notice a random output layer, which it does not read."
    return text
