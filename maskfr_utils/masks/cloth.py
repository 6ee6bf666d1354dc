"""What masks are made of: relief, pattern and colour of each kind, as textures over the mask coordinates.

Coordinates: u from -1 (left edge) to 1 across, v from 0 (upper edge) to 1 down. All textures are computed at the size
that is asked for, from the same formulas, so that a mask looks the same on a small and on a large face.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from scipy.interpolate import RectBivariateSpline
from scipy.ndimage import gaussian_filter

from maskfr_utils.masks.shapes import surface

PATTERNS = ("plain", "check", "stripe", "dots", "floral", "noise", "gradient")
VARIANTS = 6  # of each pattern
FOLDS = 12  # different pleats and creases of each kind
SMALL = 80  # texture side for aligned faces; these are kept in memory


@dataclass(frozen=True)
class Cloth:
    """What a mask is made of; hashable."""

    kind: str
    colour: tuple[int, int, int]
    second: tuple[int, int, int]
    pattern: str  # one of PATTERNS, or "texture"
    variant: int
    valve: bool
    texture: str | None
    pattern_weight: float


# ---- relief -------------------------------------------------------------------------------------------------------


def _line(x: np.ndarray, at: float | np.ndarray, width: float) -> np.ndarray:
    return np.exp(-(((x - at) / width) ** 2))


def _step(x: np.ndarray, at: float | np.ndarray, width: float) -> np.ndarray:
    return 1 / (1 + np.exp(np.clip(-(x - at) / width, -40, 40)))


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


def _wave(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A smooth random function of about unit height."""
    return sum(rng.normal(0, 0.8) * np.sin(k * x + rng.uniform(0, 6.3)) for k in (2, 4, 7))


def _seam(across: np.ndarray, at: float, along: np.ndarray, size: int, fine: float) -> np.ndarray:
    """A row of stitches or welds, which only a large mask shows one by one."""
    return _line(across, at, fine) * (0.6 + 0.4 * np.cos(along * 130) if size >= 256 else 0.6)


# How much each kind creases, and how much it shines.
_CREASED = {"surgical": 0.018, "cloth": 0.030, "bandana": 0.012, "kn95": 0.006, "n95": 0.003}
_GLOSS = {"surgical": 1.0, "n95": 0.9, "kn95": 0.9, "respirator": 1.2, "cloth": 1.0, "bandana": 0.7}


