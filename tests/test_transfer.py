"""Transfer: every measure against another way to compute it, runs that must not be mixed, and the whole on rendered faces."""

import csv
import tarfile

import cv2
import numpy as np
import pytest
import records
from sklearn.metrics import roc_auc_score

from maskfr_utils import masks, metrics, models, paths, plots, report, study, transfer
from maskfr_utils.rendered import render_faces
from maskfr_utils.transfer import PAIRS, PROBES, Photos


def scored(n=120, seed=0):
    """Scores with ties, what they are scores of, and whole weights."""
    rng = np.random.default_rng(seed)
    same = rng.random(n) < 0.4
    return (rng.normal(size=n) + same).round(1), same, rng.integers(0, 4, (5, n)).astype(float)


def made_up(people=30, each=5, noise=0.5, seed=0):
    """Photos without pictures, half of them masked, all pairs of them, and embeddings in which people are alike."""
    rng, n = np.random.default_rng(seed), people * each
    names = np.array([f"P{i:02d}" for i in range(people)]).repeat(each)
    pairs = np.array([(i, j) for i in range(n) for j in range(i) if names[i] == names[j] or rng.random() < 0.02])
    photos = Photos(np.zeros((n, 1)), np.zeros((n, 1)), names, np.arange(n) % 2 == 0, np.arange(n) % 7 > 0, pairs)
    found = rng.normal(size=(people, 32)).repeat(each, 0) + noise * rng.normal(size=(2, n, 32))
    return found / np.linalg.norm(found, axis=-1, keepdims=True), photos


def test_auc_and_tar_count_a_pair_as_often_as_its_weight_says():
    scores, same, weights = scored()
    areas, rates = transfer.auc(scores, same, weights), transfer.tar(scores, same, weights, far=0.1)
    for row, area, rate in zip(weights.astype(int), areas, rates, strict=True):
        s, y = scores.repeat(row), same.repeat(row)
        assert area == pytest.approx(roc_auc_score(y, s))
        allowed = [t for t in np.unique(s) if (s[~y] >= t).mean() <= 0.1]  # thresholds at which enough are refused
        assert rate == pytest.approx((s[y] >= min(allowed)).mean() if allowed else 0)


def test_decisions_use_the_best_threshold_of_other_people():
    rng = np.random.default_rng(2)
    scores, same, _ = scored(300, seed=3)
    folds = rng.integers(0, 10, (300, 2))
    folds[same, 1] = folds[same, 0]
    right = transfer.decisions(scores, same, folds)
    for i in range(0, 300, 7):
        known = [k for k in range(300) if not set(folds[k]) & set(folds[i])]
        s, y = scores[known], same[known]
        steps = np.unique(s)
        middles = [-np.inf, *(steps[1:] + steps[:-1]) / 2, np.inf]
        quality = [(s[y] > t).mean() + (s[~y] <= t).mean() for t in middles]
        best = {(scores[i] > t) == same[i] for t, q in zip(middles, quality, strict=True) if q > max(quality) - 1e-12}
        assert right[i] in best


def test_balanced_accuracy_counts_both_kinds_alike():
    same = np.array([True] * 2 + [False] * 8)
    right = np.array([True, False] + [True] * 8)
    assert transfer.balanced(right, same, np.ones((1, 10))) == pytest.approx([0.75])


def test_a_photo_does_not_find_itself():
    """Each photo is like itself alone: only by chance is the next one of the same person."""
    embeddings, photos = made_up(noise=0)
    lonely = np.stack([np.eye(len(photos.people))] * 2)
    for probes in PROBES:
        known, hits = transfer.rank_1(embeddings, photos, probes)
        assert hits.all() and (photos.masked[known] == PROBES[probes][0]).all()
        assert transfer.rank_1(lonely, photos, probes)[1].mean() < 0.1
    keep = (photos.people != "P00") | (np.cumsum(~photos.masked) <= 1)  # one photo of P00 without a mask
    alone = photos.only(keep)
    probe, _ = transfer.rank_1(embeddings[:, keep], alone, "no mask")
    assert "P00" not in alone.people[probe] and "P01" in alone.people[probe]


def test_perfect_and_meaningless_embeddings():
    perfect, photos = made_up(noise=0.01)
    for groups in transfer.measure(perfect, photos).values():
        assert all((values == 1).all() for values in groups.values())
    meaningless = np.random.default_rng(1).normal(size=perfect.shape)
    noise, again = transfer.measure(meaningless, photos), transfer.measure(meaningless, photos)
    for group in PAIRS:
        low, high = np.percentile(noise["AUC"][group][1:], (2.5, 97.5))
        assert low < 0.5 < high and low < noise["AUC"][group][0] < high
        assert all((noise[name][group] == again[name][group]).all() for name in ("AUC", "accuracy"))


