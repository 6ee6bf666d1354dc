import hashlib
import os
import pickle
import random

import pytest
import torch
from lightning_fabric import Fabric
from safetensors.torch import save
from small_runs import same, tiny

from maskfr_utils import checkpoints, loop, prepare, train
from maskfr_utils.checkpoints import MAGIC, Checkpoints, DamagedCheckpoint
from maskfr_utils.config import TrainConfig
from maskfr_utils.progress import Progress
from maskfr_utils.store import FaceStore

pytestmark = pytest.mark.usefixtures("shallow")


@pytest.fixture(scope="module")
def store(shallow):
    return FaceStore(prepare.prepare(**tiny("x").data(), progress=False))


def trainer(folder, store, **more):
    return loop.Trainer(tiny(folder, **more), store, Fabric(accelerator="cpu", devices=1))


@pytest.fixture(scope="module")
def midway(store, tmp_path_factory):
    """A run stopped within its first epoch: the folder, with checkpoints of steps 1 and 2."""
    folder = tmp_path_factory.mktemp("midway")
    run = trainer(folder, store)
    run.saved_at = 0.0  # as in `fit`
    steps = iter([0, 0])
    run.stop_if_asked = lambda stop: next(steps, None) is None and 1 / 0
    with pytest.raises(ZeroDivisionError):
        run.train_epoch(Progress("", 2, run.total_steps, 0, 4, quiet=True))
    assert run.step == 3
    return folder


@pytest.fixture
def folder(midway, tmp_path):
    for path in Checkpoints(midway).paths:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def flip(content, bit):
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_a_state_comes_back_as_it_was(tmp_path):
    path, state = (
        tmp_path / "x.ckpt",
        {"a": torch.randn(3, 2).t(), "b": {"c": [1, 2.5, None, "d"], "e": torch.arange(3)}},
    )
    path.write_bytes(b"".join(checkpoints.encode(state)))
    back = checkpoints.read(path)
    assert torch.equal(back["a"], state["a"]) and torch.equal(back["b"]["e"], state["b"]["e"])
    assert back["b"]["c"] == state["b"]["c"]


def test_two_are_kept(tmp_path):
    kept = Checkpoints(tmp_path)
    for number in range(4):
        kept.save({"number": number})
    assert [checkpoints.read(path)["number"] for path in kept.paths] == [3, 2]
    assert len(list(tmp_path.iterdir())) == 2
    kept.clear()
    assert not list(tmp_path.iterdir())


def test_no_flipped_bit_is_ever_believed(folder):
    """400 single bits anywhere, and each bit of the head."""
    path = Checkpoints(folder).newest
    content, draw = path.read_bytes(), random.Random(0)
    head = 8 * (len(MAGIC) + 32 + 8)
    for bit in [*range(0, head, 7), *(draw.randrange(8 * len(content)) for _ in range(400))]:
        path.write_bytes(flip(content, bit))
        with pytest.raises(DamagedCheckpoint, match=r"unfinished\.ckpt cannot be used: (its checksum|no checkpoint)"):
            checkpoints.read(path)


