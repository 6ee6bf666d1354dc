"""The measurement of `recognise`, on embeddings of which the right answers are known."""

import numpy as np
import pytest
from torch import nn

from maskfr_utils.measure import recognition
from maskfr_utils.measure.recognition import Photos, enrolled, over_people, score
from maskfr_utils.recognise import Embedder
from maskfr_utils.recognise.calibration import Calibration

CALIBRATION = Calibration((0.1, 0.001), (0.5, 0.5), 10, 10_000, "made-up people")  # 0.5 whatever the rate


class Tiles(nn.Module):
    def forward(self, images):
        return nn.functional.adaptive_avg_pool2d(images, 4).flatten(1)


def towards(*places):
    """Embeddings that point along axes (place, share): the first by `share`, the rest along the last axis."""
    found = np.zeros((len(places), 48), np.float32)
    for row, (place, share) in zip(found, places, strict=True):
        row[place], row[-1] = share, np.sqrt(1 - share**2)
    return found


def test_each_share_counts_what_it_says():
    gallery = enrolled(Embedder(Tiles()), CALIBRATION, Photos(towards((0, 1), (1, 1)), np.array(["a", "b"])))
    known = Photos(towards((0, 0.9), (0, 0.3), (1, 0.9), (0, 0.8)), np.array(["a", "a", "b", "b"]))
    strangers = Photos(towards((0, 0.9), (1, 0.2), (5, 0.9), (6, 0.9)), np.array(["x", "x", "y", "z"]))
    found = score(gallery, known, strangers)
    assert [found[name]["value"] for name in ("rank_1", "named", "misnamed", "false_accepts")] == [
        0.75,
        0.5,
        0.25,
        0.25,
    ]
    assert (found["enrolled_people"], found["photos"], found["strangers"], found["photos_of_strangers"]) == (2, 4, 3, 4)


def test_intervals_are_over_people():
    """Ten people of forty photos, all right or all wrong: ten draws, not four hundred."""
    hits, people = np.repeat([1, 0] * 5, 40).astype(bool), np.repeat(np.arange(10), 40)
    found = over_people(hits, people, 0)
    assert found["value"] == 0.5
    assert found["low"] == pytest.approx(0.2, abs=0.11) and found["high"] == pytest.approx(0.8, abs=0.11)


def test_rendered_people_and_the_table():
    embedder = Embedder(Tiles(), calibration=CALIBRATION)
    found = recognition.on_rendered(embedder, people=3, photos=4)
    assert {name: (s["enrolled_photos"], s["photos"], s["photos_of_strangers"]) for name, s in found.items()} == {
        "no mask": (9, 3, 3),
        "drawn mask": (9, 3, 3),
    }
    lines = recognition.table({"results": {"rendered": found}})
    assert lines.index.tolist() == [("rendered", "no mask"), ("rendered", "drawn mask")]
    assert lines["rank_1"].iloc[0].startswith(f"{100 * found['no mask']['rank_1']['value']:.1f} (")


def test_a_missing_network_is_one_line(tmp_path, capsys):
    assert recognition.main(["--network", str(tmp_path / "none"), "--out", str(tmp_path / "r.json")]) == 1
    assert capsys.readouterr().err.count("\n") == 1 and not list(tmp_path.iterdir())
