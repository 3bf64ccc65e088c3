"""Which parameters a chapter is executed with: its defaults, a profile's, and those given from outside."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from relevance.base import checks
from relevance.pages.press.chapters import BookError, Chapter


def profile_parameters(root: Path, profile: str, chapters: Sequence[Chapter]) -> dict[str, dict[str, Any]]:
    """Read ``book/profiles/<profile>.yml``: chapter name -> parameters.

    The file's ``common`` parameters go to every chapter that has them; those under ``chapters`` to the one named.

    Raises:
        BookError: the profile, a chapter or a parameter is unknown, or the file is not of this form.
    """
    folder = root / "book" / "profiles"
    known = sorted(path.stem for path in folder.glob("*.yml"))
    if profile not in known:
        raise BookError(f"profile is {profile!r}; it may be one of: {', '.join(known)}.")
    try:
        content = yaml.safe_load((folder / f"{profile}.yml").read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise BookError(f"profile {profile} is not YAML: {error}") from None
    _check_mapping(content, f"profile {profile}")
    if odd := sorted(map(str, content.keys() - {"common", "chapters"})):
        raise BookError(f"profile {profile} has the sections {', '.join(odd)}; it may have: common, chapters.")
    common, single = (content.get(section) or {} for section in ("common", "chapters"))
    _check_mapping(common, f"section common of profile {profile}")
    _check_mapping(single, f"section chapters of profile {profile}")
    chosen: dict[str, dict[str, Any]] = {chapter.name: {} for chapter in chapters}
    give_common(chosen, common, chapters, f"profile {profile}")
    for name, parameters in single.items():
        if name not in chosen:
            raise BookError(
                f"profile {profile} names the chapter {name!r}; it may be one of: {checks.among(name, chosen)}."
            )
        _check_mapping(parameters or {}, f"chapter {name} of profile {profile}")
        chosen[name].update(parameters or {})
    return chosen


def _check_mapping(value: Any, what: str) -> None:
    if not isinstance(value, dict):
        raise BookError(f"{what} is {value!r}; it must be names with values.")


def give_common(
    chosen: dict[str, dict[str, Any]], common: Mapping[str, Any], chapters: Sequence[Chapter], who: str
) -> None:
    """Add ``common`` parameters to every chapter that has them.

    Raises:
        BookError: no chapter has one of them.
    """
    known = sorted({name for chapter in chapters for name in chapter.parameters})
    for name, value in common.items():
        if name not in known:
            raise BookError(
                f"{who} sets the parameter {name!r}, which no chapter has; it may be one of: {checks.among(name, known)}."
            )
        for chapter in chapters:
            if name in chapter.parameters:
                chosen[chapter.name][name] = value


def resolve(
    root: Path, chapters: Sequence[Chapter], profile: str, common: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Return every chapter's whole parameters: defaults, then the profile's, then those given for the whole book."""
    given = profile_parameters(root, profile, chapters)
    give_common(given, common, chapters, "the command")
    return {chapter.name: chapter.resolved(given[chapter.name]) for chapter in chapters}


def parse_value(text: str) -> Any:
    """Read a value from the command line: JSON or a Python literal, such as 0.1, true, [1, 10]; else the text itself."""
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError):
            continue
    return text


def assignments(text: str) -> dict[str, Any]:
    """Read ``name=value`` pairs; a value may have spaces, such as ``n_samples=[1, 10]``."""
    pairs = {}
    for item in re.split(r"\s+(?=\S+?=)", text.strip()) if text.strip() else []:
        name, equals, value = item.partition("=")
        if not equals or not name:
            raise BookError(f"a parameter is given as {item!r}; it must be name=value, such as epsilon=0.1.")
        pairs[name] = parse_value(value)
    return pairs
