"""How good a recogniser is: accuracy with its interval, and what the report's formula makes of the same counts."""

from dataclasses import asdict, dataclass

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix


@dataclass(frozen=True)
class Accuracy:
    """Closed-set identification on one set of test photos; all values are fractions in [0, 1] or counts.

    Attributes:
        accuracy: share of photos named rightly (micro average, top-1).
        accuracy_low, accuracy_high: its 95 % Wilson interval over photos.
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
    counts = confusion_matrix(labels, predictions, labels=np.arange(num_classes))
    total = int(counts.sum())
    tp = int(np.trace(counts))
    tested = counts.sum(1) > 0
    low, high = binomtest(tp, total).proportion_ci(0.95, method="wilson")
    wrong = total - tp  # each is one false positive (of the named) and one false negative (of the true identity)
    tn = num_classes * total - tp - 2 * wrong
    return Accuracy(
        accuracy=tp / total,
        accuracy_low=float(low),
        accuracy_high=float(high),
        macro=float((np.diag(counts)[tested] / counts.sum(1)[tested]).mean()),
        report_formula=(tp + tn) / (num_classes * total),
        tp=tp,
        fp=wrong,
        fn=wrong,
        tn=tn,
        photos=total,
    )


def cluster_bootstrap(
    correct: np.ndarray, identities: np.ndarray, *, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """95 % interval of the mean of `correct` when identities, not photos, are drawn anew.

    Photos of one person are alike, so an interval over photos is too narrow for "people like these".

    Args:
        correct: (N,) bool or float, one value a photo; the difference of two networks' hits gives a paired interval.
        identities: (N,) labels, the clusters.
    """
    _, cluster = np.unique(identities, return_inverse=True)
    hits = np.bincount(cluster, weights=np.asarray(correct, float))
    sizes = np.bincount(cluster)
    drawn = np.random.default_rng(seed).integers(len(sizes), size=(resamples, len(sizes)))
    means = hits[drawn].sum(1) / sizes[drawn].sum(1)
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)
