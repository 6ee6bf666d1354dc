"""The paint of a head: skin, lips, brows, beard, hair, and for each picture the eyes and what the open mouth shows.

Colours are linear RGB reflectances. A texture (channels, rows, columns) has `TEXELS` texels a grid step of `head`, and
is painted by functions of the place on the face, as the shape is.
"""

from collections.abc import Callable, Sequence
from types import SimpleNamespace

import cv2
import numpy as np

from maskfr_utils.rendered import head
from maskfr_utils.rendered.head import BROW, COLUMNS, EAR_ROWS, HAIR_ROWS, LIP_GAP, bump, hill, ramp

TEXELS = 2
X, Y, ANGLE = head.places(TEXELS)
_FRONT = slice(*(np.flatnonzero(np.abs(ANGLE[0]) < 1.75)[[0, -1]] + [0, 1]))
_FX, _FY = (np.ascontiguousarray(a[:, _FRONT]) for a in (X, Y))
_FM = np.abs(_FX)


def _box(x: tuple[float, float], y: tuple[float, float]) -> tuple[slice, slice, slice]:
    """Slices (channels, rows, columns) of the texels in front with x and y in ranges."""
    rows = np.flatnonzero((Y[:, 0] > y[0]) & (Y[:, 0] < y[1]))
    across = X[rows[len(rows) // 2]]
    columns = np.flatnonzero((across > x[0]) & (across < x[1]) & (np.abs(ANGLE[0]) < 1.5))
    return slice(None), slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _flipped(box: tuple[slice, slice, slice]) -> tuple[slice, slice, slice]:
    """The same texels of the other half of the face, from the nose outwards too."""
    first, last = (X.shape[1] - 1 - c for c in (box[2].start, box[2].stop - 1))
    return box[0], box[1], slice(first, last - 1, -1)


# Parts that are painted alone. Eye and brow: those with x > 0, and their mirror images.
_FOREHEAD, _LIPS, _MOUTH = _box((-5, 5), (-5.7, -2.7)), _box((-3.3, 3.3), (5.2, 9.3)), _box((-3.2, 3.2), (6.0, 8.3))
_BROW, _EYE, _CORNER = _box((0.6, 6.3), (-3.7, -0.2)), _box((1.1, 5.5), (-1.9, 1.7)), _box((4.4, 6.6), (-1.6, 1.8))

# Linear RGB: skin from light to dark, hair from black to blond and red, irises from brown to grey.
SKIN = np.array(
    [
        [0.78, 0.58, 0.49],
        [0.70, 0.49, 0.38],
        [0.57, 0.38, 0.27],
        [0.40, 0.25, 0.165],
        [0.24, 0.140, 0.092],
        [0.12, 0.070, 0.050],
    ]
)
HAIR = np.array(
    [
        [0.010, 0.009, 0.010],
        [0.028, 0.017, 0.011],
        [0.075, 0.042, 0.024],
        [0.22, 0.125, 0.058],
        [0.46, 0.32, 0.165],
        [0.22, 0.062, 0.024],
    ]
)
GREY = np.array([0.42, 0.41, 0.40])
IRIS = np.array(
    [
        [0.040, 0.020, 0.010],
        [0.09, 0.042, 0.018],
        [0.13, 0.09, 0.035],
        [0.09, 0.12, 0.06],
        [0.09, 0.15, 0.25],
        [0.15, 0.18, 0.20],
    ]
)
_BLOOD = np.array([[[0.06]], [[0.34]], [[0.30]]], np.float32)  # what more blood under the skin takes away


def _noise(rng: np.random.Generator, height: int, width: int, cell_y: float, cell_x: float) -> np.ndarray:
    """Smooth noise (height, width), about unit variance, in cells of so many texels."""
    small = rng.standard_normal((int(height / cell_y) + 3, int(width / cell_x) + 3), dtype=np.float32)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def _colour(values: Sequence[float] | np.ndarray) -> np.ndarray:
    return np.asarray(values, np.float32)[:, None, None]


def _towards(image: np.ndarray, weight: np.ndarray, colour: np.ndarray) -> None:
    """Blend `image` towards a colour, in place."""
    image += weight * (colour - image)


def hair_colour(p: SimpleNamespace) -> np.ndarray:
    """Linear RGB (3, 1, 1) of the hair."""
    return _colour(HAIR[p.hair_colour] * (1 - p.grey) + GREY * p.grey)


def paint_head(p: SimpleNamespace, rng: np.random.Generator) -> np.ndarray:
    """Paint (4, rows, columns) of head and ears: RGB, and gloss, the strength of the highlights."""
    rows, columns = X.shape
    tone = SKIN[int(p.tone)] * (1 - p.tone % 1) + SKIN[int(p.tone) + 1] * (p.tone % 1)
    skin = _colour(tone * [1 + p.red, 1, 1 - p.yellow])
    hair = hair_colour(p)
    x, y, m = _FX, _FY, _FM
    width = x.shape[1]

    # Blood colours cheeks, nose and lids. Shade: below the eyes, lids, nostrils, folds, wrinkles.
    blood = 0.55 * bump(m, y, 4.1, 3.6, 1.5, 1.3) + 0.6 * bump(x, y, 0, p.nose_y - 0.5, 1.0, 0.8)
    blood += 0.3 * bump(m, y, p.eye_x, p.eye_y + 0.2, 1.7, 1.0) + 0.25 * _noise(rng, rows, width, 20, 20)
    blood = np.clip(blood * (1 - 0.12 * p.tone), -0.5, 1)
    shade = 0.30 * (0.6 + 0.5 * p.bags) * bump(m, y, p.eye_x - 0.5, p.eye_y + 1.0, 1.0, 0.35)
    shade += (0.25 + 0.5 * p.make_up) * bump(m, y, p.eye_x - 0.1, p.eye_y - 0.75, 1.3, 0.4)
    shade += 0.8 * bump(m, y, 0.55 * p.nose_w, p.nose_y + 0.06, 0.24 * p.nose_w, 0.15)
    wing = np.hypot(m - 1.15 * p.nose_w, 0.9 * (y - p.nose_y + 0.28))
    shade += 0.28 * hill(wing - 0.46 * p.nose_w, 0.11) * ramp(p.nose_y + 0.1, p.nose_y - 0.3, y)
    fold = ramp(p.nose_y - 0.5, p.nose_y + 0.6, y) * ramp(p.mouth_y + 1.2, p.mouth_y, y)
    shade += (0.12 + 0.22 * p.age) * fold * hill(m - head.fold_x(p, y), 0.12)

    image = np.empty((4, rows + EAR_ROWS * TEXELS, columns), np.float32)
    mottle = 1 + 0.06 * _noise(rng, rows, columns, 14, 14) + 0.05 * _noise(rng, rows, columns, 2, 2)
    image[:3, :rows] = skin * mottle
    rim = np.linspace(0, 1, EAR_ROWS * TEXELS, dtype=np.float32)[:, None]
    image[:3, rows:] = skin * (1 - 0.35 * _BLOOD) * (0.65 + 0.35 * ramp(0.2, 0.75, rim))
    image[3] = 0.13
    face, gloss = image[:3, :rows, _FRONT], image[3, :rows, _FRONT]
    face *= (1 - blood * _BLOOD) * (1 - np.clip(shade, 0, 0.9))
    image[:3, :rows] *= 1 - 0.55 * ramp(-0.6, 1.2, Y - head.jaw_line(p, ANGLE))  # little light reaches the neck
    if p.freckles:
        spots = ramp(1.1, 2.2, _noise(rng, rows, width, 2.5, 2.5)) * bump(m, y, 2.0, 3.2, 2.6, 1.8)
        _towards(face, 0.45 * spots, skin * _colour([0.62, 0.45, 0.36]))
    for _ in range(p.moles):
        cx, cy, size = rng.uniform(-5.5, 5.5), rng.uniform(-4, 10), rng.uniform(0.07, 0.16)
        _towards(face, 0.8 * bump(x, y, cx, cy, size, size), skin * _colour([0.35, 0.25, 0.2]))
    if p.age > 0.3:
        _paint_wrinkles(image, p, rng)
    _paint_lips(image, p, rng, skin)
    gloss += 0.1 * (bump(x, y, 0, p.nose_y - 0.7, 0.6, 0.6) + bump(x, y, 0, -4, 3, 1.5))
    for box in (_BROW, _flipped(_BROW)):
        bx, by, hairs = np.abs(X[box[1:]]), Y[box[1:]], _noise(rng, *X[box[1:]].shape, 3.0, 1.5)
        t = (bx - BROW[0]) / (BROW[1] - BROW[0])
        flat = 0.2 * p.brow_arc * head.brow_arch(t)  # it is arched less below than above
        thick = p.brow_thick * (0.95 - 0.5 * np.clip(t, 0, 1)) + flat
        off = (by - head.brow_curve(p, t) - flat) / thick
        brow = ramp(1.5, 0.4, np.abs(off + 0.15 * hairs)) * ramp(-0.06, 0.14, t) * ramp(1.06, 0.85, t)
        _towards(image[box][:3], np.clip(brow * p.brow_dark * (0.85 + 0.2 * hairs), 0, 1), hair * 0.7 + 0.02)
    if p.beard_density:
        strand = _noise(rng, rows, width, 3.0, 1.5)
        beard = np.clip(head.beard_region(p, x, y) * p.beard_density * (1 + 0.25 * strand), 0, 1)
        _towards(face, beard, np.exp(0.4 * strand - 0.08) * (hair * 0.9 + 0.01))
        gloss *= 1 - 0.85 * beard
    # Roots of the hair, frayed, and its soft shadow on the skin beneath.
    fray = _noise(rng, rows, columns, 7, 1.5) * (0.2 + 0.15 * p.curly)
    below = head.hair_edge(p, ANGLE[:1]) - Y
    image[:3, :rows] *= 1 - 0.4 * min(1.0, p.hair_top + p.hair_fringe) * ramp(-1.3, 0.2, below)
    _towards(image[:3, :rows], ramp(-0.35, 0.9, below + fray) * p.hair_density, hair)
    image[3, :rows] *= 1 - 0.8 * ramp(-0.3, 0.5, below)
    return image


def _paint_lips(image: np.ndarray, p: SimpleNamespace, rng: np.random.Generator, skin: np.ndarray) -> None:
    x, y = X[_LIPS[1:]], Y[_LIPS[1:]]
    m, face = np.abs(x), image[_LIPS]
    edges = head.lip_curves(p, np.clip(x / p.mouth_w, -1, 1))
    lip = ramp(-0.14, 0.1, y - edges[0]) * ramp(0.16, -0.1, y - edges[3]) * ramp(p.mouth_w + 0.08, p.mouth_w - 0.15, m)
    colour = skin * (1 - _BLOOD * (1.1 + 0.5 * p.lip_red)) * (0.92 - 0.1 * p.lip_red)
    colour = colour + _colour([0.12, 0.0, 0.015]) * p.lip_red * (0.3 + 0.7 * p.make_up)
    _towards(face[:3], 0.9 * lip, colour * (1 + 0.07 * _noise(rng, *x.shape, 9, 1.5)))
    seam = 0.55 * (hill(y - edges[1], 0.07) + hill(y - edges[2], 0.07)) * ramp(p.mouth_w, p.mouth_w - 0.4, m)
    seam += 0.15 * bump(m, y, p.mouth_w + 0.05, p.mouth_y + LIP_GAP / 2, 0.2, 0.22)
    face[:3] *= 1 - np.clip(seam, 0, 0.8)
    face[3] += lip * (0.18 + 0.3 * p.make_up)


def _paint_wrinkles(image: np.ndarray, p: SimpleNamespace, rng: np.random.Generator) -> None:
    x, y = X[_FOREHEAD[1:]], Y[_FOREHEAD[1:]]
    waves = np.cos((y + 4.2 + 0.12 * np.sin(np.abs(x) * 1.3) + 0.06 * _noise(rng, *x.shape, 16, 16)) * 6.5)
    waves = (waves * waves) ** 4 * ramp(-5.6, -5.0, y) * ramp(-2.8, -3.4, y) * ramp(4.5, 2.5, np.abs(x))
    image[_FOREHEAD][:3] *= 1 - 0.45 * (p.age - 0.3) * waves
    x, y = X[_CORNER[1:]], Y[_CORNER[1:]]
    spokes = np.cos(np.arctan2(y - p.eye_y - 0.1, x - p.eye_x - 1.0) * 7) ** 2
    spokes = spokes * spokes * bump(x, y, p.eye_x + 2.1, p.eye_y + 0.1, 0.55, 0.7)
    for box in (_CORNER, _flipped(_CORNER)):
        image[box][:3] *= 1 - 0.5 * (p.age - 0.3) * spokes


def paint_hair(p: SimpleNamespace, rng: np.random.Generator, y: np.ndarray) -> np.ndarray:
    """Paint (5, rows, columns) of the hair's shell: RGB, gloss, opacity. `y` (HAIR_ROWS,): height of its rows."""
    rows, columns = HAIR_ROWS * TEXELS, COLUMNS * TEXELS
    y = np.interp((np.arange(rows) + 0.5) / TEXELS - 0.5, np.arange(HAIR_ROWS), y).astype(np.float32)[:, None]
    long, short = (4, 4) if p.curly == 1 else (26, 1.2)
    strand = _noise(rng, rows, columns, long, short) + 0.6 * _noise(rng, rows, columns, long / 2, short * 3)
    # It is combed to both sides of a parting: the upper half of its rows leans.
    row, column = np.indices((rows, columns), dtype=np.float32)
    combed = p.hair_combed * np.tanh((ANGLE[0] - p.hair_parting) * 4) * np.maximum(0, TEXELS * 16 - row)
    strand = cv2.remap(strand, column - combed, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    angle = ANGLE[:1] + 0.03 * (p.curly > 0) * _noise(rng, rows, columns, 6, 20)
    below = head.hair_edge(p, angle) - y
    image = np.empty((5, rows, columns), np.float32)
    image[:3] = hair_colour(p) * np.exp(0.32 * strand + 0.25 * ramp(4, 0, below) - 0.15)
    image[3] = (0.1 - 0.06 * (p.curly == 1)) * np.clip(1 + 0.5 * strand, 0, 2)
    fray = (0.35 + 0.35 * p.hair_fringe + 0.2 * p.curly) * strand
    image[4] = ramp(0.0, 0.55, below + fray) * ramp(0.2, 0.5, p.hair_top + p.hair_side) * p.hair_density
    return image


def eyes_and_mouth(image: np.ndarray, p: SimpleNamespace) -> Callable[[float, np.ndarray, float], None]:
    """A function (openness, gaze, gap) that paints both eyes and the strip between the lips of one picture into `image`.

    Gaze (x, y) and gap are in cm. It paints over what it painted before; whatever no picture changes is computed here.
    """
    x, y = X[_EYE[1:]], Y[_EYE[1:]]
    eyes = _EYE, _flipped(_EYE)
    skin = np.stack([image[box] for box in eyes], 1)  # (4, 2, rows, columns)
    inwards = p.eye_x - x
    dy = y - p.eye_y + inwards * p.eye_tilt
    t = inwards * (1 / p.eye_w)
    a = np.abs(t)
    # The lids' curves are linear in the openness.
    (upper, lower), (upper_wide, lower_wide) = (head.lid_curves(p, np.clip(t, -1, 1), o) for o in (0, 1))
    upper_wide, lower_wide = upper_wide - upper, lower_wide - lower
    between = ramp(1.03, 0.97, a)
    white = _colour([0.40, 0.37, 0.36]) * (1 - 0.07 * p.tone) * (1 - ramp(0.45, 1.0, a) * _colour([0.25, 0.42, 0.4]))
    white = white[:, None]
    lashes = (0.9 + 0.1 * p.make_up) * ramp(1.12, 0.95, a), 0.35 * ramp(1.05, 0.9, a), 0.45 * ramp(1.1, 0.8, a)
    # Iris and pupil: what to multiply the white by, and to add, by squared distance from the centre (0 to 1 cm2).
    r = np.sqrt(np.linspace(0, 1, 512, dtype=np.float32))
    iris, dark = ramp(0.64, 0.55, r), 0.6 * ramp(0.46, 0.58, r) * ramp(0.70, 0.60, r) + 0.97 * ramp(0.30, 0.22, r)
    dark = 1 - np.clip(dark, 0, 0.97)
    rings = np.stack([(1 - iris) * dark, *(IRIS[p.iris][:, None] * (0.45 + 0.65 * ramp(0.2, 0.5, r)) * iris * dark)])
    rings = rings.astype(np.float32)
    side = np.float32([1, -1])[:, None, None]

    x, y = X[_MOUTH[1:]], Y[_MOUTH[1:]]
    lips = image[_MOUTH][:3].copy()
    across = np.abs(x) * (1 / p.mouth_w)
    down = (y - head.lip_curves(p, np.clip(across, 0, 1))[1]) * (1 / LIP_GAP)
    strip = ramp(0.0, 0.12, down) * ramp(1.0, 0.88, down) * ramp(1.0, 0.9, across)
    tongue = ramp(0.75, 1.0, down)
    teeth = ramp(0.95, 0.6, across)
    tooth = _colour([0.62, 0.58, 0.50]) * (0.85 + 0.15 * np.abs(np.sin(np.pi / 0.8 * x)) ** 0.5)

    def paint(openness: float, gaze: np.ndarray, gap: float) -> None:
        above, beneath = dy - upper - openness * upper_wide, lower - dy + openness * lower_wide
        inside = ramp(-0.06, 0.06, above) * ramp(-0.06, 0.06, beneath) * between
        lash = lashes[0] * hill(above + 0.04, 0.085 + 0.03 * p.make_up) + lashes[1] * hill(beneath + 0.05, 0.065)
        lash += lashes[2] * hill(above + (p.crease + 0.12 * (1 - openness)), 0.07)  # the crease of the lid
        offset, height = -inwards - side * np.float32(gaze[0]), dy - np.float32(gaze[1])
        r2 = offset * offset + (height + 0.07) ** 2
        clear, *iris = rings.take(np.minimum(r2 * 511, 511).astype(np.intp), axis=1)
        ball = (clear * white + iris) * (0.3 + 0.7 * ramp(-0.05, 0.5, above))
        lamp = ramp(0.17, 0.07, np.sqrt((offset + side * 0.17) ** 2 + (height + 0.26) ** 2))  # its reflection
        _towards(ball, lamp, np.float32(0.7))
        ball = (skin[:3] + inside * (ball - skin[:3])) * (1 - np.minimum(lash, 0.93))
        for k, box in enumerate(eyes):
            image[box][:3] = ball[:, k]
            image[box][3] = skin[3, k] * (1 - inside)

        depth = down * max(gap, 0.02)  # cm below the upper lip
        inner = np.empty_like(lips)
        inner[:] = _colour([0.09, 0.025, 0.022])
        _towards(inner, 0.8 * float(ramp(0.5, 1.0, gap)) * tongue, _colour([0.30, 0.10, 0.09]))
        _towards(inner, teeth * ramp(0.85, 0.70, depth) * float(ramp(0.05, 0.25, gap)), tooth)
        image[_MOUTH][:3] = lips + strip * (inner * (0.35 + 0.65 * ramp(0.0, 0.5, depth)) - lips)

    return paint
