"""From a data set to one HDF5 file: faces, masked twins, cleaning, split; kept under a fingerprint of all inputs.

python -m maskfr_utils.prepare DATASET [--min-masked 80 ...]
python -m maskfr_utils.prepare -f params/paper/iresnet50_masked.yaml    # as that run will want it

A preparation of many pictures says beforehand how long it takes and how much room, keeps what it has done (see `parts`), and
goes on from there when it is started again.
"""

import argparse
import hashlib
import json
import shutil
import sys
import time
from array import array
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import fields
from itertools import islice
from pathlib import Path

import h5py
import numpy as np
from filelock import FileLock
from tqdm.auto import tqdm

from maskfr_utils import fingerprint, masks, paths, splits, store
from maskfr_utils.config import TrainConfig, load_params
from maskfr_utils.engines import HELP, LOCAL, workers
from maskfr_utils.masks.styles import described
from maskfr_utils.messages import brief, start_command
from maskfr_utils.parts import EACH, Parts
from maskfr_utils.probes.faces import of_data
from maskfr_utils.twins import DEMO, Block, How, Photos, Rendered, batches

KEPT_FROM = 2_000  # pictures; fewer take a minute or, where faces have to be found, some, and are begun anew
JPEG_FROM = 1_000_000  # pictures: raw ones and their twins would take 75 GB
JPEG_BYTES = 10_000  # of a picture, and what an estimate of the room goes by
ENCODINGS = ("auto", *store.ENCODINGS)
FOR_DEMO = {"identities", "per_identity", "difficulty"}  # the data set of rendered faces, alone
FOR_PHOTOS = {"keep_copies", "worn_masks"}
AS_A_RUN = FOR_DEMO | FOR_PHOTOS | {"style", "min_masked", "test_fraction", "validation_fraction"}  # takes them
NAMED = 100  # unusable pictures that the file names, with the reason


def prepare(
    dataset: str | Path,
    *,
    seed: int = 0,
    style: masks.StyleLike = "random",
    min_masked: int = TrainConfig.min_masked,
    test_fraction: float = TrainConfig.test_fraction,
    validation_fraction: float = TrainConfig.validation_fraction,
    identities: int = TrainConfig.identities,
    per_identity: int = TrainConfig.per_identity,
    difficulty: float = TrainConfig.difficulty,
    keep_copies: bool = False,
    worn_masks: bool = False,
    out: str | Path | None = None,
    encoding: str = "auto",
    engine: str = LOCAL,
    progress: bool = True,
) -> Path:
    """Make the HDF5 file of a data set, or find it; prints what was skipped and kept. Defaults are a training run's, which finds it.

    Args:
        dataset: "demo" (rendered faces), a folder, zip, tar or RecordIO file (see `sources.open_source`), or an HDF5
            file, which is checked and returned as it is.
        seed: of masks, test pictures and rendered faces.
        style: of the masks, as `masks.mask_faces` takes it.
        min_masked: identities with fewer clean masked pictures are left out; at least 2.
        test_fraction: share of each identity's pictures for testing.
        validation_fraction: share of each identity's other pictures for validation.
        identities: number of rendered people; only for "demo".
        per_identity: pictures of each; only for "demo".
        difficulty: how alike rendered people are, 0 to 1 (see `rendered.render_faces`); only for "demo".
        keep_copies: near-duplicates of a person's photos are kept, in one part; not for "demo".
        worn_masks: photos in which a mask is worn already are recognised (`masks.worn`), get no second one and are in no
            part, but keep their label: a test on real masks; not for "demo".
        out: where to write; by default below `paths.cache_dir()`, under a name that changes with the inputs.
        encoding: of the pictures: `raw`, `jpeg`, or `auto`, JPEGs from a million pictures on.
        engine: where the work is done, see `engines.workers`.
        progress: show a progress bar.

    Returns:
        The path of the file, to be opened by `store.FaceStore`.

    Raises:
        FileNotFoundError: no such data set.
        ValueError: a parameter out of range, an unusable data set, too few pictures, or a file of another kind at `out`.
    """
    found = None if str(dataset) == DEMO else paths.find_data(dataset)
    if found and _is_prepared(found):
        store.FaceStore(found)
        return found
    splits.check_parameters(min_masked, test_fraction, validation_fraction)
    parameters: dict = {"seed": seed, "min_masked": min_masked, "test_fraction": test_fraction}
    parameters["validation_fraction"] = validation_fraction
    parameters |= _switches(keep_copies, worn_masks, photos=found is not None)
    if found is None and per_identity < min_masked:
        raise ValueError(f"per_identity is {per_identity}, fewer than min_masked = {min_masked}: raise it")
    data = Photos(found) if found else Rendered(identities, per_identity, difficulty, seed)
    how = How(style, seed, is_jpeg(encoding, data.about), "worn_masks" in parameters)
    return _made(data, parameters, how, out, engine, progress)


