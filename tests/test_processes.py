"""Several processes for one run, as torchrun starts them."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest
import torch
from small_runs import TINY, same, weights

from maskfr_utils import devices
from maskfr_utils.config import ConfigError, TrainConfig
from maskfr_utils.records import read_record

needs_processes = pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no torch.distributed")


def torchrun(values, processes=2):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command += ["-m", "maskfr_utils.train"]
    for name, value in values.items():
        command += ["-p", name, str(value)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
    )


@pytest.mark.slow
@needs_processes
def test_two_processes_count_together_and_stopped_end_like_ones_that_were_not(tmp_path):
    values = TINY | {"identities": 4, "epochs": 3, "eval_every": 0}
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    said, _ = (run := torchrun(values | {"out_dir": whole})).communicate(timeout=240)
    assert run.returncode == 0, said[-3000:]
    record = read_record(whole / "record.json")
    assert record["provenance"]["processes"] == 2
    seen = record["throughput"]["steps"] / 3 * TINY["batch_size"]  # in an epoch, by both
    hits = [entry["train_accuracy"] * seen for entry in record["history"]]
    assert all(abs(each - round(each)) < 1e-4 * seen for each in hits) and any(round(each) % 2 for each in hits)

    run = torchrun(values | {"out_dir": stopped})
    deadline = time.monotonic() + 240
    while not (stopped / "unfinished.ckpt").exists() and run.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    run.send_signal(signal.SIGTERM)
    said, _ = run.communicate(timeout=120)
    assert re.search(r"stopped at step (\d+) of", said) and not (stopped / "record.json").exists(), said[-3000:]
    said, _ = (run := torchrun(values | {"out_dir": stopped})).communicate(timeout=240)
    assert run.returncode == 0 and "resumed after epoch" in said, said[-3000:]
    assert same(weights(whole), weights(stopped))
    again = read_record(stopped / "record.json")
    assert again["metrics"] == record["metrics"] and again["history"] == record["history"]


@pytest.mark.parametrize(
    ("left", "said"),
    [
        ({"WORLD_SIZE": "4"}, "WORLD_SIZE='4' is set, but RANK, .*Unset WORLD_SIZE"),
        ({"WORLD_SIZE": "x", "RANK": "0"}, "WORLD_SIZE='x' is set, but .*torchrun"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE='0'"),
    ],
)
def test_an_environment_left_behind_is_told(monkeypatch, left, said):
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in left.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=said):
        devices.make_fabric(TrainConfig())


@pytest.mark.parametrize(("batch", "world"), [(8, 3), (7, 2)])
def test_a_batch_that_the_processes_do_not_divide_is_refused(monkeypatch, batch, world):
    started = {"RANK": 0, "LOCAL_RANK": 0, "MASTER_ADDR": "localhost", "MASTER_PORT": 1, "LOCAL_WORLD_SIZE": world}
    for name, value in (started | {"WORLD_SIZE": world}).items():
        monkeypatch.setenv(name, str(value))
    with pytest.raises(
        ConfigError, match=f"batch_size={batch} cannot be shared out over {world} processes: .*multiple"
    ):
        devices.make_fabric(TrainConfig(batch_size=batch))


def test_a_csv_logger_gets_each_epoch(tmp_path):
    fabric = devices.make_fabric(TrainConfig(logger="csv", out_dir=str(tmp_path)))
    for epoch in (1, 2):
        fabric.log_dict({"epoch": epoch, "loss": 0.5}, step=epoch)
    (file,) = tmp_path.rglob("*.csv")
    assert file.is_relative_to(tmp_path / "csv") and len(file.read_text().splitlines()) == 3


def test_a_logger_that_is_not_installed_is_told(tmp_path, monkeypatch):
    def missing(*_, **__):
        raise ModuleNotFoundError("No module named 'tensorboard'")

    monkeypatch.setattr(devices, "TensorBoardLogger", missing)
    with pytest.raises(ConfigError, match="pip install tensorboard"):
        devices.make_fabric(TrainConfig(logger="tensorboard", out_dir=str(tmp_path)))
    assert devices.loggers_for(TrainConfig()) == []


def test_one_process_needs_no_environment(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert devices.processes() == (1, 1)
