"""What training on drawn masks gives on real ones: networks of the study on MFR2, people whom they have never seen.

    python -m maskfr_utils.transfer runs/RUN runs/RUN ...

Needs MFR2 (Anwar and Raychowdhury 2020) below MASKFR_DATA, and the folders of finished runs of one recipe that differ in
network, condition and seed only. Embeddings are compared by their cosine, without mirror images:

- verification on MFR2's own pairs: are two photos of the same person?
- identification: of all photos without a mask, is the one most like a probe of the same person (rank 1)?

As a yardstick the photos without masks are also tried with masks drawn on them as in training. Intervals are of 95 %, over
people drawn anew, the same ones for every run, so that differences are paired.
"""

import argparse
import csv
import hashlib
import json
import re
import sys
import time
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import roc_curve

from . import paths, report, study
from .masks import mask_faces
from .sources import open_source

RECORD = Path("masks") / "transfer.json"  # below the records of the study
FOLDS, FAR, RESAMPLES = 10, 0.01, 2000
FEWEST = 10  # pairs of the same person and of different people below which nothing is said of a group
VARIED = ("model", "condition", "seed")
GAIN = "masked - unmasked"  # training, that is

# MFR2's own pairs by how many of the two photos wear a real mask. Only 8 of those without one are of one person; what masks
# are drawn on, one or both or none, are therefore all pairs of photos without a mask.
PAIRS = {
    "all pairs": ((0, 1, 2), (False, False)),
    "both masked": ((2,), (False, False)),
    "one masked": ((1,), (False, False)),
    "none masked": ((0,), (False, False)),
    "both drawn": (None, (True, True)),
    "one drawn": (None, (True, False)),
    "none drawn": (None, (False, False)),
}
# Probes by whether they wear a real mask, and whether one is drawn.
PROBES = {"real mask": (True, False), "drawn mask": (False, True), "no mask": (False, False)}


