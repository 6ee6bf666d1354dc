"""The audit's tables, sentences and figure, from records whose outcome can be counted out on paper."""

import made_up_records
import numpy as np
import pytest

from maskfr_utils import figures, records
from maskfr_utils.original.flaws import FLAWS, SCORED, TRAINED
from maskfr_utils.study import audit, captions, plan, scales, state
from maskfr_utils.study.run import Run

PEOPLE, EACH = 12, 10
LABELS = np.repeat(np.arange(PEOPLE), EACH)


def write(folder, flaws, shares, by_batch=0.0, scale="demo"):
    """Runs with these flaws: of each seed, the share of each person's photos that is named rightly on either twin.

    By the statistics of the batch, a share `by_batch` more.
    """

    def guesses(share):
        return np.where(np.arange(len(LABELS)) % EACH < round(share * EACH), LABELS, (LABELS + 1) % PEOPLE).tolist()

    for seed, (masked, unmasked) in enumerate(shares):
        run = Run(scale=scale, model=plan.AUDITED, flaws=flaws, seed=seed)
        record = made_up_records.record(run, people=PEOPLE, each=EACH)
        record["photos"] |= {"masked": guesses(masked), "unmasked": guesses(unmasked)}
        photos = {f"{twin}_by_batch": guesses(s + by_batch) for twin, s in (("masked", masked), ("unmasked", unmasked))}
        photos["copy_trained_on"] = (np.arange(len(LABELS)) % EACH < 4).astype(int).tolist()
        record["audit"] = {"flaws": list(flaws), "photos": photos, "loss": {"reported": 9.0, "honest": 3.0}}
        records.write_json(run.record_path(folder), record)


