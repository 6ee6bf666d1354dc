"""The study's sentences say what the records hold, in words that hold whichever way the numbers fall."""

import hand_made_records
import made_up_records
import pytest

from maskfr_utils.study import answers, outcomes
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
    assert "names 85.0% of the masked photos" in gained and "that wins back 40.0 points (+15.2 to +64.8), and" in gained
    assert gained.startswith("On rendered faces, ")
    assert gained.endswith(
        "leaves it 15.0 points (+2.6 to +27.4) below the network that was trained and tested on bare faces."
    )
    # It names all 20 bare photos as well: as the other does, and 4, 3 and 2 more than masked ones.
    price = answers.price("demo", folder)
    assert price.startswith(
        "On bare faces its accuracy is 0.0 points (+0.0 to +0.0; not beyond noise) higher than that of"
    )
    assert "on masked photos it is now 15.0 points (+2.6 to +27.4; not beyond noise) lower than on bare ones." in price


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
        (("11111 11111 11111 11111",) * 5, "names more masked people than"),
        (("12222 12222 12222 12222",) * 5, "names fewer masked people than"),
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
    assert f"only {ibt} changes the accuracy beyond noise: −80.0 points (−80.0 to −80.0). SE is undecided." in said
    assert answers.climbing("demo", tmp_path, group="ablation").startswith("In the last epoch")  # each gained 10 points
    (tmp_path / "demo-iresnet50_ibt-masked-s2.json").unlink()
    assert answers.parts("demo", tmp_path).endswith(
        f"none is shown to change the accuracy: SE and {ibt} are undecided."
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
    assert answers.rates(tmp_path) == ""
    assert len(answers.page_one(tmp_path)) == 3


def test_the_most_real_answer_counts():
    assert answers.most_real(lambda scale, folder: scale if scale != "full" else "") == list(SCALES)[-2]
