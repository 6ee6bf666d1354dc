"""Makes the runs that are missing: what they will cost, one after the other, past those that fail."""

import subprocess
import sys
import time
from pathlib import Path

from maskfr_utils.config import ConfigError
from maskfr_utils.messages import brief
from maskfr_utils.records import read_record, record_or_none, write_json
from maskfr_utils.study.run import Run
from maskfr_utils.study.state import inconsistencies, peer, stale

STOPPED = (130, 143)  # exit status of a training that Ctrl-C or SIGTERM ended


def images_per_second(run: Run, steps: int = 3) -> float:
    """Training pictures a second of a run on this machine, from a few steps on noise."""
    import torch

    from maskfr_utils import devices
    from maskfr_utils.batches import to_input
    from maskfr_utils.original.switches import recogniser

    config = run.config()
    fabric = devices.make_fabric(config)
    model = fabric.setup_module(recogniser(config, 100, run.flaws or ()).to(memory_format=torch.channels_last))
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
    """Seconds that each run will about take on this machine, by a few steps of one alike; none of those whose steps fail."""
    pace: dict[tuple, float | None] = {}
    for run in waiting:
        if run.work not in pace:
            try:
                pace[run.work] = images_per_second(run)
            except (ImportError, OSError, ValueError, RuntimeError) as error:  # the run itself will say so, too
                print(f"{run.name}: no estimate ({brief(error)})", file=sys.stderr)
                pace[run.work] = None
    return {run: run.passes() / rate for run in waiting if (rate := pace[run.work])}


def make(run: Run, folder: Path | None = None) -> bool:
    """Trains a run, or goes on with it where it stopped, and leaves its record among the results.

    Args:
        run: what to train.
        folder: of the records; default: the book's.

    Returns:
        Whether it succeeded; its own messages say why not.
    """
    left = run.folder / "record.json"  # by a run that ended, where only the copy is missing
    if record_or_none(left) is None:
        left.unlink(missing_ok=True)  # a broken one, which the training would not write over
        training = subprocess.Popen([sys.executable, "-m", run.module, *run.command])
        try:
            status = training.wait()
        except KeyboardInterrupt:  # it came to the training as well, which saves and ends by itself
            training.wait()
            raise
        if status in STOPPED:
            raise KeyboardInterrupt
        if status:
            return False
    record = read_record(left)
    if reason := stale(run, record):
        print(f"{run.name}: its record is not taken: {reason}", file=sys.stderr)
        return False
    write_json(run.record_path(folder), record)
    return True


def other_faces(run: Run, folder: Path | None = None) -> str:
    """Why records of this machine could not stand beside those of a run's scale and seed, in words; nothing where they can.

    The faces are prepared for that, as the run needs them itself.

    Raises:
        ConfigError: the faces are not on this machine.
        ValueError: they cannot be prepared.
    """
    from maskfr_utils import prepare, store, train

    config = run.config()
    if (beside := peer(run, folder)) is None:
        return ""
    faces = store.FaceStore(prepare.prepare(**config.data()))
    scored = faces.indices(store.VALIDATION if run.trial else store.TEST)
    here = {
        "provenance": {"faces": faces.sample(scored), "train_photos": len(faces.indices(store.TRAIN))},
        "photos": {name: values.tolist() for name, values in train.told(faces, scored).items()},
    }
    faces.close()
    if not inconsistencies(dict([beside, (run, here)])):
        return ""
    return (
        f"the faces that this machine prepares are not those of the records of seed {run.seed}: the last bit of a pixel may hang on"
        " the processor, and a mask hangs on every bit. All runs of a scale need machines of one kind; `--results NEW_FOLDER`"
        " makes them anew"
    )


def run_all(waiting: list[Run], folder: Path | None = None) -> int:
    """Says what the runs cost and makes them one after the other, past those that fail; returns the exit status."""
    for scale in sorted({run.scale for run in waiting}):
        try:
            if reason := other_faces(next(run for run in waiting if run.scale == scale), folder):
                raise ConfigError(reason)
        except ValueError as error:  # also of faces that cannot be prepared
            print(f"{scale} is left out: {brief(error)}")
            waiting = [run for run in waiting if run.scale != scale]
    if not waiting:
        print("nothing to run")
        return 0
    print("a few steps of each network, to know what they cost ...", flush=True)
    seconds = cost(waiting)
    print(f"{len(waiting)} runs, about {sum(seconds.values()) / 3600:.1f} hours on this machine", flush=True)
    failed = []
    for i, run in enumerate(waiting, 1):
        told = f", about {seconds[run] / 60:.0f} minutes" if run in seconds else ""
        print(f"[{i}/{len(waiting)}] {run.name}{told}", flush=True)
        try:
            if not make(run, folder):
                failed.append(run.name)
        except KeyboardInterrupt:
            print("stopped; the same command goes on from here", file=sys.stderr)
            return 130
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return bool(failed)
