"""The book builds without a warning, and its chapters are the notebooks."""

import io
import json
import re

import nbformat
import pytest
import yaml
from PIL import Image
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import docutils_namespace

import maskfr_utils.study.sphinx
from maskfr_utils.paths import ROOT
from maskfr_utils.study import check, state
from maskfr_utils.study.chapters import as_page, execute
from maskfr_utils.study.sphinx import chapter_problems

BOOK = ROOT / "book"
TOC = yaml.safe_load((BOOK / "_toc.yml").read_text())
PAGES = [TOC["root"], *(c["file"] for part in TOC["parts"] for c in part["chapters"])]
CHAPTERS = [p for p in PAGES if (BOOK / f"{p}.ipynb").exists()]


def test_pages_are_those_of_the_table_of_contents():
    found = {p.stem for p in BOOK.iterdir() if p.suffix in (".md", ".ipynb")}
    assert found == set(PAGES)
    assert set(CHAPTERS) == {p.stem for p in (ROOT / "notebooks").glob("*.ipynb")}


@pytest.mark.parametrize("name", CHAPTERS)
def test_chapter_is_executed(name):
    cells = [c for c in nbformat.read(BOOK / f"{name}.ipynb", as_version=4).cells if c.cell_type == "code"]
    assert all(c.execution_count for c in cells if c.source.strip())
    assert any(c.outputs for c in cells)
    assert not any(o.output_type == "error" or o.get("name") == "stderr" for c in cells for o in c.outputs)


def test_chapters_are_the_notebooks(tmp_path):
    assert chapter_problems(ROOT / "notebooks", BOOK) == []


def notebook(path, *sources, injected=None):
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    if injected:
        cells.insert(1, nbformat.v4.new_code_cell(injected, metadata={"tags": ["injected-parameters"]}))
    path.parent.mkdir(exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)


def test_a_chapter_that_is_not_its_notebook_is_named(tmp_path):
    notebooks, book = tmp_path / "notebooks", tmp_path / "book"
    for name in ("same", "edited", "missing"):
        notebook(notebooks / f"{name}.ipynb", "seed = 0", "print(seed)")
    notebook(book / "same.ipynb", "seed = 0", "print(seed)", injected="seed = 1")
    notebook(book / "edited.ipynb", "seed = 0", "print(seed + 1)")
    edited, missing = chapter_problems(notebooks, book)
    assert edited.startswith("book/edited.ipynb is not notebooks/edited.ipynb")
    assert missing.startswith("book/missing.ipynb is missing")
    assert "python -m maskfr_utils.study.chapters notebooks/missing.ipynb book/missing.ipynb" in missing
    (book / "same.ipynb").write_text("{")
    with pytest.raises(ValueError, match=r"same\.ipynb is no notebook"):
        chapter_problems(notebooks, book)


@pytest.fixture
def build(tmp_path, monkeypatch):
    """Builds a book of one page with the project's extension, and returns what Sphinx warned of."""
    monkeypatch.setattr(maskfr_utils.study.sphinx, "ROOT", tmp_path)
    monkeypatch.setattr(check, "problems", list)

    def run(page):
        (tmp_path / "index.md").write_text(page)
        config = {"extensions": ["myst_nb", "maskfr_utils.study.sphinx"], "nb_execution_mode": "off"}
        places = [tmp_path, None, tmp_path / "html", tmp_path / "doctrees", "html"]
        with docutils_namespace():
            app = Sphinx(*places, confoverrides=config, status=None, warning=(warnings := io.StringIO()))
            app.build()
        return warnings.getvalue()

    return run


def test_a_stale_record_stops_the_build(build, monkeypatch, tmp_path):
    assert build("# Title") == ""
    monkeypatch.setattr(check, "problems", lambda: ["demo-x-s0.json is stale"])
    with pytest.raises(ExtensionError, match=r"demo-x-s0\.json is stale"):
        build("# Title")
    monkeypatch.setattr(check, "problems", list)
    notebook(tmp_path / "notebooks" / "new.ipynb", "1")
    with pytest.raises(ExtensionError, match=r"book/new\.ipynb is missing"):
        build("# Title")


def test_a_picture_without_alt_text_is_warned_of(build, tmp_path):
    Image.new("RGB", (2, 2)).save(tmp_path / "x.png")
    assert "alt text" not in build("# Title\n\n![a dot](x.png)")
    assert "index: a picture without alt text" in build("# Title\n\n![](x.png)\n\n![a dot](x.png)")


def test_the_data_card_says_what_its_record_says():
    counts = json.loads((BOOK / "results" / "sources" / "pins.json").read_text())
    card = (BOOK / "data_card.md").read_text()
    told = {
        int(n.replace(",", ""))
        for n in re.findall(r"\d[\d,]*", card[card.index("**`pins`.**") : card.index("**Masks**")])
    }
    cleaning = counts["cleaning"]
    each = cleaning["pictures_per_identity"]
    known = {n for n in counts.values() if isinstance(n, int)}
    known |= {cleaning["middle"]["others"], sum(each), min(each), max(each)}
    assert told - known == {112}  # the size of a face
    assert counts["aligned"] == counts["pictures"] - counts["byte_copies"] - counts["no_face_found"]
    assert counts["kept"] == counts["aligned"] - counts["near_duplicates_in_an_identity"] - counts["under_two_names"]
    assert sum(each) == counts["kept"] - cleaning["middle"]["others"]
    pocket = [record for run, record in state.load(None, "pocket").items() if not run.trial]
    if not pocket:
        return  # no run on them has a record yet
    pocket = pocket[0]
    assert sum(each) == pocket["provenance"]["train_photos"] + len(pocket["photos"]["label"])


def test_builds_without_warnings(built_book):
    for page in PAGES:
        assert "<h1>" in (built_book / f"{page}.html").read_text()


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
