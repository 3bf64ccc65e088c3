"""Sentences and tables follow the numbers that they are given."""

from __future__ import annotations

import re

import pandas as pd
import pytest
import torch

from relevance import explanations, records, report
from relevance.explanations import Epsilon, RootPoints


def test_conservation_adds_up_and_its_sentence_names_the_extremes(dense_posterior, some_images, some_labels):
    rules = {"small": Epsilon(1e-9), "large": Epsilon(5.0)}
    rows = report.conservation(dense_posterior, some_images, some_labels, rules)
    assert list(rows.columns) == ["arrives at the pixels", *(f"kept by layer {k}" for k in (1, 3, 5))]
    assert torch.allclose(torch.tensor(rows.sum(axis=1).to_numpy()), torch.ones(2).double(), atol=1e-9)
    maps = explanations.lrp(dense_posterior, some_images, some_labels, rule=Epsilon(5.0))
    logits = dense_posterior.logits(some_images).mean(0).gather(1, some_labels[:, None])
    assert rows.loc["large", "arrives at the pixels"] == pytest.approx((maps.sum() / logits.sum()).item())
    made = pd.DataFrame({"arrives at the pixels": [0.5, 1.02, 0.9]}, index=["a", "b", "c"])
    said = report.conservation_extremes(made)
    assert "Nearest to conserving is b, with 102.0%" in said
    assert "farthest from it is a, with 50.0%" in said


def test_agreement_is_the_overlap_of_top_pixels():
    reference = torch.zeros(2, 1, 2, 5)
    reference[:, :, 0] = torch.arange(5.0) + 1
    half = reference.clone()
    half[:, :, 0, 3:] = 0
    half[:, :, 1, 3:] = -torch.tensor([9.0, 8.0])
    rows = report.agreement({"ours": reference, "same": 2 * reference, "half": half}, "ours", 20)
    assert list(rows.index) == ["same", "half"]
    assert rows.loc["same", "overlap"] == 1
    assert rows.loc["half", "overlap"] == 0  # its top two are elsewhere
    assert rows.loc["half", "negative share"] == pytest.approx(17 / 23)
    said = report.agreement_extremes(rows, "ours", 20)
    assert said == "Of the top 20 % of the pixels, the maps share with ours from 0% (half) to 100% (same)."
    with pytest.raises(ValueError, match="reference is 'theirs'; it may be one of"):
        report.agreement({"ours": reference}, "theirs", 20)


@pytest.mark.parametrize(
    ("converged", "message"),
    [
        ([True, True], r"for 2 of 2 images, at a median distance of 1.00 \(Euclidean, in units of the pixel range\).$"),
        ([True, False], "for 1 of 2 images, .* The others have the map of the best point"),
        ([False, False], r"for \*\*none\*\* of 2 images"),
    ],
)
def test_the_search_for_roots_is_reported_as_it_went(converged, message):
    found = RootPoints(torch.zeros(2, 1, 1, 1), torch.zeros(2), torch.tensor([1.0, 3.0]), torch.tensor(converged))
    assert re.search(message, report.roots(found))


def test_other_libraries_are_compared_in_words_and_numbers():
    rows = pd.DataFrame(
        [("zennit", "rule", 0.0, None), ("captum", "rule", 0.25, None), ("zennit", "slope", 0.0, 0.0),
         ("captum", "slope", None, 0.0), ("zennit", "only", 2.0, 1.0)],
        columns=["library", "compared", "value", "ours"],
    )  # fmt: skip
    shown = report.library_differences(rows).data
    assert shown.loc["rule"].tolist() == ["equal", "0.25", ""]
    assert shown.loc["slope"].tolist() == ["equal", "refused", "equal"]
    assert shown.loc["only"].tolist() == ["2", "", "1"]
    assert list(shown.index) == ["rule", "slope", "only"]


