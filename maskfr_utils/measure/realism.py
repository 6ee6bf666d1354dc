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

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from maskfr_utils import masks
from maskfr_utils.faces import align
from maskfr_utils.faces.align import FACE_SIZE as SIZE
from maskfr_utils.faces.sources import Face, open_source
from maskfr_utils.masks.styles import Style, styles
from maskfr_utils.paths import find_data, results_dir
from maskfr_utils.records import code_revision, provenance, write_json

RECORD = results_dir() / "masks" / "realism.json"
_EYE_ROW, _EYE_DISTANCE = 51.6, 35.2  # of aligned faces, pixels
_EYES = np.array([[38.4, _EYE_ROW], [73.6, _EYE_ROW]])
_QUALITY = 92  # of the JPEG files of MFR2

# What the authors call a mask -> a style like it.
_LIKE = {
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
_LIKE["cloth_textured"] = Style(
    "cloth",
    colours=dict.fromkeys(("#25262b", "#2b3a5e", "#7a2434", "#52624a", "#8b8b90", "#ecebe7", "#c63a34", "#2f6f7e"), 1),
    second_colours=dict.fromkeys(("#f4f3ef", "#15161a", "#c9a24a", "#b5323a", "#3d5a8c"), 1),
    patterns=dict.fromkeys(("check", "stripe", "dots", "floral", "noise"), 1),
)


# ---- outline ------------------------------------------------------------------------------------------------------


def segment(face: np.ndarray) -> np.ndarray:
    """Where the mask is in a face aligned by its eyes: an estimate without training, the same for real and drawn masks.

    GrabCut (Rother, Kolmogorov and Blake 2004) in Lab colours: an ellipse round the mouth belongs to the mask, all above
    the eyes and the outer five pixels do not, the rest is decided by colour and edges. The piece that holds the mouth is kept.

    Args:
        face: (112, 112, 3) uint8 RGB.

    Returns:
        (112, 112) bool; all False where no mask is found.
    """
    y, x = np.mgrid[:SIZE, :SIZE] - 56
    labels = np.full((SIZE, SIZE), cv2.GC_PR_BGD, np.uint8)
    labels[(x / 36) ** 2 + ((y - 32) / 28) ** 2 < 1] = cv2.GC_PR_FGD
    labels[(x / 14) ** 2 + ((y - 30) / 10) ** 2 < 1] = cv2.GC_FGD
    labels[(y < 0) | (abs(x) > 50)] = cv2.GC_BGD
    cv2.setRNGSeed(0)
    lab = cv2.cvtColor(face, cv2.COLOR_RGB2Lab)
    cv2.grabCut(lab, labels, None, np.zeros((1, 65)), np.zeros((1, 65)), 4, cv2.GC_INIT_WITH_MASK)
    region = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    _, pieces = cv2.connectedComponents(cv2.morphologyEx(region, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8)))
    mouth = ((pieces == pieces[86, 56]) & (pieces > 0)).astype(np.uint8)
    return cv2.morphologyEx(mouth, cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8)) > 0


STATISTICS = {
    "share": "share of the picture covered",
    "top_nose": "upper edge below the eyes, at the nose (eye distances)",
    "top_cheek": "upper edge below the eyes, at the cheeks (eye distances)",
    "width": "width at the height of the mouth (eye distances)",
    "width_nose": "width at the height of the nose tip (eye distances)",
}


def outline_statistics(region: np.ndarray) -> dict[str, float]:
    """`STATISTICS` of the mask's region (112, 112) bool in a face aligned by its eyes; NaN where it has no such edge."""

    def top(*columns: int) -> float:
        rows = [np.flatnonzero(region[:, c]) for c in columns]
        heights = [(r[0] - _EYE_ROW) / _EYE_DISTANCE for r in rows if len(r)]
        return float(np.mean(heights)) if heights else np.nan

    def width(row: int) -> float:
        columns = np.flatnonzero(region[row])
        return (columns[-1] - columns[0] + 1) / _EYE_DISTANCE if len(columns) else np.nan

    return {
        "share": float(region.mean()),
        "top_nose": top(55, 56, 57),
        "top_cheek": top(37, 38, 39, 73, 74, 75),
        "width": width(90),
        "width_nose": width(72),
    }


# ---- what tells real from drawn -----------------------------------------------------------------------------------

CELL = 16
_CELLS = SIZE // CELL
GROUPS = {"gradients": slice(0, 9), "texture": slice(9, 19), "colour": slice(19, 25), "all": slice(0, 25)}
_LOWER = (slice(3, 7), slice(0, 7))
REGIONS = {  # rows and columns of cells
    "lower face": _LOWER,
    "cloth": (slice(4, 7), slice(2, 5)),
    "upper edge": (slice(3, 5), slice(1, 6)),
    "straps and cheeks": (slice(3, 7), [0, 1, 5, 6]),
    "forehead and eyes": (slice(0, 3), slice(0, 7)),
}


