"""Virtual masks: drawn on aligned faces or on whole photos, fitted to 68 landmarks (iBUG order) and to the light.

    >>> masked = mask_faces(faces, seed=1)
    >>> masked.images[masked.ok]

A mask is placed by `mask_shapes` (pose up to the profile), looks as `mask_styles` draws it, and is lit as the face
below it is: brightness and its direction are fitted to the skin (a linear function of the surface normal, the first
two orders of a spherical harmonic), colour cast, sharpness and grain measured in the picture. Every face is drawn by
its own numbers, derived from the seed and the picture's bytes, whatever batch it comes in.
"""

import hashlib
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.interpolate import CubicSpline

from maskfr_utils import mask_cloth, mask_jpeg, mask_light, mask_shapes, mask_styles
from maskfr_utils.faces import align
from maskfr_utils.mask_shapes import KINDS, NO_MASK
from maskfr_utils.mask_styles import Look, Style, load_styles

__all__ = ["KINDS", "MaskedFaces", "MaskedPhoto", "Style", "load_styles", "mask_faces", "mask_photo"]

SIZE = 112
_CHUNK = 128  # faces placed at once: memory stays small, results do not depend on it
_EYES = (slice(36, 42), slice(42, 48))
_MIN_AREA = 0.25  # a mask that covers less than this (square eye distances) inside the picture has failed

StyleLike = str | Style | Mapping[str | Style, float]


@dataclass(frozen=True)
class MaskedFaces:
    """Masked aligned faces.

    Attributes:
        images: (N, 112, 112, 3) uint8 RGB; the face unchanged where `ok` is False.
        coverage: (N, 112, 112) bool; mask, straps and their shadow: no pixel outside differs from the face.
        ok: (N,) bool; False where no mask could be placed.
        kinds: (N,) str; "" where `ok` is False; "none" where the style left the face bare on purpose.
        alpha: (N, 112, 112) uint8; opacity of mask and straps, 255 where nothing of the face shows.
    """

    images: np.ndarray
    coverage: np.ndarray
    ok: np.ndarray
    kinds: np.ndarray
    alpha: np.ndarray


@dataclass(frozen=True)
class MaskedPhoto:
    """A photo with every face masked; n faces, nearest (largest) last.

    Attributes:
        image: (height, width, 3) uint8 RGB.
        boxes: (n, 4) float32 left, top, right, bottom of the landmarks.
        ok: (n,) bool; False where no mask could be placed.
        coverage: (height, width) bool; no pixel outside differs from the photo.
        kinds: (n,) str; as in `MaskedFaces`.
        landmarks: (n, 68, 2) float32; given back to `mask_photo` with style and seed they redraw the masks bit for bit.
        alpha: (height, width) uint8; opacity of masks and straps.
    """

    image: np.ndarray
    boxes: np.ndarray
    ok: np.ndarray
    coverage: np.ndarray
    kinds: np.ndarray
    landmarks: np.ndarray
    alpha: np.ndarray


def mask_faces(
    faces: np.ndarray, landmarks: np.ndarray | None = None, *, style: StyleLike = "random", seed: int = 0
) -> MaskedFaces:
    """Draws a mask on each aligned face.

    Args:
        faces: (N, 112, 112, 3) uint8 RGB.
        landmarks: (N, 68, 2) pixel (x, y); predicted where None or NaN.
        style: "random", the name of a style, a style file, a `Style`, or a mapping of these to their shares.
        seed: the mask of a picture depends on style, seed, landmarks and the picture's bytes alone.

    Raises:
        ValueError: wrong shape or dtype, or an unknown style.
    """
    faces = np.asarray(faces)
    if faces.dtype != np.uint8 or faces.ndim != 4 or faces.shape[1:] != (SIZE, SIZE, 3):
        raise ValueError(f"faces must be (N, {SIZE}, {SIZE}, 3) uint8 RGB, got {faces.shape} {faces.dtype}")
    n = len(faces)
    points = np.full((n, 68, 2), np.nan, np.float32) if landmarks is None else np.array(landmarks, np.float32)
    if points.shape != (n, 68, 2):
        raise ValueError(f"landmarks must be ({n}, 68, 2), got {points.shape}")
    missing = np.isnan(points).any(axis=(1, 2))
    if missing.any():
        points[missing] = align.face_landmarks(faces[missing])
    styles = mask_styles.resolve(style)
    images = np.array(faces, order="C")
    coverage = np.zeros((n, SIZE, SIZE), bool)
    alpha = np.zeros((n, SIZE, SIZE), np.uint8)
    ok = np.zeros(n, bool)
    kinds = np.full(n, "", f"<U{max(map(len, KINDS))}")
    for start in range(0, n, _CHUNK):
        part = slice(start, start + _CHUNK)
        draws = _draws(seed, [zlib.crc32(image) for image in images[part]])
        here = points[part]
        plan = _plan(images[part], here, images[part], here, draws, styles, mask_shapes.COARSE)
        for k, i in enumerate(range(start, min(start + _CHUNK, n))):
            if plan.place.ok[k]:
                ok[i] = _paint(images[i], coverage[i], alpha[i], plan, k)
            if ok[i]:
                kinds[i] = plan.looks[k].cloth.kind
            else:
                images[i], coverage[i], alpha[i] = faces[i], False, 0
    return MaskedFaces(images, coverage, ok, kinds, alpha)


