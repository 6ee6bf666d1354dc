"""Enrolling, naming, forgetting; thresholds, files, photos and the commands. The network is a toy: the face in sixteen tiles."""

import copy
import csv
import json
import os
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file, save_file
from torch import nn

from maskfr_utils.faces import sources
from maskfr_utils.models import create_model, load_model, save_model
from maskfr_utils.recognise import UNKNOWN, Embedder, Gallery, Match, files, load_embedder, quality
from maskfr_utils.recognise.__main__ import COMMANDS, main
from maskfr_utils.recognise.calibration import Calibration, calibrate
from maskfr_utils.recognise.compare import embed_folder, verify
from maskfr_utils.recognise.results import annotate, name_photos
from maskfr_utils.recognise.search import best_people
from maskfr_utils.recognise.validation import calibrate_on

CALIBRATION = Calibration((0.1, 0.01, 0.001), (0.5, 0.7, 0.8), 10, 10_000, "made-up people")


class Tiles(nn.Module):
    def forward(self, images):
        return nn.functional.adaptive_avg_pool2d(images, 4).flatten(1)


class OtherTiles(Tiles):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))


def face(person, photo=0):
    """A picture that the toy takes for a face of this person."""
    rng = np.random.default_rng(person)
    tiles = rng.integers(40, 216, (4, 4, 3)).repeat(28, 0).repeat(28, 1)
    return (tiles + np.random.default_rng((person, photo)).normal(0, 8, tiles.shape)).clip(0, 255).astype(np.uint8)


