"""What training on drawn masks gives on real ones: runs of the study on MFR2, people whom they have never seen.

    python -m maskfr_utils.measure.real_masks runs/RUN runs/RUN ...

Needs MFR2 (Anwar and Raychowdhury 2020) below MASKFR_DATA, and the folders of finished runs that differ in condition and
seed only. Embeddings are compared by their cosine, without mirror images. As a yardstick the photos without masks are
also tried with masks drawn on them as in training. Intervals are of 95 %, over people drawn anew, the same ones for every
run, so that differences are paired.
"""

import argparse
import itertools
import json
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from maskfr_utils import batches, devices, fingerprint, masks, models, paths
from maskfr_utils.faces.sources import open_source
from maskfr_utils.measure import realism
from maskfr_utils.names import TITLES
from maskfr_utils.probes.runs import of_run
from maskfr_utils.records import code_revision, provenance, read_record, write_json
from maskfr_utils.study import plan, state
from maskfr_utils.study.tables import points, signed

RECORD = Path("masks") / "transfer.json"  # below the records of the study
RESAMPLES = 2000
# Probes of identification by whether they wear a real mask, and whether one is drawn.
PROBES = {"real mask": (True, 0), "drawn mask": (False, 1), "no mask": (False, 0)}


@dataclass(frozen=True)
class Photos:
    """Aligned photos of people with and without real masks.

    Attributes:
        images, landmarks: (n, 112, 112, 3) uint8 RGB; (n, 68, 2) float32, NaN where unknown.
        people: (n,) names.
        masked, detected: (n,) bool, a real mask is worn; the face was detected when it was aligned, not guessed.
        pairs: (m, 2) indices of the pairs that MFR2 verifies.
    """

    images: np.ndarray
    landmarks: np.ndarray
    people: np.ndarray
    masked: np.ndarray
    detected: np.ndarray
    pairs: np.ndarray

    def only(self, keep: np.ndarray) -> "Photos":
        """The photos for which `keep` (n,) is True, and the pairs of them."""
        columns = (self.images, self.landmarks, self.people, self.masked, self.detected)
        return Photos(*(column[keep] for column in columns), (np.cumsum(keep) - 1)[self.pairs[keep[self.pairs].all(1)]])

    def groups(self) -> dict[str, tuple[np.ndarray, np.ndarray, tuple[int, int]]]:
        """Pairs to verify: group -> photos (k, 2), whether of one person (k,), and on which of the two a mask is drawn.

        Masks are drawn on all pairs of photos without one: of those among MFR2's own, only eight are of one person.
        """
        worn, bare = self.masked[self.pairs].sum(1), np.flatnonzero(~self.masked)
        every = bare[np.stack(np.triu_indices(len(bare), 1), 1)]
        found = {
            "both masked": (self.pairs[worn == 2], (0, 0)),
            "both drawn": (every, (1, 1)),
            "one masked": (self.pairs[worn == 1], (0, 0)),
            "one drawn": (every, (1, 0)),
            "none drawn": (every, (0, 0)),
        }
        return {name: (p, self.people[p[:, 0]] == self.people[p[:, 1]], drawn) for name, (p, drawn) in found.items()}

    def counts(self) -> dict[str, int | list[int]]:
        """People, photos with and without a real mask, and by group the pairs [of one person, of two people]."""
        found = {"people": len(set(self.people)), "masked": int(self.masked.sum()), "bare": int((~self.masked).sum())}
        return found | {name: [int(same.sum()), int((~same).sum())] for name, (_, same, _) in self.groups().items()}