@pytest.mark.parametrize("damage", ["empty", "cut", "noise", "pickle", "flipped"])
def test_a_damaged_newest_is_said_and_the_one_before_is_used(folder, store, damage, capsys):
    kept = Checkpoints(folder)
    content = kept.newest.read_bytes()
    kept.newest.unlink()
    if damage == "pickle":
        torch.save({"params": Touch(folder / "owned"), "data": ""}, kept.newest)
    else:
        cut, noise = content[: len(content) // 2], b"\x80\x02x" * 99
        kept.newest.write_bytes({"empty": b"", "cut": cut, "noise": noise, "flipped": flip(content, 99_999)}[damage])
    run = trainer(folder, store)
    assert run.step == 2
    said = capsys.readouterr().out
    assert "unfinished.ckpt cannot be used" in said and "the one before it is used" in said
    assert kept.paths == [kept.before]
    assert not (folder / "owned").exists()


def test_two_damaged_ones_are_named(folder, store):
    for path in Checkpoints(folder).paths:
        path.write_bytes(b"")
    with pytest.raises(
        loop.TrainingError,
        match=r"unfinished\.ckpt cannot be used.*, nor can unfinished\.before\.ckpt.*resume to false",
    ):
        trainer(folder, store)
    assert trainer(folder, store, resume=False).step == 0


class Touch:
    """Unpickling it would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


BAD = [
    ("step", -1), ("step", 10**30), ("step", 2.0), ("step", True), ("step", None), ("step", "3"), ("step", 4),
    ("epoch", 1), ("epoch", None), ("history", None), ("history", [{}]), ("speed", [1]), ("speed", [1, "x"]),
    ("speed", [-1, 2]), ("compiled", "yes"), ("course", None), ("course", {}), ("course", []), ("precision", None),
    ("params", {"lr": torch.zeros(2)}), ("code", [torch.zeros(2)]), ("compiled", torch.zeros(2)), ("compiled", 1.0),
    ("seconds", -1.0), ("seconds", "3"), ("processes", torch.zeros(2)), ("data", torch.zeros(2)),
    ("recogniser", {}), ("recogniser", None), ("recogniser", []), ("optimizer", {}), ("optimizer", None),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), BAD, ids=[f"{name}={value}" for name, value in BAD])
def test_a_state_that_cannot_be_this_runs_is_refused(folder, store, name, value):
    """Written with a right checksum: whoever made it, it does not get in."""
    kept = Checkpoints(folder)
    state = checkpoints.read(kept.newest)
    for path in kept.paths:
        path.write_bytes(b"".join(checkpoints.encode(state | {name: value})))
    with pytest.raises(loop.TrainingError, match="cannot be used") as refused:
        trainer(folder, store)
    assert len(str(refused.value)) <= 300


@pytest.mark.parametrize(
    "part", ["shape", "type", "nan", "momentum", "missing", "course", "seen", "drawn", "generator"]
)
def test_tensors_that_cannot_be_this_runs_are_refused(folder, store, part):
    kept = Checkpoints(folder)
    state = checkpoints.read(kept.newest)
    first = next(iter(state["recogniser"]))
    tensor = state["recogniser"][first]
    if part == "shape":
        state["recogniser"][first] = tensor[None]
    elif part == "type":
        state["recogniser"][first] = tensor.double()
    elif part == "nan":
        state["recogniser"][first] = torch.full_like(tensor, torch.nan)
    elif part == "momentum":
        state["optimizer"][first]["momentum_buffer"] = tensor[None].clone()
    elif part == "missing":
        del state["recogniser"][first]
    elif part == "course":
        state["course"]["loss_sum"] = torch.full((1, 1), torch.inf)
    elif part == "seen":
        state["course"]["seen"] = torch.zeros(2)
    elif part == "drawn":  # as long as a state is, and none
        state["course"]["augmentation"] = torch.zeros_like(state["course"]["augmentation"])
    else:
        state["course"]["torch"] = torch.zeros(1, 3, dtype=torch.uint8)
    kept.newest.write_bytes(b"".join(checkpoints.encode(state)))
    assert trainer(folder, store).step == 2  # of the one before


def test_odd_contents_are_refused_without_a_traceback(tmp_path):
    path = tmp_path / "x.ckpt"
    deep = "[" * 100_000
    for body in (
        b"",
        b"\xff" * 8,
        pickle.dumps({}),
        save({}),
        *(save({}, {"maskfr": t}) for t in ("", "[]", deep, "NaN")),
    ):
        path.write_bytes(MAGIC + hashlib.sha256(body).digest() + body)
        with pytest.raises(DamagedCheckpoint):
            checkpoints.read(path)


def test_a_run_goes_on_with_other_loaders(folder, store):
    """A worker that the system has killed is no reason to begin anew."""
    before = trainer(folder, store)
    assert trainer(folder, store, workers=before.config.workers + 2).step == before.step > 0
    names = {TrainConfig(workers=workers).run_name for workers in (0, 4)}
    assert len(names) == 1 and TrainConfig(seed=1).run_name not in names


def test_checkpoint_of_another_run_is_refused(folder, store):
    with pytest.raises(loop.TrainingError, match=r"lr was 0\.0125, is 0\.1.*another out_dir"):
        trainer(folder, store, lr=0.1)
    assert trainer(folder, store, lr=0.1, resume=False).step == 0


def test_a_run_that_other_code_began_is_not_gone_on_with(tmp_path, store):
    fabric = Fabric(accelerator="cpu", devices=1)
    first = loop.Trainer(tiny(tmp_path), store, fabric, {"steps": {"loss": [1.0, 2.0]}})
    first.save_checkpoint()
    assert loop.Trainer(tiny(tmp_path), store, fabric, {"steps": {"loss": [1.0, 2.0001]}}).saved_step == 0
    with pytest.raises(loop.TrainingError, match="the code now computes other numbers for steps"):
        loop.Trainer(tiny(tmp_path), store, fabric, {"steps": {"loss": [1.0, 2.1]}})


@pytest.mark.parametrize(
    "code", [3, [1], {"batches": 3}, {"batches": {"x": 5}}, {"batches": {"x": ["y"]}}, {"batches": {"x": [10**400]}}]
)
def test_a_fingerprint_that_is_none_is_of_other_code(folder, store, code):
    kept = Checkpoints(folder)
    for path in kept.paths:
        path.write_bytes(b"".join(checkpoints.encode(checkpoints.read(path) | {"code": code})))
    with pytest.raises(loop.TrainingError, match="computes other numbers for batches"):
        loop.Trainer(tiny(folder), store, Fabric(accelerator="cpu"), {"batches": {"x": [1.0]}})


def test_what_a_killed_process_left_half_written_goes(folder, store):
    for name in (".tmp-abcd1234-model.safetensors", ".tmp-abcd1234-unfinished.ckpt"):
        (folder / name).write_bytes(b"x")
    trainer(folder, store).checkpoints.tidy()
    assert not list(folder.glob(".tmp-*")) and len(Checkpoints(folder).paths) == 2


def test_the_seconds_of_a_run_are_those_of_all_its_processes(folder, store):
    kept = Checkpoints(folder)
    kept.newest.write_bytes(b"".join(checkpoints.encode(checkpoints.read(kept.newest) | {"seconds": 5000.0})))
    record = train.run(tiny(folder))
    assert 5000 < record["provenance"]["seconds"] < 5600


def test_a_run_does_not_go_on_in_another_arithmetic(folder, store):
    kept = Checkpoints(folder)
    state = checkpoints.read(kept.newest)
    assert state["arithmetic"] == "32-true"
    kept.newest.write_bytes(b"".join(checkpoints.encode(state | {"arithmetic": "bf16-mixed"})))
    with pytest.raises(loop.TrainingError, match="it computed in 'bf16-mixed', and would go on in 32-true"):
        trainer(folder, store)
    del state["arithmetic"]  # of an earlier version
    kept.newest.write_bytes(b"".join(checkpoints.encode(state)))
    assert trainer(folder, store).step == state["step"]


def test_a_state_within_an_epoch_of_another_device_is_told_and_kept(folder, store):
    kept = Checkpoints(folder)
    state = checkpoints.read(kept.newest)
    state["course"]["cuda"] = torch.zeros(1, 16, dtype=torch.uint8)
    kept.newest.write_bytes(b"".join(checkpoints.encode(state)))
    before = {path: path.read_bytes() for path in folder.iterdir() if path.suffix == ".ckpt"}
    with pytest.raises(loop.TrainingError, match="needs the device that it began on: that was a GPU, this is none"):
        trainer(folder, store)
    assert {path: path.read_bytes() for path in before} == before


def test_a_run_that_begins_anew_leaves_no_state_of_the_one_before(folder, store):
    run = trainer(folder, store, resume=False)
    run.save_checkpoint()
    assert Checkpoints(folder).paths == [Checkpoints(folder).newest]
    assert trainer(folder, store).step == 0


def test_a_failed_save_keeps_the_last_checkpoints(folder, store, monkeypatch):
    kept = Checkpoints(folder)
    before = [path.read_bytes() for path in kept.paths]
    run = trainer(folder, store)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(loop.TrainingError, match="No space left on device.*checkpoint of step 3 is kept"):
        run.save_checkpoint()
    assert [path.read_bytes() for path in kept.paths] == before
    assert len(list(folder.iterdir())) == 2 + (folder / "train.log").exists()


def test_weights_that_are_not_finite_are_not_saved(folder, store):
    run = trainer(folder, store)
    before = Checkpoints(folder).newest.read_bytes()
    with torch.no_grad():
        run.recogniser.head.weight[0, 0] = torch.nan
    with pytest.raises(loop.TrainingError, match="no longer finite at step 3.*step 3 is kept"):
        run.save_checkpoint()
    assert Checkpoints(folder).newest.read_bytes() == before


def test_what_is_resumed_is_what_was_saved(folder, store):
    run = trainer(folder, store)
    state = checkpoints.read(Checkpoints(folder).newest)
    assert run.step == 3 and run.epoch == 0 and run.place == 3
    assert same(run.recogniser.state_dict(), state["recogniser"])
    moved, saved = (
        {name: buffer for name, values in each["optimizer"].items() for buffer in values.values()}
        for each in (run.state(), state)
    )
    assert moved.keys() == {name for name, p in run.recogniser.named_parameters() if p.requires_grad}
    assert same(moved, saved)


@pytest.mark.parametrize(
    ("other", "told"), [({"data": "x"}, "the faces are others"), ({"processes": 2}, "processes were 2")]
)
def test_a_run_on_other_faces_or_processes_is_not_gone_on_with(folder, store, other, told):
    for path in Checkpoints(folder).paths:
        path.write_bytes(b"".join(checkpoints.encode(checkpoints.read(path) | other)))
    with pytest.raises(loop.TrainingError, match=told):
        trainer(folder, store)


def test_checkpoints_come_every_so_many_minutes(tmp_path, store, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(loop.time, "monotonic", lambda: now[0])
    run = trainer(tmp_path, store, checkpoint_minutes=1)
    run.saved_at = 1000.0
    saved = []
    for now[0] in range(1000, 1140, 10):
        if run.agreed()[0]:
            run.save_checkpoint()
            saved.append(now[0])
    assert saved == [1060, 1120]
