"""What is drawn, and where, before any pixel is: looks, places, straps, light, sharpness and grain of n masks."""

import hashlib
from dataclasses import dataclass

import numpy as np

from maskfr_utils.faces.align import FACE_SIZE
from maskfr_utils.masks.kinds import ALL_KINDS
from maskfr_utils.masks.light import GREY, SMALL, Light, blur_and_grain, estimate
from maskfr_utils.masks.placement import Placement, place, put_on
from maskfr_utils.masks.shapes import STRAP_POINTS, shape
from maskfr_utils.masks.styles import Look, Style, choose

_EYES = (slice(36, 42), slice(42, 48))
LARGE = 100  # eye distance from which a strap is drawn smooth and with a tip, pixels
_STRAP_NORMALS = np.array([(x, 0, 0.66, 1, 0, 0) for x in (-0.75, -0.75, 0.75, 0.75)], np.float32).T


def random_numbers(seed: int, pictures: list[int]) -> np.ndarray:
    """(n, 32) numbers in [0, 1) from the seed and the pictures' checksums."""
    key = str(int(seed)).encode()
    digests = b"".join(hashlib.blake2b(key + b"/%d" % picture).digest() for picture in pictures)
    return np.frombuffer(digests, "<u2").reshape(-1, 32) / 2.0**16


@dataclass(frozen=True)
class Plan:
    looks: list[Look]
    place: Placement
    outline: np.ndarray  # (n, points, 2) int, sixteenths of a pixel, as OpenCV draws
    ribbons: np.ndarray  # (n, 4, points, 2) int, sixteenths
    middles: np.ndarray  # (n, 4, STRAP_POINTS, 2) int, their middle lines
    last: np.ndarray  # (n, 4) int, where they end
    colours: np.ndarray  # (n, 4, 3) what they look like, RGB
    seen: np.ndarray  # (n, 4) bool, which straps are drawn
    corners: np.ndarray  # (n, 2, 2) pixels: upper left and lower right of all that is drawn
    eyes: np.ndarray  # (n, 2, 6, 2) int, sixteenths
    near_eyes: np.ndarray  # (n,) bool; whether any of it comes near an eye
    light: Light
    blur: np.ndarray  # (n,) sigma of the picture, pixels
    grain: np.ndarray  # (n,) standard deviation of its noise, grey levels
    draws: np.ndarray


def make_plan(
    pictures: list[np.ndarray],
    points: np.ndarray,
    thumbs: np.ndarray,
    thumb_points: np.ndarray,
    draws: np.ndarray,
    styles: tuple[list[Style], list[float]],
    grid: tuple[int, int, int],
) -> Plan:
    looks = [choose(*styles, d) for d in draws.tolist()]
    shapes = [shape(look.cloth.kind, look.wear, grid, look.height) for look in looks]
    # How it was put on: more or less centred, high, straight and unfolded.
    shift = ((draws[:, 16:20] + draws[:, 20:24] - 1) * (0.05, 0.07, 0.06, 0.07)).astype(np.float32)
    placed = place(shapes, points, shift, grid)
    n = len(points)
    points, thumb_points = (np.where(placed.ok[:, None, None], p, 0) for p in (points, thumb_points))
    light = estimate(thumbs, thumb_points)
    # No two masks of a colour are quite alike.
    light.gain[:] *= (1.04 + 0.3 * (draws[:, 10:11] - 0.5)) * (1 + 0.05 * (draws[:, 11:14] - 0.5))
    matrices = np.stack([s.straps for s in shapes])
    curves = np.matmul(matrices, points[:, None, None]).reshape(n, -1, 2)  # sides, upper and lower, STRAP_POINTS
    upright = np.matmul(curves - placed.origin[:, None], placed.upright.transpose(0, 2, 1))
    # At the mask a strap moves with it, at the ear it stays.
    moved = put_on(upright, shift) - upright
    moved *= np.tile(np.linspace(1, 0, STRAP_POINTS), 4)[:, None]
    curves += np.matmul(moved, placed.upright) * (placed.scale**2)[:, None, None]
    curves, upright = (c.reshape(n, 2, 2, -1, 2) for c in (curves, upright))
    # The head hides a strap whose end does not lie outward of its start.
    outward = upright[..., -1, 0] - upright[..., 0, 0]
    last = _last_on_skin(np.matmul(matrices, thumb_points[:, None, None]).reshape(n, 4, -1, 2), light)
    seen = (outward * np.array([[-1], [1]]) > 0.08).reshape(n, 4)
    seen &= (last >= 4) & np.array([s.has_straps for s in shapes])[:, None]
    # Large enough to show it, a strap ends within the hair, not before it.
    last = np.minimum(last + 2 * (placed.scale >= LARGE)[:, None], STRAP_POINTS - 1)
    width = np.array([ALL_KINDS[look.cloth.kind].strap_width for look in looks]) * np.maximum(placed.scale, 20)
    ribbons = ribbons_round(curves.reshape(n, 4, -1, 2), last, width[:, None, None, None])
    outline = sixteenths(placed.outline)
    ribbons = np.where(seen[..., None, None], sixteenths(ribbons), outline[:, None, :1])
    middles = sixteenths(curves.reshape(n, 4, -1, 2))
    colours = light.gain * np.array([look.strap for look in looks]).reshape(n, 3)
    colours = (light.shading @ _STRAP_NORMALS).clip(0.3, 1.2)[..., None] * (0.94 * colours)[:, None]
    boxes = np.concatenate([_boxes(outline)[:, None], _boxes(ribbons)], 1)  # (n, 5, 2, 2)
    corners = np.stack([boxes[..., 0, :].min(1), boxes[..., 1, :].max(1)], 1) / 16
    eyes = sixteenths(np.stack([points[:, eye] for eye in _EYES], 1))
    blur, grain = blur_and_grain(pictures, points[:, 36:48].mean(1), placed.scale)
    room = 16 * (6 + 0.12 * placed.scale + 4 * blur)[:, None, None, None]
    eye_boxes, boxes = _boxes(eyes)[:, None], boxes[:, :, None]
    apart = (boxes[..., 0, :] > eye_boxes[..., 1, :] + room) | (boxes[..., 1, :] < eye_boxes[..., 0, :] - room)
    near_eyes = ~apart.any(-1).all((1, 2))
    straps = ribbons, middles, last, colours.clip(0, 250), seen
    return Plan(looks, placed, outline, *straps, corners, eyes, near_eyes, light, blur, grain, draws)


def _boxes(curves: np.ndarray) -> np.ndarray:
    """Upper left and lower right corner (..., 2, 2) of curves (..., points, 2)."""
    return np.stack([curves.min(-2), curves.max(-2)], -2)


def sixteenths(pixels: np.ndarray) -> np.ndarray:
    return np.round(np.clip(pixels, -1e5, 1e5) * 16).astype(np.int32)


def ribbons_round(curves: np.ndarray, last: np.ndarray, width: np.ndarray) -> np.ndarray:
    """Outlines (..., 2 * points, 2) of bands round curves (..., points, 2), cut off after point `last`."""
    along = np.gradient(curves, axis=-2)
    across = along[..., ::-1] * np.array([-0.5, 0.5]) * width
    across /= np.maximum(np.linalg.norm(along, axis=-1, keepdims=True), 1e-6)
    keep = np.minimum(np.arange(curves.shape[-2]), last[..., None])[..., None]
    sides = [np.take_along_axis(curves + sign * across, keep, -2) for sign in (1, -1)]
    return np.concatenate([sides[0], sides[1][..., ::-1, :]], -2)


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