def _relief(kind: str, wear: str, size: int, folds: int, valve: bool) -> tuple[np.ndarray, np.ndarray]:
    """Height (in eye distances) and light that reaches the place (1 all) over the mask, (size, size) each."""
    u, v = np.meshgrid(np.linspace(-1, 1, size), np.linspace(0, 1, size))
    fine = max(0.010, 1.7 / size)  # no line thinner than the grid can carry
    edge = np.minimum.reduce([1 - np.abs(u), 2 * v, 2 * (1 - v)])  # 0 at the rim
    light = 1 - 0.16 * np.exp(-edge / 0.030)
    wrinkles = _wrinkles(u, v, folds)
    light += 0.012 * wrinkles[::-1, ::-1]  # thinner and thicker places
    height = {"loose": 0.030, "tight": 0.010}.get(wear, 0.018) * wrinkles
    height += _CREASED.get(kind, 0) * {"loose": 1.3, "tight": 0.7}.get(wear, 1.0) * _creases(size, folds)
    if kind == "surgical":
        height += 0.014 * wrinkles
        rng = np.random.default_rng([folds, 11])
        for at in np.array([0.26, 0.47, 0.68]) + rng.uniform(-0.05, 0.05, 3):
            tilt, deep, reach = rng.uniform((-1, 0.4, 0.08), (1, 1.2, 0.18))
            # Pinched together at the sides, pleats open in the middle, some quite.
            line = 0.5 + (at - 0.5) * (1.12 - 0.4 * u**2) + 0.03 * (1 - u**2) + 0.02 * tilt * u + 0.008 * _wave(u, rng)
            depth = deep * (0.35 + 0.65 * np.abs(u - 0.3 * tilt) ** 1.3) * np.clip(1 + 0.35 * _wave(u, rng), 0.1, 1.6)
            # Each pleat bulges above its lip and throws a thin shadow on the one below.
            height += 0.044 * depth * np.clip((v - line) / reach + 1, 0, 1) * _step(line, v, fine)
            light -= 0.34 * depth * _line(v, line + 1.3 * fine, fine * 1.4)
            light += 0.05 * depth * _line(v, line - 1.8 * fine, fine * 1.5)
        height += 0.012 * _line(v, 0.055, 0.018) * _step(0.5 - np.abs(u), 0, 0.03)  # the wire
        height += 0.005 * np.sin(45 * u + 4 * _wave(u, rng)) * np.exp(-((v / 0.12) ** 2))  # the hem puckers
        light -= 0.16 * _seam(v, 0.105, u, size, fine) + 0.13 * _seam(v, 0.95, u, size, fine)
        light -= 0.22 * _seam(np.abs(u), 0.945, v, size, fine * 1.2)
    elif kind == "kn95":
        height += 0.010 * _line(v, 0.055, 0.018) * _step(0.42 - np.abs(u), 0, 0.02)
        light -= 0.14 * _line(u, 0, fine) - 0.10 * _line(np.abs(u), 2.5 * fine, 1.5 * fine)
        for at in (0.93, 0.965):
            light -= 0.16 * _seam(np.abs(u), at, v, size, fine)
        light -= 0.14 * (_seam(v, 0.11, u, size, fine) + _seam(v, 0.94, u, size, fine))
        fold = 0.16 + 0.24 * np.abs(u)  # the panel folds that make the beak
        light -= 0.10 * _line(v, fold, 1.4 * fine) * _step(np.abs(u), 0.1, 0.05)
        light -= 0.10 * _line(v, 1 - fold * 0.9, 1.4 * fine) * _step(np.abs(u), 0.1, 0.05)
    elif kind in ("n95", "respirator"):
        rim = _step(0.14 - edge, 0, 0.012)
        height -= 0.02 * rim
        light -= 0.16 * _line(edge, 0.15, 0.022) - 0.05 * _line(edge, 0.09, 0.02)
        height += 0.012 * _line(v, 0.13, 0.022) * _step(0.62 - np.abs(u), 0, 0.03)
        if kind == "respirator":
            # Two filter cartridges and the exhaust in the middle.
            for side in (-1, 1):
                d = np.hypot((u - side * 0.60) / 0.27, (v - 0.56) / 0.25)
                height += 0.16 * _step(1 - d, 0, 0.03)
                light -= 0.45 * _line(d, 1.06, 0.06) + 0.10 * _line((d * 5) % 1.0, 0.5, 0.2) * (d < 0.9)
    elif kind == "cloth":
        light -= 0.12 * _line(u, 0, fine * 1.2) - 0.06 * _line(np.abs(u), 2.4 * fine, fine * 1.4)
        for at in (0.035, 0.965):
            light -= 0.16 * _seam(v, at, u, size, fine)
        light -= 0.16 * _seam(np.abs(u), 0.955, v, size, fine)
        height += 0.035 * wrinkles * np.exp(-((u / 0.75) ** 2))
    elif kind == "bandana":
        for i, at in enumerate((0.25, 0.45, 0.68, 0.9)):
            fold = at + 0.10 * (1 - np.abs(u)) ** 1.5 - 0.05 * ((folds + i) % 3)
            height += 0.035 * _line(v, fold, 0.045) * (0.4 + 0.6 * np.abs(u))
            light -= 0.22 * _line(v, fold + 0.05, 0.03) * (0.4 + 0.6 * np.abs(u))
    if valve:
        d = np.hypot(u / 0.24, (v - 0.60) / 0.20)
        height += 0.05 * _step(1 - d, 0, 0.04)
        light -= 0.28 * _line(d, 1.08, 0.08) + 0.16 * _line(d, 0.72, 0.05)
    return height, light


