"""What is said of a study and of a recorded run: where its numbers come from, and what was cut."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import pandas as pd
from IPython.display import Markdown
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from relevance import (
    checks,
    claims,
    comparisons,
    figures,
    geometry,
    joint,
    paper,
    records,
    removal,
    report,
    resistance,
    smoothing,
)
from relevance.measure import NOISE
from relevance.studies import ADVERSARIAL, BAYESIAN, DETERMINISTIC, Study

NETWORKS = {"fully_connected": "dense", "convolutional": "convolutional", "resnet20": "ResNet-20"}
METHODS = {"hmc": "HMC", "variational": "variational inference"}


def fresh(study: Study, **also: Any) -> Markdown:
    """Say what this build's study stands on; ``also`` as for :func:`relevance.records.keep`."""
    story = records.story(study, **also)
    return report.sentence(f"*This build.* {_told(story)} {_made(story)}")


class Recorded:
    """A recorded table and what is shown of it; a sentence in place of everything where it is not recorded.

    Args:
        run: a name in ``book/runs.yml``.
        experiment: name of the table.
        read: from the table to what the functions below take; the table as it is if None.
    """

    def __init__(self, run: str, experiment: str, read: Callable[[pd.DataFrame], Any] | None = None) -> None:
        self.run, self.experiment = run, experiment
        table = records.read_run(run, experiment) if run in records.runs(experiment) else None
        self.table: Any = table if table is None or read is None else read(table)

    def _shown(self, show: Callable[[Any], Any]) -> Any:
        if self.table is None:
            return report.sentence(f"{self.run} is not recorded; `make record RUNS={self.run}` records it.")
        return show(self.table)

    def drawn(self, draw: Callable[..., Figure], *arguments: Any) -> Any:
        """Draw the table by a function that draws a build's own."""
        return self._shown(lambda table: draw(table, *arguments))

    def tabled(self, summarise: Callable[..., pd.DataFrame], *arguments: Any) -> Any:
        """Show what a function makes of the table as it does of a build's own."""
        return self._shown(lambda table: report.table(summarise(table, *arguments)))

    def said(self, tell: Callable[..., str], *arguments: Any) -> Markdown:
        """Say what a function says of the table as it does of a build's own."""
        return cast(Markdown, self._shown(lambda table: report.sentence(tell(table, *arguments))))

    def stands_on(self) -> Markdown:
        """Say what the table stands on: the settings that it was kept with, and where and when it was made."""
        return cast(Markdown, self._shown(lambda _: report.sentence(self._stands_on())))

    def _stands_on(self) -> str:
        story = records.provenance(self.run, self.experiment)
        sizes = ", ".join(f"{name} {value}" for name, value in story["settings"].items())
        return f"*Recorded* ({self.run}): {sizes}. {_made(story)}"

    def story(self) -> Markdown:
        """Say what the table stands on, and what is smaller than in the paper."""

        def told(table: pd.DataFrame) -> Markdown:
            story = records.provenance(self.run, self.experiment)
            smaller_than = cut(story)
            smaller = (
                f" **Cut**, compared with the paper: {report.join(smaller_than)}."
                if smaller_than
                else " At the paper's size."
            )
            return report.sentence(f"*Recorded* ({self.run}). {_told(story)}{smaller} {_made(story)}")

        return cast(Markdown, self._shown(told))

    def grid(self, rows: str, columns: str, *, asterisks: bool = False, **chosen: str) -> Any:
        """Draw :func:`grid` of the table."""
        return self._shown(lambda table: grid(table, rows, columns, asterisks=asterisks, **chosen))

    def scatter(self, **chosen: str) -> Any:
        """Draw :func:`relevance.figures.lrp_against_softmax` of the rows that have the chosen values."""
        return self._shown(lambda table: scatter(table, **chosen))

    def verdicts(self, *names: str) -> Any:
        """Return :func:`verdicts` on the table."""
        return self._shown(lambda table: verdicts(table, *names))

    def accuracies(self) -> Any:
        """Return :func:`accuracies` of the table."""
        return self._shown(accuracies)

    def correlations(self, **chosen: str) -> Any:
        """Return :func:`correlations` of the rows that have the chosen values."""
        return self._shown(lambda table: correlations(only(table, **chosen)))

    def means(self) -> Any:
        """Return :func:`means` of the table."""
        return self._shown(means)

    def against_noise(self) -> Any:
        """Return :func:`against_noise` of the table."""
        return self._shown(against_noise)

    def resistance(self) -> Any:
        """Draw :func:`relevance.figures.resistance` of a recorded table of :mod:`relevance.manipulation`."""
        return self._shown(lambda table: figures.resistance(resistance.summary(table)))

    def resisting(self, *others: str) -> Any:
        """Return :func:`resisting` of the table."""
        return self._shown(lambda table: resisting(table, *others))

    def smoothing(self) -> Any:
        """Draw :func:`relevance.figures.smoothing` of a recorded table of :mod:`relevance.smoothing`."""
        return self._shown(lambda table: figures.smoothing(resistance.smoothed(table), smoothing.NAMES))

    def helps(self) -> Any:
        """Say which defences help, by a recorded table of :mod:`relevance.smoothing`."""
        return self._shown(lambda table: report.sentence(resistance.helps(resistance.defended(table))))

    def manipulated(self) -> Any:
        """Return :func:`manipulated` of the table."""
        return self._shown(manipulated)

    def survival(self, parts: Sequence[str]) -> Any:
        """Draw :func:`relevance.figures.survival` of a recorded sweep of :mod:`relevance.geometry`."""
        return self._shown(lambda table: figures.survival(table, parts))

    def joint(self) -> Any:
        """Return :func:`relevance.joint.shown` of a recorded table."""
        return self._shown(lambda table: report.table(joint.shown(table.set_index("model"))))

    def joint_told(self) -> Any:
        """Say what a recorded joint table shows, and what it stands on."""

        def told(table: pd.DataFrame) -> Markdown:
            rows = table.set_index("model")
            return report.sentence(f"{joint.faithful(rows)} {joint.told(rows)}\n\n{self._stands_on()}")

        return self._shown(told)

    def removal(self) -> Any:
        """Return :func:`relevance.removal.table_1` of a recorded table of ROAR."""
        return self._shown(lambda table: report.table(removal.table_1(table)))

    def removal_curves(self, names: Sequence[str] | None = None, chance: float = 0.1) -> Any:
        """Draw :func:`relevance.figures.removal_curves` of some attributions, or all, of a recorded table of ROAR."""

        def drawn(table: pd.DataFrame) -> Figure:
            part = table if names is None else table[table["attribution"].isin(names)]
            return figures.removal_curves(removal.accuracies(part), chance)

        return self._shown(drawn)

    def removal_told(self) -> Any:
        """Say which maps of a recorded table of ROAR know more than a random order or edges, and what it stands on."""
        return self._shown(lambda table: report.sentence(f"{removal.told(table)}\n\n{self._stands_on()}"))

    def theorem(self) -> Markdown:
        """Say what a recorded sweep of :mod:`relevance.geometry` shows of Theorem IV.1, and what it stands on."""

        def told(table: pd.DataFrame) -> Markdown:
            story = records.provenance(self.run, self.experiment)
            lines = "".join(f"\n- **{part}** {verdict}." for part, verdict in geometry.theorem(table).items())
            sizes = story["settings"]
            return report.sentence(
                f"The largest HMC case, {sizes['n_trains'][-1]} points and width {sizes['widths'][-1]}, {sizes['n_samples']} "
                f"draws:\n{lines}\n\n*Recorded* ({self.run}). {_made(story)}"
            )

        return cast(Markdown, self._shown(told))


