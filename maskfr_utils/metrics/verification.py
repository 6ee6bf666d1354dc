"""Do two photos show one person? Rates of true and false accepts by the threshold on their likeness.

A pair is accepted where its score reaches the threshold. TAR, the true accept rate, is the share of pairs of one person that
are; FAR, the false accept rate, that of pairs of two. scikit-learn's ROC takes one weighting of the pairs at a time; here all
draws of a bootstrap are computed at once, and tests compare the two.
"""

from dataclasses import dataclass

import numpy as np

_ROWS = 1024  # of a matrix of cosines at a time
_BINS = 20_000  # of cosines between -1 and 1
_ROUNDING = 1e-12  # of sums of weights


@dataclass(frozen=True)
class Folds:
    """Pairs told apart with thresholds that other folds chose.

    Attributes:
        hits: (m,) bool, the pair is called rightly.
        accuracy: (folds,) share of each fold's pairs that are.
        thresholds: (folds,) of each fold, the best on all others.
    """

    hits: np.ndarray
    accuracy: np.ndarray
    thresholds: np.ndarray


def roc(
    scores: np.ndarray, same: np.ndarray, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The ROC curves of several weightings of the same pairs.

    Args:
        scores: (m,) floats; -inf for what is never accepted.
        same: (m,) bool, whether of one person.
        weights: (draws, m) at least 0, how often each pair counts; default: each once.

    Returns:
        thresholds (k,), falling from inf, FAR and TAR (draws, k), rising from 0; nan where either kind has no weight.

    Raises:
        ValueError: shapes that differ, a score that is nan, or pairs of one kind alone.
    """
    scores, same = np.asarray(scores, float), np.asarray(same, bool)
    weights = np.ones((1, len(scores))) if weights is None else np.asarray(weights)
    if scores.ndim != 1 or scores.shape != same.shape or weights.shape[1:] != scores.shape or np.isnan(scores).any():
        raise ValueError(f"a score and a bool of each pair, please, got {scores.shape}, {same.shape}, {weights.shape}")
    if same.all() or not same.any():
        raise ValueError("pairs of one person and pairs of two, please")
    order = np.argsort(-scores, kind="stable")
    falling, same = scores[order], same[order]
    last = np.r_[falling[1:] != falling[:-1], True]  # of those that share a score

    def rates(kind: np.ndarray) -> np.ndarray:
        reached = np.cumsum(np.where(kind, weights[:, order], 0.0), 1)[:, last]
        with np.errstate(invalid="ignore"):
            return np.pad(reached / reached[:, -1:], ((0, 0), (1, 0)))

    return np.r_[np.inf, falling[last]], rates(~same), rates(same)


def tar_at_far(scores: np.ndarray, same: np.ndarray, far: float, weights: np.ndarray | None = None) -> np.ndarray:
    """TAR (draws,) at the lowest threshold that accepts at most a share `far` of the pairs of two; else as `roc`."""
    _, accepted, true = roc(scores, same, weights)
    found = np.take_along_axis(true, _place(accepted, far), 1)[:, 0]
    return np.where(np.isnan(accepted[:, -1]), np.nan, found)


def threshold_at_far(scores: np.ndarray, same: np.ndarray, far: float) -> float:
    """The lowest score at which at most a share `far` of the pairs of two reaches the threshold; as `roc`."""
    thresholds, accepted, _ = roc(scores, same)
    return float(thresholds[_place(accepted, far)[0, 0]])


def false_accepts(scores: np.ndarray, same: np.ndarray, threshold: float, weights: np.ndarray) -> np.ndarray:
    """FAR and TAR (2, draws) at a threshold that came from elsewhere; arguments as `roc`'s."""
    accepted = np.asarray(scores) >= threshold
    with np.errstate(invalid="ignore"):
        return np.stack(
            [(weights[:, kind] @ accepted[kind].astype(float)) / weights[:, kind].sum(1) for kind in (~same, same)]
        )


def equal_error_rate(scores: np.ndarray, same: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """The error (draws,) where FAR and 1 - TAR are equal, along straight lines between thresholds; else as `roc`."""
    _, accepted, true = roc(scores, same, weights)
    excess = accepted - (1 - true)
    after = np.argmax(excess >= 0, 1)[:, None]
    (x0, x1), (e0, e1) = (
        [np.take_along_axis(values, at, 1)[:, 0] for at in (after - 1, after)] for values in (accepted, excess)
    )
    return x0 - e0 * (x1 - x0) / (e1 - e0)


def auc(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Areas under the ROC curve: how often a positive scores above a negative, by several weightings; a tie is half.

    Args:
        scores: (m,) floats.
        positive: (m,) bool.
        weights: (r, m) at least 0, how often each counts.

    Returns:
        (r,) floats; nan where either kind has no weight.
    """
    _, accepted, true = roc(scores, positive, weights)
    return np.trapezoid(true, accepted, axis=1)


def fold_accuracy(scores: np.ndarray, same: np.ndarray, folds: np.ndarray) -> Folds:
    """LFW's protocol (Huang et al. 2007): each fold's pairs are called by the threshold that is best on all other folds.

    Args:
        scores: (m,) floats.
        same: (m,) bool, whether of one person.
        folds: (m,) which fold each pair is in.

    Raises:
        ValueError: one fold alone, or as `roc`.
    """
    scores, same, folds = np.asarray(scores, float), np.asarray(same, bool), np.asarray(folds)
    names = np.unique(folds)
    if len(names) < 2:
        raise ValueError("one fold alone: no other could choose its threshold")
    hits, thresholds = np.zeros(len(scores), bool), []
    for name in names:
        others = folds != name
        levels, accepted, true = roc(scores[others], same[others])
        right = true[0] * same[others].sum() - accepted[0] * (~same[others]).sum()
        best = int(right.argmax())
        # Halfway to the next lower score, where one is: it separates as well, and leaves room on both sides.
        between = levels[best : best + 2] if best else levels[[1, 1]] + 1e-6
        thresholds.append(float(between.mean()))
        hits[~others] = (scores[~others] >= thresholds[-1]) == same[~others]
    return Folds(hits, np.array([hits[folds == name].mean() for name in names]), np.array(thresholds))


def stranger_thresholds(embeddings: np.ndarray, owner: np.ndarray, rates: list[float]) -> list[float]:
    """The cosine that at most such a share of all pairs of photos of different people reaches, to 0.0001.

    Memory grows with the photos, not with their pairs.

    Args:
        embeddings: (n, d) float32 of length 1.
        owner: (n,) integers, whose they are.
        rates: shares, above 0 and below 1.
    """
    levels = np.linspace(-1, 1, _BINS + 1)
    histogram = np.zeros(_BINS, np.int64)
    for start in range(0, len(owner), _ROWS):
        part = slice(start, start + _ROWS)
        other = (owner[part, None] != owner) & (np.arange(len(owner))[part, None] < np.arange(len(owner)))
        histogram += np.histogram((embeddings[part] @ embeddings.T)[other].clip(-1, 1), levels)[0]
    reach = np.cumsum(histogram[::-1])[::-1] / histogram.sum()  # share of the pairs at or above the lower end of a bin
    return [float(levels[1:][reach > rate][-1]) for rate in rates]  # the first level that fewer reach


def _place(far: np.ndarray, limit: float) -> np.ndarray:
    """The last threshold (draws, 1) at which FAR (draws, k) is at most `limit`."""
    return np.maximum((far <= limit + _ROUNDING).sum(1, keepdims=True) - 1, 0)
