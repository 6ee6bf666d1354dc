import inspect
import json
import math
import os
import platform
import re
import subprocess
import sys
import weakref

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from small_runs import same, small

from maskfr_utils import batches, compiling, devices, evaluation, loop, prepare, train
from maskfr_utils.config import ConfigError
from maskfr_utils.measure import kills
from maskfr_utils.models.weights import read_metadata
from maskfr_utils.names import LOSSES
from maskfr_utils.progress import WARMUP_STEPS, Speed
from maskfr_utils.records import read_record
from maskfr_utils.store import FACE_BYTES, TEST, TRAIN, VALIDATION, FaceStore

pytestmark = pytest.mark.usefixtures("shallow")


@pytest.fixture(scope="module")
def store():
    return FaceStore(prepare.prepare(**small("x").data(), progress=False))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run that nothing stopped, and its folder."""
    folder = tmp_path_factory.mktemp("whole")
    return train.run(small(folder, augment=0.5, dropout=0.2, fresh_masks=True)), folder


def test_record(finished):
    record, folder = finished
    assert read_record(folder / "record.json") == record
    for condition in ("masked", "unmasked"):
        scores = record["metrics"][condition]
        assert 0 <= scores["accuracy_low"] <= scores["accuracy"] <= scores["accuracy_high"] <= 1
    assert record["params"]["model"] == "iresnet50"
    assert [h["epoch"] for h in record["history"]] == [1, 2, 3]
    assert "masked" in record["history"][1] and "masked" not in record["history"][0]
    assert record["throughput"]["train_images_per_second"] > 0
    assert record["provenance"]["data"] and record["provenance"]["versions"]["torch"] == torch.__version__.split("+")[0]
    names = {"record.json", "predictions.csv", "model.safetensors", "head.safetensors", "train.log", ".lock"}
    assert {f.name for f in folder.iterdir()} == names  # no checkpoint: the run is not unfinished


def test_only_weights_of_convolutions_linear_layers_and_classes_decay(tmp_path, store):
    trainer = loop.Trainer(small(tmp_path, model="ressanet50", weight_decay=0.25), store, Fabric(accelerator="cpu"))
    decaying, others = ([id(p) for p in group["params"]] for group in trainer.optimizer.param_groups)
    assert [group["weight_decay"] for group in trainer.optimizer.param_groups] == [0.25, 0.0]
    for name, parameter in trainer.recogniser.named_parameters():
        position = name.endswith((".rows", ".columns"))
        matrix = parameter.ndim > 1 and not position
        assert (id(parameter) in decaying) == matrix, name
        assert (id(parameter) in others) == (not matrix and parameter.requires_grad), name
    trainer = loop.Trainer(small(tmp_path / "all", decay="all", weight_decay=0.25), store, Fabric(accelerator="cpu"))
    (everything,) = trainer.optimizer.param_groups
    assert everything["weight_decay"] == 0.25


def test_a_trial_is_scored_on_validation_photos(tmp_path, store):
    trainer = loop.Trainer(small(tmp_path, scored_on="validation"), store, Fabric(accelerator="cpu"))
    assert trainer.scored == VALIDATION
    rank = trainer.evaluate(trainer.scored)[1]["masked_rank"]
    assert len(rank) == (store.split == VALIDATION).sum() > 0
    with pytest.raises(ConfigError, match="validation_fraction"):
        small(tmp_path, scored_on="validation", validation_fraction=0.0)


def test_another_seed_gives_another_network(tmp_path, store):
    trainers = [loop.Trainer(small(tmp_path, seed=s), store, Fabric(accelerator="cpu")) for s in (0, 0, 1)]
    states = [t.recogniser.state_dict() for t in trainers]
    assert same(states[0], states[1]) and not same(states[0], states[2])


def test_a_few_photos_can_be_learnt(tmp_path):
    config = small(
        tmp_path,
        model="ressanet50",
        epochs=8,
        warmup_epochs=0,
        margin_warmup_epochs=0,
        lr=0.02,
        margin=0.1,
        eval_every=0,
    )
    history = train.run(config)["history"]
    assert history[-1]["loss"] < 0.7 * history[0]["loss"]
    assert np.mean([h["train_accuracy"] for h in history[-3:]]) > 0.55  # chance is 0.33
    assert history[-1]["learning_rate"] < 0.1 * config.lr


def test_non_finite_loss_stops_with_step_rate_and_causes(tmp_path, store):
    trainer = loop.Trainer(
        small(tmp_path, lr=1e12, warmup_epochs=0, eval_every=0, epochs=9), store, Fabric(accelerator="cpu")
    )
    with pytest.raises(
        loop.TrainingError, match=r"loss is (nan|inf) at step \d+, learning rate \d.*e\+1.*warmup_epochs"
    ):
        trainer.fit()


def test_non_finite_loss_is_reported_at_its_own_step(tmp_path, store, monkeypatch):
    """The loss is looked at every tenth step, and the step that is named is the first bad one all the same."""
    config = small(tmp_path, lr=0.05, epochs=9, eval_every=0, schedule="constant", warmup_epochs=0)
    trainer = loop.Trainer(config, store, Fabric(accelerator="cpu"))
    forward = trainer.recogniser.head.forward
    steps = iter(range(1, 100))
    monkeypatch.setattr(
        trainer.recogniser.head, "forward", lambda *x: forward(*x) * (1 if next(steps) < 4 else math.nan)
    )
    with pytest.raises(loop.TrainingError, match=r"loss is nan at step 4, learning rate 0\.05"):
        trainer.fit()


@pytest.mark.parametrize(
    ("loss", "scale", "margin"), [("arcface", 64, 0.5), ("cosface", 64, 0.35), ("sphereface", None, 4)]
)
def test_null_takes_scale_and_margin_of_the_losses_paper(tmp_path, store, loss, scale, margin):
    trainer = loop.Trainer(small(tmp_path, loss=loss, scale=None, margin=None), store, Fabric(accelerator="cpu"))
    assert (trainer.recogniser.head.scale, trainer.recogniser.head.margin) == (scale, margin)


def test_straight_through_can_be_chosen(tmp_path, store):
    trainer = loop.Trainer(small(tmp_path, loss="arcface_straight_through"), store, Fabric(accelerator="cpu"))
    assert trainer.recogniser.head.straight_through


def test_head_tells_what_it_is(finished):
    record, folder = finished
    header = json.loads(read_metadata((folder / "head.safetensors").read_bytes())["maskfr"])
    assert header["loss"] == "arcface" and header["scale"] == record["params"]["scale"]
    assert len(header["classes"]) == record["provenance"]["identities"]


def fake_compile(monkeypatch, trainer, call):
    """Lets the compiler make `call`, a function of images, of the network."""
    monkeypatch.setattr(torch, "compile", lambda function: call)
    return trainer.recogniser.backbone


def test_failed_compilation_falls_back(tmp_path, store, monkeypatch, capsys):
    trainer = loop.Trainer(small(tmp_path, compile=True, max_steps=2, eval_every=0), store, Fabric(accelerator="cpu"))
    before = {k: v.clone() for k, v in trainer.recogniser.state_dict().items()}

    def broken(*_, **__):
        raise RuntimeError("no C++ compiler")

    fake_compile(monkeypatch, trainer, broken)
    trainer.compile()
    assert "goes on without" in capsys.readouterr().out
    assert same(before, trainer.recogniser.state_dict())
    trainer.fit()
    assert trainer.step == 2


@pytest.mark.parametrize(
    ("seconds", "verdict"), [((2.0, 1.0), "0.50 of the time of eager ones: kept"), ((1.0, 1.5), "1.50.*dropped")]
)
def test_auto_keeps_what_is_faster_and_resumes_with_it(tmp_path, store, monkeypatch, capsys, seconds, verdict):
    config = small(tmp_path, compile="auto", epochs=100_000)
    trainer = loop.Trainer(config, store, Fabric(accelerator="cpu"))
    backbone = fake_compile(monkeypatch, trainer, lambda images: backbone(images))
    monkeypatch.setattr(compiling, "latency", lambda runs, repeats: dict(zip(runs, seconds, strict=True)))
    trainer.compile()
    kept = "kept" in verdict
    assert re.search(verdict, capsys.readouterr().out)
    assert (trainer.recogniser.compiled is not None) == kept
    trainer.save_checkpoint()
    assert loop.Trainer(config, store, Fabric(accelerator="cpu")).compiles == kept


def test_trial_of_compiling_leaves_no_trace(tmp_path, store, monkeypatch):
    """Weights after a few steps are those without it; the compiled network is asked in training alone."""
    monkeypatch.setitem(compiling.COMPILE_FROM, "cpu", 0)
    states, calls = [], []

    def run_each(runs, repeats):
        for run in runs.values():
            run()
        return {"eager": 2.0, "compiled": 1.0}

    for compile in (False, "auto"):
        config = small(tmp_path, compile=compile, accumulate=2, dropout=0.5, max_steps=2, eval_every=0, resume=False)
        trainer = loop.Trainer(config, store, Fabric(accelerator="cpu"))
        backbone = trainer.recogniser.backbone

        def compiled(images, backbone=backbone):
            calls.append((len(images), backbone.training))
            return backbone(images)

        fake_compile(monkeypatch, trainer, compiled)
        monkeypatch.setattr(compiling, "latency", run_each)
        trainer.fit()
        trainer.evaluate()
        states.append(trainer.recogniser.state_dict())
    assert same(*states)
    assert calls == [(4, True)] * 6  # to compile, to time, two steps of two parts each


def test_kept_memory_is_not_fetched_anew():
    """The tensors of a later step lie where those of the first were: the kernel hands out few new pages."""
    pytest.importorskip("resource")
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("another allocator")
    # The function alone: its module would load Fabric as well.
    code = f"import contextlib, ctypes, resource, torch\n{inspect.getsource(devices.keep_memory)}"
    code += """
