"""Networks of several trainings beside one another: what attacks leave of them, their gradients, and their alignment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from relevance import alignment, attacks, checks, report, robustness
from relevance.attacks import ball
from relevance.posterior import Posterior
from relevance.robust_training import DISTILLATION, JACOBIAN, PGD, STANDARD, Setting, scaled_epsilon
from relevance.robustness import Interval

CLEAN, FGSM, LINF, L2 = "clean", "FGSM linf", "PGD linf", "PGD l2"
MARGIN_LINF, MARGIN_L2 = "margin linf", "margin l2"
NORM, MEDIAN, ZERO = "mean gradient", "median gradient", "zero gradients"
# Columns of the bound that are drawn, and what they are called.
QUANTITIES = {"alignment": "alignment", "rho": "distance to the boundary"}
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
        margin; ``mean gradient`` and ``median gradient``, over the images, of the Euclidean norm of the cross-entropy's
        gradient (1 / pixel range), which differ where a few images have very large ones; ``zero gradients``, the share of
        images where it is exactly zero.
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
            MEDIAN: sizes.median().item(),
            ZERO: (slopes == 0).flatten(1).all(1).double().mean().item(),
        }
    columns = [CLEAN, FGSM, LINF, MARGIN_LINF, L2, MARGIN_L2, NORM, MEDIAN, ZERO]
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
        means = {
            column: float(_usable(part[column]).mean()) for column in ("alignment", "rho", "first order", "bias", "xi")
        }
        both = part[np.isfinite(part["alignment"]) & np.isfinite(part["rho"])]
        enough = len(both) >= 4
        correlation = (
            robustness.spearman(both["alignment"].to_numpy(), both["rho"].to_numpy()).rho if enough else np.nan
        )
        told[name] = means | {"needed": float((part["xi"] > 0).mean()), "rank correlation": correlation}
    return pd.DataFrame.from_dict(told, orient="index").rename_axis("training")


def by_epsilon(rows: pd.DataFrame, chosen: Mapping[str, Setting], image_shape: Sequence[int]) -> pd.DataFrame:
    """Return alignment and distance to the boundary against the size of the attack that was trained on.

    Args:
        rows: from :func:`bounds`.
        chosen: training -> its setting; those of PGD are taken, and standard training as epsilon 0 of both norms.
        image_shape: (C, H, W) of the images, to which epsilon is scaled.

    Returns:
        ``norm``, ``epsilon``, ``quantity`` (``"alignment"`` or ``"rho"``), ``mean``, and ``low`` and ``high`` of a 95 %
        bootstrap interval over images; ``gain``, ``gain low`` and ``gain high``, of the difference from standard training,
        paired by image.
    """
    norms = list(dict.fromkeys(setting.norm for setting in chosen.values() if setting.method == PGD))
    if not norms:
        raise ValueError(f"chosen has the trainings {', '.join(chosen)}; at least one must be PGD's.")
    checks.one_of("standard training among the rows", STANDARD, rows["training"].unique())
    values = {
        name: part.set_index("image")[list(QUANTITIES)].replace(np.inf, np.nan)
        for name, part in rows.groupby("training", sort=False)
    }
    found = []
    for norm in norms:
        for name, setting in chosen.items():
            if setting.method != STANDARD and setting.norm != norm:
                continue
            epsilon = scaled_epsilon(setting.epsilon, norm, image_shape)
            for quantity in QUANTITIES:
                # Only images at which both are defined can be compared.
                both = pd.concat([values[STANDARD][quantity], values[name][quantity]], axis=1).dropna().to_numpy()
                level = robustness.paired_difference(np.zeros(len(both)), both[:, 1])
                gain = robustness.paired_difference(both[:, 0], both[:, 1])
                row = {"norm": norm, "epsilon": epsilon, "quantity": quantity}
                row |= {"mean": level.mean, "low": level.low, "high": level.high}
                found.append(row | {"gain": gain.mean, "gain low": gain.low, "gain high": gain.high})
    return pd.DataFrame(found).sort_values(["norm", "quantity", "epsilon"], ignore_index=True)


def told_gradients(rows: pd.DataFrame) -> str:
    """Say what each defence does to gradients, and what the margin attack leaves of it, from :func:`compare`."""
    table = _plain(rows)
    standard = table[STANDARD]
    told = []
    if JACOBIAN in table:
        ratio = table[JACOBIAN][NORM] / standard[NORM]
        told.append(
            f"Jacobian regularisation multiplies the mean norm of the loss's gradient by {ratio:.3g}, so it "
            + ("lowers it" if ratio < 1 else "does **not** lower it")
            + f"; the *median* goes from {standard[MEDIAN]:.3g} to {table[JACOBIAN][MEDIAN]:.3g}."
        )
        if ratio < 1 and table[JACOBIAN][MEDIAN] > standard[MEDIAN]:
            told.append(
                "It takes away the large gradients, of which the penalty is made, and **not** those of most images."
            )
    if DISTILLATION in table:
        row = table[DISTILLATION]
        told.append(
            f"Distillation brings the *median* norm from {standard[MEDIAN]:.3g} to {row[MEDIAN]:.3g}, the *mean* from "
            f"{standard[NORM]:.3g} to {row[NORM]:.3g}; the gradient is exactly zero on {row[ZERO]:.0%} of the images "
            f"(standard: {standard[ZERO]:.0%}). Its accuracy on clean images is {row[CLEAN]:.0%} "
            f"({standard[CLEAN]:.0%}) after as many epochs."
        )
        if row[MEDIAN] < standard[MEDIAN] and row[NORM] > standard[NORM]:
            told.append(
                "So it shrinks for most images and **grows** for the rest: with logits so large, the loss is flat where the "
                "network is right and steep where it is wrong."
            )
        for norm, entropy, margin in (("maximum", LINF, MARGIN_LINF), ("Euclidean", L2, MARGIN_L2)):
            told.append(
                f"In the {norm} norm PGD on the cross-entropy leaves it an accuracy of {row[entropy]:.0%} "
                f"(standard: {standard[entropy]:.0%}), PGD on the margin {row[margin]:.0%} ({standard[margin]:.0%}): "
                + _undone(row[entropy] - standard[entropy], row[margin] - standard[margin])
            )
    return " ".join(told)


def _plain(rows: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Return a table as its rows by name."""
    return {
        str(name): {str(column): float(value) for column, value in row.items()}
        for name, row in rows.to_dict("index").items()
    }


