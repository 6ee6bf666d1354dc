"""How often a recogniser names known people rightly, how sure that is, and whether another is better."""

import gc
from dataclasses import asdict, dataclass

import numpy as np
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

Z = stats.norm.ppf(0.975)  # of a 95% interval


@dataclass(frozen=True)
class Accuracy:
    """Closed-set identification on one set of test photos; all values are fractions in [0, 1] or counts.

    Attributes:
        accuracy: share of photos named rightly (micro average, top-1).
        accuracy_low, accuracy_high: its 95% Wilson interval over photos.
        macro: mean over identities of the share of their photos named rightly, what the original code printed.
        report_formula: (TP + TN) / (TP + TN + FP + FN) over all one-against-rest decisions. The many true negatives
            hold it near 1 for any network: it is no measure of a recogniser with many identities.
        tp, fp, fn, tn: the counts of these decisions, summed over identities.
        photos: number of test photos.
    """

    accuracy: float
    accuracy_low: float
    accuracy_high: float
    macro: float
    report_formula: float
    tp: int
    fp: int
    fn: int
    tn: int
    photos: int

    def as_dict(self) -> dict[str, float | int]:
        """The same as a plain dict, for a record."""
        return asdict(self)


def accuracy(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> Accuracy:
    """Scores predicted identities.

    Args:
        labels: (N,) integers in 0..num_classes-1, the true identities.
        predictions: (N,) integers in 0..num_classes-1.
        num_classes: number of identities, those without a test photo included.

    Raises:
        ValueError: no photos, shapes that differ, or a label out of range.
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if labels.shape != predictions.shape or labels.ndim != 1 or not len(labels):
        raise ValueError(f"labels and predictions must be alike and not empty, got {labels.shape}, {predictions.shape}")
    for name, values in (("label", labels), ("prediction", predictions)):
        if values.min() < 0 or values.max() >= num_classes:
            raise ValueError(f"{name} out of 0..{num_classes - 1}: {values.min()}..{values.max()}")
    # A confusion matrix would hold identities x identities: 65 GiB for those of MS1M.
    of_each, right = np.bincount(labels), np.bincount(labels[labels == predictions], minlength=labels.max() + 1)
    total, tp, tested = len(labels), int(right.sum()), of_each > 0
    low, high = wilson(tp, total)
    wrong = total - tp  # each is one false positive (of the named) and one false negative (of the true identity)
    tn = num_classes * total - tp - 2 * wrong
    return Accuracy(
        accuracy=tp / total,
        accuracy_low=low,
        accuracy_high=high,
        macro=float((right[tested] / of_each[tested]).mean()),
        report_formula=(tp + tn) / (num_classes * total),
        tp=tp,
        fp=wrong,
        fn=wrong,
        tn=tn,
        photos=total,
    )


def wilson(hits: float, photos: int) -> tuple[float, float]:
    """95% interval of a share after Wilson (1927), over photos drawn one by one.

    Args:
        hits: photos named rightly; the mean over several runs need not be whole.
        photos: photos tested, at least 1.
    """
    low, high = proportion_confint(hits, photos, method="wilson")
    # At the ends the bound is the end itself, which rounding may miss by a last bit.
    return float(low) if hits > 0 else 0.0, float(high) if hits < photos else 1.0


def rank_curve(ranks: np.ndarray, upto: int) -> np.ndarray:
    """The rank-k curve (CMC): share of the photos whose identity is among the k best, for k = 1..upto.

    Args:
        ranks: (N,) integers, the place of the right identity among all, 1 the best.
        upto: the largest k.

    Returns:
        (upto,) floats that never fall.
    """
    ranks = np.asarray(ranks).ravel()
    return (ranks[:, None] <= np.arange(1, upto + 1)).mean(0)


def holm(p: np.ndarray) -> np.ndarray:
    """The p of several tests after Holm (1979): below 0.05 where a claim holds though so many were tried.

    Args:
        p: (tests,) floats; a nan is no test, and stays.

    Returns:
        (tests,) floats, each at least as large as before and at most 1.
    """
    adjusted = np.array(p, float)
    tested = ~np.isnan(adjusted)
    gc.freeze()  # statsmodels collects garbage first: seconds, where torch is loaded
    try:
        adjusted[tested] = multipletests(adjusted[tested], method="holm")[1]
    finally:
        gc.unfreeze()
    return adjusted


def disagreement(a: np.ndarray, b: np.ndarray) -> float:
    """How often just one of two recognisers is right, as a multiple of what independent errors would give.

    1: their errors have nothing in common; 0: they fail on the same photos. nan where neither or each always fails.

    Args:
        a, b: (N,) bool, which photos each names rightly.
    """
    a, b = np.asarray(a, bool), np.asarray(b, bool)
    expected = a.mean() * (1 - b.mean()) + b.mean() * (1 - a.mean())
    return float((a != b).mean() / expected) if expected else float("nan")


def half_width(a: float, b: float, photos: int, disagreement: float = 1.0) -> float:
    """Half the 95% interval of a - b, two accuracies on the same photos of which nothing else is known.

    Args:
        a, b: the accuracies, fractions.
        photos: different photos that both were tested on.
        disagreement: of the two, see `disagreement`; 1 is the widest that is plausible.
    """
    discordant = disagreement * (a * (1 - b) + b * (1 - a))
    return float(Z * np.sqrt(max(discordant - (a - b) ** 2, 0.0) / photos))
