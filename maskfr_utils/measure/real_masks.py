"""What training on drawn masks gives on real ones: runs of the study on MFR2, people whom they have never seen.

    python -m maskfr_utils.measure.real_masks runs/RUN runs/RUN ...

Needs MFR2 (Anwar and Raychowdhury 2020) below MASKFR_DATA, and the folders of finished runs that differ in condition and
seed only. Embeddings are compared by their cosine, without mirror images. As a yardstick the photos without masks are
also tried with masks drawn on them as in training; only people who have photos of both kinds count. Intervals and verdicts
are those of `verdicts`, over seeds and people drawn anew, the same ones for every run, so that differences are paired.
"""

import itertools
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from maskfr_utils import devices, fingerprint, masks, models, paths
from maskfr_utils.faces.people import plain
from maskfr_utils.faces.sources import open_source
from maskfr_utils.measure import mfr2
from maskfr_utils.measure.mfr2 import Photos
from maskfr_utils.measure.record import comparison, estimate, made, parser, percent, status
from maskfr_utils.metrics import Draws, auc, holm, share
from maskfr_utils.names import TITLES
from maskfr_utils.probes.runs import of_run
from maskfr_utils.recognise import Embedder
from maskfr_utils.records import read_record, write_json
from maskfr_utils.study import plan, state
from maskfr_utils.study.outcomes import points, signed
from maskfr_utils.study.run import Run
from maskfr_utils.verdicts import RESAMPLES, SEEDS, from_draws

RECORD = Path("masks") / "real_masks.json"  # below the records of the study
COMMAND = "python -m maskfr_utils.measure.real_masks"
LEAST = 2  # photos with and without a real mask that each person has who is compared
# Probes of identification by whether they wear a real mask, and whether one is drawn.
PROBES = {"real mask": (True, 0), "drawn mask": (False, 1), "no mask": (False, 0)}


def on_both_sides(photos: Photos, among: np.ndarray) -> np.ndarray:
    """Which photos `among` (n,) bool are of people who have `LEAST` with a real mask and as many without: (n,) bool.

    Else real and drawn masks would be tried on different people.
    """
    _, person = np.unique(photos.people, return_inverse=True)
    worn, bare = (np.bincount(person, which & among) for which in (photos.masked, ~photos.masked))
    return among & (np.minimum(worn, bare) >= LEAST)[person]


def groups(photos: Photos) -> dict[str, tuple[np.ndarray, np.ndarray, tuple[int, int]]]:
    """Pairs to verify: group -> photos (k, 2), whether of one person (k,), and on which of the two a mask is drawn.

    Masks are drawn on all pairs of photos without one: of those among MFR2's own, only eight are of one person.
    """
    worn, bare = photos.masked[photos.pairs].sum(1), np.flatnonzero(~photos.masked)
    every = bare[np.stack(np.triu_indices(len(bare), 1), 1)]
    found = {
        "both masked": (photos.pairs[worn == 2], (0, 0)),
        "both drawn": (every, (1, 1)),
        "one masked": (photos.pairs[worn == 1], (0, 0)),
        "one drawn": (every, (1, 0)),
        "none drawn": (every, (0, 0)),
    }
    return {name: (p, photos.people[p[:, 0]] == photos.people[p[:, 1]], drawn) for name, (p, drawn) in found.items()}


def counts(photos: Photos) -> dict[str, int | list[int]]:
    """People, photos with and without a real mask, those of the first whose face was `guessed`, and by group the pairs [of one person, of two people]."""
    found = {"people": len(set(photos.people)), "masked": int(photos.masked.sum()), "bare": int((~photos.masked).sum())}
    found["guessed"] = int((photos.masked & ~photos.detected).sum())
    return found | {name: [int(same.sum()), int((~same).sum())] for name, (_, same, _) in groups(photos).items()}


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


def measure(embeddings: np.ndarray, photos: Photos, *, seed: int = 0) -> dict[str, np.ndarray]:
    """Rank 1 of each kind of probes and AUC of each group of pairs; `embeddings` as in `rank_1`.

    Returns:
        Measure -> (1 + resamples,) values: as it is, and with people drawn anew. A pair of two people counts as the
        product of how often they are drawn (the pigeonhole bootstrap, Owen 2007), a pair of one as often as he or she is.
    """
    draws, found = Draws(photos.people, RESAMPLES, seed=seed), {}
    for probes in PROBES:
        probe, hits = rank_1(embeddings, photos, probes)
        found[f"rank 1, {probes}"] = share(hits, draws.photos(photos.people[probe]))
    for group, (pairs, same, drawn) in groups(photos).items():
        a, b = pairs.T
        scores = (embeddings[drawn[0], a] * embeddings[drawn[1], b]).sum(1)
        found[f"AUC, {group}"] = auc(scores, same, draws.pairs(photos.people[a], photos.people[b]))
    return found


