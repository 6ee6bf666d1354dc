"""As many rendered photos as the report had real ones, prepared and trained on for an epoch: `python -m maskfr_utils.measure.report_size`.

It takes all cores for an hour and a half (two of them), and 16 GB of the disk meanwhile.
"""

import sys
import tempfile
import time
from pathlib import Path

import torch

from maskfr_utils import devices, engines, paths, store, train
from maskfr_utils.config import TrainConfig
from maskfr_utils.measure import record as made_by
from maskfr_utils.peaks import in_fresh_process, peak
from maskfr_utils.prepare import prepare
from maskfr_utils.records import write_json
from maskfr_utils.twins import DEMO

OUT = paths.results_dir() / "speed/report_size.json"
PEOPLE, EACH = 1_000, 100  # the report: about 1,000 people of MS-Celeb-1M and 100,000 photos, a tenth for the test
PARTS = {"training": store.TRAIN, "test": store.TEST}
RECIPE = {"model": "iresnet50", "width": 0.25, "condition": "masked", "batch_size": 128, "epochs": 1, "eval_every": 0}


def prepared(path: Path, people: int, each: int) -> dict[str, float]:
    """Seconds of a preparation, its photos by part, the bytes of its file, and those that its process holds at the peak."""
    start = time.perf_counter()
    prepare(DEMO, identities=people, per_identity=each, validation_fraction=0, difficulty=0.5, out=path)
    seconds, held = time.perf_counter() - start, peak()
    faces = store.FaceStore(path)
    parts = {name: len(faces.indices(part)) for name, part in PARTS.items()}
    found = {"photos": len(faces), "seconds": round(seconds, 1), "photos_a_second": round(len(faces) / seconds, 1)}
    return found | parts | {"file_bytes": path.stat().st_size, "peak_bytes": held}


def epoch(path: Path, folder: Path, values: dict[str, object]) -> dict[str, object]:
    """The pace of one epoch of training, the bytes that it holds at the peak, and what its network can do."""
    start = time.perf_counter()
    record = train.run(TrainConfig(**RECIPE | values | {"dataset": str(path), "out_dir": str(folder)}))
    shares = {twin: round(score["accuracy"], 4) for twin, score in record["metrics"].items()}
    return {
        "seconds": round(time.perf_counter() - start, 1),
        "photos_a_second": round(record["throughput"]["train_images_per_second"], 1),
        "peak_bytes": peak(),
        "loss": record["history"][-1]["loss"],
        "accuracy": shares,
        "precision": record["provenance"]["precision"],
    }


def measure(out: Path, people: int = PEOPLE, each: int = EACH, **values: object) -> None:
    """Writes the record; `values` are parameters of the run other than `RECIPE`'s."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="report-size-", dir=paths.cache_dir()) as folder:
        path = Path(folder, "faces.h5")
        found = {"people": people, "cores": engines.processes(), "recipe": RECIPE | values}
        found["prepared"] = in_fresh_process(prepared, path, people, each)
        print("prepared", found["prepared"], flush=True)
        found["epoch"] = in_fresh_process(epoch, path, Path(folder, "run"), values)
        print("epoch", found["epoch"])
    device = devices.device_name(torch.device("cpu"))
    write_json(out, found | {"provenance": made_by.made(started, data="rendered faces", device=device)})


def main(argv: list[str] | None = None) -> int:
    """The command."""
    arguments = made_by.parser("report_size", __doc__, OUT).parse_args(argv)
    return made_by.status("report_size", lambda: measure(arguments.out))


if __name__ == "__main__":
    sys.exit(main())
