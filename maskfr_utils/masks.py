"""Virtual masks: drawn on aligned faces or on whole photos, fitted to 68 landmarks (iBUG order) and to the light.

    >>> masked = mask_faces(faces, seed=1)
    >>> masked.images[masked.ok]

A mask is placed by `mask_shapes` (pose up to the profile), looks as `mask_styles` draws it, and is lit as the face
below it is: brightness and its direction are fitted to the skin (a linear function of the surface normal, the first
two orders of a spherical harmonic), colour cast, sharpness and grain measured in the picture. Every face is drawn by
its own numbers, derived from the seed and the picture's bytes, whatever batch it comes in.
"""

import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from maskfr_utils import align, mask_shapes, mask_styles
from maskfr_utils.mask_shapes import KINDS
from maskfr_utils.mask_styles import Look, Style, load_styles

__all__ = ["KINDS", "MaskedFaces", "MaskedPhoto", "Style", "load_styles", "mask_faces", "mask_photo"]

SIZE = 112
_SMALL = 28  # side of the thumbnail whose colours tell the light
_CHUNK = 128  # faces placed at once: memory stays small, results do not depend on it
_THUMB_EYES, _THUMB_MIDDLE = 35.2, np.array([55.9, 51.6])  # eye distance and their middle in aligned faces
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
        kinds: (N,) str; "" where `ok` is False.
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
        kinds: (n,) str; "" where `ok` is False.
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
        plan = _plan(here, images[part], here, draws, styles)
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
    """Masks every face of a photo, in the photo's own pixels.

    Args:
        photo: (height, width, 3) uint8 RGB.
        style: as for `mask_faces`.
        seed: the masks depend on style, seed, landmarks and the photo's bytes alone.
        landmarks: (n, 68, 2) of the faces to mask; found by `align.detect` where None.

    Raises:
        ValueError: wrong shape or dtype, or an unknown style.
    """
    photo = np.asarray(photo)
    if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3 or not photo.size:
        raise ValueError(f"a photo must be (height, width, 3) uint8 RGB, got {photo.shape} {photo.dtype}")
    styles = mask_styles.resolve(style)
    if landmarks is None:
        landmarks = [align.landmarks68(photo, box) for box in align.detect(photo)]
    points = np.array(landmarks, np.float32).reshape(-1, 68, 2)
    points = points[np.argsort(np.ptp(points[..., 0], axis=1), kind="stable")]  # the nearest face is drawn last
    n = len(points)
    image = np.array(photo, order="C")
    coverage, alpha = np.zeros(photo.shape[:2], bool), np.zeros(photo.shape[:2], np.uint8)
    ok, kinds = np.zeros(n, bool), np.full(n, "", f"<U{max(map(len, KINDS))}")
    if n:
        whole = zlib.crc32(image)
        draws = _draws(seed, [zlib.crc32(p.tobytes(), whole) for p in points])
        thumbs = [_thumbnail(photo, p) for p in points]
        thumb_points = np.array([p for _, p in thumbs], np.float32)
        plan = _plan(points, np.array([t for t, _ in thumbs]), thumb_points, draws, styles)
        for k in np.flatnonzero(plan.place.ok):
            ok[k] = _paint(image, coverage, alpha, plan, int(k), in_front=points[k + 1 :])
            kinds[k] = plan.looks[k].cloth.kind if ok[k] else ""
    boxes = np.concatenate([points.min(1), points.max(1)], 1) if n else np.zeros((0, 4), np.float32)
    return MaskedPhoto(image, boxes, ok, coverage, kinds, points, alpha)


# ---- light --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Light:
    shading: np.ndarray  # (n, 4) brightness (about 1) = shading @ (normal in head coordinates, 1)
    gain: np.ndarray  # (n, 3) brightness and colour cast
    chroma: np.ndarray  # (n,) 0 a grey picture, 1 a coloured one
    skin: np.ndarray  # (n, 3) RGB
    small: np.ndarray  # (n, _SMALL, _SMALL, 3)


