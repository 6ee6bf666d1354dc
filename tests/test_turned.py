"""What becomes of photos that are turned by quarters, counted by what `detect_upright` says of them."""

import numpy as np
import pytest

from maskfr_utils.faces import align
from maskfr_utils.faces.pictures import PictureError
from maskfr_utils.measure import turned
from maskfr_utils.recognise import quality

PHOTO = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


@pytest.mark.parametrize("quarter", [1, 2, 3])
def test_outcomes(monkeypatch, quarter):
    def upright(photo, threshold=0.0):  # turns until it is the photo again
        turns = next(k for k in range(4) if np.array_equal(np.rot90(photo, k), PHOTO))
        return turns, [(0, 0, 1, 1)]

    monkeypatch.setattr(align, "detect_upright", upright)
    assert turned.outcome(PHOTO, quarter) == "right"
    monkeypatch.setattr(align, "detect_upright", lambda photo: (0, [(0, 0, 1, 1)]))
    assert turned.outcome(PHOTO, quarter) == "wrong"
    monkeypatch.setattr(align, "detect_upright", lambda photo: (0, []))
    assert turned.outcome(PHOTO, quarter) == "left out"

    def doubtful(photo):
        raise PictureError("which way up")

    monkeypatch.setattr(align, "detect_upright", doubtful)
    assert turned.outcome(PHOTO, quarter) == "left out"


@pytest.mark.parametrize("quarter", [0, 1, 2, 3])
def test_a_turned_photo_gives_the_same_face_and_its_box_where_it_is(quarter):
    data = pytest.importorskip("skimage.data", reason="scikit-image carries the astronaut: install the notebooks extra")
    photo = np.ascontiguousarray(data.astronaut()[:280, 90:370])
    (face,), (again,) = (quality.find_faces(np.ascontiguousarray(p)) for p in (photo, np.rot90(photo, quarter)))
    np.testing.assert_array_equal(again.image, face.image)
    left, top, right, bottom = again.box
    where = np.zeros(np.rot90(photo, quarter).shape[:2], bool)
    where[max(0, top) : bottom, max(0, left) : right] = True
    left, top, right, bottom = face.box
    wanted = np.zeros(photo.shape[:2], bool)
    wanted[max(0, top) : bottom, max(0, left) : right] = True
    assert (np.rot90(wanted, quarter) ^ where).mean() < 0.02


def test_a_doubtful_face_is_taken_as_the_photo_stands(monkeypatch):
    data = pytest.importorskip("skimage.data", reason="scikit-image carries the astronaut: install the notebooks extra")
    photo = np.ascontiguousarray(data.astronaut()[:280, 90:370])

    def doubtful(photo, threshold):
        raise PictureError("which way up the face is cannot be told")

    wanted = quality.find_faces(photo)
    monkeypatch.setattr(align, "detect_upright", doubtful)
    np.testing.assert_array_equal(quality.find_faces(photo)[0].image, wanted[0].image)