def normals(kind: str, wear: str, size: int, folds: int, valve: bool) -> np.ndarray:
    """Normals in head coordinates, a 1 and the sheen of light from the left and from the right, times the light that
    reaches each place: (size * size, 6) float32.

    Its product with `light.Light.shading` is the shading of the mask. Kept in memory: do not write to it.
    """
    return (_kept_normals if size <= SMALL else _large_normals)(kind, wear, size, folds, valve)


def _normals(kind: str, wear: str, size: int, folds: int, valve: bool) -> np.ndarray:
    points = surface(kind, wear, size, size)
    height, light = _relief(kind, wear, size, folds, valve)

    def of(p: np.ndarray) -> np.ndarray:
        n = np.cross(np.gradient(p, axis=1), np.gradient(p, axis=0))
        return n / np.maximum(np.linalg.norm(n, axis=2, keepdims=True), 1e-9)

    smooth = of(points)
    bumpy = of(points + gaussian_filter(height, 0.9)[..., None] * smooth)
    if size >= 512:  # on so fine a grid folds turn a sharp seam inside out, which shows as a slit
        bumpy *= np.where((bumpy * smooth).sum(-1) < 0, -1, 1)[..., None]
    lobes = [np.exp(-((bumpy[..., 0] - x) ** 2 + (bumpy[..., 1] + 0.25) ** 2) / 0.15) for x in (-0.4, 0.4)]
    sheen = _GLOSS.get(kind, 0) * np.stack(lobes, -1)
    return (np.dstack([bumpy, np.ones((size, size)), sheen]) * light[..., None]).reshape(-1, 6).astype(np.float32)


_kept_normals, _large_normals = lru_cache(maxsize=512)(_normals), lru_cache(maxsize=4)(_normals)


# ---- colour -------------------------------------------------------------------------------------------------------


def _soft(x: np.ndarray, width: float) -> np.ndarray:
    """A step at 0 that is `width` wide: patterns without stairs."""
    return np.clip(x / width + 0.5, 0, 1)


@lru_cache(maxsize=32)
def _pattern(name: str, size: int, variant: int) -> np.ndarray:
    """How much of the second colour shows, (size, size) float in 0..1."""
    u, v = np.meshgrid(np.linspace(-1, 1, size), np.linspace(0, 1.7, size))  # about the same length across and down
    pixel = 2.4 / size
    rng = np.random.default_rng([PATTERNS.index(name), variant])
    pitch = (0.16, 0.22, 0.3, 0.4)[variant % 4]
    if name == "check":
        bands = [_soft(np.abs((t / pitch) % 1 - 0.5) - 0.25, pixel / pitch) for t in (u, v)]
        return (bands[0] + bands[1]) / 2
    if name == "stripe":
        t = (u, v, u + v, u - v)[variant % 4]
        return _soft(np.abs((t / pitch) % 1 - 0.5) - 0.25, pixel / pitch)
    if name == "dots":
        row = np.floor(v / pitch)
        d = np.hypot((u / pitch + 0.5 * (row % 2)) % 1 - 0.5, (v / pitch) % 1 - 0.5)
        return _soft(0.27 - d, pixel / pitch)
    if name == "floral":
        out = np.zeros((size, size))
        for x, y, r, turn, petals in zip(
            rng.uniform(-1, 1, 46), rng.uniform(0, 1.7, 46), rng.uniform(0.08, 0.2, 46), rng.uniform(0, 6, 46),
            rng.integers(4, 7, 46), strict=True,
        ):  # fmt: skip
            d, angle = np.hypot(u - x, v - y) / r, np.arctan2(v - y, u - x)
            flower = _soft(0.62 + 0.38 * np.cos(petals * angle + turn) - d, pixel / r) * _soft(d - 0.2, pixel / r)
            out = np.maximum(out * _soft(d - 1.1, pixel / r), flower)
        return out
    if name == "noise":  # camouflage
        coarse = cv2.resize(rng.standard_normal((9, 9)), (size, size), interpolation=cv2.INTER_CUBIC)
        middle = cv2.resize(rng.standard_normal((22, 22)), (size, size), interpolation=cv2.INTER_CUBIC)
        return _soft(coarse + 0.6 * middle - 0.1, 0.12) * 0.6 + _soft(middle - coarse * 0.5 - 0.5, 0.12) * 0.4
    if name == "gradient":
        t = (u / 2 + 0.5, v / 1.7, np.hypot(u, v - 0.85), (u + 1) / 4 + v / 3.4)[variant % 4]
        return np.clip(t, 0, 1)
    return np.zeros((size, size))


