"""What bad input gets: one sentence that names the argument, what it was, and what it may be."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from functools import partial
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

SettingsType = TypeVar("SettingsType", bound="DataclassInstance")
# The largest that every generator takes, also where a few are counted on from it.
LARGEST_SEED = 2**63 - 1


def shown(value: Any) -> str:
    """Return a value as a sentence shows it: as Python writes it, cut to what there is room for."""
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # Python writes no whole number of more than 4,300 digits
        text = f"a whole number of {value.bit_length()} bits"
    return text if len(text) <= 60 else f"{text[:57]}..."


def _kind(value: Any) -> str:
    if value is None or isinstance(value, (str, Real)):
        return shown(value)
    if isinstance(value, Tensor):
        lacking = "a sparse " if value.layout != torch.strided else "a " if not value.is_meta else "a valueless (meta) "
        return f"{lacking}tensor of {value.dtype}"
    name = type(value).__name__
    return f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}"


def kind_of(name: str, value: Any, kind: type | tuple[type, ...], wanted: str) -> Any:
    """Return ``value`` if it is of a kind, or say what is ``wanted``."""
    if not isinstance(value, kind):
        raise ValueError(f"{name} is {_kind(value)}; it must be {wanted}.")
    return value


def function(name: str, value: Any, wanted: str = "a function") -> Any:
    """Return ``value`` if it can be called, or say that it must be."""
    if not callable(value):
        raise ValueError(f"{name} is {shown(value)}; it must be {wanted}.")
    return value


def path(name: str, value: Any) -> Path:
    """Return ``value`` if it is a path, or say that it must be."""
    return Path(kind_of(name, value, (str, Path), "a path"))


def named(name: str, value: Any, wanted: str) -> Mapping[str, Any]:
    """Return ``value`` if it maps some names to what is ``wanted``, which is not looked at, or say that it must."""
    if not isinstance(value, Mapping) or not value:
        given = "empty" if isinstance(value, Mapping) else _kind(value)
        raise ValueError(f"{name} is {given}; it must be a mapping of one or more names to {wanted}.")
    return value


def settings(kind: type[SettingsType], given: Mapping[str, Any]) -> SettingsType:
    """Return the settings of an algorithm, or say which of the given names it does not know."""
    known = [one.name for one in fields(kind)]
    for name in given:
        if name not in known:
            raise ValueError(f"{name!r} is not a setting here; it may be one of: {', '.join(known)}.")
    return kind(**given)


def one_of(name: str, value: Any, known: Iterable[str]) -> str:
    """Return ``value`` if it is among ``known``, or say what is known."""
    names = sorted(known)
    if not isinstance(value, str) or value not in names:
        raise ValueError(f"{name} is {shown(value)}; it may be one of: {among(str(value), names, most=200)}.")
    return value


def among(given: str, names: Iterable[str], *, most: int = 150) -> str:
    """Return ``names`` for the end of a sentence; of more than ``most`` letters of them, those most like what was ``given``."""
    every = list(names)
    if sum(map(len, every)) <= most:
        return ", ".join(every)
    likest = difflib.get_close_matches(given, every, n=3, cutoff=0)
    return f"{', '.join(likest)}, or another of the {len(every)} that there are"


def number(
    name: str,
    value: Any,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
) -> float:
    """Return ``value`` as a finite float within the stated bounds, or say which bounds it breaks."""
    bounds = [
        *([f"at least {at_least:g}"] if at_least is not None else []),
        *([f"above {above:g}"] if above is not None else []),
        *([f"at most {at_most:g}"] if at_most is not None else []),
    ]
    wanted = "a finite number" + (" " + " and ".join(bounds) if bounds else "")
    if (
        not _is_finite(value)
        or (at_least is not None and value < at_least)
        or (above is not None and value <= above)
        or (at_most is not None and value > at_most)
    ):
        raise ValueError(f"{name} is {shown(value)}; it must be {wanted}.")
    return float(value)


def _is_finite(value: Any) -> bool:
    try:
        return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        return False


def numbers(
    name: str, value: Any, wanted: str = "one or more numbers", size: int | None = None, **bounds: float
) -> list[float]:
    """Return ``value`` as finite floats if it is a sequence of ``size`` numbers within bounds, or say what it must be."""
    items = list(value) if isinstance(value, Iterable) and not isinstance(value, (str, Mapping)) else []
    if not items or (size is not None and len(items) != size):
        raise ValueError(f"{name} is {shown(value)}; it must be a list of {wanted}.")
    return [number(f"an item of {name}", item, **bounds) for item in items]


def count(name: str, value: Any, *, at_least: int = 1, at_most: int | None = None) -> int:
    """Return ``value`` as a whole number within the stated bounds, or say which bounds it breaks."""
    wanted = f"a whole number of at least {at_least}" + (f" and at most {at_most}" if at_most is not None else "")
    is_whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not is_whole or value < at_least or (at_most is not None and value > at_most):
        raise ValueError(f"{name} is {shown(value)}; it must be {wanted}.")
    return int(value)


def seed(name: str, value: Any, *, after: int = 0) -> int:
    """Return ``value`` as a seed of random numbers, from which ``after`` more are counted on, or say what it may be."""
    return count(name, value, at_least=0, at_most=LARGEST_SEED - after)


def image_shape(name: str, value: Any) -> tuple[int, int, int]:
    """Return ``value`` as the shape (C, H, W) of an image, or say that it must be one."""
    sides = list(value) if isinstance(value, Iterable) else []
    if len(sides) != 3 or not all(isinstance(side, Integral) and int(side) >= 1 and side is not True for side in sides):
        raise ValueError(f"{name} is {shown(value)}; it must be (C, H, W), whole numbers of at least 1.")
    channels, height, width = map(int, sides)
    return channels, height, width


def truth(name: str, value: Any) -> bool:
    """Return ``value`` if it is True or False, or say that it must be."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} is {shown(value)}; it must be True or False.")
    return value


