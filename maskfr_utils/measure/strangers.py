"""People whom a network has never seen: pairs told apart, people found among the enrolled, strangers noticed.

    python -m maskfr_utils.measure.strangers runs/RUN runs/RUN backbone.pth ...

Takes whatever `recognise` takes: folders of runs, weights of arcface_torch's, ONNX. Runs that differ in their seed only
are one network. On rendered people, and on `lfw`, `mfr2` and `glint24` where they lie below MASKFR_DATA. People whom one of
the networks was trained on are left out of all sets, by name. Intervals and verdicts are those of `verdicts`, over seeds
and people drawn anew, the same ones for every network, so that differences are paired.
"""

import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from maskfr_utils import devices, metrics, paths
from maskfr_utils.faces.people import OVERLAP, same_people
from maskfr_utils.measure import picture_sets, stranger_details
from maskfr_utils.measure.picture_sets import PictureSet
from maskfr_utils.measure.recognition import classes_of
from maskfr_utils.measure.record import comparison, estimate, made, parser, percent, status
from maskfr_utils.metrics import Draws
from maskfr_utils.names import TITLES
from maskfr_utils.recognise import Embedder, load_embedder
from maskfr_utils.records import read_record, write_json
from maskfr_utils.study.outcomes import points, span
from maskfr_utils.verdicts import RESAMPLES

RECORD = Path("recognise") / "strangers.json"  # below the records of the study
COMMAND = "python -m maskfr_utils.measure.strangers"
VERIFICATION = {"accuracy": "ten folds", "TAR@FAR 1%": 0.01, "TAR@FAR 0.1%": 0.001, "EER": None, "AUC": None}
ALARMS = {"DIR@FPIR 1%": 0.01, "DIR@FPIR 10%": 0.1}
COMPARED = ("accuracy", "rank 1")  # measures by which networks are compared
NO_RECIPE = ("seed", "data_seed", "out_dir", "resume")  # parameters that make no other network
LEAST_PEOPLE = 4  # in a set
MOST_ENROLLED, MOST_PROBES = 3, 10  # photos of a person
Values = dict[tuple[str, str, str], np.ndarray]  # (set, what is worn, measure) -> (1 + resamples,) values


@dataclass(frozen=True)
class Network:
    """A network to try.

    Attributes:
        label: what it is; networks that differ in their seed only share it.
        seed: of its training; 0 where unknown.
        embedder: itself.
        classes: the people whom it was trained on, as far as they are known.
        source: name of the run or file.
    """

    label: str
    seed: int
    embedder: Embedder
    classes: tuple[str, ...]
    source: str = ""


def load_networks(sources: Sequence[Path]) -> list[Network]:
    """The networks of runs and files of weights, on the GPU where there is one.

    Raises:
        OSError: no such file.
        ValueError: it is no network, or two of one label and seed.
    """
    found = []
    for source, label, params in zip(sources, *_labels(sources), strict=True):
        embedder = load_embedder(source)
        if torch.cuda.is_available():
            embedder.model.cuda()
        classes = tuple(classes_of(str(source)))
        found.append(Network(label or embedder.title, params.get("seed", 0), embedder, classes, source.name))
    names = [(network.label, network.seed) for network in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"two networks are {twice[0]} of seed {twice[1]}: name each once")
    return found


def _labels(sources: Sequence[Path]) -> tuple[list[str], list[dict]]:
    """What each run is called, "" where it is no run, and its parameters: network and condition, and what else tells apart those alike in both."""
    files = [source / "record.json" for source in sources]
    params = [read_record(file)["params"] if file.is_file() else {} for file in files]
    titles = [f"{TITLES[p['model']]} trained on {p['condition']}" if p else "" for p in params]
    labels = []
    for title, mine in zip(titles, params, strict=True):
        alike = [p for p, other in zip(params, titles, strict=True) if other == title]
        differ = [key for key in mine if key not in NO_RECIPE and any(p.get(key) != mine[key] for p in alike)]
        names = {p["dataset"]: Path(str(p["dataset"])).name for p in alike if "dataset" in p}
        unlike = len(set(names.values())) == len(names)  # sets made anew are all called faces.tar
        told = (names[mine[key]] if key == "dataset" and unlike else mine[key] for key in differ)
        labels.append(", ".join([title, *(f"{key} {value}" for key, value in zip(differ, told, strict=True))]))
    return labels, params


