"""Tables and sentences of the study, from records written by hand; see `hand_made_records` for how to read them."""

import json

import numpy as np
import pandas as pd
import pytest
from hand_made_records import ALL, some_runs, write
from scipy import stats

from maskfr_utils import verdicts
from maskfr_utils.study import alternatives, answers, outcomes, tables
from maskfr_utils.study.run import Run
from maskfr_utils.study.scales import SCALES

MASKED, UNMASKED = Run(scale="demo"), Run(scale="demo", condition="unmasked")


@pytest.fixture
def folder(tmp_path):
    return some_runs(tmp_path)


def test_an_accuracy_is_the_mean_over_seeds_with_students_interval(folder):
    result = outcomes.results("table_1", "demo", folder)[MASKED]
    assert result.by_seed == pytest.approx((0.8, 0.85, 0.9)) and result.mean == pytest.approx(0.85)
    assert result.each() == "80.0, 85.0, 90.0"
    # t = 4.303 of two degrees of freedom, times 5 points over the root of 3
    assert str(result) == "85.0% (72.6–97.4)"
    assert result.learnt == pytest.approx(0.6)
    assert str(result.seeds({2})).startswith("90.0")
    assert outcomes.deviations({"a": result, "b": result.seeds({1})}) == pytest.approx({"a": 0.05})


def test_table_1_stands_beside_the_report_and_says_what_is_missing(folder):
    table = tables.table_1(folder)
    assert table.loc["trained on masked, tested on masked", "rendered faces"] == "85.0% (72.6–97.4)"
    assert table.loc["trained on masked, tested on unmasked", "rendered faces"].startswith("100.0")
    report = table["the report"]
    assert report["trained on unmasked, tested on unmasked"] == "94.94%"
    assert report["trained on masked, tested on masked"] == "89.89%"
    assert report["trained on masked, tested on unmasked"] == report["trained on unmasked, tested on masked"] == ""
    assert set(table["real photos"]) == {"not run yet"}


def test_table_2_tells_the_masked_accuracy_of_each_network_and_how_much_it_learnt(folder):
    table = tables.table_2(folder)
    assert list(table.index) == ["ResNet-50", "IResNet-50", "IResNet-100", "ResSaNet-50", "ResSaNet-100"]
    assert table.loc["ResSaNet-100", "the report"] == "92.08% (batch 256)"
    assert table.loc["ResSaNet-50", "rendered faces"].startswith("92.5% (")
    seeds = tables.by_seed(tables.networks("demo", folder))
    assert seeds["accuracy by seed, %"].tolist() == ["80.0, 85.0, 90.0", "90.0, 95.0"]
    assert seeds["training photos named correctly, %"].tolist() == ["60", "90"]
    assert table.loc["ResNet-50", "rendered faces"] == "not run yet"


def test_figure_9_holds_the_point_of_each_batch_size_that_was_run(folder):
    write(folder, "demo-iresnet50-masked-b64-s0", "11122 11122 11122 11112")
    first = next(iter(tables.figure_9("demo", folder).values()))
    assert first["accuracy"].to_dict() == pytest.approx({16: first["accuracy"][16], 64: 0.65})
    assert first.loc[64, "low"] < 0.65 < first.loc[64, "high"]
    shown = tables.figure_9_table("demo", folder)
    assert shown.loc[64].iloc[0].startswith("65.0") and shown.loc[128].iloc[0] == "not run yet"
    assert all(table.empty for table in tables.figure_9("pocket", folder).values())
    assert tables.figure_9_table("pocket", folder).empty


def test_each_batch_size_has_its_rate_and_its_steps_on_three_lines(folder):
    for name in ("b128", "b128-scaled", "n128", "b64-n128", "b64-scaled"):
        write(folder, f"demo-iresnet50-masked-{name}-s0", "11122 11122 11122 11122", lr=0.1)
    lines = tables.figure_9("demo", folder)
    assert [list(table.index) for table in lines.values()] == [[16, 128], [16, 64, 128], [16, 64, 128]]
    scaled, steps = lines["rate scaled with the batch"], lines["one rate, as many steps"]
    assert scaled.loc[16, "accuracy"] == pytest.approx(0.85)  # the smallest batch is the recipe's own
    assert steps.loc[16, "accuracy"] == pytest.approx(0.6)  # but not with as few steps as the largest takes
    assert scaled.loc[16, "seeds"] == 3 and scaled.loc[128, "seeds"] == 1


