"""The measurement of strangers: on embeddings of which the right answers are known, and its command on rendered faces."""

import csv
import json
import tarfile
from dataclasses import replace

import cv2
import made_up_records
import numpy as np
import pytest
import torch
from torch import nn

from maskfr_utils import models, records
from maskfr_utils.faces.people import plain, same_people
from maskfr_utils.measure import picture_sets, stranger_details, strangers
from maskfr_utils.metrics import Draws
from maskfr_utils.recognise import Embedder, load_embedder
from maskfr_utils.recognise.embedder import save_embedder
from maskfr_utils.rendered import render_faces
from maskfr_utils.study.run import Run

pytestmark = pytest.mark.usefixtures("shallow")


@pytest.fixture(autouse=True, scope="module")
def fewer_draws():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strangers, "RESAMPLES", 50)
        yield


@pytest.fixture(scope="module")
def pictures():
    return picture_sets.rendered(20, 4)


def made_up(people, noise, seed=0):
    """Embeddings (2, n, 32) of length 1 in which people are alike."""
    rng = np.random.default_rng(seed)
    names, person = np.unique(people, return_inverse=True)
    found = rng.normal(size=(len(names), 32))[person] + noise * rng.normal(size=(2, len(person), 32))
    return found / np.linalg.norm(found, axis=-1, keepdims=True)


def test_rendered_people_have_pairs_of_one_fold(pictures):
    first, second = pictures.people[pictures.pairs].T
    assert len(pictures.pairs) == 2 * 20 * 6 and (first == second).sum() == 120
    for name in set(pictures.people):
        assert len(set(pictures.folds[(first == name) | (second == name)])) == 1
    assert (pictures.twins != pictures.images).any((1, 2, 3)).mean() > 0.9
    assert 0.05 < np.nanmedian(pictures.covered) < 0.6


def test_perfect_and_meaningless_networks(pictures):
    draws = Draws(pictures.people, 50)
    for noise in (0.01, 1000):
        embeddings = made_up(pictures.people, noise)
        values = strangers.verify(embeddings, pictures, draws) | strangers.identify(embeddings, pictures, draws)
        assert {worn for _, worn, _ in values} == {
            "no mask",
            "mask on one",
            "masks on both",
            "enrolled bare, bare probed",
            "enrolled bare, masked probed",
            "enrolled masked, bare probed",
        }
        told = {measure for _, _, measure in values}  # of 120 pairs of two people, and some 20 strangers at a time
        assert "TAR@FAR 1%" in told and {"TAR@FAR 0.1%", "DIR@FPIR 1%"}.isdisjoint(told)
        for (_, _, measure), found in values.items():
            low, high = np.nanpercentile(found[1:], (0.5, 99.5))
            chance = {"EER": 0.5, "AUC": 0.5, "accuracy": 0.5, "rank 1": 1 / 20, "rank 5": 5 / 20}
            if noise < 1:
                assert found[0] == (measure != "EER")
            elif measure in chance:
                assert low - 0.08 < chance[measure] < high + 0.08


def test_only_the_photo_with_the_mask_is_the_drawn_one(pictures):
    """Drawn masks turn everybody into one person: alike to all, and nobody is found any more."""
    draws = Draws(pictures.people, 50)
    embeddings = made_up(pictures.people, 0.05)
    embeddings[1] = embeddings[0, 0]
    found = strangers.verify(embeddings, pictures, draws) | strangers.identify(embeddings, pictures, draws)
    values = {key[1:]: value[0] for key, value in found.items()}
    assert values["no mask", "AUC"] == 1 and values["masks on both", "AUC"] == 0.5
    assert 0.4 < values["mask on one", "AUC"] < 0.7
    assert values["enrolled bare, bare probed", "rank 1"] == 1
    assert values["enrolled bare, masked probed", "rank 1"] <= 0.05 >= values["enrolled masked, bare probed", "rank 1"]


