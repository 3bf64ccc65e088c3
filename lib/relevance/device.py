"""Where the numbers live: a CUDA GPU where there is one, the CPU where there is none."""

from __future__ import annotations

import os

import torch


def default_device() -> torch.device:
    """Return the device that everything starts on: ``$RELEVANCE_DEVICE`` if set, else CUDA, else the CPU.

    Data sets are loaded onto it, and what is computed from them stays there.
    """
    wanted = os.environ.get("RELEVANCE_DEVICE")
    if not wanted:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError:
        raise ValueError(f"RELEVANCE_DEVICE is {wanted!r}; it may be cpu, cuda or cuda:N.") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"RELEVANCE_DEVICE is {wanted!r}, but this machine has no CUDA GPU; it may be cpu.")
    return device


def device_name(device: torch.device) -> str:
    """Return the device in words, for records and captions."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} thread(s)"
