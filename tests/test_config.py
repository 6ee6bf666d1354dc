import subprocess
import sys
import time
from dataclasses import asdict, fields

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from maskfr_utils import plain_yaml, prepare
from maskfr_utils.config import ConfigError, TrainConfig
from maskfr_utils.paths import ROOT


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
        ({"compile": "maybe"}, "true, false or auto"),
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
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "maskfr_utils.train", "-p", "model", "resanet50"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "did you mean ressanet50" in done.stderr
    assert " torch\n" not in done.stderr


def test_run_name_tells_every_parameter_apart_but_the_folder():
    one = TrainConfig()
    assert TrainConfig(out_dir="x", resume=False).run_name == one.run_name
    assert TrainConfig(lr=0.1).run_name != one.run_name


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("compile", "true", True),
        ("compile", "False", False),
        ("compile", "auto", "auto"),
        ("resume", "false", False),
        ("resume", "no", False),
        ("scale", "null", None),
        ("max_steps", "None", None),
        ("max_steps", "12", 12),
        ("lr", "5e-4", 5e-4),
        ("lr", "1", 1.0),
        ("out_dir", "run #3", "run #3"),
        ("out_dir", "2024", "2024"),
        ("out_dir", "no", "no"),
        ("out_dir", "a: b", "a: b"),
        ("out_dir", "null", None),
    ],
)
def test_a_value_as_it_is_typed(name, text, value):
    """Behind -p of the command and, where papermill hands on what it does not know as text, of papermill."""
    for config in (TrainConfig.from_argv(["-p", name, text]), TrainConfig.from_notebook({name: text})):
        assert getattr(config, name) == value and type(getattr(config, name)) is type(value)


@pytest.mark.parametrize("name", ["photos #2", "2024", "no", "a: b", "1e3", "[x]"])
def test_a_folder_may_have_any_name(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        TrainConfig.from_argv(["-p", "dataset", name])
    assert f"unknown dataset '{name}'" in capsys.readouterr().err
    (tmp_path / name).mkdir()
    assert TrainConfig.from_argv(["-p", "dataset", name]).dataset == name


@pytest.mark.parametrize("value", [2024, False, 1e3, None, ["x"]])
def test_a_name_that_was_read_as_something_else_is_refused(value):
    with pytest.raises(ConfigError, match="must be str, got .*quotes"):
        TrainConfig.from_notebook({"dataset": value})


@pytest.mark.parametrize(
    "values",
    [
        {"epochs": 10**400},
        {"lr": 10**400},
        {"lr": "9" * 400},
        {"seed": 10**5000},
        {"model": "x" * 10_000},
        {"out_dir": "a\0b"},
        {"out_dir": " "},
        {"dataset": "x" * 10_000},
        {"dataset": "a\0b"},
        {"dataset": "~nobody-of-that-name/x"},
        {"x" * 10_000: 1},
        {"lr": [[["x" * 1000] * 1000] * 1000] * 1000},
    ],
    ids=lambda values: next(iter(values))[:9],
)
def test_odd_values_are_refused_on_one_short_line(values):
    with pytest.raises(ConfigError) as refused:
        TrainConfig.from_mapping(values)
    assert len(str(refused.value)) <= 300 and "\n" not in str(refused.value)


BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))
MERGES = "a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i}\n  <<: [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))


@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        MERGES,
        "lr: 2020-13-45\n",
        "lr: 2020-12-01\n",
        "lr: !!bool x\n",
        "lr: !!int x\n",
        "lr: !!timestamp 2020-13-45\n",
        f"lr: {'9' * 400}\n",
        f"lr: {'9' * 5000}\n",
        f"lr: 0x{'f' * 50_000}\n",
        f"workers: [0x{'f' * 5_000}]\n",
        "lr: " + "[" * 50_000,
        "lr: " + "{a: " * 50_000,
        "".join("  " * i + "a:\n" for i in range(300)),
        "? [a]\n: 1\n",
        "{a: 1}: 2\n",
        "lr: 1\nlr: 2\n",
        "<<: {lr: 1}\n",
        "lr: \x00\n",
        "\ufeff\ufffe",
        "lr: 'x\n" * 3000,
        "a: b: c\n" * 3000,
        "lr: " + "x" * 99_000,
        "lr: " + "x" * 1_000_000,
        "--- 1\n--- 2\n",
        "%YAML 9.9\n---\nlr: 1\n",
    ],
    ids=range(26),
)
def test_hostile_params_file_is_refused_on_one_short_line(tmp_path, text, capsys):
    file = tmp_path / "x.yaml"
    file.write_text(text, encoding="utf-8")
    started = time.process_time()
    with pytest.raises(SystemExit) as stop:
        TrainConfig.from_argv(["-f", str(file)])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and len(said) <= 340
    assert time.process_time() - started < 3


@given(st.text(max_size=200) | st.text("[]{}:,&*!<>|-? \n\"'#%a1", max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_text_is_read_or_refused(text):
    try:
        plain_yaml.parse(text, "it")
    except plain_yaml.YamlError as error:
        assert len(str(error)) <= 300 and "\n" not in str(error)


@pytest.mark.parametrize("text", ["007", "-0755", "0_1", "12:30", "1:2:3.5"])
def test_numbers_that_yaml_1_1_reads_in_another_base_are_refused(text):
    with pytest.raises(plain_yaml.YamlError, match=r"another number .* or in quotes"):
        plain_yaml.parse(f"seed: {text}", "it")
    assert plain_yaml.parse(f"seed: '{text}'", "it") == {"seed": text}


def test_plain_numbers_are_read():
    assert plain_yaml.parse("[0, 10, -0.05, 1e-3, 100_000, '1:75', a1:30]", "it")[:2] == [0, 10]


def test_what_people_write_is_read_as_yaml_reads_it():
    for path in (ROOT / "params").rglob("*.yaml"):
        assert plain_yaml.read(path) == yaml.safe_load(path.read_text())


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    path = tmp_path_factory.mktemp("prepared") / "p.h5"
    return str(prepare.prepare("demo", seed=3, style="surgical", identities=2, per_identity=4, min_masked=3, out=path))


def test_the_record_of_a_prepared_file_tells_what_the_file_holds(prepared):
    config = TrainConfig(dataset=prepared)
    assert (config.style, config.min_masked, config.test_fraction, config.data_seed) == ("surgical", 3, 0.1, 3)
    assert TrainConfig(dataset=prepared, style="surgical", data_seed=3) == config
    assert TrainConfig(dataset=prepared, style="n95", fresh_masks=True).style == "n95"


@pytest.mark.parametrize("other", [{"style": "n95"}, {"min_masked": 80}, {"test_fraction": 0.5}, {"data_seed": 1}])
def test_settings_that_a_prepared_file_does_not_have_are_refused(prepared, other):
    with pytest.raises(ConfigError, match=r"p\.h5 was prepared with .*prepare the photos anew"):
        TrainConfig(dataset=prepared, **other)
