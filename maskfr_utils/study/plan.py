"""The runs of the study: what they are, and the command that makes each."""

import hashlib
import itertools
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from maskfr_utils import fingerprint, paths
from maskfr_utils.config import TrainConfig, load_params
from maskfr_utils.probes.runs import of_run
from maskfr_utils.records import read_record
from maskfr_utils.study import published

PARAMS = paths.ROOT / "params"


@dataclass(frozen=True)
class Scale:
    """How large the study is run: a folder of `params/`, whose `study.yaml` is the recipe that all its runs share.

    Attributes:
        faces: what it is trained on, in words.
        batches: batch sizes of Figure 9, the first of which is the recipe's.
    """

    faces: str
    batches: tuple[int, ...]


SCALES = {
    "demo": Scale("rendered faces", (16, 32, 64, 128)),
    "pocket": Scale("real photos", (32, 64, 128, 256, 512)),
}


@cache
def recipe(scale: str) -> dict[str, object]:
    """The parameters that all runs of a scale share."""
    return load_params(PARAMS / scale / "study.yaml")


@cache
def train_photos(scale: str) -> int:
    """How many photos the runs of a scale train on: they make steps of epochs.

    Read from any record of the scale among the book's; where there is none yet, its faces are prepared and counted.
    """
    for path in sorted(paths.results_dir().glob(f"{scale}-*.json")):
        return read_record(path)["provenance"]["train_photos"]
    from maskfr_utils.prepare import prepare
    from maskfr_utils.store import TRAIN, FaceStore

    config = TrainConfig.from_mapping(recipe(scale))
    return len(FaceStore(prepare(**config.data())).indices(TRAIN))


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training of the study.

    Attributes:
        scale: one of `SCALES`.
        model: the network.
        condition: what it trains on.
        batch_size: photos a step; None: the recipe's.
        max_steps: steps after which it ends, at warm-ups as many steps long as those of the batch that takes as many
            steps for the recipe's epochs; None: the recipe's epochs.
        seed: of initial weights and order.
    """

    scale: str
    model: str = "iresnet50"
    condition: str = "masked"
    batch_size: int | None = None
    max_steps: int | None = None
    seed: int = 0

    @property
    def name(self) -> str:
        """The name of its record and folder."""
        batch = f"-b{self.batch_size}" if self.batch_size else ""
        steps = f"-n{self.max_steps}" if self.max_steps else ""
        return f"{self.scale}-{self.model}-{self.condition}{batch}{steps}-s{self.seed}"

    @property
    def batch(self) -> int:
        """Photos a step."""
        return self.batch_size or recipe(self.scale)["batch_size"]

    def overrides(self) -> dict[str, object]:
        """The parameters in which it differs from the recipe."""
        values = {"model": self.model, "condition": self.condition, "seed": self.seed, "batch_size": self.batch}
        if not self.max_steps:
            return values
        common, per_epoch = recipe(self.scale), train_photos(self.scale) // self.batch
        shrink = self.max_steps / (common["epochs"] * per_epoch)  # of an epoch of the batch with as many steps, in ours
        return values | {
            "max_steps": self.max_steps,
            "epochs": max(common["epochs"], -(-self.max_steps // per_epoch)),
            "warmup_epochs": round(common["warmup_epochs"] * shrink, 4),
            "margin_warmup_epochs": round(common["margin_warmup_epochs"] * shrink, 4),
        }

    def params(self) -> dict[str, object]:
        """All parameters that decide its result, whether or not its faces are on this machine."""
        values = recipe(self.scale) | self.overrides()
        return TrainConfig.from_mapping(values | {"dataset": "demo"}).science() | {"dataset": values["dataset"]}

    def config(self) -> TrainConfig:
        """The run as `train.run` takes it.

        Raises:
            ConfigError: its faces are not on this machine.
        """
        return TrainConfig.from_mapping(recipe(self.scale) | self.overrides() | {"out_dir": str(self.folder)})

    def behaviour(self) -> dict[str, fingerprint.Numbers]:
        """What the present code computes in each part that decides its result."""
        return fingerprint.numbers(of_run(self.params()))

    @property
    def folder(self) -> Path:
        """Where it trains. Other parameters or other code train elsewhere: a stopped run never goes on with them."""
        text = json.dumps([self.params(), fingerprint.digest(self.behaviour())], sort_keys=True)
        return paths.runs_dir() / f"{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"

    @property
    def command(self) -> list[str]:
        """The arguments of `python -m maskfr_utils.train` that make it."""
        values = self.overrides() | {"out_dir": str(self.folder)}
        pairs = itertools.chain.from_iterable(("-p", name, str(value)) for name, value in values.items())
        return ["-f", str(PARAMS / self.scale / "study.yaml"), *pairs]

    def record_path(self, folder: str | Path | None = None) -> Path:
        """File of its record in the book's results, or in `folder`."""
        return Path(folder or paths.results_dir()) / f"{self.name}.json"

    def steps(self) -> int:
        """Steps that it trains for."""
        return self.max_steps or recipe(self.scale)["epochs"] * (train_photos(self.scale) // self.batch)

    def passes(self) -> int:
        """Pictures that it trains on, each counted at each visit."""
        return self.steps() * self.batch


def table_1(scale: str) -> list[Run]:
    """IResNet-50 trained on masked and on unmasked faces, three seeds."""
    return [Run(scale=scale, condition=c, seed=s) for s in range(3) for c in ("masked", "unmasked")]


def table_2(scale: str) -> list[Run]:
    """The five networks trained on masked faces, two seeds; of IResNet-50 the three that Table 1 has anyway."""
    return [Run(scale=scale, model=m, seed=s) for s in range(3) for m in published.TABLE_2 if s < 2 or m == "iresnet50"]


def figure_9(scale: str) -> list[Run]:
    """IResNet-50 on masked faces by batch size: for the recipe's epochs, and for the steps of the largest batch."""
    _, *others, largest = SCALES[scale].batches
    steps = recipe(scale)["epochs"] * (train_photos(scale) // largest)
    epochs = [Run(scale=scale, batch_size=size) for size in (None, *others, largest)]
    return epochs + [Run(scale=scale, batch_size=size, max_steps=steps) for size in (None, *others)]


GROUPS = {"table_1": table_1, "table_2": table_2, "figure_9": figure_9}


def runs(groups: Iterable[str] = (), scales: Iterable[str] = SCALES) -> list[Run]:
    """The runs of these groups (or of all) and scales, each once, first seeds first."""
    found = dict.fromkeys(run for scale in scales for group in groups or GROUPS for run in GROUPS[group](scale))
    return sorted(found, key=lambda run: run.seed)


def command(group: str | None = None, scale: str | None = None, run: Run | None = None) -> str:
    """The command line that makes a group, or a run, of the study."""
    if run:
        group, scale = next(g for g in GROUPS if run in GROUPS[g](run.scale)), run.scale
    return " ".join(
        ["python -m maskfr_utils.study", *([group] if group else []), *(["--scale", scale] if scale else [])]
    )
