from __future__ import annotations

import pytest

from relevance.attacks import manipulation
from relevance.pages import interactive
from relevance.pages.interactive.turning import turning
from relevance.studies.dombrowski import manipulation as dombrowski_manipulation

pytestmark = pytest.mark.usefixtures("own_store")


def test_manipulations_are_read_from_their_table(dense_posterior, some_images):
    how = manipulation.Manipulation(epsilon=1.0, n_steps=2)
    found = dombrowski_manipulation.cases({"m": dense_posterior}, some_images, ["gradient", "LRP"], how, some_images)
    table = dombrowski_manipulation.table(found)
    led = interactive.Manipulated(found, table, 3)
    row = table[(table["method"] == "LRP") & (table["image"] == 3) & (table["change"] == "manipulated")].iloc[0]
    assert f"correlates {row['correlation_target']:.2f} with its target" in led.reading("m", "LRP")
    turning(led.figure, {"model": ["m"], "method": ["gradient", "LRP"]}, caption="c", alt=led.alt)
