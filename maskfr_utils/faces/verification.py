"""The field's verification sets: pairs of pictures to tell apart (`lfw.bin`, `cfp_fp.bin`, `agedb_30.bin`; LFW's `pairs.txt`)."""

import pickle
import pickletools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from maskfr_utils.faces.align import FACE_SIZE
from maskfr_utils.faces.pictures import MAX_BYTES, TOO_LONG, PictureError
from maskfr_utils.faces.sources import to_face
from maskfr_utils.messages import brief
from maskfr_utils.paths import is_file, replacing

FACE_BYTES = FACE_SIZE**2 * 3
MOST = 100  # times its size that a file's faces may take; JPEGs take a tenth of them, and some are in several pairs
PAIRS_BYTES = 2**26  # of pairs.txt; LFW's has 160 KB


@dataclass(frozen=True)
class VerificationPairs:
    """Pairs to tell apart: `images` (P, 2, 112, 112, 3) uint8, `same` (P,) bool, pictures `skipped` by reason."""

    images: np.ndarray
    same: np.ndarray
    skipped: Counter


class _Unpickler(pickle.Unpickler):
    """Builds lists, tuples, bytes and bools, and calls nothing: a pickle may otherwise run any program."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("_codecs", "encode"):  # how old pickles spell bytes
            return _encode
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _check_memo(file: IO[bytes]) -> None:
    """Refuses a pickle that remembers values under numbers far beyond their count (ValueError): memory goes by the highest.

    The file is at its start before and after.
    """
    for count, (operation, number, _) in enumerate(pickletools.genops(file)):
        if operation.name.endswith("PUT") and int(number) > count + 1:
            raise ValueError(f"it remembers a value as number {number}")
    file.seek(0)


def _encode(text: str, encoding: str = "latin1") -> bytes:
    return text.encode("latin1")


def read_verification_bin(path: str | Path) -> VerificationPairs:
    """Read a verification set (`lfw.bin`, `cfp_fp.bin`, `agedb_30.bin`) without running what a pickle may hold.

    The file is a pickle of a list of 2 P encoded pictures, of which 2 i and 2 i + 1 are a pair, and P bools. A pair with a
    picture that cannot be used is left out and counted.

    Raises:
        ValueError: the file is something else, or asks for code to run.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            _check_memo(file)
            pictures, same = _Unpickler(file, encoding="bytes").load()
        same = [bool(flag) for flag in same]
        if not isinstance(pictures, list | tuple) or not all(isinstance(p, bytes | bytearray) for p in pictures):
            raise TypeError("no list of pictures as bytes")
        if len(pictures) * FACE_BYTES > MOST * path.stat().st_size:  # the same few over and over
            raise ValueError(f"its {len(pictures):,} faces would take more than {MOST} times its size")
    except FileNotFoundError:
        raise
    except Exception as error:  # damaged pickles raise nearly anything
        raise ValueError(
            f"{path} is no verification set (a pickle of pictures and bools): {brief(error, 120)}"
        ) from error
    if len(pictures) != 2 * len(same):
        raise ValueError(f"{path} holds {len(pictures)} pictures for {len(same)} pairs")
    return decode_pairs(pictures, same)


def write_verification_bin(path: str | Path, pictures: Sequence[bytes], same: Sequence[bool]) -> None:
    """Writes a verification set as the field's tools read it.

    Args:
        path: the file.
        pictures: 2 P encoded pictures; 2 i and 2 i + 1 are a pair.
        same: P bools, whether a pair shows one person.

    Raises:
        ValueError: not two pictures a pair.
        OSError: it cannot be written.
    """
    if len(pictures) != 2 * len(same):
        raise ValueError(f"{len(pictures)} pictures for {len(same)} pairs: two each")
    content = [bytes(picture) for picture in pictures], [bool(flag) for flag in same]
    with replacing(Path(path)) as temporary, temporary.open("wb") as file:
        pickle.dump(content, file, protocol=4)


def read_lfw_pairs(folder: str | Path, pairs: str | Path | None = None) -> tuple[list[bytes], list[bool]]:
    """The pairs of LFW's protocol: `<name>/<name>_0001.jpg` in a folder, paired by a text file.

    A line holds a name and two numbers (one person), or a name, a number, a name and a number (two people), parted by
    tabs; one of one or two numbers (the count of folds and of pairs) comes first. Names lead to no other folder.

    Args:
        folder: of the people.
        pairs: the text file; by default `pairs.txt` in the folder.

    Returns:
        2 P encoded pictures, and P bools; to be decoded by `decode_pairs`, or written by `write_verification_bin`.

    Raises:
        FileNotFoundError: no such list, or a picture that it names is missing.
        ValueError: a line is something else; it names the first.
    """
    folder = Path(folder)
    path = Path(pairs) if pairs is not None else folder / "pairs.txt"
    if not path.is_file():
        raise FileNotFoundError(f"no list of pairs at {path}")
    if path.stat().st_size > PAIRS_BYTES:
        raise ValueError(f"{path} is no list of pairs: above {PAIRS_BYTES:,} bytes")
    picture = cache(partial(_lfw_picture, folder))  # that of several pairs is read and kept once
    pictures, same = [], []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        match line.split("\t") if "\t" in line else line.split():
            case [] | [_] | [_, _] if number == 1 or not line.strip():
                continue
            case [name, first, second] if first.isdecimal() and second.strip().isdecimal():
                people, is_same = [(name, first), (name, second)], True
            case [name, first, other, second] if first.isdecimal() and second.strip().isdecimal():
                people, is_same = [(name, first), (other, second)], False
            case _:
                raise ValueError(
                    f"{path}, line {number} is no pair (name, number, number, or name, number twice): {brief(line, 80)}"
                )
        pictures += [picture(name, number) for name, number in people]
        same.append(is_same)
    if not same:
        raise ValueError(f"{path} holds no pair")
    return pictures, same


def _lfw_picture(folder: Path, name: str, number: str) -> bytes:
    name = name.strip()
    if "/" in name or "\\" in name or name.startswith("."):
        raise ValueError(f"{brief(name, 80)!r} is no name of a person's folder in {folder}")
    stem = folder / name / f"{name}_{number.strip().lstrip('0'):0>4}"
    found = next(
        (path for suffix in (".jpg", ".png", ".jpeg") if is_file(path := stem.with_name(stem.name + suffix))), None
    )
    if found is None:
        raise FileNotFoundError(
            f"no picture {brief(stem.name, 80)}.jpg in {folder}/{brief(name, 80)}, which the pairs name"
        )
    if found.stat().st_size > MAX_BYTES:
        raise ValueError(f"{found}: {TOO_LONG}")
    return found.read_bytes()


def decode_pairs(pictures: Sequence[bytes], same: Sequence[bool]) -> VerificationPairs:
    """Decodes, and where it must be aligns, 2 P encoded pictures; a pair with one that cannot be used is left out."""
    images, kept, skipped = [], [], Counter()
    for index in range(len(same)):
        try:
            images.append([to_face(f"{index}/{side}", pictures[2 * index + side]).image for side in (0, 1)])
            kept.append(index)
        except PictureError as error:
            skipped[str(error)] += 1
    images = np.array(images, np.uint8).reshape(-1, 2, 112, 112, 3)
    return VerificationPairs(images, np.array(same, bool)[kept], skipped)
