"""The study's sentences say what the records hold, in words that hold whichever way the numbers fall."""

import json

import hand_made_records
import made_up_records
import pytest

from maskfr_utils.study import answers, captions, outcomes, tables
from maskfr_utils.study.run import Run
from maskfr_utils.study.scales import SCALES

BARE = "11111 11111 11111 11111"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return made_up_records.demo(tmp_path_factory.mktemp("results"))


def test_a_mask_costs_what_twins_differ_by(tmp_path):
    """Trained on bare faces: all 20 bare photos right, 10, 9 and 8 of the masked ones; trained on masked, 16, 17 and 18."""
    folder = hand_made_records.some_runs(tmp_path)
    said = answers.cost("demo", folder)
    assert "100.0% of the bare test photos" in said and "45.0% of the same photos" in said
    # Intervals are Student's t over three seeds whose differences step by five points, and in the gain by ten.
    assert "costs it 55.0 points (+42.6 to +67.4)." in said
    gained = answers.gain("demo", folder)
    assert "names 85.0% of the masked photos" in gained and gained.count("not beyond noise") == 2
    assert "which wins back 40.0 points (+15.2 to +64.8; not beyond noise) and" in gained
    assert gained.startswith("On rendered faces, ")
    assert gained.endswith(
        "leaves it 15.0 points (+2.6 to +27.4; not beyond noise) below the network that was trained and tested on bare faces."
    )
    # It names all 20 bare photos as well: as the other does, and 4, 3 and 2 more than masked ones.
    price = answers.price("demo", folder)
    assert price.startswith(
        "On bare faces its accuracy is 0.0 points (0.0 to 0.0; not beyond noise) higher than that of"
    )
    assert price.endswith(
        "and 15.0 points (+2.6 to +27.4; not beyond noise) higher than its own on the same photos with a mask."
    )
    # As the chapter's table says, whose p is corrected for all seven differences, run or not.
    compared = tables.costs("demo", folder)
    assert compared.loc[tables.COST_TRAINED, "verdict"] == "undecided" and len(compared) == 5
    assert compared.loc[tables.COST, "p, Holm"] == pytest.approx(7 * compared.loc[tables.COST, "p"])


def test_numbers_are_those_of_the_records(folder):
    ours = outcomes.specialists("demo", folder)
    untrained = outcomes.results("table_1", "demo", folder, "masked")[Run(scale="demo", condition="unmasked")]
    cost = 100 * (ours["iresnet50", "unmasked"].mean - untrained.mean)
    gain = 100 * (ours["iresnet50", "masked"].mean - untrained.mean)
    assert f"costs it {cost:.1f} points" in answers.cost("demo", folder)
    assert f"wins back {gain:.1f} points" in answers.gain("demo", folder)
    shares = [100 * result.learnt for result in ours.values()]
    assert f"named {min(shares):.0f} to {max(shares):.0f}% of their training photos" in answers.learnt("demo", folder)


@pytest.mark.parametrize(
    ("ranks", "words"),
    [
        (("11111 11111 11111 11111",) * 5, "names more masked photos correctly than"),
        (("12222 12222 12222 12222",) * 5, "names fewer masked photos correctly than"),
        (("11122 11122 11122 11122",) * 5, "cannot be told apart from"),
        (("11111 11111 11111 11111",) * 2, "cannot be told apart from"),  # two seeds are no verdict
    ],
)
def test_the_verdict_chooses_the_words(tmp_path, ranks, words):
    for seed, row in enumerate(ranks):
        hand_made_records.write(tmp_path, f"demo-iresnet50-masked-s{seed}", "11122 11122 11122 11122")
        hand_made_records.write(tmp_path, f"demo-ressanet50-masked-s{seed}", row)
    said = answers.attention("demo", tmp_path)
    assert f"ResSaNet-50 {words} IResNet-50" in said
    assert ("; 2 of 3 seeds)" in said) == (len(ranks) == 2)


def test_parts_are_told_with_their_intervals_and_which_are_beyond_noise(tmp_path):
    rows = {"": "11111 11111 11111 11111", "_se": "11111 11111 11111 11111", "_ibt": "12222 12222 12222 12222"}
    for seed in range(3):
        for part, row in rows.items():
            hand_made_records.write(tmp_path, f"demo-iresnet50{part}-masked-s{seed}", row)
    said = answers.parts("demo", tmp_path)
    ibt = "IBT (self-attention, together with an inverted bottleneck and SE)"
    told = (
        f"{ibt} changes the accuracy beyond noise: −80.0 points (−80.0 to −80.0). SE is undecided (0.0 to 0.0 points)."
    )
    assert said.endswith(f"on rendered faces, {told} Not run yet: FReLU.")
    assert answers.climbing("demo", tmp_path, group="ablation") == (
        "IResNet-50, IResNet-50 + SE and IResNet-50 + IBT still gained 10.0, 10.0 and 10.0 points on validation photos in the last epoch,"
        " so longer runs may change the order."
    )
    (tmp_path / "demo-iresnet50_ibt-masked-s2.json").unlink()
    assert answers.parts("demo", tmp_path).endswith(
        f"none that was run is shown to change the accuracy: SE and {ibt} are undecided"
        " (0.0 to 0.0 points and −80.0 to −80.0 points; 2 of 3 seeds). Not run yet: FReLU."
    )
    for seed in range(3):
        hand_made_records.write(tmp_path, f"demo-iresnet50_frelu-masked-s{seed}", rows["_ibt"])
    assert "on rendered faces, only FReLU changes the accuracy beyond noise" in answers.parts("demo", tmp_path)