def read_mfr2(folder: Path) -> Photos:
    """Reads MFR2 as aligned faces: `mfr2_112.tar`, `landmarks68.npz`, `index.csv` and `pairs.csv`.

    Raises:
        ValueError: index or pairs do not fit the photos.
    """
    faces, index = realism.mfr2_faces(folder)
    place = {face.name: i for i, face in enumerate(faces)}
    try:
        pairs = pd.read_csv(folder / "pairs.csv")[["file1", "file2"]].map(place.__getitem__)
    except (KeyError, ValueError) as error:
        raise ValueError(f"pairs.csv does not fit {folder / 'mfr2_112.tar'}: {error}") from None
    return Photos(
        np.array([face.image for face in faces]),
        np.array([np.full((68, 2), np.nan) if f.landmarks is None else f.landmarks for f in faces], np.float32),
        np.array([face.identity for face in faces]),
        (index["mask"] != "no-mask").to_numpy(),
        ~index["detector"].isin(["hog_forced", "default_box"]).to_numpy(),
        pairs.to_numpy(),
    )


def plain(names: Sequence[str]) -> pd.Series:
    """Names without case, accents and separators: no two data sets write them alike."""
    return pd.Series(names).str.normalize("NFKD").str.replace(r"[\W_]", "", regex=True).str.lower()


def rank_1(embeddings: np.ndarray, photos: Photos, probes: str) -> tuple[np.ndarray, np.ndarray]:
    """Whether the photo without a mask that is most like a probe, itself excepted, is of the same person.

    Args:
        embeddings: (2, n, d) of the photos as they are, and with a mask drawn on.

    Returns:
        The `probes` (k,) as indices of photos, without those of whom there is no other photo, and the hits (k,) bool.
    """
    masked, drawn = PROBES[probes]
    probe, gallery = np.flatnonzero(photos.masked == masked), np.flatnonzero(~photos.masked)
    another = probe[:, None] != gallery
    own = (photos.people[probe][:, None] == photos.people[gallery]) & another
    found = np.where(another, embeddings[drawn, probe] @ embeddings[0, gallery].T, -np.inf).argmax(1)
    kept = own.any(1)
    return probe[kept], own[np.arange(len(probe)), found][kept]