def mask_photo(
    photo: np.ndarray, *, style: StyleLike = "random", seed: int = 0, landmarks: np.ndarray | None = None
) -> MaskedPhoto:
    """Masks every face of a photo, in the photo's own pixels, and with its own JPEG traces where it was a JPEG file.

    Args:
        photo: (height, width, 3) uint8 RGB.
        style: as for `mask_faces`.
        seed: the masks depend on style, seed, landmarks and the photo's bytes alone.
        landmarks: (n, 68, 2) of the faces to mask; found by `align.detect` where None, in the
            photo turned by quarters where it finds none upright.

    Raises:
        ValueError: wrong shape or dtype, or an unknown style.
    """
    photo = np.asarray(photo)
    if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3 or not photo.size:
        raise ValueError(f"a photo must be (height, width, 3) uint8 RGB, got {photo.shape} {photo.dtype}")
    styles = mask_styles.resolve(style)
    points = _find(photo) if landmarks is None else np.array(landmarks, np.float32).reshape(-1, 68, 2)
    points = points[np.argsort(np.ptp(points[..., 0], axis=1), kind="stable")]  # the nearest face is drawn last
    n = len(points)
    image = np.array(photo, order="C")
    coverage, alpha = np.zeros(photo.shape[:2], bool), np.zeros(photo.shape[:2], np.uint8)
    ok, kinds = np.zeros(n, bool), np.full(n, "", f"<U{max(map(len, KINDS))}")
    if n:
        whole = zlib.crc32(image)
        draws = _draws(seed, [zlib.crc32(p.tobytes(), whole) for p in points])
        thumbs = [mask_light.thumbnail(photo, p) for p in points]
        thumb_points = np.array([p for _, p in thumbs], np.float32)
        plan = _plan(
            [photo] * n, points, np.array([t for t, _ in thumbs]), thumb_points, draws, styles, mask_shapes.FINE
        )
        for k in np.flatnonzero(plan.place.ok):
            ok[k] = _paint(image, coverage, alpha, plan, int(k), in_front=points[k + 1 :][plan.place.ok[k + 1 :]])
            kinds[k] = plan.looks[k].cloth.kind if ok[k] else ""
        mask_jpeg.match(image, photo, coverage)
    boxes = np.concatenate([points.min(1), points.max(1)], 1) if n else np.zeros((0, 4), np.float32)
    return MaskedPhoto(image, boxes, ok, coverage, kinds, points, alpha)


def _find(photo: np.ndarray) -> np.ndarray:
    """Landmarks (n, 68, 2) of the faces of a photo, which may lie on its side or stand on its head."""
    height, width = photo.shape[:2]
    for quarter in (0, 1, 3, 2):
        turned = np.ascontiguousarray(np.rot90(photo, quarter))
        boxes = align.detect(turned)
        if boxes:
            x, y = np.moveaxis(np.array([align.landmarks68(turned, box) for box in boxes], np.float32), -1, 0)
            back = [(x, y), (width - 1 - y, x), (width - 1 - x, height - 1 - y), (y, height - 1 - x)][quarter]
            return np.stack(back, -1)
    return np.zeros((0, 68, 2), np.float32)


# ---- what is drawn ------------------------------------------------------------------------------------------------


def _draws(seed: int, pictures: list[int]) -> np.ndarray:
    """(n, 32) numbers in [0, 1) from the seed and the pictures' checksums."""
    key = str(int(seed)).encode()
    digests = b"".join(hashlib.blake2b(key + b"/%d" % picture).digest() for picture in pictures)
    return np.frombuffer(digests, "<u2").reshape(-1, 32) / 2.0**16


