"""Several sets of people become one: by name, by shared photos, and not by chance."""

import csv
import tarfile

import cv2
import numpy as np
import pytest

from maskfr_utils import merged
from maskfr_utils.faces import recordio
from maskfr_utils.faces.sources import open_source
from maskfr_utils.rendered import render_faces
from maskfr_utils.store import encode


@pytest.fixture(scope="module")
def faces():
    found = render_faces(8, 4, seed=12)
    return found.images.reshape(8, 4, 112, 112, 3), found.landmarks.reshape(8, 4, 68, 2)


def write(folder, name, people, landmarks=None):
    """A tar of `<person>/<number>.png`, and landmarks beside it."""
    (folder / name).mkdir(parents=True)
    files, points = [], []
    with tarfile.open(folder / name / f"{name}.tar", "w") as tar:
        for person, pictures in people.items():
            for i, (image, known) in enumerate(pictures):
                (folder / "face.png").write_bytes(cv2.imencode(".png", image[..., ::-1])[1])
                tar.add(folder / "face.png", f"{person}/{i}.png")
                files.append(f"{person}/{i}.png")
                points.append(known)
    np.savez(folder / name / "landmarks68.npz", files=files, points=np.array(points, np.float32))
    return folder / name / f"{name}.tar"


@pytest.fixture(scope="module")
def sets(faces, tmp_path_factory):
    """Ann and Bob in both, Bob under another spelling; `Cy` is `Someone Else` there by two photos; Dan and Eve share one."""
    folder, (images, points) = tmp_path_factory.mktemp("sets"), faces

    def of(person, *which, mirrored=False):
        return [(images[person, i][:, ::-1] if mirrored else images[person, i], points[person, i]) for i in which]

    first = {"Ann": of(0, 0, 1), "Bob B.": of(1, 0, 1), "Cy": of(2, 0, 1, 2), "Dan": of(3, 0, 1), "Few": of(6, 0)}
    second = {"ann": of(0, 2, 3), "bob_b": of(1, 2, 3), "Someone Else": of(2, 0, 1, mirrored=True) + of(2, 3)}
    second |= {"Eve": of(4, 0, 1) + of(3, 0), "Robert": of(5, 0, 1)}
    return write(folder, "one", first), write(folder, "two", second)


def test_people_are_one_by_name_and_by_shared_photos(sets, tmp_path, faces):
    found = merged.merge(tmp_path, sets, least=2)
    assert found.by_name == ["ann", "bobb"] and found.by_likeness == [("cy", "someoneelse")]
    assert found.people == 6 and found.pictures == {"one": 9, "two": 12}
    assert found.skipped == {"of people with fewer than 2 photos": 1}
    source = open_source(found.path)
    read = list(source)
    assert {name: sum(f.identity == name for f in read) for name in {f.identity for f in read}} == {
        "ann": 4,
        "bobb": 4,
        "cy": 6,
        "dan": 2,
        "eve": 3,
        "robert": 2,
    }
    ann = [f for f in read if f.identity == "ann"]
    assert [f.name for f in ann] == [f"ann/{s}-000{i}.png" for s in ("one", "two") for i in (0, 1)]
    for face, image, points in zip(ann, faces[0][0], faces[1][0], strict=True):
        assert (face.image == image).all() and np.abs(face.landmarks - points).max() < 1e-3
    with (tmp_path / "index.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows[2] == {"file": "ann/two-0000.png", "identity": "ann", "set": "two", "original": "ann/0.png"}


def test_one_slip_that_was_saved_twice_makes_no_two_people_one(faces, tmp_path):
    images, points = faces
    some = [[(images[person, i], points[person, i]) for i in range(3)] for person in range(2)]
    slip = some[0][0]
    sets = write(tmp_path, "one", {"Ann": some[0]}), write(tmp_path, "two", {"Bob": [*some[1], slip, slip]})
    found = merged.merge(tmp_path / "out", sets, least=2)
    assert found.by_likeness == [] and found.people == 2


def test_a_merge_that_is_cut_off_leaves_no_tar_beside_the_landmarks_of_another(faces, tmp_path, monkeypatch):
    images, points = faces
    sets = [
        write(tmp_path, name, {"Ann": [(images[0, i], points[0, i]) for i in order]})
        for name, order in (("one", (0, 1, 2)), ("two", (2, 1, 0)))
    ]
    merged.merge(tmp_path / "out", sets[:1], least=2)
    monkeypatch.setattr(merged.paths.os, "replace", lambda *_: (_ for _ in ()).throw(OSError("the disk is full")))
    with pytest.raises(OSError, match="disk"):
        merged.merge(tmp_path / "out", sets[1:], least=2)
    left = {path.name for path in (tmp_path / "out").iterdir() if not path.name.startswith(".")}
    assert "landmarks68.npz" not in left and merged.TAR in left


def test_people_of_two_sets_who_are_numbered_are_not_one(faces, tmp_path):
    """A RecordIO file tells its people by numbers, and its pictures have no suffix."""
    jpegs = [[encode(image) for image in person] for person in faces[0]]
    for name, people in (("one", jpegs[:2]), ("two", jpegs[2:4])):
        recordio.write_set(
            tmp_path / name, ((str(i), str(k), data) for i, p in enumerate(people) for k, data in enumerate(p))
        )
    found = merged.merge(tmp_path / "out", [tmp_path / "one", tmp_path / "two"], least=2)
    assert found.people == 4 and found.by_name == []
    assert len({face.identity for face in open_source(found.path)}) == 4 and len(list(open_source(found.path))) == 16


def test_the_list_of_names_makes_people_one(sets, tmp_path):
    (tmp_path / "list.csv").write_text("normalized_name,one,two\nbobb,Bob_B.,Robert\n")
    found = merged.merge(tmp_path / "out", sets, least=6, overlap=tmp_path / "list.csv")
    assert {face.identity for face in open_source(found.path)} == {"bobb", "cy"}
    with pytest.raises(FileNotFoundError, match="no list of people at"):
        merged.merge(tmp_path / "mistyped", sets, least=6, overlap=tmp_path / "lst.csv")
    (tmp_path / "list.csv").write_text("normalized_name,one,two\n,Bob_B.,Robert\n")  # people of no name are not all one
    with pytest.raises(ValueError, match=r"list\.csv is no list of people"):
        merged.merge(tmp_path / "unnamed", sets, least=6, overlap=tmp_path / "list.csv")


def test_command_says_what_it_did_and_what_is_wrong(sets, tmp_path, capsys):
    assert merged.main([str(tmp_path / "out"), *map(str, sets), "--least", "2"]) == 0
    said = capsys.readouterr().out
    assert "6 people, 9 pictures of one, 12 pictures of two" in said and "1 by likeness, cy = someoneelse" in said
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merged.splits, "CROSS_LIMIT", 5)
        assert merged.main([str(tmp_path / "many"), *map(str, sets), "--least", "2"]) == 0
    assert "too many pictures to look for shared photos" in capsys.readouterr().out
    for arguments, message in (
        ([*map(str, sets), "--least", "50"], "nobody has 50 photos"),
        ([str(sets[0])] * 2, "two sets are called 'one'"),
        ([str(tmp_path / "none.tar")], "no data set"),
        ([str(sets[0]), "--least", "0"], "at least 1"),
    ):
        assert merged.main([str(tmp_path / "bad"), *arguments]) == 1
        said = capsys.readouterr().err
        assert message in said and said.count("\n") == 1
    assert not (tmp_path / "bad").exists()
