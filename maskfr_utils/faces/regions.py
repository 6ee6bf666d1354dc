"""The parts of an aligned face, from its landmarks."""

import cv2
import numpy as np

from maskfr_utils.faces.align import FACE_SIZE

EYES = "eyes and brows"
REGIONS = (EYES, "nose", "mouth", "rest of the face", "around the face")
_POINTS = {EYES: [*range(17, 27), *range(36, 48)], "nose": range(27, 36), "mouth": range(48, 68)}
_MARGIN = 4  # pixels round the landmarks: lids, brows and lips are wider than the points on them


def regions(landmarks: np.ndarray) -> dict[str, np.ndarray]:
    """Which pixels belong to which part; each belongs to one.

    Args:
        landmarks: (68, 2) pixel (x, y), iBUG order.

    Returns:
        Name of `REGIONS` -> (112, 112) bool. The face reaches from the jaw to the brows; what is above is around it.
    """
    free, found = np.ones((FACE_SIZE, FACE_SIZE), bool), {}
    for name, points in _POINTS.items():
        found[name] = _hull(landmarks[list(points)], _MARGIN) & free
        free &= ~found[name]
    found["rest of the face"] = _hull(landmarks, 0) & free
    found["around the face"] = free & ~found["rest of the face"]
    return found


def _hull(points: np.ndarray, margin: int) -> np.ndarray:
    area = np.zeros((FACE_SIZE, FACE_SIZE), np.uint8)
    cv2.fillConvexPoly(area, cv2.convexHull(np.round(points).astype(np.int32)), 1)
    round_brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin + 1, 2 * margin + 1))
    return cv2.dilate(area, round_brush).astype(bool)
