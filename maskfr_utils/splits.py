"""Cleaning and splitting: which pictures are kept, and which of them are for training, validation and testing.

A test picture must not be known from training, under any disguise. Hence, in this order: pictures without a placed mask
are left out (so the unmasked set is exactly the twins of the masked one); a photo of two people is left out under
both; of near-duplicates within an identity one stays, unless all are wanted; identities with too few pictures left are left out; of the others
a fixed share of the pictures is for testing, and of the rest a share for validation, on which every choice is made.
Pictures that may yet be copies lie in one part, unless all of a person may be: then they are cut all the same. Twins share a row, hence a part. Mirrored copies are never stored.

Nothing depends on the order of the pictures, only on their names, contents and the seed.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from maskfr_utils.store import LEFT_OUT, TEST, TRAIN, VALIDATION

THUMBNAIL = 32
# What copies of a photo share is the face: its surroundings differ by how each was cropped, padded or cut out.
FACE_PART = slice(16, 96)
# On 1,178 known near-duplicates of a set of 17,511 photos this finds 98%; most of what else it finds there are copies
# that were overlooked. 0.95 finds 95%; at 0.93 half of the pairs are different photos of a similar pose.
CORRELATION = 0.94
SUSPECT = 0.92  # from here on pictures of one person may be copies: one in ten is
# Of 9,736 pairs across people of that set that are more alike than 0.9 none exceeds 0.83; of 60 copies, turned, cut out
# anew, recoloured and compressed, 57 exceed 0.84.
DETAIL = 0.84
CROSS_LIMIT = 100_000  # pictures; beyond, comparing each with each takes hours
_BLOCK = 512


@dataclass(frozen=True)
class Splits:
    """What became of N pictures.

    Attributes:
        labels: (N,) int64, 0..n-1 by name of the identities kept; -1 elsewhere.
        split: (N,) int8, 0 train, 1 test, 2 validation, -1 left out.
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
    return _repeats(thumbnails(faces, part), threshold)


def _repeats(small: np.ndarray, threshold: float) -> np.ndarray:
    repeats = np.full(len(small), -1, np.int64)
    for start in range(0, len(small), _BLOCK):
        alike = _likeness(small[start : start + _BLOCK], small[: start + _BLOCK])
        for row, correlations in enumerate(alike, start):
            earlier = np.where(repeats[:row] < 0, correlations[:row], -1.0)
            if row and earlier.max() > threshold:
                repeats[row] = earlier.argmax()
    return repeats


def _together(small: np.ndarray, threshold: float) -> np.ndarray:
    """Groups (N,) int of the `thumbnails` of one person's pictures that may be copies: chains of a likeness above the threshold."""
    pairs = [
        np.argwhere(_likeness(small[start : start + _BLOCK], small) > threshold) + (start, 0)
        for start in range(0, len(small), _BLOCK)
    ]
    rows, columns = np.concatenate(pairs or [np.empty((0, 2), int)]).T
    graph = coo_array((np.ones(len(rows), bool), (rows, columns)), (len(small), len(small)))
    return connected_components(graph, directed=False)[1]


def same_photo(face: np.ndarray, other: np.ndarray) -> bool:
    """Whether two faces (112, 112, 3) uint8 are one photo, by their details once one lies on the other.

    Thumbnails of two people in one pose, light and make-up are much alike; their details are not.
    """
    return max(_detail(face, way) for way in (other, other[:, ::-1])) > DETAIL


