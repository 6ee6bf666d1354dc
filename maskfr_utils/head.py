"""A parametric human head: a grid of vertices that an identity shapes and an expression bends.

The surface is a grid of rows (crown to neck) by columns (once around). Every vertex knows its place (x, y) on the mean
face, in centimetres: x to the right of the picture, y down, the eyes at y = 0, the mouth near 7, the chin near 11.6;
z points to the camera. Shape, expression and paint (`skin`) are functions of the place. Therefore landmarks are exact:
a landmark is a place, a place is a fixed spot of the grid, and the grid follows shape, expression, pose and camera.
"""


from types import SimpleNamespace

import cv2
import numpy as np

HEAD_ROWS, EAR_ROWS, HAIR_ROWS, COLUMNS = 104, 10, 40, 112
# y of the head's rows: dense at brows and eyes, at the nostrils and at the mouth.
_ROW, _ROW_Y = np.array([[0, 7, 18, 27, 45, 55, 64, 69, 81, 88, 98, 103], [-12.4, -8.5, -3.2, -1.3, 1.3, 3.8, 5.3, 6.2, 8.0, 9.5, 12.6, 16.5]])
_WIDTH = ([-12.4, -3, 0, 2, 4, 7, 9.5, 12, 17], [7.4, 7.3, 7.1, 7.1, 6.8, 6.05, 5.2, 4.4, 4.4])
_DEPTH = ([-12.4, -6, -4, -2.3, -0.6, 1, 4.6, 6, 7.2, 8.8, 10.6, 11.8, 17], [9.0, 9.3, 9.5, 9.5, 9.0, 8.75, 8.9, 9.1, 9.05, 8.55, 8.9, 8.2, 8.0])
LIP_GAP = 0.45  # cm between the lips of the neutral grid: the strip that opens and closes
BROW = 0.9, 5.0  # x of the brow's ends


def ramp(low, high, x):
    """Smooth step: 0 at `low` and before, 1 at `high` and beyond."""
    t = np.clip((x - low) * (1 / (high - low)), 0, 1)
    return t * t * (3 - 2 * t)


def bump(x, y, cx, cy, sx, sy):
    """Gaussian hill of height 1."""
    return np.exp(-0.5 * (((x - cx) * (1 / sx)) ** 2 + ((y - cy) * (1 / sy)) ** 2))


def curve(x, points, blur=0.5):
    """Interpolation through (xs, ys) with its kinks rounded over +-2 `blur`; float32."""
    return sum(np.interp(x + d * blur, *points) for d in (-2, -1, 0, 1, 2)).astype(np.float32) * np.float32(0.2)


def places(per_step):
    """Place x, y and angle (rows, columns) of the head's vertices (1) or of finer texels (2, 3, ... a grid step)."""
    rows = (np.arange(HEAD_ROWS * per_step) + 0.5) / per_step - 0.5
    t = ((np.arange(COLUMNS * per_step) + 0.5) / per_step - 0.5) * 2 / (COLUMNS - 1) - 1
    y = np.interp(rows, _ROW, _ROW_Y).astype(np.float32)[:, None]
    angle = (np.pi * (0.42 * t + 0.58 * t**3)).astype(np.float32)[None]
    return np.broadcast_arrays(curve(y, _WIDTH) * np.sin(angle), y, angle)


X, Y, ANGLE = places(1)
_FINE = np.arange(0, COLUMNS - 0.99, 0.125)
_FINE_ANGLE = np.interp(_FINE, np.arange(COLUMNS), ANGLE[0])


def grid_position(x, y):
    """Fractional (row, column) of places on the front of the face."""
    angle = np.arcsin(np.clip(x / curve(y, _WIDTH), -0.999, 0.999))
    return np.interp(y, _ROW_Y, _ROW), np.interp(angle, _FINE_ANGLE, _FINE)


def sample(grid, row, column):
    """Bilinear values (n, k) of a (rows, columns, k) grid at fractional positions (n,)."""
    r, c = row.astype(int), column.astype(int)
    a, b = (row - r)[:, None], (column - c)[:, None]
    top, bottom = grid[r, c] * (1 - b) + grid[r, c + 1] * b, grid[r + 1, c] * (1 - b) + grid[r + 1, c + 1] * b
    return top * (1 - a) + bottom * a


