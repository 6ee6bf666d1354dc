"""Paints one planned mask into its picture."""

import math
from typing import NamedTuple

import cv2
import numpy as np
from scipy.interpolate import CubicSpline

from maskfr_utils.masks import cloth as cloths
from maskfr_utils.masks.kinds import ALL_KINDS, NO_MASK
from maskfr_utils.masks.light import GREY
from maskfr_utils.masks.plan import LARGE, Plan, ribbons_round, sixteenths
from maskfr_utils.masks.shapes import STRAP_POINTS

_MIN_AREA = 0.25  # a mask that covers less than this (square eye distances) inside the picture has failed


def paint(
    image: np.ndarray, coverage: np.ndarray, opacity: np.ndarray, plan: Plan, k: int, in_front: np.ndarray = ()
) -> bool:
    """Draws a mask into a picture, in place.

    Args:
        image: (height, width, 3) uint8 RGB.
        coverage: (height, width) bool, its changed pixels are added.
        opacity: (height, width) uint8, the mask's is added.
        plan: of some masks.
        k: which of them.
        in_front: (m, 68, 2) landmarks of the faces that are nearer to the camera and hide the mask.

    Returns:
        False, and nothing is drawn, if hardly any of the mask is inside the picture.
    """
    look, scale, blur = plan.looks[k], float(plan.place.scale[k]), float(plan.blur[k])
    kind = ALL_KINDS[look.cloth.kind]
    if kind.name == NO_MASK:
        return True
    soft = max(blur, 0.45)
    reach = max(1, round(0.06 * scale))  # of the shadow
    part = _part(plan.corners[k], reach + (1 if soft <= 0.6 else 4 * soft) + 1, image.shape)
    if part is None:
        return False
    outline = plan.outline[k] - 16 * part.corner
    straps = _straps(plan, k, part, kind.strap_width * scale)
    alpha = _fill(outline, straps.ribbons, part.size, scale)
    if cv2.countNonZero(alpha) < _MIN_AREA * scale**2:
        return False
    drawn = _lit_weave(plan, k, part)
    if len(straps.ribbons):
        drawn = _beside(drawn, outline, straps)
    if blur > 0.6:
        drawn = cv2.GaussianBlur(drawn, (0, 0), blur)
    alpha = cv2.GaussianBlur(alpha, (0, 0) if soft > 0.6 else (3, 3), soft)
    if plan.grain[k] > 0.7 and kind.lit:
        strength = min(float(plan.grain[k]), 24.0) / 32
        drawn = cv2.addWeighted(drawn, 1, _noise(part.size, plan.grain_draw[k]), strength, -128 * strength)
    shadow = cv2.blur(alpha, (2 * reach + 1, 2 * reach + 1)) if kind.lit else np.zeros_like(alpha)
    _keep_free(alpha, shadow, plan.eyes[k] if plan.near_eyes[k] else (), in_front, part.corner, scale)
    if look.intensity < 1:
        alpha = cv2.convertScaleAbs(alpha, alpha=look.intensity)
    clear = cv2.multiply(
        cv2.bitwise_not(alpha), cv2.convertScaleAbs(shadow, alpha=-0.30 * look.intensity, beta=255), scale=1 / 255
    )  # how much of the face itself is left
    _lay_over(image[part.region], drawn, alpha, clear)
    coverage[part.region] |= clear < 255
    np.maximum(opacity[part.region], alpha, out=opacity[part.region])
    return True


class _Part(NamedTuple):
    """The part of the picture that may change."""

    corner: np.ndarray  # (2,) int32, upper left pixel
    size: tuple[int, int]  # width, height
    region: tuple[slice, slice]


def _part(corners: np.ndarray, spread: float, shape: tuple[int, ...]) -> _Part | None:
    """What lies within `spread` pixels of a box; None where too little of it lies in the picture."""
    height, width = shape[:2]
    (left, top), (right, bottom) = corners.tolist()
    x0, x1 = (min(max(x, 0), width) for x in (math.floor(left - spread), math.ceil(right + spread + 1)))
    y0, y1 = (min(max(y, 0), height) for y in (math.floor(top - spread), math.ceil(bottom + spread + 1)))
    if x1 - x0 < 4 or y1 - y0 < 4:
        return None
    return _Part(np.array([x0, y0], np.int32), (x1 - x0, y1 - y0), (slice(y0, y1), slice(x0, x1)))


