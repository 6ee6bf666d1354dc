"""A parametric human head: a grid of vertices that a person shapes and an expression bends.

The surface is a grid of rows (crown to neck) by columns (once around). Every vertex knows its place (x, y) on the mean
face, in centimetres: x to the right of the picture, y down, the eyes at y = 0, the mouth near 7, the chin near 11.6;
z points to the camera. Shape, expression and paint (`skin`) are functions of the place. Therefore landmarks are exact:
a landmark is a place, a place is a fixed spot of the grid, and the grid follows shape, expression, pose and camera.
Surfaces are arrays (3, rows, COLUMNS) of x, y, z.

The numbers of the mean head below, in `head_shape` and in the means of `person`, were chosen by hand until the landmarks
came near those of the mean frontal photo; no network and no accuracy had a say. Measured on the 6,544 aligned photos of
`pins` whose heads are turned by less than 8 degrees: the mean rendered face misses their mean by 1.0 pixel of 112 within
the face, by 1.1 along the jaw, and by 2.8 at most (the outer end of a brow).
"""

from collections.abc import Sequence
from types import SimpleNamespace

import cv2
import numpy as np

Values = float | np.ndarray
HEAD_ROWS, EAR_ROWS, HAIR_ROWS, COLUMNS = 84, 8, 30, 84
LIP_GAP = 0.45  # between the lips of the neutral grid: the strip that opens and closes
BROW = 1.0, 5.75  # x of the brow's ends
# Height of the rows (dense at brows and eyes, at the nostrils, at the mouth), half width and depth of the mean head.
_ROW = [0, 4, 11, 18, 34, 43, 51, 55, 66, 72, 80, 83]
_ROW_Y = [-12.4, -8.5, -3.2, -1.3, 1.3, 3.8, 5.3, 6.2, 8.0, 9.5, 12.6, 16.5]
_WIDTH = [-12.4, -3, 0, 2, 4, 7, 9.5, 12, 17], [7.4, 7.4, 7.3, 7.25, 7.1, 6.55, 5.85, 4.9, 4.9]
_DEPTH = (
    [-12.4, -6, -4, -2.3, -0.6, 1, 4.6, 6, 7.2, 8.8, 10.6, 11.8, 17],
    [9.0, 9.3, 9.5, 9.5, 9.0, 8.75, 8.9, 9.1, 9.05, 8.55, 8.9, 8.2, 8.0],
)


def ramp(low: float, high: float, x: Values) -> Values:
    """Smooth step: 0 at `low` and before, 1 at `high` and beyond (or falling, where high < low)."""
    t = np.clip((x - low) * (1 / (high - low)), 0, 1)
    return t * t * (3 - 2 * t)


def hill(distance: Values, width: Values) -> Values:
    """Gaussian of height 1."""
    return np.exp(-0.5 * (distance * (1 / width)) ** 2)


def bump(x: Values, y: Values, cx: Values, cy: Values, sx: Values, sy: Values) -> Values:
    """Gaussian hill of height 1 around (cx, cy)."""
    return np.exp(-0.5 * (((x - cx) * (1 / sx)) ** 2 + ((y - cy) * (1 / sy)) ** 2))


def curve(x: Values, points: tuple[Sequence[float], Sequence[float]], blur: float = 0.5) -> np.ndarray:
    """Interpolation through (xs, ys) with its kinks rounded; float32."""
    return sum(np.interp(x + d * blur, *points) for d in (-2, -1, 0, 1, 2)).astype(np.float32) * np.float32(0.2)


