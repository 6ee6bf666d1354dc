"""The field's packed training sets (`train.rec`) without MXNet: RecordIO.

A RecordIO file is a row of records: a magic number and a word (both uint32, little endian) whose upper three bits say
whether the record is whole (0) or the first (1), a middle (2) or the last (3) part of one, and whose lower 29 bits are
the length of the payload that follows, padded to four bytes. A payload that holds the magic number itself was parted
there. The payload of a picture is a header (uint32 flag, float32 label, uint64 id, uint64 id2, then `flag` float32 labels
instead of the first) and an encoded picture. Records without a picture (the first, and one an identity at the end) are
an index that reading in order does not need; nor does it need `train.idx`.

`write_set` writes such a set: `train.rec`; `train.idx`, a line `number<tab>byte` a record; `property`, "people,112,112"; and
`train.lst`, a line `number<tab>label<tab>name` a picture.
"""

import io
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from maskfr_utils.faces.pictures import MAX_BYTES
from maskfr_utils.paths import replacing

MAGIC = struct.pack("<I", 0xCED7230A)
_HEADER = struct.Struct("<IfQQ")
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)
_LONGEST = 2**29 - 1  # bytes of a part
_KEPT = MAX_BYTES + 2**20  # of a payload: more is no picture, and is refused as too long
MOST = 2**24  # numbers of records and labels are kept as float32, which holds every integer up to here


class BrokenRecordError(ValueError):
    """The file is not RecordIO, or no longer so from some byte on."""


def read_records(path: str | Path) -> Iterator[bytes]:
    """The payloads of a RecordIO file, in order; parted ones put together. What is too long for a picture is cut.

    Raises:
        BrokenRecordError: at the byte at which the file is broken or cut.
    """
    with Path(path).open("rb") as file:
        while (part := _read_part(file)) is not None:
            kind, payload = part
            if kind == _FIRST:
                parts, size = [payload], len(payload)
                while kind != _LAST:
                    part = _read_part(file)
                    if part is None or part[0] not in (_MIDDLE, _LAST):
                        raise BrokenRecordError(f"{path}: the record before byte {file.tell()} lacks its last part")
                    kind, payload = part
                    if size < _KEPT:
                        parts.append(payload)
                    size += len(payload)
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
    payload = file.read(min(length, _KEPT))
    if len(payload) < length:
        file.seek(start + 8 + length - 1)
        if len(payload) < _KEPT or not file.read(1):
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


def promised(path: str | Path) -> int | None:
    """The number of pictures, where record 0 tells it and the file is long enough for so many; None elsewhere."""
    try:
        payload = next(read_records(path), b"")
    except BrokenRecordError:
        return None
    if len(payload) < _HEADER.size + 4:
        return None
    flag, _, number, _ = _HEADER.unpack_from(payload)
    (first,) = struct.unpack_from("<f", payload, _HEADER.size)
    pictures = int(first) - 1 if flag == 2 and number == 0 and 1 < first <= MOST else 0
    return pictures if 0 < pictures * (8 + _HEADER.size) < Path(path).stat().st_size else None


def pack_record(payload: bytes) -> bytes:
    """A payload as a RecordIO file holds it: parted where it holds the magic number at a multiple of four bytes.

    Raises:
        ValueError: a part of 512 MB or more.
    """
    parts, start, place = [], 0, payload.find(MAGIC)
    while place >= 0:
        step = 1
        if place % 4 == 0:  # elsewhere a reader does not look for it
            parts.append(payload[start:place])
            start, step = place + 4, 4
        place = payload.find(MAGIC, place + step)
    parts.append(payload[start:])
    if max(map(len, parts)) > _LONGEST:
        raise ValueError(f"a record of {len(payload):,} bytes: at most {_LONGEST:,}")
    kinds = [_WHOLE] if len(parts) == 1 else [_FIRST, *[_MIDDLE] * (len(parts) - 2), _LAST]
    return b"".join(
        MAGIC + struct.pack("<I", kind << 29 | len(part)) + part + bytes(-len(part) % 4)
        for kind, part in zip(kinds, parts, strict=True)
    )


def pack_picture(number: int, labels: Sequence[float], data: bytes = b"") -> bytes:
    """The payload of a picture, or, without `data`, of an index record; several labels follow the header, as in Glint360K."""
    alone = len(labels) == 1
    header = _HEADER.pack(0 if alone else len(labels), labels[0] if alone else 0.0, number, 0)
    return header + (b"" if alone else struct.pack(f"<{len(labels)}f", *labels)) + data


def write_set(
    folder: str | Path, pictures: Iterable[tuple[str, str, bytes]], *, labels: Sequence[float] = (), size: int = 112
) -> tuple[int, int]:
    """Writes a training set as MS1M-RetinaFace is packed; files of these names are replaced once all are whole.

    Args:
        folder: where; made if missing.
        pictures: (identity, name, encoded picture), the pictures of an identity in a row; identities are numbered as they
            come. Read as a stream: memory grows with the identities only.
        labels: further labels that each picture gets behind its own.
        size: of the pictures, in pixels, for `property`.

    Returns:
        How many pictures and identities were written.

    Raises:
        ValueError: an identity's pictures do not lie together, none came, or more than 2^24 records.
        OSError: the disk is full, or cannot be written to.
    """
    folder = Path(folder)
    with ExitStack() as stack:
        names = ("train.rec", "train.idx", "train.lst", "property")  # the first gets its name last
        files = [stack.enter_context(stack.enter_context(replacing(folder / name)).open("wb")) for name in names]
        records, index, listing, described = files
        starts = _Starts(records, index)
        starts.put(pack_picture(0, (0, 0)))  # its place is kept: what it says is known in the end
        people: dict[str, list[int]] = {}
        last = None
        for number, (identity, name, data) in enumerate(pictures, 1):
            if identity != last and identity in people:
                raise ValueError(
                    f"the pictures of {identity!r} do not lie together, as an index of identities needs: sort them, "
                    "as a folder of people is (convert them to one first)"
                )
            span = people.setdefault(identity, [number, number])
            span[1], last, label = number + 1, identity, len(people) - 1
            starts.put(pack_picture(number, (label, *labels), data))
            listing.write(f"{number}\t{label}\t{_on_a_line(name)}\n".encode())
        if not people:
            raise ValueError(f"no picture to write to {folder}")
        first = starts.count
        for span in people.values():
            starts.put(pack_picture(starts.count, span))
        records.seek(0)
        records.write(pack_record(pack_picture(0, (first, starts.count))))
        described.write(f"{len(people)},{size},{size}".encode())
        for file in files:
            file.flush()
    return first - 1, len(people)


class _Starts:
    """Writes records one after the other, and where each starts."""

    def __init__(self, records: IO[bytes], index: IO[bytes]):
        self.records, self.index, self.count = records, index, 0

    def put(self, payload: bytes) -> None:
        if self.count >= MOST:
            raise ValueError(f"more than {MOST:,} records, pictures and identities together: write two sets")
        self.index.write(b"%d\t%d\n" % (self.count, self.records.tell()))
        self.records.write(pack_record(payload))
        self.count += 1


def _on_a_line(name: str) -> str:
    return " ".join(name.split())
