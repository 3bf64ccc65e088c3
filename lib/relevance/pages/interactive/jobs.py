"""Work beside a notebook's own: the newest of what is asked for, and trainings in a process that can be stopped."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from typing import Generic, TypeVar

from relevance.base.environment import with_progress
from relevance.studies.carbone.study import Study

Asked = TypeVar("Asked")
PERCENT = re.compile(r"(?:([\w ,-]+): *)?(\d+)%\|")


class Newest(Generic[Asked]):
    """A thread that does the newest of what it is asked for; what was overtaken while it worked is dropped.

    Args:
        work: called with what is asked for, one at a time; what it raises goes to ``failed``.
        failed: called with an error.
    """

    def __init__(self, work: Callable[[Asked], None], failed: Callable[[Exception], None]) -> None:
        self._work, self._failed = work, failed
        self._waiting: list[Asked] = []
        self._changed = threading.Condition()
        self._working = False
        self._closed = False
        threading.Thread(target=self._run, daemon=True).start()

    def ask(self, asked: Asked) -> None:
        """Have this done next, in place of what still waits."""
        with self._changed:
            self._waiting[:] = [asked]
            self._changed.notify_all()

    def settle(self, timeout: float | None = None) -> bool:
        """Wait until all is done; return whether it is so after ``timeout`` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._working, timeout)

    def close(self) -> None:
        """End the thread when what it does is done."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._working = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                asked = self._waiting.pop()
                self._working = True
            try:
                self._work(asked)
            except Exception as error:
                self._failed(error)


class Training:
    """The models of a study, trained in a process of their own, which finds its place in the store.

    Args:
        study: whose models are to be trained.
        progress: called with a title and the share done, in [0, 1], again and again.
    """

    def __init__(self, study: Study, progress: Callable[[str, float], None]) -> None:
        given = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(study).items()}
        self._progress = progress
        self._stopped = False
        self._process = subprocess.Popen(
            [sys.executable, "-m", "relevance.studies.carbone.study", json.dumps(given)],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=with_progress(),
        )  # fmt: skip

    def stop(self) -> None:
        """End the process; the models that are finished stay in the store."""
        self._stopped = True
        self._process.terminate()

    def wait(self) -> bool:
        """Wait for the end, and hand the progress on; return whether all models are trained.

        Raises:
            RuntimeError: the training failed; with its last line.
        """
        said, last = b"", ""
        assert self._process.stderr is not None
        # A progress bar goes back to the start of its line, and ends none.
        while piece := self._process.stderr.read1():  # type: ignore[attr-defined]
            *lines, said = re.split(rb"[\r\n]+", said + piece)
            for line in (*lines, said):
                text = line.decode(errors="replace").strip()
                if found := PERCENT.match(text):
                    self._progress(found[1] or "training", int(found[2]) / 100)
                elif text:
                    last = text
        if self._process.wait() and not self._stopped:
            raise RuntimeError(f"The training failed: {last}")
        return not self._stopped
