"""Records: the JSON a run leaves, with all that tells what made it; and the numbers published before us."""

import json
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from maskfr_utils.paths import ROOT, replacing

# The student report, as fractions: IResNet-50 at batch 512, trained and tested on the same kind of faces; the networks on
# masked faces, with their batch sizes. Of Figure 9 only the best batch size is known: the rest is in the picture alone.
PUBLISHED_TABLE_1 = {"masked": 0.8989, "unmasked": 0.9494}
PUBLISHED_TABLE_2 = {
    "resnet50": (0.8962, 512),
    "iresnet50": (0.8989, 512),
    "iresnet100": (0.8907, 512),
    "ressanet50": (0.9017, 512),
    "ressanet100": (0.9208, 256),
}
PUBLISHED_BEST_BATCH = 512
# It tested on a random 10 % of about 100,000 photos and as many mirror images: on so many different photos.
PUBLISHED_TEST_PHOTOS = round(100_000 * (1 - 0.9**2))
NAMES = {
    "resnet50": "ResNet-50",
    "iresnet50": "IResNet-50",
    "iresnet100": "IResNet-100",
    "ressanet50": "ResSaNet-50",
    "ressanet100": "ResSaNet-100",
}

SAMPLE_TOLERANCE = 0.3  # grey levels


def write_json(path: Path, content: dict) -> None:
    """Writes `content` whole or not at all: to a temporary name, then renamed; a list of plain values is one line."""
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    text = re.sub(r"\[[^\[\]{}]*\]", lambda match: re.sub(r"\s*\n\s*", " ", match[0]), text)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_record(path: str | Path) -> dict:
    """A run's record.

    Raises:
        ValueError: the file is no record; the message names it.
    """
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
        record["params"]["model"], record["metrics"]["masked"]["accuracy"], record["provenance"]["data"]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no record of a run ({error!r}): run the training again") from None
    return record


def face_sample(masked: np.ndarray, unmasked: np.ndarray) -> list[float]:
    """A few numbers that tell whether two preparations show the same faces and masks: mean grey values.

    They are compared with a tolerance (`SAMPLE_TOLERANCE`): machines may differ in the last bit of a pixel.

    Args:
        masked, unmasked: (n, 112, 112, 3) uint8, the same photos' twins.
    """
    return [round(float(face.mean()), 2) for twin in (masked, unmasked) for face in twin]


def code_revision() -> str:
    """The git commit of the checkout, with `+changes` if it was edited since; `unknown` outside a checkout."""

    def git(*args: str) -> str:
        return subprocess.run(["git", "-C", ROOT, *args], capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + ("+changes" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def provenance(*, device: str, data: str, seconds: float, **more: object) -> dict:
    """What made a result: versions, device, data, and what else is given (the code's revision, its fingerprint).

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
