"""The book builds without a warning, and its chapters are the notebooks."""

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml

from maskfr_utils.chapters import as_page, execute
from maskfr_utils.paths import ROOT

BOOK = ROOT / "book"
TOC = yaml.safe_load((BOOK / "_toc.yml").read_text())
PAGES = [TOC["root"], *(c["file"] for part in TOC["parts"] for c in part["chapters"])]
CHAPTERS = [p for p in PAGES if (BOOK / f"{p}.ipynb").exists()]


def code(path):
    cells = nbformat.read(path, as_version=4).cells
    return [c.source for c in cells if "injected-parameters" not in c.metadata.get("tags", [])]


def test_pages_are_those_of_the_table_of_contents():
    found = {p.stem for p in BOOK.iterdir() if p.suffix in (".md", ".ipynb")}
    assert found == set(PAGES)
    assert set(CHAPTERS) == {p.stem for p in (ROOT / "notebooks").glob("*.ipynb")}


@pytest.mark.parametrize("name", CHAPTERS)
def test_chapter_is_its_notebook_executed(name):
    assert code(BOOK / f"{name}.ipynb") == code(ROOT / "notebooks" / f"{name}.ipynb"), "run `make chapters`"
    cells = [c for c in nbformat.read(BOOK / f"{name}.ipynb", as_version=4).cells if c.cell_type == "code"]
    assert all(c.execution_count for c in cells if c.source.strip())
    assert any(c.outputs for c in cells)
    assert not any(o.output_type == "error" or o.get("name") == "stderr" for c in cells for o in c.outputs)


def test_builds_without_warnings(tmp_path):
    program = Path(sys.executable).with_name("jupyter-book")
    command = [program, "build", BOOK, "-W", "-n", "--keep-going", "--all", "--path-output", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    html = tmp_path / "_build" / "html"
    for page in PAGES:
        assert "<h1>" in (html / f"{page}.html").read_text()


def test_execute_refuses_a_parameter_that_the_notebook_lacks(tmp_path):
    with pytest.raises(ValueError, match="did you mean epochs"):
        execute(ROOT / "notebooks" / "train.ipynb", tmp_path / "train.ipynb", {"epoch": 1})
    assert not list(tmp_path.iterdir())


def test_as_page_drops_progress_and_time_stamps_only():
    outputs = [
        nbformat.v4.new_output("stream", name="stderr", text="50%|#####"),
        nbformat.v4.new_output("stream", name="stdout", text=f"kept {ROOT}/x.h5"),
        nbformat.v4.new_output("display_data", data={"application/vnd.jupyter.widget-view+json": {}}),
        nbformat.v4.new_output("display_data", data={"image/png": "AA=="}),
    ]
    cell = nbformat.v4.new_code_cell("1", outputs=outputs, metadata={"papermill": {"duration": 1}, "tags": ["x"]})
    page = as_page(
        nbformat.v4.new_notebook(
            cells=[cell], metadata={"papermill": {}, "kernelspec": {"name": "python3", "display_name": "Python 3"}}
        )
    )
    assert [o.output_type for o in page.cells[0].outputs] == ["stream", "display_data"]
    assert page.cells[0].metadata == {"tags": ["x"]}
    assert page.cells[0].outputs[0].text == "kept x.h5"
    assert page.metadata == {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