def test_nobody_is_enrolled_by_the_photo_that_is_probed(pictures):
    for known, probes, *_ in strangers.roles(pictures).values():
        assert not set(known) & set(probes)
        assert set(pictures.people[known]) == set(pictures.people[probes]) == set(pictures.people)
    worn = np.arange(80) % 4 >= 2
    real = replace(pictures, worn=worn)
    (known, probes, *_), (others, later, *_) = strangers.roles(real).values()
    assert not worn[known].any() and worn[probes].all() and (known == later).all() and (probes == others).all()
    lonely = real.only((pictures.people != "unseen 003") | ~worn)  # no photo with a mask to probe
    for known, probes, *_ in strangers.roles(lonely).values():
        assert "unseen 003" not in {*lonely.people[known], *lonely.people[probes]}
    assert list(strangers.worn_pairs(real)) == ["all pairs", "real mask on one", "real masks on both"]


def test_people_whom_a_network_knows_are_left_out(pictures, tmp_path, monkeypatch):
    monkeypatch.setenv("MASKFR_DATA", str(tmp_path))
    (tmp_path / "identity_overlap.csv").write_text("normalized_name,ours,theirs\nx,unseen 004,Jane_Dœ\n,,\n7,008,7\n")
    network = strangers.Network("a", 0, None, ("Unseen_001", "jane dœ", "7"))
    some, left_out = strangers.unseen(pictures, [network, strangers.Network("b", 0, None, ())])
    assert left_out == 2 and set(pictures.people) - set(some.people) == {"unseen 001", "unseen 004"}
    light, _ = strangers.unseen(pictures.without_pictures(), [network])
    assert len(light.images) == 0 and (light.people == some.people).all() and (light.pairs == some.pairs).all()
    assert (some.people[some.pairs][:, 0] != "unseen 001").all() and len(some.pairs) < len(pictures.pairs)
    for row in range(0, len(some.pairs), 17):  # pairs still lead to the same photos
        assert (some.images[some.pairs[row, 0]] == pictures.images).all((1, 2, 3)).any()
    (tmp_path / "identity_overlap.csv").write_bytes(b"\xff\xfe,")
    with pytest.raises(ValueError, match=r"identity_overlap\.csv is no list"):
        strangers.unseen(pictures, [network])


def test_names_are_compared_as_data_sets_write_them():
    assert plain("Chloé_O'Neil 2") == plain("chloe o’neil2") == "chloeoneil2"
    known = {plain(name) for name in ("Ben_Affleck", "robert_de_niro", "Penélope Cruz", "Brian_J._Smith")}
    people = ["BenAffleck", "PenelopeCruz", "BrianJSmith", "BenStiller", "BenAffleck"]
    assert [plain(name) in known for name in people] == [True, True, True, False, True]
    names = (
        "राम",
        "रमा",
        "कमल",
        "कमला",
        "สม",
        "สิม",
        "ராம்",
        "ராமு",
        "がく",
        "かく",
    )  # marks that are vowels or other letters
    assert len({plain(name) for name in names}) == len(names)
    assert same_people()("Brian J. Smith") == same_people()("Brian_J._Smith")
    assert same_people()("???") != same_people()("...")


class Counting(nn.Module):
    calls = 0

    def forward(self, images):
        Counting.calls += 1
        return nn.functional.adaptive_avg_pool2d(images, 4).flatten(1)