def write(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def write_people(folder):
    for person, name in enumerate(["Ada", "Bela", "Chloé"]):
        for photo in range(3):
            write(folder / name / f"{photo}.png", face(person, photo))
    return folder


@pytest.fixture
def people(tmp_path):
    return write_people(tmp_path / "people")


@pytest.fixture(scope="module")
def enrolled(tmp_path_factory):
    gallery = Gallery(Tiles(), calibration=CALIBRATION)
    gallery.enrol(write_people(tmp_path_factory.mktemp("people")))
    return gallery


@pytest.fixture
def gallery(enrolled):
    return copy.deepcopy(enrolled)


# Naming


def test_people_are_named_and_strangers_are_not(gallery):
    assert gallery.people == {"Ada": 3, "Bela": 3, "Chloé": 3}
    assert [gallery.name(face(person, 9))[0].name for person in range(4)] == ["Ada", "Bela", "Chloé", UNKNOWN]
    (match,) = gallery.name(face(3, 9))
    assert match.nearest in gallery.people and match.cosine < match.threshold == gallery.threshold


def test_a_path_is_named_as_its_pixels(gallery, tmp_path):
    write(tmp_path / "x.png", face(1, 5))
    assert gallery.name(tmp_path / "x.png")[0].cosine == gallery.name(face(1, 5))[0].cosine
    assert gallery.name(np.zeros((300, 300, 3), np.uint8)) == []
    with pytest.raises(ValueError, match="uint8"):
        gallery.name(np.zeros((300, 300, 3)))


def test_nobody_enrolled(people):
    with pytest.raises(ValueError, match="enrol"):
        Gallery(Tiles(), calibration=CALIBRATION).name(face(0))


def test_enrolling_again_changes_nothing_and_others_are_added(gallery, people, tmp_path):
    before = gallery.nearest(gallery.embedder(face(0, 7)[None]))[1]
    gallery.enrol(people)
    assert len(gallery) == 9
    assert gallery.nearest(gallery.embedder(face(0, 7)[None]))[1] == before
    write(tmp_path / "one.png", face(3))
    assert gallery.enrol(tmp_path / "one.png", person="Dmitri ").people == {"Dmitri": 1}
    assert gallery.name(face(3, 9))[0].name == "Dmitri"


def test_removed_people_are_unknown(gallery):
    gallery.remove("Bela")
    assert gallery.name(face(1, 9))[0].name == UNKNOWN
    assert gallery.name(face(2, 9))[0].name == "Chloé"
    with pytest.raises(ValueError, match="did you mean Ada"):
        gallery.remove("Adda")


def test_photos_without_a_name_replace_none(gallery):
    embeddings = gallery.embedder(np.stack([face(4, photo) for photo in range(3)]))
    gallery.add(["Eva"] * 3, embeddings)
    gallery.remove("Ada")
    gallery.add(["Eva"] * 2, embeddings[:2])
    assert gallery.people["Eva"] == 5


def test_embeddings_of_one_name_in_one_call_are_counted_as_replaced(gallery):
    embeddings = gallery.embedder(np.stack([face(4, photo) for photo in range(3)]))
    assert gallery.add(["Eva", "eva", "Eva"], embeddings, ["1", "1", "2"]) == 1 and gallery.people["Eva"] == 2


def test_one_spelling_of_a_name(gallery):
    gallery.add(["Chloe\u0301 "], gallery.embedder(face(2, 8)[None]), ["new"])
    gallery.add(
        ["chloé", "Dmitri", "DMITRI"], gallery.embedder(np.stack([face(2, 7), face(3), face(3, 1)])), list("abc")
    )
    assert gallery.people == {"Ada": 3, "Bela": 3, "Chloé": 5, "Dmitri": 2}
    gallery.remove(" dmitri")
    assert gallery.people == {"Ada": 3, "Bela": 3, "Chloé": 5}


@pytest.mark.parametrize("name", ["unknown", " Unknown", "", "a\nb", "\x1b[2J", "x" * 201])
def test_names_that_nobody_has(gallery, name):
    with pytest.raises(ValueError, match=r"called|printable"):
        gallery.add([name], gallery.embedder(face(0)[None]))


@pytest.mark.parametrize("embeddings", [np.ones((1, 48)), np.full((1, 48), np.nan), np.ones((2, 48)), np.ones((1, 3))])
def test_refuses_what_are_no_embeddings(gallery, embeddings):
    with pytest.raises(ValueError, match="embeddings"):
        gallery.add(["Zoe"], embeddings)
    assert len(gallery) == 9


def test_photos_that_cannot_be_enrolled_are_told(people, tmp_path):
    write(people / "Ada" / "wall.png", np.full((200, 200, 3), 90, np.uint8))
    (people / "Bela" / "broken.jpg").write_bytes(b"no picture")
    write(people / "Unknown" / "0.png", face(5))
    (people / "Ada" / "notes.txt").write_text("x")
    done = Gallery(Tiles(), calibration=CALIBRATION).enrol(people)
    assert done.people == {"Ada": 3, "Bela": 3, "Chloé": 3}
    assert done.left_out["Ada/wall.png"] == "no face"
    assert done.left_out["Bela/broken.jpg"] == "unreadable"
    assert "strangers" in done.left_out["Unknown/0.png"]
    assert sum(done.skipped.values()) == 1


def test_nothing_to_enrol_leaves_the_gallery(gallery, tmp_path):
    write(tmp_path / "walls" / "Zoe" / "1.png", np.full((200, 200, 3), 90, np.uint8))
    with pytest.raises(ValueError, match="1 no face"):
        gallery.enrol(tmp_path / "walls")
    assert len(gallery) == 9


# Search and thresholds


@pytest.mark.parametrize("rows", [3, 7, 1 << 16])
def test_search_is_exact(monkeypatch, rows):
    monkeypatch.setattr("maskfr_utils.recognise.search._ROWS", rows)
    rng = np.random.default_rng(0)
    gallery, probes = (rng.standard_normal((n, 8)).astype(np.float32) for n in (200, 5))
    owner = np.sort(rng.integers(0, 40, 200))
    names, starts = np.unique(owner, return_index=True)
    people, cosines = best_people(gallery, starts, probes, 4)
    for i, probe in enumerate(probes):
        best = sorted(((gallery[owner == name] @ probe).max(), k) for k, name in enumerate(names))[::-1][:4]
        assert people[i].tolist() == [k for _, k in best]
        np.testing.assert_allclose(cosines[i], [c for c, _ in best], rtol=1e-5)


def test_calibration_counts_pairs_of_strangers():
    rng = np.random.default_rng(1)
    embeddings = rng.standard_normal((120, 6)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    people = np.repeat(np.arange(40), 3)
    found = calibrate(embeddings, people, "x")
    cosines = np.array([embeddings[i] @ embeddings[j] for i in range(120) for j in range(i) if people[i] != people[j]])
    assert (found.people, found.pairs) == (40, len(cosines))
    for rate, cosine in zip(found.rates, found.cosines, strict=True):
        assert (cosines >= cosine).mean() <= rate
        assert (cosines >= cosine - 2e-4).mean() >= rate - 2 / len(cosines)
    assert Calibration.from_dict(json.loads(json.dumps(found.as_dict()))) == found


def test_threshold_holds_for_strangers_at_the_stated_rate():
    """Strangers drawn from the calibrated distribution are accepted about as often as stated, by however many enrolled."""
    rng = np.random.default_rng(2)

    def unit(n):
        found = rng.standard_normal((n, 24)).astype(np.float32)
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    calibration = calibrate(unit(3000), np.arange(3000), "x")
    for enrolled in (10, 100):
        best = (unit(4000) @ unit(enrolled).T).max(1)
        assert 0.02 < (best >= calibration.threshold(0.05, enrolled)).mean() < 0.07


def test_threshold_rises_with_people_and_falls_with_the_rate():
    assert CALIBRATION.threshold(0.01) == pytest.approx(0.7)
    assert CALIBRATION.threshold(0.1, 10) == pytest.approx(0.7)
    assert CALIBRATION.threshold(0.0001) == pytest.approx(0.9)  # beyond what was measured: a straight line
    assert CALIBRATION.threshold(1e-30) == 1.0
    for rate in (0, 1, -1, float("nan")):
        with pytest.raises(ValueError, match="rate"):
            CALIBRATION.threshold(rate)


def test_too_few_people_to_calibrate():
    with pytest.raises(ValueError, match="more people"):
        calibrate(np.eye(4, dtype=np.float32), list("abcd"), "four people")


def test_calibrating_looks_at_no_more_photos_than_it_keeps(tmp_path, monkeypatch):
    read, looked_at = sources.read_picture, []
    monkeypatch.setattr(sources, "read_picture", lambda data: looked_at.append(data) or read(data))
    for person in range(3):
        for photo in range(6):
            write(tmp_path / "others" / f"{person}" / f"{photo}.png", face(person, photo))
    (tmp_path / "others" / "0" / "1.png").write_bytes(b"broken")  # and counts as none
    with pytest.raises(ValueError, match="2 people .* more people"):
        calibrate_on(Embedder(Tiles()), tmp_path / "others", most_people=2)
    assert len(looked_at) == 2 * 4 + 1


@pytest.mark.parametrize(
    "change",
    [
        {"rates": [0.1]},
        {"rates": [0.01, 0.1, 0.001]},
        {"cosines": [0.5, float("nan"), 0.8]},
        {"cosines": None},
        {"people": "many"},
        {"rates": {"a": 1}},
    ],
)
def test_broken_calibrations(change):
    with pytest.raises(ValueError, match="calibration is broken"):
        Calibration.from_dict(CALIBRATION.as_dict() | change)
    for other in (None, 3, []):
        with pytest.raises(ValueError, match="calibration is broken"):
            Calibration.from_dict(other)


# Networks


def test_embeddings_have_length_one_and_the_network_is_a_copy():
    model = OtherTiles().train()
    embedder = Embedder(model)
    found = embedder(np.stack([face(0), face(1)]))
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    with torch.no_grad():
        model.scale.fill_(float("nan"))
    assert model.training and np.isfinite(embedder(face(0)[None])).all()
    for wrong in (np.zeros((1, 112, 112, 3)), np.zeros((112, 112, 3), np.uint8), np.zeros((0, 112, 112, 3), np.uint8)):
        with pytest.raises(ValueError, match="faces must be"):
            embedder(wrong)


def test_broken_weights_are_noticed():
    class Broken(Tiles):
        def forward(self, images):
            return super().forward(images) * float("nan")

    with pytest.raises(ValueError, match="not finite"):
        Embedder(Broken())


def small(seed=0, **arguments):
    torch.manual_seed(seed)
    return create_model("iresnet50", width=0.05, embedding_dim=16, **arguments)


def test_networks_from_a_run_a_file_and_arcface_torch(tmp_path):
    model = small()
    save_model(tmp_path / "run" / "model.safetensors", model, classes=["a"])
    torch.save({f"module.{k}": v for k, v in model.state_dict().items() if "num_batches" not in k}, tmp_path / "b.pth")
    embedders = [load_embedder(tmp_path / name) for name in ("run", "run/model.safetensors", "b.pth")]
    assert len({e.fingerprint for e in embedders}) == 1 and embedders[0].dim == 16
    assert Embedder(small(1)).fingerprint != embedders[0].fingerprint
    with torch.inference_mode():
        images = torch.from_numpy(face(0)[None]).permute(0, 3, 1, 2).float() / 127.5 - 1
        theirs = nn.functional.normalize(model.eval()(images)).numpy()
    np.testing.assert_allclose(embedders[2](face(0)[None]), theirs, atol=1e-5)


def test_half_precision_takes_half_the_space(tmp_path):
    model = small()
    save_model(tmp_path / "whole.safetensors", model)
    save_model(tmp_path / "half.safetensors", model, half=True)
    whole, half = ((tmp_path / f"{name}.safetensors").stat().st_size for name in ("whole", "half"))
    assert half < 0.6 * whole
    loaded = load_model(tmp_path / "half.safetensors")[0]
    assert loaded.conv1.weight.dtype == torch.float32
    torch.testing.assert_close(loaded.fc.weight, model.fc.weight, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(
    "tensors",
    [
        {},
        {"bn2.weight": torch.zeros(10**6)},
        {f"layer{i}.{j}.x": torch.zeros(1) for i, n in zip((1, 2, 3, 4), (3, 4, 14, 3), strict=True) for j in range(n)},
    ],
)
def test_pth_of_other_networks(tmp_path, tensors):
    torch.save(tensors, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"x\.pth.*iresnet50"):
        load_embedder(tmp_path / "x.pth")


def test_files_that_are_no_network(tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "text.pth").write_text("hello")
    (tmp_path / "cut.safetensors").write_bytes(b"\xff" * 8 + b'{"a"')
    (tmp_path / "folder").mkdir()
    for name in ("empty", "text.pth", "cut.safetensors", "folder"):
        with pytest.raises(ValueError, match=name) as error:
            load_embedder(tmp_path / name)
        assert len(str(error.value)) <= 300 + len(str(tmp_path))
    with pytest.raises(OSError, match="nothing"):
        load_embedder(tmp_path / "nothing")


def onnx_of(path, shape, of="float", last=("Flatten", {})):
    """A network of ONNX: the mean of each channel, then what `last` names."""
    onnx = pytest.importorskip("onnx")
    kind, (operator, arguments) = getattr(onnx.TensorProto, of.upper()), last
    steps = [("GlobalAveragePool", ["images"], ["means"], {}), (operator, ["means"], ["found"], arguments)]
    nodes = [onnx.helper.make_node(name, *ends, **more) for name, *ends, more in steps]
    given, made = (
        onnx.helper.make_tensor_value_info(name, kind, size) for name, size in (("images", shape), ("found", None))
    )
    graph = onnx.helper.make_graph(nodes, "network", [given], [made])
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8), path)
    return path


@pytest.mark.parametrize("count", ["n", 1])
def test_networks_of_onnx_take_any_number_or_one(tmp_path, count):
    pytest.importorskip("onnxruntime")
    embedder = load_embedder(onnx_of(tmp_path / "x.onnx", [count, 3, 112, 112]))
    means = face(0).mean((0, 1)) / 127.5 - 1
    np.testing.assert_allclose(embedder(np.stack([face(1), face(0)]))[1], means / np.linalg.norm(means), atol=1e-5)


@pytest.mark.parametrize(
    ("count", "of", "last"),
    [
        (4, "float", ("Flatten", {})),
        (2, "float", ("Flatten", {})),
        ("n", "float16", ("Flatten", {})),
        ("n", "float", ("Identity", {})),
        ("n", "float", ("ReduceMean", {"axes": [1, 2, 3], "keepdims": 0})),
        ("n", "float", ("ReduceMean", {"axes": [0, 2, 3], "keepdims": 0})),
        ("n", "float", ("Flatten", {"axis": 0})),
    ],
)
def test_networks_of_onnx_that_load_but_give_no_embeddings(tmp_path, count, of, last):
    pytest.importorskip("onnxruntime")
    path = onnx_of(tmp_path / "x.onnx", [count, 3, 112, 112], of, last)
    with pytest.raises(ValueError, match=r"x\.onnx.*export") as error:
        load_embedder(path)
    assert "\n" not in str(error.value) and len(str(error.value)) <= 300 + len(str(path))


def test_the_network_of_the_package_is_small_and_calibrated():
    from maskfr_utils.recognise.embedder import DEFAULT

    assert DEFAULT.stat().st_size < 3e6
    embedder = load_embedder()
    assert "rendered people" in embedder.calibration.validation


def test_a_network_without_calibration_is_measured_on_rendered_people():
    gallery = Gallery(Tiles())
    assert "rendered people" in gallery.calibration.validation
    assert 0 < gallery.threshold < 1


# Files


def test_a_saved_gallery_comes_back(gallery, tmp_path):
    gallery.save(tmp_path / "g")
    again = Gallery.load(tmp_path / "g", Tiles())
    assert again.people == gallery.people and again.threshold == gallery.threshold
    assert again.name(face(1, 9))[0].cosine == gallery.name(face(1, 9))[0].cosine
    for file in (tmp_path / "g").iterdir():
        assert file.stat().st_mode & 0o077 == 0


@pytest.mark.usefixtures("few_blocks")
def test_a_gallery_brings_its_network(people, tmp_path):
    gallery = Gallery(small(), calibration=CALIBRATION)
    gallery.enrol(people)
    gallery.save(tmp_path / "g")
    again = Gallery.load(tmp_path / "g")
    assert again.embedder.fingerprint == gallery.embedder.fingerprint
    save_model(tmp_path / "g" / "network.safetensors", small(1))
    with pytest.raises(ValueError, match="another network"):
        Gallery.load(tmp_path / "g")
    with pytest.raises(ValueError, match="another network"):
        Gallery.load(tmp_path / "g", OtherTiles())


@pytest.mark.usefixtures("few_blocks")
def test_a_gallery_brings_its_network_where_another_lay(tmp_path):
    first, second = (Gallery(small(seed), calibration=CALIBRATION) for seed in (0, 1))
    first.save(tmp_path / "g")
    (tmp_path / "g" / "gallery.json").unlink()  # to enrol the people anew
    second.save(tmp_path / "g")
    assert Gallery.load(tmp_path / "g").embedder.fingerprint == second.embedder.fingerprint
    save_model(tmp_path / "g" / "network.safetensors", first.embedder.model)
    Gallery.load(tmp_path / "g", second.embedder).save(tmp_path / "g")
    assert Gallery.load(tmp_path / "g").embedder.fingerprint == second.embedder.fingerprint


def test_who_is_removed_is_gone_from_the_disk(gallery, tmp_path):
    gallery.save(tmp_path / "g")
    rows = {row.tobytes() for row in load_file(next((tmp_path / "g").glob("*.safetensors")))["embeddings"]}
    gallery.remove("Chloé")
    gallery.save(tmp_path / "g")
    content = b"".join(file.read_bytes() for file in (tmp_path / "g").iterdir())
    assert b"Chlo" not in content and b"Ada" in content
    assert sum(row in content for row in rows) == 6


def test_to_forget_a_person_needs_no_network(gallery, tmp_path):
    gallery.save(tmp_path / "g")
    left = tmp_path / "g" / ".tmp-0123abcd-embeddings-of-a-killed-save.safetensors"
    left.write_bytes(b"Chlo")
    before = {path: path.read_bytes() for path in (tmp_path / "g").iterdir()}
    with pytest.raises(ValueError, match="did you mean Ada"):
        files.forget(tmp_path / "g", ["Bela", "Adda"])
    assert {path: path.read_bytes() for path in (tmp_path / "g").iterdir()} == before
    assert files.forget(tmp_path / "g", ["chloé", "Bela"]).people.keys() == {"Ada"}
    content = b"".join(file.read_bytes() for file in (tmp_path / "g").iterdir())
    assert b"Chlo" not in content and b"Bela" not in content and not left.exists()
    again = Gallery.load(tmp_path / "g", Tiles())
    assert again.people == {"Ada": 3} and again.name(face(0, 9))[0].name == "Ada"
    with pytest.raises(FileNotFoundError, match="no gallery"):
        files.forget(tmp_path / "nowhere", ["Ada"])
    assert not (tmp_path / "nowhere").exists()


def test_no_file_of_a_gallery_can_be_read_by_others_at_any_time(gallery, tmp_path, monkeypatch):
    modes, rename = [], os.replace

    def renamed(old, new):
        modes.append(Path(old).stat().st_mode & 0o077)
        rename(old, new)

    monkeypatch.setattr(os, "replace", renamed)
    gallery.save(tmp_path / "g")
    assert modes == [0, 0]  # embeddings, and who they are of


def test_a_named_networks_calibration_takes_the_place_of_the_gallerys(gallery, tmp_path):
    gallery.save(tmp_path / "g")
    newer = replace(CALIBRATION, validation="other people")
    named = Gallery.load(tmp_path / "g", Embedder(Tiles(), calibration=newer))
    assert named.calibration == newer
    named.save(tmp_path / "g")
    assert Gallery.load(tmp_path / "g", Tiles()).calibration == newer  # which brings none


def test_another_gallery_is_not_written_over(gallery, people, tmp_path):
    gallery.save(tmp_path / "g")
    other = Gallery(Tiles(), calibration=CALIBRATION)
    other.enrol(people)
    with pytest.raises(ValueError, match="another gallery"):
        other.save(tmp_path / "g")
    late = Gallery.load(tmp_path / "g", Tiles())
    gallery.remove("Ada")
    gallery.save(tmp_path / "g")
    with pytest.raises(ValueError, match="has changed"):
        late.save(tmp_path / "g")


def test_two_that_save_at_once_leave_one_whole_gallery(gallery, tmp_path, monkeypatch):
    gallery.save(tmp_path / "g")
    late = Gallery.load(tmp_path / "g", Tiles())
    late.remove("Bela")
    gallery.remove("Ada")
    as_text, started = files.as_text, []
    with ThreadPoolExecutor(1) as other:

        def write_slowly(*given):
            if not started:  # the embeddings are written, the index that names them is not
                started.append(other.submit(late.save, tmp_path / "g"))
                wait(started, timeout=1)
            return as_text(*given)

        monkeypatch.setattr(files, "as_text", write_slowly)
        gallery.save(tmp_path / "g")
    assert Gallery.load(tmp_path / "g", Tiles()).people == {"Bela": 3, "Chloé": 3}
    with pytest.raises(ValueError, match="has changed"):
        started[0].result()


def test_a_write_that_fails_leaves_the_gallery(gallery, tmp_path, monkeypatch):
    gallery.save(tmp_path / "g")
    gallery.remove("Ada")
    with monkeypatch.context() as patch:
        patch.setattr("maskfr_utils.recognise.files.as_text", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            gallery.save(tmp_path / "g")
    assert Gallery.load(tmp_path / "g", Tiles()).people == {"Ada": 3, "Bela": 3, "Chloé": 3}
    gallery.save(tmp_path / "g")
    assert len(list((tmp_path / "g").glob("[!.]*"))) == 2


def index(folder, **change):
    values = json.loads((folder / "gallery.json").read_text())
    (folder / "gallery.json").write_text(json.dumps(values | change))


def embeddings(folder, array):
    """Puts other embeddings under a name that fits them."""
    import hashlib

    save_file({"embeddings": array}, folder / "x")
    name = f"embeddings-{hashlib.blake2b((folder / 'x').read_bytes(), digest_size=8).hexdigest()}.safetensors"
    (folder / "x").rename(folder / name)
    index(folder, embeddings=name)


DAMAGES = {
    "no json": lambda g: (g / "gallery.json").write_text("{"),
    "deep json": lambda g: (g / "gallery.json").write_text("[" * 100_000),
    "bytes": lambda g: (g / "gallery.json").write_bytes(b"\xff\xfe\x00"),
    "a list": lambda g: (g / "gallery.json").write_text("[]"),
    "another format": lambda g: index(g, format="x" * 10_000),
    "people are numbers": lambda g: index(g, people=3),
    "fewer people": lambda g: index(g, people={"Ada": ["1"]}),
    "nobody's photos": lambda g: index(g, people={"Ada": list("123456789"), "Zoe": []}),
    "a name that moves the cursor": lambda g: index(g, people={"\x1b[2JAda": list("123456789")}),
    "a person called unknown": lambda g: index(g, people={"unknown": list("123456789")}),
    "a name in another spelling": lambda g: index(g, people={"Chloe\u0301": list("123456789")}),
    "no name": lambda g: index(g, people={"": list("123456789")}),
    "a path": lambda g: index(g, embeddings="../../secret.safetensors"),
    "a rate": lambda g: index(g, rate=float("nan")),
    "no calibration": lambda g: index(g, calibration=None),
    "cut": lambda g: [f.write_bytes(f.read_bytes()[:-5]) for f in g.glob("emb*")],
    "gone": lambda g: [f.unlink() for f in g.glob("emb*")],
    "other numbers": lambda g: [f.write_bytes(f.read_bytes()[:-4] + b"\0\0\0\0") for f in g.glob("emb*")],
    "NaN": lambda g: embeddings(g, np.full((9, 48), np.nan, np.float32)),
    "long": lambda g: embeddings(g, np.ones((9, 48), np.float32)),
    "integers": lambda g: embeddings(g, np.eye(48, dtype=np.int32)[:9]),
    "another length": lambda g: embeddings(g, np.eye(40, dtype=np.float32)[:9]),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_galleries(gallery, tmp_path, damage):
    folder = tmp_path / "g"
    gallery.save(folder)
    DAMAGES[damage](folder)
    with pytest.raises(ValueError, match="damaged") as error:
        Gallery.load(folder, Tiles())
    assert len(str(error.value)) <= 300 + len(str(folder)) and str(error.value).isprintable()


def test_no_gallery(tmp_path):
    with pytest.raises(FileNotFoundError, match="enrol"):
        Gallery.load(tmp_path)


# Photos


@pytest.fixture(scope="module")
def astronaut():
    data = pytest.importorskip("skimage.data")
    return np.ascontiguousarray(data.astronaut()[:300, 80:380])


def test_faces_of_a_photo_in_any_position(astronaut):
    (upright,) = quality.find_faces(astronaut)
    assert upright.notes == ()
    left, top, right, bottom = upright.box
    for quarter in (1, 2, 3):
        turned = np.ascontiguousarray(np.rot90(astronaut, quarter))
        (found,) = quality.find_faces(turned)
        assert np.abs(found.image.astype(int) - upright.image).mean() < 12
        shown = np.zeros(astronaut.shape[:2], bool)
        shown[top:bottom, left:right] = True
        a, b, c, d = found.box
        there = np.rot90(shown, quarter)[b:d, a:c]
        assert there.mean() > 0.9 and there.sum() > 0.9 * shown.sum()


def test_quality_in_words(astronaut):
    import cv2

    (face,) = quality.find_faces(cv2.GaussianBlur(astronaut, (0, 0), 5))
    assert "blurred" in face.notes
    small = cv2.resize(astronaut, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA)
    assert any("too small" in f.notes for f in quality.find_faces(small))
    assert quality.the_face([]) == (None, "no face")
    two = quality.find_faces(np.hstack([astronaut, astronaut]))
    assert quality.the_face(two) == (None, "two faces")
    assert quality.the_face(two[:1])[0] is two[0]


def test_verify_and_its_errors(astronaut, tmp_path):
    embedder = Embedder(Tiles(), calibration=CALIBRATION)
    assert verify(embedder, face(0), face(0, 1)).same
    assert not verify(embedder, face(0), face(1)).same
    assert verify(embedder, astronaut, astronaut).cosine == pytest.approx(1, abs=1e-5)
    with pytest.raises(ValueError, match="two faces"):
        verify(embedder, np.hstack([astronaut, astronaut]), astronaut)
    (tmp_path / "x.jpg").write_text("x")
    with pytest.raises(ValueError, match=r"x\.jpg: unreadable"):
        verify(embedder, tmp_path / "x.jpg", face(0))


def test_embeddings_of_a_folder(people, tmp_path, monkeypatch):
    write(people / "Ada" / "wall.png", np.full((200, 200, 3), 90, np.uint8))
    embedder = Embedder(Tiles())
    counts = embed_folder(embedder, people, tmp_path / "e.npz")
    assert counts == {"faces": 9, "no face": 1}
    with np.load(tmp_path / "e.npz", allow_pickle=False) as arrays:
        assert arrays["people"].tolist() == ["Ada"] * 3 + ["Bela"] * 3 + ["Chloé"] * 3
        assert arrays["pictures"][0] == "Ada/0.png" and arrays["network"] == embedder.fingerprint
        np.testing.assert_array_equal(arrays["embeddings"][4], embedder(face(1, 1)[None])[0])
    with pytest.raises(ValueError, match=r"npz or \.parquet"):
        embed_folder(embedder, people, tmp_path / "e.csv")
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(IsADirectoryError, match="name a file"), monkeypatch.context() as patch:
        patch.setattr("maskfr_utils.recognise.compare.photos", None)  # nothing is looked at for it
        embed_folder(embedder, people, tmp_path / "folder.npz")


def test_embeddings_as_parquet_need_a_package_and_hold_the_same(people, tmp_path, monkeypatch):
    embedder = Embedder(Tiles())
    with monkeypatch.context() as without:
        without.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(ImportError, match="pip install pyarrow"):
            embed_folder(embedder, people, tmp_path / "e.parquet")
    pytest.importorskip("pyarrow", reason="parquet is for who has pyarrow")
    embed_folder(embedder, people, tmp_path / "e.parquet")
    embed_folder(embedder, people, tmp_path / "e.npz")
    table = pd.read_parquet(tmp_path / "e.parquet")
    with np.load(tmp_path / "e.npz") as arrays:
        np.testing.assert_array_equal(np.stack(table["embeddings"]), arrays["embeddings"])
        assert table["pictures"].to_list() == arrays["pictures"].tolist()


def test_results_of_a_folder(gallery, tmp_path, monkeypatch):
    monkeypatch.setattr(quality, "wears_mask", lambda faces: np.zeros(len(faces), bool))  # these are coloured tiles
    met = tmp_path / "met"
    write(met / "=HYPERLINK(x).png", face(0, 7))
    write(met / "deep" / "down" / ("x" * 200 + ".png"), face(3, 7))
    write(met / "wall.png", np.full((200, 200, 3), 90, np.uint8))
    (met / "broken.jpg").write_bytes(b"")
    (met / "notes.txt").write_text("x")
    _, skipped = name_photos(gallery, met, tmp_path / "out")
    assert sum(skipped.values()) == 1
    with (tmp_path / "out" / "names.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["picture"][:9]: (row["name"], row["notes"]) for row in rows} == {
        "'=HYPERLI": ("Ada", ""),
        "deep/down": (UNKNOWN, ""),
        "wall.png": ("", "no face"),
        "broken.jp": ("", "empty file"),
    }
    content = json.loads((tmp_path / "out" / "names.json").read_text())
    assert {p["picture"]: len(p["faces"]) for p in content["pictures"]}["=HYPERLINK(x).png"] == 1
    pictures = [p["annotated"] for p in content["pictures"] if p["annotated"]]
    assert len(pictures) == len(list((tmp_path / "out" / "pictures").iterdir())) == 2
    assert Image.open(tmp_path / "out" / pictures[0]).size >= (112, 112)
    with pytest.raises(ValueError, match="another folder"):
        name_photos(gallery, met, met / "out")


def test_pictures_of_an_earlier_call_are_deleted(gallery, tmp_path):
    for number in range(2):
        write(tmp_path / "met" / f"IMG {number}.png", face(number, 7))
    pictures = tmp_path / "out" / "pictures"
    name_photos(gallery, tmp_path / "met", tmp_path / "out")
    kept = {"my holiday.jpg", "00003-notes.txt", "20230101-120000.jpg", "00001-holiday.jpg"}
    for mine in kept:
        (pictures / mine).write_bytes(b"x")
    name_photos(gallery, tmp_path / "met" / "IMG 0.png", tmp_path / "out")
    assert {path.name for path in pictures.iterdir()} == kept | {"00001-IMG-0.jpg"}
    told = json.loads((tmp_path / "out" / "names.json").read_text())
    told["pictures"] += [{"annotated": "pictures/../../met/IMG 0.png"}, {"annotated": "pictures/00009-x.jpg/../../y"}]
    (tmp_path / "out" / "names.json").write_text(json.dumps(told))
    name_photos(gallery, pictures / "00001-IMG-0.jpg", tmp_path / "out")
    assert (pictures / "00001-IMG-0.jpg").exists()  # the photo that was named


def test_naming_that_is_cut_off_leaves_no_table_of_other_pictures(gallery, tmp_path, monkeypatch):
    write(tmp_path / "met" / "0.png", face(0, 7))
    name_photos(gallery, tmp_path / "met", tmp_path / "out")
    with pytest.raises(ValueError, match="no photo"):
        (tmp_path / "none").mkdir()
        name_photos(gallery, tmp_path / "none", tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"names.csv", "names.json", "pictures"}
    with monkeypatch.context() as patch:
        patch.setattr("maskfr_utils.recognise.results.annotate", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            name_photos(gallery, tmp_path / "met", tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"pictures"}
    write(tmp_path / "other" / "9.png", face(1, 7))
    name_photos(gallery, tmp_path / "other", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out" / "pictures").iterdir()] == ["00001-9.jpg"]


def test_naming_that_is_stopped_tells_of_the_photos_so_far(gallery, tmp_path, monkeypatch):
    for i in range(3):
        write(tmp_path / "met" / f"{i}.png", face(0, i))
    looked, name = [], gallery.name

    def stopped_at_the_last(photo):
        looked.append(photo)
        if len(looked) == 3:
            raise KeyboardInterrupt
        return name(photo)

    monkeypatch.setattr(gallery, "name", stopped_at_the_last)
    with pytest.raises(KeyboardInterrupt):
        name_photos(gallery, tmp_path / "met", tmp_path / "out")
    told = json.loads((tmp_path / "out" / "names.json").read_text())
    assert told["stopped"] is True and len(told["pictures"]) == 2
    monkeypatch.undo()
    name_photos(gallery, tmp_path / "met", tmp_path / "out")
    told = json.loads((tmp_path / "out" / "names.json").read_text())
    assert told["stopped"] is False and len(told["pictures"]) == 3


def test_annotation_marks_the_face(gallery):
    photo = face(0, 9)
    image = np.asarray(annotate(photo, gallery.name(photo)))
    assert image.shape[2] == 3 and min(image.shape[:2]) >= 112
    assert (image == (0, 0x72, 0xB2)).all(2).sum() > 100  # the colour of named faces


def test_labels_of_neighbours_do_not_cover_each_other():
    wall, blank = np.zeros((480, 640, 3), np.uint8), np.zeros((112, 112, 3), np.uint8)
    boxes = [(left, 200, left + 60, 260) for left in (200, 280, 360)]
    matches = [Match(f"Person of a long name {i}", 0.7, "x", 0.5, box, (), blank) for i, box in enumerate(boxes)]

    def coloured(*of):
        return (np.asarray(annotate(wall, of)) == (0, 0x72, 0xB2)).all(2).sum()

    assert coloured(*matches) > 0.97 * sum(map(coloured, matches))


def test_a_label_is_as_wide_as_its_face_and_crossed_by_no_box():
    wall, blank = np.zeros((480, 640, 3), np.uint8), np.zeros((112, 112, 3), np.uint8)
    upper, lower = ((200, 60, 320, 200), (230, 205, 380, 330))  # the lower box begins where the upper label is
    first, second = (
        Match(name, 0.7, "x", 0.5, box, ("already masked",), blank) for name, box in (("Ada", upper), (UNKNOWN, lower))
    )
    alone, both = (np.asarray(annotate(wall, of)) for of in ([first], [first, second]))
    named = (alone == (0, 0x72, 0xB2)).all(2)
    assert np.flatnonzero(named.any(0)).max() <= 320
    label = np.s_[203 : np.flatnonzero(named.any(1)).max() + 1, 200 : np.flatnonzero(named[203:].any(0)).max() + 1]
    np.testing.assert_array_equal(both[label], alone[label])


# Commands


def run(capsys, *argv):
    status = main([str(arg) for arg in argv])
    return status, capsys.readouterr()


@pytest.mark.usefixtures("few_blocks")
def test_a_second_enrolment_is_refused_before_its_work(people, tmp_path, capsys):
    save_model(tmp_path / "m.safetensors", small(), calibration=CALIBRATION.as_dict())
    g, network = tmp_path / "g", ("--network", tmp_path / "m.safetensors")
    assert run(capsys, "enrol", g, people / "Ada", "--person", "Ada", *network)[0] == 0
    code = f"import time; from pathlib import Path; from maskfr_utils.recognise import files\nwith files.alone(Path({str(g)!r})): print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as other:
        assert other.stdout.readline()
        status, said = run(capsys, "enrol", g, people / "Bela", "--person", "Bela")
        other.kill()
    assert status == 1 and "another call is changing" in said.err
    assert run(capsys, "enrol", g, people / "Bela", "--person", "Bela")[0] == 0


@pytest.mark.usefixtures("few_blocks")
def test_the_commands_from_enrolling_to_forgetting(people, tmp_path, capsys):
    save_model(tmp_path / "m.safetensors", small(), calibration=CALIBRATION.as_dict())
    g, network = tmp_path / "g", ("--network", tmp_path / "m.safetensors")
    assert run(capsys, "enrol", g, people, *network)[0] == 0
    status, out = run(capsys, "name", g, people / "Ada" / "0.png", "--out", tmp_path / "out")
    assert status == 0 and "Ada" in out.out and "made-up people" in out.out
    assert (tmp_path / "out" / "names.csv").exists()
    assert run(capsys, "remove", g, "Ada")[0] == 0
    assert "Ada" not in run(capsys, "people", g)[1].out
    assert run(capsys, "remove", g, "Ada")[0] == 1
    status, out = run(capsys, "verify", people / "Bela" / "0.png", people / "Bela" / "0.png", "--json", *network)
    assert json.loads(out.out)["cosine"] == pytest.approx(1, abs=1e-5)
    assert run(capsys, "embed", people, tmp_path / "e.npz", *network)[0] == 0
    assert run(capsys, "export", tmp_path / "copy.safetensors", *network)[0] == 0
    assert load_embedder(tmp_path / "copy.safetensors").calibration == CALIBRATION
    assert run(capsys, "export", tmp_path / "copy.bin", *network)[0] == 1


@pytest.mark.usefixtures("few_blocks")
def test_a_photo_that_takes_the_place_of_another_is_told(tmp_path, capsys):
    g = tmp_path / "g"
    Gallery(small(), calibration=CALIBRATION).save(g)
    told = []
    for photo, folder in enumerate("ab"):
        write(tmp_path / folder / "IMG_1.png", face(0, photo))
        told.append(run(capsys, "enrol", g, tmp_path / folder, "--person", "Ann")[1].out)
    assert "replaced" not in told[0] and "replaced: 1 photos" in told[1] and "1 people, 1 photos" in told[1]
    assert "replaced" not in run(capsys, "enrol", g, tmp_path / "b", "--person", "Ann")[1].out  # the very same photo


def test_names_that_are_taken_for_one_person_are_told(few_blocks, tmp_path, capsys):
    g = tmp_path / "g"
    Gallery(small(), calibration=CALIBRATION).save(g)
    for i, name in enumerate(("Ann", "ann")):
        write(tmp_path / "people" / name / f"{i}.png", face(0, i))
    told = run(capsys, "enrol", g, tmp_path / "people")[1].out
    assert "2 photos of " in told and "taken as another spelling of" in told


def test_a_gallery_that_cannot_be_is_told_before_the_work_and_an_empty_one_is_left_nowhere(
    tmp_path, monkeypatch, capsys
):
    write(tmp_path / "people" / "Ann" / "0.png", np.zeros((200, 200, 3), np.uint8))
    (tmp_path / "file").write_text("mine")
    with monkeypatch.context() as patch:
        patch.setattr(Gallery, "enrol", lambda *_, **__: pytest.fail("the work was begun"))
        assert run(capsys, "enrol", tmp_path / "file", tmp_path / "people")[0] == 1
    assert run(capsys, "enrol", tmp_path / "new", tmp_path / "people")[0] == 1 and not (tmp_path / "new").exists()


def test_files_of_others_are_not_written_over(gallery, tmp_path):
    write(tmp_path / "met" / "0.png", face(0, 7))
    for file in ("names.csv", "pictures/00001-0.jpg"):
        out = tmp_path / Path(file).stem
        (out / "pictures").mkdir(parents=True)
        (out / file).write_text("mine")
        with pytest.raises(ValueError, match="is there already, and no"):
            name_photos(gallery, tmp_path / "met", out)
        assert (out / file).read_text() == "mine"


MISTAKES = {
    "no gallery": ("name", "nowhere", "people"),
    "no photos": ("enrol", "g", "nowhere"),
    "no network": ("enrol", "g", "people", "--network", "nowhere"),
    "no rate": ("enrol", "g", "people", "--network", "m.safetensors", "--rate", "5"),
    "one photo missing": ("verify", "people/Ada/0.png", "nowhere.png"),
    "too few to calibrate": ("calibrate", "people", "x.safetensors", "--network", "m.safetensors"),
}


@pytest.mark.usefixtures("few_blocks")
@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_one_line(people, tmp_path, monkeypatch, capsys, mistake):
    monkeypatch.chdir(tmp_path)
    save_model(Path("m.safetensors"), small(), calibration=CALIBRATION.as_dict())
    before = sorted(tmp_path.rglob("*"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        status, out = run(capsys, *MISTAKES[mistake])
    assert status == 1 and out.err.count("\n") == 1 and len(out.err) < 350
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("rate", ["2", "-1", "0", "nan"])
@pytest.mark.parametrize("is_new", [True, False])
def test_a_rate_that_is_none_changes_no_gallery(people, tmp_path, capsys, rate, is_new):
    g = tmp_path / "g"
    if not is_new:
        Gallery(small(), calibration=CALIBRATION).save(g)
    before = {path: path.read_bytes() for path in g.rglob("*")}
    status, out = run(capsys, "enrol", g, people, "--rate", rate)
    assert status == 1 and out.out == "" and "a share of strangers" in out.err and out.err.count("\n") == 1
    assert {path: path.read_bytes() for path in g.rglob("*")} == before


@pytest.mark.usefixtures("few_blocks")
def test_export_to_onnx_says_how_pictures_become_its_input(people, tmp_path, capsys):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    save_model(tmp_path / "m.safetensors", small(), calibration=CALIBRATION.as_dict())
    assert run(capsys, "export", tmp_path / "m.onnx", "--network", tmp_path / "m.safetensors")[0] == 0
    told = {p.key: p.value for p in onnx.load(tmp_path / "m.onnx").metadata_props}
    assert "127.5" in told["preprocessing"] and json.loads(told["calibration"])["pairs"] == 10_000
    embedder = load_embedder(tmp_path / "m.safetensors")
    assert told["fingerprint"] == embedder.fingerprint
    images = (face(0)[None].transpose(0, 3, 1, 2).astype(np.float32) - 127.5) / 127.5
    (found,) = onnxruntime.InferenceSession(tmp_path / "m.onnx").run(["embeddings"], {"images": images})
    np.testing.assert_allclose(found / np.linalg.norm(found), embedder(face(0)[None]), atol=1e-4)
    # It is not written anew: that is said before anything is measured.
    given = ("--network", tmp_path / "m.onnx")
    status, out = run(capsys, "calibrate", tmp_path / "nowhere", tmp_path / "x.onnx", *given)
    assert status == 1 and "m.onnx: only" in out.err
    # A gallery does not keep it: it is named each time.
    g = tmp_path / "g"
    assert run(capsys, "enrol", g, people, *given)[0] == 0
    status, out = run(capsys, "name", g, people / "Ada" / "0.png", "--out", tmp_path / "out")
    assert status == 1 and "--network" in out.err and out.err.count("\n") == 1
    status, out = run(capsys, "name", g, people / "Ada" / "0.png", "--out", tmp_path / "out", *given)
    assert status == 0 and "made-up people" in out.out  # by the calibration that the file brings
    # Who is enrolled can be deleted without it.
    assert run(capsys, "remove", g, "Ada")[0] == 0 and "Ada" not in run(capsys, "people", g)[1].out
    broken = onnx.load(tmp_path / "m.onnx")
    next(p for p in broken.metadata_props if p.key == "calibration").value = "[" * 9
    onnx.save(broken, tmp_path / "m.onnx")
    with pytest.raises(ValueError, match=r"m\.onnx: its calibration is broken"):
        load_embedder(tmp_path / "m.onnx")


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_is_there(capsys, command):
    with pytest.raises(SystemExit) as ended:
        main([command, "-h"] if command else ["-h"])
    said = " ".join(capsys.readouterr().out.split())
    assert ended.value.code == 0 and all(
        text in said for _, text in ([COMMANDS[command]] if command else COMMANDS.values())
    )
