"""Masking a folder: lossless outside the masks, resumed, redrawn from the manifest, broken pictures counted."""

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
import tracemalloc
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms
from skimage.data import astronaut

from maskfr_utils import masks
from maskfr_utils.faces import pictures
from maskfr_utils.masks import cloth, folder
from maskfr_utils.masks.manifest import Manifest
from maskfr_utils.rendered import render_faces


def encode(image: np.ndarray, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **options)
    return buffer.getvalue()


def read(path) -> np.ndarray:
    return np.array(Image.open(path))


def lines(out) -> list[dict]:
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    return np.ascontiguousarray(astronaut()[:240, 100:340])


@pytest.fixture
def photos(tmp_path, portrait):
    """Two people with an aligned face each, a JPEG photo, a broken picture, one without a face, a text."""
    folder = tmp_path / "photos"
    (folder / "b" / "deep").mkdir(parents=True)
    faces = render_faces(2, 1, seed=1).images
    (folder / "face0.png").write_bytes(encode(faces[0]))
    (folder / "b" / "face1.png").write_bytes(encode(faces[1]))
    (folder / "b" / "deep" / "photo.jpg").write_bytes(encode(portrait, "JPEG", quality=90))
    (folder / "broken.jpg").write_bytes(encode(portrait, "JPEG")[:500])
    (folder / "wall.png").write_bytes(encode(np.full((90, 120, 3), 200, np.uint8)))
    (folder / "notes.txt").write_text("no picture")
    return folder


def test_folder(photos, tmp_path):
    out = tmp_path / "masked"
    counts = folder.mask_folder(photos, out, workers=1, progress=False, seed=3)
    assert counts["pictures"] == 3 and counts["faces"] == 3
    assert counts["no face found"] == 1 and counts["truncated"] + counts["unreadable"] == 1
    assert sorted(p.relative_to(out / "images").as_posix() for p in (out / "images").rglob("*.*")) == [
        "b/deep/photo.png",
        "b/face1.png",
        "face0.png",
    ]
    for entry in lines(out)[1:]:
        if "skipped" in entry:
            continue
        before, after = read(photos / entry["source"]), read(out / "images" / entry["out"])
        segment = read(out / "coverage" / entry["out"])
        assert set(np.unique(segment)) == {0, 255}
        changed = (before != after).any(2)
        near = cv2.dilate(segment, np.ones((23, 23), np.uint8)) > 0  # shadow and fading straps reach farther
        assert changed.any() and not changed[~near].any()
        redrawn = folder.redraw(entry, (photos / entry["source"]).read_bytes())
        np.testing.assert_array_equal(redrawn, after)


def test_same_as_the_functions(photos, tmp_path):
    out = tmp_path / "masked"
    folder.mask_folder(photos, out, workers=1, progress=False, style="cloth", seed=5)
    face = read(photos / "face0.png")
    np.testing.assert_array_equal(
        read(out / "images" / "face0.png"), masks.mask_faces(face[None], style="cloth", seed=5).images[0]
    )
    photo = read(photos / "b" / "deep" / "photo.jpg")
    np.testing.assert_array_equal(
        read(out / "images" / "b" / "deep" / "photo.png"), masks.mask_photo(photo, style="cloth", seed=5).image
    )


