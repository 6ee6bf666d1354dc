"""Real and drawn masks: both measures against another way to compute them, runs that must not be mixed, all of it on rendered faces."""

import csv
import tarfile

import cv2
import made_up_records
import numpy as np
import pytest
from scipy import stats

from maskfr_utils import figures, masks, models, records
from maskfr_utils.measure import mfr2, real_masks
from maskfr_utils.measure.mfr2 import Photos
from maskfr_utils.measure.real_masks import PROBES
from maskfr_utils.names import SIMPLE_CONDITIONS
from maskfr_utils.rendered import render_faces
from maskfr_utils.study.outcomes import points
from maskfr_utils.study.run import Run
from maskfr_utils.verdicts import over_seeds_and_people

pytestmark = pytest.mark.usefixtures("shallow")


@pytest.fixture(autouse=True, scope="module")
def fewer_draws():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(real_masks, "RESAMPLES", 400)
        yield


def made_up(people=30, each=5, noise=0.5, seed=0):
    """Photos without pictures, half of them masked, all pairs of them, and embeddings in which people are alike."""
    rng, n = np.random.default_rng(seed), people * each
    names = np.array([f"P{i:02d}" for i in range(people)]).repeat(each)
    pairs = np.array([(i, j) for i in range(n) for j in range(i) if names[i] == names[j] or rng.random() < 0.02])
    labels = np.where(np.arange(n) % 2 == 0, "cloth", mfr2.NO_MASK)
    photos = Photos(
        np.zeros((n, 1)), np.zeros((n, 1)), names, labels, np.where(np.arange(n) % 7, "hog", "hog_forced"), pairs
    )
    found = rng.normal(size=(people, 32)).repeat(each, 0) + noise * rng.normal(size=(2, n, 32))
    return found / np.linalg.norm(found, axis=-1, keepdims=True), photos


def test_a_photo_does_not_find_itself():
    """Each photo is like itself alone: only by chance is the next one of the same person."""
    embeddings, photos = made_up(noise=0)
    lonely = np.stack([np.eye(len(photos.people))] * 2)
    for probes in PROBES:
        known, hits = real_masks.rank_1(embeddings, photos, probes)
        assert hits.all() and (photos.masked[known] == PROBES[probes][0]).all()
        assert real_masks.rank_1(lonely, photos, probes)[1].mean() < 0.1
    keep = (photos.people != "P00") | (np.cumsum(~photos.masked) <= 1)  # one photo of P00 without a mask
    alone = photos.only(keep)
    probe, _ = real_masks.rank_1(embeddings[:, keep], alone, "no mask")
    assert "P00" not in alone.people[probe] and "P01" in alone.people[probe]


def test_perfect_and_meaningless_embeddings():
    perfect, photos = made_up(noise=0.01)
    found = real_masks.measure(perfect, photos)
    assert len(found) == 8 and all((values == 1).all() for values in found.values())
    meaningless = np.random.default_rng(1).normal(size=perfect.shape)
    noise, again = real_masks.measure(meaningless, photos), real_masks.measure(meaningless, photos)
    for name in real_masks.groups(photos):
        values = noise[f"AUC, {name}"]
        low, high = np.percentile(values[1:], (2.5, 97.5))
        assert low < 0.5 < high and low < values[0] < high
        assert (again[f"AUC, {name}"] == values).all()


