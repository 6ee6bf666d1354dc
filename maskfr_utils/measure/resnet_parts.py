"""Why ResNet-50 learns slowly: one thing at a time that IResNet or later recipes do otherwise, given to it.

    python -m maskfr_utils.measure.resnet_parts

Each variant is trained by the study's recipe for rendered faces, at the learning rate that was chosen for ResNet-50, once for each
seed, and is scored on the masked validation photos. Stopped, the command goes on where it was; it writes the record anew after each run.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from torch import nn

from maskfr_utils import fingerprint, paths, train
from maskfr_utils.config import TrainConfig
from maskfr_utils.loop import Trainer
from maskfr_utils.measure.record import made, parser, status
from maskfr_utils.models.networks import STRIDE, ResNet, initialise
from maskfr_utils.recogniser import Recogniser
from maskfr_utils.records import write_json
from maskfr_utils.study.outcomes import Result, comparisons, in_points, points
from maskfr_utils.study.run import Run
from maskfr_utils.study.scales import recipe

RECORD = Path("networks") / "resnet_parts.json"  # below the records of the study
COMMAND = "python -m maskfr_utils.measure.resnet_parts"
AS_IT_IS = "as it is"
MODEL = "resnet50"


def keep_map(network: ResNet) -> None:
    """The whole last map goes into the embedding, as in IResNet, and not its mean over all places."""
    places = (network.image_size // STRIDE) ** 2
    features = network.fc.in_features * places
    # What is one place by then, the mean over all places leaves as it is.
    network.layer4.append(nn.Sequential(nn.Flatten(), nn.Unflatten(1, (features, 1, 1))))
    network.fc = nn.Linear(features, network.fc.out_features)


def fine_stem(network: ResNet) -> None:
    """IResNet's stem, a convolution of 3 x 3 at the full resolution; the first stage halves the map instead."""
    network.conv1 = nn.Conv2d(3, network.conv1.out_channels, 3, padding=1, bias=False)
    initialise(network.conv1)
    first = network.layer1[0]
    first.conv2.stride = first.downsample[0].stride = (2, 2)


def begin_at_zero(network: ResNet) -> None:
    """The last BatchNorm of each block begins with a scale of 0, so that a block changes nothing until it has learnt something.

    Source: Goyal et al., "Accurate, Large Minibatch SGD", 2017, section 5.1.
    """
    for module in network.modules():
        if hasattr(module, "bn3"):
            nn.init.zeros_(module.bn3.weight)


PARTS: dict[str, Callable[[ResNet], None]] = {
    AS_IT_IS: lambda network: None,
    "IResNet's head": keep_map,
    "IResNet's stem": fine_stem,
    "blocks that begin at zero": begin_at_zero,
}


class Altered(train.Kind):
    """A run of a ResNet with one of `PARTS`."""

    def __init__(self, part: str):
        self.part = part

    def trainer(self, *args: object) -> Trainer:
        """The run in its course."""
        return AlteredTrainer(self.part, *args)


class AlteredTrainer(Trainer):
    """Arguments after `part`, attributes and errors as `loop.Trainer`."""

    def __init__(self, part: str, *args: object):
        self.part = part
        super().__init__(*args)

    def build(self) -> Recogniser:
        """The network, altered, and its loss."""
        built = super().build()
        PARTS[self.part](built.backbone)
        if self.part != AS_IT_IS:  # its weights are for nothing else: `load_model` refuses the name
            built.backbone.config = built.backbone.config | {"name": f"{self.config.model}, {self.part}"}
        return built


def config_of(part: str, seed: int, **changed: object) -> TrainConfig:
    """The parameters of a run: the recipe's, at ResNet-50's rate, on validation photos.

    Args:
        part: one of `PARTS`.
        seed: of weights, order, split and masks.
        changed: other parameters than the recipe's.
    """
    values = recipe("demo") | Run(scale="demo", model=MODEL, seed=seed).overrides() | {"scored_on": "validation"}
    name = "-".join(part.replace("'", "").split())
    values |= {"out_dir": str(paths.runs_dir() / f"resnet_parts-{name}-s{seed}")}
    return TrainConfig.from_mapping(values | changed)


