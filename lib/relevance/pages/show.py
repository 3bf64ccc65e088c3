"""Results as a page shows them: sentences, tables, figures with captions, and what they stand on."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from html import escape
from typing import Any

import pandas as pd
from IPython.display import HTML
from markdown_it import MarkdownIt
from pandas.io.formats.style import Styler

from relevance.networks.posterior import Posterior
from relevance.pages.vector import BookFigure, inline
from relevance.pages.web import STATIC
from relevance.studies.phrases import Sentence, join, method_name


class _Shown(Styler):
    """A table on a page: folded under its title unless it is to stand open, and to be had as a file."""

    template_html_table = Styler.from_custom_template(str(STATIC), html_table="table.html").template_html_table
    title, is_open = "", False
    constant: Mapping[str, Any] = {}

    def _repr_html_(self) -> str:
        rows: pd.DataFrame = self.data  # type: ignore[attr-defined]
        text: str = super()._repr_html_()  # type: ignore[misc]
        if self.constant:
            said = join([f"{name} {value}" for name, value in self.constant.items()])
            text += f"<p>In every row: {escape(said)}.</p>"
        # Cells may be links to chapters; a file has their words.
        plain = re.sub(r"</?a\b[^>]*>", "", rows.to_csv(index=any(rows.index.names)))
        file = base64.b64encode(plain.encode()).decode()
        name = re.sub(r"\W+", "-", self.title.lower()).strip("-") + ".csv"
        text += f'<p class="rr-file"><a download="{name}" href="data:text/csv;base64,{file}">{name}</a></p>'
        return text if self.is_open else _folded(f"{self.title} ({len(rows)} rows)", text)


def _folded(title: str, text: str) -> str:
    return f'<details class="rr-folded"><summary>{escape(title)}</summary>{text}</details>'


class Folded(Sentence):
    """A sentence that a page folds under a title."""

    def _repr_html_(self) -> str:
        return _folded("What these numbers stand on", MarkdownIt().render(self))


def sentence(text: str) -> Sentence:
    """Return ``text``, which may have Markdown in it, as a cell shows it that ends in it."""
    return Sentence(text)


def pasteable(text: str) -> HTML:
    """Return rendered Markdown in the form in which another page can paste it (MyST-NB's ``glue``)."""
    return HTML(MarkdownIt().render(text))


def table(rows: pd.DataFrame, title: str = "", *, is_open: bool = False) -> Styler:
    """Return a table as the book prints it: three decimals, small p-values as powers, heads that say what they head.

    A page shows it folded under its title, and hands it out as a file. Columns that are the same in every row are left out, and
    said below it.

    Args:
        rows: what it holds.
        title: what it holds, in a few words; the names of its columns where none is given.
        is_open: whether it stands open, as one of few rows that is read may.
    """
    title = title or ", ".join(str(name) for name in (*rows.index.names, *rows.columns[:3]) if name)
    same = [name for name in rows if len(rows) > 2 and rows[name].notna().all() and rows[name].nunique() == 1]
    same = same if len(same) < rows.columns.size else []

    def decimals(value: float) -> str:
        text = f"{value:.3f}"
        return "0.000" if text == "-0.000" else text

    formats = {name: "{:.1e}" if name == "p_value" else decimals for name in rows.select_dtypes("number")}
    formats |= dict.fromkeys(rows.select_dtypes("integer"), "{:,d}")
    # The class is the one by which the theme knows a table.
    shown = _Shown(rows)
    shown.title, shown.is_open = title, is_open
    shown.constant = {str(name): _plain(rows[name].iloc[0]) for name in same}
    styled = shown.format(formats, na_rep="").set_table_attributes('class="dataframe"')  # type: ignore[arg-type]
    styled = styled.hide(same, axis="columns") if same else styled
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


def _plain(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def provenance(*posteriors: Posterior, evaluated_on: str) -> Folded:
    """Say what this build's numbers stand on: data, sizes, hardware, date, versions."""
    record = posteriors[-1].record
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    times = [f"{method_name(one.record['method'])} {one.record['seconds']:.0f} s" for one in posteriors]
    return Folded(
        f"*This build.* Data: {record['dataset']}. Trained on {record['n_train']:,} images: {join(times)}. Measured on "
        f"{evaluated_on}. {record['date']}, {record['hardware']}; {versions}."
    )


def library_differences(recorded: pd.DataFrame) -> Styler:
    """Return the recorded comparison with other libraries, in words where there is no number."""

    def in_words(value: float) -> str:
        return "" if pd.isna(value) else "equal" if value == 0 else f"{value:.3g}"

    values = recorded.assign(value=recorded["value"].map(lambda value: in_words(value) or "refused"))
    wide = values.pivot(index="compared", columns="library", values="value")[["zennit", "captum"]]
    wide["this book"] = recorded.groupby("compared")["ours"].first().map(in_words)
    rows = wide.reindex(recorded["compared"].unique()).fillna("").rename_axis(columns=None)
    return table(rows, "Maps and derivatives of other libraries beside ours")


def recorded_on(rows: pd.DataFrame) -> Sentence:
    """Say when and on what a recorded table was measured."""
    versions = ", ".join(f"{name} {rows[name].iloc[0]}" for name in ("torch", "pyro") if name in rows)
    return sentence(f"*Recorded* {rows['date'].iloc[0]}, {rows['hardware'].iloc[0]}{versions and '; '}{versions}.")


def small(rows: pd.DataFrame) -> Styler:
    """Return a table of very small numbers as the book prints it: two digits in the place of three decimals."""
    return table(rows).format("{:.2g}")


def captioned(figure: BookFigure, alt: str, caption: str) -> HTML:
    """Return a figure with its caption as one block, which another page can paste (MyST-NB's ``glue``)."""
    return HTML(f"<figure>{inline(figure.drawing, alt)}<figcaption><p>{escape(caption)}</p></figcaption></figure>")
