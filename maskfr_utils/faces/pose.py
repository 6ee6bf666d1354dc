"""The head that 68 landmarks show: a mean head in three dimensions, and the camera that sees it.

A weak-perspective camera is fitted to the 68 landmarks of a face (iBUG order). What it does not explain (this person's jaw,
nose and expression) is added by Gaussian interpolation between the landmarks. Both are linear in the landmarks, so that
where any point of the mean head lies in the picture is one constant matrix times the landmarks.

Head coordinates: the origin between the eyes, x to the right of the picture, y down, z towards the viewer, the
distance of the eyes is 1 (about 63 mm).
"""

import numpy as np

# Mirror image of each landmark in the iBUG order.
MIRROR = np.r_[
    16:-1:-1, 26:16:-1, 27:31, 35:30:-1, 45:41:-1, 47, 46, 39:35:-1, 41, 40, 54:47:-1, 59:54:-1, 64:59:-1, 67:64:-1
]  # fmt: skip
# Left half and middle of the mean head: a rank-3 factorisation (Tomasi and Kanade 1992) of landmarks of many faces (which is
# not recorded), made symmetric, the depth scaled so that nose and ears stand apart as they do in anthropometric tables.
_HALF_HEAD = {
    0: (-1.13, 0.02, -0.82), 1: (-1.12, 0.30, -0.77), 2: (-1.09, 0.58, -0.74), 3: (-1.03, 0.86, -0.71),
    4: (-0.92, 1.12, -0.61), 5: (-0.74, 1.35, -0.46), 6: (-0.52, 1.54, -0.27), 7: (-0.28, 1.69, -0.08),
    8: (0.00, 1.73, -0.02), 17: (-0.93, -0.20, -0.18), 18: (-0.78, -0.32, -0.02), 19: (-0.58, -0.35, 0.11),
    20: (-0.38, -0.32, 0.22), 21: (-0.19, -0.25, 0.30), 27: (0.00, -0.03, 0.30), 28: (0.00, 0.15, 0.40),
    29: (0.00, 0.33, 0.51), 30: (0.00, 0.52, 0.62), 31: (-0.21, 0.65, 0.32), 32: (-0.11, 0.69, 0.37),
    33: (0.00, 0.72, 0.41), 36: (-0.70, 0.00, -0.07), 37: (-0.57, -0.07, 0.00), 38: (-0.42, -0.06, 0.02),
    39: (-0.29, 0.03, 0.03), 40: (-0.43, 0.05, 0.02), 41: (-0.58, 0.05, 0.00), 48: (-0.43, 1.01, -0.01),
    49: (-0.27, 0.94, 0.20), 50: (-0.11, 0.90, 0.32), 51: (0.00, 0.93, 0.33), 57: (0.00, 1.22, 0.23),
    58: (-0.12, 1.21, 0.22), 59: (-0.28, 1.15, 0.12), 60: (-0.36, 1.02, 0.02), 61: (-0.12, 1.00, 0.28),
    62: (0.00, 1.01, 0.30), 66: (0.00, 1.08, 0.25), 67: (-0.12, 1.06, 0.23),
}  # fmt: skip


def _mean_head() -> np.ndarray:
    head = np.zeros((68, 3))
    for i, point in _HALF_HEAD.items():
        head[i] = point
        head[MIRROR[i]] = np.multiply(point, (-1 if MIRROR[i] != i else 1, 1, 1))
    return head


HEAD = _mean_head()

# The camera comes from the parts of the face that do not slide along its contour as the jaw does.
_WEIGHT = np.where(np.arange(68) < 17, 0.15, 1.0)
_HOMOGENEOUS = np.c_[HEAD, np.ones(68)]
_CAMERA = np.linalg.pinv(_HOMOGENEOUS * _WEIGHT[:, None]) * _WEIGHT  # (4, 68): landmarks -> columns of the camera
_LEFTOVER = np.eye(68) - _HOMOGENEOUS @ _CAMERA
_ANCHORS = np.array([*range(17), *range(27, 36), *range(36, 48)])  # an open mouth must not bend the mask


def _kernel(a: np.ndarray, b: np.ndarray, width: float = 0.5) -> np.ndarray:
    return np.exp(-((a[:, None] - b[None]) ** 2).sum(2) / (2 * width**2))


def follow(points: np.ndarray) -> np.ndarray:
    """The matrix (n, 68) that takes 68 landmarks to where `points` (n, 3) of the mean head lie in the picture."""
    anchors = HEAD[_ANCHORS]
    weights = np.linalg.solve(_kernel(anchors, anchors) + 0.1 * np.eye(len(anchors)), _kernel(anchors, points)).T
    return np.c_[points, np.ones(len(points))] @ _CAMERA + weights @ _LEFTOVER[_ANCHORS]


def fit_camera(landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fits a weak-perspective camera to landmarks (n, 68, 2) float32.

    Returns:
        Where the head's x, y, z axes point in the picture (n, 3, 2), an eye distance long; the point between the eyes
        (n, 2), pixels; how far the landmarks of the mean head miss those of the face (n,), eye distances.
    """
    camera = np.matmul(_CAMERA.astype(np.float32), landmarks)
    error = np.matmul(_HOMOGENEOUS.astype(np.float32), camera) - landmarks
    axes = camera[:, :3]
    scale = np.maximum(np.sqrt((axes[:, :2] ** 2).sum((1, 2)) / 2), 1e-6)
    return axes, camera[:, 3], np.sqrt((error**2).sum(2).mean(1)) / scale


def head_yaw(landmarks: np.ndarray) -> np.ndarray:
    """How far each head is turned to the side, from its landmarks.

    Args:
        landmarks: (n, 68, 2) float, iBUG order.

    Returns:
        (n,) float32 degrees, -90 to 90: 0 faces the camera, positive turns to the picture's right.
    """
    axes, _, _ = fit_camera(np.asarray(landmarks, np.float32))
    right, down, front = axes[:, 0], axes[:, 1], axes[:, 2]
    across = np.stack([down[:, 1], -down[:, 0]], 1)  # undoes the roll
    depth, width = (front * across).sum(1), np.maximum((right * across).sum(1), 1e-6)
    return np.degrees(np.arctan2(depth, width)).astype(np.float32)
