"""Shapes of masks: the surface of each kind on the mean head, and the matrices that bring it into a picture.

Mask coordinates: u from -1 (left edge) over 0 (middle) to 1, v from 0 (upper edge) to 1 (lower edge).
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.interpolate import RectBivariateSpline

from maskfr_utils.faces.pose import follow
from maskfr_utils.masks.kinds import ALL_KINDS

# Rows and columns of the net that is placed on a face, and points a side of the lattice where the picture looks its mask
# coordinates up: coarse for aligned faces, fine for photos, in which a bend would be seen.
COARSE, FINE = (9, 17, 18), (25, 49, 64)
WEARS = ("normal", "below_nose", "tight", "loose")
# How much higher than usual the upper edge may lie, eye distances. What is usual (`surface`) and how far masks spread about
# it was set in November 2026 to the quartiles of the real masks of MFR2, all its people, and checked on the first, third, ...
# of the sorted names. On the others (71 photos of 24 people, which had been seen too) the drawn edge then lay higher than the
# real one by 0.03 at the nose (-0.01 to 0.09) and 0.00 at the cheeks (-0.05 to 0.05): book/results/masks/realism.json.
HEIGHTS = (-0.14, -0.10, -0.06, -0.02, 0.02, 0.06, 0.10, 0.14)
STRAP_POINTS = 12


@dataclass(frozen=True)
class Shape:
    """One kind worn one way at one height.

    Attributes:
        net: (rows * columns, 68) float32; times landmarks it is pixels.
        rigid: (rows * columns, 3) float32, the net on the mean head.
        straps: (2, 2, STRAP_POINTS, 68) float32, left and right, upper and lower; times landmarks they are pixels.
        has_straps: False where `straps` mean nothing.
    """

    net: np.ndarray
    rigid: np.ndarray
    straps: np.ndarray
    has_straps: bool


def surface(kind: str, wear: str, rows: int, columns: int, height: float = 0.0) -> np.ndarray:
    """The mask as (rows, columns, 3) points of the mean head, its upper edge `height` above the usual."""
    half = np.array(ALL_KINDS[kind].net, float)
    if wear == "below_nose":  # the upper half slides down until the nose is free
        shift = np.array([0.50, 0.36, 0.18, 0.06, 0.0])[:, None]
        half[..., 1] += shift
        half[..., 2] -= np.array([0.20, 0.22, 0.05, 0, 0])[:, None] * np.array([1, 0.7, 0.2, 0])
    else:  # as high as most real masks: see HEIGHTS
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
    if ALL_KINDS[kind].folded:
        net, knots, at = half, np.linspace(0, 1, 4), np.abs(u)
    else:
        net, knots, at = np.concatenate([half[:, :0:-1] * [-1, 1, 1], half], 1), np.linspace(-1, 1, 7), u
    order = np.argsort(at, kind="stable")
    out = np.empty((rows, columns, 3))
    for axis in range(3):
        spline = RectBivariateSpline(np.linspace(0, 1, 5), knots, net[..., axis], kx=3, ky=3)
        out[:, order, axis] = spline(v, at[order])
    if ALL_KINDS[kind].folded:
        out[..., 0] *= np.where(u < 0, -1, 1)
    return out


@cache
def shape(kind: str, wear: str = "normal", grid: tuple[int, int, int] = COARSE, height: float = 0.0) -> Shape:
    """The matrices that place a mask on a `grid` (COARSE or FINE); made once for each kind, way to wear it and height."""
    net = surface(kind, wear, *grid[:2], height).reshape(-1, 3)
    straps = np.zeros((2, 2, STRAP_POINTS, 68), np.float32)
    t = np.linspace(0, 1, STRAP_POINTS)[:, None]
    edge = surface(kind, wear, 101, 17, height)[:, -1]
    for j, (v, way, end) in enumerate(ALL_KINDS[kind].straps):
        start = edge[round(v * 100)] * [0.98, 1, 1]  # sewn on a little inside the edge
        curve = (1 - t) ** 2 * start + 2 * t * (1 - t) * np.array(way) + t**2 * np.array(end)
        for i, side in enumerate((-1, 1)):
            straps[i, j] = follow(curve * [side, 1, 1])
    return Shape(follow(net).astype(np.float32), net.astype(np.float32), straps, len(ALL_KINDS[kind].straps) > 0)
