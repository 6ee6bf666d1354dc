"""Is a mask worn already: the small network of the package, and what hangs on its word."""

import numpy as np
import pytest
import torch
from PIL import Image

from maskfr_utils import masks, records, rendered
from maskfr_utils.masks import folder, worn
from maskfr_utils.measure import mfr2, worn_masks
from maskfr_utils.recognise import quality


@pytest.fixture(scope="module")
def faces():
    made = rendered.render_faces(15, 2, seed=77)
    drawn = masks.mask_faces(made.images, made.landmarks, seed=77)
    return made.images, drawn.images[drawn.ok]


def test_drawn_masks_and_bare_faces_of_unseen_people_are_told_apart(faces):
    bare, drawn = faces
    assert worn.wears_mask(drawn).mean() > 0.9
    assert worn.wears_mask(bare).mean() < 0.1
    probability = worn.worn_probability(bare)
    assert probability.dtype == np.float32 and probability.shape == (len(bare),)
    np.testing.assert_allclose(worn.worn_probability(bare[:, :, ::-1]), probability, atol=0.02)  # mirrored
    assert worn.wears_mask(bare[:0]).shape == (0,)


def test_real_masks_are_told_as_the_record_says(real_mfr2):
    photos, record = mfr2.read(real_mfr2), records.read_measurement("masks/worn.json")
    said = worn.wears_mask(photos.images)
    found = record["said_to_wear_a_mask"]["mfr2"]
    assert said[photos.masked].mean() == pytest.approx(found["real"]["value"], abs=0.02)
    assert said[~photos.masked].mean() == pytest.approx(found["bare"]["value"], abs=0.02)
    assert found["real"]["value"] > 0.9 and found["bare"]["value"] < 0.1


def test_the_network_is_small_and_holds_numbers_only():
    assert worn.WEIGHTS.stat().st_size < 200_000
    network = worn.make_network()
    assert network(torch.zeros(2, 3, worn.SIZE, worn.SIZE)).shape == (2, 1)


def test_training_learns_what_it_is_shown():
    """Bright against dark, which no disturbance hides."""
    bright, dark = np.full((64, 112, 112, 3), 230, np.uint8), np.full((64, 112, 112, 3), 20, np.uint8)
    network = worn_masks.train(dark, bright, epochs=8)
    assert worn.worn_probability(bright, network).min() > 0.5 > worn.worn_probability(dark, network).max()


def test_rates_are_shares_of_faces_with_an_interval(faces, monkeypatch):
    monkeypatch.setattr(worn, "worn_probability", lambda faces, _: np.arange(len(faces)) < 3)
    found = worn_masks.rates(None, {"bare": (faces[0][:12], np.arange(12))})["bare"]
    assert found["value"] == 0.25 and found["low"] < 0.25 < found["high"] and found["faces"] == 12
    three = worn_masks.rates(None, {"bare": (faces[0][:12], np.arange(12) // 3)})["bare"]  # all of one person
    assert three["value"] == 0.25 and three["high"] > found["high"]


def test_a_face_that_wears_a_mask_is_said_to(faces):
    assert "already masked" in quality.find_faces(faces[1][0])[0].notes
    assert "already masked" not in quality.find_faces(faces[0][0])[0].notes


def test_no_second_mask_is_drawn_on_request(faces, tmp_path):
    for name, face in {"bare": faces[0][0], "masked": faces[1][0]}.items():
        (tmp_path / "in").mkdir(exist_ok=True)
        Image.fromarray(face).save(tmp_path / "in" / f"{name}.png")
    counts = folder.mask_folder(tmp_path / "in", tmp_path / "out", workers=1, again=False, progress=False)
    assert counts == {"pictures": 1, "faces": 1, "a mask is worn already": 1}
    assert [path.name for path in (tmp_path / "out" / "images").iterdir()] == ["bare.png"]
    both = folder.mask_folder(tmp_path / "in", tmp_path / "twice", workers=1, progress=False)
    assert both["pictures"] == 2
    with pytest.raises(ValueError, match="was begun with again False, now None"):
        folder.mask_folder(tmp_path / "in", tmp_path / "out", workers=1, progress=False)