def only(table: pd.DataFrame, **chosen: str) -> pd.DataFrame:
    """Return the rows that have the chosen values, such as ``attack="FGSM"``; ``layer="last"`` explains the class."""
    for name, value in chosen.items():
        if (name, value) == ("layer", "last"):
            table = comparisons.last_layer(table)
        else:
            table = table[table[name] == checks.one_of(name, value, table[name].unique())]
    return table


def together(*tables: pd.DataFrame) -> pd.DataFrame:
    """Return several tables of a study as one."""
    return pd.concat(tables, ignore_index=True)


def scatter(table: pd.DataFrame, **chosen: str) -> Figure:
    """Draw :func:`relevance.figures.lrp_against_softmax` of the rows that have the chosen values, as for :func:`only`."""
    return figures.lrp_against_softmax(only(table, **chosen))


def correlations(table: pd.DataFrame) -> Styler:
    """Return Spearman's rho of LRP and softmax robustness, with its interval, for each model, attack, rule and layer.

    *Tied* is the share of images whose softmax robustness another image has too: they have no rank of their own.
    """
    found = claims.correlations(table)
    names = ["model", "attack", *(["rule"] if found["rule"].nunique() > 1 else []), "layer"]
    return report.table(found[[*names, "rho", "low", "high", "tied"]].set_index(names))