def _made(
    data: Photos | Rendered, parameters: dict, how: How, out: str | Path | None, engine: str, progress: bool
) -> Path:
    resolved = masks.styles.resolve(how.style)  # as it is now: a style file may be edited meanwhile
    looks = described(resolved)
    decisive = parameters | ({"encoding": "jpeg"} if how.jpeg else {})
    key = _fingerprint(data.content, looks, decisive, isinstance(data, Rendered))
    path = Path(out) if out is not None else paths.cache_dir() / f"{data.name}-{key}.h5"
    attrs = parameters | {"style": str(how.style), "dataset": data.name, "content": data.content, "fingerprint": key}
    how = how._replace(style=resolved)
    parts = Parts(path, key) if data.about >= KEPT_FROM else None
    if not _is_current(path, key):
        if path.exists() and _is_of_others(path):
            raise ValueError(f"{path} is there already, and no file of ours: it would be lost; choose another out")
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")):  # whoever comes second waits, and finds it made
            if not _is_current(path, key):
                paths.remove_temporaries(path.parent, path.name, older_than=0)  # of a killed preparation of this file
                with workers(engine):
                    print(_write(path, attrs, data, how, parts, progress))
                if parts is not None:
                    paths.sync(path)  # days of work must not hang on what the disk has not got yet
                    parts.remove()
                return path
    if parts is not None:
        parts.remove()  # of a preparation that was stopped when its file was whole already
    print(f"{data.name}: prepared already, {path}")
    return path


def is_jpeg(encoding: str, pictures: int) -> bool:
    """Whether so many pictures are kept as JPEGs.

    Raises:
        ValueError: an unknown encoding.
    """
    if encoding not in ENCODINGS:
        raise ValueError(f"unknown encoding {brief(repr(encoding), 60)}: one of {', '.join(ENCODINGS)}")
    return encoding == "jpeg" or (encoding == "auto" and pictures >= JPEG_FROM)


def room(pictures: int, jpeg: bool, kept: bool) -> int:
    """Bytes on the disk at the end of a preparation: the file, and the parts that are kept until it is whole."""
    each = 2 * (JPEG_BYTES if jpeg else store.FACE_BYTES) + 1_000
    return pictures * each * (2 if kept else 1)


def _blocks(data: Photos | Rendered, parts: Parts | None, how: How) -> Iterator[Block]:
    """All blocks: those that an earlier call kept, then the others, kept as they come."""
    if parts is None:
        yield from data.blocks(how)
        return
    done = pictures = 0
    for blocks in parts.kept():
        done += len(blocks)
        pictures += sum(map(_seen, blocks))
        yield from blocks
    if done:
        tqdm.write(f"{data.name}: going on after {done:,} blocks that an earlier call has left")
    for blocks in batches(_announced(data, how, done, max(data.about - pictures, 0)), EACH):
        parts.keep(done, blocks)
        done += len(blocks)
        yield from blocks


def _announced(data: Photos | Rendered, how: How, start: int, left: int) -> Iterator[Block]:
    """The blocks from `start` on; before the bulk of them says what the pictures `left` will cost, by what the first took."""
    started, pictures, told = time.monotonic(), 0, False
    for block in data.blocks(how, start):
        pictures += _seen(block)
        if not told and pictures >= 256:
            told, rate = True, pictures / (time.monotonic() - started)
            tqdm.write(
                f"{data.name}: about {left:,} pictures, {rate:,.0f} a second, {left / rate / 3600:.1f} hours; "
                f"{room(data.about, how.jpeg, kept=True) / 1e9:,.1f} GB of room ({'JPEGs' if how.jpeg else 'raw pixels'})"
            )
        yield block


def _seen(block: Block) -> int:
    return len(block.hashes) + len(block.skipped)


