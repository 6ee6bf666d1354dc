"""JPEG traces: the quality a photo was once saved at, read from its pixels, and the same traces for what is drawn on it.

JPEG rounds the coefficients of each 8 x 8 block's cosine transform to multiples of a step q, which the quality sets for
each frequency. So in a photo that was a JPEG file before, the mean of cos(2 pi c / q) over the coefficients c is near 1 for the
right steps, and near 0 for others and for pictures that were never compressed, or were resized since.
"""

import cv2
import numpy as np

QUALITIES = range(30, 97, 2)  # above, nothing is seen of it
_SEEN = 0.06  # least mean cosine; without compression it stays below 0.03
_FREQUENCIES = np.array([1, 8, 2, 9, 16, 10, 3, 17, 24])  # of 64: the lowest without the mean
_SIDE = 768  # as much of a photo is looked at
# Steps of the brightness at quality 50 for those frequencies (ITU-T T.81, table K.1).
_STEPS = np.array([11, 12, 10, 12, 14, 14, 16, 13, 14])
_COSINE = np.array(
    [[np.sqrt((2 - (k == 0)) / 8) * np.cos((2 * n + 1) * k * np.pi / 16) for n in range(8)] for k in range(8)],
    np.float32,
)


def jpeg_quality(photo: np.ndarray) -> int | None:
    """The quality (libjpeg's scale) that a photo was compressed with; of several times, the coarsest that is seen.

    Args:
        photo: (height, width, 3) uint8 RGB whose upper left corner is one of the file's blocks.

    Returns:
        30 to 96 in steps of 2; None where there is no trace, or too little to see in it.
    """
    height, width = (min(side, _SIDE) // 8 * 8 for side in photo.shape[:2])
    if not height or not width:
        return None
    grey = cv2.cvtColor(np.ascontiguousarray(photo[:height, :width]), cv2.COLOR_RGB2GRAY).astype(np.float32)
    blocks = grey.reshape(height // 8, 8, width // 8, 8).swapaxes(1, 2)
    coefficients = (_COSINE @ blocks @ _COSINE.T).reshape(-1, 64)[:, _FREQUENCIES]
    scores = [_fit(coefficients, quality) for quality in QUALITIES]
    best = int(np.argmax(scores))
    return QUALITIES[best] if scores[best] > _SEEN else None


def _fit(coefficients: np.ndarray, quality: int) -> float:
    """The mean cosine over frequencies for one quality; 0 where fewer than three can be judged."""
    scale = 5000 / quality if quality < 50 else 200 - 2 * quality
    means = []
    for c, step in zip(coefficients.T, np.clip((_STEPS * scale + 50) // 100, 1, 255), strict=True):
        c = c[np.abs(c) > step / 2]  # zero is a multiple of everything
        if step > 1 and len(c) >= 10:
            means.append(float(np.cos(2 * np.pi * c / step).mean()))
    return sum(means) / len(means) if len(means) >= 3 else 0.0


def match(image: np.ndarray, photo: np.ndarray, changed: np.ndarray) -> None:
    """Gives what was drawn on a photo the photo's own JPEG traces, in place; a photo without any is left as it is.

    Args:
        image: (height, width, 3) uint8 RGB, the photo with the drawing.
        photo: the same without it.
        changed: (height, width) bool, the pixels that may change.
    """
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    if not len(rows):
        return
    top, left = rows[0] // 16 * 16, columns[0] // 16 * 16  # where blocks begin, of colour too
    part = (slice(top, rows[-1] + 1), slice(left, columns[-1] + 1))
    quality = jpeg_quality(photo[part])
    if quality is None:
        return
    data = cv2.imencode(".jpg", image[part][..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    image[part][changed[part]] = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1][changed[part]]
