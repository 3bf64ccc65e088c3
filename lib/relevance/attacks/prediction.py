"""Attacks on the prediction of a whole posterior."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from relevance.attacks.objectives import Loss, checked_loss, loss_named
from relevance.base import checks, chunks
from relevance.base.ascent import Objective, Search, climb, is_nan, refuse_nan, slope
from relevance.networks.posterior import Posterior, as_posterior, given


class LogPredictive(nn.Module):
    """A posterior as an ordinary classifier, for libraries that attack those: images -> log E[softmax f(x, w)].

    A logarithm of probabilities is as good as logits: its softmax is the posterior predictive. Everything is
    remembered for the gradient at once, so give few images at a time.

    Args:
        posterior: the posterior.
    """

    def __init__(self, posterior: Posterior) -> None:
        super().__init__()
        self.posterior = as_posterior(posterior)
        self.network = posterior.network  # so that libraries find the device
        self.eval()

    def train(self, mode: bool = True) -> LogPredictive:
        """Stay in evaluation mode, whatever is asked for: the network is the posterior's own."""
        return super().train(False)

    def forward(self, images: Tensor) -> Tensor:
        """Return log-probabilities [N, K]."""
        return self.posterior.log_predictive(images)


def loss_gradient(
    posterior: Posterior, images: Tensor, labels: Tensor, objective: str | Loss = "cross_entropy"
) -> Tensor:
    """Return the gradient, with respect to each image, of the loss that an attack raises.

    A gradient that is exactly zero leaves nothing to follow: an attack that starts from it fails without showing that
    the posterior is robust. How often that is so can be counted here.

    Args:
        posterior: the posterior that is attacked.
        images: [N, C, H, W] in [0, 1].
        labels: [N], the classes whose loss is taken.
        objective: as for :func:`pgd`.

    Returns:
        [N, C, H, W].

    Raises:
        ValueError: as for :func:`pgd`.
    """
    raised, n_at_once = _raised(posterior, images, labels, objective)
    parts: list[Tensor] = []
    for rows in torch.arange(len(images), device=images.device).split(n_at_once):
        values, gradient = slope(raised, images[rows], rows, 0.0)
        refuse_nan(is_nan(values, gradient))
        parts.append(gradient)
    return torch.cat(parts)


def fgsm(
    posterior: Posterior,
    images: Tensor,
    labels: Tensor,
    epsilon: float,
    *,
    norm: str = "linf",
    objective: str | Loss = "cross_entropy",
) -> Tensor:
    """Attack the posterior predictive with one step of size ``epsilon`` along the sign of the loss gradient.

    The fast gradient sign method (Goodfellow et al. 2015; Carbone et al., Sec. II-C and VII-B) with the loss of the
    posterior predictive, projected into [0, 1]: :func:`pgd` with one step, from the image itself.

    Args:
        posterior: the posterior that is attacked; one sample makes it the attack on a deterministic network.
        images: [N, C, H, W] in [0, 1].
        labels: [N], the classes whose loss is increased.
        epsilon: size of the step in the maximum norm, in units of the pixel range; at least 0.
        norm, objective: as for :func:`pgd`.

    Returns:
        The attacked images [N, C, H, W], in [0, 1] and at most ``epsilon`` away from ``images`` in every pixel.

    Raises:
        ValueError: epsilon is negative, an image has values outside [0, 1], or shapes do not fit.
    """
    return _attacked(posterior, images, labels, Search(epsilon, norm, n_steps=1), objective, show=False)


def pgd(
    posterior: Posterior,
    images: Tensor,
    labels: Tensor,
    epsilon: float,
    *,
    norm: str = "linf",
    n_steps: int = 10,
    objective: str | Loss = "cross_entropy",
    random_start: bool = True,
    progress: bool = True,
    **settings: Any,
) -> Tensor:
    """Attack the posterior predictive by projected gradient steps (Madry et al. 2018; Carbone et al., Sec. VII-B).

    Args:
        posterior: the posterior that is attacked; one sample makes it the attack on a deterministic network.
        images: [N, C, H, W] in [0, 1].
        labels: [N], the classes whose loss is increased.
        epsilon: size of the ball in ``norm``, in units of the pixel range; at least 0.
        norm: ``"linf"``, with steps along the sign of the gradient, or ``"l2"``, with steps along the gradient.
        n_steps: gradient steps of one walk.
        objective: what is raised: ``"cross_entropy"`` of the posterior predictive, the ``"mean_loss"`` of the samples (the
            formula that Carbone et al. print in Sec. II-C), the predictive's ``"margin"``, which does not saturate, the
            cross-entropy of the ``"mean_logit"``, or a function of logits [S, N, K] and labels [N] that gives a loss of each
            image, [N].
        random_start: start anywhere in the ball, not at the image.
        progress: show a progress bar.
        settings: other fields of :class:`relevance.base.ascent.Search`: ``step_size``, ``n_restarts``, ``keep``, ``seed``.

    Returns:
        The attacked images [N, C, H, W], in [0, 1] and in the ball.

    Raises:
        ValueError: a setting is not what it may be, an image has values outside [0, 1], shapes do not fit, or the objective
            is NaN.
    """
    given = {"epsilon": epsilon, "norm": norm, "n_steps": n_steps, "random_start": random_start, **settings}
    search = checks.settings(Search, given)
    return _attacked(posterior, images, labels, search, objective, show=progress)


def _attacked(
    posterior: Posterior, images: Tensor, labels: Tensor, search: Search, objective: str | Loss, *, show: bool
) -> Tensor:
    raised, n_at_once = _raised(posterior, images, labels, objective)
    return climb(raised, images, search, n_at_once=n_at_once, show=show)


def _raised(posterior: Posterior, images: Tensor, labels: Tensor, objective: str | Loss) -> tuple[Objective, int]:
    """Check what was given; return what the loop is to raise, and how many images fit into memory."""
    loss = loss_named(objective)
    images, labels = given(posterior, images, labels, "labels")

    def raised(points: Tensor, rows: Tensor, done: float) -> Tensor:
        return checked_loss(loss, posterior.logits(points), labels[rows])

    return raised, chunks.images_with_graph(posterior.network, posterior.samples, images)


def zero_gradients(
    posterior: Posterior, images: Tensor, labels: Tensor, objective: str | Loss = "cross_entropy"
) -> Tensor:
    """Return for each image, [N], whether the gradient of the attacked loss is exactly zero: nothing to follow.

    Args:
        posterior, images, labels, objective: as for :func:`relevance.attacks.loss_gradient`.
    """
    return (loss_gradient(posterior, images, labels, objective) == 0).flatten(1).all(1)
