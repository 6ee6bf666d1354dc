"""Success and speed: counts on sets whose truth is known, and the table made from records."""

import io
import json
import tarfile

import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from maskfr_utils import mask_bench, realism
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
    found = mask_bench.aligned_success(tmp_path / "set.tar")
    assert found == {"faces": 6, "masked": 6, "checked": 5, "nose": 4, "mouth": 4, "eyes": 0}


def test_photo_success_counts_by_category(tmp_path):
    photo = astronaut()
    files = {"a.png": photo, "turned.png": np.rot90(photo[:260]), "wall.png": np.full((90, 90, 3), 200, np.uint8)}
    encoded = {name: png(np.ascontiguousarray(image)) for name, image in files.items()} | {"broken.png": b"no picture"}
    write_tar(tmp_path / "raw_photos.tar", encoded)
    rows = ["a.png,one,no", "turned.png,one,no", "wall.png,none,no", "broken.png,none,no"]
    (tmp_path / "index.csv").write_text("\n".join(["file,category,real_mask", *rows]))
    found = mask_bench.photo_success(tmp_path)
    expected = {"photos": 2, "broken": 0, "with_face": 2, "turned": 1, "boxes": 2, "masks": 2, "further": 0}
    assert found["one"] == expected
    assert found["none"] == dict.fromkeys(expected, 0) | {"photos": 2, "broken": 1}


def test_speed_is_measured():
    found = mask_bench.one_core(faces=8, repeats=1)
    assert found["landmarks_given"] > found["landmarks_predicted"] > 10
    assert mask_bench.over_cores(faces=6)["1"] > 0


def test_table_against_the_peer():
    records = {name: mask_bench.RECORDS / f"{name}.json" for name in ("success", "speed")}
    success, speed, real = (json.loads(path.read_text()) for path in (*records.values(), realism.RECORD))
    table = mask_bench.against_the_peer(success, speed, real)
    assert list(table.columns) == ["MaskTheFace", "here"] and table.index.is_unique
    assert table.loc["aligned crops masked, pins", "MaskTheFace"] == "93.2% of 8,400"
    pins = success["aligned"]["pins"]
    assert (
        table.loc["aligned crops masked, pins", "here"] == f"{pins['masked'] / pins['faces']:.1%} of {pins['faces']:,}"
    )
    success["aligned"]["pins"]["masked"] = 0
    assert (
        mask_bench.against_the_peer(success, speed, real).loc["aligned crops masked, pins", "here"].startswith("0.0%")
    )
    assert not table.map(lambda text: "nan" in text or not text).any(axis=None)


@pytest.mark.parametrize("what", ["success", "speed"])
def test_records_are_committed(what):
    assert "provenance" in json.loads((mask_bench.RECORDS / f"{what}.json").read_text())
