"""Photos on their side or head, with no EXIF to tell: put upright, left out and counted, or taken the wrong way up?

    python -m maskfr_utils.measure.turned

Each whole photo (`raw_photos`) in which a face is found as it stands is turned by 90, 180 and 270 degrees. *Right*: it is turned
back, and a face is found there again. *Left out*: no face is found, or it is said that which way is up cannot be told. *Wrong*:
another way up is taken, in silence.
"""

import sys
import tarfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from maskfr_utils import paths
from maskfr_utils.faces import align
from maskfr_utils.faces.pictures import PictureError, read_picture
from maskfr_utils.measure import record
from maskfr_utils.records import write_json

RECORD = Path("masks") / "turned.json"
TURNS = {90: 1, 180: 2, 270: 3}  # degrees -> quarter turns of np.rot90
OUTCOMES = ("right", "left out", "wrong")


def outcome(photo: np.ndarray, quarter: int) -> str:
    """What becomes of an upright photo (height, width, 3) uint8 that is turned by some quarters.

    Args:
        photo: in which a face is found.
        quarter: how many, of `np.rot90`.
    """
    try:
        back, boxes = align.detect_upright(np.ascontiguousarray(np.rot90(photo, quarter)))
    except PictureError:
        return "left out"
    if not boxes:
        return "left out"
    return "right" if (quarter + back) % 4 == 0 else "wrong"


def count(folder: Path, every: int = 1) -> tuple[dict[str, dict[str, int]], int]:
    """Outcomes by turn, and the number of photos that were turned.

    Args:
        folder: that holds `raw_photos.tar` and `index.csv`.
        every: take each so many-th photo only.
    """
    rows = record.read_list(folder / "index.csv", ["file"], as_text=True)["file"].to_list()[::every]
    counts, photos = {f"{degrees} degrees": Counter(dict.fromkeys(OUTCOMES, 0)) for degrees in TURNS}, 0
    with tarfile.open(folder / "raw_photos.tar") as archive:
        for name in tqdm(rows, unit="photo"):
            try:
                photo = read_picture(archive.extractfile(name).read())
            except PictureError:
                continue
            if not align.detect(photo):
                continue
            photos += 1
            for degrees, quarter in TURNS.items():
                counts[f"{degrees} degrees"][outcome(photo, quarter)] += 1
    return {turn: dict(found) for turn, found in counts.items()}, photos


def measure(every: int = 1) -> dict:
    """The record; errors are those of the readers."""
    started = time.perf_counter()
    counts, photos = count(paths.find_data("raw_photos"), every)
    total = {name: sum(found[name] for found in counts.values()) for name in OUTCOMES}
    return {
        "photos": photos,
        "every": every,
        "by_turn": counts,
        "all": total,
        "provenance": record.made(started, data="raw_photos"),
    }


def table(made: dict) -> pd.DataFrame:
    """Photos by turn and outcome."""
    return pd.DataFrame.from_dict(made["by_turn"], orient="index")


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = record.parser("turned", __doc__, paths.results_dir() / RECORD)
    parser.add_argument("--every", type=int, default=1, help="take each so many-th photo only (default: all)")
    args = parser.parse_args(argv)

    def run() -> None:
        made = measure(max(1, args.every))
        write_json(args.out, made)
        print(made["photos"], made["by_turn"], args.out, sep="\n")

    return record.status("turned", run)


if __name__ == "__main__":
    sys.exit(main())
