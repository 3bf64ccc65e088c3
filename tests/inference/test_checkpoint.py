from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace

import pytest
import torch
from torch import nn

from oracles import random_posterior
from relevance import inference
from relevance.inference import chain, checkpoint

pytestmark = pytest.mark.stochastic


RUN = textwrap.dedent("""
    import sys, time, torch
    from relevance import inference
    from relevance import networks
    from relevance.datasets import Dataset
    from relevance.inference import checkpoint
    from relevance.inference import chain
    checkpoint.SECONDS = 0.0
    quick = chain.transition
    # A tenth of a second for a draw: time to be killed in.
    chain.transition = lambda *given: time.sleep(0.1) or quick(*given)
    generator = torch.Generator().manual_seed(2)
    x, y = torch.rand((30, 1, 4, 4), generator=generator), torch.arange(30) % 3
    data = Dataset("tiny", x, y, x, y, ("a", "b", "c"), "tiny")
    network = networks.fully_connected((1, 4, 4), hidden=8, n_classes=3)
    posterior = inference.hmc(network, data, n_samples=10, warmup=3, n_steps=3, n_chains=2, prior_scale=0.5,
                              progress=False, checkpoint=sys.argv[1] if len(sys.argv) > 2 else None)
    posterior.save(sys.argv[-1])
""")


@pytest.mark.slow
def test_a_chain_that_is_killed_three_times_gives_the_samples_of_an_unbroken_one(tmp_path):
    script = tmp_path / "run.py"
    script.write_text(RUN)
    command = [sys.executable, str(script)]
    environment = {**os.environ, "RELEVANCE_DEVICE": "cpu", "RELEVANCE_PROGRESS": "0", "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, str(tmp_path / "whole.safetensors")], check=True, env=environment)
    folder, kills = tmp_path / "chain", 0
    generator = torch.Generator().manual_seed(int(time.time()))
    while kills < 3:
        files = len(list(folder.glob("*"))) if folder.exists() else 0
        process = subprocess.Popen([*command, str(folder), str(tmp_path / "broken.safetensors")], env=environment)
        while process.poll() is None:  # wait for some progress, then a random moment more
            if folder.exists() and len(list(folder.glob("*"))) > files + 1:
                break
            time.sleep(0.005)
        time.sleep(0.15 * torch.rand((), generator=generator).item())
        assert process.poll() is None, "the run ended before it could be killed three times"
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
    subprocess.run([*command, str(folder), str(tmp_path / "broken.safetensors")], check=True, env=environment)
    whole, broken = (
        type(random_posterior(nn.Linear(1, 2), 1)).load(tmp_path / f"{name}.safetensors", device="cpu")
        for name in ("whole", "broken")
    )
    assert all(torch.equal(value, broken.samples[name]) for name, value in whole.samples.items())
    assert whole.record["diagnostics"] == broken.record["diagnostics"]
    assert whole.record["history"] == broken.record["history"]


def test_a_checkpoint_of_another_run_or_a_damaged_one_gets_a_sentence(small_network, tiny_data, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "SECONDS", 0.0)
    given = {"n_samples": 3, "warmup": 1, "progress": False, "checkpoint": tmp_path / "run"}
    first = inference.hmc(small_network, tiny_data, **given)
    again = inference.hmc(small_network, tiny_data, **given)  # read, not run
    assert all(torch.equal(value, again.samples[name]) for name, value in first.samples.items())
    with pytest.raises(ValueError, match=r"holds another run \(prior_scale is 0.2, was 0.1\)"):
        inference.hmc(small_network, tiny_data, **given, prior_scale=0.2)
    other = replace(tiny_data, train_images=1 - tiny_data.train_images)
    with pytest.raises(ValueError, match="holds another run .images is"):
        inference.hmc(small_network, other, **given)
    state = tmp_path / "run" / "chain-0.safetensors"
    state.write_bytes(state.read_bytes()[:40])
    with pytest.raises(ValueError, match="is damaged .*; delete the folder to start the run anew"):
        inference.hmc(small_network, tiny_data, **given)


def test_a_finished_run_goes_on_where_more_draws_are_asked_for(small_network, tiny_data, tmp_path, monkeypatch):
    given = {"warmup": 2, "n_chains": 2, "progress": False}
    kept = {**given, "checkpoint": tmp_path / "run"}
    inference.hmc(small_network, tiny_data, n_samples=4, **kept)
    proposals = []
    quick = chain.transition
    monkeypatch.setattr(chain, "transition", lambda *told: proposals.append(1) or quick(*told))
    # Three draws more; then fewer than there are.
    for n_samples, n_made in ((7, 3), (5, 0)):
        proposals.clear()
        found = inference.hmc(small_network, tiny_data, n_samples=n_samples, **kept, jobs=1)
        assert len(proposals) == n_made
        unbroken = inference.hmc(small_network, tiny_data, n_samples=n_samples, **given)
        assert all(torch.equal(value, found.samples[name]) for name, value in unbroken.samples.items())
        assert found.record["history"] == unbroken.record["history"]
        assert found.record["diagnostics"] == unbroken.record["diagnostics"]


def test_a_flipped_byte_in_a_checkpoint_is_noticed(small_network, tiny_data, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "SECONDS", 0.0)
    given = {"n_samples": 3, "warmup": 1, "progress": False, "checkpoint": tmp_path / "run"}
    inference.hmc(small_network, tiny_data, **given)
    for name in ("chain-0.safetensors", "chain-0-draws-0.safetensors"):
        content = (tmp_path / "run" / name).read_bytes()
        for place in (0, 20, len(content) // 2, len(content) - 1):
            (tmp_path / "run" / name).write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
            with pytest.raises(ValueError, match="is damaged .*; delete the folder to start the run anew"):
                inference.hmc(small_network, tiny_data, **given)
        (tmp_path / "run" / name).write_bytes(content)
    inference.hmc(small_network, tiny_data, **given)
