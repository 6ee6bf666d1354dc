"""What a build of the book checks before it shows anything: a Sphinx extension that `_config.yml` loads.

A page with an old number looks like a page with a new one. So the build stops where a chapter is not its notebook
executed, or a record of the study is stale or unknown; and it warns of a picture without an alt text.
"""

from pathlib import Path

import nbformat
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util import logging

from maskfr_utils.paths import ROOT
from maskfr_utils.study import check

logger = logging.getLogger(__name__)


def code(notebook: Path) -> list[str]:
    """The text of a notebook's cells, without the parameters that papermill injected.

    Raises:
        ValueError: the file is no notebook; the message names it.
    """
    try:
        cells = nbformat.read(notebook, as_version=4).cells
    except Exception as error:  # nbformat raises many kinds
        raise ValueError(f"{notebook} is no notebook ({error!r})") from None
    return [cell.source for cell in cells if "injected-parameters" not in cell.metadata.get("tags", [])]


def chapter_problems(notebooks: Path, book: Path) -> list[str]:
    """What keeps the chapters in `book` from being the notebooks in `notebooks`; each a line with the way out.

    Raises:
        ValueError: a file is no notebook.
    """
    found = []
    for notebook in sorted(notebooks.glob("*.ipynb")):
        chapter, name = book / notebook.name, notebook.name
        again = f"`python -m maskfr_utils.study.chapters notebooks/{name} book/{name}` executes it"
        if not chapter.exists():
            found.append(f"book/{name} is missing: {again}")
        elif code(chapter) != code(notebook):
            found.append(f"book/{name} is not notebooks/{name} as it is now: {again}")
    return found


def stop_if_stale(app: Sphinx) -> None:
    """Stops the build if it would show what the repository no longer says.

    Raises:
        ExtensionError: all that is stale, a line each.
    """
    if found := chapter_problems(ROOT / "notebooks", ROOT / "book") + check.problems():
        raise ExtensionError("\n".join(["the book is stale:", *found]))


def warn_without_alt(app: Sphinx, doctree: nodes.document) -> None:
    """Warns of each picture that a reader who cannot see would miss."""
    for picture in doctree.findall(nodes.image):
        if not picture.get("alt"):
            cell, place = picture.parent, app.env.docname
            while cell is not None and "cell_index" not in cell:
                cell = cell.parent
            if cell is not None:
                place += f", cell {cell['cell_index']}"
            logger.warning(
                f'{place}: a picture without alt text; in a notebook: # %% mystnb={{"image": {{"alt": "…"}}}}'
            )


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("builder-inited", stop_if_stale)
    app.connect("doctree-read", warn_without_alt)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
