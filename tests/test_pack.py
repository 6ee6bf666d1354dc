"""A part of the study made elsewhere: packed, run within a time, taken back."""

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace

import cv2
import made_up_records
import numpy as np
import pytest
import yaml

from maskfr_utils import paths, records, rendered
from maskfr_utils.config import ConfigError
from maskfr_utils.study import __main__ as command
from maskfr_utils.study import pack as packing
from maskfr_utils.study import packed_run, plan, scales, trials, within
from maskfr_utils.study.run import Run

TINY = {"dataset": "mini/faces.tar", "min_masked": 5, "test_fraction": 0.2, "width": 0.05, "embedding_dim": 16}
TINY |= {"condition": "masked", "epochs": 1, "batch_size": 8, "lr": 0.05, "compile": False}
TINY |= {"scale": 16.0, "margin": 0.3, "warmup_epochs": 0.5, "margin_warmup_epochs": 3.0}
PHOTOS = made_up_records.PEOPLE * made_up_records.EACH
# As on a machine that has neither dlib nor Fabric, and knows of no other copy of the package.
ELSEWHERE = """
import sys, importlib.machinery
sys.modules["dlib"] = None
sys.meta_path[:] = [f for f in sys.meta_path if "editable" not in repr(f)]
class Hidden:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name in ("lightning_fabric", "lightning_utilities"):
            found = [p for p in sys.path if p.endswith("vendor")]
            spec = importlib.machinery.PathFinder.find_spec(name, found)
            if spec is None:
                raise ModuleNotFoundError(name)
            return spec
sys.meta_path.insert(0, Hidden)
"""


@pytest.fixture(scope="module")
def mini(tmp_path_factory):
    """Three rendered people in a tar."""
    folder = tmp_path_factory.mktemp("mini")
    faces = rendered.render_faces(3, 10, seed=1)
    names = [f"{label}/{i}.png" for i, label in enumerate(faces.labels.tolist())]
    with tarfile.open(folder / "faces.tar", "w") as tar:
        for name, image in zip(names, faces.images, strict=True):
            data = cv2.imencode(".png", image[..., ::-1])[1].tobytes()
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    np.savez(folder / "landmarks68.npz", files=names, points=faces.landmarks)
    return folder


