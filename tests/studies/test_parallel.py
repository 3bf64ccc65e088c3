"""Calls side by side: by any executor, in processes that are killed, and on a cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from clusters import Cluster
from relevance import inference
from relevance.base import processes
from relevance.networks import architectures
from relevance.studies import parallel
from relevance.studies.parallel import Call, kept_all
from relevance.studies.store import Store

CALLS = []


def doubled(values, offset=0.0):
    CALLS.append(offset)
    if offset < 0:
        raise ValueError(f"offset is {offset}; it must be at least 0.")
    return 2 * values + offset


class Forgetful(Executor):
    """Loses the first calls that it is sent; the others are made at once, here."""

    def __init__(self, n_lost):
        self.n_lost, self.sent = n_lost, []

    def submit(self, function, /, *arguments, **settings):
        future = Future()
        self.sent.append(arguments)
        if len(self.sent) <= self.n_lost:
            future.set_exception(CancelledError("the scheduler has gone"))
        else:
            future.set_result(function(*arguments, **settings))
        return future


X = torch.arange(3.0)


@pytest.fixture
def store(tmp_path, monkeypatch):
    CALLS.clear()
    monkeypatch.setattr(parallel, "PAUSE", 0.0)
    # What is asked for is set in the environment of who makes a call, which is this one here.
    for name in ("RELEVANCE_STORE", "RELEVANCE_DATA"):
        monkeypatch.setenv(name, str(tmp_path / name))
    return Store()


def some(*offsets):
    return [Call(doubled, (X,), {"offset": offset}) for offset in offsets]


def test_any_executor_makes_calls_once_and_they_come_in_their_order(store):
    Store()(doubled, X, offset=2.0)
    with ThreadPoolExecutor(2) as executor:
        found = kept_all(some(1.0, 2.0, 3.0), executor=executor, progress=False)
    assert [one.tolist() for one in found] == [(2 * X + offset).tolist() for offset in (1, 2, 3)]
    assert sorted(CALLS) == [1.0, 2.0, 3.0]


def test_calls_that_were_lost_are_sent_again_but_not_those_that_were_made(store):
    executor = Forgetful(2)
    with pytest.warns(
        RuntimeWarning, match="workers were lost .CancelledError: the scheduler has gone.; what is not kept"
    ):
        found = kept_all(some(1.0, 2.0), executor=executor, progress=False)
    assert [one.tolist() for one in found] == [(2 * X + offset).tolist() for offset in (1, 2)]
    assert CALLS == [1.0, 2.0]


@pytest.mark.filterwarnings("ignore:workers were lost")
def test_who_loses_everything_is_given_up(store, monkeypatch):
    monkeypatch.setattr(parallel, "TRIES", 3)
    with pytest.raises(CancelledError, match="the scheduler has gone"):
        kept_all(some(1.0), executor=Forgetful(100), progress=False)
    assert CALLS == []


def test_what_a_call_raises_is_raised_here_and_it_is_not_sent_again(store):
    executor = Forgetful(0)
    with pytest.raises(ValueError, match="offset is -1.0; it must be at least 0"):
        kept_all(some(-1.0), executor=executor, progress=False)
    assert len(executor.sent) == 1


def test_a_worker_with_other_code_or_another_folder_refuses(store, tmp_path, monkeypatch):
    told = iter(["the code here", "the code there"])
    monkeypatch.setattr(parallel, "_code", lambda calls: next(told))
    with pytest.raises(ValueError, match="a worker has other code, packages or devices than who asks it for doubled"):
        kept_all(some(1.0), executor=Forgetful(0), progress=False)
    monkeypatch.undo()
    monkeypatch.setenv("RELEVANCE_STORE", str(tmp_path / "made"))
    monkeypatch.setattr(parallel, "_places", lambda: {"RELEVANCE_STORE": str(tmp_path / "missing")})
    with pytest.raises(ValueError, match="a worker made doubled, and it is not in .*; all must see this folder"):
        kept_all(some(1.0), executor=Forgetful(0), progress=False)


def test_short_calls_travel_together_and_long_ones_alone(store):
    calls = some(*map(float, range(1, 101)))
    assert parallel._batches(calls) == [[index] for index in range(100)]
    kept_all(some(1000.0, 2000.0), executor=Forgetful(0), progress=False)  # which take no time
    batches = parallel._batches(calls)
    assert parallel.FEWEST_BATCHES <= len(batches) < 20
    assert sorted(index for batch in batches for index in batch) == list(range(100))


def test_chains_are_shared_out_and_are_those_that_were_not(store, tiny_data, monkeypatch):
    network = architectures.fully_connected((1, 4, 4), hidden=4, n_classes=3)
    how = {"n_samples": 6, "warmup": 4, "n_chains": 2, "n_steps": 2, "progress": False}
    key, alone = Store().key(inference.hmc, network, tiny_data, **how), inference.hmc(network, tiny_data, **how)
    executor = Forgetful(0)
    with parallel.spread(executor):
        assert Store().key(inference.hmc, network, tiny_data, **how) == key
        shared = Store()(inference.hmc, network, tiny_data, **how)
    assert len(executor.sent) == 2
    assert all(torch.equal(alone.samples[name], shared.samples[name]) for name in alone.samples)
    assert processes.side_by_side.__name__ == "side_by_side"
    assert not list(store.folder.glob("*.unfinished"))


@pytest.mark.parametrize("address", ["local:0", "local:x", "tcp://127.0.0.1:1"])
def test_a_cluster_that_there_is_not_gets_a_sentence(store, monkeypatch, address):
    monkeypatch.setenv("RELEVANCE_CLUSTER", address)
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ValueError, match="RELEVANCE_CLUSTER") as caught:
        kept_all(some(1.0), progress=False)
    assert len(str(caught.value)) <= 300


# As a module, since another process has to import what it is to compute.
SCRIPT = '''
import os
import time
from pathlib import Path

import torch
from torch import nn

from relevance.studies.zeng import roar
from relevance.datasets import Dataset
from relevance.networks.posterior import Posterior


def begun():
    return Path(os.environ["BEGUN"]).read_text().split()


def train(network, data, *, seed=0, progress=True):
    """Note who trains, and take a moment; the first waits for the other process to be there as well."""
    with open(os.environ["BEGUN"], "a") as file:
        file.write(f"{os.getpid()}\\n")
    deadline = time.monotonic() + 180
    while len(set(begun())) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)
    return Posterior.of(network)


def run(jobs):
    draw = torch.Generator().manual_seed(0)
    images, labels = torch.rand((40, 1, 4, 4), generator=draw), torch.arange(40) % 2
    data = Dataset("noise", images[:20], labels[:20], images[20:], labels[20:], ("a", "b"), "made up")
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    shares, seeds = (0.2, 0.4, 0.6), (0, 1)
    return roar.roar(network, data, roar.BASELINES, shares, seeds=seeds, train=train, jobs=jobs, progress=False)
'''
N_RETRAININGS = 2 * 3 * 2 + 2  # two orders, three shares, two seeds; and whole images, once for each seed


SLOW = """
import os, time
from pathlib import Path

