from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from relevance.base import checks


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)], ids=repr)
def test_a_whole_number_comes_back_as_an_int(value):
    found = checks.count("n", value, at_least=3, at_most=3)
    assert (found, type(found)) == (3, int)


@pytest.mark.parametrize("value", [0, -1, 1.0, 2.5, True, "1", None, math.nan, torch.tensor(1)], ids=repr)
def test_a_wrong_count_gets_a_sentence(value):
    with pytest.raises(ValueError) as error:
        checks.count("n_steps", value)
    assert str(error.value) == f"n_steps is {value!r}; it must be a whole number of at least 1."


@pytest.mark.parametrize("value", [1, 6])
def test_a_count_beyond_its_bounds_gets_both(value):
    with pytest.raises(ValueError) as error:
        checks.count("n", value, at_least=2, at_most=5)
    assert str(error.value) == f"n is {value}; it must be a whole number of at least 2 and at most 5."


@pytest.mark.parametrize("value", [2, 2.0, np.float32(2), np.int64(2), Fraction(2)], ids=repr)
def test_a_number_comes_back_as_a_float(value):
    for bounds in ({}, {"at_least": 2}, {"at_most": 2}, {"above": 1.999}, {"at_least": 2, "at_most": 2}):
        found = checks.number("epsilon", value, **bounds)
        assert (found, type(found)) == (2.0, float)


@pytest.mark.parametrize(
    ("value", "bounds", "wanted"),
    [
        (math.nan, {}, "a finite number"),
        (math.inf, {"at_least": 0}, "a finite number at least 0"),
        (-math.inf, {"at_most": 0.5}, "a finite number at most 0.5"),
        (True, {}, "a finite number"),
        ("0.1", {}, "a finite number"),
        (None, {"above": 0}, "a finite number above 0"),
        (1j, {}, "a finite number"),
        (-1e-12, {"at_least": 0}, "a finite number at least 0"),
        (0, {"above": 0}, "a finite number above 0"),
        (0.0, {"above": 0, "at_most": 100}, "a finite number above 0 and at most 100"),
        (100.5, {"above": 0, "at_most": 100}, "a finite number above 0 and at most 100"),
        (2, {"at_least": 0, "at_most": 1}, "a finite number at least 0 and at most 1"),
    ],
)
def test_a_wrong_number_gets_a_sentence_with_its_bounds(value, bounds, wanted):
    with pytest.raises(ValueError) as error:
        checks.number("epsilon", value, **bounds)
    assert str(error.value) == f"epsilon is {value!r}; it must be {wanted}."


@pytest.mark.parametrize("value", ["l1", "", "LINF", None, 2, ["linf"]], ids=repr)
def test_a_name_that_is_not_known_gets_those_that_are(value):
    assert checks.one_of("norm", "l2", ("linf", "l2")) == "l2"
    with pytest.raises(ValueError) as error:
        checks.one_of("norm", value, ("linf", "l2"))
    assert str(error.value) == f"norm is {value!r}; it may be one of: l2, linf."


@dataclass(frozen=True)
class Walk:
    length: float
    n_steps: int = 3


def test_settings_are_taken_by_their_names_and_others_refused():
    assert checks.settings(Walk, {"length": 0.5}) == Walk(0.5, 3)
    assert checks.settings(Walk, {"n_steps": 7, "length": 0.5}) == Walk(0.5, 7)
    with pytest.raises(ValueError) as error:
        checks.settings(Walk, {"length": 0.5, "steps": 7})
    assert str(error.value) == "'steps' is not a setting here; it may be one of: length, n_steps."


