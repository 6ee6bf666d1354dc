"""The mean head and the camera that sees it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from maskfr_utils.faces.pose import HEAD, MIRROR, follow, head_yaw
from maskfr_utils.rendered import render_faces


def test_mean_head_is_symmetric_and_follows_itself():
    np.testing.assert_allclose(HEAD[MIRROR], HEAD * [-1, 1, 1])
    points = np.array([[0.3, 0.8, 0.2], [0, 1.5, 0.1]])
    camera = np.array([[30, 2], [-2, 30], [8, 3.0]])
    np.testing.assert_allclose(follow(points) @ (HEAD @ camera + [50, 40]), points @ camera + [50, 40], atol=1e-6)


@given(
    st.floats(-70, 70),
    st.floats(-25, 25),
    st.floats(-30, 30),
    st.floats(0.1, 50),
    st.tuples(st.floats(-99, 99), st.floats(-99, 99)),
)
def test_yaw_is_that_of_a_turned_head_whatever_its_pitch_roll_size_and_place(yaw, pitch, roll, size, place):
    turn = Rotation.from_euler("ZXY", [roll, pitch, yaw], degrees=True)  # intrinsic: roll last
    seen = turn.apply(HEAD)[:, :2] * size + place
    assert head_yaw(seen[None])[0] == pytest.approx(yaw, abs=0.1)


def test_yaw_of_the_mirror_image_is_the_opposite():
    landmarks = render_faces(4, 3, seed=2).landmarks
    mirrored = (landmarks * [-1, 1] + [111, 0])[:, MIRROR]
    np.testing.assert_allclose(head_yaw(mirrored), -head_yaw(landmarks), atol=0.05)
    assert np.abs(head_yaw(landmarks)).max() > 5
