"""Masks: the contract, determinism, what stays free, hostile input, photos."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from skimage.data import astronaut

from maskfr_utils import mask_cloth, mask_shapes, masks
from maskfr_utils.faces import align
from maskfr_utils.rendered import render_faces

EYES = (slice(36, 42), slice(42, 48))


@pytest.fixture(scope="module")
def faces():
    return render_faces(10, 2, seed=3)


@pytest.fixture(scope="module")
def drawn(faces):
    return masks.mask_faces(faces.images, faces.landmarks)


@pytest.fixture(scope="module")
def photo():
    """A real photo with one face, and that face's landmarks."""
    image = astronaut()
    return image, align.landmarks68(image, align.detect(image)[0])


def near_eyes(points: np.ndarray, shape=(112, 112), margin: float = 1.0) -> np.ndarray:
    """Pixels whose centre lies in an eye or nearer than `margin` to it; from the distance to its edges, no raster."""
    out = np.zeros(shape, bool)
    for eye in EYES:
        corners = cv2.convexHull(points[eye].astype(np.float32))[:, 0].astype(float)
        x0, y0 = np.floor(corners.min(0) - 3).clip(0, shape[::-1]).astype(int)
        x1, y1 = np.ceil(corners.max(0) + 3).clip(0, shape[::-1]).astype(int)
        at = np.stack(np.meshgrid(np.arange(x0, x1), np.arange(y0, y1)), -1)[..., None, :]
        start, side = corners, np.roll(corners, -1, 0) - corners
        t = (((at - start) * side).sum(-1) / np.maximum((side**2).sum(-1), 1e-9)).clip(0, 1)
        distance = np.linalg.norm(at - start - t[..., None] * side, axis=-1).min(-1)
        turn = side[:, 0] * (at - start)[..., 1] - side[:, 1] * (at - start)[..., 0]
        inside = (turn >= 0).all(-1) | (turn <= 0).all(-1)
        out[y0:y1, x0:x1] |= inside | (distance <= margin)
    return out


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
    assert len(many) > masks._CHUNK
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


def test_masks_turn_with_the_face():
    """The outline of a turned, scaled, shifted face is the turned, scaled, shifted outline."""
    shape = mask_shapes.shape("surgical")
    points = (mask_shapes.HEAD[:, :2] * 35 + [56, 52]).astype(np.float32)
    turn, scale, shift = 0.5, 7.0, np.array([300, -40])
    rotation = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    both = np.stack([points, points @ rotation.T + shift]).astype(np.float32)
    placed = mask_shapes.place([shape] * 2, both, np.zeros((2, 4), np.float32))
    assert placed.ok.all()
    np.testing.assert_allclose(placed.outline[0] @ rotation.T + shift, placed.outline[1], atol=0.1)
    np.testing.assert_allclose(placed.lattice[0], placed.lattice[1], atol=2e-2)


def test_mean_head_is_symmetric_and_follows_itself():
    np.testing.assert_allclose(mask_shapes.HEAD[mask_shapes.MIRROR], mask_shapes.HEAD * [-1, 1, 1])
    points = np.array([[0.3, 0.8, 0.2], [0, 1.5, 0.1]])
    camera = np.array([[30, 2], [-2, 30], [8, 3.0]])
    np.testing.assert_allclose(
        mask_shapes.follow(points) @ (mask_shapes.HEAD @ camera + [50, 40]), points @ camera + [50, 40], atol=1e-6
    )


def test_a_profile_hides_the_far_side():
    """Seen from the side, hardly anything of the mask lies beyond the nose, and the near side is the larger one."""
    shape = mask_shapes.shape("cloth")
    shown = []
    for yaw in (0.0, 0.5, 1.0):
        camera = 35 * np.array([[np.cos(yaw), 0], [0, 1], [np.sin(yaw), 0]])
        points = (mask_shapes.HEAD @ camera + 56).astype(np.float32)[None]
        placed = mask_shapes.place([shape], points, np.zeros((1, 4), np.float32))
        assert placed.ok[0]
        nose = points[0, 30, 0]
        x = placed.outline[0, :, 0]
        shown.append((x.max() - nose) / (nose - x.min()))
        area = 0.5 * abs(np.sum(x * np.roll(placed.outline[0, :, 1], 1) - np.roll(x, 1) * placed.outline[0, :, 1]))
        assert area > 20**2
    assert shown[0] == pytest.approx(1, abs=0.02)
    assert shown[0] > shown[1] > shown[2] and shown[2] < 0.35


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


