"""Real faces in: a folder or tar of `<identity>/<picture>`, read as a stream of aligned 112 x 112 faces.

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
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

import numpy as np
from PIL import Image, ImageOps

from maskfr_utils import align

PICTURES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"}
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "PPM")  # no format that starts another program
MAX_PIXELS = 89_000_000  # beyond it a picture counts as a decompression bomb; just below Pillow's own warning
MAX_BYTES = 64 * 2**20  # of one encoded picture
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


class PictureError(ValueError):
    """A picture that cannot be used; the message is the reason, in a few words."""


def read_picture(data: bytes) -> np.ndarray:
    """Decode a picture of whatever mode into RGB.

    EXIF orientation is applied, transparency laid on white, 16-bit brought to 8, the first frame taken.

    Args:
        data: the file's bytes (JPEG, PNG, BMP, WebP, TIFF, GIF, PPM).

    Returns:
        (height, width, 3) uint8.

    Raises:
        PictureError: empty, truncated, unreadable, or beyond 89 million pixels.
    """
    if not data:
        raise PictureError("empty file")
    if len(data) > MAX_BYTES:
        raise PictureError("file above 64 MB")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            if image.width * image.height > MAX_PIXELS:
                raise Image.DecompressionBombError
            image.load()
            return np.array(_to_rgb(_upright(image)))
    except Image.DecompressionBombError:
        raise PictureError("above 89 million pixels") from None
    except Exception as error:  # a decoder given hostile bytes raises nearly anything
        reason = "truncated" if "truncated" in str(error).lower() else "unreadable"
        raise PictureError(reason) from error


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # a broken EXIF block is no reason to lose the picture
        return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F" or image.mode.startswith("I"):
        values = np.nan_to_num(np.asarray(image, np.float64))
        # Grey of 16 bits, 8 bits, or a fraction: the smallest of the usual ranges that holds the values.
        top = next((limit for limit in (1.0, 255.0, 65535.0) if image.mode == "F" and values.max() <= limit), 65535.0)
        return Image.fromarray((values.clip(0, top) * (255 / top)).round().astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


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
    """A folder or tar of pictures, iterated as `Face`; made by `open_source`.

    Attributes:
        total: number of candidate pictures.
        skipped: how many were skipped so far, by reason.
        fingerprint: 16 hexadecimal digits of what is in it.
        landmarks: (68, 2) by name, from landmarks68.npz in the folder or beside the tar.
    """

    def __init__(self, path: Path):
        self.path = path
        self._listed_skips: Counter[str] = Counter()
        self._entries = self._order(self._list())
        self.total = len(self._entries)
        self.landmarks = self._read_landmarks()
        self.fingerprint = self._fingerprint()
        self.skipped = self._listed_skips.copy()

    def __iter__(self) -> Iterator[Face]:
        for name, data in self.pictures():
            try:
                yield to_face(name, data, self.landmarks.get(name))
            except PictureError as error:
                self.skipped[str(error)] += 1

    def pictures(self) -> Iterator[tuple[str, bytes]]:
        """The names and undecoded bytes of all candidates; starts the count of skipped pictures anew."""
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
        if PurePosixPath(path).suffix.lower() in PICTURES:
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
        digest = hashlib.blake2b(digest_size=8)
        for name in sorted(self._entries):
            digest.update(f"{name}\0{self._entries[name][0]}\0".encode())
        if sum(size for size, _ in self._entries.values()) <= HASHED_BYTES:
            pictures = {name: hashlib.blake2b(data, digest_size=16).digest() for name, data in self._read()}
            digest.update(b"".join(pictures[name] for name in sorted(pictures)))
        for name in sorted(self.landmarks.keys() & self._entries.keys()):
            digest.update(self.landmarks[name].tobytes())
        return digest.hexdigest()


class _Folder(Source):
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


class _Tar(Source):
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
            return sorted(listed) if isinstance(file, io.BufferedReader) else listed

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
                try:
                    file.seek(offset)
                    data = file.read(min(size, MAX_BYTES + 1))
                except _BROKEN:
                    self.skipped["truncated"] += 1
                else:
                    yield name, data


def open_source(path: str | Path) -> Source:
    """Open a folder or tar (.tar, .tar.gz, .tar.bz2, .tar.xz) of `<identity>/<picture>`.

    Folders above the identities are left out of the names. Landmarks are taken from `landmarks68.npz` (arrays `files`,
    N names, and `points`, (N, 68, 2) pixels) in the folder or beside the tar; rows of NaN count as missing.

    Raises:
        FileNotFoundError: nothing at the path.
        ValueError: neither a folder nor a tar, nothing in it that looks like a picture, or broken landmarks.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no folder or tar at {path}")
    return _Folder(path) if path.is_dir() else _Tar(path)


def _printable(name: str) -> str:
    """A name that can be stored as UTF-8: bytes that are no text, and NUL, written as escapes."""
    return name.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
