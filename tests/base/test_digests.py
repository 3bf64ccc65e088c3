"""Digests change with everything that a result depends on, and with nothing else."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from relevance.base import digests


def test_where_a_text_ends_and_the_next_begins_counts():
    texts = [("ab", "c"), ("a", "bc"), ("abc",), ("abc", ""), ("", "abc"), ("c", "ab"), ("ab", "ć"), ('a", "b', "c")]
    found = [digests.digest(*parts) for parts in (*texts, ())]
    assert len(set(found)) == len(found)
    assert all(len(one) == 32 and set(one) <= set("0123456789abcdef") for one in found)
    assert digests.digest("ab", "c") == found[0]


def test_the_order_of_parameters_does_not_count_and_their_values_do():
    first = digests.of_parameters({"epsilon": 0.1, "steps": {"n": 3, "size": None}})
    assert digests.of_parameters({"steps": {"size": None, "n": 3}, "epsilon": 0.1}) == first
    others = [
        {"epsilon": 0.1, "steps": {"n": 3, "size": 0}},
        {"epsilon": "0.1", "steps": {"n": 3, "size": None}},
        {"epsilon": 0.1, "n": 3, "size": None},
        {"epsilon": 0.1},
    ]
    assert len({first, *map(digests.of_parameters, others)}) == 1 + len(others)


def test_tensors_differ_by_kind_shape_and_value():
    zeros = torch.zeros(2, 3, dtype=torch.float64)
    one = zeros.clone()
    one[1, 2] = 1e-300
    tensors = [zeros, zeros.float(), zeros.long(), zeros.reshape(3, 2), zeros.flatten(), zeros[:1], zeros[:0], one]
    groups = [*((tensor,) for tensor in tensors), (zeros, one), (one, zeros), ()]
    found = [digests.of_tensors(*group) for group in groups]
    assert len(set(found)) == len(groups)


def test_how_a_tensor_lies_in_memory_does_not_count():
    values = torch.arange(6, dtype=torch.float64).reshape(2, 3)
    wanted = digests.of_tensors(values)
    assert digests.of_tensors(values.t().contiguous().t()) == wanted
    assert digests.of_tensors(torch.cat([values, values])[2:]) == wanted
    assert digests.of_tensors(values.clone().requires_grad_()) == wanted


@pytest.fixture
def folder(tmp_path):
    found = tmp_path / "library"
    for name in ("a.py", "b.txt", "room/a.py", "room/__pycache__/a.py", "static/c.py"):
        (found / name).parent.mkdir(parents=True, exist_ok=True)
        (found / name).write_bytes(name.encode())
    return found


def changed(folder):
    (folder / "room/a.py").write_bytes(b"room/b.py")


def renamed(folder):
    (folder / "a.py").rename(folder / "b.py")


def moved(folder):
    (folder / "room/a.py").rename(folder / "room/b.py")


def swapped(folder):
    first, second = (folder / "a.py").read_bytes(), (folder / "room/a.py").read_bytes()
    (folder / "a.py").write_bytes(second)
    (folder / "room/a.py").write_bytes(first)


def added(folder):
    (folder / "room/new.py").touch()


def removed(folder):
    (folder / "a.py").unlink()


@pytest.mark.parametrize("change", [changed, renamed, moved, swapped, added, removed])
def test_a_change_of_files_is_seen(folder, change):
    before = digests.of_files(folder, "*.py")
    assert digests.of_files(folder, "*.py") == before
    change(folder)
    assert digests.of_files(folder, "*.py") != before


def test_what_does_not_match_and_what_was_compiled_is_not_seen(folder):
    before = digests.of_files(folder, "*.py")
    (folder / "b.txt").write_text("another")
    (folder / "room/__pycache__/a.py").write_text("another")
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__/a.py").touch()
    (folder / "empty.py").mkdir()
    assert digests.of_files(folder, "*.py") == before
    assert digests.of_files(folder, "*") != before


def test_where_the_folder_lies_does_not_count(folder, tmp_path):
    before = digests.of_files(folder, "*.py")
    assert digests.of_files(folder.rename(tmp_path / "elsewhere"), "*.py") == before


def test_one_folder_can_be_left_out(folder):
    whole, part = digests.of_files(folder, "*.py"), digests.of_files(folder, "*.py", without=folder / "static")
    assert part != whole
    (folder / "static/c.py").write_text("another")
    (folder / "static/deep").mkdir()
    (folder / "static/deep/d.py").touch()
    assert digests.of_files(folder, "*.py", without=folder / "static") == part
    # A folder whose name begins alike is another one.
    (folder / "statics").mkdir()
    (folder / "statics/c.py").touch()
    assert digests.of_files(folder, "*.py", without=folder / "static") != part


def test_what_is_installed_counts_and_the_order_in_which_it_is_found_does_not(monkeypatch):
    def installed(*packages):
        found = [SimpleNamespace(name=name, version=version) for name, version in packages]
        monkeypatch.setattr("relevance.base.digests.distributions", lambda: found)
        return digests.of_installed()

    one, two = ("numpy", "2.0"), ("torch", "2.13")
    before = installed(one, two)
    assert installed(two, one) == before
    assert installed(one, ("torch", "2.13.1")) != before
    assert installed(one) != before
    assert installed(one, two, ("captum", "0.8")) != before


def test_the_python_and_the_device_that_compute_count(monkeypatch):
    monkeypatch.setattr("relevance.base.digests.distributions", lambda: [])
    before = digests.of_installed()
    assert digests.of_installed() == before
    for name, other in {"platform.python_version": "3.0.0", "default_device": torch.device("cuda")}.items():
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr(f"relevance.base.digests.{name}", lambda other=other: other)
            assert digests.of_installed() != before, name
