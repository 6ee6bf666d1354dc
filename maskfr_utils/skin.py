"""The paint of a head: skin, lips, brows, beard, hair, and for each picture the eyes and what the open mouth shows.

Colours are linear RGB reflectances. A texture has `TEXELS` texels a grid step of `head`, and is painted by functions of
the place on the face, as the shape is.
"""

import cv2
import numpy as np

from . import head
from .head import BROW, COLUMNS, EAR_ROWS, HAIR_ROWS, HEAD_ROWS, LIP_GAP, bump, ramp

TEXELS = 2
X, Y, ANGLE = head.places(TEXELS)
_FRONT = slice(*(np.flatnonzero(np.abs(ANGLE[0]) < 1.75)[[0, -1]] + [0, 1]))
_FX, _FY, _FM = X[:, _FRONT], Y[:, _FRONT], np.abs(X[:, _FRONT])


def _box(x, y):
    """Slices of the texels with |x| and y in ranges."""
    rows = np.flatnonzero((Y[:, 0] > y[0]) & (Y[:, 0] < y[1]))
    columns = np.flatnonzero((np.abs(X[Y.shape[0] // 2]) < x) & (np.abs(ANGLE[0]) < 1.5))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


_EYES, _MOUTH = _box(5.6, (-1.9, 1.7)), _box(3.4, (6.0, 8.3))

SKIN = np.array(
    [[0.80, 0.60, 0.50], [0.72, 0.50, 0.38], [0.58, 0.37, 0.25], [0.40, 0.235, 0.145], [0.235, 0.125, 0.075], [0.11, 0.058, 0.038]]
)
HAIR = np.array(
    [[0.010, 0.009, 0.010], [0.028, 0.017, 0.011], [0.075, 0.042, 0.024], [0.22, 0.125, 0.058], [0.46, 0.32, 0.165], [0.22, 0.062, 0.024]]
)
GREY = np.array([0.42, 0.41, 0.40])
IRIS = np.array(
    [[0.040, 0.020, 0.010], [0.09, 0.042, 0.018], [0.13, 0.09, 0.035], [0.09, 0.12, 0.06], [0.09, 0.15, 0.25], [0.15, 0.18, 0.20]]
)
_BLOOD = np.array([0.06, 0.34, 0.30], np.float32)  # what more blood under the skin takes away


def _noise(rng, height, width, cell_y, cell_x):
    """Smooth noise (height, width), about unit variance, in cells of so many texels."""
    small = rng.standard_normal((int(height / cell_y) + 3, int(width / cell_x) + 3), dtype=np.float32)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def _towards(image, weight, colour):
    """Blend `image` towards a colour, in place."""
    image += weight[..., None] * (colour - image)


def hair_colour(p):
    """Linear RGB (3,) of the hair."""
    return (HAIR[p.hair_colour] * (1 - p.grey) + GREY * p.grey).astype(np.float32)


def paint_head(p, rng):
    """Albedo and gloss (rows, columns, 4) of head and ears: RGB, then the strength of the highlights."""
    rows, columns = X.shape
    tone = SKIN[int(p.tone)] * (1 - p.tone % 1) + SKIN[int(p.tone) + 1] * (p.tone % 1)
    skin = (tone * [1 + p.red, 1, 1 - p.yellow]).astype(np.float32)
    hair = hair_colour(p)
    image = np.empty((rows + EAR_ROWS * TEXELS, columns, 4), np.float32)
    image[..., :3], image[..., 3] = skin, 0.13
    ear = np.linspace(0, 1, EAR_ROWS * TEXELS, dtype=np.float32)[:, None, None]
    image[rows:, :, :3] *= (1 - 0.45 * _BLOOD) * (0.55 + 0.45 * ramp(0.2, 0.75, ear))
    image[:rows, :, :3] *= (1 + 0.05 * _noise(rng, rows, columns, 14, 14) + 0.03 * _noise(rng, rows, columns, 2, 2))[..., None]
    face, gloss = image[:rows, _FRONT, :3], image[:rows, _FRONT, 3]
    x, y, m = _FX, _FY, _FM
    light = 1 - min(p.tone / 5, 1) * 0.6

    blood = 0.55 * bump(m, y, 4.1, 3.6, 1.5, 1.3) + 0.6 * bump(x, y, 0, p.nose_y - 0.5, 1.0, 0.8) + 0.3 * bump(m, y, p.eye_x, p.eye_y + 0.2, 1.7, 1.0)
    blood += 0.25 * _noise(rng, rows, x.shape[1], 20, 20)
    face *= 1 - np.clip(blood * light, -0.5, 1)[..., None] * _BLOOD
    shade = 0.30 * bump(m, y, p.eye_x - 0.5, p.eye_y + 1.0, 1.0, 0.35) * (0.6 + p.bags * 0.5)
    shade += (0.25 + 0.5 * p.make_up) * bump(m, y, p.eye_x - 0.1, p.eye_y - 0.75, 1.3, 0.4)
    shade += 0.8 * bump(m, y, 0.55 * p.nose_w, p.nose_y + 0.06, 0.24 * p.nose_w, 0.15)  # nostrils
    shade += 0.25 * bump(m, y, 1.42 * p.nose_w, p.nose_y - 0.25, 0.13, 0.45)  # crease of the nose wings
    shade += (0.12 + 0.22 * p.age) * np.exp(-(((m - head.fold_x(y, p)) / 0.16) ** 2)) * ramp(p.nose_y - 0.5, p.nose_y + 0.6, y) * ramp(p.mouth_y + 1.2, p.mouth_y, y)
    if p.age > 0.3:
        wavy = y + 0.12 * np.sin(m * 1.3) + 0.06 * _noise(rng, rows, x.shape[1], 16, 16)
        lines = np.cos((wavy + 4.2) * 6.5) ** 8 * ramp(-5.6, -5.0, y) * ramp(-2.8, -3.4, y) * ramp(4.5, 2.5, m)
        spokes = np.cos(np.arctan2(y - p.eye_y - 0.1, m - p.eye_x - 1.0) * 7) ** 6 * bump(m, y, p.eye_x + 2.1, p.eye_y + 0.1, 0.55, 0.7)
        shade += (p.age - 0.3) * (0.45 * lines + 0.5 * spokes)
    face *= 1 - np.clip(shade, 0, 0.9)[..., None] * np.array([0.85, 1.0, 1.0], np.float32)
    if p.freckles:
        _towards(face, 0.45 * ramp(1.1, 2.2, _noise(rng, rows, x.shape[1], 2.5, 2.5)) * bump(m, y, 2.0, 3.2, 2.6, 1.8), skin * np.array([0.62, 0.45, 0.36], np.float32))
    for _ in range(p.moles):
        cx, cy, size = rng.uniform(-5.5, 5.5), rng.uniform(-4, 10), rng.uniform(0.07, 0.16)
        _towards(face, 0.8 * bump(x, y, cx, cy, size, size), skin * np.array([0.35, 0.25, 0.2], np.float32))

    lines = head.lip_curves(p, np.clip(x / p.mouth_w, -1, 1))
    ends = ramp(p.mouth_w + 0.08, p.mouth_w - 0.15, m)
    lip = ramp(-0.14, 0.1, y - lines[0]) * ramp(0.16, -0.1, y - lines[3]) * ends
    colour = skin * (1 - _BLOOD * (1.1 + 0.5 * p.lip_red)) * (0.92 - 0.1 * p.lip_red) + np.array([0.12, 0.0, 0.015], np.float32) * p.lip_red * (0.3 + 0.7 * p.make_up)
    _towards(face, 0.9 * lip, colour * (1 + 0.07 * _noise(rng, rows, x.shape[1], 9, 1.5))[..., None])
    gloss += lip * (0.18 + 0.3 * p.make_up)
    seam = np.exp(-(((y - lines[1]) / 0.1) ** 2)) + np.exp(-(((y - lines[2]) / 0.1) ** 2))
    face *= 1 - np.clip(0.7 * seam * ramp(p.mouth_w, p.mouth_w - 0.4, m) + 0.25 * bump(m, y, p.mouth_w + 0.05, p.mouth_y + LIP_GAP / 2, 0.2, 0.22), 0, 0.8)[..., None]
    gloss += 0.1 * (bump(x, y, 0, p.nose_y - 0.7, 0.6, 0.6) + bump(x, y, 0, -4, 3, 1.5))

    # Brows: hairs lean outwards. Beard. Scalp under the hair, its edge frayed.
    t = (m - BROW[0]) / (BROW[1] - BROW[0])
    off = (y - head.brow_curve(p, t)) / (p.brow_thick * (1.15 - 0.65 * np.clip(t, 0, 1)))
    hairs = _noise(rng, rows, x.shape[1], 3.0, 1.6)
    brow = ramp(1.5, 0.4, np.abs(off + 0.25 * hairs)) * ramp(-0.06, 0.14, t) * ramp(1.06, 0.85, t)
    _towards(face, np.clip(brow * p.brow_dark * (0.85 + 0.2 * hairs), 0, 1), hair * 0.7 + 0.02)
    if p.beard_density:
        strand = _noise(rng, rows, x.shape[1], 4, 1.3)
        beard = np.clip(head.beard_region(p, x, y) * p.beard_density * (1 + 0.25 * strand), 0, 1)
        _towards(face, beard, np.exp(0.3 * strand)[..., None] * (hair * 0.9 + 0.012))
        gloss *= 1 - 0.7 * beard
    return image


def paint_scalp(image, p, rng):
    """Hair roots on the head's own surface, in place, and the soft shadow of the hair on the skin beneath it."""
    rows = X.shape[0]
    fray = _noise(rng, rows, X.shape[1], 7, 1.5) * (0.2 + 0.15 * p.curly)
    below = head.hair_edge(p, ANGLE[:1]) - Y
    _towards(image[:rows, :, :3], ramp(-0.35, 0.9, below + fray) * p.hair_density, hair_colour(p))
    image[:rows, :, :3] *= (1 - 0.4 * ramp(-1.3, 0.2, below) * min(1.0, p.hair_top + p.fringe))[..., None]
    image[:rows, :, 3] *= 1 - 0.8 * ramp(-0.3, 0.5, below)


def paint_hair(p, rng, y):
    """The hair shell's paint (rows, columns, 5): RGB, gloss, opacity. `y` (HAIR_ROWS, 1): height of its rows."""
    rows, columns = HAIR_ROWS * TEXELS, COLUMNS * TEXELS
    y = np.interp((np.arange(rows) + 0.5) / TEXELS - 0.5, np.arange(HAIR_ROWS), y[:, 0]).astype(np.float32)[:, None]
    long, short = (4, 4) if p.curly == 1 else (26, 1.2)
    strand = _noise(rng, rows, columns, long, short) + 0.6 * _noise(rng, rows, columns, long / 2, short * 3)
    angle = ANGLE[:1] + 0.05 * (p.curly > 0) * _noise(rng, rows, columns, 6, 20)
    below = head.hair_edge(p, angle) - y
    image = np.empty((rows, columns, 5), np.float32)
    image[..., :3] = hair_colour(p) * np.exp((0.32 * strand + 0.25 * ramp(4, 0, below) - 0.15))[..., None]
    image[..., 3] = 0.35 * np.clip(1 + 0.5 * strand, 0, 2) * (1 - 0.6 * (p.curly == 1))
    fray = (0.35 + 0.35 * p.fringe + 0.2 * p.curly) * strand
    image[..., 4] = ramp(0.0, 0.55, below + fray) * min(1.0, (p.hair_top + p.hair_side) * 3) * p.hair_density
    return image


def paint_picture(image, p, openness, gaze, gap):
    """Paint both eyes and the strip between the lips of one picture, in place; gaze (x, y) and gap in cm."""
    patch, gloss = image[_EYES][..., :3], image[_EYES][..., 3]
    x, y = X[_EYES], Y[_EYES]
    m, side = np.abs(x), np.sign(x)
    inwards = p.eye_x - m
    dy = y - p.eye_y + inwards * p.eye_tilt
    t = inwards * (1 / p.eye_w)
    a = np.abs(t)
    upper, lower = head.lid_curves(p, np.clip(t, -1, 1), openness)
    above, beneath = dy - upper, lower - dy
    inside = ramp(-0.06, 0.06, above) * ramp(-0.06, 0.06, beneath) * ramp(1.03, 0.97, a)
    r = np.hypot(x - side * p.eye_x - gaze[0], dy - gaze[1] + 0.07)
    ball = np.array([0.50, 0.46, 0.44], np.float32) * (1 - ramp(0.45, 1.0, a)[..., None] * np.array([0.25, 0.42, 0.4], np.float32))
    _towards(ball, ramp(0.64, 0.55, r), IRIS[p.iris].astype(np.float32) * (0.7 + 0.9 * ramp(0.2, 0.5, r))[..., None])
    dark = 0.6 * ramp(0.46, 0.58, r) * ramp(0.70, 0.60, r) + 0.97 * ramp(0.30, 0.22, r)
    ball *= ((1 - np.clip(dark, 0, 0.97)) * (0.38 + 0.62 * ramp(-0.05, 0.45, above)))[..., None]
    _towards(ball, ramp(0.17, 0.07, np.hypot(x - side * p.eye_x - gaze[0] + 0.17, dy - gaze[1] + 0.26)), np.float32(0.9))
    _towards(patch, inside, ball)
    gloss *= 1 - inside
    lash = (0.8 + 0.2 * p.make_up) * np.exp(-(((above + 0.05) / (0.10 + 0.04 * p.make_up)) ** 2)) * ramp(1.12, 0.95, a)
    lash += 0.35 * np.exp(-(((beneath + 0.05) / 0.09) ** 2)) * ramp(1.05, 0.9, a)
    crease = 0.45 * np.exp(-(((above + p.crease + 0.12 * (1 - openness)) / 0.1) ** 2)) * ramp(1.1, 0.8, a)
    patch *= (1 - np.clip(lash + crease, 0, 0.93))[..., None]

    x, y = X[_MOUTH], Y[_MOUTH]
    line = head.lip_curves(p, np.clip(x / p.mouth_w, -1, 1))[1]
    t = (y - line) * (1 / LIP_GAP)
    strip = ramp(0.0, 0.12, t) * ramp(1.0, 0.88, t) * ramp(1.0, 0.9, np.abs(x) / p.mouth_w)
    depth = t * max(gap, 0.02)
    inner = np.full((*x.shape, 3), [0.09, 0.025, 0.022], np.float32)
    _towards(inner, 0.8 * ramp(0.75, 1.0, t) * ramp(0.5, 1.0, gap), np.array([0.30, 0.10, 0.09], np.float32))  # tongue
    tooth = 0.85 + 0.15 * np.abs(np.sin(np.pi * x / 0.8)) ** 0.5
    _towards(inner, ramp(0.85, 0.70, depth) * ramp(0.95, 0.6, np.abs(x) / p.mouth_w) * ramp(0.05, 0.25, gap), np.array([0.62, 0.58, 0.50], np.float32) * tooth[..., None])
    _towards(image[_MOUTH][..., :3], strip, inner * (0.35 + 0.65 * ramp(0.0, 0.5, depth))[..., None])
