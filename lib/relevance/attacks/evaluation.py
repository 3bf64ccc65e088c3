"""Is it robust, or did the attack fail? Checks that tell the two apart, each of which can be called by itself.

They follow what Athalye et al. 2018 (arXiv:1802.00420, Sec. 3.1) and Carlini et al. 2019 (arXiv:1902.06705) ask of an
evaluation: attacks without gradients, transferred attacks and worst cases must not do better than the attack that is
reported, a large enough ball must leave nothing, and the loss must have stopped rising.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from relevance.attacks.objectives import Loss, checked_loss, loss_named
from relevance.attacks.prediction import fgsm, pgd, zero_gradients
from relevance.attacks.square import square
from relevance.base import balls, checks, chunks
from relevance.base.ascent import Search, climb
from relevance.networks.posterior import Posterior, as_posterior, given

TITLES = {"cross_entropy": "PGD, cross-entropy", "margin": "PGD, margin", "mean_logit": "PGD, mean logit"}
WORST = "worst of all"
HALF, OTHERS = "PGD, margin, half the draws", "PGD, margin, other draws"


def evaluate(
    posterior: Posterior,
    images: Tensor,
    labels: Tensor,
    epsilon: float,
    *,
    norm: str = "linf",
    n_steps: int = 20,
    n_restarts: int = 2,
    n_queries: int = 200,
    surrogate: Posterior | None = None,
    seed: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """Attack the predictions in many ways, and return what each of them did.

    The ways: corners of the ball at random, FGSM, PGD from random starts on each objective, random squares (which need
    no gradient; in the maximum norm only), PGD on another posterior (if ``surrogate`` is given), and PGD on the first
    half of the draws, judged by that half and by the other (if there are two).

    Args:
        posterior, images, labels, epsilon, norm: as for :func:`relevance.attacks.pgd`.
        n_steps, n_restarts: of the PGD attacks.
        n_queries: of the squares.
        surrogate: another posterior for the same images, such as a deterministic network.
        seed: of random starts and squares.
        progress: show progress bars.

    Returns:
        A row for each attack and one, the last, for the worst case of each image over all of them but those judged by
        half of the draws: ``accuracy`` under attack; ``success``, the share of the images that were classified rightly and
        are not any more; ``alone``, the share of the images that no other attack broke; ``linf`` and ``l2``, the
        largest change of an image in the maximum norm and the mean in the Euclidean; ``zero gradients``, the share of
        the clean images at which the attacked loss has no gradient; ``seconds``.
    """
    checks.count("n_queries", n_queries, at_least=2)
    _ = Search(epsilon, norm, n_steps, random_start=True, n_restarts=n_restarts, seed=seed)
    if surrogate is not None:
        as_posterior(surrogate, "surrogate")
    images, labels = given(posterior, checks.some_images("images", images), labels, "labels")
    walk: dict[str, Any] = {"norm": norm, "n_steps": n_steps, "n_restarts": n_restarts, "seed": seed}
    walk["progress"] = progress

    def by_pgd(attacked: Posterior, objective: str) -> Callable[[], Tensor]:
        return lambda: pgd(attacked, images, labels, epsilon, objective=objective, **walk)

    ways = {
        "none": lambda: images,
        "random corners": lambda: balls.random_corners(images, epsilon, norm, seed),
        "FGSM": lambda: fgsm(posterior, images, labels, epsilon, norm=norm),
        **{title: by_pgd(posterior, objective) for objective, title in TITLES.items()},
    }
    if norm == "linf":
        ways["squares"] = lambda: square(
            posterior, images, labels, epsilon, n_queries=n_queries, seed=seed, progress=progress
        )
    if surrogate is not None:
        ways["transfer"] = by_pgd(surrogate, "margin")
    attempts, seconds = {}, {}
    for title, way in ways.items():
        started = time.perf_counter()
        attempts[title] = way()
        seconds[title] = time.perf_counter() - started
    right = {title: _right(posterior, attacked, labels) for title, attacked in attempts.items()}
    clean = dict.fromkeys(attempts, right["none"])
    if len(posterior) > 1:
        # The first and the second half of a chain, not every other draw: neighbours in a chain are alike.
        halves = posterior[: len(posterior) // 2], posterior[len(posterior) // 2 :]
        started = time.perf_counter()
        found = by_pgd(halves[0], "margin")()
        for title, half in zip((HALF, OTHERS), halves, strict=True):
            attempts[title], right[title] = found, _right(half, found, labels)
            clean[title], seconds[title] = _right(half, images, labels), time.perf_counter() - started

    stood = torch.stack([right[title] for title in ways])
    zeros = {TITLES[objective]: zero_gradients(posterior, images, labels, objective) for objective in TITLES}
    zeros["FGSM"] = zeros[TITLES["cross_entropy"]]
    rows = {}
    for title, attacked in attempts.items():
        change = attacked - images
        rows[title] = {
            "accuracy": _share(right[title]),
            "success": _success(clean[title], right[title]),
            "alone": _share(~right[title] & (stood.sum(0) == len(stood) - 1)) if title in ways else torch.nan,
            "linf": balls.sizes(change, "linf").max().item() if len(images) else 0.0,
            "l2": balls.sizes(change, "l2").mean().item(),
            "zero gradients": _share(zeros[title]) if title in zeros else torch.nan,
            "seconds": seconds[title],
        }
    worst = stood.all(0)
    rows[WORST] = {"accuracy": _share(worst), "success": _success(right["none"], worst)}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("attack")


def accuracy_by_epsilon(
    posterior: Posterior, images: Tensor, labels: Tensor, epsilons: Sequence[float], **settings: Any
) -> pd.DataFrame:
    """Return the accuracy under PGD on the margin in balls of several sizes; a large enough one must leave nothing.

    Args:
        posterior, images, labels: as for :func:`relevance.attacks.pgd`.
        epsilons: sizes of the balls.
        settings: other arguments of :func:`relevance.attacks.pgd`.

    Returns:
        Columns ``epsilon`` and ``accuracy``. An image that a smaller ball sufficed for counts as broken.
    """
    how = {"objective": "margin", "random_start": False, "keep": "best", **settings}
    images, labels = given(posterior, checks.some_images("images", images), labels, "labels")
    stood = _right(posterior, images, labels)
    rows = []
    for epsilon in sorted(checks.numbers("epsilons", epsilons, at_least=0)):
        stood = stood & _right(posterior, pgd(posterior, images, labels, epsilon, **how), labels)
        rows.append({"epsilon": epsilon, "accuracy": _share(stood)})
    return pd.DataFrame(rows)


def loss_by_steps(
    posterior: Posterior,
    images: Tensor,
    labels: Tensor,
    epsilon: float,
    *,
    objective: str | Loss = "margin",
    n_steps: int = 40,
    progress: bool = True,
    **settings: Any,
) -> pd.DataFrame:
    """Return the mean loss at every step of PGD; it must have stopped rising where the attack stops.

    Args:
        posterior, images, labels, epsilon, objective, n_steps, progress: as for :func:`relevance.attacks.pgd`.
        settings: other fields of :class:`relevance.base.ascent.Search`; one walk only.

    Returns:
        Columns ``step``, from 0, ``loss`` at the point before the step, and ``best``, the mean over the images of the
        highest loss so far.
    """
    loss = loss_named(objective)
    search = checks.settings(Search, {"epsilon": epsilon, "n_steps": n_steps, **settings, "keep": "last"})
    checks.count("n_restarts", search.n_restarts, at_most=1)
    images, labels = given(posterior, checks.some_images("images", images), labels, "labels")
    seen: dict[float, list[Tensor]] = {}

    def recorded(points: Tensor, rows: Tensor, done: float) -> Tensor:
        values = checked_loss(loss, posterior.logits(points), labels[rows])
        seen.setdefault(done, []).append(values.detach())
        return values

    n_at_once = chunks.images_with_graph(posterior.network, posterior.samples, images)
    climb(recorded, images, search, n_at_once=n_at_once, show=progress)
    losses = torch.stack([torch.cat(seen[done]) for done in sorted(seen)])
    return pd.DataFrame(
        {
            "step": range(len(losses)),
            "loss": losses.mean(1).tolist(),
            "best": losses.cummax(0).values.mean(1).tolist(),
        }
    )


def _right(posterior: Posterior, images: Tensor, labels: Tensor) -> Tensor:
    return posterior.predict(images).argmax(1) == labels


def _success(before: Tensor, after: Tensor) -> float:
    return _share(~after[before])


def _share(which: Tensor) -> float:
    return which.double().mean().item()
