"""Real faces in: a folder, tar or RecordIO file, read as a stream of aligned 112 x 112 faces.

Pictures of exactly 112 x 112 pixels are taken as aligned; all others are photos, in which the largest, most central face
is detected and aligned. Pictures come from anywhere, so none of them may stop the stream: what cannot be used is
skipped and counted by reason. Nothing of an archive is ever written to disc.
"""

import bz2
import gzip
import hashlib
import io
import lzma
import os
import sys
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from pathlib import Path, PurePosixPath
from typing import IO

import numpy as np

from maskfr_utils.faces import align, recordio
from maskfr_utils.faces.pictures import MAX_BYTES, SUFFIXES, PictureError, read_picture

HASHED_BYTES = 2**30  # up to here the fingerprint covers the pictures' bytes, beyond it their names and sizes
LANDMARKS = "landmarks68.npz"

_COMPRESSIONS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}
_BROKEN = (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError)


@dataclass(frozen=True)
class Face:
    """An aligned face: `image` (112, 112, 3) uint8 RGB, `landmarks` (68, 2) float32 (x, y) or None."""

    image: np.ndarray
    identity: str
    name: str
    landmarks: np.ndarray | None = None


def to_face(name: str, data: bytes, landmarks: np.ndarray | None = None) -> Face:
    """Decode, and unless the picture is 112 x 112 already, detect and align.

    Args:
        name: `<identity>/<picture>`.
        data: the picture's bytes.
        landmarks: (68, 2) of the picture, if known; used only where it is aligned already.

    Raises:
        PictureError: nothing that can be used; the message is the reason.
    """
    identity, image = sys.intern(name.split("/", 1)[0]), read_picture(data)
    if image.shape == (align.FACE_SIZE, align.FACE_SIZE, 3):
        if landmarks is not None and not np.isfinite(landmarks).all():
            landmarks = None
        return Face(image, identity, name, landmarks)
    boxes = align.detect(image)
    if not boxes:
        raise PictureError("no face found")
    points = align.landmarks68(image, boxes[0])
    try:
        face, matrix = align.align_face(image, points, return_transform=True)
    except ValueError:
        raise PictureError("face not alignable") from None
    return Face(face, identity, name, (points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32))


class Source:
    """Pictures of people, iterated as `Face`; made by `open_source`.

    Attributes:
        total: number of candidate pictures, None where unknown.
        skipped: how many were skipped so far, by reason.
        fingerprint: 16 hexadecimal digits of what is in it.
        landmarks: (68, 2) by name, from landmarks68.npz in the folder or beside the tar.
    """

    total: int | None
    fingerprint: str

    def __init__(self, path: Path):
        self.path = path
        self.skipped: Counter[str] = Counter()
        self.landmarks: dict[str, np.ndarray] = {}

    def __iter__(self) -> Iterator[Face]:
        for name, data in self.pictures():
            try:
                yield to_face(name, data, self.landmarks.get(name))
            except PictureError as error:
                self.skipped[str(error)] += 1

    def pictures(self) -> Iterator[tuple[str, bytes]]:
        """The names `<identity>/<picture>` and undecoded bytes of all candidates; counts skipped pictures anew."""
        raise NotImplementedError


