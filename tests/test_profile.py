"""The counters against sums done by hand."""

import pytest
import torch
from torch import nn

from maskfr_utils import profile
from maskfr_utils.models import create_model
from maskfr_utils.models.blocks import IBT, MHSA
from maskfr_utils.profile import count_macs, count_parameters, latency, signal_by_depth


def test_convolution_and_linear():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8 * 16, 5)
    )
    model[1].weight.requires_grad_(False)
    assert count_parameters(model) == 3 * 8 * 9 + 8 + 16 + 8 * 16 * 5 + 5
    assert count_macs(model, image_size=8) == 3 * 8 * 9 * 16 + 8 * 16 * 5


def test_depthwise_convolution():
    assert count_macs(nn.Conv2d(3, 3, 3, padding=1, groups=3), image_size=8) == 3 * 9 * 64


def test_attention_counts_both_products():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(3, 16, 1)
            self.mhsa = MHSA(16, 4)

        def forward(self, x):
            return self.mhsa(self.stem(x))

    positions = 4 * 4
    macs = positions * (3 * 16 + 3 * 16 * 16) + 2 * positions**2 * 16
    assert count_macs(Net(), image_size=4) == macs


def test_counting_leaves_the_model_as_it_was():
    model = nn.Sequential(nn.Conv2d(3, 8, 1), IBT(8, 8, 4))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    count_macs(model, image_size=4)
    assert model.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert not any("forward" in vars(module) for module in model.modules())


def test_counting_that_fails_leaves_the_model_as_it_was_too():
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.Linear(5, 1))
    with pytest.raises(RuntimeError, match="shapes"):
        count_macs(model, image_size=4)
    assert model.training and not any("forward" in vars(module) for module in model.modules())


def test_needs_no_memory_on_the_meta_device():
    with torch.device("meta"):
        model = nn.Sequential(nn.Conv2d(3, 100_000, 1), nn.Conv2d(100_000, 100_000, 1))
    assert count_parameters(model) == pytest.approx(1e10, rel=1e-3)
    assert count_macs(model, image_size=2) == 4 * (300_000 + 100_000**2)


def test_latency_is_the_time_of_each_and_they_take_turns(monkeypatch):
    calls, now = [], [0.0]
    monkeypatch.setattr(profile.time, "perf_counter", lambda: now[0])

    def run(name, seconds):
        calls.append(name)
        now[0] += seconds

    seconds = latency({"slow": lambda: run("slow", 0.25), "quick": lambda: run("quick", 0.125)}, repeats=3)
    assert calls == ["slow", "quick"] * 4
    assert seconds == {"slow": 0.25, "quick": 0.125}


def test_signal_by_depth_measures_each_block_and_changes_nothing():
    torch.manual_seed(0)
    model = create_model("iresnet50", width=0.125, embedding_dim=8, image_size=32)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    outputs = []
    for block in model.layer1:
        block.register_forward_hook(lambda m, x, out: outputs.append(out.std().item()))
    deviations, gradients = signal_by_depth(model, torch.randn(4, 3, 32, 32))
    assert deviations[:3] == outputs and len(deviations) == len(gradients) == 24
    assert all(gradient > 0 for gradient in gradients)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
