"""What the authors' released code does differently from the paper, as switches of this library's functions.

Facts read in its repository (github.com/ginevracoal/BayesianRelevance at c15cd6a); none of its code is used. Rows are those of
the book's page on it, counted from 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from relevance.attacks.explanation import random_region
from relevance.attacks.named import Attack, perturbed
from relevance.base import balls, checks
from relevance.base.ascent import slope
from relevance.explanations.affine import Layer
from relevance.explanations.lrp import lrp
from relevance.explanations.rules import TINY, Gamma, Rule, stabilised
from relevance.explanations.smoothing import softened
from relevance.explanations.top import top_share
from relevance.explanations.tracing import sharing
from relevance.explanations.ways.table import register
from relevance.explanations.ways.way import to_the_winner
from relevance.metrics.overlap import lrp_robustness, same_shape
from relevance.networks.architectures import Normalise
from relevance.networks.posterior import Posterior

# Sharpness of softplus at the first and at the last step of the attack with a target map (Dombrowski et al. 2019).
BETA = (10.0, 100.0)


@dataclass(frozen=True)
class Switches(checks.Checked):
    """What is done as the released code does it; with all off, it is what the paper describes.

    The other rows are no switches: 9 and 12 are of residual networks (:mod:`relevance.studies.carbone.residual`), 10 and 11 of
    inference (:mod:`relevance.studies.carbone.recipes`), and 13 of statistics.

    Attributes:
        averaged_images: row 1. Every sample is attacked by itself, and the attacked images are averaged.
        detached_relevance: row 2. Top-k and target region step along the sign of the relevance, whatever they aim at.
        clamped_image: row 3. They clamp the image itself to [-epsilon, epsilon], and not what was added to it.
        detached_target: row 4. The attack with a target map follows the outputs alone, which are to stay; the image is clamped to
            [mean, standard deviation] of all pixels; and the network keeps its softplus when it is explained.
        own_class: row 5. Every sample explains the class that it predicts itself: on attacked images, after the attack.
        signed_top: row 6. Half of the top pixels are the most positive ones and half the most negative; ties go by position.
        squared_gamma: row 7. The gamma rule has w + gamma max(0, w)^2.
        own_slope: row 8. Leaky ReLU hands relevance back times its slope: a hundredth of what arrives at neurons below zero.
    """

    averaged_images: bool = checks.flag(False)
    detached_relevance: bool = checks.flag(False)
    clamped_image: bool = checks.flag(False)
    detached_target: bool = checks.flag(False)
    own_class: bool = checks.flag(False)
    signed_top: bool = checks.flag(False)
    squared_gamma: bool = checks.flag(False)
    own_slope: bool = checks.flag(False)


def attacked(
    posterior: Posterior, images: Tensor, labels: Tensor, attack: Attack, rule: Rule, switches: Switches
) -> Tensor:
    """Attack images, on the prediction or on the explanation of the class that is predicted on the clean image.

    Args:
        posterior: the model under attack.
        images: [N, C, H, W] in [0, 1].
        labels: [N], which attacks on the prediction go away from.
        attack: the setting. Top-k and target region are those of the paper's formulas (Sec. VII-C), with its whole step.
        rule: of the map that attacks on explanations change.
        switches: rows 1 to 4 count.

    Returns:
        [N, C, H, W] in [0, 1].
    """
    parts = list(posterior) if switches.averaged_images else [posterior]
    return torch.stack([_attacked(part, images, labels, attack, rule, switches) for part in parts]).mean(0)


def _attacked(
    posterior: Posterior, images: Tensor, labels: Tensor, attack: Attack, rule: Rule, switches: Switches
) -> Tensor:
    if attack.kind in ("top-k", "target region"):
        return _on_relevance(posterior, images, attack, rule, switches)
    if attack.kind == "target map" and switches.detached_target:
        return _on_outputs(posterior, images, attack)
    return perturbed(posterior, images, labels, attack, rule)["images"]


def _on_relevance(posterior: Posterior, images: Tensor, attack: Attack, rule: Rule, switches: Switches) -> Tensor:
    """Lower the relevance of the top pixels, or raise that of a region; or step along the relevance's own sign."""
    target = posterior.predict(images).argmax(1)
    anywhere = _of_any_sign(posterior)

    def relevance(points: Tensor) -> Tensor:
        return lrp(anywhere, (points + 1) / 2, target, rule=rule)

    if attack.kind == "top-k":
        weights = -top_share(relevance(images), attack.top_percent).to(images).reshape(images.shape)
    else:
        weights = random_region(tuple(images.shape[1:]), attack.top_percent, attack.seed).to(images)

    def uphill(points: Tensor, done: float) -> Tensor:
        if switches.detached_relevance:
            return relevance(points)
        return slope(lambda x, rows, at: (weights * relevance(x)).flatten(1).sum(1), points, target, done)[1]

    def back(points: Tensor) -> Tensor:
        if switches.clamped_image:
            return points.clamp(-attack.epsilon, attack.epsilon)
        return balls.projected(points, images, attack.epsilon, "linf")

    return _walk(images, attack, uphill, back)


