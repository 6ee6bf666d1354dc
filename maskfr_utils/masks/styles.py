"""Styles of masks: which kind, colour, pattern and way to wear it; read from YAML, drawn by chance."""

from bisect import bisect
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache, cached_property
from pathlib import Path

import numpy as np
from matplotlib.colors import to_rgb

from maskfr_utils import plain_yaml
from maskfr_utils.masks.cloth import FOLDS, PATTERNS, VARIANTS, Cloth, Texture
from maskfr_utils.masks.kinds import ALL_KINDS, NO_MASK
from maskfr_utils.masks.shapes import HEIGHTS, WEARS
from maskfr_utils.messages import brief, shown
from maskfr_utils.names import unknown

STYLE_FILE = Path(__file__).with_name("styles.yaml")
_CHOICES = ("colours", "second_colours", "patterns", "wears", "straps")


@dataclass(frozen=True, eq=False)  # each is itself alone: the key of a mapping to shares
class Style:
    """One kind of mask with its choices; mappings are name -> weight. The fields are described in styles.yaml."""

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
        _known("kind", self.kind, tuple(ALL_KINDS))
        for name, choices in (("pattern", PATTERNS), ("wear", WEARS)):
            for value in getattr(self, name + "s"):
                _known(name, value, choices)
        for name in _CHOICES:
            _shares(name, getattr(self, name))
        for name in ("colours", "second_colours", "straps"):
            for colour in getattr(self, name):
                rgb(colour)
        for name in ("pattern_weight", "intensity", "valve"):
            if not _is_number(value := getattr(self, name)) or not 0 <= value <= 1:
                raise ValueError(f"{name} of a mask style must be a number in 0..1, got {shown(value)}")
        if not _is_number(self.weight) or not 0 <= self.weight < 1e300:  # of hundreds of digits no float can be made
            raise ValueError(f"weight of a mask style must be a number that is not negative, got {shown(self.weight)}")

    @cached_property
    def picture(self) -> Texture | None:
        """The texture as it was when first asked for; errors are those of `Texture.of`."""
        return Texture.of(self.texture) if self.texture else None

    @cached_property
    def shares(self) -> dict[str, tuple[list[str], list[float]]]:
        """For each field with weights its names and their cumulated shares."""
        return {name: (list(getattr(self, name)), _shares(name, getattr(self, name)).tolist()) for name in _CHOICES}


StyleLike = str | Style | Mapping[str | Style, float]
Resolved = tuple[list[Style], list[float]]  # all that a style may be, and their cumulated shares


@dataclass(frozen=True)
class Look:
    """What the draw of a mask came to."""

    cloth: Cloth
    folds: int  # which pleats and creases, below FOLDS
    wear: str
    height: float  # one of HEIGHTS
    strap: tuple[int, int, int]
    intensity: float


@cache
def rgb(colour: str) -> tuple[int, int, int]:
    """CSS name or "#rrggbb" -> red, green, blue 0..255."""
    try:
        return tuple(round(255 * c) for c in to_rgb(colour))
    except (ValueError, TypeError):
        raise ValueError(f'unknown colour {shown(colour)}: a CSS name or "#rrggbb"') from None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _known(what: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(unknown(f"mask {what}", value, choices))


def _shares(what: str, weights: Mapping) -> np.ndarray:
    """Weights -> their cumulated shares, an array."""
    try:
        values = np.array([float(w) for w in weights.values()])
    except (TypeError, ValueError, AttributeError, OverflowError):
        raise ValueError(f"{what} must map names to weights, got {shown(weights)}") from None
    if not len(values) or not np.isfinite(values).all() or (values < 0).any() or values.sum() <= 0:
        raise ValueError(f"weights of {what} must not be negative and not all zero, got {shown(dict(weights))}")
    return np.cumsum(values) / values.sum()


def load_styles(path: str | Path = STYLE_FILE) -> dict[str, Style]:
    """Reads a style file.

    Raises:
        ValueError: the file is no mapping of names to fields, or a field is unknown or out of range; names the style.
    """
    path = Path(path)
    raw = plain_yaml.read(path)
    if not isinstance(raw, dict) or not raw:
        raise ValueError(f"{path} must map style names to their fields")
    names = tuple(f.name for f in fields(Style))
    styles = {}
    for name, values in raw.items():
        try:
            if not isinstance(values, dict):
                raise ValueError(f"expected fields, got {shown(values)}")
            for key in values:
                _known("style field", key, names)
            for key in _CHOICES:
                if isinstance(values.get(key), (list, str)):  # a list is a mapping of equal weights
                    values[key] = dict.fromkeys([values[key]] if isinstance(values[key], str) else values[key], 1.0)
            if values.get("texture"):
                values["texture"] = str(path.parent / str(values["texture"]))
            styles[str(name)] = Style(**values)
            _ = styles[str(name)].picture  # refuses one that cannot be read
        except (OSError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"{path}: style {shown(name)}: {brief(error, 150)}") from None
    return styles


@cache
def styles() -> dict[str, Style]:
    """The styles that come with the package."""
    return load_styles()


def resolve(style: StyleLike | Resolved) -> Resolved:
    """A style as users write it -> styles and their cumulated shares; what came of this already stays as it is.

    Args:
        style: "random"; a name, "none" among them; a style file; a `Style`; or a mapping of any of these to their shares.
    """
    if isinstance(style, tuple):
        return style
    if isinstance(style, Style):
        return [style], [1.0]
    if isinstance(style, Mapping):
        shares = np.diff(_shares("mask styles", style), prepend=0)
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
    elif style == NO_MASK:
        return [Style(NO_MASK)], [1.0]
    else:
        _known("style", style, ("random", *styles(), NO_MASK))
        return [styles()[style]], [1.0]
    return list(found.values()), _shares("mask styles", {name: s.weight for name, s in found.items()}).tolist()


def described(style: StyleLike | Resolved) -> str:
    """All that decides what a style looks like, what is in its style files and textures included."""
    chosen, shares = resolve(style)
    textures = sorted({(s.texture, s.picture.crc32) for s in chosen if s.picture})
    return repr((chosen, shares)) + (f" {textures}" if textures else "")


def parse(text: str) -> str | dict[str, float]:
    """A style as it is typed: a name or file, or a mapping in YAML such as "{surgical: 3, cloth: 1}"."""
    value = plain_yaml.parse(text, "the style") if text.lstrip().startswith("{") else text
    resolve(value)
    return value


def choose(chosen: list[Style], shares: list[float], draw: np.void) -> Look:
    """The look that a `chance.DRAW` picks; `chosen` and `shares` as `resolve` gives them."""
    style = chosen[min(bisect(shares, draw["style"]), len(chosen) - 1)]

    def pick(field: str, name: str) -> str:
        names, cumulated = style.shares[field]
        return names[min(bisect(cumulated, draw[name]), len(names) - 1)]

    colour = rgb(pick("colours", "colour"))
    pattern = "texture" if style.texture else pick("patterns", "pattern")
    plain = pattern in ("plain", "texture")
    cloth = Cloth(
        style.kind,
        colour,
        colour if plain else rgb(pick("second_colours", "second_colour")),
        pattern,
        int(draw["variant"] * VARIANTS),
        bool(draw["valve"] < style.valve),
        style.picture,
        style.pattern_weight,
    )
    return Look(
        cloth,
        int(draw["folds"] * FOLDS),
        pick("wears", "wear"),
        HEIGHTS[int(draw["height"] * len(HEIGHTS))],
        rgb(pick("straps", "straps")),
        style.intensity,
    )
