"""From a data set to its HDF5 file: the whole way, its cache, and what it says when it cannot."""

import multiprocessing
import os
import shutil
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest
from PIL import Image

from maskfr_utils import fingerprint, masks, prepare, rendered, splits, store, twins
from maskfr_utils.config import TrainConfig
from maskfr_utils.probes import faces as probes


@pytest.fixture(scope="module")
def known():
    """File of what the code computes for faces."""
    fingerprint.numbers(probes.PARTS)
    return fingerprint._memory()


@pytest.fixture(autouse=True)
def cache(tmp_path, known, monkeypatch):
    """An empty cache, but for what each test would compute again, half a second long."""
    (tmp_path / "cache").mkdir()
    shutil.copy(known, tmp_path / "cache")
    monkeypatch.setenv("MASKFR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def faces():
    return rendered.render_faces(5, 12, seed=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, faces):
    """Rendered faces as files, with two broken ones, a copy, and a person with three pictures only."""
    root = tmp_path_factory.mktemp("set") / "people"
    place = np.zeros(5, int)
    for image, label in zip(faces.images, faces.labels, strict=True):
        path = root / f"person {label}/{place[label]:02d}.png"
        place[label] += 1
        if label == 4 and place[label] > 3:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    (root / "person 0/broken.jpg").write_bytes(b"x")
    (root / "person 1/empty.png").write_bytes(b"")
    Image.fromarray(faces.images[0][:, ::-1]).save(root / "person 0/zz mirrored.png")
    return root


def ready(path) -> store.FaceStore:
    assert path.is_file()
    return store.FaceStore(path)


def test_folder_end_to_end(folder, faces, cache, capsys):
    path = prepare.prepare(folder, min_masked=4, test_fraction=0.25, seed=1, progress=False)
    assert path.parent == cache
    assert [file.name for file in cache.glob("*.h5")] == [path.name]
    found = ready(path)
    assert found.identities == [f"person {i}" for i in range(4)]
    assert len(found) == 4 * 12 + 3 + 1
    by_name = {name: i for i, name in enumerate(found.sources)}
    index = [by_name[f"person {label}/{k % 12:02d}.png"] for k, label in enumerate(faces.labels[:48])]
    np.testing.assert_array_equal(found.batch(index)[0], faces.images[:48])
    kept = found.labels[index] >= 0
    np.testing.assert_array_equal(found.labels[index][kept], faces.labels[:48][kept])
    assert kept.sum() > 40
    # Twins: the same mask as anywhere else, from the landmarks that are kept with them.
    rows = np.arange(len(found))
    images, twins = found.batch(rows)[0], found.batch(rows, masked=True)[0]
    expected = masks.mask_faces(images, found.landmarks, seed=1)
    np.testing.assert_array_equal(twins, expected.images)
    np.testing.assert_array_equal(found.masked_ok, expected.ok)
    assert found.mask_kinds.tolist() == expected.kinds.tolist()
    # The mirrored copy is on neither side, the small identity neither.
    copy = by_name["person 0/zz mirrored.png"]
    assert found.split[copy] == store.LEFT_OUT
    assert found.duplicate_of[copy] == by_name["person 0/00.png"]
    small = [by_name[f"person 4/{i:02d}.png"] for i in range(3)]
    assert (found.split[small] == store.LEFT_OUT).all()
    assert (found.labels[small] == -1).all()
    for label in range(4):
        sides = found.split[found.labels == label]
        assert (sides == store.TEST).sum() == max(1, round(0.25 * (sides >= 0).sum()))
    assert {name: found.attrs[name] for name in ("seed", "style", "min_masked", "test_fraction", "dataset")} == {
        "seed": 1,
        "style": "random",
        "min_masked": 4,
        "test_fraction": 0.25,
        "dataset": "people",
    }
    said = capsys.readouterr().out
    for line in ("unreadable", "empty file", "near-duplicate", "identity below 4 pictures", "training pictures"):
        assert line in said


def test_prepared_once(folder, faces, cache, capsys, monkeypatch):
    path = prepare.prepare(folder, min_masked=4, progress=False)
    made = path.stat()
    again = prepare.prepare(str(folder), min_masked=4, progress=False)
    assert (again, path.stat().st_mtime_ns, path.stat().st_ino) == (path, made.st_mtime_ns, made.st_ino)
    assert "prepared already" in capsys.readouterr().out
    # Whatever matters gives another file.
    changes = [{"seed": 1}, {"style": "cloth"}, {"test_fraction": 0.2}, {"min_masked": 5}, {"validation_fraction": 0.2}]
    changes += [{"keep_copies": True}, {"worn_masks": True}]
    others = {prepare.prepare(folder, progress=False, **{"min_masked": 4} | change) for change in changes}
    assert len(others) == len(changes)
    assert path not in others
    # A damaged file is made anew.
    os.truncate(path, 1000)
    assert prepare.prepare(folder, min_masked=4, progress=False) == path
    assert len(ready(path)) == 52
    # So is any file once the code that makes it is another.
    monkeypatch.setitem(probes.PARTS, "split", lambda: {"labels": [1.0]})
    monkeypatch.setattr(fingerprint, "sources", lambda: "others")
    assert prepare.prepare(folder, min_masked=4, progress=False) != path


def test_of_two_preparations_at_once_one_works_and_the_other_waits(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(prepare, "KEPT_FROM", 10)
    with ThreadPoolExecutor(2) as pool:
        jobs = [
            pool.submit(prepare.prepare, folder, min_masked=4, progress=False, out=tmp_path / "x.h5") for _ in range(2)
        ]
        assert {job.result() for job in jobs} == {tmp_path / "x.h5"}
    assert capsys.readouterr().out.count("prepared already") == 1 and len(ready(tmp_path / "x.h5")) == 52


def test_tar_gives_the_same(folder, tmp_path):
    path = tmp_path / "people.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, "people")
    a, b = (ready(prepare.prepare(source, min_masked=4, progress=False)) for source in (folder, path))
    order = np.argsort(b.sources)
    np.testing.assert_array_equal(a.sources[np.argsort(a.sources)], b.sources[order])
    np.testing.assert_array_equal(a.split[np.argsort(a.sources)], b.split[order])


def test_a_run_finds_what_was_prepared_for_it(folder, cache):
    path = prepare.prepare(folder, min_masked=4, progress=False)
    assert prepare.prepare(**TrainConfig(dataset=str(folder), min_masked=4).data(), progress=False) == path


def test_demo(cache):
    given = {"identities": 3, "per_identity": 8, "min_masked": 4, "difficulty": 0.5}
    path = prepare.prepare("demo", **given, progress=False)
    for change in ({"identities": 2}, {"per_identity": 9}, {"difficulty": 0.9}):
        assert prepare.prepare("demo", **given | change, progress=False) != path
    found = ready(path)
    assert len(found.identities) == 3
    assert len(found) == 24
    np.testing.assert_array_equal(
        np.sort(found.batch(np.arange(24))[0].sum((1, 2, 3))),
        np.sort(rendered.render_faces(3, 8, seed=0).images.sum((1, 2, 3))),
    )


def test_same_bytes_each_time(folder, tmp_path):
    stores = [ready(prepare.prepare(folder, min_masked=4, out=tmp_path / name, progress=False)) for name in "ab"]
    for name in ("images", "masked", "labels", "split", "landmarks", "duplicate_of"):
        a, b = (found._column(name) for found in stores)
        np.testing.assert_array_equal(a, b)


def test_parallel_is_serial(folder, tmp_path, monkeypatch):
    serial = ready(prepare.prepare(folder, min_masked=4, out=tmp_path / "a.h5", progress=False))
    monkeypatch.setattr(twins, "PARALLEL_FROM", 2)
    monkeypatch.setattr(twins, "BLOCK", 8)
    monkeypatch.setattr("joblib.cpu_count", lambda: 2)
    parallel = ready(prepare.prepare(folder, min_masked=4, out=tmp_path / "b.h5", progress=False))
    assert serial.sources.tolist() == parallel.sources.tolist()
    for masked in (False, True):
        a, b = (found.batch(np.arange(len(found)), masked=masked)[0] for found in (serial, parallel))
        np.testing.assert_array_equal(a, b)


def _prepare(folder) -> str:
    return str(prepare.prepare(folder, min_masked=4, progress=False))


def test_two_processes_at_once(folder, cache):
    with multiprocessing.get_context("fork").Pool(2) as pool:
        first, second = pool.map(_prepare, [folder] * 2, chunksize=1)
    assert first == second
    assert [str(file) for file in cache.glob("*.h5")] == [first]
    assert len(store.FaceStore(first)) == 52


def test_hdf5_is_checked_and_returned(folder, tmp_path):
    path = prepare.prepare(folder, min_masked=4, out=tmp_path / "x.h5", progress=False)
    assert prepare.prepare(path) == path
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(ValueError, match=r"foreign\.h5 is an HDF5 file of another kind"):
        prepare.prepare(tmp_path / "foreign.h5")
    (tmp_path / "text.h5").write_text("hello")
    with pytest.raises(ValueError, match=r"text\.h5 is not an HDF5 file"):
        prepare.prepare(tmp_path / "text.h5")


def test_data_set_below_the_data_folder(folder, monkeypatch):
    monkeypatch.setenv("MASKFR_DATA", str(folder.parent))
    assert ready(prepare.prepare("people", min_masked=4, progress=False)).attrs["dataset"] == "people"


def test_errors_say_the_way_out(folder, tmp_path, cache):
    with pytest.raises(FileNotFoundError, match="MASKFR_DATA"):
        prepare.prepare(tmp_path / "missing")
    with pytest.raises(
        ValueError, match=r"0 of 5 identities have 80 .* largest has \d+: set min_masked to at most \d+"
    ):
        prepare.prepare(folder, min_masked=80, progress=False)
    with pytest.raises(ValueError, match="min_masked is 1"):
        prepare.prepare(folder, min_masked=1)
    with pytest.raises(ValueError, match="test_fraction is 2"):
        prepare.prepare(folder, test_fraction=2)
    with pytest.raises(ValueError, match="unknown mask style 'wool'"):
        prepare.prepare(folder, style="wool")
    with pytest.raises(ValueError, match="per_identity is 3, fewer than min_masked = 5"):
        prepare.prepare("demo", per_identity=3)
    for for_photos in ("keep_copies", "worn_masks"):  # not passed over in silence
        with pytest.raises(ValueError, match="keep_copies and worn_masks are for photos"):
            prepare.prepare("demo", **{for_photos: True})
    source = tmp_path / "photos.zip"
    with zipfile.ZipFile(source, "w") as archive:
        archive.write(next(folder.rglob("*.png")), "a/1.png")
    before = source.read_bytes()
    with pytest.raises(ValueError, match=r"photos\.zip is there already, and no file of ours.*choose another out"):
        prepare.prepare(folder, out=source)
    assert source.read_bytes() == before
    with h5py.File(tmp_path / "mine.h5", "w") as file:
        file["precious"] = [1]
    with pytest.raises(ValueError, match=r"mine\.h5 is there already, and no file of ours"):
        prepare.prepare(folder, out=tmp_path / "mine.h5")
    with h5py.File(tmp_path / "mine.h5") as file:
        assert "precious" in file
    (tmp_path / "bad/a").mkdir(parents=True)
    for i in range(5):
        (tmp_path / f"bad/a/{i}.jpg").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"no usable picture in .*bad: 5 unreadable"):
        prepare.prepare(tmp_path / "bad", progress=False)
    assert not list(cache.glob("*.h5"))


def test_what_was_left_out_is_told_where_too_little_remains(faces, tmp_path):
    rng = np.random.default_rng(0)
    for person in "ab":
        (tmp_path / "burst" / person).mkdir(parents=True)
        for k in range(6):
            noisy = (faces.images[12 * "ab".index(person)] + rng.normal(0, 4, (112, 112, 3))).clip(0, 255)
            Image.fromarray(noisy.astype(np.uint8)).save(tmp_path / f"burst/{person}/{k}.png")
        (tmp_path / f"burst/{person}/broken.png").write_bytes(b"x")
    with pytest.raises(
        ValueError, match=r"give more pictures.*left out: 10 near-duplicate; skipped: 2 unreadable"
    ) as error:
        prepare.prepare(tmp_path / "burst", progress=False)
    assert len(str(error.value)) < 300


def test_groups_and_spellings_are_told(folder, tmp_path, capsys):
    for part, person, old in (("train", "Zoë", "person 0"), ("test", "zoë ", "person 1"), ("train", "bob", "person 2")):
        target = tmp_path / "set" / part / person
        target.mkdir(parents=True)
        for path in sorted((folder / old).glob("*.png"))[1:9]:
            (target / path.name).write_bytes(path.read_bytes())
    found = ready(prepare.prepare(tmp_path / "set", min_masked=2, progress=False))
    assert len(found.identities) == 2 and len(found) == 24
    said = capsys.readouterr().out
    assert "2 groups of people, taken together: test, train" in said and "another spelling of" in said


def test_one_person_only_is_told(folder, tmp_path, capsys):
    (tmp_path / "one").mkdir()
    (tmp_path / "one/ann").symlink_to(folder / "person 1")
    prepare.prepare(tmp_path / "one", min_masked=2, progress=False)
    assert "one person only: there is nobody to tell apart from" in capsys.readouterr().out


def test_a_search_that_is_left_out_is_told(folder, tmp_path, capsys, monkeypatch):
    for most, told in ((100, False), (10, True)):
        monkeypatch.setattr("maskfr_utils.splits.CROSS_LIMIT", most)
        prepare.prepare(folder, min_masked=4, out=tmp_path / f"{most}.h5", progress=False)
        assert ("found only where it is the same to the bit" in capsys.readouterr().out) == told


def test_edited_texture_gives_another_file(folder, tmp_path):
    style, stores = tmp_path / "team.yaml", []
    style.write_text("team: {kind: cloth, texture: logo.png, pattern_weight: 1}")
    for colour in ("red", "lime"):
        Image.new("RGB", (40, 40), colour).save(tmp_path / "logo.png")
        stores.append(ready(prepare.prepare(folder, min_masked=4, style=str(style), progress=False)))
    assert stores[0].path != stores[1].path
    red, green = (found.batch(np.flatnonzero(found.masked_ok), masked=True)[0].mean((0, 1, 2)) for found in stores)
    assert red[0] > green[0] + 10 and green[1] > red[1] + 10


def test_photos_next_to_faces(tmp_path, faces):
    data = pytest.importorskip("skimage.data", reason="scikit-image carries the astronaut: install the notebooks extra")
    for i in range(6):
        (tmp_path / "set/ann").mkdir(parents=True, exist_ok=True)
        Image.fromarray(faces.images[i]).save(tmp_path / f"set/ann/{i}.png")
    Image.fromarray(data.astronaut()[:280, 90:370]).save(tmp_path / "set/ann/photo.jpg")
    found = ready(prepare.prepare(tmp_path / "set", min_masked=2, progress=False))
    assert "ann/photo.jpg" in found.sources
    assert np.isfinite(found.landmarks).all()
    assert found.masked_ok[found.sources.tolist().index("ann/photo.jpg")]


def test_bar_reaches_the_end(folder, capsys):
    prepare.prepare(folder, min_masked=4)
    assert "54/54" in capsys.readouterr().err


def test_command_line(folder, tmp_path, capsys):
    out = tmp_path / "x.h5"
    assert prepare.main([str(folder), "--min-masked", "4", "--out", str(out), "--no-progress", "--seed", "2"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(out)
    assert ready(out).attrs["seed"] == 2
    assert prepare.main([str(tmp_path / "missing")]) == 2
    assert "error: no data set at" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="0"):
        prepare.main(["--help"])
    shown = capsys.readouterr().out
    for option in ("--min-masked", "--test-fraction", "--style", "--seed", "--identities", "--per-identity", "--out"):
        assert option in shown


def test_options_beside_a_prepared_file_are_refused(folder, tmp_path, capsys):
    out = tmp_path / "x.h5"
    assert prepare.main([str(folder), "--min-masked", "4", "--out", str(out), "--no-progress"]) == 0
    assert prepare.main([str(out), "--no-progress"]) == 0
    assert prepare.main([str(out), "--seed", "2", "--worn-masks"]) == 2
    assert "--seed, --worn-masks: without effect" in capsys.readouterr().err


def test_ctrl_c_is_one_line(folder, monkeypatch, capsys):
    monkeypatch.setattr(prepare, "prepare", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    assert prepare.main([str(folder)]) == 130
    assert capsys.readouterr().err.count("\n") == 1


def test_what_a_killed_preparation_left_takes_no_room(folder, tmp_path):
    (left := tmp_path / ".tmp-abcd1234-x.h5").write_bytes(b"x")
    prepare.prepare(folder, out=tmp_path / "x.h5", progress=False)
    assert not left.exists()


def test_style_file(folder, tmp_path):
    file = tmp_path / "mine.yaml"
    paths = set()
    for colour in ("'#ff0000'", "'#00ff00'"):
        file.write_text(f"mine: {{kind: cloth, colours: [{colour}]}}")
        paths.add(prepare.prepare(folder, min_masked=4, style=str(file), progress=False))
    assert len(paths) == 2


def test_stream_of_faces_is_all_that_split_sees(folder):
    # What is a copy is decided from the stored pictures: reading them back gives the verdict of prepare.
    found = ready(prepare.prepare(folder, min_masked=4, progress=False))
    people = [name.split("/")[0] for name in found.sources]
    images = found.batch(np.arange(len(found)))[0]
    again = splits.make_splits(
        people,
        found.sources,
        found.masked_ok,
        [splits.picture_hash(image) for image in images],
        lambda rows: images[rows],
        min_pictures=4,
        validation_fraction=0.1,
    )
    np.testing.assert_array_equal(found.split, again.split)
    np.testing.assert_array_equal(found.labels, again.labels)
    np.testing.assert_array_equal(found.duplicate_of, again.duplicate_of)