def test_intensity(faces):
    full = masks.mask_faces(faces.images[:4], faces.landmarks[:4], style=masks.Style("kn95"))
    half = masks.mask_faces(faces.images[:4], faces.landmarks[:4], style=masks.Style("kn95", intensity=0.5))
    assert half.alpha.max() == 128 and full.alpha.max() == 255
    change = [np.abs(r.images.astype(int) - faces.images[:4]).mean() for r in (half, full)]
    assert 0.35 * change[1] < change[0] < 0.65 * change[1]


# ---- styles -------------------------------------------------------------------------------------------------------


def test_mix_has_its_shares():
    faces_ = np.random.default_rng(0).integers(0, 256, (300, 112, 112, 3), np.uint8)
    points = np.tile((mask_shapes.HEAD[:, :2] * 35 + [56, 52]).astype(np.float32), (300, 1, 1))
    kinds = masks.mask_faces(faces_, points, style={"surgical": 3, "cloth": 1}).kinds
    assert set(kinds) == {"surgical", "cloth"}
    assert abs((kinds == "surgical").mean() - 0.75) < 0.08


def test_bare_and_blanked_faces_in_a_mix():
    """`none` leaves the face as it is and says so, `inpaint` blanks what the mask would cover; neither has straps."""
    faces_ = np.random.default_rng(0).integers(0, 256, (120, 112, 112, 3), np.uint8)
    points = np.tile((mask_shapes.HEAD[:, :2] * 35 + [56, 52]).astype(np.float32), (120, 1, 1))
    result = masks.mask_faces(faces_, points, style={"none": 1, "inpaint": 1, "surgical": 2})
    assert result.ok.all() and set(result.kinds) == {"none", "inpaint", "surgical"}
    bare, blank = result.kinds == "none", result.kinds == "inpaint"
    assert abs(bare.mean() - 0.25) < 0.12
    np.testing.assert_array_equal(result.images[bare], faces_[bare])
    assert not result.coverage[bare].any() and not result.alpha[bare].any()
    assert (result.images[blank][result.alpha[blank] == 255] == 128).all()
    assert (result.alpha[blank] == 255).mean() > 0.15
    assert not masks.mask_faces(faces_[:1], points[:1] * 0, style="none").ok[0]  # no face, no claim about it


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


def test_straps_fade_behind_the_ear():
    points = (mask_shapes.HEAD[:, :2] * 140 + [224, 208]).astype(np.float32)
    noise = np.random.default_rng(0).integers(-20, 21, (448, 448, 3))  # a sharp picture
    skin = (np.array([190, 150, 125]) + noise).astype(np.uint8)  # neither hair nor background cuts them off
    alpha = masks.mask_photo(skin, style=masks.Style("surgical", wears={"tight": 1}), landmarks=points[None]).alpha
    for side in (alpha, alpha[:, ::-1]):
        opacity = side.max(0).astype(int)  # by column, from the outside in
        first = int((opacity > 20).argmax())
        assert opacity[first + 2] < 128 and opacity[first + 30] == 255


@pytest.mark.parametrize("kind", ["surgical", "n95"])
def test_straps_of_a_large_face_end_in_a_tip_without_steps(kind):
    size = 440.0  # eye distance
    points = (mask_shapes.HEAD[:, :2] * size + [1.6 * size, 1.1 * size]).astype(np.float32)
    noise = np.random.default_rng(0).integers(-20, 21, (1500, 1408, 3))
    skin = (np.array([190, 150, 125]) + noise).astype(np.uint8)
    alpha = masks.mask_photo(skin, style=masks.Style(kind, wears={"tight": 1}), landmarks=points[None]).alpha
    for side in (alpha, alpha[:, ::-1]):
        opacity = side.max(0).astype(int)  # by column, from the outside in
        first = int((opacity > 0).argmax())
        assert np.abs(np.diff(opacity[first : first + 40])).max() < 30  # one step of four would be 70
        wide = (side > 0).sum(0)[first : first + 40]
        assert wide[:3].max() < 0.5 * wide[-1]


def test_user_style_file(faces, tmp_path):
    texture = np.zeros((40, 60, 3), np.uint8)
    texture[:, :, 1] = 200
    cv2.imwrite(str(tmp_path / "logo.png"), texture)
    (tmp_path / "mine.yaml").write_text(
        "school: {kind: cloth, colours: [navy, '#aa2233'], patterns: stripe, wears: {tight: 1}}\n"
        "logo: {kind: kn95, weight: 2, texture: logo.png}\n"
    )
    result = masks.mask_faces(faces.images, faces.landmarks, style=str(tmp_path / "mine.yaml"))
    assert set(result.kinds) == {"cloth", "kn95"}
    logos = result.images[result.kinds == "kn95"][result.alpha[result.kinds == "kn95"] == 255].mean(0)
    assert logos[1] > 2 * max(logos[0], logos[2])


