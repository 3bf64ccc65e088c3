from __future__ import annotations

import pytest

from relevance.datasets import reading


@pytest.fixture(scope="module")
def digits():
    return reading.load("digits", device="cpu")
