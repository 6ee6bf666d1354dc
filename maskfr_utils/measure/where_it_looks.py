"""Which part of a face networks look at, with a mask and without: maps averaged over people, and their shares by part.

    python -m maskfr_utils.measure.where_it_looks runs/RUN runs/RUN ...

On people whom no network has seen: rendered ones, or those of `lfw` (`--set lfw`). Of each person one photo is looked at, as
it is and with a mask drawn on; what counts is its likeness to his or her other photos. Aligned faces have their eyes, nose
and mouth at the same places, so that maps are averaged as they are; the shares of the parts go by each face's own
landmarks. Networks that differ in their seed only are one. Intervals are those of `verdicts`, over seeds and people.
"""

import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from maskfr_utils import devices, paths
from maskfr_utils.attribution import attention, gradient_times_activation, occlusion
from maskfr_utils.faces.regions import EYES, REGIONS, regions
from maskfr_utils.measure.picture_sets import PictureSet
from maskfr_utils.measure.record import estimate, made, parser, percent, status
from maskfr_utils.measure.strangers import Network, load_networks, load_sets, unseen
from maskfr_utils.metrics import Draws, share
from maskfr_utils.records import write_json
from maskfr_utils.verdicts import RESAMPLES, SEEDS

RECORD = Path("recognise") / "where_it_looks.json"  # below the records of the study
COMMAND = "python -m maskfr_utils.measure.where_it_looks"
TWINS = ("without a mask", "with a mask")
WAYS = ("occlusion", "gradient times activation")
LAYER = "layer2"  # whose output has 28 x 28 places
SQUARE, STRIDE = 16, 8  # pixels, of occlusion
GRID = 28  # rows and columns of a map in the record
PEOPLE, PHOTOS = 30, 4  # who are looked at, and photos of each, one of which is


def chosen(pictures: PictureSet, people: int) -> PictureSet:
    """Four photos of each of the first so many people who have as many and on whose first a mask could be drawn."""
    number = pd.Series(pictures.people).groupby(pictures.people).cumcount().to_numpy()
    names, counts = np.unique(pictures.people, return_counts=True)
    drawn = pictures.people[(number == 0) & np.isfinite(pictures.covered)]
    able = names[(counts >= PHOTOS) & np.isin(names, drawn)][:people]
    if len(able) < 2:
        raise ValueError(f"{pictures.name}: {len(able)} people with {PHOTOS} photos, expected 2 at least")
    return pictures.only(np.isin(pictures.people, able) & (number < PHOTOS))