def trials(folder, model, shares, part=""):
    for rate, right in shares.items():
        row = "1" * right + "2" * (20 - right)
        write(
            folder, f"demo-{model}-masked-lr{rate:g}{part}-trial-s0", row, learnt=0.5, lr=rate, scored_on="validation"
        )


def test_trials_by_rate_and_what_they_chose(folder):
    rates = SCALES["demo"].rates
    trials(folder, "iresnet50", dict(zip(rates, (10, 12, 16, 16, 11), strict=True)))
    trials(folder, "ressanet50", dict(zip(rates, (15, 12, 11, 10, 9), strict=True)))
    tried = tables.tried("demo", folder)
    assert tried["IResNet-50"]["masked"].to_dict() == pytest.approx(
        dict(zip(rates, (0.5, 0.6, 0.8, 0.8, 0.55), strict=True))
    )
    table = tables.tuning_table("demo", folder)
    assert (
        table.loc["IResNet-50", "0.0125"] == "80.0" and table.loc["IResNet-50", "chosen"] == "0.0125"
    )  # of equals the lower
    assert table.loc["ResSaNet-50", "chosen"] == "trials go on"  # its best is the lowest tried
    trials(folder, "ressanet50", {rates[0] / 2: 14})
    assert tables.tuning_table("demo", folder).loc["ResSaNet-50", "chosen"] == f"{rates[0]:g}"
    (alone := folder / "alone").mkdir()
    trials(alone, "iresnet50", {rates[1]: 17}, "-augment")
    assert answers.changes("demo", alone) == ""  # nothing to compare with yet
    trials(folder, "iresnet50", {rates[1]: 17}, "-augment")
    trials(folder, "ressanet50", {rates[0]: 11, rates[1]: 13}, "-augment")
    changes = tables.recipe_changes("demo", folder)
    assert changes.loc["the recipe"].to_dict() == pytest.approx({"IResNet-50": 80, "ResSaNet-50": 75})
    assert changes.loc["augment"].to_dict() == pytest.approx({"IResNet-50": 85, "ResSaNet-50": 65})
    assert answers.changes("demo", folder).startswith(
        "On rendered faces, each network at its best rate, one names more validation photos and none names fewer with no change"
    )
    trials(folder, "ressanet50", {rates[0]: 16}, "-fan_layer")  # IResNet has no such filters
    assert np.isnan(tables.recipe_changes("demo", folder).loc["fan_layer", "IResNet-50"])
    assert "with `fan_layer` (by 1 of 20 photos at most). Trials have one seed" in answers.changes("demo", folder)


def test_at_equal_time_the_slower_network_has_had_fewer_epochs(tmp_path):
    for seed, minutes in enumerate((9, 2, 4)):
        for model, times in (("iresnet50", 1), ("ressanet50", 1.5), ("resnet50", 3)):
            write(tmp_path, name := f"demo-{model}-masked-s{seed}", "11122 11122 11122 11122")
            record = json.loads((path := tmp_path / f"{name}.json").read_text())
            record["provenance"]["seconds"] = 60 * minutes * times
            path.write_text(json.dumps(record))
    table = tables.by_time("demo", tmp_path)
    assert table["minutes"].to_dict() == {"IResNet-50": 2.0, "ResSaNet-50": 3.0, "ResNet-50": 6.0}
    assert table["epochs"].to_dict() == {"IResNet-50": 2, "ResSaNet-50": 1, "ResNet-50": 0}  # of two
    assert table.loc["IResNet-50", "by_then"] == table.loc["IResNet-50", "accuracy"]
    assert table.loc["ResSaNet-50", "by_then"] == tables.curves("demo", tmp_path)["ResSaNet-50"][1]
    assert np.isnan(table.loc["ResNet-50", "by_then"])


def test_validation_accuracy_by_epoch_is_the_mean_over_seeds(folder):
    curves = tables.curves("demo", folder)
    assert curves.index.tolist() == [1, 2]
    assert curves["IResNet-50"].tolist() == pytest.approx([0.1, 0.2])


