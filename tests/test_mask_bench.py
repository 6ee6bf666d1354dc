"""Success and speed: counts on sets whose truth is known, and the table made from records."""

import io
import json
import os
import sys
import tarfile

import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from maskfr_utils.measure import mask_success, realism
from maskfr_utils.rendered import render_faces


def png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image[..., ::-1])[1].tobytes()


def write_tar(path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def test_aligned_success_counts_what_is_covered(tmp_path):
    faces = render_faces(6, 1, seed=2)
    names = [f"p{i}/0.png" for i in range(6)]
    write_tar(tmp_path / "set.tar", dict(zip(names, map(png, faces.images), strict=True)))
    moved = faces.landmarks.copy()
    moved[0] -= [0, 70]  # a reference that says: nose and mouth are far above the mask
    moved[1] = np.nan
    np.savez(tmp_path / "landmarks68.npz", files=names, points=moved)
    found = mask_success.aligned_success(tmp_path / "set.tar")
    assert found == {"faces": 6, "masked": 6, "checked": 5, "nose": 4, "mouth": 4, "eyes": 0}


def test_photo_success_counts_by_category(tmp_path):
    photo = astronaut()
    files = {"a.png": photo, "turned.png": np.rot90(photo[:260]), "wall.png": np.full((90, 90, 3), 200, np.uint8)}
    encoded = {name: png(np.ascontiguousarray(image)) for name, image in files.items()} | {"broken.png": b"no picture"}
    write_tar(tmp_path / "raw_photos.tar", encoded)
    rows = ["a.png,one,no", "turned.png,one,no", "wall.png,none,no", "broken.png,none,no"]
    (tmp_path / "index.csv").write_text("\n".join(["file,category,real_mask", *rows]))
    found = mask_success.photo_success(tmp_path)
    expected = {"photos": 2, "broken": 0, "with_face": 2, "turned": 1, "boxes": 2, "masks": 2, "further": 0}
    assert found["one"] == expected
    assert found["none"] == dict.fromkeys(expected, 0) | {"photos": 2, "broken": 1}


def test_speed_is_measured(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0})  # one core, and so no pool of processes to start
    found = mask_success.one_core(faces=8, repeats=1)
    assert found["landmarks_given"] > found["landmarks_predicted"] > 10
    assert mask_success.over_cores(faces=6)["1"] > 0


def test_speed_is_measured_on_one_core_two_and_so_on_up_to_all(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(6)))
    asked = []
    monkeypatch.setattr(mask_success, "mask_folder", lambda *_, workers, **__: asked.append(workers) or {"pictures": 1})
    assert list(mask_success.over_cores(faces=1)) == ["1", "2", "4", "6"] and asked == [1, 2, 4, 6]


def test_peer_is_counted_by_the_files_it_writes(tmp_path):
    faces = render_faces(6, 1, seed=2)
    write_tar(tmp_path / "set.tar", {f"p{i}/0.png": png(face) for i, face in enumerate(faces.images)})
    program = tmp_path / "program.py"
    program.write_text(
        "import pathlib, shutil, sys\n"
        "given = pathlib.Path(sys.argv[1]); out = pathlib.Path(f'{given}_masked'); out.mkdir()\n"
        "for kind in ('n95', 'cloth'): shutil.copy(given / '1.png', out / f'1_{kind}.png')\n"
        "shutil.copy(given / '3.png', out / '3_cloth.png')\n"
    )
    command = f"{sys.executable} {program} {{}}"
    found = mask_success.peer({"all": tmp_path / "set.tar"}, command)["all"]
    assert (found["faces"], found["masked"]) == (6, 2) and 0 < found["per_second"] < 6 / 0.001
    assert mask_success.peer({"few": tmp_path / "set.tar"}, command, faces=4)["few"]["faces"] == 4
    with pytest.raises(ValueError, match="failed with status"):
        mask_success.peer({"all": tmp_path / "set.tar"}, f"{sys.executable} no_such_program.py {{}}")


def test_table_against_the_peer():
    names = ("success", "speed", "peer")
    success, speed, peer = (json.loads((mask_success.RECORDS / f"{name}.json").read_text()) for name in names)
    real = json.loads(realism.RECORD.read_text())
    table = mask_success.against_the_peer(success, speed, real, peer)
    assert list(table.columns) == ["MaskTheFace", "here"] and table.index.is_unique
    for column, record in (("MaskTheFace", peer), ("here", success)):
        pins = record["aligned"]["pins"]
        expected = f"{pins['masked'] / pins['faces']:.1%} of {pins['faces']:,}"
        assert table.loc["aligned crops masked, pins", column] == expected
    success["aligned"]["pins"]["masked"] = peer["aligned"]["pins"]["masked"] = 0
    changed = mask_success.against_the_peer(success, speed, real, peer).loc["aligned crops masked, pins"]
    assert changed.str.startswith("0.0%").all()
    assert not table.map(lambda text: "nan" in text or not text).any(axis=None)


def test_the_peer_needs_a_command(capsys):
    with pytest.raises(SystemExit, match="2"):
        mask_success.main(["peer"])
    assert "--command" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["success", "speed", "peer"])
def test_records_are_committed(what):
    assert "provenance" in json.loads((mask_success.RECORDS / f"{what}.json").read_text())
