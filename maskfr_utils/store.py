"""The HDF5 file: every face and its masked twin, labels and split; written as a stream, read at random.

Layout (N faces): `images` and `masked` (N, 112, 112, 3) uint8, one uncompressed chunk a picture; `labels` int64 (-1: the
identity was left out), `split` int8, `masked_ok` bool, `duplicate_of` int64 (the kept picture that this one repeats,
else -1), `landmarks` (N, 68, 2) float32, `sources` and `mask_kinds` as UTF-8 strings; `identities`, the names in label
order; attributes, among them `format`.

Where raw pixels would be too large (437 GB for MS1M and its twins), pictures are JPEGs instead: `jpegs`, the bytes of all of them in a row,
parted into chunks none of which a picture crosses; `images` and `masked` are then (N, 2) int64, where each begins in it
and how many bytes it has. It takes a sixth to a quarter of the space, and costs a
decoding at each read, and exactness (see `encode`; `measure.data_costs` tells how much).

The reader takes from HDF5 only where each picture lies and reads the pixels itself: a random batch of 128 through
h5py's own indexing took 300 ms, through `pread` 0.8 ms (measured on one core, file in memory). No HDF5 handle stays open,
so a store may be forked, pickled and shared by threads as it is.
"""

import contextlib
import io
import os
from collections.abc import Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Self

import cv2
import h5py
import numpy as np

from maskfr_utils import paths
from maskfr_utils.faces.pictures import LONGEST_NAME, PictureError, read_picture
from maskfr_utils.messages import brief, shown

FORMAT, JPEG_FORMAT = "maskfr-faces-1", "maskfr-jpegs-1"
ENCODINGS = ("raw", "jpeg")
QUALITY = 95  # of JPEGs
JPEG_CHUNK = 2**20  # bytes of `jpegs` a chunk; no picture of 112 x 112 has as many
FACE_SHAPE = (112, 112, 3)
FACE_BYTES = int(np.prod(FACE_SHAPE))
TEXT_BYTES = 16  # that a string takes in its column, beside its characters
MOST_ATTRIBUTES = 100
TRAIN, TEST, VALIDATION, LEFT_OUT = 0, 1, 2, -1
WORN = "worn"  # instead of a drawn mask's kind: the photo shows a real one

_TEXT = h5py.string_dtype("utf-8")
# name: (shape of one row, dtype, value where none is given)
_COLUMNS = {
    "images": (FACE_SHAPE, "u1", None),
    "masked": (FACE_SHAPE, "u1", None),
    "landmarks": ((68, 2), "f4", np.nan),
    "masked_ok": ((), "?", True),
    "labels": ((), "i8", 0),
    "split": ((), "i1", TRAIN),
    "duplicate_of": ((), "i8", -1),
    "sources": ((), _TEXT, ""),
    "mask_kinds": ((), _TEXT, ""),
}


_JPEG_COLUMNS = _COLUMNS | {"images": ((2,), "i8", None), "masked": ((2,), "i8", None)}


def encode(face: np.ndarray) -> bytes:
    """A face (112, 112, 3) uint8 RGB as a JPEG of quality 95 whose colours have the full resolution."""
    sampling = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    settings = [cv2.IMWRITE_JPEG_QUALITY, QUALITY, *sampling]
    return cv2.imencode(".jpg", cv2.cvtColor(face, cv2.COLOR_RGB2BGR), settings)[1].tobytes()


class _Scratch(io.FileIO):
    """The file below the HDF5 library: keeps the first error of writing (disc full) and swallows all writes after it.

    The library itself must not see the error: it crashes the process when tidying up fails too.
    """

    error: OSError | None = None

    def write(self, data: Any) -> int:
        rest = memoryview(data).cast("B")
        size = len(rest)
        try:
            while rest and self.error is None:
                rest = rest[super().write(rest) :]
        except OSError as error:
            self.error = error
        return size

    def check(self) -> None:
        if self.error is not None:
            raise self.error