@pytest.mark.parametrize("kind", [torch.int64, torch.int32])
def test_class_indices_come_back_as_long(kind):
    given = torch.tensor([0, 2, 1], dtype=kind)
    found = checks.class_indices("target", given, 3, 3)
    assert found.dtype == torch.int64
    assert found.tolist() == [0, 2, 1]
    assert checks.class_indices("target", given[:0], 0, 3).shape == (0,)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([0, 1, 2], "target is a list; it must be a tensor of whole numbers, one class an image."),
        (
            torch.tensor([0.0, 1.0, 2.0]),
            "target is a tensor of torch.float32; it must be a tensor of whole numbers, one class an image.",
        ),
        (torch.tensor([0, 1]), "target has shape [2]; it must have shape [3], one class an image."),
        (torch.tensor([[0, 1, 2]]), "target has shape [1, 3]; it must have shape [3], one class an image."),
        (torch.tensor(0), "target has shape []; it must have shape [3], one class an image."),
        (torch.tensor([0, 1, 3]), "target has classes from 0 to 3; they must lie between 0 and 2."),
        (torch.tensor([-1, 1, 2]), "target has classes from -1 to 2; they must lie between 0 and 2."),
    ],
    ids=str,
)
def test_wrong_class_indices_get_a_sentence(value, message):
    with pytest.raises(ValueError) as error:
        checks.class_indices("target", value, 3, 3)
    assert str(error.value) == message


def batch(*values, dtype=torch.float32):
    return torch.tensor(values, dtype=dtype).reshape(1, 1, 1, -1)


def test_what_is_off_by_a_rounding_is_brought_back_to_the_edge():
    images = batch(1 + 1e-7, 0.25, -1e-7)
    assert images.max() > 1
    assert checks.pixels("images", images).flatten().tolist() == [1, 0.25, 0]
    exact = batch(1, 0.25, 0)
    assert checks.pixels("images", exact) is exact
    assert checks.pixels("images", exact[:0]).shape == (0, 1, 1, 3)
    fine = batch(1 + 1e-15, -1e-15, dtype=torch.float64)
    assert checks.pixels("images", fine).flatten().tolist() == [1, 0]


@pytest.mark.parametrize(
    ("images", "told"),
    [
        (batch(0, 1.001), "from 0 to 1.001"),
        (batch(-0.1, 255), "from -0.1 to 255"),
        (batch(0, 1 + 1e-5), "from 0 to 1.00001"),
        (batch(0, 1.001, dtype=torch.float64), "from 0 to 1.001"),
        (batch(0.5, 1 + 1e-9, dtype=torch.float64), "from 0.5 to 1.000000001"),
        (batch(-1e-9, 1, dtype=torch.float64), "from -1e-09 to 1"),
    ],
    ids=str,
)
def test_pixels_beyond_the_range_are_told_in_digits_that_show_it(images, told):
    with pytest.raises(ValueError) as error:
        checks.pixels("images", images)
    assert f"images has values {told}; they must lie in [0, 1]" in str(error.value)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_the_least_that_is_refused_is_not_told_as_one(kind):
    beyond = torch.full((1, 1, 1, 1), 1 + 9 * torch.finfo(kind).eps, dtype=torch.float64).to(kind)
    with pytest.raises(ValueError, match=r"values from 1\.0\d+ to 1\.0\d+;"):
        checks.pixels("images", beyond)


@dataclass(frozen=True)
class Stroll(checks.Checked):
    """Settings with every kind of bound, with a default and without."""

    kind: str = checks.choice(known=("slow", "fast"))
    size: float = checks.real(at_least=0, at_most=2)
    steps: int = checks.whole(3)
    rest: int = checks.whole(0, at_least=0, at_most=9)
    width: float | None = checks.real(None, above=0)
    hat: str | None = checks.choice(None, ("red", "blue"))
    back: bool = checks.flag(False)
    free: object = None


@dataclass(frozen=True)
class Hike(Stroll):
    """Settings with a check between fields."""

    stops: int = checks.whole(1)

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.count("stops", self.stops, at_most=self.steps)


@dataclass(frozen=True, eq=False)
class Itself(checks.Checked):
    """Settings that equal nothing else."""

    steps: int = checks.whole(3)


