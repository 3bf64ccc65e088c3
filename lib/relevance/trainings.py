"""Networks of several trainings beside one another: what attacks leave of them, their gradients, and their alignment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from relevance import alignment, attacks, report, robustness
from relevance.attacks import ball
from relevance.posterior import Posterior
from relevance.robust_training import DISTILLATION, JACOBIAN, PGD, STANDARD, Setting
from relevance.robustness import Interval

CLEAN, FGSM, LINF, L2 = "clean", "FGSM linf", "PGD linf", "PGD l2"
MARGIN_LINF, MARGIN_L2 = "margin linf", "margin l2"
NORM, ZERO = "gradient norm", "zero gradients"
# What a margin attack has to undo of an accuracy for a verdict, and what an attack of another norm must leave in addition.
CLEARLY = 0.05


def compare(
    posteriors: Mapping[str, Posterior],
    images: Tensor,
    labels: Tensor,
    *,
    linf: float,
    l2: float,
    n_steps: int = 20,
) -> pd.DataFrame:
    """Attack networks of several trainings alike, and measure the gradients that the attacks follow.

    Args:
        posteriors: training -> the network.
        images: [N, C, H, W] in [0, 1].
        labels: [N].
        linf, l2: sizes of the attacks in the two norms, in units of the pixel range.
        n_steps: of PGD, which starts at the image.

    Returns:
        A row for each training: accuracy on clean images, under FGSM and PGD on the cross-entropy, and under PGD on the
        margin; ``gradient norm``, the mean Euclidean norm of the cross-entropy's gradient (1 / pixel range); ``zero
        gradients``, the share of images where it is exactly zero.
    """
    rows = {}
    given: dict[str, Any] = {"n_steps": n_steps, "random_start": False, "keep": "best", "progress": False}
    for name, posterior in posteriors.items():
        ways = {CLEAN: images, FGSM: attacks.fgsm(posterior, images, labels, linf)}
        for norm, size, titles in (("linf", linf, (LINF, MARGIN_LINF)), ("l2", l2, (L2, MARGIN_L2))):
            for title, objective in zip(titles, ("cross_entropy", "margin"), strict=True):
                ways[title] = attacks.pgd(posterior, images, labels, size, norm=norm, objective=objective, **given)
        slopes = attacks.loss_gradient(posterior, images, labels)
        sizes = ball.sizes(slopes, "l2")
        rows[name] = {title: posterior.accuracy(attacked, labels) for title, attacked in ways.items()} | {
            NORM: sizes.double().mean().item(),
            ZERO: (slopes == 0).flatten(1).all(1).double().mean().item(),
        }
    columns = [CLEAN, FGSM, LINF, MARGIN_LINF, L2, MARGIN_L2, NORM, ZERO]
    return pd.DataFrame.from_dict(rows, orient="index")[columns].rename_axis("training")


def bounds(posteriors: Mapping[str, Posterior], images: Tensor, **settings: int) -> pd.DataFrame:
    """Return :func:`relevance.alignment.bound` of every training: a row for each training and image.

    Args:
        posteriors: training -> the network.
        images: [N, C, H, W] in [0, 1]; the class of each is the network's prediction.
        settings: of :func:`relevance.alignment.distance`.
    """
    parts = []
    for name, posterior in posteriors.items():
        found = alignment.bound(posterior, images, posterior.predict(images).argmax(1), **settings)
        parts.append(found.assign(training=name, image=range(len(images))))
    return pd.concat(parts, ignore_index=True)


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the means over images of :func:`bounds` for each training.

    Besides the columns of :func:`bounds`: ``needed``, the share of images at which the bound does not hold with xi = 0 for
    rho's upper bound; and ``rank correlation`` of alignment and rho over the images.
    """
    told = {}
    for name, part in rows.groupby("training", sort=False):
        means = {column: float(_usable(part[column]).mean()) for column in ("alignment", "rho", "first order", "bias", "xi")}
        both = part[np.isfinite(part["alignment"]) & np.isfinite(part["rho"])]
        enough = len(both) >= 4
        correlation = robustness.spearman(both["alignment"].to_numpy(), both["rho"].to_numpy()).rho if enough else np.nan
        told[name] = means | {"needed": float((part["xi"] > 0).mean()), "rank correlation": correlation}
    return pd.DataFrame.from_dict(told, orient="index").rename_axis("training")


def by_epsilon(rows: pd.DataFrame, chosen: Mapping[str, Setting], sizes: Mapping[str, float]) -> pd.DataFrame:
    """Return alignment and distance to the boundary against the size of the attack that was trained on.

    Args:
        rows: from :func:`bounds`.
        chosen: training -> its setting; those of PGD are taken, and standard training as epsilon 0 of both norms.
        sizes: training -> epsilon on these images, as :func:`relevance.robust_training.scaled_epsilon` gives it.

    Returns:
        ``norm``, ``epsilon``, ``quantity`` (``"alignment"`` or ``"rho"``), ``mean``, and ``low`` and ``high`` of a 95 %
        bootstrap interval over images.
    """
    norms = list(dict.fromkeys(setting.norm for setting in chosen.values() if setting.method == PGD))
    if not norms:
        raise ValueError(f"chosen has the trainings {', '.join(chosen)}; at least one must be PGD's.")
    found = []
    for norm in norms:
        for name, setting in chosen.items():
            if setting.method != STANDARD and setting.norm != norm:
                continue
            own = rows[rows["training"] == name]
            epsilon = 0.0 if setting.method == STANDARD else sizes[name]
            for quantity in ("alignment", "rho"):
                mean, low, high = _interval(own[quantity])
                found.append({"norm": norm, "epsilon": epsilon, "quantity": quantity, "mean": mean, "low": low, "high": high})
    return pd.DataFrame(found).sort_values(["norm", "quantity", "epsilon"], ignore_index=True)


