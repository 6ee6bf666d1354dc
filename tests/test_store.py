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


def test_a_file_that_is_written_anew_meanwhile_is_read_as_it_was(path, columns, tmp_path):
    mine = tmp_path / "faces.h5"
    mine.write_bytes(path.read_bytes())
    store, spawned = FaceStore(mine), pickle.dumps(FaceStore(mine))
    with FaceWriter(mine) as writer:
        writer.append(**cut(faces(seed=1), 0, 20))
    assert np.array_equal(store.batch([7])[0][0], columns["images"][7])
    assert store.sources.tolist() == columns["sources"]
    store.close()
    for other in (store, pickle.loads(spawned)):
        for _ in range(2):  # the second time as well: its places are the old file's
            with pytest.raises(ValueError, match="has changed since it was opened"):
                other.batch([7])


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


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_batch_is_indexing(path, columns, data):
    store = FaceStore(path)
    indices = np.array(data.draw(st.lists(st.integers(-COUNT, COUNT - 1), max_size=20)), int)
    masked = data.draw(st.one_of(st.booleans(), st.lists(st.booleans(), min_size=len(indices), max_size=len(indices))))
    images, labels = store.batch(indices, masked=np.array(masked, bool))
    pick = np.broadcast_to(np.array(masked, bool), len(indices))[:, None, None, None]
    np.testing.assert_array_equal(images, np.where(pick, columns["masked"][indices], columns["images"][indices]))
    assert images.shape == (len(indices), 112, 112, 3)
    assert images.flags.writeable
    np.testing.assert_array_equal(labels, store.labels[indices])


def test_a_sample_tells_faces_and_masks(path, columns):
    store = FaceStore(path)
    few, many = store.sample(np.array([3, 1])), store.sample(np.arange(COUNT))
    twins = [columns[kind][i] for kind in ("masked", "images") for i in (3, 1)]
    assert few == [round(float(face.mean()), 2) for face in twins]
    assert len(many) == 2 * 16 and many[15] == round(float(columns["masked"][COUNT - 1].mean()), 2)


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
    store = FaceStore(path)
    store.batch(range(COUNT))
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
        ("sources", ["name", "name", "é" * 2001, "name"]),
    ],
)
def test_block_that_does_not_fit_is_refused(tmp_path, name, value):
    with (
        pytest.raises(ValueError, match=name if name != "sources" else "too many for a name"),
        FaceWriter(tmp_path / "x.h5") as writer,
    ):
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


FACE = (112, 112, 3)


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
        ({"labels": {"data": np.array([0, 1, -1])}}, "labels outside"),  # of a photo that is trained on
        ({"split": {"data": np.array([0, 1, 7], np.int8)}}, "split holds values"),
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


def hostile(path, kind):
    """A store in which one column is not what it seems."""
    count, place = 3, path.parent
    foreign(path)
    pictures, chunk = np.full((count, *FACE), 7, np.uint8), (1, *FACE)
    text = h5py.string_dtype("utf-8")
    with h5py.File(path, "a") as file:
        name = kind.split()[0]
        del file[name]
        if kind == "images linked":
            with h5py.File(place / "other.h5", "w") as other:
                other.create_dataset("images", data=pictures, chunks=chunk)
            file["images"] = h5py.ExternalLink(str(place / "other.h5"), "/images")
        elif kind == "images soft":
            file["elsewhere"] = pictures
            file["images"] = h5py.SoftLink("/elsewhere")
        elif kind == "images scaled":
            file.create_dataset("images", data=pictures, chunks=chunk, scaleoffset=2)
        elif kind == "images virtual":
            layout = h5py.VirtualLayout((count, *FACE), "u1")
            layout[:] = h5py.VirtualSource(str(place / "other.h5"), "images", (count, *FACE))
            file.create_virtual_dataset("images", layout)
        elif kind in ("landmarks external", "labels external"):
            (place / "secret").write_bytes(b"\1" * 10_000)
            shape, dtype = ((count, 68, 2), "f4") if name == "landmarks" else ((count,), "i8")
            file.create_dataset(name, shape, dtype, external=[(str(place / "secret"), 0, h5py.h5f.UNLIMITED)])
        elif kind == "identities promised":
            file.create_dataset("identities", (10**8,), text, chunks=(1024,))
        elif kind == "identities promised at once":
            file.create_dataset("identities", (10**8,), text)
        elif kind == "identities numbers":
            file.create_dataset("identities", data=np.arange(count))
        elif kind == "identities scalar":
            file.create_dataset("identities", data="a", dtype=text)
        elif kind == "identities long":
            file.create_dataset("identities", data=["x" * 100_000] * 3, dtype=text)
        elif kind == "sources numbers":
            file.create_dataset("sources", data=np.arange(count))
        elif kind == "sources bytes":
            file.create_dataset("sources", data=[b"a"] * count, dtype=h5py.string_dtype("ascii", 4))
        elif kind == "sources packed":
            file.create_dataset("sources", data=["a"] * count, dtype=text, chunks=(3,), compression=4)
        elif kind == "masked_ok packed":
            file.create_dataset("masked_ok", data=[True] * count, chunks=(3,), compression="lzf")
        elif kind == "duplicate_of group":
            file.create_group("duplicate_of")
        elif kind == "labels scalar":
            file["labels"] = 3
        else:
            raise KeyError(kind)


