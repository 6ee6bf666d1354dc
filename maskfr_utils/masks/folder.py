"""Masks for a whole folder or archive of pictures, or a single photo: streamed, resumed where it stopped.

    python -m maskfr_utils.masks.folder photos/ masked/ --style surgical

Below `out`: `images/` the masked pictures, `coverage/` where the masks are (255; ground truth of a mask segmentation),
`manifest.jsonl` one line a picture: with its source, landmarks, style and seed the same version redraws every mask bit for bit.
Pictures are written as PNG, without loss: what no mask covers of an 8-bit RGB or grey picture keeps its bits (others become
8-bit RGB, transparent ones on white); or in the source's own format, where what that format does to pixels is done to all
of them once more. The orientation that EXIF asks for is applied, other EXIF data
and the colour profile are kept.
"""

import argparse
import errno
import io
import signal
import struct
import sys
import threading
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from PIL import Image, JpegImagePlugin
from tqdm.auto import tqdm

from maskfr_utils import engines, masks
from maskfr_utils.faces import align, pictures
from maskfr_utils.faces.archives import Archive, open_archive
from maskfr_utils.masks import styles
from maskfr_utils.masks.draw import find_landmarks
from maskfr_utils.masks.manifest import NAME, Manifest, coverage_key, coverage_name
from maskfr_utils.messages import brief, start_command
from maskfr_utils.names import unknown
from maskfr_utils.paths import replacing

FORMATS = ("png", "source")
_IN_FLIGHT = 8  # pictures a worker may have waiting: memory stays bounded however large the folder is
_ORIENTATION = 0x0112  # EXIF tag
# EXIF tags that say what a picture shows, not how its file is laid out: description, camera, program, time, author, rights, GPS.
_TOLD = {0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x8298, 0x8769, 0x8825}
# Suffixes of the formats that a picture may be written in as it came, and what keeps most of it.
_WRITTEN: dict[str, dict[str, object]] = {
    **{suffix: {"format": "JPEG", "quality": 95} for suffix in (".jpg", ".jpeg", ".jpe", ".jfif")},
    **{suffix: {"format": "TIFF", "compression": "tiff_lzw"} for suffix in (".tif", ".tiff")},
    ".png": {"format": "PNG", "compress_level": 3},
    ".webp": {"format": "WEBP", "lossless": True},
    ".bmp": {"format": "BMP"},
    ".ppm": {"format": "PPM"},
}
_UNWRITABLE = {  # by the error's number: what another try would not change
    None: "cannot be written in its format",
    errno.ENAMETOOLONG: "name too long for the file system",
    **dict.fromkeys((errno.EEXIST, errno.ENOTDIR, errno.EISDIR), "a picture's name is another's folder"),
}
# Style, what it is, seed, whether worn masks are drawn over.
How = tuple[str | dict[str, float], styles.Resolved, int, bool]
Job = tuple[str, bytes, str] | dict  # name, bytes, name of the masked picture; or, where it cannot be read, its entry