class FaceWriter:
    """Writes a store in blocks; the file appears under its name only once it is whole.

    Used as a context manager: leaving it normally publishes the file (`os.replace`), leaving it by an exception removes
    what was written. Memory does not grow with the pictures, only with their names (about 200 bytes a picture).

    Args:
        path: the file to make; an older one stays until the new one is whole.
        attrs: attributes to keep with it (numbers and strings).
        encoding: of the pictures, `raw` or `jpeg`.

    Raises:
        ValueError: an unknown encoding.
    """

    def __init__(self, path: str | Path, attrs: dict[str, Any] | None = None, encoding: str = "raw"):
        if encoding not in ENCODINGS:
            raise ValueError(f"unknown encoding {encoding!r}: raw or jpeg")
        self.path = Path(path)
        self.attrs = dict(attrs or {})
        self.jpeg = encoding == "jpeg"
        self._columns = _JPEG_COLUMNS if self.jpeg else _COLUMNS
        self._file: h5py.File | None = None
        self._identities: list[str] = []
        self._assigned = False

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            temporary = stack.enter_context(paths.replacing(self.path))
            paths.remove_temporaries(self.path.parent, self.path.name)
            self._scratch = stack.enter_context(_Scratch(temporary, "w+"))
            self._file = h5py.File(self._scratch, "w", libver="v110")
            stack.push(self._finish)
            if self.jpeg:
                self._file.create_dataset("jpegs", (0,), "u1", maxshape=(None,), chunks=(JPEG_CHUNK,))
            for name, (shape, dtype, _) in self._columns.items():
                chunk = (1, *shape) if shape == FACE_SHAPE else (1024, *shape)
                self._file.create_dataset(name, (0, *shape), dtype, maxshape=(None, *shape), chunks=chunk)
            self._opened = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._opened.__exit__(*error)

    def _finish(self, kind: type[BaseException] | None, *_: Any) -> None:
        """Ends the file: whole, if no error (`kind`) came up."""
        try:
            if kind is None:
                if not self._assigned:
                    names, labels = np.unique(np.array(self._identities, object), return_inverse=True)
                    self.assign(labels, np.full(len(self), TRAIN), names)
                self._file.attrs.update(self.attrs | {"format": JPEG_FORMAT if self.jpeg else FORMAT})
                self._file.close()
                self._scratch.close()
                self._scratch.check()
        finally:
            with contextlib.suppress(Exception):
                self._file.close()

    def __len__(self) -> int:
        return len(self._identities)

    def append(
        self,
        images: np.ndarray | Sequence[bytes],
        masked: np.ndarray | Sequence[bytes],
        identities: Sequence[str],
        sources: Sequence[str] | None = None,
        landmarks: np.ndarray | None = None,
        masked_ok: np.ndarray | None = None,
        mask_kinds: Sequence[str] | None = None,
    ) -> None:
        """Add a block of n faces.

        Args:
            images: (n, 112, 112, 3) uint8 RGB; where the store holds JPEGs, also n of them as `encode` gives them.
            masked: the same faces with masks.
            identities: n names of people.
            sources: n names of pictures.
            landmarks: (n, 68, 2) pixels; NaN where left out.
            masked_ok: (n,) bool, whether the mask was placed; true where left out.
            mask_kinds: n names of masks.

        Raises:
            ValueError: other shapes or dtypes, columns of unequal length, or a name of more than 4,000 bytes.
        """
        count, start = len(images), len(self)
        columns = {
            "images": images,
            "masked": masked,
            "landmarks": landmarks,
            "masked_ok": masked_ok,
            "sources": sources,
            "mask_kinds": mask_kinds,
        }
        for name in ("images", "masked"):
            if self.jpeg and all(isinstance(image, bytes) for image in columns[name]):
                continue
            if np.shape(columns[name]) != (count, *FACE_SHAPE) or np.asarray(columns[name]).dtype != np.uint8:
                raise ValueError(f"{name}: expected ({count}, 112, 112, 3) of uint8, got {np.shape(columns[name])}")
        for name, column in (columns | {"identities": identities}).items():
            if column is not None and len(column) != count:
                raise ValueError(f"{name}: {len(column)} rows for {count} images")
        for text in chain(identities, *(c for c in (sources, mask_kinds) if c is not None)):
            if len(os.fsencode(str(text))) > LONGEST_NAME:
                raise ValueError(f"{brief(text, 80)!r} has more than {LONGEST_NAME:,} bytes, too many for a name")
        if self.jpeg:
            columns |= {name: self._append_jpegs(columns[name]) for name in ("images", "masked")}
        for name, (_, _, default) in self._columns.items():
            data, column = self._file[name], columns.get(name)
            data.resize(start + count, axis=0)
            if name in ("sources", "mask_kinds"):
                column = [str(text) for text in column] if column is not None else [""] * count
            if column is None:  # as an array: one number for many places is written place by place
                column = np.full((count, *data.shape[1:]), default, data.dtype)
            data[start:] = column
        self._identities.extend(str(name) for name in identities)
        self._scratch.check()

    def _append_jpegs(self, images: np.ndarray | Sequence[bytes]) -> np.ndarray:
        """Adds the pictures to `jpegs`; where each begins, and its bytes, (n, 2)."""
        data = self._file["jpegs"]
        first = start = len(data)
        content, spans = bytearray(), []
        for image in images:
            jpeg = image if isinstance(image, bytes) else encode(image)
            if start % JPEG_CHUNK + len(jpeg) > JPEG_CHUNK:  # it would cross into the next chunk
                content += bytes(-start % JPEG_CHUNK)
                start += -start % JPEG_CHUNK
            spans.append((start, len(jpeg)))
            content += jpeg
            start += len(jpeg)
        data.resize(start, axis=0)
        data[first:] = np.frombuffer(content, np.uint8)
        return np.array(spans, np.int64).reshape(-1, 2)

    def read(self, indices: np.ndarray) -> np.ndarray:
        """Images (n, 112, 112, 3) already written, in any order (what cleaning looks at)."""
        images = np.empty((len(indices), *FACE_SHAPE), np.uint8)
        for row, index in enumerate(indices):
            if self.jpeg:
                start, size = self._file["images"][index]
                images[row] = read_picture(self._file["jpegs"][start : start + size].tobytes())
                continue
            self._file["images"].read_direct(images[row : row + 1], np.s_[index : index + 1])
        return images

    def assign(
        self,
        labels: np.ndarray,
        split: np.ndarray,
        identities: Sequence[str],
        duplicate_of: np.ndarray | None = None,
    ) -> None:
        """Set labels and split of all faces written (see `splits.make_splits`).

        Left uncalled, labels number the identities by name and every face is a training face.

        Args:
            labels: (N,) integers, the identity of each face; -1 where it is left out.
            split: (N,) integers, `TRAIN`, `VALIDATION`, `TEST` or `LEFT_OUT`.
            identities: their names.
            duplicate_of: (N,) integers, which face each repeats; -1 where none.

        Raises:
            ValueError: other lengths, or labels beyond the identities.
        """
        labels, split = np.asarray(labels), np.asarray(split)
        if labels.shape != (len(self),) or split.shape != (len(self),):
            raise ValueError(f"labels {labels.shape} and split {split.shape} for {len(self)} faces")
        if wrong := _wrong(labels, split, len(identities)):
            raise ValueError(wrong)
        self._file["labels"][:] = labels
        self._file["split"][:] = split
        if duplicate_of is not None:
            self._file["duplicate_of"][:] = duplicate_of
        self._file.create_dataset("identities", data=[str(name) for name in identities], dtype=_TEXT)
        self._assigned = True