def share_of_later_faults():
    faults = []
    for _ in range(4):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        tensors = [torch.ones(n) for n in range(100_000, 1_600_000, 100_000)]
        tensors.clear()
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return faults[-1] / faults[0]

ctypes.CDLL(None).mallopt(-3, 4096)  # M_MMAP_THRESHOLD: all is given back, until the call
print(share_of_later_faults())
keep_memory()
print(share_of_later_faults())
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    given_back, kept = map(float, said.split())
    assert kept < 0.3 < given_back


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_trains(tmp_path, store, name):
    config = small(tmp_path, loss=name, margin=1.35 if name == "sphereface" else 0.3, max_steps=1, eval_every=0)
    trainer = loop.Trainer(config, store, Fabric(accelerator="cpu"))
    before = trainer.recogniser.head.weight.clone()
    trainer.fit()
    assert not torch.equal(before, trainer.recogniser.head.weight)


@pytest.mark.slow
def test_a_second_run_compiles_nothing(tmp_path):
    """Of networks alike, each in a process of its own as runs are: what the first has left is all that the second needs."""
    env = {k: v for k, v in os.environ.items() if k != "TORCHINDUCTOR_CACHE_DIR"}
    env["MASKFR_CACHE"], left = str(tmp_path / "cache"), []
    for seed in (0, 1):
        values = kills.RUN | {
            "compile": True,
            "max_steps": 2,
            "eval_every": 0,
            "seed": seed,
            "out_dir": tmp_path / f"{seed}",
        }
        command = [sys.executable, "-m", "maskfr_utils.train", *kills.arguments(values)]
        said = subprocess.run(command, env=env, check=True, capture_output=True, text=True)
        assert "compiling failed" not in said.stdout
        left.append({path.name for path in (tmp_path / "cache" / "compiled").rglob("*.so")})
    assert left[0] and left[0] == left[1]


