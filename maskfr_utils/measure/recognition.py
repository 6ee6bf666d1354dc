"""How well `recognise` names people: rank 1, false accepts at the threshold, people who are not enrolled, time of a search.

    python -m maskfr_utils.measure.recognition --network runs/RUN --out recognition.json

On rendered people always; on LFW (Huang et al. 2007) and on the real masks of MFR2 (Anwar and Raychowdhury 2020) where they
are below MASKFR_DATA, without the people whom the network was trained on. Threshold: at most 1% of strangers are to be
taken for somebody, by people of the same kind who are in no other part of the measurement. Intervals are of 95%, over
people drawn anew.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch

from maskfr_utils import devices, paths
from maskfr_utils.faces.people import plain
from maskfr_utils.faces.sources import landmarks_of, open_source
from maskfr_utils.masks import mask_faces
from maskfr_utils.measure import mfr2, record
from maskfr_utils.metrics import Draws, share, summary
from maskfr_utils.models.given import load_network
from maskfr_utils.recognise import Embedder, Gallery, load_embedder, quality
from maskfr_utils.recognise.calibration import Calibration, calibrate
from maskfr_utils.recognise.search import best_people
from maskfr_utils.recognise.validation import rendered_calibration
from maskfr_utils.records import write_json
from maskfr_utils.rendered import render_faces

RECORD = Path("recognise") / "rendered_people.json"  # below the records of the study; about the network of the package
RATE = 0.01
SEED = 3053  # of rendered people who are in nothing else
RESAMPLES = 1000
SEARCHED = {"100,000": 100_000, "1,000,000": 1_000_000}


@dataclass(frozen=True)
class Photos:
    """Embedded photos: `embeddings` (n, d) float32 of length 1, `people` (n,) whose they are."""

    embeddings: np.ndarray
    people: np.ndarray

    def only(self, keep: np.ndarray) -> "Photos":
        """The photos for which `keep` (n,) bool is True."""
        return Photos(self.embeddings[keep], self.people[keep])


def score(gallery: Gallery, known: Photos, strangers: Photos, *, seed: int = 0) -> dict[str, object]:
    """What becomes of photos of enrolled people and of strangers.

    Returns:
        `rank_1`: the nearest person is the right one, whatever the threshold; `named`: and near enough to be named;
        `misnamed`: an enrolled person gets another's name; `false_accepts`: a stranger gets a name. Each with `value`, `low`,
        `high`, as shares of photos; and the counts.
    """
    names = np.array(list(gallery.people))
    (nearest, cosines), (_, strange) = gallery.nearest(known.embeddings), gallery.nearest(strangers.embeddings)
    right, near = names[nearest[:, 0]] == known.people, cosines[:, 0] >= gallery.threshold
    found = {
        "rank_1": (right, known.people),
        "named": (right & near, known.people),
        "misnamed": (~right & near, known.people),
        "false_accepts": (strange[:, 0] >= gallery.threshold, strangers.people),
    }
    return {name: over_people(hits, people, seed) for name, (hits, people) in found.items()} | {
        "enrolled_people": len(gallery.people),
        "enrolled_photos": len(gallery),
        "photos": len(known.people),
        "strangers": len(set(strangers.people.tolist())),
        "photos_of_strangers": len(strangers.people),
        "threshold": round(gallery.threshold, 4),
        "rate": gallery.rate,
        "validation": gallery.calibration.validation,
    }


def over_people(hits: np.ndarray, people: np.ndarray, seed: int) -> dict[str, float]:
    """A share of photos with its 95% interval over people drawn anew; `hits` (n,) bool, `people` (n,)."""
    return summary(share(hits, Draws(people, RESAMPLES, seed=seed).photos(people)))


def enrolled(embedder: Embedder, calibration: Calibration, photos: Photos) -> Gallery:
    """A gallery of these photos."""
    gallery = Gallery(embedder, rate=RATE, calibration=calibration)
    gallery.add(photos.people.tolist(), photos.embeddings)
    return gallery


def on_rendered(embedder: Embedder, *, people: int = 100, photos: int = 5) -> dict[str, dict]:
    """Rendered people, half of them enrolled with three photos without a mask; by what the others wear."""
    faces = render_faces(2 * people, photos, seed=SEED)
    labels = np.array([f"p{label}" for label in faces.labels])
    bare = Photos(embedder(faces.images), labels)
    masked = Photos(embedder(mask_faces(faces.images, faces.landmarks, seed=SEED).images), labels)
    known, later = faces.labels < people, np.arange(len(labels)) % photos >= 3
    gallery = enrolled(embedder, embedder.calibration or rendered_calibration(embedder), bare.only(known & ~later))
    return {
        name: score(gallery, probes.only(known & later), probes.only(~known & later))
        for name, probes in {"no mask": bare, "drawn mask": masked}.items()
    }


def on_lfw(embedder: Embedder, folder: Path, trained_on: set[str]) -> tuple[dict[str, dict], Calibration]:
    """People of LFW with six photos or more, three of them enrolled; strangers have one photo, validation the rest."""
    faces = [face for face in open_source(folder / "lfw_112.tar") if plain(face.identity) not in trained_on]
    people = np.array([face.identity for face in faces])
    counts = pd.Series(people).map(pd.Series(people).value_counts()).to_numpy()
    number = pd.Series(people).groupby(people).cumcount().to_numpy()
    validation = (counts > 1) & (counts < 6)
    kept = np.flatnonzero(validation | ((counts >= 6) & (number < 13)) | (counts == 1))
    kept = kept[~((counts[kept] == 1) & (np.cumsum(counts[kept] == 1) > 1000))]
    chosen = [faces[i] for i in kept]
    images = np.array([face.image for face in chosen])
    bare = Photos(embedder(images), people[kept])
    masked = Photos(embedder(mask_faces(images, landmarks_of(chosen)).images), people[kept])
    counts, number, validation = counts[kept], number[kept], validation[kept]
    both = [probes.only(validation) for probes in (bare, masked)]
    where = f"{len(set(people[kept][validation]))} people of lfw, as they are and with drawn masks"
    calibration = calibrate(
        np.concatenate([p.embeddings for p in both]), np.concatenate([p.people for p in both]), where
    )
    gallery = enrolled(embedder, calibration, bare.only((counts >= 6) & (number < 3)))
    known, strange = (counts >= 6) & (number >= 3), counts == 1
    return {
        name: score(gallery, probes.only(known), probes.only(strange))
        for name, probes in {"no mask": bare, "drawn mask": masked}.items()
    }, calibration


def on_mfr2(embedder: Embedder, folder: Path, trained_on: set[str], calibration: Calibration) -> dict[str, dict]:
    """MFR2: photos without a mask are enrolled, those with a real one named; every other person is a stranger."""
    found = mfr2.read(folder)
    found = found.only(np.array([plain(name) not in trained_on for name in found.people]))
    photos, masked = Photos(embedder(found.images), found.people), found.masked
    known = np.isin(photos.people, np.unique(photos.people)[::2])
    gallery = enrolled(embedder, calibration, photos.only(known & ~masked))
    return {"real mask": score(gallery, photos.only(known & masked), photos.only(~known & masked))}


def quality_notes(faces: np.ndarray) -> dict[str, float]:
    """Shares of faces (n, 112, 112, 3) that are called blurred: as they are, and blurred by three pixels."""
    blurred = [cv2.GaussianBlur(face, (0, 0), 3) for face in faces]
    return {
        name: round(float(np.mean([quality.sharpness(face) < quality.BLURRED for face in given])), 4)
        for name, given in {"as they are": faces, "blurred by 3 pixels": blurred}.items()
    }


def search_seconds(dim: int, *, repeats: int = 5, sizes: Sequence[str] = tuple(SEARCHED)) -> dict[str, float]:
    """Seconds to find the nearest of so many enrolled embeddings of made-up people, each with one photo: the median."""
    rng, seconds = np.random.default_rng(0), {}
    for size in sizes:
        gallery = rng.standard_normal((SEARCHED[size], dim), np.float32)
        gallery /= np.linalg.norm(gallery, axis=1, keepdims=True)
        starts, times = np.arange(len(gallery)), []
        for k in range(repeats):
            began = time.perf_counter()
            (nearest,), _ = best_people(gallery, starts, gallery[[k]])
            times.append(time.perf_counter() - began)
            if nearest[0] != k:
                raise ValueError(f"the search among {size} did not find the embedding itself")
        seconds[size] = round(float(np.median(times)), 4)
    return seconds


def measure(network: str | None) -> dict:
    """The record; errors are those of `load_embedder` and of the readers."""
    started, embedder = time.perf_counter(), load_embedder(network)
    trained_on = {plain(name) for name in classes_of(network)}
    results, data = {"rendered": on_rendered(embedder)}, "rendered"
    notes = {"rendered": quality_notes(render_faces(50, 2, seed=SEED).images)}
    for name in ("lfw", "mfr2"):
        try:
            folder = paths.find_data(name)
        except FileNotFoundError:
            continue
        source = open_source(mfr2.lies_in(folder) if name == "mfr2" else folder / "lfw_112.tar")
        data += f" {name} {source.fingerprint}"
        notes[name] = quality_notes(np.array([face.image for face in list(source)[::20]]))
        if name == "lfw":
            results[name], calibration = on_lfw(embedder, folder, trained_on)
        elif "lfw" in results:
            results[name] = on_mfr2(embedder, folder, trained_on, calibration)
    return {
        "network": {"title": embedder.title, "fingerprint": embedder.fingerprint, "trained_on": len(trained_on)},
        "results": results,
        "called_blurred": notes,
        "search_seconds": {str(dim): search_seconds(dim) for dim in sorted({embedder.dim, 512})},
        "provenance": record.made(
            started,
            data=data,
            device=devices.device_name(torch.device("cpu")),
            threads=torch.get_num_threads(),
        ),
    }


def classes_of(network: str | None) -> list[str]:
    """The people whom a network was trained on, as its file tells; none are known of arcface_torch's and ONNX.

    Raises:
        ValueError: it is no network, or these are no names.
    """
    if network is None or Path(network).suffix == ".onnx":
        return []
    classes = load_network(network)[1].get("classes", [])
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise ValueError(f"{network}: the people whom it was trained on are no list of names")
    return classes


def table(made: dict) -> pd.DataFrame:
    """Percent with intervals, a line for each data set and what the named people wear."""
    lines = {}
    for name, by_mask in made["results"].items():
        for mask, found in by_mask.items():
            lines[name, mask] = {"people": found["enrolled_people"], "strangers": found["strangers"]} | {
                measure: record.percent(found[measure]) for measure in ("rank_1", "named", "misnamed", "false_accepts")
            }
    return pd.DataFrame.from_dict(lines, orient="index")


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = record.parser("recognition", __doc__, paths.results_dir() / RECORD)
    parser.add_argument("--network", help="as for `recognise` (default: the network of the package)")
    args = parser.parse_args(argv)

    def run() -> None:
        made = measure(args.network)
        write_json(args.out, made)
        print(table(made).to_string(), made["search_seconds"], args.out, sep="\n")

    return record.status("recognition", run)


if __name__ == "__main__":
    sys.exit(main())
