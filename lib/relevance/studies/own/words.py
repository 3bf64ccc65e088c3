"""What the scores of a reader's own posterior say, in a sentence."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from relevance.attacks.named import NOISE
from relevance.datasets.dataset import Dataset
from relevance.inference.certificate import CERTIFIED, NEARLY, NOT_CONVERGED, certify
from relevance.inference.given import chains
from relevance.networks.posterior import Posterior
from relevance.studies import phrases
from relevance.studies.own.scores import ATTACKED, ONE, WHOLE, Scored
from relevance.studies.phrases import sentence

# A difference counts from so many of its standard errors on.
CLEAR = 2.0
DRAWS = "these draws, not of the posterior"
PASSED = {CERTIFIED: ("pass", "the posterior"), NEARLY: ("nearly pass", DRAWS), NOT_CONVERGED: ("do not pass", DRAWS)}


@sentence
def answer(found: Mapping[str, Scored]) -> str:
    """Say whether the map holds under attack: above what unrelated maps score, and as under noise."""
    table = found[WHOLE].table
    attack, noise = table.loc[ATTACKED], table.loc[NOISE]
    clear = attack["robustness"] - attack["floor"] > CLEAR * attack["standard error"]
    error = (noise["standard error"] ** 2 + attack["standard error"] ** 2) ** 0.5
    worse = noise["robustness"] - attack["robustness"] > CLEAR * error
    return (
        f"Under attack the map {'holds in part' if clear else 'is lost'}: {attack['robustness']:.2f} of its top pixels stay on "
        f"top, where an unrelated map would score {attack['floor']:.2f}; noise of the same size leaves "
        f"{noise['robustness']:.2f}, {'more' if worse else 'about as much: the attack does no more than noise'}."
    )


@sentence
def averaging(found: Mapping[str, Scored]) -> str:
    """Say whether the average over the samples is steadier under attack than the first sample alone."""
    if ONE not in found:
        return "There is one sample, and nothing to average: give more checkpoints, vectors or draws to see what averaging does."
    rows = {name: one.rows[one.rows["after"] == ATTACKED].set_index("image") for name, one in found.items()}
    above = {name: one["robustness"] - one["floor"] for name, one in rows.items()}
    apart = (above[WHOLE] - above[ONE]).to_numpy()
    mean, error = float(apart.mean()), float(apart.std(ddof=1)) / len(apart) ** 0.5
    word = "no steadier" if abs(mean) <= CLEAR * error else "steadier" if mean > 0 else "less steady"
    return (
        f"Averaged over {phrases.samples(found[WHOLE].n_samples)} the map is {word} than with the first sample alone: its score, "
        f"less its floor, changes by {phrases.signed(mean)} (standard error {error:.3f})."
    )


@sentence
def given(posterior: Posterior, data: Dataset, n_chains: int, robustness: Tensor, floor: Tensor) -> str:
    """Say what was measured of chains that another library ran, and whether they have mixed.

    Args:
        posterior: of the draws of all chains, one chain after another.
        data: its test images are those on which the chains are compared.
        n_chains: how many there are.
        robustness, floor: [N] in [0, 1], of each image.
    """
    told = certify(chains(posterior, n_chains), data).told
    rhat = "unknown" if told["rhat"] is None else f"{told['rhat']:.2f}"
    passed, whose = PASSED[told["certificate"]]
    above = robustness - floor
    clear = above.mean() > CLEAR * above.std() / len(above) ** 0.5
    return (
        f"Under attack the averaged map keeps {robustness.mean():.2f} of its top pixels, "
        f"{'above' if clear else 'no more than'} the floor of {floor.mean():.2f}. The chains {passed} this book's certificate "
        f"(largest R-hat {rhat}; 1 is agreement), so this is said of {whose}."
    )
