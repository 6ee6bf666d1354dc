"""What pictures cost, measured in small; and what the committed record must say."""

import numpy as np
import pytest

from maskfr_utils import rendered, splits, store
from maskfr_utils.measure import data_costs
from maskfr_utils.peaks import in_fresh_process
from maskfr_utils.records import read_measurement


@pytest.fixture(scope="module")
def faces():
    return rendered.render_faces(2, 4, seed=1).images


def test_records_are_decoded(faces, tmp_path):
    found = data_costs.decoding(faces, tmp_path, 200)
    assert found["records_a_second"] > 300 and 2_000 < found["bytes_a_record"] < 20_000


def test_jpegs_save_room_and_cost_time_and_a_little_exactness(faces, tmp_path):
    raw, jpeg = (data_costs.reading(faces, faces[::-1], tmp_path, each, 384) for each in store.ENCODINGS)
    assert raw["grey_levels_off"] == 0 < jpeg["grey_levels_off"] < 1.5 and jpeg["at_most"] > 2
    assert jpeg["bytes_a_picture"] < raw["bytes_a_picture"] / 2
    assert raw["pictures_a_second"] > 2 * jpeg["pictures_a_second"]


def test_noise_holds_no_copies():
    pictures = data_costs.noise(np.arange(40))
    assert pictures.shape == (40, 112, 112, 3) and len(np.unique(pictures.reshape(40, -1), axis=0)) == 40


@pytest.mark.slow
def test_names_take_little(tmp_path):
    count = splits.CROSS_LIMIT + 1  # so many are compared within each person alone
    found = in_fresh_process(data_costs.names_at_peak, str(tmp_path), count)
    assert found["pictures"] == count and found["listed"] < found["prepared"] < 100e6 and found["read"] < 100e6


def test_the_record_keeps_what_is_promised():
    if (record := read_measurement("speed/data.json")) is None:
        pytest.skip("not measured: python -m maskfr_utils.measure.data_costs")
    assert record["recordio"]["records_a_second"] >= 3_000
    assert record["names"]["pictures"] == 10**6
    assert max(record["names"][part] for part in ("listed", "prepared", "read")) < 500e6