def test_a_part_is_compared_with_the_network_that_it_was_put_into(folder):
    """SE is right on 2 photos more than IResNet-50 in each of three seeds."""
    for seed, right in enumerate((18, 19, 20)):
        write(folder, f"demo-iresnet50_se-masked-s{seed}", "1" * right + "2" * (20 - right))
    assert list(tables.ablation("demo", folder)) == ["IResNet-50", "IResNet-50 + SE", "ResSaNet-50"]
    parts = tables.parts("demo", folder)
    assert parts.loc["IResNet-50 + SE − IResNet-50", "seeds"] == pytest.approx((0.1, 0.1, 0.1))
    assert "IResNet-50 − IResNet-50" not in parts.index
    assert tables.parts("pocket", folder).empty


def test_groups_of_photos_are_counted_apart(folder):
    """Of the n95 masks IResNet-50 names all, of the 12 others 8, 9 and 10; without mask training 4, 4, 4 and 6, 5, 4."""
    ours = outcomes.results("table_1", "demo", folder)
    table = outcomes.by_group(ours[MASKED], ours[MASKED].photos("mask"), ["n95", "cloth", "none such"])
    assert table["accuracy"].to_dict() == pytest.approx({"n95": 1, "cloth": 9 / 12})
    assert table["photos"].to_dict() == {"n95": 8, "cloth": 12}
    assert table.loc["cloth", "low"] < 9 / 12 < table.loc["cloth", "high"]


def test_yaw_goes_by_its_size_and_every_angle_has_a_group():
    assert outcomes.yaw_groups(np.array([-9, 10, -20, 29, 30])).tolist() == [
        "under 10°", "10 to 20°", "20 to 30°", "20 to 30°", "30° and more",
    ]  # fmt: skip
    assert "unknown" not in outcomes.yaw_groups(np.arange(-90, 91))


def test_a_difference_is_tested_over_its_seeds_and_corrected_for_how_many_there_are(folder):
    """Mask training gains 30, 40 and 50 points; a network against itself nothing."""
    ours = outcomes.results("table_1", "demo", folder)
    pairs = {"gain": (ours[MASKED], ours[UNMASKED]), "loss": (ours[UNMASKED], ours[MASKED])}
    pairs["nothing"] = (ours[MASKED], ours[MASKED])
    table = outcomes.comparisons(pairs)
    expected = stats.ttest_1samp([0.3, 0.4, 0.5], 0)
    assert table.loc["gain", ["difference", "low", "high"]].astype(float).tolist() == pytest.approx(
        [0.4, *expected.confidence_interval()], abs=1e-6
    )
    assert table["p"].tolist() == pytest.approx([expected.pvalue, expected.pvalue, 1])
    assert table["p, Holm"].tolist() == pytest.approx([3 * expected.pvalue, 3 * expected.pvalue, 1])
    assert expected.pvalue < 0.05 / 2 and 3 * expected.pvalue > 0.05
    assert table["verdict"].tolist() == ["undecided"] * 3  # one of three tests at p = 0.02 is no finding
    assert outcomes.comparisons({"gain": pairs["gain"]})["verdict"].tolist() == ["better"]
    assert outcomes.comparisons({"loss": pairs["loss"]})["verdict"].tolist() == ["worse"]
    words = outcomes.in_points(table).loc["gain"]
    assert words["difference, points"] == "+40.0 (+15.2 to +64.8)" and words["by seed"] == "+30.0, +40.0, +50.0"
    assert words["p"] == "0.020" and words["p, Holm"] == "0.061"


def test_only_seeds_that_both_have_are_compared_and_two_allow_no_verdict(folder):
    two, three = tables.networks("demo", folder)["ResSaNet-50"], tables.networks("demo", folder)["IResNet-50"]
    table = outcomes.comparisons({"a": (two, three), "none": (two.seeds({0}), three.seeds({1}))})
    assert list(table.index) == ["a"]
    assert table.loc["a", "seeds"] == pytest.approx((0.1, 0.1))  # 18 - 16 and 19 - 17 photos of 20
    assert table.loc["a", "verdict"] == "undecided (2 of 3 seeds)"
    assert outcomes.in_points(table).loc["a", ["p", "p, Holm"]].tolist() == ["", ""]
    assert list(tables.pairs_of_networks("demo", folder).index) == ["ResSaNet-50 − IResNet-50"]


