import json

import numpy as np
import pytest

from maskfr_utils import records
from maskfr_utils.paths import results_dir
from maskfr_utils.study import tables


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


def test_table():
    table = tables.result_table({"one": record(), "two": record(0.5)})
    assert table.loc["one", "masked"] == "90.0% (80.0%-95.0%)"
    assert table.loc["two", "minutes"] == 1.0


def test_provenance_names_versions():
    p = records.provenance(device="x", data="y", seconds=1.23, more=1)
    assert p["versions"]["torch"][0].isdigit()
    assert p["more"] == 1
    json.dumps(p, allow_nan=False)


def test_committed_records_are_records():
    files = sorted(results_dir().glob("*.json"))
    assert files
    for file in files:
        scores = records.read_record(file)["metrics"]
        for condition in ("masked", "unmasked"):
            s = scores[condition]
            assert 0 <= s["accuracy_low"] <= s["accuracy"] <= s["accuracy_high"] <= 1
            assert s["accuracy"] == pytest.approx(s["tp"] / s["photos"])


def test_face_sample_tells_twins_apart():
    black, grey = np.zeros((2, 112, 112, 3), np.uint8), np.full((2, 112, 112, 3), 9, np.uint8)
    assert records.face_sample(grey, black) == [9, 9, 0, 0]
