import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run two at a time; threads on top of that fight for the cores

import matplotlib
import pytest

matplotlib.use("Agg")  # not by environment variable: the notebooks' kernels would inherit it


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """Prepared files of the tests go to a folder of their own, also in the processes that the tests start."""
    before = os.environ.get("MASKFR_CACHE")
    os.environ["MASKFR_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    os.environ.pop("MASKFR_CACHE")
    if before is not None:
        os.environ["MASKFR_CACHE"] = before


@pytest.fixture
def real_mfr2():
    """The folder of MFR2, photos of people with and without real masks."""
    from maskfr_utils import paths

    try:
        return paths.find_data("mfr2")
    except FileNotFoundError:
        pytest.skip("real masks are not here: set MASKFR_DATA to the folder that holds mfr2")