class _Listed(Source):
    """A container of named files, listed before it is read."""

    def __init__(self, path: Path):
        super().__init__(path)
        self._listed_skips: Counter[str] = Counter()
        self._entries = self._order(self._list())
        self.total = len(self._entries)
        self.landmarks = self._read_landmarks()
        self.fingerprint = self._fingerprint()
        self.skipped = self._listed_skips.copy()

    def pictures(self) -> Iterator[tuple[str, bytes]]:
        self.skipped = self._listed_skips.copy()
        yield from self._read()

    def _list(self) -> list[tuple[str, int, object]]:
        """(path below the root, size in bytes, where to find it) of all picture files."""
        raise NotImplementedError

    def _read(self) -> Iterator[tuple[str, bytes]]:
        raise NotImplementedError

    def _is_picture(self, path: str) -> bool:
        if PurePosixPath(path).name.startswith(".") or path.startswith("__MACOSX/"):
            return False  # what operating systems leave behind
        if PurePosixPath(path).suffix.lower() in SUFFIXES:
            return True
        if PurePosixPath(path).name != LANDMARKS:
            self._listed_skips["not a picture, by its name"] += 1
        return False

    def _order(self, listed: list[tuple[str, int, object]]) -> dict[str, tuple[int, object]]:
        """Name `<identity>/<picture>` -> (size, place), below the folder that holds most of them."""
        roots = Counter(path.rsplit("/", 2)[0] if path.count("/") > 1 else "" for path, _, _ in listed if "/" in path)
        root = roots.most_common(1)[0][0] + "/" if roots and roots.most_common(1)[0][0] else ""
        entries = {}
        for path, size, place in listed:
            name = path.removeprefix(root)
            if not path.startswith(root) or name.count("/") != 1:
                self._listed_skips["not at <identity>/<picture>"] += 1
            elif name in entries:
                self._listed_skips["name occurs twice"] += 1
            else:
                entries[name] = (size, place)
        if not entries:
            reasons = "".join(f"; {count} {reason}" for reason, count in self._listed_skips.items())
            raise ValueError(f"no pictures at <identity>/<picture> in {self.path}{reasons}")
        return entries

    def _read_landmarks(self) -> dict[str, np.ndarray]:
        path = (self.path if self.path.is_dir() else self.path.parent) / LANDMARKS
        if not path.is_file():
            return {}
        try:
            with np.load(path, allow_pickle=False) as arrays:
                files, points = arrays["files"], arrays["points"].astype(np.float32)
        except Exception as error:
            raise ValueError(f"{path} does not hold the arrays `files` and `points`: {error}") from error
        if files.ndim != 1 or points.shape != (len(files), 68, 2):
            raise ValueError(f"{path}: files {files.shape} and points {points.shape}, expected (N,) and (N, 68, 2)")
        return dict(zip(files.astype(str).tolist(), points, strict=True))

    def _fingerprint(self) -> str:
        small = sum(size for size, _ in self._entries.values()) <= HASHED_BYTES
        contents = self._read() if small else ((name, b"%d" % size) for name, (size, _) in self._entries.items())
        known = ((name, self.landmarks[name].tobytes()) for name in self.landmarks.keys() & self._entries.keys())
        # A sum does not depend on the order of the files.
        total = sum(
            int.from_bytes(hashlib.blake2b(name.encode() + b"\0" + data, digest_size=8).digest())
            for name, data in chain(contents, known)
        )
        return f"{total % 2**64:016x}"


class _Folder(_Listed):
    """Pictures below a folder, in order of their names. Links are followed: the folder is the user's own."""

    def _list(self) -> list[tuple[str, int, object]]:
        listed, seen = [], set()
        for folder, folders, files in os.walk(self.path, followlinks=True):
            real = os.path.realpath(folder)
            if real in seen:  # a link that leads back
                folders.clear()
                continue
            seen.add(real)
            folders.sort()
            for file in sorted(files):
                path = Path(folder, file)
                relative = path.relative_to(self.path).as_posix()
                if not self._is_picture(relative):
                    continue
                if path.is_file():
                    listed.append((_printable(relative), path.stat().st_size, relative))
                else:
                    self._listed_skips["not a regular file"] += 1
        return listed

    def _read(self) -> Iterator[tuple[str, bytes]]:
        for name, (_, path) in self._entries.items():
            try:
                with (self.path / path).open("rb") as file:
                    yield name, file.read(MAX_BYTES + 1)
            except OSError:
                self.skipped["unreadable"] += 1


