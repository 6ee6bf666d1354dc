"""Checkpoints: a run's state on disk, of which the last two are kept and nothing is believed unseen.

A file is `MAGIC`, the SHA-256 of all that follows, and a safetensors file whose metadata hold, as JSON, what is no tensor.
The sum is verified before anything is used, and nothing in a file is ever run.
"""

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from maskfr_utils.messages import PlainError, brief
from maskfr_utils.models.weights import read_metadata
from maskfr_utils.paths import remove_temporaries, replacing, sync

MAGIC = b"maskfr checkpoint 1\n"
_SUM = hashlib.sha256().digest_size

Tree = dict[str, object]  # names -> tensors, numbers, texts, lists of these, and trees


class DamagedCheckpoint(PlainError, ValueError):
    """A file that is not, or no longer, a checkpoint."""


class Checkpoints:
    """The two last states of a run in a folder: `unfinished.ckpt` and, before it, `unfinished.before.ckpt`.

    Args:
        folder: of the run; made when the first state is saved.
    """

    def __init__(self, folder: Path):
        self.newest, self.before = folder / "unfinished.ckpt", folder / "unfinished.before.ckpt"

    @property
    def paths(self) -> list[Path]:
        """Those that are there, the newest first."""
        return [path for path in (self.newest, self.before) if path.exists()]

    def save(self, state: Tree) -> None:
        """Writes a state, whole and onto the disk or not at all; of those that were there the newest stays.

        Raises:
            OSError: it cannot be written; what was there is as it was.
        """
        head, content = encode(state)
        with replacing(self.newest, durable=True) as temporary:
            with temporary.open("wb") as file:
                file.write(head)
                file.write(content)
            sync(temporary)  # before the one that is there makes way
            if self.newest.exists():
                os.replace(self.newest, self.before)

    def drop(self, path: Path) -> None:
        """Removes one that is of no use, so that it takes no other's place."""
        with suppress(OSError):  # a folder that takes no change takes no new state either, and is named then
            path.unlink()

    def clear(self) -> None:
        """Removes all, and what a killed process left half written."""
        for path in (self.newest, self.before):
            path.unlink(missing_ok=True)
        self.tidy()

    def tidy(self) -> None:
        """Removes what a killed process left half written, weights and records too; nobody else may be at work in the folder."""
        remove_temporaries(self.newest.parent, older_than=0)


def encode(state: Tree) -> tuple[bytes, bytes]:
    """A state as the head of a file and, apart since a copy of both would be as large as the run, what follows.

    Raises:
        ValueError: it holds a number that JSON does not have.
    """
    tensors: dict[str, Tensor] = {}
    values = json.dumps(_without_tensors(state, "", tensors), allow_nan=False)
    content = save(tensors, {"maskfr": values})
    return MAGIC + hashlib.sha256(content).digest(), content


def read(path: Path) -> Tree:
    """The state in a file.

    Raises:
        DamagedCheckpoint: it cannot be read, was changed by as much as a bit, or is no checkpoint.
    """
    try:
        with path.open("rb") as file:
            magic, told, body = file.read(len(MAGIC)), file.read(_SUM), file.read()
        if magic != MAGIC:
            raise ValueError("no checkpoint of this version")
        if hashlib.sha256(body).digest() != told:
            raise ValueError("its checksum is wrong")
        state = _with_tensors(json.loads(read_metadata(body)["maskfr"]), "", load(body))
        if not isinstance(state, dict):
            raise ValueError("it holds no state")
        return state
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError, RecursionError) as error:
        raise DamagedCheckpoint(f"{path} cannot be used: {brief(error, 100)}") from None


def _without_tensors(value: object, name: str, tensors: dict[str, Tensor]) -> object:
    """`value` as JSON has it; each tensor in it goes into `tensors` and leaves null in its place."""
    if isinstance(value, Tensor):
        tensors[name] = value.detach().cpu().contiguous()
        return None
    if isinstance(value, dict):
        return {str(key): _without_tensors(part, f"{name}/{key}", tensors) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_tensors(part, f"{name}/{i}", tensors) for i, part in enumerate(value)]
    return value


def _with_tensors(value: object, name: str, tensors: dict[str, Tensor]) -> object:
    if isinstance(value, dict):
        return {key: _with_tensors(part, f"{name}/{key}", tensors) for key, part in value.items()}
    if isinstance(value, list):
        return [_with_tensors(part, f"{name}/{i}", tensors) for i, part in enumerate(value)]
    return tensors.get(name, value)


def check_tensors(found: object, wanted: dict[str, Tensor], what: str) -> None:
    """Refuses tensors that are not, by name, shape, type and finiteness, such as a run of this kind has.

    Raises:
        DamagedCheckpoint: they differ; it names the first.
    """
    if not isinstance(found, dict) or found.keys() != wanted.keys():
        raise DamagedCheckpoint(f"its {what} are not those of this run")
    for name, tensor in wanted.items():
        other = found[name]
        if not isinstance(other, Tensor) or other.shape != tensor.shape or other.dtype != tensor.dtype:
            raise DamagedCheckpoint(f"its {what} differ from this run's in {name}")
        if not torch.isfinite(other).all():
            raise DamagedCheckpoint(f"its {what} hold numbers that are not finite, in {name}")
