"""MFR2 (Anwar and Raychowdhury 2020) as its authors hand it out: a folder a person, `mfr2_labels.txt` and `pairs.txt`.

A line of `mfr2_labels.txt` is person, number and what the person wears (`no-mask`, or a mask's type and colour); one of
`pairs.txt` is person and two numbers, or person and number of one and of another person. Numbers count a person's pictures
from 1: `<person>/<person>_0001.png`, or the pictures of the folder in order of their names.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maskfr_utils.faces.sources import Face, open_source

LABELS, PAIRS = "mfr2_labels.txt", "pairs.txt"


@dataclass(frozen=True)
class PublishedMfr2:
    """MFR2's faces.

    Attributes:
        faces: n, aligned.
        labels: of each, what is worn; "" where the list does not say.
        pairs: (m, 2) places of the faces that are compared; pairs with a picture in which no face was found are left out.
        skipped: pictures and pairs left out, by reason.
    """

    faces: list[Face]
    labels: list[str]
    pairs: np.ndarray
    skipped: Counter[str]


def published_folder(folder: Path) -> Path | None:
    """Where below a folder MFR2 lies as it is handed out, if it does."""
    return next((path for path in (folder, folder / "mfr2") if (path / LABELS).is_file()), None)


def read_published(folder: Path) -> PublishedMfr2:
    """Reads MFR2 as it is handed out.

    Raises:
        FileNotFoundError: there is none.
        ValueError: a list that cannot be understood, or names a picture that is not there; the message names the line.
    """
    found = published_folder(folder)
    if found is None:
        raise FileNotFoundError(f"no MFR2 in {folder}: expected {LABELS}, {PAIRS} and a folder for each person")
    source = open_source(found)
    faces = list(source)
    numbers = _numbers(found)
    place, skipped = {face.name: i for i, face in enumerate(faces)}, +source.skipped
    skipped.pop("not a picture, by its name", None)  # the two lists
    labels = [""] * len(faces)
    for line, (person, number, label) in _lines(found / LABELS, (3,)):
        name = _picture(numbers, person, number, found / LABELS, line)
        if name in place:
            labels[place[name]] = label
    pairs = []
    for line, parts in _lines(found / PAIRS, (3, 4)):
        sides = [parts[:2], [parts[0], parts[2]] if len(parts) == 3 else parts[2:]]
        names = [_picture(numbers, *side, found / PAIRS, line) for side in sides]
        if all(name in place for name in names):
            pairs.append([place[name] for name in names])
        else:
            skipped["pair with a picture in which no face was found"] += 1
    return PublishedMfr2(faces, labels, np.array(pairs, int).reshape(-1, 2), skipped)


def _numbers(folder: Path) -> dict[tuple[str, int], str]:
    """(person, number) -> `<person>/<picture>`: the number at the end of a name, else its place in the folder."""
    numbers = {}
    for person in sorted(path for path in folder.iterdir() if path.is_dir()):
        names = sorted(path.name for path in person.iterdir() if not path.name.startswith("."))
        for place, name in enumerate(names, 1):
            numbered = re.fullmatch(re.escape(person.name) + r"_0*(\d+)\.\w+", name)
            numbers[person.name, int(numbered[1]) if numbered else place] = f"{person.name}/{name}"
    return numbers


def _picture(numbers: dict[tuple[str, int], str], person: str, number: str, path: Path, line: int) -> str:
    name = numbers.get((person, int(number))) if number.isdecimal() and len(number) < 10 else None
    if name is None:
        raise ValueError(f"{path}, line {line}: no picture {number[:20]!r} of {person[:60]!r} in {path.parent}")
    return name


def _lines(path: Path, lengths: tuple[int, ...]) -> Iterator[tuple[int, list[str]]]:
    """The numbers and the parts of all lines of so many parts; a count at the top and empty lines are passed over."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no text in UTF-8") from None
    for number, line in enumerate(text.splitlines(), 1):
        parts = (
            [part.strip() for part in re.split(r"[\t,]", line.strip())] if "\t" in line or "," in line else line.split()
        )
        if not parts or (number == 1 and all(part.isdecimal() for part in parts)):
            continue
        if len(parts) not in lengths:
            raise ValueError(f"{path}, line {number}: {len(parts)} parts, expected {' or '.join(map(str, lengths))}")
        yield number, parts
