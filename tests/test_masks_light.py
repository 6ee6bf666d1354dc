"""Light: a mask is lit as its face is."""

import numpy as np
import pytest

from maskfr_utils import masks
from maskfr_utils.rendered import render_faces


@pytest.fixture(scope="module")
def faces():
    return render_faces(10, 2, seed=3)


def test_light_follows_the_face(faces):
    """A face lit from the left has a mask lit from the left; a dark picture a dark mask."""
    style = masks.Style("surgical")
    ramp = np.linspace(1.3, 0.5, 112)[None, None, :, None]
    lit = np.clip(faces.images[:8] * ramp, 0, 255).astype(np.uint8)
    points = faces.landmarks[:8]

    def sides(images):
        result = masks.mask_faces(images, points, style=style)
        grey, solid = result.images.mean(3), result.alpha == 255
        columns = np.arange(112)
        middle = points[:, 33, 0]
        left = [g[s & (columns < m - 5)].mean() for g, s, m in zip(grey, solid, middle, strict=True)]
        right = [g[s & (columns > m + 5)].mean() for g, s, m in zip(grey, solid, middle, strict=True)]
        return np.array(left), np.array(right)

    left, right = sides(lit)
    plain_left, plain_right = sides(faces.images[:8])
    assert ((left / right) > (plain_left / plain_right)).all()
    dark = sides((faces.images[:8] * 0.3).astype(np.uint8))
    assert (dark[0] < 0.75 * plain_left).all()


def test_grey_pictures_stay_grey(faces):
    grey = np.repeat(faces.images[:6].mean(3, keepdims=True).astype(np.uint8), 3, 3)
    result = masks.mask_faces(grey, faces.landmarks[:6], style=masks.Style("cloth", colours={"red": 1}))
    spread = np.ptp(result.images[result.alpha == 255].astype(int), axis=1)
    assert np.median(spread) < 16  # the grain may differ a little between the channels
