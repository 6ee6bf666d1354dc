"""The faces of a photo, and what is wrong with each, in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from maskfr_utils.faces import align
from maskfr_utils.faces.pictures import PictureError, file_bytes, read_picture
from maskfr_utils.faces.pose import head_yaw
from maskfr_utils.masks.worn import wears_mask

# Below 0 the detector finds a masked face where it would find none: of 86 in photos with drawn masks 76% instead of 50%, with
# one false face in 40 photos.
DETECTION = -0.5
SMALL = 18.0  # pixels between the eyes in the photo: half of what an aligned face has
TURNED = 35.0  # degrees to the side
BLURRED = 0.1  # `sharpness` below which 0.5% of photos from the web lie, and 96% of those blurred by 3 pixels (standard deviation)


@dataclass(frozen=True)
class FoundFace:
    """A face of a photo.

    Attributes:
        image: (112, 112, 3) uint8 RGB, aligned.
        box: left, top, right, bottom in pixels of the photo.
        notes: what makes it hard to recognise: "too small", "blurred", "turned", "already masked".
    """

    image: np.ndarray
    box: tuple[int, int, int, int]
    notes: tuple[str, ...]


def open_photo(photo: np.ndarray | bytes | str | Path) -> np.ndarray:
    """A photo (height, width, 3) uint8 RGB from the path of a picture, its bytes, or such an array.

    Raises:
        OSError: no such file.
        ValueError: no picture; the message names the file.
    """
    if isinstance(photo, np.ndarray):
        if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3 or not photo.size:
            raise ValueError(f"a photo must be (height, width, 3) uint8 RGB, got {photo.shape} {photo.dtype}")
        return photo
    if isinstance(photo, bytes):
        return read_picture(photo)
    try:
        return read_picture(file_bytes(photo))
    except ValueError as error:
        raise ValueError(f"{photo}: {error}") from None


def find_faces(photo: np.ndarray) -> list[FoundFace]:
    """The faces of a photo, the largest and most central first; a picture of 112 x 112 is one aligned face.

    A photo that lies on its side or stands on its head is put upright (`align.detect_upright`), or taken as it stands where
    that cannot be told.

    Args:
        photo: (height, width, 3) uint8 RGB.
    """
    height, width = photo.shape[:2]
    if (height, width) == (align.FACE_SIZE, align.FACE_SIZE):
        points = align.face_landmarks(photo[None])[0]
        return [FoundFace(photo, (0, 0, width, height), _notes(photo, points, None))]
    try:
        quarter, boxes = align.detect_upright(photo, DETECTION)
    except PictureError:  # a doubtful face, as many under a mask are: most photos stand upright
        quarter, boxes = 0, align.detect(photo, DETECTION)
    turned = np.ascontiguousarray(np.rot90(photo, quarter))
    faces = [face for box in boxes if (face := _face(turned, box)) is not None]
    return [FoundFace(f.image, _turned_back(f.box, quarter, width, height), f.notes) for f in faces]


def the_face(faces: Sequence[FoundFace]) -> tuple[FoundFace | None, str]:
    """The one face of a photo of one person, or None and why there is none in words."""
    if not faces:
        return None, "no face"
    sizes = sorted((face.box[2] - face.box[0] for face in faces), reverse=True)
    if len(faces) > 1 and sizes[1] > sizes[0] / 2:  # smaller ones are passers-by
        return None, f"{len(faces)} faces" if len(faces) > 2 else "two faces"
    return max(faces, key=lambda face: face.box[2] - face.box[0]), ""


def sharpness(face: np.ndarray) -> float:
    """How much of the contrast round the eyes, which no mask covers, is in fine detail: 0 for a face out of focus.

    The spread of the Laplacian over the spread of the brightness itself.

    Args:
        face: (112, 112, 3) uint8 RGB, aligned.
    """
    grey = cv2.GaussianBlur(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)[36:68, 20:92].astype(np.float32), (0, 0), 0.8)
    return float(cv2.Laplacian(grey, cv2.CV_32F).std() / max(grey.std(), 1.0))


def _face(photo: np.ndarray, box: tuple[int, int, int, int]) -> FoundFace | None:
    points = align.landmarks68(photo, box)
    try:
        image, matrix = align.align_face(photo, points, return_transform=True)
    except ValueError:  # landmarks that coincide
        return None
    aligned = points @ matrix[:, :2].T + matrix[:, 2]
    return FoundFace(image, box, _notes(image, aligned, float(np.hypot(*matrix[:, 0]))))


def _notes(face: np.ndarray, points: np.ndarray, scale: float | None) -> tuple[str, ...]:
    """What is wrong with an aligned face with landmarks (68, 2), magnified by `scale` from its photo if that is known."""
    eyes = np.linalg.norm(align.TEMPLATE5[1] - align.TEMPLATE5[0])
    wrong = {
        "too small": scale is not None and eyes / scale < SMALL,
        "blurred": sharpness(face) < BLURRED,
        "turned": abs(float(head_yaw(points[None])[0])) > TURNED,
        "already masked": bool(wears_mask(face[None])[0]),
    }
    return tuple(note for note, is_wrong in wrong.items() if is_wrong)


def _turned_back(box: tuple[int, int, int, int], quarter: int, width: int, height: int) -> tuple[int, int, int, int]:
    """A box in a photo of `width` x `height` from the photo turned by quarters to the left."""
    left, top, right, bottom = box
    return (
        box,
        (width - bottom, left, width - top, right),
        (width - right, height - bottom, width - left, height - top),
        (top, height - right, bottom, height - left),
    )[quarter]
