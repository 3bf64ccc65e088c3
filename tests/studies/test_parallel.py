"""Retrainings side by side in processes of their own, and what is left when the one that asked for them is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

pytestmark = pytest.mark.slow
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


def test_workers_end_when_their_parent_is_killed(killed):
    assert len(killed.workers) == 2
    assert killed.pid not in killed.workers
    wait_for(lambda: not any(map(is_running, killed.workers)), seconds=10)


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