@dataclass(frozen=True)
class _Plan:
    looks: list[Look]
    place: mask_shapes.Placement
    outline: np.ndarray  # (n, points, 2) int, sixteenths of a pixel, as OpenCV draws
    ribbons: np.ndarray  # (n, 4, points, 2) int, sixteenths
    middles: np.ndarray  # (n, 4, STRAP_POINTS, 2) int, their middle lines
    last: np.ndarray  # (n, 4) int, where they end
    colours: np.ndarray  # (n, 4, 3) what they look like, RGB
    seen: np.ndarray  # (n, 4) bool, which straps are drawn
    corners: np.ndarray  # (n, 2, 2) pixels: upper left and lower right of all that is drawn
    eyes: np.ndarray  # (n, 2, 6, 2) int, sixteenths
    near_eyes: np.ndarray  # (n,) bool; whether any of it comes near an eye
    light: mask_light.Light
    blur: np.ndarray  # (n,) sigma of the picture, pixels
    grain: np.ndarray  # (n,) standard deviation of its noise, grey levels
    draws: np.ndarray


def _plan(
    pictures: list[np.ndarray],
    points: np.ndarray,
    thumbs: np.ndarray,
    thumb_points: np.ndarray,
    draws: np.ndarray,
    styles: tuple[list[Style], list[float]],
    grid: tuple[int, int, int],
) -> _Plan:
    looks = [mask_styles.choose(*styles, d) for d in draws.tolist()]
    shapes = [mask_shapes.shape(look.cloth.kind, look.wear, grid, look.height) for look in looks]
    # How it was put on: more or less centred, high, straight and unfolded.
    shift = ((draws[:, 16:20] + draws[:, 20:24] - 1) * (0.05, 0.07, 0.06, 0.07)).astype(np.float32)
    place = mask_shapes.place(shapes, points, shift, grid)
    n = len(points)
    points, thumb_points = (np.where(place.ok[:, None, None], p, 0) for p in (points, thumb_points))
    light = mask_light.estimate(thumbs, thumb_points)
    # No two masks of a colour are quite alike.
    light.gain[:] *= (1.04 + 0.3 * (draws[:, 10:11] - 0.5)) * (1 + 0.05 * (draws[:, 11:14] - 0.5))
    matrices = np.stack([s.straps for s in shapes])
    curves = np.matmul(matrices, points[:, None, None]).reshape(n, -1, 2)  # sides, upper and lower, STRAP_POINTS
    upright = np.matmul(curves - place.origin[:, None], place.upright.transpose(0, 2, 1))
    # At the mask a strap moves with it, at the ear it stays.
    moved = mask_shapes.put_on(upright, shift) - upright
    moved *= np.tile(np.linspace(1, 0, mask_shapes.STRAP_POINTS), 4)[:, None]
    curves += np.matmul(moved, place.upright) * (place.scale**2)[:, None, None]
    curves, upright = (c.reshape(n, 2, 2, -1, 2) for c in (curves, upright))
    # The head hides a strap whose end does not lie outward of its start.
    outward = upright[..., -1, 0] - upright[..., 0, 0]
    last = _last_on_skin(np.matmul(matrices, thumb_points[:, None, None]).reshape(n, 4, -1, 2), light)
    seen = (outward * np.array([[-1], [1]]) > 0.08).reshape(n, 4)
    seen &= (last >= 4) & np.array([s.has_straps for s in shapes])[:, None]
    # Large enough to show it, a strap ends within the hair, not before it.
    last = np.minimum(last + 2 * (place.scale >= _LARGE)[:, None], mask_shapes.STRAP_POINTS - 1)
    width = np.array([_STRAP_WIDTH.get(look.cloth.kind, 0.036) for look in looks]) * np.maximum(place.scale, 20)
    ribbons = _ribbons(curves.reshape(n, 4, -1, 2), last, width[:, None, None, None])
    outline = _sixteenths(place.outline)
    ribbons = np.where(seen[..., None, None], _sixteenths(ribbons), outline[:, None, :1])
    middles = _sixteenths(curves.reshape(n, 4, -1, 2))
    colours = light.gain * np.array([look.strap for look in looks]).reshape(n, 3)
    colours = (light.shading @ _STRAP_NORMALS).clip(0.3, 1.2)[..., None] * (0.94 * colours)[:, None]
    boxes = np.concatenate([_boxes(outline)[:, None], _boxes(ribbons)], 1)  # (n, 5, 2, 2)
    corners = np.stack([boxes[..., 0, :].min(1), boxes[..., 1, :].max(1)], 1) / 16
    eyes = _sixteenths(np.stack([points[:, eye] for eye in _EYES], 1))
    blur, grain = mask_light.blur_and_grain(pictures, points[:, 36:48].mean(1), place.scale)
    room = 16 * (6 + 0.12 * place.scale + 4 * blur)[:, None, None, None]
    eye_boxes, boxes = _boxes(eyes)[:, None], boxes[:, :, None]
    apart = (boxes[..., 0, :] > eye_boxes[..., 1, :] + room) | (boxes[..., 1, :] < eye_boxes[..., 0, :] - room)
    near_eyes = ~apart.any(-1).all((1, 2))
    straps = ribbons, middles, last, colours.clip(0, 250), seen
    return _Plan(looks, place, outline, *straps, corners, eyes, near_eyes, light, blur, grain, draws)


