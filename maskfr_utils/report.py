"""Records: the JSON a run leaves, with all that tells what made it; and the numbers published before us."""

import hashlib
import json
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .paths import ROOT, replacing

# The student report's IResNet-50 at batch size 512: fractions.
PUBLISHED_TABLE_1 = {"masked": 0.8989, "unmasked": 0.9494}


def write_json(path: Path, content: dict) -> None:
    """Writes `content` whole or not at all: to a temporary name, then renamed."""
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_record(path: str | Path) -> dict:
    """A run's record.

    Raises:
        ValueError: the file is no record; the message names it.
    """
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
        record["metrics"]["masked"]["accuracy"], record["provenance"]["data"]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no record of a run ({error!r}): run the training again") from None
    return record


def code_fingerprint() -> str:
    """Hash of the package's sources: it changes when any line that made a result may have changed."""
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def code_revision() -> str:
    """The git commit of the checkout, with `+changes` if it was edited since; `unknown` outside a checkout."""

    def git(*args: str) -> str:
        return subprocess.run(["git", "-C", ROOT, *args], capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + ("+changes" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def provenance(*, device: str, data: str, seconds: float, **more: object) -> dict:
    """What made a result: versions, device, data, and what else is given (the code's revision and fingerprint).

    Args:
        device: the device in words.
        data: fingerprint of the prepared data.
        seconds: wall-clock time of the whole run.
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


def result_table(records: dict[str, dict]):
    """One row a run: masked and unmasked test accuracy in percent with its 95 % interval, and what it was made with.

    Args:
        records: name of the run -> its record.
    """
    import pandas as pd

    def percent(scores: dict) -> str:
        return f"{scores['accuracy']:.1%} ({scores['accuracy_low']:.1%}-{scores['accuracy_high']:.1%})"

    rows = {
        name: {
            "masked": percent(r["metrics"]["masked"]),
            "unmasked": percent(r["metrics"]["unmasked"]),
            "test photos": r["metrics"]["masked"]["photos"],
            "trained on": r["params"]["condition"],
            "width": r["params"]["width"],
            "epochs": r["params"]["epochs"],
            "images/s": round(r["throughput"]["train_images_per_second"], 1),
            "minutes": round(r["provenance"]["seconds"] / 60, 1),
        }
        for name, r in records.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")
