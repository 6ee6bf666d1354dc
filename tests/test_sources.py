"""Real faces in: every picture is converted, or skipped and counted; an archive can do no harm."""

import bz2
import gzip
import io
import lzma
import os
import struct
import tarfile
import zipfile
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from maskfr_utils import paths, rendered
from maskfr_utils.faces import align, pictures, sources

RNG = np.random.default_rng(0)
FACE = RNG.integers(0, 256, (112, 112, 3), np.uint8)


def encode(array: np.ndarray | Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    (array if isinstance(array, Image.Image) else Image.fromarray(array)).save(file, kind, **options)
    return file.getvalue()


def png_claiming(width: int, height: int) -> bytes:
    """A tiny PNG that says it is huge."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


PNG = encode(FACE)
PICTURES = {f"{person}/{i}.png": encode(np.roll(FACE, i, 0)) for person in ("ann", "bob") for i in range(3)}


def write_folder(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def tar_bytes(files: dict[str, bytes] | list[tuple[str, bytes]], *members: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for member in members:
            archive.addfile(member)
        for name, data in files.items() if isinstance(files, dict) else files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def write_tar(path: Path, *args) -> Path:
    path.write_bytes(tar_bytes(*args))
    return path


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data, zipfile.ZIP_DEFLATED)
    return path


def member(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


# Decoding


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_are_exact(kind):
    np.testing.assert_array_equal(pictures.read_picture(encode(FACE, kind)), FACE)
    np.testing.assert_array_equal(pictures.read_picture(encode(FACE, "WEBP", lossless=True)), FACE)


@pytest.mark.parametrize("kind", ["JPEG", "GIF", "WEBP"])
def test_lossy_formats_are_close(kind):
    smooth = np.array(Image.fromarray(FACE[:8, :8]).resize((112, 112), Image.Resampling.BICUBIC))
    assert np.abs(pictures.read_picture(encode(smooth, kind)).astype(int) - smooth).mean() < 12


GREY = FACE[..., 0]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (encode(GREY), GREY),
        (encode(GREY.astype(np.uint16) * 257), GREY),
        (encode(GREY.astype(np.uint16) * 257, "TIFF"), GREY),
        (encode(Image.fromarray(GREY.astype(np.int32) * 257), "TIFF"), GREY),
        (encode(Image.fromarray(GREY.astype(np.int32)), "TIFF"), GREY),
        (encode(Image.fromarray(GREY.astype(np.float32) / 255), "TIFF"), GREY),
        (encode(Image.fromarray(GREY.astype(np.float32)), "TIFF"), GREY),
        (encode(GREY > 99), (GREY > 99) * 255),
        (encode(Image.fromarray(GREY).quantize(256)), GREY),
    ],
    ids=[
        "grey",
        "grey 16 PNG",
        "grey 16 TIFF",
        "grey 32",
        "grey 32 of 8 bits",
        "float 0..1",
        "float 0..255",
        "black and white",
        "palette",
    ],
)
def test_grey_pictures_become_rgb(data, expected):
    picture = pictures.read_picture(data)
    assert picture.shape == (112, 112, 3)
    assert picture.dtype == np.uint8
    np.testing.assert_allclose(picture, np.repeat(np.asarray(expected)[..., None], 3, 2).astype(int), atol=1)


def test_transparency_is_laid_on_white():
    alpha = np.zeros((112, 112), np.uint8)
    alpha[:50] = 255
    expected = FACE.copy()
    expected[50:] = 255
    rgba = Image.fromarray(np.dstack([FACE, alpha]))
    np.testing.assert_array_equal(pictures.read_picture(encode(rgba)), expected)
    grey = Image.fromarray(np.dstack([GREY, alpha]))
    np.testing.assert_array_equal(pictures.read_picture(encode(grey))[60:], 255)
    dark = np.where(alpha, 3000, 5).astype(np.uint16)  # a 16-bit grey that stands for nothing at all
    picture = io.BytesIO()
    Image.fromarray(dark).save(picture, "PNG", transparency=5)
    found = pictures.read_picture(picture.getvalue())
    assert (found[:50] == 12).all() and (found[50:] == 255).all()
    palette = Image.fromarray(np.where(alpha, 1, 0).astype(np.uint8), "P")
    palette.putpalette([10, 20, 30, 40, 50, 60])
    picture = pictures.read_picture(encode(palette, transparency=0))
    assert picture[0, 0].tolist() == [40, 50, 60]
    assert picture[111, 0].tolist() == [255, 255, 255]


def test_cmyk_keeps_its_colours():
    red = Image.new("RGB", (112, 112), (200, 30, 30)).convert("CMYK")
    assert np.abs(pictures.read_picture(encode(red, "JPEG")).mean((0, 1)) - [200, 30, 30]).max() < 10


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_undone(orientation):
    upright = Image.fromarray(FACE[:, :100])
    # What the camera stored, such that this orientation brings it upright.
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    stored = upright.transpose(undo[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(pictures.read_picture(encode(stored, exif=exif)), FACE[:, :100])


def test_broken_exif_does_not_lose_the_picture():
    data = encode(FACE, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff broken")
    assert pictures.read_picture(data).shape == (112, 112, 3)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"no picture at all", "unreadable"),
        (PNG[: len(PNG) // 2], "truncated"),
        (encode(FACE, "JPEG")[:3000], "truncated"),
        (png_claiming(20_000, 20_000), "above 89 million pixels"),
        (png_claiming(9_500, 9_500), "above 89 million pixels"),
        (png_claiming(2_000, 2_000), "truncated"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 112 112\n(ls) run\n", "unreadable"),
        *((encode(FACE, kind), "unreadable") for kind in ("PCX", "SGI", "DDS")),  # of Pillow's other formats
        (b"\x89PNG" + bytes(pictures.MAX_BYTES), "file above 64 MB"),
    ],
    ids=[
        "empty",
        "text",
        "cut PNG",
        "cut JPEG",
        "bomb",
        "smaller bomb",
        "empty PNG",
        "PostScript",
        "PCX",
        "SGI",
        "DDS",
        "long",
    ],
)
def test_unusable_pictures_have_a_reason(data, reason):
    with pytest.raises(pictures.PictureError) as caught:
        pictures.read_picture(data)
    assert str(caught.value) == reason


@settings(max_examples=60, deadline=None)
@given(kind=st.sampled_from(["JPEG", "PNG", "TIFF", "GIF", "BMP", "WEBP"]), data=st.data())
def test_damage_is_a_picture_or_a_reason(kind, data):
    encoded = bytearray(encode(FACE[:40, :50], kind))
    for _ in range(data.draw(st.integers(1, 8))):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    encoded = encoded[: data.draw(st.integers(0, len(encoded)))]
    try:
        picture = pictures.read_picture(bytes(encoded))
    except pictures.PictureError as error:
        assert str(error) in {"empty file", "truncated", "unreadable", "above 89 million pixels"}
    else:
        assert picture.dtype == np.uint8
        assert picture.ndim == 3
        assert picture.shape[2] == 3


# Faces


def test_aligned_pictures_are_taken_as_they_are():
    points = np.full((68, 2), 5.0)
    face = sources.to_face("ann/1.png", PNG, points)
    np.testing.assert_array_equal(face.image, FACE)
    assert (face.identity, face.name) == ("ann", "ann/1.png")
    np.testing.assert_array_equal(face.landmarks, points)
    points[3] = np.nan
    assert sources.to_face("ann/1.png", PNG, points).landmarks is None


def test_photos_are_detected_and_aligned():
    data = pytest.importorskip("skimage.data", reason="scikit-image carries the astronaut: install the notebooks extra")
    photo = Image.fromarray(data.astronaut()[:280, 90:370])
    for size in (280, 1100):
        face = sources.to_face("eileen/1.jpg", encode(photo.resize((size, size)), "JPEG"), np.zeros((68, 2)))
        assert face.image.shape == (112, 112, 3)
        assert np.abs(align.five_points(face.landmarks) - align.TEMPLATE5).max() < 6
        # The landmarks came along: the predictor finds the same points on the aligned face.
        assert np.abs(align.face_landmarks(face.image[None])[0] - face.landmarks).mean() < 3


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_photos_on_their_side_or_head_give_the_same_face(turn):
    data = pytest.importorskip("skimage.data", reason="scikit-image carries the astronaut: install the notebooks extra")
    photo = np.ascontiguousarray(data.astronaut()[:280, 90:370])
    upright, turned = (sources.to_face("e/1.png", encode(p)) for p in (photo, np.rot90(photo, turn)))
    np.testing.assert_array_equal(turned.image, upright.image)
    np.testing.assert_array_equal(turned.landmarks, upright.landmarks)


def test_pictures_that_need_another_package_say_which(tmp_path):
    known = {".heic": "HEIC", ".avif": "AVIF"}
    missing = {suffix: kind for suffix, kind in known.items() if suffix not in pictures.SUFFIXES}
    files = {f"ann/1{suffix}": b"x" for suffix in missing} | PICTURES
    found = sources.open_source(write_folder(tmp_path / "set", files)).skipped
    assert all(any(reason.startswith(f"{kind}, which needs") for reason in found) for kind in missing.values())


def test_photo_without_a_face():
    with pytest.raises(pictures.PictureError, match="no face found"):
        sources.to_face("a/1.png", encode(RNG.integers(0, 256, (200, 150, 3), np.uint8)))


# Folders and tars


@pytest.fixture(params=["folder", "zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
def make(request, tmp_path):
    """Writes files as a folder or archive and opens it."""

    def open_files(files: dict[str, bytes]) -> sources.Source:
        if request.param == "folder":
            return sources.open_source(write_folder(tmp_path / "set", files))
        if request.param == "zip":
            return sources.open_source(write_zip(tmp_path / "set.zip", files))
        compress = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "tar": bytes}
        path = tmp_path / f"set.{request.param}"
        path.write_bytes(compress[request.param.rsplit(".", 1)[-1]](tar_bytes(files)))
        return sources.open_source(path)

    return open_files


def test_every_container_gives_the_same_faces(make):
    source = make(dict(reversed(PICTURES.items())) | {"readme.txt": b"hello", "ann/.DS_Store": b"x"})
    assert source.total == 6
    for _ in range(2):  # a source can be read again
        found = list(source)
        assert sorted(face.name for face in found) == sorted(PICTURES)
        assert {face.identity for face in found} == {"ann", "bob"}
        for face in found:
            np.testing.assert_array_equal(face.image, pictures.read_picture(PICTURES[face.name]))
            assert face.landmarks is None
        assert source.skipped == Counter({"not a picture, by its name": 1})


def test_bad_pictures_are_counted_and_the_rest_is_kept(make):
    bad = {
        "ann/empty.jpg": b"",
        "ann/text.jpg": b"hello",
        "bob/cut.png": PNG[:500],
        "bob/bomb.png": png_claiming(50_000, 50_000),
        "bob/noface.png": encode(np.zeros((64, 64, 3), np.uint8)),
    }
    source = make(PICTURES | bad)
    assert len(list(source)) == 6
    assert source.total == 11
    assert source.skipped == Counter(
        {"empty file": 1, "unreadable": 1, "truncated": 1, "above 89 million pixels": 1, "no face found": 1}
    )


def test_folders_above_the_identities_are_left_out(make):
    source = make({f"set/train/{name}": data for name, data in PICTURES.items()} | {"set/stray.png": PNG, "x.png": PNG})
    assert sorted(face.name for face in source) == sorted(PICTURES)
    assert source.skipped == Counter({"not at <identity>/<picture>": 2})


def test_names_sorted_where_the_source_can_be_read_so(tmp_path):
    names = ["b/2.png", "a/9.png", "b/1.png", "a/10.png"]
    files = dict.fromkeys(names, PNG)
    paths = [
        write(tmp_path / name, files) for name, write in (("set", write_folder), ("t", write_tar), ("z", write_zip))
    ]
    for path in paths:
        assert [face.name for face in sources.open_source(path)] == sorted(names)


def test_fingerprint_tells_contents_not_containers(tmp_path):
    folder = sources.open_source(write_folder(tmp_path / "a", PICTURES)).fingerprint
    assert sources.open_source(write_tar(tmp_path / "a.tar", dict(reversed(PICTURES.items())))).fingerprint == folder
    assert sources.open_source(write_zip(tmp_path / "a.zip", PICTURES)).fingerprint == folder
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(tar_bytes(PICTURES)))
    assert sources.open_source(tmp_path / "a.tar.gz").fingerprint == folder
    changed = bytearray(PICTURES["ann/1.png"])
    changed[-20] ^= 1  # one bit, same size
    for name, files in {
        "bit": PICTURES | {"ann/1.png": bytes(changed)},
        "name": {name.replace("bob", "rob"): data for name, data in PICTURES.items()},
        "more": PICTURES | {"ann/7.png": PNG},
    }.items():
        assert sources.open_source(write_folder(tmp_path / name, files)).fingerprint != folder


def test_fingerprint_of_large_sets_is_by_size(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "HASHED_BYTES", 10)
    first = sources.open_source(write_folder(tmp_path / "a", PICTURES)).fingerprint
    assert first == sources.open_source(write_tar(tmp_path / "a.tar", PICTURES)).fingerprint
    longer = PICTURES | {"ann/1.png": PICTURES["ann/1.png"] + b"x"}
    assert first != sources.open_source(write_folder(tmp_path / "b", longer)).fingerprint


def test_hostile_tar_members_are_refused_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write_tar(
        tmp_path / "set.tar",
        [*PICTURES.items(), ("../evil/1.png", PNG), ("/abs/1.png", PNG), ("ann/../../x.png", PNG), ("a\\b/1.png", PNG)],
        member("ann/link.png", tarfile.SYMTYPE, "/etc/passwd"),
        member("ann/hard.png", tarfile.LNKTYPE, "ann/1.png"),
        member("ann/fifo.png", tarfile.FIFOTYPE),
        member("ann/device.png", tarfile.CHRTYPE),
        member("ann/disc.png", tarfile.BLKTYPE),
        member("ann/sub.png", tarfile.DIRTYPE),
    )
    source = sources.open_source(path)
    assert sorted(face.name for face in source) == sorted(PICTURES)
    assert source.skipped == Counter({"unsafe tar member": 9})
    assert [file.name for file in tmp_path.iterdir()] == ["set.tar"]


def test_tar_that_says_a_name_twice(tmp_path):
    source = sources.open_source(write_tar(tmp_path / "set.tar", [*PICTURES.items(), ("./ann/1.png", b"")]))
    assert len(list(source)) == 6
    assert source.skipped == Counter({"name occurs twice": 1})


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1), compressed=st.booleans())
def test_tar_that_ends_abruptly(tmp_path, share, compressed):
    whole = tar_bytes(PICTURES)
    last = whole.rindex(b"IEND") + 8  # where the last picture ends
    if compressed:
        whole = gzip.compress(whole, mtime=0)
    path = tmp_path / "cut.tar"
    path.write_bytes(whole[: int(share * len(whole))])
    try:
        source = sources.open_source(path)
    except ValueError as error:
        assert "cut.tar" in str(error)
        return
    found = list(source)
    for face in found:
        np.testing.assert_array_equal(face.image, pictures.read_picture(PICTURES[face.name]))
    if len(found) < 6:
        assert source.skipped["rest of the tar, which ends abruptly"] == 1
        assert len(found) + source.skipped["truncated"] == source.total
    if not compressed:
        assert (len(found) == 6) == (int(share * len(whole)) >= last)


def test_tar_with_a_broken_header_keeps_what_came_before(tmp_path):
    whole = bytearray(tar_bytes(PICTURES))
    whole[whole.index(b"bob/0.png") + 148 : whole.index(b"bob/0.png") + 156] = b"7777777\0"  # its checksum
    (tmp_path / "x.tar").write_bytes(whole)
    source = sources.open_source(tmp_path / "x.tar")
    assert [face.name for face in source] == ["ann/0.png", "ann/1.png", "ann/2.png"]
    assert source.skipped == Counter({"rest of the tar, which ends abruptly": 1})


def test_what_is_no_source_is_refused(tmp_path):
    (tmp_path / "x.tar").write_bytes(b"hello" * 1000)
    (tmp_path / "empty.tar").write_bytes(b"")
    write_tar(tmp_path / "none.tar", {"a/readme.md": b"x"})
    (tmp_path / "folder").mkdir()
    for name, message in {
        "x.tar": "neither a folder nor a tar",
        "empty.tar": "neither a folder nor a tar",
        "none.tar": "no pictures at <identity>/<picture>.*1 not a picture",
        "folder": "no pictures at <identity>/<picture>",
    }.items():
        with pytest.raises(ValueError, match=message) as caught:
            sources.open_source(tmp_path / name)
        assert name in str(caught.value)
    with pytest.raises(FileNotFoundError, match="missing"):
        sources.open_source(tmp_path / "missing")


def test_folder_with_links_and_pipes(tmp_path):
    folder = write_folder(tmp_path / "set", PICTURES)
    (folder / "carl").symlink_to(write_folder(tmp_path / "elsewhere", {"1.png": PNG}))
    (folder / "ann/loop").symlink_to(folder)
    (folder / "ann/broken.png").symlink_to(tmp_path / "nowhere")
    os.mkfifo(folder / "ann/pipe.png")
    source = sources.open_source(folder)
    assert sorted(face.name for face in source) == sorted([*PICTURES, "carl/1.png"])
    assert source.skipped == Counter({"not a regular file": 2})


def test_picture_that_vanishes_meanwhile(tmp_path):
    folder = write_folder(tmp_path / "set", PICTURES)
    source = sources.open_source(folder)
    (folder / "ann/1.png").unlink()
    assert len(list(source)) == 5
    assert source.skipped == Counter({"unreadable": 1})


def test_names_that_are_no_text(tmp_path):
    folder = write_folder(tmp_path / "set", PICTURES)
    (folder / os.fsdecode(b"caf\xe9")).mkdir()
    (folder / os.fsdecode(b"caf\xe9/1.png")).write_bytes(PNG)
    names = [face.name for face in sources.open_source(folder)]
    assert "caf\\udce9/1.png" in names
    "".join(names).encode()


# Landmarks


def test_landmarks_beside_the_pictures(tmp_path):
    points = RNG.normal(56, 20, (6, 68, 2)).astype(np.float16)
    points[2, 5] = np.nan
    folder = write_folder(tmp_path / "set", PICTURES)
    bare = sources.open_source(folder).fingerprint
    path = write_tar(tmp_path / "set.tar", PICTURES)
    for place in (folder, tmp_path):
        np.savez(place / "landmarks68.npz", files=list(PICTURES), points=points)
    for source in (sources.open_source(folder), sources.open_source(path)):
        found = {face.name: face.landmarks for face in source}
        assert source.fingerprint != bare
        for name, expected in zip(PICTURES, points, strict=True):
            if np.isnan(expected).any():
                assert found[name] is None
            else:
                np.testing.assert_array_equal(found[name], expected.astype(np.float32))
                assert found[name].dtype == np.float32


def test_landmarks_whose_names_are_bytes(tmp_path):
    folder = write_folder(tmp_path / "set", PICTURES)
    names = np.array([name.encode() for name in PICTURES])
    np.savez(folder / "landmarks68.npz", files=names, points=np.full((len(names), 68, 2), 50.0))
    assert all(face.landmarks is not None for face in sources.open_source(folder))
    np.savez(folder / "landmarks68.npz", files=np.array([b"\xe9/1.jpg"]), points=np.zeros((1, 68, 2)))
    with pytest.raises(ValueError, match=r"landmarks68\.npz does not hold"):
        sources.open_source(folder)


@pytest.mark.parametrize("member", ["files", "points"])
def test_landmarks_that_are_no_arrays_or_too_large_are_refused(tmp_path, member, monkeypatch):
    folder = write_folder(tmp_path / "set", PICTURES)
    np.savez(folder / "landmarks68.npz", files=list(PICTURES), points=np.zeros((6, 68, 2)))
    monkeypatch.setattr(sources, "LANDMARK_BYTES", 100)
    with pytest.raises(ValueError, match=r"landmarks68\.npz .*bytes once unpacked"):
        sources.open_source(folder)
    monkeypatch.undo()
    other = {"files": "points", "points": "files"}[member]
    np.savez(folder / "landmarks68.npz", **{other: np.zeros((6, 68, 2)) if other == "points" else list(PICTURES)})
    with zipfile.ZipFile(folder / "landmarks68.npz", "a") as archive:
        archive.writestr(member, b"no array")
    with pytest.raises(ValueError, match=r"landmarks68\.npz") as refused:
        sources.open_source(folder)
    assert len(str(refused.value)) < 300 + len(str(tmp_path))


@pytest.mark.parametrize(
    "arrays",
    [
        {"files": ["a/1.png"]},
        {"files": ["a/1.png"], "points": np.zeros((2, 68, 2))},
        {"files": ["a/1.png"], "points": np.zeros((1, 5, 2))},
        {"files": np.array(["a/1.png", None], object), "points": np.zeros((2, 68, 2))},
        None,
    ],
)
def test_broken_landmarks_are_refused(tmp_path, arrays):
    folder = write_folder(tmp_path / "set", PICTURES)
    if arrays is None:
        (folder / "landmarks68.npz").write_bytes(b"no arrays")
    else:
        np.savez(folder / "landmarks68.npz", **arrays)
    with pytest.raises(ValueError, match=r"landmarks68\.npz"):
        sources.open_source(folder)


@pytest.mark.parametrize(
    ("name", "total", "identities"), [("pins", 16333, 105), ("lfw", 9411, 4281), ("glint24", 941, 24)]
)
def test_real_sets_as_they_lie(name, total, identities):
    path = paths.data_dir() / name / f"{name}_112.tar"
    if not path.exists():
        pytest.skip(f"needs the real faces {name} in {paths.data_dir()} (set MASKFR_DATA)")
    source = sources.open_source(path)
    assert source.total == total
    people = set()
    for place, (picture, data) in enumerate(source.pictures()):
        people.add(picture.split("/")[0])
        if place % 100 == 0:
            assert sources.to_face(picture, data, source.landmarks.get(picture)).image.shape == (112, 112, 3)
    assert len(people) == identities
    assert np.mean([np.isfinite(points).all() for points in source.landmarks.values()]) > 0.95


def test_rendered_faces_survive_a_round_trip(tmp_path):
    faces = rendered.render_faces(2, 2, seed=0)
    files = {f"{faces.labels[i]}/{i}.png": encode(image) for i, image in enumerate(faces.images)}
    found = list(sources.open_source(write_folder(tmp_path / "set", files)))
    np.testing.assert_array_equal(np.stack([face.image for face in found]), faces.images)
