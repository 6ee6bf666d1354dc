"""Styles of masks: which kind, colour, pattern and way to wear it; read from YAML, drawn by chance, made into pictures."""

import difflib
from bisect import bisect
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache, lru_cache
from pathlib import Path

import cv2
import numpy as np
import yaml
from matplotlib.colors import to_rgb

from maskfr_utils.mask_shapes import KINDS, WEARS

PATTERNS = ("plain", "check", "stripe", "dots", "floral", "noise", "gradient")
STYLE_FILE = Path(__file__).with_name("mask_styles.yaml")
_CHOICES = ("colours", "second_colours", "patterns", "wears", "straps")
VARIANTS = 4  # different wrinkles of each kind


@dataclass(frozen=True)
class Style:
    """One kind of mask with its choices; mappings are name -> weight. The fields are described in mask_styles.yaml."""

    kind: str
    weight: float = 1.0
    colours: Mapping[str, float] = field(default_factory=lambda: {"white": 1.0})
    second_colours: Mapping[str, float] = field(default_factory=lambda: {"white": 1.0})
    patterns: Mapping[str, float] = field(default_factory=lambda: {"plain": 1.0})
    texture: str | None = None
    pattern_weight: float = 1.0
    intensity: float = 1.0
    wears: Mapping[str, float] = field(default_factory=lambda: {"normal": 1.0})
    valve: float = 0.0
    straps: Mapping[str, float] = field(default_factory=lambda: {"#eceae6": 1.0})

    def __post_init__(self) -> None:
        _known("kind", self.kind, KINDS)
        for name, choices in (("pattern", PATTERNS), ("wear", WEARS)):
            for value in getattr(self, name + "s"):
                _known(name, value, choices)
        for name in ("colours", "second_colours", "straps"):
            for colour in getattr(self, name):
                rgb(colour)
        tables = {name: (list(getattr(self, name)), _weights(name, getattr(self, name)).tolist()) for name in _CHOICES}
        object.__setattr__(self, "_tables", tables)
        for name in ("pattern_weight", "intensity", "valve"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} of a mask style must lie in 0..1, got {getattr(self, name)!r}")
        if not 0 <= self.weight < float("inf"):
            raise ValueError(f"weight of a mask style must not be negative, got {self.weight!r}")


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


@dataclass(frozen=True)
class Look:
    """What the draw of a mask came to."""

    cloth: Cloth
    wear: str
    strap: tuple[int, int, int]
    intensity: float


@cache
def rgb(colour: str) -> tuple[int, int, int]:
    """CSS name or "#rrggbb" -> red, green, blue 0..255."""
    try:
        return tuple(round(255 * c) for c in to_rgb(colour))
    except (ValueError, TypeError):
        raise ValueError(f'unknown colour {colour!r}: a CSS name or "#rrggbb"') from None


