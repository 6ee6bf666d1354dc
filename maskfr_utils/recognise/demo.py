"""Photos of people who do not exist, to try `recognise` on: who enrols, and whom one meets masked."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from maskfr_utils.masks import mask_faces
from maskfr_utils.rendered import render_faces

NAMES = ("Ada", "Bela", "Chloé", "Dmitri", "Emre", "Fatou", "Goran", "Hana", "Ines", "Jonas", "Kofi", "Lena")
SEED = 3052  # not of people whom the network of the package was trained or measured on


def write_photos(folder: str | Path, *, people: int = 8, strangers: int = 2, photos: int = 4, seed: int = SEED) -> None:
    """Writes rendered photos: `people/<name>/<number>.png` to enrol, `met/` the same people and strangers with masks.

    Args:
        folder: where to; made if missing.
        people: who enrol, at most 12.
        strangers: who do not.
        photos: of each person to enrol.
        seed: of people, pictures and masks.

    Raises:
        ValueError: no people, or more than have names.
    """
    if not 1 <= people <= len(NAMES):
        raise ValueError(f"people {people}: 1 to {len(NAMES)}")
    everybody = people + strangers
    faces = render_faces(everybody, photos + 2, seed=seed, difficulty=0.3)
    images = faces.images.reshape(everybody, photos + 2, *faces.images.shape[1:])
    landmarks = faces.landmarks.reshape(everybody, photos + 2, 68, 2)
    for name, hers in zip(NAMES, images[:people], strict=False):
        for number, image in enumerate(hers[:photos], 1):
            _write(Path(folder) / "people" / name / f"{number}.png", image)
    met = [mask_faces(images[:, k], landmarks[:, k], seed=seed).images for k in (photos, photos + 1)]
    names = [*NAMES[:people], *(f"stranger {i + 1}" for i in range(strangers))]
    for name, image in zip(names, met[0], strict=True):
        _write(Path(folder) / "met" / f"{name}.png", image)
    _write(Path(folder) / "met" / "all together.png", together(met[1]))


def together(faces: np.ndarray) -> np.ndarray:
    """A group photo (height, width, 3) uint8 of faces (n, 112, 112, 3), side by side and 1.6 times as large."""
    columns, gap, size = 5, 24, round(faces.shape[1] * 1.6)
    rows = -(-len(faces) // columns)
    photo = np.full((gap + rows * (size + gap), gap + columns * (size + gap), 3), 128, np.uint8)
    for i, face in enumerate(faces):
        top, left = (gap + place * (size + gap) for place in divmod(i, columns))
        photo[top : top + size, left : left + size] = cv2.resize(face, (size, size), interpolation=cv2.INTER_CUBIC)
    return photo


def _write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
