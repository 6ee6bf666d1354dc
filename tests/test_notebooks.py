"""Every notebook runs under papermill at a small setting, and the main one takes what the command line takes."""

import ast
import io
import re
from dataclasses import asdict

import nbformat
import papermill
import pytest
from papermill.exceptions import PapermillExecutionError

from maskfr_utils.config import TrainConfig
from maskfr_utils.paths import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SMALL = {
    "train": {
        "model": "ressanet50",
        "width": 0.25,
        "identities": 4,
        "per_identity": 10,
        "epochs": 2,
        "batch_size": 8,
        "embedding_dim": 32,
    },
}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_runs(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # no notebook depends on the current folder
    parameters = dict(SMALL.get(path.stem, {}))
    if path.stem == "train":
        parameters["out_dir"] = str(tmp_path / "run")
    said = io.StringIO()
    papermill.execute_notebook(path, tmp_path / "out.ipynb", parameters, progress_bar=False, stderr_file=said)
    done = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    shown = {kind for c in done.cells for o in c.get("outputs", []) for kind in o.get("data", {})}
    assert shown & {"image/png", "image/svg+xml"}
    if path.stem == "train":
        assert (tmp_path / "run" / "record.json").exists()
        log = (tmp_path / "run" / "train.log").read_text()
        for text in (said.getvalue(), log):  # what `make train` shows meanwhile
            assert re.search(r"epoch 2, loss [\d.]+, train_accuracy", text) and len(text.splitlines()) < 250


def test_parameters_of_the_train_notebook_are_those_of_a_run():
    found = papermill.inspect_notebook(ROOT / "notebooks" / "train.ipynb")
    assert {name: ast.literal_eval(p["default"]) for name, p in found.items()} == asdict(TrainConfig())


def test_misspelt_parameter_stops_the_train_notebook(tmp_path):
    with pytest.raises(PapermillExecutionError, match="did you mean model"):
        papermill.execute_notebook(
            ROOT / "notebooks" / "train.ipynb", tmp_path / "out.ipynb", {"modle": "iresnet50"}, progress_bar=False
        )
