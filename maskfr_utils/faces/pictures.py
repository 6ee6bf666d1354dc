"""Encoded pictures of any mode into RGB arrays; what cannot be decoded safely has a reason."""

import io
import warnings
from contextlib import suppress
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image, ImageOps, features

SUFFIXES = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"}
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "PPM")  # no format that starts another program
NEEDED: dict[str, str] = {}  # suffixes of pictures that cannot be read here, and what it would take
if features.check("avif"):  # from Pillow 11.3 on
    SUFFIXES, FORMATS = SUFFIXES | {".avif"}, (*FORMATS, "AVIF")
else:
    NEEDED[".avif"] = "AVIF, which needs Pillow 11.3 or later"
try:
    from pillow_heif import register_heif_opener
except ImportError:
    NEEDED |= dict.fromkeys((".heic", ".heif"), "HEIC, which needs the package pillow-heif")
else:
    register_heif_opener()
    SUFFIXES, FORMATS = SUFFIXES | {".heic", ".heif"}, (*FORMATS, "HEIF")
MAX_PIXELS = 89_000_000  # beyond it a picture counts as a decompression bomb; just below Pillow's own warning
MAX_BYTES = 64 * 2**20  # of one encoded picture
TOO_LONG = "file above 64 MB"
LONGEST_NAME = 4000  # bytes: of a picture's path below its folder or archive, and of any text of a prepared file
_TILE = 1024  # pixels: what is converted at a time, so that a picture takes little more memory than before and after


def suffix_of(name: str) -> str:
    """The suffix, in lower case, by which a name tells that it is a picture's; nothing where it has none, as in a RecordIO file.

    Args:
        name: of a file or of a member of an archive.
    """
    suffix = PurePosixPath(name).suffix.lower()
    return suffix if suffix in SUFFIXES else ""


def file_bytes(path: str | Path) -> bytes:
    """The bytes of a file; of one that is too large for a picture one more than `MAX_BYTES`, which `read_picture` refuses."""
    with Path(path).open("rb") as file:
        return file.read(MAX_BYTES + 1)


class PictureError(ValueError):
    """A picture that cannot be used; the message is the reason, in a few words."""


def read_picture(data: bytes) -> np.ndarray:
    """Decode a picture of whatever mode into RGB.

    EXIF orientation is applied, transparency laid on white, 16-bit brought to 8, the first frame taken.

    Args:
        data: the file's bytes (JPEG, PNG, BMP, WebP, TIFF, GIF, PPM; AVIF and HEIC where Pillow reads them).

    Returns:
        (height, width, 3) uint8.

    Raises:
        PictureError: empty, truncated, unreadable, or beyond 89 million pixels.
    """
    if not data:
        raise PictureError("empty file")
    if len(data) > MAX_BYTES:
        raise PictureError(TOO_LONG)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            if image.width * image.height > MAX_PIXELS:
                raise Image.DecompressionBombError
            image.load()
            return _rgb(_upright(image))
    except Image.DecompressionBombError:
        raise PictureError("above 89 million pixels") from None
    except Exception as error:  # a decoder given hostile bytes raises nearly anything
        reason = "truncated" if "truncated" in str(error).lower() else "unreadable"
        raise PictureError(reason) from error


def _upright(image: Image.Image) -> Image.Image:
    with suppress(Exception):  # a broken EXIF block is no reason to lose the picture
        ImageOps.exif_transpose(image, in_place=True)  # else most pictures would be copied
    return image


def _rgb(image: Image.Image) -> np.ndarray:
    width, height = image.size
    if image.mode == "RGB" and max(image.size) <= _TILE and "transparency" not in image.info:
        return np.array(image)  # most pictures by far: none of the copies below
    boxes = [
        (left, upper, min(left + _TILE, width), min(upper + _TILE, height))
        for upper in range(0, height, _TILE)
        for left in range(0, width, _TILE)
    ]
    convert = _to_rgb
    if image.mode == "F" or image.mode.startswith("I"):
        wide = image.mode in ("F", "I") and image.format != "PNG"  # of 32 bits: nothing tells which of them are used
        highest = max(_numbers(image.crop(box)).max() for box in boxes) if wide else np.inf
        # Grey of 16 bits, 8 bits, or a fraction: the smallest of the usual ranges that holds the values.
        top = next((limit for limit in (1.0, 255.0) if highest <= limit), 65535.0)
        convert = partial(_grey_to_rgb, top=top)
    rgb = np.empty((height, width, 3), np.uint8)
    for box in boxes:
        left, upper, right, lower = box
        rgb[upper:lower, left:right] = convert(image.crop(box))
    return rgb


def _numbers(image: Image.Image) -> np.ndarray:
    return np.nan_to_num(np.asarray(image, np.float64))


def _grey_to_rgb(image: Image.Image, top: float) -> np.ndarray:
    numbers = _numbers(image)
    grey = (numbers.clip(0, top) * (255 / top)).round().astype(np.uint8)
    grey[numbers == image.info.get("transparency")] = 255
    return grey[..., None]


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")
