"""What the records say of other losses and conditions, on records that can be counted out."""

import json
import re

import pandas as pd
import pytest
from hand_made_records import other_runs, some_runs, write

from maskfr_utils.study import alternatives, answers, outcomes, scales
from maskfr_utils.study.outcomes import comparisons


@pytest.fixture
def records(tmp_path):
    return other_runs(tmp_path)


def test_trials_of_a_loss_are_told_with_what_they_chose(records):
    table = alternatives.loss_trials("demo", records)
    assert table.loc["CosFace"].to_dict() == {
        "s": "16", "m": "0.2", "learning rate": f"{scales.tuned_rates('demo')['iresnet50']:g}",
        "best trial, %": "95.0", "as good": 1, "median trial, %": "85.0", "worst trial, %": "85.0", "trials": "9 of 9",
    }  # fmt: skip
    assert list(table.index) == ["CosFace"]
    validated = {
        path: json.loads(path.read_text())["metrics"]["masked"]["accuracy"] for path in records.glob("*-cosface-t*")
    }
    for path in sorted(validated, key=validated.get)[:-2]:  # the best and another one stay
        path.unlink()
    assert alternatives.loss_trials("demo", records).loc["CosFace"]["median trial, %"] == "90.0"


def test_losses_against_arcface(records):
    found = alternatives.losses("demo", records)
    assert list(found) == ["softmax", "ArcFace"]
    assert found["ArcFace"].by_seed == pytest.approx((0.8, 0.85, 0.9))
    compared = alternatives.against_arcface(found)
    assert list(compared.index) == ["softmax − ArcFace"]
    assert compared.iloc[0]["difference"] == pytest.approx(-0.4)  # two photos of each person, each seed
    text = alternatives.loss_answer("demo", records)
    assert len(text) == 2  # its difference is told once
    assert text[0].startswith(
        "Not shown: of 1 other loss run so far, of 9, each with settings of its own, none names more masked"
        " rendered faces than ArcFace (85.0% ("
    )
    assert text[0].endswith("beyond noise; softmax (−40.0 (−40.0 to −40.0)) names fewer.")
    assert text[1].startswith("From its worst trial to its best, of 9") and "gains 10.0 points (CosFace) on" in text[1]
    (records / "demo-iresnet50-masked-cosface-t4-trial-s0.json").unlink()
    assert len(alternatives.loss_answer("demo", records)) == 1  # a loss whose trials go on tells no spread


def test_no_verdict_on_a_loss_is_taken_back_when_others_come(records):
    rows = ["11112 11112 11122 11122", "11112 11111 11122 11122", "11111 11112 11122 11112"]
    for seed, row in enumerate(rows):
        write(records, f"demo-iresnet50-masked-magface-s{seed}", row)
    before = alternatives.against_arcface(alternatives.losses("demo", records)).loc["MagFace − ArcFace"]
    for seed, row in enumerate(reversed(rows)):
        write(records, f"demo-iresnet50-masked-adaface-s{seed}", row)
    after = alternatives.against_arcface(alternatives.losses("demo", records)).loc["MagFace − ArcFace"]
    assert before["p, Holm"] == after["p, Holm"] > 4 * before["p"]
    text = alternatives.loss_answer("demo", records)
    assert "of 3 other losses" in text[0] and re.search(r"go from −40\.0 .* for softmax to .* for ", text[1])
    for seed in range(
        3
    ):  # a surer one lets the others be corrected for fewer: undecided may become worse, never the reverse
        write(records, f"demo-iresnet50-masked-sphereface-s{seed}", "22222 22222 22222 22222")
    compared = alternatives.against_arcface(alternatives.losses("demo", records))
    assert compared.loc["SphereFace − ArcFace", "p"] < before["p"]
    assert compared.loc["MagFace − ArcFace", "p, Holm"] < before["p, Holm"]


def test_no_verdict_on_losses_of_fewer_than_three_seeds(records):
    (records / "demo-iresnet50-masked-arcface-s2.json").unlink()
    assert alternatives.loss_answer("demo", records) == [
        "Not known yet: 2 of 10 losses are run on rendered faces, and a verdict takes 3 seeds of ArcFace and of another."
    ]
    for seed in range(2):
        (records / f"demo-iresnet50-masked-arcface-s{seed}.json").unlink()
    assert "Not known yet: 1 of 10 losses" in alternatives.loss_answer("demo", records)[0]


def test_accuracy_of_each_condition_on_either_kind_of_face(records):
    by_twin = {twin: alternatives.conditions("demo", records, twin) for twin in ("masked", "unmasked")}
    lines = {name: alternatives.title(name) for name in ("masked", "both", "twin_term")}
    table = alternatives.table(by_twin, lines)
    assert table.loc["masked faces", "masked, by seed"] == "80.0, 85.0, 90.0"
    assert table.loc[alternatives.title("both"), "unmasked, by seed"] == "95.0, 95.0, 95.0"
    assert table.loc[alternatives.title("twin_term"), "masked"] == "not run yet"
    plot = alternatives.forest(by_twin["masked"])
    assert plot.loc["both", "accuracy"] == pytest.approx(0.85)
    assert plot.loc["both", "low"] < 0.85 < plot.loc["both", "high"]


