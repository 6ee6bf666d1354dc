"""What is drawn and where, before any pixel is: looks, places, straps, light, sharpness and grain of n masks."""

from dataclasses import dataclass, replace

import numpy as np

from maskfr_utils.faces.align import FACE_SIZE
from maskfr_utils.masks.kinds import ALL_KINDS
from maskfr_utils.masks.light import GREY, SMALL, Light, blur_and_grain, estimate_light
from maskfr_utils.masks.placement import Placement, place, put_on
from maskfr_utils.masks.shapes import STRAP_POINTS, Shape, shape
from maskfr_utils.masks.styles import Look, Style, choose

LARGE = 100  # eye distance from which a strap is drawn smooth and with a tip, pixels
_EYES = (slice(36, 42), slice(42, 48))
_STRAP_NORMALS = np.array([(x, 0, 0.66, 1, 0, 0) for x in (-0.75, -0.75, 0.75, 0.75)], np.float32).T


@dataclass(frozen=True)
class Straps:
    """Straps of n masks, four each: the left upper and lower, the right upper and lower. Curves are sixteenths of a pixel.

    Attributes:
        seen: (n, 4) bool, which are drawn.
        middles: (n, 4, STRAP_POINTS, 2) int32 middle lines, from the mask outwards.
        last: (n, 4) int, the point at which each ends.
        ribbons: (n, 4, 2 * STRAP_POINTS, 2) int32 outlines.
        colours: (n, 4, 3) lit, RGB 0..250.
    """

    seen: np.ndarray
    middles: np.ndarray
    last: np.ndarray
    ribbons: np.ndarray
    colours: np.ndarray


@dataclass(frozen=True)
class Plan:
    """All that `paint` needs to know of n masks; curves are in sixteenths of a pixel, as OpenCV draws them.

    Attributes:
        looks: n.
        place: of the n masks.
        outline: (n, points, 2) int32.
        straps: of the n masks.
        corners: (n, 2, 2) pixels: upper left and lower right of all that is drawn.
        eyes: (n, 2, 6, 2) int32.
        near_eyes: (n,) bool, whether anything that is drawn comes near an eye.
        light: of the n faces.
        blur: (n,) sigma of the picture, pixels.
        grain: (n,) standard deviation of its noise, grey levels.
        grain_draw: (n,) random numbers in [0, 1).
    """

    looks: list[Look]
    place: Placement
    outline: np.ndarray
    straps: Straps
    corners: np.ndarray
    eyes: np.ndarray
    near_eyes: np.ndarray
    light: Light
    blur: np.ndarray
    grain: np.ndarray
    grain_draw: np.ndarray


def make_plan(
    pictures: list[np.ndarray],
    points: np.ndarray,
    thumbs: np.ndarray,
    thumb_points: np.ndarray,
    draws: np.ndarray,
    styles: tuple[list[Style], list[float]],
    grid: tuple[int, int, int],
) -> Plan:
    """Plans a mask for each of n faces.

    Args:
        pictures: n pictures (height, width, 3) uint8, with a face each.
        points: (n, 68, 2) float32 their landmarks, pixels.
        thumbs: (n, 112, 112, 3) uint8 the same faces aligned: what the light is estimated from.
        thumb_points: (n, 68, 2) float32 their landmarks.
        draws: (n,) of `chance.DRAW`.
        styles: as `styles.resolve` gives them.
        grid: COARSE or FINE.
    """
    looks = [choose(*styles, draw) for draw in draws]
    shapes = [shape(look.cloth.kind, look.wear, grid, look.height) for look in looks]
    # How it was put on: more or less centred, high, straight and unfolded.
    shift = ((draws["put_on"].sum(1) - 1) * (0.05, 0.07, 0.06, 0.07)).astype(np.float32)
    placed = place(shapes, points, shift, grid)
    points, thumb_points = (np.where(placed.ok[:, None, None], p, 0) for p in (points, thumb_points))
    light = estimate_light(thumbs, thumb_points)
    # No two masks of a colour are quite alike.
    varied = (1.04 + 0.3 * (draws["exposure"][:, None] - 0.5)) * (1 + 0.05 * (draws["cast"] - 0.5))
    light = replace(light, gain=light.gain * varied)
    straps = _straps(looks, shapes, placed, shift, points, thumb_points, light)
    outline = sixteenths(placed.outline)
    eyes = sixteenths(np.stack([points[:, eye] for eye in _EYES], 1))
    drawn = np.where(straps.seen[..., None, None], straps.ribbons, outline[:, None, :1])
    boxes = np.concatenate([_boxes(outline)[:, None], _boxes(drawn)], 1)  # (n, 5, 2, 2)
    corners = np.stack([boxes[..., 0, :].min(1), boxes[..., 1, :].max(1)], 1) / 16
    blur, grain = blur_and_grain(pictures, points[:, 36:48].mean(1), placed.scale)
    near_eyes = _near(boxes, _boxes(eyes), 16 * (6 + 0.12 * placed.scale + 4 * blur))
    return Plan(looks, placed, outline, straps, corners, eyes, near_eyes, light, blur, grain, draws["grain"])