@pytest.mark.parametrize(
    "text, message",
    [
        ("a: {kind: surgicle}", "did you mean surgical"),
        ("a: {kind: cloth, colour: {red: 1}}", "unknown mask style field 'colour'.*colours"),
        ("a: {kind: cloth, colours: {reddish: 1}}", "unknown colour"),
        ("a: {kind: cloth, colours: {red: -1}}", "negative"),
        ("a: {kind: cloth, colours: {red: many}}", "weights"),
        ("a: {kind: cloth, intensity: 2}", r"0\.\.1"),
        ("a: {kind: cloth, patterns: {tartan: 1}}", "unknown mask pattern"),
        ("a: {}", "kind"),
        ("a: 3", "fields"),
        ("[1, 2]", "must map"),
        ("a: {kind: [", "no YAML"),
    ],
)
def test_bad_style_files_are_refused(tmp_path, text, message):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        masks.load_styles(tmp_path / "bad.yaml")
    assert "bad.yaml" in str(error.value)


@pytest.mark.parametrize(
    "style", ["surgicl", "", {"cloth": 0}, {}, {"cloth": -1}, {"cloth": float("nan")}, {"plaid": 1}]
)
def test_unknown_style_is_refused(faces, style):
    with pytest.raises(ValueError):
        masks.mask_faces(faces.images[:1], faces.landmarks[:1], style=style)


@pytest.mark.parametrize("pattern", mask_cloth.PATTERNS)
def test_patterns_look_the_same_at_any_size(pattern):
    cloth = mask_cloth.Cloth("cloth", (200, 30, 30), (20, 20, 220), pattern, 1, False, None, 1.0)
    small, large = (mask_cloth.weave(cloth, size) for size in (96, 384))
    shrunk = cv2.resize(large, (96, 96), interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - shrunk).mean() < 14
    if pattern != "plain":
        assert small.std((0, 1)).max() > 12


def test_a_large_cloth_mask_has_no_slit_along_its_seam():
    """Hardly anything near the seam faces into the head, whatever the folds; turned inside out it would be 2 %."""
    for folds in range(3):
        normals = mask_cloth.normals("cloth", "normal", 512, folds, False).reshape(512, 512, 6)
        assert (normals[100:400, 240:272, 2] < 0).mean() < 0.005


# ---- photos -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["surgical", "n95", "bandana"])
@pytest.mark.parametrize("zoom", [0.7, 2.0])
def test_photo(photo, kind, zoom):
    image = cv2.resize(photo[0], None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC)
    points = ((photo[1] + 0.5) * zoom - 0.5)[None]
    before = image.copy()
    result = masks.mask_photo(image, style=kind, landmarks=points)
    assert result.ok.tolist() == [True] and result.kinds.tolist() == [kind]
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(result.image[~result.coverage], image[~result.coverage])
    mouth = points[0, 62].round().astype(int)
    assert result.alpha[mouth[1], mouth[0]] > 200
    assert not result.coverage[near_eyes(points[0], image.shape[:2], margin=1.0)].any()
    left, top, right, bottom = result.boxes[0]
    assert left < mouth[0] < right and top < mouth[1] < bottom


def test_photo_finds_its_faces(photo):
    result = masks.mask_photo(photo[0], seed=4)
    assert result.ok.all() and len(result.boxes) >= 1
    again = masks.mask_photo(photo[0], seed=4, landmarks=result.landmarks)
    np.testing.assert_array_equal(again.image, result.image)
    assert (masks.mask_photo(photo[0], seed=5).image != result.image).any()


@pytest.mark.parametrize("kind", ["surgical", "cloth", "n95", "bandana"])
def test_photo_masks_scale_with_the_face(photo, kind, monkeypatch):
    """The same face at three times the size has the same mask, once both are drawn with the same numbers."""
    draws = masks._draws
    monkeypatch.setattr(masks, "_draws", lambda seed, pictures: draws(seed, [7] * len(pictures)))
    image, points = photo
    large = cv2.resize(image, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
    sizes = (image, points), (large, points * 3 + 1)
    alpha, small = (masks.mask_photo(p, style=kind, landmarks=q[None]).alpha for p, q in sizes)
    small = cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_AREA)
    both, either = (small > 127) & (alpha > 127), (small > 127) | (alpha > 127)
    assert both.sum() / either.sum() > 0.97


