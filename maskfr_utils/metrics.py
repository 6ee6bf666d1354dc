"""How good a recogniser is, how sure that is, and whether another is better: accuracies, intervals, paired tests."""

from dataclasses import asdict, dataclass

import numpy as np
from scipy import stats

Z = stats.norm.ppf(0.975)  # of a 95 % interval


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
    from sklearn.metrics import confusion_matrix  # a second to import, and of use here only

    counts = confusion_matrix(labels, predictions, labels=np.arange(num_classes))
    total = int(counts.sum())
    tp = int(np.trace(counts))
    tested = counts.sum(1) > 0
    low, high = wilson(tp, total)
    wrong = total - tp  # each is one false positive (of the named) and one false negative (of the true identity)
    tn = num_classes * total - tp - 2 * wrong
    return Accuracy(
        accuracy=tp / total,
        accuracy_low=low,
        accuracy_high=high,
        macro=float((np.diag(counts)[tested] / counts.sum(1)[tested]).mean()),
        report_formula=(tp + tn) / (num_classes * total),
        tp=tp,
        fp=wrong,
        fn=wrong,
        tn=tn,
        photos=total,
    )


def wilson(hits: float, photos: int) -> tuple[float, float]:
    """95 % interval of a share after Wilson (1927), over photos drawn one by one.

    Args:
        hits: photos named rightly; the mean over several runs need not be whole.
        photos: photos tested, at least 1.
    """
    share, z2 = hits / photos, Z * Z / photos
    centre, half = share + z2 / 2, Z * np.sqrt(share * (1 - share) / photos + z2 / photos / 4)
    # At the ends the bound is the end itself, which rounding may miss by a last bit.
    low = 0.0 if hits == 0 else (centre - half) / (1 + z2)
    high = 1.0 if hits == photos else (centre + half) / (1 + z2)
    return float(low), float(high)


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


def t_interval(values: np.ndarray) -> tuple[float, float]:
    """95 % interval of the mean of a few independent values by Student's t.

    With three values it is 2.5 standard deviations wide to either side; with two (9 deviations) it says nothing, and is
    (nan, nan).
    """
    values = np.asarray(values, float)
    if len(values) < 3:
        return float("nan"), float("nan")
    half = t_half_width(values.std(ddof=1), len(values) - 1, len(values))
    return float(values.mean() - half), float(values.mean() + half)


def t_half_width(deviation: float, freedom: int, values: int) -> float:
    """Half the 95 % interval of the mean of some values by Student's t, of a standard deviation with its degrees of freedom."""
    return float(stats.t.ppf(0.975, freedom) * deviation / np.sqrt(values))


def mcnemar(a: np.ndarray, b: np.ndarray) -> float:
    """Exact two-sided p of McNemar (1947): do two recognisers differ on the same photos, or is it chance?

    Only the photos count that one names rightly and the other does not: were both equally good, each would win half.

    Args:
        a, b: (N,) bool, which photos each names rightly.
    """
    a, b = np.asarray(a, bool), np.asarray(b, bool)
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    return float(stats.binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0


def holm(p: np.ndarray) -> np.ndarray:
    """The p of several tests after Holm (1979): below 0.05 where a claim holds though so many were tried.

    Args:
        p: (tests,) floats.

    Returns:
        (tests,) floats, each at least as large as before and at most 1.
    """
    p = np.asarray(p, float)
    order = np.argsort(p)
    adjusted = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return np.minimum(adjusted, 1.0)[np.argsort(order)]


@dataclass(frozen=True)
class Comparison:
    """Whether one recogniser is better than another on the same photos.

    Attributes:
        difference: accuracy of the first less that of the second, mean over seeds, as a fraction.
        low, high: its 95 % interval when identities are drawn anew.
        by_seed: the difference of each pair of runs.
        p: exact McNemar; of several pairs of runs the largest, since a claim about networks has to hold in each.
    """

    difference: float
    low: float
    high: float
    by_seed: tuple[float, ...]
    p: float

    def verdict(self, p: float | None = None) -> str:
        """`better` or `worse` where the interval, every seed and p all say so; `within noise` where the interval holds 0.

        In between, `better on average`: other people would hardly turn it round, but not each pair of runs shows it beyond
        chance. With a single seed it is `better in one seed`: that holds for these two runs, not for what they are runs of.

        Args:
            p: this comparison's p after correction for how many are made; default: as it is.
        """
        one, sure = len(self.by_seed) == 1, (self.p if p is None else p) < 0.05
        if self.low <= 0 <= self.high or (one and not sure):
            return "within noise"
        said = "better" if self.difference > 0 else "worse"
        if one:
            return f"{said} in one seed"
        return said if sure and len(set(np.sign(self.by_seed))) == 1 else f"{said} on average"


def compare(a: np.ndarray, b: np.ndarray, identities: np.ndarray) -> Comparison:
    """Compares two recognisers, each trained with the same few seeds, on the same photos.

    Args:
        a, b: (seeds, N) bool, which photos each run names rightly.
        identities: (N,) true identities.

    Raises:
        ValueError: shapes that do not fit.
    """
    a, b = np.asarray(a, bool), np.asarray(b, bool)
    if a.shape != b.shape or a.ndim != 2 or a.shape[1:] != np.shape(identities) or not a.size:
        raise ValueError(
            f"hits must be (seeds, photos) of the same runs and photos, got {a.shape}, {b.shape}, {np.shape(identities)}"
        )
    differences = a.astype(float) - b
    low, high = cluster_bootstrap(differences.mean(0), identities)
    p = max(mcnemar(x, y) for x, y in zip(a, b, strict=True))
    return Comparison(float(differences.mean()), low, high, tuple(differences.mean(1).tolist()), p)


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
    """Half the 95 % interval of a - b, two accuracies on the same photos of which nothing else is known.

    Args:
        a, b: the accuracies, fractions.
        photos: different photos that both were tested on.
        disagreement: of the two, see `disagreement`; 1 is the widest that is plausible.
    """
    discordant = disagreement * (a * (1 - b) + b * (1 - a))
    return float(Z * np.sqrt(max(discordant - (a - b) ** 2, 0.0) / photos))