def mask_folder(
    source: str | Path,
    out: str | Path,
    *,
    style: str | dict[str, float] = "random",
    seed: int = 0,
    form: str = "png",
    workers: int | None = None,
    engine: str = engines.LOCAL,
    again: bool = True,
    progress: bool = True,
) -> Counter:
    """Masks every face of every picture; what an earlier, interrupted call has done is not done again.

    Pictures of exactly 112 x 112 pixels are taken as aligned faces, all others as photos. May be called from any script.

    Args:
        source: a folder (with its subfolders), a zip, tar or RecordIO file of pictures, or one picture.
        out: folder to write into; made if missing.
        style: as for `masks.mask_faces`, but names, files and mappings of these only.
        seed: as for `masks.mask_faces`.
        form: of the pictures: "png", or "source" for each as it came (PNG where that cannot be written).
        workers: processes; one for each CPU that this one may use where None, none but this one where 1.
        engine: where the work is done, see `engines.workers`; the workers of a cluster write into `out` themselves.
        again: draw on faces that wear a mask already, too; else these are left as they are (see `worn`).
        progress: show a bar with the time left.

    Returns:
        How many "pictures" were masked, with how many "faces", and how many were skipped by reason; over all calls.

    Raises:
        FileNotFoundError: no such source.
        ValueError: no picture in it, unknown style or form, `out` is the source or holds it, or was begun with other
            settings; or one worker, which is this process, and an engine elsewhere.
    """
    source, out = Path(source), Path(out)
    if workers == 1 and engine != engines.LOCAL:
        raise ValueError(f"one worker is this process, and engine {engine!r} is elsewhere: leave one of them out")
    archive = open_archive(source, leave_out=out)
    resolved = styles.resolve(style)  # as it is now: a style file may be edited meanwhile
    settings = _settings(style, resolved, seed, form) | ({} if again else {"again": False})
    how = style, resolved, seed, again
    inside = [out] if source.is_dir() else [out / "images", out / "coverage"]
    if any(source.resolve().is_relative_to(folder.resolve()) for folder in inside):
        raise ValueError(f"{out} is or holds the source {source}: name another folder for the masked pictures")
    # To count what is not listed would be to read it all.
    total = sum(1 for _ in archive.entries()) if source.is_dir() and archive.listed else archive.count()
    if total == 0:
        raise ValueError(_nothing(source, archive))
    jobs, done = _jobs(archive, manifest := Manifest(out, settings), form), 0
    with manifest, engines.workers(engine), tqdm(total=total, unit="picture", disable=not progress) as bar:
        bar.update(len(manifest.done))
        for entry in _results(jobs, out.absolute(), how, workers or engines.processes()):
            manifest.add(entry)
            bar.update()
            done += 1
    if not done and not manifest.done:
        raise ValueError(_nothing(source, archive))
    return manifest.counts + archive.skipped


def _nothing(source: Path, archive: Archive) -> str:
    told = "".join(f"; {count} {reason}" for reason, count in archive.skipped.items())
    return f"no picture in {source}{told}"


def _jobs(archive: Archive, manifest: Manifest, form: str) -> Iterator[Job]:
    """Every picture that is not done yet."""
    with archive.reader() as read:
        for entry in archive.entries():
            name = _out_name(entry.name, form)  # also of what is done: who comes after finds the same names taken
            while manifest.owners.setdefault(coverage_key(name), entry.name) != entry.name:
                name = f"{name}.png"
            size, crc32 = manifest.done.get(entry.name, (None, None))
            try:
                data = read(entry)
                if size != entry.size or crc32 != zlib.crc32(data):
                    yield entry.name, data, name
            except pictures.PictureError as error:
                if size != entry.size or crc32 is not None:  # else an earlier call has told so already
                    yield {"source": entry.name, "size": entry.size, "skipped": str(error)}


def _results(jobs: Iterator[Job], out: Path, how: How, workers: int) -> Iterator[dict]:
    """What became of each picture."""
    if workers == 1:
        yield from (_do(job, out, how) for job in jobs)
        return
    # joblib's processes, unlike those of the standard library, do not run the calling script again.
    yield from engines.results(_in_worker, ((job, out, how) for job in jobs), workers, _IN_FLIGHT)


def _do(job: Job, out: Path, how: How) -> dict:
    if isinstance(job, dict):
        return job
    name, data, to = job
    style, resolved, seed, again = how
    entry = mask_one(name, data, out, resolved, seed, to, again=again)
    return entry | ({"style": style} if "style" in entry else {})


def _in_worker(*job: object) -> dict:
    cv2.setNumThreads(1)
    if threading.current_thread() is threading.main_thread():  # else it is a cluster's worker
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the main process's
    return _do(*job)