def test_settings_keep_what_is_given_and_defaults():
    walk = Stroll("slow", 1, width=2.5)
    assert asdict(walk) == {
        "kind": "slow",
        "size": 1,
        "steps": 3,
        "rest": 0,
        "width": 2.5,
        "hat": None,
        "back": False,
        "free": None,
    }
    assert walk == Stroll("slow", 1, width=2.5) != Stroll("fast", 1, width=2.5)
    assert (Stroll.steps, Stroll.width) == (3, None)
    assert Itself() != Itself()
    with pytest.raises(TypeError, match="missing 2 required positional arguments: 'kind' and 'size'"):
        Stroll()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"kind": "lame"}, "kind is 'lame'; it may be one of: fast, slow."),
        ({"kind": None}, "kind is None; it may be one of: fast, slow."),
        ({"size": -1}, "size is -1; it must be a finite number at least 0 and at most 2."),
        ({"size": float("nan")}, "size is nan; it must be a finite number at least 0 and at most 2."),
        ({"steps": 0}, "steps is 0; it must be a whole number of at least 1."),
        ({"steps": 2.0}, "steps is 2.0; it must be a whole number of at least 1."),
        ({"steps": None}, "steps is None; it must be a whole number of at least 1."),
        ({"rest": 10}, "rest is 10; it must be a whole number of at least 0 and at most 9."),
        ({"width": 0}, "width is 0; it must be a finite number above 0."),
        ({"hat": "green"}, "hat is 'green'; it may be one of: blue, red."),
        ({"back": 1}, "back is 1; it must be True or False."),
        ({"steps": 0, "size": 3}, "size is 3; it must be a finite number at least 0 and at most 2."),
        ({"stops": 4}, "stops is 4; it must be a whole number of at least 1 and at most 3."),
        ({"stops": 4, "back": None}, "back is None; it must be True or False."),
    ],
)
def test_settings_beyond_their_bounds_get_a_sentence(given, sentence):
    first = Hike("slow", 1)
    for make in (lambda: Hike(**{"kind": "slow", "size": 1, **given}), lambda: replace(first, **given)):
        with pytest.raises(ValueError) as caught:
            make()
        assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.rand(2, 1, 5, 5), r"images has shape \[2, 1, 5, 5\]; it must have shape \[N, 1, 4, 4\]"),
        (torch.rand(1, 4, 4), r"images has shape \[1, 4, 4\]"),
        (torch.full((2, 1, 4, 4), 1.5), r"images has values from 1.5 to 1.5; they must lie in \[0, 1\]"),
        (torch.full((2, 1, 4, 4), -0.1), r"images has values from -0.1"),
        (torch.full((2, 1, 4, 4), float("nan")), "images has values that are NaN or infinite"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.int64), "images is a tensor of torch.int64"),
        ([[0.0]], "images is a list"),
    ],
)
def test_bad_images_get_a_sentence(dense_posterior, images, message):
    with pytest.raises(ValueError, match=message):
        dense_posterior.predict(images)


@pytest.mark.parametrize("value", [0, 7, np.int64(7), 2**63 - 1], ids=repr)
def test_a_seed_comes_back_as_an_int(value):
    assert type(checks.seed("seed", value)) is int
    assert torch.Generator().manual_seed(checks.seed("seed", value)).initial_seed() == value


@pytest.mark.parametrize("value", [-1, 2**63, 2**70, 0.5, True, None, "0", [1]], ids=repr)
def test_what_is_no_seed_gets_a_sentence(value):
    with pytest.raises(
        ValueError, match=r"seed is .*; it must be a whole number of at least 0 and at most 9223372036854775807"
    ):
        checks.seed("seed", value)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (10**400, "10000"),
        (10**5000, "a whole number of 16610 bits"),
        ("x" * 1000, "'xxx"),
        (list(range(1000)), "[0, 1, 2"),
    ],
    ids=["many digits", "more than Python writes", "text", "list"],
)
def test_a_long_value_is_cut(value, said):
    for check in (checks.number, checks.truth, checks.image_shape):
        with pytest.raises(ValueError) as caught:
            check("n", value)
        assert str(caught.value).startswith(f"n is {said}")
        assert len(str(caught.value)) < 150


@pytest.mark.parametrize("kind", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64], ids=str)
def test_classes_may_be_any_whole_numbers(kind):
    found = checks.class_indices("target", torch.tensor([0, 2, 1], dtype=kind), 3, 3)
    assert found.dtype == torch.int64
    assert found.tolist() == [0, 2, 1]


ODD = {
    "sparse": (torch.eye(3).to_sparse(), "target is a sparse tensor of torch.float32"),
    "meta": (torch.zeros(3, dtype=torch.int64, device="meta"), r"target is a valueless \(meta\) tensor of torch.int64"),
    "truth": (torch.ones(3, dtype=torch.bool), "target is a tensor of torch.bool"),
    "complex": (torch.ones(3, dtype=torch.complex64), "target is a tensor of torch.complex64"),
}


