"""What the tables of the main source say, in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import torch
from torch import Tensor

import relevance
from relevance.attacks.named import NOISE
from relevance.datasets.dataset import Dataset
from relevance.inference.certificate import NOT_CONVERGED
from relevance.metrics.statistics import EQUIVALENT, HIGHER, LOWER, MARGIN, UNDECIDED, Interval, standing
from relevance.networks.posterior import Posterior
from relevance.studies import differences, experiment, names, tables
from relevance.studies.carbone import source
from relevance.studies.carbone.geometry import ALONG, CURVED, NOTHING, OUTSIDE
from relevance.studies.carbone.when import shortfall
from relevance.studies.experiment import Outcome
from relevance.studies.names import BAYESIAN
from relevance.studies.phrases import certificate, difference, interval, join, samples, sentence, signed
from relevance.studies.verdicts import NOT_JUDGED

FEW_IMAGES = 10
PREMISE = "premise not met"


@sentence
def failed_attacks(outcomes: Mapping[str, Outcome], shown: int) -> str:
    """Say on how many images the attack failed on every model, and how the one that is shown was chosen."""
    failed = torch.stack([outcome.failed for outcome in outcomes.values()]).all(0)
    n_failed, n_images = int(failed.sum()), len(failed)
    where = f"image {shown} (counted from 0 in this sample)"
    if not n_failed:
        return (
            f"On none of {n_images} images are all models right both before and after their attacks, so **no failed "
            f"attack can be shown**. The figures have {where}, whose scores are the nearest to the medians of all images."
        )
    if n_failed == 1:
        return (
            f"On 1 of {n_images} images all models are right before and after their attacks: {where}, in the figures."
        )
    return (
        f"On {n_failed} of {n_images} images all models are right before and after their attacks. The figures show "
        f"{where}, whose scores are the nearest to the medians over these {n_failed}: it was chosen by this rule, not "
        "by hand. Images on which an attack fails are not typical of all images."
    )


@sentence
def attack_strength(scores: pd.DataFrame) -> str:
    """Say what the attack did to the predictions of each model of a robustness table, and whether it could work."""
    moved, blind = [], []
    for name, rows in scores.groupby("model", sort=False):
        right = (rows["clean_class"] == rows["label"]).mean()
        still = (rows["attacked_class"] == rows["label"]).mean()
        moved.append(f"{name} from {right:.0%} to {still:.0%}")
        if n_blind := int(rows["gradient_is_zero"].sum()):
            blind.append(f"{n_blind} of {len(rows)} ({name})")
    seen = (
        f"On {join(blind)} images the gradient is exactly zero in every pixel: the attack could not move them, so their "
        "scores say nothing about robustness."
        if blind
        else "No image's gradient is zero in every pixel."
    )
    return f"Accuracy without and with the attack: {join(moved)}. {seen}"


@sentence
def common_settings() -> str:
    """Say what all figures of the paper have in common, from :mod:`relevance.studies.carbone.source`."""
    top, beta = source.TOP_K, source.TARGET_MAP
    return (
        f"*This build.* The {len(source.FIGURES)} panels share {source.N_IMAGES} test images, balanced over the classes, attacks "
        f"of size {source.EPSILON:g} in the maximum norm, and the rules {join([repr(rule) for rule in names.RULES.values()])}. "
        f"Top-k and target region: {top['n_steps']} steps of {top['step_size']:g} (cut to the size of the attack here) on the "
        f"top {top['top_percent']:g} %. Target map: {beta['n_steps']} steps of {beta['step_size']:g}, weight of the outputs "
        f"{beta['output_weight']:g}. relevance {relevance.__version__}, torch {torch.__version__}."
    )


@sentence
def comparison(differences: pd.DataFrame, baseline: str, score: str) -> str:
    """Say, for every row of :func:`relevance.studies.differences.paired_differences`, which model has the higher score.

    By the 95 % interval of each difference (:func:`relevance.metrics.standing`).
    """
    parts = []
    for name, row in differences.iterrows():
        found = Interval(row["mean"], row["low"], row["high"])
        parts.append(f"{standing(found.low, found.high)} with {name}, by {interval(found)}")
    n_images = int(differences["n_images"].iloc[0])
    return f"Compared with {baseline} over the same {n_images} images, the mean {score} is {join(parts)}."


@sentence
def answer(scores: pd.DataFrame, data: Dataset, posterior: Posterior, settings: experiment.Settings) -> str:
    """Answer the book's question from one experiment: only what its table says, with its limits.

    The verdict is that of the model with the most samples against the first model, by the score; the scaled form
    (:func:`relevance.metrics.scaled_difference`) stands beside it.
    """
    by_size = scores.groupby("model", sort=False)["n_samples"].first()
    baseline, fewest, most = map(str, (by_size.index[0], by_size.iloc[1:].idxmin(), by_size.iloc[1:].idxmax()))
    means = scores.groupby("model")["lrp_robustness"].mean()
    raw = differences.paired_difference(scores, baseline, most)
    scaled = differences.scaled_difference(scores, baseline, most)
    words = {
        HIGHER: f"is **more robust** than that of the {baseline} network",
        EQUIVALENT: f"is **as robust** as that of the {baseline} network, within {MARGIN:g},",
        LOWER: f"is **less robust** than that of the {baseline} network",
        UNDECIDED: f"**cannot be told apart** in robustness from that of the {baseline} network",
    }
    text = [
        f"On {data.name}, under a one-step attack of size {settings.epsilon:g} on the prediction, the explanation averaged "
        f"over {most} of the posterior {words[standing(raw.low, raw.high)]}: the mean LRP robustness is {means[most]:.3f} "
        f"against {means[baseline]:.3f}, a difference of {interval(raw)} over {raw.n_images} images; as a share of "
        f"the room above unrelated maps, it is {standing(scaled.low, scaled.high)}, {interval(scaled)}."
    ]
    survivors = tables.surviving(scores[scores["model"].isin([baseline, most])])
    n_survivors = survivors["image"].nunique()
    where = f"On {n_survivors} of them both models predict rightly before and after the attack"
    if n_survivors < FEW_IMAGES:
        text.append(f"{where}: too few to say whether the reasons stay where the prediction does.")
    elif n_survivors < raw.n_images:
        text.append(
            f"{where}; there the difference is {interval(differences.paired_difference(survivors, baseline, most))}."
        )
    if by_size[fewest] == 1 and fewest != most:
        single = differences.paired_difference(scores, fewest, most)
        alone = differences.paired_difference(scores, baseline, fewest)
        own = {HIGHER: "more", EQUIVALENT: "neither more nor less", LOWER: "less"}.get(
            standing(alone.low, alone.high), "not distinguishably more or less"
        )
        text.append(
            f"A single draw of the posterior is {own} robust than the {baseline} network; from it to {most} the "
            f"difference is {interval(single)}, which is what averaging does to attack, prediction and explanation "
            "together."
        )
    if posterior.record["diagnostics"].get("certificate", NOT_CONVERGED) == NOT_CONVERGED:
        text.append("The chains have not converged, so that the draws may misrepresent the posterior.")
    return " ".join(text)


@sentence
def against_noise(table: pd.DataFrame) -> str:
    """Say which attacks left maps as random corners of the ball did, or better, for each model, at the last layer."""
    if NOISE not in table["attack"].unique():
        return "Noise of the same size is not among these attacks, so how much they do is not known."
    found = differences.beside_noise(tables.last_layer(table))
    found = found[found["standing"].isin([EQUIVALENT, HIGHER])]
    if found.empty:
        return (
            f"No attack is known to leave explanations within {MARGIN:g} of what random corners of the same ball leave."
        )
    weak = [
        f"{model}, {rule}: {join(list(part['attack']))}"
        for (model, rule), part in found.groupby(["model", "rule"], sort=False)
    ]
    return (
        f"*As noise*, within {MARGIN:g} of the score that random corners of the same ball leave, or above it: {'; '.join(weak)}. "
        "Such a score says nothing about the attack's direction: it is what the model does to noise."
    )


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
        told, small = [], []
        for name, cases in rows[rows["method"] == "hmc"].groupby("manifold", sort=False):
            row = cases.sort_values(["training points", "width"]).iloc[-1]
            told.append(
                f"{name} {row[part]:.2f} [{row[f'{part}, low']:.2f}, {row[f'{part}, high']:.2f}], R-hat {row['R-hat']:.2f}"
            )
            # What an interval over four chains cannot tell from nothing has not been shown to be nothing.
            small.append(
                "left" if row[f"{part}, low"] > NOTHING else "sure" if row[f"{part}, high"] < NOTHING else "open"
            )
        words = {"left": PREMISE, "sure": "vanishes", "open": "cannot be told from zero"}
        if len(set(small)) == 1:
            verdict = words[small[0]]
        else:
            manifolds = rows[rows["method"] == "hmc"]["manifold"].unique()
            each = (f"{words[one]} on {name}" for name, one in zip(manifolds, small, strict=True))
            verdict = ", ".join(each)
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


# Step of a ladder -> what it is called in a sentence.
STEP_NAMES = {
    "prior": "the prior (MAP against SGD)",
    "averaging": "averaging (an ensemble of MAP networks against one)",
    "posterior beyond it": "the posterior beyond that (HMC against the ensemble)",
    "all together": "all together (HMC against SGD)",
}


@sentence
def when(ladder: pd.DataFrame, attack: str) -> str:
    """Say of rows of :func:`relevance.studies.carbone.when.ladder` what each step does to k-LRP, and under which priors."""
    shown = ladder[(ladder["attack"] == attack) & (ladder["n_train"] == ladder["n_train"].mode().iloc[0])]
    parts = []
    for step, rows in shown.groupby("step", sort=False):
        standings = [
            f"{word} at {join([f'{scale:g}' for scale in some['prior scale']])}"
            for word, some in rows.groupby("standing", sort=False)
        ]
        means = rows.loc[rows["standing"] != NOT_JUDGED, "mean"]
        spread = " to ".join(dict.fromkeys(map(signed, (means.min(), means.max())))) if len(means) else "no number"
        parts.append(f"\n- **{STEP_NAMES[str(step)]}**: {spread}; {'; '.join(standings)}.")
    return f"k-LRP robustness under {attack}, by the scale of the prior:\n{''.join(parts)}"


# What a step of a ladder is, for who has read nothing yet.
SHORT_NAMES = {
    "prior": "the prior",
    "averaging": "averaging over networks",
    "posterior beyond it": "the rest of the posterior",
}


@sentence
def when_in_short(ladder: pd.DataFrame, attack: str, scale: float) -> str:
    """Say of rows of :func:`relevance.studies.carbone.when.ladder` whether Bayesian explanations are steadier, and by what.

    Args:
        ladder: its rows.
        attack: of the rows that are looked at.
        scale: of the prior.
    """
    n_train = ladder["n_train"].mode().iloc[0]
    rows = ladder[(ladder["attack"] == attack) & (ladder["n_train"] == n_train) & (ladder["prior scale"] == scale)]
    told = {
        word: join([f"{SHORT_NAMES[row['step']]} ({signed(row['mean'])})" for _, row in some.iterrows()])
        for word, some in rows[rows["step"].isin(SHORT_NAMES)].groupby("standing")
    }
    says = {HIGHER: "what steadies them is", EQUIVALENT: "no difference that counts comes from",
            LOWER: "what makes them less steady is", UNDECIDED: "undecided is"}  # fmt: skip
    whole = "; ".join(f"{text} {told[word]}" for word, text in says.items() if word in told)
    if not whole:
        return "No step of the ladder is measured."
    beside = {
        HIGHER: "steadier than",
        EQUIVALENT: "as steady as",
        LOWER: "less steady than",
        UNDECIDED: "not told from",
    }
    lead = "".join(
        f"**Bayesian explanations are {beside[row['standing']]} those of ordinary networks ({signed(row['mean'])}).** "
        for _, row in rows[rows["step"] == "all together"].iterrows() if row["standing"] in beside
    )  # fmt: skip
    prior_alone = rows.loc[rows["step"] == "prior", "standing"].eq(HIGHER).any()
    alone = " A single network can have the prior, too." if prior_alone else ""
    return f"{lead}{whole[0].upper()}{whole[1:]}.{alone}"


@sentence
def transfer(rows: pd.DataFrame) -> str:
    """Say of rows of :func:`relevance.studies.carbone.when.transfer` how far draws that an attack has not seen are better off."""
    found = shortfall(rows).set_index("n_samples")
    told = []
    for count in (found.index.min(), found.index.max()):
        change = Interval(*found.loc[count, ["accuracy", "accuracy, low", "accuracy, high"]])
        told.append(f"through {samples(int(count))} by {difference(change)}")
    return f"Other draws keep more accuracy than those that the attack went through: {join(told)} (95 % intervals over runs)."


NETWORKS = {"fully_connected": "dense", "convolutional": "convolutional", "resnet20": "ResNet-20"}
METHODS = {"hmc": "HMC", "variational": "variational inference"}


@sentence
def study(story: Mapping[str, Any]) -> str:
    """Say what a study stands on, by its story: data, networks, training, attacks, posterior."""
    settings = story["settings"]
    kind = f"{NETWORKS[settings['architecture']]} networks of width {settings['hidden']}"
    n_train = next(iter(story["posteriors"].values()))["n_train"]
    found = story["posteriors"][BAYESIAN].get("diagnostics")
    chain = f"; {certificate(found)}" if found else ""
    training = (
        f"{settings['epochs']} epochs, adversarial training with {settings['adversarial'].get('n_steps', 5)} steps"
    )
    attack = story.get("attack", f"attacks of size {settings['epsilon']:g}")
    return (
        f"Data: {story['data']['source']}. {kind[0].upper()}{kind[1:]}, {n_train:,} training images, {training}; "
        f"{settings['n_images']} test images, balanced over the classes; {attack}; posterior by "
        f"{METHODS[settings['method']]}, {settings['n_draws']} draws{chain}."
    )


def cut(story: Mapping[str, Any]) -> list[str]:
    """Return what of a recorded run is smaller than in the paper, by its story."""
    settings = story["settings"]
    name = settings["dataset"]
    found = []
    n_train, whole = next(iter(story["posteriors"].values()))["n_train"], 50_000 if name == "cifar10" else 60_000
    if n_train < whole:
        found.append(f"{n_train:,} training images of {whole:,}")
    if settings["n_images"] < source.N_IMAGES:
        found.append(f"{settings['n_images']} test images of {source.N_IMAGES}")
    if name in source.HIDDEN and settings["hidden"] < source.HIDDEN[name]:
        found.append(f"width {settings['hidden']} of {source.HIDDEN[name]}")
    epochs = source.epochs(name, settings["architecture"], settings["method"])
    if epochs and settings["epochs"] < epochs:
        found.append(f"{settings['epochs']} epochs of {epochs}")
    if settings["n_draws"] < 100:
        found.append(f"{settings['n_draws']} posterior draws of 100")
    if settings["method"] == "hmc" and settings["inference"].get("warmup", 100) < 100:
        found.append(f"{settings['inference']['warmup']} draws of warm-up of 100")
    trained_at = settings["adversarial"].get("epsilon", settings["epsilon"])
    if trained_at != settings["epsilon"]:
        found.append(f"adversarial training at size {trained_at:g}, attacks at {settings['epsilon']:g}")
    return found
