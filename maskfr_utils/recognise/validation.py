"""People set aside to measure how alike a network finds strangers."""

import sys
from functools import cache
from pathlib import Path

import numpy as np

from maskfr_utils.faces.pictures import PictureError
from maskfr_utils.faces.sources import Source, open_source, to_face
from maskfr_utils.masks import mask_faces
from maskfr_utils.recognise.calibration import Calibration, calibrate
from maskfr_utils.recognise.embedder import Embedder
from maskfr_utils.rendered import render_faces

SEED = 3051  # of the rendered people: no other page, recipe or test renders these
MOST_PHOTOS = 4  # of a person: more add pairs, but no strangers


def rendered_calibration(embedder: Embedder, people: int = 60, photos: int = 2) -> Calibration:
    """How alike a network finds rendered people, each photo bare and with a mask drawn on."""
    print(f"measuring the network on {people} rendered people: `calibrate` keeps that with a network", file=sys.stderr)
    images, labels, landmarks = _rendered(people, photos)
    return _calibrated(embedder, images, labels, landmarks, f"{people} rendered people, bare and with drawn masks")


def calibrate_on(embedder: Embedder, source: str | Path, most_people: int = 1000) -> Calibration:
    """How alike a network finds the people of a folder or archive, each photo as it is and with a mask drawn on.

    Args:
        embedder: the network.
        source: `<person>/<photo>`; people whom the network was not trained on and who will not be enrolled.
        most_people: of more, the first.

    Raises:
        FileNotFoundError: no such source.
        ValueError: too few people, or no pictures.
    """
    faces, people = _first_photos(open_source(source), most_people)
    where = f"{len(set(people))} people of {Path(source).name}, as they are and with drawn masks"
    return _calibrated(embedder, faces, np.array(people), None, where)


def _first_photos(source: Source, most_people: int) -> tuple[np.ndarray, list[str]]:
    images, people, counts = [], [], {}
    for name, data in source.pictures():
        person = name.split("/", 1)[0]
        if counts.get(person, 0) == MOST_PHOTOS or (person not in counts and len(counts) == most_people):
            continue  # before the face is looked for, which takes nearly all of the time
        try:
            images.append(to_face(name, data).image)
        except PictureError:
            continue
        counts[person] = counts.get(person, 0) + 1
        people.append(person)
    if not images:
        raise ValueError(f"no usable photo in {source.path}")
    return np.array(images), people


def _calibrated(
    embedder: Embedder, images: np.ndarray, people: np.ndarray, landmarks: np.ndarray | None, where: str
) -> Calibration:
    masked = mask_faces(images, landmarks).images
    embeddings = np.concatenate([embedder(images), embedder(masked)])
    return calibrate(embeddings, np.concatenate([people, people]), where)


@cache
def _rendered(people: int, photos: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    faces = render_faces(people, photos, seed=SEED)
    return faces.images, faces.labels, faces.landmarks
