"""The study on another machine: what goes there (`pack`), and the records that come back (`collect`).

A pack is a small copy of the repository: code, recipes, the records of its scale so far, and the faces as they came, with
their landmarks. Prepared files do not go along: three seeds of `pins` take 3.7 GB, the pictures 90 MB, and to prepare them
takes seconds on a machine that trains at full width. So nothing there is found by a fingerprint of this machine, whose
last bits may differ; what was trained on is judged when the record comes back, with the tolerances of any other record.
"""

import hashlib
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from importlib.metadata import distribution
from pathlib import Path

import numpy as np

from maskfr_utils import fingerprint, paths
from maskfr_utils.config import ConfigError
from maskfr_utils.faces.archives import LANDMARKS
from maskfr_utils.messages import brief
from maskfr_utils.names import MODELS
from maskfr_utils.probes.runs import of_run
from maskfr_utils.records import REVISION, code_revision, read_record, write_json
from maskfr_utils.study import plan, scales, trials
from maskfr_utils.study.run import Run
from maskfr_utils.study.state import inconsistencies, peer, stale, status

VENDOR = ("lightning-fabric", "lightning-utilities")  # pure Python, and missing where people have but torch
LEFT_OUT = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")  # of them: how they were installed here
CHANGING = ("tuned.yaml", "tuned_variants.yaml")  # written again where the pack runs
MB = 10**6