_SKIN_POINTS, _SKIN_NORMALS = mask_shapes.skin_samples()
_SKIN_PLACES = mask_shapes.follow(_SKIN_POINTS).astype(np.float32)
_MEAN_NORMAL = _SKIN_NORMALS.mean(0)
_CENTRED = _SKIN_NORMALS - _MEAN_NORMAL
# Ridge regression of brightness on the normal; depth hardly varies over a face, so its slope is held shorter.
_SLOPE = np.linalg.solve(_CENTRED.T @ _CENTRED + np.diag([1.0, 1.0, 4.0]), _CENTRED.T).astype(np.float32)
_GREY = np.array([0.299, 0.587, 0.114], np.float32)


def _light(faces: np.ndarray, points: np.ndarray) -> _Light:
    n = len(faces)
    small = np.array([cv2.resize(face, (_SMALL, _SMALL), interpolation=cv2.INTER_AREA) for face in faces])
    at = np.nan_to_num(np.matmul(_SKIN_PLACES, points) * (_SMALL / SIZE)).clip(0, _SMALL - 1).astype(int)
    samples = small[np.arange(n)[:, None], at[..., 1], at[..., 0]].astype(np.float32)  # (n, places, 3)
    grey = samples @ _GREY
    middle = np.maximum(np.median(grey, axis=1), 6.0)
    relative = (grey / middle[:, None]).clip(0.4, 1.6)  # hair, glasses and highlights are no light
    direction = 0.85 * np.matmul(_SLOPE, (relative - relative.mean(1, keepdims=True))[..., None])[..., 0]
    direction = direction.clip(-0.8, 0.8) + np.array([0.0, -0.14, 0.26], np.float32)
    skin = np.median(samples, axis=1)
    whole = small.reshape(n, -1, 3).astype(np.float32)
    bright = np.partition(whole @ _GREY, -40, axis=1)[:, -40]
    level = (0.55 * bright / 235 + 0.45 * np.minimum(middle / 165, 1.15)).clip(0.12, 1.08)
    chroma = (np.abs(np.diff(whole, axis=2)).mean((1, 2)) / 5).clip(0, 1)
    ratio = (skin + 4) / (skin[:, 1:2] + 4)
    cast = (np.sqrt(ratio / np.array([1.33, 1.0, 0.80])).clip(0.82, 1.22) - 1) * chroma[:, None] + 1
    cast /= (cast @ _GREY)[:, None]
    ambient = 1 - np.matmul(direction, _MEAN_NORMAL.astype(np.float32))
    shading = np.concatenate([direction, ambient[:, None]], 1)
    return _Light(shading, level[:, None] * cast, chroma, skin, small)


