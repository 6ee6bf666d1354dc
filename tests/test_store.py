"""The HDF5 file: what goes in comes out, in any order, in any process, or there is a clear error."""

import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from maskfr_utils.store import FACE_BYTES, LEFT_OUT, TEST, TRAIN, FaceStore, FaceWriter

COUNT = 50


def faces(count: int = COUNT, seed: int = 0) -> dict:
    rng = np.random.default_rng(seed)
    people = [f"person {i % 7} é" for i in rng.permutation(count)]
    return {
        "images": rng.integers(0, 256, (count, 112, 112, 3), np.uint8),
        "masked": rng.integers(0, 256, (count, 112, 112, 3), np.uint8),
        "identities": people,
        "sources": [f"{person}/{i}.jpg" for i, person in enumerate(people)],
        "landmarks": rng.normal(56, 20, (count, 68, 2)).astype(np.float32),
        "masked_ok": rng.random(count) > 0.1,
        "mask_kinds": rng.choice(["cloth", "surgical"], count),
    }


def cut(columns: dict, start: int, stop: int) -> dict:
    return {name: column[start:stop] for name, column in columns.items()}


@pytest.fixture(scope="module")
def columns() -> dict:
    return faces()


@pytest.fixture(scope="module")
def path(tmp_path_factory, columns):
    path = tmp_path_factory.mktemp("store") / "faces.h5"
    with FaceWriter(path, {"seed": 3, "style": "random", "share": 0.1}) as writer:
        for start in range(0, COUNT, 16):
            writer.append(**cut(columns, start, start + 16))
    return path


def test_what_goes_in_comes_out(path, columns):
    store = FaceStore(path)
    assert len(store) == COUNT
    assert store.identities == sorted(set(columns["identities"]))
    assert [store.identities[label] for label in store.labels] == columns["identities"]
    assert (store.split == TRAIN).all()
    assert store.split.dtype == np.int8
    assert store.labels.dtype == np.int64
    assert store.sources.tolist() == columns["sources"]
    assert store.mask_kinds.tolist() == columns["mask_kinds"].tolist()
    np.testing.assert_array_equal(store.landmarks, columns["landmarks"])
    np.testing.assert_array_equal(store.masked_ok, columns["masked_ok"])
    assert store.attrs["seed"] == 3
    assert type(store.attrs["seed"]) is int
    assert store.attrs["style"] == "random"
    image, label = store[5]
    np.testing.assert_array_equal(image, columns["images"][5])
    assert store.identities[label] == columns["identities"][5]
    # Any HDF5 program reads it without this class.
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["masked"][:], columns["masked"])
        assert file["sources"].asstr()[3] == columns["sources"][3]


@pytest.mark.parametrize("in_memory", [False, True])
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_batch_is_indexing(path, columns, in_memory, data):
    store = FaceStore(path, in_memory=in_memory)
    indices = np.array(data.draw(st.lists(st.integers(-COUNT, COUNT - 1), max_size=20)), int)
    masked = data.draw(st.one_of(st.booleans(), st.lists(st.booleans(), min_size=len(indices), max_size=len(indices))))
    images, labels = store.batch(indices, masked=np.array(masked, bool))
    pick = np.broadcast_to(np.array(masked, bool), len(indices))[:, None, None, None]
    np.testing.assert_array_equal(images, np.where(pick, columns["masked"][indices], columns["images"][indices]))
    assert images.shape == (len(indices), 112, 112, 3)
    assert images.flags.writeable
    np.testing.assert_array_equal(labels, store.labels[indices])


def test_batch_refuses_what_is_not_there(path):
    store = FaceStore(path)
    for indices in ([COUNT], [-COUNT - 1], [0.5]):
        with pytest.raises(IndexError):
            store.batch(indices)
    with pytest.raises(ValueError, match="masked has shape"):
        store.batch([1, 2, 3], masked=np.array([True, False]))


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_loader_workers(path, columns, context):
    store = FaceStore(path)
    store[0]  # opened before the workers start
    loader = DataLoader(store, batch_size=16, num_workers=1 + (context == "fork"), multiprocessing_context=context)
    images = np.concatenate([images.numpy() for images, _ in loader])
    np.testing.assert_array_equal(images, columns["images"])