def mask_one(
    name: str,
    data: bytes,
    out: Path,
    style: str | dict[str, float] | styles.Resolved,
    seed: int,
    to: str | None = None,
    *,
    again: bool = True,
) -> dict:
    """Masks one encoded picture into `out`; returns its line of the manifest. Broken pictures are a reason, no error.

    Args:
        name: of the source.
        data: its bytes.
        out: folder of the masked pictures.
        style: of the masks.
        seed: of the masks.
        to: name of the masked picture, whose suffix is its format; the source's as PNG where None.
        again: draw on faces that wear a mask already, too.

    Raises:
        OSError: it cannot be written.
    """
    entry = {"source": name, "size": len(data), "crc32": zlib.crc32(data)}
    try:
        photo, points, worn = pictures.read_picture(data), None, False
        if not again:
            points, worn = _bare_faces(photo)
        image, alpha, landmarks, kinds = _mask(photo, style, seed, points)
    except pictures.PictureError as error:
        return entry | {"skipped": str(error)}
    if not kinds:
        return entry | {"skipped": "a mask is worn already" if worn else "no face found"}
    if not any(kinds):
        return entry | {"skipped": "no mask could be placed", "landmarks": landmarks}
    to = to or _out_name(name, "png")
    covered = Image.fromarray(np.where(alpha >= 128, 255, 0).astype(np.uint8))
    try:
        _write(out / "coverage" / coverage_name(to), covered)
        _write(out / "images" / to, Image.fromarray(image), **_metadata(data))
    except (OSError, ValueError) as error:
        if (reason := _UNWRITABLE.get(getattr(error, "errno", None))) is None:
            raise
        return entry | {"skipped": reason}
    return entry | {"out": to, "kinds": kinds, "landmarks": landmarks, "style": style, "seed": seed}


def redraw(entry: dict, data: bytes) -> np.ndarray:
    """The masked picture of a manifest line from the source's bytes, (height, width, 3) uint8.

    Raises:
        ValueError: the source has changed.
    """
    if zlib.crc32(data) != entry["crc32"]:
        raise ValueError(f"{entry['source']} has changed since its mask was drawn")
    return _mask(pictures.read_picture(data), entry["style"], entry["seed"], entry["landmarks"])[0]


def _bare_faces(photo: np.ndarray) -> tuple[np.ndarray, bool]:
    """Landmarks (n, 68, 2) of the faces without a mask, and whether there is one with a mask."""
    from maskfr_utils.masks.worn import wears_mask  # which takes torch

    if photo.shape == (align.FACE_SIZE, align.FACE_SIZE, 3):
        points, faces = align.face_landmarks(photo[None]), photo[None]
    else:
        points = find_landmarks(photo)
        faces = np.array([align.align_face(photo, face) for face in points]).reshape(-1, *[align.FACE_SIZE] * 2, 3)
    worn = wears_mask(faces)
    return points[~worn], bool(worn.any())


def _mask(
    photo: np.ndarray, style: str | dict[str, float] | styles.Resolved, seed: int, landmarks: list | np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, list, list[str]]:
    """The masked picture, the masks' opacity, and of each face its landmarks and kind ("" without a mask)."""
    if photo.shape == (align.FACE_SIZE, align.FACE_SIZE, 3) and (landmarks is None or len(landmarks)):
        points = align.face_landmarks(photo[None]) if landmarks is None else np.array(landmarks, np.float32)
        done = masks.mask_faces(photo[None], points, style=style, seed=seed)
        return done.images[0], done.alpha[0], points.tolist(), done.kinds.tolist()
    points = find_landmarks(photo) if landmarks is None else np.array(landmarks, np.float32)
    done = masks.mask_photo(photo, style=style, seed=seed, landmarks=points)
    return done.image, done.alpha, done.landmarks.tolist(), done.kinds.tolist()


# ---- files --------------------------------------------------------------------------------------------------------


def _out_name(name: str, form: str) -> str:
    path, suffix = PurePosixPath(name).as_posix(), pictures.suffix_of(name)
    keeps = form == "source" and suffix in _WRITTEN
    return path if keeps else f"{path[: len(path) - len(suffix)]}.png"


def _metadata(data: bytes) -> dict[str, object]:
    """EXIF (upright), colour profile and JPEG tables of an encoded picture, as Pillow's `save` takes them."""
    kept = {}
    try:
        with Image.open(io.BytesIO(data), formats=pictures.FORMATS) as image:
            profile = image.info.get("icc_profile") or b""
            if profile[16:20] == b"RGB ":  # what it is for: the masked picture is RGB, whatever this one is
                kept["icc_profile"] = profile
            if image.format in ("JPEG", "MPO") and image.mode == "RGB":  # MPO: a phone's, with more pictures behind
                kept["qtables"], kept["subsampling"] = image.quantization, JpegImagePlugin.get_sampling(image)
            exif = image.getexif()
            for tag in set(exif) - _TOLD if image.format == "TIFF" else {_ORIENTATION} & set(exif):
                del exif[tag]  # a TIFF's are those of its whole file
            if exif:
                kept["exif"] = exif.tobytes()
    except Exception:  # broken metadata is no reason to lose the picture
        return {}
    return kept