def test_groups_of_pairs():
    """MFR2's own pairs by how many wear a mask, and all pairs without; a drawn mask counts on the photo that has it."""
    embeddings, photos = made_up()
    found, masked = real_masks.groups(photos), photos.masked
    assert [len(found[name][0]) for name in found] == [
        sum(masked[i] and masked[j] for i, j in photos.pairs),
        (~masked).sum() * ((~masked).sum() - 1) // 2,
        sum(masked[i] != masked[j] for i, j in photos.pairs),
        *[(~masked).sum() * ((~masked).sum() - 1) // 2] * 2,
    ]
    assert all((same == [photos.people[i] == photos.people[j] for i, j in p]).all() for p, same, _ in found.values())
    known, blind = real_masks.measure(embeddings, photos), embeddings.copy()
    blind[1] = np.roll(blind[1], 7, 0)  # drawn masks make people look like others
    changed = {name for name, values in real_masks.measure(blind, photos).items() if values[0] != known[name][0]}
    assert changed == {"rank 1, drawn mask", "AUC, both drawn", "AUC, one drawn"}


def test_only_some_photos_and_the_pairs_of_them():
    _, photos = made_up()
    some = photos.only(photos.detected)
    assert some.detected.all() and 0 < len(some.pairs) < len(photos.pairs)
    known = [(i, j) for i, j in photos.pairs if photos.detected[i] and photos.detected[j]]
    assert np.flatnonzero(photos.detected)[some.pairs].tolist() == [list(pair) for pair in known]
    assert real_masks.counts(some)["people"] == 30 and real_masks.counts(some)["masked"] == some.masked.sum()


def test_interval_of_identification_is_that_of_a_bootstrap_over_people():
    embeddings, photos = made_up(people=40, noise=3)
    values = real_masks.measure(embeddings, photos)["rank 1, real mask"]
    probe, hits = real_masks.rank_1(embeddings, photos, "real mask")
    assert values[0] == hits.mean()
    expected = over_seeds_and_people([hits], [photos.people[probe]], seed=5)
    np.testing.assert_allclose(np.percentile(values[1:], (2.5, 97.5)), (expected.low, expected.high), atol=0.03)


def test_interval_of_verification_holds_the_truth():
    """Intervals over 30 people hold the value that many people have, nearly always."""
    truth = real_masks.measure(*made_up(people=60, noise=2, seed=99))["AUC, one masked"][0]
    held = []
    for seed in range(12):
        values = real_masks.measure(*made_up(noise=2, seed=seed))["AUC, one masked"]
        low, high = np.percentile(values[1:], (2.5, 97.5))
        held.append(low < truth < high)
    assert np.mean(held) > 0.8


def test_gain_is_paired_and_the_mean_is_over_seeds():
    """Two networks that stray together differ by the same in every draw: their gain has no width."""
    draws = {("masked", 0): [0.9, 0.8, 1.0], ("unmasked", 0): [0.7, 0.6, 0.8]}
    draws |= {("masked", 1): [0.7, 0.6, 0.8], ("unmasked", 1): [0.6, 0.5, 0.7]}
    found = real_masks.summaries({run: {"AUC": np.array(values)} for run, values in draws.items()})
    assert found["gain"]["AUC"] == {"value": 0.15, "low": 0.15, "high": 0.15, "seeds": [0.2, 0.1], "p": None}
    assert found["masked"]["AUC"]["value"] == 0.8 and found["masked"]["AUC"]["low"] == pytest.approx(0.7, abs=0.01)


def test_the_luck_of_the_seeds_widens_a_gain_as_it_does_everywhere_in_the_study():
    """Three seeds of 0.1, 0.2 and 0.3 without any luck of people: Student's t decides, as in a t-test."""
    found = {
        (c, s): {"AUC": np.full(50, 0.5 + (c == "masked") * 0.1 * (s + 1))} for c in SIMPLE_CONDITIONS for s in range(3)
    }
    gain = real_masks.summaries(found)["gain"]["AUC"]
    expected = stats.ttest_1samp([0.1, 0.2, 0.3], 0)
    assert gain["p"] == pytest.approx(expected.pvalue, rel=0.01)
    assert (gain["low"], gain["high"]) == pytest.approx(tuple(expected.confidence_interval()), abs=1e-4)


def test_real_and_drawn_masks_are_tried_on_the_same_people():
    """Of P00 one photo without a mask is left, of P01 none with: neither can be tried on both."""
    embeddings, photos = made_up()
    first_bare = np.cumsum(~photos.masked) == 1
    few = ((photos.people == "P00") & (photos.masked | first_bare)) | ((photos.people == "P01") & ~photos.masked)
    keep = real_masks.on_both_sides(photos, few | ~np.isin(photos.people, ["P00", "P01"]))
    assert set(photos.people[keep]) == set(photos.people) - {"P00", "P01"}
    some = photos.only(keep)
    probed = [set(some.people[real_masks.rank_1(embeddings[:, keep], some, probes)[0]]) for probes in PROBES]
    assert probed[0] == probed[1] == probed[2] == set(some.people)
    assert len(photos.people) > keep.sum() and real_masks.on_both_sides(photos, photos.people == "P00").sum() == 5


# ---- runs and record ----------------------------------------------------------------------------------------------


def save_run(folder, condition="masked", seed=0, classes=("Person_0", "Somebody_Else"), **changes):
    """A finished run as `train` leaves it, of a small untrained network."""
    run = Run(scale="demo", condition=condition, seed=seed)
    record = made_up_records.record(run)
    for section, values in changes.items():
        record[section] |= values
    folder.mkdir(parents=True)
    records.write_json(folder / "record.json", record)
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
        ({"provenance": {"fingerprint": {"schedule": {"cosine": [1.0]}}}}, "schedule differs"),
        ({"provenance": {"faces": [1.0, 2.0, 3.0]}}, "the faces differ"),
        ({"params": {"width": 0.5}}, "width differs"),
        ({"params": {"model": "resnet50"}}, "model differs"),
        ({"params": {"seed": 1}}, "one masked and one unmasked run of each seed"),
        ({"params": {"condition": "masked"}}, "one masked and one unmasked run of each seed"),
    ],
)
def test_runs_that_must_not_be_mixed(runs, tmp_path, changes, message):
    other = save_run(tmp_path / "other", "unmasked", **changes)
    with pytest.raises(ValueError, match=message):
        real_masks.load_runs([runs[0], other])