def load_sets(names: Sequence[str] | None) -> list[PictureSet]:
    """The sets of these names, or all that are here; `FileNotFoundError` where a named one is not."""
    found = [picture_sets.rendered()] if names is None or "rendered" in names else []
    for name, read in picture_sets.READERS.items():
        try:
            folder = paths.find_data(name) if names is None or name in names else None
        except FileNotFoundError:
            if names is not None:
                raise
            continue
        found += [read(folder)] if folder else []
    return found


def unseen(pictures: PictureSet, networks: Sequence[Network]) -> tuple[PictureSet, int]:
    """The set without the people whom a network was trained on, and how many these are."""
    key = same_people(paths.data_dir() / OVERLAP)
    known = {key(name) for network in networks for name in network.classes}
    keep = np.array([key(name) not in known for name in pictures.people])
    return pictures.only(keep), len(set(pictures.people[~keep]))


def worn_pairs(pictures: PictureSet) -> dict[str, tuple[np.ndarray, tuple[int, int]]]:
    """What is worn -> which pairs (m,) bool, and on which of the two photos a mask is drawn."""
    real = pictures.worn[pictures.pairs].sum(1)
    every = np.ones(len(real), bool)
    if real.any():
        return {
            "all pairs": (every, (0, 0)),
            "real mask on one": (real == 1, (0, 0)),
            "real masks on both": (real == 2, (0, 0)),
        }
    return {"no mask": (every, (0, 0)), "mask on one": (every, (0, 1)), "masks on both": (every, (1, 1))}


def scored(embeddings: np.ndarray, pictures: PictureSet) -> stranger_details.Scored:
    """What is worn -> the pairs that are tried, their cosines, and where masks are drawn; only those of both kinds in enough folds."""
    found = {}
    for name, (chosen, (first, second)) in worn_pairs(pictures).items():
        a, b = pictures.pairs[chosen].T
        same = pictures.people[a] == pictures.people[b]
        if min(same.sum(), (~same).sum()) >= 10 and len(set(pictures.folds[chosen])) > 1:
            scores = np.einsum("md,md->m", embeddings[first, a], embeddings[second, b])
            found[name] = pictures.pairs[chosen], scores, (first, second)
    return found


def verify(embeddings: np.ndarray, pictures: PictureSet, draws: Draws) -> Values:
    """Accuracy over folds, TAR at FAR, EER and AUC of each kind of pairs; embeddings (2, n, d).

    A rate that is less than one of the pairs of two people cannot be told from none, and is left out.
    """
    found = {}
    for name, (pairs, scores, _) in scored(embeddings, pictures).items():
        first, second = pictures.people[pairs].T
        same, weights = first == second, draws.pairs(first, second)
        folds = pictures.folds[worn_pairs(pictures)[name][0]]
        values = {
            "accuracy": metrics.share(metrics.fold_accuracy(scores, same, folds).hits, weights),
            "EER": metrics.equal_error_rate(scores, same, weights),
            "AUC": metrics.auc(scores, same, weights),
        }
        for measure, far in VERIFICATION.items():
            if isinstance(far, float) and far * (~same).sum() >= 1:
                values[measure] = metrics.tar_at_far(scores, same, far, weights)
        found |= {(pictures.name, name, measure): values[measure] for measure in VERIFICATION if measure in values}
    return found


