"""JPEG traces: the quality is read back from pixels that Pillow saved; only what was drawn is compressed."""

import io

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from maskfr_utils import masks
from maskfr_utils.faces import align
from maskfr_utils.masks.jpeg import jpeg_quality


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    return np.ascontiguousarray(astronaut()[:240, 100:340])


def saved(image: np.ndarray, quality: int, subsampling: int = 2) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling=subsampling)
    return np.array(Image.open(buffer))


@pytest.mark.parametrize("quality", [30, 50, 60, 76, 84, 90, 94])
@pytest.mark.parametrize("subsampling", [0, 2])
def test_quality_is_read_back(portrait, quality, subsampling):
    assert jpeg_quality(saved(portrait, quality, subsampling)) == quality


def test_coarser_of_two_compressions(portrait):
    assert jpeg_quality(saved(saved(portrait, 60), 94)) == 60


def test_no_trace_no_quality(portrait):
    photo = saved(portrait, 70)
    resized = np.array(Image.fromarray(photo).resize((200, 200), Image.Resampling.LANCZOS))
    flat = np.full((64, 64, 3), 128, np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
    for without in (portrait, resized, photo[3:, 5:], flat, noise, flat[:5], saved(flat, 50)):
        assert jpeg_quality(without) is None


def test_masks_on_a_jpeg_photo_are_as_coarse_as_it(portrait):
    points = align.landmarks68(portrait, align.detect(portrait)[0])[None]
    style = masks.Style("cloth", colours={"navy": 1}, patterns={"dots": 1})
    photo = saved(portrait, 40)
    drawn = masks.mask_photo(photo, style=style, landmarks=points)
    np.testing.assert_array_equal(drawn.image[~drawn.coverage], photo[~drawn.coverage])
    whole = (drawn.alpha == 255).reshape(15, 16, 15, 16).all((1, 3))  # blocks of cloth alone
    inside = np.kron(whole, np.ones((16, 16), bool))
    assert whole.sum() >= 6

    def changes(image):
        """How much one more compression at the same quality changes the cloth."""
        return np.abs(image.astype(int) - saved(image, 40))[inside].mean()

    plain = masks.mask_photo(portrait, style=style, landmarks=points).image
    assert changes(drawn.image) < 0.25 * changes(plain)
