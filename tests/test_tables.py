import made_up_records
import numpy as np
import pytest
from scipy import stats

from maskfr_utils import names, records
from maskfr_utils.study import plan, tables
from maskfr_utils.study.plan import Run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return made_up_records.demo(tmp_path_factory.mktemp("results"))


def test_results_are_means_over_seeds(folder):
    found = tables.results("table_1", "demo", folder, tested="unmasked")
    assert set(found) == {Run(scale="demo"), Run(scale="demo", condition="unmasked")}
    result = found[Run(scale="demo")]
    by_hand = [
        records.read_record(Run(scale="demo", seed=s).record_path(folder))["metrics"]["unmasked"]["accuracy"]
        for s in range(3)
    ]
    assert result.by_seed == pytest.approx(by_hand)
    assert result.mean == pytest.approx(np.mean(by_hand)) == pytest.approx(result.metric("accuracy"))
    assert result.each() == ", ".join(f"{100 * accuracy:.1f}" for accuracy in by_hand)
    low, high = result.interval
    half = stats.t.ppf(0.975, 2) * np.std(by_hand, ddof=1) / 3**0.5
    assert low <= result.mean - half + 1e-12 and high >= result.mean + half - 1e-12
    assert str(result) == f"{100 * result.mean:.1f}\N{NO-BREAK SPACE}% ({100 * low:.1f}–{100 * high:.1f})"
    assert result.seeds({2}).by_seed == pytest.approx(by_hand[2:])


def test_table_1_stands_beside_the_report_and_says_what_is_missing(folder):
    table = tables.table_1(folder)
    line = "trained on unmasked, tested on masked"
    ours = tables.results("table_1", "demo", folder, "masked")[Run(scale="demo", condition="unmasked")]
    assert table.loc[line, "rendered faces"] == str(ours)
    assert table["the report"].tolist() == ["94.94 %", "", "", "89.89 %"]
    assert set(table["real photos"]) == {tables.NOT_RUN}


def test_table_2_holds_two_seeds_of_each_network_and_a_third_where_table_1_has_it(folder):
    ours = tables.networks("demo", folder)
    assert list(ours) == list(names.TITLES.values())
    third = {name: 2 in result.records for name, result in ours.items()}
    assert third == {name: name == "IResNet-50" for name in names.TITLES.values()}
    table = tables.table_2(folder)
    assert table.loc["ResSaNet-100", "the report"] == "92.08 % (batch 256)"
    assert table.loc["ResSaNet-100", "rendered faces"] == str(ours["ResSaNet-100"])


def test_figure_9_has_one_run_in_both_lines(folder):
    epochs, steps = tables.figure_9("demo", folder).values()
    assert list(epochs.index) == list(steps.index) == list(plan.SCALES["demo"].batches)
    largest = plan.SCALES["demo"].batches[-1]
    assert epochs.loc[largest].equals(steps.loc[largest])
    assert steps["steps"].nunique() == 1 and epochs["steps"].is_monotonic_decreasing
    shown = tables.figure_9_table("demo", folder)
    assert shown.loc[largest, "same epochs"] == shown.loc[largest, "same number of steps"]
    assert shown["steps"].astype(float).tolist() == epochs["steps"].tolist()
    assert (tables.figure_9_table("pocket", folder)[["same epochs", "same number of steps"]] == tables.NOT_RUN).all(
        axis=None
    )
    assert (epochs["epochs"] <= plan.recipe("demo")["epochs"]).all()


def test_groups_of_photos(folder):
    result = tables.results("table_1", "demo", folder)[Run(scale="demo")]
    table = tables.by_group(result, result.photos("mask"), ["n95", "cloth", "none such"])
    assert list(table.index) == ["n95", "cloth"]
    which = result.photos("mask")[0] == "cloth"
    assert table.loc["cloth", "accuracy"] == pytest.approx(np.mean([hits[which] for hits in result.hits]))
    assert table.loc["cloth", "photos"] == which.sum()
    assert table.loc["cloth", "low"] < table.loc["cloth", "accuracy"] < table.loc["cloth", "high"]


def test_yaw_goes_by_its_size_and_every_angle_has_a_group():
    assert tables.yaw_groups(np.array([-9, 10, -20, 29, 30])).tolist() == [
        "under 10°", "10 to 20°", "20 to 30°", "20 to 30°", "30° and more",
    ]  # fmt: skip
    assert "unknown" not in tables.yaw_groups(np.arange(-90, 91))


