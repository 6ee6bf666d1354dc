"""What the measurement commands share, and that the book names each command as it is."""

import importlib
import re

import pytest

from maskfr_utils.measure import record
from maskfr_utils.paths import ROOT, results_dir

COMMANDS = dict(re.findall(r"^\| `(\w+/\w+\.json)` \| `(\w+)", (ROOT / "book" / "rerun.md").read_text(), re.M))


@pytest.mark.parametrize("name", COMMANDS.values())
def test_the_commands_of_the_book_exist_and_tell_what_they_take(name, capsys):
    command = importlib.import_module(f"maskfr_utils.measure.{name}")
    with pytest.raises(SystemExit, match="0"):
        command.main(["--help"])
    assert f"python -m maskfr_utils.measure.{name}" in capsys.readouterr().out


def test_each_record_of_a_measurement_has_its_command():
    found = {path.relative_to(results_dir()).as_posix() for path in results_dir().glob("*/*.json")}
    assert found <= COMMANDS.keys()


def test_a_list_is_read_or_named(tmp_path):
    path = tmp_path / "index.csv"
    path.write_text("file,mask,more\na,None,1\n")
    assert record.read_list(path, ["file", "mask"], as_text=True).to_numpy().tolist() == [["a", "None"]]
    assert record.read_list(path, ["more"])["more"].sum() == 1
    with pytest.raises(ValueError, match=r"index\.csv is no list with the columns file, pose"):
        record.read_list(path, ["file", "pose"])
    for content in (b"", b"\xff\xfe\x00", b'"'):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"index\.csv is no list"):
            record.read_list(path, ["file"])
    with pytest.raises(FileNotFoundError):
        record.read_list(tmp_path / "no.csv", ["file"])


def test_what_is_wrong_with_the_input_is_one_line(capsys):
    def measure():
        raise ValueError("index.csv:\n" + "x" * 1000)

    assert record.status("speed", measure) == 1
    error = capsys.readouterr().err
    assert (
        error.startswith("maskfr_utils.measure.speed: index.csv: xxx") and error.count("\n") == 1 and len(error) < 350
    )
    assert record.status("speed", lambda: None) == 0 and capsys.readouterr().err == ""


def test_a_record_tells_what_made_it():
    made = record.made(0.0, data="x", threads=2)
    assert made["data"] == "x" and made["threads"] == 2 and made["seconds"] > 0
    assert {"versions", "platform", "device", "code_revision"} <= made.keys()