def _known(what: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        near = difflib.get_close_matches(str(value), choices, 1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise ValueError(f"unknown mask {what} {value!r}: one of {', '.join(choices)}{hint}")


def _weights(what: str, weights: Mapping) -> np.ndarray:
    """Weights -> cumulated shares."""
    try:
        values = np.array([float(w) for w in weights.values()])
    except (TypeError, ValueError, AttributeError):
        raise ValueError(f"{what} must map names to weights, got {weights!r}") from None
    if not len(values) or not np.isfinite(values).all() or (values < 0).any() or values.sum() <= 0:
        raise ValueError(f"weights of {what} must not be negative and not all zero, got {dict(weights)!r}")
    return np.cumsum(values) / values.sum()


def load_styles(path: str | Path = STYLE_FILE) -> dict[str, Style]:
    """Reads a style file.

    Raises:
        ValueError: the file is no mapping of names to fields, or a field is unknown or out of range; names the style.
    """
    path = Path(path)
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no YAML file: {error}") from None
    if not isinstance(raw, dict) or not raw:
        raise ValueError(f"{path} must map style names to their fields")
    names = tuple(f.name for f in fields(Style))
    styles = {}
    for name, values in raw.items():
        try:
            if not isinstance(values, dict):
                raise ValueError(f"expected fields, got {values!r}")
            for key in values:
                _known("style field", key, names)
            for key in _CHOICES:
                if isinstance(values.get(key), (list, str)):  # a list is a mapping of equal weights
                    values[key] = dict.fromkeys([values[key]] if isinstance(values[key], str) else values[key], 1.0)
            if values.get("texture"):
                values["texture"] = str(path.parent / values["texture"])
            styles[str(name)] = Style(**values)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: style {name!r}: {error}") from None
    return styles


@cache
def styles() -> dict[str, Style]:
    """The styles that come with the package."""
    return load_styles()


def resolve(style: "str | Style | Mapping[str | Style, float]") -> tuple[list[Style], list[float]]:
    """A style as users write it -> styles and their cumulated shares.

    Args:
        style: "random"; a name; a style file; a `Style`; or a mapping of any of these to their shares.
    """
    if isinstance(style, Style):
        return [style], [1.0]
    if isinstance(style, Mapping):
        shares = np.diff(_weights("mask styles", style), prepend=0)
        chosen, parts = [], []
        for name, share in zip(style, shares, strict=True):
            some, cumulated = resolve(name)
            chosen += some
            parts.append(share * np.diff(cumulated, prepend=0))
        return chosen, np.cumsum(np.concatenate(parts)).tolist()
    if isinstance(style, str) and style.endswith((".yaml", ".yml")):
        found = load_styles(style)
    elif style == "random":
        found = styles()
    else:
        _known("style", style, ("random", *styles()))
        return [styles()[style]], [1.0]
    return list(found.values()), _weights("mask styles", {name: s.weight for name, s in found.items()}).tolist()


def choose(chosen: list[Style], shares: list[float], draws: list[float]) -> Look:
    """The look that eight numbers in [0, 1) pick; `chosen` and `shares` as `resolve` gives them."""
    style = chosen[min(bisect(shares, draws[0]), len(chosen) - 1)]
    tables = style._tables

    def pick(name: str, draw: float) -> str:
        names, cumulated = tables[name]
        return names[min(bisect(cumulated, draw), len(names) - 1)]

    colour = rgb(pick("colours", draws[1]))
    pattern = "texture" if style.texture else pick("patterns", draws[2])
    second = colour if pattern in ("plain", "texture") else rgb(pick("second_colours", draws[3]))
    cloth = Cloth(
        style.kind,
        colour,
        second,
        pattern,
        int(draws[4] * VARIANTS),
        draws[5] < style.valve,
        style.texture,
        style.pattern_weight,
    )
    return Look(cloth, pick("wears", draws[6]), rgb(pick("straps", draws[7])), style.intensity)


# ---- the cloth ----------------------------------------------------------------------------------------------------


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
    """The unlit mask, (size, size, 3) uint8 RGB over the mask coordinates u (across) and v (down)."""
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
    if cloth.kind == "surgical":  # bound edges are paler
        rim = np.maximum.reduce([_soft(np.abs(u) - 0.945, soft), _soft(0.035 - v, soft), _soft(v - 0.965, soft)])
        base += 0.35 * rim[..., None] * (np.array([240, 243, 245.0]) - base)
    if cloth.kind == "n95":
        clip = (_soft(0.025 - np.abs(v - 0.13), soft) * _soft(0.55 - np.abs(u), soft))[..., None]
        base += 0.8 * clip * (grey - base)
        rows = np.isin(np.floor(v * 40), (12, 14, 15)) & (np.abs(u) < 0.28)  # the maker's print
        marks = np.random.default_rng(cloth.variant).random((40, 60)) > 0.45
        ink = rows & marks[(v * 39.9).astype(int), ((u + 1) * 29.9).astype(int)]
        base += 0.35 * ink[..., None] * (np.array([70, 75, 90.0]) - base)
    if cloth.kind == "respirator":
        filters = np.array([(196, 92, 128), (150, 152, 156), (120, 60, 130), (176, 168, 150)][cloth.variant % 4], float)
        for side in (-1, 1):
            base += _disc(u, v, side * 0.6, 0.56, 0.26, 0.24, 4 * soft) * (filters - base)
        base += _disc(u, v, 0, 0.72, 0.17, 0.13, 4 * soft) * (0.7 * np.array(cloth.colour) - base)
    if cloth.valve:
        base += _disc(u, v, 0, 0.60, 0.23, 0.19, 4 * soft) * (0.5 * (grey + base.mean((0, 1))) - base)
    if size >= 256 and cloth.kind not in ("respirator", "inpaint"):  # threads, where they can be seen
        threads = np.sin(u * size * 0.7) * np.sin(v * size * 0.9)
        base *= 1 + (0.035 if cloth.kind in ("cloth", "bandana") else 0.015) * threads[..., None]
    return np.clip(base, 0, 255).astype(np.uint8)


@lru_cache(maxsize=2048)
def small_weave(cloth: Cloth, size: int) -> np.ndarray:
    """`weave`, kept in memory (do not write to it): aligned faces use few cloths over and over."""
    return weave(cloth, size)