def test_auto_compiles_long_runs_only(tmp_path, store):
    assert not loop.Trainer(small(tmp_path, compile="auto"), store, Fabric(accelerator="cpu")).compiles
    assert loop.Trainer(small(tmp_path, compile="auto", epochs=100_000), store, Fabric(accelerator="cpu")).compiles


def test_rate_and_margin_share(tmp_path, store):
    trainer = loop.Trainer(
        small(tmp_path, lr=0.05, epochs=10, warmup_epochs=2, margin_warmup_epochs=4), store, Fabric(accelerator="cpu")
    )
    per_epoch, rates, shares = len(trainer.batches), [], []
    for step in range(trainer.total_steps):
        trainer.step = step
        rate, share = trainer.rate_and_margin_share()
        rates.append(rate)
        shares.append(share)
    assert max(rates) == pytest.approx(0.05) and np.argmax(rates) in (2 * per_epoch - 1, 2 * per_epoch)
    assert rates[-1] < 0.01 * 0.05
    assert shares[0] == 0 and shares[2 * per_epoch] == 0.5 and shares[4 * per_epoch] == max(shares) == 1
    constant = loop.Trainer(
        small(tmp_path, lr=0.05, schedule="constant", warmup_epochs=0, margin_warmup_epochs=0),
        store,
        Fabric(accelerator="cpu"),
    )
    assert constant.rate_and_margin_share() == (0.05, 1)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"margin_warmup_epochs": 0.5}, []),
        ({"batch_size": 10_000, "margin_warmup_epochs": 0}, ["batch_size=10000 is more than all training photos"]),
        ({"batch_size": 11, "condition": "twins", "margin_warmup_epochs": 0}, []),  # five pairs
        ({"epochs": 2, "margin_warmup_epochs": 8}, ["the margin grows for 8 epochs, and the run ends at 25% of it"]),
        ({"epochs": 2, "margin_warmup_epochs": 8, "loss": "softmax"}, []),
    ],
)
def test_tells_what_it_does_otherwise_than_asked(tmp_path, store, change, told):
    caveats = list(loop.Trainer(small(tmp_path, **change), store, Fabric(accelerator="cpu")).caveats())
    assert len(caveats) == len(told) and all(map(str.startswith, caveats, told)), caveats