def test_threads_share_a_store(path, columns):
    store = FaceStore(path)
    orders = [np.random.default_rng(seed).permutation(COUNT) for seed in range(16)]
    with ThreadPoolExecutor(8) as pool:
        for order, (images, _) in zip(orders, pool.map(store.batch, orders), strict=True):
            np.testing.assert_array_equal(images, columns["images"][order])


def test_pickle_carries_no_pictures(path, columns):
    store = FaceStore(path, in_memory=True)
    store.batch([0])
    data = pickle.dumps(store)
    assert len(data) < FACE_BYTES
    np.testing.assert_array_equal(pickle.loads(data).batch([7])[0][0], columns["images"][7])


def test_reader_keeps_its_file_when_it_is_replaced(tmp_path):
    path, old, new = tmp_path / "x.h5", faces(4, seed=1), faces(4, seed=2)
    with FaceWriter(path) as writer:
        writer.append(**old)
    store = FaceStore(path)
    store.batch([0])
    with FaceWriter(path) as writer:
        writer.append(**new)
    np.testing.assert_array_equal(store.batch([3])[0][0], old["images"][3])
    np.testing.assert_array_equal(FaceStore(path).batch([3])[0][0], new["images"][3])


def test_assign(tmp_path):
    columns = faces(6)
    with FaceWriter(tmp_path / "x.h5") as writer:
        writer.append(**columns)
        np.testing.assert_array_equal(writer.read(np.array([4, 1, 4])), columns["images"][[4, 1, 4]])
        for labels, split in (
            ([0] * 5, [0] * 5),
            ([0] * 6, [3] + [0] * 5),
            ([9] + [0] * 5, [0] * 6),
            ([-1] + [0] * 5, [1] * 6),
        ):
            with pytest.raises(ValueError, match=r"labels|split"):
                writer.assign(np.array(labels), np.array(split), ["a", "b"])
        writer.assign([0, 1, -1, 0, 1, 0], [0, 0, -1, 1, 1, -1], ["a", "b"], [-1, -1, -1, -1, -1, 0])
    store = FaceStore(tmp_path / "x.h5")
    assert store.identities == ["a", "b"]
    assert store.split.tolist() == [TRAIN, TRAIN, LEFT_OUT, TEST, TEST, LEFT_OUT]
    assert store.duplicate_of.tolist() == [-1, -1, -1, -1, -1, 0]


def test_columns_left_out_and_no_faces_at_all(tmp_path):
    columns = faces(2)
    with FaceWriter(tmp_path / "x.h5") as writer:
        writer.append(columns["images"], columns["masked"], columns["identities"])
    store = FaceStore(tmp_path / "x.h5")
    assert np.isnan(store.landmarks).all()
    assert store.masked_ok.all()
    assert store.sources.tolist() == ["", ""]
    with FaceWriter(tmp_path / "none.h5"):
        pass
    empty = FaceStore(tmp_path / "none.h5")
    assert len(empty) == 0
    assert empty.batch([])[0].shape == (0, 112, 112, 3)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("images", np.zeros((4, 112, 112), np.uint8)),
        ("images", np.zeros((4, 112, 112, 3), np.float32)),
        ("masked", np.zeros((3, 112, 112, 3), np.uint8)),
        ("identities", ["a"] * 3),
        ("landmarks", np.zeros((5, 68, 2))),
    ],
)
def test_block_that_does_not_fit_is_refused(tmp_path, name, value):
    with pytest.raises(ValueError, match=name), FaceWriter(tmp_path / "x.h5") as writer:
        writer.append(**faces(4) | {name: value})
    assert not list(tmp_path.iterdir())


def test_failure_leaves_the_older_file(tmp_path, path, columns):
    target = tmp_path / "x.h5"
    target.write_bytes(path.read_bytes())
    with pytest.raises(KeyboardInterrupt), FaceWriter(target) as writer:
        writer.append(**faces(4, seed=9))
        raise KeyboardInterrupt
    assert [file.name for file in tmp_path.iterdir()] == ["x.h5"]
    np.testing.assert_array_equal(FaceStore(target).batch([3])[0][0], columns["images"][3])


def run_writer(path, before: str, between: str) -> subprocess.CompletedProcess:
    code = f"""
        import os, resource, signal
        import numpy as np
        from maskfr_utils.store import FaceWriter
        {before}
        block = np.zeros((64, 112, 112, 3), np.uint8)
        with FaceWriter({str(path)!r}) as writer:
            for _ in range(4):
                writer.append(block, block, ["a"] * 64)
                {between}
    """
    return subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60)