def _boxes(curves: np.ndarray) -> np.ndarray:
    """Upper left and lower right corner (..., 2, 2) of curves (..., points, 2)."""
    return np.stack([curves.min(-2), curves.max(-2)], -2)


def _sixteenths(pixels: np.ndarray) -> np.ndarray:
    return np.round(np.clip(pixels, -1e5, 1e5) * 16).astype(np.int32)


def _ribbons(curves: np.ndarray, last: np.ndarray, width: np.ndarray) -> np.ndarray:
    """Outlines (..., 2 * points, 2) of bands round curves (..., points, 2), cut off after point `last`."""
    along = np.gradient(curves, axis=-2)
    across = along[..., ::-1] * np.array([-0.5, 0.5]) * width
    across /= np.maximum(np.linalg.norm(along, axis=-1, keepdims=True), 1e-6)
    keep = np.minimum(np.arange(curves.shape[-2]), last[..., None])[..., None]
    sides = [np.take_along_axis(curves + sign * across, keep, -2) for sign in (1, -1)]
    return np.concatenate([sides[0], sides[1][..., ::-1, :]], -2)


def _last_on_skin(curves: np.ndarray, light: mask_light.Light) -> np.ndarray:
    """Index of the last point of each strap (n, 4, points, 2), thumbnail pixels, before hair or background begins."""
    x, y = np.moveaxis((curves * (mask_light.SMALL / SIZE)).clip(0, mask_light.SMALL - 1).astype(int), -1, 0)
    colours = light.small[np.arange(len(curves))[:, None, None], y, x].astype(np.float32)
    skin = light.skin[:, None, None]
    grey, skin_grey = colours @ mask_light.GREY + 4, skin @ mask_light.GREY + 4
    tint = np.abs((colours[..., 0] - colours[..., 2]) / grey - (skin[..., 0] - skin[..., 2]) / skin_grey)
    off = (grey < 0.42 * skin_grey) | (grey > 1.6 * skin_grey) | (tint > 0.35)
    off[..., :4] = False
    return np.where(off.any(-1), off.argmax(-1) - 1, off.shape[-1] - 1)


# ---- paint --------------------------------------------------------------------------------------------------------

_LARGE = 100  # eye distance from which a strap is drawn smooth and with a tip, pixels
_STRAP_WIDTH = {"n95": 0.06, "respirator": 0.06}  # eye distances; ear loops are thinner
_STRAP_NORMALS = np.array([(x, 0, 0.66, 1, 0, 0) for x in (-0.75, -0.75, 0.75, 0.75)], np.float32).T
_NOISE = cv2.GaussianBlur(np.random.default_rng(5).normal(0, 1, (256, 256, 3)).astype(np.float32), (3, 3), 0.45)
_NOISE = 0.55 * _NOISE + 0.45 * _NOISE.mean(2, keepdims=True) * 3**0.5
_NOISE = np.clip(128 + 32 * _NOISE / _NOISE.std(), 0, 255).astype(np.uint8)
_NOISE_SIDE, _NOISE = len(_NOISE), np.tile(_NOISE, (2, 2, 1))  # so that any small part is one piece


