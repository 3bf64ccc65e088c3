"""What runs in the pages: the inference runtime from npm, and the networks that blocks hold, as files beside the pages.

A page opened from disk may not fetch files, nor import them as modules; it may run scripts. So each part is a script that
leaves a text, and is run when it is asked for.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from relevance.base.digests import digest
from relevance.pages.web import STATIC, _files, packages, packed

PART = re.compile(r'<script type="text/plain" data-name="([\w-]+)">([^<]*)</script>\n?')
MARK = '<script type=\\"text/plain\\" data-name='
# Packages of which the runtime's scripts are made.
BUNDLED = ("flatbuffers", "long", "platform", "protobufjs", "@protobufjs")


def state() -> str:
    """Return a digest of the runtime's names and sizes, so that pages are rendered anew when it comes or goes."""
    found = (f"{path.name} {path.stat().st_size}" for path in _files().values() if path.is_file())
    return digest("runtime", *found)


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
            # What is glued without being shown has a longer name.
            for kind in [name for name in data if name.endswith("text/html")]:
                data[kind] = _without_parts("".join(data[kind]), target)
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