def test_embeddings_are_computed_once(pictures, tmp_path, monkeypatch):
    monkeypatch.setenv("MASKFR_CACHE", str(tmp_path))
    embedder = Embedder(Counting())
    first, calls = picture_sets.embed(embedder, pictures), Counting.calls
    np.testing.assert_allclose(first[1], embedder(pictures.twins), atol=1e-6)
    Counting.calls = calls
    assert (picture_sets.embed(embedder, pictures) == first).all() and Counting.calls == calls
    (kept,) = tmp_path.glob("embeddings-rendered-*.npy")
    kept.write_bytes(kept.read_bytes()[:1000])
    assert (picture_sets.embed(embedder, pictures) == first).all() and Counting.calls > calls
    calls = Counting.calls
    picture_sets.embed(embedder, replace(pictures, content="others"))
    assert Counting.calls > calls


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder of data as `lfw` is, of rendered people."""
    folder = tmp_path_factory.mktemp("data") / "lfw"
    folder.mkdir()
    faces = render_faces(20, 3, seed=5)
    names = [f"Person_{label:02d}/{i:04d}.png" for i, label in enumerate(faces.labels)]
    with tarfile.open(folder / "lfw_112.tar", "w") as archive:
        for name, image in zip(names, faces.images, strict=True):
            (folder / "face.png").write_bytes(cv2.imencode(".png", image[..., ::-1])[1])
            archive.add(folder / "face.png", name)
    (folder / "face.png").unlink()
    rows = [(k % 4, 1, names[3 * k], names[3 * k + 1]) for k in range(20)]
    rows += [(k % 4, 0, names[3 * k], names[(3 * k + 12) % 60]) for k in range(20)]
    for file, header, lines in (
        ("pairs.csv", ("fold", "same", "file1", "file2"), rows),
        ("index.csv", ("file", "scale"), [(name, 0.5) for name in names]),
    ):
        with (folder / file).open("w", newline="") as out:
            csv.writer(out).writerows([header, *lines])
    return folder.parent


def test_lfw_is_read(data, tmp_path):
    found = picture_sets.lfw(data / "lfw")
    first, second = found.people[found.pairs].T
    assert len(found.people) == 60 and (first == second).tolist() == [True] * 20 + [False] * 20
    assert found.folds.tolist() == [k % 4 for k in range(20)] * 2 and found.size == pytest.approx(70.5, abs=0.2)
    (tmp_path / "lfw_112.tar").symlink_to(data / "lfw" / "lfw_112.tar")
    (tmp_path / "pairs.csv").write_text("fold,file1,file2\n1,Person_00/0000.png,Nobody/1.png\n")
    with pytest.raises(ValueError, match=r"pairs\.csv does not fit lfw_112\.tar: 'Nobody/1\.png'"):
        picture_sets.lfw(tmp_path)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """Weights as arcface_torch leaves them, of a small network with random weights."""
    path = tmp_path_factory.mktemp("weights") / "backbone.pth"
    torch.manual_seed(0)
    torch.save(models.create_model("iresnet50", width=0.0625, embedding_dim=16).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def made(network, data, tmp_path_factory):
    """The record that the command leaves, of arcface_torch's weights and the same as ONNX."""
    folder = tmp_path_factory.mktemp("record")
    save_embedder(folder / "same.onnx", load_embedder(network))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MASKFR_DATA", str(data))
        arguments = [str(network), str(folder / "same.onnx"), "--sets", "lfw", "--out", str(folder / "r.json")]
        assert strangers.main(arguments) == 0
    return records.read_measurement(folder / "r.json")


def test_others_weights_go_through_and_onnx_gives_the_same(made):
    first, second = made["networks"].values()
    assert list(made["networks"]) == ["iresnet50 from backbone.pth", "same.onnx"]
    for worn, found in first["lfw"].items():
        for measure, one in found.items():
            assert one["low"] <= one["value"] <= one["high"]
            assert one["value"] == pytest.approx(second["lfw"][worn][measure]["value"], abs=0.06)
    assert made["people_known"] == {"iresnet50 from backbone.pth": 0, "same.onnx": 0} and made["left_out"] == {"lfw": 0}
    assert made["sets"]["lfw"]["pairs"] == [20, 20] and made["seeds"]["same.onnx"] == [0]
    assert json.dumps(made)  # no nan, no infinity


def test_what_the_chapter_shows(made):
    table = strangers.table(made, "lfw", list(strangers.VERIFICATION))
    assert len(table) == 6 and not table.isna().any(axis=None)
    assert len(strangers.table(made, "lfw", ["rank 1", "rank 5", *strangers.ALARMS])) == 6
    told = strangers.differences(made)
    assert len(told) == 6 and set(told["verdict"]) == {"undecided (1 of 3 seeds)"}
    assert strangers.table(made, "mfr2", ["accuracy"]).empty


