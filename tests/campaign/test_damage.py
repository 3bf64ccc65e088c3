"""Kept results damaged in every way that comes to mind: each is computed anew, with a sentence that names it; none is served."""

from __future__ import annotations

import random
import shutil

import pandas as pd
import pytest
import torch
from torch import nn

from relevance.networks import architectures
from relevance.networks.posterior import Posterior
from relevance.studies import files
from relevance.studies.store import Store

pytestmark = pytest.mark.slow
CALLS = []
X = torch.arange(6.0).reshape(2, 3)


def library_posterior(seed):
    CALLS.append(seed)
    torch.manual_seed(seed)
    return Posterior.of(architectures.fully_connected((1, 2, 2), 3), {"method": "none", "seed": seed})


def own_posterior(network):
    CALLS.append("own")
    return Posterior.of(network)


def tensor(values):
    CALLS.append("tensor")
    return 2 * values


def tensors(values):
    CALLS.append("tensors")
    return {"one": values.bfloat16(), "two/2": -values, "": values.long()}


def table(n):
    CALLS.append("table")
    return pd.DataFrame({"index": range(n), 3: [0.1] * n, "s": ["", *["x"] * (n - 1)]}).rename_axis("row")


def own_network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.BatchNorm1d(3))


KINDS = {"library's posterior": (library_posterior, 1), "own posterior": (own_posterior, own_network()), "tensor": (tensor, X),
         "tensors": (tensors, X), "table": (table, 5)}  # fmt: skip
FILES = ("content", "seconds", "hardware", "sums")


def flipped(content, place, bit=0):
    return content[:place] + bytes([content[place] ^ (1 << bit)]) + content[place + 1 :]


def random_flip(content, draw):
    return flipped(content, draw.randrange(len(content)), draw.randrange(8))


DAMAGES = {
    **{f"flip {number}": random_flip for number in range(12)},
    "first byte flipped": lambda content, draw: flipped(content, 0),
    "last byte flipped": lambda content, draw: flipped(content, len(content) - 1),
    "cut somewhere": lambda content, draw: content[: draw.randrange(len(content))],
    "one byte short": lambda content, draw: content[:-1],
    "one byte more": lambda content, draw: content + b"\0",
    "a line more": lambda content, draw: content + b"\n",
    "doubled": lambda content, draw: content * 2,
    "empty": lambda content, draw: b"",
    "[]": lambda content, draw: b"[]",
    "{}": lambda content, draw: b"{}",
    "null": lambda content, draw: b"null",
    "zeros": lambda content, draw: bytes(len(content)),
    "garbage": lambda content, draw: draw.randbytes(len(content)),
    "nested without end": lambda content, draw: b"[" * 100_000,
    "not text": lambda content, draw: b"\xff\xfe" + content,
}


def file_of(path, which):
    if which == "content":
        (name,) = {file.name for file in path.iterdir()} - {files.SECONDS, files.HARDWARE, files.SUMS}
        return path / name
    return path / {"seconds": files.SECONDS, "hardware": files.HARDWARE, "sums": files.SUMS}[which]


@pytest.fixture
def kept(tmp_path, request):
    """A kept result: the store, the function with its argument, and the folder of the result."""
    CALLS.clear()
    function, argument = KINDS[request.param]
    store = Store(tmp_path / "store")
    result = store(function, argument)
    return store, function, argument, store._path(function, argument), result


def assert_computed_anew(kept):
    store, function, argument, path, result = kept
    with pytest.warns(RuntimeWarning) as said:
        found = store(function, argument)
    assert [str(one.message).startswith(f"{path} is damaged (") for one in said] == [True]
    assert str(said[0].message).endswith("); it is computed anew.")
    assert len(str(said[0].message)) < 300 + len(str(path))
    assert files.are_same(found, result)
    assert len(CALLS) == 2
    # It is whole again.
    assert files.are_same(store(function, argument), result)
    assert len(CALLS) == 2


@pytest.mark.parametrize("kept", KINDS, indirect=True)
@pytest.mark.parametrize("which", FILES)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_noticed(kept, which, damage):
    file = file_of(kept[3], which)
    content = file.read_bytes()
    changed = DAMAGES[damage](content, random.Random(f"{kept[1].__name__} {which} {damage}"))
    assert changed != content
    file.write_bytes(changed)
    assert_computed_anew(kept)


ALTERATIONS = {
    "content removed": lambda path: file_of(path, "content").unlink(),
    "seconds removed": lambda path: (path / files.SECONDS).unlink(),
    "sums removed": lambda path: (path / files.SUMS).unlink(),
    "all removed": lambda path: [file.unlink() for file in path.iterdir()],
    "renamed": lambda path: file_of(path, "content").rename(path / "other.safetensors"),
    "a file more": lambda path: (path / "more").write_text("x"),
    "a link to nothing": lambda path: (path / "more").symlink_to("nothing"),
    "a folder as content": lambda path: (file_of(path, "content").rename(path / "x"), (path / "tensors.safetensors").mkdir()),
    "a file as folder": lambda path: (shutil.rmtree(path), path.write_text("x")),
    "a link to nothing as folder": lambda path: (shutil.rmtree(path), path.symlink_to("nothing")),
    "sums of something else": lambda path: (path / files.SUMS).write_text(files._sums(path, "other")),
}  # fmt: skip


@pytest.mark.parametrize("kept", KINDS, indirect=True)
@pytest.mark.parametrize("alteration", ALTERATIONS)
def test_an_altered_folder_is_noticed(kept, alteration):
    ALTERATIONS[alteration](kept[3])
    assert_computed_anew(kept)


@pytest.mark.parametrize("kept", KINDS, indirect=True)
@pytest.mark.parametrize("other", KINDS)
def test_what_belongs_to_another_result_is_not_served(kept, other, tmp_path):
    path = kept[3]
    elsewhere = Store(tmp_path / "elsewhere")
    given = KINDS[other][1] + 1 if other not in ("own posterior",) else own_network().double()
    elsewhere(KINDS[other][0], given)
    CALLS.pop()
    shutil.rmtree(path)
    shutil.copytree(elsewhere._path(KINDS[other][0], given), path)
    assert_computed_anew(kept)


ARCHITECTURES = {
    "wider": nn.Sequential(nn.Flatten(), nn.Linear(4, 5), nn.BatchNorm1d(5)),
    "without buffers": nn.Sequential(nn.Flatten(), nn.Linear(4, 3)),
    "deeper": nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 3)),
    "another name": nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)),
    "the library's": architectures.fully_connected((1, 2, 2), 3),
}


@pytest.mark.parametrize("kept", ["own posterior"], indirect=True)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_posterior_of_another_architecture_is_refused_even_with_sums_of_it(kept, architecture):
    path = kept[3]
    Posterior.of(ARCHITECTURES[architecture]).save(path / files.POSTERIOR)
    (path / files.SUMS).write_text(files._sums(path))
    assert_computed_anew(kept)