def grid_triangles(rows, first_row=0):
    """Vertex indices (n, 3) of a grid of `rows` rows, two triangles a cell."""
    index = (np.arange(rows * COLUMNS, dtype=np.int32) + first_row * COLUMNS).reshape(rows, COLUMNS)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    return np.stack([np.stack([a, b, c], -1), np.stack([b, d, c], -1)], 2)  # (rows - 1, COLUMNS - 1, 2, 3)


def draw_person(rng, spread):
    """Draw a person: shape and looks by name. `spread` scales how far the shape lies from the mean."""

    def about(mean, sigma):
        return mean + spread * sigma * float(np.clip(rng.standard_normal(), -2.3, 2.3))

    def chance(probability):
        return float(rng.random() < probability)

    sex = float(np.clip(rng.choice([-0.75, 0.75]) + 0.35 * rng.standard_normal(), -1.2, 1.2))  # -1 feminine, 1 masculine
    age = float(rng.beta(1.6, 2.0))  # 0: twenty, 1: eighty
    tone = float(rng.uniform(0, 4.99))  # light to dark
    p = SimpleNamespace(
        sex=sex, age=age, tone=tone, red=about(0, 0.05), yellow=about(0, 0.06), freckles=chance(0.2) * (tone < 1.5),
        width=about(0.02 * sex, 0.04), height=about(0.01 * sex, 0.04), temple=about(0, 0.025), cheek=about(-0.01 * sex, 0.035),
        jaw=about(0.05 * sex, 0.06), jaw_angle=about(0, 0.5), flat=about(0.86, 0.06), forehead=about(-0.1 * sex, 0.3),
        chin=about(0.15 * sex, 0.4), chin_z=about(0.1 * sex, 0.3), cleft=chance(0.15), neck=5.3 + 0.7 * sex,
        cheek_z=about(0.5, 0.15), hollow=about(0.45 + 0.1 * age, 0.2), bags=age * 1.2 + about(0, 0.4), fold=about(0.3 + 0.9 * age, 0.25),
        eye_x=about(3.15, 0.15), eye_y=about(0, 0.14), eye_w=about(1.5, 0.1), eye_high=about(0.56 - 0.05 * sex - 0.08 * age, 0.08),
        eye_low=about(0.36, 0.05), eye_peak=about(0.1, 0.1), eye_tilt=about(-0.06 + 0.05 * age, 0.06), eye_z=about(-0.1 * sex, 0.2),
        crease=about(0.36 - 0.1 * age, 0.13), iris=rng.choice(6, p=[0.3, 0.25, 0.15, 0.1, 0.12, 0.08]) if tone < 2 else rng.choice(3, p=[0.6, 0.3, 0.1]),
        brow_y=about(-1.95 + 0.2 * sex, 0.2), brow_z=about(0.15 * sex, 0.14), brow_tilt=about(-0.15, 0.25), brow_arc=about(0.42 - 0.12 * sex, 0.15),
        brow_thick=about(0.30 + 0.08 * sex, 0.06), brow_dark=about(0.75 - 0.1 * age, 0.13),
        nose_y=about(4.5 + 0.1 * age, 0.25), nose_w=about(0.95 + 0.05 * sex + 0.06 * tone / 3, 0.11), nose_z=about(1.9 + 0.1 * sex - 0.06 * tone, 0.26),
        nose_bridge=about(0.0, 0.18), nose_tip=about(0.9, 0.25), nose_fat=about(0.5, 0.9),
        mouth_y=about(6.75, 0.2), mouth_w=about(2.42, 0.17), mouth_z=about(0.05 * tone, 0.18), mouth_bow=about(0.12, 0.1), cupid=about(0.14, 0.07),
        lip_up=about(0.55 - 0.08 * sex - 0.12 * age + 0.05 * tone, 0.12), lip_low=about(0.78 - 0.06 * sex - 0.12 * age + 0.05 * tone, 0.14),
        lip_red=float(np.clip(about(0.45 - 0.25 * sex, 0.2), 0, 1)), make_up=chance(0.5) * max(0.0, -sex) * rng.random(), moles=int(rng.poisson(1.2)),
        ear_out=about(1.5, 0.3), ear_size=about(2.9 + 0.3 * age, 0.2), asymmetry=[about(0, 0.06) for _ in range(4)],
    )  # fmt: skip
    # Hair: colour, and one of the styles.
    dark = min(tone / 2.2, 1.0)
    colour = rng.choice(6, p=np.array([0.24, 0.26, 0.22, 0.13, 0.09, 0.06])) if rng.random() > dark else rng.choice(2)
    grey = float(np.clip((age - 0.45) * 2 + 0.5 * rng.standard_normal(), 0, 1)) * (age > 0.35)
    feminine = rng.random() < 0.5 - 0.5 * np.clip(sex * 1.5, -0.9, 0.9)
    curly = rng.choice([0, 0, 0.5, 1], p=[0.4, 0.2, 0.2, 0.2]) if tone < 2.5 else rng.choice([0, 0.5, 1], p=[0.25, 0.15, 0.6])
    style = rng.choice(["long", "bob", "tied", "short"], p=[0.4, 0.2, 0.25, 0.15]) if feminine else rng.choice(["short", "buzz", "bald", "side", "long"], p=[0.4, 0.2, 0.08 + 0.12 * age, 0.27 - 0.12 * age, 0.05])
    hair = dict(top=0.9, side=0.25, sideburn=2.5, over_ear=-1.0, nape=7.0, end=8.0, fringe=0.0, flare=0.0, wave=0.0, density=1.0)
    hair |= {
        "bald": dict(top=0.0, side=0.0, density=0.25 * rng.random()), "buzz": dict(top=0.12, side=0.05, density=0.75),
        "short": dict(top=rng.uniform(0.5, 2.2), side=rng.uniform(0.1, 0.7)), "side": dict(top=1.5, side=0.4, fringe=1.0, over_ear=rng.uniform(-1, 1.5)),
        "tied": dict(top=0.5, side=0.05, sideburn=0.5, nape=5.0), "bob": dict(top=0.9, side=0.9, sideburn=7.5, over_ear=8.0, nape=8.0, end=9.5, flare=0.6, fringe=chance(0.5)),
        "long": dict(top=0.9, side=0.7, sideburn=rng.choice([2.0, 14.0]), over_ear=16.0, nape=16.0, end=16.0, flare=rng.uniform(0, 1.5), fringe=chance(0.25)),
    }[style]  # fmt: skip
    if curly == 1 and style not in ("bald", "buzz", "tied"):
        hair |= dict(top=rng.uniform(1, 3.5), side=rng.uniform(0.8, 2.8), fringe=0.0)
    p.hair_line, p.receding = about(-6.7, 0.45) - 1.2 * age * max(sex, 0), max(0.0, about(0.3 + 2.5 * age * max(sex, 0), 0.5))
    p.style, p.hair_colour, p.grey, p.curly = str(style), int(colour), grey, float(curly)
    p.fringe_y, p.fringe_slope, p.fringe_z = rng.uniform(-4.6, -2.6), rng.uniform(-1.2, 1.2), 0.15 + 0.4 * hair["fringe"]
    for name, value in hair.items():
        setattr(p, name if name in ("sideburn", "over_ear", "nape", "fringe") else f"hair_{name}", float(value))
    p.hair_wave = 0.25 * (curly == 0.5)
    # Beard, glasses.
    beard = rng.choice(["none", "stubble", "moustache", "goatee", "full", "long"], p=[0.4, 0.25, 0.06, 0.1, 0.13, 0.06]) if sex > 0.2 else "none"
    p.beard = str(beard)
    p.beard_moustache, p.beard_chin, p.beard_cheeks, p.beard_thick, p.beard_density = {
        "none": (0, 0, 1, 0, 0.12 * (sex > 0.2)), "stubble": (0.3, 0.3, 0.9, 0.02, rng.uniform(0.25, 0.5)), "moustache": (1, 0, 0, 0.2, 0.9),
        "goatee": (1, 1, 0, 0.3, 0.9), "full": (1, 1, 1, 0.35, 0.9), "long": (1, 1, 1, 1.1, 0.95),
    }[p.beard]  # fmt: skip
    p.glasses = chance(0.15 + 0.25 * age)
    p.lens = rng.uniform(1.9, 2.6), rng.uniform(1.4, 2.2), rng.choice([2.0, 2.6, 4.0]), rng.uniform(0.1, 0.35)  # half sizes, squareness, rim
    p.frame = [(0.01, 0.01, 0.012), (0.09, 0.035, 0.015), (0.3, 0.3, 0.32), (0.45, 0.32, 0.12), (0.04, 0.05, 0.12), (0.25, 0.02, 0.03)][rng.choice(6, p=[0.4, 0.2, 0.15, 0.1, 0.1, 0.05])]
    return p