def test_what_is_no_network_is_told_in_one_line(tmp_path, capsys, network):
    for name, content in (("x.onnx", b"none"), ("x.pth", b"none")):
        (tmp_path / name).write_bytes(content)
        assert strangers.main([str(tmp_path / name), "--out", str(tmp_path / "r.json")]) == 1
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and name in said and len(said) < 340
    everybody = [f"unseen {label:03d}" for label in range(150)]
    model = models.create_model("iresnet50", width=0.0625, embedding_dim=16)
    models.save_model(tmp_path / "all.safetensors", model, classes=everybody)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(picture_sets.rendered, "__defaults__", (20, 2))
        arguments = [str(tmp_path / "all.safetensors"), "--sets", "rendered", "--out", str(tmp_path / "r.json")]
        assert strangers.main(arguments) == 1
    assert "no set with 4 people whom none of the networks knows" in capsys.readouterr().err
    with pytest.raises(ValueError, match="name each once"):
        strangers.load_networks([network, network])
    assert not (tmp_path / "r.json").exists()


def save_run(folder, **params):
    """A finished run as `train` leaves it, of a small untrained network."""
    run = Run(scale="demo")
    record = made_up_records.record(run)
    record["params"] |= params
    folder.mkdir()
    records.write_json(folder / "record.json", record)
    model = models.create_model("iresnet50", width=0.0625, embedding_dim=16)
    models.save_model(folder / "model.safetensors", model, classes=["Ann"])
    return folder


def test_runs_are_called_by_what_tells_them_apart(tmp_path):
    runs = {"a": {"seed": 0}, "b": {"seed": 1}, "c": {"seed": 0, "condition": "unmasked", "lr": 0.3}}
    found = strangers.load_networks([save_run(tmp_path / name, **params) for name, params in runs.items()])
    assert [(n.label, n.seed, n.classes) for n in found] == [
        ("IResNet-50 trained on masked", 0, ("Ann",)),
        ("IResNet-50 trained on masked", 1, ("Ann",)),
        ("IResNet-50 trained on unmasked", 0, ("Ann",)),
    ]
    more = save_run(tmp_path / "d", seed=0, dataset="some/where/faces.tar")
    first, second = strangers.load_networks([tmp_path / "a", more])
    assert (first.label, second.label) == (
        "IResNet-50 trained on masked, dataset demo",
        "IResNet-50 trained on masked, dataset faces.tar",
    )
    others = (save_run(tmp_path / f"m{i}", seed=0, dataset=f"{i}/faces.tar") for i in range(2))
    assert [n.label[-19:] for n in strangers.load_networks(list(others))] == [
        f"dataset {i}/faces.tar" for i in range(2)
    ]


def test_people_trained_on_are_known_whatever_the_file_is_called(tmp_path):
    file = save_run(tmp_path / "a") / "model.safetensors"
    (found,) = strangers.load_networks([file.rename(tmp_path / "net.weights")])
    assert found.classes == ("Ann",)
    models.save_model(tmp_path / "odd.safetensors", found.embedder.model, classes=5)
    with pytest.raises(ValueError, match="odd.safetensors: the people .* are no list of names"):
        strangers.load_networks([tmp_path / "odd.safetensors"])


def test_thresholds_carry_over_between_like_sets_and_not_to_unlike_ones(pictures):
    """A network that finds everybody with a mask alike: the threshold for bare faces lets many masked strangers pass."""
    embeddings = made_up(pictures.people, 0.5)
    embeddings[1] += 1.2 * np.eye(32)[0]
    embeddings[1] /= np.linalg.norm(embeddings[1], axis=-1, keepdims=True)
    found = stranger_details.details({"r": (pictures, strangers.scored(embeddings, pictures))}, 50)
    same, other = (found["carried"]["r, no mask"][f"r, {worn}"] for worn in ("no mask", "masks on both"))
    assert same["FAR"]["value"] <= 0.01 < 0.1 < other["FAR"]["value"] and same["ECE"]["value"] < other["ECE"]["value"]
    curve = found["roc"]["r, no mask"]
    assert curve["far"][-1] == 1 and curve["tar"][-1] == 1 and curve["tar"] == sorted(curve["tar"])
    assert {"mask", "covered"}.isdisjoint(found["quality"]["r, no mask"])  # nobody wears one there
    kinds = found["quality"]["r, mask on one"]
    covered = pictures.covered[pictures.pairs[:, 1]]  # of the photo that wears it
    below = f"{np.nanquantile(covered, 1 / 3):.3g}"
    assert len(kinds["mask"]) > 1 and f"1: below {below}" in kinds["covered"]
    assert sum(row["pairs"] for row in kinds["turned"].values()) <= len(pictures.pairs)
    assert {name.split(":")[0] for name in kinds["sharpness"]} == {"1", "2", "3"} and "size" not in kinds
    json.dumps(found, allow_nan=False)


