"""An attack that asks for no gradient, to check attacks that do."""

from __future__ import annotations

import torch
from torch import Tensor

from relevance.attacks.objectives import margin
from relevance.base import checks
from relevance.base.environment import bar
from relevance.networks.posterior import Posterior, given

# The share of the pixels that a square covers is halved when these shares of the queries are done.
HALVED_AT = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)


def square(
    posterior: Posterior,
    images: Tensor,
    labels: Tensor,
    epsilon: float,
    *,
    n_queries: int = 200,
    first_share: float = 0.8,
    seed: int = 0,
    progress: bool = True,
) -> Tensor:
    """Attack the posterior predictive by random squares, in the maximum norm (Andriushchenko et al. 2020).

    From vertical stripes of +-epsilon on, a square at a random place is set to +epsilon or -epsilon, and stays so where
    that lowers the margin; an image that is misclassified is left alone. (arXiv:1912.00049, Algorithms 1 and 2.)

    Args:
        posterior, images, labels, epsilon, progress: as for :func:`relevance.attacks.pgd`.
        n_queries: predictions of each image, the first two of which are the image and its stripes.
        first_share: share of the pixels that the first square covers, in (0, 1].
        seed: of the squares.

    Returns:
        The attacked images [N, C, H, W], in [0, 1] and in the ball.

    Raises:
        ValueError: a setting is not what it may be, an image has values outside [0, 1], or shapes do not fit.
    """
    checks.number("epsilon", epsilon, at_least=0)
    checks.count("n_queries", n_queries, at_least=2)
    checks.number("first_share", first_share, above=0, at_most=1)
    checks.seed("seed", seed)
    images, labels = given(posterior, images, labels, "labels")
    generator = torch.Generator().manual_seed(seed)
    count, channels, height, width = images.shape

    def signs(*shape: int) -> Tensor:
        return (2.0 * torch.randint(0, 2, shape, generator=generator) - 1).to(images)

    def below(limit: int) -> Tensor:
        return torch.randint(0, limit, (count, 1, 1, 1), generator=generator).to(images.device)

    images = images.detach()
    points, values = images.clone(), _margins(posterior, images, labels)
    ys, xs = (torch.arange(size, device=images.device) for size in (height, width))
    with bar(n_queries - 1, "square attack", "query", show=progress) as shown:
        for query in range(n_queries - 1):
            # Random numbers are drawn for all images, also for those that are done, so that none depends on the others.
            side = _side(first_share, query / n_queries, height, width)
            top, left = below(height - side + 1), below(width - side + 1)
            sign = signs(count, channels, 1, width) if query == 0 else signs(count, channels, 1, 1)
            inside = ((ys[:, None] >= top) & (ys[:, None] < top + side) & (xs >= left) & (xs < left + side)) | (
                query == 0
            )
            tried = torch.where(inside, (images + epsilon * sign).clamp(0, 1), points)
            rows = (values <= 0).nonzero().squeeze(1)
            if not len(rows):
                break
            found = _margins(posterior, tried[rows], labels[rows])
            better = rows[found > values[rows]]
            values[rows] = torch.maximum(values[rows], found)
            points[better] = tried[better]
            shown.update()
    return points


def _margins(posterior: Posterior, images: Tensor, labels: Tensor) -> Tensor:
    with torch.no_grad():
        return margin(posterior.logits(images), labels)


def _side(first_share: float, done: float, height: int, width: int) -> int:
    share = first_share / 2 ** sum(done > at for at in HALVED_AT)
    return max(1, min(round((share * height * width) ** 0.5), height, width))
