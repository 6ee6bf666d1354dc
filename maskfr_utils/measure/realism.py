"""How real drawn masks look: their outline beside that of real masks, and what tells the two apart.

    python -m maskfr_utils.measure.realism --out book/results/masks/realism.json

Needs the real masks of MFR2 (Anwar and Raychowdhury 2020) below MASKFR_DATA. For each of its photos with a mask, a mask of
the same kind and colour is drawn on a photo of the same person without one. Both are treated alike: saved as JPEG,
landmarks predicted anew on what is to be seen, aligned by the eyes alone (nose and mouth are a guess under a mask).
How high drawn masks sit was set by quartiles over all of MFR2 and checked on every other person; the record is about the
others, who were seen while the masks were made, too. So they are no untouched test.
Numbers go into it, no pictures. `--bare faces/` writes the photos without masks for another program to mask, and
`--peer faces_masked/` measures what it made of them. For the committed record MaskTheFace drew them, by its code string, in the
shares surgical_blue 5, surgical 2, surgical_green 1, N95 1, KN95 1, cloth 1, cloth-#25262b 3, cloth in checks 3, in flowers 3.
"""

import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from maskfr_utils import masks
from maskfr_utils.faces import align
from maskfr_utils.faces.align import FACE_SIZE as SIZE
from maskfr_utils.faces.sources import open_source
from maskfr_utils.masks.styles import Style, styles
from maskfr_utils.measure import mfr2, record
from maskfr_utils.measure.features import GROUPS, REGIONS, features, separation
from maskfr_utils.measure.outline import EYE_ROW, STATISTICS, outline_statistics, segment
from maskfr_utils.paths import find_data, results_dir
from maskfr_utils.records import write_json
from maskfr_utils.verdicts import drawn_anew

RECORD = results_dir() / "masks" / "realism.json"
EYES = np.array([[38.4, EYE_ROW], [73.6, EYE_ROW]])
_QUALITY = 92  # of the JPEG files of MFR2

# What the authors call a mask -> a style like it.
LIKE = {
    "surgical_blue": Style("surgical", colours={"#a8cfe9": 1, "#bcdcee": 1, "#8fbfe3": 1}),
    "surgical_green": Style("surgical", colours={"#b5dcd2": 1, "#93cdb6": 1}),
    "surgical_white": Style("surgical", colours={"#f0f1f0": 1}),
    "surgical_black": Style("surgical", colours={"#2c2e33": 1}),
    "cloth_black": Style("cloth", colours={"#25262b": 1}),
    "cloth_white": Style("cloth", colours={"#ecebe7": 1}),
    "cloth_red": Style("cloth", colours={"#c63a34": 1, "#7a2434": 1}),
    "cloth_purple": Style("cloth", colours={"#54406a": 1}),
    "N95": styles()["n95"],
    "N99": styles()["n95"],
    "KN95": styles()["kn95"],
}
LIKE["cloth_textured"] = Style(
    "cloth",
    colours=dict.fromkeys(("#25262b", "#2b3a5e", "#7a2434", "#52624a", "#8b8b90", "#ecebe7", "#c63a34", "#2f6f7e"), 1),
    second_colours=dict.fromkeys(("#f4f3ef", "#15161a", "#c9a24a", "#b5323a", "#3d5a8c"), 1),
    patterns=dict.fromkeys(("check", "stripe", "dots", "floral", "noise"), 1),
)


# ---- the pictures -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RealMasks:
    """MFR2: photos with a real mask, and of the same people without.

    Attributes:
        real: (n, 112, 112, 3) uint8 RGB.
        labels: (n,) the authors' names of the masks.
        people: (n,) whose faces they are.
        bare: (n, 112, 112, 3) for each of them a face without a mask of the same person.
        landmarks: (n, 68, 2) of `bare`.
        left_out: photos of all people in which no face was detected when they were aligned.
    """

    real: np.ndarray
    labels: np.ndarray
    people: np.ndarray
    bare: np.ndarray
    landmarks: np.ndarray
    left_out: int

    def some(self, chosen: np.ndarray) -> "RealMasks":
        """Only the photos with these indices."""
        columns = ("real", "labels", "people", "bare", "landmarks")
        return replace(self, **{name: getattr(self, name)[chosen] for name in columns})


def with_partners(photos: mfr2.Photos) -> RealMasks:
    """The real masks of MFR2, each with a bare face of the same person; those without such a face are left out."""
    bare = {person: np.flatnonzero((photos.people == person) & ~photos.masked) for person in set(photos.people)}
    masked = [i for i in np.flatnonzero(photos.masked) if len(bare[photos.people[i]])]
    aligned = [i for i in masked if photos.detectors[i] != "default_box"]
    partners = [bare[photos.people[i]][place % len(bare[photos.people[i]])] for place, i in enumerate(aligned)]
    return RealMasks(
        photos.images[aligned],
        photos.labels[aligned],
        photos.people[aligned],
        photos.images[partners],
        photos.landmarks[partners],
        len(masked) - len(aligned),
    )


