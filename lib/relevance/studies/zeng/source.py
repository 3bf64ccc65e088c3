"""What the third source trains and prints (Zeng et al., supplement), as data, to stand beside what the book measures.

*Generating Deep Networks Explanations with Robust Attribution Alignment*; all of it is of CIFAR-10 and ResNet-18.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from relevance.base import balls, checks

# Table 1: (norm, epsilon as printed, steps) -> test accuracy in percent after removing 20, 40, 60 and 80 % of the pixels by
# the saliency maps of a network trained by PGD with these settings, and retraining.
TABLE_1 = {
    ("l2", "1", 20): (87.48, 81.98, 76.24, 66.43),
    ("l2", "1", 40): (88.13, 81.68, 75.81, 66.14),
    ("l2", "1.5", 20): (88.4, 81.45, 74.50, 63.74),
    ("l2", "1.5", 40): (87.43, 81.94, 74.90, 65.12),
    ("l2", "2", 20): (88.31, 82.8, 74.03, 65.03),
    ("l2", "2", 40): (87.93, 83.78, 75.74, 64.53),
    ("l2", "2.5", 20): (89.04, 82.22, 75.1, 63.94),
    ("l2", "2.5", 40): (88.62, 82.81, 75.01, 65.77),
    ("linf", "4/255", 20): (88.13, 84.68, 78.39, 67.54),
    ("linf", "4/255", 40): (88.61, 83.7, 78.64, 68.02),
    ("linf", "8/255", 20): (88.76, 83.86, 77.26, 66.25),
    ("linf", "8/255", 40): (89.43, 84.05, 77.03, 65.24),
    ("linf", "16/255", 20): (90.75, 86.15, 81.15, 71.66),
    ("linf", "16/255", 40): (90.21, 85.78, 80.24, 70.93),
}
TABLE_1_SHARES = (0.2, 0.4, 0.6, 0.8)


def table_1() -> pd.DataFrame:
    """Return Table 1, a row for each setting and share: ``norm``, ``epsilon``, ``steps``, ``share``, ``accuracy`` in [0, 1]."""
    rows = [
        {"norm": norm, "epsilon": epsilon, "steps": steps, "share": share, "accuracy": round(percent / 100, 4)}
        for (norm, epsilon, steps), row in TABLE_1.items()
        for share, percent in zip(TABLE_1_SHARES, row, strict=True)
    ]
    return pd.DataFrame(rows)


def as_roar() -> pd.DataFrame:
    """Return Table 1 in the form of what :func:`roar.roar` returns, with one seed."""
    rows = table_1()
    names = [f"PGD-{row.norm} {row.epsilon}, {row.steps} steps" for row in rows.itertuples()]
    return rows.assign(attribution=names, seed=0)[["attribution", "share", "seed", "accuracy"]]


def table_1_ranges() -> pd.DataFrame:
    """Return what lies between the lowest and the highest of Table 1's settings, by norm (rows) and share (columns)."""
    grouped = table_1().groupby(["norm", "share"], sort=False)["accuracy"]
    text = grouped.agg(lambda values: f"{values.min():.3f} to {values.max():.3f}")
    return text.unstack("share")[list(TABLE_1_SHARES)]


# Numbers in an image of CIFAR-10, on which the source trained: 3 x 32 x 32.
SOURCE_SIZE = 3072
STANDARD, PGD, DISTILLATION, JACOBIAN = "standard", "PGD", "distillation", "Jacobian"


