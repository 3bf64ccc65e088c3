"""What a page shows of a recorded run: the same as of a build's own, by the same functions."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any, Self

import pandas as pd

from relevance.pages import show
from relevance.studies import answer, gates, phrases, records, tables
from relevance.studies.carbone import reproduction
from relevance.studies.carbone import words as carbone_words
from relevance.studies.names import BAYESIAN
from relevance.studies.phrases import Sentence, made

DECISIVE = "mnist-dense"  # chains that mix, and several runs of each model


def others(experiment: str, *, layer: str = "", first: str = DECISIVE) -> pd.DataFrame:
    """Return the tables of all recorded runs of the main source but one, with ``recorded``, what each of them is of.

    In ``unjudged`` stands of which models nothing is said, whatever their numbers are: of chains that have not converged.

    Args:
        experiment: name of the tables.
        layer: "last" for the explanation of the class alone.
        first: the run that a page shows by itself.
    """
    parts = []
    for run, called in answer.columns().items():
        if run != first and run in records.runs(experiment):
            rows = records.read_run(run, experiment)
            rows = tables.last_layer(rows) if layer == "last" else rows
            unmixed = rows["model"].str.startswith(BAYESIAN) & records.is_unmixed(run, experiment)
            reasons = unmixed.map({True: gates.UNMIXED, False: ""})
            parts.append(rows.assign(recorded=called, run=rows.get("run", 0), unjudged=reasons))
    return pd.concat(parts, ignore_index=True)


def verdicts(chapter: str) -> Any:
    """Return what every recorded run says of the claims that a chapter tests: a row for each claim and run."""
    rows = reproduction.claimed(chapter).reset_index().rename(columns={"item": "claim"})
    rows = rows[rows["verdict"] != reproduction.NOT_RECORDED].drop(columns="chapter")
    rows["run"] = rows["run"].map(answer.columns())
    return show.table(rows.set_index(["claim", "run"]), "What every recorded run says of each claim")


def stories(experiment: str) -> show.Folded:
    """Say what the tables of all recorded runs of the main source stand on, and what is smaller than in the paper."""
    runs = [run for run in answer.columns() if run in records.runs(experiment)]
    return show.Folded("\n\n".join(Recorded(run, experiment).told_of() for run in runs))


class Recorded:
    """A recorded table and what is shown of it; a sentence in place of everything where it is not recorded.

    Args:
        run: a name in ``book/runs.yml``.
        experiment: name of the table.
    """

    def __init__(self, run: str, experiment: str) -> None:
        self.run, self.experiment = run, experiment
        self.table: Any = records.read_run(run, experiment) if run in records.runs(experiment) else None

    def through(self, function: Callable[..., Any], *arguments: Any, **settings: Any) -> Self:
        """Return the same run with what a function makes of the table in the place of the table."""
        found = copy(self)
        if self.table is not None:
            found.table = function(self.table, *arguments, **settings)
        return found

    def mixed(self, column: str, posterior: str) -> Self:
        """Return the same run without the posterior's rows where its chains have not converged: nothing is said of them.

        Args:
            column: of the table, that says what a row is of.
            posterior: what rows of the posterior have there, to begin with.
        """
        if self.table is None or not records.is_unmixed(self.run, self.experiment):
            return self
        return self.through(lambda table: table[~table[column].str.startswith(posterior)])

    def chains(self) -> Any:
        """Say whether the chains of the run's posterior have mixed."""
        unmixed = self.table is not None and records.is_unmixed(self.run, self.experiment)
        words = (
            "have not mixed: what is shown is of their draws, and nothing is said of a posterior"
            if unmixed
            else "have mixed"
        )
        return self.shown(lambda _: Sentence(f"The chains of this run's posterior {words}."))

    def shown(self, function: Callable[..., Any], *arguments: Any, **settings: Any) -> Any:
        """Show what a function draws, tabulates or says of the table, as it does of a build's own."""
        if self.table is None:
            return Sentence(f"{self.run} is not recorded; `make record RUNS={self.run}` records it.")
        found = function(self.table, *arguments, **settings)
        return show.table(found) if isinstance(found, pd.DataFrame) else found

    def stands_on(self) -> Any:
        """Say what the table stands on: the settings that it was kept with, and where and when it was made."""
        return self.shown(lambda _: show.Folded(self._stands_on()))

    def _stands_on(self) -> str:
        story = records.provenance(self.run, self.experiment)
        sizes = ", ".join(f"{name} {value}" for name, value in story["settings"].items())
        return f"{self._recorded()}: {sizes}. {made(story)}"

    def _recorded(self) -> str:
        """Name the run, and say so where it was recorded by other code than there is now."""
        older = " by older code" if records.is_of_older_code(self.run, self.experiment) else ""
        return f"*Recorded{older}* ({self.run})"

    def story(self) -> Any:
        """Say what the table stands on, and what is smaller than in the paper."""
        return self.shown(lambda _: show.Folded(self.told_of()))

    def told_of(self) -> str:
        """Return what :meth:`story` says of a run that is recorded."""
        story = records.provenance(self.run, self.experiment)
        less = reproduction.smaller(story)
        cut = f" **Cut**, compared with the paper: {phrases.join(less)}." if less else " At the paper's size."
        return f"{self._recorded()}. {carbone_words.study(story)}{cut} {made(story)}"

    def theorem(self) -> Any:
        """Say what a recorded sweep of :mod:`relevance.studies.carbone.geometry` shows of Theorem IV.1, and what it stands on."""

        def said(table: pd.DataFrame) -> Sentence:
            story = records.provenance(self.run, self.experiment)
            verdicts = {part: told.partition(":")[0] for part, told in reproduction.theorem(table).items()}
            lines = "".join(f"\n- {part}: **{verdict}**." for part, verdict in verdicts.items())
            sizes = story["settings"]
            return Sentence(
                f"The largest HMC case, {sizes['n_trains'][-1]} points and width {sizes['widths'][-1]}, {sizes['n_samples']} "
                f"draws:\n{lines}\n\n{self._recorded()}. {made(story)}"
            )

        return self.shown(said)