def hair_edge(p, angle):
    """How far down (y) the hair reaches at an angle, before strands fray it."""
    turn = np.abs(np.degrees(angle))
    line = p.hair_line - p.receding * bump(turn, 0, 33, 0, 12, 1)
    xs = [0, 34, 48, 58, 66, 74, 82, 90, 104, 112, 180]
    ys = [0, 0.5, 2.2, -p.hair_line - 2.2, -p.hair_line + 0.6, *(-p.hair_line + v for v in (p.sideburn, p.over_ear, p.over_ear, p.over_ear, p.nape, p.nape))]
    edge = line + sum(np.interp(turn + d, xs, ys) for d in (-3, 0, 3)) / 3
    fringe = p.fringe_y + p.fringe_slope * np.degrees(angle) / 40
    return np.maximum(edge, np.where(turn < 62, fringe, -99)) if p.fringe else edge


def beard_region(p, x, y):
    """Where the beard grows, 0 to 1."""
    m = np.abs(x)
    cheek = curve(m, ([0, 1.2, 2.6, 4.5, 5.6, 7], [5.0, 5.1, 5.6, 6.6, 5.6, 2.5]), 0.2)
    mouth = bump(x, y, 0, p.mouth_y + LIP_GAP / 2, p.mouth_w * 0.92, 0.62)
    grown = ramp(-0.3, 0.5, y - cheek) * ramp(13.5, 12.6, y)
    moustache, chin = ramp(3.2, 2.7, m) * ramp(8.6, 7.8, y), ramp(2.9, 2.3, m) * ramp(6.9, 7.6, y)
    grown = grown * np.clip(p.beard_moustache * moustache + p.beard_chin * chin + p.beard_cheeks, 0, 1)
    return grown * (1 - ramp(0.35, 0.7, mouth)) * ramp(p.nose_y + 0.2, p.nose_y + 0.6, y)


