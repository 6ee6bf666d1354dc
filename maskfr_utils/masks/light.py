"""The light a face is in, and the sharpness and grain of its picture: what a mask must share to belong there.

The brightness of skin at some forty places of the face is fitted by a linear function of the surface normal, which is
the first two orders of a spherical harmonic (Basri and Jacobs 2003): direction and softness of the light. The exposure
follows skin and picture together, the colour cast half the skin's deviation from the usual.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from maskfr_utils.faces.align import FACE_SIZE
from maskfr_utils.faces.pose import follow

SMALL = 28  # side of its thumbnail
_EYES, _MIDDLE = 35.2, np.array([55.9, 51.6])  # eye distance and their middle in aligned faces

# Skin whose brightness tells the light: cheeks, chin, nose, forehead; not eyes, nostrils, lips.
_SKIN = np.array(
    [(x * s, y) for x, y in [(0.18, 0.30), (0.42, 0.42), (0.62, 0.36), (0.82, 0.38), (0.52, 0.62), (0.74, 0.62)] for s in (-1, 1)]
    + [(x * s, y) for x, y in [(0.92, 0.66), (0.66, 0.88), (0.84, 0.92), (0.76, 1.12), (0.48, 1.36), (0.24, 1.5)] for s in (-1, 1)]
    + [(x * s, y) for x, y in [(0.2, -0.42), (0.5, -0.48), (0.1, 0.5)] for s in (-1, 1)]
    + [(0, 0.1), (0, 0.25), (0, 0.42), (0, -0.4), (0, 1.48), (0, 0.82)]
)  # fmt: skip


def _skin_samples() -> tuple[np.ndarray, np.ndarray]:
    """Points (n, 3) of skin and their outward normals; an ellipsoid stands for the face where only its light matters."""
    xy = _SKIN
    x, y = xy[:, 0] / 1.25, (xy[:, 1] - 0.6) / 1.75
    z = np.sqrt(np.maximum(1 - x**2 - y**2, 0.02))
    normals = np.stack([x / 1.25, y / 1.75, z / 1.3], 1)
    return np.stack([xy[:, 0], xy[:, 1], 1.3 * z - 0.9], 1), normals / np.linalg.norm(normals, axis=1, keepdims=True)


@dataclass(frozen=True)
class Light:
    """The light of n faces.

    Attributes:
        shading: (n, 6) brightness (about 1) is its product with (normal in head coordinates, 1, sheen of light from the left
            and from the right).
        gain: (n, 3) exposure and colour cast: what RGB is multiplied by.
        chroma: (n,) 0 a grey picture, 1 a coloured one.
        skin: (n, 3) RGB, 0..255.
        small: (n, SMALL, SMALL, 3) uint8 thumbnails of the aligned faces.
    """

    shading: np.ndarray
    gain: np.ndarray
    chroma: np.ndarray
    skin: np.ndarray
    small: np.ndarray


_SKIN_POINTS, _SKIN_NORMALS = _skin_samples()
_SKIN_PLACES = follow(_SKIN_POINTS).astype(np.float32)
_MEAN_NORMAL = _SKIN_NORMALS.mean(0)
_CENTRED = _SKIN_NORMALS - _MEAN_NORMAL
# Ridge regression of brightness on the normal; depth hardly varies over a face, so its slope is held shorter. The weights,
# like the levels, limits and the usual colour of skin below, were set by hand: no data that they were fitted to are recorded.
_SLOPE = np.linalg.solve(_CENTRED.T @ _CENTRED + np.diag([1.0, 1.0, 4.0]), _CENTRED.T).astype(np.float32)
GREY = np.array([0.299, 0.587, 0.114], np.float32)
_USUAL_SKIN = np.array([1.33, 1.0, 0.80])  # red, green, blue over green


def estimate_light(faces: np.ndarray, points: np.ndarray) -> Light:
    """Estimates the light of aligned faces (n, 112, 112, 3) uint8 with landmarks (n, 68, 2)."""
    n = len(faces)
    small = np.array([cv2.resize(face, (SMALL, SMALL), interpolation=cv2.INTER_AREA) for face in faces])
    at = (np.matmul(_SKIN_PLACES, points) * (SMALL / FACE_SIZE)).clip(0, SMALL - 1).astype(int)
    samples = small[np.arange(n)[:, None], at[..., 1], at[..., 0]].astype(np.float32)  # (n, places, 3)
    grey = samples @ GREY
    middle = np.maximum(np.median(grey, axis=1), 6.0)
    relative = (grey / middle[:, None]).clip(0.4, 1.6)  # hair, glasses and highlights are no light
    direction = 0.85 * np.matmul(_SLOPE, (relative - relative.mean(1, keepdims=True))[..., None])[..., 0]
    # A mask hangs steeper than the chin below it, and is never quite without form.
    direction = direction.clip(-0.8, 0.8) * np.array([1, 0.6, 1], np.float32) + np.array([0, -0.06, 0.16], np.float32)
    skin = np.median(samples, axis=1)
    whole = small.reshape(n, -1, 3).astype(np.float32)
    bright = np.partition(whole @ GREY, -40, axis=1)[:, -40]
    # White in the picture (its brightest twentieth) at 235 and skin at 165 are a level of 1.
    level = (0.55 * bright / 235 + 0.45 * np.minimum(middle / 165, 1.15)).clip(0.12, 1.08)
    chroma = (np.abs(whole[..., 1:] - whole[..., :-1]).mean((1, 2)) / 5).clip(0, 1)
    ratio = (skin + 4) / (skin[:, 1:2] + 4)
    cast = (np.sqrt(ratio / _USUAL_SKIN).clip(0.82, 1.22) - 1) * chroma[:, None] + 1
    cast /= (cast @ GREY)[:, None]
    ambient = 1 - np.matmul(direction, _MEAN_NORMAL.astype(np.float32))
    sheen = 0.10 + 0.5 * np.maximum(direction[:, :1] * np.array([-1, 1], np.float32), 0)
    shading = np.concatenate([direction, ambient[:, None], sheen], 1)
    return Light(shading, level[:, None] * cast, chroma, skin, small)


def blur_and_grain(pictures: list[np.ndarray], eyes: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sharpness (sigma of the blur, pixels) and noise (standard deviation, grey levels) of n faces.

    Args:
        pictures: n pictures (height, width, 3) uint8, of any size, with a face each.
        eyes: (n, 2) the middle between its eyes, pixels.
        scale: (n,) its eye distance, pixels.
    """
    measured = [_detail(_face(*face)) for face in zip(pictures, eyes.tolist(), scale.tolist(), strict=True)]
    blur = np.interp([ratio for ratio, _ in measured], _BLUR_RATIO, _BLUR_SIGMA)
    # Noise is what the flattest tenth of the face still shows.
    flat = np.partition(np.array([blocks for _, blocks in measured]), 14, axis=1)[:, 14]
    return blur, flat * (1.45 / 8)  # an eighth undoes `_detail`; 1.45 was set by hand