def grid(table: pd.DataFrame, rows: str, columns: str, *, asterisks: bool = False, **chosen: str) -> Figure:
    """Draw :func:`relevance.figures.difference_grid` from the deterministic network, of the rows with the chosen values.

    Args:
        table: from :meth:`relevance.studies.Study.table`.
        rows, columns: what the panels stand for.
        asterisks: of the paper's test that adversarially trained is lower than Bayesian.
        chosen: as for :func:`only`.
    """
    compared = (ADVERSARIAL, claims.most_samples(table)) if asterisks else None
    part = only(table, **chosen)
    return figures.difference_grid(part, DETERMINISTIC, rows=rows, columns=columns, compared=compared)


def _told(story: Mapping[str, Any]) -> str:
    settings = story["settings"]
    kind = f"{NETWORKS[settings['architecture']]} networks of width {settings['hidden']}"
    n_train = next(iter(story["posteriors"].values()))["n_train"]
    found = story["posteriors"][BAYESIAN].get("diagnostics")
    chain = ""
    if found and found.get("rhat_95") is None:
        chain = "; the chain is too short to check convergence"
    elif found:
        verdict = "passes" if found["converged"] else "does **not** pass"
        chain = f"; R-hat {found['rhat_95']:.2f} on 95 % of test images: the chain {verdict} this book's check"
    training = (
        f"{settings['epochs']} epochs, adversarial training with {settings['adversarial'].get('n_steps', 5)} steps"
    )
    attack = story.get("attack", f"attacks of size {settings['epsilon']:g}")
    return (
        f"Data: {story['data']['source']}. {kind[0].upper()}{kind[1:]}, {n_train:,} training images, {training}; "
        f"{settings['n_images']} test images, balanced over the classes; {attack}; posterior by "
        f"{METHODS[settings['method']]}, {settings['n_draws']} draws{chain}."
    )


def _made(story: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in story["versions"].items())
    return (
        f"{story['date']}, {story['hardware']}, {_duration(story['seconds'])} of computing in all; {versions}; commit "
        f"{story['commit']}." + (f" {story['note']}" if "note" in story else "")
    )


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.0f} minutes"


def cut(story: Mapping[str, Any]) -> list[str]:
    """Return what of a recorded run is smaller than in the paper, by its story."""
    settings = story["settings"]
    name = settings["dataset"]
    found = []
    n_train, whole = next(iter(story["posteriors"].values()))["n_train"], 50_000 if name == "cifar10" else 60_000
    if n_train < whole:
        found.append(f"{n_train:,} training images of {whole:,}")
    if settings["n_images"] < paper.N_IMAGES:
        found.append(f"{settings['n_images']} test images of {paper.N_IMAGES}")
    if name in paper.HIDDEN and settings["hidden"] < paper.HIDDEN[name]:
        found.append(f"width {settings['hidden']} of {paper.HIDDEN[name]}")
    epochs = paper.epochs(name, settings["architecture"], settings["method"])
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


def all_runs() -> Styler:
    """Return a row for each recorded table: data, sizes, minutes, date, hardware, commit."""
    rows = []
    for run in records.runs():
        for path in sorted((records.folder() / run).glob("*.json")):
            story = records.provenance(run, path.stem)
            sizes = {
                name: value for name, value in story["settings"].items() if name in ("n_images", "hidden", "n_draws")
            }
            rows.append(
                {
                    "run": run,
                    "table": path.stem,
                    **sizes,
                    "minutes": story["seconds"] / 60,
                    "date": story["date"],
                    "hardware": story["hardware"],
                    "commit": story["commit"],
                }
            )
    return report.table(pd.DataFrame(rows).set_index("run"))


