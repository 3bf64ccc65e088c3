from __future__ import annotations

import pandas as pd

from relevance.pages import figures


def test_what_is_in_proportion_lies_on_the_dotted_line_and_workers_are_counted_and_measured():
    sizes = [
        {"what": what, "value": size, "seconds": 0.5 * size, "peak memory, MB": 10 + size}
        for what in ("samples", "images", "width")
        for size in (10, 20, 40)
    ]
    workers = [{"what": "workers", "value": count, "seconds": max(60 / count, 20)} for count in (1, 2, 4)]
    measured = [{"what": "workers, measured", "value": count, "seconds": 70 / count} for count in (1, 2)]
    *panels, last = figures.growth(pd.DataFrame([*sizes, *workers, *measured])).axes
    for axis in panels:
        seconds, straight, memory, its = axis.lines
        assert list(seconds.get_ydata()) == list(straight.get_ydata()) == [5, 10, 20]
        assert list(memory.get_ydata()) == [20, 30, 50]
        assert list(its.get_ydata()) == [12.5, 25, 50]
    counted, straight, found = last.lines
    assert list(counted.get_ydata()) == [60, 30, 20]
    assert list(straight.get_ydata()) == [60, 30, 15]
    assert list(found.get_ydata()) == [70, 35]