def lid_curves(p, t, openness):
    """Upper and lower lid, cm below the eye's axis, at t from -1 (outer corner) to 1 (inner)."""
    arch = np.clip(1 - t * t, 0, None)
    upper = -p.eye_high * arch**0.7 * (1 + p.eye_peak * t) * openness + 0.3 * p.eye_low * (1 - openness) * arch
    return upper, p.eye_low * arch**0.9 * (1 - 0.2 * t) * (0.7 + 0.3 * openness)


def lip_curves(p, t):
    """Edges (y) of the lips at t from -1 to 1 across the mouth: upper lip's outer and inner, lower lip's inner, outer."""
    a = np.abs(t)
    arch = np.clip(1 - a**2.4, 0, None)
    line = p.mouth_y + p.mouth_bow * (1 - t * t) - 0.06 * np.exp(-((t / 0.15) ** 2))
    bow = 1 + p.cupid * (np.exp(-(((a - 0.2) / 0.14) ** 2)) - 0.9 * np.exp(-((t / 0.09) ** 2)))
    return line - p.lip_up * arch * bow * (1 - 0.3 * a), line, line + LIP_GAP, line + LIP_GAP + p.lip_low * arch**0.8


def brow_curve(p, t):
    """Middle of the brow (y) at t from 0 (inner end) to 1 (outer end)."""
    return p.brow_y + p.brow_tilt * (t - 0.5) - p.brow_arc * np.sin(np.pi * np.clip(t, 0, 1) ** 1.2) + 0.25


