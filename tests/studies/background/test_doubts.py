"""Each reason for doubt is found in the table that shows it, and in no other."""

from __future__ import annotations

import pandas as pd

from relevance.studies.background import doubts


def test_each_check_sees_what_it_is_for(evaluation_table):
    def said(row=None, column=None, value=None, **more):
        changed = evaluation_table.copy()
        if row is not None:
            changed.loc[row, column] = value
        return doubts.concerns(changed, **more)

    assert "random squares, which need no gradient, alone" in said("squares", "alone", 0.1)[0]
    assert "a transferred attack alone" in said("transfer", "alone", 0.1)[0]
    assert "One step breaks more" in said("FGSM", "accuracy", -0.1)[0]
    assert "Random corners" in said("random corners", "accuracy", -0.1)[0]
    assert "PGD, cross-entropy leaves an accuracy of 90.0%" in said("PGD, cross-entropy", "accuracy", 0.9)[0]
    assert "it fools the networks it saw, not all" in said("PGD, margin, other draws", "accuracy", 0.9)[0]
    far = pd.DataFrame({"epsilon": [0.1, 0.5], "accuracy": [0.9, 0.4]})
    assert said(by_epsilon=far) == ["In a ball of 0.5 the accuracy is still 40.0%."]
    rising = pd.DataFrame({"step": range(8), "loss": range(8), "best": range(8)})
    flat = pd.DataFrame({"step": range(8), "loss": [1.0] * 8, "best": [1.0] * 8})
    assert said(by_steps=flat) == ["The loss did not rise at any step."]
    assert "The last quarter of the steps still brought 14%" in said(by_steps=rising)[0]