def _detail(grey: np.ndarray) -> tuple[float, np.ndarray]:
    """Detail finer than 1 pixel over detail of 1 to 2 pixels round the eyes; the finer in 144 blocks, eight times."""
    if min(grey.shape) < 16:
        return 0.84, np.zeros(144, np.uint8)
    fine = cv2.GaussianBlur(grey, (5, 5), 1.0)
    coarse = cv2.GaussianBlur(fine, (7, 7), 1.7)
    detail = cv2.absdiff(grey, fine)
    eyes = slice(len(grey) // 10, len(grey) // 2)
    ratio = cv2.norm(detail[eyes], cv2.NORM_L1) / max(cv2.norm(fine[eyes], coarse[eyes], cv2.NORM_L1), 1.0)
    return ratio, cv2.resize(cv2.multiply(detail, 8.0), (12, 12), interpolation=cv2.INTER_AREA).ravel()


def _face(image: np.ndarray, eyes: list[float], scale: float) -> np.ndarray:
    """The grey face from the brows to the chin, at most 512 pixels wide."""
    x, y = eyes
    unit = min(scale, 256.0)
    height, width = image.shape[:2]
    x0, x1 = max(0, int(x - unit)), min(width, int(x + unit))
    y0, y1 = max(0, int(y - 0.5 * unit)), min(height, int(y + 1.3 * unit))
    part = image[y0 : max(y1, y0), x0 : max(x1, x0)]
    return cv2.cvtColor(np.ascontiguousarray(part), cv2.COLOR_RGB2GRAY) if part.size else part[..., 0]


# Blurring sharp faces by a known sigma gave these ratios; which faces is not recorded. Tried again on 300 aligned faces of
# `pins`, blurred by 0.8, 1, 1.5, 2 and 3 pixels, the table gives a median of 0.73, 0.87, 1.29, 1.65 and 2.32: 10 to 20% less.
_BLUR_RATIO = (0.437, 0.490, 0.538, 0.622, 0.681, 0.839, 0.967)
_BLUR_SIGMA = (3.0, 2.0, 1.5, 1.0, 0.8, 0.5, 0.0)


def thumbnail(photo: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The aligned face and its landmarks: what the light is estimated from; black where there is no face."""
    left, right = points[36:42].mean(0), points[42:48].mean(0)
    middle, across = (left + right) / 2, right - left
    length = float(np.hypot(*across))
    if not 1 < length < 1e5:
        return np.zeros((FACE_SIZE, FACE_SIZE, 3), np.uint8), np.zeros((68, 2))
    scale = _EYES / length
    turn = np.array([[across[0], across[1]], [-across[1], across[0]]]) * scale / length
    offset = _MIDDLE - turn @ middle
    # A large face is first brought near to the right size by area means, lest it alias.
    low = np.floor(middle - 100 / scale).clip(0, photo.shape[1::-1]).astype(int)
    high = np.ceil(middle + 100 / scale).clip(0, photo.shape[1::-1]).astype(int)
    part = photo[low[1] : high[1], low[0] : high[0]]
    if not part.size:
        return np.zeros((FACE_SIZE, FACE_SIZE, 3), np.uint8), points @ turn.T + offset
    shrink = min(1.0, 2 * scale)
    size = [max(1, round(s * shrink)) for s in part.shape[1::-1]]
    grow = np.array(part.shape[1::-1]) / size
    matrix = np.c_[turn * grow, offset + turn @ low]
    part = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
    return cv2.warpAffine(
        part, matrix, (FACE_SIZE, FACE_SIZE), borderMode=cv2.BORDER_REPLICATE
    ), points @ turn.T + offset
