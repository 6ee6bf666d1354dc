"""Several sets of people as one to train on: `python -m maskfr_utils.merged OUT SET SET ...`.

Each set is what `faces.sources` reads, such as `pins/pins_112.tar`. People of one name are one person, names written as
data sets write them, and as `identity_overlap.csv` beside the sets says where it is. So are people of two sets who share
photos: the same picture twice under two names may be a slip, from two pictures on it is a person with two names. Copies
that are left are for `prepare` to clean out, as in every set.
"""

import argparse
import csv
import io
import sys
import tarfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from maskfr_utils import paths, splits
from maskfr_utils.faces.archives import LANDMARKS
from maskfr_utils.faces.people import OVERLAP, plain, same_people
from maskfr_utils.faces.pictures import PictureError, suffix_of
from maskfr_utils.faces.sources import open_source, to_face
from maskfr_utils.messages import brief, start_command

TAR, INDEX = "faces.tar", "index.csv"
SHARED = 2  # photos that two people of two sets must share to be one
LEAST = 20  # photos of a person who is taken


@dataclass(frozen=True)
class Picture:
    """A picture of a set: its undecoded bytes, where it is from and who is said to be on it."""

    source: str
    name: str
    person: str
    data: bytes
    landmarks: np.ndarray | None


@dataclass(frozen=True)
class Merged:
    """What became of the sets.

    Attributes:
        path: of the tar.
        people: their number.
        pictures: theirs by set.
        by_name: people of several sets whom their name showed to be one.
        by_likeness: those whom only shared photos did; None where there are too many pictures to compare each with each.
        skipped: pictures left out, by reason.
    """

    path: Path
    people: int
    pictures: Counter[str]
    by_name: list[str]
    by_likeness: list[tuple[str, ...]] | None
    skipped: Counter[str]


def merge(out: str | Path, sets: Sequence[str | Path], *, least: int = LEAST, overlap: Path | None = None) -> Merged:
    """Writes one set of the people of several, of whom there are enough photos in all.

    Args:
        out: folder for `faces.tar` (`<person>/<set>-<number>`), `landmarks68.npz` and `index.csv`, where each picture is from.
        sets: folders or archives, see `sources.open_source`; below `paths.data_dir()` where not found as given.
        least: people with fewer photos are left out.
        overlap: the list of people with several names; default: `identity_overlap.csv` in `paths.data_dir()`, if it is there.

    Raises:
        FileNotFoundError: no such set, or no such list.
        ValueError: nobody has enough photos, or as `open_source`.
    """
    if least < 1:
        raise ValueError(f"least {least}: at least 1 photo")
    if overlap is not None and not overlap.is_file():
        raise FileNotFoundError(f"no list of people at {overlap}")
    key, out = same_people(overlap or paths.data_dir() / OVERLAP), Path(out)
    pictures, small, skipped = _read(sets)
    keys = np.array([_numbered(picture) or key(picture.person) for picture in pictures])
    origin = np.array([picture.source for picture in pictures])
    few = len(pictures) <= splits.CROSS_LIMIT
    person, by_likeness = _by_likeness(pictures, small, keys, origin) if few else (keys, None)
    kept = np.flatnonzero(_often(person, least))
    skipped[f"of people with fewer than {least} photos"] += len(pictures) - len(kept)
    if not len(kept):
        raise ValueError(f"nobody has {least} photos in {', '.join(map(str, sets))}: lower --least")
    chosen, who = [pictures[i] for i in kept], person[kept]
    by_name = sorted({k for k in set(keys[kept]) if len(set(origin[keys == k])) > 1})
    _write(out, chosen, who)
    return Merged(
        out / TAR, len(set(who)), Counter(picture.source for picture in chosen), by_name, by_likeness, +skipped
    )


def _numbered(picture: Picture) -> str:
    """The key of a person whom a set tells apart by a number only: it names nobody elsewhere."""
    return f"{picture.source}-{picture.person}" if plain(picture.person).isdecimal() else ""


def _often(values: np.ndarray, least: int) -> np.ndarray:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return counts[place] >= least


def _read(sets: Sequence[str | Path]) -> tuple[list[Picture], np.ndarray, Counter[str]]:
    """All pictures, their thumbnails and what was skipped; a set is known by the name of its file, or of its folder."""
    pictures, small, skipped = [], [], Counter()
    for path in sets:
        source = open_source(given := paths.find_data(path))
        name = given.name.split(".")[0]
        if name in {picture.source for picture in pictures}:
            raise ValueError(f"two sets are called {name!r}: rename one, or name each once")
        for file, data in source.pictures():
            landmarks = source.landmarks.get(file)
            try:
                face = to_face(file, data, landmarks)
            except PictureError as error:
                skipped[str(error)] += 1
                continue
            small.append(splits.thumbnails(face.image[None])[0])
            pictures.append(Picture(name, file, face.identity, data, landmarks))
        skipped.update(source.skipped)
    if not pictures:
        raise ValueError(f"no usable picture in {', '.join(map(str, sets))}")
    return pictures, np.array(small), skipped


