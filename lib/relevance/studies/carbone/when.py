"""When does being Bayesian steady explanations? The prior, averaging and mixing told apart, and attacks that meet other draws."""

from __future__ import annotations

import math
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from relevance.attacks.named import perturbed
from relevance.explanations.lrp import lrp
from relevance.inference import certificate
from relevance.metrics.overlap import lrp_robustness
from relevance.metrics.statistics import crossed_difference, spearman, standing, t_interval
from relevance.networks.posterior import Posterior
from relevance.studies.carbone.study import Study
from relevance.studies.differences import by_run, scaled_difference
from relevance.studies.gates import FEWEST, why_not
from relevance.studies.names import BAYESIAN, DETERMINISTIC, MAP, MAP_ENSEMBLE, RULES, bayesian
from relevance.studies.phrases import difference
from relevance.studies.store import kept
from relevance.studies.tables import SCORE
from relevance.studies.verdicts import NOT_JUDGED

# Length of a trajectory, in units of the prior's scale, after which a weight that only the prior holds forgets where it was.
QUARTER = math.pi / 2
# Columns of :func:`crossing` beside those that say of what a row is.
MEASURED = [
    "image", "lrp_robustness", "unrelated_lrp_robustness", "ceiling_lrp_robustness", "label", "clean_class", "attacked_class",
    "gradient_is_zero",
]  # fmt: skip
CASE = ["n_train", "prior scale", "trajectory"]
OWN, OTHERS = "own draws", "other draws"
# Draws of the chain that an attack has not seen.
N_JUDGES = 100
RULE, TOP_PERCENT = RULES["epsilon"], 20
# Step of the ladder -> the two models that it lies between; of the Bayesian ones, that with the most samples.
STEPS = {
    "prior": (DETERMINISTIC, MAP),
    "averaging": (MAP, MAP_ENSEMBLE),
    "posterior beyond it": (MAP_ENSEMBLE, BAYESIAN),
    "all together": (DETERMINISTIC, BAYESIAN),
}


def crossing(
    study: Study, samplers: Sequence[Mapping[str, Any]], n_trains: Sequence[int], attacks: Sequence[str]
) -> pd.DataFrame:
    """Measure every model of a study under other priors and trajectories, and with more or fewer training images.

    Args:
        study: of several runs, with MAP networks.
        samplers: changes of its sampler, such as ``{"prior_scale": 1.0}`` or ``{"trajectory": 0.08}``.
        n_trains: training images under the study's own sampler.
        attacks: names, as :meth:`relevance.studies.carbone.study.Study.attacks` takes them.

    Returns:
        A row for each training size, prior, trajectory (as a share of a quarter turn), model, run, attack and image, for the
        explanation of the class by the epsilon rule: ``effective draws`` of a margin in the chain, no more than samples, and
        :data:`MEASURED`. Models that know nothing of the prior, or of trajectories, are there once.
    """
    if study.n_runs < 2 or study.n_members < 1:
        raise ValueError(
            f"study has n_runs={study.n_runs} and n_members={study.n_members}; it must have at least 2 runs and 1 member."
        )
    cases: list[tuple[int, dict[str, Any]]] = [(study.n_train, dict(sampler)) for sampler in ({}, *samplers)]
    cases += [(n_train, {}) for n_train in n_trains if n_train != study.n_train]
    parts, seen = [], set()
    for n_train, change in cases:
        one = replace(study, n_train=n_train, inference={**study.inference, **change})
        case = (n_train, one.prior_scale, round(one.inference.get("trajectory", QUARTER) / QUARTER, 3))
        tells_apart = {DETERMINISTIC: 1, MAP: 2, MAP_ENSEMBLE: 2} | {bayesian(count): 3 for count in one.n_samples}
        models = [name for name, n_known in tells_apart.items() if (name, case[:n_known]) not in seen]
        seen |= {(name, case[:n_known]) for name, n_known in tells_apart.items()}
        worth = [effective_draws(one.draws(run), one.data.test_images[:100]) for run in range(one.n_runs)]
        rows = one.table(attacks, layers=one.layers[-1:], models=models).assign(**dict(zip(CASE, case, strict=True)))
        chains = rows["model"].str.startswith(BAYESIAN)
        at_most = rows["run"].map(dict(enumerate(worth)))
        rows["effective draws"] = rows["n_samples"].where(~chains, rows["n_samples"].clip(upper=at_most))
        parts.append(rows[[*CASE, "model", "n_samples", "effective draws", "run", "attack", *MEASURED]])
    return pd.concat(parts, ignore_index=True)