def _mirror(left, order):
    return (left * [-1, 1])[order]


def landmark_places(p, openness):
    """Places (68, 2) of the iBUG landmarks; `openness` of the eyes: 1 as usual, 0 shut."""
    angle = np.radians([84, 83, 81, 77, 68, 53, 37, 18, 0])
    y = np.array([0.2, 2.1, 4.0, 5.9, 7.8, 9.6, 10.8, 11.6, 11.9])
    jaw = np.stack([-curve(y, _WIDTH) * np.sin(angle), y], 1)
    t = np.array([0.98, 0.78, 0.52, 0.27, 0.04])
    brow = np.stack([-BROW[0] - t * (BROW[1] - BROW[0]), brow_curve(p, t) - 0.12], 1)
    ridge = np.stack([np.zeros(4), np.linspace(-0.25, p.nose_y - 0.72, 4)], 1)
    base = np.stack([p.nose_w * np.array([-1.32, -0.68, 0, 0.68, 1.32]), p.nose_y + np.array([0.1, 0.32, 0.42, 0.32, 0.1])], 1)
    t = np.array([-0.97, -0.38, 0.38, 0.97, 0.38, -0.38])
    upper, lower = lid_curves(p, t, openness)
    along = t * p.eye_w
    across = np.where([False, True, True, False, False, False], upper, np.where([False] * 4 + [True] * 2, lower, 0.0))
    eye = np.stack([along - p.eye_x, p.eye_y + across - along * p.eye_tilt], 1)
    outer, low = np.array([-1, -0.6, -0.22, 0, 0.22, 0.6, 1]), np.array([0.62, 0.28, 0, -0.28, -0.62])
    inner, inner_low = np.array([-0.86, -0.3, 0, 0.3, 0.86]), np.array([0.3, 0, -0.3])
    lips = np.stack([
        np.concatenate([outer, low, inner, inner_low]) * p.mouth_w,
        np.concatenate([lip_curves(p, outer)[0], lip_curves(p, low)[3], lip_curves(p, inner)[1], lip_curves(p, inner_low)[2]]),
    ], 1)  # fmt: skip
    lips[[0, 6, 12, 16], 1] += LIP_GAP / 2  # the corners, half way between the lips
    halves = [jaw, _mirror(jaw[:-1], slice(None, None, -1)), brow, _mirror(brow, slice(None, None, -1))]
    return np.concatenate([*halves, ridge, base, eye, _mirror(eye, [3, 2, 1, 0, 5, 4]), lips])


