"""What runs in the pages: the inference runtime from npm, and the networks that blocks hold, as files beside the pages.

A page opened from disk may not fetch files, nor import them as modules; it may run scripts. So each part is a script that
leaves a text, and is run when it is asked for.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import shutil
import sys
from pathlib import Path

from relevance.digests import digest
from relevance.web import STATIC

PART = re.compile(r'<script type="text/plain" data-name="([\w-]+)">([^<]*)</script>\n?')
MARK = '<script type=\\"text/plain\\" data-name='
RUNTIME = {
    "script": "ort.wasm.min.js",
    "glue": "ort-wasm-simd-threaded.mjs",
    "binary": "ort-wasm-simd-threaded.wasm",
}
# Packages of which the runtime's scripts are made.
BUNDLED = ("flatbuffers", "long", "platform", "protobufjs", "@protobufjs")


def part(name: str, text: str) -> str:
    """Return the markup of a named part: base64 or JSON, without a tag in it."""
    return f'<script type="text/plain" data-name="{name}">{text}</script>\n'


def packages() -> Path:
    """Return the folder into which ``requirements/install.sh`` puts what runs in the pages."""
    return Path(sys.prefix) / "share" / "relevance-web" / "node_modules"


def _files() -> dict[str, Path]:
    folder = packages() / "onnxruntime-web" / "dist"
    return {name: folder / file for name, file in RUNTIME.items()}


def state() -> str:
    """Return a digest of the runtime's names and sizes, so that pages are rendered anew when it comes or goes."""
    found = (f"{path.name} {path.stat().st_size}" for path in _files().values() if path.is_file())
    return digest("runtime", *found)


def packed() -> dict[str, str] | None:
    """Return the runtime's files, gzipped, in base64; None where it is not installed."""
    files = _files()
    if not all(path.is_file() for path in files.values()):
        return None
    return {name: base64.b64encode(gzip.compress(path.read_bytes(), mtime=0)).decode() for name, path in files.items()}


def set_aside(notebook: Path, target: Path) -> None:
    """Move the parts that a notebook's results hold into scripts below ``target``.

    Args:
        notebook: an executed notebook, changed in place.
        target: a folder of the pages' static files; it is made where there is something to put into it.
    """
    text = notebook.read_text(encoding="utf-8")
    if MARK not in text:
        return
    content = json.loads(text)
    for cell in content["cells"]:
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if "text/html" in data:
                data["text/html"] = _without_parts("".join(data["text/html"]), target)
    notebook.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _without_parts(markup: str, target: Path) -> str:
    for name, text in PART.findall(markup):
        target.mkdir(parents=True, exist_ok=True)
        _write(target, name, text)
    return PART.sub("", markup)


def copy(target: Path) -> None:
    """Put the runtime and its licences into ``target``, or a script that says that there is none.

    Nothing is done where ``target`` does not exist: then no page needs it.
    """
    if not target.is_dir():
        return
    _write(target, "runtime", json.dumps(packed()))
    licences = target / "licences"
    licences.mkdir(exist_ok=True)
    shutil.copy(STATIC / "onnxruntime-web.LICENSE", licences / "onnxruntime-web.txt")
    for name in BUNDLED:
        for path in sorted((packages() / name).rglob("LICENSE")):
            shutil.copy(path, licences / ("-".join(path.relative_to(packages()).parts[:-1]) + ".txt"))


def _write(target: Path, name: str, text: str) -> None:
    script = f"(globalThis.relevanceParts ??= {{}})[{json.dumps(name)}] = {json.dumps(text)};\n"
    (target / f"{name}.js").write_text(script, encoding="utf-8")
