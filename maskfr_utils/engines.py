"""Where work that comes in many equal pieces is done: on this machine's cores, or on a cluster, by joblib's back ends."""

from collections.abc import Iterator
from contextlib import contextmanager

import joblib

LOCAL, DASK, RAY = "local", "dask", "ray"
HELP = "where the work is done: local, ray, or dask and an address, as in 'dask tcp://head:8786'"


@contextmanager
def workers(engine: str = LOCAL) -> Iterator[None]:
    """Where blocks are computed while this lasts.

    Args:
        engine: `local` (all cores), `ray` (the cluster that this machine is part of), or `dask` followed by the address of a
            scheduler, as in `dask tcp://head:8786`. A block whose worker dies is computed again by another one.

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
            raise ValueError(
                "engine dask needs a package that is not here: pip install 'maskfr-utils[cluster]'"
            ) from None
        try:
            client = Client(address.strip(), timeout="10s", set_as_default=False)
        except (OSError, ValueError) as error:
            raise ValueError(f"no Dask scheduler answers at {address.strip()}: {error}") from None
        with client, joblib.parallel_config(backend="dask", client=client, n_jobs=-1):
            yield
    elif kind == RAY and not address:
        try:
            from ray.util.joblib import register_ray
        except ImportError:
            raise ValueError("engine ray needs a package that is not here: pip install 'ray[default]'") from None
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
