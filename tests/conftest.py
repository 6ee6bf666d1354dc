import functools
import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run two at a time; threads on top of that fight for the cores

import matplotlib
import pytest
from filelock import FileLock
from shallow import shallow as fewer_blocks

from maskfr_utils.names import NETWORKS

# jsonschema would check addresses by it, of which notebooks have none: five seconds to load in each test process.
sys.modules.setdefault("rfc3987_syntax", None)
# Each Fabric looks for plugins in all installed packages. Before anything imports lightning, which takes the function by name.
importlib.metadata.entry_points = functools.cache(importlib.metadata.entry_points)
matplotlib.use("Agg")  # not by environment variable: the notebooks' kernels would inherit it


# Begun first, the longest at the head, so that at the end no process waits for another; the book is built before pages of it are asked for.
LONGEST = (
    "test_book",
    "test_notebooks",
    "test_fingerprint",
    "test_recognise",
    "test_mask_folder",
    "test_study",
    "test_processes",
    "test_prepare",
    "test_models",
    "test_checkpoints",
    "test_onnx",
    "test_archives",
    "test_survival",
    "test_speed",
)


def pytest_collection_modifyitems(items):
    """Puts the files that take longest first."""
    place = {name: i for i, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(LONGEST)))


@pytest.fixture(scope="session")
def common(tmp_path_factory, worker_id):
    """A folder that all test processes share."""
    folder = tmp_path_factory.getbasetemp()
    return folder if worker_id == "master" else folder.parent


@pytest.fixture(scope="session", autouse=True)
def _own_cache(common):
    """Prepared files of the tests go to a folder of their own, also in the processes that the tests start."""
    before = os.environ.get("MASKFR_CACHE")
    os.environ["MASKFR_CACHE"] = str(common / "cache")
    yield
    os.environ.pop("MASKFR_CACHE")
    if before is not None:
        os.environ["MASKFR_CACHE"] = before


@pytest.fixture(scope="module")
def shallow(common):
    """Networks of five blocks, for tests of what is done with them, not of what they are; the whole ones, by name.

    What is remembered of whole networks is kept apart: fingerprints and prepared files hang on the code, not on a patch.
    """
    with pytest.MonkeyPatch.context() as patch:
        whole = dict(NETWORKS)
        for name in whole:
            patch.setitem(NETWORKS, name, fewer_blocks(name))
        patch.setenv("MASKFR_CACHE", str(common / "cache-shallow"))
        yield whole


@pytest.fixture
def few_blocks(monkeypatch):
    """The same networks in one test alone, where nothing is remembered of them."""
    for name in NETWORKS:
        monkeypatch.setitem(NETWORKS, name, fewer_blocks(name))


@pytest.fixture(scope="session")
def built_book(common):
    """Folder of the book's pages, built with warnings as errors, once for all test processes."""
    from maskfr_utils.paths import ROOT

    said = common / "book.txt"
    with FileLock(common / "book.lock"):
        if not said.exists():
            program = Path(sys.executable).with_name("jupyter-book")
            command = [program, "build", ROOT / "book", "-W", "-n", "--keep-going", "--all", "--path-output", common]
            done = subprocess.run(command, capture_output=True, text=True)
            said.write_text(f"{done.returncode}\n{done.stdout}\n{done.stderr}")
    assert said.read_text().startswith("0\n"), said.read_text()[-3000:]
    return common / "_build" / "html"


@pytest.fixture
def real_mfr2():
    """The folder of MFR2, photos of people with and without real masks."""
    from maskfr_utils import paths

    try:
        return paths.find_data("mfr2")
    except FileNotFoundError:
        pytest.skip("real masks are not here: set MASKFR_DATA to the folder that holds mfr2")
