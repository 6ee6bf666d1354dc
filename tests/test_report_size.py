"""The report's own size, measured in small; and what the committed record must say."""

import json

import pytest

from maskfr_utils.measure import report_size
from maskfr_utils.records import read_measurement


def test_a_small_size_is_prepared_and_trained_on(tmp_path, monkeypatch):
    monkeypatch.setattr(report_size, "in_fresh_process", lambda work, *given: work(*given))
    report_size.measure(tmp_path / "size.json", 3, 10, batch_size=8, width=0.05, embedding_dim=16)
    found = json.loads((tmp_path / "size.json").read_text())
    prepared, epoch = found["prepared"], found["epoch"]
    assert (prepared["photos"], prepared["training"], prepared["test"]) == (30, 27, 3)
    # the file holds each face and its twin in raw pixels
    assert prepared["file_bytes"] > 30 * 2 * 112 * 112 * 3 and prepared["photos_a_second"] > 0
    assert epoch["accuracy"].keys() == {"masked", "unmasked"} and epoch["loss"] > 0
    assert min(part["peak_bytes"] for part in (prepared, epoch)) > 1e8  # the interpreter and its libraries alone
    assert found["recipe"]["batch_size"] == 8 and found["recipe"]["epochs"] == 1


def test_the_record_is_of_the_reports_size():
    if (record := read_measurement("speed/report_size.json")) is None:
        pytest.skip("not measured: python -m maskfr_utils.measure.report_size")
    prepared, epoch = record["prepared"], record["epoch"]
    assert record["people"] == 1_000 and prepared["photos"] == 100_000
    assert prepared["test"] / prepared["photos"] == pytest.approx(0.1, abs=0.001)
    assert prepared["peak_bytes"] < prepared["file_bytes"] / 4  # a stream
    assert epoch["accuracy"]["masked"] > 10 / record["people"]  # far above chance