def told_gradients(rows: pd.DataFrame) -> str:
    """Say what each defence does to gradients, and what the margin attack leaves of it, from :func:`compare`."""
    standard = rows.loc[STANDARD]
    told = []
    if JACOBIAN in rows.index:
        ratio = rows.loc[JACOBIAN, NORM] / standard[NORM]
        told.append(
            f"Jacobian regularisation multiplies the mean norm of the loss's gradient by {ratio:.3g}, so it "
            + ("lowers it." if ratio < 1 else "does **not** lower it.")
        )
    if DISTILLATION in rows.index:
        row = rows.loc[DISTILLATION]
        told.append(
            f"Distillation multiplies it by {row[NORM] / standard[NORM]:.3g}; it is exactly zero on {row[ZERO]:.0%} of the "
            f"images (standard: {standard[ZERO]:.0%})."
        )
        for norm, entropy, margin in (("maximum", LINF, MARGIN_LINF), ("Euclidean", L2, MARGIN_L2)):
            seeming, real = row[entropy] - standard[entropy], row[margin] - standard[margin]
            undone = seeming > CLEARLY and real <= max(CLEARLY, seeming / 2)
            told.append(
                f"In the {norm} norm PGD on the cross-entropy leaves it an accuracy of {row[entropy]:.0%} "
                f"(standard: {standard[entropy]:.0%}), PGD on the margin {row[margin]:.0%} ({standard[margin]:.0%}): "
                + ("the gain is **undone** by an attack that does not saturate." if undone else "")
                + ("" if undone or seeming > CLEARLY else "there was no gain to undo.")
                + ("the gain is **not** undone." if not undone and seeming > CLEARLY else "")
            )
    return " ".join(told)


def told_transfer(rows: pd.DataFrame, chosen: Mapping[str, Setting]) -> str:
    """Say whether PGD training helps against attacks of the norm that was not trained on, from :func:`compare`."""
    standard = rows.loc[STANDARD]
    helped, failed = [], []
    for name, setting in chosen.items():
        if setting.method != PGD:
            continue
        column = MARGIN_L2 if setting.norm == "linf" else MARGIN_LINF
        before, after = standard[column], rows.loc[name, column]
        (helped if after > before + CLEARLY else failed).append(f"{name} (from {before:.0%} to {after:.0%})")
    text = f"Accuracy under the margin attack of the *other* norm rises by more than {CLEARLY:.0%} for " + (
        report.join(helped) if helped else "**no** training"
    )
    return text + (f"; not for {report.join(failed)}." if failed else ".")


def told_alignment(curve: pd.DataFrame) -> str:
    """Say whether alignment and distance grow with epsilon, norm by norm, from :func:`by_epsilon`."""
    told = []
    for norm, part in curve.groupby("norm", sort=False):
        for quantity, called in (("alignment", "the alignment"), ("rho", "the distance to the boundary")):
            line = part[part["quantity"] == quantity].sort_values("epsilon")
            first, last = line.iloc[0], line.iloc[-1]
            steady = bool((line["mean"].diff().dropna() > 0).all())
            apart = last["low"] > first["high"]
            told.append(
                f"In training with PGD-{norm}, {called} goes from {first['mean']:.2f} ({first['low']:.2f} to "
                f"{first['high']:.2f}) at epsilon {first['epsilon']:.3g} to {last['mean']:.2f} ({last['low']:.2f} to "
                f"{last['high']:.2f}) at {last['epsilon']:.3g}: "
                + (
                    "it grows" + (" at every step." if steady else ", but not at every step.")
                    if apart
                    else "**not** more than the intervals allow."
                    if last["mean"] > first["mean"]
                    else "it does **not** grow."
                )
            )
    return " ".join(told)


def told_bound(told: pd.DataFrame) -> str:
    """Say how much of the bound is the error term, from :func:`summary`."""
    most, least = told["needed"].idxmax(), told["needed"].idxmin()
    aligned, reach = told["alignment"], told["rho"]
    order = robustness.spearman(aligned.to_numpy(), reach.to_numpy()) if len(told) >= 4 else None
    ranks = (
        f" Over the {len(told)} trainings the rank correlation of mean alignment and mean distance is "
        f"{report.interval(Interval(order.rho, order.low, order.high))}."
        if order
        else ""
    )
    return (
        f"Without an error term the bound fails, as far as rho is its upper bound, on {told['needed'][least]:.0%} ({least}) to "
        f"{told['needed'][most]:.0%} ({most}) of the images. Inside a training, over images, the rank correlation of alignment "
        f"and distance lies between {report.signed(told['rank correlation'].min())} "
        f"({told['rank correlation'].idxmin()}) and {report.signed(told['rank correlation'].max())} "
        f"({told['rank correlation'].idxmax()}).{ranks}"
    )


def shown(labels: Tensor, n_shown: int) -> Tensor:
    """Return the indices of the first image of each of the first ``n_shown`` classes."""
    return torch.tensor([int((labels == label).nonzero()[0]) for label in labels.unique()[:n_shown]])


def _usable(values: pd.Series) -> np.ndarray:
    given: np.ndarray = values.to_numpy(float)
    return given[np.isfinite(given)]


def _interval(values: Sequence[float] | pd.Series) -> tuple[float, float, float]:
    given = _usable(pd.Series(values))
    if len(given) < 2:
        return (np.nan, np.nan, np.nan)
    found = robustness.paired_difference(np.zeros(len(given)), given)
    return found.mean, found.low, found.high
