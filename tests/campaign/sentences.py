"""What every refusal of the campaign must be."""

from __future__ import annotations

import re


def assert_sentence(error: BaseException, *must_name: str) -> None:
    """Assert that an error is one sentence for the person who gave the input, and names each of ``must_name``."""
    told = str(error)
    assert len(told) <= 300, f"{len(told)} characters: {told}"
    assert "\n" not in told.strip()
    assert not re.match(r"[A-Z]\w*(Error|Exception|Warning)\b", told), told
    assert told.endswith((".", ")")), told
    for name in must_name:
        assert name in told, f"{name!r} is not in: {told}"
    assert error.__cause__ is None, repr(error.__cause__)
    assert error.__context__ is None or error.__suppress_context__, repr(error.__context__)