def test_resumes_where_it_stopped(photos, tmp_path, monkeypatch):
    whole, out = tmp_path / "whole", tmp_path / "masked"
    counts = folder.mask_folder(photos, whole, workers=1, progress=False)
    drawn, real = [], folder.mask_one

    def stops_after_two(name, *rest, **more):
        if len(drawn) == 2:
            raise KeyboardInterrupt
        drawn.append(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(folder, "mask_one", stops_after_two)
    with pytest.raises(KeyboardInterrupt):
        folder.mask_folder(photos, out, workers=1, progress=False)
    with (out / "manifest.jsonl").open("a") as file:
        file.write('{"source": "b/fa')  # a line that was being written
    monkeypatch.setattr(
        folder, "mask_one", lambda name, *rest, **more: (drawn.append(name), real(name, *rest, **more))[1]
    )
    assert folder.mask_folder(photos, out, workers=1, progress=False) == counts
    assert len(drawn) == len(set(drawn)) == 5
    assert sorted(map(str, lines(out))) == sorted(map(str, lines(whole)))
    assert folder.mask_folder(photos, out, workers=1, progress=False) == counts and len(drawn) == 5

    (out / "images" / "face0.png").unlink()  # what is lost is made again, and nothing else
    folder.mask_folder(photos, out, workers=1, progress=False)
    (out / "coverage" / "face0.png").unlink()
    folder.mask_folder(photos, out, workers=1, progress=False)
    assert drawn[5:] == ["face0.png", "face0.png"] and (out / "coverage" / "face0.png").exists()
    np.testing.assert_array_equal(read(out / "images" / "face0.png"), read(whole / "images" / "face0.png"))


def test_killed_and_resumed(portrait, tmp_path):
    """SIGKILL in the middle of the work, twice: no file is damaged, none drawn twice, the end is that of an unhurt run."""
    photos, out = tmp_path / "photos", tmp_path / "masked"
    photos.mkdir()
    faces = render_faces(4, 1, seed=1).images
    for i in range(40):
        (photos / f"{i:03d}.png").write_bytes(encode(np.roll(faces[i % 4], i, 1)))
    command = [sys.executable, "-m", "maskfr_utils.masks.folder", str(photos), str(out), "--workers", "1"]
    seen = 0
    for _ in range(2):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        while process.poll() is None and (not (out / "manifest.jsonl").exists() or len(whole_lines(out)) < seen + 5):
            time.sleep(0.01)
        process.kill()
        process.wait()
        assert seen < len(whole_lines(out)) < 41
        seen = len(whole_lines(out))
    stamps = {entry["out"]: (out / "images" / entry["out"]).stat().st_mtime_ns for entry in whole_lines(out)[1:]}
    counts = folder.mask_folder(photos, out, workers=1, progress=False)
    assert counts["pictures"] == 40
    names = [entry["source"] for entry in lines(out)[1:]]
    assert len(names) == len(set(names)) == 40
    assert all((out / "images" / name).stat().st_mtime_ns == stamp for name, stamp in stamps.items())
    unhurt = tmp_path / "unhurt"
    folder.mask_folder(photos, unhurt, workers=1, progress=False)
    for path in (unhurt / "images").iterdir():
        assert path.read_bytes() == (out / "images" / path.name).read_bytes()
    assert not [p for p in (out / "images").iterdir() if p.name.startswith(".")]  # no rest of a half-written file


def whole_lines(out) -> list[dict]:
    """The manifest's lines that were written to their end."""
    text = (out / "manifest.jsonl").read_text()
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def test_faces_left_bare_are_counted_apart(photos, tmp_path):
    counts = folder.mask_folder(photos, tmp_path / "masked", workers=1, progress=False, style="none")
    assert counts["pictures"] == 3 and counts["faces"] == 0 and counts["faces left bare by the style"] == 3
    np.testing.assert_array_equal(read(tmp_path / "masked" / "images" / "face0.png"), read(photos / "face0.png"))
    assert not read(tmp_path / "masked" / "coverage" / "face0.png").any()


def test_memory_does_not_grow_with_the_folder(tmp_path, monkeypatch):
    """Names of what is done are all that is kept, so that a million pictures fit."""
    out = tmp_path / "masked"
    out.mkdir()
    header = {"style": "random", "seed": 0, "style_files": {}}
    with (out / "manifest.jsonl").open("w") as file:
        file.write(json.dumps(header) + "\n")
        entry = {"size": 4000, "crc32": 1, "skipped": "no face found", "landmarks": [[[1.5, 2.5]] * 68]}
        for i in range(5_000):
            file.write(json.dumps({"source": f"person{i:07d}/{i:07d}.jpg"} | entry) + "\n")
    tracemalloc.start()
    manifest = Manifest(out, header)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(manifest.done) == manifest.counts["no face found"] == 5_000
    assert kept < 300 * 5_000 and peak < kept + 2**20  # bytes


def test_pictures_that_no_manifest_names_are_not_written_over(photos, tmp_path):
    mine = tmp_path / "out" / "images" / "a" / "mine.png"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(ValueError, match=r"mine\.png is there already, and no manifest of ours"):
        folder.mask_folder(photos, tmp_path / "out", workers=1, progress=False)
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == [mine]


def test_settings_of_which_nothing_came_bind_nobody(photos, tmp_path):
    (tmp_path / "photos.zip").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(ValueError, match="zip"):
        folder.mask_folder(tmp_path / "photos.zip", tmp_path / "masked", workers=1, progress=False)
    found = folder.mask_folder(photos, tmp_path / "masked", workers=1, progress=False, style="surgical")
    assert found["pictures"] == 3
    with pytest.raises(ValueError, match="was begun with style 'surgical', now 'random'"):
        folder.mask_folder(photos, tmp_path / "masked", workers=1, progress=False)


def test_other_settings_need_another_folder(photos, tmp_path):
    folder.mask_folder(photos, tmp_path / "masked", workers=1, progress=False)
    for changed in ({"seed": 1}, {"style": "cloth"}):
        with pytest.raises(ValueError, match="was begun with"):
            folder.mask_folder(photos, tmp_path / "masked", workers=1, progress=False, **changed)


def test_broken_manifest_is_refused(photos, tmp_path):
    out = tmp_path / "masked"
    folder.mask_folder(photos, out, workers=1, progress=False)
    text = (out / "manifest.jsonl").read_text().splitlines(keepends=True)
    (out / "manifest.jsonl").write_text("".join([text[0], "{broken\n", *text[2:]]))
    with pytest.raises(ValueError, match="line 2 is broken"):
        folder.mask_folder(photos, out, workers=1, progress=False)


def test_changed_source_is_not_redrawn(photos, tmp_path):
    out = tmp_path / "masked"
    folder.mask_folder(photos, out, workers=1, progress=False)
    entry = next(e for e in lines(out)[1:] if "out" in e)
    with pytest.raises(ValueError, match="has changed"):
        folder.redraw(entry, b"other")


def test_processes_draw_the_same(photos, tmp_path):
    alone, many = tmp_path / "alone", tmp_path / "many"
    counts = folder.mask_folder(photos, alone, workers=1, progress=False)
    assert folder.mask_folder(photos, many, workers=2, progress=False) == counts
    for path in (alone / "images").rglob("*.png"):
        np.testing.assert_array_equal(read(path), read(many / "images" / path.relative_to(alone / "images")))


def test_tar_with_traps(portrait, tmp_path):
    data = encode(portrait)
    with tarfile.open(tmp_path / "photos.tar.gz", "w:gz") as archive:
        for name in ("../escape.png", "/absolute.png", "a/good.png", "a\\bad.png"):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    out = tmp_path / "deep" / "masked"
    counts = folder.mask_folder(tmp_path / "photos.tar.gz", out, workers=1, progress=False)
    assert counts["pictures"] == 1
    assert [p.name for p in tmp_path.rglob("*.png")].count("good.png") == 2  # picture and coverage
    assert not list(tmp_path.rglob("*escape*")) and not list(tmp_path.rglob("*absolute*"))


def test_single_photo_keeps_orientation_and_exif(portrait, tmp_path):
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description"  # to be turned clockwise
    (tmp_path / "phone.jpg").write_bytes(encode(np.rot90(portrait).copy(), "JPEG", quality=95, exif=exif.tobytes()))
    counts = folder.mask_folder(tmp_path / "phone.jpg", tmp_path / "masked", workers=1, progress=False)
    assert counts["pictures"] == 1
    with Image.open(tmp_path / "masked" / "images" / "phone.png") as image:
        assert image.size == (240, 240)
        assert image.getexif().get(0x0112, 1) == 1 and image.getexif()[0x010E] == "a description"
        assert np.abs(np.array(image).astype(int) - portrait)[:40].mean() < 8  # upright


def test_names_are_those_of_a_call_that_was_not_stopped(portrait, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "x.jpg").write_bytes(encode(np.full((120, 120, 3), 90, np.uint8), "JPEG"))  # nobody on it
    folder_of = {}
    for name in ("stopped", "whole"):
        if name == "stopped":
            folder.mask_folder(photos, tmp_path / name, workers=1, progress=False)
            (photos / "x.png").write_bytes(encode(portrait))
        folder.mask_folder(photos, tmp_path / name, workers=1, progress=False)
        folder_of[name] = [path.name for path in (tmp_path / name / "images").iterdir()]
    assert folder_of["stopped"] == folder_of["whole"] == ["x.png.png"]


def test_another_picture_of_the_same_size_is_drawn(portrait, tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "masked"
    photos.mkdir()
    for image in (portrait, portrait[:, ::-1]):
        (photos / "1.bmp").write_bytes(encode(image, "BMP"))
        assert folder.mask_folder(photos, out, workers=1, progress=False)["pictures"] == 1
    with Image.open(out / "images" / "1.png") as masked:
        above = np.abs(np.asarray(masked).astype(int) - portrait[:, ::-1])[:20]
    assert above.max() == 0  # hair


def test_what_could_not_be_read_is_tried_again(portrait, tmp_path, monkeypatch):
    photos, out = tmp_path / "photos", tmp_path / "masked"
    photos.mkdir()
    for name in ("1.png", "2.png"):
        (photos / name).write_bytes(encode(portrait))

    def failing(self, entry):
        if entry.name == "2.png":
            raise pictures.PictureError("unreadable")
        return (photos / entry.name).read_bytes()

    with monkeypatch.context() as broken:
        broken.setattr("maskfr_utils.faces.archives.Folder._read", failing)
        for _ in range(2):
            counts = folder.mask_folder(photos, out, workers=1, progress=False)
            assert (counts["pictures"], counts["unreadable"]) == (1, 1)
    counts = folder.mask_folder(photos, out, workers=1, progress=False)
    assert (counts["pictures"], counts["unreadable"]) == (2, 0) and (out / "images" / "2.png").exists()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L"])
def test_a_colour_profile_for_rgb_is_kept_whatever_the_pictures_mode(portrait, tmp_path, mode):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    photo = Image.fromarray(portrait).convert(mode)
    for name, told in (("rgb", profile), ("grey", profile.replace(b"RGB ", b"GRAY", 1))):
        photo.save(data := io.BytesIO(), "PNG", icc_profile=told)
        folder.mask_one(f"{name}.png", data.getvalue(), tmp_path, "surgical", 0)
        with Image.open(tmp_path / "images" / f"{name}.png") as written:
            assert written.mode == "RGB" and (written.info.get("icc_profile") == told) == (name == "rgb")


def test_a_phones_picture_with_others_behind_it_keeps_its_tables(portrait, tmp_path):
    several = io.BytesIO()
    photo = Image.fromarray(portrait)
    photo.save(several, "MPO", save_all=True, append_images=[photo], quality=70)
    folder.mask_one("a.jpg", several.getvalue(), tmp_path, "surgical", 0, "a.jpg")
    with Image.open(several) as source, Image.open(tmp_path / "images" / "a.jpg") as written:
        assert source.format == "MPO" and written.quantization == source.quantization


def test_what_no_other_try_could_write_stops_no_folder(portrait, tmp_path, monkeypatch):
    photos = tmp_path / "photos"
    (photos / "a.png").mkdir(parents=True)
    for name in ("a.jpg", "a.png/b.jpg", "z.jpg"):
        (photos / name).write_bytes(encode(portrait, "JPEG"))
    counts = folder.mask_folder(photos, tmp_path / "masked", workers=1, progress=False)
    assert counts["pictures"] == 2 and counts["a picture's name is another's folder"] == 1
    write = folder._write

    def refuse(path, image, **metadata):
        if path.name == "z.png":
            raise OSError("encoder error -2 when writing image file")
        write(path, image, **metadata)

    monkeypatch.setattr(folder, "_write", refuse)
    counts = folder.mask_folder(photos, tmp_path / "other", workers=1, progress=False)
    assert counts["pictures"] == 1 and counts["cannot be written in its format"] == 1


def test_names_that_collide_are_not_overwritten(portrait, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.jpg").write_bytes(encode(portrait, "JPEG"))
    (photos / "a.png").write_bytes(encode(portrait))
    out = tmp_path / "masked"
    for _ in range(2):
        assert folder.mask_folder(photos, out, workers=1, progress=False)["pictures"] == 2
    assert sorted(path.name for path in (out / "images").iterdir()) == ["a.png", "a.png.png"]


def test_a_picture_that_changed_keeps_the_name_it_was_written_under(portrait, tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "masked"
    photos.mkdir()
    (photos / "a.jpg").write_bytes(encode(portrait, "JPEG"))
    (photos / "a.png").write_bytes(encode(portrait))
    folder.mask_folder(photos, out, workers=1, progress=False)
    before = {name: (out / "images" / name).read_bytes() for name in ("a.png", "a.png.png")}
    (photos / "a.png").write_bytes(encode(np.ascontiguousarray(portrait[:, ::-1])))
    assert folder.mask_folder(photos, out, workers=1, progress=False)["pictures"] == 2
    after = {name: (out / "images" / name).read_bytes() for name in before}
    assert after["a.png"] == before["a.png"] and after["a.png.png"] != before["a.png.png"]
    assert len(list((out / "images").iterdir())) == 2


def test_coverage_masks_that_would_share_a_name_are_kept_apart(portrait, tmp_path):
    """Both `a.jpg` and `a.jpg.png` would have `coverage/a.jpg.png`."""
    photos, out = tmp_path / "photos", tmp_path / "masked"
    photos.mkdir()
    (photos / "a.jpg").write_bytes(encode(portrait, "JPEG"))
    (photos / "a.jpg.png").write_bytes(encode(portrait[:, ::-1]))
    for _ in range(2):
        assert folder.mask_folder(photos, out, form="source", workers=1, progress=False)["pictures"] == 2
    assert len(list((out / "images").iterdir())) == len(list((out / "coverage").iterdir())) == 2


def test_a_picture_that_changed_is_masked_again_and_counts_once(portrait, tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "masked"
    photos.mkdir()
    for picture in (portrait, portrait[:, ::-1], np.zeros_like(portrait)):
        (photos / "a.png").write_bytes(encode(np.ascontiguousarray(picture)))
        for _ in range(2):
            counts = +folder.mask_folder(photos, out, workers=1, progress=False)
            assert counts == ({"pictures": 1, "faces": 1} if picture.any() else {"no face found": 1})


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "CMYK", "L", "I;16", "P"])
def test_a_tiff_of_any_kind_is_written_as_one_that_can_be_read(portrait, tmp_path, mode):
    photos, exif = tmp_path / "photos", Image.Exif()
    photos.mkdir()
    grey = Image.fromarray(portrait).convert("L")
    given = (
        Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
        if mode == "I;16"
        else Image.fromarray(portrait).convert(mode)
    )
    exif[0x010E] = "a description"
    if mode == "RGB":
        given, exif[0x0112] = given.transpose(Image.Transpose.ROTATE_90), 6
    given.save(photos / "a.tif", exif=exif)
    assert folder.mask_folder(photos, tmp_path / "out", form="source", workers=1, progress=False)["pictures"] == 1
    with Image.open(tmp_path / "out" / "images" / "a.tif") as written:
        told = written.getexif()
        assert written.size == (240, 240) and written.mode == "RGB" and 0x0112 not in told
        assert told[0x010E] == "a description"
    assert pictures.read_picture((tmp_path / "out" / "images" / "a.tif").read_bytes()).shape == portrait.shape


def test_metadata_that_cannot_be_written_again_does_not_cost_the_picture(portrait, tmp_path):
    exif = Image.Exif()
    exif[0x010E] = "a long description" * 6_000  # two segments of a JPEG; Pillow reads them, and writes one at most
    whole, plain = exif.tobytes(), encode(portrait, "JPEG")
    parts = (whole[:60_000], b"Exif\0\0" + whole[60_000:])
    segments = b"".join(b"\xff\xe1" + (len(part) + 2).to_bytes(2, "big") + part for part in parts)
    entry = folder.mask_one("a.jpg", plain[:2] + segments + plain[2:], tmp_path, "surgical", 0, "a.jpg")
    assert entry["kinds"] == ["surgical"]
    with Image.open(tmp_path / "images" / "a.jpg") as written:
        assert written.size == (240, 240) and not written.getexif()


def test_names_without_a_suffix_are_kept_apart(portrait, tmp_path):
    """Members of shards and RecordIO files have none, whatever dots stand in their names."""
    names = ["ann/train-000000.tar_000001", "ann/train-000000.tar_000002", "ann/v1.2/7", "ann/a.PNG"]
    found = [folder.mask_one(name, encode(portrait), tmp_path, "surgical", 0)["out"] for name in names]
    assert found == [f"{names[0]}.png", f"{names[1]}.png", f"{names[2]}.png", "ann/a.png"]


def test_odd_names_and_containers(portrait, tmp_path):
    """Names that are no UTF-8, or as long as the file system allows; a folder and its zip give the same."""
    photos, data = tmp_path / "photos", encode(render_faces(1, 1, seed=1).images[0])
    photos.mkdir()
    names = ["a.png", "x" * 251 + ".png", "é.PNG"]
    for name in names:
        (photos / name).write_bytes(data)
    Path(os.fsdecode(os.fsencode(photos) + b"/caf\xe9.png")).write_bytes(data)
    counts = folder.mask_folder(photos, tmp_path / "masked", workers=1, progress=False)
    assert counts["pictures"] == 4
    assert folder.mask_folder(photos, tmp_path / "masked", workers=1, progress=False) == counts
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for name in names:
            archive.write(photos / name, name)
    folder.mask_folder(tmp_path / "photos.zip", tmp_path / "again", workers=1, progress=False)
    for path in (tmp_path / "again" / "images").iterdir():
        assert path.read_bytes() == (tmp_path / "masked" / "images" / path.name).read_bytes()


def test_what_cannot_be_written_under_its_name_is_a_reason(tmp_path):
    (tmp_path / "photos").mkdir()
    data = encode(render_faces(1, 1, seed=1).images[0])
    Path(os.fsdecode(os.fsencode(tmp_path / "photos") + b"/" + b"\xe9" * 100 + b".png")).write_bytes(
        data
    )  # 4 letters each
    (tmp_path / "photos" / "z.png").write_bytes(data)
    counts = folder.mask_folder(tmp_path / "photos", tmp_path / "masked", workers=1, progress=False)
    assert counts["pictures"] == 1 and counts["name too long for the file system"] == 1


def test_form_of_the_source(photos, tmp_path, portrait):
    folder.mask_folder(photos, tmp_path / "masked", workers=1, progress=False, form="source")
    found = sorted(p.relative_to(tmp_path / "masked").as_posix() for p in (tmp_path / "masked").rglob("*photo*"))
    assert found == ["coverage/b/deep/photo.jpg.png", "images/b/deep/photo.jpg"]
    with Image.open(tmp_path / "masked" / found[1]) as image, Image.open(photos / "b/deep/photo.jpg") as source:
        assert image.format == "JPEG" and image.quantization == source.quantization
        change = np.abs(np.array(image).astype(int) - np.array(source)).max(2)
    near = cv2.dilate(read(tmp_path / "masked" / found[0]), np.ones((39, 39), np.uint8)) > 0
    assert np.percentile(change[~near], 99) < 12  # compressed once more with its own tables
    with pytest.raises(ValueError, match="was begun with"):
        folder.mask_folder(photos, tmp_path / "masked", workers=1, progress=False)
    with pytest.raises(ValueError, match="did you mean source"):
        folder.mask_folder(photos, tmp_path / "other", workers=1, progress=False, form="sources")


def test_a_picture_is_not_written_over_by_its_masked_self(photos, tmp_path):
    picture = next(path for path in photos.rglob("*") if path.is_file())
    own = tmp_path / "out" / "images" / picture.name
    own.parent.mkdir(parents=True)
    own.write_bytes(picture.read_bytes())
    with pytest.raises(ValueError, match="name another folder"):
        folder.mask_folder(own, tmp_path / "out", workers=1, progress=False)
    assert own.read_bytes() == picture.read_bytes()


@pytest.mark.parametrize("out", ["photos", "."])
def test_into_its_own_source_is_refused(photos, out, capsys):
    before = sorted(photos.parent.rglob("*"))
    with pytest.raises(SystemExit, match="2"):
        folder.main([str(photos), str(photos.parent / out)])
    assert "name another folder" in capsys.readouterr().err
    assert sorted(photos.parent.rglob("*")) == before


def test_nothing_to_do_is_no_success(tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    for name in ("notes.txt", "clip.mp4"):
        (tmp_path / "photos" / name).write_text("")
    with pytest.raises(SystemExit, match="2"):
        folder.main([str(tmp_path / "photos"), str(tmp_path / "masked")])
    assert "no picture in" in (said := capsys.readouterr().err) and "2 not a picture, by its name" in said
    assert not (tmp_path / "masked").exists()
    (tmp_path / "photos" / "wall.png").write_bytes(encode(np.full((90, 120, 3), 200, np.uint8)))
    assert folder.main([str(tmp_path / "photos"), str(tmp_path / "masked"), "--workers", "1"]) == 1
    told = capsys.readouterr()
    assert "no face found" in told.out and "no picture was masked" in told.err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"epoch": 1}\n', "no manifest of masked pictures"),
        ("[1]\n", "no manifest of masked pictures"),
        ('{"style": "random", "seed": 0, "style_files": {}}\n[1]\n', "line 2 is of another program"),
        ('{"style": "random", "seed": 0, "style_files": {}}\n{"a": 1}\n', "line 2 is of another program"),
        (
            '{"style": "random", "seed": 0, "style_files": {}}\n{"source": "a", "size": 1}\n',
            "line 2 is of another program",
        ),
        (
            '{"style": "random", "seed": 0, "style_files": {}}\n{"source": "a", "size": 1, "skipped": [1]}\n',
            "line 2 is of another program",
        ),
        ("\xff\xfe\n\n", "line 1 is broken"),
        ("notes of mine", "line 1 is broken"),
        ("notes of mine\n", "line 1 is broken"),
    ],
)
def test_foreign_manifest_is_refused_and_kept(photos, tmp_path, text, message):
    (tmp_path / "masked").mkdir()
    manifest = tmp_path / "masked" / "manifest.jsonl"
    manifest.write_bytes(text.encode("latin1"))
    with pytest.raises(ValueError, match=message):
        folder.mask_folder(photos, tmp_path / "masked", workers=1, progress=False)
    assert manifest.read_bytes() == text.encode("latin1")


def test_manifest_whose_first_line_was_cut_is_begun_anew(photos, tmp_path):
    (tmp_path / "masked").mkdir()
    (tmp_path / "masked" / "manifest.jsonl").write_text('{"style": "ran')
    counts = folder.mask_folder(photos, tmp_path / "masked", workers=1, progress=False)
    assert counts["pictures"] == 3 and lines(tmp_path / "masked")[0]["style"] == "random"


def test_two_calls_at_once_are_refused(photos, tmp_path):
    settings = {"style": "random", "seed": 0, "style_files": {}}
    with Manifest(tmp_path / "masked", settings), pytest.raises(ValueError, match="another call is writing"):
        folder.mask_folder(photos, tmp_path / "masked", workers=1, progress=False)
    assert folder.mask_folder(photos, tmp_path / "masked", workers=1, progress=False)["pictures"] == 3


def test_a_texture_that_is_edited_while_masks_are_drawn_is_refused(photos, tmp_path, monkeypatch):
    (tmp_path / "team.yaml").write_text("team: {kind: cloth, texture: logo.png}")
    Image.new("RGB", (40, 40), "red").save(tmp_path / "logo.png")
    monkeypatch.chdir(tmp_path)
    chosen, _ = folder.styles.resolve("team.yaml")
    monkeypatch.chdir(photos)  # a worker elsewhere
    Image.new("RGB", (40, 40), "lime").save(tmp_path / "logo.png")
    cloth.read_texture.cache_clear()
    with pytest.raises(ValueError, match=r"logo\.png was changed while masks were drawn"):
        cloth.read_texture(chosen[0].picture)


def test_edited_texture_needs_another_folder(photos, tmp_path):
    (tmp_path / "team.yaml").write_text("team: {kind: cloth, texture: logo.png}")
    for colour in ("red", "lime"):
        Image.new("RGB", (40, 40), colour).save(tmp_path / "logo.png")
        try:
            folder.mask_folder(photos, tmp_path / "m", style=str(tmp_path / "team.yaml"), workers=1, progress=False)
        except ValueError as error:
            assert colour == "lime" and "was begun with" in str(error)
        else:
            assert colour == "red"


def test_a_style_file_that_is_edited_meanwhile_changes_nothing(photos, tmp_path, monkeypatch):
    (style := tmp_path / "team.yaml").write_text("team: {kind: surgical}")
    mask_one = folder.mask_one

    def edited(*given, **named):
        entry = mask_one(*given, **named)
        style.write_text("team: {kind: cloth}")
        return entry

    monkeypatch.setattr(folder, "mask_one", edited)
    folder.mask_folder(photos, tmp_path / "m", style=str(style), workers=1, progress=False)
    first, *rest = lines(tmp_path / "m")
    assert "surgical" in first["style_files"][str(style)] and {entry["style"] for entry in rest if "out" in entry} == {
        str(style)
    }
    assert {kind for entry in rest for kind in entry.get("kinds", [])} == {"surgical"}


def test_from_a_script_without_a_main_guard(photos, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from maskfr_utils.masks.folder import mask_folder\n"
        f"print(mask_folder({str(photos)!r}, {str(tmp_path / 'masked')!r}, workers=2, progress=False)['pictures'])\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=300)
    assert done.stdout == "3\n", done.stderr


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_by_a_signal(tmp_path, number, status):
    (tmp_path / "photos").mkdir()
    faces = [encode(image) for image in render_faces(4, 1, seed=1).images]
    for i in range(400):
        (tmp_path / "photos" / f"{i:03d}.png").write_bytes(faces[i % 4])
    out = tmp_path / "masked"
    command = [sys.executable, "-m", "maskfr_utils.masks.folder", str(tmp_path / "photos"), str(out), "--workers", "1"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and (not (out / "manifest.jsonl").exists() or len(whole_lines(out)) < 5):
        time.sleep(0.01)
    process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == status
    assert "the same command goes on where it was" in said and "Traceback" not in said


def test_out_inside_the_source_is_not_read(photos):
    counts = folder.mask_folder(photos, photos / "masked", workers=1, progress=False)
    assert folder.mask_folder(photos, photos / "masked", workers=1, progress=False) == counts


@pytest.mark.parametrize("style", ["surgicl", {"cloth": -1}, 3])
def test_wrong_style_writes_nothing(photos, tmp_path, style):
    with pytest.raises(ValueError):
        folder.mask_folder(photos, tmp_path / "masked", style=style)
    assert not (tmp_path / "masked").exists()


def test_command(photos, tmp_path, capsys):
    folder.main([str(photos), str(tmp_path / "masked"), "--style", "{surgical: 1, cloth: 1}", "--workers", "1"])
    assert "3 pictures" in capsys.readouterr().out
    assert {k for e in lines(tmp_path / "masked")[1:] for k in e.get("kinds", [])} <= {"surgical", "cloth"}
    with pytest.raises(SystemExit, match="2"):
        folder.main([str(tmp_path / "missing"), str(tmp_path / "x")])
    assert "no picture, folder or tar" in capsys.readouterr().err
