"""Realism: the outline estimate against masks whose place is known, statistics against drawn shapes, the classifier."""

import json

import cv2
import numpy as np
import pytest

from maskfr_utils import masks
from maskfr_utils.faces import align
from maskfr_utils.measure import features, mfr2, outline, realism
from maskfr_utils.rendered import render_faces


@pytest.fixture(scope="module")
def drawn():
    faces = render_faces(12, 1, seed=6)
    return faces, masks.mask_faces(faces.images, faces.landmarks, style={"surgical": 1, "cloth": 1})


def test_segmentation_finds_drawn_masks(drawn):
    _, result = drawn
    aligned, alpha = realism.prepared(result.images, result.alpha)
    found, known = np.array([outline.segment(face) for face in aligned]), alpha > 127
    overlap = (found & known).sum((1, 2)) / (found | known).sum((1, 2))
    assert np.median(overlap) > 0.85
    rows = [
        (outline.outline_statistics(f)["share"], outline.outline_statistics(k)["share"])
        for f, k in zip(found, known, strict=True)
    ]
    assert np.abs(np.diff(rows)).mean() < 0.03
    assert not outline.segment(np.full((112, 112, 3), 127, np.uint8))[:56].any()  # never above the eyes


def test_statistics_of_a_rectangle():
    region = np.zeros((112, 112), bool)
    region[62:105, 30:81] = True
    found = outline.outline_statistics(region)
    assert set(found) == set(outline.STATISTICS)
    assert found["share"] == pytest.approx(43 * 51 / 112**2)
    assert found["top_nose"] == found["top_cheek"] == pytest.approx((62 - 51.6) / 35.2)
    assert found["width"] == found["width_nose"] == pytest.approx(51 / 35.2)
    none = outline.outline_statistics(np.zeros((112, 112), bool))
    assert none["share"] == 0 and all(np.isnan(v) for k, v in none.items() if k != "share")


def test_aligned_by_the_eyes_alone():
    """The exact eyes of rendered faces come to lie where they belong, and not much worse where a mask hides the rest."""
    faces = render_faces(40, 1, seed=6)
    eyes = align.five_points(faces.landmarks)[:, :2]

    def error(images: np.ndarray) -> float:
        matrices = np.array([realism.by_eyes(face) for face in images])
        moved = eyes @ matrices[:, :, :2].transpose(0, 2, 1) + matrices[:, None, :, 2]
        return np.median(np.linalg.norm(moved - realism.EYES, axis=2))

    masked = masks.mask_faces(faces.images, faces.landmarks, style={"surgical": 1, "cloth": 1}).images
    assert error(faces.images) < 2.2 and error(masked) < 2.7


def test_gradients_of_stripes():
    x, y = np.meshgrid(np.arange(112), np.arange(112))
    for wave, orientation in ((x, 0), (y, 4)):  # nine bins of 20 degrees; the gradient of rows points down, 90 degrees
        grey = (127 + 100 * np.sin(wave / 3)).astype(np.float32)
        found = features.gradients(grey, 16)
        assert found.shape == (7, 7, 9)
        assert (found[1:-1, 1:-1].argmax(-1) == orientation).all()
    assert features.gradients(np.full((112, 112), 9.0), 8).max() == 0


def test_features_are_finite_and_see_colour_texture_and_gradients(drawn):
    faces, result = drawn
    x = features.features(result.images)
    assert x.shape == (12, 7, 7, 25) and np.isfinite(x).all()
    darker = features.features(faces.images // 2)
    plain = features.features(faces.images)
    assert (darker[..., 19] < plain[..., 19]).all()  # lightness
    np.testing.assert_allclose((x[..., 9:19] ** 2).sum(-1), 1, atol=1e-4)  # shares of ten patterns


def test_classifier_tells_what_differs_and_not_what_does_not():
    rng = np.random.default_rng(0)
    people = np.repeat(np.arange(30), 3)
    offset = rng.normal(size=(30, 8))[people]  # each person looks another way
    real, alike = (offset + 0.3 * rng.normal(size=(90, 8)) for _ in range(2))
    same = features.separation(real, alike, people, people)
    other = features.separation(real, alike + 3 * (np.arange(8) == 2), people, people)
    assert same["low"] < 0.5 < same["high"] and 0.3 < same["auc"] < 0.65
    assert other["auc"] > 0.85 and other["low"] <= other["auc"] <= other["high"]


def test_a_person_is_never_on_both_sides():
    """Features that name the person, and a label that depends on the person: nothing to learn for new people."""
    people = np.arange(40)
    code = np.random.default_rng(1).normal(size=(40, 20))
    found = features.separation(code, code, people, people)
    assert 0.3 < found["auc"] < 0.7


def test_record_of_real_masks():
    """The committed record holds what the chapter shows, and says that flat polygons are told better than our masks."""
    record = json.loads(realism.RECORD.read_text())
    auc = record["auc"]["masks"]
    assert auc["flat polygons"]["auc"] > auc["same kinds and colours"]["auc"] > 0.5
    assert auc["MaskTheFace"]["auc"] > max(record["auc"]["draws"]) >= auc["same kinds and colours"]["auc"]
    assert record["auc"]["all_photos"]["photos"] > record["photos"]["real"]
    assert set(record["outline"]) == {"real", "drawn", "drawn_known"}
    assert record["segmentation"]["overlap"][1] > 0.85
    for name, columns in record["outline"].items():
        assert set(columns) == set(outline.STATISTICS), name


def test_reads_mfr2(real_mfr2):
    data = realism.with_partners(mfr2.read(real_mfr2))
    assert len(data.real) == len(data.bare) == len(data.labels) == len(data.landmarks) > 100
    assert set(data.labels) <= set(realism.LIKE)
    half = data.some(realism.held_out(data.people))
    others = set(data.people) - set(half.people)
    assert len(half.real) == len(half.bare) == sum(person not in others for person in data.people)
    assert abs(len(set(half.people)) - len(others)) <= 1


def test_faces_that_another_program_masked(tmp_path):
    """Named by the number of the bare face; what is no such face is named in the error."""
    face = np.full((112, 112, 3), 90, np.uint8)
    for name in ("007_cloth.png", "012.png"):
        cv2.imwrite(str(tmp_path / name), face)
    assert sorted(realism.read_peer(tmp_path)) == [7, 12]
    for name, content in (("013.png", b"no picture"), ("x.png", cv2.imencode(".png", face)[1].tobytes())):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"{name} is no face"):
            realism.read_peer(tmp_path)
        (tmp_path / name).unlink()
    cv2.imwrite(str(tmp_path / "014.png"), face[:50])
    with pytest.raises(ValueError, match="014.png is no face of 112 x 112"):
        realism.read_peer(tmp_path)


def test_a_set_without_real_masks_is_refused_in_a_line(drawn):
    faces, _ = drawn
    nobody = np.array([], str)
    none = realism.RealMasks(faces.images[:0], nobody, nobody, faces.images[:0], faces.landmarks[:0], 0)
    with pytest.raises(ValueError, match="no photo with a real mask"):
        realism.measure(none)
