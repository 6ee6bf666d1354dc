"""From a data set to one HDF5 file: faces, masked twins, cleaning, split; kept under a fingerprint of all inputs.

python -m maskfr_utils.prepare DATASET [--min-masked 80 ...]
"""

import argparse
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain, islice
from pathlib import Path

import h5py
import joblib
import numpy as np
from tqdm.auto import tqdm

from maskfr_utils import fingerprint, masks, paths, rendered, splits, store
from maskfr_utils.faces import align, sources
from maskfr_utils.faces.pictures import PictureError
from maskfr_utils.masks.styles import described
from maskfr_utils.messages import brief, print_anything
from maskfr_utils.probes.faces import of_data

DEMO = "demo"
BLOCK = 32  # pictures masked at a time
BLOCK_BYTES = 2**20  # but fewer, where they are large photos
PARALLEL_FROM = 16  # blocks; below it, starting processes takes longer than it saves

NAMED = 100  # unusable pictures that the file names, with the reason

Picture = tuple[str, bytes, np.ndarray | None]  # name, undecoded bytes, landmarks


def prepare(
    dataset: str | Path,
    *,
    seed: int = 0,
    style: masks.StyleLike = "random",
    min_masked: int = 5,
    test_fraction: float = 0.1,
    validation_fraction: float = 0.0,
    identities: int = 24,
    per_identity: int = 25,
    difficulty: float = 0.5,
    keep_copies: bool = False,
    worn_masks: bool = False,
    out: str | Path | None = None,
    progress: bool = True,
) -> Path:
    """Make the HDF5 file of a data set, or find it made already.

    Prints what was skipped and what the filter kept.

    Args:
        dataset: "demo" (rendered faces), a folder, zip, tar or RecordIO file (see `sources.open_source`), or an HDF5
            file, which is checked and returned as it is.
        seed: of masks, test pictures and rendered faces.
        style: of the masks, as `masks.mask_faces` takes it.
        min_masked: identities with fewer clean masked pictures are left out; at least 2.
        test_fraction: share of each identity's pictures for testing.
        validation_fraction: share of each identity's other pictures for validation.
        identities, per_identity: number of rendered people, and of pictures of each; only for "demo".
        difficulty: how alike rendered people are, 0 to 1 (see `rendered.render_faces`); only for "demo".
        keep_copies: near-duplicates of a person's photos are kept, in one part; not for "demo".
        worn_masks: photos with a mask worn already get no second one and are in no part (`masks.worn`); not for "demo".
        out: where to write; by default below `paths.cache_dir()`, under a name that changes with the inputs.
        progress: show a progress bar.

    Returns:
        The path of the file, to be opened by `store.FaceStore`.

    Raises:
        FileNotFoundError: no such data set.
        ValueError: a parameter out of range, an unusable data set, or no identity with enough pictures.
    """
    found = None if str(dataset) == DEMO else paths.find_data(dataset)
    if found and found.is_file() and (h5py.is_hdf5(found) or found.suffix in (".h5", ".hdf5")):
        store.FaceStore(found)
        return found
    looks = described(style)  # refuses an unknown style, and tells what is in a style file
    switches = {"keep_copies": keep_copies, "worn_masks": worn_masks} if found else {}
    parameters = _parameters(seed, min_masked, test_fraction, validation_fraction, switches)
    if found is None and per_identity < min_masked:
        raise ValueError(f"per_identity is {per_identity}, fewer than min_masked = {min_masked}: raise it")
    data = _Photos(found) if found else _Rendered(identities, per_identity, difficulty, seed)
    key = _fingerprint(data.content, looks, parameters, found is None)
    path = Path(out) if out is not None else paths.cache_dir() / f"{data.name}-{key}.h5"
    if _is_current(path, key):
        print(f"{data.name}: prepared already, {path}")
        return path
    attrs = parameters | {"style": str(style), "dataset": data.name, "content": data.content, "fingerprint": key}
    print(_write(path, attrs, data, style, progress))
    return path


def _parameters(
    seed: int, min_masked: int, test_fraction: float, validation_fraction: float, switches: dict[str, bool]
) -> dict[str, float]:
    """What is kept with the file, looked at first; of switches those that are on: what was made without them stays valid."""
    splits.check_parameters(min_masked, test_fraction, validation_fraction)
    parameters = {"seed": seed, "min_masked": min_masked, "test_fraction": test_fraction}
    return (
        parameters | {"validation_fraction": validation_fraction} | {name: True for name, on in switches.items() if on}
    )


