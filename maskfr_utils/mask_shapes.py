"""Shapes of masks: where each kind lies on a head, and where that is in a picture.

A mask is a small net of points on a mean head in three dimensions. A weak-perspective camera is fitted to the 68
landmarks of a face, and what the camera does not explain (this person's jaw, nose and expression) is added by
Gaussian interpolation between the landmarks. Both are linear in the landmarks, so that the place of a whole mask is
one constant matrix times the landmarks; only what the head hides from the camera is decided per face.

Head coordinates: the origin between the eyes, x to the right of the picture, y down, z towards the viewer, the
distance of the eyes is 1 (about 63 mm). Mask coordinates: u from -1 (left edge) over 0 (middle) to 1, v from 0 (upper
edge) to 1 (lower edge).
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.interpolate import RectBivariateSpline

# Rows and columns of the net that is placed on a face, and points a side of the lattice where the picture looks its mask
# coordinates up: coarse for aligned faces, fine for photos, in which a bend would be seen.
COARSE, FINE = (9, 17, 18), (25, 49, 64)

# Mirror image of each landmark in the iBUG order.
MIRROR = np.r_[
    16:-1:-1, 26:16:-1, 27:31, 35:30:-1, 45:41:-1, 47, 46, 39:35:-1, 41, 40, 54:47:-1, 59:54:-1, 64:59:-1, 67:64:-1
]  # fmt: skip
# Left half and middle of the mean head: a rank-3 factorisation (Tomasi and Kanade 1992) of landmarks of many faces,
# made symmetric, the depth scaled so that nose and ears stand apart as they do in anthropometric tables.
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

# Nets, right half: five rows from the upper to the lower edge, four columns from the middle to the side.
_NETS = {
    "surgical": [
        [(0.00, 0.29, 0.52), (0.30, 0.38, 0.35), (0.64, 0.44, 0.12), (0.95, 0.42, -0.34)],
        [(0.00, 0.60, 0.70), (0.38, 0.66, 0.48), (0.70, 0.70, 0.14), (0.97, 0.63, -0.38)],
        [(0.00, 0.98, 0.64), (0.40, 1.01, 0.46), (0.72, 1.01, 0.12), (0.96, 0.91, -0.40)],
        [(0.00, 1.40, 0.44), (0.36, 1.37, 0.30), (0.66, 1.28, 0.02), (0.91, 1.12, -0.40)],
        [(0.00, 1.84, 0.02), (0.30, 1.77, -0.06), (0.59, 1.56, -0.22), (0.85, 1.27, -0.42)],
    ],
    "n95": [
        [(0.00, 0.27, 0.52), (0.17, 0.33, 0.42), (0.33, 0.45, 0.30), (0.48, 0.58, 0.16)],
        [(0.00, 0.52, 0.90), (0.34, 0.56, 0.76), (0.60, 0.66, 0.38), (0.73, 0.76, 0.00)],
        [(0.00, 0.94, 1.02), (0.38, 0.95, 0.86), (0.68, 0.98, 0.42), (0.81, 1.04, -0.10)],
        [(0.00, 1.36, 0.82), (0.34, 1.36, 0.68), (0.60, 1.33, 0.30), (0.73, 1.32, -0.15)],
        [(0.00, 1.78, 0.02), (0.18, 1.76, 0.00), (0.36, 1.68, -0.08), (0.53, 1.55, -0.16)],
    ],
    "kn95": [
        [(0.00, 0.27, 0.54), (0.28, 0.42, 0.34), (0.60, 0.56, 0.08), (0.93, 0.64, -0.34)],
        [(0.00, 0.56, 0.88), (0.36, 0.64, 0.54), (0.70, 0.75, 0.10), (0.97, 0.80, -0.40)],
        [(0.00, 0.98, 0.96), (0.40, 1.00, 0.57), (0.74, 1.00, 0.08), (0.97, 0.97, -0.42)],
        [(0.00, 1.40, 0.70), (0.36, 1.37, 0.39), (0.68, 1.29, 0.00), (0.94, 1.15, -0.44)],
        [(0.00, 1.84, 0.02), (0.30, 1.76, -0.10), (0.60, 1.55, -0.27), (0.87, 1.29, -0.46)],
    ],
    "cloth": [
        [(0.00, 0.28, 0.53), (0.30, 0.39, 0.35), (0.66, 0.46, 0.10), (1.03, 0.43, -0.46)],
        [(0.00, 0.60, 0.74), (0.38, 0.68, 0.46), (0.74, 0.76, 0.09), (1.06, 0.70, -0.50)],
        [(0.00, 0.98, 0.72), (0.40, 1.02, 0.46), (0.76, 1.03, 0.08), (1.05, 0.92, -0.52)],
        [(0.00, 1.40, 0.48), (0.37, 1.38, 0.30), (0.70, 1.29, 0.00), (0.99, 1.11, -0.52)],
        [(0.00, 1.85, 0.00), (0.30, 1.78, -0.10), (0.61, 1.57, -0.28), (0.92, 1.28, -0.52)],
    ],
    "respirator": [
        [(0.00, 0.28, 0.53), (0.18, 0.34, 0.43), (0.35, 0.48, 0.30), (0.50, 0.64, 0.15)],
        [(0.00, 0.50, 0.92), (0.32, 0.56, 0.80), (0.62, 0.68, 0.45), (0.76, 0.82, 0.02)],
        [(0.00, 0.96, 1.06), (0.36, 0.98, 0.92), (0.72, 1.02, 0.48), (0.86, 1.08, -0.08)],
        [(0.00, 1.38, 0.90), (0.32, 1.38, 0.74), (0.62, 1.36, 0.34), (0.76, 1.36, -0.14)],
        [(0.00, 1.80, 0.06), (0.20, 1.78, 0.02), (0.38, 1.70, -0.06), (0.55, 1.58, -0.16)],
    ],
    "bandana": [
        [(0.00, 0.33, 0.56), (0.32, 0.45, 0.36), (0.72, 0.46, 0.04), (1.14, 0.30, -0.66)],
        [(0.00, 0.66, 0.74), (0.38, 0.74, 0.48), (0.78, 0.74, 0.08), (1.15, 0.52, -0.68)],
        [(0.00, 1.14, 0.70), (0.40, 1.14, 0.46), (0.80, 1.06, 0.06), (1.13, 0.78, -0.68)],
        [(0.00, 1.75, 0.52), (0.38, 1.66, 0.32), (0.76, 1.42, -0.04), (1.08, 1.04, -0.66)],
        [(0.00, 2.60, 0.26), (0.40, 2.32, 0.08), (0.76, 1.86, -0.20), (1.02, 1.30, -0.62)],
    ],
}  # fmt: skip
_NETS["inpaint"] = _NETS["cloth"]
KINDS = tuple(_NETS)
NO_MASK = "none"  # chosen like a kind, in a mix: the face stays as it is
_NETS[NO_MASK] = _NETS["cloth"]
_CREASED = ("kn95", "cloth")  # folded in the middle

# Straps, right half: (v where it leaves the side edge, a point on the way, its end).
_EAR_TOP, _EAR_BOTTOM = (1.21, 0.00, -1.04), (1.18, 0.50, -1.02)  # behind the ear
_HEAD_STRAPS = [(0.30, (1.00, 0.36, -0.35), (1.18, -0.02, -0.95)), (0.70, (0.98, 1.12, -0.45), (1.10, 0.80, -0.95))]
_STRAPS = {
    "surgical": [(0.03, (1.06, 0.38, -0.62), _EAR_TOP), (0.97, (1.06, 0.98, -0.68), _EAR_BOTTOM)],
    "kn95": [(0.05, (1.05, 0.42, -0.60), _EAR_TOP), (0.90, (1.06, 0.96, -0.68), _EAR_BOTTOM)],
    "cloth": [(0.04, (1.11, 0.34, -0.66), _EAR_TOP), (0.92, (1.10, 0.92, -0.72), _EAR_BOTTOM)],
    "n95": _HEAD_STRAPS,
    "respirator": _HEAD_STRAPS,
    "bandana": [],
    "inpaint": [],
    NO_MASK: [],
}
WEARS = ("normal", "below_nose", "tight", "loose")
# How much higher than usual the upper edge may lie, eye distances. What is usual, and how far masks spread about it, comes
# from quartiles of the real masks of MFR2, and was found to fit every other person of it (sorted names: the first, third).
HEIGHTS = (-0.14, -0.10, -0.06, -0.02, 0.02, 0.06, 0.10, 0.14)

# Skin whose brightness tells the light: cheeks, chin, nose, forehead; not eyes, nostrils, lips.
_SKIN = np.array(
    [(x * s, y) for x, y in [(0.18, 0.30), (0.42, 0.42), (0.62, 0.36), (0.82, 0.38), (0.52, 0.62), (0.74, 0.62)] for s in (-1, 1)]
    + [(x * s, y) for x, y in [(0.92, 0.66), (0.66, 0.88), (0.84, 0.92), (0.76, 1.12), (0.48, 1.36), (0.24, 1.5)] for s in (-1, 1)]
    + [(x * s, y) for x, y in [(0.2, -0.42), (0.5, -0.48), (0.1, 0.5)] for s in (-1, 1)]
    + [(0, 0.1), (0, 0.25), (0, 0.42), (0, -0.4), (0, 1.48), (0, 0.82)]
)  # fmt: skip


def skin_samples() -> tuple[np.ndarray, np.ndarray]:
    """Points (n, 3) of skin and their outward normals; an ellipsoid stands for the face where only its light matters."""
    xy = _SKIN
    x, y = xy[:, 0] / 1.25, (xy[:, 1] - 0.6) / 1.75
    z = np.sqrt(np.maximum(1 - x**2 - y**2, 0.02))
    normals = np.stack([x / 1.25, y / 1.75, z / 1.3], 1)
    return np.stack([xy[:, 0], xy[:, 1], 1.3 * z - 0.9], 1), normals / np.linalg.norm(normals, axis=1, keepdims=True)


# The camera comes from the parts of the face that do not slide along its contour as the jaw does.
_WEIGHT = np.where(np.arange(68) < 17, 0.15, 1.0)
_HOMOGENEOUS = np.c_[HEAD, np.ones(68)]
CAMERA = np.linalg.pinv(_HOMOGENEOUS * _WEIGHT[:, None]) * _WEIGHT  # (4, 68): landmarks -> columns of the camera
_LEFTOVER = np.eye(68) - _HOMOGENEOUS @ CAMERA
_ANCHORS = np.array([*range(17), *range(27, 36), *range(36, 48)])  # an open mouth must not bend the mask


def _kernel(a: np.ndarray, b: np.ndarray, width: float = 0.5) -> np.ndarray:
    return np.exp(-((a[:, None] - b[None]) ** 2).sum(2) / (2 * width**2))


def follow(points: np.ndarray) -> np.ndarray:
    """The matrix (n, 68) that takes 68 landmarks to where `points` (n, 3) of the mean head lie in the picture."""
    anchors = HEAD[_ANCHORS]
    weights = np.linalg.solve(_kernel(anchors, anchors) + 0.1 * np.eye(len(anchors)), _kernel(anchors, points)).T
    return np.c_[points, np.ones(len(points))] @ CAMERA + weights @ _LEFTOVER[_ANCHORS]


@dataclass(frozen=True)
class Shape:
    """One kind worn one way at one height: `net` (rows * columns, 68) and `straps` (left and right, upper and lower,
    STRAP_POINTS, 68) times landmarks are pixels.

    `rigid` (rows * columns, 3) is the net on the mean head.
    """

    kind: str
    wear: str
    net: np.ndarray
    rigid: np.ndarray
    straps: np.ndarray
    has_straps: bool


STRAP_POINTS = 12
MAX_ERROR = 0.3  # of the camera, eye distances; real faces stay below


def surface(kind: str, wear: str, rows: int, columns: int, height: float = 0.0) -> np.ndarray:
    """The mask as (rows, columns, 3) points of the mean head, its upper edge `height` above the usual."""
    half = np.array(_NETS[kind], float)
    if wear == "below_nose":  # the upper half slides down until the nose is free
        shift = np.array([0.50, 0.36, 0.18, 0.06, 0.0])[:, None]
        half[..., 1] += shift
        half[..., 2] -= np.array([0.20, 0.22, 0.05, 0, 0])[:, None] * np.array([1, 0.7, 0.2, 0])
    else:
        upper = np.array([1.0, 0.4, 0.0, 0.0, 0.0])[:, None]
        half[..., 1] -= upper * (np.array([0.11, 0.14, 0.16, 0.13]) + height)
        half[..., 2] -= upper * (np.array([0.07, 0.05, 0.03, 0.0]) + height * np.array([0.6, 0.4, 0.2, 0.0]))
    if wear == "tight":
        half[..., 2] = half[..., 2] - 0.25 * np.maximum(half[..., 2] - 0.5, 0)
        half[..., 0] *= 0.97
        half[..., 1] = 1.0 + (half[..., 1] - 1.0) * 0.96
    elif wear == "loose":
        half[..., 0] *= 1.03
        half[..., 1] = 1.0 + (half[..., 1] - 1.0) * [[1.0], [1.0], [1.0], [1.05], [1.08]] + 0.05
        half[..., 2] += np.array([0.02, 0.10, 0.14, 0.12, 0.04])[:, None] * np.array([1, 0.8, 0.4, 0])
    u, v = np.linspace(-1, 1, columns), np.linspace(0, 1, rows)
    if kind in _CREASED:
        net, at, place = half, np.linspace(0, 1, 4), np.abs(u)
    else:
        net, at, place = np.concatenate([half[:, :0:-1] * [-1, 1, 1], half], 1), np.linspace(-1, 1, 7), u
    order = np.argsort(place, kind="stable")
    out = np.empty((rows, columns, 3))
    for axis in range(3):
        spline = RectBivariateSpline(np.linspace(0, 1, 5), at, net[..., axis], kx=3, ky=3)
        out[:, order, axis] = spline(v, place[order])
    if kind in _CREASED:
        out[..., 0] *= np.where(u < 0, -1, 1)
    return out


@cache
def shape(kind: str, wear: str = "normal", grid: tuple[int, int, int] = COARSE, height: float = 0.0) -> Shape:
    """The matrices that place a mask on a `grid` (COARSE or FINE); made once for each kind, way to wear it and height."""
    net = surface(kind, wear, *grid[:2], height)
    straps = np.zeros((2, 2, STRAP_POINTS, 68), np.float32)
    t = np.linspace(0, 1, STRAP_POINTS)[:, None]
    edge = surface(kind, wear, 101, 17, height)[:, -1]
    for j, (v, way, end) in enumerate(_STRAPS[kind]):
        start = edge[round(v * 100)] * [0.98, 1, 1]  # sewn on a little inside the edge
        curve = (1 - t) ** 2 * start + 2 * t * (1 - t) * np.array(way) + t**2 * np.array(end)
        for i, side in enumerate((-1, 1)):
            straps[i, j] = follow(curve * [side, 1, 1])
    return Shape(
        kind,
        wear,
        follow(net.reshape(-1, 3)).astype(np.float32),
        net.reshape(-1, 3).astype(np.float32),
        straps,
        len(_STRAPS[kind]) > 0,
    )


# ---- the place on a face ------------------------------------------------------------------------------------------


@cache
def _closed_curve(n: int, steps: int = 4) -> np.ndarray:
    """The matrix (n * steps, n) that refines a closed polygon to a Catmull-Rom curve."""
    t = np.arange(steps) / steps
    weights = 0.5 * np.stack([-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2], 1)
    matrix = np.zeros((n, steps, n))
    for i in range(n):
        for j in range(4):
            matrix[i, :, (i + j - 1) % n] += weights[:, j]
    return matrix.reshape(n * steps, n).astype(np.float32)


@dataclass(frozen=True)
class Placement:
    """Masks on n faces; pixel coordinates unless said otherwise.

    Attributes:
        ok: (n,) bool; False where the landmarks are no face (the other rows of such a face mean nothing).
        outline: (n, points, 2) closed visible outline.
        lattice: (n, side, side, 2) mask coordinates (u, v) over an upright square.
        to_lattice: (n, 2, 3) affine map from pixels to indices of the lattice.
        axes: (n, 3, 2) where the head's x, y, z axes point in the picture, an eye distance long.
        scale: (n,) pixels an eye distance.
        origin: (n, 2) the point between the eyes.
        upright: (n, 2, 2) takes pixels from the origin to the upright frame, in eye distances.
    """

    ok: np.ndarray
    outline: np.ndarray
    lattice: np.ndarray
    to_lattice: np.ndarray
    axes: np.ndarray
    scale: np.ndarray
    origin: np.ndarray
    upright: np.ndarray


def _camera(landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fits the camera: axes (n, 3, 2), origin (n, 2), error (n,) in eye distances."""
    camera = np.matmul(CAMERA.astype(np.float32), landmarks)
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
    axes, _, _ = _camera(np.asarray(landmarks, np.float32))
    right, down, front = axes[:, 0], axes[:, 1], axes[:, 2]
    across = np.stack([down[:, 1], -down[:, 0]], 1)  # undoes the roll
    depth, width = (front * across).sum(1), np.maximum((right * across).sum(1), 1e-6)
    return np.degrees(np.arctan2(depth, width)).astype(np.float32)