def features(faces: np.ndarray) -> np.ndarray:
    """What a face looks like, cell by cell of 16 pixels: (N, 7, 7, 25) float32 of faces (N, 112, 112, 3) uint8.

    Nine orientations of the gradient (Dalal and Triggs 2005), ten uniform local binary patterns (Ojala et al. 2002), mean and
    spread of the three Lab channels.
    """
    return np.array([_features(face) for face in faces], np.float32).reshape(-1, _CELLS, _CELLS, 25)


def _features(face: np.ndarray) -> np.ndarray:
    lab = cv2.cvtColor(face, cv2.COLOR_RGB2Lab).astype(np.float32)
    grey = cv2.copyMakeBorder(lab[..., 0], 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    edges = gradients(lab[..., 0], CELL)

    ring = [(0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0), (0, 0)]
    brighter = np.stack([grey[r : r + SIZE, c : c + SIZE] > grey[1:-1, 1:-1] for r, c in ring], -1)
    changes = (brighter != np.roll(brighter, 1, -1)).sum(-1)
    pattern = np.where(changes <= 2, brighter.sum(-1), 9)
    texture = np.sqrt(_cells((pattern[..., None] == np.arange(10)).astype(np.float32)))

    mean = _cells(lab)
    spread = np.sqrt(np.maximum(_cells(lab**2) - mean**2, 0))
    return np.concatenate([edges, texture, mean, spread], -1)


def gradients(grey: np.ndarray, cell: int) -> np.ndarray:
    """Nine orientations of the gradient by cell, each the root of its share: (rows, columns, 9) of (height, width)."""
    padded = cv2.copyMakeBorder(grey.astype(np.float32), 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    dx, dy = padded[1:-1, 2:] - padded[1:-1, :-2], padded[2:, 1:-1] - padded[:-2, 1:-1]
    bins = (np.arctan2(dy, dx) % np.pi * (9 / np.pi)).astype(int) % 9
    summed = _cells(np.where(bins[..., None] == np.arange(9), np.hypot(dx, dy)[..., None], 0), cell)
    return np.sqrt(summed / (summed.sum(-1, keepdims=True) + 2))


def _cells(values: np.ndarray, cell: int = CELL) -> np.ndarray:
    """Means over cells: (height, width, n) -> (height / cell, width / cell, n)."""
    height, width, n = values.shape
    return values.reshape(height // cell, cell, width // cell, cell, n).mean((1, 3))


def separation(real: np.ndarray, drawn: np.ndarray, people: np.ndarray, drawn_people: np.ndarray) -> dict[str, float]:
    """How well a classifier tells real from drawn: a support vector machine, tested on people it has not seen.

    Args:
        real, drawn: (n, ...) features.
        people, drawn_people: (n,) whose faces they are; five folds by person.

    Returns:
        `auc`, 0.5 where nothing tells them apart, with its 95 % interval `low`, `high` over people drawn anew.
    """
    x = np.concatenate([real.reshape(len(real), -1), drawn.reshape(len(drawn), -1)])
    y, groups = np.repeat([1, 0], [len(real), len(drawn)]), np.concatenate([people, drawn_people])
    model = make_pipeline(StandardScaler(), SVC(class_weight="balanced"))
    scores = cross_val_predict(model, x, y, groups=groups, cv=GroupKFold(5), method="decision_function")
    aucs = [roc_auc_score(y[some], scores[some]) for some in _drawn_anew(groups) if 0 < y[some].mean() < 1]
    low, high = np.percentile(aucs, (2.5, 97.5))
    return {"auc": float(roc_auc_score(y, scores)), "low": float(low), "high": float(high)}


def _drawn_anew(people: np.ndarray, resamples: int = 500) -> Iterator[np.ndarray]:
    """Bootstrap over people: indices of the photos of as many people as there are, drawn with replacement."""
    names, person = np.unique(people, return_inverse=True)
    of_person = [np.flatnonzero(person == i) for i in range(len(names))]
    rng = np.random.default_rng(0)
    for _ in range(resamples):
        yield np.concatenate([of_person[i] for i in rng.integers(len(names), size=len(names))])


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


def mfr2_faces(folder: Path) -> tuple[list[Face], pd.DataFrame]:
    """The aligned faces of MFR2 (`mfr2_112.tar`, `landmarks68.npz`), and of each its line of `index.csv`, by its name.

    Raises:
        ValueError: the index does not fit the photos.
    """
    faces = list(open_source(folder / "mfr2_112.tar"))
    try:
        return faces, pd.read_csv(folder / "index.csv", index_col="file").loc[[face.name for face in faces]]
    except (KeyError, ValueError) as error:
        raise ValueError(f"index.csv does not fit {folder / 'mfr2_112.tar'}: {error}") from None


def read_mfr2(folder: Path) -> RealMasks:
    """The real masks of MFR2, each with a bare face of the same person; errors are those of `mfr2_faces`."""
    faces, lines = mfr2_faces(folder)
    index, bare = lines.to_dict("index"), {}
    for face in faces:
        if index[face.name]["mask"] == "no-mask":
            bare.setdefault(face.identity, []).append(face)
    masked = [face for face in faces if index[face.name]["mask"] != "no-mask" and face.identity in bare]
    aligned = [face for face in masked if index[face.name]["detector"] != "default_box"]
    partners = [bare[face.identity][i % len(bare[face.identity])] for i, face in enumerate(aligned)]
    return RealMasks(
        np.array([f.image for f in aligned]),
        np.array([index[f.name]["mask"] for f in aligned]),
        np.array([f.identity for f in aligned]),
        np.array([f.image for f in partners]),
        np.array([f.landmarks for f in partners]),
        len(masked) - len(aligned),
    )


def held_out(people: np.ndarray) -> np.ndarray:
    """Indices of the photos whose people `shapes.HEIGHTS` was not checked on: every second of the sorted names."""
    return np.flatnonzero(np.isin(people, np.unique(people)[1::2]))


def by_eyes(face: np.ndarray) -> np.ndarray:
    """The transform (2, 3) that brings the eyes of a face (112, 112, 3), as predicted on it, to where they belong."""
    return align.similarity(align.five_points(align.landmarks68(face, align.FACE_BOX))[:2], _EYES)


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
        masks.mask_faces(face[None], points[None], style=replace(_LIKE[label], wears={"normal": 1}), seed=seed + i)
        for i, (face, points, label) in enumerate(zip(data.bare, data.landmarks, data.labels, strict=True))
    ]
    return np.concatenate([d.images for d in drawn]), np.concatenate([d.alpha for d in drawn])


def _columns(regions: np.ndarray) -> dict[str, np.ndarray]:
    rows = [outline_statistics(region) for region in regions]
    return {k: np.array([row[k] for row in rows]) for k in STATISTICS}


def _quartiles(values: np.ndarray) -> list[float]:
    return [round(float(v), 4) for v in np.nanpercentile(values, (25, 50, 75))]


def _difference(real: np.ndarray, drawn: np.ndarray, people: np.ndarray) -> dict[str, float]:
    """Difference of the medians, real less drawn, with its 95 % interval over people drawn anew."""
    found = [np.nanmedian(real[some]) - np.nanmedian(drawn[some]) for some in _drawn_anew(people)]
    low, high = np.percentile(found, (2.5, 97.5))
    middle = np.nanmedian(real) - np.nanmedian(drawn)
    return {"difference": round(float(middle), 4), "low": round(float(low), 4), "high": round(float(high), 4)}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m maskfr_utils.measure.realism", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=RECORD, help="the record to write")
    parser.add_argument("--seed", type=int, default=0, help="of the masks")
    parser.add_argument("--bare", type=Path, help="only write the faces without masks into this folder, as PNG")
    parser.add_argument("--peer", type=Path, help="the same pictures as another program masked them: NNN*.png")
    args = parser.parse_args(argv)
    start, folder = time.perf_counter(), find_data("mfr2")
    data = read_mfr2(folder)
    if args.bare:
        args.bare.mkdir(parents=True, exist_ok=True)
        for i, face in enumerate(data.bare):
            cv2.imwrite(str(args.bare / f"{i:03d}.png"), face[..., ::-1])
        return
    peer = (
        {int(path.name[:3]): cv2.imread(str(path))[..., ::-1] for path in sorted(args.peer.glob("*.png"))}
        if args.peer
        else None
    )
    others = held_out(data.people)
    peer = peer and {place: peer[i] for place, i in enumerate(others.tolist()) if i in peer}
    half = data.some(others)
    found = measure(half, seed=args.seed, peer=peer)
    # One draw is no measurement, and a classifier that learns from more photos sees more: both are told.
    found["auc"]["draws"] = [told_alike(half, seed=args.seed + 1000 * i)["auc"] for i in range(5)]
    found["auc"]["all_photos"] = told_alike(data, seed=args.seed) | {"photos": len(data.real)}
    source = open_source(folder / "mfr2_112.tar").fingerprint
    made = provenance(device="cpu", data=source, seconds=time.perf_counter() - start, code_revision=code_revision())
    write_json(args.out, found | {"seed": args.seed, "provenance": made})
    for name, auc in found["auc"]["masks"].items():
        print(f"real against drawn, {name}: AUC {auc['auc']:.3f} ({auc['low']:.3f}-{auc['high']:.3f})")


if __name__ == "__main__":
    main()