SEEDS = [(0.5, 0.8), (0.6, 0.9), (0.5, 0.8)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Plain runs; unmasked photos for masked ones; two of the original's networks; all at once."""
    folder = tmp_path_factory.mktemp("results")
    write(folder, (), SEEDS, by_batch=0.1)
    write(folder, ("folders",), [(0.4, 0.8), (0.5, 0.9), (0.4, 0.8)])
    write(folder, ("network",), [(0.5, 0.7)] * 3)
    write(folder, ("shared_modules", "network"), [(0.3, 0.7)] * 3)
    write(folder, max(plan.audit_flaws("demo"), key=len), [(0.1, 0.8), (0.1, 0.9), (0.1, 0.8)], by_batch=0.1)
    return folder


def test_every_scale_trains_with_none_each_and_all(monkeypatch):
    monkeypatch.setattr(scales, "train_photos", lambda scale: 1000)
    for scale in scales.SCALES:
        sets = plan.audit_flaws(scale)
        assert () in sets and len(sets) == len(set(sets)) and audit.offered(scale)
        photos = scales.recipe(scale)["dataset"] != "demo"
        assert tuple(n for n in TRAINED if photos or n != "near_copies") in sets
        for run in plan.audit(scale):
            params, plain = run.params(), Run(scale=scale, model=plan.AUDITED, seed=run.seed).params()
            if not run.flaws:
                assert params == plain
            assert ("bgr_255" in run.flaws) == ("bgr_255" in " ".join(run.command))
            assert run.config().folder.name.startswith(run.name[:60]) if scale == "demo" else True
    assert len(plan.audit_flaws("demo")) == 16
    runs = {run.flaws: run for run in plan.audit("demo") if run.seed == 0}
    plain, half, mirrored = (runs[f] for f in ((), ("batch_size",), ("mirrored_twins",)))
    assert half.steps() == 1000 // (plain.batch // 2) * scales.recipe("demo")["epochs"] and half.batch == plain.batch
    assert mirrored.params()["max_steps"] == mirrored.steps() == plain.steps()
    assert mirrored.params()["epochs"] == -(-plain.params()["epochs"] // 2)


def test_effects_alone_by_hand(folder):
    found = audit.alone("demo", folder)
    points = {
        name: 100 * found["difference"][FLAWS[name].title] for name in ("folders", "batch_statistics", "people_mean")
    }
    # Unmasked photos: 80, 90, 80 for 50, 60, 50; the batch's statistics 10 points more; all people have as many photos.
    assert points == pytest.approx({"folders": 30, "batch_statistics": 10, "people_mean": 0}, abs=1e-6)
    assert found["verdict"][FLAWS["folders"].title] == "raises it"
    assert found["verdict"][FLAWS["people_mean"].title] == "undecided"
    # Of the original's network, and compared with it: 30 for 50, whatever the plain network does.
    assert 100 * found["difference"][FLAWS["shared_modules"].title] == pytest.approx(-20, abs=1e-6)
    assert found["verdict"][FLAWS["shared_modules"].title] == "lowers it"
    assert FLAWS["logit_loss"].title not in found.index  # not run


def test_three_photos_a_person_move_the_number_and_not_its_mean(folder):
    row = audit.alone("demo", folder).loc[FLAWS["three_photos"].title]
    assert row["low"] < 0 < row["high"] and row["high"] - row["low"] > 0.01


def test_steps_lead_from_reported_to_honest_over_what_is_missing(folder):
    way = audit.steps("demo", folder)
    assert way["accuracy"].iloc[0] == pytest.approx(
        (0.9 + 1.0 + 0.9) / 3, abs=0.04
    )  # unmasked, by the batch, of three each
    assert way["accuracy"].iloc[-1] == pytest.approx((0.5 + 0.6 + 0.5) / 3)
    assert way["change"].iloc[1:].sum() == pytest.approx(way["accuracy"].iloc[-1] - way["accuracy"].iloc[0])
    assert way.index[0] == audit.ALL and np.isnan(way["change"].iloc[0])
    assert (way["low"] <= way["accuracy"]).all() and (way["accuracy"] <= way["high"]).all()
    assert sum(line.count(",") + 1 for line in way.index[1:]) == len(audit.offered("demo"))


def test_the_intervals_answer_for_seeds_that_differ(folder, tmp_path):
    write(tmp_path, (), [(0.2, 0.8), (0.5, 0.8), (0.8, 0.8)])
    wide, narrow = (audit.estimate((audit.runs("demo", f)[()], ())) for f in (tmp_path, folder))
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_the_mean_over_people_is_weighed_by_people(tmp_path):
    """Person 0 is tested on nine photos and never right, person 1 on one and right: one in ten, or a half."""
    run = Run(scale="demo", model=plan.AUDITED, flaws=())
    record = made_up_records.record(run)
    record["photos"] = {"label": [0] * 9 + [1], "masked": [1] * 10}
    record["audit"] = {"flaws": [], "photos": {}}
    assert audit.estimate(({0: record}, ())).value == pytest.approx(0.1)
    assert audit.estimate(({0: record}, ("people_mean",))).value == pytest.approx(0.5)


def test_copies_by_hand(folder, tmp_path):
    assert audit.copies("demo", folder).empty
    write(tmp_path, ("mirrored_twins",), [(0.6, 0.8)] * 2)
    row = audit.copies("demo", tmp_path).iloc[0]
    # The first four of ten photos have a copy, the first six are right.
    assert (row["copy trained on"], row["none"], row["share"]) == pytest.approx((1.0, 2 / 6, 0.4))


def test_the_sentences_say_what_the_records_say(folder, tmp_path):
    text = audit.told("demo", folder)
    (reported, honest), (low, high) = (audit.steps("demo", folder)[name].iloc[[0, -1]] for name in ("accuracy", "low"))
    assert f"would be reported at {reported:.1%} ({100 * low:.1f}–" in text and "53.3" in text
    assert f" instead of {honest:.1%} ({100 * high:.1f}–" in text
    assert "faces from the folder _no_mask +30.0" in text
    assert "it would be 87.0% on masked ones by its own difference between the two kinds, and by ours 62.1% (" in text
    assert "`python -m maskfr_utils.study audit --scale demo` makes them" in audit.told("demo", tmp_path)
    write(tmp_path, (), SEEDS)
    write(tmp_path, ("folders",), SEEDS)
    assert audit.told("demo", tmp_path).startswith("Alone, 1 of ")  # without the runs that have all deviations
    names = list(audit.offered("demo"))
    for i in range(len(names) + 1):  # one step takes three tenths of the photos with it, the other runs are alike
        trained = tuple(name for name in names[i:] if name not in SCORED)
        write(tmp_path, trained, [(0.3 if "bgr_255" in trained else 0.6,) * 2] * 3)
    write(tmp_path, ("folders",), [(0.7, 0.7)] * 3)
    said = audit.unmasked_folder("demo", tmp_path)
    assert "brings +10.0 (+10.0 to +10.0) points alone and " in said and "82.1% (82.1 to 82.1) alone or " in said


@pytest.mark.parametrize("made", [0, 1, 2], ids=["no record", "one run", "some"])
def test_tables_and_figure_hold_with_what_there_is(folder, tmp_path, made):
    if made == 1:
        write(tmp_path, max(plan.audit_flaws("demo"), key=len), [(0.1, 0.8)])
    where = folder if made == 2 else tmp_path
    table = audit.table(list(scales.SCALES), where)
    assert list(table.index) == [flaw.title for flaw in FLAWS.values()]
    effects = table["effect alone on rendered faces, points"]
    assert "changes no accuracy" in effects[FLAWS["logged_loss"].title]
    assert effects[FLAWS["near_copies"].title] == "no run of this scale shows it alone"
    others = table["effect alone on real photos, points"]
    assert others[FLAWS["near_copies"].title] == others[FLAWS["people_mean"].title] == "not run yet"
    assert others[FLAWS["bgr_255"].title] == "no run of this scale shows it alone"
    assert effects[FLAWS["bgr_255"].title] == "not run yet"
    fig = figures.audit.waterfall(audit.steps("demo", where), "accuracy")
    changes = {0: 0, 1: 0, 2: len(audit.steps("demo", folder)) - 1}[made]
    assert len(fig.axes[0].patches) == changes
    assert fig.axes[0].lines[0].get_ydata().tolist() == [0, changes + 1] if changes else not fig.axes[0].lines
    assert "runs are done" in captions.made_with("audit", "demo", where)


def test_a_record_of_other_flaws_is_stale(folder):
    run = Run(scale="demo", model=plan.AUDITED, flaws=("network",))
    record = records.read_record(run.record_path(folder))
    record["audit"]["flaws"] = []
    assert "its flaws were []" in state.stale(run, record)
    del record["audit"]
    assert "its flaws were None" in state.stale(run, record)


def test_records_of_mirrored_photos_are_no_inconsistency(folder, tmp_path):
    run = Run(scale="demo", model=plan.AUDITED, flaws=("mirrored_twins",))
    plain = Run(scale="demo", model=plan.AUDITED, flaws=())
    both = {r: made_up_records.record(r) for r in (plain, run)}
    both[run]["provenance"] |= {"train_photos": 2000, "faces": [1.0]}
    assert state.inconsistencies(both) == []


def test_what_each_deviation_was_is_said_with_its_place():
    for name, flaw in FLAWS.items():
        assert flaw.fact.endswith(".") and ".ipynb" in flaw.source, name
    assert set(TRAINED) | set(SCORED) | {"logged_loss"} == set(FLAWS)
