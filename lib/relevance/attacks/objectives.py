"""What an attack on a prediction raises: a loss of each image, from the logits of all samples."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from relevance.base import checks
from relevance.networks.posterior import log_mean_softmax

# Logits [S, N, K] and labels [N] -> losses [N], higher where the attack has got further.
Loss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return -log E[softmax f(x, w)] at the labels: the loss of the posterior predictive (Carbone et al., Sec. II-C).

    Where the probabilities of all wrong classes are 0 in floating point, its gradient is exactly zero.
    """
    return functional.nll_loss(log_mean_softmax(logits), labels, reduction="none")


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Return minus the margin: max_k log p_k - log p_y, over the wrong classes k, for the posterior predictive p.

    It is above 0 exactly where the prediction is wrong, and does not saturate: for one sample it is a difference of
    logits. The idea is that of the difference of logits ratio (Croce and Hein 2020, arXiv:2003.01690, Eq. 6), whose
    denominator makes values comparable from image to image; steps of a fixed size do not need that.
    """
    log_p = log_mean_softmax(logits)
    wrong = log_p.scatter(1, labels[:, None], -torch.inf)
    return wrong.amax(1) - log_p.gather(1, labels[:, None]).squeeze(1)


def mean_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean over samples of their cross-entropies, E[-log softmax f(x, w)], at the labels.

    Its gradient is the mean of the samples' gradients: what is printed in Carbone et al., Sec. II-C, as the Bayesian attack.
    """
    return -logits.log_softmax(-1).mean(0).gather(1, labels[:, None]).squeeze(1)


def mean_logit(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy of the mean of the samples' logits, E[f(x, w)], at the labels.

    A few sure samples do not hide the others, as they do in an average of probabilities.
    """
    return functional.cross_entropy(logits.mean(0), labels, reduction="none")


LOSSES: dict[str, Loss] = {
    "cross_entropy": cross_entropy, "mean_loss": mean_loss, "margin": margin, "mean_logit": mean_logit,
}  # fmt: skip


def checked_loss(loss: Loss, logits: Tensor, labels: Tensor) -> Tensor:
    """Return the losses [N] that an objective gives, or say that it must give one of each image."""
    return checks.results("objective", loss(logits, labels), len(labels), "a loss of each", one_number=True)


def loss_named(objective: str | Loss) -> Loss:
    """Return the loss of a name, or the function itself.

    Raises:
        ValueError: it is neither.
    """
    if callable(objective):
        return objective
    return LOSSES[checks.one_of("objective", objective, LOSSES)]
