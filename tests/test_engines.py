"""The same work on a cluster: two workers of Dask, one of them killed in the middle; nothing is lost or doubled."""

import os
import signal
import sys
import threading
import time
import types

import joblib
import numpy as np
import pytest
from joblib._parallel_backends import LokyBackend
from PIL import Image

from maskfr_utils import engines, prepare, rendered, twins
from maskfr_utils.masks.folder import mask_folder
from maskfr_utils.store import FaceStore


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


@pytest.mark.slow
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


def ended(number):
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_a_killed_worker_of_this_machine_is_told_in_a_line():
    with pytest.raises(OSError, match="a worker was killed"):
        list(engines.results(ended, ((i,) for i in range(8)), 2, 2))


def assert_masked_alike(folder, other, count):
    """Nothing is lost, doubled or drawn otherwise."""
    for path in folder.rglob("*.png"):
        assert (other / path.relative_to(folder)).read_bytes() == path.read_bytes()
    lines = (other / "manifest.jsonl").read_text().splitlines()
    assert len(lines) == len(set(lines)) == count + 1


def test_a_cluster_masks_as_this_process_does(people, tmp_path):
    distributed = pytest.importorskip("distributed")
    source = people / "p2"
    alone = mask_folder(source, tmp_path / "a", workers=1, progress=False)
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        together = mask_folder(source, tmp_path / "b", engine=f"dask {cluster.scheduler_address}", progress=False)
    assert together == alone and alone["pictures"] == 20
    assert_masked_alike(tmp_path / "a", tmp_path / "b", 20)


@pytest.mark.slow
def test_masked_by_two_workers_of_which_one_is_killed(people, tmp_path, cluster):
    source = people / "p0"
    alone = mask_folder(source, tmp_path / "a", workers=1, progress=False)
    killer = kill_one(cluster, lambda: any((tmp_path / "b").rglob("*.png")))
    together = mask_folder(source, tmp_path / "b", engine=f"dask {cluster.scheduler_address}", progress=False)
    killer.join()
    assert together == alone and alone["pictures"] == 20
    assert_masked_alike(tmp_path / "a", tmp_path / "b", 20)


class LikeRays(LokyBackend):
    """What Ray's back end is to joblib: one without generators, which asks for its cluster's size at once."""

    supports_return_generator = False

    def effective_n_jobs(self, n_jobs):
        return 2 if n_jobs == -1 else n_jobs


@pytest.fixture
def like_ray(monkeypatch):
    """Ray as far as joblib and we see it."""
    ray, inner = types.ModuleType("ray"), types.ModuleType("ray.util.joblib")
    started = []
    ray.is_initialized, ray.init = (lambda: bool(started)), (lambda: started.append(True))

    def register():
        assert started, "asked for its size before there is a cluster"
        joblib.register_parallel_backend("ray", LikeRays)

    inner.register_ray = register
    for name, module in {"ray": ray, "ray.util": types.ModuleType("ray.util"), "ray.util.joblib": inner}.items():
        monkeypatch.setitem(sys.modules, name, module)


def test_ray_by_one_parameter(people, tmp_path, like_ray):
    source = people / "p1"
    alone = mask_folder(source, tmp_path / "a", workers=1, progress=False)
    assert mask_folder(source, tmp_path / "b", engine="ray", progress=False) == alone
    assert_masked_alike(tmp_path / "a", tmp_path / "b", 20)


def test_without_ray_the_way_out_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match="engine ray needs a package.*pip install"), engines.workers("ray"):
        pass


def test_no_scheduler_is_told(monkeypatch):
    distributed = pytest.importorskip("distributed")
    soon = lambda address, timeout, client=distributed.Client, **more: client(address, timeout="1s", **more)  # noqa: E731
    monkeypatch.setattr(distributed, "Client", soon)
    with pytest.raises(ValueError, match="no Dask scheduler answers"), engines.workers("dask tcp://127.0.0.1:9"):
        pass
