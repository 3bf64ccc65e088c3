"""Where a chapter can be run from its page: as a notebook of one's own, on Binder, on Colab.

The buttons for the last two need the address of a public clone: what ``RELEVANCE_REPOSITORY`` names, else the ``origin``
of the project's git where that is on GitHub. Without one, pages offer what works without: the notebook itself.
"""

from __future__ import annotations

import re
import subprocess
from html import escape
from pathlib import Path
from urllib.parse import quote

import nbformat
from nbformat import NotebookNode

from relevance.base import environment
from relevance.pages.press.chapters import BookError
from relevance.studies.records import commit

GITHUB = re.compile(r"(?:https://|ssh://git@|git@)github\.com[/:]([\w.-]+)/([\w.-]+?)(?:\.git)?/?$")
# Runs before everything else in a notebook that is opened away from the project; on the page it is not shown.
FETCH = """\
# Away from the project's own environment, the library and its recorded runs are fetched first.
import importlib.util

if importlib.util.find_spec("relevance") is None:
    {fetch}
"""
CLONE = """\
    !git clone --quiet --depth 1 {address} relevance-book
    %pip install --quiet --editable relevance-book
    import sys; sys.path.insert(0, "relevance-book/lib")
    %cd -q relevance-book"""
NONE = """\
    raise ModuleNotFoundError(
        "The library relevance is not installed in this kernel; open the notebook with the project's own "
        "(make lab), or install it: pip install --editable FOLDER-OF-THE-PROJECT"
    )"""


def repository(root: Path) -> str | None:
    """Return ``owner/name`` of the public clone on GitHub, None if none is known.

    Raises:
        BookError: ``RELEVANCE_REPOSITORY`` is not such an address.
    """
    if given := environment.repository():
        if not (found := GITHUB.match(given)):
            raise BookError(
                f"RELEVANCE_REPOSITORY is {given!r}; it must be the address of a clone on GitHub, such as "
                "https://github.com/owner/name."
            )
        return f"{found[1]}/{found[2]}"
    asked = ["git", "-C", str(root), "config", "--get", "remote.origin.url"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    found = GITHUB.match(done.stdout.strip())
    return f"{found[1]}/{found[2]}" if found else None


def ready(notebook: NotebookNode, chapter: str, clone: str | None) -> None:
    """Make an executed chapter run as it is when it is downloaded, and say on its page where it can be run, and what made it.

    Args:
        notebook: changed in place.
        chapter: its name.
        clone: ``owner/name`` of a public clone on GitHub, if there is one.
    """
    _tell_of_figures(notebook)
    fetch = CLONE.format(address=f"https://github.com/{clone}") if clone else NONE
    cell = nbformat.v4.new_code_cell(FETCH.format(fetch=fetch.strip()), metadata={"tags": ["remove-cell"]})
    cell.id = "fetch"
    notebook.cells.insert(0, cell)
    links = [f"{{download}}`a notebook <{Path(chapter).name}.ipynb>`"]
    if clone:
        binder = f"https://mybinder.org/v2/gh/{clone}/HEAD?urlpath={quote(f'lab/tree/book/{chapter}.md', safe='')}"
        colab = f"https://colab.research.google.com/github/{clone}/blob/HEAD/binder/colab.ipynb"
        links += [f"[on Binder]({binder})", f"[on Colab]({colab})"]
    line = f"## Run this page\n\nAs {', '.join(links)}; or with `make lab CHAPTER={chapter}`."
    notebook.cells.append(nbformat.v4.new_markdown_cell(line, id="run-it"))


def _tell_of_figures(notebook: NotebookNode) -> None:
    """Say, folded under every figure, of which commit it is, and with which parameters its page was made."""
    tags = ("parameters", "injected-parameters")
    given = [cell.source for cell in notebook.cells if set(tags) & set(cell.metadata.get("tags", ()))]
    listed = f"<pre>{escape(chr(10).join(given))}</pre>" if given else ""
    told = (
        '<details class="rr-folded made-with"><summary>Made with</summary>'
        f"Commit {commit()}, the parameters and the code of this page.{listed}</details>"
    )
    for index in reversed(range(len(notebook.cells))):
        cell = notebook.cells[index]
        if cell.cell_type == "code" and "figure" in cell.metadata.get("mystnb", {}):
            notebook.cells.insert(index + 1, nbformat.v4.new_markdown_cell(told, id=f"made-with-{index}"))
