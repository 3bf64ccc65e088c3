"""Run the stochastic tests as other CPUs would compute them: `make test-cpus`.

Torch, oneDNN and MKL are told to use no newer instructions than a level's, so that they round as CPUs of that level do. The
number of threads changes the order of sums, and so is another such difference.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple


class Level(NamedTuple):
    """A level of instructions: its name, what CPUs that have it call it, and what it is called by torch, oneDNN and MKL."""

    name: str
    flag: str
    torch: str
    onednn: str
    mkl: str


LEVELS = [
    Level("SSE4.2", "sse4_2", "default", "SSE41", "SSE4_2"),
    Level("AVX", "avx", "default", "AVX", "AVX"),
    Level("AVX2", "avx2", "avx2", "AVX2", "AVX2"),
    Level("AVX-512", "avx512f", "avx512", "AVX512_CORE", "AVX512"),
    Level("AVX-512 and AMX", "amx_tile", "avx512", "AVX512_CORE_AMX", "AVX512"),
]


def flags() -> set[str]:
    """Return what this CPU has, as Linux names it; nothing where that cannot be read."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return next((set(line.partition(":")[2].split()) for line in lines if line.startswith("flags")), set())


def run(level: Level, threads: int) -> tuple[bool, str]:
    """Run the tests at one level; return whether they passed, and what pytest printed."""
    settings = {
        "ATEN_CPU_CAPABILITY": level.torch, "ONEDNN_MAX_CPU_ISA": level.onednn, "MKL_ENABLE_INSTRUCTIONS": level.mkl,
        "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE",
    }  # fmt: skip
    # Processes and their threads on as many cores as there are: with more, OpenMP's threads wait for each other.
    spread = ["-n", str(max(1, (os.cpu_count() or 2) // threads)), "--dist", "loadfile"]
    command = [sys.executable, "-m", "pytest", "-m", "stochastic and not slow", *spread]
    done = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True, check=False)
    return done.returncode == 0, done.stdout + done.stderr


def main() -> int:
    """Run the tests at the lowest, a middle and the highest level that this CPU has; return the exit status."""
    here = flags()
    known = [level for level in LEVELS if level.flag in here]
    for level in LEVELS:
        if level not in known:
            print(f"{level.name}: left out, as this CPU does not have it.", flush=True)
    if not known:
        print("This CPU is of none of these levels, so the tests are run on it as it is alone, by `make test`.")
        return 0
    chosen = [known[index] for index in sorted({0, len(known) // 2, len(known) - 1})]
    failed = False
    for index, level in enumerate(chosen):
        threads = 1 + index % 2
        passed, text = run(level, threads)
        failed = failed or not passed
        if not passed:
            print(text)
        last = next((line for line in reversed(text.splitlines()) if line.strip()), "nothing")
        print(f"{level.name}, {threads} thread{'s' * (threads > 1)}: {last.strip('= ')}", flush=True)
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
