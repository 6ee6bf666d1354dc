"""How much a trained network helps where there are twenty photos a person: fresh weights, or those of a network given.

    python -m maskfr_utils.measure.head_start

Twenty rendered people whom the package's network (500 other rendered people, `params/demo/recognise.yaml`) has never seen;
of each 16 photos are trained on, 4 tested. Every way takes the same steps at the same rate, with several seeds.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from maskfr_utils import devices, paths, train
from maskfr_utils.config import TrainConfig
from maskfr_utils.measure import record
from maskfr_utils.recognise.embedder import DEFAULT, load_embedder
from maskfr_utils.records import write_json

RECORD = Path("recognise") / "head_start.json"
SEED = 3056  # of people who are in nothing else
RECIPE = {
    "identities": 20,
    "per_identity": 20,
    "test_fraction": 0.2,
    "validation_fraction": 0.0,
    "difficulty": 0.3,
    "batch_size": 16,
    "lr": 0.0125,
    "compile": False,
    "eval_every": 0,
    "resume": False,
}
WAYS = {
    "fresh weights": {},
    "given weights, all trained": {"weights": str(DEFAULT)},
    "given weights, head first": {"weights": str(DEFAULT), "head_epochs": 2},
    "given weights, head only": {"weights": str(DEFAULT), "head_epochs": None},
}


def accuracies(way: dict[str, object], epochs: int, seeds: int, **more: object) -> dict[str, list[float]]:
    """Test accuracy on the masked and on the unmasked twins, one a seed."""
    network, found = load_embedder(), {"masked": [], "unmasked": []}
    shape = {"model": network.model.config["name"]}
    shape |= {name: network.model.config[name] for name in ("width", "embedding_dim")}
    head_epochs = {"head_epochs": epochs} if way.get("head_epochs", 0) is None else {}
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as folder:
            values = RECIPE | shape | way | head_epochs | more
            made = train.run(TrainConfig(**values, epochs=epochs, seed=seed, data_seed=SEED, out_dir=folder))
        for twin, scores in found.items():
            scores.append(made["metrics"][twin]["accuracy"])
    return found


def measure(epochs: int = 8, seeds: int = 3, **more: object) -> dict:
    """The record."""
    started = time.perf_counter()
    results = {name: accuracies(way, epochs, seeds, **more) for name, way in WAYS.items()}
    return {
        "results": results,
        "epochs": epochs,
        "people": RECIPE["identities"],
        "photos": RECIPE["per_identity"],
        "provenance": record.made(
            started,
            data=f"rendered people of seed {SEED}",
            device=devices.device_name(torch.device("cpu")),
            network=load_embedder().fingerprint,
        ),
    }


def table(made: dict) -> pd.DataFrame:
    """Percent of the test photos named rightly, a line a way: the mean over seeds, and the lowest and highest."""
    lines = {
        name: {
            twin: f"{100 * np.mean(scores):.1f} ({100 * min(scores):.1f} to {100 * max(scores):.1f})"
            for twin, scores in found.items()
        }
        for name, found in made["results"].items()
    }
    return pd.DataFrame.from_dict(lines, orient="index")


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    args = record.parser("head_start", __doc__, paths.results_dir() / RECORD).parse_args(argv)

    def run() -> None:
        made = measure()
        write_json(args.out, made)
        print(table(made).to_string(), args.out, sep="\n")

    return record.status("head_start", run)


if __name__ == "__main__":
    sys.exit(main())