def _write(path: Path, image: Image.Image, **metadata: object) -> None:
    options = _WRITTEN[path.suffix.lower()]
    if options["format"] != "JPEG":
        metadata = {name: value for name, value in metadata.items() if name not in ("qtables", "subsampling")}
    elif "qtables" in metadata:
        options = {name: value for name, value in options.items() if name != "quality"}
    encoded = io.BytesIO()  # first, so that a full disk is no encoder's error
    try:
        image.save(encoded, **options, **metadata)
    except (ValueError, struct.error):  # more of it than the format takes: better none than no picture
        image.save(encoded := io.BytesIO(), **_WRITTEN[path.suffix.lower()])
    with replacing(path) as temporary:
        temporary.write_bytes(encoded.getbuffer())


def _settings(style: str | dict[str, float], resolved: styles.Resolved, seed: int, form: str) -> dict[str, object]:
    """The manifest's first line: style files stand in it whole, textures by a checksum, the package's styles by name."""
    if not isinstance(style, str | dict) or (isinstance(style, dict) and not all(isinstance(s, str) for s in style)):
        raise ValueError(
            "a folder's style must be a name, a style file, or a mapping of these: it goes into the manifest"
        )
    if form not in FORMATS:
        raise ValueError(unknown("form of the masked pictures", form, FORMATS))
    names = [style] if isinstance(style, str) else list(style)
    files = {name: Path(name).read_text(encoding="utf-8") for name in names if name.endswith((".yaml", ".yml"))}
    textures = {s.texture: s.picture.crc32 for s in resolved[0] if s.picture}
    more = ({"textures": textures} if textures else {}) | ({"form": form} if form != "png" else {})
    return {"style": style, "seed": int(seed), "style_files": files} | more


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status: 1 where no picture was masked, 2 for a mistake, 130 after Ctrl-C, 143 after SIGTERM."""
    start_command()
    parser = argparse.ArgumentParser(prog="python -m maskfr_utils.masks.folder", description=__doc__.split("\n")[0])
    parser.add_argument("source", help="a folder, a zip or tar, or one picture")
    parser.add_argument("out", help="folder to write into")
    parser.add_argument(
        "--style", default="random", help="a style's name, a style file, or a mapping such as '{surgical: 1, cloth: 2}'"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--format", choices=FORMATS, default="png", help="of the masked pictures: png (lossless), or each as it came"
    )
    parser.add_argument("--leave-worn", action="store_true", help="draw no mask on a face that wears one already")
    parser.add_argument("--workers", type=int, default=None, help="processes (default: one for each usable CPU)")
    parser.add_argument("--engine", default=engines.LOCAL, help=f"{engines.HELP} (default: local)")
    args = parser.parse_args(argv)
    if args.workers is not None and args.workers < 1:
        parser.error(f"--workers {args.workers}: at least 1")
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, _stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        counts = mask_folder(
            args.source,
            args.out,
            style=styles.parse(args.style),
            seed=args.seed,
            form=args.format,
            workers=args.workers,
            engine=args.engine,
            again=not args.leave_worn,
        )
    except (OSError, ValueError) as error:
        parser.exit(2, f"{parser.prog}: {brief(error)}\n")
    except KeyboardInterrupt as stop:
        print("\nstopped; the same command goes on where it was", file=sys.stderr)
        return 128 + next(iter(stop.args), signal.SIGINT)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for what, count in counts.items():
        print(f"{count:9,d} {what}")
    if counts.total() > counts["pictures"] + counts["faces"]:
        print(f"which were skipped: {Path(args.out) / NAME}")
    if not counts["pictures"]:
        print("no picture was masked", file=sys.stderr)
        return 1
    return 0


def _stop(number: int, frame: object) -> None:
    """Ends the command, once: what comes while the workers are being ended is not heard."""
    for other in (signal.SIGINT, signal.SIGTERM):
        signal.signal(other, signal.SIG_IGN)
    threading.excepthook = lambda _: None  # joblib's own threads fall over what is taken from under them
    raise KeyboardInterrupt(number)


if __name__ == "__main__":
    sys.exit(main())
