"""Conditions of training beyond masked, unmasked and the toss of a coin: both twins at once, and parts of the face."""

import dataclasses

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from small_runs import same, small, tiny, weights

from maskfr_utils import batches, fingerprint, loop, prepare, train
from maskfr_utils.config import ConfigError
from maskfr_utils.losses import twin_distance
from maskfr_utils.names import CONDITIONS, SIMPLE_CONDITIONS
from maskfr_utils.probes.runs import of_run
from maskfr_utils.records import read_record
from maskfr_utils.store import TRAIN, FaceStore

pytestmark = pytest.mark.usefixtures("shallow")

NEW = [name for name in CONDITIONS if name not in SIMPLE_CONDITIONS]
CUT = {"upper": (0, 58), "periocular": (32, 58)}  # rows that are seen, written down once more


@pytest.fixture(scope="module")
def store():
    return FaceStore(prepare.prepare(**small("x").data(), progress=False))


def trainer(folder, store, **more):
    return loop.Trainer(small(folder, **more), store, Fabric(accelerator="cpu", devices=1))


def test_a_batch_of_twins_holds_both_of_each_photo(tmp_path, store):
    run = trainer(tmp_path, store, condition="twins", batch_size=6)
    for faces, labels in list(run.feed()):
        assert faces.shape == (6, 112, 112, 3)
        plain, masked = faces.numpy()[:3], faces.numpy()[3:]
        known = store.batch(store.indices(TRAIN))[0]
        photos = [store.indices(TRAIN)[(known == face).all((1, 2, 3))][0] for face in plain]
        assert len(set(photos)) == 3
        assert np.array_equal(masked, store.batch(np.array(photos), masked=True)[0])
        assert labels.tolist() == 2 * store.labels[photos].tolist()


def test_twins_may_get_new_masks_and_their_bare_faces_stay(store):
    config = small("x", condition="twins", fresh_masks=True)
    some = store.indices(TRAIN)[:4]
    faces = batches.TwinDataset(store, config)[some.tolist()][0].numpy()
    assert np.array_equal(faces[:4], store.batch(some)[0])
    assert not (faces[4:] == faces[:4]).all((1, 2, 3)).any()
    assert not (faces[4:] == store.batch(some, masked=True)[0]).all((1, 2, 3)).any()


@pytest.mark.parametrize("world", [1, 3])
def test_two_epochs_of_twins_show_each_photo_once_in_as_many_steps_as_without(world):
    indices = np.arange(100, 175)
    ranks = [batches.EpochBatches(indices, 12, 5, rank, world, together=True) for rank in range(world)]
    alone = batches.EpochBatches(indices, 12, 5)
    assert len(ranks[0]) == len(alone) == 6 and ranks[0].batch_size == 12
    seen = []
    for epoch in (2, 3):
        for rank in ranks:
            rank.epoch = epoch
            drawn = list(rank)
            assert [len(batch) for batch in drawn] == [6 // world] * 6
            seen += [i for batch in drawn for i in batch]
    assert len(seen) == len(set(seen)) == 72 and set(seen) <= set(indices.tolist())
    whole = list(ranks[0])
    ranks[0].first = 4
    assert list(ranks[0]) == whole[4:]


def test_a_stopped_run_of_twins_goes_on_to_the_same_weights(tmp_path, store, monkeypatch):
    more = {"condition": "twins", "twin_weight": 1.0, "epochs": 3}
    train.run(tiny(tmp_path / "whole", **more))
    augment, calls = loop.augment, []

    def fails(*args):
        calls.append(args)
        if len(calls) == 8:  # within the second epoch
            raise KeyboardInterrupt
        return augment(*args)

    monkeypatch.setattr(loop, "augment", fails)
    with pytest.raises(KeyboardInterrupt):
        train.run(tiny(tmp_path / "stopped", **more))
    assert not (tmp_path / "stopped" / "record.json").exists()
    train.run(tiny(tmp_path / "stopped", **more))
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "stopped"))


def test_the_twin_terms_value_and_gradient_by_hand():
    """1 - cos t has the gradient -(v/|v| - cos t u/|u|) / |u| in u."""
    x = np.random.default_rng(3).normal(size=(8, 5)) * np.geomspace(0.1, 30, 8)[:, None]
    embeddings = torch.tensor(x, requires_grad=True)
    value = twin_distance(embeddings)
    value.backward()
    length = np.linalg.norm(x, axis=1, keepdims=True)
    unit, other = x / length, np.roll(x / length, 4, axis=0)
    cosine = (unit * other).sum(1, keepdims=True)
    assert value.item() == pytest.approx((1 - cosine[:4]).mean())
    np.testing.assert_allclose(embeddings.grad, -(other - cosine * unit) / length / 4, atol=1e-12)


def test_the_twin_term_draws_twins_together_and_no_others(tmp_path, store):
    """Added to the loss with its weight, of the batch as the run has it."""
    faces = batches.to_input(torch.from_numpy(store.batch(np.arange(6))[0]))
    labels = torch.from_numpy(store.labels[:6])
    given = {"condition": "twins", "twin_weight": 3.0}
    without, with_term = (trainer(tmp_path, store, **more).recogniser.eval() for more in ({}, given))
    without.load_state_dict(with_term.state_dict())
    with torch.no_grad():
        distance = twin_distance(with_term.backbone(faces))
        torch.testing.assert_close(with_term(faces, labels)[0], without(faces, labels)[0] + 3 * distance)
    assert 0 < distance < 2