def test_unfinished_run_is_refused(runs, tmp_path, capsys):
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / "unfinished.ckpt").touch()
    assert real_masks.main([str(runs[0]), str(tmp_path / "unfinished"), "--out", str(tmp_path / "x.json")]) == 1
    assert "unfinished/record.json is missing" in capsys.readouterr().err
    assert not (tmp_path / "x.json").exists()
    with pytest.raises(ValueError, match="each seed"):
        real_masks.load_runs([*runs, runs[0]])
    assert set(real_masks.load_runs(runs)) == {("masked", 0), ("unmasked", 0)}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder as MFR2 is, of rendered people with drawn masks."""
    data = tmp_path_factory.mktemp("data")
    folder = data / "mfr2"
    folder.mkdir()
    faces = render_faces(12, 4, seed=2)
    worn = np.arange(48) % 4 < 2
    images = np.where(worn[:, None, None, None], masks.mask_faces(faces.images, faces.landmarks).images, faces.images)
    names = [f"Person{faces.labels[i]}/{i:04d}.jpg" for i in range(48)]
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
    ends = [(i, j) for i in range(48) for j in range(i) if i // 4 == j // 4 or rng.random() < 0.6]
    with (folder / "pairs.csv").open("w", newline="") as file:
        rows = ((int(i // 4 == j // 4), names[i], names[j]) for i, j in ends)
        csv.writer(file).writerows([("same", "file1", "file2"), *rows])
    return data


@pytest.fixture(scope="module")
def folder(runs, data, tmp_path_factory):
    """The folder below which the command has left a record."""
    results = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MASKFR_DATA", str(data))
        assert real_masks.main([*map(str, runs), "--out", str(results / real_masks.RECORD)]) == 0
    return results


def test_record(folder):
    record = records.read_measurement(real_masks.RECORD, folder)
    assert record["left_out"] == 1  # Person0, whom the networks know as Person_0
    assert record["photos"]["all photos"]["people"] == 11 and record["photos"]["all photos"]["masked"] == 22
    assert record["seeds"] == [0]
    assert record["provenance"]["networks"] == Run(scale="demo").behaviour()
    for subset in record["results"].values():
        for name in subset["masked"]:
            first, second, gain = (subset[c][name]["value"] for c in ("masked", "unmasked", "gain"))
            assert gain == pytest.approx(first - second, abs=2e-4)
    assert str(folder.parent) not in (folder / real_masks.RECORD).read_text()  # no path of this machine


def test_what_the_chapter_shows(folder, tmp_path):
    record = records.read_measurement(real_masks.RECORD, folder)
    table = real_masks.table(record)
    assert len(table) == 8 and not table.isna().any(axis=None)
    assert set(table["verdict"]) == {"undecided (1 of 3 seeds)"} and set(table["p, Holm"]) == {""}
    gains = real_masks.results(record, "gain")
    figure = figures.results.estimates({"": gains}, "gain", value="value", zero=True)
    labels = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert labels[:2] == ["rank 1, real mask", "rank 1, drawn mask"]
    assert real_masks.in_words(record).count("\n- ") == 1 and real_masks.in_words(record).count("guessed") == 2
    said = real_masks.made_with(record)
    assert "11 people" in said and "older code" not in said and "run it again" not in said
    assert "`python -m maskfr_utils.measure.real_masks runs/masked runs/unmasked` measures it again" in said
    record["provenance"]["networks"]["masks"] = {"cloth": [0.0]}
    assert "older code" in real_masks.made_with(record)
    assert records.read_measurement(real_masks.RECORD, tmp_path) is None and "Not measured yet" in real_masks.made_with(
        None
    )


def gains(*rows):
    """A record of these gains by hand: value, low, high, p."""
    lines = {
        f"measure {i}": {"value": v, "low": a, "high": b, "seeds": [v, v, v], "p": p}
        for i, (v, a, b, p) in enumerate(rows)
    }
    return {"results": {"all photos": dict.fromkeys(("masked", "unmasked", "gain"), lines)}}


def test_a_gain_is_called_one_only_if_its_corrected_p_says_so():
    alone = real_masks.table(gains((0.2, 0.01, 0.3, 0.03)))
    assert alone["verdict"].tolist() == ["better"] and alone["gain, points"].tolist() == ["+20.0 (+1.0 to +30.0)"]
    table = real_masks.table(gains((0.2, 0.01, 0.3, 0.03), (-0.2, -0.3, -0.1, 0.001), (0.1, -0.1, 0.3, 0.4)))
    assert table["verdict"].tolist() == ["undecided", "worse", "undecided"]
    assert table["p, Holm"].tolist() == ["0.060", "0.003", "0.400"]


@pytest.mark.parametrize(
    ("real", "words"),
    [(0.02, "hardly at all"), (0.15, "by about half"), (0.25, "for the most part"), (0.33, "in full")],
)
def test_whether_drawn_masks_stand_in_is_told_by_the_share_of_the_gain(real, words):
    record = gains((real, 0.01, 0.4, 0.03), (0.3, 0.2, 0.4, 0.001))
    lines = dict(
        zip(("rank 1, real mask", "rank 1, drawn mask"), record["results"]["all photos"]["gain"].values(), strict=True)
    )
    record["results"]["all photos"]["gain"] = lines
    said = real_masks.answer(record)
    assert (
        f"Here drawn masks stand in for real ones {words}: on new people" in said
        and f"{100 * real:+.1f} (+1.0 to +40.0)" in said
    )
    lines["rank 1, real mask"]["seeds"] = [
        real - 0.1,
        real,
        real + 0.1,
    ]  # half of its width is t, 4.303, times 0.1 / √3
    assert f"over seeds alone: {points(0.3 - real, 0.3 - real - 0.2484, 0.3 - real + 0.2484)})" in real_masks.answer(
        record
    )
    for line in lines.values():
        line["seeds"] = line["seeds"][:2]
    assert "over seeds alone" not in real_masks.answer(record)


def test_people_too_few_for_either_side_are_told_of(runs, data, monkeypatch):
    monkeypatch.setenv("MASKFR_DATA", str(data))
    monkeypatch.setattr(real_masks, "LEAST", 10_000)
    with pytest.raises(ValueError, match="of nobody are there"):
        real_masks.make_record(runs)


def test_broken_mfr2(data, tmp_path):
    for name in ("mfr2_112.tar", "index.csv", "landmarks68.npz"):
        (tmp_path / name).symlink_to(data / "mfr2" / name)
    (tmp_path / "pairs.csv").write_text("same,file1,file2\n1,Person0/0000.jpg,Nobody/0001.jpg\n")
    with pytest.raises(ValueError, match="Nobody/0001.jpg"):
        mfr2.read(tmp_path)
    (tmp_path / "pairs.csv").unlink()
    (tmp_path / "pairs.csv").symlink_to(data / "mfr2" / "pairs.csv")
    (tmp_path / "index.csv").unlink()
    (tmp_path / "index.csv").write_text("file,mask,detector\nPerson0/0000.jpg,cloth,hog_pad\n")
    with pytest.raises(ValueError, match="Person0/0001.jpg"):
        mfr2.read(tmp_path)


def test_reads_mfr2(real_mfr2):
    photos = mfr2.read(real_mfr2)
    assert {"people": 53, "masked": 171, "bare": 98}.items() <= real_masks.counts(photos).items()
    assert sum(real_masks.counts(photos)["both masked"]) == 396 and sum(real_masks.counts(photos)["one masked"]) == 383
    assert len(photos.pairs) == 848 and (~photos.detected).sum() == 45