# Fields of :class:`Checked` settings: the default first, if there is one, then what a value may be. What they give is Any, so
# that the annotation of the field is what type checkers know.


def real(
    default: Any = MISSING, *, at_least: float | None = None, above: float | None = None, at_most: float | None = None
) -> Any:
    """Return a field that is a :func:`number` within the bounds."""
    return field(default=default, metadata={"check": partial(number, at_least=at_least, above=above, at_most=at_most)})


def whole(default: Any = MISSING, *, at_least: int = 1, at_most: int | None = None) -> Any:
    """Return a field that is a :func:`count` within the bounds."""
    return field(default=default, metadata={"check": partial(count, at_least=at_least, at_most=at_most)})


def seeded(default: Any = 0) -> Any:
    """Return a field that is a :func:`seed`."""
    return field(default=default, metadata={"check": seed})


def choice(default: Any = MISSING, known: Iterable[str] = ()) -> Any:
    """Return a field that is :func:`one_of` the ``known``."""
    return field(default=default, metadata={"check": partial(one_of, known=known)})


def flag(default: Any = MISSING) -> Any:
    """Return a field that is a :func:`truth`."""
    return field(default=default, metadata={"check": truth})


@dataclass(frozen=True, eq=False)
class Checked:
    """Settings that refuse values beyond the bounds of their fields, in the order of the fields.

    None passes where it is the field's default. Bounds that depend on other fields are checked in ``__post_init__`` of the
    class that has them, after this one's.
    """

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if "check" in one.metadata and not (value is None and one.default is None):
                one.metadata["check"](one.name, value)


def tensor(name: str, value: Any, wanted: str, *kinds: str) -> Tensor:
    """Return ``value`` if it is a tensor in the memory of a device, of values of these kinds, or say what is ``wanted``.

    The kinds are ``"float"``, ``"whole"``, ``"complex"`` and ``"truth"``; the first two if none is given.
    """
    usable = isinstance(value, Tensor) and value.layout == torch.strided and not value.is_meta
    if not usable or _values(value) not in (kinds or ("float", "whole")):
        raise ValueError(f"{name} is {_kind(value)}; it must be {wanted}.")
    return value


def _values(value: Tensor) -> str:
    if value.dtype == torch.bool:
        return "truth"
    return "float" if value.is_floating_point() else "complex" if value.is_complex() else "whole"


def finite(name: str, value: Tensor, wanted: str = "numbers") -> Tensor:
    """Return a tensor if none of its values is NaN or infinite, or say that none may be."""
    # The extremes are NaN where any value is; unlike isfinite of all values, they need no memory.
    if value.numel() and not torch.isfinite(torch.stack(value.detach().aminmax())).all():
        raise ValueError(f"{name} has values that are NaN or infinite; they must be {wanted}.")
    return value