def test_comparisons_take_common_seeds_and_leave_out_pairs_without(folder):
    one, two = tables.results("table_1", "demo", folder), tables.results("table_2", "demo", folder)
    three_seeds, best = one[Run(scale="demo")], two[Run(scale="demo", model="ressanet100")]
    table = tables.comparisons({"a": (best, three_seeds), "none": (best.seeds({0}), three_seeds.seeds({1}))})
    assert list(table.index) == ["a"] and len(table.loc["a", "seeds"]) == 2
    assert table.loc["a", "verdict"] == "undecided (2 of 3 seeds)" and tables.in_points(table).loc["a", "p"] == ""
    condition = one[Run(scale="demo", condition="unmasked")]
    table = tables.comparisons(
        {"a": (three_seeds, condition), "b": (condition, three_seeds), "none": (best, best.seeds(set()))}
    )
    assert table["verdict"].tolist() == ["better", "worse"]
    assert (table["p, Holm"] == np.minimum(1, 2 * table["p"])).all()


def test_pairs_are_all_pairs_in_the_reports_order(folder):
    ours, published = tables.pairs_of_networks("demo", folder), tables.published_pairs()
    assert list(ours.index) == list(published.index) and len(ours) == 10
    assert (published["difference"] > 0).all()
    assert set(ours["verdict"]) == {"undecided (2 of 3 seeds)"} and ours["p"].isna().all()


def test_the_reports_small_differences_are_within_its_noise():
    """By any reading of its test set: 0.3 points are less than 19,000 photos can tell."""
    for shared in (0.5, 1.0):
        verdicts = tables.published_pairs(shared)["verdict"]
        assert verdicts["IResNet-50 − ResNet-50"] == verdicts["ResSaNet-50 − IResNet-50"] == "undecided"
        assert verdicts["ResSaNet-100 − IResNet-50"] == "better"
    assert (tables.published_pairs(photos=10)["verdict"] == "undecided").all()


def test_claims_say_what_holds_what_does_not_and_what_is_missing(folder):
    table = tables.claims(folder)
    assert list(table.index) == [claim for claim, _, _ in tables.CLAIMS]
    assert set(table["real photos"]) == {tables.NOT_RUN}
    verdict = table["rendered faces"].str.split(":").str[0]
    assert verdict["ResSaNet-100 beats IResNet-50"] == "undecided (2 of 3 seeds)"
    assert verdict["Unmasked faces are easier than masked ones (IResNet-50)"] == "holds"
    assert table.loc["IResNet-50 beats ResNet-50", "the report"].startswith("undecided: +0.3 (−0.")


def test_an_ordering_that_is_reversed_is_the_opposite(tmp_path):
    for seed in range(3):
        for condition, shares in (("masked", {"masked": 0.8}), ("unmasked", {"unmasked": 0.5})):
            run = Run(scale="demo", condition=condition, seed=seed)
            records.write_json(run.record_path(tmp_path), made_up_records.record(run, **shares))
    claim = "Unmasked faces are easier than masked ones (IResNet-50)"
    assert tables.claims(tmp_path).loc[claim, "rendered faces"].startswith("the opposite: −")


def test_without_any_record_every_table_is_still_one(tmp_path):
    for table in (tables.table_1(tmp_path), tables.table_2(tmp_path)):
        assert set(table["real photos"]) == {tables.NOT_RUN}
    assert tables.in_points(tables.pairs_of_networks("demo", tmp_path)).empty
    assert all(table.empty for table in tables.figure_9("demo", tmp_path).values())
    assert tables.disagreements("demo", tmp_path) == [1.0]
    assert tables.deviations({}) == {}
    assert (tables.claims(tmp_path)[["real photos", "rendered faces"]] == tables.NOT_RUN).all(axis=None)


def test_the_spread_over_seeds_is_told_by_network(folder):
    found = tables.networks("demo", folder)
    deviations = tables.deviations(found)
    assert list(deviations) == list(found)
    one, two, three = found["IResNet-50"].by_seed
    mean = (one + two + three) / 3
    by_hand = (((one - mean) ** 2 + (two - mean) ** 2 + (three - mean) ** 2) / 2) ** 0.5
    assert deviations["IResNet-50"] == pytest.approx(by_hand)
    assert tables.deviations({"x": found["IResNet-50"].seeds({1})}) == {}


def test_people_of_other_draws_are_other_people():
    run, other = (made_up_records.record(Run(scale="demo", seed=s)) for s in (0, 1))
    same = tables.Result({0: run, 1: other}, "masked").people
    assert set(same[0]) == set(same[1])  # one draw of people, whatever the seed of the weights
    other["params"]["data_seed"] = 1
    apart = tables.Result({0: run, 1: other}, "masked").people
    assert not set(apart[0]) & set(apart[1])


def test_table_2_tells_how_much_was_learnt(folder):
    column = tables.table_2(folder)["rendered faces, on training photos"]
    assert column["ResNet-50"] == f"{100 * made_up_records.SHARES['resnet50']:.0f} %"
