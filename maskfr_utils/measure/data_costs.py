"""What pictures cost: records decoded, store read, JPEGs' room and exactness, a million names: `python -m maskfr_utils.measure.data_costs`.

Rates are by processor time, of one core, so that what else the machine does hardly counts.
"""

import sys
import tempfile
import time
from array import array
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from maskfr_utils import splits, store
from maskfr_utils.batches import EpochBatches
from maskfr_utils.faces import archives, recordio, sources
from maskfr_utils.masks import mask_faces
from maskfr_utils.measure import record as made_by
from maskfr_utils.paths import results_dir
from maskfr_utils.peaks import in_fresh_process, peak
from maskfr_utils.records import write_json
from maskfr_utils.rendered import render_faces

OUT = results_dir() / "speed/data.json"
PEOPLE, EACH = 8, 4  # rendered faces, which come again and again
PICTURES, BATCH = 4_000, 128
NAMES = 1_000_000
A_PERSON = 60  # pictures, as in MS1M
BLOCK = 12_000  # pictures that are written at a time


def rate(work: Callable[[], int], repeats: int = 3) -> float:
    """Pictures a second of processor time: the best of some repeats of `work`, which returns how many it has seen."""
    best = 0.0
    for _ in range(repeats):
        start = time.process_time()
        best = max(best, work() / (time.process_time() - start))
    return best


def decoding(faces: np.ndarray, folder: Path, count: int) -> dict[str, float]:
    """Records a second of a `train.rec`, from the file to the face (112, 112, 3)."""
    jpegs = [store.encode(face) for face in faces]
    samples = ((f"{i // A_PERSON}", f"{i}", jpeg) for i, jpeg in enumerate(islice(cycle(jpegs), count)))
    recordio.write_set(folder, samples)
    each = rate(lambda: sum(1 for _ in sources.open_source(folder)))
    return {"records_a_second": round(each), "bytes_a_record": round(np.mean([len(jpeg) for jpeg in jpegs]))}


def reading(faces: np.ndarray, masked: np.ndarray, folder: Path, encoding: str, count: int) -> dict[str, float]:
    """Pictures a second of random batches of a store, and bytes a picture of its file."""
    path = folder / f"{encoding}.h5"
    rows = np.arange(count) % len(faces)
    with store.FaceWriter(path, encoding=encoding) as writer:
        for some in np.array_split(rows, -(-count // 500)):
            writer.append(faces[some], masked[some], [f"{i // EACH}" for i in some])
    opened, order = store.FaceStore(path), np.random.default_rng(0).permutation(count)

    def read() -> int:
        for start in range(0, count - BATCH + 1, BATCH):
            opened.batch(order[start : start + BATCH], masked=start // BATCH % 2 == 1)
        return count // BATCH * BATCH

    found = {"pictures_a_second": round(rate(read)), "bytes_a_picture": round(path.stat().st_size / (2 * count))}
    plain, twins = (opened.batch(range(len(faces)), masked=m)[0].astype(int) for m in (False, True))
    off = np.abs(np.concatenate([plain - faces, twins - masked]))
    return found | {"grey_levels_off": round(float(off.mean()), 3), "at_most": int(off.max())}


class Promised(archives.Folder):
    """A folder of so many pictures that need not be there."""

    count = 0

    def _members(self):
        for i in range(self.count):
            name = f"m.{i // A_PERSON:06d}/{i:08d}.jpg"
            yield archives.Entry(name, sources.HASHED_BYTES, name)  # too large to be read for a fingerprint


def noise(indices: np.ndarray) -> np.ndarray:
    """Pictures (n, 112, 112, 3) none of which is like another."""
    small = np.random.default_rng(indices).integers(0, 256, (len(indices), 14, 14, 3), np.uint8)
    return small.repeat(8, 1).repeat(8, 2)


def names_at_peak(folder: str, count: int) -> dict[str, float]:
    """Bytes at the peak, beyond those at the start, of so many pictures' names and labels: listed, split and written; then read."""
    before = peak()
    archive = Promised(Path(folder))
    archive.count = count
    source = sources.Source(archive)
    listed = peak() - before
    path = Path(folder) / "names.h5"
    people, names, hashes = [], [], array("Q")
    with store.FaceWriter(path, encoding="jpeg") as writer:
        for start in range(0, count, BLOCK):
            some = [f"m.{i // A_PERSON:06d}/{i:08d}.jpg" for i in range(start, min(count, start + BLOCK))]
            identities = [sys.intern(name.split("/")[0]) for name in some]
            writer.append([b"x"] * len(some), [b"x"] * len(some), identities, some)
            people += identities
            names += some
            hashes.extend(range(start, start + len(some)))
        result = splits.make_splits(people, names, np.ones(len(names), bool), hashes, noise)
        writer.assign(result.labels, result.split, result.identities, result.duplicate_of)
    prepared, total = peak() - before, source.total
    del source, archive, people, names, hashes, result
    return {
        "pictures": total,
        "listed": listed,
        "prepared": prepared,
        "read": in_fresh_process(read_at_peak, str(path)),
    }


def read_at_peak(path: str) -> int:
    """Bytes at the peak, beyond those at the start, that a store's names and labels and the order of an epoch take."""
    before = peak()
    opened = store.FaceStore(path)
    opened.sources  # noqa: B018
    for _ in EpochBatches(opened.indices(store.TRAIN), BATCH, 0):
        pass
    return peak() - before


def measure(out: Path, pictures: int = PICTURES, names: int = NAMES) -> None:
    """Writes the record."""
    started = time.perf_counter()
    people = render_faces(PEOPLE, EACH, seed=0)
    faces = people.images
    masked = mask_faces(faces, people.landmarks, seed=0).images
    with tempfile.TemporaryDirectory(prefix="maskfr-data-") as folder:
        found = {"recordio": decoding(faces, Path(folder) / "packed", pictures)}
        for encoding in store.ENCODINGS:
            found[encoding] = reading(faces, masked, Path(folder), encoding, pictures)
        found["names"] = in_fresh_process(names_at_peak, folder, names)
    for name, each in found.items():
        print(name, each)
    settings = {"batch": BATCH, "faces": "rendered"}
    write_json(out, settings | found | {"provenance": made_by.made(started, data="rendered faces")})


def main(argv: list[str] | None = None) -> int:
    """The command."""
    arguments = made_by.parser("data_costs", __doc__, OUT).parse_args(argv)
    return made_by.status("data_costs", lambda: measure(arguments.out))


if __name__ == "__main__":
    sys.exit(main())
