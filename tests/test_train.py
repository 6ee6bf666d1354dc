import numpy as np
import pandas as pd
import pytest
import yaml

from maskfr_utils import models, rendered, train
from maskfr_utils.config import TrainConfig
from maskfr_utils.messages import cell
from maskfr_utils.paths import ROOT
from maskfr_utils.records import read_record
from maskfr_utils.store import FaceStore, FaceWriter

pytestmark = pytest.mark.usefixtures("shallow")

TINY = [
    "width",
    "0.25",
    "identities",
    "3",
    "per_identity",
    "8",
    "batch_size",
    "8",
    "max_steps",
    "2",
    "embedding_dim",
    "16",
]
TINY = [x for pair in zip(TINY[::2], TINY[1::2], strict=True) for x in ("-p", *pair)]


def test_command_leaves_a_record_that_its_predictions_back(tmp_path, capsys):
    assert train.main([*TINY, "-p", "model", "iresnet50", "-p", "out_dir", str(tmp_path)]) == 0
    assert "masked" in capsys.readouterr().out
    record = read_record(tmp_path / "record.json")
    table = pd.read_csv(tmp_path / "predictions.csv")
    for condition in ("masked", "unmasked"):
        assert record["metrics"][condition]["accuracy"] == pytest.approx((table[condition] == table["label"]).mean())
    model, header = models.load_model(tmp_path / "model.safetensors")
    assert header["name"] == "iresnet50" and len(header["classes"]) == 3
    assert sum(p.numel() for p in model.parameters()) > 0


def test_photos_without_landmarks_get_their_yaw_all_the_same(tmp_path):
    faces = rendered.render_faces(2, 4, seed=3)
    for name, points in (("known", faces.landmarks), ("unknown", None)):
        with FaceWriter(tmp_path / f"{name}.h5") as writer:
            writer.append(faces.images, faces.images, [str(label) for label in faces.labels], landmarks=points)
    known, unknown = (
        train.told(FaceStore(tmp_path / f"{name}.h5"), np.arange(8))["yaw"] for name in ("known", "unknown")
    )
    assert np.abs(known - unknown).max() < 15


def test_a_network_of_no_run_is_not_written_over(tmp_path, capsys):
    (tmp_path / "model.safetensors").write_text("mine")
    assert train.main([*TINY, "-p", "out_dir", str(tmp_path)]) == 1
    assert "model.safetensors is of no run: choose another out_dir" in capsys.readouterr().err
    assert (tmp_path / "model.safetensors").read_text() == "mine"


def test_errors_are_one_line_and_a_status(tmp_path, capsys):
    assert train.main([*TINY, "-p", "min_masked", "50", "-p", "out_dir", str(tmp_path)]) == 1
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith("maskfr_utils.train: ")


@pytest.mark.parametrize(
    "path",
    sorted(p for p in (ROOT / "params").rglob("*.yaml") if not p.stem.startswith("tuned")),
    ids=lambda p: f"{p.parent.name}/{p.stem}",
)
def test_every_params_file_is_a_run(path):
    """Each is whole: it sets what it names to a value in range, whether or not its data set is on this machine."""
    values = yaml.safe_load(path.read_text())
    config = TrainConfig.from_mapping({**values, "dataset": "demo"})
    assert all(getattr(config, name) == value for name, value in values.items() if name != "dataset")
    assert path.parent.name in ("demo", "pocket", "full", "paper")


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_name_of_a_picture_is_a_formula(start):
    assert cell(f"{start}1+1/0.png") == f"'{start}1+1/0.png"
    assert cell("a=b/0.png") == "a=b/0.png" and cell(-1) == -1


def test_an_error_that_nobody_foresaw_leaves_where_it_came_from(tmp_path, monkeypatch, capsys):
    def breaks(*_):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr("maskfr_utils.losses.ArcFace.forward", breaks)
    assert train.main([*TINY, "-p", "model", "iresnet50", "-p", "out_dir", str(tmp_path)]) == 1
    assert capsys.readouterr().err.splitlines()[-1].endswith("shapes cannot be multiplied")
    assert "in breaks" in (tmp_path / "train.log").read_text()
