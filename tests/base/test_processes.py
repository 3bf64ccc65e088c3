"""Calls side by side give what they give one after the other."""

from __future__ import annotations

import operator
import os

import pytest
import torch

from relevance.base import processes

CALLS = [(torch.arange(3.0), index) for index in range(4)]


def test_calls_in_this_process_come_in_their_order_on_one_thread():
    found = list(processes.side_by_side(lambda value: (value, torch.get_num_threads(), os.getpid()), [(1,), (2,)], 1))
    assert found == [(0, (1, 1, os.getpid())), (1, (2, 1, os.getpid()))]


def test_jobs_are_as_many_as_are_said_or_as_torch_has_threads(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    assert processes.n_jobs("jobs", None) == 7
    assert processes.n_jobs("jobs", 3) == 3
    assert processes.n_jobs("jobs", None, torch.device("cuda")) == 1
    with pytest.raises(ValueError, match="jobs is 0; it must be a whole number of at least 1"):
        processes.n_jobs("jobs", 0)


@pytest.mark.slow
def test_two_processes_give_what_one_gives():
    alone, together = (dict(processes.side_by_side(torch.add, CALLS, jobs)) for jobs in (1, 2))
    assert alone.keys() == together.keys() == set(range(4))
    assert all(torch.equal(value, together[index]) for index, value in alone.items())
    pids = {pid for _, pid in processes.side_by_side(os.getpid, [(), (), ()], 2)}
    assert os.getpid() not in pids


@pytest.mark.slow
def test_what_is_raised_in_another_process_is_raised_here():
    with pytest.raises(ZeroDivisionError):
        list(processes.side_by_side(operator.truediv, [(1, 1), (1, 0)], 2))
