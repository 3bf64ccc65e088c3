"""Kept results as files: what is damaged, in the way, or cannot be written."""

from __future__ import annotations

import errno
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from relevance.base import environment
from relevance.networks import architectures
from relevance.networks.posterior import Posterior
from relevance.studies import files, store
from relevance.studies.store import Store, kept

CALLS = []


def doubled(values):
    CALLS.append("doubled")
    return 2 * values


def posterior_of(network):
    CALLS.append("posterior")
    return Posterior.of(network)


def hooked(network):
    found = Posterior.of(network)
    found.network[1].register_forward_hook(lambda module, inputs, output: output + 1)
    return found


def listed(values):
    return pd.DataFrame({"a": [[1, 2]]})


def goes_on(values, checkpoint=None):
    CALLS.append(sorted(path.name for path in checkpoint.iterdir()) if checkpoint.exists() else None)
    if CALLS[-1]:
        raise ValueError("the checkpoint is damaged")
    return values


@pytest.fixture
def folder(tmp_path):
    CALLS.clear()
    return tmp_path / "store"


X = torch.arange(4.0)


def result_of(folder):
    (path,) = folder.glob("*-????????????????????????????????")
    return path


DAMAGES = {
    "no sums": lambda path: (path / files.SUMS).unlink(),
    "no seconds": lambda path: (path / files.SECONDS).unlink(),
    "no tensors": lambda path: (path / files.TENSORS).unlink(),
    "one file more": lambda path: (path / "more").touch(),
    "a folder more": lambda path: (path / "more").mkdir(),
    "cut": lambda path: (path / files.TENSORS).write_bytes((path / files.TENSORS).read_bytes()[:-1]),
    "empty": lambda path: [file.unlink() for file in path.iterdir()],
    "a file in its place": lambda path: (files.remove(path), path.write_text("x")),
    "sums that are no text": lambda path: (path / files.SUMS).write_bytes(b"\xff"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_is_computed_anew_and_said_once(folder, damage):
    Store(folder)(doubled, X)
    path = result_of(folder)
    DAMAGES[damage](path)
    with pytest.warns(RuntimeWarning, match=rf"{path.name} is damaged \(.*\); it is computed anew") as said:
        assert torch.equal(Store(folder)(doubled, X), 2 * X)
    assert len(said) == 1
    assert torch.equal(Store(folder)(doubled, X), 2 * X)
    assert len(CALLS) == 2


def test_a_result_under_the_name_of_another_is_not_served(folder):
    Store(folder)(doubled, X)
    path = result_of(folder)
    Store(folder)(doubled, X + 1)
    (other,) = {*folder.glob("doubled-*")} - {path}
    files.remove(other)
    path.rename(other)
    with pytest.warns(RuntimeWarning, match="is damaged"):
        assert torch.equal(Store(folder)(doubled, X + 1), 2 * X + 2)


FORGED = {
    files.TENSORS: [b"", b"[]", b"garbage"],
    files.SECONDS: [b"", b"[]", b"soon"],
}


@pytest.mark.parametrize(("name", "content"), [(name, one) for name, many in FORGED.items() for one in many])
def test_what_is_no_result_is_damaged_even_with_sums_of_it(folder, name, content):
    Store(folder)(doubled, X)
    path = result_of(folder)
    (path / name).write_bytes(content)
    (path / files.SUMS).write_text(files._sums(path))
    with pytest.warns(RuntimeWarning, match="is damaged"):
        assert torch.equal(Store(folder)(doubled, X), 2 * X)


@pytest.mark.parametrize("content", ["[]", "{}", "null", '{"index": 1}', "[" * 10_000])
def test_what_is_no_table_is_damaged_even_with_sums_of_it(tmp_path, content):
    files.write(tmp_path / "a", pd.DataFrame({"a": [1]}), 1.0)
    (tmp_path / "a" / files.TABLE).write_text(content)
    (tmp_path / "a" / files.SUMS).write_text(files._sums(tmp_path / "a"))
    with pytest.raises(files.Damaged):
        files.read(tmp_path / "a")


def test_tensors_without_their_names_are_damaged(tmp_path):
    import safetensors.torch

    files.write(tmp_path / "a", {"x": X}, 1.0)
    for metadata in (None, {}, {"names": "[]"}, {"names": "["}, {"names": "3"}):
        safetensors.torch.save_file({"0": X}, tmp_path / "a" / files.TENSORS, metadata)
        (tmp_path / "a" / files.SUMS).write_text(files._sums(tmp_path / "a"))
        with pytest.raises(files.Damaged):
            files.read(tmp_path / "a")


RESULTS = {
    "a tensor": X, "names": {"a": X, "": X + 1}, "one without a name": {"": X}, "none": {}, "brain floats": X.bfloat16(),
    "half": X.half(), "whole": X.long(), "truth": X > 1, "scalar": torch.tensor(3), "nothing": X[:0], "turned": X.reshape(2, 2).T,
    "table": pd.DataFrame({"index": [1], 3: [2.5]}),
}  # fmt: skip


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_comes_back_as_it_was(tmp_path, name):
    files.write(tmp_path / "a", RESULTS[name], 1.5)
    found, seconds = files.read(tmp_path / "a")
    assert seconds == 1.5
    assert files.are_same(found, RESULTS[name])
    assert type(found) is type(RESULTS[name])
    if isinstance(found, torch.Tensor):
        assert found.dtype == RESULTS[name].dtype
        assert torch.equal(found, RESULTS[name])


def test_a_posterior_is_only_kept_where_it_comes_back_as_it_is(folder):
    network = architectures.fully_connected((1, 2, 2), 3)
    assert Store(folder)(posterior_of, network).network is not network
    assert len(list(folder.glob("posterior_of-*"))) == 1
    with pytest.warns(RuntimeWarning, match="the result of hooked is not kept: it would not come back as it is"):
        found = Store(folder)(hooked, network)
    assert found.network[1]._forward_hooks
    assert not list(folder.glob("hooked-*[0-9a-f]"))
    with pytest.raises(ValueError, match=r"the table holds '\[1, 2\]' in column 'a', a list"):
        Store(folder)(listed, X)


def test_a_posterior_of_another_architecture_is_not_served(folder):
    one, other = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    Store(folder)(posterior_of, one)
    path = result_of(folder)
    Posterior.of(other).save(path / files.POSTERIOR)
    (path / files.SUMS).write_text(files._sums(path))
    with pytest.warns(RuntimeWarning, match="is damaged .*samples do not fit the network"):
        assert Store(folder)(posterior_of, one).samples["1.weight"].shape == (1, 3, 4)


@contextmanager
def nobody():
    """Do without the rights of root, which may write everywhere."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def readable():
    """A folder that others may read."""
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        CALLS.clear()
        yield Path(place)
        Path(place).chmod(0o755)


def test_a_store_that_cannot_be_written_into_is_read_and_said(readable):
    Store(readable)(doubled, X)
    for path in readable.rglob("*.lock"):
        path.unlink()
    readable.chmod(0o555)
    with nobody():
        assert torch.equal(Store(readable)(doubled, X), 2 * X)
        assert len(CALLS) == 1
        with pytest.warns(RuntimeWarning, match="cannot be written into .*, so results are not kept"):
            assert torch.equal(Store(readable)(doubled, X + 1), 2 * X + 2)
        assert len(list(readable.iterdir())) == 1


def test_a_full_disk_costs_no_result(folder, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files, "_write_result", full)
    with pytest.warns(RuntimeWarning, match="the result of doubled is not kept: .*No space left on device"):
        assert torch.equal(Store(folder)(doubled, X), 2 * X)
    assert not list(folder.iterdir())
    monkeypatch.undo()
    Store(folder)(doubled, X)
    assert len(CALLS) == 2


def test_what_safetensors_cannot_write_costs_no_result(folder, monkeypatch):
    def full(*_, **__):
        raise files.SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.warns(RuntimeWarning, match="the result of doubled is not kept: .*No space left on device"):
        assert torch.equal(Store(folder)(doubled, X), 2 * X)


def test_what_is_kept_may_be_read_by_whom_the_folder_is_shared_with(folder):
    Store(folder)(doubled, X)
    assert len({file.stat().st_mode for file in result_of(folder).iterdir()}) == 1


IN_THE_WAY = {
    "a file as the result": ("", lambda path: path.write_text("x")),
    "a folder as the lock": (".held", lambda path: (path / "x").mkdir(parents=True)),
    "a file as what is unfinished": (".partial", lambda path: path.write_text("x")),
    "a folder as what is unfinished": (".partial", lambda path: (path / "x").mkdir(parents=True)),
}


@pytest.mark.filterwarnings("ignore:.*is damaged")
@pytest.mark.parametrize("what", IN_THE_WAY)
def test_what_is_in_the_way_makes_room(folder, what):
    suffix, put = IN_THE_WAY[what]
    path = Store(folder)._path(doubled, X)
    put(path.with_suffix(suffix) if suffix else path)
    for _ in range(2):
        assert torch.equal(Store(folder)(doubled, X), 2 * X)
    assert len(CALLS) == 1


def test_a_folder_that_is_a_file_gets_a_sentence_before_any_work(folder, monkeypatch):
    folder.write_text("x")
    with pytest.raises(ValueError, match="folder is '.*store'; it must be a folder, or a place where one can be made"):
        Store(folder)
    for place in (folder, folder / "below", "/proc/x", "x" * 300):
        monkeypatch.setenv("RELEVANCE_STORE", str(place))
        with pytest.raises(
            ValueError, match="^RELEVANCE_STORE is '.*'; it must be a folder, or a place where one can be"
        ):
            kept(doubled, X)
    assert CALLS == []


def test_the_projects_own_store_may_be_missing_and_impossible(tmp_path, monkeypatch):
    CALLS.clear()
    monkeypatch.delenv("RELEVANCE_STORE", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "_toc.yml").touch()
    (tmp_path / "_build").write_text("in the way")
    assert environment.store_root() == tmp_path / "_build/store"
    with pytest.warns(RuntimeWarning, match="cannot be written into"):
        assert torch.equal(kept(doubled, X), 2 * X)


def test_a_checkpoint_that_cannot_be_gone_on_with_is_begun_anew(folder):
    unfinished = Store(folder)._path(goes_on, X).with_suffix(".unfinished")
    (unfinished / "chain").mkdir(parents=True)
    with pytest.warns(RuntimeWarning, match=r"cannot be gone on with \(the checkpoint is damaged\); it is begun anew"):
        Store(folder)(goes_on, X)
    assert CALLS == [["chain"], None]
    CALLS.clear()
    files.remove(result_of(folder))
    unfinished.write_text("a file in its place")
    Store(folder)(goes_on, X)
    assert CALLS == [None]


def test_seconds_are_counted_once_for_each_result(folder, monkeypatch):
    monkeypatch.setattr(store, "_SECONDS", {})
    for _ in range(3):
        Store(folder)(doubled, X)
    (result_of(folder) / files.SECONDS).write_text("2.5\n")
    (result_of(folder) / files.SUMS).write_text(files._sums(result_of(folder)))
    Store(folder)(doubled, X)
    assert store.seconds_spent() == 2.5