def _blur_and_grain(grey: np.ndarray) -> tuple[float, float]:
    """Sharpness (sigma of the blur, pixels) and noise (standard deviation, grey levels) of `_face_region`."""
    if min(grey.shape) < 16:
        return 0.5, 0.0
    fine = cv2.GaussianBlur(grey, (5, 5), 1.0)
    coarse = cv2.GaussianBlur(fine, (7, 7), 1.7)
    detail = cv2.absdiff(grey, fine)
    eyes = slice(len(grey) // 10, len(grey) // 2)
    ratio = cv2.norm(detail[eyes], cv2.NORM_L1) / max(cv2.norm(fine[eyes], coarse[eyes], cv2.NORM_L1), 1.0)
    # Noise is what the flattest tenth of the face still shows.
    flat = cv2.resize(cv2.multiply(detail, 8.0), (12, 12), interpolation=cv2.INTER_AREA).ravel()
    return float(np.interp(ratio, _BLUR_RATIO, _BLUR_SIGMA)), 1.45 / 8 * float(np.partition(flat, 14)[14])


# Blurring sharp faces by a known sigma gave these: detail finer than 1 pixel over detail of 1 to 2 pixels.
_BLUR_RATIO = (0.437, 0.490, 0.538, 0.622, 0.681, 0.839, 0.967)
_BLUR_SIGMA = (3.0, 2.0, 1.5, 1.0, 0.8, 0.5, 0.0)


# ---- what is drawn ------------------------------------------------------------------------------------------------


def _draws(seed: int, pictures: list[int]) -> np.ndarray:
    """(n, 16) numbers in [0, 1) from the seed and the pictures' checksums."""
    key = str(int(seed)).encode()
    digests = b"".join(hashlib.blake2b(key + b"/%d" % picture).digest() for picture in pictures)
    return np.frombuffer(digests, "<u4").reshape(-1, 16) / 2.0**32


@dataclass(frozen=True)
class _Plan:
    looks: list[Look]
    place: mask_shapes.Placement
    outline: np.ndarray  # (n, points, 2) int, sixteenths of a pixel, as OpenCV draws
    ribbons: np.ndarray  # (n, 4, points, 2) int, sixteenths
    seen: np.ndarray  # (n, 4) bool, which straps are drawn
    corners: np.ndarray  # (n, 2, 2) pixels: upper left and lower right of all that is drawn
    eyes: np.ndarray  # (n, 2, 6, 2) int, sixteenths
    light: _Light
    draws: np.ndarray


def _plan(
    points: np.ndarray,
    thumbs: np.ndarray,
    thumb_points: np.ndarray,
    draws: np.ndarray,
    styles: tuple[list[Style], list[float]],
) -> _Plan:
    looks = [mask_styles.choose(*styles, d) for d in draws.tolist()]
    shapes = [mask_shapes.shape(look.cloth.kind, look.wear) for look in looks]
    # How it was put on: a little off centre and turned, as people do.
    shift = ((draws[:, 8:11] + draws[:, 11:14] - 1) * (0.045, 0.045, 0.05)).astype(np.float32)
    place = mask_shapes.place(np.stack([s.net for s in shapes]), np.stack([s.rigid for s in shapes]), points, shift)
    light = _light(thumbs, thumb_points)

    n = len(points)
    matrices = np.stack([s.straps for s in shapes])
    points = np.where(place.ok[:, None, None], points, 0)
    curves = np.matmul(matrices, points[:, None, None])  # (n, side, 2, STRAP_POINTS, 2)
    # The head hides a strap whose end does not lie outward of its start.
    outward = np.matmul(curves[..., -1, :] - curves[..., 0, :], place.right[:, None, :, None])[..., 0]
    last = _last_on_skin(np.matmul(matrices, thumb_points[:, None, None]).reshape(n, 4, -1, 2), light)
    seen = (outward * np.array([[-1], [1]]) > 0.08 * place.scale[:, None, None]).reshape(n, 4)
    seen &= (last >= 4) & np.array([s.has_straps for s in shapes])[:, None]
    width = np.array([_STRAP_WIDTH.get(look.cloth.kind, 0.036) for look in looks]) * np.maximum(place.scale, 20)
    ribbons = _ribbons(curves.reshape(n, 4, -1, 2), last, width[:, None, None, None])
    outline = _sixteenths(place.outline)
    ribbons = np.where(seen[..., None, None], _sixteenths(ribbons), outline[:, None, :1])
    everything = np.concatenate([outline, ribbons.reshape(n, -1, 2)], 1)
    corners = np.stack([everything.min(1), everything.max(1)], 1) / 16
    eyes = _sixteenths(np.stack([points[:, eye] for eye in _EYES], 1))
    return _Plan(looks, place, outline, ribbons, seen, corners, eyes, light, draws)


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


def _last_on_skin(curves: np.ndarray, light: _Light) -> np.ndarray:
    """Index of the last point of each strap (n, 4, points, 2), thumbnail pixels, before hair or background begins."""
    x, y = np.moveaxis((np.nan_to_num(curves) * (_SMALL / SIZE)).clip(0, _SMALL - 1).astype(int), -1, 0)
    colours = light.small[np.arange(len(curves))[:, None, None], y, x].astype(np.float32)
    skin = light.skin[:, None, None]
    grey, skin_grey = colours @ _GREY + 4, skin @ _GREY + 4
    tint = np.abs((colours[..., 0] - colours[..., 2]) / grey - (skin[..., 0] - skin[..., 2]) / skin_grey)
    off = (grey < 0.42 * skin_grey) | (grey > 1.6 * skin_grey) | (tint > 0.35)
    off[..., :4] = False
    return np.where(off.any(-1), off.argmax(-1) - 1, off.shape[-1] - 1)


def _thumbnail(photo: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The aligned face and its landmarks: what the light is estimated from; black where there is no face."""
    left, right = points[36:42].mean(0), points[42:48].mean(0)
    middle, across = (left + right) / 2, right - left
    length = float(np.hypot(*across))
    if not 1 < length < 1e5:
        return np.zeros((SIZE, SIZE, 3), np.uint8), np.zeros((68, 2))
    scale = _THUMB_EYES / length
    turn = np.array([[across[0], across[1]], [-across[1], across[0]]]) * scale / length
    offset = _THUMB_MIDDLE - turn @ middle
    # A large face is first brought near to the right size by area means, lest it alias.
    low = np.floor(middle - 100 / scale).clip(0, photo.shape[1::-1]).astype(int)
    high = np.ceil(middle + 100 / scale).clip(0, photo.shape[1::-1]).astype(int)
    part = photo[low[1] : high[1], low[0] : high[0]]
    if not part.size:
        return np.zeros((SIZE, SIZE, 3), np.uint8), points @ turn.T + offset
    shrink = min(1.0, 2 * scale)
    size = [max(1, round(s * shrink)) for s in part.shape[1::-1]]
    grow = np.array(part.shape[1::-1]) / size
    matrix = np.c_[turn * grow, offset + turn @ low]
    part = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
    return cv2.warpAffine(part, matrix, (SIZE, SIZE), borderMode=cv2.BORDER_REPLICATE), points @ turn.T + offset


# ---- paint --------------------------------------------------------------------------------------------------------

_STRAP_WIDTH = {"n95": 0.06, "respirator": 0.06}  # eye distances; ear loops are thinner
_NOISE = cv2.GaussianBlur(np.random.default_rng(5).normal(0, 1, (256, 256, 3)).astype(np.float32), (3, 3), 0.45)
_NOISE = 0.55 * _NOISE + 0.45 * _NOISE.mean(2, keepdims=True) * 3**0.5
_NOISE = np.clip(128 + 32 * _NOISE / _NOISE.std(), 0, 255).astype(np.uint8)


def _paint(
    image: np.ndarray, coverage: np.ndarray, opacity: np.ndarray, plan: _Plan, k: int, in_front: np.ndarray = ()
) -> bool:
    """Draws mask `k` of the plan into the picture, its coverage and opacity; False if hardly any of it is inside."""
    look, scale = plan.looks[k], float(plan.place.scale[k])
    blur, grain = _blur_and_grain(_face_region(image, plan.eyes[k], scale))
    soft = max(blur, 0.45)

    # The part of the picture that may change.
    reach = max(1, round(0.06 * scale))  # of the shadow
    spread = reach + (1 if soft <= 0.6 else 4 * soft) + 1
    height, width = image.shape[:2]
    x0, y0 = np.floor(plan.corners[k, 0] - spread).clip(0, (width, height)).astype(int).tolist()
    x1, y1 = np.ceil(plan.corners[k, 1] + spread + 1).clip(0, (width, height)).astype(int).tolist()
    if x1 - x0 < 4 or y1 - y0 < 4:
        return False
    corner, size = np.array([x0, y0], np.int32), (x1 - x0, y1 - y0)
    region = (slice(y0, y1), slice(x0, x1))

    ribbons = list(plan.ribbons[k, plan.seen[k]] - 16 * corner)
    alpha = _fill([plan.outline[k] - 16 * corner, *ribbons], size, scale)
    if cv2.countNonZero(alpha) < _MIN_AREA * scale**2:
        return False
    drawn = _lit_weave(look, plan, k, corner, size)
    if ribbons:
        body = cv2.fillPoly(np.zeros_like(alpha), [plan.outline[k] - 16 * corner], 255, cv2.LINE_8, 4)
        strapped = drawn.copy()
        strap = np.minimum(0.94 * plan.light.gain[k] * look.strap, 250).tolist()
        for ribbon in ribbons:
            cv2.fillPoly(strapped, [ribbon], strap, cv2.LINE_8, 4)
            cv2.polylines(strapped, [ribbon], True, strap, 1, cv2.LINE_8, 4)
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
    _keep_free(alpha, shadow, plan.eyes[k], in_front, corner, scale)
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


def _fill(polygons: list[np.ndarray], size: tuple[int, int], scale: float) -> np.ndarray:
    """Coverage 0..255 of polygons (sixteenths of a pixel): drawn on a finer grid, then the mean (OpenCV's own is coarse)."""
    times = 4 if scale < 100 else 2 if scale < 500 else 1
    canvas = np.zeros((size[1] * times, size[0] * times), np.uint8)
    for polygon in polygons:  # one by one: where two overlap, OpenCV would leave a hole
        cv2.fillPoly(canvas, [polygon * times + 8 * (times - 1)], 255, cv2.LINE_8 if times > 1 else cv2.LINE_AA, 4)
    return cv2.resize(canvas, size, interpolation=cv2.INTER_AREA) if times > 1 else canvas


def _lit_weave(look: Look, plan: _Plan, k: int, corner: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The lit mask over a part of the picture (size: width, height), uint8 RGB; outside of the mask it is arbitrary."""
    cloth, place, light = look.cloth, plan.place, plan.light
    if cloth.kind == "inpaint":
        return np.full((*size[::-1], 3), cloth.colour, np.uint8)
    scale = float(place.scale[k])
    # The texture is a bit finer than the pixels; aligned faces share one size, so that it can be kept.
    detail = 96 if scale < 50 else min(1024, 1 << int(np.ceil(np.log2(2.4 * scale))))
    surface = mask_shapes.surface(cloth.kind, look.wear, detail, cloth.variant, cloth.valve)
    lit = surface @ np.outer(light.shading[k], 160 * light.gain[k]).astype(np.float32)
    lit = cv2.convertScaleAbs(cv2.max(lit, 20.0)).reshape(detail, detail, 3)
    texture = (mask_styles.small_weave if detail == 96 else mask_styles.weave)(cloth, detail)
    texture = cv2.multiply(texture, lit, scale=1 / 160)
    chroma = float(light.chroma[k])
    if chroma < 1:  # a grey picture stays grey
        texture = cv2.transform(texture, chroma * np.eye(3) + (1 - chroma) * np.tile(_GREY, (3, 1)))

    to_lattice = place.to_lattice[k].copy()
    to_lattice[:, 2] += to_lattice[:, :2] @ corner
    nodes = place.lattice[k] * np.array([0.5 * (detail - 1), detail - 1], np.float32)
    nodes[..., 0] += 0.5 * (detail - 1)
    if detail > 96:  # OpenCV's warp knows 32 steps between two nodes: fine nodes for fine pictures
        finer = detail / mask_shapes.LATTICE
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
    if eyes[..., 1].max() >= 16 * (corner[1] - margin - 2):
        for eye in eyes - 16 * corner:
            for layer in (alpha, shadow):
                cv2.fillPoly(layer, [eye], 0, cv2.LINE_AA, 4)
                cv2.polylines(layer, [eye], True, 0, 2 * margin + 1, cv2.LINE_AA, 4)
    for face in in_front:
        head = np.concatenate([face[:17], face[26:16:-1] - 0.55 * (face[8] - face[27])])
        for layer in (alpha, shadow):
            cv2.fillPoly(layer, [_sixteenths(head - corner)], 0, cv2.LINE_AA, 4)


def _face_region(image: np.ndarray, eyes: np.ndarray, scale: float) -> np.ndarray:
    """The grey face from the brows to the chin, at most 512 pixels wide, for `_blur_and_grain`."""
    x, y = eyes.reshape(-1, 2).mean(0) / 16
    unit = min(scale, 256.0)
    height, width = image.shape[:2]
    x0, x1 = max(0, int(x - unit)), min(width, int(x + unit))
    y0, y1 = max(0, int(y - 0.5 * unit)), min(height, int(y + 1.3 * unit))
    part = image[y0 : max(y1, y0), x0 : max(x1, x0)]
    return cv2.cvtColor(np.ascontiguousarray(part), cv2.COLOR_RGB2GRAY) if part.size else part[..., 0]


def _noise(size: tuple[int, int], draw: float) -> np.ndarray:
    """Grain for a part of a picture, from one large tile."""
    width, height = size
    side = len(_NOISE)
    x, y = int(draw * 61 * side) % side, int(draw * side)
    tile = _NOISE
    if max(x + width, y + height) > side:
        tile = np.tile(_NOISE, (1 + (y + height) // side, 1 + (x + width) // side, 1))
    return np.ascontiguousarray(tile[y : y + height, x : x + width])