def slow(values, index):
    with Path(__file__).with_name("begun").open("a") as file:
        file.write(f"{index} {os.getpid()}\\n")
    time.sleep(0.5)
    return values + index
"""


def wait_for(condition, seconds=180.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_running(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    # Where nobody asks how an orphan ended, its entry stays.
    return state not in "ZX"


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A run in two processes whose parent was killed when some retrainings, and not all, were kept."""
    if not Path("/proc/self/stat").exists():
        pytest.skip("there is no /proc to look for processes in")
    folder = tmp_path_factory.mktemp("killed")
    (folder / "retraining_run.py").write_text(SCRIPT)
    begun, store = folder / "begun", folder / "store"
    begun.touch()
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {"BEGUN": str(begun), "RELEVANCE_STORE": str(store)}
    process = subprocess.Popen(
        [sys.executable, "-c", "import retraining_run; retraining_run.run(jobs=2)"],
        env={**os.environ, **environment, "PYTHONPATH": os.pathsep.join(paths)},
    )

    def kept():
        return {path.name for path in store.glob("retrained-*") if path.is_dir()}

    wait_for(lambda: len(kept()) >= 3 or process.poll() is not None)
    workers = {int(pid) for pid in begun.read_text().split()}
    process.send_signal(signal.SIGKILL)
    assert process.wait(10) == -signal.SIGKILL
    yield SimpleNamespace(
        folder=folder, begun=begun, environment=environment, kept=kept, pid=process.pid, workers=workers
    )
    for pid in filter(is_running, workers):
        os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
def test_workers_end_when_their_parent_is_killed(killed):
    assert len(killed.workers) == 2
    assert killed.pid not in killed.workers
    wait_for(lambda: not any(map(is_running, killed.workers)), seconds=10)


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_where_it_was(killed, monkeypatch):
    wait_for(lambda: not any(map(is_running, killed.workers)), seconds=10)
    kept, begun = killed.kept(), len(killed.begun.read_text().split())
    assert 3 <= len(kept) < N_RETRAININGS
    # What was being computed, by each of the two, is lost; nothing else is.
    assert len(kept) <= begun <= len(kept) + 2
    monkeypatch.syspath_prepend(killed.folder)
    for name, value in killed.environment.items():
        monkeypatch.setenv(name, value)
    import retraining_run

    table = retraining_run.run(jobs=1)
    again = killed.begun.read_text().split()[begun:]
    assert again == [str(os.getpid())] * (N_RETRAININGS - len(kept))
    assert len(table) == N_RETRAININGS + 2
    assert killed.kept() > kept
    assert len(killed.kept()) == N_RETRAININGS


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:workers were lost")
def test_a_cluster_that_loses_a_worker_and_its_scheduler_makes_everything_and_nothing_twice(
    store, tmp_path, monkeypatch
):
    pytest.importorskip("distributed")
    monkeypatch.setattr(parallel, "PAUSE", 1.0)
    (tmp_path / "slow_calls.py").write_text(SLOW)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    import slow_calls

    begun, n_calls = tmp_path / "begun", 30
    begun.touch()
    calls = [Call(slow_calls.slow, (X, index)) for index in range(n_calls)]
    cluster = Cluster(tmp_path, 3)
    monkeypatch.setenv("RELEVANCE_CLUSTER", cluster.address)
    kept = lambda: {path.name: path.stat().st_mtime_ns for path in store.folder.glob("slow-*") if "." not in path.name}  # noqa: E731
    try:
        with ThreadPoolExecutor(1) as thread:
            run = thread.submit(kept_all, calls, progress=False)
            wait_for(lambda: len(kept()) >= 4)
            cluster.workers[0].kill()
            wait_for(lambda: len(kept()) >= 10)
            cluster.scheduler.kill()
            cluster.scheduler.wait()
            before = kept()
            cluster.start()
            found = run.result(300)
    finally:
        cluster.stop()
    assert [one.tolist() for one in found] == [(X + index).tolist() for index in range(n_calls)]
    after = kept()
    assert len(after) == n_calls
    assert all(after[name] == time for name, time in before.items())
    # Each of the three may have lost what it was at, and one of them twice.
    assert n_calls <= len(begun.read_text().splitlines()) <= n_calls + 4
