"""Whether a record is still true: what the code computes on tiny fixed problems, then and now.

A record carries the numbers of the parts of the code that decided it (`probes`). A part has moved where the code now
computes others, whoever changed it and wherever; a file that is renamed, or code written otherwise, moves nothing. What
the present sources compute is kept under a hash of them, so that it is computed once.
"""

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from filelock import FileLock

from maskfr_utils.paths import cache_dir, replacing, state_of

RELATIVE, ABSOLUTE = 5e-4, 1e-3  # what another machine may make of the same code, of each number
LIBRARIES = ("numpy", "scipy", "opencv-python-headless", "pillow", "torch", "lightning-fabric", "dlib-bin")

Numbers = Mapping[str, list[float]]  # name of a measurement -> what it gave


def sketch(picture: np.ndarray) -> list[float]:
    """Two numbers that tell pictures (any shape, uint8) apart: the mean, and a sum under random signs.

    A change of the whole picture by a tenth of a grey level moves the first beyond `moved`'s tolerance, one of a few pixels
    by a few levels the second; a last bit in some pixels moves neither.
    """
    values = picture.ravel().astype(np.float64)
    signs = np.random.default_rng(0).choice([-1.0, 1.0], values.size)
    return [values.mean() / 50, float(values @ signs) / np.sqrt(values.size) / 1000]


def numbers(parts: Mapping[str, Callable[[], Numbers]]) -> dict[str, Numbers]:
    """What the present code computes for each part; what it has computed before is read from the cache.

    Args:
        parts: name -> the function that computes it.
    """
    known = _known()
    for name in sorted(parts.keys() - known.keys()):
        with FileLock(f"{_memory()}.lock"):  # what another process computes meanwhile is waited for, not computed again
            known |= _known()
            if name not in known:
                known[name] = {key: [float(f"{x:.6g}") for x in values] for key, values in parts[name]().items()}
                with replacing(_memory()) as temporary:
                    temporary.write_text(json.dumps(known), encoding="utf-8")
    return {name: known[name] for name in parts}


def moved(then: Mapping[str, Numbers], now: Mapping[str, Numbers]) -> list[str]:
    """The parts that compute something else now than they did then; what only the present code knows is no move.

    Args:
        then: the numbers in a record, which anybody may have written: what are no numbers has moved.
        now: those of the present code for the same parts; a part that is missing has moved.
    """
    if not isinstance(then, Mapping):
        return list(now)
    return [part for part in then if part not in now or not _same(then[part], now[part])]


def _same(then: object, now: Numbers) -> bool:
    if not isinstance(then, Mapping) or not then.keys() <= now.keys():
        return False
    return all(values == now[name] or _close(values, now[name]) for name, values in then.items())


def _close(values: object, now: list[float]) -> bool:
    plain = isinstance(values, list) and all(
        isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**53) for value in values
    )
    return plain and len(values) == len(now) and all(map(_near, values, now))


def _near(value: float, now: float) -> bool:
    if math.isfinite(value):
        return abs(now - value) <= ABSOLUTE + RELATIVE * abs(value)
    return value == now or (math.isnan(value) and math.isnan(now))


def digest(now: Mapping[str, Numbers]) -> str:
    """12 hexadecimal digits of some numbers, by which this machine tells its files apart."""
    return hashlib.sha256(json.dumps(now, sort_keys=True).encode()).hexdigest()[:12]


@cache  # a process is judged by the sources that it began with
def sources() -> str:
    """A hash of the package's files and of the versions of the libraries that compute."""
    content = hashlib.sha256()
    package = Path(__file__).parent
    for path in sorted(p for p in package.rglob("*") if p.suffix in (".py", ".yaml", ".npy")):
        content.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    for library in LIBRARIES:
        try:
            content.update(f"{library} {version(library)}".encode())
        except PackageNotFoundError:
            content.update(f"no {library}".encode())
    return content.hexdigest()[:16]


def _memory() -> Path:
    return cache_dir() / f"fingerprint-{sources()}.json"


def _known() -> dict[str, Numbers]:
    try:
        return dict(_read(_memory(), state_of(_memory().stat())))
    except (OSError, ValueError, RecursionError):
        return {}


@lru_cache(maxsize=4)  # a check of the study asks for each of its runs
def _read(memory: Path, state: tuple[int, ...]) -> dict[str, Numbers]:
    known = json.loads(memory.read_text(encoding="utf-8"))
    return known if isinstance(known, dict) else {}
