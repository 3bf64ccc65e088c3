from __future__ import annotations

import re

import pandas as pd

from relevance.pages import show
from relevance.pages.figures.style import new_figure


def test_other_libraries_are_compared_in_words_and_numbers():
    rows = pd.DataFrame(
        [("zennit", "rule", 0.0, None), ("captum", "rule", 0.25, None), ("zennit", "slope", 0.0, 0.0),
         ("captum", "slope", None, 0.0), ("zennit", "only", 2.0, 1.0)],
        columns=["library", "compared", "value", "ours"],
    )  # fmt: skip
    shown = show.library_differences(rows).data
    assert shown.loc["rule"].tolist() == ["equal", "0.25", ""]
    assert shown.loc["slope"].tolist() == ["equal", "refused", "equal"]
    assert shown.loc["only"].tolist() == ["2", "", "1"]
    assert list(shown.index) == ["rule", "slope", "only"]


def test_tables_have_whole_numbers_and_no_minus_zero():
    html = show.table(pd.DataFrame({"n": [1200], "x": [-0.0001], "p_value": [0.00012]})).to_html()
    assert "1,200" in html
    assert ">0.000<" in html
    assert "-0.000" not in html
    assert "1.2e-04" in html


def heads(table):
    """Return the heads of a table as (text, scope), row by row, and how many cells of its head are empty."""
    head, body = show.table(table).to_html().split("</thead>")
    found = [re.findall(r'<th [^>]*scope="(\w+)">([^<]*)<', row) for row in (*head.split("</tr>")[:-1], body)]
    return [[(text, scope) for scope, text in row] for row in found], len(re.findall(r"<t[dh][^>]*></t[dh]>", head))


def test_names_of_the_index_head_their_columns():
    index = pd.MultiIndex.from_tuples([("FGSM", 1), ("FGSM", 3)], names=["attack", "layer"])
    (top, body), n_empty = heads(pd.DataFrame({"mean": [0.1, 0.2]}, index=index))
    assert top == [("attack", "col"), ("layer", "col"), ("mean", "col")]
    assert body == [("FGSM", "row"), ("1", "row"), ("3", "row")]
    assert n_empty == 0


def test_names_of_the_columns_head_their_row():
    table = pd.DataFrame([[0.1, 0.2]], pd.Index(["sgd"], name="model"), pd.Index(["1", "3"], name="layer"))
    (top, second, body), n_empty = heads(table)
    assert top == [("layer", "row"), ("1", "col"), ("3", "col")]
    assert second == [("model", "col")]
    assert body == [("sgd", "row")]
    assert n_empty == 2


def test_heads_of_numbers_stand_where_the_numbers_do():
    head = show.table(pd.DataFrame({"name": ["sgd"], "mean": [0.1]})).to_html().split("</thead>")[0]
    assert re.findall(r'class="([^"]*)"[^>]*>(\w+)<', head) == [
        ("col_heading level0 col0", "name"),
        ("col_heading level0 col1 number", "mean"),
    ]


def test_long_texts_are_marked_for_the_style_sheet():
    html = show.table(pd.DataFrame({"claim": ["word " * 30], "link": [f"<a href='{'x' * 200}'>here</a>"]})).to_html()
    assert re.findall(r'class="([^"]*)">[^<]*word', html) == ["data row0 col0 sentences"]
    assert html.count("sentences") == 1
    assert "phrase" not in html


def test_tables_of_one_page_share_no_identifiers():
    assert " id=" not in show.table(pd.DataFrame({"n": [1]})).to_html()


def test_a_figure_that_another_page_has_too_is_the_same_in_both():
    with new_figure(1, 2, (8, 2)) as (figure, axes):
        axes[0, 0].plot([0, 1])
    elsewhere = show.captioned(figure, "a line", "A line.").data
    assert [name in elsewhere for name in ("rr-wide", "rr-narrow", "<figcaption><p>A line.")] == [True] * 3
    assert "<!--narrow" in figure._repr_svg_()
    assert show.captioned(figure, "a line", "A line.").data == elsewhere