@lru_cache(maxsize=16)
def read_texture(path: str) -> np.ndarray:
    """A user's picture as RGB uint8, at most 1024 pixels a side.

    Raises:
        ValueError: the file is no picture.
    """
    data = np.frombuffer(Path(path).read_bytes(), np.uint8)
    picture = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if picture is None:
        raise ValueError(f"{path} is no picture that a mask could carry")
    shrink = min(1.0, 1024 / max(picture.shape[:2]))
    return cv2.cvtColor(
        cv2.resize(picture, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB
    )


def _disc(u: np.ndarray, v: np.ndarray, x: float, y: float, width: float, height: float, soft: float) -> np.ndarray:
    return _soft(1 - np.hypot((u - x) / width, (v - y) / height), soft)[..., None]


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
    soft = 3 / size
    grey = np.array([176, 178, 180.0])
    if cloth.kind == "surgical":  # where its hem is welded it is thin and paler
        rim = np.maximum.reduce([_soft(np.abs(u) - 0.945, soft), _soft(0.035 - v, soft), _soft(v - 0.965, soft)])
        base *= 1 + 0.12 * rim[..., None]
    if cloth.kind == "n95":
        clip = (_soft(0.025 - np.abs(v - 0.13), soft) * _soft(0.55 - np.abs(u), soft))[..., None]
        base += 0.8 * clip * (grey - base)
        print_ = np.zeros((size, size), np.uint8)  # what the maker prints on it
        for text, at, height in (("N95", 0.30, 1.0), (f"NR 42{cloth.variant}", 0.36, 0.6)):
            ((width, _), _), scale = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 1, 1), height * size / 900
            origin = (round(0.5 * (size - scale * width)), round(at * size))
            cv2.putText(print_, text, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, 255, max(1, size // 400), cv2.LINE_AA)
        base += (0.6 / 255) * print_[..., None] * (np.array([70, 75, 90.0]) - base)
    if cloth.kind == "respirator":
        filters = np.array([(196, 92, 128), (150, 152, 156), (120, 60, 130), (176, 168, 150)][cloth.variant % 4], float)
        for side in (-1, 1):
            base += _disc(u, v, side * 0.6, 0.56, 0.26, 0.24, 4 * soft) * (filters - base)
        base += _disc(u, v, 0, 0.72, 0.17, 0.13, 4 * soft) * (0.7 * np.array(cloth.colour) - base)
    if cloth.valve:
        base += _disc(u, v, 0, 0.60, 0.23, 0.19, 4 * soft) * (0.5 * (grey + base.mean((0, 1))) - base)
    if size >= 256 and cloth.kind not in ("respirator", "inpaint"):  # threads, where they can be seen
        if cloth.kind in ("cloth", "bandana"):
            threads = 0.10 * np.sin(u * size * 0.7) * np.sin(v * size * 0.9)
        else:  # fibres laid at random
            fibres = np.random.default_rng(size).standard_normal((size, size), np.float32)
            threads = 0.08 * gaussian_filter(fibres, (0.7, 2.0))
        base *= 1 + threads[..., None]
    return np.clip(base, 0, 255).astype(np.uint8)


_kept_weave, _large_weave = lru_cache(maxsize=2048)(_weave), lru_cache(maxsize=4)(_weave)