def _lay_over(image: np.ndarray, drawn: np.ndarray, alpha: np.ndarray, clear: np.ndarray) -> None:
    """image * clear + drawn * alpha, in place."""
    under = cv2.multiply(np.ascontiguousarray(image), cv2.merge((clear, clear, clear)), scale=1 / 255)
    over = cv2.multiply(drawn, cv2.merge((alpha, alpha, alpha)), scale=1 / 255)
    image[:] = cv2.add(over, under)


# ---- straps and outline -------------------------------------------------------------------------------------------


class _Straps(NamedTuple):
    """The straps of one mask that are seen; curves from the corner of the part, sixteenths of a pixel."""

    ribbons: np.ndarray  # (m, points, 2) int32
    middles: np.ndarray  # (m, points, 2) int32
    colours: np.ndarray  # (m, 3) RGB
    width: float  # pixels


# A strap fades at its end, where ear or hair hides it: how many points of it, and how opaque.
_FADE = ((STRAP_POINTS, 70), (STRAP_POINTS - 3, 255))
_FINE_POINTS = 128
_FINE_FADE = [(_FINE_POINTS - k, 5 * k) for k in range(1, 52)]  # up to 255


def _straps(plan: Plan, k: int, part: _Part, width: float) -> _Straps:
    straps, seen = plan.straps, plan.straps.seen[k]
    ribbons, middles = (curves[k, seen] - 16 * part.corner for curves in (straps.ribbons, straps.middles))
    if plan.place.scale[k] >= LARGE and len(ribbons):
        fine = [_fine_strap(*each, 16 * width) for each in zip(middles, straps.last[k, seen], strict=True)]
        ribbons, middles = (np.round(curves).astype(np.int32) for curves in zip(*fine, strict=True))
    return _Straps(ribbons, middles, straps.colours[k, seen], width)


def _fine_strap(middle: np.ndarray, last: int, width: float) -> tuple[np.ndarray, np.ndarray]:
    """A smooth band (2 * _FINE_POINTS, 2) that ends in a tip at point `last` of its middle line, and that line refined."""
    t = np.linspace(0, 1, _FINE_POINTS)
    curve = CubicSpline(np.arange(len(middle)), middle)(last * t)
    return ribbons_round(curve, np.array(_FINE_POINTS), width * np.minimum(1, 3 * (1 - t))[:, None] ** 0.5), curve


def _fill(outline: np.ndarray, ribbons: np.ndarray, size: tuple[int, int], scale: float) -> np.ndarray:
    """Coverage 0..255 of polygons (sixteenths of a pixel): drawn on a finer grid, then the mean (OpenCV's own is coarse)."""
    times, fade = (4, _FADE) if scale < LARGE else (2, _FINE_FADE)
    canvas = np.zeros((size[1] * times, size[0] * times), np.uint8)
    offset = 8 * (times - 1)
    # One by one: where two overlap, OpenCV would leave a hole.
    for ribbon in ribbons * times + offset:
        for points, opacity in fade:
            cv2.fillPoly(canvas, [np.concatenate((ribbon[:points], ribbon[-points:]))], opacity, cv2.LINE_8, 4)
    cv2.fillPoly(canvas, [outline * times + offset], 255, cv2.LINE_8, 4)
    return cv2.resize(canvas, size, interpolation=cv2.INTER_AREA)


