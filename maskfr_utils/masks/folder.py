"""Masks for a whole folder or tar of pictures, or a single photo: streamed, resumed where it stopped.

    python -m maskfr_utils.masks.folder photos/ masked/ --style surgical

Below `out`: `images/` the masked pictures, `coverage/` where the masks are (255; ground truth of a mask segmentation),
`manifest.jsonl` one line a picture: with its source, landmarks, style and seed every mask can be redrawn bit for bit.
Pictures are written without loss: what no mask covers keeps its bits. The orientation that EXIF asks for is applied,
other EXIF data and the colour profile are kept.
"""

import argparse
import io
import json
import multiprocessing
import os
import tarfile
import zlib
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from maskfr_utils import masks
from maskfr_utils.faces import align, pictures
from maskfr_utils.masks import NO_MASK, styles

_IN_FLIGHT = 8  # pictures a worker may have waiting: memory stays bounded however large the folder is
_ORIENTATION = 0x0112  # EXIF tag


def mask_folder(
    source: str | Path,
    out: str | Path,
    *,
    style: str | dict[str, float] = "random",
    seed: int = 0,
    workers: int | None = None,
    progress: bool = True,
) -> Counter:
    """Masks every face of every picture; what an earlier, interrupted call has done is not done again.

    Pictures of exactly 112 x 112 pixels are taken as aligned faces, all others as photos.

    Args:
        source: a folder (with its subfolders), a tar of pictures, or one picture.
        out: folder to write into; made if missing.
        style: as for `masks.mask_faces`, but names, files and mappings of these only.
        seed: as for `masks.mask_faces`.
        workers: processes; one a core where None, none but this one where 1.
        progress: show a bar with the time left.

    Returns:
        How many "pictures" were masked, with how many "faces", and how many were skipped by reason; over all calls.

    Raises:
        FileNotFoundError: no such source.
        ValueError: unknown style, or `out` was begun with another style or seed.
    """
    source, out = Path(source), Path(out)
    if not source.exists():
        raise FileNotFoundError(f"no picture, folder or tar at {source}")
    styles.resolve(style)
    header = {"style": style, "seed": int(seed), "style_files": _style_files(style)}
    out.mkdir(parents=True, exist_ok=True)
    manifest = out / "manifest.jsonl"
    done, counts = _resume(manifest, header)
    taken = {_out_name(name) for name in done}

    def todo() -> Iterator[tuple[str, bytes]]:
        for name, size, read in _entries(source, out):
            if done.get(name) == size:
                bar.update()
            elif name not in done and _out_name(name) in taken:
                record({"source": name, "size": size, "skipped": "its name without suffix is taken"})
            else:
                taken.add(_out_name(name))
                yield name, read()

    def record(entry: dict) -> None:
        file.write(json.dumps(entry, ensure_ascii=False) + "\n")
        file.flush()
        _count(counts, entry)
        bar.update()

    total = None if source.is_file() else sum(1 for _ in _entries(source, out))
    workers = workers or os.cpu_count() or 1
    with manifest.open("a", encoding="utf-8") as file, tqdm(total=total, unit="picture", disable=not progress) as bar:
        if workers == 1:
            for name, data in todo():
                record(mask_one(name, data, out, style, seed))
            return counts
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, context, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
            waiting = deque()
            for name, data in todo():
                waiting.append(pool.submit(mask_one, name, data, out, style, seed))
                if len(waiting) >= workers * _IN_FLIGHT:
                    record(waiting.popleft().result())
            while waiting:
                record(waiting.popleft().result())
    return counts


def mask_one(name: str, data: bytes, out: Path, style: str | dict[str, float], seed: int) -> dict:
    """Masks one encoded picture into `out`; returns its line of the manifest. Broken pictures are a reason, no error."""
    entry = {"source": name, "size": len(data), "crc32": zlib.crc32(data)}
    try:
        photo = pictures.read_picture(data)
    except pictures.PictureError as error:
        return entry | {"skipped": str(error)}
    image, alpha, landmarks, kinds = _mask(photo, style, seed, None)
    if not kinds:
        return entry | {"skipped": "no face found"}
    if not any(kinds):
        return entry | {"skipped": "no mask could be placed", "landmarks": landmarks}
    relative = _out_name(name)
    _write(out / "coverage" / relative, Image.fromarray(np.where(alpha >= 128, 255, 0).astype(np.uint8)))
    _write(out / "images" / relative, Image.fromarray(image), **_metadata(data))
    return entry | {"out": relative, "kinds": kinds, "landmarks": landmarks, "style": style, "seed": seed}


def redraw(entry: dict, data: bytes) -> np.ndarray:
    """The masked picture of a manifest line from the source's bytes, (height, width, 3) uint8.

    Raises:
        ValueError: the source has changed.
    """
    if zlib.crc32(data) != entry["crc32"]:
        raise ValueError(f"{entry['source']} has changed since its mask was drawn")
    return _mask(pictures.read_picture(data), entry["style"], entry["seed"], entry["landmarks"])[0]


def _mask(
    photo: np.ndarray, style: str | dict[str, float], seed: int, landmarks: list | None
) -> tuple[np.ndarray, np.ndarray, list, list[str]]:
    """The masked picture, the masks' opacity, and of each face its landmarks and kind ("" without a mask)."""
    if photo.shape == (align.FACE_SIZE, align.FACE_SIZE, 3):
        points = align.face_landmarks(photo[None]) if landmarks is None else np.array(landmarks, np.float32)
        done = masks.mask_faces(photo[None], points, style=style, seed=seed)
        return done.images[0], done.alpha[0], points.tolist(), done.kinds.tolist()
    points = None if landmarks is None else np.array(landmarks, np.float32)
    done = masks.mask_photo(photo, style=style, seed=seed, landmarks=points)
    return done.image, done.alpha, done.landmarks.tolist(), done.kinds.tolist()


