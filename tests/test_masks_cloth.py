"""Cloth: the same at every size, and never inside out."""

import cv2
import numpy as np
import pytest

from maskfr_utils.masks.cloth import PATTERNS, Cloth, normals, weave


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_look_the_same_at_any_size(pattern):
    cloth = Cloth("cloth", (200, 30, 30), (20, 20, 220), pattern, 1, False, None, 1.0)
    small, large = (weave(cloth, size) for size in (96, 384))
    shrunk = cv2.resize(large, (96, 96), interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - shrunk).mean() < 14
    if pattern != "plain":
        assert small.std((0, 1)).max() > 12


def test_a_large_cloth_mask_has_no_slit_along_its_seam():
    """Hardly anything near the seam faces into the head, whatever the folds; turned inside out it would be 2%."""
    for folds in range(3):
        facing = normals("cloth", "normal", 512, folds, False).reshape(512, 512, 6)
        assert (facing[100:400, 240:272, 2] < 0).mean() < 0.005