def head_shape(p):
    """Neutral vertices (HEAD_ROWS, COLUMNS, 3) of a person, cm."""
    x, y, m = X, Y, np.abs(X)
    sin, cos = np.sin(ANGLE), np.cos(ANGLE)
    # The skull's dome, the face that tapers to the chin, and under the line of the jaw the neck.
    dome = np.sqrt(1 - np.clip((-2.5 - y) / 10.0, 0, 1) ** 2.4)
    wide = 1 + p.width + p.cheek * bump(0, y, 0, 3.3, 1, 1.8) + p.jaw * ramp(4, 9.5, y) + p.temple * bump(0, y, 0, -4, 1, 2.5)
    depth = curve(y, _DEPTH) + p.chin_z * bump(0, y, 0, 10.9, 1, 1.1) + p.forehead * ramp(-2.5, -8, y)
    px, pz = x * wide * dome, np.where(cos > 0, depth * np.abs(cos) ** p.flat, 9.3 * cos) * dome
    turn = np.abs(ANGLE)
    jaw = 12.2 - 0.5 * ramp(0, 0.7, turn) - (4.6 - p.jaw_angle) * ramp(0.5, 1.5, turn) - 0.8 * ramp(1.5, 2.5, turn)
    under = ramp(-0.1, 1.7, y - jaw)
    px = px + (p.neck * sin - px) * under
    pz = pz + (p.neck * cos - 2.0 - pz) * under
    py = y * (1 + p.height * ramp(1, 10, y)) + p.chin * ramp(8.3, 11.5, y) + 0.0 * x

    up = np.zeros_like(x)
    # Eyes: sockets, deepest beside the nose; eyeballs; lids.
    up += (p.eye_z - 0.95) * bump(m, y, p.eye_x - 0.4, p.eye_y - 0.2, 1.35, 0.8) - 0.4 * bump(m, y, 1.75, p.eye_y - 0.1, 0.45, 0.6)
    up += 0.6 * bump(m, y, p.eye_x, p.eye_y + 0.02, 0.95, 0.62)
    dy = y - p.eye_y + (p.eye_x - m) * p.eye_tilt
    lid = ramp(1.9, 1.1, np.abs(m - p.eye_x))
    up += lid * (0.16 * np.exp(-(((dy + p.eye_high + 0.14) / 0.16) ** 2)) + 0.10 * np.exp(-(((dy - p.eye_low - 0.12) / 0.15) ** 2)))
    up -= lid * 0.16 * np.exp(-(((dy + p.eye_high + p.crease + 0.1) / 0.16) ** 2))
    up += 0.14 * p.bags * bump(m, y, p.eye_x - 0.2, p.eye_y + 1.25, 1.0, 0.3)
    up += (0.35 + p.brow_z) * bump(m, y, 2.3, p.brow_y + 0.5, 1.9, 0.5) - 0.3 * bump(m, y, 6.2, -2.2, 1.0, 1.6)
    up += p.cheek_z * bump(m, y, 4.2, 2.9, 1.4, 1.1) - p.hollow * bump(m, y, 4.6, 6.6, 1.3, 1.7)
    # Nose: a ridge on a broad base, a round tip, two wings.
    t = np.clip((y + 0.9) / (p.nose_y + 0.2), 0, 1)
    ridge = 0.25 + (p.nose_z - 0.25) * t**1.2 + p.nose_bridge * np.sin(np.pi * t) ** 2
    ridge = ridge * ramp(-2.2, 0.2, y) * ramp(p.nose_y + 0.8, p.nose_y - 0.5, y)
    spread = 0.40 + 0.08 * p.nose_fat + 0.22 * p.nose_w * t
    up += ridge * (0.72 * np.exp(-0.5 * (x / spread) ** 2) + 0.28 * np.exp(-0.5 * (x / (1.0 + 0.3 * t)) ** 2))
    up += 0.5 * p.nose_tip * bump(x, y, 0, p.nose_y - 0.5, 0.58 * p.nose_w, 0.5)
    up += 1.0 * bump(m, y, 1.1 * p.nose_w, p.nose_y - 0.33, 0.33 * p.nose_w, 0.38)
    # Mouth: the dental arch, two lips, the dip above and the fold below; the strip between the lips lies deep.
    mouth, mw = p.mouth_y + LIP_GAP / 2, p.mouth_w
    across = m / mw
    up += (0.5 + p.mouth_z) * bump(x, y, 0, mouth, mw * 0.72, 1.5)
    up += 0.55 * np.exp(-0.5 * ((y - p.mouth_y + 0.3 * p.lip_up + 0.06) / (0.16 + 0.2 * p.lip_up)) ** 2) * ramp(1.05, 0.3, across)
    up += 0.6 * np.exp(-0.5 * ((y - p.mouth_y - LIP_GAP - 0.4 * p.lip_low) / (0.16 + 0.2 * p.lip_low)) ** 2) * ramp(1.0, 0.15, across)
    up -= 0.6 * np.exp(-0.5 * ((y - mouth) / 0.17) ** 2) * ramp(1.08, 0.75, across)
    up -= 0.16 * bump(x, y, 0, (p.mouth_y + p.nose_y) / 2, 0.22, 0.6) + 0.3 * bump(m, y, mw + 0.2, mouth, 0.4, 0.45)
    up += 0.5 * bump(x, y, 0, 11.0, 1.3, 0.8) - 0.2 * bump(x, y, 0, 9.4, 1.6, 0.5) - 0.12 * p.cleft * bump(x, y, 0, 11.0, 0.2, 0.5)
    fold = fold_x(y, p)
    up += 0.2 * p.fold * np.tanh((m - fold) * 1.7) * bump(m, y, fold, 5.9, 0.9, 1.2)
    face = np.stack([px, py, pz + up * ramp(0.05, 0.5, cos)], -1)
    beard = p.beard_thick * beard_region(p, X, Y)
    face[..., 0] += 0.6 * beard * sin
    face[..., 1] += 0.7 * beard * ramp(9.5, 11.5, y)
    face[..., 2] += beard * np.clip(cos, 0, 1)
    return face.astype(np.float32)