def _interpolate(at: np.ndarray, knots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index and fraction (may leave 0..1 at the ends) of `at` (..., m) in ascending `knots` (..., k)."""
    index = (knots[..., None, :] <= at[..., None]).sum(-1).clip(1, knots.shape[-1] - 1) - 1
    low = np.take_along_axis(knots, index, -1)
    step = np.take_along_axis(knots, index + 1, -1) - low
    return index, ((at - low) / np.maximum(step, 1e-4)).clip(-1.5, 2.5)


def _pick(values: np.ndarray, index: np.ndarray, fraction: np.ndarray) -> np.ndarray:
    low = np.take_along_axis(values, index, -1)
    return low + fraction * (np.take_along_axis(values, index + 1, -1) - low)


def put_on(points: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Moves points (n, points, 2) of the upright frame as the wearer moved the mask; `shift` as for `place`."""
    right, down, turn, longer = shift.T[..., None]
    x, y = points[..., 0], (points[..., 1] - 1.4) * (1 + longer)
    return np.stack([x - turn * y + right, y + turn * x + down + 1.4], -1)


def _last(flags: np.ndarray) -> np.ndarray:
    """Index of the last true flag so far along the last axis."""
    return np.maximum.accumulate(np.where(flags, np.arange(flags.shape[-1]), 0), -1)


def place(
    shapes: list[Shape], landmarks: np.ndarray, shift: np.ndarray, grid: tuple[int, int, int] = COARSE
) -> Placement:
    """Places masks on faces.

    Args:
        shapes: n shapes, made for `grid`.
        landmarks: (n, 68, 2) pixel (x, y); rows with NaN or infinity come back as not ok.
        shift: (n, 4) how the wearer put it on: right, down (eye distances), turn (radians), how much longer (a share).
        grid: COARSE or FINE.
    """
    rows, columns, side = grid
    n = len(landmarks)
    finite = np.isfinite(landmarks).all((1, 2)) & (np.abs(np.nan_to_num(landmarks)).max((1, 2)) < 1e5)
    landmarks = np.where(finite[:, None, None], landmarks, HEAD[:, :2]).astype(np.float32)
    axes, origin, error = _camera(landmarks)
    # Upright frame: the roll of the head taken out, the eye distance 1.
    x, y = axes[:, 0], axes[:, 1]
    cos, sin = x[:, 0] + y[:, 1], x[:, 1] - y[:, 0]
    length = np.maximum(np.hypot(cos, sin), 1e-6)
    cos, sin = cos / length, sin / length
    size_x, size_y = np.linalg.norm(x, axis=1), np.linalg.norm(y, axis=1)
    scale = np.maximum(np.maximum(size_x, size_y), 1e-6)
    upright = np.stack([np.stack([cos, sin], 1), np.stack([-sin, cos], 1)], 1) / scale[:, None, None]
    determinant = x[:, 0] * y[:, 1] - x[:, 1] * y[:, 0]
    ok = (
        finite
        & (error < MAX_ERROR)
        & (scale > 4)
        & (determinant > 0.12 * scale**2)
        & (np.minimum(size_x, size_y) > 0.25 * scale)
    )

    net = np.matmul(np.stack([s.net for s in shapes]), landmarks - origin[:, None])
    net = np.matmul(net, upright.transpose(0, 2, 1))
    # The far side of a turned head: where the jaw's landmarks lie farther out than the head itself, they have slid along
    # its contour.
    rigid = np.matmul(np.stack([s.rigid for s in shapes]), np.matmul(axes, upright.transpose(0, 2, 1)))
    sideways = (axes[:, 2, 0] * cos + axes[:, 2, 1] * sin) / scale  # of the nose, positive to the right
    toward = np.sign(sideways)[:, None]
    across = np.tile(np.linspace(-1, 1, columns, dtype=np.float32), rows)
    far = (across * toward).clip(0) * ((np.abs(sideways) - 0.15) / 0.30).clip(0, 1)[:, None]
    far *= (rigid[..., 0] - net[..., 0]) * toward < 0
    net += far[..., None] * (rigid - net)
    gx, gy = np.moveaxis(put_on(net, shift), -1, 0)
    gx, gy = gx.reshape(n, rows, columns), gy.reshape(n, rows, columns)

    # What the head hides: beyond the point where a row turns back, the mask is behind its own silhouette.
    middle, half = rows // 2, columns // 2
    left = _last(gx[..., half::-1] <= np.minimum.accumulate(gx[..., half::-1], 2))
    right = _last(gx[..., half:] >= np.maximum.accumulate(gx[..., half:], 2))
    seen = np.concatenate([half - left[..., ::-1], half + right[..., 1:]], 2)
    gx, gy = np.take_along_axis(gx, seen, 2), np.take_along_axis(gy, seen, 2)
    gu = seen.astype(np.float32) * (2 / (columns - 1)) - 1
    gy = np.concatenate(
        [np.minimum.accumulate(gy[:, middle::-1], 1)[:, ::-1], np.maximum.accumulate(gy[:, middle:], 1)[:, 1:]], 1
    )
    left, right = gx[..., 0], gx[..., -1]

    def along(at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        index, fraction = _interpolate(at, gx)
        return _pick(gy, index, fraction), _pick(gu, index, fraction)

    # Outline: upper edge, right side, lower edge, left side.
    t = np.linspace(0, 1, 3 * columns // 4 + 1, dtype=np.float32)
    across = left[..., None] + (right - left)[..., None] * t
    height, _ = along(across)
    # Where the silhouette leaps from the far edge to the middle of the mask, a side must not turn back.
    sides = [(right, np.maximum.accumulate(height[..., -1], 1)), (left, np.maximum.accumulate(height[..., 0], 1))]
    edge = np.concatenate(
        [
            np.stack([across[:, 0], height[:, 0]], 2),
            np.stack(sides[0], 2)[:, 1:-1],
            np.stack([across[:, -1], height[:, -1]], 2)[:, ::-1],
            np.stack(sides[1], 2)[:, -2:0:-1],
        ],
        1,
    )
    outline = np.matmul(_closed_curve(edge.shape[1]), edge)

    # Mask coordinates over a square of the upright frame.
    low, high = edge.min(1) - 0.12, edge.max(1) + 0.12
    steps = np.linspace(0, 1, side, dtype=np.float32)
    lx, ly = (low[:, i, None] + (high - low)[:, i, None] * steps for i in (0, 1))
    yr, ur = along(np.repeat(lx[:, None], rows, 1))  # (n, rows, side)
    yr = np.maximum.accumulate(yr + np.arange(rows)[:, None] * 1e-4, 1).transpose(0, 2, 1)
    index, fraction = _interpolate(np.repeat(ly[:, None], side, 1), yr)
    lattice = np.stack([_pick(ur.transpose(0, 2, 1), index, fraction), (index + fraction) / (rows - 1)], 3)
    lattice = np.ascontiguousarray(lattice.transpose(0, 2, 1, 3), np.float32)

    back = upright.transpose(0, 2, 1) * (scale**2)[:, None, None]
    outline = np.matmul(outline, back.transpose(0, 2, 1)) + origin[:, None]
    per_step = (side - 1) / (high - low)
    linear = upright * per_step[:, :, None]
    offset = -np.matmul(linear, origin[:, :, None])[..., 0] - low * per_step
    ok &= (high - low).max(1) < 8
    to_lattice = np.concatenate([linear, offset[..., None]], 2)
    return Placement(ok, outline, lattice, to_lattice, axes, scale, origin, upright)
