"""A store whose pictures are JPEGs: what was encoded is decoded, from its place, or there is a clear error."""

import io
import pickle

import h5py
import numpy as np
import pytest
from PIL import Image

from maskfr_utils import store
from maskfr_utils.store import FaceStore, FaceWriter

COUNT = 60  # of noise, whose JPEGs are large: the chunks of 1 MB are crossed


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, COUNT, 112, 112, 3), np.uint8)


@pytest.fixture(scope="module")
def path(tmp_path_factory, images):
    path = tmp_path_factory.mktemp("store") / "faces.h5"
    with FaceWriter(path, {"seed": 3}, "jpeg") as writer:
        for rows in np.split(np.arange(COUNT), [7, 30]):
            writer.append(*images[:, rows], [f"person {i % 4}" for i in rows])
        np.testing.assert_array_equal(writer.read(np.array([40, 2])), [decoded(images[0, i]) for i in (40, 2)])
    return path


def decoded(face: np.ndarray) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(store.encode(face))))


def test_what_was_encoded_is_decoded(path, images):
    found = FaceStore(path)
    assert len(found) == COUNT and found.identities == [f"person {i}" for i in range(4)] and found.attrs["seed"] == 3
    places, masked = np.array([59, 0, 31, 31]), np.array([True, False, True, False])
    batch, labels = pickle.loads(pickle.dumps(found)).batch(places, masked=masked)
    np.testing.assert_array_equal(batch, [decoded(images[int(m), i]) for i, m in zip(places, masked, strict=True)])
    assert labels.tolist() == [3, 0, 3, 3]


def test_a_face_survives_as_a_face():
    y, x = np.mgrid[:112, :112]
    face = np.stack([x + y, 200 - x, 60 + y], 2).astype(np.uint8)
    assert np.abs(decoded(face).astype(int) - face).mean() < 1
    assert len(store.encode(face)) < store.FACE_BYTES / 5


@pytest.mark.parametrize("place", [-5, 2**62, 2**20 - 3, 10**9])
def test_a_picture_elsewhere_is_refused(path, tmp_path, place):
    copy = tmp_path / "copy.h5"
    copy.write_bytes(path.read_bytes())
    with h5py.File(copy, "r+") as file:
        file["masked"][5, 0] = place
    with pytest.raises(ValueError, match=r"copy\.h5 is damaged"):
        FaceStore(copy)


def test_a_broken_picture_is_told(path, tmp_path):
    copy = tmp_path / "copy.h5"
    copy.write_bytes(path.read_bytes())
    with h5py.File(copy, "r+") as file:
        start = file["images"][5, 0]
        file["jpegs"][start : start + 100] = 0
    found = FaceStore(copy)
    found.batch([4, 6])
    with pytest.raises(ValueError, match=r"copy\.h5 is damaged: a picture is unreadable"):
        found.batch([5])


def test_another_encoding_is_refused(tmp_path):
    with pytest.raises(ValueError, match="unknown encoding 'png'"):
        FaceWriter(tmp_path / "x.h5", encoding="png")