@pytest.mark.parametrize(
    "kind",
    [
        "images linked", "images soft", "images scaled", "images virtual", "landmarks external", "labels external",
        "identities promised", "identities promised at once", "identities numbers", "identities scalar",
        "identities long", "sources numbers", "sources bytes", "sources packed",
        "masked_ok packed", "duplicate_of group", "labels scalar",
    ],
)  # fmt: skip
def test_a_column_that_is_not_what_it_seems_is_refused_on_opening(tmp_path, kind):
    hostile(tmp_path / "x.h5", kind)
    started = time.process_time()
    with pytest.raises(ValueError, match=r"x\.h5") as caught:
        FaceStore(tmp_path / "x.h5")
    assert len(str(caught.value)) <= 300 + len(str(tmp_path)) and "\n" not in str(caught.value)
    assert time.process_time() - started < 2


def test_many_texts_that_stand_for_one_long_one_are_refused(tmp_path):
    """Ten thousand times the same place in the file, of which the library would make ten thousand texts."""
    path = tmp_path / "x.h5"
    foreign(path)
    with h5py.File(path, "a") as file:
        del file["identities"]
        names = file.create_dataset("identities", data=["y" * 4000, *["z"] * 9999], dtype=h5py.string_dtype("utf-8"))
        start = names.id.get_offset()
    data = bytearray(path.read_bytes())
    data[start : start + 160_000] = bytes(data[start : start + 16]) * 10_000
    path.write_bytes(data)
    with h5py.File(path) as file:
        assert len(file["identities"].asstr()[9999]) == 4000  # it works, and would take 40 MB
    with pytest.raises(ValueError, match=r"texts of up to 4,000 bytes, 40,000,000 in all"):
        FaceStore(path)


def test_odd_attributes_do_no_harm(tmp_path):
    path = tmp_path / "x.h5"
    foreign(path)
    with h5py.File(path, "a") as file:
        file.attrs["list"] = [1, 2]
        file.attrs["pair"] = np.zeros((), [("a", "i4"), ("b", "f4")])
        file.attrs["names"] = np.array(["x"] * 9, object)
        file.attrs["seed"] = 3
    assert FaceStore(path).attrs == {"format": "maskfr-faces-1", "seed": 3}
    with h5py.File(path, "a") as file:
        file.attrs["format"] = ["maskfr-faces-1"] * 3
    with pytest.raises(ValueError, match="another kind"):
        FaceStore(path)


def test_a_name_that_is_no_text_is_named_when_asked_for(tmp_path):
    path = tmp_path / "x.h5"
    with FaceWriter(path) as writer:
        writer.append(**faces(3) | {"sources": ["qqqq", "b", "c"]})
    path.write_bytes(path.read_bytes().replace(b"qqqq", b"\xff\xfe\xff\xfe"))
    store = FaceStore(path)
    with pytest.raises(ValueError, match=r"x\.h5 is damaged"):
        store.sources  # noqa: B018


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(places=st.lists(st.floats(0, 0.999), min_size=1, max_size=8), bits=st.integers(1, 255))
def test_flipped_bits_give_a_store_or_an_error(tmp_path, path, places, bits):
    """Outside the pictures: a file that opens is as large as it says, and all of its columns can be read or are named."""
    data = bytearray(path.read_bytes())
    start = data.index(b"OHDR") if b"OHDR" in data else 0
    for place in places:
        data[int(place * 4000) if place < 0.5 else start + int(place * 3000)] ^= bits
    broken = tmp_path / "broken.h5"
    broken.write_bytes(data)
    try:
        store = FaceStore(broken)
        for name in ("sources", "mask_kinds", "landmarks", "masked_ok", "duplicate_of"):
            assert len(getattr(store, name)) == len(store)
        store.batch(range(len(store)))
    except ValueError as error:
        assert "broken.h5" in str(error) and len(str(error)) < 400


def test_hdf5_of_somebody_else(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["data"] = np.arange(5)
    with pytest.raises(ValueError, match=r"another kind.*prepare"):
        FaceStore(tmp_path / "x.h5")


def test_memory_does_not_grow_with_the_pictures(tmp_path):
    # 60 MB of pictures are held by nobody: the peak after 2,048 faces is that after 256, but for a few megabytes.
    code = f"""
        import numpy as np
        from maskfr_utils.peaks import peak
        from maskfr_utils.store import FaceWriter
        block = np.zeros((64, 112, 112, 3), np.uint8)
        with FaceWriter({str(tmp_path / "x.h5")!r}) as writer:
            for step in range(32):
                writer.append(block, block, ["a"] * 64)
                if step in (3, 31):
                    print(peak())
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    early, late = map(int, done.stdout.split())
    assert late - early < 20e6
