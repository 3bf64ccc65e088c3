"""The store: work is done once, and again when anything that it depends on has changed."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from oracles import ROOT
from relevance import explanations, inference
from relevance.base import digests, sources
from relevance.base.sources import Library
from relevance.explanations.rules import Epsilon, Gamma
from relevance.networks import architectures
from relevance.networks.posterior import Posterior
from relevance.studies.described import describe
from relevance.studies.store import Store

CALLS = []


def doubled(values, offset=0.0, progress=True):
    CALLS.append(offset)
    return 2 * values + offset


def tabled(n):
    return pd.DataFrame(
        {"a": range(n), "b": [0.1] * (n - 1) + [float("nan")], "c": [""] + ["x"] * (n - 1)}
    ).rename_axis("row")


def pair(values):
    return {"one": values, "two/2": -values}


def own_network(network):
    CALLS.append("own")
    return Posterior.of(network)


def seeded(network=None):
    CALLS.append("seeded")
    return Posterior.of(network)


def shared(x):
    return {"a": x, "b": x}


class Scaled(nn.Module):
    """A module with a plain attribute that its description does not show."""

    def __init__(self, factor):
        super().__init__()
        self.factor, self.layer = factor, nn.Linear(2, 2)


def odd():
    return object()


@pytest.fixture
def store(tmp_path):
    CALLS.clear()
    return Store(tmp_path / "store")


def test_work_is_done_once_and_again_for_other_arguments(store):
    x = torch.arange(4.0)
    for _ in range(3):
        assert torch.equal(store(doubled, x, offset=1.0), 2 * x + 1)
    assert CALLS == [1.0]
    store(doubled, x, offset=2.0)
    store(doubled, x + 1e-6, offset=1.0)
    store(doubled, x.double(), offset=1.0)
    assert len(CALLS) == 4
    store(doubled, x, offset=1.0, progress=False)  # does not change the result
    assert len(CALLS) == 4


def test_every_kind_of_result_comes_back_as_it_was(store, tiny_data):
    for _ in range(2):
        pd.testing.assert_frame_equal(store(tabled, 3), tabled(3))
        found = store(pair, torch.arange(3))
        assert {name: value.tolist() for name, value in found.items()} == {"one": [0, 1, 2], "two/2": [0, -1, -2]}
    network = architectures.fully_connected((1, 4, 4), hidden=5, n_classes=3)
    first, again = (store(inference.sgd, network, tiny_data, epochs=2, progress=False) for _ in range(2))
    assert first.record == again.record  # with the seconds that it took
    assert all(torch.equal(first.samples[name], again.samples[name]) for name in first.samples)
    plain = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    for _ in range(2):
        kept = store(own_network, plain)
        assert torch.equal(kept.logits(tiny_data.test_images)[0], plain(tiny_data.test_images))
    assert CALLS == ["own"]


def test_a_damaged_file_is_computed_anew_and_said(store):
    x = torch.arange(4.0)
    store(doubled, x)
    (file,) = store.folder.rglob("*.safetensors")
    file.write_bytes(file.read_bytes()[:20])
    with pytest.warns(RuntimeWarning, match="is damaged .* it is computed anew"):
        assert torch.equal(store(doubled, x), 2 * x)
    assert len(CALLS) == 2
    assert torch.equal(store(doubled, x), 2 * x)
    assert len(CALLS) == 2


def test_equal_values_have_equal_descriptions_and_others_have_not(dense_posterior, some_images, tiny_data):
    values = [
        None, True, 1, 1.0, "1", [1], (1, 2), {"a": 1}, {"b": 1}, Epsilon(0.1), Epsilon(0.2), Gamma(0.1), some_images,
        some_images[:2], dense_posterior, dense_posterior[:2], tiny_data, tiny_data.smaller(30, 0),
        architectures.fully_connected((1, 4, 4), 5), architectures.fully_connected((1, 4, 4), 5, activation="relu"),
        explanations.lrp, explanations.gradient, partial(explanations.lrp, rule=Epsilon(0.1)),
        partial(explanations.lrp, rule=Epsilon(0.2)), Path("x"),
    ]  # fmt: skip
    described = [describe(value) for value in values]
    assert len(set(described)) == len(values)
    assert described == [describe(value) for value in values]
    assert describe(Epsilon(0.1)) == describe(Epsilon())


def test_weights_count_except_for_those_who_draw_them_anew(store, tiny_data):
    one, other = (architectures.fully_connected((1, 4, 4), hidden=5, n_classes=3) for _ in range(2))
    assert store.key(own_network, one) != store.key(own_network, other)
    assert store.key(inference.sgd, one, tiny_data) == store.key(inference.sgd, other, tiny_data)
    twins = Scaled(1), Scaled(5)
    twins[1].load_state_dict(twins[0].state_dict())
    assert describe(twins[0]) != describe(twins[1])


def test_no_work_is_lost(store):
    plain = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    for _ in range(2):
        assert len(store(seeded, network=plain)) == 1
    assert CALLS == ["seeded"]
    assert {name: value.tolist() for name, value in store(shared, torch.ones(2)).items()} == {"a": [1, 1], "b": [1, 1]}


def test_keys_are_those_of_the_code_that_runs(store, monkeypatch):
    """An edit of a file while a process runs is not what the process computes with."""
    monkeypatch.setattr(digests, "of_installed", lambda: "what is installed")
    before = store.key(explanations.lrp, 1)
    monkeypatch.setattr(Path, "read_text", lambda path, encoding=None: "edited")
    monkeypatch.setattr(sources.RUNNING, "_digests", {})
    assert store.key(explanations.lrp, 1) == before


def test_what_cannot_be_compared_is_refused(store):
    with pytest.raises(ValueError, match="is a function, which the store cannot compare"):
        store(lambda: torch.ones(1))
    with pytest.raises(ValueError, match="is a object, which the store cannot compare"):
        store(doubled, object())
    with pytest.raises(ValueError, match="the result is a object; the store keeps posteriors, tensors"):
        store(odd)
    assert not list(store.folder.glob("odd-*[0-9a-f]"))


KEYS = """
import torch
from relevance import explanations, inference, networks, metrics, attacks, datasets
from relevance.studies.store import Store
store, x = Store("unused"), torch.ones(2, 1, 4, 4)
torch.manual_seed(0)
network = networks.fully_connected((1, 4, 4), hidden=5)
for function in (
    inference.sgd, inference.adversarial, attacks.pgd, explanations.lrp, explanations.gradient, metrics.spearman
):
    print(function.__name__, store.key(function, network, x, seed=0))