def fold_x(y, p):
    """Where the fold from nose wing to mouth corner lies (x) at height y."""
    return 1.35 * p.nose_w + (p.mouth_w + 0.55 - 1.35 * p.nose_w) * np.clip((y - p.nose_y + 0.3) / (p.mouth_y - p.nose_y + 0.3), -0.2, 1.3)


EXPRESSIONS = ("open", "smile_left", "smile_right", "brow", "frown", "pucker")


def expressions(p):
    """Displacements (6, HEAD_ROWS, COLUMNS, 3) that the `EXPRESSIONS` add at weight 1 (`open`: by 1 cm)."""
    x, y, m, side = X, Y, np.abs(X), np.sign(X)
    front = (np.cos(ANGLE) > 0.1).astype(np.float32)
    out = np.zeros((len(EXPRESSIONS), *X.shape, 3), np.float32)
    mw, mouth = p.mouth_w, p.mouth_y + LIP_GAP / 2
    line = lip_curves(p, np.clip(x / mw, -1, 1))[1]
    inside = ramp(1.03, 0.6, m / mw) * front
    opening = ramp(0, LIP_GAP, y - line) * inside + ramp(-1.2, 3.0, y - line) * (1 - inside)
    opening = opening * ramp(1.55, 0.5, np.abs(ANGLE)) * ramp(16, 12.5, y)
    out[0, ..., 1], out[0, ..., 2] = opening, -0.35 * opening
    corner = bump(m, y, mw, mouth, 1.2, 0.95) * front
    cheek = bump(m, y, 3.7, 4.0, 1.2, 1.0) * front
    smile = np.stack([0.55 * side * corner, -0.5 * corner - 0.25 * cheek, 0.35 * cheek - 0.3 * corner], -1)
    smile[..., 2] += 0.22 * np.tanh((m - fold_x(y, p)) * 1.7) * bump(m, y, fold_x(y, p), 5.9, 0.9, 1.2) * front
    out[1], out[2] = smile * ramp(0.8, -0.8, x)[..., None], smile * ramp(-0.8, 0.8, x)[..., None]
    brow = bump(m, y, 2.9, p.brow_y, 2.0, 0.75) * front
    out[3, ..., 1] = -0.55 * brow
    inner = bump(m, y, 1.2, p.brow_y + 0.1, 1.0, 0.7) * front
    out[4] = np.stack([-0.22 * side * inner, 0.38 * inner, 0.12 * inner], -1)
    pucker = bump(x, y, 0, mouth, 1.5, 0.9) * front
    out[5, ..., 0], out[5, ..., 2] = -0.3 * x * pucker, 0.35 * pucker
    return out


