"""Whoever adds a chapter lists nowhere what it shows: that is read from its notebook."""

import pytest

from maskfr_utils import records
from maskfr_utils.study import check, shown, state
from maskfr_utils.study.run import Run

CHAPTER = """# %% tags=["parameters"]
results = None

# %%
# %config InlineBackend.figure_formats = ["svg"]
ages = records.read_measurement("ages/pins.json", results)
mine = records.read_measurement(Path(own).resolve() if own else "ages/mfr2.json")
for scale in ("pocket", "demo"):
    print(captions.made_with("table_1", scale, results), other.made_with(ages), state.made_from("ageing"))
print(captions.made_with(None, "demo"), captions.rerun("tuning", "demo"))
"""


@pytest.fixture
def notebook(tmp_path):
    (tmp_path / "notebooks").mkdir()
    path = tmp_path / "notebooks" / "ageing.py"
    path.write_text(CHAPTER)
    return path


def test_what_a_new_notebook_opens_is_found(notebook):
    assert shown.chapters(notebook.parent) == [notebook]
    assert shown.measurements(notebook) == ["ages/pins.json", "ages/mfr2.json"]
    assert shown.groups(notebook) == ["table_1", None, "tuning"]


def test_a_new_chapter_is_stale_when_what_it_shows_changes(notebook, tmp_path):
    chapter = tmp_path / "ageing.ipynb"

    def execute():
        lines = [f"records {state.digest(group, tmp_path)}" for group in ("table_1", None, "tuning")]
        chapter.write_text("\n".join([*lines, state.made_from("ageing", tmp_path, notebook.parent)]))

    assert [problem.split(":")[0] for problem in check.of_chapter(notebook, tmp_path, chapter)] == [
        "ageing.ipynb was not executed from these records", "ageing.ipynb is not made from no record (e3b0c442)"
    ]  # fmt: skip
    execute()
    assert check.of_chapter(notebook, tmp_path, chapter) == []
    for name in ("ages/mfr2.json", "ages/pins.json"):  # a record that is new, among them one that nobody had to have
        (tmp_path / name).parent.mkdir(exist_ok=True)
        records.write_json(tmp_path / name, {"provenance": {"data": "x"}})
        (problem,) = check.of_chapter(notebook, tmp_path, chapter)
        assert name in problem and "`make chapters NOTEBOOKS=ageing`" in problem
        execute()
    records.write_json(tmp_path / "ages/pins.json", {"provenance": {"data": "y"}})
    assert len(check.of_chapter(notebook, tmp_path, chapter)) == 1
    execute()
    Run(scale="demo").record_path(tmp_path).write_text("{}")  # one of table_1
    assert len(check.of_chapter(notebook, tmp_path, chapter)) == 1


@pytest.mark.parametrize("name", ['f"ages/{place}.json"', "place", '"ages/" + "pins.json"'])
def test_a_name_that_is_computed_is_refused(notebook, name):
    notebook.write_text(f"# %%\nrecords.read_measurement({name})\n")
    with pytest.raises(ValueError, match=r"ageing\.py, line 2: write out the name"):
        shown.measurements(notebook)


@pytest.mark.parametrize(
    "given", ["table, scale", '"table_" + "1"', 'f"{table}_1"', "group=table", "*both", "**all", ""]
)
def test_a_group_that_is_computed_is_refused(notebook, given):
    for name in ("made_with", "rerun"):
        notebook.write_text(f"# %%\ncaptions.{name}({given})\n")
        with pytest.raises(ValueError, match=r"ageing\.py, line 2: write out the name of the one group"):
            shown.groups(notebook)


def test_names_may_be_given_by_keyword(notebook):
    notebook.write_text('captions.made_with(scale="demo", group="table_1")\nrecords.read_measurement(name="x.json")\n')
    assert shown.groups(notebook) == ["table_1"] and shown.measurements(notebook) == ["x.json"]
    notebook.write_text("captions.rerun(group=None, scale=scale)\nrecords.read_measurement(name=name)\n")
    assert shown.groups(notebook) == [None]
    with pytest.raises(ValueError, match="line 2: write out the name"):
        shown.measurements(notebook)


def test_a_notebook_that_is_no_python_is_named(notebook):
    notebook.write_text("# %%\n%config x\n")
    with pytest.raises(ValueError, match=r"ageing\.py cannot be read"):
        shown.measurements(notebook)


@pytest.mark.parametrize("path", shown.chapters(), ids=lambda path: path.stem)
def test_notebooks_open_records_in_no_other_way(path):
    assert "results_dir" not in path.read_text(encoding="utf-8")


def test_a_measurement_is_none_until_it_is_made_and_a_broken_one_is_named(tmp_path):
    assert records.read_measurement("x.json", tmp_path) is None
    for content in ("{", "[]", '{"provenance": {}}', "\xff"):
        (tmp_path / "x.json").write_bytes(content.encode("latin-1"))
        with pytest.raises(ValueError, match=r"x\.json is no record of a measurement"):
            records.read_measurement("x.json", tmp_path)
    records.write_json(tmp_path / "x.json", {"provenance": {"data": "a"}, "rate": 1.5})
    assert records.read_measurement("x.json", tmp_path)["rate"] == 1.5
