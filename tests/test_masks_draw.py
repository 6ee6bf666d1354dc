"""Masks on aligned faces: the contract, determinism, what stays free, hostile input."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mask_oracle import near_eyes

from maskfr_utils import masks
from maskfr_utils.faces import align
from maskfr_utils.masks import draw
from maskfr_utils.rendered import render_faces


@pytest.fixture(scope="module")
def faces():
    return render_faces(10, 2, seed=3)


@pytest.fixture(scope="module")
def drawn(faces):
    return masks.mask_faces(faces.images, faces.landmarks)


def test_contract(faces, drawn):
    n = len(faces.images)
    assert drawn.images.shape == (n, 112, 112, 3) and drawn.images.dtype == np.uint8
    assert drawn.coverage.shape == (n, 112, 112) and drawn.coverage.dtype == bool
    assert drawn.alpha.shape == (n, 112, 112) and drawn.alpha.dtype == np.uint8
    assert drawn.ok.shape == (n,) and drawn.ok.dtype == bool and drawn.ok.all()
    assert set(drawn.kinds) <= set(masks.KINDS) and len(set(drawn.kinds)) >= 3
    share = (drawn.alpha > 127).mean((1, 2))
    assert (share > 0.1).all() and (share < 0.6).all()
    assert {"surgical", "n95", "kn95", "cloth"} <= set(masks.KINDS)


def test_nothing_outside_the_coverage_changes_and_inputs_stay(faces):
    before = faces.images.copy()
    result = masks.mask_faces(faces.images, faces.landmarks, seed=5)
    np.testing.assert_array_equal(faces.images, before)
    np.testing.assert_array_equal(result.images[~result.coverage], before[~result.coverage])
    assert (result.alpha[~result.coverage] == 0).all()
    assert (result.images != before).any(3).mean() > 0.1


@pytest.mark.parametrize("kind", masks.KINDS)
def test_mouth_and_nose_are_covered_and_eyes_free(faces, kind):
    style = masks.Style(kind)
    result = masks.mask_faces(faces.images[:12], faces.landmarks[:12], style=style)
    assert result.ok.all() and (result.kinds == kind).all()
    for points, alpha, coverage in zip(faces.landmarks, result.alpha, result.coverage, strict=False):
        inside = points[[30, 33, 48, 51, 54, 57, 62, 66]].round().astype(int).clip(0, 111)
        assert (alpha[inside[:, 1], inside[:, 0]] > 200).all()
        assert not coverage[near_eyes(points)].any()


def test_styles_of_ones_own_are_mixed_by_their_shares(faces):
    mixed = {masks.Style("cloth"): 1.0, masks.Style("surgical"): 3.0}
    kinds = masks.mask_faces(faces.images, faces.landmarks, style=mixed).kinds.tolist()
    assert set(kinds) == {"cloth", "surgical"} and kinds.count("surgical") > kinds.count("cloth")


def test_below_the_nose(faces):
    style = masks.Style("surgical", wears={"below_nose": 1})
    result = masks.mask_faces(faces.images, faces.landmarks, style=style)
    tip, mouth = (faces.landmarks[:, i].round().astype(int).clip(0, 111) for i in (29, 66))
    rows = np.arange(len(tip))
    assert (result.alpha[rows, tip[:, 1], tip[:, 0]] == 0).all()
    assert (result.alpha[rows, mouth[:, 1], mouth[:, 0]] > 200).all()


def test_same_seed_same_bytes_whatever_the_batch(faces, drawn):
    again = masks.mask_faces(faces.images, faces.landmarks)
    np.testing.assert_array_equal(again.images, drawn.images)
    order = np.random.default_rng(0).permutation(len(faces.images))
    shuffled = masks.mask_faces(faces.images[order], faces.landmarks[order])
    np.testing.assert_array_equal(shuffled.images, drawn.images[order])
    single = masks.mask_faces(faces.images[7:8], faces.landmarks[7:8])
    np.testing.assert_array_equal(single.images[0], drawn.images[7])
    np.testing.assert_array_equal(single.coverage[0], drawn.coverage[7])


def test_batches_beyond_one_chunk(faces):
    many = np.concatenate([faces.images] * 8)
    result = masks.mask_faces(many, np.concatenate([faces.landmarks] * 8))
    assert len(many) > draw.CHUNK
    np.testing.assert_array_equal(result.images[-20:], result.images[:20])


def test_another_seed_or_picture_draws_another_mask(faces, drawn):
    other = masks.mask_faces(faces.images, faces.landmarks, seed=1)
    assert (other.images != drawn.images).any((1, 2, 3)).all()
    touched = faces.images.copy()
    touched[:, 0, 0] ^= 1
    changed = masks.mask_faces(touched, faces.landmarks)
    assert (changed.alpha != drawn.alpha).any((1, 2)).mean() > 0.9


def test_global_random_state_is_left_alone(faces):
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    masks.mask_faces(faces.images[:4], faces.landmarks[:4])
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


def test_missing_landmarks_are_predicted(faces, drawn):
    points = faces.landmarks.copy()
    points[2] = np.nan
    points[5, 3, 0] = np.nan
    result = masks.mask_faces(faces.images, points)
    keep = np.setdiff1d(np.arange(len(points)), [2, 5])
    np.testing.assert_array_equal(result.images[keep], drawn.images[keep])
    predicted = masks.mask_faces(faces.images[[2, 5]], align.face_landmarks(faces.images[[2, 5]]))
    np.testing.assert_array_equal(result.images[[2, 5]], predicted.images)
    without = masks.mask_faces(faces.images[[2, 5]])
    np.testing.assert_array_equal(without.images, predicted.images)
    assert without.ok.all()


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(lambda p: np.full_like(p, 50), id="one point"),
        pytest.param(lambda p: p * [1, 0] + [0, 60], id="a line"),
        pytest.param(lambda p: p * 1e-3, id="tiny"),
        pytest.param(lambda p: p + 1e6, id="far away"),
        pytest.param(lambda p: p + np.array([400, 0]), id="beside the picture"),
        pytest.param(lambda p: [111, 0] + p * [-1, 1], id="mirrored"),
        pytest.param(lambda p: np.where(np.arange(68)[:, None] == 30, np.inf, p), id="infinite"),
        pytest.param(lambda p: p[np.random.default_rng(0).permutation(68)], id="shuffled"),
        pytest.param(lambda p: np.random.default_rng(0).uniform(0, 112, (68, 2)), id="noise"),
        pytest.param(lambda p: np.full_like(p, 3e38), id="huge"),
    ],
)
def test_landmarks_that_are_no_face(faces, drawn, broken):
    points = faces.landmarks[:3].copy()
    points[1] = broken(points[1])
    result = masks.mask_faces(faces.images[:3], points)
    assert result.ok.tolist() == [True, False, True]
    np.testing.assert_array_equal(result.images[1], faces.images[1])
    assert not result.coverage[1].any() and not result.alpha[1].any() and result.kinds[1] == ""
    np.testing.assert_array_equal(result.images[[0, 2]], drawn.images[[0, 2]])


def test_eyes_stay_free_even_where_the_mask_would_cover_them(faces):
    """Landmarks that are off: the eyes so low that the mask must give way."""
    points = faces.landmarks.copy()
    points[:, 36:48, 1] += 18
    result = masks.mask_faces(faces.images, points, style="cloth")
    usual = masks.mask_faces(faces.images, faces.landmarks, style="cloth")
    assert result.ok.any()
    given_way = 0
    for i in np.flatnonzero(result.ok):
        eyes = near_eyes(points[i])
        assert not result.coverage[i][eyes].any()
        given_way += (usual.coverage[i] & eyes).any()
    assert given_way


@pytest.mark.parametrize("value", [0, 128, 255])
def test_blank_pictures(faces, value):
    blank = np.full((2, 112, 112, 3), value, np.uint8)
    assert masks.mask_faces(blank, faces.landmarks[:2]).ok.all()
    masks.mask_faces(blank)  # whatever the predictor says, nothing breaks


def test_empty_batch():
    result = masks.mask_faces(np.zeros((0, 112, 112, 3), np.uint8))
    assert result.images.shape == (0, 112, 112, 3) and result.ok.shape == (0,)


@pytest.mark.parametrize(
    "faces_, points, message",
    [
        (np.zeros((1, 112, 112, 3), np.float32), None, "uint8"),
        (np.zeros((112, 112, 3), np.uint8), None, "must be"),
        (np.zeros((1, 64, 64, 3), np.uint8), None, "must be"),
        (np.zeros((1, 112, 112, 3), np.uint8), np.zeros((2, 68, 2)), "landmarks"),
        (np.zeros((1, 112, 112, 3), np.uint8), np.zeros((1, 5, 2)), "landmarks"),
    ],
)
def test_wrong_input_is_refused(faces_, points, message):
    with pytest.raises(ValueError, match=message):
        masks.mask_faces(faces_, points)


@settings(max_examples=20, deadline=None)
@given(
    scale=st.floats(0.55, 1.5),
    turn=st.floats(-0.7, 0.7),
    shift=st.tuples(st.floats(-12, 12), st.floats(-12, 12)),
    kind=st.sampled_from([k for k in masks.KINDS if k != "inpaint"]),
    noise=st.integers(0, 1000),
)
def test_any_similarity_of_a_face(faces, scale, turn, shift, kind, noise):
    """Wherever a face lies, its mask lies on it and keeps off its eyes."""
    points = faces.landmarks[noise % len(faces.landmarks)].astype(np.float64)
    rotation = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    points = (points - 56) @ rotation.T + 56 + shift
    image = np.random.default_rng(noise).integers(0, 256, (1, 112, 112, 3), np.uint8)
    result = masks.mask_faces(image, points[None], style=kind, seed=noise)
    np.testing.assert_array_equal(result.images[~result.coverage], image[~result.coverage])
    assert not result.coverage[0][near_eyes(points)].any()
    assert result.ok[0]
    for x, y in points[[30, 62]].round().astype(int):
        if 0 <= x < 112 and 0 <= y < 112:
            assert result.alpha[0, y, x] > 128


def test_intensity(faces):
    full = masks.mask_faces(faces.images[:4], faces.landmarks[:4], style=masks.Style("kn95"))
    half = masks.mask_faces(faces.images[:4], faces.landmarks[:4], style=masks.Style("kn95", intensity=0.5))
    assert half.alpha.max() == 128 and full.alpha.max() == 255
    change = [np.abs(r.images.astype(int) - faces.images[:4]).mean() for r in (half, full)]
    assert 0.35 * change[1] < change[0] < 0.65 * change[1]


def test_masks_are_worn_at_many_heights_and_leave_the_eyes_free(faces):
    """The upper edge at the nose spreads over faces and seeds as it does among real masks, about a quarter below the eyes."""
    below = []
    rows, column = np.arange(len(faces.images)), faces.landmarks[:, 28, 0].round().astype(int)
    eyes = faces.landmarks[:, 36:48].reshape(-1, 2, 6, 2).mean(2)
    for seed in range(6):
        drawn = masks.mask_faces(faces.images, faces.landmarks, style=masks.Style("surgical"), seed=seed)
        top = (drawn.alpha[rows, :, column] > 127).argmax(1)
        below.append((top - eyes[..., 1].mean(1)) / np.linalg.norm(eyes[:, 1] - eyes[:, 0], axis=1))
        for points, coverage in zip(faces.landmarks, drawn.coverage, strict=True):
            assert not coverage[near_eyes(points)].any()
    low, middle, high = np.percentile(below, (25, 50, 75))
    assert 0.18 < middle < 0.35 and 0.10 < high - low < 0.25
