"""The scales of the study: how large it is run, and the recipe that all runs of a scale share."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from maskfr_utils import paths
from maskfr_utils.config import TrainConfig, load_params
from maskfr_utils.records import record_or_none

PARAMS = paths.ROOT / "params"


@dataclass(frozen=True)
class Scale:
    """How large the study is run: a folder of `params/`.

    Its `study.yaml` is the recipe that all runs share, its `tuned.yaml` the learning rate of each network, its
    `tuned_variants.yaml` the settings of each loss and of the twin term, its `report.yaml` the report's recipe.

    Attributes:
        faces: what it is trained on, in words.
        rates: learning rates that every network is tried at; more follow while the best is at an edge.
        batches: batch sizes of Figure 9, the first of which is the recipe's.
        seeds: how many each final run has; those of batch sizes have three.
        trial_epochs: of its trials, whose warm-ups shrink with them; None: the recipe's.
        gpu: whether no CPU is asked to make it.
    """

    faces: str
    rates: tuple[float, ...]
    batches: tuple[int, ...]
    seeds: int
    trial_epochs: int | None = None
    gpu: bool = False


SCALES = {
    "demo": Scale("rendered faces", (0.003125, 0.00625, 0.0125, 0.025, 0.05), (16, 32, 64, 128), 5),
    "pocket": Scale("real photos", (0.003125, 0.00625, 0.0125, 0.025, 0.05), (32, 64, 128, 256, 512), 3, 3),
    "full": Scale("real photos at full width", (0.0125, 0.025, 0.05, 0.1, 0.2), (128, 256, 512, 1024), 3, 6, gpu=True),
}


@cache
def recipe(scale: str) -> dict[str, object]:
    """The parameters that all runs of a scale share."""
    return load_params(PARAMS / scale / "study.yaml")


def tuned_rates(scale: str) -> dict[str, float]:
    """Network -> the learning rate that its trials chose; those that were not tried yet are not in it."""
    return _chosen(PARAMS / scale / "tuned.yaml")


def tuned_variants(scale: str) -> dict[str, dict[str, float]]:
    """Loss or twin term -> the parameters that its trials chose; those that were not tried yet are not in it."""
    return _chosen(PARAMS / scale / "tuned_variants.yaml")


def _chosen(path: Path) -> dict:
    return dict(_parsed(path, paths.state_of(path.stat()))) if path.exists() else {}


@cache  # of each state of the file: the study asks for it hundreds of times
def _parsed(path: Path, state: tuple[int, int, int]) -> dict[str, object]:
    return load_params(path)


@cache
def train_photos(scale: str) -> int:
    """How many photos the runs of a scale train on: they make steps of epochs.

    Read from any record of the scale among the book's; where there is none yet, its faces are prepared and counted.
    """
    for path in sorted(paths.results_dir().glob(f"{scale}-*.json")):
        if "-audit-" not in path.name and (record := record_or_none(path)):  # an audit's may count mirror images
            return record["provenance"]["train_photos"]
    from maskfr_utils.prepare import prepare
    from maskfr_utils.store import TRAIN, FaceStore

    config = TrainConfig.from_mapping(recipe(scale))
    return len(FaceStore(prepare(**config.data())).indices(TRAIN))
