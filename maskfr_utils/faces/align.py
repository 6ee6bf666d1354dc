"""Alignment: from a photo to the 112 x 112 face that every network here expects.

Detection and the 68 landmarks are dlib's (HOG detector; the iBUG 300-W predictor of Kazemi and Sullivan 2014, carried
by the package face-recognition-models). The alignment is ArcFace's: the similarity transform that brings eye centres,
nose tip and mouth corners closest to five fixed points (Deng et al. 2019; least squares after Umeyama 1991).

Coordinates are (x, y) in pixels, the centre of the top left pixel at (0, 0). Boxes are (left, top, right, bottom).
"""

import importlib.util
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from maskfr_utils.faces.pictures import PictureError

if TYPE_CHECKING:  # loaded where a face is looked for: those that come aligned, with landmarks, need no dlib
    import dlib

FACE_SIZE = 112
# Where the face lies in an aligned picture: the predictor needs a box, not a detection.
FACE_BOX = (15, 25, 97, 107)
TEMPLATE5 = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]], np.float32
)
# Detection runs at most at this size (longest side, pixels): time and memory are bounded, a face still has 80 pixels
# where it is a tenth of the picture.
DETECTION_SIZE = 800


@cache
def _detector() -> "dlib.fhog_object_detector":
    import dlib

    return dlib.get_frontal_face_detector()


@cache
def _predictor() -> "dlib.shape_predictor":
    import dlib

    # The package itself is never imported: its __init__ needs pkg_resources, which newer Pythons lack.
    spec = importlib.util.find_spec("face_recognition_models")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("the 68-point predictor is missing: pip install face-recognition-models")
    path = Path(spec.submodule_search_locations[0]) / "models" / "shape_predictor_68_face_landmarks.dat"
    if not path.is_file():
        raise ImportError(f"{path} is missing: reinstall face-recognition-models")
    return dlib.shape_predictor(str(path))


def _check_photo(photo: np.ndarray) -> np.ndarray:
    photo = np.asarray(photo)
    if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3 or not photo.size:
        raise ValueError(f"expected a photo (height, width, 3) of uint8 RGB, got {photo.shape} of {photo.dtype}")
    # Of a turned picture that is one pixel wide or high numpy keeps strides that dlib refuses; it is made anew in one row.
    return np.ascontiguousarray(photo).reshape(-1).reshape(photo.shape)


def detect(photo: np.ndarray, threshold: float = 0.0) -> list[tuple[int, int, int, int]]:
    """Find the faces of a photo, the largest and most central first.

    dlib's HOG detector on the photo brought to at most 800 pixels; where it finds nothing, once more at twice the size
    (it knows faces of 80 pixels and more only), then with a border of a sixth: in a tight crop it misses the
    surroundings (of 205 faces that fill the picture, 94% are found at once, 99% in the end). A doubtful box on the chest of
    a sure face is a badge or a print, one that overlaps it is its chin; both are dropped.

    Args:
        photo: (height, width, 3) uint8 RGB.
        threshold: least score of the detector. Below 0 it finds more faces under masks, and more that are none.

    Returns:
        Boxes (left, top, right, bottom) in pixels of the photo; may reach beyond its border. Empty without a face.
    """
    return _detect(photo, threshold)[0]