"""


def keys(capsys) -> dict[str, str]:
    """Return the keys of some calls, in this process."""
    exec(compile(KEYS, "keys", "exec"), {})
    return dict(line.split() for line in capsys.readouterr().out.splitlines())


@pytest.mark.parametrize(
    ("file", "old", "new", "affected"),
    [
        ("explanations/rules.py", "epsilon: float = checks.real(0.1", "epsilon: float = checks.real(0.2", {"lrp"}),
        ("base/ascent.py", "2.5 * self.epsilon", "2.4 * self.epsilon", {"adversarial", "pgd"}),
    ],
)
def test_a_change_of_the_library_counts_for_what_uses_it_and_for_nothing_else(
    tmp_path, monkeypatch, capsys, file, old, new, affected
):
    before = keys(capsys)
    shutil.copytree(ROOT / "lib" / "relevance", tmp_path / "relevance", ignore=shutil.ignore_patterns("__pycache__"))
    source = tmp_path / "relevance" / file
    assert old in source.read_text()
    source.write_text(source.read_text().replace(old, new))
    # As a process reads it that sees the library there.
    monkeypatch.setattr(sources, "RUNNING", Library(tmp_path / "relevance"))
    after = keys(capsys)
    assert {name for name in after if before[name] != after[name]} == affected


ONCE = """
import sys, time, torch
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from slow import work
from relevance.studies.store import Store
print(Store(sys.argv[1] + "/store")(work, torch.ones(1)).item())
"""
SLOW = """
import time
from pathlib import Path
def work(x):
    with Path(__file__).with_name("calls").open("a") as calls:
        calls.write("x")
    time.sleep(1.5)
    return 3 * x
"""


@pytest.mark.slow
def test_another_process_finds_the_same_work(capsys):
    found = subprocess.run([sys.executable, "-c", KEYS], check=True, capture_output=True, text=True)
    assert dict(line.split() for line in found.stdout.splitlines()) == keys(capsys)


@pytest.mark.slow
def test_two_processes_do_the_same_work_once(tmp_path):
    (tmp_path / "slow.py").write_text(SLOW)
    both = [subprocess.Popen([sys.executable, "-c", ONCE, str(tmp_path)], stdout=subprocess.PIPE) for _ in range(2)]
    assert [process.communicate()[0] for process in both] == [b"3.0\n"] * 2
    assert (tmp_path / "calls").read_text() == "x"


DIES = """
import os, signal, torch
from pathlib import Path
def work(x, checkpoint=None):
    checkpoint.mkdir(exist_ok=True)
    file = checkpoint / "n"
    for n in range(int(file.read_text()) if file.exists() else 0, 5):
        file.write_text(str(n + 1))
        with Path(__file__).with_name("calls").open("a") as calls:
            calls.write(str(n))
        if n == 2:
            os.kill(os.getpid(), signal.SIGKILL)
    return 3 * x
"""


@pytest.mark.slow
def test_work_that_was_killed_goes_on_where_it_was(tmp_path):
    (tmp_path / "slow.py").write_text(DIES)
    command = [sys.executable, "-c", ONCE, str(tmp_path)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert len(list((tmp_path / "store").glob("*.unfinished"))) == 1
    assert subprocess.run(command, check=True, capture_output=True).stdout == b"3.0\n"
    assert (tmp_path / "calls").read_text() == "01234"
    assert not list((tmp_path / "store").glob("*.unfinished"))
