"""What a page shows of a recorded run: the same as of a build's own, by the same functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import pandas as pd
from matplotlib.figure import Figure

from relevance.pages import show, study
from relevance.pages.figures import manipulation, models, roar
from relevance.studies import phrases, records, tables
from relevance.studies.carbone import words as carbone_words
from relevance.studies.dombrowski import smoothing
from relevance.studies.dombrowski import tables as dombrowski_tables
from relevance.studies.dombrowski import words as dombrowski_words
from relevance.studies.phrases import Sentence, made
from relevance.studies.zeng import tables as zeng_tables
from relevance.studies.zeng import words as zeng_words


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

    def _shown(self, present: Callable[[Any], Any]) -> Any:
        if self.table is None:
            return Sentence(f"{self.run} is not recorded; `make record RUNS={self.run}` records it.")
        return present(self.table)

    def drawn(self, draw: Callable[..., Figure], *arguments: Any) -> Any:
        """Draw the table by a function that draws a build's own."""
        return self._shown(lambda table: draw(table, *arguments))

    def tabled(self, summarise: Callable[..., pd.DataFrame], *arguments: Any) -> Any:
        """Show what a function makes of the table as it does of a build's own."""
        return self._shown(lambda table: show.table(summarise(table, *arguments)))

    def said(self, tell: Callable[..., str], *arguments: Any) -> Sentence:
        """Say what a function says of the table as it does of a build's own."""
        return cast(Sentence, self._shown(lambda table: Sentence(tell(table, *arguments))))

    def stands_on(self) -> Sentence:
        """Say what the table stands on: the settings that it was kept with, and where and when it was made."""
        return cast(Sentence, self._shown(lambda _: Sentence(self._stands_on())))

    def _stands_on(self) -> str:
        story = records.provenance(self.run, self.experiment)
        sizes = ", ".join(f"{name} {value}" for name, value in story["settings"].items())
        return f"*Recorded* ({self.run}): {sizes}. {made(story)}"

    def story(self) -> Sentence:
        """Say what the table stands on, and what is smaller than in the paper."""

        def told(table: pd.DataFrame) -> Sentence:
            story = records.provenance(self.run, self.experiment)
            smaller_than = carbone_words.cut(story)
            smaller = (
                f" **Cut**, compared with the paper: {phrases.join(smaller_than)}."
                if smaller_than
                else " At the paper's size."
            )
            return Sentence(f"*Recorded* ({self.run}). {carbone_words.study(story)}{smaller} {made(story)}")

        return cast(Sentence, self._shown(told))

    def grid(self, rows: str, columns: str, *, asterisks: bool = False, **chosen: str) -> Any:
        """Draw :func:`study.grid` of the table."""
        return self._shown(lambda table: study.grid(table, rows, columns, asterisks=asterisks, **chosen))

    def scatter(self, **chosen: str) -> Any:
        """Draw :func:`figures.scores.lrp_against_softmax` of the rows that have the chosen values."""
        return self._shown(lambda table: study.scatter(table, **chosen))

    def verdicts(self, *names: str) -> Any:
        """Return :func:`study.verdicts` on the table."""
        return self._shown(lambda table: study.verdicts(table, *names))

    def accuracies(self) -> Any:
        """Return :func:`study.accuracies` of the table."""
        return self._shown(study.accuracies)

    def correlations(self, **chosen: str) -> Any:
        """Return :func:`study.correlations` of the rows that have the chosen values."""
        return self._shown(lambda table: study.correlations(tables.only(table, **chosen)))

    def means(self) -> Any:
        """Return :func:`study.means` of the table."""
        return self._shown(study.means)

    def against_noise(self) -> Any:
        """Return :func:`study.against_noise` of the table."""
        return self._shown(study.against_noise)

    def resistance(self) -> Any:
        """Draw :func:`figures.resistance` of a recorded table of manipulations."""
        return self._shown(lambda table: manipulation.resistance(dombrowski_tables.summary(table)))

    def resisting(self, *others: str) -> Any:
        """Return :func:`study.resisting` of the table."""
        return self._shown(lambda table: study.resisting(table, *others))

    def smoothing(self) -> Any:
        """Draw :func:`figures.smoothing` of a recorded table of :mod:`relevance.studies.dombrowski.smoothing`."""
        return self._shown(lambda table: manipulation.smoothing(dombrowski_tables.smoothed(table), smoothing.NAMES))

    def helps(self) -> Any:
        """Say which defences help, by a recorded table of :mod:`relevance.studies.dombrowski.smoothing`."""
        return self._shown(lambda table: Sentence(dombrowski_words.helps(dombrowski_tables.defended(table))))

    def manipulated(self) -> Any:
        """Return :func:`study.manipulated` of the table."""
        return self._shown(study.manipulated)

    def survival(self, parts: Sequence[str]) -> Any:
        """Draw :func:`figures.survival` of a recorded sweep of :mod:`relevance.studies.carbone.geometry`."""
        return self._shown(lambda table: models.survival(table, parts))

    def joint(self) -> Any:
        """Return :func:`relevance.studies.zeng.tables.joint` of a recorded table."""
        return self._shown(lambda table: show.table(zeng_tables.joint(table.set_index("model"))))

    def joint_told(self) -> Any:
        """Say what a recorded joint table shows, and what it stands on."""

        def told(table: pd.DataFrame) -> Sentence:
            rows = table.set_index("model")
            return Sentence(f"{zeng_words.faithful(rows)} {zeng_words.joint(rows)}\n\n{self._stands_on()}")

        return self._shown(told)

    def removal(self) -> Any:
        """Return :func:`relevance.studies.zeng.tables.table_1` of a recorded table of ROAR."""
        return self._shown(lambda table: show.table(zeng_tables.table_1(table)))

    def removal_curves(self, names: Sequence[str] | None = None, chance: float = 0.1) -> Any:
        """Draw :func:`figures.removal_curves` of some attributions, or all, of a recorded table of ROAR."""

        def drawn(table: pd.DataFrame) -> Figure:
            part = table if names is None else table[table["attribution"].isin(names)]
            return roar.removal_curves(zeng_tables.accuracies(part), chance)

        return self._shown(drawn)

    def removal_told(self) -> Any:
        """Say which maps of a recorded table of ROAR know more than a random order or edges, and what it stands on."""
        return self._shown(lambda table: Sentence(f"{zeng_words.roar(table)}\n\n{self._stands_on()}"))

    def theorem(self) -> Sentence:
        """Say what a recorded sweep of :mod:`relevance.studies.carbone.geometry` shows of Theorem IV.1, and what it stands on."""

        def told(table: pd.DataFrame) -> Sentence:
            story = records.provenance(self.run, self.experiment)
            lines = "".join(f"\n- **{part}** {verdict}." for part, verdict in carbone_words.theorem(table).items())
            sizes = story["settings"]
            return Sentence(
                f"The largest HMC case, {sizes['n_trains'][-1]} points and width {sizes['widths'][-1]}, {sizes['n_samples']} "
                f"draws:\n{lines}\n\n*Recorded* ({self.run}). {made(story)}"
            )

        return cast(Sentence, self._shown(told))
