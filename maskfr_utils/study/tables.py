"""The study's results as tables and sentences, all made from records; runs that are not there yet are shown as such."""

import itertools
import math
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from maskfr_utils import metrics
from maskfr_utils.names import REPORTED, TITLES
from maskfr_utils.study import plan, published, state, trials
from maskfr_utils.study.outcomes import Result, comparisons, courses, deviations, percent, points, results, specialists
from maskfr_utils.study.run import Run
from maskfr_utils.study.scales import SCALES

NOT_RUN = "not run yet"
FACES = {name: scale.faces for name, scale in SCALES.items()}
CHANGED = ("iresnet50", "ressanet50")  # the networks that each change of the recipe was tried with
QUESTION = (("ressanet50", "iresnet50"), ("ressanet100", "iresnet100"))  # all parts of ResSaNet: what the study asks
# The report's orderings: claim, the better, the worse; each a run's network and training condition, tested on the same.
CLAIMS = (
    (
        "IResNet-50 does better without masks than with them, each trained on its own kind",
        ("iresnet50", "unmasked"),
        ("iresnet50", "masked"),
    ),
    ("IResNet-50 beats ResNet-50", ("iresnet50", "masked"), ("resnet50", "masked")),
    ("IResNet-50 beats IResNet-100", ("iresnet50", "masked"), ("iresnet100", "masked")),
    ("ResSaNet-50 beats IResNet-50", ("ressanet50", "masked"), ("iresnet50", "masked")),
    ("ResSaNet-100 beats ResSaNet-50", ("ressanet100", "masked"), ("ressanet50", "masked")),
    ("ResSaNet-100 beats IResNet-50", ("ressanet100", "masked"), ("iresnet50", "masked")),
)
# What masks and training with them change: what is told, and two of (training, test) of IResNet-50, the first less the second.
EACH_ITS_OWN = "The report's comparison: each on its own kind"
COST, COST_TRAINED = "Cost of a mask, trained on unmasked", "Cost of a mask, trained on masked"
GAIN, GAIN_BARE = "Gain of masked training, on masked faces", "Gain of masked training, on unmasked faces"
BOTH = {
    "masked": "Trained on both against trained on masked, on masked faces",
    "unmasked": "Trained on both against trained on unmasked, on unmasked faces",
}
COSTS = {
    EACH_ITS_OWN: (("unmasked", "unmasked"), ("masked", "masked")),
    COST: (("unmasked", "unmasked"), ("unmasked", "masked")),
    COST_TRAINED: (("masked", "unmasked"), ("masked", "masked")),
    GAIN: (("masked", "masked"), ("unmasked", "masked")),
    GAIN_BARE: (("masked", "unmasked"), ("unmasked", "unmasked")),
    **{told: (("both", tested), (tested, tested)) for tested, told in BOTH.items()},
}


def _beside(column: dict[str, str], by_scale: dict[str, dict[str, Result]]) -> pd.DataFrame:
    """The report's values beside ours of each scale, a line each."""
    table = pd.DataFrame({"the report": column})
    for scale, ours in by_scale.items():
        table[FACES[scale]] = [str(ours[line]) if line in ours else NOT_RUN for line in column]
    return table


