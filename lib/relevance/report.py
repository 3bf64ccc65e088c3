"""Sentences that are computed: the text of a chapter follows its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import torch
from IPython.display import HTML, Markdown
from markdown_it import MarkdownIt
from pandas.io.formats.style import Styler
from torch import Tensor

from relevance import explanations
from relevance.datasets import Dataset
from relevance.experiments import Outcome
from relevance.explanations import Rule
from relevance.posterior import Posterior


def sentence(text: str) -> Markdown:
    """Return ``text`` as rendered Markdown, for the last line of a cell."""
    return Markdown(text)


def pasteable(text: Markdown) -> HTML:
    """Return rendered text in the form in which another page can paste it (MyST-NB's ``glue``)."""
    return HTML(MarkdownIt().render(text.data))


def table(rows: pd.DataFrame) -> Styler:
    """Return a table as the book prints it: three decimals, small p-values as powers, no random identifiers."""
    formats = {name: "{:.1e}" if name == "p_value" else "{:.3f}" for name in rows.select_dtypes("number")}
    # The class is the one by which the theme knows a table.
    styled = rows.style.format(formats).set_uuid("table").set_table_attributes('class="dataframe"')  # type: ignore[arg-type]
    return styled


def provenance(posterior: Posterior, evaluated_on: str) -> Markdown:
    """Say what this build's numbers stand on: data, sizes, hardware, date, versions."""
    record = posterior.record
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    return sentence(
        f"*This build.* Data: {record['dataset']}. Trained on {record['n_train']:,} images in "
        f"{record['seconds']:.0f} s; {evaluated_on}. {record['date']}, {record['hardware']}; {versions}."
    )


def samples(count: int) -> str:
    """Return '1 sample', '10 samples'."""
    return f"{count} sample" + ("" if count == 1 else "s")


def fidelity(posterior: Posterior, images: Tensor, target: Tensor, rules: Mapping[str, Rule]) -> pd.DataFrame:
    """Compare the maps of several rules with the logit that they distribute and with gradient times input.

    Returns:
        A row for each rule: the median over the images of the sum of the map divided by the logit, the share of images
        where this ratio is within 10 % of 1, and the mean Pearson correlation with gradient times input.
    """
    reference = explanations.gradient_x_input(posterior, images, target).flatten(1).double()
    logits = posterior.logits(images).mean(0).gather(1, target[:, None]).squeeze(1)
    rows = {}
    for name, rule in rules.items():
        maps = explanations.lrp(posterior, images, target, rule=rule).flatten(1).double()
        ratio = maps.sum(1) / logits
        pairs = torch.stack([maps, reference])
        centred = pairs - pairs.mean(-1, keepdim=True)
        correlation = (centred[0] * centred[1]).sum(-1) / centred.norm(dim=-1).prod(0)
        rows[name] = {
            "sum of map / logit": ratio.median().item(),
            "images within 10 %": ((ratio - 1).abs() < 0.1).double().mean().item(),
            "correlation with gradient x input": correlation.mean().item(),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("stabiliser")


def trend(fidelity_rows: pd.DataFrame) -> str:
    """Say how :func:`fidelity` changes from the first rule to the last."""
    first, last = fidelity_rows.iloc[0], fidelity_rows.iloc[-1]
    kept, alike = "sum of map / logit", "correlation with gradient x input"
    return (
        f"With the stabiliser {fidelity_rows.index[0]} the map of the median image adds up to {first[kept]:.0%} of "
        f"the logit, with {fidelity_rows.index[-1]} to {last[kept]:.0%}. The correlation with gradient times input "
        f"goes from {first[alike]:.3f} to {last[alike]:.3f}."
    )


def failed_attacks(outcomes: Mapping[str, Outcome], shown: int) -> str:
    """Say on how many images the attack failed on every model, and how the one that is shown was chosen."""
    failed = torch.stack([outcome.failed for outcome in outcomes.values()]).all(0)
    n_failed = int(failed.sum())
    text = f"Of {len(failed)} images, {n_failed} are still classified rightly by every model after its attack. "
    if not n_failed:
        return (
            f"{text}So **no failed attack can be shown**; the figure has image {shown}, whose scores are nearest to "
            "the median of all, under attacks of which at least one succeeded. A smaller attack leaves more to see."
        )
    return (
        f"{text}The figures show image {shown}: of these, it is the one whose scores are nearest to their median, so "
        "that it is a usual one and nobody picked it."
    )


def attack_strength(scores: pd.DataFrame) -> str:
    """Say what the attack did to the predictions of each model of a robustness table, and whether it could work."""
    parts = []
    for name, rows in scores.groupby("model", sort=False):
        right = rows["clean_class"] == rows["label"]
        still = rows["attacked_class"] == rows["label"]
        parts.append(f"{name} from {right.mean():.0%} to {still.mean():.0%}")
    blind = scores["gradient_is_zero"].mean()
    seen = (
        "No gradient was exactly zero, so no attack failed for want of a direction."
        if blind == 0
        else f"{blind:.1%} of the gradients were exactly zero: there the attack had no direction, and its failure is "
        "no robustness."
    )
    return f"Accuracy without and with the attack: {enumerate_words(parts)}. {seen}"


def answer(scores: pd.DataFrame, differences: pd.DataFrame, data: Dataset, posterior: Posterior) -> Markdown:
    """Answer the book's question from one experiment: only what its tables say, with its limits."""
    means = scores.groupby("model", sort=False)["lrp_robustness"].mean()
    baseline = means.index[0]
    verdicts = {
        1: "is **more robust** than that of the deterministic network",
        -1: "is **less robust** than that of the deterministic network",
        0: "**cannot be told apart** from that of the deterministic network in robustness",
    }
    most = differences.index[-1]
    text = (
        f"On {data.name}, under a one-step attack on the prediction, the explanation averaged over {most} of the "
        f"posterior {verdicts[int(differences['direction'].iloc[-1])]}: the mean LRP robustness is {means[most]:.2f} "
        f"against {means[baseline]:.2f}. {comparison(differences, f'the {baseline} network', 'LRP robustness')}"
    )
    first = differences.iloc[0]
    if differences.index[0] == samples(1) and first["direction"] < 0:
        text += (
            " A single sample is **less** robust than the deterministic network: what lies between it and "
            f"{most} is the work of averaging."
        )
    if not posterior.record["diagnostics"]["converged"]:
        text += " The chain has not converged by the rule of this book, so the samples only approximate the posterior."
    return sentence(text)


def comparison(differences: pd.DataFrame, baseline: str, score: str) -> str:
    """Say, for every row of :func:`relevance.experiments.paired_differences`, which model has the higher score.

    A difference counts as one only if its 95 % interval leaves out zero.
    """
    parts = []
    for name, row in differences.iterrows():
        verb = {1: "is higher", -1: "is lower", 0: "cannot be told from it"}[int(row["direction"])]
        mean, low, high = (f"{row[part]:+.3f}".replace("-", "\N{MINUS SIGN}") for part in ("mean", "low", "high"))
        parts.append(f"with {name} it {verb} ({mean}, 95 % interval {low} to {high})")
    n_images = int(differences["n_images"].iloc[0])
    return f"Against the {score} of {baseline}, over the same {n_images} images: {enumerate_words(parts)}."


def convergence(posterior: Posterior) -> str:
    """Say what is known of how well the chains behind ``posterior`` have converged."""
    found = posterior.record["diagnostics"]
    settings = posterior.record["settings"]
    chains = "one chain" if settings["n_chains"] == 1 else f"{settings['n_chains']} chains"
    text = (
        f"{found['n_samples']} draws of {chains} after {settings['warmup']} draws of warm-up, "
        f"{found['acceptance_rate']:.0%} accepted, leapfrog step {found['step_sizes'][0]:.2g}"
    )
    if found["rhat_max"] is None:
        return f"{text}. They are too few, or moved too little, to measure convergence: it is **not shown**."
    verdict = "has converged" if found["converged"] else "has **not** converged"
    return (
        f"{text}; on the log-probabilities of test images R-hat has the median {found['rhat_median']:.2f} and the "
        f"maximum {found['rhat_max']:.2f}, the effective sample size the median {found['ess_median']:.0f} and the "
        f"minimum {found['ess_min']:.0f}. By the rule that R-hat is below 1.05 on 95 % of the images, it {verdict}."
    )


def enumerate_words(parts: Sequence[str]) -> str:
    """Join ``parts`` with commas and a last 'and'."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
