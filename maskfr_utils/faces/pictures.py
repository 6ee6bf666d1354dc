"""Encoded pictures of any mode into RGB arrays; what cannot be decoded safely has a reason."""

import io
import warnings

import numpy as np
from PIL import Image, ImageOps

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"}
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "PPM")  # no format that starts another program
MAX_PIXELS = 89_000_000  # beyond it a picture counts as a decompression bomb; just below Pillow's own warning
MAX_BYTES = 64 * 2**20  # of one encoded picture


class PictureError(ValueError):
    """A picture that cannot be used; the message is the reason, in a few words."""


def read_picture(data: bytes) -> np.ndarray:
    """Decode a picture of whatever mode into RGB.

    EXIF orientation is applied, transparency laid on white, 16-bit brought to 8, the first frame taken.

    Args:
        data: the file's bytes (JPEG, PNG, BMP, WebP, TIFF, GIF, PPM).

    Returns:
        (height, width, 3) uint8.

    Raises:
        PictureError: empty, truncated, unreadable, or beyond 89 million pixels.
    """
    if not data:
        raise PictureError("empty file")
    if len(data) > MAX_BYTES:
        raise PictureError("file above 64 MB")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            if image.width * image.height > MAX_PIXELS:
                raise Image.DecompressionBombError
            image.load()
            return np.array(_to_rgb(_upright(image)))
    except Image.DecompressionBombError:
        raise PictureError("above 89 million pixels") from None
    except Exception as error:  # a decoder given hostile bytes raises nearly anything
        reason = "truncated" if "truncated" in str(error).lower() else "unreadable"
        raise PictureError(reason) from error


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # a broken EXIF block is no reason to lose the picture
        return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F" or image.mode.startswith("I"):
        values = np.nan_to_num(np.asarray(image, np.float64))
        # Grey of 16 bits, 8 bits, or a fraction: the smallest of the usual ranges that holds the values.
        top = next((limit for limit in (1.0, 255.0, 65535.0) if image.mode == "F" and values.max() <= limit), 65535.0)
        return Image.fromarray((values.clip(0, top) * (255 / top)).round().astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")