# ---- the photos ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Photos:
    """Aligned photos of people with and without real masks.

    Attributes:
        images: (n, 112, 112, 3) uint8 RGB.
        landmarks: (n, 68, 2) float32, NaN where unknown.
        people: (n,) names.
        masked: (n,) bool, a real mask is worn.
        detected: (n,) bool, the face was detected when it was aligned, not guessed.
        pairs: (m, 2) indices of the pairs to verify.
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

    def group(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """The pairs (k, 2) in a group of `PAIRS`, and whether they are of one person (k,)."""
        worn, _ = PAIRS[name]
        if worn is None:
            pairs = np.flatnonzero(~self.masked)[np.stack(np.triu_indices((~self.masked).sum(), 1), 1)]
        else:
            pairs = self.pairs[np.isin(self.masked[self.pairs].sum(1), worn)]
        return pairs, self.people[pairs[:, 0]] == self.people[pairs[:, 1]]


def read_mfr2(folder: Path) -> Photos:
    """Reads MFR2 as aligned faces: `mfr2_112.tar`, `index.csv`, `landmarks68.npz`, and `pairs.csv`.

    Raises:
        ValueError: index or pairs do not fit the photos.
    """
    faces = list(open_source(folder / "mfr2_112.tar"))
    place = {face.name: i for i, face in enumerate(faces)}
    with (folder / "index.csv").open(encoding="utf-8") as file:
        index = {row["file"]: row for row in csv.DictReader(file)}
    with (folder / "pairs.csv").open(encoding="utf-8") as file:
        pairs = list(csv.DictReader(file))
    try:
        rows = [index[face.name] for face in faces]
        found = Photos(
            np.array([face.image for face in faces]),
            np.array([np.full((68, 2), np.nan) if f.landmarks is None else f.landmarks for f in faces], np.float32),
            np.array([face.identity for face in faces]),
            np.array([row["mask"] != "no-mask" for row in rows]),
            np.array([row["detector"] not in ("hog_forced", "default_box") for row in rows]),
            np.array([(place[pair["file1"]], place[pair["file2"]]) for pair in pairs]),
        )
    except KeyError as error:
        raise ValueError(f"{folder}: index.csv, pairs.csv and mfr2_112.tar do not all have {error}") from None
    if (wrong := found.group("all pairs")[1] != [pair["same"] == "1" for pair in pairs]).any():
        raise ValueError(f"{folder / 'pairs.csv'}: pair {wrong.argmax() + 1} is not of the people that it says")
    return found


def overlap(people: Iterable[str], others: Iterable[str]) -> list[str]:
    """Those of `people` who are among `others`, whatever the case, accents and separators of their names."""

    def plain(name: str) -> str:
        return re.sub(r"[\W_]", "", unicodedata.normalize("NFKD", name)).lower()

    known = {plain(name) for name in others}
    return sorted({name for name in people if plain(name) in known})


# ---- the runs -----------------------------------------------------------------------------------------------------


def load_runs(folders: Sequence[Path]) -> dict[Path, dict]:
    """The records of finished runs by their folders.

    Raises:
        ValueError: a run is not finished or is there twice, or they differ in more than network, condition and seed.
    """
    records = {}
    for folder in folders:
        for name in ("record.json", "model.safetensors"):
            if not (folder / name).is_file():
                raise ValueError(
                    f"{folder} holds no {name}: name folders of finished runs; `{study.command()}` makes them"
                )
        record = records[folder] = report.read_record(folder / "record.json")
        if missing := {"code", "faces", "train_photos", "photos"} - record["provenance"].keys() - record.keys():
            raise ValueError(f"{folder}/record.json is too old, it lacks {', '.join(sorted(missing))}: train it again")
    problems = study.inconsistencies({str(folder): record for folder, record in records.items()})
    (first, reference), seen = next(iter(records.items())), {}
    for folder, record in records.items():
        ours, theirs = record["params"], reference["params"]
        differ = [k for k in ours.keys() | theirs.keys() if k not in VARIED and ours.get(k) != theirs.get(k)]
        differ += [k for k in ("code", "data") if record["provenance"][k] != reference["provenance"][k]]
        problems += [f"{folder}: {name} differs from {first}'s" for name in sorted(differ)]
        run = tuple(ours[name] for name in VARIED)
        if run in seen:
            problems.append(f"{folder}: the same network, condition and seed as {seen[run]}")
        seen[run] = folder
    if problems:
        raise ValueError("these runs cannot be compared:\n" + "\n".join(problems))
    return records


def embed(model, faces: np.ndarray) -> np.ndarray:
    """Embeddings (n, d) of length 1 of faces (n, 112, 112, 3) uint8, on the CPU in single precision."""
    import torch

    from .augment import to_input

    with torch.inference_mode():
        found = torch.cat([model(to_input(part)) for part in torch.from_numpy(faces).split(64)])
        return torch.nn.functional.normalize(found).numpy()


# ---- the measures -------------------------------------------------------------------------------------------------
# `auc`, `tar` and `balanced` take weights (r, m) of the pairs, a row for each draw of people, and return (r,) values.


def auc(scores: np.ndarray, same: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Area under the ROC curve: how often a pair of one person scores above one of two people."""
    right, wrong = scores[same][:, None], scores[~same]
    above = (right > wrong) + 0.5 * (right == wrong)
    mine, others = weights[:, same], weights[:, ~same]
    return (mine @ above * others).sum(1) / (mine.sum(1) * others.sum(1))


def tar(scores: np.ndarray, same: np.ndarray, weights: np.ndarray, far: float = FAR) -> np.ndarray:
    """Share of the pairs of one person that are accepted where at most `far` of those of two people are."""
    order = np.argsort(-scores[~same])
    share = weights[:, ~same][:, order].cumsum(1)
    refused = scores[~same][order][(share > far * share[:, -1:]).argmax(1)]  # the best that must not be accepted
    mine = weights[:, same]
    return (mine * (scores[same] > refused[:, None])).sum(1) / mine.sum(1)


