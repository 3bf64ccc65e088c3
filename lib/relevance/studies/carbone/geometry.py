"""Gradients of the prediction along the data manifold and across it, and what averaging over a posterior leaves of each.

The theory is that of Carbone et al., Sec. IV-B and VII-A: Theorem IV.1 says that the part across vanishes in expectation, if
every sample equals the true function on the manifold. Here classes are separable: the true log-odds are infinite, and none does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch import Tensor

from relevance.base import checks
from relevance.explanations.deep_taylor import root_points
from relevance.explanations.gradient import gradient
from relevance.inference.ensemble import deep_ensemble
from relevance.inference.hamiltonian import hmc
from relevance.inference.variational import variational
from relevance.networks import architectures
from relevance.networks.posterior import Posterior
from relevance.studies.carbone.manifolds import MANIFOLDS, Manifold
from relevance.studies.store import kept

# A part of which an average keeps less than this share of the squared length is said to vanish.
NOTHING = 0.05
# Draws for each member of an ensemble.
MEMBERS = 3
FUNCTIONS = ("log_odds", "probability")
ALONG, CURVED, OUTSIDE, ACROSS = "tangent", "normal, inside the span", "normal, outside the span", "normal"


def gradients(posterior: Posterior, images: Tensor, target: Tensor, of: str = "log_odds") -> Tensor:
    """Return the gradient of the prediction with respect to the image, for every sample.

    Args:
        posterior: the samples.
        images: [N, C, H, W] in [0, 1].
        target: [N], the class whose prediction it is.
        of: ``"log_odds"``, log p / (1 - p) of the class, which does not saturate, or its ``"probability"``. (A logit alone is not
            fixed by the data: adding the same function to all of them changes no prediction.)

    Returns:
        [S, N, d], with d = C H W.
    """
    checks.one_of("of", of, FUNCTIONS)
    target = posterior.class_indices("target", target, images)
    parts = []
    for sample in posterior:
        with torch.enable_grad():
            leaf = images.detach().requires_grad_()
            logs = sample.logits(leaf)[0].log_softmax(-1)
            chosen = logs.gather(1, target[:, None]).squeeze(1)
            others = logs.scatter(1, target[:, None], -torch.inf).logsumexp(1)
            value = chosen - others if of == "log_odds" else chosen.exp()
            parts.append(torch.autograd.grad(value.sum(), leaf)[0].flatten(1))
    return torch.stack(parts)


def split(vectors: Tensor, basis: Tensor) -> tuple[Tensor, Tensor]:
    """Split vectors into the part inside a subspace at each point, and the part across it.

    Args:
        vectors: [..., N, d].
        basis: orthonormal, [N, d, k], or [d, k] for the same one everywhere.

    Returns:
        Both parts, [..., N, d]; they add up to ``vectors``.
    """
    if basis.shape[-2] != vectors.shape[-1]:
        raise ValueError(f"basis is for {basis.shape[-2]} dimensions; the vectors have {vectors.shape[-1]}.")
    bases = basis.expand(vectors.shape[-2], *basis.shape[-2:])
    inside = torch.einsum("nde,...ne->...nd", bases @ bases.mT, vectors)
    return inside, vectors - inside


def on_manifold(vectors: Tensor, manifold: Manifold) -> dict[str, Tensor]:
    """Split gradients at the test points of a manifold into three parts.

    Returns:
        The parts along the manifold; across it within the flat space that holds it, where it curves; and out of that space.
    """
    along, across = split(vectors, manifold.tangent)
    inside, outside = split(across, manifold.span)
    return {ALONG: along, CURVED: inside, OUTSIDE: outside}


def local_tangent(points: Tensor, cloud: Tensor, dimensions: int = 8, n_neighbours: int = 30) -> Tensor:
    """Estimate the tangent space at points from their neighbours: the main directions of what lies around.

    Args:
        points: [N, ...].
        cloud: [M, ...], other points of the manifold, such as training images.
        dimensions: of the tangent space, at most ``n_neighbours``.
        n_neighbours: nearest points of the cloud.

    Returns:
        Orthonormal basis [N, d, dimensions].
    """
    flat, others = points.flatten(1), cloud.flatten(1)
    checks.count("n_neighbours", n_neighbours, at_least=2, at_most=len(others))
    checks.count("dimensions", dimensions, at_most=min(n_neighbours, flat.shape[1]))
    nearest = torch.cdist(flat, others).topk(n_neighbours, largest=False).indices
    around = others[nearest] - others[nearest].mean(1, keepdim=True)
    return torch.linalg.svd(around, full_matrices=False).Vh[:, :dimensions].mT


def surviving(vectors: Tensor, n_blocks: int | None = None) -> Tensor:
    """Return the share of the squared length that an average over infinitely many samples would keep, at each point.

    |E g|^2 is estimated without bias by the mean product of the means of two independent blocks of samples; one block's own
    square would be too large by its noise. Draws of one chain are alike, so a block is a chain.

    Args:
        vectors: [S, N, d], samples in the order of their blocks.
        n_blocks: of equal size, at least 2; every sample is one if None.

    Returns:
        [N]: |E g|^2 over the mean of E |g|^2 over the points; slightly below 0 is possible where it is 0.
    """
    count = checks.count("n_blocks", len(vectors) if n_blocks is None else n_blocks, at_least=2, at_most=len(vectors))
    means = torch.stack([block.mean(0) for block in vectors.tensor_split(count)])
    products = (means.sum(0).square() - means.square().sum(0)).sum(-1) / (count * (count - 1))
    single = vectors.square().sum(-1).mean()
    return products / single.clamp(min=torch.finfo(vectors.dtype).tiny)


def by_samples(parts: Mapping[str, Tensor], counts: Sequence[int]) -> pd.DataFrame:
    """Return what an average over some samples keeps of each part.

    Args:
        parts: name -> [S, N, d].
        counts: numbers of samples, evenly thinned; each at most S.

    Returns:
        A row for each part and count: ``part``, ``n_samples``, ``kept``, the root mean square of the averaged part over that of
        single samples, and ``independent``, what it would be if samples had independent parts of mean zero.
    """
    rows = []
    for name, vectors in parts.items():
        single = vectors.square().sum(-1).mean().sqrt()
        for count in counts:
            checks.count("counts", count, at_most=len(vectors))
            chosen = torch.linspace(0, len(vectors) - 1, count).round().long()
            mean = vectors[chosen].mean(0).square().sum(-1).mean().sqrt()
            rows.append({"part": name, "n_samples": count, "kept": (mean / single).item(), "independent": count**-0.5})
    return pd.DataFrame(rows)


def survival(parts: Mapping[str, Tensor], n_blocks: int | None = None, seed: int = 0) -> dict[str, float]:
    """Return, for each part, :func:`surviving` in the mean over the points, with a 95 % interval.

    The interval holds both what other points and what other blocks would have given: its variance is that of the bootstrap
    over points plus that of the jackknife over blocks, with as many degrees of freedom as the blocks leave. Four chains leave
    three. With two blocks there is nothing to leave out, and the interval is infinite.

    Also ``normal share``: how much of the squared length of the averaged gradient is across the manifold.
    """
    generator = np.random.default_rng(checks.seed("seed", seed))
    found: dict[str, float] = {}
    for name, vectors in parts.items():
        values = surviving(vectors, n_blocks).cpu().numpy()
        by_points = generator.choice(values, (1000, len(values))).mean(1).var()
        count = n_blocks or len(vectors)
        width = np.sqrt(by_points + jackknife_variance(vectors, count)) * stats.t.ppf(0.975, count - 1)
        found[name] = float(values.mean())
        found[f"{name}, low"], found[f"{name}, high"] = found[name] - float(width), found[name] + float(width)
    lengths = {name: vectors.mean(0).square().sum().item() for name, vectors in parts.items()}
    found["normal share"] = 1 - lengths[ALONG] / sum(lengths.values())
    return found


def jackknife_variance(vectors: Tensor, n_blocks: int) -> float:
    """Return the variance of :func:`surviving`, in the mean over the points, by leaving out each block in turn.

    Args:
        vectors: [S, N, d].
        n_blocks: as for :func:`surviving`; of two, none can be left out, and the variance is infinite.
    """
    if n_blocks < 3:
        return np.inf
    blocks = vectors.tensor_split(n_blocks)
    left = [
        surviving(torch.cat([*blocks[:index], *blocks[index + 1 :]]), n_blocks - 1).mean().item()
        for index in range(n_blocks)
    ]
    return float(np.var(left) * (n_blocks - 1))


METHODS = ("hmc", "variational", "ensemble")


def posterior_on(manifold: Manifold, method: str, width: int, n_samples: int, seed: int = 0) -> Posterior:
    """Return a posterior of a dense network on a manifold, found in the store or trained.

    Args:
        manifold: its data are trained on.
        method: ``"hmc"``, ``"variational"`` or ``"ensemble"`` (of networks trained from different starts).
        width: of both hidden layers.
        n_samples: draws; an ensemble has a third as many members.
        seed: of everything.
    """
    checks.one_of("method", method, METHODS)
    network = architectures.fully_connected(manifold.data.image_shape, width, 2)
    given: dict[str, Any] = {"seed": seed, "n_samples": n_samples}
    if method == "hmc":
        return kept(hmc, network, manifold.data, warmup=30, prior_scale=0.5, n_chains=4, **given)
    if method == "variational":
        return kept(variational, network, manifold.data, epochs=120, prior_scale=0.5, **given)
    # Every member is a training of its own.
    given["n_samples"] = max(2, n_samples // MEMBERS)
    return kept(deep_ensemble, network, manifold.data, epochs=60, **given)


def case(name: str, method: str, n_train: int, width: int, n_samples: int, seed: int = 0) -> dict[str, Any]:
    """Train on a manifold, and return what is left of the gradients' parts: a row for a table.

    Args:
        name: of the manifold, a key of :data:`manifolds.MANIFOLDS`.
        method, width, n_samples, seed: as for :func:`posterior_on`.
        n_train: training points.
    """
    manifold = MANIFOLDS[checks.one_of("name", name, MANIFOLDS)](n_train, seed=seed)
    posterior = posterior_on(manifold, method, width, n_samples, seed)
    images, labels = manifold.data.test_images, manifold.data.test_labels
    parts = on_manifold(gradients(posterior, images, labels), manifold)
    row = {"manifold": name, "method": method, "training points": n_train, "width": width, "samples": len(posterior)}
    n_chains = posterior.record["settings"].get("n_chains")
    rhat = posterior.record.get("diagnostics", {}).get("rhat")
    row["R-hat"] = np.nan if rhat is None else rhat
    return {**row, "accuracy": posterior.accuracy(images, labels), **survival(parts, n_chains)}


def sweep(
    names: Sequence[str], methods: Sequence[str], n_trains: Sequence[int], widths: Sequence[int], n_samples: int
) -> pd.DataFrame:
    """Return :func:`case` for all methods at the largest size, and for the first method at all sizes in turn."""
    sizes = [(method, n_trains[-1], widths[-1]) for method in methods]
    sizes += [(methods[0], count, widths[-1]) for count in n_trains[:-1]]
    sizes += [(methods[0], n_trains[-1], width) for width in widths[:-1]]
    return pd.DataFrame([case(name, *size, n_samples) for name in names for size in sizes])


def root_heatmaps(manifold: Manifold, posterior: Posterior) -> dict[str, float]:
    """Look at the expected heatmap on a root point: is the root on the manifold, and is the map made along it?

    Returns:
        ``found``, the share of test points with a root; over these the medians of ``moved``, their distance from the point, and
        ``off the manifold``, their distance from the manifold, in units of the pixel range; and ``tangent share``, how
        much of the map's squared length the gradient along the manifold, at the test point, makes.
    """
    images, labels = manifold.data.test_images, manifold.data.test_labels
    roots = root_points(posterior, images, labels)
    with_root = roots.converged
    if not with_root.any():
        return {"found": 0.0, "moved": np.nan, "off the manifold": np.nan, "tangent share": np.nan}
    slopes = gradient(posterior, roots.images, labels).flatten(1)
    along, _ = split(slopes, manifold.tangent)
    step = (images - roots.images).flatten(1)
    whole, part = (slopes * step)[with_root], (along * step)[with_root]
    return {
        "found": with_root.double().mean().item(),
        "moved": roots.distances[with_root].median().item(),
        "off the manifold": manifold.distance(roots.images)[with_root].median().item(),
        "tangent share": 1 - ((whole - part).square().sum() / whole.square().sum()).item(),
    }


def roots(n_train: int, width: int, n_samples: int) -> pd.DataFrame:
    """Return :func:`root_heatmaps` of HMC posteriors on all manifolds, a row for each; arguments as for :func:`case`."""
    rows = {}
    for name, make in MANIFOLDS.items():
        manifold = make(n_train)
        rows[name] = root_heatmaps(manifold, posterior_on(manifold, "hmc", width, n_samples))
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("manifold")