def by_seed(ours: Mapping[str, Result]) -> pd.DataFrame:
    """A line each: the accuracy of each seed, their deviation in points, and how much was learnt in the last epoch, percent."""
    spread = deviations(ours)
    rows = {
        name: {
            "accuracy by seed, %": result.each(),
            "deviation, points": f"{100 * spread[name]:.1f}" if name in spread else "",
            "training photos named correctly, %": f"{100 * result.learnt:.0f}",
        }
        for name, result in ours.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def table_1(folder: str | Path | None = None) -> pd.DataFrame:
    """The report's Table 1 beside ours: IResNet-50 trained on either kind of faces, or on both, and tested on both."""
    lines = {
        f"trained on {trained}, tested on {tested}": (trained, tested)
        for trained in ("unmasked", "masked", "both")
        for tested in ("unmasked", "masked")
    }
    theirs = {
        line: f"{100 * published.TABLE_1[tested]:.2f}%" if trained == tested else ""
        for line, (trained, tested) in lines.items()
    }
    ours = {}
    for scale in reversed(SCALES):
        by_twin = {tested: results("table_1", scale, folder, tested) for tested in ("unmasked", "masked")}
        ours[scale] = {
            line: by_twin[tested][run]
            for line, (trained, tested) in lines.items()
            if (run := Run(scale=scale, condition=trained)) in by_twin[tested]
        }
    return _beside(theirs, ours)


def table_2(folder: str | Path | None = None) -> pd.DataFrame:
    """The report's Table 2 beside ours: the networks trained and tested on masked faces."""
    theirs = {
        TITLES[model]: f"{100 * value:.2f}% (batch {batch})" for model, (value, batch) in published.TABLE_2.items()
    }
    return _beside(theirs, {scale: networks(scale, folder) for scale in reversed(SCALES)})


def networks(scale: str, folder: str | Path | None = None) -> dict[str, Result]:
    """Name of the network -> its result on masked faces (Table 2), in the report's order."""
    found = results("table_2", scale, folder)
    return {TITLES[m]: found[run] for m in published.TABLE_2 if (run := Run(scale=scale, model=m)) in found}


def tried(scale: str, folder: str | Path | None = None) -> dict[str, pd.DataFrame]:
    """The trials: network -> a table indexed by learning rate with `masked`, `unmasked`: accuracy on validation photos."""
    rows = defaultdict(dict)
    for run, record in state.load("tuning", scale, folder).items():
        rows[TITLES[run.model]][run.rate] = {name: score["accuracy"] for name, score in record["metrics"].items()}
    return {
        name: pd.DataFrame.from_dict(by_rate, orient="index").sort_index().rename_axis("learning rate")
        for name, by_rate in rows.items()
    }


def at_one_rate(scale: str, folder: str | Path | None = None) -> pd.Series:
    """Learning rate -> ResSaNet-50 less IResNet-50, a fraction of the masked validation photos; empty where one was not tried."""
    found = tried(scale, folder)
    ours, theirs = (
        found[TITLES[m]]["masked"] if TITLES[m] in found else pd.Series(dtype=float) for m in reversed(CHANGED)
    )
    return (ours - theirs).dropna()


def tuning_table(scale: str, folder: str | Path | None = None) -> pd.DataFrame:
    """The trials in percent of the masked validation photos; the rate that was chosen for each network, and what it gave."""
    table = pd.DataFrame({name: 100 * by_rate["masked"] for name, by_rate in tried(scale, folder).items()}).T
    rates = {TITLES[model]: rate for model, rate in trials.chosen(scale, folder).items()}
    words = table.map(lambda share: "" if np.isnan(share) else f"{share:.1f}")
    words.columns = [f"{rate:g}" for rate in table.columns]
    return words.assign(chosen=[f"{rates[name]:g}" if name in rates else "trials go on" for name in table.index])


def recipe_changes(scale: str, folder: str | Path | None = None) -> pd.DataFrame:
    """Each change of the recipe at its best rate, beside the recipe at its best: validation accuracy in percent."""
    rows: dict[str, dict[str, float]] = defaultdict(dict)
    for group in ("tuning", "changes"):
        for run, record in state.load(group, scale, folder).items():
            if run.model in CHANGED:
                best = rows[run.change or "the recipe"]
                name, score = TITLES[run.model], 100 * record["metrics"]["masked"]["accuracy"]
                best[name] = max(best.get(name, 0.0), score)
    return pd.DataFrame.from_dict(rows, orient="index")


def changing_places(scale: str, folder: str | Path | None = None) -> list[tuple[str, str]]:
    """Pairs of the report's networks of which one names more validation photos at one rate, and the other at another."""
    found = {name: by_rate["masked"] for name, by_rate in tried(scale, folder).items()}
    pairs = itertools.combinations([TITLES[model] for model in REPORTED if TITLES[model] in found], 2)
    apart = {(a, b): (found[a] - found[b]).dropna() for a, b in pairs}
    return [pair for pair, difference in apart.items() if difference.min() < 0 < difference.max()]


def changes_at_an_edge(scale: str, folder: str | Path | None = None) -> list[str]:
    """The changes of the recipe, each with a network, that are best at the lowest or the highest rate tried."""
    tried: dict[str, dict[float, float]] = defaultdict(dict)
    for run, record in state.load("changes", scale, folder).items():
        tried[f"`{run.change}` with {TITLES[run.model]}"][run.rate] = record["metrics"]["masked"]["accuracy"]
    return [name for name, by_rate in tried.items() if max(by_rate, key=by_rate.get) in (min(by_rate), max(by_rate))]


def curves(scale: str, folder: str | Path | None = None, group: str = "table_2") -> pd.DataFrame:
    """Accuracy on the masked validation photos by epoch (rows), mean over seeds of each network (columns)."""
    return courses({TITLES[run.model]: result for run, result in results(group, scale, folder).items()})


def by_time(scale: str, folder: str | Path | None = None) -> pd.DataFrame:
    """Accuracy on the masked validation photos at equal epochs and at equal time, a line a network.

    A network's time is that of its fastest run, beside which the least else ran on its machine. Equal time is that of the fastest network.

    Returns:
        Columns `minutes` a run, `accuracy` at its end, `epochs` that are whole at equal time, `by_then` the accuracy after them (NaN: none).
    """
    at, rows = curves(scale, folder), {}
    minutes = {
        name: min(record["provenance"]["seconds"] for record in result.records.values()) / 60
        for name, result in networks(scale, folder).items()
    }
    for name, own in minutes.items():
        epochs = int(len(at) * (min(minutes.values()) / own))  # of the fastest exactly all
        by_then = at[name].get(epochs, np.nan)
        rows[name] = {"minutes": own, "accuracy": at[name].iloc[-1], "epochs": epochs, "by_then": by_then}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["minutes", "accuracy", "epochs", "by_then"])