def _by_likeness(
    pictures: Sequence[Picture], small: np.ndarray, keys: np.ndarray, origin: np.ndarray
) -> tuple[np.ndarray, list[tuple[str, ...]]]:
    """Who is on each picture once people who share photos are one, and the keys of those who became one."""
    names, person = np.unique(keys, return_inverse=True)

    def read(places: np.ndarray) -> np.ndarray:
        return np.array([to_face(pictures[i].name, pictures[i].data).image for i in places])

    pairs = splits.copies_across_people(small, person, read)
    pairs = pairs[origin[pairs[:, 0]] != origin[pairs[:, 1]]]
    photos: dict[tuple[int, int], tuple[set[int], set[int]]] = {}
    for one, other in pairs.tolist():
        (p, one), (q, other) = sorted([(int(person[one]), one), (int(person[other]), other)])
        ours, theirs = photos.setdefault((p, q), (set(), set()))
        ours.add(one)
        theirs.add(other)
    # One photo that was saved several times is one slip: either person must have so many.
    ends = np.array([pair for pair, both in photos.items() if min(map(len, both)) >= SHARED], int).reshape(-1, 2)
    graph = coo_array((np.ones(len(ends), bool), tuple(ends.T)), (len(names), len(names)))
    group = connected_components(graph, directed=False)[1]
    first = {g: names[group == g][0] for g in set(group[ends.ravel()].tolist())}
    one = [tuple(names[group == g].tolist()) for g in first]
    return np.array([first.get(group[p], names[p]) for p in person]), one


def _write(out: Path, pictures: Sequence[Picture], person: np.ndarray) -> None:
    """The tar, by person, its landmarks and where each picture is from; at no moment a tar beside another one's landmarks."""
    rows, files, points = [], [], []
    numbers: Counter[tuple[str, str]] = Counter()
    unknown = np.full((68, 2), np.nan, np.float32)
    with (
        paths.replacing(out / INDEX) as index,
        paths.replacing(out / LANDMARKS) as landmarks,
        paths.replacing(out / TAR) as packed,  # gets its name first
    ):
        with tarfile.open(packed, "w") as tar:
            for i in np.argsort(person, kind="stable"):
                picture, who = pictures[i], str(person[i])
                number = numbers[who, picture.source]
                numbers[who, picture.source] += 1
                file = f"{who}/{picture.source}-{number:04d}{suffix_of(picture.name) or '.jpg'}"
                member = tarfile.TarInfo(file)
                member.size = len(picture.data)
                tar.addfile(member, io.BytesIO(picture.data))
                rows.append((file, who, picture.source, picture.name))
                files.append(file)
                points.append(unknown if picture.landmarks is None else picture.landmarks)
        np.savez(landmarks, files=np.array(files), points=np.array(points, np.float32))
        with index.open("w", encoding="utf-8", newline="") as table:
            csv.writer(table).writerows([("file", "identity", "set", "original"), *rows])
        for old in (LANDMARKS, INDEX):  # of an earlier merge
            (out / old).unlink(missing_ok=True)


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m maskfr_utils.merged", description=__doc__.strip().splitlines()[0].split(":")[0]
    )
    parser.add_argument("out", type=Path, help="folder to write the merged set into")
    parser.add_argument("sets", nargs="+", help="folders or archives of <person>/<picture>")
    parser.add_argument("--least", type=int, default=LEAST, help=f"photos of a person who is taken (default: {LEAST})")
    parser.add_argument(
        "--overlap", type=Path, help=f"list of people with several names (default: {OVERLAP}, if there)"
    )
    start_command()
    args = parser.parse_args(argv)
    try:
        found = merge(args.out, args.sets, least=args.least, overlap=args.overlap)
    except (OSError, ValueError) as error:
        print(f"maskfr_utils.merged: {brief(error)}", file=sys.stderr)
        return 1
    alike = "too many pictures to look for shared photos"
    if found.by_likeness is not None:
        alike = f"{len(found.by_likeness)} by likeness"
        alike += "".join(f", {' = '.join(names)}" for names in found.by_likeness[:20])
    for text in (
        f"{found.people} people, " + ", ".join(f"{n:,} pictures of {name}" for name, n in found.pictures.items()),
        f"{len(found.by_name)} people in several sets by name; {alike}",
        "left out: " + (", ".join(f"{n:,} {reason}" for reason, n in found.skipped.items()) or "nothing"),
        str(found.path),
    ):
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
