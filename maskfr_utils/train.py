"""The main job: one run of one network on one data set, from faces to its record.

`python -m maskfr_utils.train -f params/x.yaml -p name value`, also under torchrun; `-h` lists the parameters. What it
leaves in the run's folder: `record.json`, `predictions.csv`, `model.safetensors` (the network), `head.safetensors`
(the class weights).
"""

import contextlib
import os
import sys
import time
import traceback
from collections.abc import Callable

from maskfr_utils.config import ConfigError, TrainConfig
from maskfr_utils.messages import PlainError, brief, cell, start_command
from maskfr_utils.paths import cache_dir, replacing
from maskfr_utils.progress import write_log
from maskfr_utils.stopping import Stopped


class Kind:
    """How a run is made of its parameters. What a run of another kind does otherwise, a subclass says (see `original`)."""

    def parts(self, config: TrainConfig) -> dict:
        """The parts of the code that decide the run, as `probes.runs.of_run` gives them."""
        from maskfr_utils.probes.runs import of_run

        return of_run(config.science())

    def open(self, path):
        """The prepared faces, a `FaceStore`."""
        from maskfr_utils.store import FaceStore

        return FaceStore(path)

    def trainer(self, *args: object):
        """The run in its course, of the arguments of `loop.Trainer`."""
        from maskfr_utils.loop import Trainer

        return Trainer(*args)

    def findings(self, trainer, record: dict) -> dict:
        """What the record holds besides: entries, or nothing."""
        return {}


def run(config: TrainConfig, kind: Kind | None = None) -> dict:
    """Prepares the faces, trains, scores masked and unmasked twins, and writes the record.

    A trial (`scored_on=validation`) whose loss or weights leave the numbers ends with a record, too, so that whoever chooses
    among trials knows: no photo counts as named rightly, and `diverged` tells the step. There is no network then.
    A run that has ended already in its folder is not made again: its record is handed out.

    Args:
        config: what to run.
        kind: how; default: as everything else of the study is.

    Returns:
        The record: `run`, `params`, `metrics`, `throughput`, `history`, `photos` (of each photo scored its label, mask,
        yaw, and by twin the prediction and the right identity's rank), `provenance`.

    Raises:
        loop.TrainingError: the run cannot go on.
        stopping.Stopped: Ctrl-C or SIGTERM came, and its state is saved.
        ConfigError: its folder cannot be used, or holds another run.
        ValueError: the data set holds too little, or cannot be read.
    """
    # Before torch is loaded, which would keep what it compiles in /tmp; in a notebook it may be loaded already.
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_dir() / "compiled"))
    # Imported here, so that a misspelt parameter is refused before the seconds that torch takes.
    from maskfr_utils import devices, run_folder

    fabric = devices.make_fabric(config)
    first = fabric.is_global_zero
    with run_folder.held(config.folder) if first else contextlib.nullcontext():
        earlier = run_folder.finished(config) if first else None
        return _run(config, kind or Kind(), fabric, earlier)


def _run(config: TrainConfig, kind: Kind, fabric, earlier: dict | None) -> dict:
    """The run, in a folder that is its own; `earlier` is the record that it has left there already."""
    started = time.perf_counter()
    import torch

    from maskfr_utils import devices, evaluation, fingerprint
    from maskfr_utils.models import given
    from maskfr_utils.recogniser import make_backbone
    from maskfr_utils.records import code_revision, provenance
    from maskfr_utils.store import TRAIN

    code = {}  # as it is now, not in an hour
    if fabric.is_global_zero:
        if config.weights is not None:  # refused, if need be, before anything that takes long
            code["weights"] = given.fingerprint(make_backbone(config))
        code |= {"code_revision": code_revision(), "fingerprint": fingerprint.numbers(kind.parts(config))}

    store = faces(config, fabric, kind)
    if fabric.broadcast(earlier is not None):
        return hand_out(config, earlier, store, code) if earlier else {}
    trainer = kind.trainer(config, store, fabric, code.get("fingerprint"))
    outcome = fit(trainer)
    if not fabric.is_global_zero:
        fabric.barrier()
        return {}
    scores, photos = evaluation.none_right(store, trainer.scored) if outcome else trainer.evaluate(trainer.scored)
    scores |= {} if outcome else evaluation.score_worn(trainer.predict, store)
    scored = store.indices(trainer.scored)
    seconds = trainer.seconds_before + time.perf_counter() - started
    record = {
        "run": config.run_name,
        "params": config.science(),
        **outcome,
        "metrics": {name: score.as_dict() for name, score in scores.items()},
        "throughput": {"train_images_per_second": trainer.speed.images_per_second, "steps": trainer.step},
        "history": trainer.history,
        "photos": {name: values.tolist() for name, values in (told(store, scored) | photos).items()},
        "provenance": provenance(
            device=devices.device_name(fabric.device),
            data=store.attrs.get("fingerprint", "unknown"),
            seconds=seconds,
            **code,
            precision=fabric.strategy.precision.precision,
            threads=torch.get_num_threads(),
            processes=fabric.world_size,
            compiled=trainer.recogniser.compiled is not None,
            identities=len(store.identities),
            train_photos=len(store.indices(TRAIN)),
            faces=store.sample(scored),
        ),
    }
    record |= kind.findings(trainer, record)
    write(config, record, trainer)
    fabric.barrier()
    return record


def faces(config: TrainConfig, fabric, kind: Kind):
    """The store of a run's faces, prepared by the first process.

    Raises:
        ConfigError: they are of one person.
    """
    from maskfr_utils import prepare

    path = prepare.prepare(**config.data()) if fabric.is_global_zero else None
    fabric.barrier()  # the other processes find it done
    store = kind.open(path or prepare.prepare(**config.data(), progress=False))
    if len(store.identities) < 2:
        raise ConfigError(
            f"{config.dataset} has usable photos of one person only ({store.identities[0]}): there is nobody to tell "
            "apart from; give photos of two people or more"
        )
    return store


