"""How many pictures of `pins` repeat another, and how many of them cleaning finds: a record from the real photos.

    python -m maskfr_utils.measure.near_copies    # writes book/results/sources/pins.json

Needs `pins` and `pins_near_duplicates` below MASKFR_DATA: tars of aligned faces; beside the first `index.csv`, and
`excluded.csv.gz`, a line for each picture that was left out when the set was made, with the reason.
"""

import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

from maskfr_utils import splits
from maskfr_utils.faces.sources import open_source
from maskfr_utils.measure import record
from maskfr_utils.paths import find_data, results_dir
from maskfr_utils.records import write_json

RECORD = results_dir() / "sources" / "pins.json"
# Name -> the part of the face that thumbnails show, and the correlation above which two show one photo.
WAYS = {"middle": (splits.FACE_PART, splits.CORRELATION), "whole": (slice(None), 0.95)}
REASONS = {
    "dup_exact": "byte_copies",
    "fail": "no_face_found",
    "dup_near": "near_duplicates_in_an_identity",
    "dup_cross_identity": "under_two_names",
}


def counts(folder: Path) -> dict[str, int]:
    """What became of the pictures as they were published, until they were aligned faces, each once."""
    index = record.read_list(folder / "index.csv", ["identity", "core", "label_suspect"])
    excluded = record.read_list(folder / "excluded.csv.gz", ["reason"])
    reasons = excluded["reason"].str.partition(":")[0].value_counts()
    if unknown := set(reasons.index) - REASONS.keys():
        raise ValueError(f"{folder / 'excluded.csv.gz'}: unknown reasons {', '.join(sorted(unknown))}")
    left_out = {name: int(reasons.get(reason, 0)) for reason, name in REASONS.items()}
    checked = index["core"] == 1
    return {
        "identities": int(index["identity"].nunique()),
        "pictures": len(index) + len(excluded),
        **left_out,
        "aligned": len(index) + left_out["near_duplicates_in_an_identity"] + left_out["under_two_names"],
        "kept": len(index),
        "labels_checked": int(checked.sum()),
        "labels_suspect": int(index["label_suspect"][checked].sum()),
    }


def cleaning(clean: dict[str, np.ndarray], known: dict[str, np.ndarray]) -> dict:
    """Cleans the pictures of each person together with known copies of them.

    Args:
        clean: person -> pictures (n, 112, 112, 3) uint8 without known copies.
        known: person -> copies of some of these.

    Returns:
        `pictures`, `known` copies, `pictures_per_identity` that cleaning keeps of `clean`, in the order of the names;
        and for each of `WAYS` how many of the known copies it has `found`, and how many `others` it takes for copies.
    """
    none = np.zeros((0, 112, 112, 3), np.uint8)
    out = {"pictures": sum(map(len, clean.values())), "known": sum(map(len, known.values()))}
    for way, (part, threshold) in WAYS.items():
        found, kept = 0, []
        for person, pictures in sorted(clean.items()):
            copies = known.get(person, none)
            repeats = splits.near_duplicates(np.concatenate([pictures, copies]), threshold, part) >= 0
            found += int(repeats[len(pictures) :].sum())
            kept.append(int((~repeats[: len(pictures)]).sum()))
        out[way] = {"threshold": threshold, "found": found, "others": out["pictures"] - sum(kept)}
        if way == "middle":
            out["pictures_per_identity"] = kept
    return out


def read(tar: Path) -> dict[str, np.ndarray]:
    """Pictures of a tar by person, each person's in the order of their names."""
    people = defaultdict(list)
    for face in open_source(tar):
        people[face.identity].append(face.image)
    return {person: np.stack(images) for person, images in people.items()}


def measure(out: Path) -> None:
    """Measures into the record `out`; raises as `paths.find_data`, `open_source` and `counts`."""
    started = time.perf_counter()
    tars = [find_data(f"{name}/{name}_112.tar") for name in ("pins", "pins_near_duplicates")]
    found = {
        "name": "Pins Face Recognition",
        "published": "Kaggle, hereisburak/pins-face-recognition, folder 105_classes_pins_dataset",
        **counts(tars[0].parent),
        "labels_checked_with": "dlib 68-point predictor and dlib face descriptor",
        "cleaning": cleaning(*map(read, tars)),
    }
    made = record.made(started, data="+".join(open_source(tar).fingerprint for tar in tars))
    write_json(out, found | {"provenance": made})
    print(found)


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    args = record.parser("near_copies", __doc__, RECORD).parse_args(argv)
    return record.status("near_copies", lambda: measure(args.out))


if __name__ == "__main__":
    sys.exit(main())
