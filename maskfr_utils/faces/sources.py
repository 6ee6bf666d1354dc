"""Real faces in: a folder or archive of `<identity>/<picture>`, read as a stream of aligned 112 x 112 faces.

Pictures of exactly 112 x 112 pixels are taken as aligned; all others are photos, in which the largest, most central face
is detected and aligned, also where the photo lies on its side or stands on its head. Pictures come from anywhere, so none of them may stop the stream: what cannot be used is
skipped and counted by reason.
"""

import hashlib
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from maskfr_utils.faces import align
from maskfr_utils.faces.archives import LANDMARKS, Archive, open_archive
from maskfr_utils.faces.layout import arrange
from maskfr_utils.faces.pictures import PictureError, read_picture
from maskfr_utils.messages import brief

HASHED_BYTES = 2**30  # up to here the fingerprint covers the pictures' bytes, beyond it their names and sizes
LANDMARK_BYTES = 2**31  # of the landmarks of some million pictures


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
        name: `<identity>/<picture>`, or more in between.
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
    quarter, boxes = align.detect_upright(image)
    if not boxes:
        raise PictureError("no face found")
    image = np.ascontiguousarray(np.rot90(image, quarter))
    points = align.landmarks68(image, boxes[0])
    try:
        face, matrix = align.align_face(image, points, return_transform=True)
    except ValueError:
        raise PictureError("face not alignable") from None
    return Face(face, identity, name, (points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32))


def landmarks_of(faces: Sequence[Face]) -> np.ndarray:
    """(n, 68, 2) float32 pixels (x, y): the landmarks of n faces, NaN for those that came without."""
    unknown = np.full((68, 2), np.nan)
    known = [unknown if face.landmarks is None else face.landmarks for face in faces]
    return np.array(known, np.float32).reshape(-1, 68, 2)


class Source:
    """Pictures of people, iterated as `Face`; made by `open_source`.

    Attributes:
        path: the folder or archive.
        total: number of candidate pictures, None where unknown.
        size: bytes of the files, where their pictures are not listed.
        skipped: how many were skipped so far, by reason.
        fingerprint: 16 hexadecimal digits of what is in it.
        landmarks: (68, 2) by name, from landmarks68.npz in the folder or beside the archive.
        notes: what was understood beyond `<identity>/<picture>`, a sentence each.
    """

    def __init__(self, archive: Archive):
        self.path = archive.path
        self.total: int | None = None
        self.landmarks: dict[str, np.ndarray] = {}
        self.notes: list[str] = []
        self._archive = archive
        self._unlisted: Counter[str] = Counter()
        if archive.listed:
            layout = arrange(archive.entries())
            self._entries, self.notes = layout.entries, layout.notes
            self._unlisted.update(archive.skipped + layout.skipped)
            if not self._entries:
                told = _told(self._unlisted)
                raise ValueError(
                    f"no pictures at <identity>/<picture> in {self.path}{told}: name the folder that holds a folder for each person (a folder of one person is none)"
                )
            self.total = len(self._entries)
            known = _read_landmarks(self.path)
            found = ((entry.name, layout.found_as.get(entry.name, entry.name)) for entry in self._entries if known)
            self.landmarks = {name: known[found_as] for name, found_as in found if found_as in known}
            self.fingerprint = self._fingerprint()
        else:
            self.fingerprint = _sampled(archive.files)
            self.total, self.size = archive.count(), sum(path.stat().st_size for path in archive.files)
        self.skipped = self._unlisted.copy()

    def __iter__(self) -> Iterator[Face]:
        for name, data in self.pictures():
            try:
                yield to_face(name, data, self.landmarks.get(name))
            except PictureError as error:
                self.skipped[str(error)] += 1

    def pictures(self) -> Iterator[tuple[str, bytes]]:
        """The names `<identity>/<picture>` and undecoded bytes of all candidates; counts skipped pictures anew."""
        self.skipped = self._unlisted.copy()
        with self._archive.reader() as read:
            for entry in self._entries if self._archive.listed else self._archive.entries():
                try:
                    data = read(entry)
                except PictureError as error:
                    self.skipped[str(error)] += 1
                else:
                    yield entry.name, data
        if not self._archive.listed:
            self.skipped.update(self._archive.skipped)

    def _fingerprint(self) -> str:
        small = sum(entry.size for entry in self._entries) <= HASHED_BYTES
        contents = self.pictures() if small else ((entry.name, b"%d" % entry.size) for entry in self._entries)
        known = ((e.name, self.landmarks[e.name].tobytes()) for e in self._entries if e.name in self.landmarks)
        # A sum does not depend on the order of the files.
        total = sum(
            int.from_bytes(hashlib.blake2b(name.encode() + b"\0" + data, digest_size=8).digest())
            for name, data in chain(contents, known)
        )
        return f"{total % 2**64:016x}"


def open_source(path: str | Path) -> Source:
    """Open a folder, zip or tar (.tar, .tar.gz, .tar.bz2, .tar.xz) of `<identity>/<picture>`, a list (.csv, .lst) of pictures,
    a folder of WebDataset shards, or a RecordIO file (.rec).

    Folders above the identities are left out of the names; groups of people, and names in several spellings, are taken
    together (see `layout`). Landmarks are taken from `landmarks68.npz` (arrays `files`,
    N names, and `points`, (N, 68, 2) pixels) in the folder or beside the archive; rows of NaN count as missing. A folder
    with a `train.rec` is read as that file.

    Raises:
        FileNotFoundError: nothing at the path.
        ValueError: of another kind, nothing in it that looks like a picture, nobody can tell who is on it, or broken
            landmarks.
    """
    return Source(open_archive(path))


def _read_landmarks(path: Path) -> dict[str, np.ndarray]:
    path = (path if path.is_dir() else path.parent) / LANDMARKS
    if not path.is_file():
        return {}
    try:
        with np.load(path, allow_pickle=False) as arrays, np.errstate(all="ignore"):
            if (size := sum(member.file_size for member in arrays.zip.infolist())) > LANDMARK_BYTES:
                raise ValueError(f"{size:,} bytes once unpacked, at most {LANDMARK_BYTES:,}")
            files, points = arrays["files"], arrays["points"].astype(np.float32)
        if files.dtype.kind not in "US":  # AttributeError, where a member is no array
            raise ValueError("files holds no names")
        files = np.char.decode(files, "utf-8") if files.dtype.kind == "S" else files
    except Exception as error:  # such as AttributeError, of a member that is no array
        raise ValueError(f"{path} does not hold the arrays `files` and `points`: {brief(error, 120)}") from error
    if files.ndim != 1 or points.shape != (len(files), 68, 2):
        raise ValueError(f"{path}: files {files.shape} and points {points.shape}, expected (N,) and (N, 68, 2)")
    return dict(zip(files.tolist(), points, strict=True))


def _sampled(paths: list[Path]) -> str:
    """The fingerprint of files too large to be read: their sizes, and pieces of the start, middle and end of each."""
    digest = hashlib.blake2b(digest_size=8)
    piece = HASHED_BYTES // 16 // len(paths)
    for path in paths:
        size = path.stat().st_size
        digest.update(str(size).encode())
        with path.open("rb") as file:
            for start in (0, size // 2, max(0, size - piece)):
                file.seek(start)
                digest.update(file.read(piece))
    return digest.hexdigest()


def _told(reasons: Counter[str]) -> str:
    return "".join(f"; {count} {reason}" for reason, count in reasons.items())
