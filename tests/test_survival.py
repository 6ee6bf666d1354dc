"""Runs that are killed, stopped, started twice, and whose disk, folder or faces fail them."""

import errno
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from small_runs import SMALL, TINY, arguments, same, tiny, weights

from maskfr_utils import checkpoints, loop, paths, prepare, run_folder, train
from maskfr_utils.config import ConfigError
from maskfr_utils.records import read_record
from maskfr_utils.stopping import Stopped
from maskfr_utils.store import FaceStore

pytestmark = pytest.mark.usefixtures("shallow")

AUGMENT = loop.augment


@pytest.fixture(scope="module")
def store():
    return FaceStore(prepare.prepare(**tiny("x").data(), progress=False))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run that nothing stopped, and its folder; it must not be changed."""
    folder = tmp_path_factory.mktemp("whole")
    return train.run(tiny(folder, checkpoint_minutes=9)), folder


@pytest.fixture
def ended(finished, tmp_path):
    """A copy of that folder."""
    shutil.copytree(finished[1], tmp_path, dirs_exist_ok=True)
    return tmp_path


def at_step(monkeypatch, number, act):
    """Lets something happen within a step of training, counted in this process."""
    augment, steps = loop.augment, iter(range(1, 1000))

    def acts(*args):
        if next(steps) == number:
            act()
        return augment(*args)

    monkeypatch.setattr(loop, "augment", acts)


def assert_ends_like(finished, folder):
    record = read_record(folder / "record.json")
    assert same(weights(finished[1]), weights(folder))
    for part in ("metrics", "history", "photos", "params", "run"):
        assert record[part] == finished[0][part]
    assert not checkpoints.Checkpoints(folder).paths


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("step", [2, 6])
def test_stopped_run_saves_says_how_to_go_on_and_ends_like_one_that_was_not(
    finished, tmp_path, monkeypatch, capsys, number, step
):
    values = TINY | {"out_dir": tmp_path, "checkpoint_minutes": 9}
    before = signal.getsignal(number)
    at_step(monkeypatch, step, lambda: os.kill(os.getpid(), number))
    assert train.main(arguments(values)) == 128 + number
    assert signal.getsignal(number) is before
    said = capsys.readouterr().err
    assert re.search(rf"stopped at step {step} of 10; the same command goes on.*unfinished\.ckpt", said)
    monkeypatch.undo()
    assert train.main(arguments(values)) == 0
    assert f"step {step} of 10" in capsys.readouterr().out
    assert_ends_like(finished, tmp_path)


def test_the_second_ctrl_c_stops_at_once(tmp_path, monkeypatch, capsys):
    def twice():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    at_step(monkeypatch, 4, twice)
    assert train.main(arguments(TINY | {"out_dir": tmp_path})) == 130
    assert "goes on from the last checkpoint" in capsys.readouterr().err
    at_step(monkeypatch, 1, twice)
    assert train.main(arguments(TINY | {"out_dir": tmp_path / "other"})) == 130
    assert "begins, as there is no checkpoint" in capsys.readouterr().err
    assert checkpoints.read(checkpoints.Checkpoints(tmp_path).newest)["step"] == 3


def test_a_finished_run_is_handed_out_and_not_made_again(finished, ended, capsys, monkeypatch):
    monkeypatch.setattr(loop.Trainer, "fit", lambda self: 1 / 0)
    before = {path: path.read_bytes() for path in ended.iterdir() if path.name != run_folder.LOCK}
    assert train.run(tiny(ended, checkpoint_minutes=9)) == finished[0]
    assert "ended already" in capsys.readouterr().out
    assert all(path.read_bytes() == content for path, content in before.items())
    with pytest.raises(ZeroDivisionError):
        train.run(tiny(ended, resume=False))


def test_the_folder_of_another_finished_run_is_refused_with_the_difference(ended):
    for resume in (True, False):
        with pytest.raises(ConfigError, match="another finished run.*seed was 0, is 1.*another out_dir"):
            train.run(tiny(ended, seed=1, resume=resume))
    record = json.loads((ended / "record.json").read_text())
    (ended / "record.json").write_text(json.dumps(record | {"provenance": record["provenance"] | {"data": "x"}}))
    with pytest.raises(ConfigError, match="other faces"):
        train.run(tiny(ended))
    (ended / "record.json").write_text("{")
    with pytest.raises(ConfigError, match=r"record\.json is no record.*another out_dir"):
        train.run(tiny(ended))


def test_a_run_made_anew_is_not_lost_to_the_record_that_it_replaces(finished, ended, monkeypatch, capsys):
    values = TINY | {"out_dir": ended, "checkpoint_minutes": 9}
    at_step(monkeypatch, 6, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert train.main(arguments(values | {"resume": False})) == 128 + signal.SIGTERM
    assert "stopped at step 6 of 10; the same command, with resume set to true, goes on" in capsys.readouterr().err
    monkeypatch.undo()
    assert not any((ended / name).exists() for name in run_folder.FILES)  # of no use, and taken for this run's
    assert train.main(arguments(values)) == 0
    assert "step 6 of 10" in capsys.readouterr().out
    assert_ends_like(finished, ended)


def test_a_run_whose_results_are_gone_is_made_again(finished, ended, monkeypatch):
    (ended / "model.safetensors").unlink()
    monkeypatch.setattr(loop.Trainer, "fit", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train.run(tiny(ended))


def test_two_runs_in_one_folder_at_once_are_refused(tmp_path):
    code = f"""
