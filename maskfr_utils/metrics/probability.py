"""From likeness to the probability that two photos show one person, and whether it keeps what it promises."""

from collections.abc import Callable

import numpy as np

WAYS = ("logistic", "isotonic")


def calibrator(scores: np.ndarray, same: np.ndarray, way: str = "logistic") -> Callable[[np.ndarray], np.ndarray]:
    """Fits a function from scores (m,) to probabilities (m,), by scikit-learn.

    Args:
        scores: (m,) floats.
        same: (m,) bool, whether of one person; the probabilities hold where as many pairs are as here.
        way: `logistic` (Platt 1999), two numbers; or `isotonic` (Zadrozny and Elkan 2002), any rising steps.

    Raises:
        ValueError: another way, or pairs of one kind alone.
    """
    from sklearn.isotonic import IsotonicRegression  # a second to import, and of use here only
    from sklearn.linear_model import LogisticRegression

    if way not in WAYS:
        raise ValueError(f"unknown way {way!r}: one of {', '.join(WAYS)}")
    if same.all() or not same.any():
        raise ValueError("pairs of one person and pairs of two, please")
    if way == "isotonic":
        return IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(scores, same).predict
    # Hardly a penalty: only where nothing overlaps it keeps the slope from growing without end.
    fitted = LogisticRegression(C=1e4).fit(np.asarray(scores)[:, None], same)
    return lambda other: fitted.predict_proba(np.asarray(other)[:, None])[:, 1]


def reliability(
    probability: np.ndarray, same: np.ndarray, weights: np.ndarray | None = None, bins: int = 10
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What was promised and what came of it, in bins of equally many pairs.

    Args:
        probability: (m,) promised.
        same: (m,) bool, what came.
        weights: (draws, m), how often each pair counts; default: each once.
        bins: their number; pairs of one probability stay together, so fewer may come back.

    Returns:
        Mean promise, share of pairs of one person, and share of all pairs: (draws, bins) each; nan where a bin is empty.
    """
    weights = np.ones((1, len(probability))) if weights is None else weights
    edges = np.unique(np.quantile(probability, np.linspace(0, 1, bins + 1)[1:-1]))
    member = np.searchsorted(edges, probability, "right")  # as numpy.digitize
    inside = (member[:, None] == np.arange(len(edges) + 1)).astype(float)
    counts = weights @ inside
    with np.errstate(invalid="ignore"):
        promised, came = (weights @ (inside * np.asarray(of, float)[:, None]) / counts for of in (probability, same))
        return promised, came, counts / counts.sum(1, keepdims=True)


def calibration_error(
    probability: np.ndarray, same: np.ndarray, weights: np.ndarray | None = None, bins: int = 10
) -> np.ndarray:
    """The expected calibration error (draws,): how far promise and outcome lie apart, the mean over pairs; else as `reliability`."""
    promised, came, part = reliability(probability, same, weights, bins)
    return np.nansum(np.abs(promised - came) * part, 1)


def error_by_luck(promised: np.ndarray, pairs: int) -> float:
    """The calibration error to be expected of probabilities that keep what they promise, as luck moves each bin's share.

    A mean absolute deviation of about `sqrt(2 p (1 - p) / (pi n))` in a bin of n pairs (the normal approximation).

    Args:
        promised: (bins,) mean promise of each bin, of equally many pairs.
        pairs: in all bins together.
    """
    p = np.asarray(promised, float)
    return float(np.sqrt(2 * p * (1 - p) * len(p) / (np.pi * pairs)).mean())
