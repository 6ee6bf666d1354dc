import itertools
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import made_up_records
import pytest

from maskfr_utils import paths, records, train, verdicts
from maskfr_utils.config import TrainConfig
from maskfr_utils.names import LOSSES, REPORTED, SIMPLE_CONDITIONS
from maskfr_utils.prepare import prepare
from maskfr_utils.store import TEST, TRAIN, FaceStore
from maskfr_utils.study import __main__ as command
from maskfr_utils.study import captions, check, making, plan, scales, shown, state, trials, variants
from maskfr_utils.study.run import Run

OPENED = sorted(shown.opened())


def before_any_trial(folder, monkeypatch):
    """The study's recipes alone, in `folder`."""
    for scale in scales.SCALES:
        (folder / "recipes" / scale).mkdir(parents=True)
        for name in ("study.yaml", "report.yaml"):
            shutil.copy(scales.PARAMS / scale / name, folder / "recipes" / scale)
    monkeypatch.setattr(scales, "PARAMS", folder / "recipes")


@pytest.fixture
def untuned(tmp_path, monkeypatch):
    """The study before any trial."""
    before_any_trial(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def made_up_book(tmp_path_factory):
    """What `book` copies: to make it takes a second and more."""
    folder = tmp_path_factory.mktemp("book")
    with pytest.MonkeyPatch.context() as patch:
        before_any_trial(tmp_path_factory.mktemp("study"), patch)
        for run in plan.runs(["table_1", "figure_9"], ["demo"]):
            records.write_json(run.record_path(folder), made_up_records.record(run))
        for name in OPENED:
            records.write_json(folder / name, {"name": name})
        refresh(folder)
    return folder


@pytest.fixture
def book(tmp_path, untuned, made_up_book):
    """A book whose records, headline and chapters are all of the study as it stands."""
    return shutil.copytree(made_up_book, tmp_path, dirs_exist_ok=True)


def refresh(folder):
    """Makes headline and chapters anew, as `make chapters` does."""
    (folder / check.HEADLINE).write_text(captions.headline(folder))
    for notebook in shown.chapters():
        lines = [f"(records {state.digest(group, folder)})" for group in shown.groups(notebook)]
        (folder / f"{notebook.stem}.ipynb").write_text(" ".join([*lines, state.made_from(notebook.stem, folder)]))


def change(folder, run, **sections):
    """Alters the record of `run`: each section is updated with what is given, or becomes it."""
    path = run.record_path(folder)
    record = json.loads(path.read_text())
    for name, values in sections.items():
        record[name] = record[name] | values if isinstance(values, dict) else values
    records.write_json(path, record)


def test_groups_are_what_the_report_compares(untuned, monkeypatch):
    monkeypatch.setattr(scales, "train_photos", lambda scale: 3000)
    for name, scale in scales.SCALES.items():
        one, two, parts = plan.table_1(name), plan.table_2(name), plan.ablation(name)
        assert len(one) == 3 * scale.seeds and {run.condition for run in one} == set(SIMPLE_CONDITIONS)
        assert len(two) == 5 * scale.seeds and {run.model for run in two} == set(REPORTED)
        assert set(one) & set(two) & set(parts) == {Run(scale=name, seed=s) for s in range(scale.seeds)}
        assert scale.seeds >= verdicts.SEEDS
        runs = plan.runs(scales=[name])
        assert len(runs) == len({run.name for run in runs})
        for run in runs:  # choices see no test photo, results no validation photo
            assert run.params()["scored_on"] == ("validation" if run.trial else "test")
    assert Run(scale="pocket").name == "pocket-iresnet50-masked-s0"
    assert Run(scale="demo", batch_size=16, steps_of=128, seed=2).name == "demo-iresnet50-masked-b16-n128-s2"
    assert Run(scale="demo", rate=0.0125, trial=True).name == "demo-iresnet50-masked-lr0.0125-trial-s0"


def test_every_loss_and_weight_gets_its_trials(untuned):
    """The same number for each loss; any two levels of different settings meet exactly once."""
    for scale in scales.SCALES:
        tried = {name: trials.variant_trials(scale, name) for name in variants.VARIANTS}
        losses = {variants.VARIANTS[name].common["loss"] for name in variants.LOSS_VARIANTS}
        assert losses == set(LOSSES) - {"arcface_straight_through"}
        assert {len(tried[name]) for name in variants.LOSS_VARIANTS} == {9}
        common, rate = scales.recipe(scale), scales.recipe(scale)["lr"]
        for name in variants.LOSS_VARIANTS:
            params = [run.params() for run in tried[name]]
            assert {p["loss"] for p in params} == {name} and {p["scored_on"] for p in params} == {"validation"}
            if name == "softmax":
                assert sorted(p["lr"] / rate for p in params) == [1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8, 16]
                continue
            for one, other in itertools.combinations(("scale", "margin", "lr"), 2):
                assert len({(p[one], p[other]) for p in params}) == 9
                assert len({p[one] for p in params}) == len({p[other] for p in params}) == 3
            assert {p["scale"] / common["scale"] for p in params} == {p["lr"] / rate for p in params} == {0.5, 1, 2}
        weights = [run.params() for run in tried["twin_term"]]
        assert [p["twin_weight"] for p in weights] == [0.5, 1, 2, 4, 8]
        assert {p["condition"] for p in weights} == {"twins"}


def test_a_loss_is_trained_as_its_trials_chose(tmp_path, untuned):
    final, tried = Run(scale="demo", variant="cosface", seed=1), trials.variant_trials("demo", "cosface")
    assert final.name == "demo-iresnet50-masked-cosface-s1"
    assert tried[3].name == "demo-iresnet50-masked-cosface-t3-trial-s0"
    assert trials.waits(final) and trials.waits(tried[0])  # for the network's rate
    for rate in scales.SCALES["demo"].rates:
        trial(tmp_path, rate, 0.6 if rate == 0.025 else 0.5)
    trials.write_tuned("demo", tmp_path)
    assert trials.waits(final) and not trials.waits(tried[0])  # for the loss's settings
    for i, run in enumerate(tried):
        record = made_up_records.record(run)
        for twin, accuracy in (("masked", 0.9 if i in (5, 7) else 0.0), ("unmasked", 1.0 if i == 2 else 0.0)):
            record["metrics"][twin]["accuracy"] = accuracy
        records.write_json(run.record_path(tmp_path), record)
        assert ("cosface" in trials.chosen_variants("demo", tmp_path)) == (i == 8)
    assert any(
        "tuned_variants.yaml is not what the trials" in problem for problem in check.problems(tmp_path, tmp_path)
    )
    trials.write_tuned("demo", tmp_path)
    assert not any("tuned_variants.yaml" in problem for problem in check.problems(tmp_path, tmp_path))
    assert not trials.waits(final)
    params, best = final.params(), tried[5].params()
    assert {name for name in params if params[name] != best[name]} == {"seed", "scored_on"}
    assert plan.command(run=tried[5]) == "python -m maskfr_utils.study losses --scale demo"


def test_the_twin_term_is_judged_on_both_twins(tmp_path, untuned):
    for i, run in enumerate(trials.variant_trials("demo", "twin_term")):
        record = made_up_records.record(run)
        record["metrics"]["masked"]["accuracy"], record["metrics"]["unmasked"]["accuracy"] = [
            (0.9, 0.1), (0.8, 0.7), (0.7, 0.7), (0.0, 1.0), (0.85, 0.6),
        ][i]  # fmt: skip
        records.write_json(run.record_path(tmp_path), record)
    assert trials.chosen_variants("demo", tmp_path)["twin_term"]["twin_weight"] == 1.0


def test_the_reports_recipe_is_the_studys_but_for_what_it_says(untuned):
    for scale in scales.SCALES:
        ours, theirs = (Run(scale=scale, recipe=name).params() for name in (None, "report"))
        assert {name for name in ours if ours[name] != theirs[name]} == {"lr", "decay", "depthwise_fan"}
        assert theirs["lr"] / theirs["batch_size"] == 0.05 / 512
        assert {run.params()["lr"] for run in plan.report(scale)} == {theirs["lr"]}


def test_a_seed_is_the_seed_of_everything():
    for scale in scales.SCALES:
        first, second = (Run(scale=scale, seed=s).params() for s in (0, 1))
        assert {k for k in first if first[k] != second[k]} == {"seed"} and first["data_seed"] is None


def trial(folder, rate, accuracy, model="iresnet50"):
    run = Run(scale="demo", model=model, rate=rate, trial=True)
    record = made_up_records.record(run)
    record["metrics"]["masked"]["accuracy"] = accuracy
    records.write_json(run.record_path(folder), record)


@pytest.mark.parametrize(
    ("best", "tried"),
    [(1, []), (0, [0.5]), (-1, [2.0])],
    ids=["inside", "at the lowest", "at the highest"],
)
def test_rates_are_tried_until_the_best_is_not_at_an_edge(tmp_path, untuned, best, tried):
    rates = scales.SCALES["demo"].rates
    assert [run.rate for run in trials.rate_trials("demo", "iresnet50", tmp_path)] == sorted(rates)
    assert len(rates) >= 5 and all(b == 2 * a for a, b in itertools.pairwise(rates))
    for rate in rates:
        trial(tmp_path, rate, 0.8 if rate == rates[best] else 0.5)
    more = [run.rate for run in trials.rate_trials("demo", "iresnet50", tmp_path) if run.rate not in rates]
    assert more == [factor * rates[best] for factor in tried]
    for rate in more:
        assert trials.chosen("demo", tmp_path) == {}  # its trials go on
        trial(tmp_path, rate, 0.7)
    assert trials.chosen("demo", tmp_path) == {"iresnet50": rates[best]}


def test_a_network_trains_at_the_rate_that_its_trials_chose(tmp_path, untuned):
    for rate in scales.SCALES["demo"].rates:
        trial(tmp_path, rate, 0.6 if rate == 0.025 else 0.5)
    trials.write_tuned("demo", tmp_path)
    assert Run(scale="demo").params()["lr"] == 0.025
    assert Run(scale="demo", batch_size=64, scaled=True).params()["lr"] == 0.1  # four times the recipe's batch
    assert Run(scale="demo", model="resnet50").params()["lr"] == scales.recipe("demo")["lr"]
    trial(tmp_path, 0.0125, 0.65)
    assert any("tuned.yaml is not what the trials chose" in problem for problem in check.problems(tmp_path, tmp_path))


@pytest.mark.parametrize("scale", scales.SCALES)
def test_same_steps_are_the_same_steps_of_the_same_schedule(scale, untuned, monkeypatch):
    monkeypatch.setattr(scales, "train_photos", lambda scale: 3000)
    one = [run for run in plan.figure_9(scale) if run.seed == 0]
    runs = [run for run in one if run.steps_of]
    largest = next(run for run in one if run.batch == scales.SCALES[scale].batches[-1])
    assert largest.steps_of is None and {run.params()["max_steps"] for run in runs} == {largest.steps()}
    assert sorted(run.batch for run in (*runs, largest)) == sorted(scales.SCALES[scale].batches)

    def growing(run, name):  # steps of a warm-up, as the loop counts them
        return run.params()[name] * (scales.train_photos(scale) // run.batch)

    for run in runs:
        params = run.params()
        assert params["epochs"] * (scales.train_photos(scale) // run.batch) >= params["max_steps"]
        for name in ("warmup_epochs", "margin_warmup_epochs"):
            assert growing(run, name) == pytest.approx(growing(largest, name), abs=0.05)


def test_a_runs_command_is_its_configuration(untuned, monkeypatch):
    monkeypatch.setattr(scales, "train_photos", lambda scale: 1000)
    run = next(run for run in plan.figure_9("demo") if run.steps_of)
    config = TrainConfig.from_argv(run.command)
    assert config == run.config()
    assert config.science() == run.params()
    assert config.folder.name.startswith(run.name)


def test_a_run_that_stopped_is_not_gone_on_with_by_other_code_or_parameters(monkeypatch, untuned):
    run = Run(scale="demo")
    before = run.folder
    assert before == run.folder and before != replace(run, seed=1).folder
    monkeypatch.setattr(Run, "behaviour", lambda self: {"masks": {"cloth": [1.0]}})
    assert run.folder != before


def test_state_of_a_run(tmp_path, untuned):
    run = Run(scale="demo")
    assert state.status(run, tmp_path) == "missing"
    records.write_json(run.record_path(tmp_path), made_up_records.record(run))
    assert state.status(run, tmp_path) == "done"
    change(tmp_path, run, params={"lr": 0.5})
    assert state.status(run, tmp_path) == f"stale: lr was 0.5, is {run.params()['lr']!r}"
    change(
        tmp_path, run, params={"lr": run.params()["lr"]}, provenance={"fingerprint": {"schedule": {"cosine": [1.0]}}}
    )
    assert state.status(run, tmp_path) == "stale: the code now computes other numbers for schedule"
    change(tmp_path, run, provenance={"fingerprint": {}})
    assert state.status(run, tmp_path) == "stale: it does not say what code made it"
    run.record_path(tmp_path).write_text("{")
    assert "is no record of a run" in state.status(run, tmp_path)


def test_a_parameter_that_came_later_with_its_default_is_no_difference(untuned):
    run = Run(scale="demo")
    record = made_up_records.record(run)
    del record["params"]["dropout"]
    assert state.stale(run, record) == ""
    record["params"]["colour"] = 1
    assert state.stale(run, record) == "colour is no parameter any more"
    del record["params"]["width"], record["params"]["colour"]
    assert state.stale(run, record) == "width was 1.0, is 0.25"


def test_a_trial_that_cannot_be_read_is_named_and_counts_as_not_made(book, capsys):
    rates = scales.SCALES["demo"].rates
    for rate in rates:
        trial(book, rate, 0.6 if rate == 0.025 else 0.5)
    run = Run(scale="demo", rate=rates[0], trial=True)
    run.record_path(book).write_text('{"run": "')
    assert trials.validation(run, book) is None and trials.chosen("demo", book) == {}
    assert command.main(["--list", "--scale", "demo", "--model", "iresnet50", "--results", str(book)]) == 0
    out = capsys.readouterr().out
    assert re.search(f"{run.name} +stale: .* is no record of a run", out) and "at the pace of its records" in out
    trial(book, 2 * rates[-1], 0.5)  # as the book's best rate may have called for, once
    (problem,) = check.problems(book, book)  # and no word of what would follow from a trial that is missing
    assert f"{run.name}.json is stale" in problem


@pytest.mark.parametrize(("part", "what"), [("photos", "results of each photo"), ("history", "history")])
def test_a_record_without_its_photos_is_named(book, part, what):
    path = Run(scale="demo", condition="unmasked").record_path(book)
    record = json.loads(path.read_text())
    del record[part]
    path.write_text(json.dumps(record))
    with pytest.raises(ValueError, match=f"{path.name} lacks {what}: run the training again"):
        state.load("table_1", "demo", book)


@pytest.mark.parametrize(
    "sections",
    [
        {"photos": {"label": None}},
        {"photos": {"masked_rank": [1]}},
        {"audit": [1]},
        {"provenance": {"seconds": "many"}},
        {"provenance": {"train_photos": None}},
    ],
)
def test_a_record_that_lacks_what_the_study_reads_is_stale_and_no_crash(book, sections):
    run = Run(scale="demo", condition="unmasked", seed=1)
    change(book, run, **sections)
    assert state.status(run, book).startswith("stale: it lacks ")
    assert any(f"{run.name}.json is stale: it lacks " in problem for problem in check.problems(book, book))
    assert state.costs([run], book)[run] > 0  # at the pace of the others


def test_a_record_that_cannot_be_read_is_in_the_way_of_no_other(book, monkeypatch):
    monkeypatch.setattr(paths, "results_dir", lambda: book)
    run, other, first_by_name = (Run(scale="demo", condition=c) for c in ("unmasked", "masked", "both"))
    for text in ("", "[]", "{}"):
        for broken in (other, first_by_name):
            broken.record_path(book).write_text(text)
        scales.train_photos.cache_clear()
        assert scales.train_photos("demo") == 1000
        assert "at the pace of its records" in state.told_cost([other], state.costs([other], book))[0]
        assert state.peer(run, book)[0] not in (other, first_by_name)
    scales.train_photos.cache_clear()


def test_a_book_of_these_records_has_no_problems(book):
    assert check.problems(book, book) == []


def test_a_stale_record_is_a_problem_with_its_command(book):
    change(book, Run(scale="demo", condition="unmasked", seed=1), provenance={"fingerprint": {}})
    (problem,) = check.problems(book, book)
    assert "demo-iresnet50-unmasked-s1.json is stale" in problem
    assert f"`python -m maskfr_utils.study table_1 --scale demo --results {book}`" in problem


def test_a_stale_trial_that_only_other_records_call_for_is_a_problem_with_its_command(book):
    for rate in (*scales.SCALES["demo"].rates, 0.1, 0.2, 0.4, 0.8):
        trial(book, rate, rate, "iresnet50_se")
    run = Run(scale="demo", model="iresnet50_se", rate=0.8, trial=True)
    change(book, run, provenance={"fingerprint": {}})
    again = "python -m maskfr_utils.study tuning --scale demo --model iresnet50_se"
    assert plan.command(run=run) == again
    assert any(f"{run.name}.json is stale" in p and f"`{again} --results {book}`" in p for p in check.problems(book))
    assert plan.command(folder="my records") == "python -m maskfr_utils.study --results 'my records'"


@pytest.mark.parametrize(
    ("sections", "what"),
    [
        ({"provenance": {"faces": [100.0, 120.0, 81.5]}}, "the faces"),
        ({"provenance": {"faces": [100.0]}}, "the faces"),
        ({"photos": {"yaw": [0] * made_up_records.PEOPLE * made_up_records.EACH}}, "the scored photos"),
        ({"provenance": {"train_photos": 7}}, "the number of training photos"),
    ],
)
def test_records_of_a_seed_must_share_their_faces(book, sections, what):
    run = Run(scale="demo", condition="unmasked", seed=1)
    change(book, run, **sections)
    assert any(f"{run.name}: {what} differ" in problem for problem in check.problems(book, book))


def test_the_last_bit_of_a_face_is_no_difference(book):
    change(book, Run(scale="demo", condition="unmasked", seed=1), provenance={"faces": [100.1, 119.9, 80.5]})
    refresh(book)
    assert check.problems(book, book) == []


def test_unknown_records_of_a_scale_are_problems_and_others_are_not(book):
    (book / "audit.json").write_text("{}")
    assert check.problems(book, book) == []
    (book / "demo-vgg16.json").write_text("{}")
    assert "demo-vgg16.json is of no run of the study" in check.problems(book, book)[0]


def test_other_records_make_headline_and_chapters_stale(book):
    run = Run(scale="demo", condition="unmasked")  # of Table 1 and of the conditions only
    records.write_json(run.record_path(book), made_up_records.record(run, unmasked=0.5))
    found = [problem.split()[0] for problem in check.problems(book, book)]
    assert found == [check.HEADLINE, "conditions.ipynb", "masked_vs_unmasked.ipynb", "results.ipynb"]


def test_a_missing_chapter_is_a_problem(book):
    (book / "batch_size.ipynb").unlink()
    assert check.problems(book, book) == [
        "batch_size.ipynb was not executed from these records: `make chapters NOTEBOOKS=batch_size` does it"
    ]


@pytest.mark.parametrize("name", sorted(OPENED)[::12])  # all go the same way, seconds each
def test_a_record_beside_the_studys_makes_the_chapters_stale_that_show_it(book, name):
    readers = [f"{notebook.stem}.ipynb" for notebook in shown.chapters() if name in shown.measurements(notebook)]
    records.write_json(book / name, {"name": "another"})
    assert [problem.split()[0] for problem in check.problems(book, book)] == readers
    (book / name).unlink()
    found = check.problems(book, book)
    assert [problem.split()[0] for problem in found] == readers
    assert "make chapters NOTEBOOKS=" in found[0] and name not in found[0]
    refresh(book)
    assert check.problems(book, book) == []


def measured_on_a_network(book):
    """A measurement whose record tells what its network's code computed; the book is made from it."""
    run = Run(scale="pocket")
    record = {"params": run.params(), "provenance": {"networks": json.loads(json.dumps(run.behaviour()))}}
    records.write_json(book / "masks/real_masks.json", record)
    refresh(book)
    return record


def test_a_measurement_on_networks_of_older_code_is_a_problem(book):
    record = measured_on_a_network(book)
    assert check.problems(book, book) == []
    record["provenance"]["networks"]["schedule"]["cosine, step 3"][0] *= 1.1
    records.write_json(book / "masks/real_masks.json", record)
    refresh(book)
    assert check.problems(book, book) == [
        "masks/real_masks.json was measured on networks of older code (schedule moved): measure again"
    ]


CHECKING = """
import sys
from pathlib import Path
from maskfr_utils.study import check, scales
book, scales.PARAMS = map(Path, sys.argv[1:])
print(check.problems(book, book), "torch" in sys.modules)
"""


def test_checking_takes_no_torch(book):
    """The book checks its records at each build."""
    measured_on_a_network(book)
    assert check.problems(book, book) == []  # what the sources compute is known now
    argv = [sys.executable, "-c", CHECKING, book, scales.PARAMS]
    assert subprocess.run(argv, capture_output=True, text=True).stdout == "[] False\n"


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """A study of three short runs with nothing done, in a folder of its own."""
    monkeypatch.setattr(paths, "results_dir", lambda: tmp_path / "results")
    monkeypatch.setattr(paths, "runs_dir", lambda: tmp_path / "runs")
    tiny = {"dataset": "demo", "identities": 3, "per_identity": 8, "width": 0.05, "embedding_dim": 16, "epochs": 1}
    tiny |= {"lr": 0.01, "batch_size": 8, "warmup_epochs": 0.0, "margin_warmup_epochs": 0.0, "compile": False}
    monkeypatch.setattr(scales, "recipe", lambda scale: tiny if scale == "demo" else tiny | {"dataset": "nowhere.tar"})
    for scale in ("demo", "pocket"):
        (tmp_path / "params" / scale).mkdir(parents=True)
        (tmp_path / "params" / scale / "tuned.yaml").write_text("iresnet50: 0.01")
    (tmp_path / "params" / "demo" / "study.yaml").write_text(json.dumps(tiny))
    monkeypatch.setattr(scales, "PARAMS", tmp_path / "params")
    monkeypatch.setattr(
        plan, "GROUPS", {"table_1": lambda scale: [Run(scale=scale, condition=c) for c in ("masked", "unmasked")]}
    )
    return tmp_path


class InProcess:
    """A training that was started as a process of its own, but takes place here, where torch is loaded."""

    def __init__(self, command):
        assert command[:3] == [sys.executable, "-m", "maskfr_utils.train"]
        self.status = train.main(command[3:])

    def wait(self):
        return self.status


def test_the_command_runs_what_is_missing_once(empty, monkeypatch, capfd):
    monkeypatch.setattr(making, "subprocess", SimpleNamespace(Popen=InProcess))
    monkeypatch.setattr(making, "other_faces", lambda *_: "")  # those of a made-up record are made up
    run, other = plan.runs(scales=["demo"])
    records.write_json(other.record_path(), made_up_records.record(other))
    assert command.main(["--scale", "demo"]) == 0
    assert "1 runs, about" in capfd.readouterr().out
    assert state.status(run) == "done"
    assert records.read_record(run.record_path())["params"] == run.params()
    stamp = run.record_path().stat().st_mtime_ns
    assert command.main(["--scale", "demo"]) == 0
    assert "nothing to run" in capfd.readouterr().out
    assert run.record_path().stat().st_mtime_ns == stamp
    run.record_path().unlink()  # a run whose record was lost is not trained again, but copied
    assert making.make(run)
    assert "epoch" not in capfd.readouterr().err


def test_a_broken_record_in_a_runs_folder_is_made_again(empty, monkeypatch):
    run = Run(scale="demo")
    left = run.folder / "record.json"
    left.parent.mkdir(parents=True)
    left.write_text("{")

    class Training:
        def __init__(self, command):
            assert not left.exists()  # a training refuses to write over it
            records.write_json(left, made_up_records.record(run))

        def wait(self):
            return 0

    monkeypatch.setattr(making.subprocess, "Popen", Training)
    assert making.make(run) and state.status(run) == "done"


def test_a_run_that_fails_does_not_stop_the_next(empty, monkeypatch, capfd):
    monkeypatch.setattr(making, "cost", lambda waiting: dict.fromkeys(waiting, 1.0))
    made = []
    monkeypatch.setattr(making, "make", lambda run, folder: made.append(run.name) or run.condition == "unmasked")
    assert command.main(["table_1", "--scale", "demo"]) == 1
    assert made == ["demo-iresnet50-masked-s0", "demo-iresnet50-unmasked-s0"]
    assert "failed: demo-iresnet50-masked-s0" in capfd.readouterr().err


def test_a_run_waits_for_the_trials_that_choose_its_rate(empty, monkeypatch, capsys):
    (scales.PARAMS / "demo" / "tuned.yaml").unlink()
    monkeypatch.setattr(command, "run_all", lambda runs, folder: pytest.fail("made at a rate that nobody chose"))
    assert command.main(["table_1", "--scale", "demo"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        "2 runs wait for the trials of iresnet50: `python -m maskfr_utils.study tuning --scale demo`"
    )


def test_without_real_faces_their_scale_is_left_out(empty, monkeypatch, capsys):
    monkeypatch.setenv("MASKFR_DATA", str(empty / "no-such-folder"))
    assert command.main(["--scale", "pocket"]) == 0
    out = capsys.readouterr().out
    assert "pocket is left out" in out and "MASKFR_DATA" in out


def test_a_scale_whose_faces_cannot_be_prepared_is_left_out_alone(empty, monkeypatch, capsys):
    def refuse(run, folder):
        if run.scale == "demo":
            raise ValueError("too little room")
        return ""

    made = []
    monkeypatch.setattr(making, "other_faces", refuse)
    monkeypatch.setattr(making, "cost", lambda waiting: dict.fromkeys(waiting, 1.0))
    monkeypatch.setattr(making, "make", lambda run, folder: made.append(run.scale) or True)
    assert making.run_all(plan.runs(scales=["demo", "pocket"])) == 0
    assert "demo is left out: too little room\n" in capsys.readouterr().out and set(made) == {"pocket"}


def test_a_network_whose_few_steps_fail_has_no_estimate_and_stops_no_other(monkeypatch, capsys):
    one, other = Run(scale="demo"), Run(scale="demo", model="resnet50")
    made = []

    def pace(run):
        if run is one:
            raise RuntimeError("out of memory")
        return 50.0

    monkeypatch.setattr(making, "images_per_second", pace)
    monkeypatch.setattr(making, "other_faces", lambda run, folder: "")
    monkeypatch.setattr(making, "make", lambda run, folder: made.append(run) or True)
    assert making.run_all([one, other]) == 0 and made == [one, other]
    said = capsys.readouterr()
    assert f"{one.name}: no estimate (out of memory)" in said.err
    assert f"[1/2] {one.name}\n" in said.out and f"[2/2] {other.name}, about" in said.out


def test_what_the_command_cannot_do_it_says_in_a_line(empty, monkeypatch, capsys):
    (scales.PARAMS / "demo" / "tuned.yaml").write_text("iresnet50: [")
    assert command.main(["--choose"]) == 1
    assert re.fullmatch(r"python -m maskfr_utils.study: .*tuned\.yaml is not valid YAML.*\n", capsys.readouterr().err)
    for size in ("nan", "inf", "0.5", "-1"):
        with pytest.raises(SystemExit, match="2"):
            command.main(["--scale", "demo", "--pack", str(empty / "pack"), "--part-size", size])
        assert "--part-size must be 1 or more" in capsys.readouterr().err
    for ignored in (
        ["losses", "--check"],
        ["--headline", "--scale", "demo"],
        ["--choose", "--model", "resnet50"],
        ["--part-size", "9"],
    ):
        with pytest.raises(SystemExit, match="2"):
            command.main(ignored)
    assert "would be ignored" in capsys.readouterr().err

    def closed(*_):
        raise BrokenPipeError

    monkeypatch.setattr(command, "problems", closed)
    with pytest.raises(BrokenPipeError):  # `--check | head` wants no more, which is no error
        command.main(["--check"])


def test_faces_of_another_processor_are_told_before_anything_is_trained(monkeypatch, capsys):
    config = TrainConfig(identities=3, per_identity=10, test_fraction=0.2)
    faces = FaceStore(prepare(**config.data(), progress=False))
    theirs, photos = faces.sample(faces.indices(TEST)), train.told(faces, faces.indices(TEST))
    photos = {name: values.tolist() for name, values in photos.items()}
    made = {"provenance": {"faces": theirs, "train_photos": len(faces.indices(TRAIN))}, "photos": photos}
    run, other = Run(scale="demo"), Run(scale="demo", condition="unmasked")
    monkeypatch.setattr(Run, "config", lambda _: config)
    monkeypatch.setattr(state, "record_or_none", {other.record_path(): made}.get)
    monkeypatch.setattr(state, "stale", lambda *_: "")
    assert making.other_faces(run) == ""
    monkeypatch.setattr(making, "cost", lambda _: pytest.fail("nothing is to be made"))
    made["provenance"]["faces"] = [theirs[0] + 9, *theirs[1:]]
    assert making.run_all([run]) == 0
    assert "demo is left out: the faces that this machine prepares" in capsys.readouterr().out
    made["provenance"]["faces"], made["photos"] = theirs, photos | {"mask": ["snood", *photos["mask"][1:]]}
    assert "--results" in making.other_faces(run)
    monkeypatch.setattr(state, "stale", lambda *_: "the code now draws other masks")  # and is to be run again
    assert making.other_faces(run) == ""


def test_list_and_wrong_names(empty, capsys):
    run, other = plan.runs(scales=["demo"])
    assert command.main(["--list", "--scale", "demo"]) == 0
    *states, cost = capsys.readouterr().out.splitlines()
    assert [line.split() for line in states] == [[run.name, "missing"], [other.name, "missing"]]
    assert cost == "demo: 2 runs to make, and no record that tells their pace"
    record = made_up_records.record(run)
    record["provenance"] |= {"seconds": 1800.0, "train_photos": 12}
    records.write_json(run.record_path(), record)
    scales.train_photos.cache_clear()
    assert command.main(["--list", "--scale", "demo"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == "demo: 1 runs to make, about 0.5 hours at the pace of its records"
    assert any(line.split(" ", 1)[0] == other.name and line.endswith("missing, about 30 minutes") for line in said)
    assert command.main(["--list"]) == 0
    said = capsys.readouterr().out
    assert "speed/cpu.json" in said and "missing: the chapter benchmarks tells how to measure it" in said
    scales.train_photos.cache_clear()
    with pytest.raises(SystemExit, match="2"):
        command.main(["table_3"])
    assert "table_1" in capsys.readouterr().err


def test_check_is_the_state_of_the_book(book, monkeypatch, capsys):
    monkeypatch.setattr(command, "problems", lambda folder: [f"{folder} is stale"])
    assert command.main(["--check"]) == 1 and capsys.readouterr().out == "None is stale\n"
    assert command.main(["--check", "--results", "x"]) == 1 and capsys.readouterr().out == "x is stale\n"
