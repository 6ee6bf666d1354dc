"""The field's verification sets (`lfw.bin`, `cfp_fp.bin`, `agedb_30.bin`): pairs of pictures to tell apart."""

import pickle
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from maskfr_utils.faces.pictures import PictureError
from maskfr_utils.faces.sources import to_face


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
            pictures, same = _Unpickler(file, encoding="bytes").load()
        pictures = [bytes(memoryview(picture)) for picture in pictures]
        same = np.array([bool(flag) for flag in same])
    except FileNotFoundError:
        raise
    except Exception as error:  # damaged pickles raise nearly anything
        raise ValueError(f"{path} is no verification set (a pickle of pictures and bools): {error}") from error
    if len(pictures) != 2 * len(same):
        raise ValueError(f"{path} holds {len(pictures)} pictures for {len(same)} pairs")
    images, kept, skipped = [], [], Counter()
    for index in range(len(same)):
        try:
            images.append([to_face(f"{index}/{side}", pictures[2 * index + side]).image for side in (0, 1)])
            kept.append(index)
        except PictureError as error:
            skipped[str(error)] += 1
    return VerificationPairs(np.array(images, np.uint8).reshape(-1, 2, 112, 112, 3), same[kept].astype(bool), skipped)
