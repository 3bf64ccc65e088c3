from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from relevance.pages.press.kernels import IMPORTED, ForkedKernelManager


def test_nothing_of_the_library_is_imported_beforehand():
    assert not [name for name in IMPORTED if name.startswith("relevance")]


@pytest.mark.slow
def test_a_forked_kernel_is_in_its_folder_with_its_environment_and_ends_when_it_is_told(tmp_path):
    code = (
        # What an environment with torch's CPU build imports when it starts does not count.
        "import os, sys; started = ('relevance.base', 'relevance.base.operators');"
        "ours = [name for name in sys.modules if name.startswith('relevance.base') and name not in started];"
        "print(os.getcwd(), os.environ['GIVEN'], os.getsid(0) == os.getpid(), 'torch' in sys.modules, ours)"
    )

    async def asked() -> tuple[str, int]:
        manager = ForkedKernelManager(kernel_name="python3")
        await manager.start_kernel(cwd=str(tmp_path), env={**os.environ, "GIVEN": "this"})
        client = manager.client()
        client.start_channels()
        said: list[str] = []
        await client.wait_for_ready(timeout=120)
        await client.execute_interactive(
            code, timeout=60, output_hook=lambda message: said.append(message["content"].get("text", ""))
        )
        client.stop_channels()
        number = manager.provisioner.pid
        await manager.shutdown_kernel(now=True)
        return "".join(said), number

    text, number = asyncio.run(asked())
    assert text.split() == [str(tmp_path), "this", "True", "True", "[]"]
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)


STARTS_ONE = """
import asyncio, pathlib, time
from relevance.pages.press.kernels import ForkedKernelManager

async def start():
    manager = ForkedKernelManager(kernel_name="python3")
    await manager.start_kernel()
    client = manager.client()
    client.start_channels()
    await client.wait_for_ready(timeout=120)
    pathlib.Path("number").write_text(str(manager.provisioner.pid))
    time.sleep(600)

if __name__ == "__main__":
    asyncio.run(start())
"""


@pytest.mark.slow
def test_a_kernel_ends_with_whoever_started_it_even_if_that_is_killed(tmp_path):
    (tmp_path / "starts_one.py").write_text(STARTS_ONE)
    starter = subprocess.Popen([sys.executable, "starts_one.py"], cwd=tmp_path)
    deadline = time.monotonic() + 120
    while not (tmp_path / "number").exists() and time.monotonic() < deadline and starter.poll() is None:
        time.sleep(0.1)
    starter.kill()
    starter.wait()
    number = int((tmp_path / "number").read_text())
    for _ in range(100):
        if not psutil.pid_exists(number) or psutil.Process(number).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.2)
    os.kill(number, signal.SIGKILL)
    pytest.fail("the kernel goes on")
