"""The place of masks on faces: where their nets lie in the picture, and what of them the head hides from the camera."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from maskfr_utils.faces.pose import HEAD, fit_camera
from maskfr_utils.masks.shapes import COARSE, Shape

MAX_ERROR = 0.3  # of the camera, eye distances; real faces stay below


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
    axes, origin, error = fit_camera(landmarks)
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
