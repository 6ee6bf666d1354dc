"""What a chapter shows, read from its notebook: the measurements that it opens, and the groups of runs that it tells of.

A notebook opens a measurement by `records.read_measurement("masks/success.json")` and tells of runs by
`captions.made_with("table_1", ...)`, or `captions.rerun` in short. The names stand there written out, so that whoever adds a
chapter lists it nowhere else.
"""

import ast
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from maskfr_utils.messages import brief
from maskfr_utils.paths import ROOT

if TYPE_CHECKING:
    from nbformat import NotebookNode

NOTEBOOKS = ROOT / "notebooks"


def chapters(notebooks: Path | None = None) -> list[Path]:
    """The py:percent halves of all notebooks, in the order of their names.

    Args:
        notebooks: their folder; default: the repository's.
    """
    return sorted((notebooks or NOTEBOOKS).glob("*.py"))


def measurements(notebook: Path) -> list[str]:
    """The records of measurements that a notebook opens, below the results, in the order of its text.

    Args:
        notebook: its py:percent half.

    Raises:
        ValueError: a name is computed, so that nobody can tell what the chapter shows; or the file is no Python.
    """
    found = []
    for call in _calls(notebook, "read_measurement"):
        inside = [n for given in _given(call, "name") for n in ast.walk(given)]
        names = [n.value for n in inside if isinstance(n, ast.Constant) and isinstance(n.value, str)]
        if len(names) != 1 or any(isinstance(n, ast.JoinedStr) for n in inside):
            raise ValueError(
                f"{notebook.name}, line {call.lineno}: write out the name of the one record that is opened"
            )
        found += names
    return list(dict.fromkeys(found))


def opened(notebooks: Path | None = None) -> dict[str, str]:
    """The measurements that any chapter opens, and the name of the last that does; arguments and errors as above."""
    return {name: notebook.stem for notebook in chapters(notebooks) for name in measurements(notebook)}


def groups(notebook: Path) -> list[str | None]:
    """The groups of the study's runs that a notebook tells of, None for all runs; arguments and errors as above."""
    found = []
    for call in [call for name in ("made_with", "rerun") for call in _calls(notebook, name, of="captions")]:
        names = [given.value for given in _given(call, "group") if isinstance(given, ast.Constant)]
        if len(names) != 1:
            raise ValueError(f"{notebook.name}, line {call.lineno}: write out the name of the one group, or None")
        found += names
    return list(dict.fromkeys(found))


def _given(call: ast.Call, name: str) -> list[ast.expr]:
    """What a call is given as its first argument, or by that argument's name."""
    return [*call.args[:1], *(keyword.value for keyword in call.keywords if keyword.arg == name)]


def _calls(notebook: Path, function: str, of: str | None = None) -> list[ast.Call]:
    """The calls of `function` (of a module `of`, or of any), in the order of the text."""
    try:
        calls = _all_calls(notebook.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"{notebook} cannot be read ({error}): make it with `jupytext --to py:percent`") from None
    return [call for call, (*module, name) in calls if name == function and of in (None, *module)]


@lru_cache(maxsize=64)  # notebooks: each is asked for several functions, and for each record that is checked
def _all_calls(text: str) -> list[tuple[ast.Call, list[str]]]:
    """The calls of a notebook in the order of its text, each with the parts of the name of what it calls."""
    calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    calls.sort(key=lambda call: (call.lineno, call.col_offset))
    return [(call, ast.unparse(call.func).split(".")) for call in calls]


def read_notebook(path: str | Path) -> "NotebookNode":
    """A notebook in the format's version 4.

    Raises:
        OSError: it cannot be read.
        ValueError: it is none; the message names it.
    """
    import nbformat  # half a second, for a chapter

    try:
        return nbformat.read(path, as_version=4)
    except OSError:
        raise
    except Exception as error:  # nbformat raises many kinds
        raise ValueError(f"{path} is no notebook ({brief(error, 200)})") from None