def _paint(
    image: np.ndarray, coverage: np.ndarray, opacity: np.ndarray, plan: _Plan, k: int, in_front: np.ndarray = ()
) -> bool:
    """Draws mask `k` of the plan into the picture, its coverage and opacity; False if hardly any of it is inside."""
    look, scale = plan.looks[k], float(plan.place.scale[k])
    if look.cloth.kind == NO_MASK:
        return True
    blur, grain = float(plan.blur[k]), float(plan.grain[k])
    soft = max(blur, 0.45)

    # The part of the picture that may change.
    reach = max(1, round(0.06 * scale))  # of the shadow
    spread = reach + (1 if soft <= 0.6 else 4 * soft) + 1
    height, width = image.shape[:2]
    (left, top), (right, bottom) = plan.corners[k].tolist()
    x0, x1 = (min(max(x, 0), width) for x in (math.floor(left - spread), math.ceil(right + spread + 1)))
    y0, y1 = (min(max(y, 0), height) for y in (math.floor(top - spread), math.ceil(bottom + spread + 1)))
    if x1 - x0 < 4 or y1 - y0 < 4:
        return False
    corner, size = np.array([x0, y0], np.int32), (x1 - x0, y1 - y0)
    region = (slice(y0, y1), slice(x0, x1))

    seen = plan.seen[k]
    outline, ribbons, middles = (
        p - 16 * corner for p in (plan.outline[k], plan.ribbons[k, seen], plan.middles[k, seen])
    )
    strap = _STRAP_WIDTH.get(look.cloth.kind, 0.036) * scale
    if scale >= _LARGE and len(ribbons):
        fine = [_fine_strap(*each, 16 * strap) for each in zip(middles, plan.last[k, seen], strict=True)]
        ribbons, middles = (np.round(curves).astype(np.int32) for curves in zip(*fine, strict=True))
    alpha = _fill(outline, ribbons, size, scale)
    if cv2.countNonZero(alpha) < _MIN_AREA * scale**2:
        return False
    drawn = _lit_weave(look, plan, k, corner, size)
    if len(ribbons):
        body = cv2.fillPoly(np.zeros_like(alpha), [outline], 255, cv2.LINE_8, 4)
        cv2.polylines(body, [outline], True, 255, 1, cv2.LINE_8, 4)
        strapped = drawn.copy()
        thick = round(strap)
        # Round: darker at both sides.
        for inward in np.linspace(0, 1, max(2, thick // 3)) if thick > 2 else (1,):
            line = max(3, round(thick + 3 - inward * (thick + 3 - thick // 2)))
            for middle, colour in zip(middles, (0.7 + 0.3 * inward) * plan.colours[k, seen], strict=True):
                cv2.polylines(strapped, [middle], False, colour.tolist(), line, cv2.LINE_8, 4)
        drawn = cv2.copyTo(drawn, body, strapped)

    # Sharpness and grain of the picture.
    if blur > 0.6:
        drawn = cv2.GaussianBlur(drawn, (0, 0), blur)
    alpha = cv2.GaussianBlur(alpha, (0, 0) if soft > 0.6 else (3, 3), soft)
    if grain > 0.7 and look.cloth.kind != "inpaint":
        strength = min(grain, 24.0) / 32
        drawn = cv2.addWeighted(drawn, 1, _noise(size, plan.draws[k, 15]), strength, -128 * strength)

    shadow = cv2.blur(alpha, (2 * reach + 1, 2 * reach + 1))
    if look.cloth.kind == "inpaint":
        shadow[:] = 0
    _keep_free(alpha, shadow, plan.eyes[k] if plan.near_eyes[k] else (), in_front, corner, scale)
    if look.intensity < 1:
        alpha = cv2.convertScaleAbs(alpha, alpha=look.intensity)
    bright = cv2.convertScaleAbs(shadow, alpha=-0.30 * look.intensity, beta=255)
    clear = cv2.multiply(cv2.bitwise_not(alpha), bright, scale=1 / 255)  # of the face itself
    under = cv2.multiply(np.ascontiguousarray(image[region]), cv2.merge((clear, clear, clear)), scale=1 / 255)
    over = cv2.multiply(drawn, cv2.merge((alpha, alpha, alpha)), scale=1 / 255)
    image[region] = cv2.add(over, under)
    coverage[region] |= clear < 255
    np.maximum(opacity[region], alpha, out=opacity[region])
    return True


# A strap fades at its end, where ear or hair hides it: how many points of it, and how opaque.
_FADE = ((mask_shapes.STRAP_POINTS, 70), (mask_shapes.STRAP_POINTS - 3, 255))
_FINE_POINTS = 128
_FINE_FADE = [(_FINE_POINTS - k, 5 * k) for k in range(1, 52)]  # up to 255


def _fine_strap(middle: np.ndarray, last: int, width: float) -> tuple[np.ndarray, np.ndarray]:
    """A smooth band (2 * _FINE_POINTS, 2) that ends in a tip at point `last` of its middle line, and that line refined."""
    t = np.linspace(0, 1, _FINE_POINTS)
    curve = CubicSpline(np.arange(len(middle)), middle)(last * t)
    return _ribbons(curve, np.array(_FINE_POINTS), width * np.minimum(1, 3 * (1 - t))[:, None] ** 0.5), curve


def _fill(outline: np.ndarray, ribbons: np.ndarray, size: tuple[int, int], scale: float) -> np.ndarray:
    """Coverage 0..255 of polygons (sixteenths of a pixel): drawn on a finer grid, then the mean (OpenCV's own is coarse)."""
    times, fade = (4, _FADE) if scale < _LARGE else (2, _FINE_FADE)
    canvas = np.zeros((size[1] * times, size[0] * times), np.uint8)
    offset = 8 * (times - 1)
    # One by one: where two overlap, OpenCV would leave a hole.
    for ribbon in ribbons * times + offset:
        for points, opacity in fade:
            cv2.fillPoly(canvas, [np.concatenate((ribbon[:points], ribbon[-points:]))], opacity, cv2.LINE_8, 4)
    cv2.fillPoly(canvas, [outline * times + offset], 255, cv2.LINE_8, 4)
    return cv2.resize(canvas, size, interpolation=cv2.INTER_AREA)


# Three quarters of the light -> what a camera makes of the whole: too bright cloth bends its curve.
_SHOULDER = np.arange(256) / 0.75
_SHOULDER = np.where(_SHOULDER < 190, _SHOULDER, 255 - 65 * np.exp((190 - _SHOULDER) / 65)).round().astype(np.uint8)


def _lit_weave(look: Look, plan: _Plan, k: int, corner: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The lit mask over a part of the picture (size: width, height), uint8 RGB; outside of the mask it is arbitrary."""
    cloth, place, light = look.cloth, plan.place, plan.light
    if cloth.kind == "inpaint":
        return np.full((*size[::-1], 3), cloth.colour, np.uint8)
    scale = float(place.scale[k])
    # The texture is a bit finer than the pixels; aligned faces share one size, so that it can be kept.
    detail = mask_cloth.SMALL if scale < 50 else min(1024, 1 << int(np.ceil(np.log2(2.4 * scale))))
    normals = mask_cloth.normals(cloth.kind, look.wear, detail, look.folds, cloth.valve)
    lit = normals @ np.outer(light.shading[k], 120 * light.gain[k]).astype(np.float32)
    lit = cv2.convertScaleAbs(cv2.max(lit, 15.0)).reshape(detail, detail, 3)
    texture = cv2.LUT(cv2.multiply(mask_cloth.weave(cloth, detail), lit, scale=1 / 160), _SHOULDER)
    chroma = float(light.chroma[k])
    if chroma < 1:  # a grey picture stays grey
        texture = cv2.transform(texture, chroma * np.eye(3) + (1 - chroma) * np.tile(mask_light.GREY, (3, 1)))

    to_lattice = place.to_lattice[k].copy()
    to_lattice[:, 2] += to_lattice[:, :2] @ corner
    nodes = place.lattice[k] * np.array([0.5 * (detail - 1), detail - 1], np.float32)
    nodes[..., 0] += 0.5 * (detail - 1)
    if detail > mask_cloth.SMALL:  # OpenCV's warp knows 32 steps between two nodes: fine nodes for fine pictures
        finer = detail / len(nodes)
        nodes = cv2.resize(nodes, (detail, detail), interpolation=cv2.INTER_CUBIC)
        to_lattice = to_lattice * finer
        to_lattice[:, 2] += 0.5 * finer - 0.5
    at = cv2.warpAffine(
        nodes, to_lattice, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
    )
    return cv2.remap(texture, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


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
            cv2.fillPoly(layer, [_sixteenths(head - corner)], 0, cv2.LINE_AA, 4)


def _noise(size: tuple[int, int], draw: float) -> np.ndarray:
    """Grain for a part of a picture, from one large tile."""
    width, height = size
    x, y = int(draw * 61 * _NOISE_SIDE) % _NOISE_SIDE, int(draw * _NOISE_SIDE)
    tile = _NOISE
    if max(x + width, y + height) > len(tile):
        tile = np.tile(tile, (1 + (y + height) // len(tile), 1 + (x + width) // len(tile), 1))
    return tile[y : y + height, x : x + width]
