"""Styles: shares, files of one's own, what is refused."""

import cv2
import numpy as np
import pytest
from PIL import Image

from maskfr_utils import masks
from maskfr_utils.faces.pose import HEAD
from maskfr_utils.rendered import render_faces


@pytest.fixture(scope="module")
def faces():
    return render_faces(10, 2, seed=3)


def test_mix_has_its_shares():
    faces_ = np.random.default_rng(0).integers(0, 256, (300, 112, 112, 3), np.uint8)
    points = np.tile((HEAD[:, :2] * 35 + [56, 52]).astype(np.float32), (300, 1, 1))
    kinds = masks.mask_faces(faces_, points, style={"surgical": 3, "cloth": 1}).kinds
    assert set(kinds) == {"surgical", "cloth"}
    assert abs((kinds == "surgical").mean() - 0.75) < 0.08


def test_bare_and_blanked_faces_in_a_mix():
    """`none` leaves the face as it is and says so, `inpaint` blanks what the mask would cover; neither has straps."""
    faces_ = np.random.default_rng(0).integers(0, 256, (120, 112, 112, 3), np.uint8)
    points = np.tile((HEAD[:, :2] * 35 + [56, 52]).astype(np.float32), (120, 1, 1))
    result = masks.mask_faces(faces_, points, style={"none": 1, "inpaint": 1, "surgical": 2})
    assert result.ok.all() and set(result.kinds) == {"none", "inpaint", "surgical"}
    bare, blank = result.kinds == "none", result.kinds == "inpaint"
    assert abs(bare.mean() - 0.25) < 0.12
    np.testing.assert_array_equal(result.images[bare], faces_[bare])
    assert not result.coverage[bare].any() and not result.alpha[bare].any()
    assert (result.images[blank][result.alpha[blank] == 255] == 128).all()
    assert (result.alpha[blank] == 255).mean() > 0.15
    assert not masks.mask_faces(faces_[:1], points[:1] * 0, style="none").ok[0]  # no face, no claim about it


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
        ("a: {kind: [", "not valid YAML"),
        (f"a: {{kind: {'c' * 4000}}}", "unknown mask kind"),
        (f"{'a' * 900}: {{kind: cloth, patterns: [{'t' * 4000}]}}", "unknown mask pattern"),
        (f"a: {{kind: cloth, colours: {{navy: {'9' * 400}}}}}", "weights"),
        (f"a: {{kind: cloth, weight: {'9' * 400}}}", "weight of a mask style"),
        (f"a: {{kind: cloth, texture: {'9' * 400}}}", "File name too long"),
        ("a: {kind: cloth, texture: /dev/zero}", "no texture at /dev/zero"),
        ("a: {kind: cloth, texture: huge.png}", "huge.png is no picture that a mask could carry: file above 64 MB"),
    ],
)
def test_bad_style_files_are_refused(tmp_path, text, message):
    (tmp_path / "bad.yaml").write_text(text)
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(2**43)  # more than any memory, and no room on the disk
    with pytest.raises(ValueError, match=message) as error:
        masks.load_styles(tmp_path / "bad.yaml")
    assert "bad.yaml" in str(error.value) and len(str(error.value)) <= 300 + len(str(tmp_path))


@pytest.mark.parametrize(
    "style", ["surgicl", "", {"cloth": 0}, {}, {"cloth": -1}, {"cloth": float("nan")}, {"plaid": 1}]
)
def test_unknown_style_is_refused(faces, style):
    with pytest.raises(ValueError):
        masks.mask_faces(faces.images[:1], faces.landmarks[:1], style=style)


def test_textures_that_change_places_are_another_style(tmp_path):
    for name, colour in (("one", "red"), ("two", "lime")):
        Image.new("RGB", (8, 8), colour).save(tmp_path / f"{name}.png")
    (tmp_path / "team.yaml").write_text("a: {kind: cloth, texture: one.png}\nb: {kind: n95, texture: two.png}")
    before = masks.styles.described(str(tmp_path / "team.yaml"))
    (tmp_path / "one.png").rename(tmp_path / "x.png")
    (tmp_path / "two.png").rename(tmp_path / "one.png")
    (tmp_path / "x.png").rename(tmp_path / "two.png")
    assert masks.styles.described(str(tmp_path / "team.yaml")) != before
