"""Captions: what stands beside tables and figures is what the records hold."""

import made_up_records
import pytest

from maskfr_utils.study import captions, outcomes, plan, state, tables
from maskfr_utils.study.plan import SCALES, Run


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
        "a CPU",
        "25 of 25",
        state.digest("table_2", folder),
    ]
    assert all(fact in text for fact in [*facts, "`python -m maskfr_utils.study table_2 --scale demo`"])
    missing = captions.made_with("table_2", "pocket", folder)
    assert "0 of 15" in missing and "Not run yet: pocket-resnet50-masked-s0" in missing


def test_headline_is_a_table_of_the_reports_results(folder):
    lines = captions.headline(folder).splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("|")]
    assert len(rows) == 2 + 7 and {len(row) for row in rows} == {2 + len(SCALES)}
    ours = outcomes.specialists("demo", folder)
    assert rows[2] == [
        "IResNet-50, without masks",
        "94.94\N{NO-BREAK SPACE}%",
        *[tables.NOT_RUN] * (len(SCALES) - 1),
        str(ours["iresnet50", "unmasked"]),
    ]
    text = "\n".join(lines)
    assert "seeds a network: 5" in text and "*Real photos" not in text and "still learning" in text


def test_what_was_found_says_the_differences_of_the_records(folder):
    masked, attention, learnt = captions.found("demo", folder)
    ours = outcomes.specialists("demo", folder)
    untrained = outcomes.results("table_1", "demo", folder, "masked")[Run(scale="demo", condition="unmasked")]
    cost = 100 * (ours["iresnet50", "unmasked"].mean - untrained.mean)
    gain = 100 * (ours["iresnet50", "masked"].mean - untrained.mean)
    assert f"costs IResNet-50 {cost:.1f} points" in masked and f"wins back {gain:.1f} of them" in masked
    assert "ResSaNet-50 against IResNet-50 " in attention and "ResSaNet-100 against IResNet-100 " in attention
    shares = [100 * result.learnt for result in ours.values()]
    assert f"named {min(shares):.0f} to {max(shares):.0f} % of their training photos" in learnt


def test_without_records_the_first_page_says_so(tmp_path):
    assert (
        captions.headline(tmp_path).count(tables.NOT_RUN) == 7 * len(SCALES) and captions.found("demo", tmp_path) == []
    )
    assert "seeds none yet" in captions.rerun("table_1", "demo", tmp_path)
