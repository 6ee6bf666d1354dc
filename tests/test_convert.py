"""From format to format and back, on rendered faces."""

import io
import pickle
import shutil
import unicodedata

import numpy as np
import pytest
from PIL import Image

from maskfr_utils import convert, rendered
from maskfr_utils.faces import sources


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    faces = rendered.render_faces(2, 3, seed=5)
    root = tmp_path_factory.mktemp("people")
    for number, (image, label) in enumerate(zip(faces.images, faces.labels, strict=True)):
        path = root / f"person {label}/{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(image).save(path)
    (root / "person 0/broken.jpg").write_bytes(b"x")
    return root


def faces_of(path):
    found = list(sources.open_source(path))
    return [face.identity for face in found], np.stack([face.image for face in found])


@pytest.mark.parametrize("to", ["recordio", "webdataset", "folder"])
def test_what_is_written_is_read_again(people, tmp_path, to):
    for faces in (False, True):
        said = convert.convert(people, tmp_path / "out", to, faces=faces, progress=False)
        assert said.startswith(f"{6 if faces else 7} pictures of 2 identities -> ")
        assert ("1 unreadable" in said) == faces
        names, images = faces_of(tmp_path / "out")
        wanted = faces_of(people)
        assert [name[-1] for name in names] == [name[-1] for name in wanted[0]]  # 0, 1 in each format's spelling
        difference = np.abs(images.astype(int) - wanted[1])
        assert difference.mean() < (1.5 if faces else 1e-9)
        if faces and to == "folder":
            assert sorted(path.name for path in (tmp_path / "out" / "person 1").iterdir())[:2] == ["3.png", "3.png.jpg"]
            assert Image.open(tmp_path / "out" / "person 1" / "3.png.jpg").format == "JPEG"
        if to == "folder":
            break
    assert not list(tmp_path.rglob(".tmp-*"))


@pytest.mark.parametrize("to", ["recordio", "webdataset", "folder"])
@pytest.mark.parametrize("out", ["people", "people/faces", "."])
def test_no_format_is_written_over_its_source(people, tmp_path, out, to):
    shutil.copytree(people, tmp_path / "people")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    with pytest.raises(ValueError, match="is, holds or lies in the source"):
        convert.convert(tmp_path / "people", tmp_path / out, to, progress=False)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*.*")}


@pytest.mark.parametrize(("to", "file"), [("recordio", "train.rec"), ("webdataset", "shards-000000.tar")])
def test_no_file_is_written_over_itself(people, tmp_path, to, file):
    convert.convert(people, tmp_path / "packed", to, progress=False)
    before = (tmp_path / "packed" / file).read_bytes()
    with pytest.raises(ValueError, match="is, holds or lies in the source"):
        convert.convert(tmp_path / "packed" / file, tmp_path / "packed", to, progress=False)
    assert (tmp_path / "packed" / file).read_bytes() == before


@pytest.mark.parametrize("write", [convert.write_shards, convert.write_folder])
def test_a_dot_in_a_name_is_no_suffix(people, tmp_path, write):
    """As the names of pictures from shards called `train-000000.tar.gz`, which have no suffix."""
    data = next(people.rglob("1.png")).read_bytes()
    assert write(tmp_path / "out", iter([("ann", f"train-000000.tar_{i:06d}", data) for i in range(3)])) == (3, 1)
    assert len(faces_of(tmp_path / "out")[0]) == 3


