"""Where masks lie: they turn with the face, and a head hides what is behind it."""

import numpy as np
import pytest

from maskfr_utils.faces.pose import HEAD
from maskfr_utils.masks.placement import place
from maskfr_utils.masks.shapes import shape


def test_masks_turn_with_the_face():
    """The outline of a turned, scaled, shifted face is the turned, scaled, shifted outline."""
    surgical = shape("surgical")
    points = (HEAD[:, :2] * 35 + [56, 52]).astype(np.float32)
    turn, scale, shift = 0.5, 7.0, np.array([300, -40])
    rotation = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    both = np.stack([points, points @ rotation.T + shift]).astype(np.float32)
    placed = place([surgical] * 2, both, np.zeros((2, 4), np.float32))
    assert placed.ok.all()
    np.testing.assert_allclose(placed.outline[0] @ rotation.T + shift, placed.outline[1], atol=0.1)
    np.testing.assert_allclose(placed.lattice[0], placed.lattice[1], atol=2e-2)


def test_a_profile_hides_the_far_side():
    """Seen from the side, hardly anything of the mask lies beyond the nose, and the near side is the larger one."""
    cloth = shape("cloth")
    shown = []
    for yaw in (0.0, 0.5, 1.0):
        camera = 35 * np.array([[np.cos(yaw), 0], [0, 1], [np.sin(yaw), 0]])
        points = (HEAD @ camera + 56).astype(np.float32)[None]
        placed = place([cloth], points, np.zeros((1, 4), np.float32))
        assert placed.ok[0]
        nose = points[0, 30, 0]
        x = placed.outline[0, :, 0]
        shown.append((x.max() - nose) / (nose - x.min()))
        area = 0.5 * abs(np.sum(x * np.roll(placed.outline[0, :, 1], 1) - np.roll(x, 1) * placed.outline[0, :, 1]))
        assert area > 20**2
    assert shown[0] == pytest.approx(1, abs=0.02)
    assert shown[0] > shown[1] > shown[2] and shown[2] < 0.35
