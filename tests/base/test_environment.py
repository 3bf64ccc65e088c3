from __future__ import annotations

import pytest
import torch

from relevance.base import environment
from relevance.base.environment import chosen_device


def test_the_data_folder_is_the_project_s_also_from_a_chapter_s(tmp_path, monkeypatch):
    (tmp_path / "book/method").mkdir(parents=True)
    (tmp_path / "_toc.yml").touch()
    monkeypatch.delenv("RELEVANCE_DATA", raising=False)
    monkeypatch.chdir(tmp_path / "book/method")
    assert environment.data_root() == tmp_path / "data"


def test_devices_are_named_or_refused(monkeypatch):
    assert chosen_device("cpu") == torch.device("cpu")
    for wanted in ("gpu", "mps", "meta"):
        with pytest.raises(ValueError, match=f"device is '{wanted}'; it may be cpu, cuda or cuda:N"):
            chosen_device(wanted)
    monkeypatch.setenv("RELEVANCE_DEVICE", "cuda:99")
    with pytest.raises(ValueError, match="RELEVANCE_DEVICE is 'cuda:99', but this machine has"):
        chosen_device(None)