def test_interval_of_identification_is_that_of_a_bootstrap_over_people(monkeypatch):
    monkeypatch.setattr(transfer, "PAIRS", {})
    embeddings, photos = made_up(people=60, noise=3)
    values = transfer.measure(embeddings, photos)["rank 1"]["real mask"]
    probe, hits = transfer.rank_1(embeddings, photos, "real mask")
    assert values[0] == hits.mean()
    expected = metrics.cluster_bootstrap(hits, photos.people[probe], seed=5)
    np.testing.assert_allclose(np.percentile(values[1:], (2.5, 97.5)), expected, atol=0.02)


def test_interval_of_verification_holds_the_truth(monkeypatch):
    """Intervals over 30 people hold the value that many people have, nearly always."""
    monkeypatch.setattr(transfer, "PAIRS", {"all pairs": PAIRS["all pairs"]})
    truth = transfer.measure(*made_up(people=100, noise=2, seed=99))["AUC"]["all pairs"][0]
    held = []
    for seed in range(12):
        values = transfer.measure(*made_up(noise=2, seed=seed))["AUC"]["all pairs"]
        low, high = np.percentile(values[1:], (2.5, 97.5))
        held.append(low < truth < high)
    assert np.mean(held) > 0.8


def test_gain_is_paired_and_over_the_seeds_of_both():
    first, second = ({"AUC": {"all pairs": np.array(values)}} for values in ([0.9, 0.8, 1.0], [0.7, 0.6, 0.8]))
    found = {("net", "masked", 0): first, ("net", "unmasked", 0): second, ("net", "masked", 1): second}
    results = transfer.summaries(found)["net"]
    gain = results[transfer.GAIN]["AUC"]["all pairs"]
    assert gain == {"mean": [0.2, 0.2, 0.2], "seed 0": [0.2, 0.2, 0.2]}
    assert results["masked"]["AUC"]["all pairs"]["mean"][0] == pytest.approx(0.8)


def test_same_names():
    known = ["Ben_Affleck", "robert_de_niro", "Penélope Cruz", "Brian_J._Smith"]
    people = ["BenAffleck", "PenelopeCruz", "BrianJSmith", "BenStiller", "BenAffleck"]
    assert transfer.overlap(people, known) == ["BenAffleck", "BrianJSmith", "PenelopeCruz"]


# ---- runs and record ----------------------------------------------------------------------------------------------


def save_run(folder, condition="masked", seed=0, classes=("Person_0", "Somebody_Else"), **changes):
    """A finished run as `train` leaves it, of a small untrained network."""
    run = study.Run(scale="demo", condition=condition, seed=seed)
    record = records.record(run)
    for section, values in changes.items():
        record[section] |= values
    folder.mkdir(parents=True)
    report.write_json(folder / "record.json", record)
    model = models.create_model("iresnet50", width=0.25, embedding_dim=32)
    models.save_model(folder / "model.safetensors", model, classes=list(classes))
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return [save_run(folder / condition, condition) for condition in ("masked", "unmasked")]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"provenance": {"code": "other"}}, "code differs"),
        ({"provenance": {"data": "other"}}, "data differs"),
        ({"provenance": {"faces": [1.0, 2.0, 3.0]}}, "the faces differ"),
        ({"params": {"width": 0.5}}, "width differs"),
        ({"params": {"seed": 0}}, "the same network, condition and seed"),
    ],
)
def test_runs_that_must_not_be_mixed(runs, tmp_path, changes, message):
    other = save_run(tmp_path / "other", seed=1, **changes)
    with pytest.raises(ValueError, match=message):
        transfer.load_runs([*runs, other])


def test_unfinished_run_is_refused(runs, tmp_path, capsys):
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / "unfinished.ckpt").touch()
    assert transfer.main([str(runs[0]), str(tmp_path / "unfinished"), "--out", str(tmp_path / "x.json")]) == 1
    assert "unfinished holds no record.json" in capsys.readouterr().err
    assert not (tmp_path / "x.json").exists()
    assert len(transfer.load_runs([*runs, save_run(tmp_path / "more", seed=1)])) == 3


