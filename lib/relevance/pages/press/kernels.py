"""Kernels that start at once: forked from a process that has imported what every chapter would import again.

Torch, pandas and matplotlib take seconds to import, in each of the chapters. Only what is installed is imported beforehand, and
nothing of this library, whose files may change while the book is printed.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from threading import Thread
from typing import Any, NamedTuple

from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from relevance.pages.press import reads

IMPORTED = (
    "torch", "pandas.io.formats.style", "scipy.stats", "matplotlib.backends.backend_agg", "matplotlib_inline.backend_inline",
    "safetensors.torch", "tqdm.auto", "ipykernel.kernelapp",
)  # fmt: skip


class Notes(NamedTuple):
    """Where a kernel writes down what it reads below which folders (:func:`relevance.pages.press.reads.note`)."""

    log: str
    folders: Sequence[str]


def serve(arguments: Sequence[str], environment: Mapping[str, str], folder: str, notes: Notes | None) -> None:
    """Be a kernel: in a session of its own, so that it and what it starts can be ended together."""
    if notes is not None:
        reads.note(*notes)
    os.setsid()
    os.chdir(folder)
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from ipykernel.kernelapp import IPKernelApp

    Thread(target=_end_with, args=(multiprocessing.parent_process(),), daemon=True).start()
    sys.argv = ["ipykernel_launcher", *arguments]
    IPKernelApp.launch_instance(argv=list(arguments))


def _end_with(starter: Any) -> None:
    """End this process, and what it started, as soon as the one that asked for it has ended, however that was."""
    starter.join()
    os.killpg(0, signal.SIGKILL)


class Forked:
    """A forked kernel, as jupyter_client knows processes."""

    stdin = stdout = stderr = None

    def __init__(
        self, arguments: Sequence[str], environment: Mapping[str, str], folder: str, notes: Notes | None
    ) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(IMPORTED))
        self._process = context.Process(target=serve, args=(arguments, dict(environment), folder, notes), daemon=False)
        self._process.start()
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Return how the kernel ended; None while it runs."""
        return self._process.exitcode

    def wait(self) -> int | None:
        """Wait for the end."""
        self._process.join()
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send a signal to the kernel."""
        if self.pid is not None and self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask the kernel to end."""
        self._process.terminate()

    def kill(self) -> None:
        """End the kernel."""
        self._process.kill()


class ForkedKernelManager(AsyncKernelManager):
    """Starts its kernel by a fork."""

    notes: Notes | None = None

    async def _async_launch_kernel(self, kernel_cmd: list[str], **settings: Any) -> None:
        provisioner = self.provisioner
        assert isinstance(provisioner, LocalProvisioner)
        arguments = kernel_cmd[kernel_cmd.index("ipykernel_launcher") + 1 :]
        process: Any = Forked(arguments, settings.get("env", {}), str(settings.get("cwd") or os.getcwd()), self.notes)
        provisioner.process, provisioner.pid, provisioner.pgid = process, process.pid, process.pid
        self._reconcile_connection_info(provisioner.connection_info)
