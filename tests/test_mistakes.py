"""Mistakes that users make: what each of them sees, in one line that names the way out, and what is left on the disk.

The mistakes that break a run in its middle (kills, full disks, damaged files) are in `test_survival`.
"""

import os
import re
import shutil
import subprocess
import sys
import unicodedata

import pytest
import torch
from PIL import Image
from small_runs import TINY

from maskfr_utils import prepare, rendered, train
from maskfr_utils.config import ConfigError, TrainConfig
from maskfr_utils.masks import folder
from maskfr_utils.models import create_model
from maskfr_utils.paths import ROOT
from maskfr_utils.recognise.__main__ import main as recognise

RUN = [text for name, value in TINY.items() for text in ("-p", name, str(value))]


@pytest.fixture(scope="module")
def made_of(tmp_path_factory):
    """A folder with what mistakes are made of."""
    folder = tmp_path_factory.mktemp("made_of")
    face = Image.fromarray(rendered.render_faces(1, 1).images[0])
    for path in ("people/ann/1.png", "people/.thumbs/1.png", "loose/1.png"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        face.save(folder / path)
    (folder / "empty").mkdir()
    (folder / "notes.txt").write_text("hello")
    torch.save({"state_dict": {"weight": torch.zeros(2)}, "epoch": 3}, folder / "checkpoint.pth")
    torch.save(torch.nn.Linear(2, 2), folder / "module.pth")
    torch.save(create_model("resnet50", width=0.05).state_dict(), folder / "resnet.pth")
    return folder


@pytest.fixture
def here(tmp_path, made_of, monkeypatch):
    """A copy of it as the current folder."""
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(made_of, tmp_path, dirs_exist_ok=True)


# Mistake, the command that it is made in, its arguments, the environment, what one sees, and what is new on the disk.
MISTAKES = [
    ("no such faces", train.main, [*RUN, "-p", "dataset", "poeple"], {}, "unknown dataset 'poeple'.*MASKFR_DATA", []),
    ("an empty folder", train.main, [*RUN, "-p", "dataset", "empty"], {}, "no pictures? ", ["run/.lock"]),
    ("photos of nobody", train.main, [*RUN, "-p", "dataset", "loose"], {}, "<identity>/<picture>", ["run/.lock"]),
    ("weights as faces", train.main, [*RUN, "-p", "dataset", "module.pth"], {}, "module.pth", ["run/.lock"]),
    ("text as weights", train.main, [*RUN, "-p", "weights", "notes.txt"], {}, "notes.txt: not a file of", ["run/.lock"]),
    ("a checkpoint as weights", train.main, [*RUN, "-p", "weights", "checkpoint.pth"], {}, "state dict", ["run/.lock"]),
    ("a pickled module", train.main, [*RUN, "-p", "weights", "module.pth"], {}, "module.pth: not a", ["run/.lock"]),
    ("another network", train.main, [*RUN, "-p", "weights", "resnet.pth"], {}, "not those of arcface", ["run/.lock"]),
    ("no weights there", train.main, [*RUN, "-p", "weights", "runs/x"], {}, "'runs/x': no such file", []),
    ("no GPU", train.main, [*RUN, "-p", "device", "cuda"], {}, "torch finds no GPU: set device to auto", []),
    ("half precision", train.main, [*RUN, "-p", "precision", "16-mixed", "-p", "device", "cpu"], {}, "needs a GPU", []),
    ("an old WORLD_SIZE", train.main, RUN, {"WORLD_SIZE": "4"}, "WORLD_SIZE='4' is set, but RANK.*Unset", []),
    ("a wrong WORLD_SIZE", train.main, RUN, {"WORLD_SIZE": "two", **dict.fromkeys(
        ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"), "1")}, "no number of processes: unset", []),
    ("a head at rest", train.main, [*RUN, "-p", "head_epochs", "1"], {}, "head_epochs needs weights", []),
    ("nothing to mask", folder.main, ["empty", "out"], {}, "no picture in empty", []),
    ("masked into itself", folder.main, ["people", "people"], {}, "name another folder", []),
    ("no such photos", folder.main, ["foto", "out"], {}, "no picture, folder or tar", []),
    ("a style misspelt", folder.main, ["people", "out", "--style", "surgcal"], {}, "did you mean surgical", []),
    ("no photo to prepare", prepare.main, ["notes.txt"], {}, "notes.txt", []),
    ("a fraction in percent", prepare.main, ["people", "--test-fraction", "20"], {}, "between 0 and 1", []),
    ("people of photos", prepare.main, ["people", "--identities", "9"], {}, "--identities: for demo only", []),
    ("copies of rendered", prepare.main, ["demo", "--keep-copies"], {}, "--keep-copies: for photos only", []),
    ("one worker far away", folder.main, ["people", "out", "--workers", "1", "--engine", "ray"], {}, "leave one", []),
    ("half an ONNX", recognise, ["calibrate", "demo", "x.onnx", "--half"], {}, r"half the size is for \.safetensors", []),
    ("too few photos", prepare.main, ["people"], {}, "give more pictures of each person", []),
    ("a .pth of another kind", recognise, ["enrol", "g", "people", "--network", "resnet.pth"], {}, "arcface_torch", []),
    ("a run without network", recognise, ["enrol", "g", "people", "--network", "empty"], {}, "no model.safetensors", []),
    ("no gallery", recognise, ["name", "g", "people"], {}, "g", []),
    ("a network as text", recognise, ["calibrate", "nowhere", "x.csv"], {}, r"x\.csv.*\.onnx or \.safetensors", []),
    ("embeddings as text", recognise, ["embed", "people", "out.csv"], {}, r"\.npz or \.parquet", []),
]  # fmt: skip


@pytest.mark.parametrize(
    ("command", "argv", "environment", "said", "left"), [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES]
)
def test_a_mistake_is_told_in_a_line_and_leaves_nothing(
    here, monkeypatch, capfd, command, argv, environment, said, left
):
    if "cuda" in argv and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    before = set(here.rglob("*"))
    argv = [*argv, "-p", "out_dir", "run"] if command is train.main else argv
    try:
        status = command(argv)
    except SystemExit as stop:
        status = stop.code
    lines = capfd.readouterr().err.strip().splitlines()
    assert status in (1, 2)
    assert re.search(said, lines[-1]), lines
    assert len(lines[-1]) <= 340 and not any("Traceback" in line for line in lines)
    new = sorted(str(path.relative_to(here)) for path in here.rglob("*") if path.is_file() and path not in before)
    assert new == left


def test_two_spellings_of_a_name_are_one_person(tmp_path, monkeypatch, capsys):
    faces = rendered.render_faces(2, 12, seed=3)
    spellings = ["Zoë", unicodedata.normalize("NFD", "Zoë"), "zoë ", "ZOË"]
    for k, (image, label) in enumerate(zip(faces.images, faces.labels, strict=True)):
        path = tmp_path / "people" / ("bob" if label else spellings[k % 4]) / f"{k:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    assert len(list((tmp_path / "people").iterdir())) == 5
    assert prepare.main([str(tmp_path / "people"), "--no-progress"]) == 0
    said = capsys.readouterr().out
    assert "another spelling of" in said and [
        line.split()[-1] for line in said.splitlines() if "identities " in line
    ] == ["2"]


def test_a_terminal_that_lacks_letters_ends_no_command(tmp_path):
    faces = rendered.render_faces(2, 6, seed=3)
    for k, (image, label) in enumerate(zip(faces.images, faces.labels, strict=True)):
        path = tmp_path / "人々" / ("Дмитрий", "дмитрий ", "bob")[(k % 2) if not label else 2] / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONPATH": str(ROOT)}
    argv = [sys.executable, "-m", "maskfr_utils.prepare", str(tmp_path / "人々"), "--no-progress"]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-300:]
    assert "\\u0434" in done.stdout and done.stdout.rstrip().endswith(".h5")


def test_ctrl_c_ends_any_command_in_a_word():
    program = "from maskfr_utils import messages; messages.start_command(); raise {}"
    interrupted, failed = (
        subprocess.run(
            [sys.executable, "-c", program.format(error)], cwd=ROOT, capture_output=True, text=True, check=False
        )
        for error in ("KeyboardInterrupt", "KeyError")
    )
    assert interrupted.returncode in (130, -2) and interrupted.stderr == "\nstopped\n"
    assert failed.returncode == 1 and "Traceback" in failed.stderr


def test_text_where_a_switch_is_meant_is_refused():
    with pytest.raises(ConfigError, match="worn_masks must be bool"):
        TrainConfig(worn_masks="maybe")