def _on_outputs(posterior: Posterior, images: Tensor, attack: Attack) -> Tensor:
    """Follow what is left of the loss of Dombrowski et al. where the distance of the maps has no gradient."""
    outputs = posterior.predict(images)
    low, high = images.mean().item(), images.std().item()

    def uphill(points: Tensor, done: float) -> Tensor:
        soft = softened(posterior, BETA[0] * (BETA[1] / BETA[0]) ** done)

        def kept(x: Tensor, rows: Tensor, at: float) -> Tensor:
            return -(soft.log_predictive(x).exp() - outputs).square().sum(1)

        return slope(kept, points, outputs, done)[1]

    return _walk(images, attack, uphill, lambda points: points.clamp(low, high))


def _walk(
    images: Tensor, attack: Attack, uphill: Callable[[Tensor, float], Tensor], back: Callable[[Tensor], Tensor]
) -> Tensor:
    points, size = images, attack.epsilon if attack.step_size is None else attack.step_size
    for index in range(attack.n_steps):
        points = back(points + size * uphill(points, index / max(1, attack.n_steps - 1)).sign()).detach()
    return points.clamp(0, 1)


def _of_any_sign(posterior: Posterior) -> Posterior:
    """Return the posterior of (x + 1) / 2 in the place of x: what it takes in [0, 1] stands for pixels in [-1, 1]."""
    channels = (posterior.image_shape or (1,))[0]
    network = nn.Sequential(Normalise([0.5] * channels, [0.5] * channels), posterior.network)
    return Posterior(network, {f"1.{name}": value for name, value in posterior.samples.items()})


def maps(
    posterior: Posterior, images: Tensor, target: Tensor, attack: Attack, rule: Rule, switches: Switches
) -> Tensor:
    """Return the expected relevance maps [N, C, H, W] of images, clean ones or attacked ones.

    Args:
        posterior, images, attack, rule: as for :func:`attacked`.
        target: [N], the class that is explained where the samples do not explain their own.
        switches: rows 4, 5, 7 and 8 count.
    """
    if switches.detached_target and attack.kind == "target map":
        posterior = softened(posterior, BETA[1])
    if switches.own_slope:
        posterior = _with_own_slopes(posterior)
    if switches.squared_gamma and isinstance(rule, Gamma):
        rule = SquaredGamma(rule.gamma)
    return lrp(posterior, images, target, rule=rule, own_class=switches.own_class)


@dataclass(frozen=True)
class SquaredGamma(checks.Checked):
    """The gamma rule with w + gamma max(0, w)^2 in place of every weight and bias: row 7.

    Attributes:
        gamma: at least 0.
    """

    gamma: float = checks.real(0.1, at_least=0)

    def share(self, layer: Layer, relevance: Tensor) -> Tensor:
        """Return the relevance of the inputs (see :class:`relevance.explanations.Rule`)."""
        weight, bias = self._raised(layer.weight), None if layer.bias is None else self._raised(layer.bias)
        outputs = layer.forward(layer.inputs, weight, bias)
        return layer.inputs * layer.transpose(relevance / stabilised(outputs, TINY), weight)

    def _raised(self, value: Tensor) -> Tensor:
        return value + self.gamma * value.clamp(min=0).square()


class SlopedLeakyReLU(nn.LeakyReLU):
    """A leaky ReLU through which relevance comes back as a gradient does: row 8."""


register(SlopedLeakyReLU, to_the_winner)


def _with_own_slopes(posterior: Posterior) -> Posterior:
    network = sharing(posterior.network)
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.LeakyReLU):
                setattr(parent, name, SlopedLeakyReLU(child.negative_slope))
    return Posterior(network, posterior.samples)


def robustness(before: Tensor, after: Tensor, top_percent: float, switches: Switches) -> Tensor:
    """Return the k-LRP robustness of each image, [N], float64 in [0, 1].

    Args:
        before, after, top_percent: as for :func:`relevance.metrics.lrp_robustness`.
        switches: row 6 counts.
    """
    if not switches.signed_top:
        return lrp_robustness(before, after, top_percent)
    same_shape(before, after)
    first, second = (_signed_top(some, top_percent) for some in (before, after))
    return (first & second).double().sum(1) / first.double().sum(1)


def _signed_top(some: Tensor, top_percent: float) -> Tensor:
    """Return which pixels are among the most negative or the most positive ones, [N, P], bool."""
    order = some.detach().flatten(1).argsort(dim=1, stable=True)
    places = max(2, round(order.shape[1] * top_percent / 100))
    chosen = torch.cat([order[:, : places // 2], order[:, order.shape[1] - (places - places // 2) :]], 1)
    return torch.zeros_like(order, dtype=torch.bool).scatter(1, chosen, True)
