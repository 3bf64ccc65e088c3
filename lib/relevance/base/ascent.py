"""The one loop of every attack: steps inside a ball that raise a value of each image, whatever that value is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from relevance.base import balls, checks
from relevance.base.environment import bar

# Points [n, C, H, W], the indices [n] of their images, how much of the walk is done in [0, 1] -> values to raise, [n].
Objective = Callable[[Tensor, Tensor, float], Tensor]
# Points and the indices of their images -> a truth or a value of each.
Judge = Callable[[Tensor, Tensor], Tensor]
KEPT = ("best", "last")


@dataclass(frozen=True)
class Search(checks.Checked):
    """How the ball around each image is searched.

    Attributes:
        epsilon: size of the ball in ``norm``, in units of the pixel range; at least 0.
        norm: ``"linf"`` or ``"l2"``.
        n_steps: gradient steps of one walk.
        step_size: of one step in ``norm``, cut to ``epsilon`` where it is larger; if None, 2.5 epsilon / n_steps, and
            epsilon for a single step.
        random_start: start anywhere in the ball, not at the image.
        n_restarts: walks from each image; only walks that start at random differ.
        keep: the point that a walk gives: the ``"best"`` one it met, or the ``"last"``. If None, the best one of walks
            from random starts, and the last one of a walk from the image, as the textbook's attacks do.
        seed: of the random starts.
    """

    epsilon: float = checks.real(at_least=0)
    norm: str = checks.choice("linf", balls.NORMS)
    n_steps: int = checks.whole(10)
    step_size: float | None = checks.real(None, above=0)
    random_start: bool = checks.flag(False)
    n_restarts: int = checks.whole(1)
    keep: str | None = checks.choice(None, KEPT)
    seed: int = checks.seeded()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_restarts > 1 and not self.random_start:
            raise ValueError(
                f"n_restarts is {self.n_restarts} and random_start is False; walks that start at the image are all the "
                "same, so n_restarts must be 1."
            )

    @property
    def step(self) -> float:
        """The size of one step, as it is taken."""
        step = 2.5 * self.epsilon / self.n_steps if self.step_size is None else self.step_size
        return min(step, self.epsilon)

    @property
    def keeps_best(self) -> bool:
        """Whether a walk gives the best point that it met."""
        return self.keep == "best" or (self.keep is None and self.random_start)


def climb(
    objective: Objective,
    images: Tensor,
    search: Search,
    *,
    n_at_once: int,
    accepts: Judge | None = None,
    score: Judge | None = None,
    generator: torch.Generator | None = None,
    title: str = "attack",
    show: bool = False,
) -> Tensor:
    """Return a point in the ball around each image, and in [0, 1], at which the objective is as high as could be found.

    Args:
        objective: what is raised. The values of one image must not depend on the others.
        images: [N, C, H, W] in [0, 1].
        search: how.
        n_at_once: how many images go through the objective together.
        accepts: points that are not accepted are not gone to: the walk stays and takes half the step from there on.
        score: what says which point is best, higher is better; the objective itself if None.
        generator: of the random starts; one of its own, from ``search.seed``, if None.
        title: of the progress bar.
        show: whether there is a bar.

    Raises:
        ValueError: the objective, or its gradient, is NaN somewhere, or it has none.
    """
    generator = generator or torch.Generator().manual_seed(search.seed)
    found, values = images.detach().clone(), images.new_full((len(images),), -torch.inf)
    compared = search.keeps_best or search.n_restarts > 1
    total = search.n_restarts * search.n_steps * len(images)
    with bar(total, title, "step", show=show) as shown:
        for _ in range(search.n_restarts):
            # All starts are drawn at once, so that they do not depend on how many images go together.
            starts = images.detach()
            if search.random_start:
                starts = balls.random_points(starts, search.epsilon, search.norm, generator)
            for rows in torch.arange(len(images), device=images.device).split(n_at_once):
                walk = _Walk(objective, images[rows].detach(), rows, search, accepts, score)
                points, reached = walk.run(starts[rows], shown.update, compared=compared)
                better = reached > values[rows] if compared else torch.ones_like(rows, dtype=torch.bool)
                chosen = rows[better]
                found[chosen], values[chosen] = points[better], reached[better].to(values)
    return found


def slope(objective: Objective, points: Tensor, rows: Tensor, progress: float) -> tuple[Tensor, Tensor]:
    """Return the values of an objective at some points, and their gradient."""
    with torch.enable_grad():
        leaf = points.detach().requires_grad_()
        values = objective(leaf, rows, progress)
        if not values.requires_grad:
            raise ValueError(
                "objective, or what explain gives, does not depend on the images by operations that have a gradient; it must, "
                "since attacks follow it."
            )
        # The sum over images leaves each image its own gradient: no image's value depends on another image.
        (gradient,) = torch.autograd.grad(values.sum(), leaf)
    return values.detach(), gradient


def is_nan(values: Tensor, gradient: Tensor) -> Tensor:
    """Return of which images [N] the value, or anything in the gradient, is NaN: the largest is where any is."""
    return values.isnan() | gradient.flatten(1).amax(1).isnan()


def refuse_nan(odd: Tensor) -> None:
    """Say so if what is raised is NaN, or has a gradient that is, for some images: ``odd`` [N] says for which."""
    if odd.any():
        raise ValueError(
            f"objective, or what explain gives, is NaN or has a gradient that is NaN for {int(odd.sum())} of {len(odd)} images; "
            "both must be numbers, since attacks follow them."
        )


@dataclass(frozen=True)
class _Walk:
    """The walks of some images, from one start each."""

    objective: Objective
    images: Tensor
    rows: Tensor
    search: Search
    accepts: Judge | None
    score: Judge | None

    def run(self, points: Tensor, done: Callable[[int], object], *, compared: bool) -> tuple[Tensor, Tensor]:
        """Return the points that the walks give, with their values where they are to be ``compared``."""
        search = self.search
        step = points.new_full((len(points),), search.step)
        if self.accepts is not None:
            points = self._chosen(self.accepts(points, self.rows), points, self.images)
        best, best_values = points, points.new_full((len(points),), -torch.inf)
        odd = torch.zeros_like(self.rows, dtype=torch.bool)
        for index in range(search.n_steps):
            values, gradient = self._slope(points, index / max(1, search.n_steps - 1))
            odd |= is_nan(values, gradient)
            if search.keeps_best:
                values = values if self.score is None else self.score(points, self.rows)
                best, best_values = self._better(best, best_values, points, values)
            ahead = balls.stepped(points, gradient, step, self.images, search.epsilon, search.norm)
            if self.accepts is not None:
                accepted = self.accepts(ahead, self.rows)
                ahead = self._chosen(accepted, ahead, points)
                step = step.where(accepted, step / 2)
            points = ahead
            done(len(points))
        refuse_nan(odd)  # once, not at every step, at which a GPU would have to wait for it
        if not compared:
            return points, best_values
        values = self._value(points)
        return self._better(best, best_values, points, values) if search.keeps_best else (points, values)

    def _slope(self, points: Tensor, progress: float) -> tuple[Tensor, Tensor]:
        return slope(self.objective, points, self.rows, progress)

    def _value(self, points: Tensor) -> Tensor:
        with torch.no_grad():
            return self.objective(points, self.rows, 1.0) if self.score is None else self.score(points, self.rows)

    @staticmethod
    def _chosen(which: Tensor, yes: Tensor, no: Tensor) -> Tensor:
        return torch.where(balls.of_images(which, yes), yes, no)

    def _better(self, best: Tensor, best_values: Tensor, points: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        better = values > best_values
        return self._chosen(better, points, best), torch.where(better, values, best_values)
