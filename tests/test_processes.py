"""Several processes for one run, as torchrun starts them."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from shallow import DEPTHS
from small_losses import head, optimizer, train
from small_runs import TINY, arguments, same, weights
from torch import nn

from maskfr_utils import devices
from maskfr_utils.config import ConfigError, TrainConfig
from maskfr_utils.models import create_model, save_model
from maskfr_utils.norms import across_processes
from maskfr_utils.records import read_record
from maskfr_utils.store import TEST, TRAIN, FaceWriter

pytestmark = pytest.mark.usefixtures("shallow")

needs_processes = pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no torch.distributed")


def torchrun(values, processes=2):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command += ["-m", "maskfr_utils.train", *arguments(values)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
    )


FORKED = '''
import os, signal, socket, sys, time
from dataclasses import replace
import torch, torch._dynamo, torch.distributed.optim
from maskfr_utils import devices, fingerprint, loop, prepare, run_folder, train
from maskfr_utils.config import TrainConfig
from maskfr_utils.names import NETWORKS
import pandas, maskfr_utils.probes.runs
work = train.main

def leave(status):
    """Ends at once: to free all that was imported takes longer than the work."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status or 0)

def start(world, argv):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    children = []
    for rank in range(world):
        if not (child := os.fork()):
            if world > 1:
                os.environ |= dict(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world), LOCAL_WORLD_SIZE=str(world),
                                   MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
            leave(work(argv))
        children.append(child)
    return children