class FaceStore:
    """Reads a store; safe in loader workers, forked or spawned, and fast on random batches.

    Small columns are read once, when first asked for. Two stores of one file share nothing.

    Args:
        path: a file that `FaceWriter` wrote.

    Attributes:
        labels: (N,) int64, 0..n-1; -1 where the identity was left out.
        split: (N,) int8, 0 train, 1 test, 2 validation, -1 left out.
        identities: list of n names.
        attrs: dict of how the file came about (fingerprint, seed, style, ...).

    Raises:
        FileNotFoundError: no such file.
        ValueError: not such a file, or a damaged one; the message says which.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._descriptor, self._state = None, None
        if not self.path.is_file():
            raise FileNotFoundError(f"no store at {self.path}")
        if not h5py.is_hdf5(self.path):
            raise ValueError(f"{self.path} is not an HDF5 file: make one with maskfr_utils.prepare")
        try:
            with h5py.File(_Shared(self._opened()), "r") as file:
                self.attrs: dict[str, Any] = _attributes(file)
                self._jpeg = self.attrs.get("format") == JPEG_FORMAT
                if not self._jpeg and self.attrs.get("format") != FORMAT:
                    raise ValueError(
                        f"{self.path} is an HDF5 file of another kind (format {shown(self.attrs.get('format'))}, "
                        f"not {FORMAT!r}): make it anew with maskfr_utils.prepare"
                    )
                self._check(file)
                self.labels: np.ndarray = file["labels"][:]
                self.split: np.ndarray = file["split"][:]
                self.identities: list[str] = file["identities"].asstr()[:].tolist()
                self._spans = {name: _spans(file, name, self._jpeg) for name in ("images", "masked")}
        except (OSError, LookupError, RuntimeError, AttributeError, TypeError, UnicodeDecodeError) as error:
            raise ValueError(
                f"{self._damaged} ({brief(error, 120)}): make it anew with maskfr_utils.prepare"
            ) from error
        if wrong := _wrong(self.labels, self.split, len(self.identities)):
            raise ValueError(f"{self.path} is damaged: {wrong}; make it anew")
        size = os.fstat(self._opened()).st_size
        for starts, lengths in self._spans.values():
            if len(starts) and (starts.min() < 0 or lengths.min() < 0 or (starts + lengths).max() > size):
                raise ValueError(f"{self.path} is damaged: pictures lie beyond its end; make it anew")

    def indices(self, split: int) -> np.ndarray:
        """The places (n,) int64 of the pictures of one part of the split: `TRAIN`, `VALIDATION`, `TEST` or `LEFT_OUT`."""
        return np.flatnonzero(self.split == split)

    @property
    def _damaged(self) -> str:
        return f"{self.path} is damaged"

    def _check(self, file: h5py.File) -> None:
        """Refuses columns that are not plain, of this file, and as large as they say: others show wrong pixels or hang."""
        size, count = os.fstat(self._opened()).st_size, len(file["labels"])
        columns = _JPEG_COLUMNS if self._jpeg else _COLUMNS
        if 2 * count * (1 if self._jpeg else FACE_BYTES) > size:
            raise ValueError(f"{self._damaged}: too small for the {count} faces that it promises; make it anew")
        for name, (shape, dtype, _) in columns.items():
            data = file[name]
            right = is_text(data) if dtype is _TEXT else data.dtype == np.dtype(dtype)
            if data.shape != (count, *shape) or not right:
                raise ValueError(
                    f"{self.path}: {name} is {data.shape} of {data.dtype}, expected {(count, *shape)} of {dtype}"
                )
        if file["identities"].ndim != 1 or not is_text(file["identities"]):
            raise ValueError(f"{self._damaged}: identities are no list of names; make it anew")
        if self._jpeg and (file["jpegs"].chunks != (JPEG_CHUNK,) or file["jpegs"].dtype != np.uint8):
            raise ValueError(f"{self._damaged}: jpegs are not stored in chunks of {JPEG_CHUNK:,} bytes; make it anew")
        for name in (*columns, "identities", *(["jpegs"] if self._jpeg else [])):
            if not isinstance(file.get(name, getlink=True), h5py.HardLink):
                raise ValueError(f"{self._damaged}: {name} lies in another file; make it anew")
            _check_storage(file[name], self._opened())

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        """The unmasked image (112, 112, 3) and label of one face."""
        images, labels = self.batch([index])
        return images[0], int(labels[0])

    def batch(self, indices: Sequence[int], *, masked: bool | np.ndarray = False) -> tuple[np.ndarray, np.ndarray]:
        """Some faces, in any order, repeats allowed.

        Args:
            indices: n integers; negative ones count from the end.
            masked: whether to take the masked twin: one bool, or one for each index.

        Returns:
            Images (n, 112, 112, 3) uint8 RGB and labels (n,) int64.

        Raises:
            IndexError: an index out of range.
            ValueError: `masked` of another length.
        """
        indices = np.asarray(indices)
        if indices.size and not np.issubdtype(indices.dtype, np.integer):
            raise IndexError(f"expected integer indices, got {indices.dtype}")
        indices = indices.astype(np.int64).reshape(-1)
        if len(indices) and (indices.min() < -len(self) or indices.max() >= len(self)):
            raise IndexError(f"index {indices.min()} or {indices.max()} out of range for {len(self)} faces")
        indices = indices % len(self) if len(self) else indices
        masked = np.asarray(masked, bool)
        if masked.shape not in ((), indices.shape):
            raise ValueError(f"masked has shape {masked.shape} for {len(indices)} indices")
        starts, lengths = (
            np.where(masked, twin[indices], plain[indices]).tolist()
            for plain, twin in zip(self._spans["images"], self._spans["masked"], strict=True)
        )
        images = np.empty((len(indices), *FACE_SHAPE), np.uint8)
        descriptor = self._opened()
        for row, (start, length) in enumerate(zip(starts, lengths, strict=True)):
            data = os.pread(descriptor, length, start)
            if len(data) != length:
                raise ValueError(f"{self.path} ends within a picture: it was cut while in use; make it anew")
            images[row] = self._decoded(data) if self._jpeg else np.frombuffer(data, np.uint8).reshape(FACE_SHAPE)
        return images, self.labels[indices]

    def sample(self, photos: np.ndarray) -> list[float]:
        """A few numbers that tell whether two preparations show the same faces and masks: mean grey values of some photos' twins.

        Args:
            photos: (n,) of which up to 16 are taken, the masked twins of these first.
        """
        some = photos[np.linspace(0, len(photos) - 1, min(16, len(photos)), dtype=int)]
        return [round(float(face.mean()), 2) for masked in (True, False) for face in self.batch(some, masked=masked)[0]]

    def _decoded(self, data: bytes) -> np.ndarray:
        try:
            image = read_picture(data)
        except PictureError as error:
            raise ValueError(f"{self._damaged}: a picture is {error}; make it anew") from None
        if image.shape != FACE_SHAPE:
            raise ValueError(f"{self._damaged}: a picture is {image.shape}, not {FACE_SHAPE}; make it anew")
        return image

    def _column(self, name: str) -> np.ndarray:
        try:
            with h5py.File(_Shared(self._opened()), "r") as file:
                data = file[name]
                return data.asstr()[:] if data.dtype == object else data[:]
        except (OSError, KeyError, RuntimeError, UnicodeDecodeError) as error:
            raise ValueError(
                f"{self._damaged} ({brief(error, 120)}): make it anew with maskfr_utils.prepare"
            ) from error

    @cached_property
    def landmarks(self) -> np.ndarray:
        """(N, 68, 2) float32 pixels (x, y)."""
        return self._column("landmarks")

    @cached_property
    def masked_ok(self) -> np.ndarray:
        """(N,) bool: the masked twin does wear a mask."""
        return self._column("masked_ok")

    @cached_property
    def duplicate_of(self) -> np.ndarray:
        """(N,) int64: the kept face that this left-out one repeats, else -1."""
        return self._column("duplicate_of")

    @cached_property
    def sources(self) -> np.ndarray:
        """(N,) str: `<identity>/<picture>`."""
        return self._column("sources")

    @cached_property
    def mask_kinds(self) -> np.ndarray:
        """(N,) str: the mask that each twin wears."""
        return self._column("mask_kinds")

    def _opened(self) -> int:
        """The file's descriptor: what somebody deletes or writes anew meanwhile is still read as it was.

        Raises:
            ValueError: it had to be opened again (in a spawned worker, after `close`), and is another file now.
        """
        if self._descriptor is None:
            descriptor = os.open(self.path, os.O_RDONLY)
            state = paths.state_of(os.fstat(descriptor))
            if self._state not in (None, state):
                os.close(descriptor)
                raise ValueError(f"{self.path} has changed since it was opened: begin anew")
            self._descriptor, self._state = descriptor, state
        return self._descriptor

    def close(self) -> None:
        """Close the file; the next batch opens it again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __getstate__(self) -> dict[str, Any]:
        # What the worker can read for itself need not travel to it, and a descriptor cannot.
        lazy = {name for name in vars(type(self)) if isinstance(getattr(type(self), name), cached_property)}
        return {k: v for k, v in vars(self).items() if k not in lazy} | {"_descriptor": None}

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.close()