def held_out(people: np.ndarray) -> np.ndarray:
    """Indices of the photos whose people `shapes.HEIGHTS` was not checked on: every second of the sorted names."""
    return np.flatnonzero(np.isin(people, np.unique(people)[1::2]))


def by_eyes(face: np.ndarray) -> np.ndarray:
    """The transform (2, 3) that brings the eyes of a face (112, 112, 3), as predicted on it, to where they belong."""
    return align.similarity(align.five_points(align.landmarks68(face, align.FACE_BOX))[:2], EYES)


def _warp(picture: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return cv2.warpAffine(picture, matrix, (SIZE, SIZE), borderMode=cv2.BORDER_REPLICATE)


def _as_jpeg(face: np.ndarray) -> np.ndarray:
    data = cv2.imencode(".jpg", face[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
    return np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])


def prepared(faces: np.ndarray, alpha: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray | None]:
    """Faces (N, 112, 112, 3) aligned by their eyes, and their masks' opacity (N, 112, 112) with them."""
    matrices = [by_eyes(face) for face in faces]
    aligned = np.array([_warp(face, m) for face, m in zip(faces, matrices, strict=True)])
    return aligned, None if alpha is None else np.array([_warp(a, m) for a, m in zip(alpha, matrices, strict=True)])


def flat_masks(faces: np.ndarray, landmarks: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """The simplest mask, to compare with: a polygon from nose to jaw in one colour (N, 3), without light or soft edge."""
    out = faces.copy()
    for face, points, colour in zip(out, landmarks, colours, strict=True):
        corners = np.concatenate([points[28:29], points[1:16]]).round().astype(np.int32)
        cv2.fillPoly(face, [corners], colour.tolist())
    return out


# ---- the record ---------------------------------------------------------------------------------------------------


def measure(data: RealMasks, *, seed: int = 0, peer: dict[int, np.ndarray] | None = None) -> dict:
    """All that the record holds of `data`: outline of real and drawn masks, and what tells them apart.

    Args:
        data: the pictures.
        seed: of the masks.
        peer: masks that another program drew: index of the bare face -> (112, 112, 3) uint8.
    """
    n = len(data.real)
    if n == 0:
        raise ValueError("mfr2 has no photo with a real mask on a face that was found")
    alike_images, alpha = _draw_alike(data, seed)
    mixed = masks.mask_faces(data.bare, data.landmarks, seed=seed)
    inside = [image[a == 255].mean(0) for image, a in zip(alike_images, alpha, strict=True)]
    drawn = {
        "same kinds and colours": alike_images,
        "style random": mixed.images,
        "flat polygons": flat_masks(data.bare, data.landmarks, np.array(inside)),
    }
    drawn = {name: np.array([_as_jpeg(face) for face in faces]) for name, faces in drawn.items()}
    real, _ = prepared(data.real)
    ours, alpha = prepared(drawn["same kinds and colours"], alpha)

    found, known = np.array([segment(face) for face in ours]), alpha > 127
    overlap = (found & known).sum((1, 2)) / np.maximum((found | known).sum((1, 2)), 1)
    outlines = {
        "real": _columns([segment(face) for face in real]),
        "drawn": _columns(found),
        "drawn_known": _columns(known),
    }
    error = {k: outlines["drawn"][k] - outlines["drawn_known"][k] for k in STATISTICS}
    if peer:
        drawn["MaskTheFace"] = np.array([_as_jpeg(face) for face in peer.values()])
    people = dict.fromkeys(drawn, data.people) | {"MaskTheFace": data.people[list(peer or ())]}
    x = {"real": features(real)} | {name: features(prepared(faces)[0]) for name, faces in drawn.items()}

    def told(name: str, region: str = "lower face", group: str = "all") -> dict[str, float]:
        rows, columns = REGIONS[region]
        part = [f[:, rows][:, :, columns][..., GROUPS[group]] for f in (x["real"], x[name])]
        return separation(*part, data.people, people[name])

    first = "same kinds and colours"
    return {
        "photos": {"real": n, "people": len(set(data.people)), "left_out": data.left_out, "peer": len(peer or ())},
        "outline": {name: {k: _quartiles(v) for k, v in columns.items()} for name, columns in outlines.items()},
        "outline_difference": {
            k: _difference(outlines["real"][k], outlines["drawn"][k], data.people) for k in STATISTICS
        },
        "segmentation": {
            "overlap": _quartiles(overlap),
            "bias": {k: float(np.nanmedian(v)) for k, v in error.items()},
            "absolute_error": {k: float(np.nanmedian(np.abs(v))) for k, v in error.items()},
        },
        "auc": {
            "masks": {name: told(name) for name in drawn},
            "regions": {region: told(first, region) for region in REGIONS},
            "features": {group: told(first, group=group) for group in GROUPS},
        },
    }


def told_alike(data: RealMasks, *, seed: int = 0) -> dict[str, float]:
    """How well the lower face tells the real masks of `data` from drawn ones of the same kinds and colours; `separation`."""
    drawn = np.array([_as_jpeg(face) for face in _draw_alike(data, seed)[0]])
    rows, columns = REGIONS["lower face"]
    part = [features(prepared(faces)[0])[:, rows, columns] for faces in (data.real, drawn)]
    return separation(*part, data.people, data.people)


def _draw_alike(data: RealMasks, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Masks of the same kinds and colours as the real ones: images, and their opacity."""
    drawn = [
        masks.mask_faces(face[None], points[None], style=replace(LIKE[label], wears={"normal": 1}), seed=seed + i)
        for i, (face, points, label) in enumerate(zip(data.bare, data.landmarks, data.labels, strict=True))
    ]
    return np.concatenate([d.images for d in drawn]), np.concatenate([d.alpha for d in drawn])


def _columns(regions: np.ndarray) -> dict[str, np.ndarray]:
    rows = [outline_statistics(region) for region in regions]
    return {k: np.array([row[k] for row in rows]) for k in STATISTICS}


def _quartiles(values: np.ndarray) -> list[float]:
    return [round(float(v), 4) for v in np.nanpercentile(values, (25, 50, 75))]


def _difference(real: np.ndarray, drawn: np.ndarray, people: np.ndarray) -> dict[str, float]:
    """Difference of the medians, real less drawn, with its 95% interval over people drawn anew."""
    names, person = np.unique(people, return_inverse=True)
    draws = (np.arange(len(people)).repeat(times[person]) for times in drawn_anew(len(names)))
    found = [np.nanmedian(real[some]) - np.nanmedian(drawn[some]) for some in draws]
    low, high = np.percentile(found, (2.5, 97.5))
    middle = np.nanmedian(real) - np.nanmedian(drawn)
    return {"difference": round(float(middle), 4), "low": round(float(low), 4), "high": round(float(high), 4)}


def measure_all(folder: Path, out: Path, *, seed: int = 0, peer: Path | None = None) -> None:
    """Measures into the record `out`.

    Args:
        folder: of MFR2.
        out: the file to write.
        seed: of the masks.
        peer: folder of the faces that `write_bare` wrote, as another program masked them: NNN*.png.

    Raises:
        ValueError: a picture of the peer's is none; else as `mfr2.read`.
    """
    started, data = time.perf_counter(), with_partners(mfr2.read(folder))
    others = held_out(data.people)
    theirs = {i: face for i, face in read_peer(peer).items() if i in others} if peer else {}
    theirs = {int(np.searchsorted(others, i)): face for i, face in theirs.items()}
    half = data.some(others)
    found = measure(half, seed=seed, peer=theirs)
    # One draw is no measurement, and a classifier that learns from more photos sees more: both are told.
    found["auc"]["draws"] = [told_alike(half, seed=seed + 1000 * i)["auc"] for i in range(5)]
    found["auc"]["all_photos"] = told_alike(data, seed=seed) | {"photos": len(data.real)}
    source = open_source(mfr2.lies_in(folder)).fingerprint
    write_json(out, found | {"seed": seed, "provenance": record.made(started, data=source)})
    for name, auc in found["auc"]["masks"].items():
        print(f"real against drawn, {name}: AUC {auc['auc']:.3f} ({auc['low']:.3f}-{auc['high']:.3f})")


def write_bare(folder: Path, out: Path) -> None:
    """Writes the faces without masks of MFR2 in `folder` into the folder `out`: NNN.png."""
    out.mkdir(parents=True, exist_ok=True)
    for i, face in enumerate(with_partners(mfr2.read(folder)).bare):
        cv2.imwrite(str(out / f"{i:03d}.png"), face[..., ::-1])


def read_peer(folder: Path) -> dict[int, np.ndarray]:
    """Index of the bare face -> (112, 112, 3) uint8, of the files NNN*.png."""
    found = {}
    for path in sorted(folder.glob("*.png")):
        face = cv2.imread(str(path))
        if face is None or face.shape != (SIZE, SIZE, 3) or not path.name[:3].isdecimal():
            raise ValueError(
                f"{path} is no face of {SIZE} x {SIZE} pixels named NNN*.png: leave it out, or mask it again"
            )
        found[int(path.name[:3])] = face[..., ::-1]
    return found


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = record.parser("realism", __doc__, RECORD)
    parser.add_argument("--seed", type=int, default=0, help="of the masks")
    parser.add_argument("--bare", type=Path, help="only write the faces without masks into this folder, as PNG")
    parser.add_argument("--peer", type=Path, help="the same pictures as another program masked them: NNN*.png")
    args = parser.parse_args(argv)

    def run() -> None:
        folder = find_data("mfr2")
        if args.bare:
            write_bare(folder, args.bare)
        else:
            measure_all(folder, args.out, seed=args.seed, peer=args.peer)

    return record.status("realism", run)


if __name__ == "__main__":
    sys.exit(main())
