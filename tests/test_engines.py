"""The same work on a cluster: two workers of Dask, one of them killed in the middle; nothing is lost or doubled."""

import os
import signal
import threading
import time

import numpy as np
import pytest
from PIL import Image

from maskfr_utils import engines, prepare, rendered, twins
from maskfr_utils.masks.folder import mask_folder
from maskfr_utils.store import FaceStore

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    faces = rendered.render_faces(4, 20, seed=3)
    root = tmp_path_factory.mktemp("people")
    for i, (image, label) in enumerate(zip(faces.images, faces.labels, strict=True)):
        path = root / f"p{label}/{i:02d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(image).save(path)
    return root


@pytest.fixture
def cluster():
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        yield cluster


def kill_one(cluster, when) -> threading.Thread:
    """Kills a worker once `when` says so."""

    def wait():
        deadline = time.monotonic() + 120
        while not when() and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(cluster.workers[0].pid, signal.SIGKILL)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_prepared_by_two_workers_of_which_one_is_killed(people, tmp_path, cluster, monkeypatch):
    monkeypatch.setattr(twins, "BLOCK", 4)
    monkeypatch.setattr(twins, "PARALLEL_FROM", 2)
    alone = FaceStore(prepare.prepare(people, min_masked=3, out=tmp_path / "a.h5", progress=False))
    killer = kill_one(cluster, lambda: any(tmp_path.glob(".tmp-*b.h5")))
    together = prepare.prepare(
        people, min_masked=3, out=tmp_path / "b.h5", engine=f"dask {cluster.scheduler_address}", progress=False
    )
    killer.join()
    together = FaceStore(together)
    assert together.sources.tolist() == alone.sources.tolist() and len(set(together.sources)) == 80
    rows = np.arange(80)
    for masked in (False, True):
        np.testing.assert_array_equal(alone.batch(rows, masked=masked)[0], together.batch(rows, masked=masked)[0])


def test_masked_by_two_workers_of_which_one_is_killed(people, tmp_path, cluster):
    alone = mask_folder(people, tmp_path / "a", workers=1, progress=False)
    killer = kill_one(cluster, lambda: any((tmp_path / "b").rglob("*.png")))
    together = mask_folder(people, tmp_path / "b", engine=f"dask {cluster.scheduler_address}", progress=False)
    killer.join()
    assert together == alone and alone["pictures"] == 80
    for path in (tmp_path / "a").rglob("*.png"):
        assert (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes() == path.read_bytes()
    lines = (tmp_path / "b/manifest.jsonl").read_text().splitlines()
    assert len(lines) == len(set(lines)) == 81


def test_no_scheduler_is_told():
    pytest.importorskip("distributed")
    with pytest.raises(ValueError, match="no Dask scheduler answers"), engines.workers("dask tcp://127.0.0.1:9"):
        pass