@pytest.fixture
def study(tmp_path, mini, monkeypatch):
    """Scale `full` on three rendered people, its networks tuned; the folder that records go to."""
    scales.recipe.cache_clear()
    scales.train_photos.cache_clear()
    (tmp_path / "params" / "full").mkdir(parents=True)
    (tmp_path / "params" / "full" / "study.yaml").write_text(yaml.safe_dump(TINY))
    shutil.copytree(mini, tmp_path / "data" / "mini")
    monkeypatch.setenv("MASKFR_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(scales, "PARAMS", tmp_path / "params")
    monkeypatch.setattr(paths, "results_dir", lambda: tmp_path / "results")
    for rate in scales.SCALES["full"].rates:
        made_up(tmp_path / "results", Run(scale="full", rate=rate, trial=True), 0.8 if rate == 0.05 else 0.5)
    trials.write_tuned("full", tmp_path / "results")
    yield tmp_path / "results"
    scales.recipe.cache_clear()
    scales.train_photos.cache_clear()


def made_up(folder, run, share=0.7):
    records.write_json(run.record_path(folder), made_up_records.record(run, masked=share))
    return run.record_path(folder)


def run_py(folder, *args, cwd):
    """`python run.py` in an environment that knows of nothing but the pack."""
    (cwd / "site").mkdir(exist_ok=True)
    (cwd / "site" / "sitecustomize.py").write_text(ELSEWHERE)
    keep = ("PATH", "HOME", "MASKFR_CACHE", "OMP_NUM_THREADS")
    env = {k: os.environ[k] for k in keep if k in os.environ} | {"PYTHONPATH": str(cwd / "site")}
    done = subprocess.run([sys.executable, folder / "run.py", *args], env=env, cwd=cwd, capture_output=True, text=True)
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.mark.slow
def test_packed_in_parts_run_elsewhere_and_collected(study, tmp_path, capsys):
    folder, away = tmp_path / "pack", tmp_path / "away"
    away.mkdir()
    argv = ["--scale", "full", "--model", "iresnet50", "--pack", str(folder), "--part-size", "1"]
    assert command.main(argv) == 0
    assert max(file.stat().st_size for file in folder.rglob("*")) <= 10**6
    assert len(list(folder.glob("part-*"))) > 1
    folder = folder.rename(away / "elsewhere")

    done = run_py(folder, "--within", "20", cwd=away)  # too short to begin anything
    assert done.returncode == 0 and "0 runs made" in done.stdout, done
    assert not list(folder.glob("runs/*"))
    for seed in (1, 2):
        made_up(folder / "book" / "results", Run(scale="full", seed=seed))
    done = run_py(folder, "--within", "3000", "--portion", "finals_50", cwd=away)
    run = Run(scale="full")
    assert done.returncode == 0 and f"{run.name}: test masked" in done.stdout, done
    assert "1 runs made, 0 failed, 0 are missing" in done.stdout
    assert [path.name[: len(run.name)] for path in (folder / "runs").iterdir()] == [run.name]
    again = run_py(folder, "--portion", "2", cwd=away)
    assert again.returncode == 0 and "0 runs made, 0 failed" in again.stdout

    assert command.main(["--collect", str(folder)]) == 0
    assert capsys.readouterr().out.endswith("3 records taken in, 0 refused\n")
    record = records.read_record(run.record_path(study))
    assert record["params"] == run.params() and record["params"]["lr"] == 0.05
    assert record["provenance"]["code_revision"] == (folder / records.REVISION).read_text().strip()
    assert not list(folder.rglob("*.h5")) or "MASKFR_CACHE" not in os.environ


@pytest.mark.slow
def test_a_pack_holds_no_path_of_this_machine_and_is_checked_where_it_runs(study, tmp_path):
    folder = tmp_path / "pack"
    packing.pack("full", folder, ["iresnet50"])
    home = (str(paths.ROOT).encode(), str(tmp_path).encode(), str(Path.home()).encode() + b"/.")
    for file in folder.rglob("*"):
        assert not file.is_file() or not any(text in file.read_bytes() for text in home), file
    with pytest.raises(ConfigError, match="is not empty"):
        packing.pack("full", folder)
    (folder / "maskfr_utils" / "losses.py").write_text("arcface = 1")
    done = run_py(folder, cwd=tmp_path)
    assert done.returncode == 1 and "losses.py is missing or was changed" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_damaged_part_is_named(study, tmp_path):
    folder = tmp_path / "pack"
    packing.pack("full", folder, ["iresnet50"], part_mb=1)
    (folder / "part-001").write_bytes(b"x")
    done = run_py(folder, cwd=tmp_path)
    assert done.returncode == 1 and "part-001 is missing or damaged (1 of" in done.stderr


def change(path, **sections):
    record = json.loads(path.read_text())
    for name, values in sections.items():
        record[name] = values if isinstance(values, list) else record[name] | values
    path.write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("sections", "why"),
    [
        ({"params": {"lr": 0.3}}, "lr was 0.3, is 0.05"),
        ({"provenance": {"fingerprint": {"schedule": {"cosine": [1.0]}}}}, "computes other numbers for schedule"),
        (
            {"metrics": {"masked": {"accuracy": 0.99, "accuracy_low": 0.98, "accuracy_high": 1.0, "photos": PHOTOS}}},
            "its masked accuracy is 0.9900, but its predictions are right in",
        ),
        ({"photos": {"masked": [1]}}, "it lacks results of each photo"),
        ({"photos": {"masked": None}}, "it lacks results of each photo"),
        ({"photos": {"unmasked_rank": [1]}}, "it lacks results of each photo"),
        ({"photos": {"masked_rank": PHOTOS * [1]}}, "its masked ranks contradict its predictions of "),
        ({"photos": {"unmasked_rank": PHOTOS * [2]}}, "its unmasked ranks contradict its predictions of "),
        ({"provenance": {"train_photos": 7}}, "the number of training photos differ"),
        ({"provenance": {"faces": "none"}}, ""),
        ({"provenance": {"device": None}}, "it lacks device and precision"),
        ({"provenance": {"threads": "two"}}, "it lacks numbers of people, photos, threads and seconds"),
        ({"history": [{"epoch": 1}]}, "it lacks history"),
        ({"throughput": {"train_images_per_second": "many"}}, "no record of a run"),
        ({"metrics": {"masked": {"accuracy": "good"}}}, "no record of a run"),
    ],
)
def test_a_tampered_record_is_refused_in_a_line(study, tmp_path, capsys, sections, why):
    made_up(study, Run(scale="full", condition="both"))
    run, folder = Run(scale="full"), tmp_path / "back"
    made_up(folder, run)
    change(run.record_path(folder), **sections)
    assert command.main(["--collect", str(folder)]) == 1
    line, last = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{run.name}: refused: ") and why in line and len(line) <= 300
    assert last == "0 records taken in, 1 refused" and not run.record_path(study).exists()


