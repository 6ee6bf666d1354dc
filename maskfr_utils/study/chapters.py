"""Executes a notebook into a chapter of the book: `python -m maskfr_utils.study.chapters notebooks/x.ipynb book/x.ipynb`.

A chapter is the notebook with its outputs, less what a page cannot show (progress bars, live widgets) and what would
change from one execution to the next without meaning (time stamps, where the repository lies).
"""

import argparse
import sys
from pathlib import Path

import nbformat
import papermill
from nbformat import NotebookNode

from maskfr_utils import plain_yaml
from maskfr_utils.messages import brief
from maskfr_utils.names import unknown
from maskfr_utils.paths import ROOT, replacing
from maskfr_utils.study.shown import read_notebook


def execute(notebook: str | Path, chapter: str | Path, parameters: dict[str, object] | None = None) -> None:
    """Runs a notebook with papermill and leaves the chapter, whole or not at all.

    Args:
        notebook: the .ipynb to run.
        chapter: the .ipynb to write.
        parameters: names and values in place of those in the notebook's parameters cell.

    Raises:
        ValueError: no notebook, or a parameter that it does not have; papermill itself only warns.
        papermill.PapermillExecutionError: a cell failed.
    """
    read_notebook(notebook)
    chapter, known = Path(chapter), papermill.inspect_notebook(notebook)
    for name in parameters or {}:
        if name not in known:
            raise ValueError(f"{notebook}: {unknown('parameter', name, known)}")
    with replacing(chapter) as temporary:
        papermill.execute_notebook(notebook, temporary, parameters, kernel_name="python3", progress_bar=True)
        nbformat.write(as_page(nbformat.read(temporary, as_version=4)), temporary)


def reword(notebook: str | Path, chapter: str | Path) -> None:
    """Takes over a notebook's words, captions and tags into its chapter, without executing it: its code must be the same.

    Args:
        notebook: the .ipynb that was edited.
        chapter: the .ipynb that was executed from it before.

    Raises:
        ValueError: the code differs, or a file is no notebook.
    """
    new, old = (read_notebook(path) for path in (notebook, chapter))
    cells = [cell for cell in old.cells if cell.cell_type == "code"]
    injected = [cell for cell in cells if "injected-parameters" in cell.metadata.get("tags", [])]
    executed = [cell for cell in cells if cell not in injected]
    code = [cell for cell in new.cells if cell.cell_type == "code"]
    if [cell.source for cell in code] != [cell.source for cell in executed]:
        raise ValueError(f"{chapter} is not the code of {notebook}: execute it, without --words")
    for cell, done in zip(code, executed, strict=True):
        cell.outputs, cell.execution_count = done.outputs, done.execution_count
    for cell in injected:
        after = next(i for i, c in enumerate(new.cells) if "parameters" in c.metadata.get("tags", []))
        new.cells.insert(after + 1, cell)
    new.metadata = old.metadata
    with replacing(Path(chapter)) as temporary:
        nbformat.write(as_page(new), temporary)


def as_page(notebook: NotebookNode) -> NotebookNode:
    """The notebook without progress bars, widgets, time stamps and pairing."""
    for name in ("papermill", "jupytext", "widgets"):
        notebook.metadata.pop(name, None)
    for cell in notebook.cells:
        for name in ("papermill", "execution"):
            cell.metadata.pop(name, None)
        if cell.cell_type == "code":
            cell.outputs = [_without_place(o) for o in cell.outputs if _shows(o)]
    return notebook


def _without_place(output: NotebookNode) -> NotebookNode:
    """The output with paths as seen from the repository: where that lies is no reader's business."""
    texts = output if output.output_type == "stream" else output.get("data", {})
    for name, text in texts.items():
        if isinstance(text, str):
            texts[name] = text.replace(f"{ROOT}/", "")
    return output


def _shows(output: NotebookNode) -> bool:
    if output.output_type == "stream":
        return output.name != "stderr"
    return "application/vnd.jupyter.widget-view+json" not in output.get("data", {})


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m maskfr_utils.study.chapters", description=execute.__doc__.split("\n")[0]
    )
    parser.add_argument("notebook", help="the .ipynb to run")
    parser.add_argument("chapter", help="the .ipynb to write")
    parser.add_argument("-p", "--parameters", nargs=2, metavar=("NAME", "VALUE"), action="append", default=[])
    parser.add_argument("--words", action="store_true", help="only take over words and captions; the code is the same")
    args = parser.parse_args(argv)
    try:
        if args.words:
            reword(args.notebook, args.chapter)
            return 0
        given = {name: plain_yaml.parse(value, f"-p {name}") for name, value in args.parameters}
        execute(args.notebook, args.chapter, given)
    except (ValueError, OSError) as error:
        print(f"maskfr_utils.study.chapters: {brief(error)}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
