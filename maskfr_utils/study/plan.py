"""The runs of the study: what they are, and the command that makes each."""

import hashlib
import itertools
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from maskfr_utils import fingerprint, paths
from maskfr_utils.config import TrainConfig, load_params
from maskfr_utils.names import CONDITIONS, MODELS, SIMPLE_CONDITIONS
from maskfr_utils.original import flaws as original
from maskfr_utils.original.probes import of_flaws
from maskfr_utils.probes.runs import of_run
from maskfr_utils.records import read_record
from maskfr_utils.study import published
from maskfr_utils.study.variants import LOSS_VARIANTS, TWIN_TERM, VARIANTS

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
        seeds: how many each final run has.
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
    "full": Scale("real photos, full width", (0.0125, 0.025, 0.05, 0.1, 0.2), (128, 256, 512, 1024), 3, 6, gpu=True),
}

# Parameters of the recipe that were chosen on validation photos: name -> what the trial without (or with) it has.
CHANGES: dict[str, dict[str, object]] = {
    "decay_all": {"decay": "all"},
    "fan_layer": {"depthwise_fan": "layer"},
    "fresh_masks": {"fresh_masks": True},
    "augment": {"augment": 0.3},
}
TUNED = (
    "# The learning rate of each network: the best of its trials on validation photos, which `python -m maskfr_utils.study"
    " tuning`\n# makes and `--choose` writes here.\n"
)
TUNED_VARIANTS = (
    "# The settings of each loss and of the twin term: the best of its trials on validation photos, which `python -m"
    " maskfr_utils.study`\n# makes (groups losses, conditions) and `--choose` writes here.\n"
)
AUDITED = "ressanet50"  # the network of the audit: each flaw of the original applies to it
ABLATION = ("iresnet50", "iresnet50_se", "iresnet50_frelu", "iresnet50_ibt", "ressanet50")


@cache
def recipe(scale: str) -> dict[str, object]:
    """The parameters that all runs of a scale share."""
    return load_params(PARAMS / scale / "study.yaml")


def tuned_rates(scale: str) -> dict[str, float]:
    """Network -> the learning rate that its trials chose; those that were not tried yet are not in it."""
    path = PARAMS / scale / "tuned.yaml"
    return load_params(path) if path.exists() else {}


def tuned_variants(scale: str) -> dict[str, dict[str, float]]:
    """Loss or twin term -> the parameters that its trials chose; those that were not tried yet are not in it."""
    path = PARAMS / scale / "tuned_variants.yaml"
    return load_params(path) if path.exists() else {}