def _straps(
    looks: list[Look],
    shapes: list[Shape],
    placed: Placement,
    shift: np.ndarray,
    points: np.ndarray,
    thumb_points: np.ndarray,
    light: Light,
) -> Straps:
    n = len(looks)
    matrices = np.stack([s.straps for s in shapes])
    curves = np.matmul(matrices, points[:, None, None]).reshape(n, -1, 2)  # the four, one after the other
    upright = np.matmul(curves - placed.origin[:, None], placed.upright.transpose(0, 2, 1))
    # At the mask a strap moves with it, at the ear it stays.
    moved = put_on(upright, shift) - upright
    moved *= np.tile(np.linspace(1, 0, STRAP_POINTS), 4)[:, None]
    curves += np.matmul(moved, placed.upright) * (placed.scale**2)[:, None, None]
    curves, upright = (c.reshape(n, 4, -1, 2) for c in (curves, upright))
    # The head hides a strap whose end does not lie outward of its start.
    outward = (upright[..., -1, 0] - upright[..., 0, 0]) * (-1, -1, 1, 1)
    last = _last_on_skin(np.matmul(matrices, thumb_points[:, None, None]).reshape(n, 4, -1, 2), light)
    seen = (outward > 0.08) & (last >= 4) & np.array([s.has_straps for s in shapes])[:, None]
    # Large enough to show it, a strap ends within the hair, not before it.
    last = np.minimum(last + 2 * (placed.scale >= LARGE)[:, None], STRAP_POINTS - 1)
    width = np.array([ALL_KINDS[look.cloth.kind].strap_width for look in looks]) * np.maximum(placed.scale, 20)
    ribbons = ribbons_round(curves, last, width[:, None, None, None])
    colours = light.gain * np.array([look.strap for look in looks]).reshape(n, 3)
    colours = (light.shading @ _STRAP_NORMALS).clip(0.3, 1.2)[..., None] * (0.94 * colours)[:, None]
    return Straps(seen, sixteenths(curves), last, sixteenths(ribbons), colours.clip(0, 250))


def _last_on_skin(curves: np.ndarray, light: Light) -> np.ndarray:
    """Index of the last point of each strap (n, 4, points, 2), thumbnail pixels, before hair or background begins."""
    x, y = np.moveaxis((curves * (SMALL / FACE_SIZE)).clip(0, SMALL - 1).astype(int), -1, 0)
    colours = light.small[np.arange(len(curves))[:, None, None], y, x].astype(np.float32)
    skin = light.skin[:, None, None]
    grey, skin_grey = colours @ GREY + 4, skin @ GREY + 4
    tint = np.abs((colours[..., 0] - colours[..., 2]) / grey - (skin[..., 0] - skin[..., 2]) / skin_grey)
    off = (grey < 0.42 * skin_grey) | (grey > 1.6 * skin_grey) | (tint > 0.35)
    off[..., :4] = False
    return np.where(off.any(-1), off.argmax(-1) - 1, off.shape[-1] - 1)


def ribbons_round(curves: np.ndarray, last: np.ndarray, width: np.ndarray) -> np.ndarray:
    """Outlines (..., 2 * points, 2) of bands round curves (..., points, 2), cut off after point `last`."""
    along = np.gradient(curves, axis=-2)
    across = along[..., ::-1] * np.array([-0.5, 0.5]) * width
    across /= np.maximum(np.linalg.norm(along, axis=-1, keepdims=True), 1e-6)
    keep = np.minimum(np.arange(curves.shape[-2]), last[..., None])[..., None]
    sides = [np.take_along_axis(curves + sign * across, keep, -2) for sign in (1, -1)]
    return np.concatenate([sides[0], sides[1][..., ::-1, :]], -2)


def sixteenths(pixels: np.ndarray) -> np.ndarray:
    """Pixels -> whole sixteenths of a pixel, int32."""
    return np.round(np.clip(pixels, -1e5, 1e5) * 16).astype(np.int32)


def _boxes(curves: np.ndarray) -> np.ndarray:
    """Upper left and lower right corner (..., 2, 2) of curves (..., points, 2)."""
    return np.stack([curves.min(-2), curves.max(-2)], -2)


def _near(boxes: np.ndarray, others: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """(n,) bool: whether any of boxes (n, a, 2, 2) comes nearer than `distance` (n,) to any of the others (n, b, 2, 2)."""
    boxes, others, distance = boxes[:, :, None], others[:, None], distance[:, None, None, None]
    apart = (boxes[..., 0, :] > others[..., 1, :] + distance) | (boxes[..., 1, :] < others[..., 0, :] - distance)
    return ~apart.any(-1).all((1, 2))
