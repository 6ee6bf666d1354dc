"""How many faces get a mask, and how fast: measured into records, and the table against MaskTheFace made from them.

    python -m maskfr_utils.measure.mask_success success    # on real faces, below MASKFR_DATA
    python -m maskfr_utils.measure.mask_success speed      # on rendered faces, on an idle machine
    python -m maskfr_utils.measure.mask_success peer --command "python mask_the_face.py --path {} --code surgical,N95,KN95,cloth"

The peer is MaskTheFace (Anwar and Raychowdhury 2020; github.com/aqeelanwar/MaskTheFace, November 2020); the last command
is run in a clone of it, with its predictor where it looks for it. The committed record is of its code unchanged, its
detector upsampled once as it comes, started by a script that gives back what numpy and its helpers have dropped since.
What else it can do is read from its code.
"""

import os
import resource
import shlex
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch

from maskfr_utils import masks, rendered
from maskfr_utils.devices import device_name
from maskfr_utils.faces import align, pictures
from maskfr_utils.faces.sources import open_source
from maskfr_utils.masks.folder import mask_folder
from maskfr_utils.masks.shapes import WEARS
from maskfr_utils.measure import record
from maskfr_utils.paths import find_data, results_dir
from maskfr_utils.records import write_json

RECORDS = results_dir() / "masks"
SETS = ("pins", "glint24")  # of aligned crops


# ---- success ------------------------------------------------------------------------------------------------------


def aligned_success(tar: Path, *, seed: int = 0) -> dict[str, int]:
    """Masks every aligned face of a set, its landmarks predicted on the crop as if nothing were known of it.

    Args:
        tar: of `<identity>/<picture>`, with `landmarks68.npz` beside it: landmarks taken from the whole photo, to check.

    Returns:
        Counts: `faces`, `masked`; of the masked, how many have reference landmarks (`checked`), and of these how
        many have `nose` tip and `mouth` under the mask, and a pupil under it (`eyes`).
    """
    counts, batch = Counter(), []

    def count(faces: list) -> None:
        done = masks.mask_faces(np.array([f.image for f in faces]), seed=seed)
        counts.update(faces=len(faces), masked=int(done.ok.sum()))
        for i in np.flatnonzero(done.ok):
            points = faces[i].landmarks
            if points is None:
                continue
            places = np.array([points[30], points[[62, 66]].mean(0), points[36:42].mean(0), points[42:48].mean(0)])
            x, y = places.round().astype(int).clip(0, align.FACE_SIZE - 1).T
            nose, mouth, *eyes = (done.alpha[i, y, x] > 127).tolist()
            counts.update(checked=1, nose=int(nose), mouth=int(mouth), eyes=int(any(eyes)))

    for face in open_source(tar):
        batch.append(face)
        if len(batch) == 512:
            count(batch)
            batch = []
    if batch:
        count(batch)
    return {name: counts[name] for name in ("faces", "masked", "checked", "nose", "mouth", "eyes")}


def photo_success(folder: Path) -> dict[str, dict[str, int]]:
    """What detection finds in whole photos, by what is in them (`category` of `index.csv`).

    Returns:
        category -> counts: `photos`, `broken`, `with_face` (at least one found), `turned` (found only in the
        photo turned by quarters), `boxes`, `masks`. Where a photo shows one person, boxes beyond the first are
        `further`: a face in the background, or no face.
    """
    rows, table = record.read_list(folder / "index.csv", ["file", "category", "real_mask"], as_text=True), {}
    with tarfile.open(folder / "raw_photos.tar") as archive:
        for row in rows.to_dict("records"):
            masked = row["real_mask"] in ("mostly_yes", "see mfr2/index.csv")
            counts = table.setdefault(row["category"] + (", real masks" if masked else ""), Counter())
            counts["photos"] += 1
            try:
                photo = pictures.read_picture(archive.extractfile(row["file"]).read())
            except pictures.PictureError:
                counts["broken"] += 1
                continue
            upright, done = align.detect(photo), masks.mask_photo(photo)
            counts.update(
                with_face=int(len(done.ok) > 0), turned=int(len(done.ok) > 0 and not upright), boxes=len(done.ok),
                masks=int(done.ok.sum()), further=max(0, len(done.ok) - 1),
            )  # fmt: skip
    names = ("photos", "broken", "with_face", "turned", "boxes", "masks", "further")
    return {category: {name: counts[name] for name in names} for category, counts in table.items()}


