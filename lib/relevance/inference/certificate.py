"""Whether chains are draws of one distribution: a certificate with the numbers behind its word.

R-hat is rank-normalised and effective sample sizes are of split chains (Vehtari et al. 2021, doi:10.1214/20-BA1221), both of
functions of the weights that have a meaning; single weights of a network have none, being equal up to permutations.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from relevance.base import checks
from relevance.datasets.dataset import Dataset
from relevance.inference.chain import Settings
from relevance.networks.posterior import Posterior

if TYPE_CHECKING:
    import pandas as pd

CERTIFIED, NEARLY, NOT_CONVERGED = "certified", "nearly", "not converged"
WORDS = (CERTIFIED, NEARLY, NOT_CONVERGED)
# Word -> the largest R-hat and the smallest bulk effective sample size of any value.
LIMITS = {CERTIFIED: (1.01, 400.0), NEARLY: (1.05, 100.0)}
N_IMAGES = 100
# Kinds of values that are looked at in every posterior.
BUILT_IN = ("energy", "margin", "predictive entropy", "squared norm")
COLUMNS = ["values", "constant", "R-hat", "ESS", "ESS tail", "standard error"]
# A split chain of fewer has no autocorrelation to speak of.
FEWEST_DRAWS = 8

# A posterior -> [S, ...], values of each of its samples.
OfDraws = Callable[[Posterior], Tensor]
# A posterior, of one chain -> [...], such as a score of each image.
OfChain = Callable[[Posterior], Tensor]


class Mixing(NamedTuple):
    """How well the chains agree on one kind of value.

    Attributes:
        values: how many values were looked at.
        constant: how many of them never changed in any chain; these say nothing and are left out.
        rhat: the largest R-hat, at least about 1; NaN if nothing changed, infinite if a value is NaN or infinite.
        ess_bulk, ess_tail: the smallest effective sample sizes, in draws.
        error: the largest Monte Carlo standard error of a mean, in standard deviations of the value over draws.
    """

    values: int
    constant: int
    rhat: float
    ess_bulk: float
    ess_tail: float
    error: float


@dataclass(frozen=True)
class Certificate:
    """What is known of how well chains have mixed.

    Attributes:
        word: ``"certified"``, ``"nearly"`` or ``"not converged"``.
        mixing: kind of value -> how well the chains agree on it.
        scores: kind of score -> [chains], its mean over the images in each chain.
        maps: kind of map -> correlation of the chains' mean maps, the mean over images and pairs of chains, in [-1, 1].
        starts: where each chain began.
        n_draws: of all chains together, as they are compared.
        n_gradients: of the full batch that the chains took, with their warm-up.
        seconds: that they took.
    """

    word: str
    mixing: dict[str, Mixing]
    scores: dict[str, list[float]]
    maps: dict[str, float]
    starts: list[str]
    n_draws: int
    n_gradients: int
    seconds: float

    @property
    def table(self) -> pd.DataFrame:
        """A row for each kind of value, the worst first; the columns are those of :class:`Mixing`."""
        import pandas as pd

        table = pd.DataFrame.from_dict(dict(self.mixing), orient="index", columns=COLUMNS)
        return table.rename_axis("kind").sort_values("R-hat", ascending=False)

    @property
    def told(self) -> dict[str, Any]:
        """What a posterior's record keeps of it, as JSON values.

        ``certificate``, the word; the largest ``rhat`` and the smallest ``ess`` (bulk) and ``ess_tail`` of all values, None where
        there is none; and ``constant``, how many values never changed, of ``values``.
        """
        varying = [row for row in self.mixing.values() if row.constant < row.values]
        rhat = max((row.rhat for row in varying), default=np.nan)
        ess = min((row.ess_bulk for row in varying), default=0.0)
        tail = min((row.ess_tail for row in varying), default=0.0)
        return {
            "certificate": self.word,
            "rhat": float(rhat) if np.isfinite(rhat) else None,
            "ess": float(ess) if ess > 0 else None,
            "ess_tail": float(tail) if tail > 0 else None,
            "constant": sum(row.constant for row in self.mixing.values()),
            "values": sum(row.values for row in self.mixing.values()),
        }


def certify(
    posterior: Posterior,
    data: Dataset,
    *,
    n_images: int = N_IMAGES,
    draws: Mapping[str, OfDraws] | None = None,
    chains: Mapping[str, OfChain] | None = None,
) -> Certificate:
    """Say whether the chains of a posterior have mixed, with the numbers behind it.

    Looked at are the margin and the predictive entropy of each sample on test images, the chain's energy, the squared norm of
    each parameter tensor, and what is given. *Certified* asks of the worst value of every kind an R-hat below 1.01 and a
    bulk effective sample size of at least 400, *nearly* 1.05 and 100. It takes at least 2 chains: one chain cannot see what
    it has not found. A kind with a value that is NaN or infinite has not converged.

    The word is of the values that are looked at and of no other function of the weights. It does not ask where the chains
    began (``starts`` says it), nor how many there are beyond 2. Fewer than the four chains that Vehtari et al. 2021 advise, or
    chains that all start from solutions of SGD, are weaker evidence: what none of them came near, none of them misses.

    Args:
        posterior: of chains, as :func:`relevance.inference.hmc` gives it.
        data: its test images are looked at.
        n_images: the first so many of them.
        draws: further kinds of values, such as relevance at the top pixels: name -> what gives [S, ...]. The names are others
            than :data:`BUILT_IN`.
        chains: kinds of scores [N] or maps [N, ...] of whole chains, which have no value of a draw: name -> what gives them.

    Raises:
        ValueError: the posterior is not of chains, or of a single one, or ``data`` has not so many test images, or ``draws``
            has the name of what is looked at anyway.
    """
    parts = chains_of(posterior)
    draws, chains = _functions("draws", draws), _functions("chains", chains)
    if taken := sorted(draws.keys() & set(BUILT_IN)):
        raise ValueError(
            f"draws has the name {taken[0]!r}, of what is looked at anyway; its names must not be {', '.join(BUILT_IN)}."
        )
    least = min(map(len, parts))
    images, labels = looked_at(posterior, data, n_images)
    record = posterior.record
    warmup = record["settings"]["warmup"]
    found: dict[str, list[Tensor]] = {"energy": [
        torch.tensor([row["energy"] for row in rows[warmup:]], dtype=torch.float64) for rows in record["history"]
    ]}  # fmt: skip
    given_draws = {name: of(posterior) for name, of in draws.items()}
    for name, given in {**built_in(posterior, images, labels), **given_draws}.items():
        if not isinstance(given, Tensor) or given.ndim == 0 or len(given) != len(posterior):
            raise ValueError(f"draws[{name!r}] gives no values [{len(posterior)}, ...], of each sample; it must.")
        values = given.detach().double().cpu().reshape(len(posterior), -1)
        found[name] = list(values.split([len(part) for part in parts]))
    mixing = {
        name: _mixing(np.stack([value[-least:].reshape(least, -1).numpy() for value in values]))
        for name, values in found.items()
    }
    whole = {name: _of_chains(name, of, parts) for name, of in chains.items()}
    chosen = Settings(**record["settings"])
    return Certificate(
        word=_word(mixing, least),
        mixing=mixing,
        scores={name: value.mean(1).tolist() for name, value in whole.items() if value.ndim == 2},
        maps={name: _agreement(value) for name, value in whole.items() if value.ndim > 2},
        starts=[chosen.start_of(index) for index in range(len(parts))],
        n_draws=least * len(parts),
        n_gradients=sum(row["n_gradients"] for rows in record["history"] for row in rows),
        seconds=float(record["seconds"]),
    )  # fmt: skip


def looked_at(posterior: Posterior, data: Dataset, n_images: int) -> tuple[Tensor, Tensor]:
    """Return the first test images and their labels, or say why a posterior cannot be looked at on them."""
    checks.kind_of("data", data, Dataset, "a Dataset, such as datasets.load gives")
    checks.count("n_images", n_images, at_most=len(data.test_labels))
    images = checks.pixels("data.test_images", data.test_images[:n_images])
    return images, posterior.class_indices("data.test_labels", data.test_labels[:n_images], images)


def _functions(name: str, given: Mapping[str, Callable[[Posterior], Tensor]] | None) -> dict[str, OfDraws]:
    """Return functions by their names, or say that they are not."""
    named = checks.kind_of(name, given or {}, Mapping, "a mapping of names to functions")
    return {key: checks.function(f"{name}[{key!r}]", function) for key, function in named.items()}


def _of_chains(name: str, of: OfChain, parts: list[Posterior]) -> Tensor:
    """Return what a function gives for each chain, [chains, N, ...]."""
    given = [of(part) for part in parts]
    if not all(isinstance(value, Tensor) and value.ndim > 0 for value in given):
        raise ValueError(f"chains[{name!r}] gives no values [N, ...], of each image; it must.")
    return torch.stack(given).double().cpu()


def chains_of(posterior: Posterior) -> list[Posterior]:
    """Return the posterior of each chain, in their order, or say that there are none."""
    checks.kind_of("posterior", posterior, Posterior, "a Posterior of chains, as inference.hmc gives it")
    record = posterior.record
    if record.get("method") != "hmc":
        raise ValueError(
            f"posterior was made by {record.get('method', 'hand')!r}; it must be of chains, as inference.hmc gives it."
        )
    lengths = [len(rows) - record["settings"]["warmup"] for rows in record["history"]]
    if sum(lengths) != len(posterior):
        raise ValueError(
            f"posterior has {len(posterior)} samples, of {sum(lengths)} that its chains drew; it must have them all."
        )
    if len(lengths) < 2:
        raise ValueError("posterior is of 1 chain, which cannot see what it has not found; it must be of at least 2.")
    ends = np.cumsum(lengths)
    return [posterior[int(end - length) : int(end)] for end, length in zip(ends, lengths, strict=True)]


def built_in(posterior: Posterior, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Return what is looked at of every posterior: name -> [S, ...], values of each of its samples."""
    logits = posterior.logits(images)
    chosen = labels.expand(len(logits), -1)[..., None]
    logs = logits.log_softmax(-1)
    norms = [value.double().flatten(1).square().sum(1) for value in posterior.samples.values()]
    return {
        "margin": logits.gather(2, chosen).squeeze(2) - logits.scatter(2, chosen, -torch.inf).amax(2),
        "predictive entropy": -(logs.exp() * logs).sum(-1),
        "squared norm": torch.stack(norms, 1),
    }


