"""From a rate of false accepts to a threshold: how alike a network finds strangers, measured on people set aside.

Two photos of different people are a false accept where their cosine reaches the threshold. Among n enrolled photos a
stranger has n chances to be taken for somebody: so that he is in at most a share r of cases, each pair may err in r / n
(Bonferroni's bound, on the safe side where the photos are of fewer people). Rates below what the measured pairs can
tell are continued along a straight line in their logarithm.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise

import numpy as np

from maskfr_utils.metrics import stranger_thresholds

LEAST_PAIRS = 1000
_BEYOND = 10  # pairs at least above the highest cosine that counts as measured


@dataclass(frozen=True)
class Calibration:
    """How often strangers are how alike.

    Attributes:
        rates: shares of the pairs of strangers, falling.
        cosines: of each rate the cosine that so many pairs reach, rising.
        people, pairs: what was measured.
        validation: who these people are, in words.
    """

    rates: tuple[float, ...]
    cosines: tuple[float, ...]
    people: int
    pairs: int
    validation: str

    def threshold(self, rate: float, photos: int = 1) -> float:
        """The cosine at which a stranger is taken for one of those on `photos` enrolled photos in at most `rate` of cases.

        Raises:
            ValueError: a rate that is none.
        """
        if not 0 < rate < 1:
            raise ValueError(f"rate {rate!r}: a share of strangers, above 0 and below 1")
        wanted = math.log10(rate / max(1, photos))
        logs = np.log10(self.rates)
        if wanted >= logs[-1]:
            return float(np.interp(-wanted, -logs, self.cosines))
        slope = (self.cosines[-1] - self.cosines[-2]) / (logs[-2] - logs[-1])
        return float(min(1.0, self.cosines[-1] + slope * (logs[-1] - wanted)))

    def as_dict(self) -> dict[str, object]:
        """The same as plain values, for a file."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: object) -> "Calibration":
        """What `as_dict` gave, read from a file that may hold anything.

        Raises:
            ValueError: it is no calibration.
        """
        try:
            rates, cosines = (tuple(map(float, values[name])) for name in ("rates", "cosines"))
            people, pairs, validation = int(values["people"]), int(values["pairs"]), str(values["validation"])[:200]
            good = 2 <= len(rates) == len(cosines) <= 100 and all(1 > a > b > 0 for a, b in pairwise(rates))
            good = good and all(-1 <= a <= b <= 1 for a, b in pairwise(cosines))
        except (KeyError, TypeError, ValueError, IndexError, OverflowError):
            good = False
        if not good:
            raise ValueError("its calibration is broken: measure it again with `calibrate`")
        return cls(rates, cosines, people, pairs, validation)


def calibrate(embeddings: np.ndarray, people: Sequence[object], validation: str) -> Calibration:
    """Measures how alike strangers are, over all pairs of photos of different people.

    Args:
        embeddings: (n, d) float32 of length 1; of people whom the network was not trained on.
        people: (n,) whose they are.
        validation: who they are, in words.

    Raises:
        ValueError: fewer than 1,000 pairs of different people.
    """
    names, owner = np.unique(np.asarray(people), return_inverse=True)
    counts = np.bincount(owner, minlength=len(names))
    pairs = int((len(owner) ** 2 - (counts.astype(np.int64) ** 2).sum()) // 2)
    if pairs < LEAST_PAIRS:
        raise ValueError(
            f"{validation}: {pairs} pairs of different people, fewer than {LEAST_PAIRS:,}: give more people"
        )
    rates = [10 ** (-k / 2) for k in range(2, 40) if 10 ** (-k / 2) * pairs >= _BEYOND]
    return Calibration(
        tuple(rates), tuple(stranger_thresholds(embeddings, owner, rates)), len(names), pairs, validation
    )