# ---- speed --------------------------------------------------------------------------------------------------------


def one_core(*, faces: int = 256, repeats: int = 5, seed: int = 0) -> dict[str, float]:
    """Aligned faces a second of one core, best of `repeats`; processor time, so a busy machine matters less."""
    people = rendered.render_faces(faces // 8, 8, seed=seed)
    cv2.setNumThreads(1)
    out = {}
    for name, points in (("landmarks_given", people.landmarks), ("landmarks_predicted", None)):
        masks.mask_faces(people.images, points, seed=seed)  # tables and predictor are made once
        times = []
        for _ in range(repeats):
            start = time.process_time()
            masks.mask_faces(people.images, points, seed=seed)
            times.append(time.process_time() - start)
        out[name] = round(len(people.images) / min(times), 1)
    return out


def over_cores(*, faces: int = 4000, seed: int = 0) -> dict[str, float]:
    """Pictures a second of `mask_folder` by number of processes: PNG files in and out, wall-clock, starting included."""
    people = rendered.render_faces(min(100, -(-faces // 4)), 4, seed=seed)
    out = {}
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder, "photos")
        photos.mkdir()
        for i in range(faces):
            cv2.imwrite(str(photos / f"{i}.png"), people.images[i % len(people.images)])
        cores, workers = len(os.sched_getaffinity(0)), 1
        while workers <= cores:
            start = time.perf_counter()
            counts = mask_folder(photos, Path(folder, f"masked{workers}"), seed=seed, workers=workers, progress=False)
            assert counts["pictures"] == faces
            out[str(workers)] = round(faces / (time.perf_counter() - start), 1)
            workers = workers * 2 if workers * 2 <= cores or workers == cores else cores
    return out


# ---- the peer -----------------------------------------------------------------------------------------------------


def peer(tars: dict[str, Path], command: str, *, faces: int = 1000) -> dict[str, dict[str, float]]:
    """Lets another program mask aligned crops, as PNG files.

    Args:
        tars: name of a set -> tar of `<identity>/<picture>`.
        command: of the program, `{}` in place of a folder; it writes `<name>_*` into `<folder>_masked` for what it masks.
        faces: crops of each set, at even distances in the order of their names.

    Returns:
        name -> `faces`, `masked`, and `per_second` of processor time, starting included.

    Raises:
        ValueError: the program failed.
    """
    out = {}
    for name, tar in tars.items():
        crops = list(open_source(tar))
        crops = [crops[i] for i in np.linspace(0, len(crops) - 1, min(faces, len(crops)), dtype=int)]
        with tempfile.TemporaryDirectory() as folder:
            given = Path(folder, "crops")
            given.mkdir()
            for i, crop in enumerate(crops):
                cv2.imwrite(str(given / f"{i}.png"), crop.image[..., ::-1])
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            done = subprocess.run(shlex.split(command.format(given)), stdout=subprocess.DEVNULL)
            if done.returncode:
                raise ValueError(f"`{command}` failed with status {done.returncode}: try it on a folder of pictures")
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            masked = {file.name.split("_")[0] for file in Path(f"{given}_masked").iterdir()}
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        out[name] = {"faces": len(crops), "masked": len(masked), "per_second": round(len(crops) / seconds, 1)}
    return out


# ---- the table ----------------------------------------------------------------------------------------------------


def against_the_peer(success: dict, speed: dict, realism: dict, peer: dict) -> pd.DataFrame:
    """Feature by feature: MaskTheFace and this package, in words.

    Args:
        success, speed, realism, peer: the four records.
    """

    def share(counts: dict[str, int], what: str = "masked", of: str = "faces") -> str:
        return f"{counts[what] / counts[of]:.1%} of {counts[of]:,}"

    pins, glint, photos = success["aligned"]["pins"], success["aligned"]["glint24"], success["photos"]
    auc, draws = realism["auc"]["masks"], realism["auc"]["draws"]
    drawn = f"{min(draws):.2f} to {max(draws):.2f} with the real masks' kinds and colours"
    clear = [c for name, c in photos.items() if name in ("full_photo", "portrait_250", "loose_face_crop", "rgba_png")]
    cores = {int(workers): rate for workers, rate in speed["folder"].items()}
    most = max(cores)
    unknown = "not measured"
    rows = [
        ("aligned crops masked, pins", share(peer["aligned"]["pins"]), share(pins)),
        ("aligned crops masked, glint24", share(peer["aligned"]["glint24"]), share(glint)),
        ("nose tip under the mask, pins", unknown, share(pins, "nose", "checked")),
        ("a pupil under the mask, pins", unknown, share(pins, "eyes", "checked")),
        ("clear unmasked photos of one person, face found", unknown, share(sum(map(Counter, clear), Counter()), "with_face", "photos")),
        ("missed faces", "not listed", "turned by quarters, upsampled, bordered; then listed in the manifest"),
        ("kinds", "surgical, N95, KN95, cloth, gas, inpaint", ", ".join((*masks.KINDS, "none"))),
        ("colours", "hex, one weight", "named or hex, each with a weight"),
        ("textures", "24 pictures", "6 drawn patterns in any colours, and any picture of yours"),
        ("intensity", "of colour and texture", "of mask and of pattern"),
        ("mixes", "a code string", "a mapping of kinds, styles and files to shares"),
        ("pose", "three templates, by yaw", "continuous to the profile; the far side is hidden"),
        ("ways to wear", "one", ", ".join(w.replace("_", " ") for w in WEARS)),
        ("height of the upper edge", "the same on all", "varies as among real masks"),
        ("edges", "jagged", "anti-aliased, as sharp as the photo"),
        ("light", "mean brightness", "direction, exposure, colour cast, contact shadow, grain, JPEG traces"),
        ("separated from real masks (AUC)", f"{auc['MaskTheFace']['auc']:.2f}", f"{auc['style random']['auc']:.2f} at random; {drawn}"),
        ("several faces in a photo", "yes", "yes; a nearer face stays in front"),
        ("outside the masks", "compressed anew as JPEG", "not a bit changes"),
        ("EXIF and colour profile", "lost", "kept"),
        ("stopped in between", "begins anew", "goes on where it was"),
        ("aligned faces a second, one core", unknown,
         f"{speed['one_core']['landmarks_predicted']:,.0f}; with landmarks {speed['one_core']['landmarks_given']:,.0f}"),
        ("files a second, PNG to PNG", f"{peer['aligned']['pins']['per_second']:,.0f} of processor time, crops of pins",
         f"rendered faces, {cores[1]:,.0f} in one process" + (f", {cores[most]:,.0f} in {most}" if most > 1 else "")),
        ("installation", "Python 3.6, dlib 19.19 compiled, a download", "pip; Python 3.11-3.13, no compiler"),
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["", "MaskTheFace", "here"]).set_index("")


def measure(what: str, out: Path, command: str | None = None) -> None:
    """Measures into the record `<what>.json` in the folder `out`.

    Args:
        what: `success`, `speed` or `peer`.
        out: folder of the records.
        command: of the peer, see `peer`.

    Raises:
        FileNotFoundError: the faces are not here.
        ValueError: they cannot be used, or the peer failed.
    """
    started, found, data = time.perf_counter(), {}, "rendered"
    if what != "speed":
        tars = {name: find_data(f"{name}/{name}_112.tar") for name in SETS}
        data = "+".join(open_source(tar).fingerprint for tar in tars.values())
    if what == "success":
        found["aligned"] = {name: aligned_success(tar) for name, tar in tars.items()}
        found["photos"] = photo_success(find_data("raw_photos"))
    elif what == "peer":
        found |= {"command": command, "aligned": peer(tars, command)}
    else:
        found |= {"one_core": one_core(), "folder": over_cores()}
    if what != "success":
        found["processor"] = device_name(torch.device("cpu"))
    write_json(out / f"{what}.json", found | {"provenance": record.made(started, data=data)})
    print(found)


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = record.parser("mask_success", __doc__, RECORDS)
    parser.add_argument("what", choices=("success", "speed", "peer"))
    parser.add_argument("--command", help="of the peer: the program that masks the folder {}")
    args = parser.parse_args(argv)
    if args.what == "peer" and not args.command:
        parser.error("peer needs --command, the program that masks the folder {}")
    return record.status("mask_success", lambda: measure(args.what, args.out, args.command))


if __name__ == "__main__":
    sys.exit(main())
