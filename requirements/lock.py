"""Write the lock: the files in this folder, from pyproject.toml. Run by `make lock`.

base.txt       everything but torch, with hashes, for every Python and platform
torch.txt      torch as the common index has it, on Linux with the CUDA libraries that it needs
torch-cpu.txt  torch's CPU build, for machines without a GPU that are offered one (see install.sh)
uv.txt         the installer itself
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
# What only torch's CUDA build needs.
CUDA = re.compile(r"(nvidia-|cuda-|triton\b)")
HEADER = "# Written by `make lock`; do not edit.\n"


def compiled(source: str, *options: str) -> list[str]:
    """Resolve ``source`` and return one block of text for each pinned package."""
    command = ["uv", "pip", "compile", "--quiet", "--universal", "--generate-hashes", "--no-annotate", "--no-header"]
    done = subprocess.run(
        [*command, "--no-emit-index-url", "--no-emit-find-links", *options, source],
        cwd=HERE.parent, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return [block.rstrip() for block in re.split(r"\n(?=[a-zA-Z])", done.stdout.strip())]


def write(name: str, blocks: list[str]) -> None:
    (HERE / name).write_text(HEADER + "\n".join(blocks) + "\n")


def cpu_build(torch: str) -> list[str]:
    """Return the CPU build of the same torch, if pip is offered one, else what the lock has already."""
    version = re.match(r"torch==([\w.]+)", torch)
    assert version is not None
    pin = f"torch=={version.group(1)}+cpu"
    folder = HERE.parent / "_build" / "lock"
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), pin], check=False
    )
    if done.returncode:
        return (HERE / "torch-cpu.txt").read_text().removeprefix(HEADER).strip().splitlines()
    hashes = subprocess.run(
        [sys.executable, "-m", "pip", "hash", *map(str, folder.glob("torch-*.whl"))],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return [f"{pin} \\\n    " + " \\\n    ".join(re.findall(r"--hash=\S+", hashes.stdout))]


def main() -> None:
    blocks = compiled("pyproject.toml", "--group", "test")
    torch = [block for block in blocks if block.startswith("torch==")]
    cuda = [block for block in blocks if CUDA.match(block)]
    write("base.txt", [block for block in blocks if block not in torch + cuda])
    write("torch.txt", torch + cuda)
    write("torch-cpu.txt", cpu_build(torch[0]))
    (HERE / "uv.in").write_text("uv\n")
    write("uv.txt", compiled("requirements/uv.in"))
    (HERE / "uv.in").unlink()


if __name__ == "__main__":
    main()