import sys, time
from pathlib import Path
from maskfr_utils.run_folder import held
with held(Path({str(tmp_path)!r})):
    print("held", flush=True)
    time.sleep(60)
"""
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "held\n"
    with pytest.raises(ConfigError, match=rf"a run is at work in .*process {other.pid} on"):
        train.run(tiny(tmp_path))
    other.kill()
    other.wait()
    with run_folder.held(tmp_path):  # the lock has gone with its holder
        pass


@pytest.mark.parametrize("kind", ["file", "below a file", "not writable", "name too long"])
def test_a_folder_that_cannot_be_used_is_told_before_anything_else(tmp_path, kind, monkeypatch, capsys):
    monkeypatch.setattr(prepare, "prepare", lambda **_: 1 / 0)
    (tmp_path / "file").touch()
    places = {"file": "file", "below a file": "file/x", "not writable": "/proc/x", "name too long": "x" * 300}
    assert train.main(arguments(TINY | {"out_dir": tmp_path / places[kind]})) == 1
    said = capsys.readouterr().err
    assert "cannot be written to" in said and "another out_dir" in said and said.count("\n") == 1 and len(said) < 340


def test_too_small_a_disk_is_told_before_training(tmp_path, store, monkeypatch):
    run = loop.Trainer(tiny(tmp_path), store, Fabric(accelerator="cpu", devices=1))
    needed = run.bytes_to_come()
    for _ in range(3):
        run.checkpoints.save(run.state())
    size = checkpoints.Checkpoints(tmp_path).newest.stat().st_size
    assert 1.5 * size < needed < 5 * size + 2**21
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("", (), {"free": 1000})())
    with pytest.raises(ConfigError, match=r"too little space.*0 MB are free.*take \d+ MB"):
        run.fit()
    assert run.step == 0


@pytest.mark.parametrize("file", ["unfinished.ckpt", "model.safetensors"])
def test_a_disk_that_fills_up_is_named_and_the_same_command_goes_on(finished, tmp_path, monkeypatch, capsys, file):
    replacing = checkpoints.replacing
    values = TINY | {"out_dir": tmp_path}
    at_step(monkeypatch, 3, lambda: full.append(True))
    full = []

    class Full(type(tmp_path)):
        def write_bytes(self, data):
            super().write_bytes(data[:100])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def write_text(self, data, **_):
            self.write_bytes(data.encode())

        def open(self, *args, **kwargs):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def __fspath__(self):
            return "/dev/full"

    import contextlib

    from maskfr_utils import records
    from maskfr_utils.models import weights as files

    @contextlib.contextmanager
    def replacing_on_a_full_disk(path, **options):
        with replacing(path, **options) as temporary:
            yield Full(temporary) if full and path.name == file else temporary

    for module in (checkpoints, train, records, files):
        monkeypatch.setattr(module, "replacing", replacing_on_a_full_disk)
    assert train.main(arguments(values)) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "No space left on device" in said and "same command goes on" in said and "checkpoint of step" in said
    assert len(said) < 340
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".tmp")]
    monkeypatch.undo()
    assert checkpoints.Checkpoints(tmp_path).newest
    assert train.main(arguments(values)) == 0
    assert "resumed after epoch" in capsys.readouterr().out
    assert_ends_like(finished, tmp_path)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_store_that_breaks_in_the_middle_is_named_and_what_was_learnt_is_kept(tmp_path, store, workers, monkeypatch):
    own = tmp_path / "faces.h5"
    shutil.copy(store.path, own)
    run = loop.Trainer(
        tiny(tmp_path / "run", workers=workers, checkpoint_minutes=9, epochs=3),
        FaceStore(own),
        Fabric(accelerator="cpu", devices=1),
    )
    at_step(monkeypatch, 2, lambda: os.truncate(own, 10_000))
    with pytest.raises(
        loop.TrainingError, match=r"faces\.h5 ends within a picture.*checkpoint of step \d+ is kept"
    ) as end:
        run.fit()
    assert "\n" not in str(end.value) and len(str(end.value)) <= 300
    assert checkpoints.read(run.checkpoints.newest)["step"] == run.step >= 2


def test_faces_that_cannot_be_read_at_the_first_step_leave_all_as_it_was(tmp_path, store, monkeypatch):
    train.run(tiny(tmp_path))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.suffix in (".json", ".safetensors")}
    run = loop.Trainer(tiny(tmp_path, resume=False), store, Fabric(accelerator="cpu", devices=1))

    def broken(*_, **__):
        raise RuntimeError("unable to allocate shared memory")
        yield

    monkeypatch.setattr(loop, "DataLoader", broken)
    with pytest.raises(loop.TrainingError, match="shared memory; there is no checkpoint yet"):
        run.fit()
    assert not run.checkpoints.paths
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name in before}


def test_prepared_faces_that_are_deleted_in_the_middle_loses_nothing(finished, tmp_path, monkeypatch, capsys):
    def lose():
        for faces in own.glob("*.h5"):
            faces.unlink()

    own = shutil.copytree(paths.cache_dir(), tmp_path / "cache", ignore=shutil.ignore_patterns("*.h5", "*.lock"))
    monkeypatch.setenv("MASKFR_CACHE", str(own))
    values = TINY | {"out_dir": tmp_path / "run", "checkpoint_minutes": 9}
    at_step(monkeypatch, 6, lambda: (lose(), os.kill(os.getpid(), signal.SIGTERM)))
    assert train.main(arguments(values)) == 128 + signal.SIGTERM
    monkeypatch.setattr(loop, "augment", AUGMENT)
    assert train.main(arguments(values)) == 0  # faces are prepared again
    assert "step 6 of 10" in capsys.readouterr().out
    assert_ends_like(finished, tmp_path / "run")
    at_step(monkeypatch, 2, lose)
    assert train.main(arguments(values | {"out_dir": tmp_path / "other"})) == 0  # what is open is still read
    assert_ends_like(finished, tmp_path / "other")


def test_a_loss_that_is_not_finite_keeps_the_last_good_checkpoint(tmp_path, store, monkeypatch):
    run = loop.Trainer(tiny(tmp_path), store, Fabric(accelerator="cpu", devices=1))
    forward = run.recogniser.head.forward
    monkeypatch.setattr(run.recogniser.head, "forward", lambda *x: forward(*x) * (1 if run.step < 4 else torch.nan))
    with pytest.raises(loop.TrainingError, match=r"loss is nan at step 5.*checkpoint of step 4 is kept"):
        run.fit()
    state = checkpoints.read(run.checkpoints.newest)
    assert state["step"] == 4 and all(t.isfinite().all() for t in state["recogniser"].values())


def test_progress_is_said_in_the_log_and_on_the_terminal_without_a_line_a_step(tmp_path, monkeypatch, capsys):
    from maskfr_utils import progress

    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    train.run(tiny(tmp_path))
    log = (tmp_path / "train.log").read_text()
    line = r"epoch \d/2, step \d+/10, loss [\d.]+, accuracy [01]\.\d+, [\d.]+ images/s, \d:\d\d:\d\d left"
    assert re.search(rf"^\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d  {line}$", log, re.M)
    assert re.search(rf"^{line}$", capsys.readouterr().err, re.M)
    assert re.search(r"epoch 2, loss [\d.]+, train_accuracy", log)

    times = iter(range(10**6))
    monkeypatch.setattr(progress, "LINE_SECONDS", 5.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(times)))
    long = progress.Progress("", 1, 30_000, 0, 8, tmp_path / "long.log")
    for step in range(1, 30_001):
        if long.due():
            long.show(1, step, 1.0, 0.5)
    assert 100 < len((tmp_path / "long.log").read_text().splitlines()) < 300


def test_a_terminal_shows_one_live_line(tmp_path, monkeypatch):
    from maskfr_utils import progress

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress, "LIVE_SECONDS", 0.0)
    with progress.Progress("here", 2, 40, 0, 16, tmp_path / "train.log") as shown:
        for step in range(1, 41):
            assert shown.due()
            shown.show(1 + (step > 20), step, 3.2, 0.5)
        shown.epoch({"epoch": 2, "loss": 3.2})
    last = terminal.getvalue().strip().split("\r")[-1]
    assert re.search(r"40/40 .*epoch 2/2, loss 3\.20, accuracy 0\.500, [\d.]+ images/s", last)
    assert terminal.getvalue().count("\n") <= 3 and (tmp_path / "train.log").read_text().count("\n") == 1


NOTEBOOK = """
from maskfr_utils import train
from maskfr_utils.config import TrainConfig
config = TrainConfig(**{values})
print("begins", flush=True)
train.run(config)
"""


@pytest.mark.slow
def test_a_notebook_that_is_interrupted_saves_and_shows_one_line(tmp_path):
    manager = pytest.importorskip("jupyter_client.manager")
    values = {**SMALL, "epochs": 500, "eval_every": 0, "out_dir": str(tmp_path)}
    with manager.run_kernel(kernel_name="python3") as client:
        kernel = client.parent if hasattr(client, "parent") else None
        client.execute(NOTEBOOK.format(values=values))
        error, pid = None, None
        while error is None:
            message = client.get_iopub_msg(timeout=120)
            if message["msg_type"] == "error":
                error = message["content"]
            elif pid is None and (tmp_path / "unfinished.ckpt").exists():
                pid = int(re.search(r"process (\d+)", (tmp_path / ".lock").read_text())[1])
                os.kill(pid, signal.SIGINT)
    assert kernel is None or pid
    assert error["ename"] == "Stopped" and re.match(r"stopped at step \d+ of \d+;", error["evalue"])
    assert len(error["traceback"]) == 1 and "\n" not in error["traceback"][0]
    step = checkpoints.read(Path(tmp_path, "unfinished.ckpt"))["step"]
    assert f"step {step} " in error["evalue"]
    assert issubclass(Stopped, KeyboardInterrupt)
