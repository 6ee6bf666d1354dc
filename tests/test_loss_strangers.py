"""The losses' networks tried on strangers: the command on small untrained networks, and what is said of its record."""

import re

import made_up_records
import pytest
import torch

from maskfr_utils import models, paths, records
from maskfr_utils.measure import loss_strangers, picture_sets, strangers
from maskfr_utils.study.run import Run

pytestmark = pytest.mark.usefixtures("shallow")
BEHAVIOUR = {"network": {"embeddings": [1.0]}}  # what the code computes; its real value takes seconds a loss


@pytest.fixture
def networks(tmp_path, monkeypatch):
    """Final runs of ArcFace and of softmax with one seed, as the study leaves them."""
    monkeypatch.setattr(paths, "home", lambda: tmp_path)
    monkeypatch.setattr(paths, "results_dir", lambda: tmp_path / "results")
    monkeypatch.setenv("MASKFR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(strangers, "RESAMPLES", 20)
    monkeypatch.setattr(picture_sets.rendered, "__defaults__", (20, 4))
    monkeypatch.setattr(Run, "behaviour", lambda run: BEHAVIOUR)
    for variant in ("arcface", "softmax"):
        run = Run(scale="demo", variant=variant)
        records.write_json(run.folder / "record.json", made_up_records.record(run, behaviour=BEHAVIOUR))
        torch.manual_seed(len(variant))
        model = models.create_model("iresnet50", width=0.0625, embedding_dim=16)
        models.save_model(run.folder / "model.safetensors", model, classes=["Ann"])
    other = made_up_records.record(run, masked=0.5, behaviour=BEHAVIOUR)  # of softmax, as the book might have it
    records.write_json(run.record_path(), other)
    return tmp_path


def test_the_networks_that_are_there_are_tried(networks, capsys):
    out = networks / "record.json"
    assert loss_strangers.main(["--out", str(out)]) == 0
    said = capsys.readouterr()
    runs = [Run(scale="demo", variant=variant).name for variant in ("arcface", "softmax")]
    assert said.err.count("of older code: 4 of ArcFace, 4 of softmax, 5 of SphereFace") == 1
    record = records.read_measurement(out)
    assert record["runs"] == runs and record["seeds"] == {"ArcFace": [0], "softmax": [0]}
    told = re.fullmatch(
        "1 of the 2 networks were trained again .* by up to (.*) points.", loss_strangers.origin(record)
    )
    assert 15 < float(told[1]) < 30  # of some 70% and some 50%
    table = loss_strangers.table(record)
    assert list(table.index) == ["softmax", "ArcFace"] and list(table) == list(loss_strangers.SHOWN)
    (line,) = loss_strangers.against_arcface(record).to_dict("records")
    own, other = (
        record["networks"][title]["rendered"]["mask on one"]["accuracy"]["value"] for title in ("ArcFace", "softmax")
    )
    assert line["difference"] == pytest.approx(other - own, abs=2e-4) and "1 of 3 seeds" in line["verdict"]
    assert loss_strangers.answer(record) == ""


def test_a_network_of_older_code_counts_as_none(networks, capsys):
    run = Run(scale="demo", variant="arcface")
    older = {"network": {"embeddings": [2.0]}}
    records.write_json(run.folder / "record.json", made_up_records.record(run, behaviour=older))
    assert loss_strangers.main(["--out", str(networks / "record.json")]) == 1
    assert "no network of ArcFace: python -m maskfr_utils.study" in capsys.readouterr().err
    assert not (networks / "record.json").exists()


def made_up(**accuracies):
    """A record in which each loss has three seeds, in percent of the pairs, and its difference from ArcFace."""
    one = {t: {"value": a[0] / 100, "low": a[0] / 100 - 0.01, "high": a[0] / 100 + 0.01} for t, a in accuracies.items()}
    apart = {
        title: {
            "value": (a[0] - 80) / 100,
            "low": (a[0] - 81) / 100,
            "high": (a[0] - 79) / 100,
            "seeds": a[1],
            "p": a[2],
        }
        for title, a in accuracies.items()
        if title != "ArcFace"
    }
    at = [
        {title: {"rendered": {"mask on one": {"accuracy": value}}} for title, value in each.items()}
        for each in (one, apart)
    ]
    return {"networks": at[0], "differences": at[1], "sets": {"rendered": {"people": 150}}}


def test_what_is_said_of_strangers():
    record = made_up(
        ArcFace=(80, [0] * 3, None),
        CosFace=(83, [0.03] * 3, 0.001),
        MagFace=(79, [-0.01] * 3, 0.006),
        softmax=(85, [0.05], None),
    )
    assert loss_strangers.answer(record) == (
        "Of pairs of 150 rendered strangers with a mask on one of the two photos, ArcFace decides 80.0% (79.0–81.0) correctly;"
        " of 2 other losses CosFace (+3.0 (+2.0 to +4.0)) decides more beyond noise, and none fewer."
    )
    told = loss_strangers.against_arcface(record)["p, Holm"]
    assert told.iloc[0] == pytest.approx(0.009) and told.iloc[1] == pytest.approx(0.048)  # of nine that are planned
