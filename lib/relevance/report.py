"""Sentences that are computed: the text of a chapter follows its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import torch
from IPython.display import HTML, Markdown
from markdown_it import MarkdownIt
from pandas.io.formats.style import Styler
from torch import Tensor

import relevance
from relevance import checks, experiments, explanations, paper, robustness
from relevance.datasets import Dataset
from relevance.experiments import Outcome
from relevance.explanations import Composite, RootPoints, Rule
from relevance.gallery import RANDOM, Gallery
from relevance.posterior import Posterior
from relevance.robustness import Interval, PairedDifference
from relevance.web import STATIC

FEW_IMAGES = 10
_Table = Styler.from_custom_template(str(STATIC), html_table="table.html")


def sentence(text: str) -> Markdown:
    """Return ``text`` as rendered Markdown, for the last line of a cell."""
    return Markdown(text)


def pasteable(text: Markdown) -> HTML:
    """Return rendered text in the form in which another page can paste it (MyST-NB's ``glue``)."""
    return HTML(MarkdownIt().render(text.data))


def table(rows: pd.DataFrame) -> Styler:
    """Return a table as the book prints it: three decimals, small p-values as powers, heads that say what they head."""

    def decimals(value: float) -> str:
        text = f"{value:.3f}"
        return "0.000" if text == "-0.000" else text

    formats = {name: "{:.1e}" if name == "p_value" else decimals for name in rows.select_dtypes("number")}
    formats |= dict.fromkeys(rows.select_dtypes("integer"), "{:,d}")
    # The class is the one by which the theme knows a table.
    styled = _Table(rows).format(formats, na_rep="").set_table_attributes('class="dataframe"')  # type: ignore[arg-type]
    for level in range(rows.index.nlevels):
        # Settings, not results: as short as they were given.
        if pd.api.types.is_float_dtype(rows.index.get_level_values(level)):
            styled = styled.format_index("{:.4g}", level=level)
    if not rows.index.is_unique:
        return styled
    # Numbers stand under one another; the style sheet sets cells of this class to the right.
    classes = pd.DataFrame("", index=rows.index, columns=rows.columns)
    classes[rows.select_dtypes("number").columns] = "number"
    return styled.set_td_classes(classes)


def provenance(*posteriors: Posterior, evaluated_on: str) -> Markdown:
    """Say what this build's numbers stand on: data, sizes, hardware, date, versions."""
    record = posteriors[-1].record
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    times = [f"{_called(one.record['method'])} {one.record['seconds']:.0f} s" for one in posteriors]
    return sentence(
        f"*This build.* Data: {record['dataset']}. Trained on {record['n_train']:,} images: {join(times)}. Measured on "
        f"{evaluated_on}. {record['date']}, {record['hardware']}; {versions}."
    )


def _called(method: str) -> str:
    """Return what a training method is called in a sentence."""
    return method.upper() if method in {"sgd", "hmc", "swag"} else method.replace("_", " ")


def samples(count: int) -> str:
    """Return '1 sample', '10 samples'."""
    return f"{count} sample" + ("" if count == 1 else "s")


def join(parts: Sequence[str]) -> str:
    """Join ``parts`` with commas and a last 'and'."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def signed(value: float) -> str:
    """Return a number with its sign (a true minus) and three decimals: +0.012, 0.000."""
    text = f"{value:+.3f}"
    return "0.000" if text in {"+0.000", "-0.000"} else text.replace("-", "\N{MINUS SIGN}")


def interval(found: PairedDifference | Interval) -> str:
    """Return a difference with its interval."""
    return f"{signed(found.mean)} (95 % interval {signed(found.low)} to {signed(found.high)})"


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
    """Say how the rows of :func:`fidelity` differ."""
    parts = [
        f"with the stabiliser {name} the map of the median image adds up to {row['sum of map / logit']:.0%} of the logit "
        f"and correlates {row['correlation with gradient x input']:.3f} with gradient times input"
        for name, row in fidelity_rows.iloc[[0, -1] if len(fidelity_rows) > 1 else [0]].iterrows()
    ]
    return "; ".join(parts)[0].upper() + "; ".join(parts)[1:] + "."


def conservation(
    posterior: Posterior, images: Tensor, target: Tensor, rules: Mapping[str, Rule | Composite]
) -> pd.DataFrame:
    """Follow the relevance of all images through the network: what arrives at the pixels, and what each layer kept.

    Returns:
        A row for each rule, in shares of all the relevance that was handed in: they add up to 1, except where rules that
        do not look at activations send relevance to nothing.
    """
    handed_in = posterior.logits(images).mean(0).gather(1, target[:, None]).sum().item()
    rows = {}
    for name, rule in rules.items():
        maps = explanations.lrp(posterior, images, target, rule=rule)
        kept = explanations.kept_by_layer(posterior, images, target, rule=rule)
        rows[name] = {"arrives at the pixels": maps.sum().item() / handed_in} | {
            f"kept by layer {layer}": part.sum().item() / handed_in for layer, part in kept.items()
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("rule")


def conservation_extremes(rows: pd.DataFrame) -> str:
    """Say which rule of :func:`conservation` hands the most faithfully on, and which the least."""
    lost = (rows["arrives at the pixels"] - 1).abs().sort_values(kind="stable")
    nearest, farthest = lost.index[0], lost.index[-1]
    arrives = rows["arrives at the pixels"]
    return (
        f"Nearest to conserving is {nearest}, with {arrives[nearest]:.1%} of the relevance at the pixels; farthest from it "
        f"is {farthest}, with {arrives[farthest]:.1%}."
    )


def agreement(maps: Mapping[str, Tensor], reference: str, top_percent: float) -> pd.DataFrame:
    """Compare maps of the same images with one of them, by the pixels on top.

    Args:
        maps: method -> maps [N, C, H, W].
        reference: the method that the others are compared with.
        top_percent: how many pixels are on top, in percent.

    Returns:
        A row for each other method: mean overlap of the top pixels with the reference's, the overlap of maps of
        different images, which is what unrelated maps would get, and the share of relevance that is negative.
    """
    checks.one_of("reference", reference, maps)
    rows = {
        name: {
            "overlap": robustness.lrp_robustness(maps[reference], found, top_percent).mean().item(),
            "overlap of unrelated maps": robustness.unrelated_robustness(maps[reference], found, top_percent)
            .mean()
            .item(),
            "negative share": (found.clamp(max=0).abs().sum() / found.abs().sum()).item(),
        }
        for name, found in maps.items()
        if name != reference
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("method")


def agreement_extremes(rows: pd.DataFrame, reference: str, top_percent: float) -> str:
    """Say which method of :func:`agreement` shares the most top pixels with the reference, and which the fewest."""
    by_overlap = rows["overlap"].sort_values(kind="stable")
    fewest, most = by_overlap.index[0], by_overlap.index[-1]
    return (
        f"Of the top {top_percent:g} % of the pixels, the maps share with {reference} from {by_overlap[fewest]:.0%} "
        f"({fewest}) to {by_overlap[most]:.0%} ({most})."
    )


def roots(found: RootPoints) -> str:
    """Say how far the search for root points came."""
    n_images, n_found = len(found.converged), int(found.converged.sum())
    if not n_found:
        return (
            f"The search found a root point for **none** of {n_images} images: the maps are those of its last points."
        )
    distance = found.distances[found.converged].median().item()
    rest = "" if n_found == n_images else " The others have the map of the best point that was met."
    return (
        f"The search found a root point for {n_found} of {n_images} images, at a median distance of {distance:.2f} "
        f"(Euclidean, in units of the pixel range).{rest}"
    )


def library_differences(recorded: pd.DataFrame) -> Styler:
    """Return the recorded comparison with other libraries, in words where there is no number."""

    def in_words(value: float) -> str:
        return "" if pd.isna(value) else "equal" if value == 0 else f"{value:.3g}"

    values = recorded.assign(value=recorded["value"].map(lambda value: in_words(value) or "refused"))
    wide = values.pivot(index="compared", columns="library", values="value")[["zennit", "captum"]]
    wide["this book"] = recorded.groupby("compared")["ours"].first().map(in_words)
    return table(wide.reindex(recorded["compared"].unique()).fillna("").rename_axis(columns=None))


def mean_field(moments: pd.DataFrame) -> str:
    """Say how variational inference's line differs from the exact one, of :meth:`relevance.toy.Line.compare`."""
    exact, found = (moments.loc[name].to_dict() for name in ("exact", "VI"))
    narrower = found["sd slope"] / exact["sd slope"]
    expected = (1 - exact["correlation"] ** 2) ** 0.5
    return (
        f"Exactly, slope and intercept have a correlation of {signed(exact['correlation'])}; variational inference has "
        f"{signed(found['correlation'])}, and a standard deviation of the slope of {narrower:.0%} of the exact one. In theory "
        f"it is the square root of 1 minus the squared correlation, {expected:.0%}."
    )


def evidence_extremes(rows: pd.DataFrame, reference: str) -> str:
    """Say what a table of :func:`relevance.evidence.table` shows: best likelihood, best calibration, nearest to another."""
    others = rows.drop(index=reference)
    best, calibrated = rows["NLL"].idxmin(), rows["ECE"].idxmin()
    nearest, farthest = others["total variation"].idxmin(), others["total variation"].idxmax()
    saturated = rows["saturated"]
    blind = (
        "No posterior is saturated on any image."
        if saturated.max() == 0
        else f"The most saturated is {saturated.idxmax()}, on {saturated.max():.1%} of the images."
    )
    return (
        f"The lowest NLL is that of {best} ({rows['NLL'].min():.3f}), the lowest calibration error that of {calibrated} "
        f"({rows['ECE'].min():.3f}). Nearest to {reference} in total variation is {nearest} "
        f"({others['total variation'].min():.3f}), farthest {farthest} ({others['total variation'].max():.3f}). {blind}"
    )


def saturation(recorded: pd.DataFrame) -> Markdown:
    """Say which recorded posteriors leave an attack no gradient, and on how many images; and when it was recorded."""
    most = recorded.sort_values("saturated").iloc[-1].to_dict()
    if most["saturated"] == 0:
        found = "None of them is saturated on any test image."
    else:
        found = (
            f"{most['posterior']} is saturated on {most['saturated']:.0%} of the test images: on these an attack along its "
            "gradient starts with nothing, or with rounding."
        )
    return sentence(
        f"{found} {_recorded_chains(recorded)} *Recorded* {recorded['date'].max()}, {recorded['hardware'].iloc[0]}."
    )


def _recorded_chains(recorded: pd.DataFrame) -> str:
    """Say of each recorded HMC run whether it converged."""
    chains = recorded[recorded["posterior"].str.startswith("hmc")]
    if chains.empty:
        return "HMC has **not** been run to the end at this size."
    parts = [
        f"prior scale {row['prior scale']:g}: {row['samples']} draws after {row['warmup']:.0f} of warm-up, R-hat "
        f"{row['R-hat']:.2f}, effective sample size {row['ESS']:.0f}, which "
        + ("passes" if str(row["converged"]) == "True" else "does **not** pass")
        for row in chains.to_dict("records")
    ]
    failed = any("**not**" in part for part in parts)
    return f"HMC, by the check below - {'; '.join(parts)}." + (
        " Draws of a run that does not pass are networks on the way from the SGD solution that it started from; they "
        "are not known to be a sample of the posterior."
        if failed
        else ""
    )


def recorded_on(rows: pd.DataFrame) -> Markdown:
    """Say when and on what a recorded table was measured."""
    versions = ", ".join(f"{name} {rows[name].iloc[0]}" for name in ("torch", "pyro") if name in rows)
    return sentence(f"*Recorded* {rows['date'].iloc[0]}, {rows['hardware'].iloc[0]}; {versions}.")


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


def attacks_on_explanations(galleries: Mapping[str, Gallery]) -> str:
    """Say which attack left the least of the most relevant pixels for each model, and whether noise did as much."""
    parts = []
    for name, found in galleries.items():
        overlap = found.table()["overlap"].sort_values(kind="stable")
        weak = [str(attack) for attack, left in overlap.items() if attack != RANDOM and left >= overlap[RANDOM]]
        parts.append(
            f"{name}: least is left by {overlap.index[0]} ({overlap.iloc[0]:.0%}), by random corners {overlap[RANDOM]:.0%}"
            + (f"; no less than by these is left by {join(weak)}, which says nothing for the network" if weak else "")
        )
    percent = next(iter(galleries.values())).top_percent
    lines = "".join(f"\n- {part}." for part in parts)
    return f"Of the top {percent:g} % of the pixels, on average:\n{lines}"


def by_attack(found: pd.DataFrame, baseline: str, other: str) -> str:
    """Say under which attacks of :func:`relevance.gallery.differences` one model keeps more than another."""
    names = {way: [str(name) for name, row in found.iterrows() if row["direction"] == way] for way in (1, -1, 0)}
    parts = [
        f"{what} under {join(names[way])}"
        for way, what in ((1, "more"), (-1, "less"), (0, "not distinguishably more or less"))
        if names[way]
    ]
    return f"Over the same {int(found['n_images'].min())} images, {other} keeps, compared with {baseline}, {'; '.join(parts)}."


def evaluation(tables: Mapping[str, pd.DataFrame], found: Mapping[str, list[str]]) -> str:
    """Say what is left of each model's accuracy in the worst case, and what speaks against believing it.

    Args:
        tables: model -> rows of :func:`relevance.attacks.evaluate`.
        found: model -> sentences of :func:`relevance.attacks.concerns`.
    """
    left = [
        f"{name} from {rows['accuracy'].iloc[0]:.1%} to {rows['accuracy'].iloc[-1]:.1%}"
        for name, rows in tables.items()
    ]
    doubts = [
        f"\n- **{name}**: {' '.join(sentences) or 'no reason for doubt was found.'}"
        for name, sentences in found.items()
    ]
    return f"Accuracy without an attack and in the worst case of all attacks: {join(left)}. The checks say:\n{''.join(doubts)}"


def side_by_side(tables: Mapping[str, pd.DataFrame], column: str) -> pd.DataFrame:
    """Return one column of several tables with the same kind of rows, a column for each table."""
    order = max(tables.values(), key=len).index
    return pd.DataFrame({name: rows[column].reindex(order) for name, rows in tables.items()})


def recorded_evaluation(recorded: pd.DataFrame) -> Markdown:
    """Say what the checks found in recorded rows of :func:`relevance.attacks.evaluate`, and how they were recorded."""
    first = recorded.groupby("posterior", sort=False).first()
    unconverged = [str(name) for name, row in first.iterrows() if row["converged"] == "no"]
    warned = f" The chains of {join(unconverged)} have **not** converged." if unconverged else ""
    doubts = "".join(
        f"\n- **{name!s}** ({samples(int(row['samples']))}): {row['concerns'] if pd.notna(row['concerns']) else 'no doubt.'}"
        for name, row in first.iterrows()
    )
    return sentence(
        f"What the checks say:\n{doubts}\n\n{warned} *Recorded* {first['date'].max()}, {first['hardware'].iloc[0]}: "
        f"{int(first['images'].iloc[0])} test images, size of the ball {first['epsilon'].iloc[0]:g}; "
        f"PGD with {first['PGD steps'].iloc[0]:.0f} steps from one random start, {first['queries'].iloc[0]:.0f} squares; "
        f"{first['total seconds'].sum() / 60:.0f} minutes together; {first['versions'].iloc[0]}."
    )


def common_settings() -> Markdown:
    """Say what all figures of the paper have in common, from :mod:`relevance.paper`."""
    top, beta = paper.TOP_K, paper.TARGET_MAP
    return sentence(
        f"*This build.* The {len(paper.FIGURES)} panels share {paper.N_IMAGES} test images, balanced over the classes, attacks "
        f"of size {paper.EPSILON:g} in the maximum norm, and the rules {join([repr(rule) for rule in paper.RULES.values()])}. "
        f"Top-k and target region: {top['n_steps']} steps of {top['step_size']:g} (cut to the size of the attack here) on the "
        f"top {top['top_percent']:g} %. Target map: {beta['n_steps']} steps of {beta['step_size']:g}, weight of the outputs "
        f"{beta['output_weight']:g}. relevance {relevance.__version__}, torch {torch.__version__}."
    )


def convergence(posterior: Posterior) -> str:
    """Say what is known of how well the chains behind ``posterior`` have converged."""
    found, settings = posterior.record["diagnostics"], posterior.record["settings"]
    one = settings["n_chains"] == 1
    steps = join([f"{step:.2g}" for step in found["step_sizes"]])
    text = (
        f"{found['n_samples']} draws of {'one chain' if one else str(settings['n_chains']) + ' chains'}, after "
        f"{settings['warmup']} draws of warm-up{'' if one else ' each'}; {found['acceptance_rate']:.0%} of the proposals "
        f"accepted, leapfrog step {steps}. "
    )
    if found["rhat_max"] is None:
        return f"{text}The draws are too few, or moved too little, to check convergence: it is **not shown**."
    verdict = "passes" if found["converged"] else "does **not** pass"
    return (
        f"{text}R-hat: median {found['rhat_median']:.2f}, 95 % quantile {found['rhat_95']:.3f}, maximum "
        f"{found['rhat_max']:.2f}. Effective sample size: median "
        f"{found['ess_median']:.0f}, minimum {found['ess_min']:.0f}. The {'chain' if one else 'run'} {verdict} this "
        "book's check."
    )


def comparison(differences: pd.DataFrame, baseline: str, score: str) -> str:
    """Say, for every row of :func:`relevance.experiments.paired_differences`, which model has the higher score.

    A difference counts as one only if its 95 % interval leaves out zero.
    """
    verbs = {1: "higher", -1: "lower", 0: "not distinguishable"}
    parts = []
    for name, row in differences.iterrows():
        found = PairedDifference(*(row[part] for part in PairedDifference._fields))
        parts.append(f"{verbs[found.direction]} with {name}, by {interval(found)}")
    n_images = int(differences["n_images"].iloc[0])
    return f"Compared with {baseline} over the same {n_images} images, the mean {score} is {join(parts)}."


def answer(scores: pd.DataFrame, data: Dataset, posterior: Posterior, settings: experiments.Settings) -> Markdown:
    """Answer the book's question from one experiment: only what its table says, with its limits.

    The verdict is that of the model with the most samples against the first model, and it stands only if the score and
    its scaled form (:func:`relevance.robustness.scaled_difference`) agree.
    """
    by_size = scores.groupby("model", sort=False)["n_samples"].first()
    baseline, fewest, most = map(str, (by_size.index[0], by_size.iloc[1:].idxmin(), by_size.iloc[1:].idxmax()))
    means = scores.groupby("model")["lrp_robustness"].mean()
    raw = experiments.paired_difference(scores, baseline, most)
    scaled = experiments.scaled_difference(scores, baseline, most)
    verdicts = {
        1: f"is **more robust** than that of the {baseline} network",
        -1: f"is **less robust** than that of the {baseline} network",
        0: f"**cannot be told apart** in robustness from that of the {baseline} network",
    }
    verdict = verdicts[raw.direction]
    if raw.direction != scaled.direction:
        how = (
            "in opposite directions by two scores" if raw.direction * scaled.direction else "by only one of two scores"
        )
        verdict = f"differs in robustness from that of the {baseline} network **{how}**"
    text = [
        f"On {data.name}, under a one-step attack of size {settings.epsilon:g} on the prediction, the explanation averaged "
        f"over {most} of the posterior {verdict}: the mean LRP robustness is {means[most]:.3f} against "
        f"{means[baseline]:.3f}, a difference of {interval(raw)} over {raw.n_images} images; as a share of "
        f"the room above unrelated maps, it is {interval(scaled)}."
    ]
    survivors = experiments.surviving(scores[scores["model"].isin([baseline, most])])
    n_survivors = survivors["image"].nunique()
    where = f"On {n_survivors} of them both models predict rightly before and after the attack"
    if n_survivors < FEW_IMAGES:
        text.append(f"{where}: too few to say whether the reasons stay where the prediction does.")
    elif n_survivors < raw.n_images:
        text.append(
            f"{where}; there the difference is {interval(experiments.paired_difference(survivors, baseline, most))}."
        )
    if by_size[fewest] == 1 and fewest != most:
        single = experiments.paired_difference(scores, fewest, most)
        own = {1: "more", -1: "less", 0: "not distinguishably more or less"}[
            experiments.paired_difference(scores, baseline, fewest).direction
        ]
        text.append(
            f"A single draw of the posterior is {own} robust than the {baseline} network; from it to {most} the "
            f"difference is {interval(single)}, which is what averaging does to attack, prediction and explanation "
            "together."
        )
    if not posterior.record["diagnostics"]["converged"]:
        text.append("The draws have not passed this book's convergence check, so they may misrepresent the posterior.")
    return sentence(" ".join(text))
