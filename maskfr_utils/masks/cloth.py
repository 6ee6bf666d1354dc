"""What masks are made of: relief, pattern and colour of each kind, as textures over the mask coordinates.

Coordinates: u from -1 (left edge) to 1 across, v from 0 (upper edge) to 1 down. All textures are computed at the size
that is asked for, from the same formulas, so that a mask looks the same on a small and on a large face.
"""

import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Self

import cv2
import numpy as np
from scipy.interpolate import RectBivariateSpline
from scipy.ndimage import gaussian_filter

from maskfr_utils.faces.pictures import PictureError, file_bytes, read_picture
from maskfr_utils.masks.kinds import ALL_KINDS, Kind
from maskfr_utils.masks.shapes import surface
from maskfr_utils.masks.strokes import METAL, Dye, Relief, disc, line, ramp, step

PATTERNS = ("plain", "check", "stripe", "dots", "floral", "noise", "gradient")
VARIANTS = 6  # of each pattern
FOLDS = 12  # different pleats and creases of each kind
SMALL = 80  # texture side for aligned faces; these are kept in memory


@dataclass(frozen=True)
class Texture:
    """A user's picture on a mask: where it is, and what is in it, so that what was made of an older one is not used."""

    path: str
    crc32: int

    @classmethod
    def of(cls, path: str) -> Self:
        """The picture as it is now; errors are those of `read_texture` and of reading the file.

        Raises:
            OSError: no file, such as a device that never ends.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"no texture at {path}")
        # Workers may have another current folder.
        texture = cls(str(Path(path).absolute()), zlib.crc32(file_bytes(path)))
        read_texture(texture)
        return texture


@dataclass(frozen=True)
class Cloth:
    """What a mask is made of; hashable."""

    kind: str
    colour: tuple[int, int, int]
    second: tuple[int, int, int]
    pattern: str  # one of PATTERNS, or "texture"
    variant: int
    valve: bool
    texture: Texture | None
    pattern_weight: float


# ---- relief -------------------------------------------------------------------------------------------------------


def _wrinkles(u: np.ndarray, v: np.ndarray, folds: int) -> np.ndarray:
    """Smooth random folds of about unit height, longer across than down; the same at every size."""
    noise = np.random.default_rng([folds, 7]).standard_normal((24, 24))
    smooth = gaussian_filter(noise, (1.0, 3.0), mode="reflect")
    smooth /= smooth.std()
    spline = RectBivariateSpline(np.linspace(0, 1, 24), np.linspace(-1, 1, 24), smooth, kx=3, ky=3)
    return spline(v[:, 0], u[0])


def _creases(size: int, folds: int) -> np.ndarray:
    """Sharp random folds of about unit height: from the corners, where the straps pull, from the nose, and anywhere."""
    rng, grid = np.random.default_rng([folds, 13]), min(size, 256)  # none is so fine that it needs more
    u, y = np.meshgrid(np.linspace(-1, 1, grid), np.linspace(0, 1.6, grid))  # about as long across as down
    out = np.zeros((grid, grid))
    for i in range(18):
        side = rng.choice((-1, 1))
        (x0, y0), (x1, y1) = (
            ((0.98 * side, rng.choice((0.05, 1.55))), rng.normal((0, 0.8), 0.35)),
            (rng.uniform((0.03, 0), (0.3, 0.2)) * (side, 1), rng.uniform((0.3, 0.3), (0.8, 1.0)) * (side, 1)),
            (rng.uniform((-0.8, 0.1), (0.8, 1.5)), rng.uniform((-0.8, 0.1), (0.8, 1.5))),
        )[i % 3]
        length = max(np.hypot(x1 - x0, y1 - y0), 0.05)
        along = ((u - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / length**2
        bow = np.clip(4 * along * (1 - along), 0, 1)
        across = ((y - y0) * (x1 - x0) - (u - x0) * (y1 - y0)) / length - rng.normal(0, 0.05) * bow
        out += rng.normal() * bow * np.exp(-np.hypot(across, 0.01) / max(rng.uniform(0.02, 0.06), 2.5 / grid))
    return cv2.resize(out, (size, size), interpolation=cv2.INTER_CUBIC)


def _relief(kind: Kind, wear: str, size: int, folds: int, valve: bool) -> tuple[np.ndarray, np.ndarray]:
    """Height (in eye distances) and light that reaches the place (1 all) over the mask, (size, size) each."""
    u, v = np.meshgrid(np.linspace(-1, 1, size), np.linspace(0, 1, size))
    edge = np.minimum.reduce([1 - np.abs(u), 2 * v, 2 * (1 - v)])
    wrinkles = _wrinkles(u, v, folds)
    height = {"loose": 0.030, "tight": 0.010}.get(wear, 0.018) * wrinkles
    height += kind.creases * {"loose": 1.3, "tight": 0.7}.get(wear, 1.0) * _creases(size, folds)
    light = 1 - 0.16 * np.exp(-edge / 0.030)
    light += 0.012 * wrinkles[::-1, ::-1]  # thinner and thicker places
    relief = Relief(u, v, edge, wrinkles, folds, max(0.010, 1.7 / size), height, light)
    if kind.relief:
        kind.relief(relief)
    if valve:
        d = np.hypot(u / 0.24, (v - 0.60) / 0.20)
        relief.height += 0.05 * step(1 - d, 0, 0.04)
        relief.light -= 0.28 * line(d, 1.08, 0.08) + 0.16 * line(d, 0.72, 0.05)
    return relief.height, relief.light


def normals(kind: str, wear: str, size: int, folds: int, valve: bool) -> np.ndarray:
    """Normals in head coordinates, a 1 and the sheen of light from the left and from the right, times the light that
    reaches each place: (size * size, 6) float32.

    Its product with `light.Light.shading` is the shading of the mask. Kept in memory: do not write to it.
    """
    return (_kept_normals if size <= SMALL else _large_normals)(kind, wear, size, folds, valve)


def _normals(kind: str, wear: str, size: int, folds: int, valve: bool) -> np.ndarray:
    points = surface(kind, wear, size, size)
    height, light = _relief(ALL_KINDS[kind], wear, size, folds, valve)

    def of(p: np.ndarray) -> np.ndarray:
        n = np.cross(np.gradient(p, axis=1), np.gradient(p, axis=0))
        return n / np.maximum(np.linalg.norm(n, axis=2, keepdims=True), 1e-9)

    smooth = of(points)
    bumpy = of(points + gaussian_filter(height, 0.9)[..., None] * smooth)
    if size >= 512:  # on so fine a grid folds turn a sharp seam inside out, which shows as a slit
        bumpy *= np.where((bumpy * smooth).sum(-1) < 0, -1, 1)[..., None]
    lobes = [np.exp(-((bumpy[..., 0] - x) ** 2 + (bumpy[..., 1] + 0.25) ** 2) / 0.15) for x in (-0.4, 0.4)]
    sheen = ALL_KINDS[kind].gloss * np.stack(lobes, -1)
    return (np.dstack([bumpy, np.ones((size, size)), sheen]) * light[..., None]).reshape(-1, 6).astype(np.float32)


_kept_normals, _large_normals = lru_cache(maxsize=512)(_normals), lru_cache(maxsize=4)(_normals)


# ---- colour -------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=32)
def _pattern(name: str, size: int, variant: int) -> np.ndarray:
    """How much of the second colour shows, (size, size) float in 0..1."""
    u, v = np.meshgrid(np.linspace(-1, 1, size), np.linspace(0, 1.7, size))  # about the same length across and down
    pixel = 2.4 / size
    rng = np.random.default_rng([PATTERNS.index(name), variant])
    pitch = (0.16, 0.22, 0.3, 0.4)[variant % 4]
    if name == "check":
        bands = [ramp(np.abs((t / pitch) % 1 - 0.5) - 0.25, pixel / pitch) for t in (u, v)]
        return (bands[0] + bands[1]) / 2
    if name == "stripe":
        t = (u, v, u + v, u - v)[variant % 4]
        return ramp(np.abs((t / pitch) % 1 - 0.5) - 0.25, pixel / pitch)
    if name == "dots":
        row = np.floor(v / pitch)
        d = np.hypot((u / pitch + 0.5 * (row % 2)) % 1 - 0.5, (v / pitch) % 1 - 0.5)
        return ramp(0.27 - d, pixel / pitch)
    if name == "floral":
        out = np.zeros((size, size))
        for x, y, r, turn, petals in zip(
            rng.uniform(-1, 1, 46), rng.uniform(0, 1.7, 46), rng.uniform(0.08, 0.2, 46), rng.uniform(0, 6, 46),
            rng.integers(4, 7, 46), strict=True,
        ):  # fmt: skip
            d, angle = np.hypot(u - x, v - y) / r, np.arctan2(v - y, u - x)
            flower = ramp(0.62 + 0.38 * np.cos(petals * angle + turn) - d, pixel / r) * ramp(d - 0.2, pixel / r)
            out = np.maximum(out * ramp(d - 1.1, pixel / r), flower)
        return out
    if name == "noise":  # camouflage
        coarse = cv2.resize(rng.standard_normal((9, 9)), (size, size), interpolation=cv2.INTER_CUBIC)
        middle = cv2.resize(rng.standard_normal((22, 22)), (size, size), interpolation=cv2.INTER_CUBIC)
        return ramp(coarse + 0.6 * middle - 0.1, 0.12) * 0.6 + ramp(middle - coarse * 0.5 - 0.5, 0.12) * 0.4
    if name == "gradient":
        t = (u / 2 + 0.5, v / 1.7, np.hypot(u, v - 0.85), (u + 1) / 4 + v / 3.4)[variant % 4]
        return np.clip(t, 0, 1)
    return np.zeros((size, size))


@lru_cache(maxsize=16)
def read_texture(texture: Texture) -> np.ndarray:
    """A user's picture as RGB uint8, at most 1024 pixels a side.

    Raises:
        ValueError: the file is no picture, too large a one, or another one than it was.
    """
    data = file_bytes(texture.path)
    if zlib.crc32(data) != texture.crc32:
        raise ValueError(f"{texture.path} was changed while masks were drawn: begin anew")
    try:
        picture = read_picture(data)
    except PictureError as error:
        raise ValueError(f"{texture.path} is no picture that a mask could carry: {error}") from None
    shrink = min(1.0, 1024 / max(picture.shape[:2]))
    size = [max(1, round(side * shrink)) for side in picture.shape[1::-1]]
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def weave(cloth: Cloth, size: int) -> np.ndarray:
    """The unlit mask, (size, size, 3) uint8 RGB over u (across) and v (down). Kept in memory: do not write to it."""
    return (_kept_weave if size <= SMALL else _large_weave)(cloth, size)


def _weave(cloth: Cloth, size: int) -> np.ndarray:
    u, v = np.meshgrid(np.linspace(-1, 1, size), np.linspace(0, 1, size))
    base = np.full((size, size, 3), cloth.colour, float)
    if cloth.texture:
        shown = cv2.resize(read_texture(cloth.texture), (size, size), interpolation=cv2.INTER_AREA).astype(float)
        base += cloth.pattern_weight * (shown - base)
    elif cloth.pattern != "plain":
        amount = cloth.pattern_weight * _pattern(cloth.pattern, size, cloth.variant)[..., None]
        base += amount * (np.array(cloth.second, float) - base)
    kind, dye = ALL_KINDS[cloth.kind], Dye(u, v, cloth.colour, cloth.variant, base)
    if kind.trim:
        kind.trim(dye)
    if cloth.valve:
        dye.rgb += disc(u, v, 0, 0.60, 0.23, 0.19, 4 * dye.soft) * (0.5 * (METAL + dye.rgb.mean((0, 1))) - dye.rgb)
    if size >= 256 and kind.threads:  # where they can be seen
        dye.rgb *= 1 + kind.threads(u, v)[..., None]
    return np.clip(dye.rgb, 0, 255).astype(np.uint8)


_kept_weave, _large_weave = lru_cache(maxsize=2048)(_weave), lru_cache(maxsize=4)(_weave)
