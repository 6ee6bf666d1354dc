"""The folder of a run: usable, in nobody else's hands, and of this run alone."""

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TextIO

from maskfr_utils.config import ConfigError, TrainConfig
from maskfr_utils.messages import shown
from maskfr_utils.records import read_record

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LOCK = ".lock"
FILES = ("record.json", "predictions.csv", "model.safetensors", "head.safetensors")  # of a run that has ended


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Makes a run's folder and holds it: until the end, another process that wants it is refused.

    The lock is the operating system's, and is gone with the process that held it, however that ended.

    Raises:
        ConfigError: the folder cannot be made or written to, or another run is at work in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / LOCK).open("a+", encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"out_dir {folder} cannot be written to ({error.strerror or error}): choose another out_dir"
        ) from None
    with lock:
        _lock(lock, folder)
        try:
            lock.truncate(0)
            lock.write(f"process {os.getpid()} on {socket.gethostname()}\n")
            lock.flush()
        except OSError as error:
            raise ConfigError(
                f"out_dir {folder} cannot be written to ({error.strerror}): choose another out_dir"
            ) from None
        yield


def _lock(lock: TextIO, folder: Path) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        who = lock.read(200).strip() or "another process"
        raise ConfigError(f"a run is at work in {folder} ({who}): wait for it, or choose another out_dir") from None
    except OSError:  # a file system without locks
        return


def difference(then: object, now: dict[str, object]) -> str:
    """In words, what two runs' parameters differ in; nothing where they are the same run, with however many loaders.

    Args:
        then: those of the earlier run; one that it does not know yet had its default.
        now: those of this run.
    """
    if not isinstance(then, dict):
        return "its parameters cannot be read"
    defaults = {f.name: f.default for f in fields(TrainConfig)}
    changed = [(name, then.get(name, defaults.get(name)), value) for name, value in now.items() if name != "workers"]
    return ", ".join(f"{name} was {shown(old)}, is {shown(new)}" for name, old, new in changed if old != new)


def finished(config: TrainConfig) -> dict | None:
    """The record of a run that has ended in the folder of `config`; none where there is none, or it is to be made anew.

    Raises:
        ConfigError: the folder holds a record of another run, or one that cannot be read, or a network of no run.
    """
    path = config.folder / "record.json"
    way_out = "choose another out_dir, or delete that one if you no longer need it"
    if not path.exists():
        network, predictions = (config.folder / name for name in ("model.safetensors", "predictions.csv"))
        if network.exists() and not predictions.exists():  # a run writes its predictions first
            raise ConfigError(f"{network} is of no run: {way_out}")
        return None
    try:
        record = read_record(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{error}; {way_out}") from None
    if changed := difference(record["params"], config.science()):
        raise ConfigError(f"{config.folder} holds another finished run ({changed}): {way_out}")
    whole = "diverged" in record or all((config.folder / name).exists() for name in FILES)
    return record if whole and config.resume else None


def check_space(folder: Path, needed: int) -> None:
    """Refuses a disk that would be full before the run has ended.

    Raises:
        ConfigError: fewer than `needed` bytes are free.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ConfigError(
            f"too little space in {folder}: {free / 1e6:,.0f} MB are free, and two checkpoints, a third that is being "
            f"written, and the network take {needed / 1e6:,.0f} MB: free some, or choose another out_dir"
        )
