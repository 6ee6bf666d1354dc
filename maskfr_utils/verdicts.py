"""Whether one recogniser is better than another: differences paired within a seed and a photo, over seeds and people.

Two things must not be taken for a difference of networks: the luck of a seed (initial weights, order, split) and the luck
of the people who are tested. Student's t over the differences of the seeds answers for the first, a bootstrap over people
within the seeds for the second. A verdict needs both, and three seeds; the interval given is the wider of the two at
either end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import stats

SEEDS = 3  # fewer allow no verdict
RESAMPLES = 2000


@dataclass(frozen=True)
class Comparison:
    """A mean over seeds, of accuracies or of differences of two recognisers' accuracies; fractions.

    Attributes:
        value: the mean over seeds.
        low, high: its 95% interval over seeds and people; with fewer than `SEEDS` seeds over people alone.
        by_seed: the value of each seed.
        p: of the value being 0: the larger of both ways; nan with fewer than `SEEDS` seeds.
    """

    value: float
    low: float
    high: float
    by_seed: tuple[float, ...]
    p: float

    def verdict(self, p: float | None = None) -> str:
        """`better`, `worse`, `undecided`, or `undecided (n of 3 seeds)` where too few were run.

        Args:
            p: this comparison's p after correction for how many are made together; default: as it is.
        """
        if len(self.by_seed) < SEEDS:
            return f"undecided ({len(self.by_seed)} of {SEEDS} seeds)"
        if (self.p if p is None else p) >= 0.05 or self.low <= 0 <= self.high:
            return "undecided"
        return "better" if self.value > 0 else "worse"


def over_seeds_and_people(
    values: Sequence[np.ndarray], people: Sequence[np.ndarray], *, resamples: int = RESAMPLES, seed: int = 0
) -> Comparison:
    """The mean over seeds of some value of each photo, with an interval that answers for seeds and people.

    Args:
        values: of each seed (N,) hits, or the difference of two recognisers' hits, of its test photos; N may differ.
        people: of each seed (N,) who is on the photo; one who is tested in several seeds has one name in all.
        resamples: draws of the bootstrap.
        seed: of the bootstrap.

    Raises:
        ValueError: no seed, or shapes that do not fit.
    """
    if not values or [np.shape(v) for v in values] != [np.shape(p) for p in people] or not all(map(len, values)):
        raise ValueError("a value and a person of each photo of each seed, please, and at least one photo")
    by_seed = np.array([np.mean(v) for v in values], float)
    return from_draws(by_seed, _of_other_people(values, people, resamples, seed))


def from_draws(by_seed: np.ndarray, drawn: np.ndarray) -> Comparison:
    """The same of values that are no means over photos.

    Args:
        by_seed: (seeds,) the value of each seed, at least one.
        drawn: (resamples,) the mean over seeds with people drawn anew, see `drawn_anew`.
    """
    low, high = np.percentile(drawn, (2.5, 97.5))
    p = float("nan")
    if len(by_seed) >= SEEDS:
        error = by_seed.std(ddof=1) / np.sqrt(len(by_seed))
        half = stats.t.ppf(0.975, len(by_seed) - 1) * error
        low, high = min(low, by_seed.mean() - half), max(high, by_seed.mean() + half)
        t = abs(by_seed.mean()) / error if error else (np.inf if by_seed.mean() else 0.0)
        tail = min((drawn <= 0).mean(), (drawn >= 0).mean())
        p = max(2 * stats.t.sf(t, len(by_seed) - 1), min(1.0, 2 * max(tail, 1 / len(drawn))))
    return Comparison(float(by_seed.mean()), float(low), float(high), tuple(by_seed.tolist()), float(p))


def compare(
    a: Sequence[np.ndarray], b: Sequence[np.ndarray], people: Sequence[np.ndarray], *, resamples: int = RESAMPLES
) -> Comparison:
    """How much more often `a` is right than `b`.

    Args:
        a, b: of each seed (N,) bool, whether a run of that seed names each photo rightly; the same photos for both.
        people: of each seed (N,) who is on the photo.
        resamples: draws of the bootstrap.

    Raises:
        ValueError: seeds or photos that do not fit.
    """
    if [np.shape(x) for x in a] != [np.shape(x) for x in b]:
        raise ValueError(f"photos differ: {[np.shape(x) for x in a]} and {[np.shape(x) for x in b]}")
    differences = [np.asarray(x, float) - np.asarray(y, float) for x, y in zip(a, b, strict=True)]
    return over_seeds_and_people(differences, people, resamples=resamples)


@lru_cache(maxsize=8)  # some megabytes each; a chapter compares many runs on the same people
def drawn_anew(people: int, resamples: int = RESAMPLES, *, seed: int = 0) -> np.ndarray:
    """The bootstrap over people of all intervals here: how often each is drawn when as many are, with replacement.

    Args:
        people: their number.
        resamples: draws.
        seed: of the draws; the same seed and number of people give the same draws, so that differences are paired.

    Returns:
        (resamples, people) integers, each row with the sum `people`; not to be changed.
    """
    drawn = np.random.default_rng(seed).multinomial(people, np.full(people, 1 / people), resamples)
    drawn.flags.writeable = False
    return drawn


def _of_other_people(
    values: Sequence[np.ndarray], people: Sequence[np.ndarray], resamples: int, seed: int
) -> np.ndarray:
    """The mean over seeds (resamples,) when people are drawn anew: each with all his or her photos of all seeds."""
    names, index = np.unique(np.concatenate(people), return_inverse=True)
    ends = np.cumsum([len(v) for v in values])[:-1]
    sums, counts = [], []
    for value, who in zip(values, np.split(index, ends), strict=True):
        sums.append(np.bincount(who, np.asarray(value, float), len(names)))
        counts.append(np.bincount(who, minlength=len(names)))
    times = drawn_anew(len(names), resamples, seed=seed)
    sums, counts = times @ np.array(sums).T, times @ np.array(counts).T
    # A seed of which nobody was drawn says nothing; somebody of some seed always is.
    return np.nanmean(np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0), axis=1)