def test_epoch_is_shared_out_whole_and_in_a_new_order():
    indices = np.arange(100, 203)
    ranks = [batches.EpochBatches(indices, 20, seed=3, rank=r, world=4) for r in range(4)]
    seen = [i for rank in ranks for batch in rank for i in batch]
    assert len(seen) == len(set(seen)) == 100 and set(seen) <= set(indices.tolist())
    assert all(len(batch) == 5 for rank in ranks for batch in rank)
    before = list(ranks[0])
    ranks[0].epoch = 1
    assert list(ranks[0]) != before


def test_condition_picks_the_twin(store):
    picked = store.indices(TRAIN)[:16]
    originals, twins = store.batch(picked)[0], store.batch(picked, masked=True)[0]

    def images(**more):
        return batches.TwinDataset(store, small("x", **more))[picked.tolist()][0].numpy()

    assert np.array_equal(images(condition="unmasked"), originals)
    assert np.array_equal(images(condition="masked"), twins)
    both = images(condition="both")
    from_originals = (both == originals).all((1, 2, 3))
    assert 0 < from_originals.sum() < 16
    assert np.array_equal(both[~from_originals], twins[~from_originals])
    fresh = images(condition="masked", fresh_masks=True)
    assert not (fresh == twins).all((1, 2, 3)).any() and not (fresh == originals).all((1, 2, 3)).any()


@pytest.mark.parametrize("condition", ["masked", "unmasked", "both", "twins"])
def test_faces_that_the_device_keeps_are_those_that_would_be_read(tmp_path, store, monkeypatch, condition):
    found = []
    for kept in (False, True):
        monkeypatch.setattr(loop, "fits_on_device", lambda *_, kept=kept: kept)
        run = loop.Trainer(
            small(tmp_path / str(kept), condition=condition), store, Fabric(accelerator="cpu", devices=1)
        )
        found.append([*run.feed()])
        assert (run.resident is None) != kept
    assert len(found[0]) == len(found[1]) > 1
    for (faces, labels), (others, theirs) in zip(*found, strict=True):
        assert torch.equal(faces, others) and torch.equal(labels, theirs)


def test_a_gpu_keeps_the_faces_that_take_a_quarter_of_its_memory(tmp_path, store, monkeypatch):
    gpu, photos = torch.device("cuda"), len(store.indices(TRAIN))
    monkeypatch.setattr(batches, "free_memory", lambda device: 4 * photos * FACE_BYTES)
    assert batches.fits_on_device(store, small(tmp_path, condition="masked"), gpu)
    assert not batches.fits_on_device(store, small(tmp_path, condition="both"), gpu)  # two of each photo
    assert not batches.fits_on_device(store, small(tmp_path, condition="masked", fresh_masks=True), gpu)
    assert not batches.fits_on_device(store, small(tmp_path, condition="upper"), gpu)
    assert not batches.fits_on_device(store, small(tmp_path, condition="masked"), torch.device("cpu"))


