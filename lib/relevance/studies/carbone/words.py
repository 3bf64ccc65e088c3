"""What the tables of the main source say, in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import torch
from torch import Tensor

import relevance
from relevance.attacks.named import NOISE
from relevance.inference.certificate import NOT_CONVERGED
from relevance.metrics.statistics import EQUIVALENT, HIGHER, LOWER, MARGIN, UNDECIDED, standing
from relevance.networks.posterior import Posterior
from relevance.studies import differences, names
from relevance.studies.carbone import source
from relevance.studies.carbone.geometry import ALONG, CURVED, NOTHING, OUTSIDE
from relevance.studies.experiment import Outcome
from relevance.studies.names import BAYESIAN
from relevance.studies.phrases import certificate, interval, join, sentence, signed
from relevance.studies.verdicts import NOT_JUDGED

PREMISE = "premise not met"
# What explanations are beside others, by the standing of a difference; what maps do beside predictions, by that of rho.
BESIDE = {HIGHER: "steadier than", EQUIVALENT: "as steady as", LOWER: "less steady than", UNDECIDED: "not told from"}
LINKED = {HIGHER: "hold better where predictions do", EQUIVALENT: "show no link that counts to predictions",
          LOWER: "hold worse where predictions do", UNDECIDED: "show a link that cannot be told from none"}  # fmt: skip


@sentence
def failed_attacks(outcomes: Mapping[str, Outcome], shown: int) -> str:
    """Say on how many images the attack failed on every model, and how the one that is shown was chosen."""
    failed = torch.stack([outcome.failed for outcome in outcomes.values()]).all(0)
    none = "" if failed.any() else ", so that **no failed attack can be shown**"
    return (
        f"On {int(failed.sum())} of {len(failed)} images all models are right before and after their attacks{none}. Such images "
        f"are not typical of all. The figures have image {shown} (counted from 0), whose scores are the nearest to the medians."
    )


@sentence
def common_settings() -> str:
    """Say what all figures of the paper have in common, from :mod:`relevance.studies.carbone.source`."""
    return (
        f"*This build.* The {len(source.FIGURES)} panels share {source.N_IMAGES} test images, balanced over the classes, attacks "
        f"of size {source.EPSILON:g} in the maximum norm, and the rules {join([repr(rule) for rule in names.RULES.values()])}; "
        f"relevance {relevance.__version__}, torch {torch.__version__}."
    )


@sentence
def steadiness(settings: pd.DataFrame, beside: str, of: str = "Bayesian explanations are") -> str:
    """Say how explanations stand beside others in most of the judged settings of a verdict, and in the next most."""
    judged = settings[settings["standing"] != NOT_JUDGED]
    if judged.empty:
        reasons = join(list(settings["reason"].unique())) if len(settings) else "there is nothing to compare"
        return f"Whether {of} {BESIDE[HIGHER]} {beside} cannot be judged here: {reasons}."
    counted = judged["standing"].value_counts().items()  # of two that are as many, what is decided comes first
    (most, count), *others = sorted(counted, key=lambda one: (-one[1], one[0] == UNDECIDED))
    if others:
        also = f"{BESIDE[str(others[0][0])]} them in {others[0][1]}"
        return f"{of} {BESIDE[str(most)]} {beside} in {count} of {len(judged)} settings, and {also}."
    where = {1: "", 2: " in both settings"}.get(count, f" in all {count} settings")
    by = " to ".join(dict.fromkeys(map(signed, (judged["mean"].min(), judged["mean"].max()))))
    return f"{of} {BESIDE[str(most)]} {beside}{where} ({by})."


@sentence
def linked(settings: pd.DataFrame, of: str) -> str:
    """Say by the rho of each judged setting whether maps of some networks hold where their predictions do."""
    judged = settings[settings["standing"] != NOT_JUDGED]
    if judged.empty:
        return f"Whether maps of {of} networks {LINKED[HIGHER]} cannot be judged here."
    named = {word: [f"{row['attack']} ({signed(row['mean'])})" for _, row in rows.iterrows()]
             for word, rows in judged.groupby("standing")}  # fmt: skip
    told = "; they ".join(f"{text} under {join(named[word])}" for word, text in LINKED.items() if word in named)
    return f"Maps of {of} networks {told.replace('(', '(rank correlation ', 1)}."


@sentence
def answer(scores: pd.DataFrame, name: str, posterior: Posterior) -> str:
    """Answer the book's question from one experiment: of the model with the most samples against the first model."""
    by_size = scores.groupby("model", sort=False)["n_samples"].first()
    baseline, most = str(by_size.index[0]), str(by_size.iloc[1:].idxmax())
    found = differences.paired_difference(scores, baseline, most)
    scaled = differences.scaled_difference(scores, baseline, most)
    word, other = (standing(one.low, one.high) for one in (found, scaled))
    text = (
        f"On {name}, under a one-step attack on the prediction, the explanation averaged over the posterior is "
        f"**{BESIDE[word]}** that of the {baseline} network, by {interval(found)}."
    )
    if other != word:
        text += f" As a share of the room above unrelated maps it is {BESIDE[other]} it."
    if posterior.record["diagnostics"].get("certificate", NOT_CONVERGED) == NOT_CONVERGED:
        text += " The chains have not converged, so that the draws may misrepresent the posterior."
    return text


