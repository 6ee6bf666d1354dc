"""Records: the JSON that a run or a measurement leaves, with all that tells what made it."""

import json
import platform
import re
import subprocess
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from maskfr_utils.messages import brief, shown
from maskfr_utils.paths import ROOT, replacing, results_dir, state_of

REVISION = "REVISION"  # file of a packed study, whose code is checked against its hashes: the commit that it is of


def write_json(path: Path, content: dict) -> None:
    """Writes `content` whole or not at all: to a temporary name, then renamed."""
    with replacing(path, durable=True) as temporary:
        temporary.write_text(as_text(content), encoding="utf-8")


def as_text(content: dict) -> str:
    """JSON as our files hold it; a list of plain values is one line."""
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    return re.sub(r"\[[^\[\]{}]*\]", lambda match: re.sub(r"\s*\n\s*", " ", match[0]), text)


def read_record(path: str | Path) -> dict:
    """A run's record, not to be changed: the next reader of the same file gets the same object.

    Raises:
        ValueError: the file is no record; the message names it.
        OSError: it cannot be read.
    """
    return _read_record(path, state_of(Path(path).stat()))


def record_or_none(path: str | Path) -> dict | None:
    """A run's record as `read_record` gives it; None where there is no file, or one that is no record and is to be made again.

    Raises:
        OSError: it cannot be read.
    """
    try:
        return read_record(path)
    except (FileNotFoundError, ValueError):
        return None


@lru_cache(maxsize=1024)  # the check of a study looks at each record a dozen times
def _read_record(path: str | Path, state: tuple[int, int, int]) -> dict:
    try:
        record = read_json(path)
        params, metrics, made = (record[part] for part in ("params", "metrics", "provenance"))
        right = isinstance(params["model"], str) and isinstance(made["data"], str)
        if not right or not all(isinstance(part, dict) for part in (params, metrics, made)):
            raise TypeError("a part of it is of another type")
        for scores in (metrics["masked"], *metrics.values()):
            numbers = [scores[x] for x in ("accuracy", "accuracy_low", "accuracy_high")]
            if not all(type(x) in (int, float) and 0 <= x <= 1 for x in numbers):
                raise ValueError(f"an accuracy is {shown(numbers)}")
            counts = scores["photos"], record["throughput"]["train_images_per_second"]
            if not all(type(x) in (int, float) for x in counts):
                raise TypeError(f"photos and images/s are {shown(counts)}")
    except (ValueError, KeyError, TypeError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else error
        raise ValueError(f"{path} is no record of a run ({brief(reason, 120)}): run the training again") from None
    return record


def read_json(path: str | Path) -> object:
    """What a JSON file holds.

    Raises:
        ValueError: it is not JSON, is nested too deeply, or holds a number that JSON does not have, such as NaN.
        OSError: it cannot be read.
    """

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is no number of JSON")

    try:
        return json.loads(Path(path).read_text(encoding="utf-8"), parse_constant=refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_measurement(name: str | Path, folder: str | Path | None = None) -> dict | None:
    """A measurement's record, or None where it has not been made. By this call the study knows what a notebook shows.

    Args:
        name: of its file below `folder`, such as `masks/success.json`; in a notebook written out, not computed.
        folder: of the records; default: the book's.

    Raises:
        ValueError: the file is no record; the message names it.
    """
    path = Path(folder or results_dir()) / name
    try:
        record = read_json(path)
        record["provenance"]["data"]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no record of a measurement ({error!r:.100}): measure again") from None
    return record


def code_revision() -> str:
    """The git commit of the checkout or of what was packed, with `+changes` if it was edited since; else `unknown`.

    An installed package has none, even where the folder that it is installed in lies within somebody's repository.
    """

    def git(*args: str) -> str:
        return subprocess.run(["git", "-C", ROOT, *args], capture_output=True, text=True, check=True).stdout.strip()

    try:
        if (packed := ROOT / REVISION).is_file():
            return packed.read_text(encoding="utf-8").strip()[:40]
        if not (ROOT / "pyproject.toml").is_file() or Path(git("rev-parse", "--show-toplevel")).resolve() != ROOT:
            return "unknown"
        return git("rev-parse", "--short=12", "HEAD") + ("+changes" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def provenance(*, device: str, data: str, seconds: float, **more: object) -> dict:
    """What made a result: versions, device, data, and what else is given (the code's revision, its fingerprint).

    Args:
        device: the device in words.
        data: fingerprint of the prepared data.
        seconds: wall-clock time of the whole run; of one that was stopped, without what came after its last checkpoint.
    """
    versions = {"python": platform.python_version()}
    for package in ("torch", "torchvision", "lightning-fabric", "numpy", "opencv-python-headless", "dlib-bin"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "versions": versions,
        "platform": platform.platform(),
        "device": device,
        "data": data,
        "seconds": round(seconds, 1),
        **more,
    }
