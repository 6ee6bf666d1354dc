"""What runs did that differ in their seed only, and how they differ from others: accuracies, comparisons, words for both."""

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from maskfr_utils import metrics
from maskfr_utils.names import NETWORKS
from maskfr_utils.study import state
from maskfr_utils.study.run import Run
from maskfr_utils.study.scales import SCALES
from maskfr_utils.verdicts import SEEDS, Comparison, compare, over_seeds_and_people

YAWS = {"under 10°": (0, 10), "10 to 20°": (10, 20), "20 to 30°": (20, 30), "30° and more": (30, 91)}


def who(record: Mapping, labels: np.ndarray | None = None) -> np.ndarray:
    """(N,) integers, who is on each photo of a record, or on photos with these labels: rendered people of other seeds are other people."""
    params = record["params"]
    seed = params["seed"] if params["data_seed"] is None else params["data_seed"]
    labels = np.array(record["photos"]["label"], int) if labels is None else labels
    return labels + 10**6 * (params["dataset"] == "demo") * seed


@dataclass(frozen=True)
class Result:
    """What runs that differ in their seed only did with the same test photos.

    Attributes:
        records: seed -> record.
        tested: which twin of each photo is looked at, `masked` or `unmasked`.
    """

    records: Mapping[int, dict]
    tested: str

    @property
    def one(self) -> dict:
        """One of the records, for what they share."""
        return next(iter(self.records.values()))

    def photos(self, name: str) -> list[np.ndarray]:
        """Of each seed (N,) `label`, `mask` or `yaw` of each photo; seeds may be tested on other photos."""
        return [np.array(record["photos"][name]) for record in self.records.values()]

    @property
    def people(self) -> list[np.ndarray]:
        """Of each seed (N,) who is on each photo: rendered people of other seeds are other people."""
        return [who(record) for record in self.records.values()]

    @cached_property
    def ranks(self) -> list[np.ndarray]:
        """Of each seed (N,) the place of the right identity among all, 1 where the run names the photo correctly."""
        return self.photos(f"{self.tested}_rank")

    @property
    def hits(self) -> list[np.ndarray]:
        """Of each seed (N,) bool, whether the run names a photo correctly."""
        return [ranks == 1 for ranks in self.ranks]

    @cached_property
    def estimate(self) -> Comparison:
        """The accuracy over seeds and people."""
        return over_seeds_and_people(self.hits, self.people)

    @property
    def by_seed(self) -> tuple[float, ...]:
        """The accuracy of each run."""
        return self.estimate.by_seed

    @property
    def mean(self) -> float:
        """Accuracy, mean over seeds."""
        return self.estimate.value

    @property
    def interval(self) -> tuple[float, float]:
        """Its 95% interval over seeds and people; with fewer than three seeds over people alone."""
        return clipped(self.estimate)

    @property
    def learnt(self) -> float:
        """Share of the training photos named correctly during the last epoch, mean over seeds: of the twin it trains on.

        nan where a run left the numbers in its first epoch.
        """
        last = [record["history"][-1:] for record in self.records.values()]
        return float(np.mean([epoch[0]["train_accuracy"] if epoch else np.nan for epoch in last]))

    def metric(self, name: str) -> float:
        """Mean over seeds of a value in the records' metrics."""
        return float(np.mean([record["metrics"][self.tested][name] for record in self.records.values()]))

    def seeds(self, seeds: set[int]) -> "Result":
        """The same of these seeds only."""
        return replace(self, records={seed: self.records[seed] for seed in sorted(seeds)})

    def __str__(self) -> str:
        return percent(self.mean, *self.interval)

    def each(self) -> str:
        """The accuracy of each seed in percent."""
        return ", ".join(f"{100 * accuracy:.1f}" for accuracy in self.by_seed)


