"""The place of masks on faces: where their nets lie in the picture, and what of them the head hides from the camera.

All works in an upright frame: the origin between the eyes, the roll of the head taken out, the eye distance 1. There a net
is rows of points from the left edge of the mask to its right edge.
"""

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np

from maskfr_utils.faces.pose import HEAD, fit_camera
from maskfr_utils.masks.shapes import COARSE, Shape

_MAX_ERROR = 0.3  # of the camera, eye distances; real faces stay below (which were tried is not recorded)
_MARGIN = 0.12  # of the lattice round the mask, eye distances


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
    finite = np.isfinite(landmarks).all((1, 2)) & (np.abs(np.nan_to_num(landmarks)).max((1, 2)) < 1e5)
    landmarks = np.where(finite[:, None, None], landmarks, HEAD[:, :2]).astype(np.float32)
    axes, origin, error = fit_camera(landmarks)
    frame = _upright_frame(axes)
    scale, upright = frame.scale, frame.upright
    net = _net(shapes, landmarks - origin[:, None], axes, frame, columns)
    visible = _visible(put_on(net, shift).reshape(-1, rows, columns, 2))
    edge = _edge(visible)
    low, high = edge.min(1) - _MARGIN, edge.max(1) + _MARGIN
    lattice = _lattice(visible, low, high, side)
    outline = np.matmul(_closed_curve(edge.shape[1]), edge)
    back = upright.transpose(0, 2, 1) * (scale**2)[:, None, None]
    outline = np.matmul(outline, back.transpose(0, 2, 1)) + origin[:, None]
    per_step = (side - 1) / (high - low)
    linear = upright * per_step[:, :, None]
    offset = -np.matmul(linear, origin[:, :, None])[..., 0] - low * per_step
    to_lattice = np.concatenate([linear, offset[..., None]], 2)
    ok = finite & (error < _MAX_ERROR) & _is_seen_from_before(axes, scale) & ((high - low).max(1) < 8)
    return Placement(ok, outline, lattice, to_lattice, axes, scale, origin, upright)


