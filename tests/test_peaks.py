"""The memory that some work takes at its peak."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from maskfr_utils.peaks import in_fresh_process, peak


def beyond(megabytes: int) -> int:
    before = peak()
    np.ones(megabytes * 10**6, np.uint8)
    return peak() - before


def test_a_process_answers_for_what_it_holds_itself():
    held = np.ones(10**9, np.uint8)  # by the process that asks
    assert 195e6 < in_fresh_process(beyond, 200) < 230e6 < len(held) < peak()


def wait():
    print("waiting", flush=True)
    time.sleep(600)


def test_a_process_ends_with_the_one_that_started_it():
    code = "import sys; sys.path.insert(0, sys.argv[1]); import test_peaks as t; t.in_fresh_process(t.wait)"
    command = [sys.executable, "-c", code, str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout.readline() == "waiting\n"
        parent.kill()
        assert parent.communicate(timeout=60) == ("", None)  # nobody is left who could write