def roles(pictures: PictureSet) -> dict[str, tuple[np.ndarray, np.ndarray, int, int]]:
    """Who is looked for where: what is worn -> photos enrolled and probed (indices), and whether masks are drawn on either.

    With real masks the photos with one are probed and those without enrolled, or the other way round. Else a person's first
    photos, up to three and at most half, are enrolled and up to ten others probed. People without both are left out.
    """
    if pictures.worn.any():
        bare, worn = np.flatnonzero(~pictures.worn), np.flatnonzero(pictures.worn)
        found = {"bare, real mask probed": (bare, worn, 0, 0), "real mask, bare probed": (worn, bare, 0, 0)}
    else:
        people = pd.Series(pictures.people)
        number, count = people.groupby(people).cumcount().to_numpy(), people.map(people.value_counts()).to_numpy()
        enrolled = np.minimum(MOST_ENROLLED, count // 2)
        known = np.flatnonzero(number < enrolled)
        later = np.flatnonzero((number >= enrolled) & (number < enrolled + MOST_PROBES) & (count > 1))
        names = {"bare, bare probed": (0, 0), "bare, masked probed": (0, 1), "masked, bare probed": (1, 0)}
        found = {name: (known, later, *drawn) for name, drawn in names.items()}
    both = {name: np.intersect1d(pictures.people[k], pictures.people[p]) for name, (k, p, *_) in found.items()}
    return {
        f"enrolled {name}": tuple(at[np.isin(pictures.people[at], both[name])] for at in (k, p)) + (a, b)
        for name, (k, p, a, b) in found.items()
        if len(both[name]) >= LEAST_PEOPLE
    }


def identify(embeddings: np.ndarray, pictures: PictureSet, draws: Draws) -> Values:
    """Rank 1 and 5 among all, and with one half of the people enrolled, then the other, the rate of the open set.

    A rate of false alarms that is less than one of either half's probes is left out.
    """
    found = {}
    for name, (known, probes, drawn_known, drawn_probes) in roles(pictures).items():
        names, owner = np.unique(pictures.people[known], return_inverse=True)
        right = np.searchsorted(names, pictures.people[probes])
        scores = metrics.person_scores(embeddings[drawn_known, known], owner, embeddings[drawn_probes, probes])
        places, weights = metrics.ranks(scores, right), draws.photos(pictures.people[probes])
        values = {f"rank {k}": metrics.share(places <= k, weights) for k in (1, 5)}
        fewest = min(np.bincount(right % 2, minlength=2))
        for measure, alarms in ALARMS.items():
            if alarms * fewest < 1:
                continue
            halves = []
            for half in (0, 1):
                here, mine = np.arange(half, len(names), 2), right % 2 == half
                among = scores[:, here]
                halves.append(
                    metrics.detection_and_identification(
                        among[mine], right[mine] // 2, among[~mine], alarms, (weights[:, mine], weights[:, ~mine])
                    )
                )
            values[measure] = np.mean(halves, 0)
        found |= {(pictures.name, name, measure): value for measure, value in values.items()}
    return found


def summaries(found: Mapping[str, Mapping[int, Values]]) -> dict[str, dict]:
    """What the record holds of the values by label and seed: means over seeds, and differences to the first label at common seeds.

    Returns:
        `networks` and `differences`, each label -> set -> what is worn -> measure -> `value`, `low`, `high`, `seeds` and `p`.
    """
    summary = {"networks": {}, "differences": {}}
    first = next(iter(found))
    for label, seeds in found.items():
        summary["networks"][label] = _tree(
            {key: [v[key] for v in seeds.values()] for key in next(iter(seeds.values()))}
        )
        common = sorted(seeds.keys() & found[first].keys())
        if label == first or not common:
            continue
        pairs = [(seeds[seed], found[first][seed]) for seed in common]
        chosen = [key for key in pairs[0][0] if key[2] in COMPARED]
        summary["differences"][label] = _tree({key: [a[key] - b[key] for a, b in pairs] for key in chosen})
    return summary


def _tree(values: Mapping[tuple[str, str, str], list[np.ndarray]]) -> dict:
    tree = defaultdict(lambda: defaultdict(dict))
    for (name, worn, measure), by_seed in values.items():
        tree[name][worn][measure] = estimate(np.array(by_seed))
    return {name: dict(by) for name, by in tree.items()}


def make_record(networks: Sequence[Network], names: Sequence[str] | None = None) -> dict:
    """Tries networks on sets; errors are those of `load_sets` and the readers, or that a set has too few people."""
    started = time.perf_counter()
    sets, left_out = [], {}
    for pictures in load_sets(names):
        some, left_out[pictures.name] = unseen(pictures.without_pictures(), networks)
        if len(set(some.people)) >= LEAST_PEOPLE:
            sets.append((pictures, some, np.isin(pictures.people, some.people)))
    if not sets:
        raise ValueError(f"no set with {LEAST_PEOPLE} people whom none of the networks knows: name other sets")
    found, details = defaultdict(dict), {}
    bar = tqdm(total=len(networks) * len(sets), unit="set")
    for network in networks:
        bar.set_description(f"{network.label}, seed {network.seed}")
        values, embedded = {}, {}
        for pictures, some, keep in sets:
            embedded[some.name] = picture_sets.embed(network.embedder, pictures)[:, keep]
            draws = Draws(some.people, RESAMPLES)
            values |= verify(embedded[some.name], some, draws) | identify(embedded[some.name], some, draws)
            bar.update()
        found[network.label][network.seed] = values
        if network.label not in details:  # of its first seed
            pairs = {some.name: (some, scored(embedded[some.name], some)) for _, some, _ in sets}
            details[network.label] = stranger_details.details(pairs, RESAMPLES)
    bar.close()
    return {
        "runs": [network.source for network in networks],
        "seeds": {label: sorted(seeds) for label, seeds in found.items()},
        "fingerprints": {f"{n.label}, seed {n.seed}": n.embedder.fingerprint for n in networks},
        "people_known": {label: len({c for n in networks if n.label == label for c in n.classes}) for label in found},
        "left_out": left_out,
        "sets": {some.name: _counts(some) for _, some, _ in sets},
        **summaries(found),
        "details": details,
        "provenance": made(
            started,
            device=devices.device_name(networks[0].embedder.device),
            data=" ".join(f"{pictures.name} {pictures.content}" for pictures, _, _ in sets),
        ),
    }


def _counts(pictures: PictureSet) -> dict[str, object]:
    same = pictures.people[pictures.pairs[:, 0]] == pictures.people[pictures.pairs[:, 1]]
    return {
        "people": len(set(pictures.people)),
        "photos": len(pictures.people),
        "pairs": [int(same.sum()), int((~same).sum())],
        "worn": {
            name: [int((same & chosen).sum()), int((~same & chosen).sum())]
            for name, (chosen, _) in worn_pairs(pictures).items()
        },
        "identification": {
            name: {"people": len(set(pictures.people[k])), "enrolled": len(k), "probes": len(p)}
            for name, (k, p, *_) in roles(pictures).items()
        },
    }


def table(record: dict, name: str, measures: Sequence[str]) -> pd.DataFrame:
    """Of a set, percent with intervals: a line for each network and what is worn, a column for each measure that is there."""
    rows = {}
    for label, by_set in record["networks"].items():
        for worn, found in by_set.get(name, {}).items():
            told = {m: percent(found[m]) for m in measures if m in found}
            if told:
                rows[label, worn] = told
    return pd.DataFrame.from_dict(rows, orient="index")


def answer(record: dict) -> str:
    """How well the networks tell strangers apart, in a few sentences: with drawn masks, with real ones, and by thresholds of others."""
    first, compared = next(iter(record["networks"])), differences(record)
    said, worn = _decided(record, compared), record["networks"][first].get("mfr2", {})
    pairs = record.get("sets", {}).get("mfr2", {}).get("worn", {}).get("real masks on both")
    guess = f" (a guess: {max(pairs) / sum(pairs):.0%})" if pairs else ""
    real = [
        f"{word} {percent(worn[kind][measure], '%')} of MFR2's {what}"
        for kind, measure, word, what in (
            ("real masks on both", "accuracy", "decides", f"pairs correctly{guess}"),
            ("enrolled bare, real mask probed", "rank 1", "names", "probes, of people who were enrolled bare"),
        )
        if kind in worn
    ]
    if real:
        said.append(f"With real masks, {first} {' and '.join(real)}.")
    passed = []  # of sets of real people; the chapter's table has the rendered ones beside them
    for source, by_target in record["details"][first]["carried"].items():
        for target, found in by_target.items():
            one, other = (kind.split(",")[0] for kind in (source, target))
            if one != other and "rendered" not in (one, other) and found["threshold"] < 1:  # 1: too few pairs to tell
                passed.append(100 * found["FAR"]["value"])
    if passed:
        said.append(
            "A threshold that accepts at most 1% of one set's pairs of two people accepts, of another set of real people,"
            f" {span(f'{min(passed):.1f}', f'{max(passed):.1f}')}% (one network, one seed)."
        )
    return " ".join(said)


def _decided(record: dict, compared: pd.DataFrame) -> list[str]:
    """What share of LFW's pairs each network decides correctly, and which are beyond noise from the first where masks are drawn."""
    masked, first = "masks on both", next(iter(record["networks"]))
    found = {
        label: [f"{100 * by['lfw'][worn]['accuracy']['value']:.1f}%" for worn in ("no mask", masked)]
        for label, by in record["networks"].items()
        if masked in by.get("lfw", {})
    }
    if first not in found:
        return []
    (_, (plain, worn)), *others = found.items()
    told = [
        f"{first} decides {plain} of LFW's pairs correctly without masks (a guess: 50%), and {worn} with masks drawn on both"
    ]
    told += [f"{label} {plain} and {worn}" for label, (plain, worn) in others]
    apart = [
        f"{label} ({row['difference, points']} points)"
        for (label, where, measure), row in compared.iterrows()
        if (where, measure) == ("lfw", f"accuracy, {masked}") and row["verdict"] in ("better", "worse")
    ]
    beyond = [f"With masks, {' and '.join(apart)} differ{'s' * (len(apart) == 1)} from {first} beyond noise."]
    return [f"{'; '.join(told)}.", *(beyond if apart else [])]


def differences(record: dict) -> pd.DataFrame:
    """How much better than the first network each other is, in points, with p after Holm and a verdict."""
    rows = {}
    for label, by_set in record["differences"].items():
        for name, by_worn in by_set.items():
            for worn, found in by_worn.items():
                rows |= {(label, name, f"{measure}, {worn}"): one for measure, one in found.items()}
    one = [comparison(row) for row in rows.values()]
    corrected = metrics.holm([c.p for c in one])
    told = {
        key: {
            "difference, points": points(c.value, c.low, c.high),
            "p, Holm": "" if np.isnan(p) else f"{p:.3f}",
            "verdict": c.verdict(p),
        }
        for key, c, p in zip(rows, one, corrected, strict=True)
    }
    return pd.DataFrame.from_dict(told, orient="index", columns=["difference, points", "p, Holm", "verdict"])


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    arguments = parser("strangers", __doc__, paths.results_dir() / RECORD)
    arguments.add_argument("networks", nargs="+", type=Path, metavar="NETWORK", help="a run's folder, or its weights")
    known = ["rendered", *picture_sets.READERS]
    arguments.add_argument("--sets", nargs="+", choices=known, help="people to try (default: all that are here)")
    args = arguments.parse_args(argv)

    def run() -> None:
        record = make_record(load_networks([source.resolve() for source in args.networks]), args.sets)
        write_json(args.out, record)
        for name in record["sets"]:
            for measures in (VERIFICATION, ("rank 1", "rank 5", *ALARMS)):
                if len(shown := table(record, name, list(measures))):
                    print(name, shown.to_string(), sep="\n")

    return status("strangers", run)


if __name__ == "__main__":
    sys.exit(main())
