"""Captions: what stands beside tables and figures is what the records hold."""

import made_up_records
import pytest

from maskfr_utils.study import captions, outcomes, plan, state, tables
from maskfr_utils.study.scales import SCALES


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return made_up_records.demo(tmp_path_factory.mktemp("results"))


def test_what_a_table_was_made_with(folder):
    text = captions.made_with("table_2", "demo", folder)
    facts = [
        f"{made_up_records.PEOPLE} people",
        "width 0.25",
        "seed 0, 1, 2, 3, 4",
        f"learning rate {', '.join(sorted({str(run.lr) for run in plan.table_2('demo')}))}",
        "*s* = 16, *m* = 0.3",
        "threads 1",
        "precision 32-true",
        "a CPU",
        "25 of 25",
        state.digest("table_2", folder),
    ]
    assert all(fact in text for fact in [*facts, "`python -m maskfr_utils.study table_2 --scale demo`"])
    missing = captions.made_with("table_2", "pocket", folder)
    assert "0 of 15 runs are done" in missing and "Not run yet" not in missing  # 15 names are no caption


def test_headline_answers_and_is_a_table_of_the_reports_results(folder):
    lines = captions.headline(folder).splitlines()
    assert [line[:3] for line in lines[:3]] == ["1. ", "2. ", "3. "]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("|")]
    assert len(rows) == 2 + 7 and {len(row) for row in rows} == {2 + 1}  # a column for what was run
    ours = outcomes.specialists("demo", folder)
    assert rows[2] == [
        "IResNet-50, without masks",
        "94.94%",
        str(ours["iresnet50", "unmasked"]),
    ]
    text = "\n".join(lines)
    assert "*Not run yet: real photos at full width; real photos.*" in text
    assert (
        "seeds a network: 5" in text
        and "*Real photos" not in text
        and "a seed, other ones for each" in text
        and "how fast they learn, not how good they get" in text
    )


def test_without_records_the_first_page_says_so(tmp_path):
    text = captions.headline(tmp_path)
    assert (
        text.count(tables.NOT_RUN) == 7 * len(SCALES) and text.count("not measured yet") + text.count("not been") == 4
    )
    assert "seeds none yet" in captions.rerun("table_1", "demo", tmp_path)
