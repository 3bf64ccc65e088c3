"""Evidence that a posterior is what it claims: how well it predicts, how well it knows it, how near it is to another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional

from relevance.base import checks
from relevance.networks.posterior import Posterior, as_posterior, given


def calibration(probabilities: Tensor, labels: Tensor, n_bins: int = 15) -> pd.DataFrame:
    """Compare confidence and accuracy in bins of equal width (Guo et al. 2017, arXiv:1706.04599, Sec. 2).

    Args:
        probabilities: [N, K].
        labels: [N].
        n_bins: of [0, 1]; each takes its upper end, and the first takes 0 too, so no image is dropped.

    Returns:
        A row for each bin that holds images: ``confidence``, ``accuracy``, ``share`` of the images.
    """
    checks.count("n_bins", n_bins)
    if not len(checks.probabilities("probabilities", probabilities)):
        raise ValueError("probabilities are of 0 images; they must be of at least 1, since means over them are taken.")
    labels = checks.class_indices("labels", labels, *probabilities.shape)
    confidence, predicted = probabilities.double().max(-1)
    right = (predicted == labels).double()
    index = (confidence * n_bins).ceil().long().clamp(1, n_bins) - 1
    rows = []
    for chosen in index.unique().tolist():
        inside = index == chosen
        rows.append(
            {
                "confidence": confidence[inside].mean().item(),
                "accuracy": right[inside].mean().item(),
                "share": inside.double().mean().item(),
            }
        )
    return pd.DataFrame(rows)


def calibration_error(probabilities: Tensor, labels: Tensor, n_bins: int = 15) -> float:
    """Return the expected calibration error, in [0, 1]: the mean distance of confidence and accuracy over the images."""
    bins = calibration(probabilities, labels, n_bins)
    return float((bins["share"] * (bins["confidence"] - bins["accuracy"]).abs()).sum())


def table(
    posteriors: Mapping[str, Posterior], images: Tensor, labels: Tensor, reference: str | None = None
) -> pd.DataFrame:
    """Return the evidence for several posteriors, a row each.

    Args:
        posteriors: name -> posterior.
        images: test images [N, C, H, W] in [0, 1].
        labels: [N].
        reference: the posterior that the others are compared with, usually by HMC; None for none.

    Returns:
        ``samples``; ``accuracy``; ``NLL``, the mean negative log predictive probability of the label; ``ECE``;
        ``saturated``, the share of images whose largest predictive probability is 1 in single precision; of chains
        ``acceptance``, and of their certificate the largest ``R-hat`` and the smallest ``ESS`` (bulk) and ``ESS tail``, else NaN;
        with a reference ``agreement`` (share of equal predictions) and ``total variation`` (mean over the images), of
        Izmailov et al. 2021, arXiv:2104.14421, Sec. 4; and ``seconds`` of training.

    Raises:
        ValueError: the reference is not among the posteriors, or an image or a label is not what it may be.
    """
    for name, posterior in checks.named("posteriors", posteriors, "posteriors").items():
        _, labels = given(
            as_posterior(posterior, f"posteriors[{name!r}]"), checks.some_images("images", images), labels, "labels"
        )
    if reference is not None:
        checks.one_of("reference", reference, posteriors)
    with torch.no_grad():
        logs = {name: posterior.log_predictive(images) for name, posterior in posteriors.items()}
    rows = {}
    for name, posterior in posteriors.items():
        probabilities = logs[name].exp()
        found = posterior.record.get("diagnostics", {})
        row: dict[str, Any] = {
            "samples": len(posterior),
            "accuracy": (probabilities.argmax(-1) == labels).double().mean().item(),
            "NLL": functional.nll_loss(logs[name], labels).item(),
            "ECE": calibration_error(probabilities, labels),
            "saturated": (probabilities.float().amax(-1) >= 1).double().mean().item(),
            "acceptance": found.get("acceptance_rate", np.nan),
            "R-hat": _number(found.get("rhat")),
            "ESS": _number(found.get("ess")),
            "ESS tail": _number(found.get("ess_tail")),
        }
        if reference is not None:
            other = logs[reference].exp()
            row["agreement"] = (probabilities.argmax(-1) == other.argmax(-1)).double().mean().item()
            row["total variation"] = 0.5 * (probabilities - other).abs().sum(-1).mean().item()
        rows[name] = row | {"seconds": posterior.record.get("seconds", np.nan)}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("posterior")


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
