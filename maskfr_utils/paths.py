"""Where data, caches and results live: the one place that knows, whatever the current folder is."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def data_dir() -> Path:
    """Folder of real faces: the environment variable MASKFR_DATA, else `data/` in the repository."""
    return Path(os.environ.get("MASKFR_DATA") or ROOT / "data").expanduser()


def cache_dir() -> Path:
    """Folder of prepared HDF5 files, made if missing: MASKFR_CACHE, else `.cache/` in the repository."""
    folder = Path(os.environ.get("MASKFR_CACHE") or ROOT / ".cache").expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def runs_dir() -> Path:
    """Folder of training runs (checkpoints, weights, records) that name no `out_dir` of their own."""
    return ROOT / "runs"


def results_dir() -> Path:
    """Folder of the committed records that the book shows."""
    return ROOT / "book" / "results"


def find_data(name: str | Path) -> Path:
    """The path `name` as given, else below `data_dir()`.

    Raises:
        FileNotFoundError: neither exists.
    """
    given = Path(name).expanduser()
    for path in (given, data_dir() / given):
        if path.exists():
            return path
    raise FileNotFoundError(
        f"no data set at {given} nor at {data_dir() / given}: "
        "give a folder, tar or HDF5 file, or set MASKFR_DATA to the folder that holds it"
    )


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name in the folder of `path`, renamed to it at the end: the file is written whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
