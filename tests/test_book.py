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
from maskfr_utils.study import chapters, check, pages, state
from maskfr_utils.study.chapters import as_page, execute, reword
from maskfr_utils.study.sphinx import chapter_problems, write_roles

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


@pytest.mark.parametrize("name", CHAPTERS)
def test_the_box_at_the_end_has_two_to_four_sentences(name):
    cells = nbformat.read(BOOK / f"{name}.ipynb", as_version=4).cells
    texts = [c.source for c in cells if c.cell_type == "markdown"]
    texts += [o.data.get("text/markdown", "") for c in cells for o in c.get("outputs", ()) if "data" in o]
    (box,) = (text.split("</p>", 1)[1].split("</div>")[0] for text in texts if "admonition tip" in text)
    assert 2 <= len(re.split(r"(?<=[.!?])\s+(?=[A-Z0-9*`])", box.strip())) <= 4


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
    assert "`make chapters NOTEBOOKS=missing` executes it" in missing
    (book / "same.ipynb").write_text("{")
    with pytest.raises(ValueError, match=r"same\.ipynb is no notebook"):
        chapter_problems(notebooks, book)


@pytest.fixture
def build(tmp_path, monkeypatch):
    """Builds a book of one page with the project's extension, and returns what Sphinx warned of."""
    monkeypatch.setattr(maskfr_utils.study.sphinx, "ROOT", tmp_path)
    monkeypatch.setattr(check, "problems", list)

    def run(page):
        if isinstance(page, str):
            (tmp_path / "index.md").write_text(page)
        else:
            nbformat.write(page, tmp_path / "index.ipynb")
        config = {"extensions": ["myst_nb", "maskfr_utils.study.sphinx"], "nb_execution_mode": "off", "numfig": True}
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


def shown(name, caption, **data):
    """A cell that shows something, with a caption, and what it was made with."""
    outputs = [
        nbformat.v4.new_output("display_data", data={key.replace("_", "/"): value}) for key, value in data.items()
    ]
    made = nbformat.v4.new_output("display_data", data={"text/markdown": str(pages.made("by `hand`"))})
    said = {"name": name, "caption": caption, "image": {"alt": "a blue dot in the middle"}}
    return nbformat.v4.new_code_cell("1", outputs=[*outputs, made], metadata={"mystnb": said}, execution_count=1)


def test_captioned_cells_become_numbered_figures_and_tables(build, tmp_path):
    svg = '<div class="pointed"><svg width="2"><g class="run"><title>a run</title></g></svg></div>'
    words = "# Title\n\nSee [the dot](#fig-dot), another ([it](#fig-second)) and [numbers](#tab-numbers)."
    cells = [
        nbformat.v4.new_markdown_cell(words),
        shown("fig-dot", "The report's Figure 9: a dot.", text_html=svg),
        shown("fig-second", "Another.", text_html="<p>x</p>"),
        shown("tab-numbers", "Numbers.", text_html="<table class='dataframe'><tr><td>1</td></tr></table>"),
    ]
    metadata = {"language_info": {"name": "python", "pygments_lexer": "ipython3"}}
    assert build(nbformat.v4.new_notebook(cells=cells, metadata=metadata)) == ""
    html = (tmp_path / "html" / "index.html").read_text()
    text = re.sub(r"<[^>]+>", "", html)
    assert "See the dot (Fig. 1), another (Fig. 2) and numbers (Table 1)." in text
    assert "Fig. 1 The report's Figure 9: a dot." in text.replace("’", "'") and "Table 1 Numbers." in text
    assert (
        html.count("<figure") == 3 and 'href="#fig-dot"' in html and html.index("<figcaption") < html.index("by <code")
    )
    assert '<svg role="img" aria-label="a blue dot in the middle" width="2">' in html
    index = (tmp_path / "html" / "genindex.html").read_text()
    assert re.search(r'href="index.html#fig-dot">(<strong>)?Figure 9', index)