def summaries(found: Mapping[tuple[str, int], Mapping[str, np.ndarray]]) -> dict[str, dict[str, dict]]:
    """What the record holds of the results of `measure` by (condition, seed).

    Returns:
        `masked`, `unmasked` or `gain`, their difference -> measure -> `value`, `low`, `high` and `p` of the mean over seeds,
        as in `verdicts.Comparison`, and the value of each of the `seeds`; `p` is None with too few of them.
    """
    seeds, summary = sorted({seed for _, seed in found}), defaultdict(dict)
    for name in next(iter(found.values())):
        masked, unmasked = (np.array([found[c, seed][name] for seed in seeds]) for c in ("masked", "unmasked"))
        for condition, values in {"masked": masked, "unmasked": unmasked, "gain": masked - unmasked}.items():
            summary[condition][name] = estimate(values)
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
    names = [
        Run(scale=f.name, model=r["params"]["model"], condition=c, seed=s)
        for f, r, (c, s) in zip(folders, records, runs, strict=True)
    ]
    problems = state.inconsistencies(dict(zip(names, records, strict=True)))
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


def make_record(folders: Sequence[Path]) -> dict:
    """Tries the runs in these folders on MFR2; errors are those of `load_runs`, `mfr2.read` and `paths.find_data`."""
    started, runs, folder = time.perf_counter(), load_runs(folders), paths.find_data("mfr2")
    params, everybody = recipe(next(iter(runs.values()))), mfr2.read(folder)
    networks = [models.load_model(folder / "model.safetensors") for folder in folders]
    classes = {plain(name) for name in networks[0][1]["classes"]}
    known = np.array([plain(name) in classes for name in everybody.people])
    photos = everybody.only(~known)
    drawn, bare = photos.images.copy(), ~photos.masked
    drawn[bare] = masks.mask_faces(drawn[bare], photos.landmarks[bare], style=params["style"]).images
    subsets = {"all photos": np.ones(len(drawn), bool), "detected faces": photos.detected}
    subsets = {name: on_both_sides(photos, among) for name, among in subsets.items()}
    for name, keep in subsets.items():
        if not keep.any():
            raise ValueError(
                f"{folder}: of nobody are there {LEAST} photos with a real mask and {LEAST} without ({name})"
            )
    found = {name: {} for name in subsets}
    for run, (model, _) in zip(runs, networks, strict=True):
        embedder = Embedder(model)
        embeddings = np.stack([embedder(faces) for faces in (photos.images, drawn)])
        for name, keep in subsets.items():
            found[name][run] = measure(embeddings[:, keep], photos.only(keep))
    return {
        "runs": [folder.name for folder in folders],
        "params": params,
        "seeds": sorted({seed for _, seed in runs}),
        "left_out": len(set(everybody.people[known])),
        "least": LEAST,
        "photos": {name: counts(photos.only(keep)) for name, keep in subsets.items()},
        "results": {name: summaries(values) for name, values in found.items()},
        "provenance": made(
            started,
            device=devices.device_name(torch.device("cpu")),
            data=open_source(mfr2.lies_in(folder)).fingerprint,
            networks=next(iter(runs.values()))["provenance"]["fingerprint"],
        ),
    }


def results(record: dict, condition: str, subset: str = "all photos") -> pd.DataFrame:
    """Of a condition (`masked`, `unmasked`, `gain`): a line a measure with `value`, `low`, `high` and `seeds`."""
    return pd.DataFrame.from_dict(record["results"][subset][condition], orient="index")


def table(record: dict) -> pd.DataFrame:
    """Masked and unmasked training in percent, and what the first gains in points."""
    columns = {}
    for condition in ("masked", "unmasked"):
        columns[f"trained on {condition}, %"] = [percent(row) for _, row in results(record, condition).iterrows()]
    gain = results(record, "gain")
    columns["gain, points"] = [points(*row) for row in gain[["value", "low", "high"]].to_numpy()]
    columns["gain by seed"] = [", ".join(map(signed, seeds)) for seeds in gain["seeds"]]
    found = [comparison(row) for _, row in gain.iterrows()]
    corrected = holm(gain["p"].astype(float))
    columns["p, Holm"] = ["" if np.isnan(p) else f"{p:.3f}" for p in corrected]
    columns["verdict"] = [one.verdict(p) for one, p in zip(found, corrected, strict=True)]
    return pd.DataFrame(columns, gain.index)


