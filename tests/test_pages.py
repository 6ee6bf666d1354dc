"""Boxes and tables of the pages; parameters that a notebook refuses."""

import ast

import nbformat
import pandas as pd
import papermill
import pytest

from maskfr_utils.paths import ROOT
from maskfr_utils.study import pages, parameters, plan

SOURCES = sorted((ROOT / "notebooks").glob("*.py"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def checked(path, **given):
    """Runs the parameters cell of a notebook, then `given`, then the check that its first cells make."""
    cells = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    variables = {}
    exec(cells[0].source, variables)
    variables |= given
    for cell in cells[1:]:
        for node in ast.parse("\n".join(line for line in cell.source.splitlines() if line[:1] != "%")).body:
            text = ast.unparse(node)
            if isinstance(node, ast.Import | ast.ImportFrom):
                exec(text, variables)
            elif "parameters.check(" in text or "from_notebook(" in text:
                return exec(text, variables)
            else:
                raise AssertionError(f"{path.name} does something before it looks at its parameters")
    raise AssertionError(f"{path.name} does not look at its parameters")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_look_at_their_parameters_before_they_import_anything_slow(path):
    cells = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    light = {
        "maskfr_utils.study": {"parameters", "scales"},
        "maskfr_utils.config": {"TrainConfig"},
    }  # none of them loads torch
    imports = [node for node in ast.walk(ast.parse(cells[1].source)) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert imports and all({name.name for name in node.names} <= light[node.module] for node in imports)
    assert "parameters.check(" in cells[1].source or "from_notebook(" in cells[1].source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_take_their_own_parameters_and_refuse_others(path):
    checked(path)
    known = list(papermill.inspect_notebook(path))
    with pytest.raises(ValueError, match=f"unknown parameter '{known[0]}x': one of .*did you mean {known[0]}"):
        checked(path, **{f"{known[0]}x": 1})


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("tuning", {"scale": "demi"}, "unknown scale 'demi': one of demo.*did you mean demo"),
        ("tuning", {"scale": "paper"}, "unknown scale 'paper'"),
        ("ablation", {"results": "/nonexistent"}, "results is '/nonexistent': it must be a folder that exists"),
        ("results", {"results": ""}, "folder that exists"),
        ("models", {"expansions": "[2]"}, r"expansions is '\[2\]': it must be a list .* -y"),
        ("models", {"reductions": [4, 0]}, "list of whole numbers"),
        ("arcface", {"s": "64"}, "s is '64': it must be a number from 1"),
        ("arcface", {"m": 2}, "from 0 to 1.5"),
        ("blocks", {"batch_size": 2.5}, "whole number"),
        ("data", {"min_masked": True}, "whole number"),
        ("masking", {"source": None}, "name or a path"),
        ("benchmarks", {"measure": "all"}, "unknown measure 'all': one of full, smoke"),
        ("benchmarks", {"record": "none.json"}, "file that exists"),
        ("recognise", {"rate": 1}, "from 0.0001 to 0.5"),
    ],
)
def test_values_that_cannot_be_meant_are_refused(name, given, words):
    with pytest.raises(parameters.ParameterError, match=words) as caught:
        checked(ROOT / "notebooks" / f"{name}.ipynb", **given)
    assert len(str(caught.value)) <= 300 and "\n" not in str(caught.value)


def test_networks_are_told_with_what_they_were_trained_on():
    record = {"runs": ["pocket-iresnet50-masked-s0-1", "pocket-iresnet50-masked-s1-2"], "seeds": {"IResNet-50": [0, 1]}}
    said = "IResNet-50: seed 0, 1."
    assert pages.networks(record) == f"{said} They were trained on real photos (scale `pocket`)."
    assert pages.networks(record | {"runs": [*record["runs"], "backbone.pth"]}) == said and pages.networks(None) == ""


def test_what_jupyter_and_imports_bring_is_no_parameter():
    parameters.check({"In": [], "Out": {}, "_": 1, "plan": plan, "x": 1}, x=parameters.number(0))


def test_a_table_has_one_header_row_and_says_what_is_missing():
    table = pd.DataFrame({"a": [1]}, index=pd.Index(["x"], name="line"))
    assert pages.shown(table, "cmd").to_html().count("<tr") == 2 and "line" in pages.shown(table, "cmd").to_html()
    deep = pd.DataFrame({"a": [1]}, index=pd.MultiIndex.from_tuples([("x", "y")], names=["one", "two"]))
    assert pages.shown(deep, "cmd").to_html().count("<tr") == 2
    assert pages.shown(table.iloc[:0], "make it")._repr_markdown_() == "*Not run yet:* `make it` runs it."


def test_boxes_keep_their_markdown_apart_from_html():
    """CommonMark reads Markdown between HTML only behind an empty line."""
    assert "</p>\n\n*so*\n\n</div>" in pages.box("*so*")
    assert "</summary>\n\n`x`\n\ny\n\n</details>" in pages.made("`x`", "y")


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.stem)
def test_words_are_readable_in_jupyterlab(path):
    cells = nbformat.read(path.with_suffix(".ipynb"), as_version=4).cells
    assert cells[0].source.startswith("# ")
    for cell in cells:
        assert cell.source.strip(), "an empty cell"
        if cell.cell_type == "markdown":
            assert not any(raw in cell.source for raw in ("[](", "{cite}", "{numref}", ":::", "```{"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_each_figure_has_name_caption_and_alt_text_and_each_chapter_a_box(path):
    cells = nbformat.read(path, as_version=4).cells
    said = [
        cell.metadata["mystnb"] for cell in cells if "mystnb" in cell.metadata and "name" in cell.metadata["mystnb"]
    ]
    for one in said:
        assert one["name"].startswith(("fig-", "tab-")) and one["caption"].endswith(".")
        if one["name"].startswith("fig-"):
            assert len(one["image"]["alt"]) > 20 and one["image"]["alt"] != one["caption"]
    assert any(one["name"].startswith("fig-") for one in said)
    assert "**Question.**" in cells[0].source
    assert any("pages.box(" in c.source or "admonition tip" in c.source for c in cells[-4:])
    assert any("<b>Exercise.</b>" in c.source for c in cells)


def test_tables_of_several_scales_tell_once_what_is_missing():
    table, none = pd.DataFrame({"a": [1]}, index=["x"]), pd.DataFrame()
    title, shown, missing = pages.parts({"rendered faces": table, "real photos": none, "full": none}, "cmd")
    assert title == "*Rendered faces*" and shown.equals(pages.shown(table))
    assert missing == "*Not run yet: real photos; full.* `cmd` runs it."
    assert len(pages.parts({"rendered faces": table})) == 2
    assert pages.parts({"a": none, "b": none}, "cmd") == ["*Not run yet:* `cmd` runs it."]
    assert pages.parts({"a": none}) == [pages.WAITING]


def test_nothing_is_drawn_of_nothing():
    drawn = lambda data: pages.drawn(data, lambda: "a figure")  # noqa: E731
    table = pd.DataFrame({"a": [1]})
    assert drawn({"": table}) == drawn(table) == drawn({"line": [0.5]}) == "a figure"
    assert drawn({}) == drawn({"": table.iloc[:0]}) == drawn(pd.DataFrame()) == pages.WAITING


def test_columns_in_which_nothing_was_run_are_named_and_left_out():
    table = pd.DataFrame({"the report": ["1%", ""], "a": ["not run yet"] * 2, "b": ["2%", "not run yet"]})
    shown, said = pages.run_so_far(table)
    assert list(shown) == ["the report", "b"] and said == "*Not run yet: a.*"
    assert len(pages.run_so_far(shown)) == 1
