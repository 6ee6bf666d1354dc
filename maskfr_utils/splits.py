"""Cleaning and splitting: which pictures are kept, and which of them are test pictures.

A test picture must not be known from training, under any disguise. Hence, in this order: pictures without a placed mask
are left out (so the unmasked set is exactly the twins of the masked one); a photo under two names is left out under
both; of near-duplicates within an identity one stays; identities with too few pictures left are left out; of the others
a fixed share of the pictures is for testing. Twins share a row, hence a side. Mirrored copies are never stored.

Nothing depends on the order of the pictures, only on their names, contents and the seed.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from maskfr_utils.store import LEFT_OUT, TEST, TRAIN

THUMBNAIL = 32
# What copies of a photo share is the face: its surroundings differ by how each was cropped, padded or cut out.
FACE_PART = slice(16, 96)
# On 1,178 known near-duplicates of a set of 17,511 photos this finds 98 %; most of what else it finds there are copies
# that were overlooked. 0.95 finds 95 %; at 0.93 half of the pairs are different photos of a similar pose.
CORRELATION = 0.94
_BLOCK = 512


@dataclass(frozen=True)
class Splits:
    """What became of N pictures.

    Attributes:
        labels: (N,) int64, 0..n-1 by name of the identities kept; -1 elsewhere.
        split: (N,) int8, 0 train, 1 test, -1 left out.
        identities: names of the n identities kept.
        duplicate_of: (N,) int64, the kept picture that this one repeats, else -1.
        dropped: how many pictures were left out, by reason.
    """

    labels: np.ndarray
    split: np.ndarray
    identities: list[str]
    duplicate_of: np.ndarray
    dropped: dict[str, int]


def thumbnails(faces: np.ndarray, part: slice = FACE_PART) -> np.ndarray:
    """A part of each face (by default the middle) as a grey 32 x 32 picture (N, 1024) float32 of mean 0 and length 1.

    A dot product of two of them is their correlation. Contrast and brightness leave no trace.
    """
    small = np.empty((len(faces), THUMBNAIL, THUMBNAIL), np.float32)
    for row, face in zip(small, faces, strict=True):
        grey = cv2.cvtColor(face[part, part], cv2.COLOR_RGB2GRAY)
        row[:] = cv2.resize(grey, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    flat = small.reshape(-1, THUMBNAIL**2)
    flat -= flat.mean(1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)


def likeness(faces: np.ndarray, others: np.ndarray) -> np.ndarray:
    """How much alike pictures are: the correlation of their thumbnails, straight or mirrored, whichever is higher.

    Args:
        faces: (N, 112, 112, 3) uint8.
        others: (M, 112, 112, 3) uint8.

    Returns:
        (N, M) float32 in [-1, 1].
    """
    return _likeness(thumbnails(faces), thumbnails(others))


def _likeness(small: np.ndarray, others: np.ndarray) -> np.ndarray:
    mirrored = small.reshape(-1, THUMBNAIL, THUMBNAIL)[:, :, ::-1].reshape(small.shape)
    return np.maximum(small @ others.T, mirrored @ others.T)


def near_duplicates(faces: np.ndarray, threshold: float = CORRELATION, part: slice = FACE_PART) -> np.ndarray:
    """Find pictures of one photo: recoloured, re-compressed, slightly re-cropped, mirrored.

    The first of each group stays: a picture is a duplicate if its `likeness` to one that stays is above the threshold.
    Memory grows with N, not with its square.

    Args:
        faces: (N, 112, 112, 3) uint8, the preferred first.
        threshold: likeness, below 1.
        part: of the face that is compared, rows and columns alike.

    Returns:
        (N,) int64: the index of the picture that stays and is repeated, -1 for those that stay.
    """
    small = thumbnails(faces, part)
    repeats = np.full(len(small), -1, np.int64)
    for start in range(0, len(small), _BLOCK):
        alike = _likeness(small[start : start + _BLOCK], small[: start + _BLOCK])
        for row, correlations in enumerate(alike, start):
            earlier = np.where(repeats[:row] < 0, correlations[:row], -1.0)
            if row and earlier.max() > threshold:
                repeats[row] = earlier.argmax()
    return repeats


def picture_hash(face: np.ndarray) -> int:
    """64 bits that are equal for equal and for mirrored pictures."""
    digests = (hashlib.blake2b(way.tobytes(), digest_size=8).digest() for way in (face, face[:, ::-1]))
    return int.from_bytes(min(digests))


def check_parameters(min_pictures: int, test_fraction: float) -> None:
    """Refuse what `make_splits` cannot work with (ValueError)."""
    if min_pictures < 2:
        raise ValueError(f"min_masked is {min_pictures}: at least 2, one picture to train and one to test on")
    if not 0 < test_fraction < 1:
        raise ValueError(f"test_fraction is {test_fraction}: it must lie between 0 and 1")


def make_splits(
    identities: Sequence[str],
    names: Sequence[str],
    usable: np.ndarray,
    hashes: Sequence[int],
    read: Callable[[np.ndarray], np.ndarray],
    *,
    min_pictures: int = 5,
    test_fraction: float = 0.1,
    seed: int = 0,
) -> Splits:
    """Clean and split N pictures.

    Args:
        identities: N names of people.
        names: N different names of pictures; of near-duplicates the first by name stays.
        usable: (N,) bool; the others are left out (a mask could not be placed).
        hashes: N results of `picture_hash`.
        read: gives the pictures (n, 112, 112, 3) at n indices; called once an identity.
        min_pictures: an identity with fewer pictures after cleaning is left out; at least 2.
        test_fraction: share of each identity's pictures for testing, in (0, 1); at least one, and at least one is left
            for training.
        seed: another one gives other test pictures.

    Raises:
        ValueError: a parameter out of range, or no identity with enough pictures; the message names the number that
            would do.
    """
    check_parameters(min_pictures, test_fraction)
    names, usable = np.asarray(names, object), np.asarray(usable, bool)
    people, person = np.unique(np.asarray(identities, object), return_inverse=True)
    split = np.full(len(names), LEFT_OUT, np.int8)
    labels, duplicate_of = np.full(len(names), -1, np.int64), np.full(len(names), -1, np.int64)
    two_names = usable & _under_two_names(np.array(hashes, np.uint64), person)
    kept = usable & ~two_names

    # Indices by identity, and by name within it.
    order = np.array(sorted(range(len(names)), key=lambda i: (person[i], names[i])), np.int64)
    groups = np.split(order, np.searchsorted(person[order], np.arange(1, len(people))))
    clean = []
    for group in groups:
        group = group[kept[group]]
        repeats = near_duplicates(read(group))
        duplicate_of[group[repeats >= 0]] = group[repeats[repeats >= 0]]
        clean.append(group[repeats < 0])

    enough = [number for number, group in enumerate(clean) if len(group) >= min_pictures]
    if not enough:
        most = max((len(group) for group in clean), default=0)
        way_out = f"set min_masked to at most {most}" if most >= 2 else "give more pictures of each person"
        lost = {"without a mask": ~usable, "under two names": two_names, "near-duplicate": duplicate_of >= 0}
        told = ", ".join(f"{which.sum()} {reason}" for reason, which in lost.items() if which.any())
        raise ValueError(
            f"0 of {len(people)} identities have {min_pictures} masked pictures; the largest has {most}: {way_out}"
            + (f"; left out: {told}" if told else "")
        )
    for label, number in enumerate(enough):
        group = clean[number]
        test = min(max(1, round(test_fraction * len(group))), len(group) - 1)
        # A draw by name: it stays the same when files are listed in another order.
        drawn = sorted(group, key=lambda i: hashlib.blake2b(f"{seed}/{names[i]}".encode(), digest_size=8).digest())
        labels[groups[number]] = label
        split[drawn[:test]], split[drawn[test:]] = TEST, TRAIN
    dropped = {
        "mask not placed": int((~usable).sum()),
        "one photo under two names": int(two_names.sum()),
        "near-duplicate": int((duplicate_of >= 0).sum()),
        f"identity below {min_pictures} pictures": sum(len(group) for group in clean if len(group) < min_pictures),
    }
    return Splits(labels, split, [str(people[number]) for number in enough], duplicate_of, dropped)


def _under_two_names(hashes: np.ndarray, person: np.ndarray) -> np.ndarray:
    """(N,) bool: the same picture also occurs under another identity."""
    _, group = np.unique(hashes, return_inverse=True)
    lowest = np.full(group.max(initial=-1) + 1, np.iinfo(np.int64).max)
    highest = np.full_like(lowest, -1)
    np.minimum.at(lowest, group, person)
    np.maximum.at(highest, group, person)
    return (lowest != highest)[group]