def theorem(rows: pd.DataFrame) -> dict[str, str]:
    """Judge Theorem IV.1 by the largest HMC case of a :func:`geometry.sweep` on each manifold: does what is across it vanish?

    What is left contradicts no theorem: its proof takes every sample to equal the true function on the manifold (Sec. VII-A),
    and the true log-odds of classes that never overlap are infinite, so that no sample does.

    Returns:
        Part across the manifold -> what is found, with the verdict first: ``"vanishes"`` if the whole interval lies below
        :data:`NOTHING`, ``"premise not met"`` if it lies above, ``"cannot be told from zero"`` between.
    """
    found = {}
    for part in (OUTSIDE, CURVED):
        told, words = [], list[tuple[str, str]]()
        for name, cases in rows[rows["method"] == "hmc"].groupby("manifold", sort=False):
            row = cases.sort_values(["training points", "width"]).iloc[-1]
            low, high = row[f"{part}, low"], row[f"{part}, high"]
            told.append(f"{name} {row[part]:.2f} [{low:.2f}, {high:.2f}], R-hat {row['R-hat']:.2f}")
            # What an interval over four chains cannot tell from nothing has not been shown to be nothing.
            word = PREMISE if low > NOTHING else "vanishes" if high < NOTHING else "cannot be told from zero"
            words.append((word, str(name)))
        verdict = words[0][0] if len(dict(words)) == 1 else ", ".join(f"{word} on {name}" for word, name in words)
        found[part] = f"{verdict}: {'; '.join(told)}".replace(" -", " \N{MINUS SIGN}").replace("[-", "[\N{MINUS SIGN}")
    return found


@sentence
def averaging(parts: Mapping[str, Tensor]) -> str:
    """Say how much of a gradient is across the manifold, of an average and of a single sample.

    Args:
        parts: name -> [S, N, d], of which :data:`geometry.ALONG` is along the manifold.
    """
    lengths = {name: vectors.mean(0).square().sum().item() for name, vectors in parts.items()}
    single = {name: vectors.square().sum(-1).mean(0).sum().item() for name, vectors in parts.items()}
    share, alone = (1 - one[ALONG] / sum(one.values()) for one in (lengths, single))
    return (
        f"Across the (estimated) manifold lie {share:.0%} of the averaged gradient's squared length, and {alone:.0%} of a single "
        "sample's."
    )


# Step of a ladder -> what it is, for who has read nothing yet; what is said of steps by their standing.
STEPS = {"prior": "the prior", "averaging": "averaging over networks with that prior",
         "posterior beyond it": "the rest of the posterior"}  # fmt: skip
SAYS = {HIGHER: "what steadies them is", EQUIVALENT: "no difference that counts comes from",
        LOWER: "what makes them less steady is", UNDECIDED: "undecided is"}  # fmt: skip


