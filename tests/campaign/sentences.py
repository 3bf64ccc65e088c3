"""What every refusal of bad input looks like."""

from __future__ import annotations

import re

from relevance.pages.press.chapters import BookError


def assert_sentence(error: BaseException, *must_name: str) -> None:
    """Assert that an error is one short sentence for a reader, names ``must_name``, and shows no other error behind it."""
    said = str(error)
    assert isinstance(error, (ValueError, BookError)), type(error)
    assert 0 < len(said) <= 300, said
    assert not re.match(r"[A-Z]\w*(Error|Exception)\b", said), said
    assert said.endswith((".", ")")), said
    for name in must_name:
        assert name in said, f"{name!r} is not in {said!r}"
    assert error.__cause__ is None
    assert error.__context__ is None or error.__suppress_context__