def _check_room(path: Path, data: Photos | Rendered, jpeg: bool, parts: Parts | None) -> None:
    there = sum(part.stat().st_size for part in parts.folder.glob("part-*.npz")) if parts else 0
    needed, free = room(data.about, jpeg, parts is not None), shutil.disk_usage(path.parent).free
    if needed > free + there:
        way_out = "choose another out" if jpeg else "set encoding to jpeg, or choose another out"
        raise ValueError(
            f"{data.name}: about {data.about:,} pictures take {needed / 1e9:,.1f} GB while they are prepared, and "
            f"{free / 1e9:,.1f} GB are free in {brief(path.parent, 80)}: {way_out}"
        )


def _write(path: Path, attrs: dict, data: Photos | Rendered, how: How, parts: Parts | None, progress: bool) -> str:
    """Writes the file, and says what was skipped and kept."""
    _check_room(path, data, how.jpeg, parts)
    with (
        store.FaceWriter(path, attrs, "jpeg" if how.jpeg else "raw") as writer,
        tqdm(total=data.total, desc=f"masking {data.name}", unit="face", disable=not progress) as bar,
    ):
        people, names, usable, hashes, skipped, without, worn = [], [], [], array("Q"), Counter(), {}, 0
        for block in _blocks(data, parts, how):
            writer.append(**block.columns)
            people += map(sys.intern, block.columns["identities"])
            names += block.columns["sources"]
            usable.append(block.columns["masked_ok"])
            worn += int((np.asarray(block.columns["mask_kinds"], object) == store.WORN).sum())
            hashes.extend(block.hashes)
            skipped.update(block.skipped.values())
            without |= dict(islice(block.skipped.items(), NAMED - len(without)))
            bar.update(_seen(block))
        seen = len(names) + skipped.total()
        skipped.update(data.skipped)
        if not names:
            raise ValueError(f"no usable picture in {data.name}: {_listed(skipped)}")
        try:
            result = splits.make_splits(
                people,
                names,
                np.concatenate(usable),
                hashes,
                writer.read,
                min_pictures=attrs["min_masked"],
                test_fraction=attrs["test_fraction"],
                validation_fraction=attrs["validation_fraction"],
                copies=data.copies,
                keep_copies="keep_copies" in attrs,
                seed=attrs["seed"],
            )
        except ValueError as error:
            skipped.update({"wears a mask already": worn} if worn else {})
            raise ValueError(f"{data.name}: {error}" + (f"; skipped: {_listed(skipped)}" if skipped else "")) from None
        if worn:
            result.dropped["mask not placed"] -= worn
            result.dropped["wears a mask already"] = worn
        writer.assign(result.labels, result.split, result.identities, result.duplicate_of)
        writer.attrs |= {"skipped": json.dumps(skipped), "dropped": json.dumps(result.dropped)}
        writer.attrs["without"] = json.dumps({name[-200:]: reason for name, reason in without.items()})
    return _summary(data, seen, skipped, result, path)


def _fingerprint(content: str, looks: str, parameters: dict[str, float], is_demo: bool) -> str:
    now = fingerprint.numbers(of_data(is_demo))
    described = json.dumps([content, looks, parameters, now], sort_keys=True).encode()
    return hashlib.blake2b(described, digest_size=6).hexdigest()


def _switches(keep_copies: bool, worn_masks: bool, *, photos: bool) -> dict[str, object]:
    """Named where they are asked for: what was prepared without them is what it was."""
    if (keep_copies or worn_masks) and not photos:
        raise ValueError(
            "keep_copies and worn_masks are for photos: rendered faces have no copies, and wear no mask yet"
        )
    found: dict[str, object] = {"keep_copies": True} if keep_copies else {}
    if worn_masks:
        from maskfr_utils.masks.worn import WEIGHTS  # which takes torch

        network = WEIGHTS.read_bytes()  # another one sees other masks
        found["worn_masks"] = hashlib.blake2b(network, digest_size=6).hexdigest()
    return found


def _is_prepared(found: Path) -> bool:
    return found.is_file() and (h5py.is_hdf5(found) or found.suffix in (".h5", ".hdf5"))