class _Photos:
    """Pictures of people in a folder or archive."""

    copies = True  # are looked for

    def __init__(self, path: Path):
        self.source = sources.open_source(path)
        self.name, self.content = path.resolve().name.split(".")[0], self.source.fingerprint
        self.total, self.notes = self.source.total, self.source.notes

    @property
    def skipped(self) -> Counter[str]:
        """What the source left out before anything was decoded."""
        return self.source.skipped

    def blocks(self, style: masks.StyleLike, seed: int, worn_masks: bool) -> Iterator[tuple]:
        """Results of `_decode_and_mask` for all pictures, in order."""
        return _source_blocks(self.source, style, seed, worn_masks)


class _Rendered:
    """People who are rendered."""

    copies = False  # each picture is drawn by itself

    def __init__(self, identities: int, per_identity: int, difficulty: float, seed: int):
        self.name, self.content = DEMO, f"{identities} x {per_identity}, difficulty {difficulty}"
        self.total, self.notes, self.skipped = identities * per_identity, [], Counter()
        self._render = partial(rendered.render_faces, identities, per_identity, seed=seed, difficulty=difficulty)

    def blocks(self, style: masks.StyleLike, seed: int, worn_masks: bool) -> Iterator[tuple]:
        """As those of `_Photos`; none wears a mask."""
        return _rendered_blocks(self._render(), style, seed)


def _write(path: Path, attrs: dict, data: _Photos | _Rendered, style: masks.StyleLike, progress: bool) -> str:
    """Writes the file, and says what was skipped and kept."""
    with (
        store.FaceWriter(path, attrs) as writer,
        tqdm(total=data.total, desc=f"masking {data.name}", unit="face", disable=not progress) as bar,
    ):
        people, names, usable, hashes, skipped, without, worn = [], [], [], [], Counter(), {}, 0
        for columns, block_hashes, block_skipped in data.blocks(style, attrs["seed"], "worn_masks" in attrs):
            writer.append(**columns)
            people += columns["identities"]
            names += columns["sources"]
            usable.append(columns["masked_ok"])
            worn += int((columns["mask_kinds"] == store.WORN).sum())
            hashes += block_hashes
            skipped.update(block_skipped.values())
            without |= dict(islice(block_skipped.items(), NAMED - len(without)))
            bar.update(len(block_hashes) + len(block_skipped))
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
            if worn:
                skipped["wears a mask already"] = worn
            raise ValueError(f"{data.name}: {error}" + (f"; skipped: {_listed(skipped)}" if skipped else "")) from None
        if worn:
            result.dropped["mask not placed"] -= worn
            result.dropped["wears a mask already"] = worn
        writer.assign(result.labels, result.split, result.identities, result.duplicate_of)
        writer.attrs |= {"skipped": json.dumps(skipped), "dropped": json.dumps(result.dropped)}
        writer.attrs["without"] = json.dumps({name[-200:]: reason for name, reason in without.items()})
    return _summary(data, seen, skipped, result, path)


def _source_blocks(source: sources.Source, style: masks.StyleLike, seed: int, worn_masks: bool) -> Iterator[tuple]:
    """Results of `_decode_and_mask` for all pictures, in order; on all cores where it pays."""
    blocks = _read_blocks(source)
    first = list(islice(blocks, PARALLEL_FROM))
    jobs = min(16, joblib.cpu_count()) if len(first) == PARALLEL_FROM else 1
    with joblib.Parallel(n_jobs=jobs) as parallel:
        # A few blocks a core at a time: memory stays bounded however many pictures there are.
        for batch in _batches(chain(first, blocks), 8 * jobs):
            yield from parallel(joblib.delayed(_decode_and_mask)(block, style, seed, worn_masks) for block in batch)


def _read_blocks(source: sources.Source) -> Iterator[list[Picture]]:
    block, size = [], 0
    for name, data in source.pictures():
        block.append((name, data, source.landmarks.get(name)))
        size += len(data)
        if len(block) == BLOCK or size > BLOCK_BYTES:
            yield block
            block, size = [], 0
    if block:
        yield block


def _rendered_blocks(faces: rendered.RenderedFaces, style: masks.StyleLike, seed: int) -> Iterator[tuple]:
    place = Counter()
    named = []
    for image, label, landmarks in zip(faces.images, faces.labels.tolist(), faces.landmarks, strict=True):
        named.append(
            sources.Face(image, f"rendered_{label:03d}", f"rendered_{label:03d}/{place[label]:03d}", landmarks)
        )
        place[label] += 1
    for block in _batches(named, BLOCK):
        yield *_mask(block, style, seed), {}


def _batches(items: Iterable, size: int) -> Iterator[list]:
    items = iter(items)
    while batch := list(islice(items, size)):
        yield batch


def _decode_and_mask(
    pictures: list[Picture], style: masks.StyleLike, seed: int, worn_masks: bool
) -> tuple[dict, list[int], dict[str, str]]:
    """The columns of `FaceWriter.append`, the hashes of the pictures, and of those that cannot be used the reason."""
    faces, skipped = [], {}
    for name, data, landmarks in pictures:
        try:
            faces.append(sources.to_face(name, data, landmarks))
        except PictureError as error:
            skipped[name] = str(error)
    return *_mask(faces, style, seed, worn_masks), skipped


