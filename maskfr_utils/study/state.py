"""Which runs have a record, whether it is still true, and what a chapter was made from."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from maskfr_utils import fingerprint, paths
from maskfr_utils.original.flaws import POOL
from maskfr_utils.records import read_record, record_or_none
from maskfr_utils.run_folder import difference
from maskfr_utils.study.plan import runs
from maskfr_utils.study.run import Run
from maskfr_utils.study.shown import NOTEBOOKS, measurements

PHOTOS = ("label", "mask", "yaw", "masked", "masked_rank", "unmasked", "unmasked_rank")  # what is told of each photo
SAMPLE_TOLERANCE = 0.3  # grey levels: machines may differ in the last bit of a pixel


def stale(run: Run, record: dict) -> str:
    """Why the record is not what the run would make now, or nothing."""
    now, then = run.params(), record["params"]
    if lacking := _lacking(record):
        return f"it lacks {lacking}"
    changed = [f"{k} is no parameter any more" for k in then.keys() - now.keys()]
    if other := difference(then, now):
        changed.insert(0, other)
    if not (known := record["provenance"].get("fingerprint")):
        changed.append("it does not say what code made it")
    elif moved := fingerprint.moved(known, run.behaviour()):
        changed.append(f"the code now computes other numbers for {', '.join(moved)}")
    if (then := record.get("audit", {}).get("flaws")) != (None if run.flaws is None else list(run.flaws)):
        changed.append(f"its flaws were {then}")
    return ", ".join(changed)


def _lacking(record: dict) -> str:
    """What the study reads in a record of its own and this one does not hold, in words; or nothing."""
    photos, made = record.get("photos"), record["provenance"]
    epochs, faces, metrics = record.get("history"), made.get("faces", []), record.get("metrics")
    columns = [photos.get(name) for name in PHOTOS] if isinstance(photos, dict) else [None]
    right = {
        "results of each photo": all(isinstance(column, list) and len(column) == len(columns[0]) for column in columns),
        "history": isinstance(epochs, list)
        and all(isinstance(epoch, dict) and "train_accuracy" in epoch for epoch in epochs)
        and bool(epochs or "diverged" in record),
        "accuracy on masked and unmasked photos": isinstance(metrics, dict)
        and all(isinstance(metrics.get(twin), dict) and "accuracy" in metrics[twin] for twin in ("masked", "unmasked")),
        "number of steps": isinstance(record["throughput"].get("steps"), int),
        "faces": isinstance(faces, list) and all(isinstance(number, int | float) for number in faces),
        "numbers of people, photos, threads and seconds": all(
            isinstance(made.get(name), int | float) for name in ("identities", "train_photos", "threads", "seconds")
        ),
        "device and precision": all(isinstance(made.get(name), str) for name in ("device", "precision")),
        "an audit in the form of ours": isinstance(record.get("audit", {}), dict),
    }
    return ", ".join(what for what, there in right.items() if not there)


def status(run: Run, folder: Path | None = None) -> str:
    """`done`, `missing`, or `stale: ` and why."""
    path = run.record_path(folder)
    if not path.exists():
        return "missing"
    try:
        reason = stale(run, read_record(path))
    except ValueError as error:
        reason = str(error)
    return f"stale: {reason}" if reason else "done"


def load(group: str | None, scale: str, folder: str | Path | None = None) -> dict[Run, dict]:
    """The records of a group's runs that have been run; of all groups where none is named.

    Raises:
        ValueError: one is no record, or lacks its photos: a table without it would pass for one of runs that are not made.
    """
    made = {run: record_of(run, folder) for run in runs([group] if group else (), [scale], folder)}
    return {run: found for run, found in made.items() if found}


def record_of(run: Run, folder: str | Path | None = None) -> dict | None:
    """A run's record, None where it has not been run; errors are those of `load`."""
    if not (path := run.record_path(folder)).exists():
        return None
    found = read_record(path)
    if lacking := _lacking(found):
        raise ValueError(f"{path} lacks {lacking}: run the training again")
    return found


