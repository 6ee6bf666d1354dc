"""MFR2 as its authors hand it out: folders of people and two lists."""

import numpy as np
import pytest
from PIL import Image

from maskfr_utils.faces import mfr2
from maskfr_utils.measure.mfr2 import lies_in, read
from maskfr_utils.rendered import render_faces

IMAGES = render_faces(2, 3, seed=2).images


@pytest.fixture
def folder(tmp_path):
    """Two people; one's pictures numbered as published, the other's not."""
    for i, image in enumerate(IMAGES):
        person, number = ("Ann", "Bob")[i // 3], i % 3
        path = tmp_path / "mfr2" / person / (f"Ann_{number + 1:04d}.png" if person == "Ann" else f"{number}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    (tmp_path / "mfr2" / mfr2.LABELS).write_text("Ann\t1\tsurgical-blue\nBob\t3\tno-mask\n")
    (tmp_path / "mfr2" / mfr2.PAIRS).write_text("1\t2\nAnn\t1\t3\nAnn\t2\tBob\t1\n\n")
    return tmp_path


def test_read(folder):
    found = mfr2.read_published(folder)
    assert [face.name for face in found.faces][:2] == ["Ann/Ann_0001.png", "Ann/Ann_0002.png"]
    np.testing.assert_array_equal([face.image for face in found.faces], IMAGES)
    assert found.labels == ["surgical-blue", "", "", "", "", "no-mask"]
    assert found.pairs.tolist() == [[0, 2], [1, 3]] and not found.skipped
    assert mfr2.read_published(folder / "mfr2").labels == found.labels


def test_measurements_take_the_photos_whose_mask_is_known(folder):
    photos = read(folder)
    assert photos.people.tolist() == ["Ann", "Bob"] and photos.masked.tolist() == [True, False]
    assert photos.detected.all() and photos.pairs.shape == (0, 2)
    assert lies_in(folder) == folder / "mfr2"


def test_pictures_without_a_face_are_counted_with_their_pairs(folder):
    Image.new("RGB", (80, 80)).save(folder / "mfr2/Ann/Ann_0003.png")
    found = mfr2.read_published(folder)
    assert len(found.faces) == 5 and found.pairs.tolist() == [[1, 2]]
    assert found.skipped == {"no face found": 1, "pair with a picture in which no face was found": 1}


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        (mfr2.LABELS, "Ann\t9\tcloth\n", "line 1: no picture '9' of 'Ann'"),
        (mfr2.PAIRS, "Ann\t1\tx\n", "line 1: no picture 'x' of 'Ann'"),
        (mfr2.PAIRS, f"Ann\t1\t{'1' * 5000}\n", "line 1: no picture '11111111111111111111' of 'Ann'"),
        (mfr2.PAIRS, "Ann\t1\t2\nAnn\n", "line 2: 1 parts, expected 3 or 4"),
    ],
)
def test_lists_that_do_not_fit_are_refused(folder, file, text, message):
    (folder / "mfr2" / file).write_text(text)
    with pytest.raises(ValueError, match=message):
        mfr2.read_published(folder)


def test_no_mfr2(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected mfr2_labels\.txt"):
        mfr2.read_published(tmp_path)