def decisions(scores: np.ndarray, same: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Whether each pair is judged rightly at the threshold that is best for pairs of other people.

    A pair of different people may lie in two folds: its threshold then comes from the pairs that touch neither.

    Args:
        scores: (m,) the higher, the more alike.
        same: (m,) bool.
        folds: (m, 2) the folds of the two people.
    """
    folds, right = np.sort(folds, 1), np.empty(len(scores), bool)
    for fold in np.unique(folds, axis=0):
        here, known = (folds == fold).all(1), ~np.isin(folds, fold).any(1)
        accepted_wrong, accepted, steps = roc_curve(same[known], scores[known], drop_intermediate=False)
        best = (accepted - accepted_wrong).argmax()
        right[here] = (scores[here] >= steps[best : best + 2].mean()) == same[here]  # half-way to the next score
    return right


def balanced(right: np.ndarray, same: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Accuracy of decisions (m,), both kinds of pairs counted alike, however many there are of each."""
    return sum(weights[:, kind] @ right[kind] / weights[:, kind].sum(1) for kind in (same, ~same)) / 2


def rank_1(embeddings: np.ndarray, photos: Photos, probes: str) -> tuple[np.ndarray, np.ndarray]:
    """Whether the photo without a mask that is most like a probe, itself excepted, is of the same person.

    Args:
        embeddings: (2, n, d) of the photos as they are, and with a mask drawn on.
        photos: the photos.
        probes: name in `PROBES`; a probe without another photo of the same person is left out.

    Returns:
        The probes (k,) as indices of photos, and the hits (k,) bool.
    """
    masked, drawn = PROBES[probes]
    probe, gallery = np.flatnonzero(photos.masked == masked), np.flatnonzero(~photos.masked)
    another = probe[:, None] != gallery
    own = (photos.people[probe][:, None] == photos.people[gallery]) & another
    found = np.where(another, embeddings[int(drawn), probe] @ embeddings[0, gallery].T, -np.inf).argmax(1)
    kept = own.any(1)
    return probe[kept], own[np.arange(len(probe)), found][kept]


def measure(embeddings: np.ndarray, photos: Photos, *, seed: int = 0) -> dict[str, dict[str, np.ndarray]]:
    """All measures of one network.

    People are drawn with replacement; a pair of two people counts as the product of how often they are drawn (the
    pigeonhole bootstrap, Owen 2007), a pair of one person as often as he or she is. Thresholds stay as they are.

    Args:
        embeddings: (2, n, d) of the photos as they are, and with a mask drawn on.
        photos: the photos.
        seed: of folds and draws: the same for networks that are compared.

    Returns:
        Measure -> group -> (1 + resamples,) values: as it is, and with people drawn anew.
    """
    names, person = np.unique(photos.people, return_inverse=True)
    rng, count = np.random.default_rng(seed), len(names)
    fold = rng.permutation(count) % FOLDS
    times = np.vstack([np.ones(count), rng.multinomial(count, np.full(count, 1 / count), RESAMPLES)])
    found = defaultdict(dict)
    for probes in PROBES:
        probe, hits = rank_1(embeddings, photos, probes)
        if len(probe) >= FEWEST:
            often = times[:, person[probe]]
            found["rank 1"][probes] = often @ hits / often.sum(1)
    for name, (_, drawn) in PAIRS.items():
        pairs, same = photos.group(name)
        if min(same.sum(), (~same).sum()) < FEWEST:
            continue
        first, second = embeddings[int(drawn[0]), pairs[:, 0]], embeddings[int(drawn[1]), pairs[:, 1]]
        scores, ends = (first * second).sum(1), person[pairs]
        weights = times[:, ends[:, 0]] * np.where(same, 1, times[:, ends[:, 1]])
        found["AUC"][name] = auc(scores, same, weights)
        found["accuracy"][name] = balanced(decisions(scores, same, fold[ends]), same, weights)
        if (~same).sum() * FAR >= 3:  # of fewer pairs of different people so small a share is none
            found[f"TAR at FAR {FAR:.0%}"][name] = tar(scores, same, weights)
    return dict(found)


def summary(by_seed: dict[int, np.ndarray]) -> dict[str, list[float]]:
    """[value, low, high] of the mean over seeds, and of each seed, of values (1 + resamples,) each."""
    values = {"mean": np.mean(list(by_seed.values()), 0)} | {f"seed {seed}": by_seed[seed] for seed in sorted(by_seed)}
    return {
        name: [round(float(x), 4) for x in (v[0], *np.nanpercentile(v[1:], (2.5, 97.5)))] for name, v in values.items()
    }


def summaries(found: dict[tuple[str, str, int], dict[str, dict[str, np.ndarray]]]) -> dict:
    """What the record holds of the results of `measure`.

    Args:
        found: (network, condition, seed) -> result.

    Returns:
        Network -> condition -> measure -> group -> `summary`. Where a network was trained on both kinds of faces with
        the same seed, `GAIN` is one more condition: the difference of the two.
    """
    runs, results = defaultdict(dict), defaultdict(dict)
    for (model, condition, seed), values in found.items():
        runs[model, condition][seed] = values
        if condition == "masked" and (other := found.get((model, "unmasked", seed))):
            runs[model, GAIN][seed] = {
                name: {group: value - other[name][group] for group, value in groups.items()}
                for name, groups in values.items()
            }
    for (model, condition), seeds in runs.items():
        one = next(iter(seeds.values()))
        results[model][condition] = {
            name: {group: summary({seed: values[name][group] for seed, values in seeds.items()}) for group in groups}
            for name, groups in one.items()
        }
    return dict(results)


# ---- the record ---------------------------------------------------------------------------------------------------


def make_record(folders: Sequence[Path]) -> dict:
    """Tries the runs in these folders on MFR2.

    Raises:
        ValueError: the runs cannot be compared, or MFR2 is not as it should be.
        FileNotFoundError: MFR2 is not below MASKFR_DATA.
    """
    from . import loop, models

    start, runs, mfr2 = time.perf_counter(), load_runs(folders), paths.find_data("mfr2")
    common = next(iter(runs.values()))
    everybody = read_mfr2(mfr2)
    weights = {folder: folder / "model.safetensors" for folder in runs}
    known = overlap(everybody.people, models.load_model(next(iter(weights.values())))[1]["classes"])
    photos = everybody.only(~np.isin(everybody.people, known))
    drawn, bare = photos.images.copy(), ~photos.masked
    masks = mask_faces(drawn[bare], photos.landmarks[bare], style=common["params"]["style"])
    drawn[bare] = masks.images
    subsets = {"all photos": np.ones(len(drawn), bool), "detected faces": photos.detected}
    found = {name: {} for name in subsets}
    for folder, record in runs.items():
        model, header = models.load_model(weights[folder])
        if header["name"] != record["params"]["model"]:
            raise ValueError(f"{weights[folder]} is of {header['name']}, its record of {record['params']['model']}")
        embeddings = np.stack([embed(model, faces) for faces in (photos.images, drawn)])
        for name, keep in subsets.items():
            run = tuple(record["params"][key] for key in VARIED)
            found[name][run] = measure(embeddings[:, keep], photos.only(keep))
    return {
        "command": f"python -m maskfr_utils.transfer {' '.join(f'runs/{folder.name}' for folder in runs)}",
        "runs": {
            folder.name: {key: record["params"][key] for key in VARIED} | {"weights": digest(weights[folder])}
            for folder, record in runs.items()
        },
        "params": {k: v for k, v in common["params"].items() if k not in VARIED},
        "code": common["provenance"]["code"],
        "faces": common["provenance"]["data"],
        "left_out": {"people": len(known), "photos": len(everybody.people) - len(photos.people)},
        "masks_not_drawn": int((~masks.ok).sum()),
        "photos": {name: counts(photos.only(keep)) for name, keep in subsets.items()},
        "results": {name: summaries(values) for name, values in found.items()},
        "provenance": report.provenance(
            device=loop.device_name(next(model.parameters()).device),
            data=open_source(mfr2 / "mfr2_112.tar").fingerprint,
            seconds=time.perf_counter() - start,
            code_revision=report.code_revision(),
            pairs=digest(mfr2 / "pairs.csv"),
        ),
    }


def digest(path: Path) -> str:
    """16 hexadecimal digits of what is in a file."""
    return hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest()


def counts(photos: Photos) -> dict:
    """How many people, photos with and without a real mask, and pairs [of one person, of two people] there are."""
    pairs = {name: photos.group(name)[1] for name in PAIRS}
    return {
        "people": len(set(photos.people.tolist())),
        "masked": int(photos.masked.sum()),
        "unmasked": int((~photos.masked).sum()),
        "pairs": {name: [int(same.sum()), int((~same).sum())] for name, same in pairs.items()},
    }


# ---- what the chapter shows ---------------------------------------------------------------------------------------


def read(folder: str | Path | None = None) -> dict | None:
    """The record among the study's records in `folder` (default: the book's), or None where it has not been made."""
    path = Path(folder or paths.results_dir()) / RECORD
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def rows(record: dict, condition: str, subset: str = "all photos") -> pd.DataFrame:
    """IResNet-50's results, a line for each (measure, group): `value`, `low`, `high` as fractions, `seeds` of each."""
    found = record["results"][subset].get("iresnet50", {}).get(condition, {})
    lines = {
        (name, group): [*values["mean"], [v[0] for seed, v in values.items() if seed != "mean"]]
        for name, groups in found.items()
        for group, values in groups.items()
    }
    index = pd.MultiIndex.from_tuples(lines, names=["measure", "photos"])
    return pd.DataFrame([*lines.values()], index, ["value", "low", "high", "seeds"])


def table(record: dict, subset: str = "all photos") -> pd.DataFrame:
    """IResNet-50 trained on masked and on unmasked faces in percent, and what it gains by the first in points."""
    masked, unmasked, gain = (rows(record, condition, subset) for condition in ("masked", "unmasked", GAIN))
    columns = {
        "trained on masked, %": masked.apply(_share, axis=1),
        "trained on unmasked, %": unmasked.apply(_share, axis=1),
        "gain, points": gain.apply(_gain, axis=1),
        "gain by seed": gain["seeds"].map(lambda seeds: ", ".join(_signed(x) for x in seeds)),
    }
    return pd.DataFrame({title: column for title, column in columns.items() if len(column)})


def gains(record: dict) -> dict[str, pd.DataFrame]:
    """What IResNet-50 gains by training on masks, for `plots.estimates`; drawn masks stand below the real ones."""
    found, order = rows(record, GAIN), [*PROBES, "both masked", "both drawn", "one masked", "one drawn", "none drawn"]
    names = {"identification, rank 1": "rank 1", "verification, AUC": "AUC"}
    return {
        title: found.loc[name].loc[[group for group in order if group in found.loc[name].index]]
        for title, name in names.items()
        if name in found.index
    }


def in_words(record: dict) -> str:
    """What training on masks gives, with real masks and with drawn ones, as Markdown."""
    text, found, detected = [], rows(record, GAIN), rows(record, GAIN, "detected faces")
    lines = {
        ("rank 1", "real mask"): "Gain of masked training with real masks, identification",
        ("rank 1", "drawn mask"): "The same with drawn masks",
        ("AUC", "both masked"): "Gain of masked training with real masks on both photos, verification (AUC)",
        ("AUC", "both drawn"): "The same with drawn masks on both photos",
    }
    for line, title in lines.items():
        if line in found.index:
            row = found.loc[line]
            clear = row["low"] * row["high"] > 0 and len(set(np.sign(row["seeds"]))) == 1
            said = ("better" if row["value"] > 0 else "worse") if clear else "within noise"
            said += " in one seed" if clear and len(row["seeds"]) == 1 else ""
            text.append(f"- {title}: {_gain(row)} points, {said}.")
            if line in detected.index and line[1] in ("real mask", "both masked"):
                text[-1] += f" Without the photos whose face was guessed: {_gain(detected.loc[line])}."
    return "\n".join(text)


def _share(row: pd.Series) -> str:
    return f"{100 * row['value']:.1f} ({100 * row['low']:.1f}–{100 * row['high']:.1f})"


def _gain(row: pd.Series) -> str:
    return f"{_signed(row['value'])} ({_signed(row['low'])} to {_signed(row['high'])})"


def _signed(share: float) -> str:
    return f"{100 * share:+.1f}".replace("-", "−")


def made_with(record: dict | None) -> str:
    """What stands beside the table, as Markdown: photos, networks, and the command; or that there is no record yet."""
    if record is None:
        return "Not measured yet: `python -m maskfr_utils.transfer runs/...` does it from the runs of Table 1."
    photos, guessed = record["photos"]["all photos"], record["photos"]["detected faces"]
    params, left_out = record["params"], record["left_out"]
    runs = record["runs"].values()
    kinds = sorted({run["condition"] for run in runs})
    text = (
        f"*MFR2*: {photos['people']} people (without {left_out['people']} whom the networks were trained on), "
        f"{photos['masked']} photos with a real mask, {photos['unmasked']} without, {sum(photos['pairs']['all pairs'])} "
        f"pairs; in {photos['masked'] - guessed['masked']} photos the face was guessed. {len(runs)} networks trained on "
        f"{' or '.join(kinds)} faces of `{Path(params['dataset']).stem}`: width {params['width']}, {params['epochs']} "
        f"epochs, batch size {params['batch_size']}, seed {', '.join(str(s) for s in sorted({r['seed'] for r in runs}))}; "
        f"{record['provenance']['device']}. `{record['command']}` measures it again."
    )
    if record["code"] != study.code():
        text += " **The networks were trained by other code than is here now: run it again.**"
    return text


# ---- the command --------------------------------------------------------------------------------------------------


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m maskfr_utils.transfer", description="Try finished runs on photos of people with real masks."
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a finished run")
    parser.add_argument("--out", type=Path, default=paths.results_dir() / RECORD, help="the record to write")
    args = parser.parse_args(argv)
    try:
        record = make_record([folder.resolve() for folder in args.runs])
    except (ValueError, OSError) as error:
        print(f"maskfr_utils.transfer: {error}", file=sys.stderr)
        return 1
    report.write_json(args.out, record)
    print(table(record).to_string(), in_words(record), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