# ---- files --------------------------------------------------------------------------------------------------------


def _entries(source: Path, out: Path) -> Iterator[tuple[str, int, object]]:
    """(name, size, function that reads the bytes) of every picture, in a fixed order."""
    if source.is_dir():
        inside = out.resolve()
        for folder, folders, files in os.walk(source):
            folders[:] = sorted(f for f in folders if Path(folder, f).resolve() != inside)
            for file in sorted(files):
                path = Path(folder, file)
                if path.suffix.lower() in pictures.SUFFIXES and path.is_file():
                    yield path.relative_to(source).as_posix(), path.stat().st_size, path.read_bytes
    elif source.suffix.lower() in pictures.SUFFIXES:
        yield source.name, source.stat().st_size, source.read_bytes
    else:
        try:
            with tarfile.open(source) as archive:
                for member in archive:
                    path = PurePosixPath(member.name)
                    safe = (
                        member.isreg() and not path.is_absolute() and ".." not in path.parts and "\\" not in member.name
                    )
                    if safe and path.suffix.lower() in pictures.SUFFIXES:
                        # At most what `read_picture` would take: a member may claim any size.
                        yield (
                            path.as_posix(),
                            member.size,
                            lambda m=member: archive.extractfile(m).read(pictures.MAX_BYTES + 1),
                        )
                    archive.members.clear()  # tarfile would keep them all
        except (tarfile.TarError, EOFError, zlib.error) as error:
            raise ValueError(f"{source} is no picture, folder or readable tar: {error}") from error


def _out_name(name: str) -> str:
    return PurePosixPath(name).with_suffix(".png").as_posix()


def _metadata(data: bytes) -> dict:
    """EXIF (upright) and colour profile of an encoded picture, as Pillow's `save` takes them."""
    kept = {}
    try:
        with Image.open(io.BytesIO(data), formats=pictures.FORMATS) as image:
            if image.info.get("icc_profile") and image.mode == "RGB":
                kept["icc_profile"] = image.info["icc_profile"]
            exif = image.getexif()
            if exif:
                exif.pop(_ORIENTATION, None)
                kept["exif"] = exif.tobytes()
    except Exception:  # broken metadata is no reason to lose the picture
        return {}
    return kept


def _write(path: Path, image: Image.Image, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")  # left by a killed process, it is written over
    try:
        image.save(part, "PNG", compress_level=3, **options)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _style_files(style: str | dict[str, float]) -> dict[str, str]:
    """Text of the style files that a style names: the manifest alone tells what was drawn."""
    if not isinstance(style, str | dict) or (isinstance(style, dict) and not all(isinstance(s, str) for s in style)):
        raise ValueError(
            "a folder's style must be a name, a style file, or a mapping of these: it goes into the manifest"
        )
    names = [style] if isinstance(style, str) else list(style)
    return {name: Path(name).read_text(encoding="utf-8") for name in names if name.endswith((".yaml", ".yml"))}


def _resume(manifest: Path, header: dict) -> tuple[dict[str, int], Counter]:
    """What the manifest says is done: size by name, and the counts. Begins it where there is none."""
    done, counts = {}, Counter()
    if not manifest.exists() or not manifest.stat().st_size:
        manifest.write_text(json.dumps(header, ensure_ascii=False) + "\n", encoding="utf-8")
        return done, counts
    whole = 0
    with manifest.open("rb") as file:
        for number, line in enumerate(file):
            try:
                entry = json.loads(line)
            except ValueError:
                entry = None
            if entry is None or not line.endswith(b"\n"):
                if file.read(1):
                    raise ValueError(f"{manifest}, line {number + 1} is broken: move the folder away and begin anew")
                break  # cut off when the last call was stopped
            whole += len(line)
            if number == 0:
                if entry != json.loads(json.dumps(header)):
                    raise ValueError(
                        f"{manifest.parent} was begun with style {entry.get('style')!r} and seed {entry.get('seed')!r}, "
                        f"not {header['style']!r} and {header['seed']!r}: name another folder"
                    )
            elif "out" not in entry or (manifest.parent / "images" / entry["out"]).is_file():
                done[entry["source"]] = entry["size"]
                _count(counts, entry)
    os.truncate(manifest, whole)
    return done, counts


def _count(counts: Counter, entry: dict) -> None:
    if "skipped" in entry:
        counts[entry["skipped"]] += 1
    else:
        counts["pictures"] += 1
        bare = entry["kinds"].count(NO_MASK)
        counts["faces"] += sum(map(bool, entry["kinds"])) - bare
        counts["faces left bare by the style"] += bare
        counts["faces without a mask"] += entry["kinds"].count("")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m maskfr_utils.masks.folder", description=__doc__.split("\n")[0])
    parser.add_argument("source", help="a folder, a tar, or one picture")
    parser.add_argument("out", help="folder to write into")
    parser.add_argument(
        "--style", default="random", help="a style's name, a style file, or a mapping such as '{surgical: 1, cloth: 2}'"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=None, help="processes (default: one a core)")
    args = parser.parse_args(argv)
    style = styles.parse(args.style)
    try:
        counts = mask_folder(args.source, args.out, style=style, seed=args.seed, workers=args.workers)
    except (OSError, ValueError) as error:
        parser.exit(2, f"{error}\n")
    for what, count in counts.items():
        print(f"{count:9,d} {what}")


if __name__ == "__main__":
    main()