class _Tar(_Listed):
    """Pictures of a tar: in order of their names, or, where it is compressed, in the archive's own order."""

    def _open(self) -> IO[bytes]:
        with self.path.open("rb") as file:
            magic = file.read(6)
        opener = next((opener for start, opener in _COMPRESSIONS.items() if magic.startswith(start)), open)
        return opener(self.path, "rb")

    def _list(self) -> list[tuple[str, int, object]]:
        listed = []
        for member in self._members():
            path = PurePosixPath(member.name)
            if member.isdir():
                continue
            if not member.isreg() or member.sparse or path.is_absolute() or ".." in path.parts or "\\" in member.name:
                self._listed_skips["unsafe tar member"] += 1
            elif self._is_picture(path.as_posix()):
                listed.append((_printable(path.as_posix()), member.size, member.offset_data))
        with self._open() as file:
            return sorted(listed, key=itemgetter(0)) if isinstance(file, io.BufferedReader) else listed

    def _members(self) -> Iterator[tarfile.TarInfo]:
        """All members up to where the archive ends or breaks."""
        end = -1
        with self._open() as file:
            try:
                with tarfile.open(fileobj=file, mode="r:") as archive:
                    while (member := archive.next()) is not None and archive.offset > end:
                        end = archive.offset  # a negative size would lead in circles
                        yield member
                        archive.members.clear()  # tarfile would keep them all
                    # tarfile takes a broken header for the end; the true end is a block of zeros.
                    file.seek(archive.offset)
                    whole = file.read(512) == bytes(512)
            except _BROKEN as error:
                if end < 0:
                    raise ValueError(f"{self.path} is neither a folder nor a tar archive: {error}") from error
                whole = False
        if not whole:
            self._listed_skips["rest of the tar, which ends abruptly"] += 1

    def _read(self) -> Iterator[tuple[str, bytes]]:
        with self._open() as file:
            for name, (size, offset) in self._entries.items():
                wanted = min(size, MAX_BYTES + 1)
                try:
                    file.seek(offset)
                    data = file.read(wanted)
                except _BROKEN:
                    data = b""
                if len(data) < wanted:
                    self.skipped["truncated"] += 1
                else:
                    yield name, data


class _Records(Source):
    """An MXNet RecordIO file (MS1M-RetinaFace, MS1MV2, Glint360K): `<label>/<number of the record>`, in its own order."""

    def __init__(self, path: Path):
        super().__init__(path)
        self.total = None
        digest, size = hashlib.blake2b(str(path.stat().st_size).encode(), digest_size=8), path.stat().st_size
        with path.open("rb") as file:
            for start in (0, size // 2, max(0, size - HASHED_BYTES // 16)):
                file.seek(start)
                digest.update(file.read(HASHED_BYTES // 16))
        self.fingerprint = digest.hexdigest()
        next(recordio.read_records(path), None)  # refuses another kind of file at once

    def pictures(self) -> Iterator[tuple[str, bytes]]:
        self.skipped = Counter()
        try:
            for number, label, data in recordio.read_pictures(self.path):
                yield f"{label:07d}/{number:08d}", data
        except recordio.BrokenRecordError:
            self.skipped["rest of the file, which is broken"] += 1


def open_source(path: str | Path) -> Source:
    """Open a folder or tar (.tar, .tar.gz, .tar.bz2, .tar.xz) of `<identity>/<picture>`, or a RecordIO file (.rec).

    Folders above the identities are left out of the names. Landmarks are taken from `landmarks68.npz` (arrays `files`,
    N names, and `points`, (N, 68, 2) pixels) in the folder or beside the tar; rows of NaN count as missing. A folder
    with a `train.rec` is read as that file.

    Raises:
        FileNotFoundError: nothing at the path.
        ValueError: of another kind, nothing in it that looks like a picture, or broken landmarks.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no folder, tar or RecordIO file at {path}")
    if path.is_dir():
        records = path / "train.rec"
        return _Records(records) if records.is_file() else _Folder(path)
    return _Records(path) if path.suffix == ".rec" else _Tar(path)


def _printable(name: str) -> str:
    """A name that can be stored as UTF-8: bytes that are no text, and NUL, written as escapes."""
    return name.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