def auc(scores: np.ndarray, same: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Areas (r,) under the ROC curve: how often a pair of one person (`same`) scores above one of two, by weights (r, m)."""
    above = (scores[same][:, None] > scores[~same]) + 0.5 * (scores[same][:, None] == scores[~same])
    mine, others = weights[:, same], weights[:, ~same]
    return (mine @ above * others).sum(1) / (mine.sum(1) * others.sum(1))


def measure(embeddings: np.ndarray, photos: Photos, *, seed: int = 0) -> dict[str, np.ndarray]:
    """Rank 1 of each kind of probes and AUC of each group of pairs; `embeddings` as in `rank_1`.

    Returns:
        Measure -> (1 + resamples,) values: as it is, and with people drawn anew. A pair of two people counts as the
        product of how often they are drawn (the pigeonhole bootstrap, Owen 2007), a pair of one as often as he or she is.
    """
    names, person = np.unique(photos.people, return_inverse=True)
    anew = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), RESAMPLES)
    times, found = np.vstack([np.ones(len(names)), anew]), {}
    for probes in PROBES:
        probe, hits = rank_1(embeddings, photos, probes)
        often = times[:, person[probe]]
        found[f"rank 1, {probes}"] = often @ hits / often.sum(1)
    for group, (pairs, same, drawn) in photos.groups().items():
        a, b = pairs.T
        scores = (embeddings[drawn[0], a] * embeddings[drawn[1], b]).sum(1)
        found[f"AUC, {group}"] = auc(scores, same, times[:, person[a]] * np.where(same, 1, times[:, person[b]]))
    return found


def summaries(found: Mapping[tuple[str, int], Mapping[str, np.ndarray]]) -> dict[str, dict[str, dict]]:
    """What the record holds of the results of `measure` by (condition, seed).

    Returns:
        `masked`, `unmasked` or `gain`, their difference -> measure -> `value`, `low` and `high` of the mean over seeds,
        and the value of each of the `seeds`.
    """
    seeds, summary = sorted({seed for _, seed in found}), defaultdict(dict)
    for name in next(iter(found.values())):
        masked, unmasked = (np.array([found[c, seed][name] for seed in seeds]) for c in ("masked", "unmasked"))
        for condition, values in {"masked": masked, "unmasked": unmasked, "gain": masked - unmasked}.items():
            mean = values.mean(0)
            value, low, high = np.round([mean[0], *np.percentile(mean[1:], (2.5, 97.5))], 4).tolist()
            each = np.round(values[:, 0], 4).tolist()
            summary[condition][name] = {"value": value, "low": low, "high": high, "seeds": each}
    return dict(summary)


def load_runs(folders: Sequence[Path]) -> dict[tuple[str, int], dict]:
    """The records of finished runs by (condition, seed); ValueError unless there is one of each, alike in all else."""
    for file in (folder / name for folder in folders for name in ("record.json", "model.safetensors")):
        if not file.is_file():
            raise ValueError(f"{file} is missing: name finished runs, `{plan.command()}` makes them")
    records = [read_record(folder / "record.json") for folder in folders]
    runs = [(record["params"]["condition"], record["params"]["seed"]) for record in records]
    if sorted(runs) != sorted(itertools.product(("masked", "unmasked"), {seed for _, seed in runs})):
        raise ValueError(f"name one masked and one unmasked run of each seed, not {runs}")
    problems = state.inconsistencies(dict(zip(map(str, folders), records, strict=True)))
    first, *others = map(recipe, records)
    differ = {name for other in others for name in first | other if first.get(name) != other.get(name)}
    fingerprints = [record["provenance"].get("fingerprint", {}) for record in records]
    differ |= {part for other in fingerprints for part in fingerprint.moved(other, fingerprints[0])}
    if problems := [*problems, *(f"{name} differs" for name in sorted(differ))]:
        raise ValueError(f"the runs cannot be compared: {', '.join(problems)}")
    return dict(zip(runs, records, strict=True))


def recipe(record: dict) -> dict[str, object]:
    """The parameters that runs which are compared share."""
    return {k: v for k, v in record["params"].items() if k not in ("condition", "seed")}


@torch.inference_mode()
def embed(model: torch.nn.Module, faces: np.ndarray) -> np.ndarray:
    """Embeddings (n, d) of length 1 of faces (n, 112, 112, 3) uint8, on the CPU in single precision."""
    found = torch.cat([model(batches.to_input(part)) for part in torch.from_numpy(faces).split(64)])
    return torch.nn.functional.normalize(found).numpy()


def make_record(folders: Sequence[Path]) -> dict:
    """Tries the runs in these folders on MFR2; errors are those of `load_runs`, `read_mfr2` and `paths.find_data`."""
    start, runs, mfr2 = time.perf_counter(), load_runs(folders), paths.find_data("mfr2")
    params, everybody = recipe(next(iter(runs.values()))), read_mfr2(mfr2)
    networks = [models.load_model(folder / "model.safetensors") for folder in folders]
    known = plain(everybody.people).isin(plain(networks[0][1]["classes"])).to_numpy()
    photos = everybody.only(~known)
    drawn, bare = photos.images.copy(), ~photos.masked
    drawn[bare] = masks.mask_faces(drawn[bare], photos.landmarks[bare], style=params["style"]).images
    subsets = {"all photos": np.ones(len(drawn), bool), "detected faces": photos.detected}
    found = {name: {} for name in subsets}
    for run, (model, _) in zip(runs, networks, strict=True):
        embeddings = np.stack([embed(model, faces) for faces in (photos.images, drawn)])
        for name, keep in subsets.items():
            found[name][run] = measure(embeddings[:, keep], photos.only(keep))
    return {
        "command": f"python -m maskfr_utils.measure.real_masks {' '.join(f'runs/{folder.name}' for folder in folders)}",
        "params": params,
        "seeds": sorted({seed for _, seed in runs}),
        "left_out": len(set(everybody.people[known])),
        "photos": {name: photos.only(keep).counts() for name, keep in subsets.items()},
        "results": {name: summaries(values) for name, values in found.items()},
        "provenance": provenance(
            device=devices.device_name(torch.device("cpu")),
            data=open_source(mfr2 / "mfr2_112.tar").fingerprint,
            seconds=time.perf_counter() - start,
            code_revision=code_revision(),
            networks=next(iter(runs.values()))["provenance"]["fingerprint"],
        ),
    }


def read(folder: str | Path | None = None) -> dict | None:
    """The record among the study's records in `folder` (default: the book's), or None where it has not been made."""
    path = Path(folder or paths.results_dir()) / RECORD
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def results(record: dict, condition: str, subset: str = "all photos") -> pd.DataFrame:
    """Of a condition (`masked`, `unmasked`, `gain`): a line a measure with `value`, `low`, `high` and `seeds`."""
    return pd.DataFrame.from_dict(record["results"][subset][condition], orient="index")


def table(record: dict) -> pd.DataFrame:
    """Masked and unmasked training in percent, and what the first gains in points."""
    columns = {}
    for condition in ("masked", "unmasked"):
        numbers = 100 * results(record, condition)[["value", "low", "high"]]
        columns[f"trained on {condition}, %"] = [f"{v:.1f} ({a:.1f}–{b:.1f})" for v, a, b in numbers.to_numpy()]
    gain = results(record, "gain")
    columns["gain, points"] = [points(*row[:3]) for row in gain.to_numpy()]
    columns["gain by seed"] = [", ".join(map(signed, seeds)) for seeds in gain["seeds"]]
    return pd.DataFrame(columns, gain.index)


def in_words(record: dict) -> str:
    """What masked training gains with real masks and with drawn ones, as Markdown."""
    found, detected, text = results(record, "gain"), results(record, "gain", "detected faces"), []
    for measure, real, drawn in (
        ("rank 1", "rank 1, real mask", "rank 1, drawn mask"),
        ("AUC", "AUC, both masked", "AUC, both drawn"),
    ):
        value, low, high, _ = found.loc[real]
        text.append(
            f"- On new people, training on drawn masks gains {points(value, low, high)} points of {measure} with real masks,"
            f" and {points(*found.loc[drawn][:3])} with drawn ones. Without the photos whose face was guessed:"
            f" {points(*detected.loc[real][:3])}."
        )
    return "\n".join(text)


def made_with(record: dict | None) -> str:
    """What stands beside the table, as Markdown: photos, networks, and the command; or that there is no record yet."""
    if record is None:
        return (
            "Not measured yet: `python -m maskfr_utils.measure.real_masks runs/...` does it from the runs of Table 1."
        )
    (photos, detected), params = record["photos"].values(), record["params"]
    text = (
        f"*MFR2*: {photos['people']} people (without {record['left_out']} whom the networks were trained on), "
        f"{photos['masked']} photos with a real mask, {photos['bare']} without, {sum(photos['both masked'])} and "
        f"{sum(photos['one masked'])} pairs with one on both or on one; in {photos['masked'] - detected['masked']} photos "
        f"the face was guessed, as no detector found it. {TITLES[params['model']]} trained on "
        f"`{Path(params['dataset']).stem}`: width "
        f"{params['width']}, {params['epochs']} epochs, batch size {params['batch_size']}, seed "
        f"{', '.join(map(str, record['seeds']))}; {record['provenance']['device']}. `{record['command']}` measures it again."
    )
    moved = fingerprint.moved(record["provenance"]["networks"], fingerprint.numbers(of_run(params)))
    return text + (" **The networks are of older code: run it again.**" if moved else "")


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m maskfr_utils.measure.real_masks", description=__doc__.split("\n")[0]
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a finished run")
    parser.add_argument("--out", type=Path, default=paths.results_dir() / RECORD, help="the record to write")
    args = parser.parse_args(argv)
    try:
        record = make_record([folder.resolve() for folder in args.runs])
    except (ValueError, OSError) as error:
        print(f"maskfr_utils.measure.real_masks: {error}", file=sys.stderr)
        return 1
    write_json(args.out, record)
    print(table(record).to_string(), in_words(record), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
