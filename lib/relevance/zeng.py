"""What the supplement of Zeng et al. prints, as data, to stand beside what the book measures.

Generating Deep Networks Explanations with Robust Attribution Alignment, supplementary material. All of it is of CIFAR-10 and
ResNet-18.
"""

from __future__ import annotations

import pandas as pd

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
    """Return Table 1 in the form of what :func:`relevance.roar.roar` returns, with one seed."""
    rows = table_1()
    names = [f"PGD-{row.norm} {row.epsilon}, {row.steps} steps" for row in rows.itertuples()]
    return rows.assign(attribution=names, seed=0)[["attribution", "share", "seed", "accuracy"]]


def table_1_ranges() -> pd.DataFrame:
    """Return what lies between the lowest and the highest of Table 1's settings, by norm (rows) and share (columns)."""
    grouped = table_1().groupby(["norm", "share"], sort=False)["accuracy"]
    text = grouped.agg(lambda values: f"{values.min():.3f} to {values.max():.3f}")
    return text.unstack("share")[list(TABLE_1_SHARES)]
