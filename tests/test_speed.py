"""What the measurements measure; how fast this machine is, is not tested."""

import json

import pytest
import torch
from small_runs import PLAN
from torch import nn

from maskfr_utils import paths
from maskfr_utils.measure import speed, steps
from maskfr_utils.models import create_model
from maskfr_utils.names import NETWORKS, REPORTED

pytestmark = pytest.mark.usefixtures("shallow")


@pytest.fixture(scope="module")
def record():
    return speed.measure(PLAN)


def test_record_holds_a_value_a_round(record):
    assert json.loads(json.dumps(record)) is not None
    assert {len(values) for values in record["training"]["seconds"].values()} == {2}
    assert record["training"]["seconds"].keys() == {"plain fp32 loop", "bare step, eager", "our loop, eager"}
    assert all(value > 0 for values in record["training"]["seconds"].values() for value in values)
    assert 0 < record["training"]["convolutions"]["eager"] < 1
    assert record["inference"].keys() == {"1", "2", "onnx difference"}
    assert {"device", "date", "threads", "versions", "load_before"} <= record["provenance"].keys()


def test_exported_networks_at_full_size_agree_with_torch():
    """The committed record's comparison; `test_onnx` makes it anew on shallow networks."""
    made = json.loads((paths.results_dir() / "speed" / "cpu.json").read_text(encoding="utf-8"))
    assert made["plan"]["width"] == 1 and made["inference"]["onnx difference"].keys() == set(REPORTED)
    assert max(made["inference"]["onnx difference"].values()) < 1e-4


def test_multiply_adds_are_those_of_the_measured_width(record, shallow, monkeypatch):
    assert record["macs"]["iresnet50"] == steps.macs("iresnet50", PLAN.width) < 6.309e9 / 20
    monkeypatch.setitem(NETWORKS, "iresnet50", shallow["iresnet50"])
    assert round(steps.macs("iresnet50", 1.0) / 1e9, 3) == 6.309


def test_shares_make_a_whole(record):
    shares = record["shares"]["iresnet50"]
    assert shares.keys() == steps.KINDS.keys() and sum(shares.values()) == pytest.approx(1)
    assert min(shares["convolutions"], shares["batch norm"], shares["element by element"]) > 0


def test_a_matrix_product_counts_as_one():
    a = torch.randn(600, 600)
    assert steps.where_time_goes(lambda: a @ a)["linear, attention"] > 0.8


def test_rates_are_multiply_adds_a_second(monkeypatch):
    monkeypatch.setattr(steps, "timings", lambda runs, repeats: {name: [0.5] * repeats for name in runs})
    assert steps.matrix_rates("bf16", 1, size=10) == {"fp32": [2000.0] * 3, "bf16": [2000.0] * 3}


def test_plain_network_is_the_same_function_with_torchs_prelu():
    torch.manual_seed(0)
    plain = steps.plain_network("iresnet50", width=0.1)
    kinds = {type(module) for module in plain.modules() if isinstance(module, nn.PReLU)}
    assert kinds == {nn.PReLU}
    ours = create_model("iresnet50", width=0.1)
    ours.load_state_dict(plain.state_dict())
    images = torch.randn(4, 3, 112, 112)
    torch.testing.assert_close(ours(images), plain(images), rtol=1e-4, atol=1e-4)


def test_a_bare_step_trains():
    network = create_model("iresnet50", width=0.1)
    before = network.conv1.weight.clone()
    steps.training_step(network, *steps.pictures(2))()
    assert not torch.equal(before, network.conv1.weight)


def test_ratio_is_taken_round_by_round():
    assert speed.ratio([2.0, 30.0, 6.0], [1.0, 10.0, 1.5]) == (3.0, 2.0, 4.0)


def test_gpu_part_in_small():
    seconds = speed.cuda(PLAN, "bf16", device="cpu")
    assert seconds["2"].keys() == {"iresnet50, plain loop with AMP", "iresnet50, ours"}


def test_peer_is_a_file_with_a_function(tmp_path, capsys):
    (tmp_path / "net.py").write_text("from torch import nn\ndef iresnet50():\n    return nn.Identity()\n")
    assert isinstance(steps.load_peer(tmp_path / "net.py"), nn.Identity)
    assert speed.main(["--out", str(tmp_path / "x.json"), "--plan", "smoke", "--peer", str(tmp_path / "no.py")]) == 1
    assert "no.py" in capsys.readouterr().err and not (tmp_path / "x.json").exists()