def _mask(
    faces: list[sources.Face], style: masks.StyleLike, seed: int, worn_masks: bool = False
) -> tuple[dict, list[int]]:
    """The columns of `FaceWriter.append` and the hashes of the pictures."""
    images = np.array([face.image for face in faces], np.uint8).reshape(-1, *store.FACE_SHAPE)
    landmarks = np.full((len(faces), 68, 2), np.nan, np.float32)
    for row, face in zip(landmarks, faces, strict=True):
        row[:] = align.face_landmarks(face.image[None])[0] if face.landmarks is None else face.landmarks
    twins = masks.mask_faces(images, landmarks, style=style, seed=seed)
    columns = {
        "images": images,
        "masked": twins.images,
        "identities": [face.identity for face in faces],
        "sources": [face.name for face in faces],
        "landmarks": landmarks,
        "masked_ok": twins.ok,
        "mask_kinds": np.array(twins.kinds, object),
    }
    if worn_masks and len(faces):
        from maskfr_utils.masks.worn import wears_mask  # which takes torch

        wears = wears_mask(images)
        columns["masked"][wears], columns["masked_ok"][wears] = images[wears], False
        columns["mask_kinds"][wears] = store.WORN
    return columns, [splits.picture_hash(image) for image in images]


def _fingerprint(content: str, looks: str, parameters: dict[str, float], is_demo: bool) -> str:
    now = fingerprint.numbers(of_data(is_demo))
    described = json.dumps([content, looks, parameters, now], sort_keys=True).encode()
    return hashlib.blake2b(described, digest_size=6).hexdigest()


def _is_current(path: Path, key: str) -> bool:
    try:
        return store.FaceStore(path).attrs.get("fingerprint") == key
    except (FileNotFoundError, ValueError):
        return False


def _listed(reasons: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in reasons.items()) or "nothing in it"


def _summary(data: _Photos | _Rendered, seen: int, skipped: Counter, result: splits.Splits, path: Path) -> str:
    rows = [("pictures", "", seen)]
    rows += [("skipped", reason, count) for reason, count in sorted(skipped.items())]
    rows += [("left out", reason, count) for reason, count in result.dropped.items() if count]
    rows += [("kept", "identities", len(result.identities))]
    rows += [("kept", "training pictures", int((result.split == store.TRAIN).sum()))]
    rows += [("kept", "validation pictures", int((result.split == store.VALIDATION).sum()))]
    rows += [("kept", "test pictures", int((result.split == store.TEST).sum()))]
    lines = [f"  {group:<9} {reason:<38} {count:>10,}" for group, reason, count in rows]
    notes = [f"  {note}" for note in data.notes]
    if len(result.identities) == 1:
        notes.append("  one person only: there is nobody to tell apart from")
    return "\n".join([f"{data.name} -> {path}", *lines, *notes])


def main(argv: list[str] | None = None) -> int:
    """Prepare one data set from the command line; prints the path of the file last."""
    print_anything()
    parser = argparse.ArgumentParser(
        prog="python -m maskfr_utils.prepare",
        description="Detect, align, mask, clean and split a data set into one HDF5 file.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "dataset", help="demo, a folder, zip or tar of <person>/<picture>, train.rec, or an HDF5 file to check"
    )
    parser.add_argument("--min-masked", type=int, default=5, help="leave out identities with fewer masked pictures")
    parser.add_argument(
        "--test-fraction", type=float, default=0.1, help="share of each identity's pictures for testing"
    )
    parser.add_argument(
        "--validation-fraction", type=float, default=0.0, help="share of each identity's other pictures for validation"
    )
    parser.add_argument("--style", default="random", help="of the masks: random, the name of a style, or a style file")
    parser.add_argument("--seed", type=int, default=0, help="of masks, test pictures and rendered faces")
    parser.add_argument("--identities", type=int, default=24, help="number of rendered people (demo only)")
    parser.add_argument("--per-identity", type=int, default=25, help="pictures of each (demo only)")
    parser.add_argument("--difficulty", type=float, default=0.5, help="how alike rendered people are (demo only)")
    parser.add_argument("--keep-copies", action="store_true", help="keep near-duplicates, all in one part")
    parser.add_argument(
        "--worn-masks",
        action="store_true",
        help="photos in which a mask is worn get no second one: a test on real masks",
    )
    parser.add_argument("--out", help="file to write (default: in the cache, named by all inputs)")
    parser.add_argument("--no-progress", dest="progress", action="store_false", help="show no progress bar")
    arguments = vars(parser.parse_args(argv))
    try:
        print(prepare(arguments.pop("dataset"), **arguments))
    except (OSError, ValueError) as error:
        print(f"error: {brief(error)}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
