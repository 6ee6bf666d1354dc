"""A run of the study: its name, its parameters, and the command that makes it."""

import hashlib
import itertools
import json
from dataclasses import dataclass
from pathlib import Path

from maskfr_utils import fingerprint, paths
from maskfr_utils.config import TrainConfig, load_params
from maskfr_utils.original import flaws as original
from maskfr_utils.original.probes import of_flaws
from maskfr_utils.probes.runs import of_run
from maskfr_utils.study import scales
from maskfr_utils.study.variants import VARIANTS

# Parameters of the recipe that were chosen on validation photos: name -> what the trial without (or with) it has.
CHANGES: dict[str, dict[str, object]] = {
    "decay_all": {"decay": "all"},
    "fan_layer": {"depthwise_fan": "layer"},
    "fresh_masks": {"fresh_masks": True},
    "augment": {"augment": 0.3},
}


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training of the study.

    Attributes:
        scale: one of `SCALES`.
        model: the network.
        condition: what it trains on.
        batch_size: photos a step; None: the recipe's.
        steps_of: the batch size whose number of steps it takes, at warm-ups as many steps long; None: the recipe's
            epochs.
        scaled: whether its learning rate grows with the batch size.
        rate: its learning rate; None: the network's tuned one.
        change: one of `CHANGES`.
        recipe: another recipe in the scale's folder, which says everything but the network; None: the study's.
        variant: one of `variants.VARIANTS`, at the settings that its trials chose.
        setting: of a variant's trial, its number.
        trial: whether it is scored on the validation photos, for a choice; else on the test photos.
        flaws: of the original (`original.flaws.TRAINED`), where it is a run of the audit, which may have none; else None.
        seed: of initial weights, order, split and masks.
    """

    scale: str
    model: str = "iresnet50"
    condition: str = "masked"
    batch_size: int | None = None
    steps_of: int | None = None
    scaled: bool = False
    rate: float | None = None
    change: str | None = None
    recipe: str | None = None
    variant: str | None = None
    setting: int | None = None
    trial: bool = False
    flaws: tuple[str, ...] | None = None
    seed: int = 0

    @property
    def name(self) -> str:
        """The name of its record and folder."""
        parts = {
            f"b{self.batch_size}": self.batch_size,
            f"n{self.steps_of}": self.steps_of,
            "scaled": self.scaled,
            f"lr{self.rate:g}" if self.rate else "": self.rate,
            self.change: self.change,
            self.recipe: self.recipe,
            self.variant: self.variant,
            f"t{self.setting}": self.setting is not None,
            "trial": self.trial,
            f"audit-{'+'.join(self.flaws or ('none',))}": self.flaws is not None,
        }
        return "-".join([self.scale, self.model, self.condition, *(k for k, v in parts.items() if v), f"s{self.seed}"])

    @property
    def work(self) -> tuple[str, str, str, bool, bool]:
        """What decides how long a picture takes; runs alike in it have one pace."""
        values = scales.recipe(self.scale) | self.overrides()
        drawn = bool(values.get("fresh_masks", False))
        return self.scale, self.model, values.get("precision", "auto"), drawn, "network" in (self.flaws or ())

    @property
    def batch(self) -> int:
        """Photos a step."""
        return self.batch_size or scales.recipe(self.scale)["batch_size"]

    @property
    def lr(self) -> float:
        """The peak learning rate."""
        common = scales.recipe(self.scale)
        rate = self.rate or scales.tuned_rates(self.scale).get(self.model, common["lr"])
        return rate * self.batch / common["batch_size"] if self.scaled else rate

    def overrides(self) -> dict[str, object]:
        """The parameters in which it differs from the recipe."""
        values = {"model": self.model, "condition": self.condition, "seed": self.seed, "batch_size": self.batch}
        values |= {"lr": self.lr, "scored_on": "validation" if self.trial else "test"}
        values |= CHANGES[self.change] if self.change else {}
        common = scales.recipe(self.scale)
        if self.recipe:
            other = load_params(scales.PARAMS / self.scale / f"{self.recipe}.yaml")
            values |= {name: value for name, value in other.items() if name not in ("model", "condition", "seed")}
        if self.variant:
            values |= VARIANTS[self.variant].common | self.settings()
        if self.trial and (epochs := scales.SCALES[self.scale].trial_epochs):
            shrink, warmups = epochs / common["epochs"], ("warmup_epochs", "margin_warmup_epochs")
            return values | {"epochs": epochs} | {name: round(common[name] * shrink, 2) for name in warmups}
        if self.flaws:
            return values | self.flawed(TrainConfig().science() | common | values)
        if not self.steps_of:
            return values
        per_epoch = scales.train_photos(self.scale) // self.batch
        steps = common["epochs"] * (scales.train_photos(self.scale) // self.steps_of)
        shrink = steps / (common["epochs"] * per_epoch)  # of an epoch of the batch with as many steps, in ours
        return values | {
            "max_steps": steps,
            "epochs": max(common["epochs"], -(-steps // per_epoch)),
            "warmup_epochs": round(common["warmup_epochs"] * shrink, 4),
            "margin_warmup_epochs": round(common["margin_warmup_epochs"] * shrink, 4),
        }

    def settings(self) -> dict[str, float]:
        """A variant's own parameters: its trial's, or those that its trials chose; until then those of the middle one."""
        variant = VARIANTS[self.variant]
        if self.setting is None and (tuned := scales.tuned_variants(self.scale).get(self.variant)):
            return tuned
        number = len(variant.settings) // 2 if self.setting is None else self.setting
        return variant.parameters(number, self.lr, scales.recipe(self.scale)["scale"])

    def flawed(self, values: dict[str, object]) -> dict[str, object]:
        """The parameters that its flaws change; where photos count twice, it takes as many steps as without."""
        changed = original.overrides(self.flaws, values)
        if "epochs" in changed:
            per_epoch = scales.train_photos(self.scale) // changed.get("batch_size", values["batch_size"])
            changed["max_steps"] = values["epochs"] * per_epoch
        return changed

    def params(self) -> dict[str, object]:
        """All parameters that decide its result, whether or not its faces are on this machine."""
        values = scales.recipe(self.scale) | self.overrides()
        return TrainConfig.from_mapping(values | {"dataset": "demo"}).science() | {"dataset": values["dataset"]}

    def config(self) -> TrainConfig:
        """The run as `train.run` takes it.

        Raises:
            ConfigError: its faces are not on this machine.
        """
        return TrainConfig.from_mapping(scales.recipe(self.scale) | self.overrides() | {"out_dir": str(self.folder)})

    def behaviour(self) -> dict[str, fingerprint.Numbers]:
        """What the present code computes in each part that decides its result."""
        params = self.params()
        return fingerprint.numbers(of_run(params) if self.flaws is None else of_flaws(params, self.flaws))

    @property
    def folder(self) -> Path:
        """Where it trains. Other parameters or other code train elsewhere: a stopped run never goes on with them."""
        text = json.dumps([self.params(), fingerprint.digest(self.behaviour())], sort_keys=True)
        return paths.runs_dir() / f"{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"

    @property
    def module(self) -> str:
        """What `python -m` runs to make it."""
        return "maskfr_utils.train" if self.flaws is None else "maskfr_utils.original.run"

    @property
    def command(self) -> list[str]:
        """The arguments of `module` that make it."""
        values = self.overrides() | {"out_dir": str(self.folder)}
        pairs = itertools.chain.from_iterable(("-p", name, str(value)) for name, value in values.items())
        flaws = [] if self.flaws is None else ["--flaws", *self.flaws]
        return [*flaws, "-f", str(scales.PARAMS / self.scale / "study.yaml"), *pairs]

    def record_path(self, folder: str | Path | None = None) -> Path:
        """File of its record in the book's results, or in `folder`."""
        return Path(folder or paths.results_dir()) / f"{self.name}.json"

    def steps(self) -> int:
        """Steps that it trains for."""
        values = scales.recipe(self.scale) | self.overrides()
        return values.get("max_steps") or values["epochs"] * (scales.train_photos(self.scale) // values["batch_size"])

    def passes(self) -> int:
        """Pictures that it trains on, each counted at each visit."""
        return self.steps() * self.overrides()["batch_size"]