def costs(waiting: list[Run], folder: str | Path | None = None) -> dict[Run, float]:
    """Seconds that runs will take, each at the median pace of the records alike in `work`, of its network, or of all of its scale; those without any are left out."""
    found, paces = {}, defaultdict(list)
    for run in runs((), dict.fromkeys(run.scale for run in waiting), folder):
        record = record_or_none(run.record_path(folder))
        if record and not _lacking(record):
            for key in (run.work, (run.scale, run.model), run.scale):
                paces[key].append(record["provenance"]["seconds"] / run.passes())
    for run in waiting:
        if pace := paces.get(run.work) or paces.get((run.scale, run.model)) or paces.get(run.scale):
            found[run] = run.passes() * float(np.median(pace))
    return found


def told_cost(waiting: list[Run], seconds: Mapping[Run, float]) -> list[str]:
    """In words, a line a scale, what runs will take: `seconds` as of `costs`."""
    lines = []
    for scale in dict.fromkeys(run.scale for run in waiting):
        missing = [run for run in waiting if run.scale == scale]
        hours = sum(seconds.get(run, 0.0) for run in missing) / 3600
        pace = f"about {hours:.1f} hours at the pace of its records" if hours else "and no record that tells their pace"
        lines.append(f"{scale}: {len(missing)} runs to make, {pace}")
    return lines


def digest(group: str | None, folder: str | Path | None = None) -> str:
    """A hash of all records of a group (or of all groups), by which a chapter shows what it was made from."""
    content = hashlib.sha256()
    for run in runs([group] if group else (), folder=folder):
        if (path := run.record_path(folder)).exists():
            content.update(run.name.encode() + path.read_bytes())
    return content.hexdigest()[:8]


def made_from(chapter: str, folder: str | Path | None = None, notebooks: Path | None = None) -> str:
    """The line by which a chapter shows which measurements it was made from: their names and a hash of them.

    Args:
        chapter: name of its notebook.
        folder: of the records; default: the book's. Those that exist count.
        notebooks: folder of the notebooks; default: the repository's.
    """
    folder = Path(folder or paths.results_dir())
    opened = measurements((notebooks or NOTEBOOKS) / f"{chapter}.py")
    found = [name for name in opened if (folder / name).exists()]
    content = hashlib.sha256(b"".join(name.encode() + (folder / name).read_bytes() for name in found))
    return f"made from {', '.join(found) or 'no record'} ({content.hexdigest()[:8]})"


def peer(run: Run, folder: str | Path | None = None) -> tuple[Run, dict] | None:
    """A run, with its record, beside which a record of `run` has to stand: another of its scale, seed and part of the photos.

    Records that are stale or cannot be read are made anew and count as none; None where there is no other.

    Args:
        run: whose.
        folder: of the records; default: the book's.
    """
    for other in runs((), [run.scale], folder):
        alike = (other.seed, other.trial) == (run.seed, run.trial) and other != run and not _of_other_photos(other)
        if alike and (record := record_or_none(other.record_path(folder))) and not stale(other, record):
            return other, record
    return None


def _of_other_photos(run: Run) -> bool:
    """Whether it has others than the rest of the study, on purpose."""
    return bool(set(run.flaws or ()) & set(POOL))


def inconsistencies(records: dict[Run, dict]) -> list[str]:
    """How records of one scale differ in what those of a seed must share: faces, scored photos, number of training photos.

    Args:
        records: run -> record.
    """
    problems, first = [], {}
    for run, record in records.items():
        if _of_other_photos(run):
            continue
        reference, theirs = first.setdefault((run.seed, run.trial), (run.name, record))
        made, others = record["provenance"], theirs["provenance"]
        faces, their_faces = made.get("faces") or [], others.get("faces") or []
        same = {
            "the faces": 0 < len(faces) == len(their_faces)
            and np.allclose(faces, their_faces, rtol=0, atol=SAMPLE_TOLERANCE),
            "the scored photos": all(record["photos"][k] == theirs["photos"][k] for k in ("label", "mask", "yaw")),
            "the number of training photos": made["train_photos"] == others["train_photos"],
        }
        problems += [f"{run.name}: {what} differ from {reference}'s" for what, equal in same.items() if not equal]
    return problems
