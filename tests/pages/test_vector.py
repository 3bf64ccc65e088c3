"""Figures in the page's ink, once for a page and once for a phone."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np

from relevance.pages.figures.style import BLUE, INK, PAPER, new_figure
from relevance.pages.vector import inline


def two_panels(width=8.0):
    with new_figure(1, 2, (width, 2.0)) as (figure, axes):
        axes[0, 0].plot([0, 1], color=BLUE)
        axes[0, 1].plot([0, 1], color="0.5")
        axes[0, 1].bar([0], [1], color=PAPER, edgecolor=INK, hatch="..")
    return figure


def test_greys_are_of_the_page_and_colours_are_not():
    svg = two_panels(3.0).drawing
    assert "#0072b2" in svg
    assert not re.search(r"(fill|stroke): #([0-9a-f]{2})\2\2\b", svg)
    assert "stroke: color-mix(in srgb, var(--rr-ink, #000) 50%, var(--rr-paper, #fff))" in svg
    assert "fill: var(--rr-paper, #fff)" in svg
    assert 'fill="#ffffff"' not in svg
    ElementTree.fromstring(svg)


def test_a_page_gets_both_drawings_and_no_name_twice():
    text = inline(two_panels().drawing, 'a "line"')
    assert [re.search('class="([^"]*)"', one)[1] for one in text.split("<svg ")[1:]] == [
        "rr-figure rr-wide",
        "rr-figure rr-narrow",
    ]
    assert text.count('role="img" aria-label="a &quot;line&quot;"') == 2
    assert "<!--narrow" not in text
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(set(ids)) == len(ids) > 10
    used = re.findall(r'(?:xlink:href="#|url\(#)([^")]+)', text)
    assert used
    assert set(used) <= set(ids)
    widths = [float(width) for width in re.findall(r'<svg [^>]*\bwidth="([\d.]+)pt"', text)]
    assert np.allclose(widths, [8.0 * 72, 3.55 * 72])


def test_a_small_figure_is_drawn_once_and_shown_alike_twice():
    figure = two_panels(3.0)
    assert figure._repr_svg_() == figure._repr_svg_()
    assert inline(figure._repr_svg_(), "lines").count("<svg ") == 1


def test_a_figure_is_no_wider_than_a_page():
    assert two_panels(20.0).get_size_inches()[0] == 8.15
