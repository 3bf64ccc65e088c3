"""What the tables of the main source say, in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from relevance.attacks.named import NOISE
from relevance.inference.certificate import NOT_CONVERGED
from relevance.metrics.statistics import EQUIVALENT, HIGHER, LOWER, MARGIN, UNDECIDED, standing
from relevance.networks.posterior import Posterior
from relevance.studies import differences
from relevance.studies.carbone import when
from relevance.studies.names import BAYESIAN, INFERENCE
from relevance.studies.phrases import certificate, interval, join, sentence, signed
from relevance.studies.verdicts import NOT_JUDGED

# What explanations are beside others, by the standing of a difference; what maps do beside predictions, by that of rho.
BESIDE = {
    HIGHER: "steadier than",
    EQUIVALENT: "as steady as",
    LOWER: "less steady than",
    UNDECIDED: "not to be told from",
}
LINKED = {HIGHER: "hold better where predictions do", EQUIVALENT: "show no link that counts to predictions",
          LOWER: "hold worse where predictions do", UNDECIDED: "show a link that cannot be told from none"}  # fmt: skip


@sentence
def steadiness(settings: pd.DataFrame, beside: str, of: str = "Bayesian explanations are") -> str:
    """Say how explanations stand beside others in most of the judged settings of a verdict, and in the others."""
    judged = settings[settings["standing"] != NOT_JUDGED]
    if judged.empty:
        reasons = join(list(settings["reason"].unique())) if len(settings) else "there is nothing to compare"
        return f"Whether {of} {BESIDE[HIGHER]} {beside} cannot be judged here: {reasons}."
    counted = judged["standing"].value_counts().items()  # of two that are as many, what is decided comes first
    (most, count), *others = sorted(counted, key=lambda one: (-one[1], one[0] == UNDECIDED))
    if others:
        also = [f"{BESIDE[str(word)]} them in {n}" for word, n in others]
        told = f"and {also[0]}" if len(also) == 1 else join(also)
        return f"{of} {BESIDE[str(most)]} {beside} in {count} of {len(judged)} settings, {told}."
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
    told = []
    for word, text in SAYS.items():
        steps = [step for step in STEPS if rows["standing"].get(step) == word]
        if who := [f"{STEPS[step]} ({signed(rows['mean'][step])})" for step in steps]:
            told.append(f"{text} {' or '.join(who) if word == EQUIVALENT else join(who)}")
    if not told:
        return "No step of the ladder can be judged."
    (word, by), (shaken, by_noise) = (
        one.reindex(["all together"])[["standing", "mean"]].iloc[0] for one in (rows, noise)
    )
    also = f"; {signed(by_noise)} under mere noise of that size" if shaken in BESIDE else ""
    beside = BESIDE.get(word, "")
    lead = f"**Bayesian explanations are {beside} those of ordinary networks ({signed(by)} under {attack}{also}).** "
    if word == shaken in (HIGHER, LOWER):
        how = "and not under attack in particular"
        if abs(by - by_noise) > MARGIN:
            how = f"and {'more' if abs(by) > abs(by_noise) else 'less'} so under attack"
        lead += f"So they are {beside.removesuffix(' than')} under any change, {how}. "
    alone = " A single network can have the prior, too." if rows["standing"].get("prior") == HIGHER else ""
    if rows["standing"].get("posterior beyond it") == NOT_JUDGED:
        alone += " The posterior's own step is not judged."
    scaled = [
        f"{STEPS[step]} ({signed(rows['scaled'][step])}) counts"
        for step in STEPS
        if rows["standing"].get(step) == EQUIVALENT and rows["scaled standing"][step] == HIGHER
    ]
    room = f" As a share of the room that unrelated maps leave, {join(scaled)}." if scaled else ""
    return f"{lead if beside else ''}{told[0][0].upper()}{'; '.join(told)[1:]}.{alone}{room}"


@sentence
def carried(moved: pd.DataFrame) -> str:
    """Say whether an attack through the most draws meets other draws as it does its own: of :func:`when.transfer`."""
    row = when.shortfall(moved).iloc[-1]
    says = {
        HIGHER: "not yet as well",
        EQUIVALENT: "as well",
        LOWER: "better",
        UNDECIDED: "as well or not, which cannot be told,",
    }
    told = [
        f"{says[standing(row[f'{name}, low'], row[f'{name}, high'])]} in {what} ({signed(row[name])})"
        for name, what in (("k-LRP", "their maps"), ("accuracy", "their predictions"))
    ]
    return f"An attack through {int(row['n_samples']):,} draws meets other draws {join(told)} as those that it went through."


NETWORKS = {"fully_connected": "dense", "convolutional": "convolutional", "resnet20": "ResNet-20"}


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
        f"{attack}; posterior by {INFERENCE[settings['method']]}, {settings['n_draws']} draws"
        f"{f'; {certificate(found)}' if found else ''}."
    )