def test_collecting_takes_what_fits_once_and_never_replaces_what_holds(study, tmp_path, capsys):
    folder, run = tmp_path / "back", Run(scale="full")
    made_up(folder, run)
    (folder / "full-vgg16-masked-s0.json").write_text("{}")
    (folder / "full-iresnet50-unmasked-s0.json").write_text("[")
    taken, refused = packing.collect(folder)
    assert taken == [run.name]
    assert refused["full-vgg16-masked-s0"] == "it is of no run of the study"
    assert "is no record of a run" in refused["full-iresnet50-unmasked-s0"]
    assert run.name not in packing.collect(folder)[1]  # here already
    made_up(folder, run, share=0.9)
    assert "there is another, which holds" in packing.collect(folder)[1][run.name]
    assert command.main(["--collect", str(tmp_path / "none")]) == 1
    assert "no record in" in capsys.readouterr().err


def test_records_here_that_are_stale_or_broken_refuse_no_good_one(study, tmp_path):
    folder, run, other = tmp_path / "back", Run(scale="full"), Run(scale="full", condition="both")
    unlike = {"provenance": {"faces": [1.0, 2.0, 3.0]}}
    first = made_up(study, Run(scale="full", model="resnet50"))
    change(first, params={"width": 1.0}, **unlike)
    made_up(folder, run)
    assert packing.collect(folder) == ([run.name], {})
    first.write_text("{")
    change(made_up(folder, other), **unlike)
    assert packing.collect(folder)[1] == {other.name: f"the faces differ from {run.name}'s"}
    made_up(folder, other)
    assert packing.collect(folder) == ([other.name], {})


def test_trials_are_taken_first_and_choose_the_rate_of_the_others(study, tmp_path):
    folder = tmp_path / "back"
    rates = (*scales.SCALES["full"].rates, 0.4)  # the best of the scale's is at an edge: one more was tried there
    for rate in rates:
        made_up(folder, Run(scale="full", model="ressanet50", rate=rate, trial=True), 0.9 if rate == 0.2 else 0.5)
    run = Run(scale="full", model="ressanet50")
    record = made_up_records.record(run)
    record["params"]["lr"] = 0.2
    records.write_json(run.record_path(folder), record)
    taken, refused = packing.collect(folder)
    assert refused == {} and len(taken) == len(rates) + 1 and taken[-1] == run.name
    assert scales.tuned_rates("full") == {"iresnet50": 0.05, "ressanet50": 0.2}