def in_words(record: dict) -> str:
    """What masked training gains with real masks and with drawn ones, as Markdown."""

    def gain(measure: str, subset: str = "all photos") -> str:
        return points(*results(record, "gain", subset).loc[measure, ["value", "low", "high"]])

    return "\n".join(
        f"- On new people, training on drawn masks gains {gain(real)} points of {name} with real masks, and {gain(drawn)} with"
        f" drawn ones. Without the photos whose face was guessed: {gain(real, 'detected faces')}."
        for name, real, drawn in (
            ("rank 1", "rank 1, real mask", "rank 1, drawn mask"),
            ("AUC", "AUC, both masked", "AUC, both drawn"),
        )
    )


def without_guessed(record: dict) -> str:
    """What the gains are where only photos count on which the detector found the face."""
    detected = results(record, "gain", "detected faces")[["value", "low", "high"]]
    real, drawn = (points(*detected.loc[f"rank 1, {kind} mask"]) for kind in ("real", "drawn"))
    return f"Without photos whose face was guessed, the gain of rank 1 is {real} with real masks and {drawn} with drawn ones."


def answer(record: dict) -> str:
    """Whether drawn masks stand in for real ones, by what training on drawn ones gains with either."""
    gains = results(record, "gain")
    real, drawn = (gains.loc[f"rank 1, {kind} mask"] for kind in ("real", "drawn"))
    share = real["value"] / drawn["value"] if drawn["value"] > 0 else np.nan
    parts = {
        -0.1: "not at all",
        0.1: "hardly at all",
        0.35: "by less than half",
        0.65: "by about half",
        0.9: "for the most part",
        np.inf: "in full",
    }
    how = next((words for most, words in parts.items() if share <= most), "in a way that these numbers do not tell")
    seeds = np.subtract(drawn["seeds"], real["seeds"])
    more = from_draws(seeds, seeds.mean(keepdims=True))  # the record holds no draws of people for it
    apart = f" (the difference, over seeds alone: {points(more.value, more.low, more.high)})" * (len(seeds) >= SEEDS)
    either = [points(*row[["value", "low", "high"]]) for row in (real, drawn)]
    told = table(record)
    unsure = [kind for kind in ("real", "drawn") if told.loc[f"rank 1, {kind} mask", "verdict"].startswith("undecided")]
    which = "neither gain is" if len(unsure) == 2 else f"the gain with {''.join(unsure)} masks is not"
    return (
        f"{'Whether drawn masks stand in for real ones is not decided' if unsure else f'Here drawn masks stand in for real ones {how}'}: on new people, training on drawn"
        f" masks gains {either[0]} points of rank 1 with real masks, and {either[1]} with drawn ones"
        f"{apart}{f', and after correction {which} beyond noise' if unsure else ''}."
    )


def made_with(record: dict | None) -> str:
    """What stands beside the table, as Markdown: photos, networks, and the command; or that there is no record yet."""
    if record is None:
        return f"Not measured yet: `{COMMAND} runs/...` does it from the runs of Table 1."
    photos, params = record["photos"]["all photos"], record["params"]
    command = " ".join([COMMAND, *(f"runs/{Path(run).name}" for run in record["runs"])])
    text = (
        f"*MFR2*: {photos['people']} people (without {record['left_out']} whom the networks were trained on), "
        f"{photos['masked']} photos with a real mask, {photos['bare']} without, {sum(photos['both masked'])} and "
        f"{sum(photos['one masked'])} pairs with one on both or on one; in {photos['guessed']} photos with a mask "
        f"the face was guessed, as no detector was sure of one. {TITLES[params['model']]} trained on "
        f"`{Path(params['dataset']).stem}`: width "
        f"{params['width']}, {params['epochs']} epochs, batch size {params['batch_size']}, seed "
        f"{', '.join(map(str, record['seeds']))}; {record['provenance']['device']}. `{command}` measures it again."
    )
    moved = fingerprint.moved(
        record["provenance"]["networks"], fingerprint.numbers(of_run(params | {"condition": "masked"}))
    )
    return text + (" **The networks are of older code: run it again.**" if moved else "")


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    arguments = parser("real_masks", __doc__, paths.results_dir() / RECORD)
    arguments.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a finished run")
    args = arguments.parse_args(argv)

    def run() -> None:
        record = make_record([folder.resolve() for folder in args.runs])
        write_json(args.out, record)
        print(table(record).to_string(), in_words(record), sep="\n")

    return status("real_masks", run)


if __name__ == "__main__":
    sys.exit(main())