def _undone(seeming: float, real: float) -> str:
    """Say what is left of a gain in accuracy under an attack that does not saturate."""
    if seeming <= CLEARLY:
        return "there was no gain to undo."
    if real <= max(CLEARLY, seeming / 4):
        return "the gain is **undone** by an attack that does not saturate."
    return "the gain is **not** undone, or not wholly, by an attack that does not saturate."


def told_transfer(rows: pd.DataFrame, chosen: Mapping[str, Setting]) -> str:
    """Say whether PGD training helps against attacks of the norm that was not trained on, from :func:`compare`."""
    table = _plain(rows)
    helped: list[str] = []
    failed: list[str] = []
    for name, setting in chosen.items():
        if setting.method != PGD:
            continue
        columns = (L2, MARGIN_L2) if setting.norm == "linf" else (LINF, MARGIN_LINF)
        before, after = (min(table[one][column] for column in columns) for one in (STANDARD, name))
        (helped if after > before + CLEARLY else failed).append(f"{name} (from {before:.0%} to {after:.0%})")
    text = (
        "Accuracy under the stronger of the two PGD attacks in the *other* norm rises by more than "
        f"{100 * CLEARLY:.0f} points for " + (report.join(helped) if helped else "**no** training")
    )
    return text + (f"; not for {report.join(failed)}." if failed else ".")


def told_alignment(curve: pd.DataFrame) -> str:
    """Say whether alignment and distance grow with epsilon, norm by norm, from :func:`by_epsilon`."""
    told = []
    for norm, part in curve.groupby("norm", sort=False):
        for quantity, called in QUANTITIES.items():
            line = part[part["quantity"] == quantity].sort_values("epsilon")
            first, last = line.iloc[0].to_dict(), line.iloc[-1].to_dict()
            steady = bool((line["mean"].diff().dropna() > 0).all())
            gain = Interval(last["gain"], last["gain low"], last["gain high"])
            verdict = (
                "it grows" + (" from each size to the next." if steady else ", but not from each size to the next.")
                if gain.direction > 0
                else "it **falls**."
                if gain.direction < 0
                else "**not decided** by these images."
            )
            told.append(
                f"From standard training to PGD-{norm} with epsilon {last['epsilon']:.3g}, the {called} goes from "
                f"{first['mean']:.2f} to {last['mean']:.2f}, a difference of {report.interval(gain)}: {verdict}"
            )
    return " ".join(told)


def told_bound(told: pd.DataFrame) -> str:
    """Say how much of the bound is the error term, and how much of it is an identity, from :func:`summary`."""
    needed = told["needed"]
    share = told["bias"] / told["alignment"]
    inside = told["rank correlation"]
    parts = [
        f"If rho is as large as its upper bound, the bound needs its error term on {needed.min():.0%} ({needed.idxmin()}) to "
        f"{needed.max():.0%} ({needed.idxmax()}) of the images; its mean is {told['xi'].min():.2f} to {told['xi'].max():.2f}.",
        f"The biases make a difference between alignment and first-order distance of at most {share.max():.1%} of the "
        f"alignment ({share.idxmax()}), in the mean over images.",
        f"From image to image, the rank correlation of alignment and rho is {report.signed(inside.min())} "
        f"({inside.idxmin()}) to {report.signed(inside.max())} ({inside.idxmax()}).",
    ]
    if len(told) >= 4:
        order = robustness.spearman(told["alignment"].to_numpy(), told["rho"].to_numpy())
        said = (
            "both put them in the same order."
            if order.rho == 1
            else f"their rank correlation is {report.interval(Interval(order.rho, order.low, order.high))}."
        )
        parts.append(f"Over the means of the {len(told)} trainings, {said}")
    return " ".join(parts)


def shown(labels: Tensor, n_shown: int) -> Tensor:
    """Return the indices of the first image of each of the first ``n_shown`` classes."""
    return torch.tensor([int((labels == label).nonzero()[0]) for label in labels.unique()[:n_shown]])


def _usable(values: pd.Series) -> np.ndarray:
    given: np.ndarray = values.to_numpy(float)
    return given[np.isfinite(given)]
