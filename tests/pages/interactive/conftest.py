from __future__ import annotations

import pytest

from oracles import SMALL_STUDY
from relevance.pages.interactive.scene import Scene


@pytest.fixture(scope="module")
def scene():
    return Scene(SMALL_STUDY, n_images=3)
