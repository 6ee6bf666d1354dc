"""The soak itself: that it repeats its inputs, sees what it is to see, and passes in small."""

import mmap
import os
import random
import subprocess
import time
from pathlib import Path

import pytest
import torch
from tqdm.auto import tqdm

from maskfr_utils.config import TrainConfig
from maskfr_utils.faces.pictures import PictureError
from maskfr_utils.measure import formats, kills, soak
from maskfr_utils.measure.mutations import mutate, with_right_sums
from maskfr_utils.peaks import in_fresh_process
from maskfr_utils.records import read_json, read_measurement


@pytest.fixture
def reading(monkeypatch):
    """Lets a format of one small file be read by any function; what became of some inputs."""
    monkeypatch.setattr(soak, "BYTES", 2**27)

    def become(read, inputs=4):
        monkeypatch.setitem(formats.FORMATS, "made up", formats.Format(lambda: [{"x.txt": b"whole" * 9}], read))
        with tqdm(disable=True) as bar:
            return soak.read_all("made up", 0, range(inputs), bar)

    return become


def only_damaged(act):
    """A reader that does something with damaged files alone: whole ones must pass."""
    return lambda folder: 0 if (folder / "x.txt").read_bytes() == b"whole" * 9 else act(folder)


def raises(error):
    def act(_):
        raise error

    return act


def takes(size):
    """Fills so many bytes of memory that the system gives: what the process has freed and kept cannot serve it."""
    memory = mmap.mmap(-1, size)
    for _ in range(0, size, 2**20):
        memory.write(bytes(2**20))


def test_inputs_can_be_repeated_and_differ():
    whole = formats.yaml_files()
    some = [soak.damaged("yaml", number, 3, whole) for number in range(40)]
    assert some == [soak.damaged("yaml", number, 3, whole) for number in range(40)]
    assert len({str(each) for each in some}) > 35 and some != [soak.damaged("yaml", n, 4, whole) for n in range(40)]
    assert all(len({n for n in files if files not in whole}) <= 1 for files in some)


@pytest.mark.parametrize("name", ["tar", "zip", "npz", "picture"])
def test_whole_files_keep_their_sums(name):
    for files in formats.FORMATS[name].make():
        for file, data in files.items():
            if not file.endswith(".gz"):
                assert with_right_sums(file, data) == data


def test_no_reader_needs_what_forked_processes_lack(monkeypatch):
    """Autograd refuses a process that was forked off one in which it had used threads, as notebooks make it do."""
    monkeypatch.setattr(torch.autograd, "backward", lambda *_, **__: pytest.fail("autograd in a forked process"))
    try:
        (newest, *_), (both, *_) = (sorted(files) for files in formats.FORMATS["checkpoint"].make())
    finally:
        formats.trainer.cache_clear()
    assert newest == "unfinished.ckpt" and both == "unfinished.before.ckpt"


def test_a_reader_that_cannot_work_says_why(monkeypatch):
    monkeypatch.setitem(
        formats.FORMATS, "made up", formats.Format(lambda: [{"x.txt": b"whole"}], raises(KeyError("y")))
    )
    with (
        pytest.raises(RuntimeError, match="made up cannot work: .*whole file fails: KeyError: 'y'"),
        tqdm(disable=True) as bar,
    ):
        soak.read_all("made up", 0, range(1), bar)


def test_any_bytes_can_be_changed():
    draw = random.Random(0)
    for size in (0, 1, 2, 700):
        for _ in range(300):
            assert isinstance(mutate(bytes(size), draw, [b"word"]), bytes)


def test_outcomes_are_counted(reading):
    found = reading(lambda folder: len((folder / "x.txt").read_bytes()) % 2)
    assert found["read"] + found["skipped"] == 4 and not found["failures"]
    assert reading(only_damaged(raises(ValueError("x.txt is broken: make it anew"))))["refused"] == 4
    assert reading(only_damaged(raises(PictureError("truncated"))))["refused"] == 4


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (raises(KeyError("x.txt")), "KeyError"),
        (raises(RecursionError("x.txt")), "RecursionError"),
        (raises(ValueError("broken")), "names no file"),
        (raises(ValueError("x.txt" * 99)), "characters"),
        (raises(ValueError("x.txt\nline")), "2 lines"),
        (lambda _: os.abort(), "the interpreter died of SIGABRT"),
        (lambda _: os.system("true"), "os.system"),
        (lambda _: Path("/tmp/maskfr-soak-outside").mkdir(), "os.mkdir"),
        (lambda _: Path("/proc/self/comm").open("r+").close(), "open /proc/self/comm"),
        (lambda _: takes(2**28), "MB of memory"),
    ],
)  # fmt: skip
def test_what_must_not_happen_is_seen(reading, act, said):
    found = reading(only_damaged(act), 2)
    assert found["failed"] == 2 and said in found["failures"][0], found
    Path("/tmp/maskfr-soak-outside").rmdir() if Path("/tmp/maskfr-soak-outside").exists() else None


def test_what_hangs_is_seen(reading, monkeypatch):
    monkeypatch.setattr(soak, "SECONDS", 0.2)
    monkeypatch.setattr(soak, "WALL", 2)
    assert "s of a core" in reading(only_damaged(lambda _: [0 for _ in iter(int, 1)]), 1)["failures"][0]
    assert "no answer" in reading(only_damaged(lambda _: time.sleep(9)), 1)["failures"][0]


def test_a_small_soak_passes(tmp_path, capsys):
    out = tmp_path / "soak.json"
    assert soak.main(["--inputs", "140", "--kills", "0", "--seed", "7", "--out", str(out)]) == 0, (
        capsys.readouterr().out
    )
    record = read_json(out)
    assert sum(each["inputs"] for each in record["formats"].values()) >= 140
    assert record["formats"].keys() == formats.FORMATS.keys() and record["limits"]["characters"] == 300


@pytest.mark.slow  # `test_survival` kills runs at chosen points
def test_killed_runs_end_like_one_that_was_not(tmp_path):
    found = in_fresh_process(kills.killed_runs, tmp_path, 6, 5)
    assert [found[what] for what in ("kills", "failed", "unequal", "left")] == [6, 0, 0, 0] and found["runs"] >= 1
    assert 0 < found["resumed"] <= found["kills"]


def test_a_run_that_is_over_is_not_killed(tmp_path):
    config = TrainConfig(**kills.RUN, out_dir=str(tmp_path / "run"))
    config.folder.mkdir()
    (config.folder / "record.json").touch()
    child = subprocess.Popen(["sleep", "60"])
    try:
        assert kills._kill(child.pid, 0.0, config, random.Random(0)) is None and child.poll() is None
        (config.folder / "record.json").unlink()
        assert kills._kill(child.pid, 0.0, config, random.Random(0)) == -child.wait()
    finally:
        child.kill()


def test_the_record_has_no_failure():
    if (record := read_measurement("survival/soak.json")) is None:
        pytest.skip("not run: make soak")
    assert record["formats"].keys() == formats.FORMATS.keys()
    assert not any(each["failures"] for each in record["formats"].values())
    assert not any(record["kills"][what] for what in ("failed", "unequal", "left"))