@pytest.mark.parametrize("odd", ODD)
def test_tensors_that_nothing_is_computed_with_get_a_sentence(odd):
    value, said = ODD[odd]
    for check in (
        lambda: checks.class_indices("target", value, 3, 3),
        lambda: checks.pixels("target", value),
        lambda: checks.maps("target", value),
        lambda: checks.probabilities("target", value),
    ):
        with pytest.raises(ValueError, match=said):
            check()


@pytest.mark.parametrize("kind", [torch.float32, torch.float64], ids=str)
def test_probabilities_are_taken_with_their_roundings(kind):
    logits = 50 * torch.randn((200, 1000), generator=torch.Generator().manual_seed(0), dtype=kind)
    for given in (logits.softmax(1), logits.log_softmax(1).exp(), logits.float().softmax(1).double()):
        assert checks.probabilities("before", given) is given
    assert checks.probabilities("before", logits[:0]).shape == (0, 1000)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (torch.tensor([[2.0, -1.0]]), "each must lie in .0, 1. and add up to 1"),
        (torch.tensor([[0.5, 0.4]]), "each must lie in .0, 1. and add up to 1"),
        (torch.tensor([[0.5, math.nan]]), "NaN or infinite; they must be probabilities"),
        (torch.tensor([0.5, 0.5]), r"before has shape \[2\]; it must have shape \[N, K\]"),
        (np.array([[0.5, 0.5]]), "before is a ndarray; it must be a float tensor"),
    ],
    ids=str,
)
def test_what_are_no_probabilities_gets_a_sentence(value, said):
    with pytest.raises(ValueError, match=said):
        checks.probabilities("before", value)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([0.0], r"maps is a list; it must be a tensor of shape \[2, 1, 4, 4\]."),
        (np.zeros((2, 1, 4, 4)), r"maps is a ndarray; it must be a tensor of shape \[2, 1, 4, 4\]."),
        (torch.zeros(2, 4, 4), r"maps has shape \[2, 4, 4\]; it must have shape \[2, 1, 4, 4\], a map of each image."),
        (torch.full((2, 1, 4, 4), math.nan), "maps has values that are NaN or infinite; they must be numbers."),
        (torch.full((2, 1, 4, 4), math.inf), "maps has values that are NaN or infinite; they must be numbers."),
    ],
    ids=["list", "array", "shape", "nan", "infinite"],
)
def test_maps_that_are_none_of_the_images_get_a_sentence(value, said):
    with pytest.raises(ValueError, match=said):
        checks.maps("maps", value, (2, 1, 4, 4))


@pytest.mark.parametrize("value", [1.0, torch.ones(()), torch.ones(2), torch.ones(3, 1), None], ids=str)
def test_a_loss_is_one_number_of_each_image(value):
    with pytest.raises(ValueError, match="loss gives .* for 3 images; it must give losses"):
        checks.results("loss", value, 3, "losses", one_number=True)
    assert checks.results("loss", torch.ones(3), 3, "losses", one_number=True).shape == (3,)


@pytest.mark.parametrize("value", [(4, 4), (1, 0, 4), (1, 4.0, 4), (True, 4, 4), "abc", 4, None], ids=repr)
def test_what_is_no_shape_of_an_image_gets_a_sentence(value):
    assert checks.image_shape("image_shape", [1, np.int64(4), 5]) == (1, 4, 5)
    with pytest.raises(ValueError) as caught:
        checks.image_shape("image_shape", value)
    assert str(caught.value) == f"image_shape is {value!r}; it must be (C, H, W), whole numbers of at least 1."


def test_long_lists_are_cut_to_what_is_most_like_the_given():
    assert checks.among("x", ["a", "b"]) == "a, b"
    many = [f"chapter-number-{number}" for number in range(30)]
    assert checks.among("chapter-number-17", many).startswith("chapter-number-17, ")
    assert checks.among("x", many).endswith(", or another of the 30 that there are")
    with pytest.raises(
        ValueError, match="one is 'chapter-number-17x'; it may be one of: chapter-number-17, .* of the 30 that"
    ):
        checks.one_of("one", "chapter-number-17x", many)
