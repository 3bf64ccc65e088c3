"""What a reader meets first on each page, and whether it can be read: figures, their letters, tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from relevance.pages.press.chapters import read_chapters

ROOT = Path(__file__).parents[2]
SIZES = {"page": {"width": 1400, "height": 900}, "phone": {"width": 390, "height": 844}}
# Chapters that are words or tables: nothing is drawn in them.
WITHOUT = {
    "manipulation/own-models",
    "appendix/architectures", "appendix/inference", "appendix/released-code", "appendix/status", "appendix/glossary",
    "appendix/references",
}  # fmt: skip
EARLY, LATE = 1100, 3  # pixels, and how many chapters may show their first figure later
NUMBERS = 1500  # in all tables that stand open, of all pages
POINTS = 9  # of the smallest letters in a figure, as printed

MEASURE = """() => {
  const article = document.querySelector("article");
  const seen = (one) => one.checkVisibility() && one.getBoundingClientRect().width > 0;
  const pictures = [...article.querySelectorAll("svg.rr-figure, img, canvas")].filter(seen)
    .filter((one) => one.getBoundingClientRect().width > 150);
  const tables = [...article.querySelectorAll("table")].filter(seen);
  const number = /[-+]?[0-9][0-9.,]*(e[-+]?[0-9]+)?/g;
  const cells = tables.flatMap((one) => [...one.querySelectorAll("td, th")]).filter(seen);
  // A figure that is folded is measured, too: everything is opened for it, after what stands open was counted.
  const found = {
    first: pictures.length ? Math.min(...pictures.map((one) => one.getBoundingClientRect().top + scrollY)) : null,
    numbers: cells.reduce((sum, one) => sum + (one.innerText.match(number) || []).length, 0),
    wide: tables.filter((one) => one.getBoundingClientRect().right > article.getBoundingClientRect().right + 1).length,
    small: [], over: [],
  };
  article.querySelectorAll("details").forEach((one) => { one.open = true; });
  for (const figure of [...article.querySelectorAll("svg.rr-figure")].filter(seen)) {
    const name = figure.getAttribute("aria-label").slice(0, 60);
    const points = (figure.getBoundingClientRect().width * 72) / 96 / figure.viewBox.baseVal.width;
    const texts = [...figure.querySelectorAll('g[id*="-text_"]')];
    const sizes = [...figure.querySelectorAll('g[transform*="scale("]')]
      .map((one) => one.getAttribute("transform").match(/scale\\(([0-9.]+) -/))
      .filter(Boolean).map((one) => 100 * one[1] * points);
    if (Math.min(...sizes) < LEAST) found.small.push(`${Math.min(...sizes).toFixed(1)} points in ${name}`);
    const boxes = texts.map((one) => one.getBoundingClientRect()).filter((one) => one.width > 1 && one.height > 1);
    boxes.forEach((one, place) => boxes.slice(place + 1).forEach((other) => {
      const across = Math.min(one.right, other.right) - Math.max(one.left, other.left);
      const down = Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top);
      if (across > 2 && down > 2) found.over.push(`${across.toFixed(0)} x ${down.toFixed(0)} in ${name}`);
    }));
    if (figure.getBoundingClientRect().right > innerWidth) found.small.push(`wider than the window: ${name}`);
  }
  return found;
}""".replace("LEAST", str(POINTS * 0.98))


def chapters():
    return [chapter.name for chapter in read_chapters(ROOT)]


@pytest.fixture(scope="module", params=SIZES)
def measured(request, browser, pages):
    """What every page shows on a screen and on a phone."""
    page = browser.new_page(viewport=SIZES[request.param])
    found = {}
    for name in ["index", *chapters()]:
        page.goto((pages / "book" / f"{name}.html").as_uri())
        found[name] = page.evaluate(MEASURE)
    page.close()
    return request.param, found


def test_figures_come_early_and_tables_are_few(measured):
    size, found = measured
    first = {name: one["first"] for name, one in found.items() if name not in WITHOUT}
    assert [name for name, top in first.items() if top is None] == [], "nothing is drawn"
    if size == "page":
        late = {name: round(top) for name, top in first.items() if top > EARLY}
        assert len(late) <= LATE, late
        numbers = {name: one["numbers"] for name, one in found.items()}
        assert sum(numbers.values()) <= NUMBERS, dict(sorted(numbers.items(), key=lambda one: -one[1])[:8])
        assert [name for name, one in found.items() if one["wide"]] == [], "tables that are wider than their column"


def test_letters_of_figures_can_be_read_and_none_lies_over_another(measured):
    _, found = measured
    assert {name: one["small"] for name, one in found.items() if one["small"]} == {}
    assert {name: one["over"] for name, one in found.items() if one["over"]} == {}