def test_the_highest_network_is_named_and_over_which_its_lead_is_undecided(tmp_path):
    rows = {
        "resnet50": "12222 12222 12222 12222",
        "iresnet50": "11111 11111 11111 11112",
        "iresnet100": "11111 11111 11111 11111",
    }
    for seed in range(3):
        for model, row in rows.items():
            hand_made_records.write(tmp_path, f"demo-{model}-masked-s{seed}", row)
    said = answers.networks("demo", tmp_path)
    assert said.startswith("Of the 3 networks that are run on rendered faces, IResNet-100 has the highest accuracy")
    assert said.endswith("; its lead over IResNet-50 is undecided.")
    for seed in range(3):
        hand_made_records.write(tmp_path, f"demo-iresnet50-masked-s{seed}", "12222 12222 12222 12222")
    assert "its lead over ResNet-50 and IResNet-50 is beyond noise" in answers.networks("demo", tmp_path)


def test_verdicts_with_all_pairs_corrected_together_are_told(tmp_path):
    rows = {
        "iresnet50": "11111 11122 11111 11112",
        "ressanet50": "11112 11122 11112 11122",
        "resnet50": "12222 12222 12222 12222",
    }
    for seed in range(3):
        for model in ("iresnet50", "ressanet50"):
            hand_made_records.write(tmp_path, f"demo-{model}-masked-s{seed}", rows[model][seed:] + rows[model][:seed])
    one = answers.all_pairs_together("demo", tmp_path)  # pairs that are not run yet count
    for seed in range(3):
        hand_made_records.write(tmp_path, f"demo-resnet50-masked-s{seed}", rows["resnet50"])
        if seed == 1:
            two = tmp_path / "demo-ressanet50-masked-s2.json"
            kept = two.read_text()
            two.unlink()
            assert answers.all_pairs_together("demo", tmp_path) == ""  # of two seeds there is no p
            two.write_text(kept)
    alone = tables.pairs_of_networks("demo", tmp_path).loc["ResSaNet-50 − IResNet-50"]
    said = answers.all_pairs_together("demo", tmp_path)
    assert said.startswith("With all 10 pairs on rendered faces corrected together, run or not, *p* would be ")
    first, told = (float(text.split("*p* would be ")[1].split()[0]) for text in (one, said))
    assert said in captions.headline(tmp_path)
    assert first == pytest.approx(min(1, 10 * alone["p"]), abs=5e-4) and 8 * alone["p"] - 5e-4 <= told <= first


def test_larger_batches_are_told_of_once_they_and_the_smallest_have_three_seeds(tmp_path):
    for seed in range(3):
        for batch in (32, 64):
            hand_made_records.write(tmp_path, f"demo-iresnet50-masked-b{batch}-s{seed}", "12222 12222 12222 12222")
    assert tables.batches_compared("demo", tmp_path).empty and answers.batches("demo", tmp_path) == ""
    for seed in range(3):
        assert answers.batches("demo", tmp_path) == ""
        hand_made_records.write(tmp_path, f"demo-iresnet50-masked-s{seed}", "11112 11111 11112 11111")
    said = answers.batches("demo", tmp_path)
    assert said.startswith(
        "No, on rendered faces: of 2 settings with a larger batch that see the photos as often, none names more"
    )
    assert "than a batch of 16 beyond noise, and 2 fewer." in said


def test_networks_that_change_places_with_the_rate_are_named(tmp_path):
    for rate, ours, theirs in (("0.0125", "11122", "11112"), ("0.025", "11112", "11122"), ("0.05", "11122", "11122")):
        for model, five in (("iresnet50", ours), ("iresnet100", theirs), ("resnet50", "12222")):
            name = f"demo-{model}-masked-lr{rate}-trial-s0"
            hand_made_records.write(tmp_path, name, " ".join([five] * 4))
    assert tables.changing_places("demo", tmp_path) == [("IResNet-50", "IResNet-100")]


def test_kinds_of_training_in_unlike_number_formats_are_told(tmp_path):
    for seed in range(2):
        for condition, precision in (("masked", "bf16-mixed"), ("unmasked", "bf16-mixed"), ("both", "32-true")):
            path = tmp_path / f"demo-iresnet50-{condition}-s{seed}.json"
            hand_made_records.write(tmp_path, path.stem, "11122 11122 11122 11122")
            record = json.loads(path.read_text())
            record["provenance"]["precision"] = precision
            path.write_text(json.dumps(record))
    said = answers.precisions("table_1", "demo", tmp_path)
    assert said.startswith("On rendered faces ") and (
        "(in `32-true`: either twin, by the toss of a coin; in `bf16-mixed`: masked faces and unmasked faces)" in said
    )


def test_nothing_is_said_of_what_was_not_run(tmp_path):
    for answer in (
        answers.cost,
        answers.gain,
        answers.both,
        answers.attention,
        answers.parts,
        answers.networks,
        answers.batches,
        answers.learnt,
    ):
        assert answer("demo", tmp_path) == ""
        assert answers.most_real(answer, tmp_path) == ""
    assert answers.all_pairs_together("demo", tmp_path) == answers.precisions("table_1", "demo", tmp_path) == ""
    assert answers.best_batch("demo", tmp_path).endswith("whether epochs or steps were the same.")
    assert answers.rates(tmp_path) == ""
    assert len(answers.page_one(tmp_path)) == 3


def test_the_most_real_answer_counts():
    assert answers.most_real(lambda scale, folder: scale if scale != "full" else "") == list(SCALES)[-2]
