"""The arguments of a training run: one dataclass, read from a params YAML, a command line or a notebook.

Free of torch, so that a misspelt name is refused before the seconds that importing torch takes.
"""

import argparse
import hashlib
import json
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from maskfr_utils import plain_yaml
from maskfr_utils.messages import PlainError, shown
from maskfr_utils.names import (
    CONDITIONS,
    DECAY,
    DEVICES,
    FANS,
    LOGGERS,
    LOSSES,
    MODELS,
    PARTS,
    PRECISIONS,
    SAMPLED,
    SCHEDULES,
    of_notebook,
    unknown,
)
from maskfr_utils.paths import find_data, runs_dir

HDF5 = b"\x89HDF\r\n\x1a\n"
NOTHING, YES, NO = ("null", "none", "~"), ("true", "yes", "on"), ("false", "no", "off")
LARGEST = 2**53  # of an integer: what JSON and floats hold exactly


class ConfigError(PlainError, ValueError):
    """A parameter that no run can have; its text says what would do."""


def _param(default, text: str, low: float = -math.inf, high: float = math.inf, choices: tuple = ()):
    return field(default=default, metadata={"help": text, "low": low, "high": high, "choices": choices})


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One training run; every field may stand in a YAML, behind `-p`, or in the notebook's parameters cell.

    Raises:
        ConfigError: a value of the wrong type, out of range, or naming nothing that exists.
    """

    model: str = _param("ressanet50", "network", choices=MODELS)
    dataset: str = _param("demo", "`demo` (rendered faces), or a folder, zip, tar or HDF5 file of faces")
    condition: str = _param(
        "both",
        "what it trains on; `both` draws one of the twins at each visit, `twins` takes both in one batch",
        choices=tuple(CONDITIONS),
    )
    twin_weight: float = _param(
        0.0, "how strongly the embeddings of a photo's twins are drawn together; condition `twins` only", 0.0, 1e6
    )
    epochs: int = _param(8, "passes over the training photos", 1)
    max_steps: int | None = _param(None, "end training after so many steps (default: at the last epoch)", 1)
    batch_size: int = _param(16, "photos a step, over all devices", 2)
    loss: str = _param("arcface", "training loss; set scale and margin with it: theirs are ArcFace's", choices=LOSSES)
    scale: float | None = _param(
        16.0,
        "s of the loss; more identities want more: 64 for thousands; null: as in its paper",
        1e-3,
    )
    margin: float | None = _param(0.3, "m of the loss, radians; null: as in its paper", 0.0, 4.0)
    margin_warmup_epochs: float = _param(3.0, "epochs over which the margin grows from none to the whole", 0.0)
    lr: float = _param(0.0125, "peak learning rate of SGD, for the batch size", 1e-12)
    accumulate: int = _param(
        1, "parts that a step's batch is computed in, one after the other; BatchNorm sees a part", 1
    )
    sync_batchnorm: bool = _param(
        False, "several processes: BatchNorm goes by the whole batch, not by each one's share"
    )
    class_rate: float = _param(
        1.0, "share of the identities that a step's softmax draws (PartialFC); below 1 for very many of them", 1e-6, 1.0
    )
    momentum: float = _param(0.9, "momentum of SGD", 0.0, 0.9999)
    weight_decay: float = _param(5e-4, "weight decay of SGD", 0.0)
    decay: str = _param(
        "weights", "what decays: weights (of convolutions, linear layers, classes), or all", choices=DECAY
    )
    schedule: str = _param("cosine", "learning rate after the warm-up", choices=SCHEDULES)
    warmup_epochs: float = _param(1.0, "epochs over which the learning rate grows to its peak; 0 switches it off", 0.0)
    width: float = _param(1.0, "channels, as a multiple of the paper's", 0.05, 4.0)
    depthwise_fan: str = _param("group", "initial scale of depthwise filters: by group, or as if dense", choices=FANS)
    embedding_dim: int = _param(512, "length of the embedding", 2)
    dropout: float = _param(0.0, "dropout before the embedding layer", 0.0, 0.95)
    weights: str | None = _param(
        None, "trained network to start from: a run's folder, its model.safetensors, or arcface_torch's backbone.pth"
    )
    head_epochs: int = _param(0, "epochs, at first, in which the network rests and only the classes are trained", 0)
    augment: float = _param(0.0, "strength of the training augmentation beyond mirroring; 0 switches it off", 0.0, 1.0)
    fresh_masks: bool = _param(False, "draw a new mask at each visit instead of the stored masked twin")
    flip_test: bool = _param(False, "embed a test face as the sum over itself and its mirror image")
    style: str = _param("random", "style of the virtual masks: random, a name, or a style file")
    min_masked: int = _param(5, "leave out identities with fewer masked pictures (the report: 80)", 2)
    test_fraction: float = _param(0.1, "share of each identity's photos that is tested on", 0.01, 0.9)
    validation_fraction: float = _param(0.1, "share of each identity's other photos for validation", 0.0, 0.9)
    keep_copies: bool = _param(False, "keep near-duplicates of a person's photos, in one part where there are others")
    worn_masks: bool = _param(
        False, "photos in which a mask is worn already get no second one, and are a test on real masks"
    )
    scored_on: str = _param("test", "photos that the record is about; trials are scored on validation", choices=PARTS)
    identities: int = _param(20, "rendered identities, where the data set is `demo`", 2)
    per_identity: int = _param(30, "pictures of each rendered identity", 2)
    difficulty: float = _param(0.1, "how alike rendered people are, and how different their pictures", 0.0, 1.0)
    precision: str = _param("auto", "arithmetic; `auto` takes bf16 where the hardware has it", choices=PRECISIONS)
    device: str = _param("auto", "what to compute on; `auto` takes a GPU where there is one", choices=DEVICES)
    compile: str | bool = _param(
        "auto", "torch.compile: true, false, or `auto`: where the run is long enough to repay it"
    )
    recompute: str | bool = _param(
        "auto", "compute activations twice instead of keeping them: true, false, or `auto`: where memory is short"
    )
    eval_every: int = _param(2, "epochs between looks at the validation photos; 0: none", 0)
    workers: int = _param(0, "loader processes", 0, 256)
    seed: int = _param(0, "seed of initial weights, order, augmentation, fresh masks", 0, 2**31 - 1)
    data_seed: int | None = _param(
        None, "seed of split, masked twins and rendered people; null: as `seed`", 0, 2**31 - 1
    )
    out_dir: str | None = _param(None, "folder of the record, weights and checkpoint (default: runs/<name of the run>)")
    resume: bool = _param(
        True, "go on where a stopped run of the same parameters left off in out_dir, or hand out its record if it ended"
    )
    checkpoint_minutes: float = _param(3.0, "minutes between checkpoints within an epoch", 0.0)
    logger: str = _param("none", "what also gets each epoch's figures, in out_dir", choices=LOGGERS)

    def __post_init__(self):
        for f in fields(self):
            object.__setattr__(self, f.name, _checked(f, getattr(self, f.name)))
        prepared = {}
        if self.dataset != "demo":
            try:
                path = find_data(self.dataset)
            except (OSError, ValueError, RuntimeError) as error:
                raise ConfigError(f"unknown dataset {shown(self.dataset)}: not `demo`, and {error}") from None
            prepared = prepared_with(path)
            for name, value in prepared.items():
                self._take_over(name, value)
        if self.style != "random" and ("style" not in prepared or self.fresh_masks):
            from maskfr_utils.masks.styles import resolve

            try:
                resolve(self.style)
            except (ValueError, OSError) as error:
                raise ConfigError(str(error)) from None
        if self.batch_size < 2 * self.accumulate:
            raise ConfigError(
                f"accumulate={self.accumulate} parts of batch_size={self.batch_size}: at least 2 photos each"
            )
        if self.class_rate < 1 and self.loss not in SAMPLED:
            raise ConfigError(f"class_rate={self.class_rate:g} needs a loss of: {', '.join(SAMPLED)}, not {self.loss}")
        if self.weights is not None and not _is_there(self.weights):
            raise ConfigError(f"weights {shown(self.weights)}: no such file or folder")
        if self.head_epochs and self.weights is None:
            raise ConfigError("head_epochs needs weights: a network that has learnt nothing must not rest")
        if self.head_epochs > self.epochs:
            raise ConfigError(f"head_epochs={self.head_epochs} is more than epochs={self.epochs}")
        if self.scored_on == "validation" and not self.validation_fraction:
            raise ConfigError("scored_on=validation needs validation photos: set validation_fraction above 0")
        if self.twin_weight and not CONDITIONS[self.condition].together:
            raise ConfigError(
                f"twin_weight={self.twin_weight:g} needs both twins in a batch: set condition to twins, not {self.condition}"
            )
        if self.loss == "sphereface":
            if self.margin is not None and self.margin <= 1:
                raise ConfigError(
                    f"margin={self.margin:g} is none for sphereface, which multiplies the angle: try 1.35"
                )
        elif self.margin is not None and self.margin > math.pi / 2:
            raise ConfigError(f"margin={self.margin:g} is in radians: at most {math.pi / 2:.4g}, a right angle")
        if self.warmup_epochs >= self.epochs and self.warmup_epochs > 1:
            raise ConfigError(f"warmup_epochs={self.warmup_epochs:g} must be less than epochs={self.epochs}")

    def _take_over(self, name: str, value: object) -> None:
        """A parameter as the prepared file has it: what is not what the file holds must not stand in a record."""
        f, given = type(self).__dataclass_fields__[name], getattr(self, name)
        value = _checked(f, value)
        if name == "style" and self.fresh_masks:  # of the masks drawn while training
            return
        if given not in (f.default, value):
            raise ConfigError(
                f"{self.dataset} was prepared with {name}={shown(value)}, not {shown(given)}: leave {name} out, or "
                "prepare the photos anew"
            )
        object.__setattr__(self, name, value)

    @classmethod
    def from_mapping(cls, values: Mapping[str, object]) -> "TrainConfig":
        """A run from names and values; a name that is no parameter is refused."""
        names = [f.name for f in fields(cls)]
        for name in values:
            if name not in names:
                raise ConfigError(unknown("parameter", name, names))
        return cls(**values)

    @classmethod
    def from_notebook(cls, variables: Mapping[str, object]) -> "TrainConfig":
        """A run from a notebook's `globals()`: every plain value in it must be a parameter.

        papermill only warns of a misspelt name and goes on with the default; here it is refused. Call it before the
        notebook defines anything else.
        """
        return cls.from_mapping(of_notebook(variables))

    @classmethod
    def from_argv(cls, argv: list[str] | None = None, prog: str = "python -m maskfr_utils.train") -> "TrainConfig":
        """A run from `-f params.yaml` and `-p name value`, spelt as papermill spells them; -p wins over -f."""
        parser = argparse.ArgumentParser(
            prog=prog,
            description="Train one network on one data set and evaluate it on masked and unmasked test twins.",
            epilog="parameters:\n" + cls.help_text(),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        parser.add_argument("-f", "--parameters-file", metavar="YAML", action="append", default=[])
        parser.add_argument("-p", "--parameters", nargs=2, metavar=("NAME", "VALUE"), action="append", default=[])
        args = parser.parse_args(argv)
        values: dict[str, object] = {}
        try:
            for file in args.parameters_file:
                values |= load_params(file)
            return cls.from_mapping(values | dict(args.parameters))
        except (ConfigError, OSError) as error:
            parser.exit(2, f"{prog}: {error}\n")

    @classmethod
    def help_text(cls) -> str:
        """One line a parameter: name, default, meaning."""
        lines = []
        for f in fields(cls):
            choices = f" [{', '.join(f.metadata['choices'])}]" if f.metadata["choices"] else ""
            lines.append(f"  {f.name} = {f.default}: {f.metadata['help']}{choices}")
        return "\n".join(lines)

    def science(self) -> dict[str, object]:
        """The parameters that decide the result: all but where it is written, and how it may be stopped and resumed."""
        others = ("out_dir", "resume", "checkpoint_minutes", "logger", "device", "recompute")
        return {k: v for k, v in asdict(self).items() if k not in others}

    def data(self) -> dict[str, object]:
        """The parameters that `prepare.prepare` takes."""
        names = (
            "dataset style min_masked test_fraction validation_fraction identities per_identity difficulty keep_copies "
            "worn_masks"
        )
        seed = self.seed if self.data_seed is None else self.data_seed
        return {name: getattr(self, name) for name in names.split()} | {"seed": seed}

    @property
    def run_name(self) -> str:
        """A name that tells runs apart at a glance, and by a hash of every parameter but the number of loaders."""
        values = self.science() | {"workers": type(self).workers}  # draws do not hang on who loads
        digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:6]
        return f"{self.model}-{Path(self.dataset).stem}-{self.condition}-s{self.seed}-{digest}"

    @property
    def again(self) -> str:
        """What goes on with the run once it was stopped, in words."""
        return "the same command" if self.resume else "the same command, with resume set to true,"

    @property
    def folder(self) -> Path:
        """The folder that the run writes to."""
        return Path(self.out_dir).expanduser() if self.out_dir else runs_dir() / self.run_name


def _is_there(name: str) -> bool:
    try:
        return Path(name).expanduser().exists()
    except (OSError, ValueError, RuntimeError):  # too long, a zero byte, nobody of that name
        return False


def load_params(path: str | Path) -> dict[str, object]:
    """The mapping in a params YAML.

    Raises:
        ConfigError: it is not valid YAML, or no mapping of names to values.
        OSError: it cannot be read.
    """
    try:
        values = plain_yaml.read(path)
    except plain_yaml.YamlError as error:
        raise ConfigError(str(error)) from None
    if not isinstance(values, dict) or not all(isinstance(k, str) for k in values):
        raise ConfigError(f"{path} must hold `name: value` lines, one a parameter")
    return values


def prepared_with(path: Path) -> dict[str, object]:
    """The parameters that a prepared HDF5 file was made with; none where `path` is no such file.

    Raises:
        ConfigError: it is damaged.
    """
    if not path.is_file():
        return {}
    with path.open("rb") as file:
        if file.read(len(HDF5)) != HDF5:
            return {}
    from maskfr_utils.store import FaceStore

    try:
        attrs = FaceStore(path).attrs
    except (OSError, ValueError) as error:
        raise ConfigError(str(error)) from None
    names = {name: name for name in ("style", "min_masked", "test_fraction", "validation_fraction")} | {
        "data_seed": "seed"
    }
    switches = {name: bool(attrs.get(name, False)) for name in ("keep_copies", "worn_masks")}
    return {name: attrs[attr] for name, attr in names.items() if attr in attrs} | switches


def _checked(f, value: object) -> object:
    """`value` in the type of field `f`, in range."""
    allowed = typing.get_args(f.type) if isinstance(f.type, types.UnionType) else (f.type,)
    if isinstance(value, str):
        value = _parsed(allowed, value)
    if isinstance(value, int) and not isinstance(value, bool):
        if abs(value) > LARGEST:
            raise ConfigError(f"{f.name}={shown(value)} is out of range ({f.metadata['help']})")
        value = float(value) if float in allowed else value
    if (isinstance(value, bool) and bool not in allowed) or not isinstance(value, allowed):
        names = " or ".join("nothing" if t is types.NoneType else t.__name__ for t in allowed)
        hint = "; a name like this goes in quotes, or behind ./" if str in allowed and bool not in allowed else ""
        raise ConfigError(f"{f.name} must be {names}, got {shown(value)} ({f.metadata['help']}){hint}")
    low, high = f.metadata["low"], f.metadata["high"]
    if (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and not (low <= value <= high and math.isfinite(value))
    ):
        raise ConfigError(f"{f.name}={value:g} is out of range: {low:g} to {high:g} ({f.metadata['help']})")
    if isinstance(value, str) and ("\0" in value or not value.strip()):
        raise ConfigError(f"{f.name} is {shown(value)}, which is no name ({f.metadata['help']})")
    if f.metadata["choices"] and value not in f.metadata["choices"]:
        raise ConfigError(unknown(f.name, value, f.metadata["choices"]))
    if f.name in ("compile", "recompute") and isinstance(value, str) and value != "auto":
        raise ConfigError(f"{f.name} must be true, false or auto, got {shown(value)}")
    return value


def _parsed(allowed: tuple[type, ...], text: str) -> object:
    """A value as it is typed, on a command line or behind papermill's -p, in the first type that takes it.

    Where a name is meant, it is the text as it stands, whatever YAML would make of it.
    """
    word = text.strip().lower()
    if types.NoneType in allowed and word in NOTHING:
        return None
    if bool in allowed and word in YES + NO:
        return word in YES
    for kind in (int, float):
        if kind in allowed and len(text) <= 40:
            try:
                return kind(text)
            except ValueError:
                continue
    return text