def _detect(photo: np.ndarray, threshold: float = 0.0) -> tuple[list[tuple[int, int, int, int]], list[float]]:
    """Boxes and their scores; see `detect`."""
    photo = _check_photo(photo)
    height, width = photo.shape[:2]
    shrink = min(1.0, DETECTION_SIZE / max(height, width))
    small = photo
    if shrink < 1:
        size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
        small = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
    for border, upsampling in ((0, 0), (0, 1), (max(small.shape[:2]) // 6, 1)):
        bordered = cv2.copyMakeBorder(small, *[border] * 4, cv2.BORDER_REPLICATE) if border else small
        found, scores, _ = _detector().run(bordered, upsampling, threshold)
        if found:
            break
    to_photo = np.array([width / small.shape[1], height / small.shape[0]] * 2)
    boxes = np.array([(b.left(), b.top(), b.right(), b.bottom()) for b in found]).reshape(-1, 4)
    boxes = (boxes - border) * to_photo
    kept = ~_of_a_sure_face(boxes, np.array(scores))
    boxes, scores = boxes[kept], np.array(scores)[kept]
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    offset = np.linalg.norm((centre - [width / 2, height / 2]) / [width, height], axis=1)  # 0 centre .. 0.71 corner
    order = np.argsort(-(boxes[:, 2] - boxes[:, 0]) * (1 - offset), kind="stable")
    return [tuple(int(v) for v in np.round(boxes[i])) for i in order], [float(scores[i]) for i in order]


_SURE, _DOUBTFUL = 1.0, 0.25  # scores of the detector
# Faces that stand on their head reach 0.86 at most where they are taken for upright ones, on 294 photos turned by quarters.
_FAIR, _LEAD, _CLOSE_LEAD = 0.5, 0.25, 0.2  # a score, and by how much it is above those of other quarters


def detect_upright(photo: np.ndarray, threshold: float = 0.0) -> tuple[int, list[tuple[int, int, int, int]]]:
    """Find the faces of a photo that may lie on its side or stand on its head, with no EXIF to tell.

    A sure face decides. Where there is none, the photo is searched in all four positions, and where these are close, or
    all scores low, the best face alone is looked at closely in all of them.

    Args:
        photo: (height, width, 3) uint8 RGB.
        threshold: least score of a face in the photo as it stands, as for `detect`; in other positions it is 0.

    Returns:
        How many quarter turns bring it upright (of `np.rot90`, 0 to 3), and the boxes in the turned photo, as `detect` gives
        them; 0 and no box where there is no face in any position.

    Raises:
        PictureError: there is a face, but which way up it is cannot be told.
    """
    photo = _check_photo(photo)
    found = {0: _detect(photo, threshold)}
    if max(found[0][1], default=-np.inf) >= _SURE:
        return 0, found[0][0]
    found |= {quarter: _detect(np.rot90(photo, quarter)) for quarter in (1, 2, 3)}
    best = {quarter: max(scores) for quarter, (_, scores) in found.items() if scores}
    if not best:
        return 0, []
    turn = max(best, key=best.__getitem__)
    boxes, scores = found[turn]
    second = max((score for quarter, score in best.items() if quarter != turn), default=-np.inf)
    if best[turn] < _FAIR or best[turn] - second < _LEAD:
        own, *others = _close_look(np.rot90(photo, turn), boxes[int(np.argmax(scores))])
        if own - max(others) < _CLOSE_LEAD:
            raise PictureError("which way up the face is cannot be told")
    return turn, boxes


def _close_look(photo: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """Scores (4,) of a face after none to three quarter turns: means over two close views, in which it has a fixed size."""
    left, top, right, bottom = box
    side, scores = 300, np.full((2, 4), -1.5)
    for view, margin in enumerate((2.2, 3.0)):
        zoom = side / (margin * max(1, right - left))
        middle = np.array([left + right, top + bottom]) / 2
        matrix = np.column_stack([np.eye(2) * zoom, side / 2 - zoom * middle])
        small, warp = _brought_down(photo, matrix, zoom)
        close = cv2.warpAffine(small, warp, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for quarter in range(4):
            turned = np.ascontiguousarray(np.rot90(close, quarter))
            for found, score, _ in zip(*_detector().run(turned, 0, -1.5), strict=True):
                off = abs(found.center().x - side / 2), abs(found.center().y - side / 2)
                if max(off) < side / 5:
                    scores[view, quarter] = max(scores[view, quarter], score)
    return scores.mean(0)


def _of_a_sure_face(boxes: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """(n,) bool: doubtful boxes (n, 4) as large as a sure face and one to four face heights below it, or a third or more inside it.

    Of 309 photos, 115 of people with real masks, three have one inside: all are chins and necks.
    """
    size = np.maximum(boxes[:, 2] - boxes[:, 0], 1)
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    right, below = np.moveaxis((centre[:, None] - centre) / size[:, None], -1, 0)  # of box i from face j
    place = (np.abs(right) < 1.5) & (below > 1) & (below < 4)
    alike = np.abs(np.log(size[:, None] / size)) < 0.5
    ends = np.minimum(boxes[:, None, 2:], boxes[:, 2:]) - np.maximum(boxes[:, None, :2], boxes[:, :2])
    inside = ends.clip(0).prod(-1) > size[:, None] * np.maximum(boxes[:, 3] - boxes[:, 1], 1)[:, None] / 3
    return (scores < _DOUBTFUL) & ((place & alike | inside) & (scores > _SURE)).any(1)


def landmarks68(image: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """The 68 landmarks of the face in a box.

    Args:
        image: (height, width, 3) uint8 RGB.
        box: (left, top, right, bottom) of the face, in pixels, as `detect` returns it.

    Returns:
        (68, 2) float32 (x, y) in the iBUG order; points may lie outside the picture.
    """
    import dlib

    shape = _predictor()(_check_photo(image), dlib.rectangle(*(int(v) for v in box)))
    return np.array([(p.x, p.y) for p in shape.parts()], np.float32)


def face_landmarks(faces: np.ndarray) -> np.ndarray:
    """The 68 landmarks of aligned faces: the predictor on a fixed box, no detection (about 0.4 ms a face).

    Args:
        faces: (N, 112, 112, 3) uint8 RGB.

    Returns:
        (N, 68, 2) float32 (x, y) in the iBUG order.
    """
    faces = np.asarray(faces)
    if faces.ndim != 4 or faces.shape[1:] != (FACE_SIZE, FACE_SIZE, 3) or faces.dtype != np.uint8:
        raise ValueError(f"expected faces (N, 112, 112, 3) of uint8, got {faces.shape} of {faces.dtype}")
    return np.array([landmarks68(face, FACE_BOX) for face in faces], np.float32).reshape(-1, 68, 2)


def completed(landmarks: np.ndarray, read: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Landmarks (N, 68, 2) float32 of aligned faces, predicted where some are NaN.

    Args:
        landmarks: (N, 68, 2) pixels (x, y).
        read: gives the faces (n, 112, 112, 3) uint8 RGB at n of the N places.
    """
    points = np.array(landmarks, np.float32)
    missing = np.flatnonzero(np.isnan(points).any((1, 2)))
    if len(missing):
        points[missing] = face_landmarks(read(missing))
    return points


def five_points(points68: np.ndarray) -> np.ndarray:
    """Eye centres, nose tip and mouth corners (..., 5, 2) of 68 iBUG landmarks (..., 68, 2), left of the image first."""
    points = np.asarray(points68, np.float32)
    eyes = [points[..., 36:42, :].mean(-2), points[..., 42:48, :].mean(-2)]
    return np.stack([*eyes, points[..., 30, :], points[..., 48, :], points[..., 54, :]], axis=-2)


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The rotation, scale and shift (2, 3) that brings source points closest to target points, in least squares.

    Written as complex numbers, z -> a z + b is exactly such a transform, and the fit is linear regression.

    Raises:
        ValueError: all source points coincide, or a coordinate is not finite.
    """
    source, target = np.asarray(source, float), np.asarray(target, float)
    if not (np.isfinite(source).all() and np.isfinite(target).all()):
        raise ValueError("no similarity transform: landmarks that are not finite")
    z, w = source[:, 0] + 1j * source[:, 1], target[:, 0] + 1j * target[:, 1]
    spread = z - z.mean()
    energy = (spread * spread.conj()).real.sum()
    if energy < 1e-9:
        raise ValueError("no similarity transform: the landmarks coincide")
    a = (spread.conj() * w).sum() / energy
    b = w.mean() - a * z.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def align_face(
    photo: np.ndarray, points: np.ndarray, *, return_transform: bool = False
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """Cut out the 112 x 112 face at given landmarks.

    A large face is first brought down by area averaging (`_brought_down`): sampling one pixel in ten gives aliasing.

    Args:
        photo: (height, width, 3) uint8 RGB.
        points: (5, 2) eye centres, nose tip, mouth corners, or (68, 2) iBUG landmarks; (x, y) in pixels.
        return_transform: also return the (2, 3) matrix from photo to face coordinates.

    Returns:
        The face (112, 112, 3) uint8 RGB; black where it reaches beyond the photo.

    Raises:
        ValueError: other shapes, coinciding or non-finite landmarks.
    """
    photo, points = _check_photo(photo), np.asarray(points, float)
    if points.shape not in ((5, 2), (68, 2)):
        raise ValueError(f"expected landmarks (5, 2) or (68, 2), got {points.shape}")
    matrix = similarity(five_points(points) if len(points) == 68 else points, TEMPLATE5)
    small, warp = _brought_down(photo, matrix, np.hypot(*matrix[:, 0]))
    face = cv2.warpAffine(small, warp, (FACE_SIZE, FACE_SIZE), flags=cv2.INTER_LINEAR)
    return (face, matrix) if return_transform else face


def _brought_down(photo: np.ndarray, matrix: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """A photo that a warp would shrink to less than half is halved by area averaging as far as twice the warp's resolution.

    `cv2.warpAffine` samples single pixels, whatever interpolation is asked for.

    Returns:
        The photo to warp, and the (2, 3) matrix for it in place of `matrix`.
    """
    small, to_small = photo, np.array([1.0, 1.0])
    if scale < 0.5:
        height, width = photo.shape[:2]
        size = (max(1, round(width * 2 * scale)), max(1, round(height * 2 * scale)))
        small = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
        to_small = np.array([size[0] / width, size[1] / height])
    # Pixel centres: x_small = (x + 0.5) * f - 0.5, hence x = x_small / f + (0.5 / f - 0.5).
    return small, np.column_stack([matrix[:, :2] / to_small, matrix[:, :2] @ (0.5 / to_small - 0.5) + matrix[:, 2]])
