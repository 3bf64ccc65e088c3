"""A Dask scheduler and workers on this machine's loopback, which can be killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

OPTIONS = ("--no-dashboard", "--host", "127.0.0.1")
# On a machine that does much else.
PATIENT = {f"DASK_DISTRIBUTED__COMM__TIMEOUTS__{kind}": "600s" for kind in ("CONNECT", "TCP")}


class Cluster:
    """Processes of a cluster, in their own folder.

    Attributes:
        address: of the scheduler, for ``RELEVANCE_CLUSTER``.
        workers: their processes.
    """

    def __init__(self, folder: Path, n_workers: int) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder, self.n_workers = folder, n_workers
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.begun: list[subprocess.Popen[bytes]] = []
        self.start()

    def start(self) -> None:
        self.scheduler = self._begin("scheduler", "--port", str(self.port))
        deadline = time.monotonic() + 200
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                break
            except OSError:
                time.sleep(0.2)
        self.workers = [self.add_worker() for _ in range(self.n_workers)]

    def add_worker(self) -> subprocess.Popen[bytes]:
        # Without a nanny, so that the process is the worker.
        return self._begin("worker", self.address, "--nthreads", "1", "--no-nanny", "--memory-limit", "0",
                           "--preload", "relevance.studies.carbone.pieces")  # fmt: skip

    def _begin(self, kind: str, *words: str) -> subprocess.Popen[bytes]:
        # What a worker is to know of, it is told.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RELEVANCE_")}
        environment |= PATIENT
        log = (self.folder / f"{kind}-{len(self.begun)}.log").open("wb")
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *words, *OPTIONS]
        self.begun.append(subprocess.Popen(command, cwd=self.folder, env=environment, stdout=log, stderr=log))
        return self.begun[-1]

    def stop(self) -> None:
        for process in self.begun:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.wait()