def _detail(face: np.ndarray, other: np.ndarray) -> float:
    """Correlation of the details of two faces, after the affine map that fits them best."""
    small = []
    for picture in (face, other):
        grey = cv2.cvtColor(np.ascontiguousarray(picture[FACE_PART, FACE_PART]), cv2.COLOR_RGB2GRAY)
        small.append(cv2.resize(grey, (64, 64), interpolation=cv2.INTER_AREA).astype(np.float32))
    turn = np.eye(2, 3, dtype=np.float32)
    until = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 50, 1e-4)
    with contextlib.suppress(cv2.error):  # it finds no map: as they lie
        # A copy, since it writes into what it is given before it fails.
        _, turn = cv2.findTransformECC(small[0], small[1], turn.copy(), cv2.MOTION_AFFINE, until, None, 5)
    small[1] = cv2.warpAffine(small[1], turn, (64, 64), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    a, b = ((x - cv2.GaussianBlur(x, (0, 0), 3))[6:-6, 6:-6].ravel() for x in small)
    return float(np.corrcoef(a, b)[0, 1]) if a.any() and b.any() else 0.0


def across_people(small: np.ndarray, person: np.ndarray, read: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """(N,) bool: the photo is also there under another person, recoloured or cut out anew.

    Args:
        small: `thumbnails` of the pictures (N, 1024).
        person: (N,) who is said to be on each.
        read: gives the pictures (n, 112, 112, 3) at n of the N places.
    """
    found = np.zeros(len(small), bool)
    found[copies_across_people(small, person, read)] = True
    return found


def copies_across_people(small: np.ndarray, person: np.ndarray, read: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """(k, 2) int: the pairs of photos of two people that are one photo; arguments as `across_people`'s."""
    found = []
    for start in range(0, len(small), _BLOCK):
        rest = slice(start, len(small))
        alike = _likeness(small[start : start + _BLOCK], small[rest]) > SUSPECT
        alike &= person[start : start + _BLOCK, None] != person[rest]
        found += [pair for pair in np.argwhere(np.triu(alike)) + start if same_photo(*read(pair))]
    return np.array(found, int).reshape(-1, 2)


def picture_hash(face: np.ndarray) -> int:
    """64 bits that are equal for equal and for mirrored pictures."""
    digests = (hashlib.blake2b(way.tobytes(), digest_size=8).digest() for way in (face, face[:, ::-1]))
    return int.from_bytes(min(digests))


def check_parameters(min_pictures: int, test_fraction: float, validation_fraction: float = 0.0) -> None:
    """Refuse what `make_splits` cannot work with (ValueError)."""
    if not 0 <= validation_fraction < 1:
        raise ValueError(f"validation_fraction is {validation_fraction}: from 0 (none) to less than 1")
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
    validation_fraction: float = 0.0,
    copies: bool = True,
    keep_copies: bool = False,
    seed: int = 0,
) -> Splits:
    """Clean and split N pictures.

    Args:
        identities: N names of people.
        names: N different names of pictures; of near-duplicates the first by name stays.
        usable: (N,) bool; the others are left out (a mask could not be placed).
        hashes: N results of `picture_hash`.
        read: gives the pictures (n, 112, 112, 3) at n indices; called for each identity, and for pairs that may be copies.
        min_pictures: an identity with fewer pictures after cleaning is left out; at least 2.
        test_fraction: share of each identity's pictures for testing, in (0, 1); at least one, and one stays for training.
        validation_fraction: share of each identity's other pictures for validation, in [0, 1).
        copies: look for near-duplicates; pictures drawn separately, as rendered ones, have none however alike they are.
        keep_copies: near-duplicates stay, in one part with all that they may be copies of.
        seed: another one gives other test pictures.

    Raises:
        ValueError: a parameter out of range, or no identity with enough pictures; it names the number that would do.
    """
    check_parameters(min_pictures, test_fraction, validation_fraction)
    names, usable = np.asarray(names, object), np.asarray(usable, bool)
    people, person = np.unique(np.asarray(identities, object), return_inverse=True)
    split, labels = np.full(len(names), LEFT_OUT, np.int8), np.full(len(names), -1, np.int64)
    under_two = _under_two_names(np.array(hashes, np.uint64), person)
    groups, two_names = _by_person(person, names), usable & under_two
    kept = [group[(usable & ~two_names)[group]] for group in groups]
    small = (thumbnails(read(group)) for group in kept) if copies else ()
    if copies and len(names) <= CROSS_LIMIT:
        small, place = list(small), np.concatenate(kept)
        two_names[place[across_people(np.concatenate(small), person[place], lambda some: read(place[some]))]] = True
        kept, small = _without(two_names, kept, small)
    duplicate_of, unit = _copies(kept, small, len(names), keep_copies)
    clean = [group[duplicate_of[group] < 0] for group in kept]

    enough = [number for number, group in enumerate(clean) if len(group) >= min_pictures]
    lost = {"mask not placed": ~usable, "one photo under two names": two_names, "near-duplicate": duplicate_of >= 0}
    if not enough:
        raise ValueError(_too_few(clean, min_pictures, lost))
    for label, number in enumerate(enough):
        labels[groups[number]] = label
        test, rest = _cut(_drawn(clean[number], names, unit, seed), unit, test_fraction, 1)
        validation, training = _cut(rest, unit, validation_fraction)
        split[test], split[validation], split[training] = TEST, VALIDATION, TRAIN
    labels[under_two & ~usable] = -1  # a mask that is worn already may be a test, but of whom?
    dropped = {reason: int(which.sum()) for reason, which in lost.items()}
    dropped[f"identity below {min_pictures} pictures"] = sum(len(g) for g in clean if len(g) < min_pictures)
    return Splits(labels, split, [str(people[number]) for number in enough], duplicate_of, dropped)


def _by_person(person: np.ndarray, names: np.ndarray) -> list[np.ndarray]:
    """Indices of the pictures of each person, by name."""
    order = np.argsort(person, kind="stable")
    groups = np.split(order, np.searchsorted(person[order], np.arange(1, person.max(initial=0) + 1)))
    return [np.array(sorted(group.tolist(), key=names.__getitem__), np.int64) for group in groups]


def _without(lost: np.ndarray, groups: list[np.ndarray], small: list[np.ndarray]) -> tuple[list[np.ndarray], ...]:
    """The groups and their thumbnails without the pictures that are lost (N,) bool."""
    stays = [~lost[group] for group in groups]
    return tuple([each[keep] for each, keep in zip(parts, stays, strict=True)] for parts in (groups, small))


def _copies(
    groups: Iterable[np.ndarray], small: Iterable[np.ndarray], count: int, keep: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Of each of `count` pictures the one that it repeats, else -1; and what it must share a part with: a group's first.

    Args:
        groups: the pictures of each person.
        small: the thumbnails of each group; none at all where no copies are looked for.
        count: of all pictures.
        keep: none counts as a repetition; it only must share the part.
    """
    duplicate_of, unit = np.full(count, -1, np.int64), np.arange(count)
    for group, each in zip(groups, small, strict=False):
        if not keep:
            repeats = _repeats(each, CORRELATION)
            duplicate_of[group[repeats >= 0]] = group[repeats[repeats >= 0]]
            group, each = group[repeats < 0], each[repeats < 0]
        _, first, chain = np.unique(_together(each, SUSPECT), return_index=True, return_inverse=True)
        unit[group] = group[first[chain]] if len(group) else group
    return duplicate_of, unit


def _too_few(clean: list[np.ndarray], wanted: int, lost: dict[str, np.ndarray]) -> str:
    """Why no identity has enough pictures, and the way out."""
    most = max((len(group) for group in clean), default=0)
    way_out = f"set min_masked to at most {most}" if most >= 2 else "give more pictures of each person"
    told = ", ".join(f"{which.sum()} {reason}" for reason, which in lost.items() if which.any())
    return f"0 of {len(clean)} identities have {wanted} masked pictures; the largest has {most}: {way_out}" + (
        f"; left out: {told}" if told else ""
    )


def _drawn(group: np.ndarray, names: np.ndarray, unit: np.ndarray, seed: int) -> np.ndarray:
    """Pictures of one person in an order drawn by name, so that the order in which files are listed does not count."""

    def draw(i: int) -> bytes:
        return hashlib.blake2b(f"{seed}/{names[i]}".encode(), digest_size=8).digest()

    return np.array(sorted(group, key=lambda i: (draw(unit[i]), draw(i))), np.int64)


def _cut(drawn: np.ndarray, unit: np.ndarray, share: float, least: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A share of the pictures, and the rest, at least one; groups that stay together are not cut."""
    size = min(max(round(share * len(drawn)), least), len(drawn) - 1)
    ends = np.flatnonzero(unit[drawn[1:]] != unit[drawn[:-1]]) + 1
    if size > 0 and len(ends):  # else all may be copies of one photo: then they are cut all the same
        end = int(ends[np.abs(ends - size).argmin()])
        if end > 2 * size:  # a large group comes first: small ones are to be cut off
            groups = sorted(np.split(drawn, ends), key=len)
            drawn, ends = np.concatenate(groups), np.cumsum([len(group) for group in groups[:-1]])
            end = int(ends[np.abs(ends - size).argmin()])
        size = end
    return drawn[: max(size, 0)], drawn[max(size, 0) :]


def _under_two_names(hashes: np.ndarray, person: np.ndarray) -> np.ndarray:
    """(N,) bool: the same picture also occurs under another identity."""
    _, group = np.unique(hashes, return_inverse=True)
    lowest = np.full(group.max(initial=-1) + 1, np.iinfo(np.int64).max)
    highest = np.full_like(lowest, -1)
    np.minimum.at(lowest, group, person)
    np.maximum.at(highest, group, person)
    return (lowest != highest)[group]