def results(
    group: str | None, scale: str, folder: str | Path | None = None, tested: str = "masked"
) -> dict[Run, Result]:
    """A group's results by what was run: the runs with seed 0 stand for all their seeds. What has no record is not in it.

    Args:
        group: name of a group of `study`, or None for all runs.
        scale: one of `SCALES`.
        folder: of the records; default: the book's.
        tested: which twin of each test photo.
    """
    found = defaultdict(dict)
    for run, record in state.load(group, scale, folder).items():
        found[replace(run, seed=0)][run.seed] = record
    return {run: Result(records, tested) for run, records in found.items()}


def courses(found: Mapping[str, Result]) -> pd.DataFrame:
    """Accuracy on the masked validation photos by epoch (rows), mean over seeds of each result (columns).

    A result one of whose runs left the numbers before its end has no course.
    """
    scores = {
        name: [[epoch["masked"] for epoch in record["history"]] for record in result.records.values()]
        for name, result in found.items()
    }
    longest = max((len(run) for runs in scores.values() for run in runs), default=0)
    means = {name: np.mean(runs, axis=0) for name, runs in scores.items() if {len(run) for run in runs} == {longest}}
    return pd.DataFrame(means, index=pd.RangeIndex(1, 1 + len(next(iter(means.values()), [])), name="epoch"))


def specialists(scale: str, folder: str | Path | None = None) -> dict[tuple[str, str], Result]:
    """(network, condition) -> its result where it is tested on what it was trained on, by the recipe and at its tuned rate."""
    found = {}
    for model, condition in itertools.product(NETWORKS, ("masked", "unmasked")):
        runs = [Run(scale=scale, model=model, condition=condition, seed=seed) for seed in range(SCALES[scale].seeds)]
        records = {run.seed: record for run in runs if (record := state.record_of(run, folder))}
        if records:
            found[model, condition] = Result(records, condition)
    return found


def by_group(result: Result, groups: list[np.ndarray], names: list[str]) -> pd.DataFrame:
    """Accuracy in each group of the test photos, with its 95% interval over seeds and people.

    Args:
        result: of some runs.
        groups: of each seed (N,) the group of each photo.
        names: the groups to show, in order; those that are not in every seed's photos are left out.
    """
    rows = {}
    for name in names:
        inside = [group == name for group in groups]
        if all(some.any() for some in inside):
            parts = ([x[some] for x, some in zip(xs, inside, strict=True)] for xs in (result.hits, result.people))
            found = over_seeds_and_people(*parts)
            photos = round(np.mean([some.sum() for some in inside]))
            low, high = clipped(found)
            rows[name] = {"accuracy": found.value, "low": low, "high": high, "photos": photos}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["accuracy", "low", "high", "photos"])


def yaw_groups(yaw: np.ndarray) -> np.ndarray:
    """(N,) names of `YAWS` for (N,) degrees to either side."""
    turned = np.abs(yaw)
    inside = [(low <= turned) & (turned < high) for low, high in YAWS.values()]
    return np.select(inside, list(YAWS), default="unknown")


def comparisons(pairs: Mapping[str, tuple[Result, Result]], planned: int = 0) -> pd.DataFrame:
    """Each pair compared on the same photos of the seeds that both have; p corrected for the number of pairs.

    Args:
        pairs: a name -> the two results; those without a common seed are left out.
        planned: how many pairs there will be, where some are not run yet: p is corrected for these, too, so that no
            *better* and no *worse* is taken back when they come.

    Returns:
        A line a pair: `difference`, `low`, `high` (fractions; interval over seeds and people), `seeds` (the difference of
        each), `p`, `p, Holm`, and the `verdict`, see `verdicts`.
    """
    compared = {}
    for name, (a, b) in pairs.items():
        if common := a.records.keys() & b.records.keys():
            a, b = a.seeds(common), b.seeds(common)
            compared[name] = compare(a.hits, b.hits, a.people)
    return with_verdicts(compared, planned)