@sentence
def when_in_short(ladder: pd.DataFrame, attack: str, scale: float) -> str:
    """Say by :func:`relevance.studies.carbone.when.ladder`, of an attack and a prior, whether the posterior steadies maps."""
    rows = ladder[(ladder["prior scale"] == scale) & (ladder["n_train"] == ladder["n_train"].mode().iloc[0])]
    noise, rows = (rows[rows["attack"] == name].set_index("step") for name in (NOISE, attack))
    named = [f"{what} ({signed(rows['mean'].get(step, 0))})" for step, what in STEPS.items() if step in rows.index]
    found = rows["standing"].reindex([step for step in STEPS if step in rows.index]).to_numpy()
    told = []
    for word, text in SAYS.items():
        if who := [one for one, has in zip(named, found, strict=True) if has == word]:
            told.append(f"{text} {' or '.join(who) if word == EQUIVALENT else join(who)}")
    if not told:
        return "No step of the ladder is measured."
    (word, by), (shaken, by_noise) = (_together(one) for one in (rows, noise))
    also = f"; {signed(by_noise)} under mere noise of that size" if shaken in BESIDE else ""
    beside = BESIDE.get(word, "")
    lead = f"**Bayesian explanations are {beside} those of ordinary networks ({signed(by)} under {attack}{also}).** "
    if word == shaken in (HIGHER, LOWER) and abs(by - by_noise) <= MARGIN:
        lead += f"So they are {beside.removesuffix(' than')} under any change, and not under attack in particular. "
    alone = " A single network can have the prior, too." if rows["standing"].get("prior") == HIGHER else ""
    return f"{lead if beside else ''}{told[0][0].upper()}{'; '.join(told)[1:]}.{alone}"


def _together(rows: pd.DataFrame) -> tuple[str, float]:
    return str(rows["standing"].get("all together", "")), float(rows["mean"].get("all together", 0.0))


NETWORKS = {"fully_connected": "dense", "convolutional": "convolutional", "resnet20": "ResNet-20"}
METHODS = {"hmc": "HMC", "variational": "variational inference"}


@sentence
def study(story: Mapping[str, Any]) -> str:
    """Say what a study stands on, by its story: data, networks, training, attacks, posterior."""
    settings, found = story["settings"], story["posteriors"][BAYESIAN].get("diagnostics")
    n_train = next(iter(story["posteriors"].values()))["n_train"]
    attack = story.get("attack", f"attacks of size {settings['epsilon']:g}")
    return (
        f"Data: {story['data']['source']}. Networks: {NETWORKS[settings['architecture']]}, of width {settings['hidden']}, "
        f"{n_train:,} training images, {settings['epochs']} epochs, adversarial training with "
        f"{settings['adversarial'].get('n_steps', 5)} steps; {settings['n_images']} test images, balanced over the classes; "
        f"{attack}; posterior by {METHODS[settings['method']]}, {settings['n_draws']} draws"
        f"{f'; {certificate(found)}' if found else ''}."
    )


def cut(story: Mapping[str, Any]) -> list[str]:
    """Return what of a recorded run is smaller than in the paper, by its story."""
    settings, name = story["settings"], story["settings"]["dataset"]
    n_train = next(iter(story["posteriors"].values()))["n_train"]
    sizes: list[tuple[str, int, int | None]] = [
        ("training images", n_train, 50_000 if name == "cifar10" else 60_000),
        ("test images", settings["n_images"], source.N_IMAGES),
        ("neurons a layer", settings["hidden"], source.HIDDEN.get(name)),
        ("epochs", settings["epochs"], source.epochs(name, settings["architecture"], settings["method"])),
        ("posterior draws", settings["n_draws"], 100),
        ("draws of warm-up", settings["inference"].get("warmup", 100) if settings["method"] == "hmc" else 100, 100),
    ]
    found = [f"{value:,} {what} of {whole:,}" for what, value, whole in sizes if whole and value < whole]
    trained_at = settings["adversarial"].get("epsilon", settings["epsilon"])
    if trained_at != settings["epsilon"]:
        found.append(f"adversarial training at size {trained_at:g}, attacks at {settings['epsilon']:g}")
    return found
