"""Recomputed activations give the same numbers and keep less; what is predicted is what is kept."""

import copy
from itertools import count

import pytest
import torch
from shallow import shallow
from torch.autograd.graph import saved_tensors_hooks

from maskfr_utils import memory
from maskfr_utils.measure import memory as measured
from maskfr_utils.models import create_model
from maskfr_utils.names import NETWORKS
from maskfr_utils.records import read_json


def step(model, images):
    torch.manual_seed(1)  # dropout
    model.zero_grad()
    model(images).square().sum().backward()
    return [p.grad for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("name", ["iresnet50", "ressanet50", "resnet50"])
def test_recomputed_is_the_same_to_the_bit(name, monkeypatch):
    monkeypatch.setitem(NETWORKS, name, shallow(name))
    torch.manual_seed(0)
    plain = create_model(name, width=0.25, embedding_dim=16, dropout=0.2).train()
    twice = copy.deepcopy(plain)
    memory.recompute(twice)
    memory.recompute(twice)  # once is enough
    images = torch.rand(2, 3, 112, 112) * 2 - 1
    for _ in range(2):
        assert all(map(torch.equal, step(plain, images), step(twice, images)))
    one, other = plain.state_dict(), twice.state_dict()
    assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)  # statistics too
    assert torch.equal(plain.eval()(images), twice.eval()(images))


def kept(model, images) -> int:
    """Bytes of distinct storages that autograd keeps in a real step, without those of the model."""
    own = {t.data_ptr() for t in (*model.parameters(), *model.buffers())}
    found = {}

    def keep(tensor):
        if tensor.data_ptr() not in own:
            found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        model(images)
    return sum(storage.nbytes() for storage in found.values())


@pytest.mark.parametrize("name", ["iresnet50", "ressanet50"])
def test_what_is_predicted_is_what_is_kept(name):
    model = create_model(name, width=0.25, embedding_dim=16).train()
    told = memory.footprint(model, 2)
    assert told.activations == pytest.approx(kept(model, torch.zeros(2, 3, 112, 112)), rel=0.05)
    assert told.weights == 12 * sum(p.numel() for p in model.parameters())
    assert told.recomputed < 0.5 * told.activations
    assert told.activations > memory.footprint(model, 2, device="cuda").activations
    assert memory.footprint(model, 4).activations == pytest.approx(2 * told.activations, rel=0.02)


def test_the_activations_of_the_largest_network_would_fit_where_its_blocks_are_recomputed():
    with torch.device("meta"):
        model = create_model("ressanet100")
    told = memory.footprint(model, 512)
    assert told.peak(recompute=True) < 16 * 2**30 < told.peak(recompute=False)


def test_some_memory_is_free():
    assert 2**20 < memory.free_memory(torch.device("cpu")) < 2**50


def test_a_step_is_measured_in_each_precision_or_left_out_where_it_does_not_fit(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(measured, "in_fresh_process", lambda work, *given: work(*given))
    monkeypatch.setattr(measured, "free_memory", lambda device: 2**30)
    monkeypatch.setattr(measured, "NETWORKS", ("iresnet50",))
    monkeypatch.setattr(measured, "PREDICTED", (2,))
    monkeypatch.setitem(NETWORKS, "iresnet50", shallow("iresnet50"))
    peaks = count(step=1000)
    monkeypatch.setattr(measured, "peak", lambda: next(peaks))
    cases = [("iresnet50", 2, "fp32"), ("iresnet50", 2, "bf16"), ("iresnet50", 512, "fp32")]
    measured.measure(tmp_path / "memory.json", cases, width=0.1)
    found = read_json(tmp_path / "memory.json")
    assert [(row["batch"], row["device"]) for row in found["predicted"]] == [(2, "cpu"), (2, "cuda")]
    rows = found["measured"]
    assert [(row["precision"], row["recomputed"]) for row in rows] == [(p, r) for p in ("fp32", "bf16") for r in (0, 1)]
    assert all(row["bytes"] == 1000 for row in rows)
    single, half = (row["predicted"] for row in rows[::2])
    weights = memory.footprint(create_model("iresnet50", width=0.1), 2).weights
    assert half - weights == pytest.approx((single - weights) / 2, abs=1)
    assert "iresnet50, batch 512, fp32: left out, it needs" in capsys.readouterr().out


def test_a_container_has_what_its_limit_leaves(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "GROUP", tmp_path)
    cpu = torch.device("cpu")
    free = memory.free_memory(cpu)
    (tmp_path / "memory.current").write_text("5000000\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 1000000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.free_memory(cpu) == pytest.approx(free, rel=0.1)
    (tmp_path / "memory.max").write_text("9000000\n")
    assert memory.free_memory(cpu) == 5_000_000
    (tmp_path / "memory.max").write_text("3000000\n")
    assert memory.free_memory(cpu) == 0