def ablation(scale: str, folder: str | Path | None = None) -> dict[str, Result]:
    """Name of the network -> its result on masked faces: IResNet-50, each part of ResSaNet alone, all of them."""
    found = results("ablation", scale, folder)
    return {TITLES[m]: found[run] for m in plan.ABLATION if (run := Run(scale=scale, model=m)) in found}


def parts(scale: str, folder: str | Path | None = None) -> pd.DataFrame:
    """What each part brings to IResNet-50, see `comparisons`."""
    ours = ablation(scale, folder)
    plain = TITLES["iresnet50"]
    pairs = {f"{name} − {plain}": (ours[name], ours[plain]) for name in ours if name != plain and plain in ours}
    return comparisons(pairs, planned=len(plan.ABLATION) - 1)


def figure_9_runs(scale: str) -> dict[str, list[Run]]:
    """Line of Figure 9 -> its runs by batch size, of one seed; the first and the last batch belong to several lines."""
    runs = sorted((run for run in plan.figure_9(scale) if run.seed == 0), key=lambda run: run.batch)
    plain = [run for run in runs if not run.scaled and not run.steps_of]
    return {
        "one rate": plain,
        "rate scaled with the batch": [plain[0], *(run for run in runs if run.scaled)],
        "one rate, as many steps": [*(run for run in runs if run.steps_of), plain[-1]],
    }


def figure_9(scale: str, folder: str | Path | None = None) -> dict[str, pd.DataFrame]:
    """Accuracy by batch size at one rate, at a rate scaled with the batch, and for as many steps as the largest takes.

    Returns:
        Line of the figure -> a table indexed by batch size with `accuracy`, `low`, `high`, `seeds`, `lr`, `steps`.
    """
    found, tables = results("figure_9", scale, folder), {}
    columns = ["accuracy", "low", "high", "seeds", "lr", "steps"]
    for name, runs in figure_9_runs(scale).items():
        rows = {
            run.batch: dict(
                zip(
                    columns,
                    (
                        found[run].mean,
                        *found[run].interval,
                        len(found[run].records),
                        found[run].one["params"]["lr"],
                        found[run].one["throughput"]["steps"],
                    ),
                    strict=True,
                )
            )
            for run in runs
            if run in found
        }
        tables[name] = pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("batch size")
    return tables