def _wrong(labels: np.ndarray, split: np.ndarray, identities: int) -> str:
    """In words, what labels and parts (N,) cannot be."""
    if not np.isin(split, (TRAIN, TEST, VALIDATION, LEFT_OUT)).all():
        return "split holds values other than 0 (train), 1 (test), 2 (validation), -1 (left out)"
    if len(labels) and (labels.min() < -1 or labels.max() >= identities or (labels[split >= 0] < 0).any()):
        return f"labels outside 0..{identities - 1} (-1 is for faces left out)"
    return ""


class _Shared(io.RawIOBase):
    """An open file at a place of its own: processes that share the descriptor do not move each other's."""

    def __init__(self, descriptor: int):
        self._descriptor, self._place = descriptor, 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As of files."""
        self._place = (0, self._place, os.fstat(self._descriptor).st_size)[whence] + offset
        return self._place

    def readinto(self, buffer: memoryview) -> int:
        """As of files."""
        data = os.pread(self._descriptor, len(buffer), self._place)
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)


def _attributes(file: h5py.File) -> dict[str, Any]:
    """The attributes of a file that are one number or text each, as Python has them."""
    found = {}
    for name in list(file.attrs)[:MOST_ATTRIBUTES]:
        attribute = file.attrs.get_id(name)
        if attribute.shape == () and attribute.dtype.kind in "biufO":
            value = file.attrs[name]
            found[name] = value.item() if isinstance(value, np.generic) else value
    return {name: value for name, value in found.items() if isinstance(value, bool | int | float | str)}


def is_text(data: h5py.Dataset) -> bool:
    """Whether a column holds UTF-8 strings of any length."""
    kind = h5py.check_string_dtype(data.dtype)
    return kind is not None and kind.encoding == "utf-8" and kind.length is None


def _check_storage(data: h5py.Dataset, descriptor: int) -> None:
    """Refuses a column that is not in this file as it stands: filtered, elsewhere, or less than it says.

    Raises:
        TypeError: it says which.
    """
    name, size = data.name.lstrip("/"), os.fstat(descriptor).st_size
    layout = data.id.get_create_plist()
    if data.is_virtual or data.external:
        raise TypeError(f"{name} lies in another file")
    if layout.get_nfilters():
        raise TypeError(f"{name} is filtered: compressed or scaled")
    each = TEXT_BYTES if data.dtype == object else data.dtype.itemsize
    held = data.id.get_storage_size()
    if not data.size * each <= held <= size:
        raise TypeError(f"{name} promises {data.size:,} values, and holds {held:,} bytes")
    if data.dtype == object and data.size:
        lengths = _text_lengths(data, descriptor)
        if lengths.max() > LONGEST_NAME or lengths.sum() > size:
            raise TypeError(f"{name} holds texts of up to {lengths.max():,} bytes, {lengths.sum():,} in all")


def _text_lengths(data: h5py.Dataset, descriptor: int) -> np.ndarray:
    """Bytes (N,) of each text of a column, as the file says, before any is read: many may stand for one long text."""
    if data.file.id.get_create_plist().get_sizes() != (8, 8):
        raise TypeError(f"{data.name} is laid out otherwise")
    blocks: dict[int, tuple[int, int]] = {}  # first row -> place and size in the file
    if data.chunks:
        data.id.chunk_iter(lambda chunk: blocks.__setitem__(chunk.chunk_offset[0], (chunk.byte_offset, chunk.size)))
    else:
        blocks[0] = data.id.get_offset(), data.size * TEXT_BYTES
    entry = np.dtype([("length", "<u4"), ("place", "V12")])
    lengths = []
    for first in sorted(blocks):
        place, size = blocks[first]
        lengths.append(np.frombuffer(os.pread(descriptor, size, place), entry)["length"].astype(np.int64))
    return np.concatenate(lengths)[: data.size]


def _picture_offsets(data: h5py.Dataset) -> np.ndarray:
    """The byte in the file (N,) at which each picture starts."""
    if data.chunks != (1, *FACE_SHAPE):
        raise TypeError(f"{data.name} is not stored one plain chunk a picture")
    offsets = np.full(len(data), -1, np.int64)

    def place(chunk: h5py.h5d.StoreInfo) -> None:
        offsets[chunk.chunk_offset[0]] = chunk.byte_offset

    if len(data):
        data.id.chunk_iter(place)
    return offsets


def _spans(file: h5py.File, name: str, jpeg: bool) -> tuple[np.ndarray, np.ndarray]:
    """The byte in the file (N,) at which each picture starts, and how many (N,) it has."""
    if not jpeg:
        offsets = _picture_offsets(file[name])
        return offsets, np.full(len(offsets), FACE_BYTES)
    starts, lengths = file[name][:].T
    data = file["jpegs"]
    chunks = np.full(-(-len(data) // JPEG_CHUNK) + 1, -1, np.int64)
    data.id.chunk_iter(lambda chunk: chunks.__setitem__(chunk.chunk_offset[0] // JPEG_CHUNK, chunk.byte_offset))
    beyond = (
        (starts < 0) | (starts > len(data)) | (lengths < 0) | (lengths > JPEG_CHUNK) | (starts + lengths > len(data))
    )
    if len(starts) and (beyond | (starts % JPEG_CHUNK + lengths > JPEG_CHUNK)).any():
        raise TypeError(f"{name} lie outside jpegs")
    places = chunks[starts // JPEG_CHUNK] if len(starts) else starts
    return np.where(places < 0, -1, places + starts % JPEG_CHUNK), lengths
