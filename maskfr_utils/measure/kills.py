"""Runs that are killed at random points, and whether they end like one that was not."""

import os
import random
import signal
import time
from dataclasses import replace
from pathlib import Path

from maskfr_utils import prepare, train
from maskfr_utils.checkpoints import Checkpoints
from maskfr_utils.config import TrainConfig
from maskfr_utils.probes import runs
from maskfr_utils.records import read_record

RUN = {
    "model": "iresnet50",
    "width": 0.05,
    "embedding_dim": 16,
    "identities": 3,
    "per_identity": 10,
    "test_fraction": 0.2,
    "batch_size": 4,
    "epochs": 2,
    "augment": 0.5,
    "dropout": 0.2,
    "fresh_masks": True,
    "checkpoint_minutes": 0.0,
    "precision": "32-true",
    "compile": False,
}
"""Seconds long, with everything that draws (order, twins, masks, augmentation, dropout), and saved at each step."""
KILLED = (-signal.SIGKILL, -signal.SIGTERM, 128 + signal.SIGTERM)  # exit statuses
COMPARED = ("params", "run", "metrics", "history", "photos")  # of the records


def killed_runs(folder: str | Path, kills: int, seed: int = 0) -> dict[str, int]:
    """Kills runs until so many kills have met one that was not over; what is killed is started again.

    Forks: to be called in a process that does little else, such as `peaks.in_fresh_process` gives.

    Args:
        folder: an empty one.
        kills: one in four is a SIGTERM, which lets the step end and saves; the others are SIGKILLs.
        seed: of the moments.

    Returns:
        `kills`, of which `asked` by SIGTERM; how many starts `resumed` from a checkpoint; `runs` that ended, those that
        `failed` when they were started again, and those `unequal` to one that was not killed, in any weight, score or number of the history; files `left` half written.
    """
    folder, draw = Path(folder), random.Random(seed)
    config = TrainConfig(**RUN, out_dir=str(folder / "whole"))
    prepare.prepare(**config.data(), progress=False)
    runs.of_run(config.science())  # imported before the first fork
    warm = replace(config, out_dir=str(folder / "warm"))
    for unkilled in (warm, config):  # the first finds much cold and takes longer
        started = time.monotonic()
        if status := _status(_start(unkilled)):
            raise ValueError(f"a run that nobody killed ended with status {status}")
        seconds = time.monotonic() - started
    found = dict.fromkeys(("kills", "asked", "resumed", "runs", "failed", "unequal", "left"), 0)
    while found["kills"] < kills:
        own = TrainConfig(**RUN, out_dir=str(folder / f"run{found['runs']}"))
        while True:
            ended = (own.folder / "record.json").exists()  # a run that has ended only says so
            found["resumed"] += not ended and bool(Checkpoints(own.folder).paths)
            child, signalled = _start(own), None
            if found["kills"] < kills and not ended:
                signalled = _kill(child, draw.uniform(0, seconds), own, draw)
            if (status := _status(child)) not in KILLED:
                break
            found["kills"] += signalled is not None
            found["asked"] += signalled == signal.SIGTERM
        found["runs"] += 1
        found["failed"] += status != 0
        found["unequal"] += status == 0 and not equal(config.folder, own.folder)
        found["left"] += sum(path.name.startswith((".tmp", "unfinished")) for path in own.folder.iterdir())
    return found


def equal(folder: Path, other: Path) -> bool:
    """Whether two runs of one name and settings have ended with the same weights, scores and history."""
    files = ("model.safetensors", "head.safetensors")
    one, two = (read_record(each / "record.json") for each in (folder, other))
    same = all((folder / name).read_bytes() == (other / name).read_bytes() for name in files)
    return same and all(one[part] == two[part] for part in COMPARED)


def arguments(values: dict[str, object]) -> list[str]:
    """Parameters as a command line gives them: `-p name value` each."""
    return [part for name, value in values.items() for part in ("-p", name, str(value))]


def _start(config: TrainConfig) -> int:
    """The number of a new process that makes a run."""
    if child := os.fork():
        return child
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os._exit(train.main(arguments(RUN | {"out_dir": config.out_dir})))
    finally:
        os._exit(70)


def _kill(child: int, wait: float, config: TrainConfig, draw: random.Random) -> int | None:
    """Kills a run after so many seconds; the signal, or None where the run was over before."""
    number, deadline = signal.SIGTERM if draw.random() < 0.25 else signal.SIGKILL, time.monotonic() + wait
    while not (config.folder / "record.json").exists():
        if time.monotonic() >= deadline:
            os.kill(child, number)
            return number
        time.sleep(0.002)
    return None


def _status(child: int) -> int:
    """Waits for a process; its exit status, minus the signal where one ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