def batches_compared(scale: str, folder: str | Path | None = None) -> pd.DataFrame:
    """Each batch size of Figure 9 against the smallest of its line, where that was run, see `comparisons`."""
    found, pairs, planned = results("figure_9", scale, folder), {}, 0
    for name, (first, *rest) in figure_9_runs(scale).items():
        planned += len(rest)
        there = [run for run in rest if run in found and first in found]
        pairs |= {f"{name}: {run.batch} − {first.batch}": (found[run], found[first]) for run in there}
    return comparisons(pairs, planned)


def figure_9_table(scale: str, folder: str | Path | None = None) -> pd.DataFrame:
    """The numbers of `figure_9`: accuracy with its interval at each batch size; no line where nothing was run."""
    lines = figure_9(scale, folder)
    if not any(map(len, lines.values())):
        return pd.DataFrame(columns=list(lines))
    batches = pd.Index(SCALES[scale].batches, name="batch size")
    columns = {
        name: [
            NOT_RUN if np.isnan(a) else percent(a, low, high)
            for a, low, high in table.reindex(batches)[["accuracy", "low", "high"]].to_numpy(float)
        ]
        for name, table in lines.items()
    }
    return pd.DataFrame(columns, index=batches)


def pairs_of_networks(scale: str, folder: str | Path | None = None) -> pd.DataFrame:
    """All pairs of networks on masked faces, see `comparisons`; each pair in the report's order, its better one first.

    Those of `QUESTION` come first and are corrected for their own number; all others together; pairs that are not run yet count.
    """
    ours = networks(scale, folder)
    theirs = {TITLES[m]: value for m, (value, _) in published.TABLE_2.items()}
    order = sorted(ours, key=lambda name: -theirs[name])
    pairs = {pair: (ours[pair[0]], ours[pair[1]]) for pair in itertools.combinations(order, 2)}
    asked = {(TITLES[a], TITLES[b]) for a, b in QUESTION}
    others = math.comb(len(published.TABLE_2), 2) - len(asked)
    families = [
        comparisons({" − ".join(pair): pairs[pair] for pair in pairs if (pair in asked) == first}, planned)
        for first, planned in ((True, len(asked)), (False, others))
    ]
    return pd.concat([table for table in families if len(table)] or families[:1])


def disagreements(scale: str, folder: str | Path | None = None) -> np.ndarray:
    """How often two of our networks disagree, as a multiple of chance, of each pair and seed; 1 where none has run."""
    values = [
        metrics.disagreement(a.seeds({seed}).hits[0], b.seeds({seed}).hits[0])
        for a, b in itertools.combinations(networks(scale, folder).values(), 2)
        for seed in sorted(a.records.keys() & b.records.keys())
    ]
    return np.array(values or [1.0])


def published_differences(
    pairs: Mapping[str, tuple[float, float]], disagreement: float = 1.0, photos: int = published.TEST_PHOTOS
) -> pd.DataFrame:
    """Differences of the report's accuracies, each with the interval that its test set allows, and p of all after Holm.

    Args:
        pairs: a name -> two of its accuracies, fractions.
        disagreement: of two networks, see `metrics.disagreement`: the report does not tell it.
        photos: different photos in its test set.
    """
    table = pd.DataFrame.from_dict(pairs, orient="index", columns=["a", "b"])
    half = np.array([metrics.half_width(a, b, photos, disagreement) for a, b in pairs.values()])
    table["difference"] = table["a"] - table["b"]
    table["low"], table["high"] = table["difference"] - half, table["difference"] + half
    table["p, Holm"] = metrics.holm(2 * stats.norm.sf(metrics.Z * table["difference"].abs() / np.maximum(half, 1e-9)))
    said = np.where(table["difference"] > 0, "better", "worse")
    table["verdict"] = np.where(table["p, Holm"] < 0.05, said, "undecided")
    return table.drop(columns=["a", "b"])


