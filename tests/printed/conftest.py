from __future__ import annotations

from pathlib import Path

import pytest


def pytest_addoption(parser):
    parser.addoption("--pages", type=Path, required=False, help="the rendered book, such as _build/html")


@pytest.fixture(scope="session")
def pages(pytestconfig):
    folder = pytestconfig.getoption("--pages")
    assert folder is not None, "give the rendered book: pytest tests/pages --pages _build/html"
    return folder.resolve()
