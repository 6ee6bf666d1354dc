"""Sets of people whom a network has not seen, as `strangers` tries them: photos, twins with drawn masks, pairs to tell apart.

Rendered people are always there; `lfw` (Huang et al. 2007), `mfr2` (Anwar and Raychowdhury 2020) and `glint24` where they
lie below MASKFR_DATA. Embeddings are computed once for each set and network and kept below the cache.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from maskfr_utils import fingerprint, paths
from maskfr_utils.faces import align
from maskfr_utils.faces.pose import head_yaw
from maskfr_utils.faces.sources import landmarks_of, open_source
from maskfr_utils.masks import mask_faces
from maskfr_utils.measure import mfr2
from maskfr_utils.measure.record import read_list
from maskfr_utils.probes.faces import of_data
from maskfr_utils.recognise import Embedder, quality
from maskfr_utils.rendered import render_faces

SEED = 3067  # of rendered people who are in nothing else
FOLDS = 10
_EYES = float(np.linalg.norm(align.TEMPLATE5[1] - align.TEMPLATE5[0]))  # pixels between them in an aligned face


@dataclass(frozen=True)
class PictureSet:
    """Photos of people, each as it is and with a mask drawn on.

    Attributes:
        name: of the set.
        images, twins: (n, 112, 112, 3) uint8 RGB, as they are and with a drawn mask; alike where a real mask is worn. None in a
            set `without_pictures`.
        people: (n,) names.
        worn: (n,) bool, a real mask is worn.
        landmarks: (n, 68, 2) float32 pixels.
        kinds: (n,) of the drawn mask, or the label of the real one.
        covered: (n,) share of the picture that the drawn mask covers; nan where none could be drawn.
        sharpness: (n,) see `recognise.quality.sharpness`.
        size: (n,) pixels between the eyes in the original photo; nan where unknown.
        pairs: (m, 2) photos to tell apart, none where the set has none.
        folds: (m,) the fold of each pair.
        content: what tells whether embeddings are still those of this set.
    """

    name: str
    images: np.ndarray
    twins: np.ndarray
    people: np.ndarray
    worn: np.ndarray
    landmarks: np.ndarray
    kinds: np.ndarray
    covered: np.ndarray
    sharpness: np.ndarray
    size: np.ndarray
    pairs: np.ndarray
    folds: np.ndarray
    content: str

    def only(self, keep: np.ndarray) -> "PictureSet":
        """The photos for which `keep` (n,) bool is True, and the pairs of them."""
        both = keep[self.pairs].all(1)
        columns = ("images", "twins", "people", "worn", "landmarks", "kinds", "covered", "sharpness", "size")
        kept = {name: getattr(self, name) for name in columns}
        return replace(
            self,
            pairs=(np.cumsum(keep) - 1)[self.pairs[both]],
            folds=self.folds[both],
            **{name: column[keep] if len(column) else column for name, column in kept.items()},
        )

    def without_pictures(self) -> "PictureSet":
        """All but `images` and `twins`, which take most of the memory."""
        return replace(self, images=self.images[:0].copy(), twins=self.twins[:0].copy())

    @property
    def quality(self) -> dict[str, np.ndarray]:
        """What may make a photo hard, (n,) each, larger is easier but for `turned` (degrees) and `covered`."""
        return {
            "turned": np.abs(head_yaw(self.landmarks)),
            "sharpness": self.sharpness,
            "size": self.size,
            "covered": self.covered,
        }


def rendered(people: int = 150, photos: int = 4) -> PictureSet:
    """Rendered people, at least 4: all pairs of a person's photos, as many of two people of one fold, folds by person."""
    faces = render_faces(people, photos, seed=SEED)
    rng, person = np.random.default_rng(SEED), faces.labels
    same = np.array([(i, j) for i in range(len(person)) for j in range(i) if person[i] == person[j]])
    fold = person * min(FOLDS, people // 2) // people  # two people at least in each
    others = []
    while len(others) < len(same):
        i, j = rng.integers(len(person), size=2)
        if person[i] != person[j] and fold[i] == fold[j]:
            others.append((i, j))
    pairs = np.concatenate([same, others])
    names = np.array([f"unseen {label:03d}" for label in person])
    content = f"rendered {people} x {photos}, seed {SEED}"
    return _with_masks("rendered", faces.images, faces.landmarks, names, pairs, fold[pairs[:, 0]], content)


def lfw(folder: Path) -> PictureSet:
    """LFW with its 6,000 pairs in ten folds: `lfw_112.tar`, `pairs.csv` with `fold`, `file1`, `file2`, and `index.csv`.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: the lists do not fit the photos; the message names the file.
    """
    listed = read_list(folder / "pairs.csv", ["fold", "file1", "file2"])
    return _read(folder, "lfw", listed[["file1", "file2"]], listed["fold"].to_numpy(int))


def glint24(folder: Path) -> PictureSet:
    """Photos of 24 people without pairs; errors as `lfw`'s."""
    return _read(folder, "glint24", pd.DataFrame(columns=["file1", "file2"]), np.zeros(0, int))


def real_masks(folder: Path) -> PictureSet:
    """MFR2 with its 848 pairs, in ten folds by chance; masks are drawn where none is worn. Errors as `mfr2.read`'s."""
    found = mfr2.read(folder)
    folds = np.random.default_rng(SEED).permutation(len(found.pairs)) % FOLDS
    content = open_source(mfr2.lies_in(folder)).fingerprint
    made = _with_masks("mfr2", found.images, found.landmarks, found.people, found.pairs, folds, content)
    twins = np.where(found.masked[:, None, None, None], made.images, made.twins)
    return replace(made, twins=twins, worn=found.masked, kinds=np.where(found.masked, found.labels, made.kinds))


READERS = {"lfw": lfw, "mfr2": real_masks, "glint24": glint24}


def _read(folder: Path, name: str, pairs: pd.DataFrame, folds: np.ndarray) -> PictureSet:
    source = open_source(folder / f"{name}_112.tar")
    faces = list(source)
    place = {face.name: i for i, face in enumerate(faces)}
    try:
        pairs = pairs.map(place.__getitem__).to_numpy(int).reshape(-1, 2)
    except KeyError as error:
        raise ValueError(f"{folder / 'pairs.csv'} does not fit {source.path.name}: {error}") from None
    landmarks = landmarks_of(faces)
    people = np.array([face.identity for face in faces])
    images = np.array([face.image for face in faces])
    made = _with_masks(name, images, landmarks, people, pairs, folds, source.fingerprint)
    if not (folder / "index.csv").is_file():
        return made
    scale = read_list(folder / "index.csv", ["file", "scale"]).drop_duplicates("file").set_index("file")["scale"]
    return replace(made, size=_EYES / scale.reindex(list(place)).to_numpy(float))


def _with_masks(
    name: str,
    images: np.ndarray,
    landmarks: np.ndarray,
    people: np.ndarray,
    pairs: np.ndarray,
    folds: np.ndarray,
    content: str,
) -> PictureSet:
    landmarks = align.completed(landmarks, images.__getitem__)
    drawn = mask_faces(images, landmarks)
    covered = np.where(drawn.ok, drawn.coverage.mean((1, 2)), np.nan)
    return PictureSet(
        name=name,
        images=images,
        twins=drawn.images,
        people=people,
        worn=np.zeros(len(images), bool),
        landmarks=landmarks,
        kinds=drawn.kinds,
        covered=covered,
        sharpness=np.array([quality.sharpness(image) for image in images]),
        size=np.full(len(images), np.nan),
        pairs=pairs,
        folds=folds,
        content=content,
    )


def embed(embedder: Embedder, pictures: PictureSet) -> np.ndarray:
    """Embeddings (2, n, d) of the photos as they are and with a drawn mask; from the cache where they are known."""
    now = fingerprint.numbers(of_data(pictures.name == "rendered"))
    described = json.dumps([pictures.content, len(pictures.people), now, embedder.fingerprint], sort_keys=True)
    key = hashlib.blake2b(described.encode(), digest_size=8).hexdigest()
    path = paths.cache_dir() / f"embeddings-{pictures.name}-{key}.npy"
    try:
        found = np.load(path, allow_pickle=False)
        if found.shape[:2] == (2, len(pictures.people)):
            return found
    except (OSError, ValueError, EOFError):  # none yet, or broken: computed anew
        pass
    bare = embedder(pictures.images)
    found = np.stack([bare, bare])
    if (drawn := ~pictures.worn).any():
        found[1, drawn] = embedder(pictures.twins[drawn])
    with paths.replacing(path) as temporary:
        np.save(temporary, found)
    return found
