"""Faces and their masked twins as a stream of blocks, computed over all cores, or over a cluster.

The blocks of a source are the same each time, whatever the number of processes, so that one can be taken up at any block.
"""

import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from maskfr_utils import engines, masks, rendered, store
from maskfr_utils.faces import align, sources
from maskfr_utils.faces.pictures import PictureError
from maskfr_utils.splits import picture_hash

DEMO = "demo"
BLOCK = 32  # pictures masked at a time
BLOCK_BYTES = 2**20  # but fewer, where they are large photos
PARALLEL_FROM = 16  # blocks; below it, starting processes takes longer than it saves
RENDERED_FROM = 2_000  # rendered pictures, for the same reason
PICTURE_BYTES = (
    8_000  # of an aligned face as the field's files hold it: about so many are in a file whose count is not told
)

Picture = tuple[str, bytes, np.ndarray | None]  # name, undecoded bytes, landmarks


@dataclass(frozen=True)
class Block:
    """Some faces: the `columns` of `FaceWriter.append`, the `hashes` of the pictures, and why others were `skipped`, by name."""

    columns: dict[str, Any]
    hashes: list[int]
    skipped: dict[str, str]


class How(NamedTuple):
    """What becomes of each picture: `style` and `seed` of the masks, whether it is kept as a JPEG, and whether one that shows a
    worn mask gets no second one."""

    style: masks.StyleLike = "random"
    seed: int = 0
    jpeg: bool = False
    worn_masks: bool = False


class Photos:
    """Pictures of people in a folder or archive.

    Attributes:
        name, content: of the data set, and what stands for its bytes.
        total: pictures, None where unknown.
        about: pictures, a guess where the total is unknown.
        notes: what was understood, a sentence each.
    """

    copies = True  # are looked for

    def __init__(self, path: Path):
        self.source = sources.open_source(path)
        self.name, self.content = path.resolve().name.split(".")[0], self.source.fingerprint
        self.total, self.notes = self.source.total, self.source.notes
        self.about = self.source.total if self.total is not None else max(1, self.source.size // PICTURE_BYTES)

    @property
    def skipped(self) -> Counter[str]:
        """What the source left out before anything was decoded."""
        return self.source.skipped

    def blocks(self, how: How, start: int = 0) -> Iterator[Block]:
        """All pictures in order, from block `start` on."""
        jobs = ((decode_and_mask, block) for block in islice(_read_blocks(self.source), start, None))
        return _computed(jobs, PARALLEL_FROM, how)


class Rendered:
    """People who are rendered; the same attributes as those of `Photos`."""

    copies = False  # each picture is drawn by itself

    def __init__(self, identities: int, per_identity: int, difficulty: float, seed: int):
        rendered.check_arguments(identities, per_identity, seed, difficulty)
        self.name = DEMO
        by = zlib.crc32(rendered.kept()[seed : seed + 1])
        self.content = f"{identities} x {per_identity}, difficulty {difficulty}, masks {by:08x}"
        self.total = self.about = identities * per_identity
        self.notes, self.skipped = [], Counter()
        self._people = [(i, per_identity, difficulty, seed) for i in range(identities)]

    def blocks(self, how: How, start: int = 0) -> Iterator[Block]:
        """A person a block, from person `start` on."""
        least = PARALLEL_FROM if self.total >= RENDERED_FROM else len(self._people) + 1
        return _computed(((draw_and_mask, person) for person in self._people[start:]), least, how)


def _computed(jobs: Iterator[tuple[Callable, Any]], least: int, how: How) -> Iterator[Block]:
    """What the jobs give, in order: on all cores, or those of `engines.workers`, from `least` jobs on."""
    first = list(islice(jobs, least))
    if len(first) < least:
        yield from (job(what, how) for job, what in first)
        return
    # A few blocks a core at a time: memory stays bounded however many pictures there are.
    yield from engines.results(_done, ((job, what, how) for job, what in chain(first, jobs)), engines.processes(16), 8)


def _done(job: Callable, what: Any, how: How) -> Block:
    return job(what, how)


def batches(items: Iterable, size: int) -> Iterator[list]:
    """Lists of `size` items, the last one shorter."""
    items = iter(items)
    while batch := list(islice(items, size)):
        yield batch


def _read_blocks(source: sources.Source) -> Iterator[list[Picture]]:
    block, size = [], 0
    for name, data in source.pictures():
        block.append((name, data, source.landmarks.get(name)))
        size += len(data)
        if len(block) == BLOCK or size > BLOCK_BYTES:
            yield block
            block, size = [], 0
    if block:
        yield block


def decode_and_mask(pictures: list[Picture], how: How) -> Block:
    """The faces of some encoded pictures."""
    faces, skipped = [], {}
    for name, data, landmarks in pictures:
        try:
            faces.append(sources.to_face(name, data, landmarks))
        except PictureError as error:
            skipped[name] = str(error)
    return _mask(faces, how, skipped)


def draw_and_mask(person: tuple[int, int, float, int], how: How) -> Block:
    """The faces of a rendered person: number, pictures, difficulty, seed."""
    number, count, difficulty, drawn_by = person
    drawn = rendered.render_faces(1, count, seed=drawn_by, difficulty=difficulty, first=number)
    name = f"rendered_{number:03d}"
    faces = [
        sources.Face(image, name, f"{name}/{j:03d}", landmarks)
        for j, (image, landmarks) in enumerate(zip(drawn.images, drawn.landmarks, strict=True))
    ]
    return _mask(faces, how, {}, drawn.checksums)


def _mask(faces: list[sources.Face], how: How, skipped: dict[str, str], checksums: np.ndarray | None = None) -> Block:
    images = np.array([face.image for face in faces], np.uint8).reshape(-1, *store.FACE_SHAPE)
    landmarks = align.completed(sources.landmarks_of(faces), images.__getitem__)
    twins = masks.mask_faces(images, landmarks, style=how.style, seed=how.seed, checksums=checksums)
    masked, ok, kinds = twins.images, twins.ok, np.array(twins.kinds, object)
    if how.worn_masks and len(faces):
        from maskfr_utils.masks.worn import wears_mask  # which takes torch

        wears = wears_mask(images)
        masked[wears], ok[wears], kinds[wears] = images[wears], False, store.WORN
    columns = {
        "images": [store.encode(image) for image in images] if how.jpeg else images,
        "masked": [store.encode(image) for image in masked] if how.jpeg else masked,
        "identities": [face.identity for face in faces],
        "sources": [face.name for face in faces],
        "landmarks": landmarks,
        "masked_ok": ok,
        "mask_kinds": kinds,
    }
    return Block(columns, [picture_hash(image) for image in images], skipped)
