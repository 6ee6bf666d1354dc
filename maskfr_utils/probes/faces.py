"""What decides the faces of a run, as numbers: pictures read, people rendered, masks drawn, copies found, photos split.

None needs data; each stands on pictures of its own, so that a change of one part moves no other.
"""

import io
import tarfile
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from scipy import ndimage

from maskfr_utils import masks, rendered, splits
from maskfr_utils.faces import align
from maskfr_utils.faces.pose import HEAD
from maskfr_utils.faces.sources import open_source
from maskfr_utils.fingerprint import Numbers, sketch
from maskfr_utils.masks.styles import styles
from maskfr_utils.twins import How, decode_and_mask

SIZE = 112


def plain_faces(count: int, seed: int = 0) -> np.ndarray:
    """Smooth noise in the colour of skin, with grain: (count, 112, 112, 3) uint8.

    Whole numbers throughout, so that every machine has the same bits: the draw of a mask hangs on them.
    """
    return _plain_faces(count, seed).copy()


@cache
def _plain_faces(count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    large = rng.integers(-60, 61, (count, 8, 8, 3)).repeat(14, 1).repeat(14, 2)
    for axis in (1, 2, 1, 2):
        large = ndimage.correlate1d(large, np.ones(13), axis, mode="wrap") // 13
    grain = rng.integers(-8, 9, (count, SIZE, SIZE, 3))
    return (large + grain + (185, 140, 120)).clip(0, 255).astype(np.uint8)


def plain_landmarks(count: int) -> np.ndarray:
    """The mean head seen from -40 to 40 degrees, as it lies in aligned faces: (count, 68, 2) float32."""
    yaw = np.radians(np.linspace(-40, 40, count))[:, None]
    x, y, z = HEAD.T
    turned = np.stack([x * np.cos(yaw) + z * np.sin(yaw), np.broadcast_to(y, (count, 68))], -1)
    return (turned * 35 + (56, 51.6)).astype(np.float32)


def pictures() -> Numbers:
    """A tar of aligned faces, read: one plain, one grey, one that its camera held sideways, one that is no picture."""
    faces = plain_faces(3)
    sideways = cv2.imencode(".jpg", cv2.rotate(faces[2], cv2.ROTATE_90_COUNTERCLOCKWISE))[1].tobytes()
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"  # orientation 6
    sideways = sideways[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2) + exif + sideways[2:]
    files = {
        "all/a/1.png": cv2.imencode(".png", faces[0])[1].tobytes(),
        "all/a/2.png": cv2.imencode(".png", faces[1][..., 0])[1].tobytes(),
        "all/b/1.jpg": sideways,
        "all/b/2.jpg": b"none",
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "faces.tar")
        with tarfile.open(path, "w") as tar:
            for name, data in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        source = open_source(path)
        found = {face.name: sketch(face.image) for face in source}
    return found | {"skipped": [sum(source.skipped.values())]}


def alignment() -> Numbers:
    """A photo with one face: where it is found and how it is aligned; empty where dlib or its predictor is not here."""
    face = rendered.render_faces(2, 1, seed=3).images[1]
    photo = np.full((400, 400, 3), 128, np.uint8)
    photo[80:304, 90:314] = cv2.resize(face, (224, 224), interpolation=cv2.INTER_CUBIC)
    try:
        boxes = align.detect(photo)
        points = align.landmarks68(photo, boxes[0])
        aligned = align.face_landmarks(face[None])[0]
    except ImportError:
        return {}
    return {
        "box": list(boxes[0]),
        "points": (points.mean(0) / 10).tolist(),
        "aligned": (aligned.mean(0) / 10).tolist(),
        "face": (align.align_face(photo, points).mean((0, 1)) / 50).tolist(),
    }


def people() -> Numbers:
    """Rendered people at three difficulties, where their landmarks are, and the checksums that are kept of the study's."""
    found = {}
    for difficulty in (0.0, 0.1, 0.9):
        faces = rendered.render_faces(3, 2, seed=7, difficulty=difficulty)
        found[f"difficulty {difficulty:g}"] = [x for image in faces.images for x in sketch(image)]
        found[f"landmarks {difficulty:g}"] = (faces.landmarks.mean(1) / 50).ravel().tolist()
    kept = rendered.render_faces(3, 2, seed=0, difficulty=0.5).checksums  # from which the study's masks are drawn
    return found | {"checksums": (np.asarray(kept) / 2**28).tolist()}


def drawn() -> Numbers:
    """Masks of every style on some heads, of styles drawn at random, and on a photo."""
    faces, points = plain_faces(8), plain_landmarks(8)
    found = {}
    for style in (*styles(), "random"):
        masked = masks.mask_faces(faces, points, style=style, seed=1)
        found[style] = [x for image in masked.images for x in sketch(image)]
        found[style] += (masked.alpha.mean((1, 2)) / 50).tolist()
    # As a run takes them, with the style and seed that it hands on.
    pictures = [
        (f"a/{i}.png", cv2.imencode(".png", face[..., ::-1])[1].tobytes(), points[i]) for i, face in enumerate(faces)
    ]
    found["twins"] = [
        x for image in decode_and_mask(pictures, How("random", 5)).columns["masked"] for x in sketch(image)
    ]
    photo = faces[4].repeat(4, 0).repeat(4, 1)
    found["photo"] = sketch(masks.mask_photo(photo, style="surgical", landmarks=points[4:5] * 4).image)
    return found


def split() -> Numbers:
    """Cleaning and split of twelve pictures of two people, among them a mirrored copy and one photo of both."""
    faces = plain_faces(12, seed=2)
    faces[3] = faces[2][:, ::-1]
    faces[4] = cv2.convertScaleAbs(faces[0], alpha=0.8, beta=12)
    faces[11] = faces[5]
    hashes = [splits.picture_hash(face) for face in faces]
    names = [f"{'ab'[i // 6]}/{i}" for i in range(12)]
    usable = np.arange(12) != 9
    kwargs = {"min_pictures": 3, "test_fraction": 0.3, "validation_fraction": 0.3}
    result = splits.make_splits([n[0] for n in names], names, usable, hashes, lambda i: faces[i], **kwargs)
    return {
        "labels": result.labels.tolist(),
        "split": result.split.tolist(),
        "duplicate_of": result.duplicate_of.tolist(),
        "likeness": splits.likeness(faces[:3], faces[2:5]).ravel().tolist(),
    }


PARTS: dict[str, Callable[[], Numbers]] = {
    "pictures": pictures,
    "alignment": alignment,
    "rendered people": people,
    "masks": drawn,
    "split": split,
}


def of_data(rendered_ones: bool) -> dict[str, Callable[[], Numbers]]:
    """The parts that decide a prepared file: of rendered people, or of a folder or archive of pictures."""
    names = ("rendered people", "masks", "split") if rendered_ones else ("pictures", "alignment", "masks", "split")
    return {name: PARTS[name] for name in names}