def test_the_line_s_sentence_has_its_numbers():
    rows = pd.DataFrame({"sd slope": [0.4, 0.2], "correlation": [-0.8, 0.01]}, index=["exact", "VI"])
    said = report.mean_field(rows)
    assert "a correlation of \N{MINUS SIGN}0.800" in said
    assert "a standard deviation of the slope of 50% of the exact one" in said
    assert said.endswith("correlation, 60%.")


def test_evidence_is_said_as_the_table_has_it():
    rows = pd.DataFrame(
        {
            "NLL": [0.3, 0.2, 0.4],
            "ECE": [0.01, 0.05, 0.09],
            "total variation": [0.0, 0.1, 0.2],
            "saturated": [0, 0, 0.03],
        },
        index=["HMC", "a", "b"],
    )
    said = report.evidence_extremes(rows, "HMC")
    assert "lowest NLL is that of a (0.200), the lowest calibration error that of HMC (0.010)" in said
    assert "Nearest to HMC in total variation is a (0.100), farthest b (0.200)" in said
    assert "The most saturated is b, on 3.0% of the images." in said
    assert "No posterior is saturated" in report.evidence_extremes(rows.assign(saturated=0.0), "HMC")


def test_tables_have_whole_numbers_and_no_minus_zero():
    html = report.table(pd.DataFrame({"n": [1200], "x": [-0.0001], "p_value": [0.00012]})).to_html()
    assert "1,200" in html
    assert ">0.000<" in html
    assert "-0.000" not in html
    assert "1.2e-04" in html


def heads(table):
    """Return the heads of a table as (text, scope), row by row, and how many cells of its head are empty."""
    head, body = report.table(table).to_html().split("</thead>")
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
    head = report.table(pd.DataFrame({"name": ["sgd"], "mean": [0.1]})).to_html().split("</thead>")[0]
    assert re.findall(r'class="([^"]*)"[^>]*>(\w+)<', head) == [
        ("col_heading level0 col0", "name"),
        ("col_heading level0 col1 number", "mean"),
    ]


def test_long_texts_are_marked_for_the_style_sheet():
    html = report.table(pd.DataFrame({"claim": ["word " * 30], "link": [f"<a href='{'x' * 200}'>here</a>"]})).to_html()
    assert re.findall(r'class="([^"]*)">[^<]*word', html) == ["data row0 col0 sentences"]
    assert html.count("sentences") == 1
    assert "phrase" not in html


def test_tables_of_one_page_share_no_identifiers():
    assert " id=" not in report.table(pd.DataFrame({"n": [1]})).to_html()


def test_saturation_is_said_of_the_record_as_it_is():
    rows = pd.DataFrame(
        {
            "posterior": ["sgd", "variational"],
            "saturated": [0.55, 0.0],
            "date": ["2026-11-19", "2026-11-20"],
            "hardware": "x",
        }
    )
    said = report.saturation(rows).data
    assert said.startswith("sgd is saturated on 55% of the test images")
    assert "HMC has **not** been run to the end" in said
    assert "2026-11-20, x" in said
    chains = {"prior scale": 0.1, "samples": 50, "warmup": 30.0, "R-hat": 2.26, "ESS": 5.0}
    calm = rows.assign(saturated=0.0, posterior=["sgd", "hmc-0.1"], **chains)
    said = report.saturation(calm.assign(converged=[None, "False"])).data
    assert said.startswith("None of them is saturated")
    assert (
        "prior scale 0.1: 50 draws after 30 of warm-up, R-hat 2.26, effective sample size 5, which does **not** pass"
        in said
    )
    assert "not known to be a sample" in said
    said = report.saturation(calm.assign(converged=[None, True])).data
    assert "which passes." in said
    assert "not known" not in said


def test_records_are_read_by_name():
    assert "zennit" in records.read("library-differences")["library"].tolist()
    with pytest.raises(ValueError, match="name is 'nothing'; it may be one of: .*library-differences"):
        records.read("nothing")
