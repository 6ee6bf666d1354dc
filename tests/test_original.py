"""The switches of the audit: each does what the original did, none is on by itself, and off they change nothing."""

import ast
import json
import math

import cv2
import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from small_runs import SMALL, same, small, weights

from maskfr_utils import fingerprint, loop, train
from maskfr_utils.config import ConfigError, TrainConfig
from maskfr_utils.faces.pose import head_yaw
from maskfr_utils.models import load_model
from maskfr_utils.models.legacy import LegacyNet
from maskfr_utils.original import flaws as known
from maskfr_utils.original import scores
from maskfr_utils.original.run import Audited, main
from maskfr_utils.original.switches import MIRROR, FlawedTrainer, Pool, by_batch_statistics, recogniser
from maskfr_utils.paths import ROOT
from maskfr_utils.probes.faces import plain_faces, plain_landmarks
from maskfr_utils.store import LEFT_OUT, TEST, TRAIN, VALIDATION, FaceStore, FaceWriter

PEOPLE, EACH = 3, 12
NETWORK = ("shared_modules", "network")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Twelve photos of each of three people: three to test, two to validate; the last of each repeats the first."""
    n, path = PEOPLE * EACH, tmp_path_factory.mktemp("faces") / "faces.h5"
    place = np.arange(n) % EACH
    split = np.select([place < 3, place < 5, place < 11], [TEST, VALIDATION, TRAIN], LEFT_OUT)
    copies = np.where(place == 11, np.arange(n) - 11, -1)
    names = [f"{chr(97 + i // EACH)}/{i % EACH}" for i in range(n)]
    landmarks = plain_landmarks(EACH)[place]
    with FaceWriter(path, {"fingerprint": "made for the test", "seed": 4}) as writer:
        writer.append(
            plain_faces(n, seed=4), plain_faces(n, seed=5), [x[0] for x in names], names, landmarks,
            mask_kinds=["n95"] * n,
        )  # fmt: skip
        writer.assign(np.repeat(np.arange(PEOPLE), EACH), split, list("abc"), copies)
    return path


@pytest.fixture
def unprobed(monkeypatch):
    """Runs that do not first compute what the code computes, which takes a minute."""
    monkeypatch.setattr(fingerprint, "numbers", lambda parts: {})


def make(tmp_path, path, flaws=(), **more):
    config = TrainConfig(
        **SMALL | {"width": 0.05, "embedding_dim": 16, "out_dir": str(tmp_path), "eval_every": 0} | more
    )
    return FlawedTrainer(flaws, config, Pool(path, flaws), Fabric(accelerator="cpu"))


# Off


def test_without_flaws_a_run_is_the_plain_run_to_the_bit(tmp_path, unprobed, few_blocks):
    one, two = (small(tmp_path / name, width=0.05, epochs=2, augment=0.3, eval_every=0) for name in ("plain", "audit"))
    plain, audited = train.run(one), train.run(two, Audited((), two))
    assert same(weights(one.folder), weights(two.folder))
    for part in ("metrics", "photos", "history", "params"):
        assert plain[part] == audited[part]
    assert plain["provenance"]["data"] == audited["provenance"]["data"]
    assert "audit" not in plain and audited["audit"]["flaws"] == []
    assert audited["audit"]["reported"]["none"] == pytest.approx(plain["metrics"]["masked"]["accuracy"], abs=1e-6)
    assert audited["audit"]["honest"] == audited["audit"]["reported"]["none"]


def test_a_pool_without_flaws_is_the_store(path):
    pool, store = Pool(path, ()), FaceStore(path)
    assert len(pool) == len(store) and pool.attrs == store.attrs
    assert np.array_equal(pool.split, store.split) and np.array_equal(pool.landmarks, store.landmarks)
    assert np.array_equal(pool.batch([3, -1], masked=True)[0], store.batch([3, -1], masked=True)[0])
    assert not pool.copy_trained_on(TEST).any()


def test_no_parameter_and_no_other_command_switches_a_flaw_on(tmp_path, capsys):
    names = set(TrainConfig.__dataclass_fields__)
    assert not names & set(known.FLAWS) - {"batch_size"} and not {"flaws", "audit", "original", "legacy"} & names
    for name in ("flaws", "mirrored_twins", "bgr_255"):
        with pytest.raises(ConfigError, match="unknown parameter"):
            TrainConfig.from_mapping({name: True})
    with pytest.raises(SystemExit) as exit_:
        train.main(["--flaws", "bgr_255", "-p", "out_dir", str(tmp_path)])
    assert exit_.value.code == 2
    capsys.readouterr()
    users = set()
    for file in sorted((ROOT / "maskfr_utils").rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)) if "maskfr_utils.original" in text else ():
            if isinstance(node, ast.ImportFrom) and node.module in (
                "maskfr_utils.original.switches", "maskfr_utils.original.run"
            ):  # fmt: skip
                users.add(file.relative_to(ROOT / "maskfr_utils").as_posix())
    assert users == {"original/run.py", "original/probes.py", "study/making.py"}


@pytest.mark.parametrize(
    ("flaws", "said"),
    [
        (["mirored_twins"], "did you mean mirrored_twins"),
        (["people_mean"], "unknown flaw of training"),  # of scoring: no training of its own
        (["shared_modules"], "needs network"),
        (["initial_weights"], "needs network"),
        (["logit_loss"], "loss=legacy_arcface, not arcface"),
        (["folders"], "condition=unmasked, not both"),
    ],
)
def test_flaws_that_do_not_fit_are_refused_in_a_line(tmp_path, capsys, flaws, said):
    assert main(["--flaws", *flaws, "-p", "out_dir", str(tmp_path)]) == 1
    out = capsys.readouterr().err
    assert said in out and out.count("\n") == 1 and len(out) <= 300


# Photos


def test_mirrored_twins_fall_into_any_part(path):
    pool, store = Pool(path, ("mirrored_twins",)), FaceStore(path)
    n = len(store)
    assert len(pool) == 2 * n and np.array_equal(pool.split[:n], store.split)
    for person in range(PEOPLE):  # as many mirror images in each part as photos
        mine = store.labels == person
        assert np.array_equal(np.sort(pool.split[n:][mine]), np.sort(store.split[mine]))
        assert (pool.split[n:][mine][-1] == LEFT_OUT) and (pool.labels[n:] == pool.labels[:n]).all()
    for masked in (False, True):
        images, labels = pool.batch([5, n + 5, -1], masked=masked)
        assert np.array_equal(images[1], images[0][:, ::-1]) and labels[0] == labels[1]
        assert np.array_equal(images[2], store.batch([-1], masked=masked)[0][0][:, ::-1])
    trained = set(pool.indices(TRAIN).tolist())
    expected = [(i + n) % (2 * n) in trained for i in pool.indices(TEST)]
    assert np.array_equal(pool.copy_trained_on(TEST), expected) and 0 < sum(expected) < len(expected)
    assert pool.sources[n] == "a/0 mirrored" and pool.mask_kinds[-1] == "n95"
    assert pool.attrs["fingerprint"] != store.attrs["fingerprint"]


def test_mirrored_landmarks_are_those_of_the_mirrored_head(path):
    pool, n = Pool(path, ("mirrored_twins",)), PEOPLE * EACH
    assert sorted(MIRROR) == list(range(68)) and [MIRROR[i] for i in MIRROR] == list(range(68))
    yaw = head_yaw(pool.landmarks)
    assert np.allclose(yaw[n:], -yaw[:n], atol=2) and np.abs(yaw).max() > 20
    assert pool.landmarks.dtype == np.float32


def test_where_mirror_images_are_stored_none_is_made(tmp_path, path):
    images = torch.rand(8, 3, 112, 112)
    for flaws, kept in ((("mirrored_twins",), True), ((), False)):
        varied = make(tmp_path, path, flaws).vary(images.clone(), torch.Generator().manual_seed(0))
        assert torch.equal(varied, images) == kept


def test_near_copies_count_as_photos_and_are_drawn_one_by_one(path):
    pool, store = Pool(path, ("near_copies",)), FaceStore(path)
    assert (pool.split >= 0).all()  # the repeats are in
    for person in range(PEOPLE):
        counts = np.bincount(pool.split[pool.labels == person], minlength=3)
        assert counts[TEST] == math.ceil(12 * 3 / 11) and counts[VALIDATION] == math.ceil(12 * 2 / 11)
    assert not np.array_equal(pool.split[store.split >= 0], store.split[store.split >= 0])
    trained = pool.split == TRAIN
    partner = np.arange(len(pool)) + np.select(
        [np.arange(len(pool)) % EACH == 0, np.arange(len(pool)) % EACH == 11], [11, -11]
    )
    test = pool.indices(TEST)
    expected = trained[partner[test]] & (partner[test] != test)
    assert np.array_equal(pool.copy_trained_on(TEST), expected)
    assert np.array_equal(Pool(path, ("near_copies",)).split, pool.split)


# The network


def test_pictures_go_in_as_opencv_reads_them(path):
    faces = FaceStore(path).batch([0, 1])[0]
    made, seen = recogniser(TrainConfig(model="iresnet50", width=0.05), 3, ("bgr_255",)), []
    made.backbone.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    made.eval().backbone(loop.to_input(torch.from_numpy(faces)))
    bgr = np.stack([cv2.cvtColor(face, cv2.COLOR_RGB2BGR) for face in faces]).transpose(0, 3, 1, 2)
    assert np.array_equal(seen[0].numpy(), bgr.astype(np.float32))


def test_modules_kept_apart_compute_the_same_until_they_differ():
    config = TrainConfig(model="ressanet50", width=0.05, embedding_dim=24)
    shared, apart = (recogniser(config, 3, flaws).backbone.double() for flaws in (NETWORK, ("network",)))
    assert isinstance(shared, LegacyNet) and isinstance(apart, LegacyNet)
    own = shared.state_dict()
    twice = {
        "entry": "activation",
        "exit": "activation",
        "conv1_again": "conv1",
        "bn1_again": "bn1",
        "prelu_again": "prelu",
    }
    given = {}
    for name in apart.state_dict():
        parts = name.split(".")
        wanted = name if name in own else ".".join(twice.get(part, part) for part in parts)
        if (
            len(parts) > 2 and parts[2] == "entry" and int(parts[1]) > 1
        ):  # a stage's second block has two in the original, too
            wanted = name.replace("entry", "activation")
        given[name] = own[wanted]
    apart.load_state_dict(given)
    images = torch.rand(4, 3, 112, 112, dtype=torch.float64)
    assert torch.allclose(shared.train()(images), apart.train()(images), atol=1e-8)
    count = sum(p.numel() for p in apart.parameters()) - sum(p.numel() for p in shared.parameters())
    assert count > 0
    with torch.no_grad():
        apart.layer4[1].conv1_again.weight.mul_(2)
    assert not torch.allclose(shared(images), apart(images), atol=1e-3)


def test_the_originals_network_takes_the_place_of_the_papers(tmp_path, path):
    run = make(tmp_path, path, NETWORK, model="ressanet50", embedding_dim=24)
    assert isinstance(run.recogniser.backbone, LegacyNet) and run.recogniser.backbone.conv1.kernel_size == (7, 7)
    assert run.recogniser.head.weight.shape == (PEOPLE, 24)
    assert known.overrides(("network",), {"width": 0.05}) == {"embedding_dim": 24}
    for width in (0.1, 0.25, 1.0):
        changed = known.overrides(("network",), {"width": width})
        recogniser(TrainConfig(model="iresnet50", width=width, **changed), 3, ("network",))


# Scoring


def test_batch_statistics_are_those_of_the_test_batch_and_leave_the_network_alone(tmp_path, path, monkeypatch):
    run = make(tmp_path, path)
    monkeypatch.setattr("maskfr_utils.original.switches.TEST_BATCH", 100)  # all in one
    with torch.no_grad():
        run.recogniser.head.weight.normal_()
    before = {name: value.clone() for name, value in run.recogniser.state_dict().items()}
    named = by_batch_statistics(run, TEST, masked=True)
    assert all(torch.equal(value, before[name]) for name, value in run.recogniser.state_dict().items())
    faces, _ = run.store.batch(run.store.indices(TEST), masked=True)
    with torch.no_grad():
        embeddings = run.recogniser.train().backbone(loop.to_input(torch.from_numpy(faces)))
        assert np.array_equal(named, run.recogniser.head.logits(embeddings).argmax(1).numpy())
        by_running = run.recogniser.eval().backbone(loop.to_input(torch.from_numpy(faces)))
    assert not torch.allclose(embeddings, by_running, atol=1e-2)


def hand_made(flaws=()):
    """Person 0 has two photos, both right; person 1 four, of which the second alone; masked, evaluation mode."""
    return {
        "params": {"seed": 0},
        "photos": {"label": [0, 0, 1, 1, 1, 1], "masked": [0, 0, 0, 1, 0, 0], "unmasked": [0, 0, 1, 1, 1, 0]},
        "audit": {
            "flaws": list(flaws),
            "photos": {
                "masked_by_batch": [1, 0, 1, 1, 1, 1],
                "unmasked_by_batch": [0] * 6,
                "copy_trained_on": [1, 0, 0, 0, 1, 1],
            },
        },
    }  # fmt: skip


def test_accuracies_by_hand():
    found = scores.reported(hand_made())
    assert found["none"] == pytest.approx(3 / 6, abs=1e-6)
    assert found["people_mean"] == pytest.approx((1 + 1 / 4) / 2, abs=1e-6)
    assert found["batch_statistics"] == pytest.approx(5 / 6, abs=1e-6)
    assert found["three_photos"] in (pytest.approx(2 / 5, abs=1e-6), pytest.approx(3 / 5, abs=1e-6))
    assert found["all"] == pytest.approx((1 / 2 + 1) / 2, abs=1e-6)
    assert scores.honest(hand_made()) == pytest.approx(2 / 3, abs=1e-6)
    assert scores.reported(hand_made(["folders"]))["none"] == pytest.approx(5 / 6, abs=1e-6)
    assert scores.honest(hand_made(["folders"])) == scores.honest(hand_made())


def test_three_photos_of_each_person():
    labels = np.repeat([4, 1, 7], [10, 2, 5])
    taken = scores.three_each(labels, seed=1)
    assert [taken[labels == p].sum() for p in (4, 1, 7)] == [3, 2, 3]
    assert np.array_equal(taken, scores.three_each(labels, 1)) and not np.array_equal(
        taken, scores.three_each(labels, 2)
    )


# A whole run


def test_all_flaws_at_once_leave_a_record_and_weights_that_nothing_loads(tmp_path, capsys, unprobed, few_blocks):
    flaws = [name for name in known.TRAINED if name != "near_copies"]
    values = SMALL | {"model": "ressanet50", "width": 0.05, "epochs": 2, "warmup_epochs": 1, "margin_warmup_epochs": 2}
    values |= known.overrides(flaws, values) | {"out_dir": str(tmp_path), "eval_every": 0}
    argv = [x for name, value in values.items() for x in ("-p", name, str(value))]
    assert main(["--flaws", *flaws, *argv]) == 0
    record = json.loads((tmp_path / "record.json").read_text())
    audit, params = record["audit"], record["params"]
    assert audit["flaws"] == flaws
    assert (params["loss"], params["scale"], params["margin"]) == ("legacy_arcface", 45, 0.1)
    assert (params["condition"], params["batch_size"], params["epochs"]) == ("unmasked", 4, 1)
    labels = np.array(record["photos"]["label"])
    wanted = (np.array(record["photos"]["unmasked"]) == labels).mean()
    assert audit["reported"]["none"] == pytest.approx(wanted, abs=1e-6)
    assert set(audit["reported"]) == {"none", *known.SCORED, "all"}
    assert record["provenance"]["train_photos"] == 2 * 3 * 7  # of ten, two are tested on and one validates
    batches = 42 // 4
    assert audit["loss"]["reported"] == pytest.approx(audit["loss"]["honest"] * batches / 1, abs=1e-4)
    with pytest.raises(ValueError, match="not a network"):
        load_model(tmp_path / "model.safetensors")
    with pytest.raises(ConfigError, match="other faces"):  # nor is its record handed out as that of a run without
        config = TrainConfig.from_mapping(values)
        train.run(config)
    capsys.readouterr()