@pytest.fixture(scope="module")
def mfr2(tmp_path_factory):
    """A folder as MFR2 is, of rendered people with drawn masks."""
    data = tmp_path_factory.mktemp("data")
    folder = data / "mfr2"
    folder.mkdir()
    faces = render_faces(16, 4, seed=2)
    worn = np.arange(64) % 4 < 2
    images = np.where(worn[:, None, None, None], masks.mask_faces(faces.images, faces.landmarks).images, faces.images)
    names = [f"Person{faces.labels[i]}/{i:04d}.jpg" for i in range(64)]
    with tarfile.open(folder / "mfr2_112.tar", "w") as archive:
        for name, image in zip(names, images, strict=True):
            (folder / "face.jpg").write_bytes(cv2.imencode(".jpg", image[..., ::-1])[1])
            archive.add(folder / "face.jpg", name)
    np.savez(folder / "landmarks68.npz", files=names, points=faces.landmarks)
    with (folder / "index.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [
                ("file", "mask", "detector"),
                *((n, "cloth" if w else "no-mask", "hog_pad") for n, w in zip(names, worn, strict=True)),
            ]
        )
    rng = np.random.default_rng(0)
    ends = [(i, j) for i in range(64) for j in range(i) if i // 4 == j // 4 or rng.random() < 0.2]
    with (folder / "pairs.csv").open("w", newline="") as file:
        rows = ((int(i // 4 == j // 4), names[i], names[j]) for i, j in ends)
        csv.writer(file).writerows([("same", "file1", "file2"), *rows])
    return data


@pytest.fixture(scope="module")
def folder(runs, mfr2, tmp_path_factory):
    """The folder below which the command has left a record."""
    results = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MASKFR_DATA", str(mfr2))
        patch.setattr(transfer, "FOLDS", 4)  # as good here, and faster
        assert transfer.main([*map(str, runs), "--out", str(results / transfer.RECORD)]) == 0
    return results


def test_record(folder):
    record = transfer.read(folder)
    assert record["left_out"] == {"people": 1, "photos": 4}  # Person0, whom the networks know as Person_0
    assert record["photos"]["all photos"]["people"] == 15 and record["photos"]["all photos"]["masked"] == 30
    assert set(record["runs"]) == {"masked", "unmasked"} and record["code"] == study.code()
    values = record["results"]["all photos"]["iresnet50"]
    assert {"AUC", "accuracy", "rank 1"} <= set(values["masked"])
    for probes in PROBES:
        first, second, gain = (values[c]["rank 1"][probes]["seed 0"][0] for c in ("masked", "unmasked", transfer.GAIN))
        assert gain == pytest.approx(first - second, abs=2e-4)
    assert str(folder.parent) not in (folder / transfer.RECORD).read_text()  # no path of this machine


def test_what_the_chapter_shows(folder, tmp_path):
    record = transfer.read(folder)
    table = transfer.table(record)
    assert len(table) >= 9 and not table.isna().any().any()
    assert ("rank 1", "real mask") in table.index and "gain, points" in table
    gains = transfer.gains(record)
    assert [list(t.index)[:2] for t in gains.values()] == [["real mask", "drawn mask"], ["both masked", "both drawn"]]
    labels = [t.get_text() for t in plots.estimates(gains, "gain", value="value", zero=True).axes[0].get_yticklabels()]
    assert labels[0] == "real mask"
    assert transfer.in_words(record).count("\n- ") == 3 and "guessed" in transfer.in_words(record)
    said = transfer.made_with(record)
    assert "15 people" in said and record["command"] in said and "other code" not in said
    assert "other code" in transfer.made_with(record | {"code": "old"})
    assert transfer.read(tmp_path) is None and "Not measured yet" in transfer.made_with(None)


def test_a_network_trained_on_masks_alone_has_no_gain(folder):
    record = transfer.read(folder)
    for results in record["results"].values():
        del results["iresnet50"][transfer.GAIN], results["iresnet50"]["unmasked"]
    assert list(transfer.table(record)) == ["trained on masked, %"]
    assert transfer.gains(record) == {} and transfer.in_words(record) == ""


def test_broken_mfr2(mfr2, tmp_path):
    for name in ("mfr2_112.tar", "index.csv", "landmarks68.npz"):
        (tmp_path / name).symlink_to(mfr2 / "mfr2" / name)
    (tmp_path / "pairs.csv").write_text("same,file1,file2\n1,Person0/0000.jpg,Nobody/0001.jpg\n")
    with pytest.raises(ValueError, match="Nobody/0001.jpg"):
        transfer.read_mfr2(tmp_path)
    (tmp_path / "pairs.csv").write_text("same,file1,file2\n1,Person0/0000.jpg,Person1/0004.jpg\n")
    with pytest.raises(ValueError, match="pair 1 is not of the people"):
        transfer.read_mfr2(tmp_path)


def test_reads_mfr2():
    try:
        folder = paths.find_data("mfr2")
    except FileNotFoundError:
        pytest.skip("real masks are not here: set MASKFR_DATA to the folder that holds mfr2")
    photos = transfer.read_mfr2(folder)
    assert transfer.counts(photos) | {"pairs": None} == {"people": 53, "masked": 171, "unmasked": 98, "pairs": None}
    assert [len(photos.group(name)[0]) for name in PAIRS] == [848, 396, 383, 69] + 3 * [98 * 97 // 2]
    assert photos.group("all pairs")[1].sum() == 424 and (~photos.detected).sum() == 45