def ear_shape(p):
    """Ears (EAR_ROWS, COLUMNS, 3): the left half of the columns is one, the right half its mirror image."""
    r = np.linspace(0, 1, EAR_ROWS, dtype=np.float32)[:, None]
    c = np.linspace(0, 2 * np.pi, COLUMNS // 2, dtype=np.float32)[None]
    up, back = np.cos(c), np.sin(c)
    # A bowl, hinged at its front edge and turned out behind; the rim curls, the lobe is narrow.
    width = 0.6 * (1 + 0.15 * up) * p.ear_size
    x = 6.75 * (1 + p.width) + p.ear_out * (0.5 + 0.5 * back * r) + 0.35 * np.cos(2 * np.pi * r) * (0.3 + 0.7 * r)
    y = 1.9 - p.ear_size * r * (up + 0.1 * up * up)
    z = -0.8 - width * r * back
    right = np.stack(np.broadcast_arrays(x, y, z), -1)
    return np.concatenate([right * np.array([-1, 1, 1], np.float32), right[:, ::-1]], 1).astype(np.float32)


def hair_shape(p, head):
    """A shell (HAIR_ROWS, COLUMNS, 3) over the skull, hanging down as far as the hair does, and the y of its rows."""
    y = np.linspace(-12.4, p.hair_end, HAIR_ROWS)
    row = np.interp(np.minimum(y, 1.5), _ROW_Y, _ROW)
    low = row.astype(int)
    shell = head[low] + (row - low).astype(np.float32)[:, None, None] * (head[low + 1] - head[low])
    shell[..., 1] = np.where(y > 1.5, y, shell[:, 0, 1])[:, None]
    turn, y = np.abs(ANGLE[:1]), y.astype(np.float32)[:, None]
    thick = p.hair_top * ramp(-3, -9, y) + p.hair_side * ramp(0.7, 1.3, turn) * ramp(-10, -5, y) + p.fringe_z * ramp(1.0, 0.6, turn)
    thick = thick + p.hair_flare * ramp(0, 9, y) + p.hair_wave * (np.sin(y * 1.3 + 3 * turn) + 1)
    # It lies close to the head where it ends, so that nobody looks in between.
    grown = cv2.GaussianBlur(ramp(-0.2, 0.6, hair_edge(p, ANGLE[:1]) - y).astype(np.float32), (0, 0), 2.5)
    thick = 0.1 + thick * ramp(0.35, 1.0, grown)
    shell[..., 0] += thick * np.sin(ANGLE[:1])
    shell[..., 1] -= 1.1 * p.hair_top * ramp(-8, -12, y)
    shell[..., 2] += thick * np.cos(ANGLE[:1])
    return shell, y


def glasses(p):
    """Frames of glasses: lines of points (n, 3) for two rims, the bridge and two temples."""
    a = np.linspace(0, 2 * np.pi, 25)
    width, height, square = p.lens[:3]
    shape = np.abs(np.cos(a)) ** (2 / square) * np.sign(np.cos(a)), np.abs(np.sin(a)) ** (2 / square) * np.sign(np.sin(a))
    x, y = 3.3 + width * shape[0], 0.35 + height * shape[1] - 0.15 * shape[0]
    z = 9.6 + p.brow_z - 0.045 * x**2  # a frame bends around the face
    rim = np.stack([x, y, z], 1)
    t = np.linspace(0, 1, 9)
    bridge = np.stack([(2 * t - 1) * (3.3 - width), -0.3 - 0.25 * np.sin(np.pi * t), np.full(9, 9.6 + p.brow_z)], 1)
    end = 3.3 + width
    temple = np.stack([end + (7.5 * (1 + p.width) - end) * np.minimum(1, t * 2.5), -0.3 + 0 * t, 9.4 + p.brow_z - 0.045 * end**2 - 10 * t], 1)
    flip = [-1, 1, 1]
    return [line.astype(np.float32) for line in (rim, rim * flip, bridge, temple, temple * flip)]


def normals(grid):
    """Unit normals (rows, columns, 3), outward, of a grid of vertices."""
    du, dv = np.empty_like(grid), np.empty_like(grid)
    np.subtract(grid[:, 2:], grid[:, :-2], out=du[:, 1:-1])
    du[:, 0] = du[:, -1] = grid[:, 1] - grid[:, -2]
    np.subtract(grid[2:], grid[:-2], out=dv[1:-1])
    dv[0], dv[-1] = grid[1] - grid[0], grid[-1] - grid[-2]
    (a, b, c), (d, e, f) = np.moveaxis(du, -1, 0), np.moveaxis(dv, -1, 0)
    n = np.stack([b * f - c * e, c * d - a * f, a * e - b * d], -1)
    n *= 1 / np.maximum(np.sqrt(np.einsum("ijk,ijk->ij", n, n)), 1e-6)[..., None]
    return n


def concavity(grid, n):
    """Ambient occlusion (rows, columns): below 1 where the surface lies lower than its surroundings."""
    around = cv2.GaussianBlur(grid, (0, 0), 4.0, borderType=cv2.BORDER_REPLICATE)
    return np.clip(1 - 0.9 * np.einsum("ijk,ijk->ij", n, around - grid), 0.35, 1.1).astype(np.float32)
