"""The field's packed sets without MXNet: RecordIO (`train.rec`) and verification pairs (`lfw.bin`).

A RecordIO file is a row of records: a magic number and a word (both uint32, little endian) whose upper three bits say
whether the record is whole (0) or the first (1), a middle (2) or the last (3) part of one, and whose lower 29 bits are
the length of the payload that follows, padded to four bytes. A payload that holds the magic number itself was parted
there. The payload of a picture is a header (uint32 flag, float32 label, uint64 id, uint64 id2, then `flag` float32 labels
instead of the first) and an encoded picture. Records without a picture (the first, and one an identity at the end) are
an index that reading in order does not need; nor does it need `train.idx`.
"""

import io
import pickle
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

MAGIC = struct.pack("<I", 0xCED7230A)
_HEADER = struct.Struct("<IfQQ")
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)


class BrokenRecordError(ValueError):
    """The file is not RecordIO, or no longer so from some byte on."""


def read_records(path: str | Path) -> Iterator[bytes]:
    """The payloads of a RecordIO file, in order; parted ones put together.

    Raises:
        BrokenRecordError: at the byte at which the file is broken or cut.
    """
    with Path(path).open("rb") as file:
        while (part := _read_part(file)) is not None:
            kind, payload = part
            if kind == _FIRST:
                parts = [payload]
                while kind != _LAST:
                    part = _read_part(file)
                    if part is None or part[0] not in (_MIDDLE, _LAST):
                        raise BrokenRecordError(f"{path}: the record before byte {file.tell()} lacks its last part")
                    kind, payload = part
                    parts.append(payload)
                payload = MAGIC.join(parts)
            elif kind != _WHOLE:
                raise BrokenRecordError(f"{path}: the record before byte {file.tell()} lacks its first part")
            yield payload


def _read_part(file: IO[bytes]) -> tuple[int, bytes] | None:
    start = file.tell()
    head = file.read(8)
    if not head:
        return None
    if len(head) < 8 or not head.startswith(MAGIC):
        raise BrokenRecordError(f"{file.name} is no RecordIO file, or broken, at byte {start}")
    kind, length = divmod(int.from_bytes(head[4:], "little"), 1 << 29)
    payload = file.read(length)
    if len(payload) < length:
        raise BrokenRecordError(f"{file.name} ends within the record at byte {start}")
    file.seek(-length % 4, io.SEEK_CUR)
    return kind, payload


def read_pictures(path: str | Path) -> Iterator[tuple[int, int, bytes]]:
    """(number of the record, label, encoded picture) of a RecordIO file of faces.

    Raises:
        BrokenRecordError: as `read_records`; also for a record that is too short for its header.
    """
    for number, payload in enumerate(read_records(path)):
        if len(payload) < _HEADER.size:
            raise BrokenRecordError(f"{path}: record {number} is too short for a header")
        flag, label, _, _ = _HEADER.unpack_from(payload)
        start = _HEADER.size + 4 * flag
        if flag and len(payload) >= start:
            (label,) = struct.unpack_from("<f", payload, _HEADER.size)
        if len(payload) > start:
            if not 0 <= label < 2**24 or label != int(label):
                raise BrokenRecordError(f"{path}: record {number} has the label {label}")
            yield number, int(label), payload[start:]


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
    from maskfr_utils.faces.sources import PictureError, to_face

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