def test_the_question_of_the_study_is_no_part_of_the_search_among_other_pairs(tmp_path):
    """p of the pair that was asked for is corrected for the two questions, that of the others for eight pairs, run or not."""
    for seed, row in enumerate(("11112 11112 11112 11112", "11112 11111 11112 11112", "11111 11112 11112 11111")):
        write(tmp_path, f"demo-ressanet50-masked-s{seed}", row)
        write(tmp_path, f"demo-iresnet50-masked-s{seed}", row.replace("11111", "11122"))
        write(
            tmp_path, f"demo-resnet50-masked-s{seed}", "12222 12222 12222 12222" if seed else "11222 12222 12222 12222"
        )
    table = tables.pairs_of_networks("demo", tmp_path)
    asked, *others = table.index
    assert asked == "ResSaNet-50 − IResNet-50" and others == ["ResSaNet-50 − ResNet-50", "IResNet-50 − ResNet-50"]
    assert table.loc[asked, "p, Holm"] == pytest.approx(2 * table.loc[asked, "p"])
    assert min(table.loc[others, "p, Holm"]) == pytest.approx(8 * min(table.loc[others, "p"]))
    assert outcomes.comparisons({"a": tuple(tables.networks("demo", tmp_path).values())[:2]}).shape == (1, 7)


def test_a_difference_of_nothing_has_no_sign():
    assert [outcomes.signed(x) for x in (0.0123, -0.0123, 0.0004, -0.0004)] == ["+1.2", "−1.2", "0.0", "0.0"]


def test_words_are_listed_and_extremes_told():
    assert [outcomes.listed(list(words)) for words in ("", "a", "ab", "abc")] == ["", "a", "a and b", "a, b and c"]
    groups = pd.DataFrame({"accuracy": [0.5, 0.9], "low": [0.4, 0.8], "high": [0.6, 1.0]}, index=["far", "near"])
    told = "lowest far (50.0% (40.0–60.0)), highest near (90.0% (80.0–100.0)); these intervals "
    assert outcomes.extremes(groups) == f"{told}do not touch" and outcomes.extremes(groups[:1]) == ""
    assert outcomes.extremes(groups.assign(high=1.0)).endswith("overlap")


def test_disagreement_compares_the_same_seed(folder):
    whole = tables.disagreements("demo", folder)
    (folder / "demo-ressanet50-masked-s0.json").unlink()
    assert list(tables.disagreements("demo", folder)) == [whole[1]]


def test_disagreement_is_told_as_a_multiple_of_chance(folder):
    """Seed 0: right on 16 and 18 of 20, apart on 2; by chance (16 * 2 + 4 * 18) / 20 = 5.2. Seed 1: 2 and 3.7."""
    found = tables.disagreements("demo", folder)
    assert list(found) == pytest.approx([2 / 5.2, 2 / 3.7])
    assert list(tables.disagreements("pocket", folder)) == [1.0]


def test_the_reports_small_differences_are_within_its_noise():
    """By any reading of its test set: 0.3 points are less than 19,000 photos can tell."""
    for shared in (0.5, 1.0):
        verdict = tables.published_pairs(shared)["verdict"]
        assert verdict["IResNet-50 − ResNet-50"] == verdict["ResSaNet-50 − IResNet-50"] == "undecided"
        assert verdict["ResSaNet-100 − IResNet-50"] == "better"
    assert (tables.published_pairs(photos=10)["verdict"] == "undecided").all()


def test_no_accuracy_is_said_to_be_above_1(tmp_path):
    for seed, row in enumerate(("11111 11111 11111 11112", "11111 11112 11112 11111", "11111 11111 11111 11111")):
        write(tmp_path, f"demo-iresnet50-masked-s{seed}", row)
    result = tables.networks("demo", tmp_path)["IResNet-50"]
    assert result.estimate.high > 1 and str(result).endswith("–100.0)") and result.interval[1] == 1


def test_the_interval_of_a_published_difference_is_that_of_two_shares():
    """Of independent errors on 19,000 photos: the standard error of a difference of two shares, less the shared variance."""
    row = tables.published_pairs(photos=19_000).loc["IResNet-50 − ResNet-50"]
    a, b = 0.8989, 0.8962
    error = ((a * (1 - a) + b * (1 - b)) / 19_000) ** 0.5
    assert row["difference"] == pytest.approx(a - b)
    assert row["high"] - row["difference"] == pytest.approx(1.96 * error, rel=1e-3)
    assert len(tables.published_pairs()) == 10 and (tables.published_pairs()["difference"] > 0).all()