@dataclass(frozen=True)
class Setting:
    """One training of the source.

    Attributes:
        method: ``"standard"``, ``"PGD"``, ``"distillation"`` or ``"Jacobian"``.
        norm: of PGD's attack; empty for the others.
        epsilon: of PGD's attack, for images of CIFAR-10, in units of the pixel range.
        n_steps: of PGD's attack, t in the source's Table 1.
        temperature: T of distillation.
        strength: lambda of Jacobian regularisation.
    """

    method: str
    norm: str = ""
    epsilon: float = 0.0
    n_steps: int = 0
    temperature: float = 0.0
    strength: float = 0.0

    @property
    def name(self) -> str:
        """What it is called in tables and figures, such as ``"PGD-l2 1.5"`` or ``"PGD-linf 8/255"``; without its steps."""
        if self.method != PGD:
            return self.method
        return f"PGD-{self.norm} " + (f"{self.epsilon:g}" if self.norm == "l2" else f"{self.epsilon * 255:g}/255")


L2 = (1.0, 1.5, 2.0, 2.5)
LINF = (4 / 255, 8 / 255, 16 / 255)
STEPS = (20, 40)
# The defences of the source's Figures 1 and 2, and the rows of its Table 1.
PLAIN = (Setting(STANDARD), Setting(DISTILLATION, temperature=100.0), Setting(JACOBIAN, strength=0.5))


def settings(names: Sequence[str] | None = None, n_steps: int = 20) -> dict[str, Setting]:
    """Return the source's trainings by name, those of PGD with ``n_steps``.

    Args:
        names: which; all if None.
        n_steps: of PGD's attack. The source has 20 and 40; another number is this book's.

    Raises:
        ValueError: a name is not of the source.
    """
    checks.count("n_steps", n_steps)
    pgd = [Setting(PGD, one.norm, one.epsilon, n_steps) for one in PGD_SETTINGS if one.n_steps == STEPS[0]]
    known = {one.name: one for one in (*PLAIN, *pgd)}
    return {checks.one_of("names", name, known): known[name] for name in (known if names is None else names)}


def by_steps(names: Sequence[str], steps: Sequence[int]) -> dict[str, Setting]:
    """Return trainings by PGD at several numbers of steps, as in the source's Table 1: ``"PGD-l2 1, 20 steps"`` -> setting."""
    return {f"{name}, {count} steps": setting for count in steps for name, setting in settings(names, count).items()}


def scaled_epsilon(epsilon: float, norm: str, image_shape: Sequence[int]) -> float:
    """Return the size that an attack on images of CIFAR-10 has on images of another size.

    A Euclidean ball holds changes whose root mean square over the d numbers of an image is up to epsilon / sqrt(d). The
    source's images have d = 3072; the same radius on 64 pixels would be a change of each that is seven times as large. So it
    is multiplied by sqrt(d / 3072), which keeps the change of a pixel. In the maximum norm epsilon is that change, and stays.

    This makes attacks alike, not tasks: how far apart the classes are, for a change of each pixel, is the data's.

    Args:
        epsilon: in units of the pixel range; at least 0.
        norm: ``"linf"`` or ``"l2"``.
        image_shape: (C, H, W) of one image.
    """
    checks.number("epsilon", epsilon, at_least=0)
    if balls.check_norm(norm) == "linf":
        return float(epsilon)
    size = checks.count("the number of values in an image", math.prod(image_shape))
    return float(epsilon) * math.sqrt(size / SOURCE_SIZE)


def sizes(chosen: Mapping[str, Setting], image_shape: Sequence[int]) -> pd.DataFrame:
    """Return epsilon of each training by PGD, ``in the source`` and ``here``, on images of this shape.

    Args:
        chosen: name -> setting; those of other methods are left out.
        image_shape: (C, H, W) of one image.
    """
    rows = {
        name: {"in the source": one.epsilon, "here": scaled_epsilon(one.epsilon, one.norm, image_shape)}
        for name, one in chosen.items()
        if one.method == PGD
    }
    columns = ["in the source", "here"]
    return pd.DataFrame.from_dict(rows, orient="index")[columns].rename_axis("epsilon of")


PGD_SETTINGS = tuple(
    Setting(PGD, norm, epsilon, steps)
    for norm, sizes in (("l2", L2), ("linf", LINF))
    for epsilon in sizes
    for steps in STEPS
)
