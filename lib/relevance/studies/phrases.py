"""Numbers as text: signs, intervals, lists and durations, as sentences have them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, ParamSpec

import pandas as pd

from relevance.inference.certificate import NOT_CONVERGED
from relevance.metrics.statistics import CrossedDifference, Interval, PairedDifference

Arguments = ParamSpec("Arguments")


class Sentence(str):
    """A text that a notebook shows as Markdown."""

    __slots__ = ()

    def _repr_markdown_(self) -> str:
        return str(self)


def sentence(say: Callable[Arguments, str]) -> Callable[Arguments, Sentence]:
    """Have a function that says something give a :class:`Sentence`."""

    @wraps(say)
    def said(*arguments: Arguments.args, **settings: Arguments.kwargs) -> Sentence:
        return Sentence(say(*arguments, **settings))

    return said


def difference(row: pd.Series | CrossedDifference | PairedDifference | Interval) -> str:
    """Return a mean difference with its interval, signed, with three decimals."""
    mean, low, high = (
        row[name] if isinstance(row, pd.Series) else getattr(row, name) for name in ("mean", "low", "high")
    )
    return f"{signed(mean)} [{signed(low)}, {signed(high)}]"


def method_name(method: str) -> str:
    """Return what a training method is called in a sentence."""
    return method.upper() if method in {"sgd", "hmc", "swag"} else method.replace("_", " ")


def certificate(diagnostics: Mapping[str, Any]) -> str:
    """Return the badge of a posterior's chains, which a page links with what it means, and the numbers behind its word.

    What was recorded before there were certificates has none of their words but the last, and the R-hat of its own check.
    """
    word = diagnostics.get("certificate", NOT_CONVERGED)
    rhat, ess = diagnostics.get("rhat", diagnostics.get("rhat_95")), diagnostics.get("ess")
    numbers = [
        *([f"R-hat {rhat:.{3 if rhat < 1.1 else 2}f}"] if rhat else []),
        *([f"{ess:.0f} effective draws"] if ess else []),
    ]
    told = f" ({', '.join(numbers)})" if numbers else ""
    return f'<span class="certificate">HMC: {word}</span>{told}'


def samples(count: int) -> str:
    """Return '1 sample', '10 samples'."""
    return f"{count} sample" + ("" if count == 1 else "s")


def join(parts: Sequence[str]) -> str:
    """Join ``parts`` with commas and a last 'and'."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def by_direction(
    directions: pd.Series, words: Mapping[int, str], listed: Callable[[list[str]], str] = join
) -> list[str]:
    """Return for each direction that occurs its words and the names that have it: 'more for a and b'.

    Args:
        directions: name -> 1, 0 or -1.
        words: what is said of each direction, in this order.
        listed: makes a text of names.
    """
    found = {way: [str(name) for name in directions.index[directions == way]] for way in words}
    return [f"{words[way]} {listed(names)}" for way, names in found.items() if names]


def mostly(directions: pd.Series, words: Mapping[int, str], things: str) -> str:
    """Return what most entries have in common, and the exceptions by name: 'more for 4 of 6 methods, and less for LRP and IG'.

    Three numbers at most; of exceptions, at most two are named.

    Args:
        directions: name -> 1, 0 or -1.
        words: what is said of each direction.
        things: what the entries are, in the plural.
    """
    found = {way: [str(name) for name in directions.index[directions == way]] for way in words}
    ways = sorted((way for way in words if found[way]), key=lambda way: -len(found[way]))
    if len(directions) == 1:
        return f"{words[ways[0]]} {directions.index[0]}"
    if len(ways) == 1:
        return f"{words[ways[0]]} all {len(directions)} {things}"
    parts = [f"{words[ways[0]]} {len(found[ways[0]])} of {len(directions)} {things}"]
    for way in ways[1:]:
        named = list(dict.fromkeys(found[way]))
        which = join(named) if len(named) <= 2 else "the others" if way == ways[-1] else str(len(found[way]))
        parts.append(f"{words[way]} {which}")
    return f"{', '.join(parts[:-1])}, and {parts[-1]}"


def direction(low: pd.Series, high: pd.Series, at: float = 0.0) -> pd.Series:
    """Return 1 where a whole interval lies above ``at``, -1 where it lies below, 0 where it holds it."""
    return (low > at).astype(int) - (high < at).astype(int)


def ranked(values: Mapping[str, float] | pd.Series, form: str = ".3f", *, ascending: bool = True) -> str:
    """Return names with their values in order: 'a 0.100, b 0.200'."""
    order = pd.Series(values).sort_values(kind="stable", ascending=ascending)
    return ", ".join(f"{name} {value:{form}}" for name, value in order.items())


def signed(value: float) -> str:
    """Return a number with its sign (a true minus) and three decimals: +0.012, 0.000."""
    text = f"{value:+.3f}"
    return "0.000" if text in {"+0.000", "-0.000"} else text.replace("-", "\N{MINUS SIGN}")


def interval(found: CrossedDifference | PairedDifference | Interval) -> str:
    """Return a difference with its interval."""
    return f"{signed(found.mean)} (95 % interval {signed(found.low)} to {signed(found.high)})"


def made(story: Mapping[str, Any]) -> str:
    """Say when, on what, for how long, with which versions and from which commit a recorded table was made."""
    versions = ", ".join(f"{name} {version}" for name, version in story["versions"].items())
    return (
        f"{story['date']}, {story['hardware']}, {duration(story['seconds'])} of computing in all; {versions}; commit "
        f"{story['commit']}." + (f" {story['note']}" if "note" in story else "")
    )


def duration(seconds: float) -> str:
    """Return '90 seconds', '12 minutes'."""
    return f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.0f} minutes"
