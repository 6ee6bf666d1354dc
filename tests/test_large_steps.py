"""What makes large steps fit: batches in parts, activations computed twice, identities drawn; in whole runs and in their steps."""

import pytest
import torch
from lightning_fabric import Fabric
from small_runs import same, small, tiny, weights
from torch import nn

from maskfr_utils import memory, prepare
from maskfr_utils.config import ConfigError
from maskfr_utils.loop import Trainer
from maskfr_utils.run_state import TrainingError
from maskfr_utils.store import FaceStore
from maskfr_utils.train import run as train

pytestmark = pytest.mark.usefixtures("shallow")


@pytest.fixture(scope="module")
def trainer(tmp_path_factory):
    def make(**more):
        config = small(tmp_path_factory.mktemp("run"), **{"batch_size": 12, "resume": False} | more)
        fabric = Fabric(accelerator="cpu", devices=1, precision="32-true")
        return Trainer(config, FaceStore(prepare.prepare(**config.data(), progress=False)), fabric)

    return make


def gradients(run, images, labels):
    """Of a step; BatchNorms go by their running statistics, so that a picture's gradient does not hang on the others'."""
    run.model.train()
    for module in run.recogniser.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
    loss, hits = run.backward(images, labels)
    return loss, hits, {name: p.grad for name, p in run.recogniser.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(("condition", "parts"), [("both", 5), ("twins", 3)])
def test_parts_add_up_to_the_batch(trainer, condition, parts):
    more = {"condition": condition, "twin_weight": 0.5} if condition == "twins" else {"condition": condition}
    images = torch.rand(12, 3, 112, 112, generator=torch.Generator().manual_seed(0)) * 2 - 1
    labels = torch.tensor([0, 1, 2, 2, 1, 0] * 2)
    loss, hits, whole = gradients(trainer(**more), images, labels)
    again, hits_again, added = gradients(trainer(accumulate=parts, **more), images, labels)
    torch.testing.assert_close(again, loss, rtol=1e-5, atol=1e-6)
    assert hits == hits_again and whole.keys() == added.keys()
    for name, gradient in whole.items():
        assert (added[name] - gradient).norm() <= 1e-4 * gradient.norm() + 1e-7, name


def test_runs_that_keep_less_end_the_same(tmp_path):
    record = train(tiny(tmp_path / "a", recompute=False))
    again = train(tiny(tmp_path / "b", recompute=True))
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert record["metrics"] == again["metrics"]
    assert "recompute" not in record["params"]


def test_recomputing_begins_where_memory_is_short(trainer, monkeypatch):
    monkeypatch.setattr(memory, "LEAST", 0)
    assert not trainer(recompute="auto").recomputes
    monkeypatch.setattr(memory, "free_memory", lambda _: 2**20)
    assert trainer(recompute="auto").recomputes and not trainer(recompute=False).recomputes


def test_a_run_that_draws_identities_learns(tmp_path):
    record = train(small(tmp_path, class_rate=0.5, epochs=6, identities=4))
    assert set(weights(tmp_path)) >= {"weight"}
    losses = [epoch["loss"] for epoch in record["history"]]
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"accumulate": 7}, "accumulate=7 parts of batch_size=12"),
        ({"class_rate": 0.5, "loss": "magface"}, "class_rate=0.5 needs a loss of"),
        ({"recompute": "perhaps"}, "recompute must be true, false or auto"),
        ({"class_rate": 0.0}, "out of range"),
    ],
)
def test_what_no_run_can_have(tmp_path, more, said):
    with pytest.raises(ConfigError, match=said):
        small(tmp_path, batch_size=12, **more)


def test_parts_too_small_for_the_photos(trainer):
    with pytest.raises(TrainingError, match="at least 2 each"):
        trainer(batch_size=64, accumulate=20)