@pytest.mark.parametrize("condition", [*SIMPLE_CONDITIONS, "upper", "periocular"])
def test_a_weight_of_the_twin_term_needs_twins(condition):
    with pytest.raises(ConfigError, match="twin_weight=2 needs both twins.*condition to twins"):
        small("x", condition=condition, twin_weight=2.0)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_part_of_the_face_is_shown_as_it_is_and_the_rest_is_grey(condition):
    faces = np.random.default_rng(0).integers(0, 256, (3, 112, 112, 3), dtype=np.uint8)
    before, shown = faces.copy(), batches.seen(faces, condition)
    first, end = CUT.get(condition, (0, 112))
    assert np.array_equal(shown[:, first:end], faces[:, first:end])
    assert (shown[:, :first] == 127).all() and (shown[:, end:] == 127).all()
    assert np.array_equal(faces, before)


def test_the_parts_hold_the_eyes_and_little_of_any_mask(store):
    """Eyes and brows lie within; at most a tenth of what is left is mask, where of whole masked faces it is a third."""
    bare, masked = store.batch(np.arange(len(store)))[0], store.batch(np.arange(len(store)), masked=True)[0]
    covered = (np.abs(bare.astype(int) - masked).max(3) > 12).mean((0, 2))  # of each row
    eyes = np.array([landmarks[36:48, 1] for landmarks in store.landmarks[: len(store)]])
    for first, end in CUT.values():
        assert covered[first:end].mean() < 0.1 < 0.3 < covered.mean() + 0.05
        assert np.mean((first < eyes) & (eyes < end)) > 0.95


@pytest.mark.parametrize("condition", CUT)
def test_what_is_hidden_changes_neither_training_nor_tests(tmp_path, store, condition):
    first, end = CUT[condition]
    run = trainer(tmp_path, store, condition=condition)
    some = store.indices(TRAIN)[:6]
    fed = batches.TwinDataset(store, run.config)[some.tolist()][0].numpy()
    assert (fed[:, end:] == 127).all() and (fed[:, :first] == 127).all()
    faces = store.batch(some)[0]
    noisy = np.random.default_rng(1).integers(0, 256, faces.shape, dtype=np.uint8)
    noisy[:, first:end] = faces[:, first:end]
    assert np.array_equal(run.predict(faces), run.predict(noisy))
    noisy[:, end - 1] ^= 128
    assert not np.array_equal(run.predict(faces), run.predict(noisy))


@pytest.mark.parametrize("values", [{"condition": c} for c in NEW] + [{"condition": "twins", "twin_weight": 2.0}])
def test_each_condition_trains_and_is_scored_on_both_twins(tmp_path, values):
    record = train.run(tiny(tmp_path, **values))
    assert record["params"] | values == record["params"]
    assert set(record["metrics"]) == {"masked", "unmasked"}
    assert all(np.isfinite(epoch["loss"]) for epoch in record["history"])
    assert f"condition {values['condition']}" in record["provenance"]["fingerprint"]


def test_a_conditions_behaviour_is_told_by_its_own_runs_alone(monkeypatch):
    params = small("x").science()
    runs = {name: of_run(params | {"condition": name}) for name in CONDITIONS}
    runs["term"] = of_run(params | {"condition": "twins", "twin_weight": 1.0})
    assert {name: set(parts) - set(runs["masked"]) for name, parts in runs.items()} == {
        **{name: set() for name in SIMPLE_CONDITIONS},
        **{name: {f"condition {name}"} for name in NEW},
        "term": {"condition twins", "twin term"},
    }
    part = runs["upper"]["condition upper"]
    before = {"part": part()}
    assert fingerprint.moved(before, {"part": part()}) == []
    lower = dataclasses.replace(CONDITIONS["upper"], rows=(0, 60))
    monkeypatch.setitem(CONDITIONS, "upper", lower)
    assert fingerprint.moved(before, {"part": part()}) == ["part"]


def test_a_trial_that_leaves_the_numbers_counts_as_none_right(tmp_path, capsys):
    values = {"lr": 1e12, "warmup_epochs": 0, "eval_every": 0, "epochs": 9}
    with pytest.raises(loop.TrainingError, match="loss is"):
        train.run(small(tmp_path / "final", **values))
    assert not (tmp_path / "final" / "record.json").exists()
    trial = small(tmp_path / "trial", scored_on="validation", **values)
    record = train.run(trial)
    assert "counts as no photo named rightly: the loss is" in capsys.readouterr().out
    assert record == read_record(tmp_path / "trial" / "record.json")
    assert record["diverged"]["step"] >= 1
    people = np.array(record["photos"]["label"])
    for twin in ("masked", "unmasked"):
        assert record["metrics"][twin]["accuracy"] == 0
        assert (np.array(record["photos"][twin]) != people).all() and len(people)
        assert min(record["photos"][f"{twin}_rank"]) > 1
    assert {path.name for path in (tmp_path / "trial").iterdir()} == {
        "record.json", "predictions.csv", "train.log", ".lock",
    }  # fmt: skip
    assert train.run(trial) == record  # handed out, not trained again
