"""Rendered faces: the contract, exact landmarks, and that a face is told by its features, not by its colours."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from maskfr_utils.faces import align
from maskfr_utils.faces.align import TEMPLATE5
from maskfr_utils.rendered import head, render_faces
from maskfr_utils.rendered.person import draw_person

# iBUG points and their partners on the other side of the face.
MIRROR = np.array(
    [*range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1), 45, 44, 43, 42, 47, 46, 39, 38, 37, 36]
    + [41, 40, 54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65]
)


@pytest.fixture(scope="module")
def faces():
    return render_faces(12, 10, seed=3)


def test_contract(faces):
    assert faces.images.shape == (120, 112, 112, 3) and faces.images.dtype == np.uint8
    assert faces.landmarks.shape == (120, 68, 2) and faces.landmarks.dtype == np.float32
    assert faces.labels.dtype == np.int64 and faces.labels.tolist() == np.repeat(np.arange(12), 10).tolist()
    assert np.isfinite(faces.landmarks).all()


def test_same_seed_same_bytes_and_no_global_random_state():
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    first, again, other = (render_faces(2, 2, seed=s) for s in (5, 5, 6))
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002
    assert first.images.tobytes() == again.images.tobytes()
    assert first.landmarks.tobytes() == again.landmarks.tobytes()
    assert (first.images != other.images).mean() > 0.5


def test_a_picture_does_not_depend_on_how_many_are_asked_for():
    few, many = render_faces(2, 2, seed=8), render_faces(3, 4, seed=8)
    for identity in range(2):
        for picture in range(2):
            np.testing.assert_array_equal(few.images[2 * identity + picture], many.images[4 * identity + picture])
            np.testing.assert_array_equal(few.landmarks[2 * identity + picture], many.landmarks[4 * identity + picture])


def test_pictures_differ(faces):
    assert len({image.tobytes() for image in faces.images}) == len(faces.images)


def test_aligned_to_the_template(faces):
    five = align.five_points(faces.landmarks)
    assert np.linalg.norm(five - TEMPLATE5, axis=-1).mean() < 4  # a similarity transform fits no face exactly
    assert np.abs((five - TEMPLATE5).mean((0, 1))).max() < 0.5


def test_landmarks_lie_where_the_names_say(faces):
    points = faces.landmarks
    assert (points[:, 17:] > 0).all() and (points[:, 17:] < 111).all()
    x, y = points[..., 0], points[..., 1]
    assert (np.diff(x[:, [0, 16]]) > 50).all()  # the jaw runs from the image's left to its right
    assert (np.diff(x[:, 18:21]) > 0).all() and (np.diff(x[:, 23:26]) > 0).all()  # the far ends may turn out of sight
    assert (np.diff(y[:, 27:31]) > 0).all()  # down the ridge of the nose
    heights = [
        y[:, part].mean(1) for part in (slice(17, 27), slice(36, 48), slice(31, 36), slice(48, 68), slice(7, 10))
    ]
    assert (np.diff(heights, axis=0) > 0).all()  # brows, eyes, nose, mouth, chin
    for eye in (36, 42):
        upper, lower = points[:, [eye + 1, eye + 2], 1].mean(1), points[:, [eye + 4, eye + 5], 1].mean(1)
        assert (lower > upper).all()
    assert (points[:, 57, 1] > points[:, 66, 1]).all() and (points[:, 62, 1] > points[:, 51, 1]).all()


@pytest.mark.parametrize("seed", range(4))
def test_head_and_landmarks_are_mirror_images(seed):
    p = draw_person(np.random.default_rng(seed), 1.0)
    surface = head.head_shape(p)
    points = head.sample(surface, *head.grid_position(*head.landmark_places(p, 1.0).T))
    np.testing.assert_allclose(points[:, MIRROR], points * [[-1], [1], [1]], atol=1e-3)
    np.testing.assert_allclose(surface[:, :, ::-1], surface * np.float32([[[-1]], [[1]], [[1]]]), atol=1e-3)


def test_expressions_move_what_they_name():
    p = draw_person(np.random.default_rng(0), 1.0)
    where = head.grid_position(*head.landmark_places(p, 1.0).T)
    opened, left, right, brows, frown, pursed = (head.sample(e, *where) for e in head.expressions(p))
    assert opened[1, 66] > 0.9 and abs(opened[1, 62]) < 0.1 and opened[1, 8] > 0.8  # by 1 cm; the upper lip stays
    assert left[0, 48] < -0.3 and left[1, 48] < -0.3 and abs(left[0, 54]) < 0.01
    assert right[0, 54] > 0.3 and right[1, 54] < -0.3 and abs(right[0, 48]) < 0.01
    assert (brows[1, 18:21] < -0.2).all() and np.abs(brows[:, 48:]).max() < 0.01
    assert frown[0, 21] > 0.05 > -0.05 > frown[0, 22]
    assert pursed[0, 48] > 0 > pursed[0, 54]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"identities": 0}, "identities must be an integer of at least 1, got 0"),
        ({"per_identity": 2.5}, "per_identity must be an integer of at least 1, got 2.5"),
        ({"identities": True}, "identities must be an integer"),
        ({"seed": -1}, "seed must be an integer of at least 0, got -1"),
        ({"difficulty": 1.5}, "difficulty must lie between 0 and 1, got 1.5"),
        ({"difficulty": float("nan")}, "difficulty must lie between 0 and 1, got nan"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        render_faces(**({"identities": 1, "per_identity": 1} | arguments))


def _score(model, features, labels):
    """Accuracy on every fifth picture, trained on the others."""
    test = np.arange(len(labels)) % 5 == 0
    return model.fit(features[~test], labels[~test]).score(features[test], labels[test])


def test_told_by_the_face_not_by_colour_or_background(faces):
    pixels = faces.images.astype(np.float32) / 255
    nearest = KNeighborsClassifier(1)
    colour = _score(nearest, pixels.mean((1, 2)), faces.labels)
    corners = _score(
        nearest, np.concatenate([pixels[:, :10, :10], pixels[:, :10, -10:]], 1).reshape(120, -1), faces.labels
    )
    grey = pixels[:, 20:, 16:96].mean(-1)[:, ::4, ::4].reshape(120, -1)
    grey = (grey - grey.mean(1, keepdims=True)) / grey.std(1, keepdims=True)
    model = make_pipeline(PCA(40, random_state=0), LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1))
    assert colour < 0.3 and corners < 0.35  # chance: 0.083
    assert _score(model, grey, faces.labels) > 0.6


def test_difficulty_brings_people_closer_together():
    def separation(difficulty):
        faces = render_faces(10, 4, seed=4, difficulty=difficulty)
        points = faces.landmarks[:, 17:].reshape(10, 4, -1)
        return points.mean(1).var(0).sum() / points.var(1).mean(0).sum()  # between people / within

    assert separation(0.0) > 2 * separation(1.0)


def test_the_whole_human_range_occurs():
    people = [draw_person(np.random.default_rng([1, i]), 1.0) for i in range(400)]
    assert {p.style for p in people} == {"long", "bob", "tied", "short", "buzz", "bald", "side"}
    assert {p.beard for p in people} == {"none", "stubble", "moustache", "goatee", "full", "long"}
    assert {p.iris for p in people} == set(range(6)) and {p.hair_colour for p in people} == set(range(6))
    for name, low, high in (("tone", 0.2, 4.8), ("age", 0.1, 0.9), ("sex", -1, 1)):
        values = [getattr(p, name) for p in people]
        assert min(values) < low and max(values) > high
    assert 0.05 < np.mean([p.glasses for p in people]) < 0.4


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**40), st.floats(0, 1))
def test_any_seed_gives_a_picture_with_a_face_in_it(seed, difficulty):
    faces = render_faces(1, 1, seed=seed, difficulty=difficulty)
    assert np.isfinite(faces.landmarks).all()
    assert faces.images[0].std() > 5
    # The tip of the nose is farthest off: 16 pixels where the head is turned by the most, 35 degrees.
    assert np.linalg.norm(align.five_points(faces.landmarks)[0] - TEMPLATE5, axis=-1).max() < 20
