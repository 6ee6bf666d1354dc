"""Which parts of the code decide a run. Free of torch, which is loaded only where a part has to be computed."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from maskfr_utils.config import TrainConfig
from maskfr_utils.fingerprint import Numbers
from maskfr_utils.names import SIMPLE_CONDITIONS

OPTIONS = ("decay", "depthwise_fan")  # of a recipe; a value other than the default is a part of its own


def of_run(params: Mapping[str, object]) -> dict[str, Callable[[], Numbers]]:
    """The parts that decide the result of a run: name -> the function that computes it.

    Args:
        params: of the run, as `TrainConfig.science` gives them. Faces are taken as aligned, with known landmarks.
    """
    names = ["rendered people" if params["dataset"] == "demo" else "pictures", "masks", "split", "batches"]
    names += [f"condition {params['condition']}"] * (params["condition"] not in SIMPLE_CONDITIONS)
    names += ["twin term"] * bool(params.get("twin_weight"))
    names += ["fresh masks"] * bool(params["fresh_masks"]) + ["augmentation", "schedule"]
    names += [f"network {params['model']}", f"loss {params['loss']}", f"steps {params['model']}", "evaluation"]
    usual = {option: getattr(TrainConfig, option) for option in OPTIONS}
    options = [option for option in OPTIONS if params.get(option, usual[option]) != usual[option]]
    names += [f"steps {params['model']} {option}={params[option]}" for option in options]
    return {name: partial(_compute, name) for name in names}


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch computes with one thread: as sums are cut, so they round, and a run's folder must not hang on the threads it has."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@one_thread()
def _compute(name: str) -> Numbers:
    from maskfr_utils.probes import faces, training

    if name in faces.PARTS:
        return faces.PARTS[name]()
    part, *of = name.split()
    return training.PARTS[name]() if name in training.PARTS else training.PARTS[part](*of)
