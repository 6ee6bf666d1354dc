"""Are rendered people distinct, and how hard is it to tell them apart: measured, no network and no download.

    python -m maskfr_utils.measure.rendered_people --out book/results/masks/rendered.json

A face is described by its gradients (Dalal and Triggs 2005), brought to the directions that separate people by linear
discriminant analysis. That is fitted on other rendered people than those whose distances are measured.
"""

import sys
import time
from pathlib import Path

import dlib
import numpy as np
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import Normalizer

from maskfr_utils import masks
from maskfr_utils.faces import align
from maskfr_utils.measure import record
from maskfr_utils.measure.features import gradients
from maskfr_utils.paths import results_dir
from maskfr_utils.records import write_json
from maskfr_utils.rendered import render_faces

RECORD = results_dir() / "masks" / "rendered.json"
BINS = np.linspace(0, 2, 81)  # of cosine distances
DIFFICULTIES = (0.0, 0.25, 0.5, 0.75, 1.0)


def describe(faces: np.ndarray) -> np.ndarray:
    """Orientations of the gradient in cells of 8 pixels, (N, 1296), of the middle of faces (N, 112, 112, 3) uint8."""
    grey = faces[:, 8:104, 8:104].mean(-1)
    return np.array([gradients(face, 8).ravel() for face in grey], np.float32).reshape(-1, 1296)


def discriminant(components: int) -> Pipeline:
    """Gradients -> directions that separate people."""
    return make_pipeline(
        PCA(components, random_state=0), LinearDiscriminantAnalysis(solver="eigen", shrinkage=0.1), Normalizer()
    )


def accepted(identities: int = 60, per_identity: int = 5, *, seed: int = 11) -> dict[str, float]:
    """What a detector and a landmark predictor made for photographs say of rendered faces.

    Returns:
        `faces`; `detected`, the share that dlib's frontal detector finds, upsampled once; `landmark_error`, median
        distance of its landmarks 18-68 from the exact ones, in eye distances.

    Raises:
        ValueError: the detector finds no face.
    """
    faces = render_faces(identities, per_identity, seed=seed)
    detector, errors = dlib.get_frontal_face_detector(), []
    for image, exact in zip(faces.images, faces.landmarks, strict=True):
        boxes = detector(image, 1)
        if boxes:
            box = max(boxes, key=lambda b: b.area())
            found = align.landmarks68(image, (box.left(), box.top(), box.right(), box.bottom()))
            eyes = np.linalg.norm(exact[36:42].mean(0) - exact[42:48].mean(0))
            errors.append(np.linalg.norm(found - exact, axis=1)[17:] / eyes)
    if not errors:
        raise ValueError(f"the detector finds none of {len(faces.images)} rendered faces: there is nothing to measure")
    count = len(faces.images)
    return {"faces": count, "detected": len(errors) / count, "landmark_error": float(np.median(errors))}


def distances(identities: int = 1000, per_identity: int = 6, *, others: int = 600, seed: int = 0) -> dict:
    """Cosine distances within and between rendered people, each seen twice: as the mean of half of his or her pictures.

    Args:
        identities: people whose distances are measured.
        per_identity: pictures of each, even.
        others: people that the description is fitted on, 6 pictures each.
        seed: of the measured people; the others have the next one.

    Returns:
        `bins` and `counts`: `within` of a person's two halves, `between` of two people's, `nearest` of each first half and
        the nearest second half of another person; their `median`; `recognised`: the share of first halves to which no
        second half is nearer than the own.
    """
    known = render_faces(others, 6, seed=seed + 1)
    model = discriminant(min(300, others * 3)).fit(describe(known.images), known.labels)
    faces = render_faces(identities, per_identity, seed=seed)
    x = model.transform(describe(faces.images)).reshape(identities, 2, per_identity // 2, -1).sum(2)
    first, second = np.moveaxis(x / np.linalg.norm(x, axis=-1, keepdims=True), 1, 0)
    apart = 1 - first @ second.T
    same = np.eye(identities, dtype=bool)
    groups = {"within": apart[same], "between": apart[~same], "nearest": np.where(same, np.inf, apart).min(1)}
    return {
        "identities": identities,
        "per_identity": per_identity,
        "others": others,
        "bins": [round(float(edge), 3) for edge in BINS],
        "counts": {name: np.histogram(values, BINS)[0].tolist() for name, values in groups.items()},
        "median": {name: round(float(np.median(values)), 4) for name, values in groups.items()},
        "recognised": float((groups["within"] < groups["nearest"]).mean()),
    }


def difficulty_spread(
    identities: int = 60, per_identity: int = 16, *, difficulties: tuple[float, ...] = DIFFICULTIES, seed: int = 5
) -> dict[str, dict[str, list[float]]]:
    """Accuracy of three simple recognisers on faces of each difficulty; every fourth picture is tested.

    Returns:
        recogniser -> `unmasked` and `masked` accuracies, in the order of `difficulties`; trained on unmasked faces.
    """
    recognisers = {
        "nearest pixels": (_pixels, lambda: KNeighborsClassifier(1)),
        "nearest gradients": (describe, lambda: KNeighborsClassifier(1)),
        "discriminant of gradients": (
            describe,
            lambda: make_pipeline(PCA(0.98, random_state=0), LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1)),
        ),
    }
    found = {name: {"unmasked": [], "masked": []} for name in recognisers}
    for difficulty in difficulties:
        faces = render_faces(identities, per_identity, seed=seed, difficulty=difficulty)
        test = np.arange(len(faces.labels)) % 4 == 3
        masked = masks.mask_faces(faces.images[test], faces.landmarks[test], seed=seed).images
        for name, (features, make) in recognisers.items():
            model = make().fit(features(faces.images[~test]), faces.labels[~test])
            for twin, images in (("unmasked", faces.images[test]), ("masked", masked)):
                found[name][twin].append(round(float(model.score(features(images), faces.labels[test])), 4))
    return found


def _pixels(faces: np.ndarray) -> np.ndarray:
    """Grey thumbnails of the middle of the face, of mean 0 and spread 1: (N, 484)."""
    small = faces[:, 12:100, 12:100].mean(-1).reshape(-1, 22, 4, 22, 4).mean((2, 4)).reshape(len(faces), -1)
    return (small - small.mean(1, keepdims=True)) / (small.std(1, keepdims=True) + 1e-6)


def measure(out: Path) -> None:
    """Measures into the record `out`."""
    started, spread = time.perf_counter(), difficulty_spread()
    found = {
        "accepted": accepted(),
        "distances": distances(),
        "difficulty": {"values": list(DIFFICULTIES), "identities": 60, "per_identity": 16, "accuracy": spread},
    }
    write_json(out, found | {"provenance": record.made(started, data="rendered")})
    print(found["accepted"], {k: v for k, v in found["distances"].items() if k not in ("bins", "counts")}, spread)


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    args = record.parser("rendered_people", __doc__, RECORD).parse_args(argv)
    return record.status("rendered_people", lambda: measure(args.out))


if __name__ == "__main__":
    sys.exit(main())
