"""Intervals over people: what is measured is measured again with other people, drawn from those that there are."""

import numpy as np

from maskfr_utils.verdicts import RESAMPLES, drawn_anew


class Draws:
    """How often each person counts: once, and in each further draw as often as he or she is drawn.

    Two `Draws` of the same people, number and seed are the same, so that differences are paired.

    Args:
        people: names, in any order and number.
        resamples: draws.
        seed: of the draws.

    Attributes:
        times: (1 + resamples, people) integers, the first row of ones; people in the order of their names.
    """

    def __init__(self, people: np.ndarray, resamples: int = RESAMPLES, *, seed: int = 0):
        self._names = np.unique(people)
        drawn = drawn_anew(len(self._names), resamples, seed=seed)
        self.times = np.vstack([np.ones((1, len(self._names)), drawn.dtype), drawn])

    def photos(self, people: np.ndarray) -> np.ndarray:
        """The weights (1 + resamples, n) of photos of these people (n,)."""
        return self.times[:, self._index(people)]

    def pairs(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """The weights (1 + resamples, m) of pairs of photos of `first` and `second` (m,).

        A pair of two people counts as the product of how often they are drawn (the pigeonhole bootstrap, Owen 2007), a
        pair of one as often as he or she is.
        """
        a, b = self._index(first), self._index(second)
        return self.times[:, a] * np.where(a == b, 1, self.times[:, b])

    def _index(self, people: np.ndarray) -> np.ndarray:
        found = np.searchsorted(self._names, people).clip(max=len(self._names) - 1)
        if (self._names[found] != people).any():
            raise ValueError("somebody is not among the people who are drawn")
        return found


def share(hits: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Shares (draws,) of the photos or pairs that are hits (n,) bool, by weights (draws, n); nan where nothing counts."""
    with np.errstate(invalid="ignore"):
        return weights @ np.asarray(hits, float) / weights.sum(1)


def summary(values: np.ndarray, digits: int = 4) -> dict[str, float]:
    """`value`, `low` and `high`: what is measured and its 95% interval, of (1 + resamples,) values of a measure."""
    low, high = np.nanpercentile(values[1:], (2.5, 97.5))  # nan where a draw has none of a kind
    return dict(zip(("value", "low", "high"), np.round([values[0], low, high], digits).tolist(), strict=True))