def test_one_network_for_all_is_held_against_itself_and_both_specialists(records):
    compared = alternatives.one_for_all("demo", records)
    differences = {what: row["difference"] for (name, what), row in compared.iterrows() if name == "both"}
    assert differences == pytest.approx(
        {"masked − unmasked faces": -0.1, "masked faces − specialist": 0.0, "unmasked faces − specialist": -0.05}
    )
    assert {name for name, _ in compared.index} == {"both"}
    text = alternatives.condition_answer("demo", records)
    assert text[0] == "Not shown: on rendered faces no network is shown to serve both kinds of faces."
    nearest = r"Only \*either twin, by the toss of a coin\* is run so far: its accuracy on masked faces differs by −10\.0 \([^)]*\) points"
    assert re.search(nearest, text[1])
    assert len(text) == 2 and re.search(
        r"and from the specialists' by 0\.0 \([^)]*\) \(undecided\) on masked faces and −5\.0 ", text[1]
    )


@pytest.mark.parametrize(
    ("upper", "both", "answer"),
    [
        ("11111 11111 11111 11111", "11122 11122 11122 11122", "Yes: on rendered faces one network serves both"),
        (
            "12222 12222 12222 12222",
            "12222 12222 12222 12222",
            "No: on rendered faces no network that was run serves both",
        ),
    ],
)
def test_a_network_that_sees_a_part_may_be_the_one(tmp_path, upper, both, answer):
    for seed in range(3):
        for condition in ("masked", "unmasked"):
            write(tmp_path, f"demo-iresnet50-{condition}-s{seed}", "11111 11111 11111 11111")
        write(tmp_path, f"demo-iresnet50-both-s{seed}", both)
        write(tmp_path, f"demo-iresnet50-upper-s{seed}", upper)
    said = alternatives.condition_answer("demo", tmp_path)
    assert said[0].startswith(answer)
    assert (
        "Nearest, by the worst of three intervals, comes *upper half of the face, of either twin*" in said[1]
    ) == answer.startswith("Yes")


def test_the_reports_recipe_stands_beside_the_tuned_one(records):
    for seed, row in enumerate(("11122 11122 11122 11122", "11122 11112 11122 11122", "11112 11122 11122 11112")):
        write(records, f"demo-iresnet50-masked-report-s{seed}", row)
    compared = alternatives.report_recipe("demo", records)
    assert list(compared.index) == ["IResNet-50, tuned − the report's recipe"]
    assert compared.iloc[0]["difference"] == pytest.approx(0.2)
    said = answers.recipe("demo", records)
    assert (
        said.startswith("On rendered faces, the tuned recipe gains +20.0 points (")
        and "with IResNet-50 over the report's rate, decay and start of filters" in said
    )
    assert answers.recipe("pocket", records) == ""


def test_nothing_is_said_of_what_was_not_run(tmp_path):
    some_runs(tmp_path)
    assert alternatives.loss_answer("demo", tmp_path) == alternatives.condition_answer("demo", tmp_path) == []
    assert alternatives.one_for_all("demo", tmp_path).empty
    assert outcomes.in_points(alternatives.against_arcface({})).empty
    assert alternatives.losses("pocket", tmp_path) == {}


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        ([(-0.005, 0.002, "undecided"), (-0.002, 0.01, "undecided"), (0.001, 0.01, "better")], "yes"),
        ([(-0.02, 0.002, "undecided"), (-0.002, 0.01, "undecided"), (0.001, 0.01, "better")], "not shown"),
        ([(-0.005, 0.002, "undecided"), (-0.03, 0.01, "undecided"), (0.001, 0.01, "better")], "not shown"),
        ([(-0.03, -0.012, "worse"), (-0.002, 0.01, "undecided"), (0.001, 0.01, "better")], "no"),
        ([(-0.005, 0.002, "undecided"), (-0.008, -0.001, "worse"), (0.001, 0.01, "better")], "no"),
        ([(-0.005, -0.001, "worse"), (-0.002, 0.01, "undecided"), (0.001, 0.01, "better")], "yes"),
    ],
    ids=["all near", "gap unsure", "specialist unsure", "wide gap", "a better specialist", "a gap below a point"],
)
def test_the_rule_of_the_headline(rows, verdict):
    index = pd.MultiIndex.from_tuples(
        [("twins", w) for w in ("masked − unmasked faces", "masked faces − specialist", "unmasked faces − specialist")]
    )
    compared = comparisons({}).reindex(index)
    compared[["low", "high", "verdict"]] = rows
    compared["seeds"] = [(0.0,) * 3] * 3
    assert alternatives.reached(compared, "twins") == verdict
    compared["seeds"] = [(0.0,) * 3, (0.0,) * 3, (0.0,) * 2]
    assert alternatives.reached(compared, "twins") == "not shown"
