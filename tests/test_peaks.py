"""The memory that some work takes at its peak."""

import numpy as np

from maskfr_utils.measure.peaks import in_fresh_process, peak


def beyond(megabytes: int) -> int:
    before = peak()
    np.ones(megabytes * 10**6, np.uint8)
    return peak() - before


def test_a_process_answers_for_what_it_holds_itself():
    held = np.ones(10**9, np.uint8)  # by the process that asks
    assert 195e6 < in_fresh_process(beyond, 200) < 230e6 < len(held) < peak()