def published_pairs(disagreement: float = 1.0, photos: int = published.TEST_PHOTOS) -> pd.DataFrame:
    """All pairs of networks in the report's Table 2, see `published_differences`; the better one first."""
    order = sorted(published.TABLE_2.items(), key=lambda item: -item[1][0])
    pairs = {f"{TITLES[a]} − {TITLES[b]}": (x, y) for (a, (x, _)), (b, (y, _)) in itertools.combinations(order, 2)}
    return published_differences(pairs, disagreement, photos)


def claim_tables(folder: str | Path | None = None) -> dict[str, pd.DataFrame]:
    """The report's orderings as differences, by its own numbers and by ours at each scale; p corrected for their number, run or not."""
    values = {(model, "masked"): value for model, (value, _) in published.TABLE_2.items()}
    values["iresnet50", "unmasked"] = published.TABLE_1["unmasked"]
    pairs = {claim: (values[a], values[b]) for claim, a, b in CLAIMS}
    found = {"the report": published_differences(pairs, np.nanmedian(disagreements(disagreeing(folder), folder)))}
    for scale in reversed(SCALES):
        ours = specialists(scale, folder)
        pairs = {claim: (ours[a], ours[b]) for claim, a, b in CLAIMS if a in ours and b in ours}
        found[FACES[scale]] = comparisons(pairs, planned=len(CLAIMS))
    return found


def trained_and_tested(scale: str, folder: str | Path | None = None) -> dict[tuple[str, str], Result]:
    """(training, test) of IResNet-50 -> its result, of Table 1's conditions."""
    return {
        (run.condition, tested): result
        for tested in ("unmasked", "masked")
        for run, result in results("table_1", scale, folder, tested).items()
    }


def costs(scale: str, folder: str | Path | None = None) -> pd.DataFrame:
    """What masks cost IResNet-50 and training with them brings, a line each of `COSTS`, see `comparisons`."""
    found = trained_and_tested(scale, folder)
    pairs = {told: (found[a], found[b]) for told, (a, b) in COSTS.items() if a in found and b in found}
    return comparisons(pairs, planned=len(COSTS))


def disagreeing(folder: str | Path | None = None) -> str:
    """The scale whose networks disagree most, by the median: what it makes of the report's intervals is the widest."""
    medians = {each: np.nanmedian(disagreements(each, folder)) for each in SCALES if len(networks(each, folder)) > 1}
    return max(medians, key=medians.get, default=next(iter(SCALES)))


def claims(folder: str | Path | None = None) -> pd.DataFrame:
    """The table of `claim_tables` in words: `holds` and `the opposite` are said only of what is beyond noise."""
    columns = {}
    for name, table in claim_tables(folder).items():
        good = "beyond noise" if name == "the report" else "holds"
        columns[name] = {
            claim: row["verdict"].replace("better", good).replace("worse", "the opposite")
            + f": {points(row['difference'], row['low'], row['high'])}"
            for claim, row in table.iterrows()
        }
    return pd.DataFrame(columns, index=[claim for claim, _, _ in CLAIMS]).fillna(NOT_RUN)


def result_table(records: dict[str, dict]) -> pd.DataFrame:
    """One row a run: masked and unmasked test accuracy in percent with its 95% interval, and what it was made with.

    Args:
        records: name of the run -> its record.
    """

    def share(scores: dict) -> str:
        return percent(*(scores[name] for name in ("accuracy", "accuracy_low", "accuracy_high")))

    rows = {
        name: {
            "masked": share(r["metrics"]["masked"]),
            "unmasked": share(r["metrics"]["unmasked"]),
            **({"real masks": share(r["metrics"]["worn"])} if "worn" in r["metrics"] else {}),
            "test photos": r["metrics"]["masked"]["photos"],
            "trained on": r["params"]["condition"],
            "width": r["params"]["width"],
            "epochs": r["params"]["epochs"],
            "images/s": round(r["throughput"]["train_images_per_second"], 1),
            "minutes": round(r["provenance"]["seconds"] / 60, 1),
        }
        for name, r in records.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")
