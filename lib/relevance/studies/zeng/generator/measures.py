"""Alignment, deletion, run time, steadiness and sanity of maps, for each image."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from relevance.attacks import manipulation, prediction
from relevance.attacks.manipulation import Manipulation, noised, shares
from relevance.base import checks
from relevance.explanations.gradient import gradient
from relevance.inference import training
from relevance.metrics.deletion import SHARES, deletion
from relevance.metrics.overlap import lrp_robustness
from relevance.metrics.similarity import linear_similarity, rank_similarity
from relevance.networks.posterior import Posterior
from relevance.studies.zeng.generator.setting import OF_CLASS, RANDOM, STANDARD, Setting

# Softplus that is as good as a rectifier.
NEARLY_SHARP = (1000.0, 1000.0)


def alignment_with(maps: Mapping[str, Tensor], wanted: Tensor, expected: Tensor | None = None) -> pd.DataFrame:
    """Return how alike maps are to others.

    The cosine of two maps without negative values is never below 0 and rarely near it; the correlations (Pearson's and
    Spearman's) take the mean of each map away.

    Args:
        maps: name -> [N, 1, H, W].
        wanted: what they are compared with, [N, 1, H, W].
        expected: what the class alone tells of them, [N, 1, H, W].

    Returns:
        A row for each name and image: ``map``, ``image``, ``cosine``, ``correlation``, ``rank``; and, with ``expected``,
        ``beyond the class``, the correlation of what is left when it is taken from both, all at length 1; NaN if nothing is.
    """
    parts = []
    for name, values in maps.items():
        columns = {
            "map": name,
            "image": np.arange(len(values)),
            "cosine": functional.cosine_similarity(values.double().flatten(1), wanted.double().flatten(1)).cpu(),
            "correlation": linear_similarity(wanted, values),
            "rank": rank_similarity(wanted, values),
        }
        if expected is not None:
            left, right = (_unit(some) - _unit(expected) for some in (wanted, values))
            empty = right.norm(dim=1) < 1e-6
            columns["beyond the class"] = linear_similarity(left, right).where(~empty.cpu(), torch.nan)
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def _unit(maps: Tensor) -> Tensor:
    return functional.normalize(maps.double().flatten(1), dim=1)


def deletion_curves(setting: Setting, images: Tensor, seed: int = 0) -> pd.DataFrame:
    """Return deletion curves to the mean image, judged by either network.

    Returns:
        A row for each judge, map and image, with a column for each share of the pixels, then ``judge`` and ``map``.
    """
    maps = setting.maps(images)
    target = setting.standard.predict(images).argmax(1)
    orders = {**maps, OF_CLASS: setting.controls(images)[OF_CLASS], RANDOM: torch.zeros_like(images[:, :1])}
    mean = setting.data.train_images.mean(0)
    judges = {"standard network": setting.standard, "robust network": setting.robust}
    given: dict[str, Any] = {"baseline": mean, "measure": "magnitude", "n_orders": 3, "seed": seed}
    parts = []
    for title, judge in judges.items():
        for name, values in orders.items():
            curves = deletion(judge, images, target, values.expand_as(images), **given).cpu().numpy()
            rows = pd.DataFrame(curves, columns=[f"{share:g}" for share in SHARES])
            parts.append(rows.assign(judge=title, map=name))
    return pd.concat(parts, ignore_index=True)


def speed(setting: Setting, images: Tensor, classifier: str, repeats: int = 7) -> pd.DataFrame:
    """Return the run time of each map in units of the standard network's gradient, measured in turn in one run.

    Returns:
        A row for each map: ``map``; ``time``, a ratio of the shortest of several runs; ``parameters`` of what makes the map;
        and ``classifier``, the name that the standard network was given.
    """
    target = setting.standard.predict(images).argmax(1)
    times: dict[str, list[float]] = {name: [] for name in setting.explains()}
    for _ in range(repeats):
        for name, (posterior, explain) in setting.explains().items():
            with torch.no_grad():
                # Once without the clock: the first would else pay for the caches that another map has filled.
                explain(posterior, images, target)
                start = time.perf_counter()
                explain(posterior, images, target)
            times[name].append(time.perf_counter() - start)
    sizes = {name: _size(posterior) for name, (posterior, _) in setting.explains().items()}
    sizes |= {
        name: _size(one.generator) + (_size(setting.standard) if one.reads_features else 0)
        for name, one in setting.generators.items()
    }
    best = {name: min(found) for name, found in times.items()}
    rows = [{"map": name, "time": best[name] / best[STANDARD], "parameters": sizes[name]} for name in best]
    return pd.DataFrame(rows).assign(classifier=classifier)


def _size(posterior: Posterior) -> int:
    return sum(value[0].numel() for value in posterior.samples.values())


def steadiness(
    setting: Setting, images: Tensor, *, fgsm: float, how: Manipulation, top_percent: float = 20
) -> pd.DataFrame:
    """Return how much of each map stays: the overlap of its top pixels, under three changes of the image.

    Args:
        setting: networks and generators.
        images: [N, C, H, W].
        fgsm: epsilon of FGSM, in the maximum norm, on the network that is asked.
        how: manipulation of the map itself, towards another image's, with the prediction held: it follows each map's own
            gradient.
        top_percent: share of the pixels that count as relevant.

    Returns:
        A row for each map and image: ``map``, ``image``; ``noise`` (as large, in l2, as the step of FGSM), ``FGSM``,
        ``manipulated``, ``unrelated`` (the map of another image): overlaps in [0, 1].
    """
    # Generators have a gradient without softening, which may lead the steps astray; the better of both counts.
    sharper = replace(how, betas=(*how.betas, NEARLY_SHARP))
    parts = []
    for name, (posterior, explain) in setting.explains().items():
        target = posterior.predict(images).argmax(1)
        attacked = prediction.fgsm(posterior, images, target, fgsm)
        changed = {
            "noise": noised(images, attacked, how.seed),
            "FGSM": attacked,
            "manipulated": manipulation.towards_others(
                posterior, images, explain, explain, sharper if name in setting.generators else how
            ),
        }
        shown = shares(explain)
        with torch.no_grad():
            before = shown(posterior, images, target)
            after = {change: shown(posterior, some, target) for change, some in changed.items()}
        after["unrelated"] = before.roll(1, 0)
        scores = {change: lrp_robustness(before, maps, top_percent).cpu() for change, maps in after.items()}
        parts.append(pd.DataFrame({"map": name, "image": np.arange(len(images)), **scores}))
    return pd.concat(parts, ignore_index=True)


def randomised(posterior: Posterior, n_layers: int, seed: int = 0) -> Posterior:
    """Return a posterior whose last ``n_layers`` learnable layers have fresh weights, as before training.

    The cascading randomisation of Adebayo et al. 2018 (arXiv:1810.03292, Sec. 3): from the output down.
    """
    network = copy.deepcopy(posterior.network).cpu()
    layers = [(name, layer) for name, layer in network.named_modules() if isinstance(layer, (nn.Linear, nn.Conv2d))]
    checks.count("n_layers", n_layers, at_least=0, at_most=len(layers))
    samples = {name: value.clone() for name, value in posterior.samples.items()}
    with training.seeded(seed, torch.device("cpu")):
        for index in range(len(posterior)):
            for prefix, layer in layers[len(layers) - n_layers :]:
                layer.reset_parameters()
                for name, value in layer.named_parameters():
                    samples[f"{prefix}.{name}" if prefix else name][index] = value.to(posterior.device)
    return Posterior(posterior.network, samples, posterior.record)


def sanity(setting: Setting, images: Tensor, seeds: Sequence[int] = (0, 1, 2)) -> pd.DataFrame:
    """Return what of each map is left when the classifier forgets what it learned, layer by layer from the output.

    Returns:
        A row for each number of ``random layers``, a column for each map: the mean rank correlation with the map before, over
        images and seeds. The class is that of the intact network. What explains a network must change with it.
    """
    n_layers = sum(isinstance(layer, (nn.Linear, nn.Conv2d)) for layer in setting.standard.network.modules())
    target = setting.standard.predict(images).argmax(1)
    asked: dict[str, Callable[[Posterior], Tensor]] = {
        name: lambda posterior, explain=explain: explain(posterior, images, target).abs().sum(1).detach()  # type: ignore[misc]
        for name, explain in {STANDARD: gradient, **setting.generators}.items()
    }
    rows = []
    for count in range(n_layers + 1):
        row: dict[str, float] = {"random layers": count}
        for name, maps in asked.items():
            before = maps(setting.standard)
            found = [rank_similarity(before, maps(randomised(setting.standard, count, seed))) for seed in seeds]
            row[name] = torch.stack(found).nanmean().item()
        rows.append(row)
    return pd.DataFrame(rows)