@cache
def train_photos(scale: str) -> int:
    """How many photos the runs of a scale train on: they make steps of epochs.

    Read from any record of the scale among the book's; where there is none yet, its faces are prepared and counted.
    """
    for path in sorted(paths.results_dir().glob(f"{scale}-*.json")):
        if "-audit-" not in path.name:  # they may count mirror images
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
    def batch(self) -> int:
        """Photos a step."""
        return self.batch_size or recipe(self.scale)["batch_size"]

    @property
    def lr(self) -> float:
        """The peak learning rate."""
        common = recipe(self.scale)
        rate = self.rate or tuned_rates(self.scale).get(self.model, common["lr"])
        return rate * self.batch / common["batch_size"] if self.scaled else rate

    def overrides(self) -> dict[str, object]:
        """The parameters in which it differs from the recipe."""
        values = {"model": self.model, "condition": self.condition, "seed": self.seed, "batch_size": self.batch}
        values |= {"lr": self.lr, "scored_on": "validation" if self.trial else "test"}
        values |= CHANGES[self.change] if self.change else {}
        common = recipe(self.scale)
        if self.recipe:
            other = load_params(PARAMS / self.scale / f"{self.recipe}.yaml")
            values |= {name: value for name, value in other.items() if common.get(name) != value}
        if self.variant:
            values |= VARIANTS[self.variant].common | self.settings()
        if self.trial and (epochs := SCALES[self.scale].trial_epochs):
            shrink, warmups = epochs / common["epochs"], ("warmup_epochs", "margin_warmup_epochs")
            return values | {"epochs": epochs} | {name: round(common[name] * shrink, 2) for name in warmups}
        if self.flaws:
            return values | self.flawed(TrainConfig().science() | common | values)
        if not self.steps_of:
            return values
        per_epoch = train_photos(self.scale) // self.batch
        steps = common["epochs"] * (train_photos(self.scale) // self.steps_of)
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
        if self.setting is None and (tuned := tuned_variants(self.scale).get(self.variant)):
            return tuned
        number = len(variant.settings) // 2 if self.setting is None else self.setting
        return variant.parameters(number, self.lr, recipe(self.scale)["scale"])

    def flawed(self, values: dict[str, object]) -> dict[str, object]:
        """The parameters that its flaws change; where photos count twice, it takes as many steps as without."""
        changed = original.overrides(self.flaws, values)
        if "epochs" in changed:
            per_epoch = train_photos(self.scale) // changed.get("batch_size", values["batch_size"])
            changed["max_steps"] = values["epochs"] * per_epoch
        return changed

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
        return [*flaws, "-f", str(PARAMS / self.scale / "study.yaml"), *pairs]

    def record_path(self, folder: str | Path | None = None) -> Path:
        """File of its record in the book's results, or in `folder`."""
        return Path(folder or paths.results_dir()) / f"{self.name}.json"

    def steps(self) -> int:
        """Steps that it trains for."""
        values = recipe(self.scale) | self.overrides()
        return values.get("max_steps") or values["epochs"] * (train_photos(self.scale) // values["batch_size"])

    def passes(self) -> int:
        """Pictures that it trains on, each counted at each visit."""
        return self.steps() * self.overrides()["batch_size"]


def trials(scale: str, model: str, folder: str | Path | None = None) -> list[Run]:
    """A network's trials: every rate of the scale; further ones, by factors of two, while the best is at an edge."""
    rates = list(SCALES[scale].rates)
    while True:
        runs = [Run(scale=scale, model=model, rate=rate, trial=True) for rate in sorted(rates)]
        scores = [validation(run, folder) for run in runs]
        if None in scores:
            return runs
        best = runs[scores.index(max(scores))].rate
        if best not in (min(rates), max(rates)):
            return runs
        rates.append(best / 2 if best == min(rates) else best * 2)


def validation(run: Run, folder: str | Path | None = None) -> float | None:
    """What a trial is judged by: its accuracy on the masked validation photos, a variant's on the twins that it names.

    Returns:
        A fraction, 0 of a trial that left the numbers; None where it has no record.
    """
    path, twins = run.record_path(folder), VARIANTS[run.variant].judged if run.variant else ("masked",)
    if not path.exists():
        return None
    metrics = read_record(path)["metrics"]
    return sum(metrics[twin]["accuracy"] for twin in twins) / len(twins)


def chosen(scale: str, folder: str | Path | None = None) -> dict[str, float]:
    """Network -> the best of its trials' learning rates, of those as good the lowest; of networks whose trials are done."""
    found = {}
    for model in MODELS:
        runs = trials(scale, model, folder)
        scores = [validation(run, folder) for run in runs]
        if None not in scores:
            found[model] = runs[scores.index(max(scores))].rate
    return found


def variant_trials(scale: str, variant: str) -> list[Run]:
    """A variant's trials, by IResNet-50."""
    condition = VARIANTS[variant].common.get("condition", "masked")
    count = len(VARIANTS[variant].settings)
    return [Run(scale=scale, condition=condition, variant=variant, setting=i, trial=True) for i in range(count)]


def chosen_variants(scale: str, folder: str | Path | None = None) -> dict[str, dict[str, float]]:
    """Loss or twin term -> the parameters of the best of its trials, of those as good the first; of those whose trials are done."""
    found = {}
    for variant in VARIANTS:
        runs = variant_trials(scale, variant)
        scores = [validation(run, folder) for run in runs]
        if None not in scores:
            found[variant] = runs[scores.index(max(scores))].settings()
    return found


def choices(scale: str, folder: str | Path | None = None) -> dict[str, tuple[str, dict, dict]]:
    """File of a scale that holds what trials chose -> its first lines, what they chose, and what it says."""
    return {
        "tuned.yaml": (TUNED, chosen(scale, folder), tuned_rates(scale)),
        "tuned_variants.yaml": (TUNED_VARIANTS, chosen_variants(scale, folder), tuned_variants(scale)),
    }


def write_tuned(scale: str, folder: str | Path | None = None) -> None:
    """Writes `tuned.yaml` and `tuned_variants.yaml` of a scale: what its trials chose, if there were any."""
    for name, (head, now, before) in choices(scale, folder).items():
        if now != before:
            with paths.replacing(PARAMS / scale / name) as temporary:
                temporary.write_text(head + yaml.safe_dump(now, sort_keys=False), encoding="utf-8")


def waits(run: Run) -> bool:
    """Whether trials that decide a run's parameters are still to be made."""
    if run.recipe or (run.trial and not run.variant):  # their rate is given
        return False
    own = run.variant and not run.trial and run.variant not in tuned_variants(run.scale)
    return bool(own or run.model not in tuned_rates(run.scale))


def tuning(scale: str, folder: str | Path | None = None) -> list[Run]:
    """Each network at several learning rates, scored on the validation photos."""
    return [run for model in dict.fromkeys((*published.TABLE_2, *ABLATION)) for run in trials(scale, model, folder)]


def changes(scale: str) -> list[Run]:
    """Each change of the recipe alone, at every rate, scored on the validation photos, by one network of either kind."""
    models, rates = ("iresnet50", "ressanet50"), SCALES[scale].rates
    return [Run(scale=scale, model=m, rate=r, change=c, trial=True) for m in models for c in CHANGES for r in rates]


def table_1(scale: str) -> list[Run]:
    """IResNet-50 trained on masked faces, on unmasked ones, and on both."""
    return [Run(scale=scale, condition=c, seed=s) for s in range(SCALES[scale].seeds) for c in SIMPLE_CONDITIONS]


def table_2(scale: str) -> list[Run]:
    """The five networks trained on masked faces."""
    return [Run(scale=scale, model=m, seed=s) for s in range(SCALES[scale].seeds) for m in published.TABLE_2]


def ablation(scale: str) -> list[Run]:
    """IResNet-50, with each part of ResSaNet alone, and with all."""
    return [Run(scale=scale, model=m, seed=s) for s in range(SCALES[scale].seeds) for m in ABLATION]


def figure_9(scale: str) -> list[Run]:
    """IResNet-50 on masked faces by batch size: at one rate, at a rate that grows with it, and for as many steps."""
    _, *others = SCALES[scale].batches
    runs = []
    for seed in range(3):
        runs += [Run(scale=scale, batch_size=size, seed=seed) for size in (None, *others)]
        runs += [Run(scale=scale, batch_size=size, scaled=True, seed=seed) for size in others]
        runs += [Run(scale=scale, batch_size=size, steps_of=others[-1], seed=seed) for size in (None, *others[:-1])]
    return runs


def losses(scale: str) -> list[Run]:
    """IResNet-50 trained on masked faces with each loss: its trials, and three seeds at the settings that they chose."""
    finals = [Run(scale=scale, variant=name, seed=seed) for seed in range(3) for name in LOSS_VARIANTS]
    return finals + [run for name in LOSS_VARIANTS for run in variant_trials(scale, name)]


def conditions(scale: str) -> list[Run]:
    """IResNet-50 under each condition of training; with the twin term at the weight that its trials chose."""
    finals = []
    for seed in range(SCALES[scale].seeds):
        finals += [Run(scale=scale, condition=condition, seed=seed) for condition in CONDITIONS]
        finals.append(Run(scale=scale, condition="twins", variant=TWIN_TERM, seed=seed))
    return finals + variant_trials(scale, TWIN_TERM)


def report(scale: str) -> list[Run]:
    """A network of either kind by the report's recipe."""
    seeds = range(SCALES[scale].seeds)
    return [Run(scale=scale, model=m, recipe="report", seed=s) for s in seeds for m in ("iresnet50", "ressanet50")]


def audit_flaws(scale: str) -> list[tuple[str, ...]]:
    """The sets of flaws that the audit trains with: none, each alone, and all with one after the other taken away.

    Rendered faces have no near-copies. On real photos with a CPU only those of data and all together: the rest is for a GPU.
    """
    photos = recipe(scale)["dataset"] != "demo"
    offered = [name for name in original.TRAINED if photos or name != "near_copies"]
    alone = [original.ordered({name, original.NEEDS.get(name, name)}) for name in offered]
    fewer = [tuple(offered[i:]) for i in range(len(offered) - 1)]
    sets = list(dict.fromkeys([(), *alone, *fewer]))
    if photos and not SCALES[scale].gpu:
        sets = [(), *((name,) for name in ("folders", *original.POOL)), tuple(offered)]
    return sets


def audit(scale: str) -> list[Run]:
    """ResSaNet-50 with the deviations of the code behind the report."""
    sets = audit_flaws(scale)
    return [Run(scale=scale, model=AUDITED, flaws=s, seed=seed) for seed in range(SCALES[scale].seeds) for s in sets]


GROUPS = {
    "tuning": tuning,
    "table_2": table_2,
    "table_1": table_1,
    "ablation": ablation,
    "figure_9": figure_9,
    "changes": changes,
    "losses": losses,
    "conditions": conditions,
    "report": report,
    "audit": audit,
}


def runs(groups: Iterable[str] = (), scales: Iterable[str] = SCALES, folder: str | Path | None = None) -> list[Run]:
    """The runs of these groups (or of all) and scales, each once, first seeds first.

    Args:
        groups: some of `GROUPS`.
        scales: some of `SCALES`.
        folder: of the records, on which the trials depend; default: the book's.
    """
    found = {}
    for scale in scales:
        for group in groups or GROUPS:
            made = tuning(scale, folder) if group == "tuning" else GROUPS[group](scale)
            found |= dict.fromkeys(made)
    return sorted(found, key=lambda run: run.seed)


def command(group: str | None = None, scale: str | None = None, run: Run | None = None) -> str:
    """The command line that makes a group, or a run, of the study."""
    model = None
    if run:
        group, scale = next(g for g in GROUPS if run in GROUPS[g](run.scale)), run.scale
        model = run.model if group == "tuning" else None
    options = [
        *([group] if group else []),
        *(["--scale", scale] if scale else []),
        *(["--model", model] if model else []),
    ]
    return " ".join(["python -m maskfr_utils.study", *options])
