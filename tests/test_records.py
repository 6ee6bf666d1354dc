import json
import re
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maskfr_utils import records
from maskfr_utils.paths import results_dir
from maskfr_utils.study import tables
from maskfr_utils.study.scales import SCALES


def record(accuracy=0.9):
    scores = {"accuracy": accuracy, "accuracy_low": accuracy - 0.1, "accuracy_high": accuracy + 0.05, "photos": 40}
    return {
        "metrics": {"masked": scores, "unmasked": scores},
        "params": {"model": "iresnet50", "condition": "both", "width": 1.0, "epochs": 2},
        "throughput": {"train_images_per_second": 12.34},
        "provenance": {"data": "abc", "seconds": 61},
    }


def test_json_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "record.json"
    records.write_json(path, record())
    assert records.read_record(path) == record()
    with pytest.raises(ValueError, match="JSON compliant"):
        records.write_json(path, {"loss": float("nan")})
    assert records.read_record(path) == record()


def test_a_record_is_read_once_and_anew_where_it_was_written_since(tmp_path):
    path, sizes = tmp_path / "record.json", []
    for accuracy in (0.5, 0.6, 0.5):  # files of one size
        records.write_json(path, record(accuracy))
        assert records.read_record(path) == record(accuracy) and records.read_record(path) is records.read_record(path)
        sizes.append(path.stat().st_size)
    assert len(set(sizes)) == 1
    path.unlink()
    with pytest.raises(FileNotFoundError):
        records.read_record(path)


def test_a_failed_write_leaves_nothing_behind(tmp_path):
    with pytest.raises(TypeError):
        records.write_json(tmp_path / "x.json", {"a": object()})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"metrics": {"masked": 3}}', "\x00", '"x"'])
def test_broken_record_is_named(tmp_path, text):
    path = tmp_path / "broken.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"broken\.json is no record"):
        records.read_record(path)


@pytest.mark.parametrize(
    "low", ["NaN", "Infinity", "-1", "1.5", "true", '"0.5"', "null", "[0.5]", "9" * 400, "9" * 9999]
)
def test_an_accuracy_that_is_none_is_refused(tmp_path, low):
    path = tmp_path / "broken.json"
    text = json.dumps(record(0.875))
    path.write_text(text.replace("0.875", low))
    with pytest.raises(ValueError, match=r"broken\.json is no record") as refused:
        records.read_record(path)
    assert len(str(refused.value)) <= 250 + len(str(tmp_path)) and "\n" not in str(refused.value)
    path.write_text(text.replace("0.775", low))  # its lower end
    with pytest.raises(ValueError, match=r"broken\.json is no record"):
        records.read_record(path)


@pytest.mark.parametrize(
    "part", ["params", "metrics", "provenance", "params.model", "metrics.masked", "provenance.data", "throughput"]
)
@pytest.mark.parametrize("value", ["null", "[]", "3", "{}", "[" * 100_000])
def test_a_part_of_another_type_is_refused(tmp_path, part, value):
    path, content = tmp_path / "broken.json", record()
    names = part.split(".")
    (content[names[0]] if names[1:] else content)[names[-1]] = "HERE"
    path.write_text(json.dumps(content).replace('"HERE"', value))
    with pytest.raises(ValueError, match=r"broken\.json is no record"):
        records.read_record(path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(places=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), min_size=1, max_size=5))
def test_any_bytes_are_a_record_or_are_refused(tmp_path, places):
    data = bytearray(json.dumps(record()).encode())
    for place, byte in places:
        data[int(place * len(data))] = byte
    path = tmp_path / "x.json"
    path.write_bytes(data)
    try:
        assert 0 <= records.read_record(path)["metrics"]["masked"]["accuracy"] <= 1
    except ValueError as error:
        assert "x.json" in str(error)


def git(folder, *args):
    subprocess.run(
        ["git", "-C", folder, "-c", "user.name=x", "-c", "user.email=x@x", *args], check=True, capture_output=True
    )


def test_an_installed_package_does_not_name_the_commit_of_who_encloses_it(tmp_path, monkeypatch):
    git(tmp_path, "init")
    git(tmp_path, "commit", "--allow-empty", "-m", "somebody else's")
    installed = tmp_path / ".venv" / "site-packages"
    installed.mkdir(parents=True)
    for root in (installed, tmp_path):
        monkeypatch.setattr(records, "ROOT", root)
        assert records.code_revision() == "unknown"
    (tmp_path / "pyproject.toml").touch()  # a checkout of ours
    git(tmp_path, "add", "pyproject.toml")
    git(tmp_path, "commit", "-m", "ours")
    assert re.fullmatch(r"[0-9a-f]{12}\+changes|[0-9a-f]{12}", records.code_revision())


def test_table():
    table = tables.result_table({"one": record(), "two": record(0.5)})
    assert table.loc["one", "masked"] == "90.0% (80.0–95.0)"
    assert table.loc["two", "minutes"] == 1.0


def test_provenance_names_versions():
    p = records.provenance(device="x", data="y", seconds=1.23, more=1)
    assert p["versions"]["torch"][0].isdigit()
    assert p["more"] == 1
    json.dumps(p, allow_nan=False)


def test_committed_records_are_records():
    files = [path for path in sorted(results_dir().glob("*.json")) if path.stem.split("-")[0] in SCALES]
    assert files
    for file in files:
        scores = records.read_record(file)["metrics"]
        for condition in ("masked", "unmasked"):
            s = scores[condition]
            assert 0 <= s["accuracy_low"] <= s["accuracy"] <= s["accuracy_high"] <= 1
            assert s["accuracy"] == pytest.approx(s["tp"] / s["photos"])