def accuracies(table: pd.DataFrame) -> Styler:
    """Return what the attacks did to the predictions: a row for each model, a column for each attack, and the clean one."""
    rows = table.drop_duplicates(["model", "attack", "image"])
    clean = rows[rows["attack"] == rows["attack"].iloc[0]]
    right = (clean["clean_class"] == clean["label"]).groupby(clean["model"], sort=False).mean()
    kept = (rows["attacked_class"] == rows["label"]).groupby([rows["model"], rows["attack"]], sort=False).mean()
    blind = rows.groupby(["model", "attack"], sort=False)["gradient_is_zero"].mean().groupby("model", sort=False).max()
    found = pd.concat([right.rename("clean"), kept.unstack(sort=False), blind.rename("nothing to follow")], axis=1)
    return report.table(found.rename_axis("accuracy under"))


def means(table: pd.DataFrame, score: str = "lrp_robustness") -> Styler:
    """Return the mean of a score for each model, and each attack and rule, at the layer that explains the class."""
    last = comparisons.last_layer(table)
    several = [name for name in ("attack", "rule") if last[name].nunique() > 1] or ["attack"]
    found = last.groupby(["model", *several], sort=False)[score].mean().unstack(several, sort=False)
    if len(several) > 1:
        found.columns = [", ".join(map(str, column)) for column in found.columns]
    return report.table(found.rename_axis("model"))


def verdicts(table: pd.DataFrame, *names: str) -> Styler:
    """Return the verdicts on claims of :mod:`relevance.claims` by a table."""
    return report.table(claims.judged(table, names))


def differences(table: pd.DataFrame) -> Styler:
    """Return, for each setting, by how much the Bayesian explanation is more robust, with the share of zero gradients."""
    rows = comparisons.comparisons(table, DETERMINISTIC, claims.most_samples(table))
    shown = rows[[*comparisons.SETTING, "mean", "low", "high", "effect", "p_value"]].copy()
    shown[["scaled", "scaled low", "scaled high"]] = rows[["scaled", "scaled_low", "scaled_high"]]
    shown["zero gradients"] = rows["zero_gradients"]
    return report.table(shown.set_index(comparisons.SETTING))


def against_noise(table: pd.DataFrame) -> Markdown:
    """Say which attacks changed maps no more than random corners of the ball did, for each model, at the last layer."""
    if NOISE not in table["attack"].unique():
        return report.sentence("Noise of the same size is not among these attacks, so how much they do is not known.")
    found = comparisons.no_more_than_noise(comparisons.last_layer(table))
    if found.empty:
        return report.sentence("Every attack changed the explanations more than random corners of the same ball did.")
    weak = [
        f"{model}, {rule}: {report.join(list(part['attack']))}"
        for (model, rule), part in found.groupby(["model", "rule"], sort=False)
    ]
    return report.sentence(
        f"No more than random corners of the same ball changed the explanations: {'; '.join(weak)}. Such a score says nothing "
        "about the attack's direction: it is what the model does to noise."
    )


MANIPULATED = ["images", "manipulated", "manipulated, low", "manipulated, high", "closer to target", "before", "to target",
               "to origin", "under noise", "outputs", "labels kept", "l2", "l2 / image", "noise l2"]  # fmt: skip


def manipulated(table: pd.DataFrame) -> Styler:
    """Return what became of each model and method under manipulation: :func:`relevance.resistance.summary`, in short."""
    return report.table(resistance.summary(table).set_index(["model", "method"])[MANIPULATED])


def resisting(table: pd.DataFrame, *others: str) -> Markdown:
    """Say how many images of each model were manipulated, and which models resist better than the deterministic one.

    Args:
        table: of :func:`relevance.manipulation.table`.
        others: models; all but the deterministic one if none is given.
    """
    models = [str(name) for name in table["model"].unique()]
    told = [resistance.claim(table, name) for name in models]
    for other in others or [name for name in models if name != DETERMINISTIC]:
        rows = resistance.differences(table, DETERMINISTIC, other)
        told.append(resistance.resists(rows, DETERMINISTIC, other))
    if smaller := resistance.control(table):
        told.append(smaller)
    return report.sentence("\n".join(f"- {line}" for line in told))