def test_trials_of_a_loss_are_judged_at_the_rate_that_comes_with_them(study, tmp_path, monkeypatch):
    folder = tmp_path / "back"
    for path in study.glob("*.json"):
        path.unlink()
    for rate in scales.SCALES["full"].rates:
        made_up(folder, Run(scale="full", rate=rate, trial=True), 0.9 if rate == 0.1 else 0.5)
    run = Run(scale="full", variant="cosface", setting=0, trial=True)
    with monkeypatch.context() as patch:
        patch.setattr(scales, "tuned_rates", lambda _: {"iresnet50": 0.1})
        made_up(folder, run)
        assert records.read_record(run.record_path(folder))["params"]["lr"] != run.rate
    taken, refused = packing.collect(folder)
    assert refused == {} and taken[-1] == run.name


@pytest.fixture
def clock(study, monkeypatch):
    """Sessions whose runs take 100 seconds of a clock that only they move; the order in which they are started."""
    now, started = [0.0], []

    def start(self, run):
        started.append(run)
        now[0] += 100 / self.at_once
        made_up(study, run, 0.8 if run.rate == 0.05 else 0.5)
        self.made.append(run)
        trials.write_tuned("full", study)

    monkeypatch.setattr(within.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(within.Session, "start", start)
    monkeypatch.setattr(within.Session, "fits", lambda self, run: self.left >= 100)
    return started


def session(*models, portion=None, seconds=1e9):
    return within.Session("full", list(models), portion, seconds, 1, within.time.monotonic())


def test_a_session_makes_what_fits_the_most_valuable_first(clock, study):
    assert session("ressanet50", portion="first", seconds=350).work() == 0
    assert [run.rate for run in clock] == [0.0125, 0.025, 0.05]  # and no fourth: some seconds are kept
    assert session("ressanet50", portion="first").work() == 0
    assert [run.trial for run in clock] == 5 * [True] + 3 * [False]
    assert {run.lr for run in clock if not run.trial} == {0.05}
    assert session("ressanet50", portion="first").missing() == []


def test_two_share_a_gpu_but_a_large_batch_has_it_for_itself(monkeypatch):
    small, large = (Run(scale="full", batch_size=batch) for batch in (128, 512))
    ours = within.Session("full", ["iresnet50"], None, 1e9, None, within.time.monotonic())
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert [ours.places(run) for run in (small, large)] == [1, 1]
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert [ours.places(run) for run in (small, large)] == [2, 1]
    ours.at_once = 3  # as it was asked for
    assert [ours.places(run) for run in (small, large)] == [3, 3]


def test_final_runs_wait_for_their_networks_trials(clock, capsys):
    assert session("resnet50", portion="finals_50").work() == 0
    assert clock == [] and "3 are missing, of which 3 wait" in capsys.readouterr().out


def test_portions_hold_every_run_of_the_study(study):
    held = {run for runs in within.portions("full").values() for run in runs}
    assert held == set(plan.runs((), ["full"]))
    apart = [run for name, runs in within.portions("full").items() if name != "first" for run in runs]
    assert len(apart) == len(set(apart))  # machines of an array never want the same


def test_a_run_that_fails_is_told_in_a_line_and_left_out(study, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(paths, "home", lambda: tmp_path)
    monkeypatch.setattr(within.Session, "fits", lambda self, run: True)
    monkeypatch.setattr(Run, "command", ["--no-such-option"])
    assert session("iresnet50", portion="finals_50").work() == 1
    out = capsys.readouterr().out.splitlines()
    assert len(out) == 4 and "full-iresnet50-masked-s0 failed: " in out[0] and "3 failed" in out[-1]


def test_a_run_that_was_taken_up_again_is_no_sign_of_haste(study, monkeypatch):
    """Its last process may have taken a second; how long the whole run took stands in its record."""
    monkeypatch.setattr(within, "make", lambda run: True)
    run, one = Run(scale="full"), session("iresnet50")
    made_up(study, run)
    change(run.record_path(study), provenance={"seconds": 4000.0})
    one.running[run] = SimpleNamespace(returncode=0), within.time.monotonic() - 1
    one.settle(run)
    assert one.seconds(Run(scale="full", seed=1)) > 4000


SAVES = """
import pathlib, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (pathlib.Path(sys.argv[1]).write_text("saved"), sys.exit(143)))
print("ready", flush=True)
time.sleep(600)
"""


def test_what_still_runs_at_the_end_or_when_it_is_stopped_saves_its_state(study, tmp_path, capsys):
    one = session("iresnet50", seconds=1)  # over at once, as if a run had taken longer than it should
    with subprocess.Popen([sys.executable, "-c", SAVES, tmp_path / "state"], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline()
        one.running[Run(scale="full")] = process, one.began
        assert one.work() == 0
        assert process.poll() == 143 and (tmp_path / "state").read_text() == "saved"
    assert "full-iresnet50-masked-s0 stopped; the same command goes on with it" in capsys.readouterr().out


def test_what_fails_when_it_is_stopped_is_no_run_that_can_go_on(study, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(paths, "home", lambda: tmp_path)
    run, one = Run(scale="full"), session("iresnet50", seconds=1)
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / f"{run.name}.log").write_text("train: no checkpoint can be written\n")
    nothing = lambda *_: None  # noqa: E731
    one.running[run] = SimpleNamespace(returncode=1, terminate=nothing, wait=nothing, kill=nothing), one.began
    one.stop()
    assert one.failed == {run} and "failed: train: no checkpoint can be written" in capsys.readouterr().out


def test_what_has_ended_when_time_is_up_is_taken_in(study, monkeypatch, capsys):
    run, one = Run(scale="full"), session("iresnet50", seconds=1)
    monkeypatch.setattr(within, "make", lambda run: bool(made_up(study, run)))
    nothing = lambda *_: None  # noqa: E731
    ended = SimpleNamespace(returncode=0, terminate=nothing, wait=nothing, kill=nothing, poll=lambda: 0)
    one.running[run] = ended, one.began
    one.stop()
    assert one.made == [run] and "full-iresnet50-masked-s0: test masked" in capsys.readouterr().out


def test_runs_of_unlike_work_have_paces_of_their_own(study):
    plain, loss, drawn = (
        Run(scale="full"),
        Run(scale="full", variant="cosface"),
        Run(scale="full", change="fresh_masks"),
    )
    assert len({run.work for run in (plain, loss, drawn)}) == 3
    assert plain.work == Run(scale="full", seed=1, condition="both").work


def test_code_that_computes_other_numbers_there_is_told_before_anything_runs(study, monkeypatch, capsys):
    numbers = Run(scale="full").behaviour()
    manifest = {"scale": "full", "models": ["iresnet50"], "fingerprint": numbers | {"schedule": {"cosine": [9.0]}}}
    monkeypatch.setattr(within.Session, "work", lambda self: pytest.fail("it runs"))
    assert within.main(manifest, ["--within", "600"]) == 1
    assert "other numbers for schedule" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        within.main(manifest, ["--portion", "finals"])
    assert "did you mean finals_50" in capsys.readouterr().err


def test_the_bootstrap_needs_the_standard_library_alone():
    source = Path(packed_run.__file__).read_text(encoding="utf-8")
    assert "import maskfr_utils" not in source.partition("def main")[0]


def test_a_run_is_begun_if_it_surely_ends_in_time(study, monkeypatch):
    run = Run(scale="full")
    monkeypatch.setattr(Run, "config", lambda self: SimpleNamespace(data=dict))
    monkeypatch.setattr("maskfr_utils.prepare.prepare", lambda **_: None)
    monkeypatch.setattr(within.time, "monotonic", lambda: 0.0)
    one = within.Session("full", ["iresnet50"], None, 1e9, 1, 0.0)
    one.paces[run.work] = run.passes() / 100  # pictures a second, as a few steps have it
    needed = one.seconds(run)
    assert needed > 100  # it is no promise
    for spare, fits in ((1, True), (-1, False)):
        one.within = within.GRACE + needed + spare
        assert one.fits(run) == fits
    one.took[run.work] = 50 / run.passes()  # one alike took 50 seconds
    assert 50 < one.seconds(run) < 100 and one.fits(run)