def ended(children):
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
'''
SHALLOW = f"NETWORKS.update({{name: replace(network, depths={DEPTHS}) for name, network in NETWORKS.items()}})"

STOPPED = """
print("whole", *ended(start(2, [*values, "-p", "out_dir", folder + "/whole"])))
values += ["-p", "out_dir", folder + "/stopped"]
children = start(2, values)
deadline = time.monotonic() + 200
while not os.path.exists(folder + "/stopped/unfinished.ckpt") and time.monotonic() < deadline:
    time.sleep(0.01)
for child in children:
    os.kill(child, signal.SIGTERM)
print("stopped", *ended(children))
print("resumed", *ended(start(2, values)))
"""
PARTED = f"""
sys.path.append({str(Path(__file__).parent)!r})
from small_losses import parted
work = lambda cases: parted(folder, cases)
print("parted", *ended(start(2, [(1.0, None), (0.4, None), (0.4, 3)])))
"""
BATCHNORM = """
from lightning_fabric import Fabric
from maskfr_utils import memory
from maskfr_utils.store import FaceStore

loop.augment = lambda images, *_: images
memory.LEAST = 0  # predict what the step takes, as a large one does

def work(argv):
    config, world = TrainConfig.from_argv(argv), int(os.environ.get("WORLD_SIZE", 1))
    strategy = "ddp_find_unused_parameters_true" if config.head_epochs else "ddp"
    fabric = Fabric(accelerator="cpu", devices=world, strategy=strategy if world > 1 else "auto", precision="64-true")
    fabric.launch()
    run = loop.Trainer(config, FaceStore(config.dataset), fabric)
    run.fit()
    if fabric.is_global_zero:
        torch.save((run.recogniser.state_dict(), run.history), config.folder / "end.pt")
    devices.leave_the_others()

for world in (1, 2):
    print("processes that ended:", *ended(start(world, [*still, "-p", "out_dir", f"{folder}/{world}"])))
"""


def forked(script, **given):
    """What a script prints whose processes are forked: they import nothing anew."""
    names = "\n".join(f"{name} = {value!r}" for name, value in given.items())
    command = [sys.executable, "-c", f"{FORKED}\n{SHALLOW}\n{names}\n{script}\nleave(0)"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def forks(shallow, tmp_path_factory):
    """Folder of all that one interpreter's forks leave, and what they print; BatchNorm's script comes last, since it changes modules."""
    folder = tmp_path_factory.mktemp("forks")
    scripts = STOPPED + PARTED + BATCHNORM
    return folder, forked(scripts, folder=str(folder), values=arguments(TINY), still=without_draws(folder))


def without_draws(folder, **more):
    """Arguments of a run on noise, without what each process draws by itself: mirroring, dropout, new masks."""
    with FaceWriter(folder / "faces.h5") as writer:
        faces = np.random.default_rng(0).integers(0, 256, (24, 14, 14, 3), np.uint8).repeat(8, 1).repeat(8, 2)
        writer.append(faces, faces[::-1], [f"p{i % 3}" for i in range(24)])
        writer.assign(np.arange(24) % 3, np.repeat([TRAIN, TEST], [18, 6]), ["p0", "p1", "p2"])
    still = {"condition": "masked", "dropout": 0.0, "augment": 0.0, "fresh_masks": False, "checkpoint_minutes": 9.0}
    still |= {"dataset": folder / "faces.h5", "sync_batchnorm": True, "batch_size": 6, "epochs": 1, "lr": 0.01}
    return arguments(TINY | still | more)


def assert_trained_as_one(folder, said):
    """The same batches, in double precision.

    In single precision a step of fifty layers with BatchNorm makes of rounding a change in the third digit, three steps anything.
    """
    assert said.splitlines()[-1] == "processes that ended: 0 0"
    (one, before), (two, after) = (torch.load(folder / f"{world}/end.pt") for world in (1, 2))
    assert one.keys() == two.keys() and len(one) > 70 and before[0]["loss"] == pytest.approx(after[0]["loss"], abs=1e-4)
    assert before[0]["train_accuracy"] == after[0]["train_accuracy"]
    for name, value in one.items():
        torch.testing.assert_close(
            two[name], value, rtol=1e-5, atol=1e-7, msg=lambda text, name=name: f"{name}: {text}"
        )


@needs_processes
def test_two_processes_with_one_batchnorm_train_as_one(forks):
    assert_trained_as_one(*forks)


@pytest.mark.slow
@needs_processes
def test_two_processes_with_one_batchnorm_train_given_weights_as_one(tmp_path):
    given = create_model(TINY["model"], width=TINY["width"], embedding_dim=TINY["embedding_dim"])
    save_model(tmp_path / "given.safetensors", given)
    still = without_draws(tmp_path, weights=tmp_path / "given.safetensors", head_epochs=1, epochs=2)
    assert_trained_as_one(tmp_path, forked(BATCHNORM, folder=str(tmp_path), still=still))


@needs_processes
def test_statistics_over_processes_are_those_of_full_precision():
    x = 3 + torch.randn(16, 4, 5, 5, generator=torch.Generator().manual_seed(0)).bfloat16()
    plain, together = nn.BatchNorm2d(4), nn.Sequential(nn.BatchNorm2d(4))
    torch.distributed.init_process_group("gloo", rank=0, world_size=1, store=torch.distributed.HashStore())
    try:
        found = across_processes(together, torch.device("cpu")).train()(x)
    finally:
        torch.distributed.destroy_process_group()
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found, plain(x.float()).bfloat16())
    torch.testing.assert_close(together[0].running_var, plain.running_var)
    torch.testing.assert_close(together[0].running_mean, plain.running_mean)


@needs_processes
def test_two_processes_stopped_and_resumed_end_like_two_that_were_not(forks):
    folder, said = forks
    assert "whole 0 0" in said and "resumed 0 0" in said, said
    assert "stopped 143 143" in said and "resumed after epoch" in said, said
    assert same(weights(folder / "whole"), weights(folder / "stopped"))
    one, two = (read_record(folder / name / "record.json") for name in ("whole", "stopped"))
    assert one["metrics"] == two["metrics"] and one["history"] == two["history"]


@needs_processes
def test_a_class_matrix_parted_between_two_processes_is_the_whole_one(forks):
    folder, said = forks
    assert "parted 0 0" in said, said
    (first, second), through, stopped = zip(*(torch.load(folder / f"out-{rank}.pt") for rank in range(2)), strict=True)
    whole = head()
    *losses, gradient = train(whole, optimizer(whole.parameters(), torch.optim.SGD), range(6))
    torch.testing.assert_close(torch.tensor(first[0]), torch.stack(losses), rtol=1e-5, atol=1e-6)
    assert first[0] == second[0] and torch.equal(first[1], second[1])
    torch.testing.assert_close(first[1], whole.weight.detach(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(torch.cat([first[2], second[2]]), gradient, rtol=1e-4, atol=1e-6)
    # Sampled, and stopped in between: the same to the bit as without the stop.
    for a, b in zip(through, stopped, strict=True):
        assert a[0] == b[0] and torch.equal(a[1], b[1]) and torch.equal(a[2], b[2])


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


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(devices, "processes", lambda: (4, 4))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ConfigError, match="4 processes on a machine with 2 GPUs"):
        devices.make_fabric(TrainConfig(batch_size=8))


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
