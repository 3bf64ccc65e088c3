"""Where the numbers live: a CUDA GPU where there is one, the CPU where there is none."""

from __future__ import annotations

import os

import torch


def default_device() -> torch.device:
    """Return the device that everything starts on: ``$RELEVANCE_DEVICE`` if set, else CUDA, else the CPU.

    Data sets are loaded onto it, and what is computed from them stays there.
    """
    if wanted := os.environ.get("RELEVANCE_DEVICE"):
        return _device("RELEVANCE_DEVICE", wanted)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def chosen_device(device: torch.device | str | None) -> torch.device:
    """Return the device that an argument asks for; :func:`default_device` if it is None."""
    return default_device() if device is None else _device("device", device)


def _device(name: str, wanted: torch.device | str) -> torch.device:
    try:
        device = torch.device(wanted)
    except RuntimeError:
        device = None
    if device is None or device.type not in {"cpu", "cuda"}:
        raise ValueError(f"{name} is {str(wanted)!r}; it may be cpu, cuda or cuda:N.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"{name} is {str(wanted)!r}, but this machine has {torch.cuda.device_count()} CUDA GPUs; it may be cpu."
        )
    return device


def device_name(device: torch.device) -> str:
    """Return the device in words, for records and captions."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} thread(s)"