def with_verdicts(compared: Mapping[str, Comparison], planned: int = 0) -> pd.DataFrame:
    """Comparisons that are made together as a table, see `comparisons`."""
    corrected = holm_of_planned([c.p for c in compared.values()], planned)
    rows = {
        name: {
            "difference": c.value,
            "low": c.low,
            "high": c.high,
            "seeds": c.by_seed,
            "p": c.p,
            "p, Holm": adjusted,
            "verdict": c.verdict(adjusted),
        }
        for (name, c), adjusted in zip(compared.items(), corrected, strict=True)
    }
    columns = ["difference", "low", "high", "seeds", "p", "p, Holm", "verdict"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def holm_of_planned(p: Sequence[float], planned: int) -> np.ndarray:
    """p (tests,) after Holm for as many tests as are planned: those that are not made yet count as 1, a nan as none."""
    missing = max(planned - int(np.isfinite(p).sum()), 0)
    return metrics.holm([*p, *[1.0] * missing])[: len(p)]


def with_enough_seeds(table: pd.DataFrame) -> pd.DataFrame:
    """The lines of a table of `comparisons` that have the seeds that a verdict takes."""
    return table[table["seeds"].map(len) >= SEEDS]


def in_points(table: pd.DataFrame) -> pd.DataFrame:
    """A table of `comparisons` for the eye: differences in percentage points, p to two digits."""
    return pd.DataFrame(
        {
            "difference, points": [points(d, low, high) for d, low, high in table.iloc[:, :3].to_numpy(float)],
            "verdict": table["verdict"],  # soon, where a phone still shows it
            "p": table["p"].map(_p),
            "p, Holm": table["p, Holm"].map(_p),
            "by seed": [", ".join(signed(d) for d in seeds) for seeds in table["seeds"]],
        },
        index=table.index,
    )


def clipped(accuracy: Comparison) -> tuple[float, float]:
    """The 95% interval of an accuracy: Student's t, from which it comes, knows no 0 and no 1."""
    return max(accuracy.low, 0.0), min(accuracy.high, 1.0)


def percent(share: float, low: float, high: float) -> str:
    """A share and its interval, in percent."""
    return f"{100 * share:.1f}% ({100 * low:.1f}–{100 * high:.1f})"


def points(difference: float, low: float, high: float) -> str:
    """A difference of shares and its interval, in percentage points."""
    return f"{signed(difference)} ({signed(low)} to {signed(high)})"


def signed(difference: float) -> str:
    """A difference of shares in percentage points, with its sign; 0.0 has none."""
    told = f"{100 * difference:+.1f}"
    return told[1:] if told in ("+0.0", "-0.0") else told.replace("-", "−")


def span(low: str, high: str) -> str:
    """A range in words; of two that are told alike one."""
    return low if low == high else f"{low} to {high}"


def extremes(groups: pd.DataFrame, value: str = "accuracy") -> str:
    """The lowest and the highest of some groups of photos, and whether their intervals touch; nothing of fewer than two.

    Args:
        groups: a line a group: the value, `low`, `high`, fractions.
        value: name of its column.
    """
    if len(groups) < 2:
        return ""
    if groups[value].nunique() == 1:
        return "the same in all"
    low, high = groups[value].astype(float).idxmin(), groups[value].astype(float).idxmax()
    told = [f"{name} ({percent(*groups.loc[name, [value, 'low', 'high']].astype(float))})" for name in (low, high)]
    apart = groups.loc[low, "high"] < groups.loc[high, "low"]
    return f"lowest {told[0]}, highest {told[1]}; these intervals {'do not touch' if apart else 'overlap'}"


def listed(words: Sequence[str]) -> str:
    """One, one and two, or one, two and three."""
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def _p(p: float) -> str:
    if np.isnan(p):
        return ""
    return f"{p:.3f}" if p >= 0.001 else "<\N{NO-BREAK SPACE}0.001"


def deviations(results: Mapping[str, Result]) -> dict[str, float]:
    """Standard deviation of the accuracy over seeds of each of some results that have two seeds or more.

    Each by itself: networks that learn slowly vary more than the others.
    """
    return {name: float(np.std(r.by_seed, ddof=1)) for name, r in results.items() if len(r.by_seed) > 1}