def places(per_step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Place x, y and angle (rows, columns) of the head's vertices (1) or of finer texels (2, 3, ... a grid step)."""
    rows = (np.arange(HEAD_ROWS * per_step) + 0.5) / per_step - 0.5
    t = ((np.arange(COLUMNS * per_step) + 0.5) / per_step - 0.5) * 2 / (COLUMNS - 1) - 1
    y = np.interp(rows, _ROW, _ROW_Y).astype(np.float32)[:, None]
    angle = (np.pi * (0.42 * t + 0.58 * t**3)).astype(np.float32)[None]
    return tuple(np.ascontiguousarray(a) for a in np.broadcast_arrays(curve(y, _WIDTH) * np.sin(angle), y, angle))


X, Y, ANGLE = places(1)
_M, _SIDE, _SIN, _COS = np.abs(X), np.sign(X), np.sin(ANGLE), np.cos(ANGLE)
_FRONT = (_COS > 0.1).astype(np.float32)
_FINE = np.arange(0, COLUMNS - 0.99, 0.125)
_FINE_ANGLE = np.interp(_FINE, np.arange(COLUMNS), ANGLE[0])


def grid_position(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fractional (row, column) of places on the front of the face."""
    angle = np.arcsin(np.clip(x / curve(y, _WIDTH), -0.999, 0.999))
    return np.interp(y, _ROW_Y, _ROW), np.interp(angle, _FINE_ANGLE, _FINE)


def sample(grid: np.ndarray, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Bilinear values (k, n) of a grid (k, rows, columns) at fractional positions (n,)."""
    r, c = row.astype(int), column.astype(int)
    a, b = row - r, column - c
    top = grid[:, r, c] * (1 - b) + grid[:, r, c + 1] * b
    return top * (1 - a) + (grid[:, r + 1, c] * (1 - b) + grid[:, r + 1, c + 1] * b) * a


def cells(rows: int, columns: int = COLUMNS) -> np.ndarray:
    """Vertex indices (rows - 1, columns - 1, 2, 3) of a grid's cells, two triangles each."""
    index = np.arange(rows * columns, dtype=np.int32).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    return np.stack([np.stack([a, b, c], -1), np.stack([b, d, c], -1)], 2)


def lid_curves(p: SimpleNamespace, t: np.ndarray, openness: float) -> tuple[np.ndarray, np.ndarray]:
    """Upper and lower lid, cm below the eye's axis, at t from -1 (outer corner) to 1 (inner)."""
    arch = np.clip(1 - t * t, 0, None)
    upper = -p.eye_high * arch**0.7 * (1 + p.eye_peak * t) * openness + 0.3 * p.eye_low * (1 - openness) * arch
    return upper, p.eye_low * arch**0.9 * (1 - 0.2 * t) * (0.7 + 0.3 * openness)


def lip_curves(p: SimpleNamespace, t: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Edges (y) of the lips at t from -1 to 1 across the mouth: upper lip outer and inner, lower lip inner and outer."""
    a = np.abs(t)
    arch = np.clip(1 - a**2.4, 0, None)
    line = p.mouth_y + p.mouth_bow * (1 - t * t) - 0.06 * np.exp(-((t / 0.15) ** 2))
    bow = 1 + p.cupid * (np.exp(-(((a - 0.2) / 0.14) ** 2)) - 0.9 * np.exp(-((t / 0.09) ** 2)))
    return line - p.lip_up * arch * bow * (1 - 0.3 * a), line, line + LIP_GAP, line + LIP_GAP + p.lip_low * arch**0.8


def brow_curve(p: SimpleNamespace, t: np.ndarray) -> np.ndarray:
    """Upper part of the brow (y) at t from 0 (inner end) to 1 (outer end)."""
    return p.brow_y + p.brow_tilt * (t - 0.5) - p.brow_arc * brow_arch(t) + 0.25


def brow_arch(t: np.ndarray) -> np.ndarray:
    """The brow's arch, 0 at its ends to 1."""
    return np.sin(np.pi * np.clip(t, 0, 1) ** 1.2)


def fold_x(p: SimpleNamespace, y: np.ndarray) -> np.ndarray:
    """x of the fold from nose wing to mouth corner at height y."""
    start, end = 1.35 * p.nose_w, p.mouth_w + 0.55
    return start + (end - start) * np.clip((y - p.nose_y + 0.3) / (p.mouth_y - p.nose_y + 0.3), -0.2, 1.3)


def jaw_line(p: SimpleNamespace, angle: np.ndarray) -> np.ndarray:
    """Lower edge (y) of the jaw at an angle; below it lies the neck."""
    turn = np.abs(angle)
    return 12.2 - 0.5 * ramp(0, 0.7, turn) - (4.6 - p.jaw_angle) * ramp(0.5, 1.5, turn) - 0.8 * ramp(1.5, 2.5, turn)


def hair_edge(p: SimpleNamespace, angle: np.ndarray) -> np.ndarray:
    """How far down (y) the hair reaches at an angle, before strands fray it."""
    turn = np.abs(np.degrees(angle))
    line = p.hair_line - p.receding * hill(turn - 33, 12)
    ends = [p.hair_sideburn, *[p.hair_over_ear] * 3, p.hair_nape, p.hair_nape]
    below_line = [0, 0.5, 2.2, -p.hair_line - 2.2, -p.hair_line + 0.6, *(end - p.hair_line for end in ends)]
    edge = line + curve(turn, ([0, 34, 48, 58, 66, 74, 82, 90, 108, 124, 180], below_line), 1.5)
    if p.hair_fringe:
        fringe = p.fringe_y + p.fringe_slope * np.degrees(angle) / 40
        edge = np.maximum(edge, np.where(turn < 62, fringe, -99))
    return edge.astype(np.float32)


def beard_region(p: SimpleNamespace, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Where the beard grows, 0 to 1."""
    m = np.abs(x)
    cheek = 5.0 + 1.6 * ramp(1.2, 4.5, m) - 4.1 * ramp(4.9, 7.0, m)
    moustache, chin = (
        ramp(3.0, 2.5, m) * ramp(p.mouth_y + 0.6, p.mouth_y + 0.1, y),
        ramp(2.9, 2.3, m) * ramp(6.9, 7.6, y),
    )
    grown = np.clip(p.beard_moustache * moustache + p.beard_chin * chin + p.beard_cheeks, 0, 1)
    lips = bump(x, y, 0, p.mouth_y + LIP_GAP / 2, p.mouth_w * 0.92, 0.62)
    grown = grown * (1 - ramp(0.35, 0.7, lips)) * ramp(p.nose_y + 0.2, p.nose_y + 0.6, y)
    return grown * ramp(-0.9, 1.0, y - cheek) * ramp(13.5, 12.6, y)


def landmark_places(p: SimpleNamespace, openness: float) -> np.ndarray:
    """Places (68, 2) of the iBUG landmarks; `openness` of the eyes: 1 as usual, 0 shut."""

    def mirrored(left: np.ndarray, order: slice | list[int]) -> np.ndarray:
        return (left * [-1, 1])[order]

    backwards = slice(None, None, -1)
    y = np.array([0.2, 2.1, 4.0, 5.9, 7.8, 9.6, 10.8, 11.6, 11.9])
    angle = np.radians([84, 83, 81, 77, 68, 53, 37, 18, 0])
    jaw = np.stack([-curve(y, _WIDTH) * np.sin(angle), y], 1)
    t = np.array([0.98, 0.78, 0.52, 0.27, 0.04])
    brow = np.stack([-BROW[0] - t * (BROW[1] - BROW[0]), brow_curve(p, t) - 0.12], 1)
    ridge = np.stack([np.zeros(4), np.linspace(-0.15, p.nose_y - 0.85, 4)], 1)
    t = np.array([-1.32, -0.68, 0, 0.68, 1.32])
    base = np.stack([p.nose_w * t, p.nose_y + np.array([0.1, 0.32, 0.42, 0.32, 0.1])], 1)
    t = np.array([-0.97, -0.38, 0.38, 0.97, 0.38, -0.38])
    upper, lower = lid_curves(p, t, openness)
    lid = np.array([0, upper[1], upper[2], 0, lower[4], lower[5]])
    eye = np.stack([t * p.eye_w - p.eye_x, p.eye_y + lid - t * p.eye_w * p.eye_tilt], 1)
    t = np.array(
        [-1, -0.6, -0.22, 0, 0.22, 0.6, 1, 0.62, 0.28, 0, -0.28, -0.62, -0.86, -0.3, 0, 0.3, 0.86, 0.3, 0, -0.3]
    )
    edges = lip_curves(p, t)
    lips = np.stack([t * p.mouth_w, np.concatenate([edges[0][:7], edges[3][7:12], edges[1][12:17], edges[2][17:]])], 1)
    lips[[0, 6, 12, 16], 1] += LIP_GAP / 2  # the corners, half way between the lips
    return np.concatenate(
        [jaw, mirrored(jaw[:-1], backwards), brow, mirrored(brow, backwards), ridge, base]
        + [eye, mirrored(eye, [3, 2, 1, 0, 5, 4]), lips]
    )


def head_shape(p: SimpleNamespace) -> np.ndarray:
    """Neutral surface (3, HEAD_ROWS, COLUMNS) of a person."""
    x, y, m = X, Y, _M
    # The skull's dome, the face that tapers to the chin, and under the line of the jaw the neck.
    dome = np.sqrt(1 - np.clip((-2.5 - y) / 10.0, 0, 1) ** 2.4)
    wide = 1 + p.width + p.cheek * hill(y - 3.3, 1.8) + p.jaw * ramp(4, 9.5, y) + p.temple * hill(y + 4, 2.5)
    wide += 0.03 * hill(y - 2.8, 1.1) - 0.035 * hill(y + 0.2, 0.9) - 0.015 * hill(y - 6.5, 1.5)  # cheek bones
    depth = curve(y, _DEPTH) + p.chin_z * hill(y - 10.9, 1.1) + p.forehead * ramp(-2.5, -8, y)
    px, pz = x * wide * dome, np.where(_COS > 0, depth * np.abs(_COS) ** p.flat, 9.3 * _COS) * dome
    under = ramp(-0.1, 1.7, y - jaw_line(p, ANGLE))
    px = px + (p.neck * _SIN - px) * under
    pz = pz + (p.neck * _COS - 2.0 - pz) * under
    py = y * (1 + p.height * ramp(1, 10, y)) + p.chin * ramp(8.3, 11.5, y)

    # Eyes: sockets, deepest beside the nose; eyeballs; lids; brow ridge. Cheek bones, and the hollows below.
    up = (p.eye_z - 0.95) * bump(m, y, p.eye_x - 0.4, p.eye_y - 0.2, 1.35, 0.8)
    up -= 0.4 * bump(m, y, 1.75, p.eye_y - 0.1, 0.45, 0.6)
    up += 0.6 * bump(m, y, p.eye_x, p.eye_y + 0.02, 0.95, 0.62)
    dy = y - p.eye_y + (p.eye_x - m) * p.eye_tilt
    lids = 0.16 * hill(dy + p.eye_high + 0.14, 0.11) + 0.10 * hill(dy - p.eye_low - 0.12, 0.11)
    up += ramp(1.9, 1.1, np.abs(m - p.eye_x)) * (lids - 0.16 * hill(dy + p.eye_high + p.crease + 0.1, 0.11))
    up += 0.14 * p.bags * bump(m, y, p.eye_x - 0.2, p.eye_y + 1.25, 1.0, 0.3)
    up += (0.35 + p.brow_z) * bump(m, y, 2.3, p.brow_y + 0.5, 1.9, 0.5) - 0.3 * bump(m, y, 6.2, -2.2, 1.0, 1.6)
    up += p.cheek_z * bump(m, y, 4.2, 2.9, 1.4, 1.1) - p.hollow * bump(m, y, 4.6, 6.6, 1.3, 1.7)
    # Nose: a ridge on a broad base, a round tip, two wings.
    t = np.clip((y + 0.9) / (p.nose_y + 0.2), 0, 1)
    ridge = 0.25 + (p.nose_z - 0.25) * t**1.2 + p.nose_bridge * np.sin(np.pi * t) ** 2
    rise = np.minimum((x / (1.2 * p.nose_w)) ** 2, 1.5)  # of the lower edge, from the tip to the wings
    ridge = ridge * ramp(-2.2, 0.2, y) * ramp(p.nose_y + 0.75 - 0.3 * rise, p.nose_y - 0.4 - 0.45 * rise, y)
    ridge *= 0.6 * hill(x, 0.62 + 0.07 * p.nose_fat + 0.22 * p.nose_w * t * t) + 0.4 * hill(x, 1.3 + 0.3 * t)
    up += ridge
    up += 0.6 * p.nose_tip * bump(x, y, 0, p.nose_y - 0.5, 0.62 * p.nose_w, 0.5)
    up += 0.85 * bump(m, y, 1.2 * p.nose_w, p.nose_y - 0.28, 0.33 * p.nose_w, 0.36)
    # Mouth: the dental arch, two lips, the dip above and the fold below; the strip between the lips lies deep. Chin.
    mouth, across = p.mouth_y + LIP_GAP / 2, m / p.mouth_w
    up += (0.5 + p.mouth_z) * bump(x, y, 0, mouth, p.mouth_w * 0.72, 1.5)
    up += 0.55 * hill(y - p.mouth_y + 0.3 * p.lip_up + 0.06, 0.16 + 0.2 * p.lip_up) * ramp(1.05, 0.3, across)
    up += 0.6 * hill(y - p.mouth_y - LIP_GAP - 0.4 * p.lip_low, 0.16 + 0.2 * p.lip_low) * ramp(1.0, 0.15, across)
    up -= 0.6 * hill(y - mouth, 0.17) * ramp(1.08, 0.75, across)
    up -= 0.16 * bump(x, y, 0, (p.mouth_y + p.nose_y) / 2, 0.22, 0.6) + 0.3 * bump(
        m, y, p.mouth_w + 0.2, mouth, 0.4, 0.45
    )
    up += 0.5 * bump(x, y, 0, 11.0, 1.3, 0.8) - 0.2 * bump(x, y, 0, 9.4, 1.6, 0.5)
    up -= 0.12 * p.cleft * bump(x, y, 0, 11.0, 0.2, 0.5)
    up += 0.2 * p.fold * _fold(p)

    beard = p.beard_thick * beard_region(p, x, y)
    out = np.stack([px, py, pz + up * ramp(0.05, 0.5, _COS)])
    out += beard * np.stack([0.6 * _SIN, 0.7 * ramp(9.5, 11.5, y), np.clip(_COS, 0, 1)])
    return out.astype(np.float32)


def _fold(p: SimpleNamespace) -> np.ndarray:
    """The cheek's overhang at the fold between nose and mouth corner, -1 to 1."""
    fold = fold_x(p, Y)
    return np.tanh((_M - fold) * 1.7) * bump(_M, Y, fold, 5.9, 0.9, 1.2)


def expressions(p: SimpleNamespace) -> np.ndarray:
    """Displacements (6, 3, HEAD_ROWS, COLUMNS) at weight 1.

    In this order: mouth opened by 1 cm, smile on the left, on the right, brows raised, frown, lips pursed.
    """
    x, y, m = X, Y, _M
    out = np.zeros((6, 3, *X.shape), np.float32)
    mouth = p.mouth_y + LIP_GAP / 2
    line = lip_curves(p, np.clip(x / p.mouth_w, -1, 1))[1]
    inside = ramp(1.03, 0.6, m / p.mouth_w) * _FRONT
    opened = ramp(0, LIP_GAP, y - line) * inside + ramp(-1.2, 3.0, y - line) * (1 - inside)
    opened = opened * ramp(1.55, 0.5, np.abs(ANGLE)) * ramp(16, 12.5, y)
    out[0, 1], out[0, 2] = opened, -0.35 * opened
    corner = bump(m, y, p.mouth_w, mouth, 1.2, 0.95) * _FRONT
    cheek = bump(m, y, 3.7, 4.0, 1.2, 1.0) * _FRONT
    depth = 0.35 * cheek - 0.3 * corner + 0.15 * _fold(p) * _FRONT
    smile = np.stack([0.55 * _SIDE * corner, -0.5 * corner - 0.25 * cheek, depth])
    out[1], out[2] = smile * ramp(0.8, -0.8, x), smile * ramp(-0.8, 0.8, x)
    out[3, 1] = -0.55 * bump(m, y, 2.9, p.brow_y, 2.0, 0.75) * _FRONT
    inner = bump(m, y, 1.2, p.brow_y + 0.1, 1.0, 0.7) * _FRONT
    out[4, 0], out[4, 1], out[4, 2] = -0.22 * _SIDE * inner, 0.38 * inner, 0.12 * inner
    pursed = bump(x, y, 0, mouth, 1.5, 0.9) * _FRONT
    out[5, 0], out[5, 2] = -0.3 * x * pursed, 0.35 * pursed
    return out


def ear_shape(p: SimpleNamespace) -> np.ndarray:
    """Ears (3, EAR_ROWS, COLUMNS): the left half of the columns is one, the right half its mirror image."""
    r = np.linspace(0, 1, EAR_ROWS, dtype=np.float32)[:, None]
    c = np.linspace(0, 2 * np.pi, COLUMNS // 2, dtype=np.float32)[None]
    up, back = np.cos(c), np.sin(c)
    # A bowl, hinged at its front edge and turned out behind; the rim curls, the lobe is narrow.
    x = 6.95 * (1 + p.width) + p.ear_out * (0.5 + 0.5 * back * r) + 0.35 * np.cos(2 * np.pi * r) * (0.3 + 0.7 * r)
    y = 1.9 - p.ear_size * r * (up + 0.1 * up * up)
    z = -0.8 - 0.6 * p.ear_size * (1 + 0.15 * up) * r * back
    right = np.stack(np.broadcast_arrays(x, y, z))
    return np.concatenate([right * np.float32([[[-1]], [[1]], [[1]]]), right[:, :, ::-1]], 2).astype(np.float32)


def hair_shape(p: SimpleNamespace, head: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A shell (3, HAIR_ROWS, COLUMNS) over the skull, hanging down as far as the hair does, and the y (rows,) of its rows."""
    y = np.linspace(-12.4, p.hair_end, HAIR_ROWS)
    row = np.interp(np.minimum(y, 1.5), _ROW_Y, _ROW)
    low = row.astype(int)
    shell = head[:, low] + (row - low).astype(np.float32)[:, None] * (head[:, low + 1] - head[:, low])
    shell[1] = np.where(y > 1.5, y, shell[1, :, 0])[:, None]
    if p.hair_end < 9:  # short hair follows the neck
        shell[0] *= 1 - 0.3 * ramp(2, 7, y)[:, None]
    turn, y = np.abs(ANGLE[:1]), y.astype(np.float32)[:, None]
    thick = p.hair_top * ramp(-3, -9, y) + p.hair_side * ramp(0.7, 1.3, turn) * ramp(-10, -5, y)
    thick = thick + (0.15 + 0.4 * p.hair_fringe) * ramp(1.0, 0.6, turn) + p.hair_flare * ramp(0, 9, y)
    thick = thick + 0.25 * (p.curly == 0.5) * (np.sin(y * 1.3 + 3 * turn) + 1)
    # It lies close to the head where it ends, so that nobody looks in between.
    grown = cv2.GaussianBlur(ramp(-0.2, 0.6, hair_edge(p, ANGLE[:1]) - y), (0, 0), 2.2)
    thick = 0.1 + thick * ramp(0.35, 1.0, grown)
    behind = ramp(0.2, -0.6, _COS[:1]) * ramp(1.5, 6, y)  # the mass of long hair, which fills the view beside the neck
    shell[0] = shell[0] * (1 + 0.35 * behind) + thick * _SIN[:1]
    shell[1] -= 1.1 * p.hair_top * ramp(-8, -12, y)
    shell[2] += thick * _COS[:1]
    return shell, y[:, 0]


def glasses(p: SimpleNamespace) -> list[np.ndarray]:
    """Frames of glasses: lines of points (n, 3) for two rims, the bridge and two temples."""
    a = np.linspace(0, 2 * np.pi, 25)
    width, height, square = p.lens
    across, down = (np.sign(f) * np.abs(f) ** (2 / square) for f in (np.cos(a), np.sin(a)))
    front = 9.6 + p.brow_z
    x = 3.3 + width * across
    rim = np.stack([x, 0.35 + height * down - 0.15 * across, front - 0.045 * x**2], 1)  # bent around the face
    t = np.linspace(0, 1, 9)
    bridge = np.stack([(2 * t - 1) * (3.3 - width), -0.3 - 0.25 * np.sin(np.pi * t), np.full(9, front)], 1)
    end = 3.3 + width
    side = end + (7.3 * (1 + p.width) - end) * np.minimum(1, t * 2.5)
    temple = np.stack([side, np.full(9, -0.3), front - 0.2 - 0.045 * end**2 - 10 * t], 1)
    return [line.astype(np.float32) for line in (rim, rim * [-1, 1, 1], bridge, temple, temple * [-1, 1, 1])]


def normals(grid: np.ndarray, parts: Sequence[slice] = (slice(None),)) -> np.ndarray:
    """Outward unit normals (3, rows, columns) of a surface, or of several (slices of rows) one below the other."""
    du, dv = np.empty_like(grid), np.empty_like(grid)
    np.subtract(grid[:, :, 2:], grid[:, :, :-2], out=du[:, :, 1:-1])
    du[:, :, 0] = du[:, :, -1] = grid[:, :, 1] - grid[:, :, -2]
    np.subtract(grid[:, 2:], grid[:, :-2], out=dv[:, 1:-1])
    for part in parts:
        one, ends = grid[:, part], dv[:, part]
        ends[:, 0], ends[:, -1] = one[:, 1] - one[:, 0], one[:, -1] - one[:, -2]
    (a, b, c), (d, e, f) = du, dv
    n = np.stack([b * f - c * e, c * d - a * f, a * e - b * d])
    n *= 1 / np.sqrt(np.maximum(n[0] * n[0] + n[1] * n[1] + n[2] * n[2], 1e-12))
    return n


def occlusion(grid: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Share (rows, columns) of the light from all around that arrives: less where the surface lies below its surroundings."""
    around = np.stack([cv2.GaussianBlur(plane, (0, 0), 3.5, borderType=cv2.BORDER_REPLICATE) for plane in grid])
    return np.clip(1 - 0.8 * (n * (around - grid)).sum(0), 0.35, 1.1)