@pytest.mark.parametrize(
    ("given", "content", "said"),
    [
        (["-p", "x", "["], nbformat.writes(nbformat.v4.new_notebook()), "expected the node content"),
        ([], "[]", "x.ipynb is no notebook"),
        (["--words"], '{"cells": 5, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}', "x.ipynb is no notebook"),
    ],
)
def test_what_is_no_notebook_or_no_value_is_refused_in_a_line(tmp_path, capsys, given, content, said):
    (tmp_path / "x.ipynb").write_text(content)
    assert chapters.main([str(tmp_path / "x.ipynb"), str(tmp_path / "x.ipynb"), *given]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and said in told


def test_citations_are_plain_links_in_notebooks():
    source = ["softmax ([He et al., 2016; Hu et al., 2018](#cite-he2016,hu2018)) and [a page](data.ipynb)"]
    write_roles(None, "x", source)
    assert source == ["softmax {cite}`he2016,hu2018` and [a page](data.ipynb)"]
    write_roles(None, "x", source := ["a gate (SE, [Hu et al., 2018](#cite-hu2018)) measures"])
    assert source == ["a gate (SE, {cite}`hu2018`) measures"]


def test_figures_and_tables_are_plain_links_in_notebooks():
    source = ["[The table](#tab-x), [the curves](#fig-y) and more ([the loss](#fig-z))"]
    write_roles(None, "x", source)
    assert source == ["{numref}`tab-x`, the curves ({numref}`fig-y`) and more ({numref}`fig-z`)"]


def test_links_in_a_notebooks_code_stay_as_they_are():
    code = {"cell_type": "code", "source": ['"[the loss](#fig-z)"']}
    code["outputs"] = [{"data": {"text/markdown": ["[the loss]", "(#fig-z)"]}}, {"name": "stdout", "text": "x"}]
    cells = [{"cell_type": "markdown", "source": ["[The figure](#fig-z)"]}, code]
    write_roles(None, "x", source := [json.dumps({"cells": cells})])
    words, made = json.loads(source[0])["cells"]
    assert words["source"] == "{numref}`fig-z`" and made["source"] == code["source"]
    assert made["outputs"][0]["data"]["text/markdown"] == "the loss ({numref}`fig-z`)"


def test_each_citation_says_whom_it_cites():
    bib, known = (BOOK / "references.bib").read_text(), {}
    for entry in re.finditer(r"^@\w+\{(\w+),(.*?)^\}", bib, re.S | re.M):
        authors = re.search(r"author = \{(.*?)\},$", entry[2], re.M)[1].split(" and ")
        names = [re.sub(r"[{}\\\"]", "", author.split(",")[0]) for author in authors]
        who = names[0] if len(names) == 1 else " and ".join(names) if len(names) == 2 else f"{names[0]} et al."
        known[entry[1]] = who + ", " + re.search(r"year = .(\w+)", entry[2])[1]
    assert len(set(known.values())) == len(known), "two references look alike"
    cited = 0
    for path in (ROOT / "notebooks").glob("*.py"):
        for text, keys in re.findall(r"\[([^\[\]]+)\]\(#cite-([\w,]+)\)", path.read_text().replace("\n# ", " ")):
            cited += 1
            assert text == "; ".join(known[key] for key in keys.split(",")), path.name
    assert cited > 20


def test_reword_takes_over_words_and_captions_and_keeps_what_was_computed(tmp_path):
    def write(path, words, code, **metadata):
        cells = [
            nbformat.v4.new_markdown_cell(words),
            nbformat.v4.new_code_cell("x = 1", metadata={"tags": ["parameters"]}),
        ]
        cells += [nbformat.v4.new_code_cell(code, metadata=metadata)]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), path)

    write(tmp_path / "new.ipynb", "better", "2 + 2", tags=["hide-input"])
    write(tmp_path / "old.ipynb", "words", "2 + 2")
    old = nbformat.read(tmp_path / "old.ipynb", as_version=4)
    old.cells.insert(
        2, nbformat.v4.new_code_cell("x = 3", metadata={"tags": ["injected-parameters"]}, execution_count=2)
    )
    old.cells[3].outputs = [nbformat.v4.new_output("stream", name="stdout", text="4")]
    nbformat.write(old, tmp_path / "old.ipynb")
    reword(tmp_path / "new.ipynb", tmp_path / "old.ipynb")
    words, _, injected, done = nbformat.read(tmp_path / "old.ipynb", as_version=4).cells
    assert words.source == "better" and injected.source == "x = 3"
    assert done.outputs[0].text == "4" and done.metadata.tags == ["hide-input"]
    write(tmp_path / "new.ipynb", "better", "2 + 3")
    with pytest.raises(ValueError, match="execute it"):
        reword(tmp_path / "new.ipynb", tmp_path / "old.ipynb")


def test_the_first_page_says_where_each_figure_and_table_of_the_report_is():
    page = (BOOK / "intro.md").read_text()
    names = {m.get("name") for p in CHAPTERS for m in captions(p)}
    rows = dict(re.findall(r"^\* - ((?:Figure|Table) \d)\n  - .*\n  - (.*)$", page, re.M))
    assert list(rows) == [f"Figure {i}" for i in range(1, 10)] + [f"Table {i}" for i in range(1, 4)]
    for report, place in rows.items():
        found = re.findall(r"`((?:fig|tab)-[\w-]+)`", place)
        assert report == "Table 3" or (found and set(found) <= names)
        said = [m["caption"] for p in CHAPTERS for m in captions(p) if m.get("name") in found]
        assert all(f"The report's {report}" in caption for caption in said)


def captions(chapter):
    """What the cells of a notebook say of what they show."""
    cells = nbformat.read(ROOT / "notebooks" / f"{chapter}.ipynb", as_version=4).cells
    return [cell.metadata["mystnb"] for cell in cells if "mystnb" in cell.metadata]


def test_names_of_figures_and_tables_are_used_once_and_all_references_are_to_one():
    names = [said["name"] for chapter in CHAPTERS for said in captions(chapter) if "name" in said]
    assert len(names) == len(set(names))
    for chapter in CHAPTERS:
        text = (ROOT / "notebooks" / f"{chapter}.py").read_text()
        assert set(re.findall(r"\]\(#((?:fig|tab)-[\w-]+)\)", text)) <= set(names)


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
    parts = {}  # photos that are tested and validated on, by seed 0
    for run, record in state.load(None, "pocket").items():
        if run.seed == 0:
            parts["validation" if run.trial else "test"] = len(record["photos"]["label"])
            parts["train"] = record["provenance"]["train_photos"]
    if len(parts) == 3:  # else no run on them, or no trial, has a record yet
        assert sum(parts.values()) == sum(each) - 1  # one more lies under two names


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


def test_the_first_page_asks_the_question_of_each_chapter():
    page = " ".join((BOOK / "intro.md").read_text().split())
    for chapter in CHAPTERS:
        first = nbformat.read(ROOT / "notebooks" / f"{chapter}.ipynb", as_version=4).cells[0].source
        question = " ".join(re.search(r"\*\*Question\.\*\* (.*?)\n\n", first, re.S)[1].split())
        assert f"* - []({chapter}) - {question}" in page
