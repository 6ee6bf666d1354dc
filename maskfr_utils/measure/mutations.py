"""Files as disks, networks and ill will leave them: changed at random, of which some keep right checksums."""

import gzip
import hashlib
import json
import random
import re
import struct
import tarfile
import zlib
from collections.abc import Callable, Sequence

from maskfr_utils.checkpoints import MAGIC

EXTREMES = (0, 1, -1, 127, 2**15, 2**16 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**60, 2**63 - 1, 2**64 - 1)
NUMBERS = (b"-1", b"0", b"1e400", b"NaN", b"Infinity", b"9" * 400, b"1e-400", b"99999999999", b"0x7f", b"2024-13-45")
LONGEST = 4096  # bytes that an insertion adds
_ZIP_FILE, _ZIP_ENTRY = b"PK\3\4", b"PK\1\2"
_PNG = b"\x89PNG\r\n\x1a\n"


def mutate(data: bytes, draw: random.Random, words: Sequence[bytes] = ()) -> bytes:
    """A whole file's content with one to sixteen changes.

    Args:
        data: the content.
        draw: the source of every draw.
        words: that mean something in its format.
    """
    for _ in range(draw.choice((1, 1, 1, 2, 4, 16))):
        if not data:
            return bytes(draw.choice(EXTREMES) % 256 for _ in range(draw.randrange(9)))
        data = draw.choice(_WAYS)(data, draw, words)
    return data


def _place(data: bytes, draw: random.Random) -> int:
    """A byte of a file: anywhere, near its start or end, or where zeros tell of fields of numbers."""
    kind = draw.randrange(4)
    if kind == 0:
        return draw.randrange(min(len(data), 600))
    if kind == 1:
        return max(0, len(data) - 1 - draw.randrange(600))
    anywhere = [draw.randrange(len(data)) for _ in range(1 if kind == 2 else 16)]
    return max(anywhere, key=lambda at: data[max(0, at - 4) : at + 12].count(0))


def _flip(data: bytes, draw: random.Random, _: Sequence[bytes]) -> bytes:
    changed = bytearray(data)
    changed[_place(data, draw)] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _cut(data: bytes, draw: random.Random, _: Sequence[bytes]) -> bytes:
    return data[: _place(data, draw)]


def _insert(data: bytes, draw: random.Random, _: Sequence[bytes]) -> bytes:
    at, size = _place(data, draw), draw.choice((1, 4, 16, LONGEST))
    return data[:at] + draw.choice((bytes(size), draw.randbytes(size), data[:1] * size)) + data[at:]


def _double(data: bytes, draw: random.Random, _: Sequence[bytes]) -> bytes:
    start, size = _place(data, draw), draw.choice((1, 8, 512, LONGEST))
    return data[: start + size] * draw.choice((1, 1, 2)) + data[start:]


def _drop(data: bytes, draw: random.Random, _: Sequence[bytes]) -> bytes:
    start = _place(data, draw)
    return data[:start] + data[start + draw.choice((1, 4, 512, LONGEST)) :]


def _extreme(data: bytes, draw: random.Random, _: Sequence[bytes]) -> bytes:
    """An integer at the ends of its range, in a field of 1 to 8 bytes."""
    at, size = _place(data, draw), draw.choice((1, 2, 4, 4, 8))
    value = draw.choice(EXTREMES) % 256**size
    return data[:at] + value.to_bytes(size, draw.choice(("little", "big"))) + data[at + size :]


def _number(data: bytes, draw: random.Random, _: Sequence[bytes]) -> bytes:
    """Another number in place of one that is written out."""
    at = _place(data, draw)
    found = re.compile(rb"-?\d[\d.]*").search(data, at, at + 2000)
    return data if found is None else data[: found.start()] + draw.choice(NUMBERS) + data[found.end() :]


def _word(data: bytes, draw: random.Random, words: Sequence[bytes]) -> bytes:
    """A word of the format, or one of the file's own, put in or in place of another."""
    at = _place(data, draw)
    own = re.compile(rb"\w+").search(data, at, at + 2000)
    word = draw.choice(words) if words and draw.random() < 0.7 else own and own[0]
    if not word:
        return data
    other = re.compile(rb"\w+|[^\w\s]").search(data, _place(data, draw))
    start, end = other.span() if other and draw.random() < 0.7 else (at, at)
    return data[:start] + word * draw.choice((1, 1, 1, 1, 3, 200)) + data[end:]


_WAYS: tuple[Callable[[bytes, random.Random, Sequence[bytes]], bytes], ...] = (
    _flip, _flip, _cut, _insert, _double, _drop, _extreme, _extreme, _number, _word,
)  # fmt: skip


# ---- checksums ----------------------------------------------------------------------------------------------------


def with_right_sums(name: str, data: bytes) -> bytes:
    """A changed file with checksums that fit it again, so that what lies behind them is reached.

    Args:
        name: of the file; what ends in `.gz` is compressed here.
        data: its content.
    """
    if name.endswith(".gz"):
        return gzip.compress(with_right_sums(name[:-3], data), 1, mtime=0)
    if name.endswith(".ckpt"):
        body = _safetensors(data[len(MAGIC) + 32 :])
        return MAGIC + hashlib.sha256(body).digest() + body
    if name.endswith(".safetensors"):
        return _safetensors(data)
    if data.startswith(_PNG):
        return _png(data)
    if name.endswith((".zip", ".npz", ".pth")):
        return _zip(data)
    return _tar(data) if name.endswith(".tar") else data


def _safetensors(data: bytes) -> bytes:
    """With the length of its header as it is now, where that is JSON still."""
    try:
        _, end = json.JSONDecoder().raw_decode(data[8:].decode("latin1"))
    except (ValueError, RecursionError):
        return data
    return struct.pack("<Q", end) + data[8:]


def _png(data: bytes) -> bytes:
    out, at = bytearray(_PNG), len(_PNG)
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4])
        out += data[at:end] + zlib.crc32(data[at + 4 : end]).to_bytes(4)
        at = end + 4
    return bytes(out)


def _tar(data: bytes) -> bytes:
    out = bytearray(data)
    for at in range(0, len(data) - 511, 512):
        block = data[at : at + 512]
        if block[257:262] == b"ustar":
            total = sum(block) - sum(block[148:156]) + 8 * 32
            out[at + 148 : at + 156] = b"%06o\0 " % total
    return bytes(out[: len(out) // tarfile.BLOCKSIZE * tarfile.BLOCKSIZE])


def _zip(data: bytes) -> bytes:
    """With sums that fit members which are stored as they are."""
    out, at = bytearray(data), data.find(_ZIP_ENTRY)
    while at >= 0 and len(data) >= at + 46:
        method, size, start = (
            data[at + 10],
            *struct.unpack_from("<I", data, at + 20),
            *struct.unpack_from("<I", data, at + 42),
        )
        if method == 0 and data[start : start + 4] == _ZIP_FILE and len(data) >= start + 30:
            first = start + 30 + sum(struct.unpack_from("<HH", data, start + 26))
            out[at + 16 : at + 20] = out[start + 14 : start + 18] = zlib.crc32(data[first : first + size]).to_bytes(
                4, "little"
            )
        at = data.find(_ZIP_ENTRY, at + 4)
    return bytes(out)