def test_faces_cut_by_the_border_and_overlapping(photo):
    image, points = photo
    for x, y in ((0, 80), (150, 130), (215, 0), (225, 130)):
        part = np.ascontiguousarray(image[y : y + 90, x : x + 90])
        result = masks.mask_photo(part, style="cloth", landmarks=(points - [x, y])[None])
        np.testing.assert_array_equal(result.image[~result.coverage], part[~result.coverage])
    # The nearer face has its eyes where the farther one has its mouth.
    near = (points - points[36:48].mean(0)) * 1.3 + points[62]
    both = masks.mask_photo(image, style="cloth", landmarks=np.stack([near, points]))
    assert both.ok.all() and np.ptp(both.landmarks[0][:, 0]) < np.ptp(both.landmarks[1][:, 0])  # the nearest last
    alone = masks.mask_photo(image, style="cloth", landmarks=points[None])
    eyes = near_eyes(near, image.shape[:2])
    assert alone.coverage[eyes].mean() > 0.5 and not both.coverage[eyes].any()
    x, y = near[27].round().astype(int)  # between its eyes
    assert alone.coverage[y, x] and not both.coverage[y, x]


@pytest.mark.parametrize("width", [64, 1500])
def test_photo_of_small_and_large_faces(photo, width):
    """From 64 pixels of face up; the largest, 4,000, takes seconds and a gigabyte and was tried by hand."""
    image, points = photo[0][:260, 90:350], photo[1] - [90, 0]
    zoom = width / np.ptp(points[:, 0])
    image = cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC)
    points = (points + 0.5) * zoom - 0.5
    result = masks.mask_photo(image, style="surgical", landmarks=points[None])
    assert result.ok.all()
    np.testing.assert_array_equal(result.image[~result.coverage], image[~result.coverage])
    for x, y in points[[30, 51, 57, 62]].round().astype(int):
        assert result.alpha[y, x] > 250
    assert not result.coverage[near_eyes(points, image.shape[:2])].any()
    share = (result.alpha > 127).sum() / width**2
    assert 0.25 < share < 0.7  # as much of the face as at any size


def test_faces_side_by_side_keep_their_own_masks(photo):
    """Two faces that touch: each gets a mask on its own mouth, and none of it hides the other's eyes."""
    image, points = photo
    face, width = image[:240, 120:330], 210
    pair = np.concatenate([face, face[:, ::-1][:, 60:]], 1)  # the second one cut where it begins
    mirrored = (points - [120, 0])[mask_shapes.MIRROR] * [-1, 1] + [width - 1 - 60 + width, 0]
    both = np.stack([points - [120, 0], mirrored]).astype(np.float32)
    result = masks.mask_photo(np.ascontiguousarray(pair), style="cloth", landmarks=both)
    assert result.ok.all()
    for face_points in both:
        x, y = face_points[62].round().astype(int)
        assert result.alpha[y, x] > 200 and not result.coverage[near_eyes(face_points, pair.shape[:2])].any()


def test_photo_without_a_face_and_wrong_photos():
    blank = np.full((60, 80, 3), 90, np.uint8)
    result = masks.mask_photo(blank)
    assert len(result.boxes) == 0 and result.ok.shape == (0,)
    np.testing.assert_array_equal(result.image, blank)
    for wrong in (np.zeros((5, 5), np.uint8), np.zeros((5, 5, 3)), np.zeros((0, 5, 3), np.uint8)):
        with pytest.raises(ValueError, match="photo"):
            masks.mask_photo(wrong)


@given(
    st.floats(-70, 70),
    st.floats(-25, 25),
    st.floats(-30, 30),
    st.floats(0.1, 50),
    st.tuples(st.floats(-99, 99), st.floats(-99, 99)),
)
def test_yaw_is_that_of_a_turned_head_whatever_its_pitch_roll_size_and_place(yaw, pitch, roll, size, place):
    turn = Rotation.from_euler("ZXY", [roll, pitch, yaw], degrees=True)  # intrinsic: roll last
    seen = turn.apply(mask_shapes.HEAD)[:, :2] * size + place
    assert mask_shapes.head_yaw(seen[None])[0] == pytest.approx(yaw, abs=0.1)


def test_yaw_of_the_mirror_image_is_the_opposite():
    landmarks = render_faces(4, 3, seed=2).landmarks
    mirrored = (landmarks * [-1, 1] + [111, 0])[:, mask_shapes.MIRROR]
    np.testing.assert_allclose(mask_shapes.head_yaw(mirrored), -mask_shapes.head_yaw(landmarks), atol=0.05)
    assert np.abs(mask_shapes.head_yaw(landmarks)).max() > 5
