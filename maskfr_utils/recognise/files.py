"""A gallery on disk: a folder with `gallery.json`, its embeddings, and the network that made them.

`gallery.json` is written last and names the file of embeddings by a hash of its content: a write that is cut off leaves
the gallery as it was. Files from elsewhere are data: they are checked, and nothing in them is run.
"""

import hashlib
import json
import math
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from safetensors import SafetensorError
from safetensors.numpy import load, save

from maskfr_utils.messages import brief
from maskfr_utils.models import save_model
from maskfr_utils.models.given import fingerprint, load_network
from maskfr_utils.paths import remove_temporaries, replacing
from maskfr_utils.recognise.calibration import Calibration
from maskfr_utils.recognise.embedder import Embedder
from maskfr_utils.recognise.person import spellings, tidy
from maskfr_utils.records import as_text

PRIVATE = 0o600
INDEX, NETWORK, FORMAT = "gallery.json", "network.safetensors", "maskfr gallery 1"
_EMBEDDINGS = re.compile(r"embeddings-[0-9a-f]{16}\.safetensors")


@dataclass(frozen=True)
class Content:
    """What a gallery's folder holds: `people` name -> photos, in the order of the rows of `embeddings` (n, d) float32."""

    people: dict[str, list[str]]
    embeddings: np.ndarray
    network: str
    rate: float
    calibration: Calibration


def state(folder: Path) -> str:
    """A hash of what a gallery says now; empty where there is none."""
    index = folder / INDEX
    return hashlib.blake2b(index.read_bytes(), digest_size=16).hexdigest() if index.is_file() else ""


def lock(folder: Path) -> FileLock:
    """To be held from the look at a gallery's state until it is written: whoever comes second finds it changed.

    The folder is made if missing. Who holds it may hold it once more.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return FileLock(folder / ".lock", mode=PRIVATE, is_singleton=True)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Holds a gallery for work that takes long and ends in a write: whoever comes second is refused at once.

    Its folder is made if missing, so that one that cannot be is told before the work, and deleted again if nothing is written.

    Raises:
        OSError: it cannot be made, or written into.
        ValueError: another process holds it.
    """
    new = not folder.exists()
    held = lock(folder)
    try:
        held.acquire(timeout=0)
    except Timeout:
        raise ValueError(f"another call is changing {folder}: wait for it, or name another folder") from None
    try:
        yield
    finally:
        held.release()
        if new and not state(folder):
            (folder / ".lock").unlink(missing_ok=True)
            with suppress(OSError):  # others' files lie in it
                folder.rmdir()


def write(folder: Path, content: Content, embedder: Embedder | None = None) -> None:
    """Writes a gallery; files of embeddings that it no longer names are deleted, and with them who was removed.

    Its folder is there, and its `lock` held.

    Args:
        folder: of the gallery.
        content: what it is to hold.
        embedder: whose network is to lie beside it; by default what lies there stays.
    """
    if hasattr(getattr(embedder, "model", None), "config") and not _holds(folder / NETWORK, embedder):
        save_model(folder / NETWORK, embedder.model)
        os.chmod(folder / NETWORK, PRIVATE)
    data = save({"embeddings": np.ascontiguousarray(content.embeddings, np.float32)})
    name = f"embeddings-{hashlib.blake2b(data, digest_size=8).hexdigest()}.safetensors"
    with _private(folder / name) as temporary:
        temporary.write_bytes(data)
    index = {
        "format": FORMAT,
        "network": content.network,
        "rate": content.rate,
        "calibration": content.calibration.as_dict(),
        "embeddings": name,
        "people": content.people,
    }
    with _private(folder / INDEX) as temporary:
        temporary.write_text(as_text(index), encoding="utf-8")
    for file in folder.iterdir():
        if _EMBEDDINGS.fullmatch(file.name) and file.name != name:
            file.unlink()
    remove_temporaries(folder, older_than=0)  # who was removed may be in one, too


