import subprocess
import sys
import time
from dataclasses import asdict, fields

import pytest
import yaml

from maskfr_utils.config import ConfigError, TrainConfig


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"modle": "x"}, "did you mean model"),
        ({"model": "resanet50"}, "did you mean ressanet50"),
        ({"dataset": "nowhere"}, "MASKFR_DATA"),
        ({"condition": "maskd"}, "did you mean masked"),
        ({"epochs": 0}, "out of range"),
        ({"epochs": 2.5}, "must be int"),
        ({"lr": -1.0}, "out of range"),
        ({"lr": "fast"}, "must be float"),
        ({"lr": float("nan")}, "out of range"),
        ({"lr": float("inf")}, "out of range"),
        ({"batch_size": True}, "must be int"),
        ({"compile": "yes"}, "true, false or auto"),
        ({"width": 100.0}, "out of range"),
        ({"seed": -1}, "out of range"),
        ({"warmup_epochs": 9.0, "epochs": 3}, "less than epochs"),
        ({"style": "surgcal"}, "did you mean surgical"),
        ({"loss": "sphereface"}, "try 1.35"),
    ],
)
def test_refuses_with_the_way_out(values, said):
    with pytest.raises(ConfigError, match=said):
        TrainConfig.from_mapping(values)


def test_values_take_the_type_of_their_field():
    config = TrainConfig(weight_decay="5e-4", scale=64, max_steps=3)  # YAML 1.1 reads 5e-4 as a string
    assert config.weight_decay == 5e-4
    assert isinstance(config.scale, float)
    assert config.max_steps == 3


def test_notebook_variables():
    plain = asdict(TrainConfig())
    assert TrainConfig.from_notebook({**plain, "_x": 1, "np": sys, "In": [], "Out": {}}) == TrainConfig()
    with pytest.raises(ConfigError, match="did you mean epochs"):
        TrainConfig.from_notebook({**plain, "epoch": 3})


def test_command_line(tmp_path, capsys):
    file = tmp_path / "x.yaml"
    file.write_text(yaml.safe_dump({"epochs": 3, "lr": 0.1}))
    config = TrainConfig.from_argv(["-f", str(file), "-p", "lr", "0.2", "-p", "max_steps", "null"])
    assert (config.epochs, config.lr, config.max_steps) == (3, 0.2, None)
    with pytest.raises(SystemExit) as stop:
        TrainConfig.from_argv(["-h"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert all(f.name in out and f.metadata["help"] in out for f in fields(TrainConfig))


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [", "1: 2\n", "", "x: !!python/object/apply:os.system ['true']\n"])
def test_broken_params_file(tmp_path, text, capsys):
    file = tmp_path / "x.yaml"
    file.write_text(text)
    with pytest.raises(SystemExit) as stop:
        TrainConfig.from_argv(["-f", str(file)])
    assert stop.value.code == 2
    assert str(file) in capsys.readouterr().err


def test_misspelling_is_refused_before_torch_is_loaded():
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "maskfr_utils.train", "-p", "model", "resanet50"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "did you mean ressanet50" in done.stderr
    assert " torch\n" not in done.stderr
    assert time.perf_counter() - started < 10


def test_run_name_tells_every_parameter_apart_but_the_folder():
    one = TrainConfig()
    assert TrainConfig(out_dir="x", resume=False).run_name == one.run_name
    assert TrainConfig(lr=0.1).run_name != one.run_name
