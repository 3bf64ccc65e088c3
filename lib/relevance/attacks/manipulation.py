"""Images whose map is led to another map, with the output held; and noise as large, which every manipulation is held against.

(Dombrowski et al. 2019, arXiv:1906.07983, Sec. 2.2.)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from relevance.attacks.explanation import check_beta, target_map
from relevance.base import balls, checks
from relevance.explanations.expected import Explain, as_method
from relevance.explanations.rules import Epsilon, Rule, as_rule
from relevance.networks.posterior import Posterior, given

EPSILON = Epsilon(0.1)
# Of the search for the length of noise that has a given norm after it was cut to [0, 1].
N_DOUBLINGS, N_HALVINGS = 10, 30


@dataclass(frozen=True)
class Manipulation(checks.Checked):
    """How images are manipulated.

    Attributes:
        epsilon: largest Euclidean norm of the perturbation, in units of the pixel range; at least 0.
        n_steps: gradient steps.
        output_weight: gamma of the loss: what a squared change of the probabilities weighs beside the mean squared error of the
            maps, whose entries have a mean of 1.
        betas: of softplus in place of the activations, at the first and at the last step; of several such pairs, each is
            tried, and what came nearest is taken.
        n_quadrature: points of integrated gradients.
        rule: of layer-wise relevance propagation.
        top_percent: share of the pixels that count as relevant, in (0, 100].
        seed: of the noise that manipulations are compared with.
    """

    epsilon: float = checks.real(4.0, at_least=0)
    n_steps: int = checks.whole(100)
    output_weight: float = checks.real(1.0, at_least=0)
    betas: tuple[tuple[float, float], ...] = ((3.0, 100.0),)
    n_quadrature: int = checks.whole(4)
    rule: Rule = EPSILON
    top_percent: float = checks.real(20, above=0, at_most=100)
    seed: int = checks.seeded()

    def __post_init__(self) -> None:
        super().__post_init__()
        as_rule("rule", self.rule)
        if not isinstance(self.betas, tuple) or not self.betas:
            raise ValueError(
                f"betas is {checks.shown(self.betas)}; it must be a tuple of one or more pairs of numbers."
            )
        for beta in self.betas:
            check_beta("a pair of betas", beta)

    def __str__(self) -> str:
        return (
            f"manipulations in {self.n_steps} steps, of a Euclidean norm of at most {self.epsilon:g} (pixels lie in [0, 1]), "
            f"with gamma {self.output_weight:g}, that follow softplus of beta "
            + " or ".join(f"{first:g} to {last:g}" if first != last else f"{first:g}" for first, last in self.betas)
        )


def shares(explain: Explain) -> Explain:
    """Return the method with maps as the source shows them: magnitudes, summed over the channels, with a mean of 1.

    Maps of different images then have one scale, so that one can be made to look like the other. A map of zeros stays.
    """

    def shared(posterior: Posterior, images: Tensor, target: Tensor) -> Tensor:
        strength = explain(posterior, images, target).abs().sum(1, keepdim=True)
        mean = strength.flatten(1).mean(1)
        return strength / balls.of_images(mean.where(mean > 0, 1.0), strength)

    return shared


def manipulated(
    posterior: Posterior, images: Tensor, target: Tensor, explain: Explain, aims: Tensor, how: Manipulation
) -> Tensor:
    """Return images whose maps were brought towards ``aims`` while the probabilities were held.

    The loss is the mean squared difference of the maps plus ``how.output_weight`` times the squared change of the
    predicted probabilities, as that of Dombrowski et al.; it is lowered inside a Euclidean ball, by the gradient of the
    network with softplus in place of its kinks. Points at which the predicted class changes are not gone to, and the
    one that is best for the network as it is, is kept.

    Args:
        posterior: the model.
        images: [N, C, H, W] in [0, 1].
        target: [N], the class that is explained.
        explain: of :func:`shares`.
        aims: the target maps, [N, 1, H, W].
        how: settings.
    """
    as_method("explain", explain)
    checks.kind_of("how", how, Manipulation, "a Manipulation")
    images, target = given(posterior, images, target, "target")
    if len(checks.maps("aims", aims)) != len(images):
        raise ValueError(f"aims has {len(aims)} maps; it must have {len(images)}, one for each image.")
    size = aims[0].numel() if len(aims) else 1
    best, least = images, torch.full((len(images),), torch.inf, dtype=torch.float64, device=images.device)
    for beta in how.betas:
        found = target_map(
            posterior,
            images,
            target,
            how.epsilon,
            explain=explain,
            target_maps=aims,
            # The attack sums squared differences where the loss here has their mean.
            output_weight=how.output_weight * size,
            beta=beta,
            norm="l2",
            n_steps=how.n_steps,
            progress=False,
        )
        with torch.no_grad():
            change = (posterior.predict(found) - posterior.predict(images)).square().sum(1)
            error = (explain(posterior, found, target) - aims).flatten(1).square().mean(1)
        loss = (error + how.output_weight * change).double()
        best = torch.where(balls.of_images(loss < least, images), found, best)
        least = torch.minimum(loss, least)
    return best


def noised(images: Tensor, found: Tensor, seed: int) -> Tensor:
    """Return the images with noise as large, in the Euclidean norm, as what was done to each: the control of a manipulation.

    Noise that leads out of [0, 1] is cut there, which makes it smaller: half of it on a black background. So it is drawn
    out until what is left has the norm of the manipulation.
    """
    generator = torch.Generator().manual_seed(checks.seed("seed", seed))
    drawn = torch.randn(images.shape, generator=generator, dtype=images.dtype).to(images.device)
    direction, wanted = balls.steepest(drawn, "l2"), balls.sizes(found - images, "l2")

    def moved(length: Tensor) -> Tensor:
        return (images + balls.of_images(length, images) * direction).clamp(0, 1)

    def too_short(length: Tensor) -> Tensor:
        return balls.sizes(moved(length) - images, "l2") < wanted

    low, high = torch.zeros_like(wanted), wanted
    for _ in range(N_DOUBLINGS):
        high = torch.where(too_short(high), 2 * high, high)
    for _ in range(N_HALVINGS):
        middle = (low + high) / 2
        short = too_short(middle)
        low, high = torch.where(short, middle, low), torch.where(short, high, middle)
    return moved(high)


def towards_others(network: Posterior, images: Tensor, aims_of: Explain, explain: Explain, how: Manipulation) -> Tensor:
    """Manipulate images of one model: :func:`manipulated` with the maps of other images as targets.

    Args:
        network: the model.
        images: [N, C, H, W], at least 2.
        aims_of: the method whose maps of the other images are aimed at.
        explain: the method that is attacked.
        how: settings.
    """
    target = network.predict(images).argmax(1)
    with torch.no_grad():
        aims = shares(aims_of)(network, images, target).roll(1, 0)
    return manipulated(network, images, target, shares(explain), aims, how)