def without(
    gone: Sequence[str], people: dict[str, list[str]], embeddings: np.ndarray
) -> tuple[dict[str, list[str]], np.ndarray]:
    """`people` and `embeddings` of a `Content` less those who are `gone`.

    Raises:
        ValueError: one of them is not among the people.
    """
    names = {name for person in gone for name in spellings(person, people)}
    kept = np.repeat([name not in names for name in people], [*map(len, people.values())])
    return {name: photos for name, photos in people.items() if name not in names}, embeddings[kept]


def forget(folder: Path, people: Sequence[str]) -> Content:
    """Deletes people from a gallery and from the disk; its network is not needed.

    Returns:
        What is left.

    Raises:
        FileNotFoundError: there is no gallery.
        ValueError: it is damaged, or one of them is not enrolled; nothing was changed then.
    """
    read(folder)  # before a lock makes the folder
    with lock(folder):
        content = read(folder)
        left, embeddings = without(people, content.people, content.embeddings)
        content = replace(content, people=left, embeddings=embeddings)
        write(folder, content)
    return content


def read(folder: Path) -> Content:
    """Reads a gallery.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged; the message says what to do.
    """
    index = folder / INDEX
    if not index.is_file():
        raise FileNotFoundError(
            f"no gallery at {folder}: `python -m maskfr_utils.recognise enrol {folder} people/` makes one"
        )
    try:
        values = json.loads(index.read_text(encoding="utf-8"))
        if values["format"] != FORMAT:
            raise ValueError(f"its format is {str(values['format'])[:40]!r}, not {FORMAT!r}")
        people = {str(name): [str(photo) for photo in photos] for name, photos in values["people"].items()}
        if odd := [name for name in people if tidy(name) != name]:
            raise ValueError(f"it spells a person's name {odd[0]!a}, not {tidy(odd[0])!a}")
        rate, network, name = float(values["rate"]), str(values["network"]), str(values["embeddings"])
        calibration = Calibration.from_dict(values["calibration"])
        if not _EMBEDDINGS.fullmatch(name):
            raise ValueError(f"its embeddings are said to be in {name[:40]!r}")
        data = (folder / name).read_bytes()  # not mapped: a mapped file that is cut kills the process
        if name != f"embeddings-{hashlib.blake2b(data, digest_size=8).hexdigest()}.safetensors":
            raise ValueError(f"{name} is not as it was written")
        embeddings = load(data)["embeddings"]
        if embeddings.dtype != np.float32 or embeddings.ndim != 2 or len(embeddings) != sum(map(len, people.values())):
            raise ValueError(f"embeddings {embeddings.shape} of {embeddings.dtype} do not fit its list of photos")
        if not all(people.values()) or not 0 < rate < 1:
            raise ValueError("a person without photos, or a rate that is none")
        if not math.isclose(float(np.linalg.norm(embeddings, axis=1).min(initial=1)), 1, abs_tol=1e-3) or not (
            math.isclose(float(np.linalg.norm(embeddings, axis=1).max(initial=1)), 1, abs_tol=1e-3)
        ):
            raise ValueError("embeddings that do not have length 1")
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = brief(f"{type(error).__name__}: {error}", 150)
        raise ValueError(
            f"{index} is damaged ({reason}): enrol the people anew, or take a copy that is whole"
        ) from None
    return Content(people, embeddings, network, rate, calibration)


def network_of(folder: Path) -> Path:
    """The network beside a gallery.

    Raises:
        ValueError: there is none.
    """
    if not (folder / NETWORK).is_file():
        raise ValueError(f"{folder} has no {NETWORK}: name the network that made it (`--network`)")
    return folder / NETWORK


def _holds(path: Path, embedder: Embedder) -> bool:
    """Whether a file is this very network: what is left of a gallery that was deleted may be another."""
    try:
        return fingerprint(load_network(path)[0]) == embedder.fingerprint
    except (OSError, ValueError):
        return False


@contextmanager
def _private(path: Path) -> Iterator[Path]:
    """As `paths.replacing`, durable, for a file that only its owner may read; it is there, and to be written into."""
    with replacing(path, durable=True) as temporary:
        temporary.touch(mode=PRIVATE)
        yield temporary