def _mixing(values: np.ndarray) -> Mixing:
    """Return how well chains agree on values [chains, draws, F]."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # arviz 0.x announces its successor on import
        import arviz
    # Exactly: of equal values, such as 1/3, the standard deviation may be a rounding. NaN and infinity are not constant.
    low = values.min((0, 1))
    varying = (low != values.max((0, 1))) | ~np.isfinite(low)
    n_values, n_constant = len(varying), int((~varying).sum())
    if not varying.any() or values.shape[1] < FEWEST_DRAWS:
        return Mixing(n_values, n_constant, np.nan, 0.0, 0.0, np.nan)
    kept = values[..., varying]
    if not np.isfinite(kept).all():  # ranks, of which R-hat is, would hide an infinity
        return Mixing(n_values, n_constant, np.inf, 0.0, 0.0, np.inf)
    dataset = arviz.convert_to_dataset({"value": kept})

    def of(function: Callable[..., Dataset], **given: str) -> np.ndarray:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # a chain that stands still has no autocorrelation
            return np.atleast_1d(function(dataset, **given)["value"].values)  # type: ignore[index]

    rhat, bulk, tail = of(arviz.rhat), of(arviz.ess), of(arviz.ess, method="tail")
    error = of(arviz.mcse) / kept.reshape(-1, kept.shape[-1]).std(0)
    # A chain that stands still has none of them, and is no reason to look away.
    worst = np.inf if np.isnan(rhat).any() else float(rhat.max())
    least, least_tail = (float(np.nan_to_num(some).min()) for some in (bulk, tail))
    return Mixing(n_values, n_constant, worst, least, least_tail, float(np.max(error)))


def _word(mixing: Mapping[str, Mixing], n_draws: int) -> str:
    told = [row for row in mixing.values() if row.constant < row.values]
    if n_draws >= FEWEST_DRAWS and told:
        for word, (rhat, ess) in LIMITS.items():
            if all(row.rhat < rhat and row.ess_bulk >= ess for row in told):
                return word
    return NOT_CONVERGED


def _agreement(maps: Tensor) -> float:
    """Return the mean correlation of maps [chains, N, ...] of one image over pairs of chains."""
    flat = maps.flatten(2)
    centred = flat - flat.mean(2, keepdim=True)
    unit = centred / centred.norm(dim=2, keepdim=True).clamp(min=torch.finfo(centred.dtype).tiny)
    products = torch.einsum("anp,bnp->abn", unit, unit)
    first, second = torch.triu_indices(len(maps), len(maps), 1)
    return products[first, second].mean().item()
