"""Runs that start from a trained network: what they take over, what rests, and what they refuse before any work."""

import os
import shutil
import signal

import pytest
import torch
from safetensors.torch import load_file
from small_runs import same, tiny, weights

from maskfr_utils import loop, prepare, train
from maskfr_utils.config import ConfigError
from maskfr_utils.models import create_model, given, save_model
from maskfr_utils.recogniser import Recogniser
from maskfr_utils.records import read_record
from maskfr_utils.run_state import TrainingError
from maskfr_utils.stopping import Stopped

pytestmark = pytest.mark.usefixtures("shallow")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A network with other weights and statistics than a fresh one, as a file; and these."""
    torch.manual_seed(7)
    config = tiny("x")
    model = create_model(config.model, width=config.width, embedding_dim=config.embedding_dim)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor += 0.01 * torch.rand_like(tensor)
    path = tmp_path_factory.mktemp("trained") / "model.safetensors"
    save_model(path, model)
    return path, model


def backbone(folder):
    return load_file(folder / "model.safetensors")


def test_a_network_at_rest_stays_bit_for_bit_and_the_classes_learn(trained, tmp_path):
    path, model = trained
    run = tiny(tmp_path, weights=str(path), head_epochs=2, dropout=0.0, lr=0.5, epochs=2)
    record = train.run(run)
    assert same(backbone(tmp_path), model.state_dict())
    fresh = Recogniser(run, 3).head.state_dict()
    assert not same(load_file(tmp_path / "head.safetensors"), fresh)
    assert len(record["provenance"]["weights"]) == 32


def test_head_first_then_all(trained, tmp_path):
    path, model = trained
    train.run(tiny(tmp_path, weights=str(path.parent), head_epochs=1, lr=0.003))
    after, before = backbone(tmp_path), model.state_dict()
    parameters = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert all(not torch.equal(after[name], before[name]) for name in parameters)
    # Near where they came from: a fresh network's filters are uncorrelated with these.
    one, other = (state["layer1.0.conv1.weight"].flatten() for state in (after, before))
    assert torch.cosine_similarity(one, other, dim=0) > 0.9


def test_stopped_at_rest_and_resumed_ends_the_same(trained, tmp_path, monkeypatch):
    parameters = {"weights": str(trained[0]), "head_epochs": 1}
    train.run(tiny(tmp_path / "whole", **parameters))
    augment, steps = loop.augment, iter(range(1, 100))

    def acts(*args):
        if next(steps) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return augment(*args)

    monkeypatch.setattr(loop, "augment", acts)
    with pytest.raises(Stopped):
        train.run(tiny(tmp_path / "stopped", **parameters))
    monkeypatch.undo()
    train.run(tiny(tmp_path / "stopped", **parameters))
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "stopped"))
    assert read_record(tmp_path / "stopped" / "record.json")["params"]["head_epochs"] == 1


def test_a_run_does_not_go_on_from_another_network_in_the_same_file(trained, tmp_path, monkeypatch):
    path = shutil.copy(trained[0], tmp_path / "start.safetensors")
    run = tiny(tmp_path / "run", weights=str(path), epochs=1)
    augment, steps = loop.augment, iter(range(1, 100))
    monkeypatch.setattr(
        loop, "augment", lambda *args: (next(steps) == 2 and os.kill(os.getpid(), signal.SIGTERM)) or augment(*args)
    )
    with pytest.raises(Stopped):
        train.run(run)
    save_model(path, create_model(run.model, width=run.width, embedding_dim=run.embedding_dim))
    with pytest.raises(TrainingError, match="of another run .*the network that it began with is another"):
        train.run(run)
    shutil.copy(trained[0], path)
    record = train.run(run)
    assert train.run(run) == record
    save_model(path, create_model(run.model, width=run.width, embedding_dim=run.embedding_dim))
    with pytest.raises(ConfigError, match="of a finished run that began with another network"):
        train.run(run)


def test_a_network_for_faces_of_another_size_is_refused_and_the_model_left(trained, tmp_path):
    config, path = trained[1].config, tmp_path / "other.safetensors"
    common = {"width": config["width"], "embedding_dim": config["embedding_dim"]}
    save_model(path, create_model(config["name"], image_size=96, **common))
    model = create_model(config["name"], **common)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ValueError, match="for faces of 96 pixels, not 112"):
        given.start_from(model, path)
    assert same(before, model.state_dict())


def test_weights_as_arcface_torch_saves_them(tmp_path):
    model = create_model("iresnet50", width=0.0625, embedding_dim=16)
    torch.save({f"module.{name}": tensor for name, tensor in model.state_dict().items()}, tmp_path / "backbone.pth")
    run = tiny(tmp_path, width=0.0625, weights=str(tmp_path / "backbone.pth"))
    assert same(Recogniser(run, 3).backbone.state_dict(), model.state_dict())


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"model": "ressanet50"}, "another network: set model=iresnet50"),
        ({"width": 0.25, "embedding_dim": 32}, r"set width=0\.05, embedding_dim=16"),
    ],
)
def test_another_network_is_refused_before_faces_are_prepared(trained, tmp_path, monkeypatch, values, said):
    monkeypatch.setattr(prepare, "prepare", lambda **_: pytest.fail("faces were prepared first"))
    with pytest.raises(ConfigError, match=said):
        train.run(tiny(tmp_path, weights=str(trained[0]), **values))
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


@pytest.mark.parametrize("content", [b"", b"\x80\x04pickle", b"PK\x03\x04 no zip", b"9" * 8 + b"{}"])
def test_a_file_that_is_no_network_is_refused_in_a_line(tmp_path, content):
    path = tmp_path / "w.pth"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=str(path)) as said:
        train.run(tiny(tmp_path / "run", weights=str(path)))
    assert "\n" not in str(said.value) and len(str(said.value)) <= 300


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"weights": "nowhere.pth"}, "no such file"),
        ({"head_epochs": 1}, "needs weights"),
        ({"weights": ".", "head_epochs": 3}, "more than epochs"),
    ],
)
def test_parameters_that_do_not_fit(values, said):
    with pytest.raises(ConfigError, match=said):
        tiny("x", **values)
