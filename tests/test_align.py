"""Alignment: the transform against linear algebra, the warp against coordinates, the predictor against drawn faces."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskfr_utils import rendered
from maskfr_utils.faces import align
from maskfr_utils.faces.pictures import PictureError

scales = st.floats(0.15, 8.0)
angles = st.floats(-0.6, 0.6)


def similarity_matrix(scale: float, angle: float, shift: tuple[float, float]) -> np.ndarray:
    a, b = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[a, -b, shift[0]], [b, a, shift[1]]])


def transform(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ matrix[:, :2].T + matrix[:, 2]


@settings(deadline=None)
@given(scales, st.floats(-3.1, 3.1), st.tuples(st.floats(-500, 500), st.floats(-500, 500)))
def test_similarity_is_recovered_exactly(scale, angle, shift):
    expected = similarity_matrix(scale, angle, shift)
    found = align.similarity(align.TEMPLATE5, transform(expected, align.TEMPLATE5.astype(float)))
    np.testing.assert_allclose(found, expected, atol=1e-6 * (1 + np.abs(shift).max()))


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_similarity_is_the_least_squares_fit(seed):
    rng = np.random.default_rng(seed)
    source, target = rng.normal(0, 30, (2, 5, 2))
    (x, y), ones, zeros = source.T, np.ones(5), np.zeros(5)
    # x' = a x - b y + c, y' = b x + a y + d: ten equations in four unknowns.
    system = np.concatenate([np.stack([x, -y, ones, zeros], 1), np.stack([y, x, zeros, ones], 1)])
    a, b, c, d = np.linalg.lstsq(system, target.T.ravel(), rcond=None)[0]
    np.testing.assert_allclose(align.similarity(source, target), [[a, -b, c], [b, a, d]], atol=1e-6)


@pytest.mark.parametrize("points", [np.zeros((5, 2)), np.full((5, 2), np.nan), np.full((5, 2), np.inf)])
def test_similarity_of_no_shape_is_refused(points):
    with pytest.raises(ValueError, match="no similarity transform"):
        align.similarity(points, align.TEMPLATE5)


def test_face_already_in_place_is_unchanged():
    face = np.random.default_rng(0).integers(0, 256, (112, 112, 3), np.uint8)
    np.testing.assert_array_equal(align.align_face(face, align.TEMPLATE5), face)


@settings(max_examples=25, deadline=None)
@given(scales, angles, st.tuples(st.floats(-20, 20), st.floats(-20, 20)))
def test_warp_takes_each_pixel_from_where_the_landmarks_say(scale, angle, shift):
    size = 900
    y, x = np.mgrid[:size, :size]
    photo = np.stack([x * (255 / size), y * (255 / size), np.full_like(x, 255)], -1).astype(np.uint8)
    to_photo = similarity_matrix(scale, angle, (0, 0))
    to_photo[:, 2] = size / 2 + np.array(shift) - to_photo[:, :2] @ [56, 56]
    points = transform(to_photo, align.TEMPLATE5.astype(float))
    face, matrix = align.align_face(photo, points, return_transform=True)
    np.testing.assert_allclose(transform(matrix, points), align.TEMPLATE5, atol=1e-3)
    grid = np.stack(np.mgrid[:112, :112][::-1], -1).reshape(-1, 2)
    expected = transform(to_photo, grid.astype(float)) * (255 / size)
    inside = ((expected > 5) & (expected < 250)).all(1)
    values = face.reshape(-1, 3)[:, :2].astype(float)
    assert np.abs(values - expected)[inside].max() < 2
    # Beyond the photo there is black.
    outside = ((expected < -5) | (expected > 260)).any(1)
    assert (face.reshape(-1, 3)[outside] == 0).all()


def test_large_photo_is_averaged_not_sampled():
    y, x = np.mgrid[:1600, :1600]
    photo = np.repeat(((x + y) % 2 * 255).astype(np.uint8)[..., None], 3, 2)
    points = align.TEMPLATE5 * 10 + 200
    assert np.abs(align.align_face(photo, points).astype(int) - 127).max() < 20


def test_landmarks_of_both_kinds_align_alike():
    faces = rendered.render_faces(2, 2, seed=3)
    for face, points in zip(faces.images, faces.landmarks, strict=True):
        five = align.five_points(points)
        assert five.shape == (5, 2)
        assert five[0, 0] < five[2, 0] < five[1, 0]
        assert five[0, 1] < five[2, 1] < five[3, 1]
        np.testing.assert_array_equal(align.align_face(face, points), align.align_face(face, five))


@pytest.mark.parametrize("shape", [(68, 3), (4, 2), (2,)])
def test_other_landmarks_are_refused(shape):
    with pytest.raises(ValueError, match="expected landmarks"):
        align.align_face(np.zeros((50, 50, 3), np.uint8), np.zeros(shape))


@pytest.mark.parametrize(
    "photo", [np.zeros((50, 50), np.uint8), np.zeros((50, 50, 3)), np.zeros((0, 50, 3), np.uint8)], ids=str
)
def test_what_is_no_photo_is_refused(photo):
    for call in (align.detect, lambda p: align.align_face(p, align.TEMPLATE5)):
        with pytest.raises(ValueError, match="expected a photo"):
            call(photo)
    with pytest.raises(ValueError, match="expected faces"):
        align.face_landmarks(photo[None])


def test_predictor_finds_rendered_landmarks_without_detection():
    faces = rendered.render_faces(6, 6, seed=1)
    found = align.face_landmarks(faces.images)
    assert found.shape == (36, 68, 2)
    assert found.dtype == np.float32
    error = np.linalg.norm(found - faces.landmarks, axis=-1).mean(1)
    assert np.median(error) < 4
    assert "face_recognition_models" not in sys.modules
    assert align.face_landmarks(faces.images[:0]).shape == (0, 68, 2)


def test_detect_astronaut():
    data = pytest.importorskip("skimage.data", reason="scikit-image carries the astronaut: install the notebooks extra")
    photo = data.astronaut()
    boxes = align.detect(photo)
    left, top, right, bottom = boxes[0]
    assert len(boxes) == 1
    assert left < 225 < right  # her nose
    assert top < 120 < bottom
    face = align.align_face(photo, align.landmarks68(photo, boxes[0]))
    again = align.five_points(align.face_landmarks(face[None]))[0]
    assert np.abs(again - align.TEMPLATE5).max() < 8
    # The largest and most central face comes first.
    double = np.pad(photo, ((0, 0), (0, 300), (0, 0)))
    double[100:228, 560:688] = photo[40:296:2, 100:356:2]
    boxes = align.detect(double)
    assert boxes[0][0] < 225 < boxes[0][2]


@pytest.fixture(scope="module")
def portrait():
    data = pytest.importorskip("skimage.data", reason="scikit-image carries the astronaut: install the notebooks extra")
    return np.ascontiguousarray(data.astronaut()[:280, 90:370])


@pytest.mark.parametrize("turn", range(4))
def test_photos_are_turned_upright(portrait, turn):
    photo = np.rot90(portrait, turn)
    quarter, boxes = align.detect_upright(photo)
    assert (quarter + turn) % 4 == 0
    assert boxes == align.detect(np.rot90(photo, quarter)) == align.detect(portrait)


def test_a_weak_face_is_looked_at_closely(portrait, monkeypatch):
    real = align._detect

    def weak(photo, threshold=0.0):
        boxes, scores = real(photo, threshold)
        return boxes, [0.1] * len(scores)

    monkeypatch.setattr(align, "_detect", weak)
    for turn in (0, 2):
        assert (align.detect_upright(np.rot90(portrait, turn))[0] + turn) % 4 == 0
    monkeypatch.setattr(align, "_close_look", lambda photo, box: np.array([0.1, -0.5, 0.2, -1.0]))
    with pytest.raises(PictureError, match="which way up"):
        align.detect_upright(portrait)


def test_close_look_tells_a_face_from_one_on_its_head(portrait):
    (box,) = align.detect(portrait)
    height, width = portrait.shape[:2]
    own, *others = align._close_look(portrait, box)
    assert own > 1 and own > max(others) + 1
    left, top, right, bottom = box
    scores = align._close_look(
        np.rot90(portrait, 2), (width - 1 - right, height - 1 - bottom, width - 1 - left, height - 1 - top)
    )
    assert scores.argmax() == 2


def test_a_close_look_at_a_large_face_sees_no_noise(portrait):
    """Every pixel of a large photo counts: noise that averages out changes nothing."""
    (box,) = align.detect(portrait)
    large = portrait.repeat(6, 0).repeat(6, 1)
    noise = np.random.default_rng(0).integers(-90, 91, large.shape)
    loud = np.clip(large + noise, 0, 255).astype(np.uint8)
    quiet, noisy = (align._close_look(photo, tuple(6 * v for v in box)) for photo in (large, loud))
    assert quiet[0] > 1 and noisy[0] == pytest.approx(quiet[0], abs=0.6)


def test_no_face_in_any_position():
    assert align.detect_upright(np.zeros((60, 90, 3), np.uint8)) == (0, [])


def test_doubtful_box_on_the_chest_of_a_sure_face_is_dropped():
    sure, badge, behind = (100, 50, 180, 130), (60, 250, 140, 330), (300, 40, 380, 120)
    boxes, scores = np.array([sure, badge, behind], float), np.array([1.6, 0.1, 0.1])
    assert align._of_a_sure_face(boxes, scores).tolist() == [False, True, False]
    assert not align._of_a_sure_face(boxes, np.array([1.6, 0.5, 0.1])).any()  # a child in front
    assert not align._of_a_sure_face(boxes, np.array([0.6, 0.1, 0.1])).any()
    assert align._of_a_sure_face(np.zeros((0, 4)), np.zeros(0)).shape == (0,)


def test_doubtful_box_inside_a_sure_face_is_its_chin():
    sure, chin, beside = (100, 50, 180, 130), (120, 100, 168, 148), (170, 60, 250, 140)
    boxes, scores = np.array([sure, chin, beside], float), np.array([1.6, -0.3, -0.3])
    assert align._of_a_sure_face(boxes, scores).tolist() == [False, True, False]
    assert not align._of_a_sure_face(boxes, np.array([1.6, 0.5, 0.5])).any()  # a face before another


def test_no_face_no_box():
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    assert align.detect(noise) == []
    assert align.detect(np.zeros((1, 1, 3), np.uint8)) == []
    assert align.detect(np.zeros((3, 5000, 3), np.uint8)) == []
    for shape in ((1, 1, 3), (1, 40, 3), (40, 1, 3)):  # turned, too
        assert not len(align.detect_upright(np.zeros(shape, np.uint8))[1])


def test_missing_predictor_says_what_to_install(monkeypatch):
    align._predictor.cache_clear()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install face-recognition-models"):
        align.landmarks68(np.zeros((50, 50, 3), np.uint8), (0, 0, 50, 50))
    align._predictor.cache_clear()
