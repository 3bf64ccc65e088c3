"""The book's answer follows from the recorded tables."""

from __future__ import annotations

import pandas as pd

from oracles import made_up_answers
from relevance.studies import answer, records
from relevance.studies.names import ADVERSARIAL, BAYESIAN, DETERMINISTIC


def test_the_rows_are_those_of_every_recorded_run():
    found = answer.rows()
    assert set(found["run"]) <= set(records.runs())
    assert found.groupby(["run", "attack"]).size().eq(len(answer.PAIRS)).all()
    # Anew from one file: the mean difference of a run, without the library's way to it.
    run = "mnist-dense"
    table = records.read_run(run, "layers")
    table = table[(table["attack"] == "FGSM") & (table["layer"] == "5")]
    wide = table.pivot(index=["run", "image"], columns="model", values="lrp_robustness")
    row = found[(found["run"] == run) & (found["attack"] == "FGSM") & (found["first"] == DETERMINISTIC)].set_index(
        "second"
    )
    assert abs(row.loc[ADVERSARIAL, "mean"] - (wide[ADVERSARIAL] - wide[DETERMINISTIC]).mean()) < 1e-9
    assert abs(row.loc[BAYESIAN, "mean"] - (wide["Bayesian, 200"] - wide[DETERMINISTIC]).mean()) < 1e-9


def test_the_sentences_follow_the_rows():
    assert answer.sentences(made_up_answers(1, 0))[0] == (
        "Under attacks on the prediction, in 1 recorded runs, the robustness of the Bayesian explanation, beside the "
        "deterministic one's, is higher in all 2."
    )
    first, second = answer.sentences(made_up_answers(-1, 1))
    assert "is lower in all 2." in first
    assert (
        "After training under attack it is higher in all 2; and compared with training under "
        "attack, the Bayesian one is undecided in all 2." in second
    )
    assert answer.in_short(made_up_answers(0, 1)) == (
        "Of the settings that recorded runs can judge, a posterior's explanations are steadier than a deterministic network's in "
        "0 of 2 with HMC; after training under attack they are in 2 of 2."
    )
    refused = made_up_answers("at chance", 1)
    assert "is not judged: at chance." in answer.sentences(refused)[0]
    assert "in 0 of 0 with HMC" in answer.in_short(refused)
    two = pd.concat([made_up_answers(1, 1), made_up_answers(0, 1).assign(method="VI")])
    assert "in 2 of 2 with HMC and 0 of 2 with VI; after training under attack they are in 4 of 4." in answer.in_short(
        two
    )