def effective_draws(chain: Posterior, images: Tensor) -> float:
    """Return how many independent draws a chain is worth: the median over images of that of the margin of the predicted class."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # arviz 0.x announces its successor on import
        import arviz
    if len(chain) < certificate.FEWEST_DRAWS:
        return 1.0
    margins = certificate.built_in(chain, images, chain.predict(images).argmax(1))["margin"].double().cpu().numpy()
    found = arviz.ess(arviz.convert_to_dataset({"margin": margins[None]}))["margin"].values
    return max(1.0, float(np.nanmedian(found)))


def ladder(table: pd.DataFrame) -> pd.DataFrame:
    """Tell apart what prior, averaging and the rest of the posterior do to k-LRP, under each prior, training size and attack.

    Args:
        table: from :func:`crossing`; trajectories of a quarter turn are looked at, and the most samples.

    Returns:
        A row for each training size, prior, attack and ``step`` of :data:`STEPS`: ``mean``, ``low`` and ``high`` of
        :func:`relevance.metrics.crossed_difference`, and ``standing``, of itself, without Holm's correction; not judged where one
        of the two is at chance, say, however many images there are (:mod:`relevance.studies.gates`). ``scaled`` and ``scaled
        standing`` are those of :func:`relevance.metrics.scaled_difference`.
    """
    most = bayesian(int(table.loc[table["model"].str.startswith(BAYESIAN), "n_samples"].max()))
    rows = []
    for (n_train, scale, attack), part in table[table["trajectory"] == 1].groupby(["n_train", "prior scale", "attack"]):
        # A network without a prior is there once for all priors.
        plain = (table["model"] == DETERMINISTIC) & (table["n_train"] == n_train) & (table["attack"] == attack)
        alike = pd.concat([part[part["model"] != DETERMINISTIC], table[plain]])
        scores = {name: by_run(group) for name, group in alike.groupby("model")}
        for step, pair in STEPS.items():
            names = [most if name == BAYESIAN else name for name in pair]
            if all(name in scores for name in names):
                found = crossed_difference(*(scores[name] for name in names))
                scaled = scaled_difference(alike, *names)
                refused = why_not(alike[alike["model"].isin(names)], FEWEST)
                rows.append({
                    "n_train": n_train, "prior scale": scale, "attack": attack, "step": step,
                    "mean": found.mean, "low": found.low, "high": found.high, "scaled": scaled.mean,
                    "standing": NOT_JUDGED if refused else standing(found.low, found.high),
                    "scaled standing": NOT_JUDGED if refused else standing(scaled.low, scaled.high),
                })  # fmt: skip
    return pd.DataFrame(rows)


def mixed(rungs: pd.DataFrame, known: Collection[tuple[int, float]]) -> pd.DataFrame:
    """Return :func:`ladder` with steps to the posterior judged only where its chains are known to have mixed.

    Args:
        rungs: the ladder.
        known: training size and prior scale of the posteriors whose certificate says so.
    """
    certified = [case in known for case in zip(rungs["n_train"], rungs["prior scale"], strict=True)]
    judged = pd.Series(certified, rungs.index) | ~rungs["step"].isin(
        [step for step, pair in STEPS.items() if BAYESIAN in pair]
    )
    return rungs.assign(**{name: rungs[name].where(judged, NOT_JUDGED) for name in ("standing", "scaled standing")})


def steps(rungs: pd.DataFrame) -> pd.DataFrame:
    """Return :func:`ladder` as a page shows it: rows for data set, training size, prior and attack, a column for each step."""
    told = rungs.assign(told=[f"{difference(row)} {row['standing']}" for _, row in rungs.iterrows()])
    names = [*(["data"] if "data" in rungs else []), "n_train", "prior scale", "attack"]
    return told.pivot(index=names, columns="step", values="told").reindex(columns=list(STEPS)).rename_axis(columns=None)


def averages(table: pd.DataFrame) -> pd.DataFrame:
    """Return the mean k-LRP of every model and case of :func:`crossing`, with its 95 % t interval over runs.

    Returns:
        A row for each case, model and attack: ``effective draws`` (mean over runs), ``mean``, ``low``, ``high``, ``accuracy`` and
        ``accuracy under attack``.
    """
    known = table.assign(
        accuracy=table["clean_class"] == table["label"],
        **{"accuracy under attack": table["attacked_class"] == table["label"]},
    )
    measured = ["effective draws", SCORE, "accuracy", "accuracy under attack"]
    names = [*CASE, "model", "n_samples", "attack"]
    of_runs = known.groupby([*names, "run"], sort=False)[measured].mean().groupby(names, sort=False)
    means, intervals = of_runs.mean(), {case: t_interval(part) for case, part in of_runs[SCORE]}
    ends = pd.DataFrame(intervals.values(), index=means.index, columns=["mean", "low", "high"])
    return means.drop(columns=SCORE).join(ends).reset_index()


def transfer(study: Study, attack: str, counts: Sequence[int]) -> pd.DataFrame:
    """Attack through some draws of a posterior, and look at what that does to these draws, and to draws of another chain.

    Args:
        study: of several runs by HMC; the draws that an attack sees are of all chains but one, which judges.
        attack: name, as :meth:`relevance.studies.carbone.study.Study.attacks` takes it.
        counts: numbers of draws that the attack sees.

    Returns:
        A row for each run, count and kind of draws: ``run``, ``n_samples``, ``draws``, the means over the images of ``accuracy``
        and of ``accuracy under attack``, and ``lrp_robustness``.
    """
    (chosen,) = study.attacks([attack])
    images, labels = study.data.balanced_test(study.n_images, study.seed)
    chains = [study.draws(run) for run in range(study.n_runs)]
    rows = []
    for run, judges in enumerate(chains):
        # In turn, so that single draws, which are the last, are of another chain in each run.
        seen = _joined([*chains[run + 1 :], *chains[:run]])
        others = judges.thinned(min(N_JUDGES, len(judges)))
        for count in counts:
            through = seen.thinned(count)
            attacked = kept(perturbed, through, images, labels, chosen, None)["images"]
            rows += [
                {"run": run, "n_samples": count, "draws": kind, **_judged(one, images, attacked, labels)}
                for kind, one in ((OWN, through), (OTHERS, others))
            ]
    return pd.DataFrame(rows)


def _joined(chains: Sequence[Posterior]) -> Posterior:
    samples = {name: torch.cat([one.samples[name] for one in chains]) for name in chains[0].samples}
    return Posterior(chains[0].network, samples)


def _judged(posterior: Posterior, images: Tensor, attacked: Tensor, labels: Tensor) -> dict[str, float]:
    target = posterior.predict(images).argmax(1)
    before, after = (lrp(posterior, one, target, rule=RULE) for one in (images, attacked))
    return {
        "accuracy": posterior.accuracy(images, labels),
        "accuracy under attack": posterior.accuracy(attacked, labels),
        SCORE: lrp_robustness(before, after, TOP_PERCENT).mean().item(),
    }


def shortfall(table: pd.DataFrame) -> pd.DataFrame:
    """Return by how much more accuracy other draws keep than those that an attack went through, of :func:`transfer`.

    Returns:
        A row for each count: ``n_samples``, and for accuracy and k-LRP the ``mean`` difference with its t interval over runs.
    """
    wide = table.pivot(index=["n_samples", "run"], columns="draws", values=["accuracy under attack", SCORE])
    rows = []
    for count in table["n_samples"].unique():
        row: dict[str, float] = {"n_samples": count}
        for name, column in (("accuracy", "accuracy under attack"), ("k-LRP", SCORE)):
            difference = wide.loc[count, (column, OTHERS)] - wide.loc[count, (column, OWN)]
            row |= dict(zip((name, f"{name}, low", f"{name}, high"), t_interval(difference), strict=True))
        rows.append(row)
    return pd.DataFrame(rows)


def _parts(rows: pd.DataFrame) -> dict[str, pd.Series]:
    """Return on which rows a correlation is looked at: name -> whether a row is among them."""
    stays = rows["clean_class"] == rows["attacked_class"]
    moves = ~rows["gradient_is_zero"].astype(bool)
    return {
        "all images": stays | ~stays,
        "class stays": stays,
        "class flips": ~stays,
        "gradient not zero": moves,
        "class stays, gradient not zero": stays & moves,
    }


def rho_parts(table: pd.DataFrame) -> pd.DataFrame:
    """Return Spearman's rho of LRP and softmax robustness, on all images and on parts of them.

    What makes a correlation may be that the class that is explained flips on some images, or that an attack left some
    alone; what is left where neither happens is a correlation of the two robustnesses.

    Args:
        table: of :meth:`relevance.studies.carbone.study.Study.table`; one layer and rule.

    Returns:
        A row for each model, attack and ``part`` of the images: ``rho``, ``low``, ``high``, the mean of runs with its t interval
        (of one run, that of :func:`relevance.metrics.spearman`); ``images``, fewest of a run; ``spread``, the standard
        deviation of softmax robustness: a small one holds a correlation down.
    """
    rows = []
    for (model, attack), group in table.groupby(["model", "attack"], sort=False):
        for part, chosen in _parts(group).items():
            some = group[chosen]
            runs = [one for _, one in some.groupby("run") if len(one) >= 4]
            found = [spearman(one["softmax_robustness"].to_numpy(), one[SCORE].to_numpy()) for one in runs]
            known = [one for one in found if not math.isnan(one.rho)]
            interval = t_interval([one.rho for one in known]) if len(known) > 1 else known[0] if known else None
            mean, low, high = interval[:3] if interval is not None else (math.nan,) * 3
            rows.append({
                "model": model, "attack": attack, "part": part, "rho": mean, "low": low, "high": high,
                "images": min(map(len, runs), default=0), "spread": some["softmax_robustness"].std(),
            })  # fmt: skip
    return pd.DataFrame(rows)
