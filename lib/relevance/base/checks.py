"""What bad input gets: one sentence that names the argument, what it was, and what it may be."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from functools import partial
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

SettingsType = TypeVar("SettingsType", bound="DataclassInstance")


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
        raise ValueError(f"{name} is {value!r}; it may be one of: {', '.join(names)}.")
    return value


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
    is_number = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if (
        not is_number
        or (at_least is not None and value < at_least)
        or (above is not None and value <= above)
        or (at_most is not None and value > at_most)
    ):
        raise ValueError(f"{name} is {value!r}; it must be {wanted}.")
    return float(value)


def count(name: str, value: Any, *, at_least: int = 1, at_most: int | None = None) -> int:
    """Return ``value`` as a whole number within the stated bounds, or say which bounds it breaks."""
    wanted = f"a whole number of at least {at_least}" + (f" and at most {at_most}" if at_most is not None else "")
    is_whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not is_whole or value < at_least or (at_most is not None and value > at_most):
        raise ValueError(f"{name} is {value!r}; it must be {wanted}.")
    return int(value)


def truth(name: str, value: Any) -> bool:
    """Return ``value`` if it is True or False, or say that it must be."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} is {value!r}; it must be True or False.")
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


def image_batch(name: str, value: Any, shape: tuple[int, ...] | None = None) -> Tensor:
    """Return ``value`` if it is a float batch ``[N, C, H, W]``, of image shape ``shape`` where that is known."""
    if not isinstance(value, Tensor) or not value.is_floating_point():
        kind = f"a tensor of {value.dtype}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
        raise ValueError(f"{name} is {kind}; it must be a float tensor of shape [N, C, H, W].")
    if value.ndim != 4 or (shape is not None and tuple(value.shape[1:]) != tuple(shape)):
        wanted = "[N, C, H, W]" if shape is None else f"[N, {', '.join(map(str, shape))}]"
        raise ValueError(f"{name} has shape {list(value.shape)}; it must have shape {wanted}.")
    return value


def pixels(name: str, value: Any, shape: tuple[int, ...] | None = None) -> Tensor:
    """Return ``value`` if it is a batch of images without NaN whose values lie in [0, 1].

    Values that are outside by no more than a few roundings, as arithmetic leaves them, are brought back to the edge.
    """
    image_batch(name, value, shape)
    if not torch.isfinite(value).all():
        raise ValueError(f"{name} has values that are NaN or infinite; they must be numbers in [0, 1].")
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
    if not isinstance(value, Tensor) or value.dtype not in (torch.int64, torch.int32):
        kind = f"a tensor of {value.dtype}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
        raise ValueError(f"{name} is {kind}; it must be a tensor of whole numbers, one class an image.")
    if tuple(value.shape) != (n_images,):
        raise ValueError(f"{name} has shape {list(value.shape)}; it must have shape [{n_images}], one class an image.")
    if value.numel() and (value.min() < 0 or value.max() >= n_classes):
        raise ValueError(
            f"{name} has classes from {int(value.min())} to {int(value.max())}; "
            f"they must lie between 0 and {n_classes - 1}."
        )
    return value.long()
