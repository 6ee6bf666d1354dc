"""A long preparation: what is kept while it works, killed in the middle, gone on with; JPEGs; what it says beforehand."""

import shutil

import numpy as np
import pytest
from PIL import Image

from maskfr_utils import engines, parts, prepare, rendered, twins
from maskfr_utils.faces import recordio
from maskfr_utils.store import FaceStore, encode

pytestmark = pytest.mark.usefixtures("shallow")


@pytest.fixture(scope="module")
def faces():
    return rendered.render_faces(4, 12, seed=3)


@pytest.fixture
def packed(tmp_path, faces):
    """A set as the field packs them, with a broken picture in the middle."""
    pictures = [
        (f"{label}", f"{i}", encode(image))
        for i, (image, label) in enumerate(zip(faces.images, faces.labels, strict=True))
    ]
    pictures.insert(20, ("1", "x", b"broken"))
    recordio.write_set(tmp_path / "set", pictures)
    return tmp_path / "set"


@pytest.fixture
def small(monkeypatch):
    """Everything in small, as if it were much."""
    monkeypatch.setattr(prepare, "KEPT_FROM", 1)
    monkeypatch.setattr(prepare, "EACH", 2)
    monkeypatch.setattr(twins, "BLOCK", 5)


def made(source, out, **more):
    return FaceStore(prepare.prepare(source, out=out, min_masked=4, progress=False, **more))


def content(store):
    rows = np.arange(len(store))
    pictures = [store.batch(rows, masked=masked)[0] for masked in (False, True)]
    return [*pictures, store.labels, store.split, store.sources, store.landmarks, store.masked_ok, store.mask_kinds]


def equal(a, b):
    return all(np.array_equal(x, y, equal_nan=x.dtype.kind == "f") for x, y in zip(content(a), content(b), strict=True))


@pytest.mark.parametrize("encoding", ["raw", "jpeg"])
def test_killed_in_the_middle_it_goes_on_and_ends_the_same(packed, tmp_path, small, monkeypatch, encoding, capsys):
    whole = made(packed, tmp_path / "whole.h5", encoding=encoding)
    assert not list(tmp_path.glob(".parts-*")) and len(whole) == 48
    work, done = twins.decode_and_mask, []

    def killed(pictures, *how):
        if len(done) == 5:
            raise KeyboardInterrupt
        done.append(len(pictures))
        return work(pictures, *how)

    monkeypatch.setattr(twins, "decode_and_mask", killed)
    with pytest.raises(KeyboardInterrupt):
        made(packed, tmp_path / "x.h5", encoding=encoding)
    assert not (tmp_path / "x.h5").exists()
    assert len(list(tmp_path.glob(".parts-x.h5/part-*.npz"))) >= 1
    done.clear()
    monkeypatch.setattr(
        twins, "decode_and_mask", lambda pictures, *how: done.append(len(pictures)) or work(pictures, *how)
    )
    again = made(packed, tmp_path / "x.h5", encoding=encoding)
    assert sum(done) < 49 and "going on after" in capsys.readouterr().out
    assert equal(whole, again) and again.attrs["skipped"] == whole.attrs["skipped"]
    assert not list(tmp_path.glob(".parts-*"))


def block_of(number: int) -> twins.Block:
    return twins.draw_and_mask((number, 3, 0.5, 1), twins.How(jpeg=number % 2 == 1))


