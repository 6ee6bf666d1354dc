"""Both halves of each notebook say the same, and the .ipynb half is clean."""

import jupytext
import nbformat
import pytest
from jupytext.compare import compare_notebooks

from maskfr_utils.paths import ROOT

SOURCES = sorted((ROOT / "notebooks").glob("*.py"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def test_every_notebook_has_both_halves():
    assert [p.stem for p in SOURCES] == [p.stem for p in NOTEBOOKS]
    assert SOURCES


@pytest.mark.parametrize("source", SOURCES, ids=lambda p: p.stem)
def test_halves_agree(source):
    notebook = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    compare_notebooks(notebook, jupytext.read(source), fmt="py:percent")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_clean_and_parameterised(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    code = [c for c in notebook.cells if c.cell_type == "code"]
    assert not any(c.outputs or c.execution_count for c in code), "outputs are committed in book/ only"
    assert sum("parameters" in c.metadata.get("tags", []) for c in code) == 1