def maps(network: Network, pictures: PictureSet) -> dict[str, dict[str, np.ndarray]]:
    """Of each twin of each person's first photo the maps (people, 112, 112), by twin and way."""
    first, embedder = _first(pictures), network.embedder
    names = pictures.people[first]
    others = np.delete(np.arange(len(pictures.people)), first)
    known = embedder(pictures.images[others])
    reference = np.array([known[pictures.people[others] == name].mean(0) for name in names])
    reference /= np.linalg.norm(reference, axis=1, keepdims=True)
    found = {}
    for twin, images in zip(TWINS, (pictures.images, pictures.twins), strict=True):
        faces, fill = images[first], images.mean(0).round().astype(np.uint8)
        found[twin] = {WAYS[0]: occlusion(embedder, faces, reference, fill=fill, size=SQUARE, stride=STRIDE).clip(0)}
        if any(name == LAYER for name, _ in embedder.model.named_modules()):  # not so in ONNX
            parts = np.array_split(np.arange(len(faces)), -(-len(faces) // 16))
            done = [gradient_times_activation(embedder.model, faces[p], reference[p], LAYER) for p in parts]
            found[twin][WAYS[1]] = np.concatenate(done)
    return found


def _first(pictures: PictureSet) -> np.ndarray:
    return np.sort(np.unique(pictures.people, return_index=True)[1])


def shares(found: np.ndarray, landmarks: np.ndarray) -> dict[str, np.ndarray]:
    """The share (n,) of each map (n, 112, 112) that lies in each part of its face; landmarks (n, 68, 2)."""
    inside = [regions(points) for points in landmarks]
    total = np.maximum(found.sum((1, 2)), 1e-12)
    return {
        name: np.array([one[where[name]].sum() for one, where in zip(found, inside, strict=True)]) / total
        for name in REGIONS
    }


def looked_at(network: Network, pictures: PictureSet) -> dict[str, dict]:
    """twin -> way -> `map` (28, 28), the mean over people of maps that sum to 1, and `parts`, name -> (1 + resamples,) shares; and `attention`."""
    first = _first(pictures)
    weights = Draws(pictures.people, RESAMPLES).photos(pictures.people[first])
    result: dict[str, dict] = {}
    for twin, by_way in maps(network, pictures).items():
        result[twin] = {}
        for way, found in by_way.items():
            small = found.reshape(len(found), GRID, found.shape[1] // GRID, GRID, -1).sum((2, 4))
            mean = (small / np.maximum(small.sum((1, 2), keepdims=True), 1e-12)).mean(0)
            by_part = shares(found, pictures.landmarks[first])
            result[twin][way] = {"map": mean, "parts": {name: share(x, weights) for name, x in by_part.items()}}
        images = (pictures.images, pictures.twins)[TWINS.index(twin)][first]
        result[twin]["attention"] = {
            name: found.mean((0, 2)).reshape(found.shape[1], *_square(found.shape[-1]))
            for name, found in attention(network.embedder.model, images).items()
        }
    return result


def _square(places: int) -> tuple[int, int]:
    side = round(places**0.5)
    return side, side


def make_record(sources: Sequence[Path], name: str = "rendered", people: int = PEOPLE) -> dict:
    """Looks at networks; errors are those of `strangers.load_networks` and `strangers.load_sets`, or too few people."""
    started, networks = time.perf_counter(), load_networks(sources)
    (everybody,) = load_sets([name])
    some, left_out = unseen(everybody, networks)
    pictures = chosen(some, people)
    found = defaultdict(list)
    for network in tqdm(networks, unit="network"):
        found[network.label].append(looked_at(network, pictures))
    area = [regions(points) for points in pictures.landmarks[_first(pictures)]]
    return {
        "runs": [source.name for source in sources],
        "set": name,
        "people": len(set(pictures.people)),
        "left_out": left_out,
        "seeds": {label: sorted(n.seed for n in networks if n.label == label) for label in found},
        "area": {part: round(float(np.mean([one[part].mean() for one in area])), 4) for part in REGIONS},
        "networks": {label: _over_seeds(seeds) for label, seeds in found.items()},
        "provenance": made(
            started,
            device=devices.device_name(networks[0].embedder.device),
            data=f"{everybody.name} {everybody.content}",
        ),
    }


def _over_seeds(seeds: Sequence[dict]) -> dict:
    """Maps as whole numbers, the largest 999; shares with their intervals."""
    told: dict[str, dict] = {}
    for twin in TWINS:
        told[twin] = {}
        for way in (way for way in WAYS if way in seeds[0][twin]):
            each = [seed[twin][way] for seed in seeds]
            told[twin][way] = {
                "map": _whole(np.mean([one["map"] for one in each], 0)),
                "parts": {part: estimate(np.array([one["parts"][part] for one in each])) for part in REGIONS},
            }
        told[twin]["attention"] = {
            name: [_whole(head) for head in heads] for name, heads in seeds[0][twin]["attention"].items()
        }  # of the first seed: another's heads are other heads
    return told


def _whole(values: np.ndarray) -> list[list[int]]:
    return np.round(999 * values / max(values.max(), 1e-12)).astype(int).tolist()


def parts(record: dict, way: str, part: str) -> dict[str, pd.DataFrame]:
    """twin -> a line for each network: `share` of the maps that lies in a part, `low` and `high`."""
    rows = {
        twin: {label: by[twin][way]["parts"][part] for label, by in record["networks"].items() if way in by[twin]}
        for twin in TWINS
    }
    columns = {"value": "share"}
    return {
        twin: pd.DataFrame.from_dict(lines, orient="index", columns=["value", "low", "high"]).rename(columns=columns)
        for twin, lines in rows.items()
    }


def table(record: dict, way: str) -> pd.DataFrame:
    """Shares in percent with intervals: a line for each network and twin, a column for each part, the area above all."""
    rows = {("area of the picture", ""): {part: f"{100 * x:.1f}" for part, x in record["area"].items()}}
    for label, by_twin in record["networks"].items():
        for twin in TWINS:
            if way in by_twin[twin]:
                rows[label, twin] = {part: percent(x) for part, x in by_twin[twin][way]["parts"].items()}
    return pd.DataFrame.from_dict(rows, orient="index")


def answer(record: dict) -> str:
    """Where training on masked faces makes a network look more or less, in words: what both maps show beyond their intervals."""
    said = []
    for label in record["networks"]:
        name, _, trained = label.partition(" trained on ")
        other = f"{name} trained on unmasked"
        if trained != "masked" or other not in record["networks"]:
            continue
        sides = {(part, twin): _sides(record, label, other, part, twin) for part in record["area"] for twin in TWINS}
        few = (seeds := min(len(record["seeds"][each]) for each in (label, other))) < SEEDS
        eyes = [f"{twin} ({words})" for (part, twin), (side, words) in sides.items() if part == EYES and side > 0]
        eyes = [] if few else eyes  # else they are the verdict, and told there
        changes = {
            way: [
                f"the {part} {twin} ({words})"
                for (part, twin), (side, words) in sides.items()
                if side == way and not (eyes and part == EYES and way > 0)
            ]
            for way in (1, -1)
        }
        verdict = f"Yes for {name}: {' and '.join(eyes)}" if eyes else f"Not shown for {name}"
        if few:
            verdict = f"Undecided for {name} ({seeds} of {SEEDS} seeds)"
        nowhere = f"at no {'other ' * bool(eyes)}part more or less"
        told = [f"{word} at {' and '.join(changes[way])}" for way, word in ((-1, "less"), (1, "more")) if changes[way]]
        said.append(
            f"{verdict}. Trained on masked faces instead of bare ones it looks"
            f" {', and '.join(told) or nowhere}, by both maps and beyond their intervals. {_eyes(record, label, other)}"
            f" {_shift(record, label, other)}"
        )
    return " ".join(said)


def _sides(record: dict, label: str, other: str, part: str, twin: str) -> tuple[int, str]:
    """Whether one network's maps have more (1) or less (-1) in a part than another's, both beyond their intervals; and the shares."""
    ours, theirs = ([parts(record, way, part)[twin].loc[each] for way in WAYS] for each in (label, other))
    more = all(a["low"] > b["high"] for a, b in zip(ours, theirs, strict=True))
    less = all(a["high"] < b["low"] for a, b in zip(ours, theirs, strict=True))
    words = f"{100 * ours[0]['share']:.0f}% against {100 * theirs[0]['share']:.0f}% by {WAYS[0]}"
    return more - less, words


def _eyes(record: dict, label: str, other: str) -> str:
    """How much of either network's maps lies on eyes and brows of bare faces."""
    told = []
    for way in WAYS:
        found = parts(record, way, EYES)[TWINS[0]]
        ours, theirs = (
            f"{100 * row['share']:.0f}% ({100 * row['low']:.0f}–{100 * row['high']:.0f})"
            for row in (found.loc[label], found.loc[other])
        )
        told.append(f"{ours} of the maps by {way} against {theirs}")
    return f"Eyes and brows, {100 * record['area'][EYES]:.0f}% of the picture, hold {TWINS[0]} {', and '.join(told)}."


def _shift(record: dict, label: str, other: str) -> str:
    """The part of bare faces whose share of the first kind of map differs most between two networks."""
    found = {part: parts(record, WAYS[0], part)[TWINS[0]]["share"] for part in record["area"]}
    most = max(found, key=lambda part: abs(found[part][label] - found[part][other]))
    ours, theirs = (f"{100 * found[most][each]:.0f}%" for each in (label, other))
    return f"By {WAYS[0]}, what differs most is *{most}*: {ours} against {theirs}."


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    arguments = parser("where_it_looks", __doc__, paths.results_dir() / RECORD)
    arguments.add_argument("networks", nargs="+", type=Path, metavar="NETWORK", help="a run's folder, or its weights")
    arguments.add_argument("--set", choices=("rendered", "lfw"), default="rendered", help="whose faces are looked at")
    arguments.add_argument("--people", type=int, default=PEOPLE, help=f"how many (default: {PEOPLE})")
    args = arguments.parse_args(argv)

    def run() -> None:
        record = make_record([source.resolve() for source in args.networks], args.set, args.people)
        write_json(args.out, record)
        print(*(f"{way}\n{table(record, way).to_string()}" for way in WAYS), sep="\n")

    return status("where_it_looks", run)


if __name__ == "__main__":
    sys.exit(main())