def test_parts_give_back_what_they_took_until_one_is_damaged(tmp_path):
    kept = parts.Parts(tmp_path / "x.h5", "key")
    blocks = [block_of(0), block_of(2), block_of(4)]
    blocks[1].skipped["a/\udcff"] = "unreadable"
    blocks[1].columns["sources"][0] = "a/é\0 odd \udcff name"
    kept.keep(0, blocks[:2])
    kept.keep(2, blocks[2:])
    found = [block for part in kept.kept() for block in part]
    for a, b in zip(blocks, found, strict=True):
        assert a.hashes == b.hashes and a.skipped == b.skipped
        for name, column in a.columns.items():
            np.testing.assert_array_equal(np.asarray(column), np.asarray(b.columns[name]))
    assert not list(parts.Parts(tmp_path / "x.h5", "another").kept())  # nor is it left there
    kept.keep(0, blocks[:2])
    kept.keep(2, blocks[2:])
    first, second = sorted(kept.folder.iterdir())
    data = bytearray(first.read_bytes())
    data[len(data) // 2] ^= 1
    first.write_bytes(data)
    assert not list(kept.kept()) and not second.exists()
    kept.keep(0, [block_of(1)])  # of JPEGs
    assert next(kept.kept())[0].columns["images"] == block_of(1).columns["images"]
    kept.remove()
    assert not kept.folder.exists()


def test_jpegs_cost_a_tenth_and_little_else(packed, tmp_path):
    raw, jpeg = (made(packed, tmp_path / f"{encoding}.h5", encoding=encoding) for encoding in ("raw", "jpeg"))
    assert raw.sources.tolist() == jpeg.sources.tolist() and (raw.split == jpeg.split).all()
    difference = np.abs(
        raw.batch(np.arange(48), masked=True)[0].astype(int) - jpeg.batch(np.arange(48), masked=True)[0]
    )
    assert difference.mean() < 1.5
    assert jpeg.path.stat().st_size < raw.path.stat().st_size / 2  # a chunk of 1 MB is the least
    assert raw.attrs["fingerprint"] != jpeg.attrs["fingerprint"]
    assert prepare.is_jpeg("auto", 10**6) and not prepare.is_jpeg("auto", 999_999)
    with pytest.raises(ValueError, match="unknown encoding 'png'"):
        prepare.prepare(packed, encoding="png")


def test_a_disk_too_small_is_told_beforehand(packed, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 10**5))
    with pytest.raises(ValueError, match="about 49 pictures take 0.0 GB.*set encoding to jpeg"):
        made(packed, tmp_path / "x.h5")


@pytest.mark.parametrize(("done", "left"), [(0, 600), (10, 570)])
def test_time_that_is_left_and_room_are_said_before_the_bulk(tmp_path, capsys, monkeypatch, done, left):
    people, block = twins.Rendered(200, 3, 0.5, 0), block_of(0)
    monkeypatch.setattr(people, "blocks", lambda how, start: iter([block] * (200 - start)))
    kept = parts.Parts(tmp_path / "x.h5", "key")
    if done:
        kept.keep(0, [block] * done)
    assert len(list(prepare._blocks(people, kept, twins.How(jpeg=True)))) == 200
    assert f"about {left} pictures" in (said := capsys.readouterr().out) and "GB of room (JPEGs)" in said


def test_rendered_people_come_as_a_stream(tmp_path, faces):
    given = {"identities": 4, "per_identity": 12, "difficulty": 0.5, "seed": 3}
    store = FaceStore(prepare.prepare("demo", **given, out=tmp_path / "x.h5", progress=False))
    np.testing.assert_array_equal(store.batch(np.arange(48))[0], faces.images)
    assert store.sources[13] == "rendered_001/001"
    np.testing.assert_array_equal(rendered.render_faces(1, 12, seed=3, first=2).images, faces.images[24:36])


def test_a_run_s_parameters_prepare_for_it(tmp_path, capsys):
    for label in range(3):
        for i, image in enumerate(rendered.render_faces(1, 6, seed=1, first=label).images):
            path = tmp_path / f"people/p{label}/{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
    (tmp_path / "run.yaml").write_text("dataset: gone\nmin_masked: 3\nstyle: cloth\nvalidation_fraction: 0.2\n")
    arguments = [
        "-f",
        str(tmp_path / "run.yaml"),
        "--no-progress",
        str(tmp_path / "people"),
        "--out",
        str(tmp_path / "x.h5"),
    ]
    assert prepare.main([*arguments, "--min-masked", "4"]) == 0
    attrs = FaceStore(tmp_path / "x.h5").attrs
    assert (attrs["min_masked"], attrs["style"], attrs["validation_fraction"]) == (4, "cloth", 0.2)
    with pytest.raises(SystemExit):
        prepare.main([])


@pytest.mark.parametrize("engine", ["cloud", "dask", "local 3", "ray now"])
def test_unknown_engines_are_refused(engine):
    with pytest.raises(ValueError, match="unknown engine"), engines.workers(engine):
        pass
