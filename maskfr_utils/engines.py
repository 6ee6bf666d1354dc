"""Where work that comes in many equal pieces is done: on this machine's cores, or on a cluster, by joblib's back ends."""

from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from itertools import islice
from typing import Any

import joblib

LOCAL, DASK, RAY = "local", "dask", "ray"
HELP = "where the work is done: local, ray, or dask and an address, as in 'dask tcp://head:8786'"


@contextmanager
def workers(engine: str = LOCAL) -> Iterator[None]:
    """Where blocks are computed while this lasts.

    Args:
        engine: `local` (all cores), `ray` (the cluster that this machine is part of), or `dask` followed by the address of a
            scheduler, as in `dask tcp://head:8786`. On a cluster a block whose worker dies is computed again by another one.

    Raises:
        ValueError: an unknown engine, one whose package is not installed, or no scheduler there.
    """
    kind, _, address = engine.strip().partition(" ")
    if kind == LOCAL and not address:
        yield
    elif kind == DASK and address:
        try:
            from distributed import Client
        except ImportError:
            raise ValueError("engine dask needs a package that is not here: pip install -e '.[cluster]'") from None
        try:
            client = Client(address.strip(), timeout="10s", set_as_default=False)
        except (OSError, ValueError) as error:
            raise ValueError(f"no Dask scheduler answers at {address.strip()}: {error}") from None
        with client, joblib.parallel_config(backend="dask", client=client, n_jobs=-1):
            yield
    elif kind == RAY and not address:
        try:
            import ray
            from ray.util.joblib import register_ray
        except ImportError:
            raise ValueError("engine ray needs a package that is not here: pip install 'ray[default]'") from None
        if not ray.is_initialized():  # its back end asks how many CPUs there are before it looks for a cluster
            ray.init()
        register_ray()
        with joblib.parallel_config(backend="ray", n_jobs=-1):
            yield
    else:
        raise ValueError(f"unknown engine {engine!r}: local, ray, or dask and an address, as in 'dask tcp://head:8786'")


def processes(most: int | None = None) -> int:
    """How many pieces joblib is to be asked to do at once: all that a cluster has, or one a core that this process may use.

    Args:
        most: on this machine.
    """
    _, configured = joblib.parallel.get_active_backend()
    return configured or min(most or joblib.cpu_count(), joblib.cpu_count())


def results(work: Callable[..., Any], jobs: Iterator[tuple], workers: int, waiting: int) -> Iterator[Any]:
    """What `work` gives for the arguments of each job, in their order; jobs are taken as they are needed.

    Args:
        work: a function of a module.
        jobs: their arguments.
        workers: how many are done at once, as `processes` gives it.
        waiting: jobs that a worker may have before it.

    Raises:
        OSError: a worker of this machine was killed.
    """
    try:
        yield from _results(work, jobs, workers, waiting)
    except BrokenProcessPool:
        raise OSError(
            "a worker was killed, perhaps for want of memory: what it was at is lost; free some memory, and give the command again"
        ) from None


def _results(work: Callable[..., Any], jobs: Iterator[tuple], workers: int, waiting: int) -> Iterator[Any]:
    in_flight = joblib.effective_n_jobs(workers) * waiting
    calls = (joblib.delayed(work)(*job) for job in jobs)
    if joblib.parallel.get_active_backend()[0].supports_return_generator:
        pool = joblib.Parallel(workers, return_as="generator", pre_dispatch=in_flight, batch_size=1)
        with closing(pool(calls)) as done:
            yield from done
        return
    with joblib.Parallel(workers, batch_size=1) as pool:  # Ray's
        while some := list(islice(calls, in_flight)):
            yield from pool(some)
