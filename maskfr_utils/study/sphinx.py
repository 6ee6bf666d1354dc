"""What a build of the book does and checks beyond Sphinx: an extension that `_config.yml` loads.

A page with an old number looks like a page with a new one. So the build stops where a chapter is not its notebook
executed, or a record of the study is stale or unknown; and it warns of a picture without an alt text.

Notebooks are read in JupyterLab, too, where roles and directives show as raw text. So they are written in plain Markdown
and metadata, and this extension makes of it what the book needs:

- `([He et al., 2016](#cite-he2016))` becomes a citation, `[the curves](#fig-rates)` "the curves (Figure 7.1)", and
  `[the figure](#fig-rates)` "Figure 7.1";
- a cell with `mystnb={"name": "fig-rates", "caption": "..."}` becomes a numbered figure, with "tab-..." a numbered table; what
  `pages.made` shows in that cell stands below the caption. A caption that begins with "The report's Figure 9" puts
  "Figure 9" into the index.
"""

import json
import re
from html import escape
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.transforms import SphinxTransform
from sphinx.util import logging

from maskfr_utils.paths import ROOT
from maskfr_utils.study import check
from maskfr_utils.study.shown import read_notebook

logger = logging.getLogger(__name__)
CITED = re.compile(r"\[[^\[\]]+\]\(#cite-([\w,]+)\)")
CITED_ALONE = re.compile(rf"\({CITED.pattern}\)")  # its parentheses are those of the citation
NUMBERED = re.compile(r"\[([^\[\]]+)\]\(#((?:fig|tab)-[\w-]+)\)")
ENCLOSED = re.compile(rf"\({NUMBERED.pattern}\)")
NAMED = re.compile(r"\[[Tt]he (?:figure|table)\]\(#((?:fig|tab)-[\w-]+)\)")  # the number says it all
REPORTED = re.compile(r"The report's ((?:Figure|Table) \d)\b")


def texts(notebook: Path) -> list[str]:
    """The text of a notebook's cells, without the parameters that papermill injected.

    Raises:
        ValueError: the file is no notebook; the message names it.
    """
    return [
        cell.source
        for cell in read_notebook(notebook).cells
        if "injected-parameters" not in cell.metadata.get("tags", [])
    ]


def chapter_problems(notebooks: Path, book: Path) -> list[str]:
    """What keeps the chapters in `book` from being the notebooks in `notebooks`; each a line with the way out.

    Raises:
        ValueError: a file is no notebook.
    """
    found = []
    for notebook in sorted(notebooks.glob("*.ipynb")):
        chapter, name = book / notebook.name, notebook.name
        again = f"`make chapters NOTEBOOKS={notebook.stem}` executes it"
        if not chapter.exists():
            found.append(f"book/{name} is missing: {again}")
        elif texts(chapter) != texts(notebook):
            found.append(
                f"book/{name} is not notebooks/{name} as it is now: {again}; `make words` does where only words changed"
            )
    return found


def stop_if_stale(app: Sphinx) -> None:
    """Stops the build if it would show what the repository no longer says.

    Raises:
        ExtensionError: all that is stale, a line each.
    """
    if found := chapter_problems(ROOT / "notebooks", ROOT / "book") + check.problems():
        raise ExtensionError("\n".join(["the book is stale:", *found]))


def write_roles(app: Sphinx, docname: str, source: list[str]) -> None:
    """Turns links to `#cite-`, `#fig-` and `#tab-` into citations and numbers, in pages and notebooks; code stays as it is."""
    if not source[0].startswith("{"):
        source[0] = with_roles(source[0])
        return
    notebook = json.loads(source[0])
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = with_roles("".join(cell["source"]))
        for data in (output["data"] for output in cell.get("outputs", ()) if "data" in output):
            if "text/markdown" in data:
                data["text/markdown"] = with_roles("".join(data["text/markdown"]))
    source[0] = json.dumps(notebook)


def with_roles(text: str) -> str:
    """Markdown with roles for its links to `#cite-`, `#fig-` and `#tab-`."""
    text = CITED.sub(r"{cite}`\1`", CITED_ALONE.sub(r"{cite}`\1`", text))
    text = NAMED.sub(r"{numref}`\1`", ENCLOSED.sub(r"({numref}`\2`)", text))
    return NUMBERED.sub(r"\1 ({numref}`\2`)", text)


class NumberedTable(nodes.figure):
    """A table of pandas with number and caption: for Sphinx a table, in HTML a figure."""


class Captions(SphinxTransform):
    """Wraps what a captioned cell shows into a figure or table, before its label is noted."""

    default_priority = 840  # the domains note labels and index entries at 850

    def apply(self, **kwargs: object) -> None:
        for cell in list(self.document.findall(nodes.container)):
            said = cell.get("cell_metadata", {}).get("mystnb", {}) if cell.get("nb_element") == "cell_code" else {}
            outputs = [part for part in cell.children if part.get("nb_element") == "cell_code_output"]
            if said.get("caption") and outputs:
                for drawn in outputs[0].findall(nodes.raw):
                    label = f'<svg role="img" aria-label="{escape(said.get("image", {}).get("alt", ""))}" '
                    if drawn.astext().startswith('<div class="pointed"><svg '):
                        drawn.children = [nodes.Text(drawn.astext().replace("<svg ", label, 1))]
                self.caption(outputs[0], said["name"], said["caption"])

    def caption(self, shown: nodes.Element, name: str, caption: str) -> None:
        """Puts a figure or table around all that a cell shows; what it was made with goes below the caption."""
        made = [
            part for part in shown.children if any('class="made"' in raw.astext() for raw in part.findall(nodes.raw))
        ]
        printed = [part for part in shown.children if isinstance(part, nodes.literal_block)]
        rest = [part for part in shown.children if part not in (*made, *printed)]
        figure = (NumberedTable if name.startswith("tab-") else nodes.figure)("", *rest)
        figure += nodes.caption(caption, "", nodes.Text(caption))
        if made:
            figure += nodes.legend("", *made)
        figure["names"].append(nodes.fully_normalize_name(name))
        self.document.note_explicit_target(figure, figure)
        # A main entry: whoever searches for "Figure 3" finds it before all pages that mention it.
        entries = [("single", report, figure["ids"][0], "main", None) for report in REPORTED.findall(caption)]
        shown.children[:] = printed
        if entries:
            shown += addnodes.index(entries=entries)
        shown += figure


def visit_table(writer: nodes.NodeVisitor, node: NumberedTable) -> None:
    """Opens a numbered table in HTML."""
    node["classes"].append("numbered-table")
    writer.visit_figure(node)


def depart_table(writer: nodes.NodeVisitor, node: NumberedTable) -> None:
    """Closes it."""
    writer.depart_figure(node)


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
    app.add_enumerable_node(NumberedTable, "table", html=(visit_table, depart_table))
    app.add_transform(Captions)
    app.connect("builder-inited", stop_if_stale)
    app.connect("source-read", write_roles)
    app.connect("doctree-read", warn_without_alt)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