def put_on(points: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Moves points (n, points, 2) of the upright frame as the wearer moved the mask; `shift` as for `place`."""
    right, down, turn, longer = shift.T[..., None]
    x, y = points[..., 0], (points[..., 1] - 1.4) * (1 + longer)
    return np.stack([x - turn * y + right, y + turn * x + down + 1.4], -1)


class _Frame(NamedTuple):
    cos: np.ndarray  # (n,) of the roll
    sin: np.ndarray
    scale: np.ndarray  # (n,) pixels an eye distance
    upright: np.ndarray  # (n, 2, 2)


def _upright_frame(axes: np.ndarray) -> _Frame:
    x, y = axes[:, 0], axes[:, 1]
    cos, sin = x[:, 0] + y[:, 1], x[:, 1] - y[:, 0]
    length = np.maximum(np.hypot(cos, sin), 1e-6)
    cos, sin = cos / length, sin / length
    scale = np.maximum(np.linalg.norm(axes[:, :2], axis=2).max(1), 1e-6)
    upright = np.stack([np.stack([cos, sin], 1), np.stack([-sin, cos], 1)], 1) / scale[:, None, None]
    return _Frame(cos, sin, scale, upright)


def _is_seen_from_before(axes: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """(n,) bool: large enough, not mirrored, and neither a line nor seen from too far aside."""
    x, y = axes[:, 0], axes[:, 1]
    determinant = x[:, 0] * y[:, 1] - x[:, 1] * y[:, 0]
    shorter = np.linalg.norm(axes[:, :2], axis=2).min(1)
    return (scale > 4) & (determinant > 0.12 * scale**2) & (shorter > 0.25 * scale)


def _net(shapes: list[Shape], centred: np.ndarray, axes: np.ndarray, frame: _Frame, columns: int) -> np.ndarray:
    """The nets (n, rows * columns, 2) in the upright frame, of faces whose landmarks are `centred` on the origin."""
    to_frame = frame.upright.transpose(0, 2, 1)
    net = np.matmul(np.matmul(np.stack([s.net for s in shapes]), centred), to_frame)
    # The far side of a turned head: where the jaw's landmarks lie farther out than the head itself, they have slid along
    # its contour.
    rigid = np.matmul(np.stack([s.rigid for s in shapes]), np.matmul(axes, to_frame))
    sideways = (
        axes[:, 2, 0] * frame.cos + axes[:, 2, 1] * frame.sin
    ) / frame.scale  # of the nose, positive to the right
    toward = np.sign(sideways)[:, None]
    across = np.tile(np.linspace(-1, 1, columns, dtype=np.float32), net.shape[1] // columns)
    far = (across * toward).clip(0) * ((np.abs(sideways) - 0.15) / 0.30).clip(0, 1)[:, None]
    far *= (rigid[..., 0] - net[..., 0]) * toward < 0
    return net + far[..., None] * (rigid - net)


class _Visible(NamedTuple):
    """What the camera sees of nets; each (n, rows, columns)."""

    x: np.ndarray  # ascending along a row
    y: np.ndarray  # ascending down a column
    u: np.ndarray  # mask coordinate across

    def at(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """y and u of each row at `x` (n, rows, m)."""
        index, fraction = _interpolate(x, self.x)
        return _pick(self.y, index, fraction), _pick(self.u, index, fraction)


def _visible(net: np.ndarray) -> _Visible:
    """Beyond the point where a row of a net (n, rows, columns, 2) turns back, the mask is behind its own silhouette."""
    x, y = np.moveaxis(net, -1, 0)
    rows, columns = x.shape[1:]
    middle, half = rows // 2, columns // 2
    left = _last(x[..., half::-1] <= np.minimum.accumulate(x[..., half::-1], 2))
    right = _last(x[..., half:] >= np.maximum.accumulate(x[..., half:], 2))
    seen = np.concatenate([half - left[..., ::-1], half + right[..., 1:]], 2)
    x, y = np.take_along_axis(x, seen, 2), np.take_along_axis(y, seen, 2)
    upper = np.minimum.accumulate(y[:, middle::-1], 1)[:, ::-1]
    lower = np.maximum.accumulate(y[:, middle:], 1)[:, 1:]
    return _Visible(x, np.concatenate([upper, lower], 1), seen.astype(np.float32) * (2 / (columns - 1)) - 1)


def _edge(visible: _Visible) -> np.ndarray:
    """The edge of the mask (n, points, 2), clockwise: upper edge, right side, lower edge, left side."""
    left, right = visible.x[..., 0], visible.x[..., -1]
    t = np.linspace(0, 1, 3 * visible.x.shape[2] // 4 + 1, dtype=np.float32)
    x = left[..., None] + (right - left)[..., None] * t
    y, _ = visible.at(x)
    # Where the silhouette leaps from the far edge to the middle of the mask, a side must not turn back.
    right_side = np.stack([right, np.maximum.accumulate(y[..., -1], 1)], 2)
    left_side = np.stack([left, np.maximum.accumulate(y[..., 0], 1)], 2)
    upper, lower = np.stack([x[:, 0], y[:, 0]], 2), np.stack([x[:, -1], y[:, -1]], 2)
    return np.concatenate([upper, right_side[:, 1:-1], lower[:, ::-1], left_side[:, -2:0:-1]], 1)


def _lattice(visible: _Visible, low: np.ndarray, high: np.ndarray, side: int) -> np.ndarray:
    """Mask coordinates (n, side, side, 2) over the rectangle from `low` to `high` (n, 2) of the upright frame."""
    rows = visible.x.shape[1]
    steps = np.linspace(0, 1, side, dtype=np.float32)
    x, y = (low[:, i, None] + (high - low)[:, i, None] * steps for i in (0, 1))
    row_y, row_u = visible.at(np.repeat(x[:, None], rows, 1))  # (n, rows, side)
    row_y = np.maximum.accumulate(row_y + np.arange(rows)[:, None] * 1e-4, 1).transpose(0, 2, 1)
    index, fraction = _interpolate(np.repeat(y[:, None], side, 1), row_y)
    lattice = np.stack([_pick(row_u.transpose(0, 2, 1), index, fraction), (index + fraction) / (rows - 1)], 3)
    return np.ascontiguousarray(lattice.transpose(0, 2, 1, 3), np.float32)


def _interpolate(at: np.ndarray, knots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index and fraction (may leave 0..1 at the ends) of `at` (..., m) in ascending `knots` (..., k)."""
    index = (knots[..., None, :] <= at[..., None]).sum(-1).clip(1, knots.shape[-1] - 1) - 1
    low = np.take_along_axis(knots, index, -1)
    step = np.take_along_axis(knots, index + 1, -1) - low
    return index, ((at - low) / np.maximum(step, 1e-4)).clip(-1.5, 2.5)


def _pick(values: np.ndarray, index: np.ndarray, fraction: np.ndarray) -> np.ndarray:
    low = np.take_along_axis(values, index, -1)
    return low + fraction * (np.take_along_axis(values, index + 1, -1) - low)


def _last(flags: np.ndarray) -> np.ndarray:
    """Index of the last true flag so far along the last axis."""
    return np.maximum.accumulate(np.where(flags, np.arange(flags.shape[-1]), 0), -1)


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