def test_claims_say_what_holds_what_does_not_and_what_is_missing(folder):
    """Tested on its own kind: 100% of the unmasked against 80, 85 and 90% of the masked, one of six conclusions."""
    table = tables.claims(folder)
    verdict = table["rendered faces"].str.split(":").str[0]
    easier = "IResNet-50 does better without masks than with them, each trained on its own kind"
    assert table.loc[easier, "rendered faces"] == "undecided: +15.0 (+2.6 to +27.4)"
    assert verdict["ResSaNet-50 beats IResNet-50"] == "undecided (2 of 3 seeds)"
    assert verdict["IResNet-50 beats ResNet-50"] == "not run yet"
    assert set(table["real photos"]) == {"not run yet"}
    assert table.loc["IResNet-50 beats ResNet-50", "the report"].startswith("undecided: +0.3 (−0.")


@pytest.mark.parametrize(
    ("masked", "unmasked", "said"),
    [
        (ALL, "11112 11112 11112 11112", "the opposite: −20.0 (−20.0 to −20.0)"),
        ("11112 11112 11112 11112", ALL, "holds: +20.0 (+20.0 to +20.0)"),
    ],
)
def test_an_ordering_holds_or_is_reversed(tmp_path, masked, unmasked, said):
    for seed in range(3):
        write(tmp_path, f"demo-iresnet50-masked-s{seed}", masked)
        write(tmp_path, f"demo-iresnet50-unmasked-s{seed}", ALL, unmasked)
    claim = "IResNet-50 does better without masks than with them, each trained on its own kind"
    assert tables.claims(tmp_path).loc[claim, "rendered faces"] == said


def test_without_any_record_every_table_is_still_one(tmp_path):
    for table in (tables.table_1(tmp_path), tables.table_2(tmp_path)):
        assert set(table["real photos"]) == {"not run yet"}
    assert outcomes.in_points(tables.pairs_of_networks("demo", tmp_path)).empty
    assert all(table.empty for table in tables.figure_9("demo", tmp_path).values())
    assert outcomes.deviations({}) == {}
    assert (tables.claims(tmp_path)[["real photos", "rendered faces"]] == "not run yet").all(axis=None)


def test_rendered_people_of_other_draws_are_other_people(tmp_path):
    """So no bootstrap takes them for one person; real people stay who they are."""

    def people(**changes):
        write(tmp_path, "demo-iresnet50-masked-s0", ALL, **changes)
        write(tmp_path, "demo-iresnet50-masked-s1", ALL, **changes)
        return [set(who) for who in outcomes.results("table_1", "demo", tmp_path)[MASKED].people]

    same = people(data_seed=3)
    apart = people(data_seed=None)  # the draw follows the seed
    real = people(data_seed=None, dataset="pins.tar")
    assert same[0] == same[1] and real[0] == real[1] and not apart[0] & apart[1]
    assert verdicts.SEEDS == 3  # what the words of the other tests stand on


@pytest.mark.parametrize(
    ("compared", "planned", "runs"),
    [
        (tables.parts, 4, ("demo-iresnet50-masked", "demo-iresnet50_se-masked")),
        (tables.batches_compared, 9, ("demo-iresnet50-masked", "demo-iresnet50-masked-b32")),
        (alternatives.report_recipe, 2, ("demo-iresnet50-masked-report", "demo-iresnet50-masked")),
        (alternatives.less_to_see, 4, ("demo-iresnet50-both", "demo-iresnet50-upper")),
    ],
)
def test_p_is_corrected_for_what_is_planned(tmp_path, compared, planned, runs):
    """One is right on 10, 10 and 11 masked photos, the other on 12, 13 and 14."""
    fewer = ["11222 11222 11122 11122", "11222 11222 11122 11122", "11222 11122 11122 11122"]
    more = ["11122 11122 11122 11122", "11122 11122 11122 11112", "11122 11122 11112 11112"]
    for name, rows in zip(runs, (fewer, more), strict=True):
        for seed, row in enumerate(rows):
            write(tmp_path, f"{name}-s{seed}", row, row)
    found = compared("demo", tmp_path)
    assert len(found) in (1, 2)  # or of both twins, which are alike here
    for _, row in found.iterrows():
        assert row["difference"] == pytest.approx((2 + 3 + 3) / 60)
        assert row["p, Holm"] == pytest.approx(min(1, planned * row["p"]))
