"""MFR2 (Anwar and Raychowdhury 2020): photos of people with and without real masks, read in this one place.

A folder with `mfr2_112.tar` of aligned faces, `landmarks68.npz`, and lists by the names of the files: `index.csv` with
`mask` (what is worn) and `detector` (what found the face when it was aligned), `pairs.csv` with the pairs to verify. Or as
its authors hand it out, see `faces.mfr2`: then faces are detected and aligned here.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maskfr_utils.faces.mfr2 import published_folder, read_published
from maskfr_utils.faces.sources import Face, landmarks_of, open_source
from maskfr_utils.measure.record import read_list

TAR = "mfr2_112.tar"
NO_MASK = "no-mask"
GUESSED = ("hog_forced", "default_box")  # found no face, or only below the usual threshold


@dataclass(frozen=True)
class Photos:
    """Aligned photos of people with and without real masks.

    Attributes:
        images: (n, 112, 112, 3) uint8 RGB.
        landmarks: (n, 68, 2) float32 pixels, NaN where unknown.
        people: (n,) names.
        labels: (n,) what the authors call the mask, `NO_MASK` where none is worn.
        detectors: (n,) what found the face when it was aligned.
        pairs: (m, 2) indices of the pairs that MFR2 verifies.
    """

    images: np.ndarray
    landmarks: np.ndarray
    people: np.ndarray
    labels: np.ndarray
    detectors: np.ndarray
    pairs: np.ndarray

    @property
    def masked(self) -> np.ndarray:
        """(n,) bool, a real mask is worn."""
        return self.labels != NO_MASK

    @property
    def detected(self) -> np.ndarray:
        """(n,) bool, the face was detected when it was aligned, not guessed."""
        return ~np.isin(self.detectors, GUESSED)

    def only(self, keep: np.ndarray) -> "Photos":
        """The photos for which `keep` (n,) bool is True, and the pairs of them."""
        columns = (self.images, self.landmarks, self.people, self.labels, self.detectors)
        return Photos(*(column[keep] for column in columns), (np.cumsum(keep) - 1)[self.pairs[keep[self.pairs].all(1)]])


def lies_in(folder: Path) -> Path:
    """What of a folder `faces.sources.open_source` takes: the tar of aligned faces, or the folder as it is handed out."""
    return folder / TAR if (folder / TAR).exists() else published_folder(folder) or folder / TAR


def read(folder: Path) -> Photos:
    """Reads MFR2.

    Args:
        folder: that holds it.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: lists do not fit the photos; the message names the file.
    """
    if lies_in(folder) != folder / TAR:
        found = read_published(folder)
        photos = _photos(found.faces, np.array(found.labels), np.full(len(found.faces), "dlib"), found.pairs)
        return photos.only(photos.labels != "")
    faces = list(open_source(folder / TAR))
    place = {face.name: i for i, face in enumerate(faces)}
    index = read_list(folder / "index.csv", ["file", "mask", "detector"], as_text=True)
    pairs = read_list(folder / "pairs.csv", ["file1", "file2"], as_text=True)
    try:
        index = index.set_index("file").loc[list(place)]
    except KeyError as error:
        raise ValueError(f"{folder / 'index.csv'} does not fit {TAR}: {error}") from None
    try:
        pairs = pairs.map(place.__getitem__).to_numpy(int).reshape(-1, 2)
    except KeyError as error:
        raise ValueError(f"{folder / 'pairs.csv'} does not fit {TAR}: {error}") from None
    if len(index) != len(faces):
        raise ValueError(f"{folder / 'index.csv'} names a photo twice, or {folder / TAR} holds one twice")
    return _photos(faces, index["mask"].to_numpy(str), index["detector"].to_numpy(str), pairs)


def _photos(faces: list[Face], labels: np.ndarray, detectors: np.ndarray, pairs: np.ndarray) -> Photos:
    return Photos(
        np.array([face.image for face in faces]),
        landmarks_of(faces),
        np.array([face.identity for face in faces]),
        labels,
        detectors,
        pairs,
    )
