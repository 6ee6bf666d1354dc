"""The field's packed training sets (`train.rec`) without MXNet: RecordIO.

A RecordIO file is a row of records: a magic number and a word (both uint32, little endian) whose upper three bits say
whether the record is whole (0) or the first (1), a middle (2) or the last (3) part of one, and whose lower 29 bits are
the length of the payload that follows, padded to four bytes. A payload that holds the magic number itself was parted
there. The payload of a picture is a header (uint32 flag, float32 label, uint64 id, uint64 id2, then `flag` float32 labels
instead of the first) and an encoded picture. Records without a picture (the first, and one an identity at the end) are
an index that reading in order does not need; nor does it need `train.idx`.
"""

import io
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO

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
