"""The kinds of masks, one object each: outline, straps, and what its cloth looks like from near.

To add a kind, add a `Kind` to `_KINDS`, and to `styles.yaml` a style of it if it is to be drawn by default. Nets, reliefs and
trims were set by hand: the history keeps no data that they were fitted to. Only how high masks are worn was fitted
(`shapes.HEIGHTS`).
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from maskfr_utils.masks.strokes import METAL, Dye, Relief, disc, fibres, line, ramp, seam, step, wave, woven

NO_MASK = "none"  # chosen like a kind, in a mix: the face stays as it is
Point = tuple[float, float, float]


@dataclass(frozen=True)
class Kind:
    """A kind of mask. Points are head coordinates (`faces.pose`) of its right half; the left is the mirror image.

    Attributes:
        name: what users type.
        net: five rows from the upper to the lower edge, four columns from the middle to the side.
        straps: upper and lower, each (v where it leaves the side edge, a point on the way, its end); or none.
        strap_width: in eye distances.
        folded: along the middle, so that the surface has a bend there.
        creases: height of its sharp folds, eye distances.
        gloss: how much it shines, 1 usual.
        relief: adds what is particular to the height and light of its surface.
        trim: adds what is particular to its colours.
        threads: what a large picture shows of its cloth, from (u, v), as shares of the brightness.
        lit: False blanks the region in one colour, without light, grain or shadow.
    """

    name: str
    net: tuple[tuple[Point, ...], ...]
    straps: tuple[tuple[float, Point, Point], ...] = ()
    strap_width: float = 0.036
    folded: bool = False
    creases: float = 0.0
    gloss: float = 0.0
    relief: Callable[[Relief], None] | None = None
    trim: Callable[[Dye], None] | None = None
    threads: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
    lit: bool = True


# ---- reliefs ------------------------------------------------------------------------------------------------------


def _surgical_relief(r: Relief) -> None:
    """Three pleats, a wire at the nose, hems."""
    u, v, fine = r.u, r.v, r.fine
    r.height += 0.014 * r.wrinkles
    rng = np.random.default_rng([r.folds, 11])
    for at in np.array([0.26, 0.47, 0.68]) + rng.uniform(-0.05, 0.05, 3):
        tilt, deep, reach = rng.uniform((-1, 0.4, 0.08), (1, 1.2, 0.18))
        # Pinched together at the sides, pleats open in the middle, some quite.
        lip = 0.5 + (at - 0.5) * (1.12 - 0.4 * u**2) + 0.03 * (1 - u**2) + 0.02 * tilt * u + 0.008 * wave(u, rng)
        depth = deep * (0.35 + 0.65 * np.abs(u - 0.3 * tilt) ** 1.3) * np.clip(1 + 0.35 * wave(u, rng), 0.1, 1.6)
        # Each pleat bulges above its lip and throws a thin shadow on the one below.
        r.height += 0.044 * depth * np.clip((v - lip) / reach + 1, 0, 1) * step(lip, v, fine)
        r.light -= 0.34 * depth * line(v, lip + 1.3 * fine, fine * 1.4)
        r.light += 0.05 * depth * line(v, lip - 1.8 * fine, fine * 1.5)
    r.height += 0.012 * line(v, 0.055, 0.018) * step(0.5 - np.abs(u), 0, 0.03)  # the wire
    r.height += 0.005 * np.sin(45 * u + 4 * wave(u, rng)) * np.exp(-((v / 0.12) ** 2))  # the hem puckers
    r.light -= 0.16 * seam(v, 0.105, u, fine) + 0.13 * seam(v, 0.95, u, fine)
    r.light -= 0.22 * seam(np.abs(u), 0.945, v, fine * 1.2)


def _kn95_relief(r: Relief) -> None:
    """A weld down the middle, and the panel folds that make the beak."""
    u, v, fine = r.u, r.v, r.fine
    r.height += 0.010 * line(v, 0.055, 0.018) * step(0.42 - np.abs(u), 0, 0.02)
    r.light -= 0.14 * line(u, 0, fine) - 0.10 * line(np.abs(u), 2.5 * fine, 1.5 * fine)
    for at in (0.93, 0.965):
        r.light -= 0.16 * seam(np.abs(u), at, v, fine)
    r.light -= 0.14 * (seam(v, 0.11, u, fine) + seam(v, 0.94, u, fine))
    fold = 0.16 + 0.24 * np.abs(u)
    r.light -= 0.10 * line(v, fold, 1.4 * fine) * step(np.abs(u), 0.1, 0.05)
    r.light -= 0.10 * line(v, 1 - fold * 0.9, 1.4 * fine) * step(np.abs(u), 0.1, 0.05)


def _cup_relief(r: Relief) -> None:
    """A flat rim round a stiff cup, a clip at the nose."""
    r.height -= 0.02 * step(0.14 - r.edge, 0, 0.012)
    r.light -= 0.16 * line(r.edge, 0.15, 0.022) - 0.05 * line(r.edge, 0.09, 0.02)
    r.height += 0.012 * line(r.v, 0.13, 0.022) * step(0.62 - np.abs(r.u), 0, 0.03)


def _respirator_relief(r: Relief) -> None:
    """The cup with two filter cartridges."""
    _cup_relief(r)
    for side in (-1, 1):
        d = np.hypot((r.u - side * 0.60) / 0.27, (r.v - 0.56) / 0.25)
        r.height += 0.16 * step(1 - d, 0, 0.03)
        r.light -= 0.45 * line(d, 1.06, 0.06) + 0.10 * line((d * 5) % 1.0, 0.5, 0.2) * (d < 0.9)


def _cloth_relief(r: Relief) -> None:
    """A seam down the middle, hems, and soft folds."""
    u, v, fine = r.u, r.v, r.fine
    r.light -= 0.12 * line(u, 0, fine * 1.2) - 0.06 * line(np.abs(u), 2.4 * fine, fine * 1.4)
    for at in (0.035, 0.965):
        r.light -= 0.16 * seam(v, at, u, fine)
    r.light -= 0.16 * seam(np.abs(u), 0.955, v, fine)
    r.height += 0.035 * r.wrinkles * np.exp(-((u / 0.75) ** 2))


def _bandana_relief(r: Relief) -> None:
    """Folds that hang from the knot behind the head."""
    u, v = r.u, r.v
    for i, at in enumerate((0.25, 0.45, 0.68, 0.9)):
        fold = at + 0.10 * (1 - np.abs(u)) ** 1.5 - 0.05 * ((r.folds + i) % 3)
        r.height += 0.035 * line(v, fold, 0.045) * (0.4 + 0.6 * np.abs(u))
        r.light -= 0.22 * line(v, fold + 0.05, 0.03) * (0.4 + 0.6 * np.abs(u))


# ---- trims --------------------------------------------------------------------------------------------------------


def _surgical_trim(d: Dye) -> None:
    """Where its hem is welded it is thin and paler."""
    rim = (ramp(np.abs(d.u) - 0.945, d.soft), ramp(0.035 - d.v, d.soft), ramp(d.v - 0.965, d.soft))
    d.rgb *= 1 + 0.12 * np.maximum.reduce(rim)[..., None]


def _n95_trim(d: Dye) -> None:
    """A clip at the nose, and what the maker prints on it."""
    size = len(d.u)
    clip = (ramp(0.025 - np.abs(d.v - 0.13), d.soft) * ramp(0.55 - np.abs(d.u), d.soft))[..., None]
    d.rgb += 0.8 * clip * (METAL - d.rgb)
    print_ = np.zeros((size, size), np.uint8)
    for text, at, height in (("N95", 0.30, 1.0), (f"NR 42{d.variant}", 0.36, 0.6)):
        ((width, _), _), scale = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 1, 1), height * size / 900
        origin = (round(0.5 * (size - scale * width)), round(at * size))
        cv2.putText(print_, text, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, 255, max(1, size // 400), cv2.LINE_AA)
    d.rgb += (0.6 / 255) * print_[..., None] * (np.array([70, 75, 90.0]) - d.rgb)


def _respirator_trim(d: Dye) -> None:
    """Two filters and the exhaust in the middle."""
    filters = np.array([(196, 92, 128), (150, 152, 156), (120, 60, 130), (176, 168, 150)][d.variant % 4], float)
    for side in (-1, 1):
        d.rgb += disc(d.u, d.v, side * 0.6, 0.56, 0.26, 0.24, 4 * d.soft) * (filters - d.rgb)
    d.rgb += disc(d.u, d.v, 0, 0.72, 0.17, 0.13, 4 * d.soft) * (0.7 * np.array(d.colour) - d.rgb)


# ---- the kinds ----------------------------------------------------------------------------------------------------

_EAR_TOP, _EAR_BOTTOM = (1.21, 0.00, -1.04), (1.18, 0.50, -1.02)  # behind the ear
_HEAD_STRAPS = ((0.30, (1.00, 0.36, -0.35), (1.18, -0.02, -0.95)), (0.70, (0.98, 1.12, -0.45), (1.10, 0.80, -0.95)))
_CLOTH_NET = (
    ((0.00, 0.28, 0.53), (0.30, 0.39, 0.35), (0.66, 0.46, 0.10), (1.03, 0.43, -0.46)),
    ((0.00, 0.60, 0.74), (0.38, 0.68, 0.46), (0.74, 0.76, 0.09), (1.06, 0.70, -0.50)),
    ((0.00, 0.98, 0.72), (0.40, 1.02, 0.46), (0.76, 1.03, 0.08), (1.05, 0.92, -0.52)),
    ((0.00, 1.40, 0.48), (0.37, 1.38, 0.30), (0.70, 1.29, 0.00), (0.99, 1.11, -0.52)),
    ((0.00, 1.85, 0.00), (0.30, 1.78, -0.10), (0.61, 1.57, -0.28), (0.92, 1.28, -0.52)),
)

_KINDS = (
    Kind(
        "surgical",
        net=(
            ((0.00, 0.29, 0.52), (0.30, 0.38, 0.35), (0.64, 0.44, 0.12), (0.95, 0.42, -0.34)),
            ((0.00, 0.60, 0.70), (0.38, 0.66, 0.48), (0.70, 0.70, 0.14), (0.97, 0.63, -0.38)),
            ((0.00, 0.98, 0.64), (0.40, 1.01, 0.46), (0.72, 1.01, 0.12), (0.96, 0.91, -0.40)),
            ((0.00, 1.40, 0.44), (0.36, 1.37, 0.30), (0.66, 1.28, 0.02), (0.91, 1.12, -0.40)),
            ((0.00, 1.84, 0.02), (0.30, 1.77, -0.06), (0.59, 1.56, -0.22), (0.85, 1.27, -0.42)),
        ),
        straps=((0.03, (1.06, 0.38, -0.62), _EAR_TOP), (0.97, (1.06, 0.98, -0.68), _EAR_BOTTOM)),
        creases=0.018,
        gloss=1.0,
        relief=_surgical_relief,
        trim=_surgical_trim,
        threads=fibres,
    ),
    Kind(
        "n95",
        net=(
            ((0.00, 0.27, 0.52), (0.17, 0.33, 0.42), (0.33, 0.45, 0.30), (0.48, 0.58, 0.16)),
            ((0.00, 0.52, 0.90), (0.34, 0.56, 0.76), (0.60, 0.66, 0.38), (0.73, 0.76, 0.00)),
            ((0.00, 0.94, 1.02), (0.38, 0.95, 0.86), (0.68, 0.98, 0.42), (0.81, 1.04, -0.10)),
            ((0.00, 1.36, 0.82), (0.34, 1.36, 0.68), (0.60, 1.33, 0.30), (0.73, 1.32, -0.15)),
            ((0.00, 1.78, 0.02), (0.18, 1.76, 0.00), (0.36, 1.68, -0.08), (0.53, 1.55, -0.16)),
        ),
        straps=_HEAD_STRAPS,
        strap_width=0.06,
        creases=0.003,
        gloss=0.9,
        relief=_cup_relief,
        trim=_n95_trim,
        threads=fibres,
    ),
    Kind(
        "kn95",
        net=(
            ((0.00, 0.27, 0.54), (0.28, 0.42, 0.34), (0.60, 0.56, 0.08), (0.93, 0.64, -0.34)),
            ((0.00, 0.56, 0.88), (0.36, 0.64, 0.54), (0.70, 0.75, 0.10), (0.97, 0.80, -0.40)),
            ((0.00, 0.98, 0.96), (0.40, 1.00, 0.57), (0.74, 1.00, 0.08), (0.97, 0.97, -0.42)),
            ((0.00, 1.40, 0.70), (0.36, 1.37, 0.39), (0.68, 1.29, 0.00), (0.94, 1.15, -0.44)),
            ((0.00, 1.84, 0.02), (0.30, 1.76, -0.10), (0.60, 1.55, -0.27), (0.87, 1.29, -0.46)),
        ),
        straps=((0.05, (1.05, 0.42, -0.60), _EAR_TOP), (0.90, (1.06, 0.96, -0.68), _EAR_BOTTOM)),
        folded=True,
        creases=0.006,
        gloss=0.9,
        relief=_kn95_relief,
        threads=fibres,
    ),
    Kind(
        "cloth",
        net=_CLOTH_NET,
        straps=((0.04, (1.11, 0.34, -0.66), _EAR_TOP), (0.92, (1.10, 0.92, -0.72), _EAR_BOTTOM)),
        folded=True,
        creases=0.030,
        gloss=1.0,
        relief=_cloth_relief,
        threads=woven,
    ),
    Kind(
        "respirator",
        net=(
            ((0.00, 0.28, 0.53), (0.18, 0.34, 0.43), (0.35, 0.48, 0.30), (0.50, 0.64, 0.15)),
            ((0.00, 0.50, 0.92), (0.32, 0.56, 0.80), (0.62, 0.68, 0.45), (0.76, 0.82, 0.02)),
            ((0.00, 0.96, 1.06), (0.36, 0.98, 0.92), (0.72, 1.02, 0.48), (0.86, 1.08, -0.08)),
            ((0.00, 1.38, 0.90), (0.32, 1.38, 0.74), (0.62, 1.36, 0.34), (0.76, 1.36, -0.14)),
            ((0.00, 1.80, 0.06), (0.20, 1.78, 0.02), (0.38, 1.70, -0.06), (0.55, 1.58, -0.16)),
        ),
        straps=_HEAD_STRAPS,
        strap_width=0.06,
        gloss=1.2,
        relief=_respirator_relief,
        trim=_respirator_trim,
    ),
    Kind(
        "bandana",
        net=(
            ((0.00, 0.33, 0.56), (0.32, 0.45, 0.36), (0.72, 0.46, 0.04), (1.14, 0.30, -0.66)),
            ((0.00, 0.66, 0.74), (0.38, 0.74, 0.48), (0.78, 0.74, 0.08), (1.15, 0.52, -0.68)),
            ((0.00, 1.14, 0.70), (0.40, 1.14, 0.46), (0.80, 1.06, 0.06), (1.13, 0.78, -0.68)),
            ((0.00, 1.75, 0.52), (0.38, 1.66, 0.32), (0.76, 1.42, -0.04), (1.08, 1.04, -0.66)),
            ((0.00, 2.60, 0.26), (0.40, 2.32, 0.08), (0.76, 1.86, -0.20), (1.02, 1.30, -0.62)),
        ),
        creases=0.012,
        gloss=0.7,
        relief=_bandana_relief,
        threads=woven,
    ),
    Kind("inpaint", net=_CLOTH_NET, lit=False),
    Kind(NO_MASK, net=_CLOTH_NET),  # tells whether there is a face that a mask could lie on
)
ALL_KINDS = {kind.name: kind for kind in _KINDS}
KINDS = tuple(name for name in ALL_KINDS if name != NO_MASK)