def test_killed_writer_leaves_no_file_of_that_name(tmp_path):
    done = run_writer(tmp_path / "x.h5", "", "writer._file.flush(); os.kill(os.getpid(), signal.SIGKILL)")
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "x.h5").exists()
    # What it left is cleared away by a later writer, once nobody can be working on it any more.
    (left,) = tmp_path.iterdir()
    with FaceWriter(tmp_path / "x.h5") as writer:
        writer.append(**faces(2))
    assert left.exists()
    os.utime(left, (time.time() - 2 * 24 * 3600,) * 2)
    with FaceWriter(tmp_path / "x.h5") as writer:
        writer.append(**faces(2))
    assert [file.name for file in tmp_path.iterdir()] == ["x.h5"]


@pytest.mark.parametrize("limit", [1000, 6_000_000])
def test_full_disc_is_an_error_and_leaves_nothing(tmp_path, limit):
    # A limit on the file's size stands for a full disc; without the care taken, the HDF5 library crashes the process.
    before = f"signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, ({limit},) * 2)"
    done = run_writer(tmp_path / "x.h5", before, "")
    assert done.returncode == 1
    assert "OSError: [Errno 27]" in done.stderr
    assert not list(tmp_path.iterdir())


def test_file_is_readable_by_others(path):
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no store at"):
        FaceStore(tmp_path / "x.h5")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 0.999))
def test_truncated_file(tmp_path, path, share):
    data = path.read_bytes()
    cut = tmp_path / "cut.h5"
    cut.write_bytes(data[: int(share * len(data))])
    with pytest.raises(ValueError, match=r"cut.h5 is (not an HDF5 file|damaged).*prepare"):
        FaceStore(cut)


def test_file_cut_while_in_use(tmp_path, path):
    copy = tmp_path / "x.h5"
    copy.write_bytes(path.read_bytes())
    store = FaceStore(copy)
    os.truncate(copy, 1000)
    with pytest.raises(ValueError, match="ends within a picture"):
        store.batch([COUNT - 1])


def foreign(path, **replace) -> None:
    with FaceWriter(path) as writer:
        writer.append(**faces(3))
    with h5py.File(path, "a") as file:
        for name, value in replace.items():
            if name == "format":
                file.attrs["format"] = value
                continue
            del file[name]
            if value is not None:
                file.create_dataset(name, **value)


@pytest.mark.parametrize(
    ("replace", "message"),
    [
        ({"format": "another"}, "of another kind"),
        ({"images": None}, "damaged"),
        ({"identities": None}, "damaged"),
        ({"labels": {"data": np.array([0, 1, 99])}}, "labels outside"),
        ({"labels": {"shape": (2**40,), "dtype": "i8", "chunks": (1024,)}}, "too small"),
        ({"split": {"data": np.zeros(3, np.int64)}}, "split is"),
        ({"images": {"data": np.zeros((3, 112, 112, 3), np.uint8)}}, "damaged"),
        (
            {"images": {"data": np.zeros((3, 112, 112, 3), np.uint8), "chunks": (1, 112, 112, 3), "compression": 4}},
            "damaged",
        ),
        ({"images": {"shape": (3, 112, 112, 3), "dtype": "u1", "chunks": (1, 112, 112, 3)}}, "damaged"),
    ],
)
def test_foreign_file(tmp_path, replace, message):
    foreign(tmp_path / "x.h5", **replace)
    with pytest.raises(ValueError, match=message) as caught:
        FaceStore(tmp_path / "x.h5")
    assert "x.h5" in str(caught.value)


def test_hdf5_of_somebody_else(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["data"] = np.arange(5)
    with pytest.raises(ValueError, match=r"another kind.*prepare"):
        FaceStore(tmp_path / "x.h5")


def test_memory_does_not_grow_with_the_pictures(tmp_path):
    # 60 MB of pictures are held by nobody: the peak after 2,048 faces is that after 256, but for a few megabytes.
    code = f"""
        import resource
        import numpy as np
        from maskfr_utils.store import FaceWriter
        block = np.zeros((64, 112, 112, 3), np.uint8)
        with FaceWriter({str(tmp_path / "x.h5")!r}) as writer:
            for step in range(32):
                writer.append(block, block, ["a"] * 64)
                if step in (3, 31):
                    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    early, late = (int(line) * (1 if sys.platform == "darwin" else 1024) for line in done.stdout.split())
    assert late - early < 20e6