def test_no_folder_that_holds_something_becomes_one_of_people(people, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo.jpg").write_text("mine")
    with pytest.raises(ValueError, match="mine is not empty: name a new folder"):
        convert.convert(people, tmp_path / "mine", "folder", progress=False)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["photo.jpg"]


def test_no_picture_takes_the_place_of_another(tmp_path):
    pictures = [
        ("ann", "1.png", b"a"),
        ("ann", "1", b"b"),
        ("ann", "x/1.png", b"c"),
        ("ann", "x_1.png", b"d"),
        ("ann", "1.jpg", b"e"),
    ]
    assert convert.write_folder(tmp_path, iter(pictures)) == (5, 1)
    assert sorted(path.read_bytes() for path in tmp_path.rglob("*.*")) == [b"a", b"b", b"c", b"d", b"e"]


def test_a_name_that_no_folder_holds_is_cut_and_no_two_become_one(tmp_path):
    pictures = [("ann", f"{letter}{'é' * 200}/1.png", letter.encode()) for letter in "ab"]
    assert convert.write_folder(tmp_path, iter(pictures)) == (2, 1)
    assert sorted(path.read_bytes() for path in tmp_path.rglob("*.png")) == [b"a", b"b"]


def test_identities_that_no_folder_holds_are_cut_and_no_two_become_one(tmp_path):
    pictures = [("佐" * 100 + end, "1.png", end.encode()) for end in "ab"]
    assert convert.write_folder(tmp_path, iter(pictures)) == (2, 2)
    assert {path.parent.name for path in tmp_path.rglob("*.png")} == {"佐" * 80, "佐" * 80 + "_"}


def test_names_that_some_file_systems_take_for_one_get_files_of_their_own(tmp_path):
    pictures = [("ann", name, b"x") for name in ("A.png", "a.png", "\u00e9.png", "e\u0301.png")]
    assert convert.write_folder(tmp_path, iter(pictures)) == (4, 1)
    assert len({unicodedata.normalize("NFC", path.name).casefold() for path in tmp_path.rglob("*.png")}) == 4


def test_shards_that_are_cut_off_leave_none_with_the_labels_of_others(tmp_path, monkeypatch):
    monkeypatch.setattr(convert, "SHARD", 2)
    convert.write_shards(tmp_path, iter([("ann", f"{i}.png", b"x") for i in range(7)]))

    def broken():
        yield from [("bob", f"{i}.png", b"x") for i in range(2)]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert.write_shards(tmp_path, broken())
    assert not (tmp_path / "shards-000002.tar").exists()


def test_shards_of_a_larger_set_are_not_read_with_those_of_a_smaller_one(tmp_path, monkeypatch):
    monkeypatch.setattr(convert, "SHARD", 2)
    convert.write_shards(tmp_path, iter([("ann", f"{i}.png", b"x") for i in range(7)]))
    convert.write_shards(tmp_path, iter([("bob", f"{i}.png", b"x") for i in range(3)]))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shards-000000.tar", "shards-000001.tar"]


def test_lfw_becomes_a_bin(people, tmp_path):
    root = tmp_path / "lfw"
    for name, number, source in (("A", 1, "person 0/0.png"), ("A", 2, "person 0/1.png"), ("B", 1, "person 1/3.png")):
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / name / f"{name}_{number:04d}.png").write_bytes((people / source).read_bytes())
    (root / "pairs.txt").write_text("A\t1\t2\nA\t1\tB\t1\n")
    assert convert.main([str(root), str(tmp_path / "x.bin"), "--to", "bin"]) == 0
    pictures, same = pickle.loads((tmp_path / "x.bin").read_bytes())
    assert same == [True, False] and Image.open(io.BytesIO(pictures[0])).size == (112, 112)


def test_pairs_without_a_face_are_told_and_none_is_an_error(tmp_path, capsys):
    noise = np.random.default_rng(0).integers(0, 256, (90, 90, 3), np.uint8)
    for number in (1, 2):
        (tmp_path / "lfw" / "A").mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise).save(tmp_path / "lfw" / "A" / f"A_{number:04d}.png")
    (tmp_path / "lfw" / "pairs.txt").write_text("A\t1\t2\n")
    assert convert.main([str(tmp_path / "lfw"), str(tmp_path / "x.bin"), "--to", "bin"]) == 2
    error = capsys.readouterr().err
    assert "no pair to write" in error and "left out: 1 " in error and not (tmp_path / "x.bin").exists()


def test_what_cannot_be_converted_is_one_line(tmp_path, capsys):
    (tmp_path / "x").mkdir()
    for source in ("gone", "x"):
        assert convert.main([str(tmp_path / source), str(tmp_path / "out"), "--to", "recordio"]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1 and len(error) < 320
    with pytest.raises(ValueError, match="no name of a file"):
        convert.write_folder(tmp_path / "out", iter([("..", "x", b"")]))
    assert not (tmp_path / "out").exists()
