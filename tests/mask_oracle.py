"""Where the eyes are, found without the raster that masks are drawn with."""

import cv2
import numpy as np

EYES = (slice(36, 42), slice(42, 48))


def near_eyes(points: np.ndarray, shape=(112, 112), margin: float = 1.0) -> np.ndarray:
    """Pixels whose centre lies in an eye or nearer than `margin` to it; from the distance to its edges, no raster."""
    out = np.zeros(shape, bool)
    for eye in EYES:
        corners = cv2.convexHull(points[eye].astype(np.float32))[:, 0].astype(float)
        x0, y0 = np.floor(corners.min(0) - 3).clip(0, shape[::-1]).astype(int)
        x1, y1 = np.ceil(corners.max(0) + 3).clip(0, shape[::-1]).astype(int)
        at = np.stack(np.meshgrid(np.arange(x0, x1), np.arange(y0, y1)), -1)[..., None, :]
        start, side = corners, np.roll(corners, -1, 0) - corners
        t = (((at - start) * side).sum(-1) / np.maximum((side**2).sum(-1), 1e-9)).clip(0, 1)
        distance = np.linalg.norm(at - start - t[..., None] * side, axis=-1).min(-1)
        turn = side[:, 0] * (at - start)[..., 1] - side[:, 1] * (at - start)[..., 0]
        inside = (turn >= 0).all(-1) | (turn <= 0).all(-1)
        out[y0:y1, x0:x1] |= inside | (distance <= margin)
    return out