def measure(out: Path, seeds: int = 5, **changed: object) -> None:
    """Makes the runs, seed after seed, and writes the record after each; errors are those of `train.run`.

    Args:
        out: the record.
        seeds: that each part is trained with.
        changed: parameters other than the recipe's.

    Raises:
        ValueError: a run that is there already was trained by older code.
    """
    started, runs, seconds = time.perf_counter(), {part: {} for part in PARTS}, 0.0
    for seed in range(seeds):
        for part in PARTS:
            config, kind = config_of(part, seed, **changed), Altered(part)
            run = train.run(config, kind)
            if moved := fingerprint.moved(run["provenance"]["fingerprint"], fingerprint.numbers(kind.parts(config))):
                raise ValueError(
                    f"{config.folder} is of older code ({', '.join(moved)} moved): delete it, to train it anew"
                )
            photos = {name: run["photos"][name] for name in ("label", "masked_rank")}
            runs[part][seed] = {name: run[name] for name in ("params", "history")} | {"photos": photos}
            told = {name: run["provenance"][name] for name in ("device", "precision")}
            seconds += run["provenance"]["seconds"]  # of training, also in processes before this one
            write_json(
                out, {"runs": runs, "provenance": made(started, data="demo", **told) | {"seconds": round(seconds)}}
            )


def results(found: dict) -> dict[str, Result]:
    """What each part of the record did with the masked validation photos, of the seeds that all have; parts without a run are left out."""
    made = {part: by_seed for part, by_seed in found["runs"].items() if by_seed}
    common = sorted(set.intersection(*map(set, made.values())), key=int)
    return {
        f"ResNet-50, {part}": Result({int(seed): by_seed[seed] for seed in common}, "masked")
        for part, by_seed in made.items()
    }


def differences(found: dict) -> pd.DataFrame:
    """Each changed network less the one as it is, see `outcomes.comparisons`."""
    plain, *others = results(found).items()
    return comparisons({name: (one, plain[1]) for name, one in others}, planned=len(PARTS) - 1)


def in_words(found: dict) -> str:
    """Which of the changes is shown to matter."""
    ours, compared = results(found), differences(found)
    sure = compared[compared["verdict"].isin(["better", "worse"])]
    if compared.empty:
        return ""
    if sure.empty:
        return "None of the changes is shown to matter: all differences may be luck."
    plain, told = ours[f"ResNet-50, {AS_IT_IS}"], []
    for name, row in sure.iterrows():
        fewer = row["difference"] < 0
        ends = -row[["difference", "high", "low"]] if fewer else row[["difference", "low", "high"]]
        told.append(
            f"with {name.removeprefix('ResNet-50, ')} ResNet-50 names {points(*ends).lstrip('+')} points {'fewer' if fewer else 'more'} of the masked"
            f" validation photos, and {100 * ours[name].learnt:.0f}% of its training photos instead of {100 * plain.learnt:.0f}%"
        )
    rest = len(compared) - len(sure)
    return f"Beyond noise, {'; '.join(told)}." + (
        f" None of the {rest} others is shown to matter." if rest > 1 else " The other is not shown to matter." * rest
    )


def table(found: dict) -> pd.DataFrame:
    """A line a part: validation and training accuracy in percent, and its difference from the network as it is, with a verdict."""
    ours, compared = results(found), in_points(differences(found))
    rows = {
        name: {"validation": str(one), "training": f"{100 * one.learnt:.1f}%", "seeds": len(one.records)}
        for name, one in ours.items()
    }
    shown = pd.DataFrame.from_dict(rows, orient="index").join(compared[["difference, points", "by seed", "verdict"]])
    return shown.fillna("")


def how(found: dict) -> str:
    """In words, how the record was made."""
    made, one = found["provenance"], next(iter(results(found).values())).one["params"]
    return (
        f"`{COMMAND}`; rendered faces, width {one['width']:g}, {one['epochs']} epochs at a learning rate of {one['lr']:g},"
        f" {made['precision']}; {made['device']}."
    )


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    arguments = parser("resnet_parts", __doc__, paths.results_dir() / RECORD)
    arguments.add_argument("--seeds", type=int, default=5, help="that each variant is trained with (default: 5)")
    args = arguments.parse_args(argv)
    return status("resnet_parts", lambda: measure(args.out, args.seeds))


if __name__ == "__main__":
    sys.exit(main())
