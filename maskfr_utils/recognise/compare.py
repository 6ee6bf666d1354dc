"""Two photos of one person or of two; and the embeddings of all faces of a folder, for other programs."""

import importlib.util
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from maskfr_utils.faces.archives import Archive, open_archive
from maskfr_utils.faces.pictures import PictureError
from maskfr_utils.paths import replacing
from maskfr_utils.recognise import quality
from maskfr_utils.recognise.embedder import Embedder
from maskfr_utils.recognise.validation import rendered_calibration

FALSE_ACCEPTS = 0.001


@dataclass(frozen=True)
class Comparison:
    """Whether two photos show one person.

    Attributes:
        same: the cosine reaches the threshold.
        cosine: likeness, -1 to 1; no probability.
        threshold: what the given share of pairs of strangers reaches.
        notes: what is wrong with each of the two faces, in words.
        validation: on whom the threshold was measured.
    """

    same: bool
    cosine: float
    threshold: float
    notes: tuple[tuple[str, ...], tuple[str, ...]]
    validation: str


def verify(
    embedder: Embedder, a: np.ndarray | str | Path, b: np.ndarray | str | Path, *, rate: float = FALSE_ACCEPTS
) -> Comparison:
    """Compares the faces of two photos.

    Args:
        embedder: the network.
        a, b: paths of pictures, or (height, width, 3) uint8 RGB, with one face each.
        rate: share of pairs of strangers that may be taken for one person.

    Raises:
        OSError: no such file.
        ValueError: no picture, not one face, or no rate.
    """
    faces = []
    for photo in (a, b):
        face, why_not = quality.the_face(quality.find_faces(quality.open_photo(photo)))
        if face is None:
            named = "a photo" if isinstance(photo, np.ndarray) else photo
            raise ValueError(f"{named}: {why_not}; give photos in which one face is to be seen")
        faces.append(face)
    calibration = embedder.calibration or rendered_calibration(embedder)
    threshold = calibration.threshold(rate)
    first, second = embedder(np.array([face.image for face in faces]))
    cosine = float(first @ second)
    notes = faces[0].notes, faces[1].notes
    return Comparison(cosine >= threshold, cosine, threshold, notes, calibration.validation)


def photos(archive: Archive) -> Iterator[tuple[str, np.ndarray | None, str]]:
    """Name and pixels (height, width, 3) uint8 of all pictures of a folder or archive; None with the reason where broken."""
    with archive.reader() as read:
        for entry in tqdm(archive.entries(), unit="photo", leave=False, delay=2, disable=None):
            try:
                yield entry.name, quality.open_photo(read(entry)), ""
            except PictureError as error:
                yield entry.name, None, str(error)


def embed_folder(embedder: Embedder, source: str | Path, out: str | Path) -> Counter:
    """Writes the embeddings of all faces of a folder, zip, tar or picture as an .npz of plain arrays, or as .parquet.

    The arrays, or columns of a line a face: `embeddings` (n, d) float32 of length 1, `pictures` (n,) their names, `people` (n,) the folder right above
    each, `boxes` (n, 4) int, `notes` (n,) what is wrong with each face, and `network`, the hash of its weights.

    Returns:
        How many "faces", and how many pictures gave none, by reason.

    Raises:
        OSError: no such source, or `out` cannot be written.
        ImportError: .parquet needs the package pyarrow.
        ValueError: no face in it, or `out` is neither .npz nor .parquet.
    """
    suffix = Path(out).suffix
    if suffix not in (".npz", ".parquet"):
        raise ValueError(f"{out}: embeddings are written as .npz or .parquet; name a file that ends so")
    if (
        suffix == ".parquet" and importlib.util.find_spec("pyarrow") is None
    ):  # 120 MB installed: only for who asks for it
        raise ImportError(
            f"{out}: parquet needs one more package: pip install pyarrow, or name a file that ends in .npz"
        )
    if Path(out).is_dir():
        raise IsADirectoryError(f"{out} is a folder: name a file")
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    if not os.access(Path(out).parent, os.W_OK):
        raise PermissionError(f"{Path(out).parent} may not be written into: name a file elsewhere")
    archive, counts = open_archive(source), Counter()
    embeddings, names, boxes, notes = [], [], [], []
    for name, photo, why_not in photos(archive):
        faces = quality.find_faces(photo) if photo is not None else []
        if not faces:
            counts[why_not or "no face"] += 1
            continue
        embeddings.append(embedder(np.array([face.image for face in faces])))
        names += [name] * len(faces)
        boxes += [face.box for face in faces]
        notes += [", ".join(face.notes) for face in faces]
    counts.update(archive.skipped)
    if not embeddings:
        raise ValueError(f"no face in {source}: " + ", ".join(f"{n} {reason}" for reason, n in counts.items()))
    counts["faces"] = len(names)
    arrays = {
        "embeddings": np.concatenate(embeddings),
        "pictures": np.array(names),
        "people": np.array([name.rpartition("/")[0].rpartition("/")[2] for name in names]),
        "boxes": np.array(boxes, np.int32),
        "notes": np.array(notes),
        "network": np.array(embedder.fingerprint),
    }
    with replacing(Path(out)) as temporary:
        if suffix == ".parquet":
            pd.DataFrame(
                {name: list(values) if values.ndim else values.item() for name, values in arrays.items()}
            ).to_parquet(temporary, index=False)
        else:
            np.savez(temporary, **arrays)
    return counts