def maps(name: str, value: Any, shape: Sequence[int] | None = None) -> Tensor:
    """Return ``value`` if it is a map of each image, [N, ...], of finite numbers, or of ``shape`` where that is known."""
    wanted = "[N, ...]" if shape is None else str(list(shape))
    tensor(name, value, f"a tensor of shape {wanted}")
    if value.ndim < 2 or 0 in value.shape[1:] or (shape is not None and tuple(value.shape) != tuple(shape)):
        raise ValueError(f"{name} has shape {list(value.shape)}; it must have shape {wanted}, a map of each image.")
    return finite(name, value)


def probabilities(name: str, value: Any) -> Tensor:
    """Return ``value`` if each of its rows, [N, K], are probabilities that add up to 1, but for rounding."""
    tensor(name, value, "a float tensor of shape [N, K]", "float")
    if value.ndim != 2 or not value.shape[1]:
        raise ValueError(f"{name} has shape {list(value.shape)}; it must have shape [N, K].")
    finite(name, value, "probabilities")
    # What was computed in single precision may be given in double.
    rounding = 64 * max(torch.finfo(value.dtype).eps, torch.finfo(torch.float32).eps)
    if ((value < -rounding) | (value > 1 + rounding)).any() or ((value.sum(1) - 1).abs() > rounding).any():
        raise ValueError(f"{name} has rows that are no probabilities; each must lie in [0, 1] and add up to 1.")
    return value


def results(name: str, value: Any, n_images: int, wanted: str, *, one_number: bool = False) -> Tensor:
    """Return what a function gave for some images if it is a tensor [N, ...], or [N] where it is ``one_number`` of each.

    Else say what is ``wanted``.
    """
    if not isinstance(value, Tensor) or value.ndim == 0 or len(value) != n_images or (value.ndim == 1) != one_number:
        given = f"a tensor of shape {list(value.shape)}" if isinstance(value, Tensor) else _kind(value)
        raise ValueError(f"{name} gives {given} for {n_images} images; it must give {wanted}.")
    return value


def image_batch(name: str, value: Any, shape: tuple[int, ...] | None = None) -> Tensor:
    """Return ``value`` if it is a float batch ``[N, C, H, W]``, of image shape ``shape`` where that is known."""
    tensor(name, value, "a float tensor of shape [N, C, H, W]", "float")
    if value.ndim != 4 or (shape is not None and tuple(value.shape[1:]) != tuple(shape)):
        wanted = "[N, C, H, W]" if shape is None else f"[N, {', '.join(map(str, shape))}]"
        raise ValueError(f"{name} has shape {list(value.shape)}; it must have shape {wanted}.")
    return value


def some_images(name: str, value: Any) -> Tensor:
    """Return a batch if there is an image in it, over which a mean can be taken, or say that there must be."""
    if not len(image_batch(name, value)):
        raise ValueError(f"{name} has 0 images; it must have at least 1, since a mean over them is taken.")
    return value


def pixels(name: str, value: Any, shape: tuple[int, ...] | None = None) -> Tensor:
    """Return ``value`` if it is a batch of images without NaN whose values lie in [0, 1].

    Values that are outside by no more than a few roundings, as arithmetic leaves them, are brought back to the edge.
    """
    image_batch(name, value, shape)
    finite(name, value, "numbers in [0, 1]")
    if value.numel():
        low, high = value.aminmax()
        precision = torch.finfo(value.dtype).eps
        rounding = 8 * precision
        if low < -rounding or high > 1 + rounding:
            # As many digits as show what is refused: 7 in float32, 16 in float64.
            digits = math.ceil(-math.log10(precision))
            raise ValueError(
                f"{name} has values from {low.item():.{digits}g} to {high.item():.{digits}g}; they must lie in [0, 1] "
                "(normalisation belongs inside the network)."
            )
        if low < 0 or high > 1:
            return value.clamp(0, 1)
    return value


def class_indices(name: str, value: Any, n_images: int, n_classes: int) -> Tensor:
    """Return ``value`` if it is a class index in ``[0, n_classes)`` for each of ``n_images`` images."""
    tensor(name, value, "a tensor of whole numbers, one class an image", "whole")
    if tuple(value.shape) != (n_images,):
        raise ValueError(f"{name} has shape {list(value.shape)}; it must have shape [{n_images}], one class an image.")
    if value.numel() and (value.min() < 0 or value.max() >= n_classes):
        raise ValueError(
            f"{name} has classes from {int(value.min())} to {int(value.max())}; "
            f"they must lie between 0 and {n_classes - 1}."
        )
    return value.long()