def _beside(drawn: np.ndarray, outline: np.ndarray, straps: _Straps) -> np.ndarray:
    """`drawn` inside the outline, the straps beside it."""
    body = cv2.fillPoly(np.zeros(drawn.shape[:2], np.uint8), [outline], 255, cv2.LINE_8, 4)
    cv2.polylines(body, [outline], True, 255, 1, cv2.LINE_8, 4)
    strapped = drawn.copy()
    thick = round(straps.width)
    # Round: darker at both sides.
    for inward in np.linspace(0, 1, max(2, thick // 3)) if thick > 2 else (1,):
        line = max(3, round(thick + 3 - inward * (thick + 3 - thick // 2)))
        for middle, colour in zip(straps.middles, (0.7 + 0.3 * inward) * straps.colours, strict=True):
            cv2.polylines(strapped, [middle], False, colour.tolist(), line, cv2.LINE_8, 4)
    return cv2.copyTo(drawn, body, strapped)


# ---- cloth --------------------------------------------------------------------------------------------------------

# Three quarters of the light -> what a camera makes of the whole: too bright cloth bends its curve.
_SHOULDER = np.arange(256) / 0.75
_SHOULDER = np.where(_SHOULDER < 190, _SHOULDER, 255 - 65 * np.exp((190 - _SHOULDER) / 65)).round().astype(np.uint8)


def _lit_weave(plan: Plan, k: int, part: _Part) -> np.ndarray:
    """The lit mask over a part of the picture, uint8 RGB; outside of the mask it is arbitrary."""
    look, place, light = plan.looks[k], plan.place, plan.light
    cloth, (width, height) = look.cloth, part.size
    if not ALL_KINDS[cloth.kind].lit:
        return np.full((height, width, 3), cloth.colour, np.uint8)
    scale = float(place.scale[k])
    # The texture is a bit finer than the pixels; aligned faces share one size, so that it can be kept.
    detail = cloths.SMALL if scale < 50 else min(1024, 1 << int(np.ceil(np.log2(2.4 * scale))))
    normals = cloths.normals(cloth.kind, look.wear, detail, look.folds, cloth.valve)
    lit = normals @ np.outer(light.shading[k], 120 * light.gain[k]).astype(np.float32)
    lit = cv2.convertScaleAbs(cv2.max(lit, 15.0)).reshape(detail, detail, 3)
    texture = cv2.LUT(cv2.multiply(cloths.weave(cloth, detail), lit, scale=1 / 160), _SHOULDER)
    chroma = float(light.chroma[k])
    if chroma < 1:  # a grey picture stays grey
        texture = cv2.transform(texture, chroma * np.eye(3) + (1 - chroma) * np.tile(GREY, (3, 1)))

    to_lattice = place.to_lattice[k].copy()
    to_lattice[:, 2] += to_lattice[:, :2] @ part.corner
    nodes = place.lattice[k] * np.array([0.5 * (detail - 1), detail - 1], np.float32)
    nodes[..., 0] += 0.5 * (detail - 1)
    if detail > cloths.SMALL:  # OpenCV's warp knows 32 steps between two nodes: fine nodes for fine pictures
        finer = detail / len(nodes)
        nodes = cv2.resize(nodes, (detail, detail), interpolation=cv2.INTER_CUBIC)
        to_lattice = to_lattice * finer
        to_lattice[:, 2] += 0.5 * finer - 0.5
    at = cv2.warpAffine(
        nodes, to_lattice, part.size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
    )
    return cv2.remap(texture, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


# ---- what is in front, and grain ----------------------------------------------------------------------------------


def _keep_free(
    alpha: np.ndarray, shadow: np.ndarray, eyes: np.ndarray, in_front: np.ndarray, corner: np.ndarray, scale: float
) -> None:
    """Takes eyes, and faces nearer to the camera, out of the mask and its shadow."""
    margin = 1 + round(0.03 * scale)
    for eye in eyes - 16 * corner if len(eyes) else ():
        for layer in (alpha, shadow):
            cv2.fillPoly(layer, [eye], 0, cv2.LINE_AA, 4)
            cv2.polylines(layer, [eye], True, 0, 2 * margin + 1, cv2.LINE_AA, 4)
    for face in in_front:
        head = np.concatenate([face[:17], face[26:16:-1] - 0.55 * (face[8] - face[27])])
        for layer in (alpha, shadow):
            cv2.fillPoly(layer, [sixteenths(head - corner)], 0, cv2.LINE_AA, 4)


# Grain as cameras have it: a little smooth, and partly the same in all three channels.
_NOISE = cv2.GaussianBlur(np.random.default_rng(5).normal(0, 1, (256, 256, 3)).astype(np.float32), (3, 3), 0.45)
_NOISE = 0.55 * _NOISE + 0.45 * _NOISE.mean(2, keepdims=True) * 3**0.5
_NOISE = np.clip(128 + 32 * _NOISE / _NOISE.std(), 0, 255).astype(np.uint8)
_NOISE_SIDE, _NOISE = len(_NOISE), np.tile(_NOISE, (2, 2, 1))  # so that any small part is one piece


def _noise(size: tuple[int, int], draw: float) -> np.ndarray:
    """Grain for a part of a picture, from one large tile."""
    width, height = size
    x, y = int(draw * 61 * _NOISE_SIDE) % _NOISE_SIDE, int(draw * _NOISE_SIDE)
    tile = _NOISE
    if max(x + width, y + height) > len(tile):
        tile = np.tile(tile, (1 + (y + height) // len(tile), 1 + (x + width) // len(tile), 1))
    return tile[y : y + height, x : x + width]
