"""Records as a run leaves them, with made-up results: what the tests of the study's tables stand on."""

import zlib
from pathlib import Path

import numpy as np

from maskfr_utils import records
from maskfr_utils.study import plan
from maskfr_utils.study.run import Run

PEOPLE, EACH = 20, 10


def record(
    run: Run,
    masked: float = 0.7,
    unmasked: float = 0.9,
    people: int = PEOPLE,
    each: int = EACH,
    behaviour: dict | None = None,
) -> dict:
    """A record of `run` that is right on about these shares of the photos; easy photos are easy for every run.

    Its fingerprint is `behaviour`, by default that of the present code, which takes seconds to compute for each network.
    """
    labels = np.repeat(np.arange(people), each)
    photos = {
        "label": labels.tolist(),
        "mask": np.resize(["cloth", "surgical", "n95"], len(labels)).tolist(),
        "yaw": np.resize(np.arange(-44, 45, 7), len(labels)).tolist(),
    }
    scores, hard = {}, np.random.default_rng(0).random(len(labels))
    rng = np.random.default_rng(zlib.crc32(run.name.encode()))
    for tested, share in (("masked", masked), ("unmasked", unmasked)):
        right = 0.8 * hard + 0.2 * rng.random(len(labels)) < share
        predictions = np.where(right, labels, (labels + rng.integers(1, people, len(labels))) % people)
        photos |= {tested: predictions.tolist(), f"{tested}_rank": np.where(right, 1, 2 + rng.integers(5)).tolist()}
        wrong = int((~right).sum())
        scores[tested] = {
            "accuracy": 1 - wrong / len(labels),
            "accuracy_low": 0.99 * (1 - wrong / len(labels)),
            "accuracy_high": 1.0,
            "macro": 1 - wrong / len(labels),
            "report_formula": 1 - 2 * wrong / len(labels) / people,
            "tp": len(labels) - wrong,
            "fp": wrong,
            "fn": wrong,
            "tn": people * len(labels) - len(labels) - wrong,
            "photos": len(labels),
        }
    return {
        "run": run.name,
        "params": run.params(),
        "metrics": scores,
        "throughput": {"train_images_per_second": 50.0, "steps": 372},
        "history": [{"epoch": 1, "train_accuracy": masked, "masked": masked, "unmasked": unmasked}],
        "photos": photos,
        "provenance": {
            "data": f"faces of {run.scale}",
            "faces": [100.0, 120.0, 80.5],
            "fingerprint": run.behaviour() if behaviour is None else behaviour,
            "train_photos": 1000,
            "identities": people,
            "device": "a CPU",
            "threads": 1,
            "precision": "32-true",
            "seconds": 90.0,
        },
    }


SHARES = {"resnet50": 0.5, "iresnet50": 0.6, "iresnet100": 0.6, "ressanet50": 0.62, "ressanet100": 0.8}


def demo(folder: Path) -> Path:
    """The final runs of the demo scale, in `folder`; none of the other scales."""
    for run in plan.runs(["table_1", "table_2"], ["demo"]):
        share = SHARES[run.model] - 0.1 * (run.condition == "unmasked")
        made = record(run, masked=share, unmasked=share + 0.2, behaviour={})
        records.write_json(run.record_path(folder), made)
    return folder