def pack(scale: str, folder: Path, models: Iterable[str] = MODELS, part_mb: float | None = None) -> None:
    """Leaves a folder that trains a scale's runs elsewhere, by `python run.py`.

    Args:
        scale: one of `scales.SCALES`.
        folder: to be made; it must not exist, or be empty.
        models: the networks whose runs it is for.
        part_mb: megabytes of the largest file in it; it is joined there.

    Raises:
        ConfigError: the folder is not empty, or the faces cannot be packed.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is not empty: name a folder that is still to be made")
    if part_mb is not None and not part_mb >= 1:
        raise ConfigError(f"parts of {part_mb:g} MB are too small: give at least 1")
    contents = dict(_contents(scale))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".pack-", dir=folder.parent) as temporary:
        made = Path(temporary, "pack")
        for name, file in contents.items():
            (made / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, made / name)
        (made / REVISION).write_text(code_revision() + "\n", encoding="utf-8")
        runs = [Run(scale=scale, model=model) for model in models]
        manifest = {
            "scale": scale,
            "models": list(models),
            "fingerprint": fingerprint.numbers({k: v for run in runs for k, v in of_run(run.params()).items()}),
            "files": {n: _hash(made / n) for n in (*contents, REVISION) if Path(n).name not in CHANGING},
            "parts": {},
        }
        if part_mb:
            manifest["parts"] = {part.name: _hash(part) for part in _split(made, int(part_mb * MB))}
        (made / "pack.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        shutil.copyfile(Path(__file__).with_name("packed_run.py"), made / "run.py")
        os.replace(made, folder)


def _contents(scale: str) -> Iterator[tuple[str, Path]]:
    """Name in the pack, and file, of all that it is made of."""
    yield "pyproject.toml", paths.ROOT / "pyproject.toml"
    for file in sorted((paths.ROOT / "maskfr_utils").rglob("*")):
        if file.suffix in (".py", ".yaml", ".npy"):
            yield file.relative_to(paths.ROOT).as_posix(), file
    for file in sorted((scales.PARAMS / scale).glob("*.yaml")):
        yield f"params/{scale}/{file.name}", file
    for run in plan.runs((), [scale]):
        if status(run) == "done":
            yield f"book/results/{run.name}.json", run.record_path()
    for library in VENDOR:
        for file in distribution(library).files or ():
            if ".." not in file.parts and file.suffix != ".pyc" and file.name not in LEFT_OUT:
                yield f"vendor/{file.as_posix()}", Path(file.locate())
    dataset = scales.recipe(scale)["dataset"]
    if dataset == "demo":
        return
    found, name = paths.find_data(dataset), Path(dataset)
    if name.is_absolute() or ".." in name.parts:
        raise ConfigError(f"{dataset} cannot be packed: name it as it lies below MASKFR_DATA")
    files = (
        [file for file in found.rglob("*") if file.is_file()] if found.is_dir() else [found, found.parent / LANDMARKS]
    )
    for file in sorted(file for file in files if file.exists()):
        yield (Path("data", name.parent) / file.relative_to(found.parent)).as_posix(), file


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _split(folder: Path, size: int) -> list[Path]:
    """Puts all that a folder holds into parts of so many bytes instead; joined, they are a tar."""
    with tempfile.TemporaryFile(dir=folder.parent) as whole:
        with tarfile.open(fileobj=whole, mode="w") as tar:
            for path in sorted(folder.iterdir()):
                tar.add(path, path.name, filter=_nobody)
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        whole.seek(0)
        parts = []
        while data := whole.read(size):
            parts.append(folder / f"part-{len(parts):03d}")
            parts[-1].write_bytes(data)
    return parts


def _nobody(info: tarfile.TarInfo) -> tarfile.TarInfo:
    """Without the names of who packed it."""
    return info.replace(uid=0, gid=0, uname="", gname="", mode=0o755 if info.isdir() else 0o644, deep=False)


def collect(source: Path, folder: Path | None = None) -> tuple[list[str], dict[str, str]]:
    """Takes records that were made elsewhere in among the book's, but none that the study here would not make.

    Trials of rates come first, then those of variants, which take the rate that was chosen, then runs that take what both
    choose (`tuned.yaml` follows them).

    Args:
        source: a pack, or a folder of records.
        folder: of the records; default: the book's.

    Returns:
        The names of those taken in, and name -> reason of those refused. What is here already is in neither.

    Raises:
        FileNotFoundError: there is no record in `source`.
    """
    inner = source / "book" / "results"
    waiting = {path.stem: path for path in sorted((inner if inner.is_dir() else source).glob("*.json"))}
    waiting.pop("pack", None)
    if not waiting:
        raise FileNotFoundError(f"no record in {source}: give the pack's folder, or one of records")
    packed = [scale for scale in scales.SCALES if any(name.startswith(f"{scale}-") for name in waiting)]
    taken, refused = [], {}
    for stage in range(3):
        while found := [r for r in plan.runs((), packed, folder) if _stage(r) == stage and r.name in waiting]:
            for run in found:  # more trials are of the study once these are in
                reason = _take(run, waiting.pop(run.name), folder)
                if reason:
                    refused[run.name] = reason
                elif reason is not None:
                    taken.append(run.name)
        for scale in packed if folder is None else ():  # the recipes are of the book's records
            trials.write_tuned(scale)
    return taken, refused | dict.fromkeys(waiting, "it is of no run of the study")


def _stage(run: Run) -> int:
    """When a run may be judged: 0 trials of rates, 1 those of variants, which take a rate, 2 runs that take what both chose."""
    return int(run.setting is not None) if run.trial else 2


def _take(run: Run, path: Path, folder: Path | None) -> str | None:
    """Takes a record in; why not, or nothing, or None where it is here already."""
    ours = run.record_path(folder)
    try:
        record = read_record(path)
        if ours.exists() and status(run, folder) == "done":
            same = read_record(ours) == record
            return None if same else f"there is another, which holds: delete {ours} to take this one"
        if reason := stale(run, record) or _contradiction(record) or _unlike(run, record, folder):
            return reason
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        return brief(f"it cannot be used: {error!r}" if isinstance(error, KeyError) else error)
    write_json(ours, record)
    return ""


def _contradiction(record: dict) -> str:
    """In which accuracy or ranks, which the book shows, a record differs from its own predictions."""
    photos = record["photos"]
    for twin in ("masked", "unmasked"):
        predicted, ranks, labels = (np.array(photos[name]) for name in (twin, f"{twin}_rank", "label"))
        if not predicted.shape == ranks.shape == labels.shape or labels.ndim != 1 or not labels.size:
            return f"it does not hold one prediction and one rank a photo ({twin})"
        hits = predicted == labels
        if wrong := int(((ranks == 1) != hits).sum()):  # a tie is no hit, and no first rank either
            return f"its {twin} ranks contradict its predictions of {wrong} photos"
        if abs((share := float(hits.mean())) - (told := record["metrics"][twin]["accuracy"])) > 1e-4:
            return f"its {twin} accuracy is {told:.4f}, but its predictions are right in {share:.4f}"
    return ""


def _unlike(run: Run, record: dict, folder: Path | None) -> str:
    """How it differs in faces or photos from a record here of the same scale, seed and part of the photos."""
    beside = [found] if (found := peer(run, folder)) else []
    records = dict([*beside, (run, record)])
    return "; ".join(line.removeprefix(f"{run.name}: ") for line in inconsistencies(records))