def test_no_test_photo_is_ever_drawn(tmp_path, store):
    trainer = loop.Trainer(small(tmp_path), store, Fabric(accelerator="cpu"))
    drawn = set()
    for epoch in range(5):
        trainer.batches.epoch = epoch
        drawn |= {i for batch in trainer.batches for i in batch}
    assert drawn and (store.split[sorted(drawn)] == 0).all()


def test_evaluation_is_in_eval_mode_and_leaves_the_network_alone(tmp_path, store):
    trainer = loop.Trainer(small(tmp_path, dropout=0.5), store, Fabric(accelerator="cpu"))
    before = {k: v.clone() for k, v in trainer.recogniser.state_dict().items()}
    one, two = trainer.evaluate()[1], trainer.evaluate()[1]
    assert np.array_equal(one["masked"], two["masked"])
    assert same(before, trainer.recogniser.state_dict())
    faces = store.batch(np.arange(4))[0]
    labels = store.labels[store.indices(TEST)]
    assert np.array_equal(one["masked_rank"] == 1, one["masked"] == labels)
    logits = trainer.predict(store.batch(store.indices(TEST), masked=True)[0])
    by_sorting = 1 + (np.argsort(-logits, axis=1) == labels[:, None]).argmax(1)
    assert np.array_equal(one["masked_rank"], by_sorting)
    alone = np.concatenate([trainer.predict(faces[i : i + 1]) for i in range(4)])
    np.testing.assert_allclose(alone, trainer.predict(faces), atol=1e-3)  # not dependent on who else is in the batch


def test_logits_are_not_kept(store):
    """Those of all photos, of many thousand people, would fill the memory after a training."""
    given, photos = [], np.resize(store.indices(TRAIN), 400)

    class Repeated:
        indices, labels = (lambda self, part: photos), store.labels
        batch, identities = store.batch, store.identities

    def predict(faces):
        assert not any(ref() is not None for ref in given[:-1])
        found = np.zeros((len(faces), len(store.identities)))
        given.append(weakref.ref(found))
        return found

    _, results = evaluation.score(predict, Repeated(), TEST)
    assert len(given) >= 6 and results["masked"].shape == (400,) and set(results["unmasked_rank"]) == {1, 2}


def test_masked_and_unmasked_results_are_of_the_same_photos_with_a_mask_and_without(store):
    """Where both lists of names are equal, the network is sure of them; it was not shown one twin twice."""
    given = []

    def predict(faces):
        given.append(faces)
        return np.zeros((len(faces), len(store.identities)))

    evaluation.score(predict, store, TEST)
    masked, unmasked = given
    bare, _ = store.batch(store.indices(TEST))
    assert np.array_equal(unmasked, bare)
    assert all((one != other).any(-1).mean() > 0.1 for one, other in zip(masked, bare, strict=True))


def test_flip_test_does_not_tell_a_face_from_its_mirror(tmp_path, store):
    trainer = loop.Trainer(small(tmp_path, flip_test=True), store, Fabric(accelerator="cpu"))
    faces = store.batch(store.indices(TEST))[0]
    np.testing.assert_allclose(
        trainer.predict(faces), trainer.predict(np.ascontiguousarray(faces[:, :, ::-1])), atol=1e-3
    )


def test_the_rate_is_that_of_steps_alone_in_the_steady_state(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("maskfr_utils.progress.time.perf_counter", lambda: now[0])
    speed = Speed()
    for step in range(WARMUP_STEPS + 4):
        now[0] += 100 if step < WARMUP_STEPS else 2  # what compiles, and what trains
        speed.tick(8)
        if step == WARMUP_STEPS + 1:
            now[0] += 50  # a test, a checkpoint
            speed.skip()
    assert (speed.images, speed.seconds, speed.images_per_second) == (32, 8, 4)
