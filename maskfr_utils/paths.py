"""Where data, caches and results live: the one place that knows, whatever the current folder is."""

import glob
import os
import secrets
import time
import unicodedata
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_KEPT = 40  # characters of a file's name that its temporary name ends with


def is_checkout() -> bool:
    """Whether the package lies in its repository, with the study beside it, and is not installed somewhere else."""
    return (ROOT / "pyproject.toml").is_file() and (ROOT / "book").is_dir()


def home() -> Path:
    """Folder that data and runs lie in by default: the repository, or the current folder where there is none."""
    return ROOT if is_checkout() else Path.cwd()


def data_dir() -> Path:
    """Folder of real faces: the environment variable MASKFR_DATA, else `data/` in `home()`."""
    return Path(os.environ.get("MASKFR_DATA") or home() / "data").expanduser()


def cache_dir() -> Path:
    """Folder of prepared HDF5 files, made if missing: MASKFR_CACHE, else `.cache/` in the repository, else the user's."""
    users = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "maskfr_utils"
    folder = Path(os.environ.get("MASKFR_CACHE") or (ROOT / ".cache" if is_checkout() else users)).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def runs_dir() -> Path:
    """Folder of training runs (checkpoints, weights, records) that name no `out_dir` of their own: `runs/` in `home()`."""
    return home() / "runs"


def results_dir() -> Path:
    """Folder of the committed records that the book shows."""
    return ROOT / "book" / "results"


def find_data(name: str | Path) -> Path:
    """The path `name` as given, else below `data_dir()`.

    Raises:
        FileNotFoundError: neither exists.
    """
    try:
        given = Path(name).expanduser()
    except RuntimeError:  # of a user who is not here
        given = Path(name)
    for path in (given, data_dir() / given):
        if path.exists():
            return path
    raise FileNotFoundError(
        f"no data set at {given} nor at {data_dir() / given}: "
        "give a folder, tar or HDF5 file, or set MASKFR_DATA to the folder that holds it"
    )


@contextmanager
def replacing(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """A temporary name in the folder of `path`, renamed to it at the end: the file is written whole or not at all.

    The temporary name is as short as file systems need and ends as `path` does: some writers go by the suffix. What a
    killed process left under such a name is for `remove_temporaries`.

    Args:
        path: the file to write.
        durable: wait until the disk holds it, so that a failing power supply, too, leaves the old or the new file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".tmp-{secrets.token_hex(4)}-{_short(path.name)}")
    try:
        yield temporary
        if durable:
            sync(temporary)
        os.replace(temporary, path)
        if durable:
            sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _short(name: str) -> str:
    """How the temporary name of a file ends: as the name does; of a long one with a checksum before it, so that two are not mixed up."""
    return name if len(name) <= _KEPT else f"{zlib.crc32(os.fsencode(name)):08x}{name[8 - _KEPT :]}"


def state_of(at: os.stat_result) -> tuple[int, int, int]:
    """Of a file's `stat`, or `fstat`, numbers that are others once it is written anew: what was read of it may be kept under them."""
    return at.st_ino, at.st_size, at.st_mtime_ns


def is_file(path: Path) -> bool:
    """Whether there is a file; no name from outside is too long or too odd to be asked for."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def as_file_systems_may(name: str) -> str:
    """A file's name without case and ways to write accents: some file systems take names for one that are alike in it."""
    return unicodedata.normalize("NFC", name).casefold()


def sync(path: Path) -> None:
    """Waits until the disk holds a file, or the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_temporaries(folder: Path, name: str = "", older_than: float = 24 * 3600) -> None:
    """Removes what killed processes left of files that `replacing` was to write.

    Args:
        folder: where they were to be.
        name: of that file; by default of any.
        older_than: seconds since it was last written to: nobody can be at work on it any more.
    """
    for left in folder.glob(f".tmp-????????-{glob.escape(_short(name)) or '*'}"):
        with suppress(FileNotFoundError):  # another process tidies up too
            if time.time() - left.stat().st_mtime >= older_than:
                left.unlink()
