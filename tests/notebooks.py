"""What the small chapters that tests print begin with."""

from __future__ import annotations

import yaml

HEAD = """---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---
"""

# One that can be recorded: cells go on after it.
RECORDABLE = f"""{HEAD}
```{{code-cell}} ipython3
:tags: [parameters]

hidden = 8
record = ""
```
"""


def recordable_project(folder, chapter):
    """Lay out in a folder what `make record` takes: one chapter, and the run "tiny" of it."""
    (folder / "book/profiles").mkdir(parents=True)
    (folder / "_toc.yml").write_text("format: jb-book\nroot: book/chapter\n")
    (folder / "book/chapter.md").write_text(chapter)
    (folder / "book/profiles/paper.yml").write_text("common: {}\n")
    run = {"parameters": {"hidden": 8}, "chapters": {"chapter": None}}
    (folder / "book/runs.yml").write_text(yaml.safe_dump({"tiny": run}))
    return folder
