"""The runs of the study: what they are, which of them have been run, and the command that runs the rest.

`python -m maskfr_utils.study --list` tells each run's state, without a list it runs what is missing, and `--check` fails
where a record in `book/results/` is not what the study as it stands would make.
"""

import argparse
import hashlib
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

import numpy as np

from maskfr_utils import fingerprint, paths, report
from maskfr_utils.config import MODELS, ConfigError, TrainConfig, load_params
from maskfr_utils.probes.runs import of_run

TRAIN_PHOTOS = {"demo": 1068, "pocket": 12869}  # of each scale's prepared faces: they make steps of epochs
BATCHES = {"demo": (16, 32, 64, 128), "pocket": (32, 64, 128, 256, 512)}
SCALES = tuple(TRAIN_PHOTOS)
PARAMS = paths.ROOT / "params"
HEADLINE = "headline.md"  # beside the records: the table of the book's first page


@cache
def recipe(scale: str) -> dict[str, object]:
    """The parameters that all runs of a scale share: `params/<scale>/study.yaml`."""
    return load_params(PARAMS / scale / "study.yaml")


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training of the study.

    Attributes:
        scale: `demo` (rendered faces) or `pocket` (real photos).
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
        common, per_epoch = recipe(self.scale), TRAIN_PHOTOS[self.scale] // self.batch
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
        return self.max_steps or recipe(self.scale)["epochs"] * (TRAIN_PHOTOS[self.scale] // self.batch)

    def passes(self) -> int:
        """Pictures that it trains on, each counted at each visit."""
        return self.steps() * self.batch


def table_1(scale: str) -> list[Run]:
    """IResNet-50 trained on masked and on unmasked faces, three seeds."""
    return [Run(scale=scale, condition=c, seed=s) for s in range(3) for c in ("masked", "unmasked")]


def table_2(scale: str) -> list[Run]:
    """The five networks trained on masked faces, two seeds; of IResNet-50 the three that Table 1 has anyway."""
    return [Run(scale=scale, model=m, seed=s) for s in range(3) for m in MODELS if s < 2 or m == "iresnet50"]


def figure_9(scale: str) -> list[Run]:
    """IResNet-50 on masked faces by batch size: for the recipe's epochs, and for the steps of the largest batch."""
    _, *others, largest = BATCHES[scale]
    steps = recipe(scale)["epochs"] * (TRAIN_PHOTOS[scale] // largest)
    epochs = [Run(scale=scale, batch_size=size) for size in (None, *others, largest)]
    return epochs + [Run(scale=scale, batch_size=size, max_steps=steps) for size in (None, *others)]


GROUPS = {"table_1": table_1, "table_2": table_2, "figure_9": figure_9}
CHAPTERS = {"masked_vs_unmasked": "table_1", "compare_models": "table_2", "batch_size": "figure_9", "results": None}
SHOWN = {  # chapter -> the records beside the study's that it shows, below the results; those that exist count
    "data": ("sources/pins.json",),
    "masking": tuple(f"masks/{name}.json" for name in ("success", "speed", "realism", "peer", "rendered")),
    "models": ("speed/cpu.json",),
    "masked_vs_unmasked": ("masks/transfer.json",),
    "benchmarks": ("speed/cpu.json", "speed/cuda.json"),
}


def runs(groups: Iterable[str] = (), scales: Iterable[str] = SCALES) -> list[Run]:
    """The runs of these groups (or of all) and scales, each once, first seeds first."""
    found = dict.fromkeys(run for scale in scales for group in groups or GROUPS for run in GROUPS[group](scale))
    return sorted(found, key=lambda run: run.seed)


def stale(run: Run, record: dict) -> str:
    """Why the record is not what the run would make now, or nothing."""
    now, then = run.params(), record["params"]
    defaults = {f.name: f.default for f in fields(TrainConfig)}  # of parameters that came after the record
    changed = [
        f"{k} was {then.get(k, defaults[k])!r}, is {v!r}" for k, v in now.items() if then.get(k, defaults[k]) != v
    ]
    changed += [f"{k} is no parameter any more" for k in then.keys() - now.keys()]
    if not (known := record["provenance"].get("fingerprint")):
        changed.append("it does not say what code made it")
    elif moved := fingerprint.moved(known, run.behaviour()):
        changed.append(f"the code now computes other numbers for {', '.join(moved)}")
    if "photos" not in record:
        changed.append("it holds no result of each photo")
    return ", ".join(changed)


def state(run: Run, folder: Path | None = None) -> str:
    """`done`, `missing`, or `stale: ` and why."""
    path = run.record_path(folder)
    if not path.exists():
        return "missing"
    try:
        reason = stale(run, report.read_record(path))
    except ValueError as error:
        reason = str(error)
    return f"stale: {reason}" if reason else "done"


def load(group: str | None, scale: str, folder: str | Path | None = None) -> dict[Run, dict]:
    """The records of a group's runs that have been run; of all groups where none is named."""
    found = {}
    for run in runs([group] if group else (), [scale]):
        if (path := run.record_path(folder)).exists():
            found[run] = report.read_record(path)
    return found


def digest(group: str | None, folder: str | Path | None = None) -> str:
    """A hash of all records of a group (or of all groups), by which a chapter shows what it was made from."""
    content = hashlib.sha256()
    for run in runs([group] if group else ()):
        if (path := run.record_path(folder)).exists():
            content.update(run.name.encode() + path.read_bytes())
    return content.hexdigest()[:8]


def made_from(chapter: str, folder: str | Path | None = None) -> str:
    """The line by which a chapter shows which records of `SHOWN` it was made from: their names and a hash of them."""
    folder = Path(folder or paths.results_dir())
    found = [name for name in SHOWN[chapter] if (folder / name).exists()]
    content = hashlib.sha256(b"".join(name.encode() + (folder / name).read_bytes() for name in found))
    return f"made from {', '.join(found) or 'no record'} ({content.hexdigest()[:8]})"


def inconsistencies(records: dict[str, dict]) -> list[str]:
    """How the records of one scale differ in what they must share: faces, test photos, number of training photos.

    Args:
        records: name of the run -> record.
    """
    problems, (first, reference) = [], next(iter(records.items()), (None, None))
    for name, record in records.items():
        ours, theirs = record["provenance"], reference["provenance"]
        same = {
            "the faces": np.shape(ours.get("faces")) == np.shape(theirs.get("faces"))
            and np.allclose(ours["faces"], theirs["faces"], rtol=0, atol=report.SAMPLE_TOLERANCE),
            "the test photos": all(record["photos"][k] == reference["photos"][k] for k in ("label", "mask", "yaw")),
            "the number of training photos": ours["train_photos"] == theirs["train_photos"],
        }
        problems += [f"{name}: {what} differ from {first}'s" for what, equal in same.items() if not equal]
    return problems


def problems(folder: Path | None = None, book: Path | None = None) -> list[str]:
    """What keeps the book from being built: each a line that names the file and the way out. Runs not yet run are none.

    Args:
        folder: of the records; default: the book's.
        book: folder of the chapters; default: the book.
    """
    from maskfr_utils import captions

    folder, book, found = folder or paths.results_dir(), book or paths.ROOT / "book", []
    known = {run.name for run in runs()}
    found += [
        f"{file.name} is of no run of the study: delete it, or name it in maskfr_utils/study.py"
        for file in sorted(folder.glob("*.json"))
        if file.stem.split("-")[0] in SCALES and file.stem not in known
    ]
    for scale in SCALES:
        records = {}
        for run in runs(scales=[scale]):
            if (now := state(run, folder)) == "done":
                records[run.name] = report.read_record(run.record_path(folder))
            elif now != "missing":
                found.append(f"{run.name}.json is {now}: `{command(run=run)}` runs it again")
        found += inconsistencies(records)
        photos = {r["provenance"]["train_photos"] for r in records.values()} - {TRAIN_PHOTOS[scale]}
        found += [f"{scale}: its records know {n} training photos, TRAIN_PHOTOS in study.py does not" for n in photos]
    if found:
        return found
    headline = folder / HEADLINE
    if not headline.exists() or headline.read_text(encoding="utf-8") != captions.headline(folder):
        found.append(f"{headline.name} is not of these records: `python -m maskfr_utils.study --headline` writes it")
    for chapter, group in CHAPTERS.items():
        path = book / f"{chapter}.ipynb"
        if not path.exists() or f"records {digest(group, folder)}" not in path.read_text(encoding="utf-8"):
            found.append(f"{path.name} was not executed from these records: `make chapters` does it")
    for chapter in SHOWN:
        path, line = book / f"{chapter}.ipynb", made_from(chapter, folder)
        if not path.exists() or line not in path.read_text(encoding="utf-8"):
            found.append(f"{path.name} is not {line}: `make chapters NOTEBOOKS={chapter}` makes it so")
    return found


def command(group: str | None = None, scale: str | None = None, run: Run | None = None) -> str:
    """The command line that makes a group, or a run, of the study."""
    if run:
        group, scale = next(g for g in GROUPS if run in GROUPS[g](run.scale)), run.scale
    return " ".join(
        ["python -m maskfr_utils.study", *([group] if group else []), *(["--scale", scale] if scale else [])]
    )


def images_per_second(run: Run, steps: int = 3) -> float:
    """Training pictures a second of a run on this machine, from a few steps on noise."""
    import torch

    from maskfr_utils import loop
    from maskfr_utils.augment import to_input

    config = run.config()
    fabric = loop.make_fabric(config)
    model = fabric.setup_module(loop.Recogniser(config, 100).to(memory_format=torch.channels_last))
    faces = torch.randint(256, (min(config.batch_size, 64), 112, 112, 3), dtype=torch.uint8)
    labels = fabric.to_device(torch.zeros(len(faces), dtype=torch.long))
    for step in range(steps + 1):
        if step == 1:  # the first one warms up
            started = time.perf_counter()
        loss, hits = model(to_input(fabric.to_device(faces)), labels)
        fabric.backward(loss)
        hits.item()  # waits for the device
    return steps * len(faces) / (time.perf_counter() - started)


def cost(waiting: list[Run]) -> dict[Run, float]:
    """Seconds that each run will about take on this machine: its pictures at the pace of a few steps of its network."""
    pace = {}
    for run in waiting:
        key = run.scale, run.model
        if key not in pace:
            pace[key] = images_per_second(run)
    return {run: run.passes() / pace[run.scale, run.model] for run in waiting}


def make(run: Run) -> bool:
    """Trains a run, or goes on with it where it stopped, and leaves its record among the results.

    Returns:
        Whether it succeeded; its own messages say why not.
    """
    left = run.folder / "record.json"  # by a run that ended, where only the copy is missing
    if not left.exists():
        done = subprocess.run([sys.executable, "-m", "maskfr_utils.train", *run.command])
        if done.returncode == 130:  # stopped from the keyboard
            raise KeyboardInterrupt
        if done.returncode:
            return False
    record = report.read_record(left)
    if reason := stale(run, record):
        print(f"{run.name}: its record is not taken: {reason}", file=sys.stderr)
        return False
    report.write_json(run.record_path(), record)
    return True


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m maskfr_utils.study", description="Run what is missing of the study; nothing done is run again."
    )
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"{', '.join(GROUPS)}; default: all")
    parser.add_argument("--scale", choices=SCALES, help="demo: rendered faces; pocket: real photos; default: both")
    todo = parser.add_mutually_exclusive_group()
    todo.add_argument("--list", action="store_true", help="only tell the state of each run")
    todo.add_argument(
        "--check", action="store_true", help="only tell what is stale or unknown; status 1 if anything is"
    )
    todo.add_argument("--headline", action="store_true", help="only write the table of the book's first page")
    args = parser.parse_args(argv)
    for group in args.groups:
        if group not in GROUPS:
            parser.error(f"unknown group {group!r}: one of {', '.join(GROUPS)}")
    if args.check:
        found = problems()
        print(*found, sep="\n") if found else print("every record is what the study would make now")
        return bool(found)
    if args.headline:
        from maskfr_utils import captions

        with paths.replacing(paths.results_dir() / HEADLINE) as temporary:
            temporary.write_text(captions.headline(), encoding="utf-8")
        return 0
    chosen = runs(args.groups, [args.scale] if args.scale else SCALES)
    states = {run: state(run) for run in chosen}
    for run, now in states.items():
        print(f"{run.name:40} {now}")
    return 0 if args.list else run_all([run for run, now in states.items() if now != "done"])


def run_all(waiting: list[Run]) -> int:
    """Says what the runs cost and makes them one after the other, past those that fail; returns the exit status."""
    for scale in sorted({run.scale for run in waiting}):
        try:
            next(run for run in waiting if run.scale == scale).config()
        except ConfigError as error:
            print(f"{scale} is left out: {error}")
            waiting = [run for run in waiting if run.scale != scale]
    if not waiting:
        print("nothing to run")
        return 0
    print("a few steps of each network, to know what they cost ...", flush=True)
    seconds = cost(waiting)
    print(f"{len(waiting)} runs, about {sum(seconds.values()) / 3600:.1f} hours on this machine", flush=True)
    failed = []
    for i, run in enumerate(waiting, 1):
        print(f"[{i}/{len(waiting)}] {run.name}, about {seconds[run] / 60:.0f} minutes", flush=True)
        try:
            if not make(run):
                failed.append(run.name)
        except KeyboardInterrupt:
            print("stopped; the same command goes on from here", file=sys.stderr)
            return 130
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
