"""What cloth is drawn with: lines, steps, seams, threads and discs over mask coordinates, and the textures they go into.

Mask coordinates: u from -1 (left edge) to 1 across, v from 0 (upper edge) to 1 down.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

METAL = np.array([176, 178, 180.0])  # of nose clips and valves, RGB


@dataclass
class Relief:
    """The relief of a mask in the making; all arrays are (size, size).

    Attributes:
        u: mask coordinate across.
        v: mask coordinate down.
        edge: 0 at the rim, growing inwards to 1.
        wrinkles: smooth random folds of about unit height.
        folds: which of the random pleats and creases.
        fine: the thinnest line that the grid can carry, in mask coordinates.
        height: in eye distances; added to.
        light: how much of it reaches the place, 1 all; added to.
    """

    u: np.ndarray
    v: np.ndarray
    edge: np.ndarray
    wrinkles: np.ndarray
    folds: int
    fine: float
    height: np.ndarray
    light: np.ndarray


@dataclass
class Dye:
    """The colours of a mask in the making.

    Attributes:
        u: (size, size) mask coordinate across.
        v: (size, size) mask coordinate down.
        colour: main colour, RGB 0..255.
        variant: which of the kind's variants.
        rgb: (size, size, 3) float 0..255; added to.
    """

    u: np.ndarray
    v: np.ndarray
    colour: tuple[int, int, int]
    variant: int
    rgb: np.ndarray

    @property
    def soft(self) -> float:
        """As wide as an edge must be to show no stairs."""
        return 3 / len(self.u)


def line(x: np.ndarray, at: float | np.ndarray, width: float) -> np.ndarray:
    """1 at `at`, falling to 0 on both sides."""
    return np.exp(-(((x - at) / width) ** 2))


def step(x: np.ndarray, at: float | np.ndarray, width: float) -> np.ndarray:
    """0 below `at`, 1 above, smooth over about `width`."""
    return 1 / (1 + np.exp(np.clip(-(x - at) / width, -40, 40)))


def ramp(x: np.ndarray, width: float) -> np.ndarray:
    """A step at 0 that is `width` wide: patterns without stairs."""
    return np.clip(x / width + 0.5, 0, 1)


def wave(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A smooth random function of about unit height."""
    return sum(rng.normal(0, 0.8) * np.sin(k * x + rng.uniform(0, 6.3)) for k in (2, 4, 7))


def seam(across: np.ndarray, at: float, along: np.ndarray, fine: float) -> np.ndarray:
    """A row of stitches or welds, which only a large mask shows one by one."""
    return line(across, at, fine) * (0.6 + 0.4 * np.cos(along * 130) if len(along) >= 256 else 0.6)


def disc(u: np.ndarray, v: np.ndarray, x: float, y: float, width: float, height: float, soft: float) -> np.ndarray:
    """1 inside an ellipse, 0 outside: (size, size, 1)."""
    return ramp(1 - np.hypot((u - x) / width, (v - y) / height), soft)[..., None]


def woven(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Threads over and under each other, as shares of the brightness."""
    return 0.10 * np.sin(u * len(u) * 0.7) * np.sin(v * len(u) * 0.9)


def fibres(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Fibres laid at random, as shares of the brightness."""
    return 0.08 * gaussian_filter(np.random.default_rng(len(u)).standard_normal(u.shape, np.float32), (0.7, 2.0))
