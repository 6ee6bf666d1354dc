"""The main job: one run of one network on one data set, from faces to its record.

`python -m maskfr_utils.train -f params/x.yaml -p name value`, also under torchrun; `-h` lists the parameters. What it
leaves in the run's folder: `record.json`, `predictions.csv`, `model.safetensors` (the network), `head.safetensors`
(the class weights).
"""

import sys
import time

from maskfr_utils.config import ConfigError, TrainConfig
from maskfr_utils.paths import replacing


def run(config: TrainConfig) -> dict:
    """Prepares the faces, trains, scores masked and unmasked twins, and writes the record.

    Args:
        config: what to run.

    Returns:
        The record: `run`, `params`, `metrics`, `throughput`, `history`, `photos` (of each photo scored its label, mask,
        yaw, and by twin the prediction and the right identity's rank), `provenance`.

    Raises:
        loop.TrainingError: the run cannot go on.
        ValueError: the data set holds too little, or cannot be read.
    """
    started = time.perf_counter()
    # Imported here, so that a misspelt parameter is refused before the seconds that torch takes.
    import numpy as np
    import torch

    from maskfr_utils import devices, fingerprint, loop, prepare
    from maskfr_utils.faces.pose import head_yaw
    from maskfr_utils.probes.runs import of_run
    from maskfr_utils.records import code_revision, face_sample, provenance
    from maskfr_utils.store import TRAIN, FaceStore

    fabric = devices.make_fabric(config)
    code = {}  # as it is now, not in an hour
    if fabric.is_global_zero:
        now = fingerprint.numbers(of_run(config.science()))
        code = {"code_revision": code_revision(), "fingerprint": now}

    path = prepare.prepare(**config.data()) if fabric.is_global_zero else None
    fabric.barrier()  # the other processes find it done
    store = FaceStore(path or prepare.prepare(**config.data(), progress=False))
    trainer = loop.Trainer(config, store, fabric)
    trainer.fit()
    if not fabric.is_global_zero:
        fabric.barrier()
        return {}
    scores, photos = trainer.evaluate(trainer.scored)
    scored = store.indices(trainer.scored)
    photos = {
        "label": store.labels[scored],
        "mask": np.array(store.mask_kinds)[scored],
        "yaw": head_yaw(store.landmarks[scored]).round().astype(int),
    } | photos
    some = scored[np.linspace(0, len(scored) - 1, min(16, len(scored)), dtype=int)]
    seconds = time.perf_counter() - started
    record = {
        "run": config.run_name,
        "params": config.science(),
        "metrics": {name: score.as_dict() for name, score in scores.items()},
        "throughput": {"train_images_per_second": trainer.speed.images_per_second, "steps": trainer.step},
        "history": trainer.history,
        "photos": {name: values.tolist() for name, values in photos.items()},
        "provenance": provenance(
            device=devices.device_name(fabric.device),
            data=store.attrs["fingerprint"],
            seconds=seconds,
            **code,
            precision=fabric._precision.precision,
            threads=torch.get_num_threads(),
            processes=fabric.world_size,
            compiled=trainer.recogniser.backbone._compiled_call_impl is not None,
            identities=len(store.identities),
            train_photos=len(store.indices(TRAIN)),
            faces=face_sample(store.batch(some, masked=True)[0], store.batch(some)[0]),
        ),
    }
    write(config, record, trainer)
    fabric.barrier()
    return record


def write(config: TrainConfig, record: dict, trainer) -> None:
    """Leaves the results of a run in its folder; the checkpoint goes last, since it marks a run as unfinished."""
    import pandas as pd

    from maskfr_utils import models
    from maskfr_utils.records import write_json

    folder, store = config.folder, trainer.store
    table = pd.DataFrame({"source": [store.sources[i] for i in store.indices(trainer.scored)], **record["photos"]})
    with replacing(folder / "predictions.csv") as temporary:
        table.to_csv(temporary, index=False)
    backbone, head, classes = trainer.recogniser.backbone, trainer.recogniser.head, list(store.identities)
    models.save_model(folder / "model.safetensors", backbone, classes=classes)
    loss = {"loss": config.loss, "embedding_dim": config.embedding_dim, "scale": config.scale, "margin": config.margin}
    models.weights.save_tensors(folder / "head.safetensors", head, loss | {"classes": classes})
    write_json(folder / "record.json", record)
    trainer.checkpoint.unlink(missing_ok=True)


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    config = TrainConfig.from_argv(argv)
    try:
        record = run(config)
    except (ConfigError, ValueError, OSError, RuntimeError) as error:
        print(f"maskfr_utils.train: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nstopped; the same command goes on from the last whole epoch ({config.folder})", file=sys.stderr)
        return 130
    if record:
        for name, score in record["metrics"].items():
            print(
                f"{name:9} {config.scored_on} accuracy {score['accuracy']:.1%} (95 % {score['accuracy_low']:.1%} to "
                f"{score['accuracy_high']:.1%}, {score['photos']} photos)"
            )
        print(f"{record['throughput']['train_images_per_second']:.1f} images/s; {config.folder / 'record.json'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