def _check_options(dataset: str, options: Collection[str]) -> None:
    """Refuses options of the command line that would decide nothing.

    Raises:
        FileNotFoundError: no such data set.
        ValueError: it names them.
    """
    idle, what = set(options) & FOR_PHOTOS, "for photos only"
    if dataset != DEMO:
        idle, what = set(options) & FOR_DEMO, f"for {DEMO} only"
        if _is_prepared(paths.find_data(dataset)):
            idle, what = set(options) - {"progress"}, f"without effect: {dataset} is prepared already"
    if idle:
        raise ValueError(f"{', '.join('--' + name.replace('_', '-') for name in sorted(idle))}: {what}; leave it out")


def _is_current(path: Path, key: str) -> bool:
    try:
        return store.FaceStore(path).attrs.get("fingerprint") == key
    except (FileNotFoundError, ValueError):
        return False


def _is_of_others(path: Path) -> bool:
    """Whether a file was written by another program; a damaged one of HDF5 may be ours."""
    if not h5py.is_hdf5(path):
        return True
    try:
        with h5py.File(path, "r") as file:
            return file.attrs.get("format") not in (store.FORMAT, store.JPEG_FORMAT)
    except (OSError, RuntimeError):
        return False


def _listed(reasons: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in reasons.items()) or "nothing in it"


def _summary(data: Photos | Rendered, seen: int, skipped: Counter, result: splits.Splits, path: Path) -> str:
    rows = [("pictures", "", seen)]
    rows += [("skipped", reason, count) for reason, count in sorted(skipped.items())]
    rows += [("left out", reason, count) for reason, count in result.dropped.items() if count]
    rows += [("kept", "identities", len(result.identities))]
    rows += [("kept", "training pictures", int((result.split == store.TRAIN).sum()))]
    rows += [("kept", "validation pictures", int((result.split == store.VALIDATION).sum()))]
    rows += [("kept", "test pictures", int((result.split == store.TEST).sum()))]
    lines = [f"  {group:<9} {reason:<38} {count:>10,}" for group, reason, count in rows]
    notes = [f"  {note}" for note in data.notes]
    if data.copies and len(result.labels) > splits.CROSS_LIMIT:
        notes.append(
            f"  more than {splits.CROSS_LIMIT:,} pictures: a photo under two names was found only where it is the same to the bit"
        )
    if len(result.identities) == 1:
        notes.append("  one person only: there is nobody to tell apart from")
    return "\n".join([f"{data.name} -> {path}", *lines, *notes])


def main(argv: list[str] | None = None) -> int:
    """Prepare one data set from the command line; prints the path of the file last."""
    start_command()
    parser = argparse.ArgumentParser(
        prog="python -m maskfr_utils.prepare",
        description="Detect, align, mask, clean and split a data set into one HDF5 file.",
        argument_default=argparse.SUPPRESS,
    )
    add = parser.add_argument
    add(
        "dataset",
        nargs="?",
        help="demo, a folder, list, zip or tar of people, shards, train.rec, or an HDF5 file to check",
    )
    add("-f", "--parameters-file", help="a run's YAML: prepare as that run will want it; the options below win over it")
    add("--seed", type=int, help="of masks, test pictures and rendered faces (0)")
    for parameter in fields(TrainConfig):
        name, default, text = parameter.name, parameter.default, parameter.metadata["help"]
        if name in AS_A_RUN:
            kind = {"action": "store_true"} if default is False else {"type": type(default)}
            add("--" + name.replace("_", "-"), help=text if default is False else f"{text} ({default})", **kind)
    add("--encoding", help="of the pictures: raw, jpeg, or auto, JPEGs from a million pictures on (auto)")
    add("--engine", help=f"{HELP} (local)")
    add("--out", help="file to write (in the cache, named by all inputs)")
    add("--no-progress", dest="progress", action="store_false", help="show no progress bar")
    arguments = vars(parser.parse_args(argv))
    options = arguments.keys() - {"dataset", "parameters_file"}
    try:
        if (file := arguments.pop("parameters_file", None)) is not None:
            given = {"dataset": arguments["dataset"]} if "dataset" in arguments else {}
            arguments = TrainConfig.from_mapping(load_params(file) | given).data() | arguments
        elif "dataset" not in arguments:
            parser.error("name a data set, or a run's YAML by -f")
        _check_options(str(arguments["dataset"]), options)
        print(prepare(arguments.pop("dataset"), **arguments))
    except (OSError, ValueError) as error:
        print(f"error: {brief(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            f"stopped: the same command goes on from what is kept of {KEPT_FROM:,} pictures or more, else it begins anew",
            file=sys.stderr,
        )
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
