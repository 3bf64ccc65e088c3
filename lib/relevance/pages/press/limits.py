"""What parameters of chapters may be: by their default's kind, and by their name, which means the same in every chapter."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from relevance.base import checks

KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", dict: "names with values"}
MANY = {int: "whole numbers", float: "numbers", str: "texts", list: "lists"}
WIDEST = 16_384  # of a layer, and of an image: the next power of two is a slip, and fills the memory
NUMBERS: dict[str, Callable[[str, Any], Any]] = {
    "seed": partial(checks.count, at_least=0, at_most=2**32 - 1),
    "warmup": partial(checks.count, at_least=0),
    "n_images": partial(checks.count, at_least=2),
    "n_trains": partial(checks.count, at_least=2),
    "draws": partial(checks.count, at_least=2),
    **dict.fromkeys(
        ("hidden", "larger", "width", "widths", "retrained_hidden", "side"), partial(checks.count, at_most=WIDEST)
    ),
    **dict.fromkeys(("top_percent", "map_percent"), partial(checks.count, at_most=100)),
    **dict.fromkeys(("mask_share", "shares"), partial(checks.number, above=0, at_most=1)),
    "largest": partial(checks.number, above=0, at_most=1),
    **dict.fromkeys(
        ("epsilon", "rule_epsilon", "rule_epsilons", "pgd_epsilon", "attack_linf", "attack_l2", "fgsm", "norm", "radius",
         "size", "strengths", "output_weight"),
        partial(checks.number, at_least=0),
    ),
}  # fmt: skip
# A parameter -> the one that it may not exceed.
WITHIN = {
    "n_samples": "n_draws",
    "n_drawn": "n_draws",
    "n_explained": "n_draws",
    "counts": "n_draws",
    "n_attacked": "n_images",
    "n_manipulated": "n_images",
    "epsilon": "largest",
}
# In the first of these chapters, n_samples are of other posteriors than n_draws; in the second, they are those that are counted.
WITHIN_OF = {
    "method/geometry": [("counts", "n_samples"), ("counts", "n_draws")],
    "manipulation/faithfulness": [("counts", "n_samples"), ("n_samples", "n_draws")],
}


def check(chapter: str, name: str, value: Any, default: Any) -> None:
    """Refuse a value that a parameter cannot have, whatever the others are.

    Args:
        chapter: its name, for the sentence.
        name: of the parameter.
        value: what was given.
        default: the chapter's own value, of the kind that is wanted.

    Raises:
        ValueError: it is not of the default's kind, an empty list or text where the default is none, not finite, out of the
            bounds, or not among what is known.
    """
    what = f"parameter {name} of chapter {chapter}"
    if not _is_of_kind(value, default):
        raise ValueError(f"{what} is {checks.shown(value)}; it must be {_kind(default)} such as {default!r}.")
    known = _known(name)
    for item in _flat(value):
        if known is not None:
            checks.one_of(what if item is value else f"an item of {what}", item, known)
    for key, item in _numbers(name, value):
        place = f"{key} in " if key != name else "an item of " if item is not value else ""
        _bounds(key, default)(f"{place}{what}", item)


def check_together(chapter: str, parameters: Mapping[str, Any]) -> None:
    """Refuse parameters that exceed another one which bounds them.

    Raises:
        ValueError: one does.
    """
    for name, bound in WITHIN_OF.get(chapter, WITHIN.items()):
        if name in parameters and bound in parameters:
            most = parameters[bound]
            for item in _flat(parameters[name]):
                if item > most:
                    raise ValueError(
                        f"parameter {name} of chapter {chapter} is {checks.shown(parameters[name])}; it may be at most "
                        f"{bound}, which is {most}."
                    )


def _is_of_kind(value: Any, default: Any) -> bool:
    if default is None:
        return True
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(value, bool) and isinstance(default, bool)
    if isinstance(default, float):
        return isinstance(value, (int, float)) and abs(value) <= sys.float_info.max  # which NaN is not
    if isinstance(default, list) and isinstance(value, list):
        return not default or (bool(value) and all(_is_of_kind(item, default[0]) for item in value))
    return isinstance(value, type(default))


def _kind(default: Any) -> str:
    if isinstance(default, list):
        items = f" of {MANY[type(default[0])]}" if default else ""
        return f"a list{items}{', not empty,' if default else ''}"
    return KINDS[type(default)]


def _flat(value: Any) -> list[Any]:
    return [item for part in value for item in _flat(part)] if isinstance(value, list) else [value]


def _numbers(name: str, value: Any) -> list[tuple[str, Any]]:
    """Return each number in a value, with the name that says what it may be."""
    if isinstance(value, dict):
        return [pair for key, part in value.items() for pair in _numbers(str(key), part)]
    return [(name, item) for item in _flat(value) if isinstance(item, (int, float)) and not isinstance(item, bool)]


def _bounds(name: str, default: Any) -> Callable[[str, Any], Any]:
    """Return what refuses a number: of one in a dict without a default, the library knows more than that it is finite."""
    if name in NUMBERS:
        return NUMBERS[name]
    (first, *_) = _flat(default.get(name) if isinstance(default, dict) else default) or [None]
    if first is None:
        return checks.number
    return checks.count if isinstance(first, int) else partial(checks.number, above=0)


def _known(name: str) -> Iterable[str] | None:
    """Return what texts a parameter may have; None if any. What says it is imported only when it is asked."""
    if name in ("architecture", "method", "attacks"):
        from relevance.networks.architectures import ARCHITECTURES
        from relevance.studies.carbone import study

        return {"architecture": ARCHITECTURES, "method": study.METHODS, "attacks": study.attacks_by_name()}[name]
    if name == "recipes":
        from relevance.studies.carbone.recipes import KNOWN

        return KNOWN
    if name in ("settings", "others"):
        from relevance.studies.zeng import source

        return source.settings()
    if name == "rules":
        from relevance.studies.names import RULES

        return RULES
    if name == "explained":
        from relevance.studies.dombrowski.tradeoff import EXPLAINS

        return EXPLAINS
    if name == "sized_for":
        from relevance.studies.carbone.source import SHAPES

        return SHAPES
    return None