def told(store, photos):
    """What is known of photos (n,) of a store: (n,) arrays `label`, `mask` (its kind) and `yaw` in whole degrees."""
    import numpy as np

    from maskfr_utils.faces import align
    from maskfr_utils.faces.pose import head_yaw

    points = align.completed(store.landmarks[photos], lambda some: store.batch(photos[some])[0])
    yaw = head_yaw(points).round().astype(int)
    return {"label": store.labels[photos], "mask": np.array(store.mask_kinds)[photos], "yaw": yaw}


def fit(trainer) -> dict[str, object]:
    """Trains; what a record has to say of it beside results: of a trial that left the numbers, `diverged` and its step."""
    from maskfr_utils.run_state import Diverged

    try:
        trainer.fit()
    except Diverged as error:
        if trainer.config.scored_on != "validation" or trainer.fabric.world_size > 1:
            raise
        trainer.say(f"a trial that counts as no photo named rightly: {error}")
        return {"diverged": {"step": error.step}}
    return {}


def hand_out(config: TrainConfig, record: dict, store, code: dict) -> dict:
    """The record of a run that has ended already, with a word to the user.

    Raises:
        ConfigError: it was made from other faces, or began with another network.
    """
    from maskfr_utils import fingerprint
    from maskfr_utils.checkpoints import Checkpoints

    path, made = config.folder / "record.json", record["provenance"]
    if made["data"] != store.attrs.get("fingerprint", "unknown"):
        raise ConfigError(f"{path} is of a finished run on other faces: choose another out_dir, or delete that one")
    if made.get("weights") != code.get("weights"):
        raise ConfigError(
            f"{path} is of a finished run that began with another network than {config.weights} holds now: choose another "
            "out_dir, or delete that one"
        )
    moved = fingerprint.moved(made.get("fingerprint", {}), code["fingerprint"])
    since = f" (the code now computes other numbers for {', '.join(moved)})" if moved else ""
    Checkpoints(config.folder).clear()  # of a run that was killed once it had written its record
    print(brief(f"this run has ended already{since}: {path}; to train it anew, set resume to false"))
    return record


def write(config: TrainConfig, record: dict, trainer) -> None:
    """Leaves the results of a run in its folder; the checkpoint goes last, since it marks a run as unfinished."""
    import pandas as pd

    from maskfr_utils import models
    from maskfr_utils.loop import TrainingError
    from maskfr_utils.partial import PartialLoss
    from maskfr_utils.records import write_json

    folder, store = config.folder, trainer.store
    table = pd.DataFrame(
        {"source": [cell(store.sources[i]) for i in store.indices(trainer.scored)], **record["photos"]}
    )
    backbone, head, classes = trainer.recogniser.backbone, trainer.recogniser.head, list(store.identities)
    head = head.loss if isinstance(head, PartialLoss) else head
    loss = {"loss": config.loss, "embedding_dim": config.embedding_dim, "scale": config.scale, "margin": config.margin}
    try:
        with replacing(folder / "predictions.csv", durable=True) as temporary:
            table.to_csv(temporary, index=False)
        if "diverged" in record:  # there is no network then, nor one of an earlier run
            for name in ("model.safetensors", "head.safetensors"):
                (folder / name).unlink(missing_ok=True)
        else:
            models.save_model(folder / "model.safetensors", backbone, classes=classes)
            models.weights.save_tensors(folder / "head.safetensors", head, loss | {"classes": classes})
        write_json(folder / "record.json", record)
    except OSError as error:
        raise TrainingError(
            f"the results cannot be written to {folder} ({error.strerror or error}); {trainer.kept()}: make room, then "
            f"{config.again} goes on from there"
        ) from error
    trainer.checkpoints.clear()


def main(
    argv: list[str] | None = None,
    kind: Callable[[TrainConfig], Kind] = lambda config: Kind(),
    prog: str = "python -m maskfr_utils.train",
) -> int:
    """The command; returns its exit status.

    Args:
        argv: of the command line.
        kind: what makes the run of its parameters.
        prog: the command's name in messages.
    """
    start_command()
    config, name = TrainConfig.from_argv(argv, prog), prog.split()[-1]
    try:
        record = run(config, kind(config))
    except (ConfigError, ValueError, OSError, RuntimeError) as error:
        print(f"{name}: {brief(error)}", file=sys.stderr)
        foreseen = isinstance(error, PlainError) or not isinstance(error, RuntimeError)
        if not foreseen:  # where it came from helps then
            write_log(config.folder / "train.log", traceback.format_exc())
        return 1
    except Stopped as stopped:
        print(f"{name}: {stopped}", file=sys.stderr)
        return 128 + stopped.number
    except KeyboardInterrupt:
        from maskfr_utils.checkpoints import Checkpoints

        there = (
            "goes on from the last checkpoint"
            if Checkpoints(config.folder).paths
            else "begins, as there is no checkpoint"
        )
        print(f"\nstopped; {config.again} {there} ({config.folder})", file=sys.stderr)
        return 130
    if record:
        for twin, score in record["metrics"].items():
            print(
                f"{twin:9} {'real masks,' if twin == 'worn' else config.scored_on} accuracy {score['accuracy']:.1%} (95% {score['accuracy_low']:.1%} to "
                f"{score['accuracy_high']:.1%}, {score['photos']} photos)"
            )
        print(f"{record['throughput']['train_images_per_second']:.1f} images/s; {config.folder / 'record.json'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
