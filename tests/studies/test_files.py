"""Kept results as files: what is damaged, in the way, or cannot be written."""

from __future__ import annotations

import errno
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
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


def longer(values, n_samples=1, checkpoint=None):
    """Draw as many as are asked for, beyond those that the checkpoint has."""
    checkpoint.mkdir(exist_ok=True)
    drawn = len(list(checkpoint.iterdir()))
    CALLS.append(n_samples - drawn)
    for index in range(drawn, n_samples):
        (checkpoint / str(index)).touch()
    return values * n_samples


def taken_over(values):
    """Be slow: another process takes over meanwhile, and finishes first."""
    CALLS.append("mine")
    path = Store(CALLS[0])._path(taken_over, values)
    path.with_suffix(".held").unlink()
    files.write(path, values + 1, 1.0)
    raise FileNotFoundError("its checkpoint is another's")


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


def test_dear_work_is_gone_on_with_where_more_draws_are_asked_for(folder, monkeypatch):
    for n_samples in (3, 5):  # what was soon done is begun anew
        Store(folder)(longer, X, n_samples=n_samples)
    assert CALLS == [3, 5]
    assert not list(folder.glob("*.begun"))
    CALLS.clear()
    monkeypatch.setattr(store, "DEAR", 0.0)
    for n_samples in (4, 6, 2, 6):
        assert torch.equal(Store(folder)(longer, X, n_samples=n_samples), n_samples * X)
    assert CALLS == [4, 2, -4]
    # Of other arguments it is other work; and a state that was lost is made again.
    Store(folder)(longer, 2 * X, n_samples=7)
    for begun in folder.glob("*.begun"):
        files.remove(begun)
    Store(folder)(longer, X, n_samples=7)
    assert CALLS == [4, 2, -4, 7, 7]
    assert not list(folder.glob("*.unfinished"))
    assert len(list(folder.glob("*.begun"))) == 1


def test_seconds_are_counted_once_for_each_result(folder, monkeypatch):
    monkeypatch.setattr(store, "_SECONDS", {})
    for _ in range(3):
        Store(folder)(doubled, X)
    (result_of(folder) / files.SECONDS).write_text("2.5\n")
    (result_of(folder) / files.SUMS).write_text(files._sums(result_of(folder)))
    Store(folder)(doubled, X)
    assert store.seconds_spent() == 2.5


HOLDS = """
import sys, time
from pathlib import Path
from relevance.studies import files
files.BEAT, files.STALE = 0.2, float(sys.argv[2])
print("waits", flush=True)
with files.alone(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read() if sys.argv[3] == "wait" else time.sleep(0.1)
"""


@pytest.fixture
def holder(tmp_path):
    """Start processes that hold the same file: what to do with it, and seconds after which a silent one is dead."""
    begun = []

    def start(how="wait", stale=60.0):
        words = [sys.executable, "-c", HOLDS, str(tmp_path / "a.held"), str(stale), how]
        begun.append(subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0))
        return begun[-1]

    yield start
    for process in begun:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def says(process, seconds=200):
    """Return what a process says within some seconds: that it waits, then that it holds the file."""
    return process.stdout.readline().decode().strip() if select.select([process.stdout], [], [], seconds)[0] else ""


@pytest.mark.slow
def test_who_waits_goes_on_when_the_holder_is_done_and_when_it_was_killed(holder):
    for end in (lambda process: process.stdin.close(), subprocess.Popen.kill):
        first = holder()
        assert [says(first), says(first)] == ["waits", "held"]
        second = holder("go")
        assert says(second) == "waits"
        assert not says(second, 2)
        end(first)
        assert says(second, 50) == "held"  # and before it would be taken for dead
        assert second.wait(50) == 0


@pytest.mark.slow
def test_a_holder_of_another_machine_is_dead_when_it_says_nothing_and_not_before(holder, tmp_path):
    (tmp_path / "a.held").write_text("elsewhere.1.abc")
    waiting = holder("go", stale=5.0)
    assert says(waiting) == "waits"
    for _ in range(40):
        os.utime(tmp_path / "a.held")
        time.sleep(0.2)
    assert not says(waiting, 0)
    assert says(waiting) == "held"
    assert waiting.wait(50) == 0
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_holder_that_was_stopped_finds_that_another_took_over(holder, tmp_path):
    first, second = holder(stale=3.0), holder(stale=3.0)
    assert says(first) == says(second) == "waits"
    holds, waits = (
        (first, second)
        if first.stdout in select.select([first.stdout, second.stdout], [], [], 50)[0]
        else (second, first)
    )
    holds.send_signal(signal.SIGSTOP)
    assert says(waits) == "held"
    held = (tmp_path / "a.held").read_text()
    holds.send_signal(signal.SIGCONT)
    holds.stdin.close()
    assert holds.wait(50) == 0
    assert (tmp_path / "a.held").read_text() == held  # it lets go of nothing that is another's
    waits.stdin.close()
    assert waits.wait(50) == 0
    assert not list(tmp_path.iterdir())


def test_the_first_of_two_to_finish_keeps_its_result(tmp_path):
    assert files.write(tmp_path / "a", X, 1.0)
    assert not files.write(tmp_path / "a", X + 1, 2.0)
    assert torch.equal(files.read(tmp_path / "a")[0], X)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert files.hardware(tmp_path / "a") == environment.device_name(environment.default_device())


def test_who_was_taken_over_takes_the_others_result(folder):
    CALLS.append(folder)
    assert torch.equal(Store(folder)(taken_over, X), X + 1)
    assert CALLS[1:] == ["mine"]


def test_results_of_a_gpu_are_found_where_there_is_none_and_never_made_there(folder, monkeypatch):
    of_gpu = Store(folder, device="cuda")
    path = of_gpu._path(doubled, X)
    assert path != Store(folder)._path(doubled, X)
    files.write(path, 2 * X + 1e-6, 1.0)
    assert torch.equal(Store(folder)(doubled, X), 2 * X)
    monkeypatch.setenv("RELEVANCE_RESULTS", "cuda")
    assert torch.equal(Store(folder)(doubled, X), 2 * X + 1e-6)
    with pytest.warns(RuntimeWarning, match="doubled is not kept as a result of cuda; it is taken of cpu, here"):
        assert torch.equal(Store(folder)(doubled, X + 1), 2 * X + 2)
    assert not of_gpu.holds(doubled, X + 1)
    monkeypatch.setenv("RELEVANCE_RESULTS", "abacus")
    with pytest.raises(ValueError, match="RELEVANCE_RESULTS is 'abacus'; it may be cpu or cuda"):
        Store(folder)


def test_the_device_is_that_of_the_arguments(tiny_data, dense_posterior, monkeypatch):
    monkeypatch.setattr(environment, "default_device", lambda: torch.device("cuda"))
    assert store.device_of(1, "a") == "cuda"
    for on_cpu in (X, tiny_data, dense_posterior):
        assert store.device_of(1, on_cpu) == "cpu"
    assert store.device_of(torch.empty(1, device="meta")) == "meta"
