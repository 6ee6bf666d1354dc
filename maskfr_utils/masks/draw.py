"""Masks drawn on aligned faces, and on whole photos."""

import zlib
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from maskfr_utils.faces import align
from maskfr_utils.faces.align import FACE_SIZE
from maskfr_utils.faces.pictures import PictureError
from maskfr_utils.masks import chance, jpeg
from maskfr_utils.masks.kinds import KINDS
from maskfr_utils.masks.light import thumbnail
from maskfr_utils.masks.paint import paint
from maskfr_utils.masks.plan import make_plan
from maskfr_utils.masks.shapes import COARSE, FINE
from maskfr_utils.masks.styles import StyleLike, resolve

CHUNK = 128  # faces placed at once: memory stays small, results do not depend on it


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
    faces: np.ndarray,
    landmarks: np.ndarray | None = None,
    *,
    style: StyleLike = "random",
    seed: int = 0,
    checksums: np.ndarray | None = None,
) -> MaskedFaces:
    """Draws a mask on each aligned face.

    Args:
        faces: (N, 112, 112, 3) uint8 RGB.
        landmarks: (N, 68, 2) pixel (x, y); predicted where None or NaN.
        style: "random", the name of a style, a style file, a `Style`, or a mapping of these to their shares.
        seed: the mask of a picture depends on style, seed, landmarks and the picture's bytes alone.
        checksums: (N,) uint32, by which masks are drawn instead of by those of the pictures; for pictures whose last bits
            hang on the processor.

    Raises:
        ValueError: wrong shape or dtype, or an unknown style.
    """
    faces = np.asarray(faces)
    if faces.dtype != np.uint8 or faces.ndim != 4 or faces.shape[1:] != (FACE_SIZE, FACE_SIZE, 3):
        raise ValueError(f"faces must be (N, {FACE_SIZE}, {FACE_SIZE}, 3) uint8 RGB, got {faces.shape} {faces.dtype}")
    n = len(faces)
    points = np.full((n, 68, 2), np.nan, np.float32) if landmarks is None else np.asarray(landmarks)
    if points.shape != (n, 68, 2):
        raise ValueError(f"landmarks must be ({n}, 68, 2), got {points.shape}")
    points = align.completed(points, faces.__getitem__)
    styles = resolve(style)
    images = np.array(faces, order="C")
    if checksums is None:
        checksums = np.array([zlib.crc32(image) for image in images], np.uint32)
    if len(checksums) != n:
        raise ValueError(f"there must be {n} checksums, one a face, got {len(checksums)}")
    coverage = np.zeros((n, FACE_SIZE, FACE_SIZE), bool)
    alpha = np.zeros((n, FACE_SIZE, FACE_SIZE), np.uint8)
    ok = np.zeros(n, bool)
    kinds = np.full(n, "", f"<U{max(map(len, KINDS))}")
    for start in range(0, n, CHUNK):
        part = slice(start, start + CHUNK)
        draws = chance.draw(seed, checksums[part])
        here = points[part]
        plan = make_plan(images[part], here, images[part], here, draws, styles, COARSE)
        for k, i in enumerate(range(start, min(start + CHUNK, n))):
            if plan.place.ok[k]:
                ok[i] = paint(images[i], coverage[i], alpha[i], plan, k)
            if ok[i]:
                kinds[i] = plan.looks[k].cloth.kind
    return MaskedFaces(images, coverage, ok, kinds, alpha)


def mask_photo(
    photo: np.ndarray, *, style: StyleLike = "random", seed: int = 0, landmarks: np.ndarray | None = None
) -> MaskedPhoto:
    """Masks every face of a photo, in the photo's own pixels, and with its own JPEG traces where it was a JPEG file.

    Args:
        photo: (height, width, 3) uint8 RGB.
        style: as for `mask_faces`.
        seed: the masks depend on style, seed, landmarks and the photo's bytes alone.
        landmarks: (n, 68, 2) of the faces to mask; found by `find_landmarks` where None, and none where that cannot
            tell which way up a face is.

    Raises:
        ValueError: wrong shape or dtype, or an unknown style.
    """
    photo = np.asarray(photo)
    if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3 or not photo.size:
        raise ValueError(f"a photo must be (height, width, 3) uint8 RGB, got {photo.shape} {photo.dtype}")
    styles = resolve(style)
    if landmarks is None:
        with suppress(PictureError):
            landmarks = find_landmarks(photo)
    points = np.array([] if landmarks is None else landmarks, np.float32).reshape(-1, 68, 2)
    points = points[np.argsort(np.ptp(points[..., 0], axis=1), kind="stable")]  # the nearest face is drawn last
    n = len(points)
    image = np.array(photo, order="C")
    coverage, alpha = np.zeros(photo.shape[:2], bool), np.zeros(photo.shape[:2], np.uint8)
    ok, kinds = np.zeros(n, bool), np.full(n, "", f"<U{max(map(len, KINDS))}")
    if n:
        whole = zlib.crc32(image)
        draws = chance.draw(seed, [zlib.crc32(p.tobytes(), whole) for p in points])
        thumbs = [thumbnail(photo, p) for p in points]
        thumb_points = np.array([p for _, p in thumbs], np.float32)
        plan = make_plan([photo] * n, points, np.array([t for t, _ in thumbs]), thumb_points, draws, styles, FINE)
        for k in np.flatnonzero(plan.place.ok):
            ok[k] = paint(image, coverage, alpha, plan, int(k), in_front=points[k + 1 :][plan.place.ok[k + 1 :]])
            kinds[k] = plan.looks[k].cloth.kind if ok[k] else ""
        jpeg.match(image, photo, coverage)
    boxes = np.concatenate([points.min(1), points.max(1)], 1) if n else np.zeros((0, 4), np.float32)
    return MaskedPhoto(image, boxes, ok, coverage, kinds, points, alpha)


def find_landmarks(photo: np.ndarray) -> np.ndarray:
    """Landmarks (n, 68, 2) float32 of the faces of a photo (height, width, 3), which may lie on its side or stand on its head.

    Raises:
        PictureError: which way up a face is cannot be told.
    """
    height, width = photo.shape[:2]
    quarter, boxes = align.detect_upright(photo)
    if not boxes:
        return np.zeros((0, 68, 2), np.float32)
    turned = np.ascontiguousarray(np.rot90(photo, quarter))
    x, y = np.moveaxis(np.array([align.landmarks68(turned, box) for box in boxes], np.float32), -1, 0)
    back = [(x, y), (width - 1 - y, x), (width - 1 - x, height - 1 - y), (y, height - 1 - x)][quarter]
    return np.stack(back, -1)