def test_seeds_are_taken_together(pictures):
    draws = Draws(pictures.people, 50)
    found = {
        label: {s: strangers.verify(made_up(pictures.people, noise, s), pictures, draws) for s in range(3)}
        for label, noise in (("good", 1.0), ("bad", 3.0))
    }
    told = strangers.summaries(found)
    one = told["networks"]["good"]["rendered"]["no mask"]["AUC"]
    each = [found["good"][s]["rendered", "no mask", "AUC"][0] for s in range(3)]
    assert one["seeds"] == pytest.approx(each, abs=1e-4) and one["value"] == pytest.approx(np.mean(each), abs=1e-4)
    gap = told["differences"]["bad"]["rendered"]["no mask"]["accuracy"]
    assert gap["high"] < 0 and gap["p"] < 0.05 and list(told["differences"]) == ["bad"]
    del found["bad"][0]  # compared at the seeds that both have
    gap = strangers.summaries(found)["differences"]["bad"]["rendered"]["no mask"]["accuracy"]
    assert len(gap["seeds"]) == 2 and gap["p"] is None


def test_the_answer_keeps_real_people_apart_from_rendered_ones():
    def share(value):
        return {"value": value, "low": value - 0.01, "high": value + 0.01}

    worn = {"lfw": ("no mask", "masks on both"), "mfr2": ("all pairs", "real masks on both")}
    by_set = {
        name: {w: {"accuracy": share(0.8 + 0.1 * i)} for i, w in enumerate(kinds)} for name, kinds in worn.items()
    }
    by_set["mfr2"]["enrolled bare, real mask probed"] = {"rank 1": share(0.39)}
    carried = {"lfw, no mask": {"lfw, no mask": 0.01, "mfr2, all pairs": 0.02, "rendered, no mask": 0.3}}
    record = {
        "networks": {"A": by_set, "B": {"lfw": by_set["lfw"]}},
        "differences": {
            "B": {"lfw": {"masks on both": {"accuracy": share(-0.1) | {"seeds": [-0.1, -0.1, -0.1], "p": 0.001}}}}
        },
        "details": {
            "A": {
                "carried": {
                    k: {t: {"FAR": share(x), "TAR": share(0.5), "threshold": 0.4} for t, x in v.items()}
                    for k, v in carried.items()
                }
            }
        },
    }
    said = strangers.answer(record)
    assert said.startswith(
        "A decides 80.0% of LFW's pairs correctly without masks (a guess: 50%), and 90.0% with masks drawn on both; B 80.0%"
    )
    assert "With masks, B (−10.0 (−11.0 to −9.0) points) differs from A beyond noise." in said
    assert (
        "With real masks, A decides 90.0% (89.0–91.0) of MFR2's pairs correctly and names 39.0% (38.0–40.0) of" in said
    )
    assert said.endswith(
        "A threshold that accepts at most 1% of one set's pairs of two people accepts, of another set of real people, 2.0%"
        " (one network, one seed)."
    )
    assert strangers.answer({"networks": {"A": {}}, "differences": {}, "details": {"A": {"carried": {}}}}) == ""


def test_thirds_that_hardly_differ_are_not_compared():
    far_apart = stranger_details.far_apart
    assert far_apart(["1: below 0.164", "2: 0.164 to 0.202", "3: above 0.202"]) and far_apart(["cloth", "n95"])
    assert not far_apart(["1: below 39.2", "2: 39.2 to 40.8", "3: above 40.8"])
