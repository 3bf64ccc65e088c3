"""The defences of the trade-off: smoothings of one network's explanation, and networks that are steadier by themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from relevance import checks, explanations, report
from relevance.manipulation import Explain
from relevance.posterior import Posterior
from relevance.smoothing import BETA, NONE, PARAMETERS, SMOOTH_GRAD, Defence
from relevance.smoothing import POSTERIOR as BAYES

FLAT = "low curvature"
NO_SMOOTHING = Defence(NONE)
# Maps of the trade-off -> what explains.
EXPLAINS: dict[str, Explain] = {
    "gradient": explanations.gradient,
    "gradient x input": explanations.gradient_x_input,
    "LRP": explanations.lrp,
}
CONSTANT, RANDOM, ORDER = "constant", "random", "random order"
# Those that say what a pixel adds; the gradient is a slope. What a constant and a random map say is for us to choose.
CONTRIBUTIONS = ("gradient x input", "LRP", CONSTANT, RANDOM)
FAITHFULNESS = ("deletion gain", "explained")


@dataclass(frozen=True)
class Defended:
    """A network in use, and how its maps are made steadier, at one setting.

    Attributes:
        name: of the way: one of ``NONE``, ``BETA``, ``SMOOTH_GRAD``, ``BAYES``, ``FLAT``.
        setting: a number with its name, such as ``"beta 3"``.
        posterior: the network in use, which is attacked, and by which its maps are judged.
        smoothing: what is done to the explanation; nothing where it is the network that is another one.
    """

    name: str
    setting: str
    posterior: Posterior
    smoothing: Defence = NO_SMOOTHING

    def explain(self, name: str) -> Explain:
        """Return what explains under this defence, as :data:`EXPLAINS` has the map."""
        return self.smoothing.explain(EXPLAINS[checks.one_of("map", name, EXPLAINS)])


def defences(
    network: Posterior,
    bayesian: Posterior,
    flat: Mapping[float, Posterior],
    *,
    betas: Sequence[float],
    noises: Sequence[float],
    counts: Sequence[int],
) -> list[Defended]:
    """Return all defences, from none on.

    Args:
        network: deterministic, which the smoothings defend.
        bayesian: a posterior of many samples.
        flat: strength of the penalty -> a network of :func:`relevance.inference.low_curvature`.
        betas: of softplus, in the explanation only.
        noises: of SmoothGrad, standard deviations in units of the pixel range.
        counts: numbers of samples of ``bayesian``.
    """
    smoothed = [Defence(BETA, beta) for beta in betas] + [Defence(SMOOTH_GRAD, noise) for noise in noises]
    return [
        Defended(NONE, "", network),
        *(Defended(one.name, f"{PARAMETERS[one.name]} {one.parameter:g}", network, one) for one in smoothed),
        *(Defended(BAYES, report.samples(count), bayesian.thinned(count)) for count in counts),
        *(Defended(FLAT, f"strength {strength:g}", posterior) for strength, posterior in flat.items()),
    ]
