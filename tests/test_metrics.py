import numpy as np
import pytest
import torch
from torchmetrics.classification import MulticlassAccuracy, MulticlassStatScores

from maskfr_utils.metrics import accuracy, cluster_bootstrap


def test_agrees_with_torchmetrics():
    rng = np.random.default_rng(0)
    labels, predictions = rng.integers(7, size=500), rng.integers(7, size=500)
    labels[:300] = predictions[:300]
    ours = accuracy(labels, predictions, 7)
    t, p = torch.from_numpy(labels), torch.from_numpy(predictions)
    assert ours.accuracy == pytest.approx(MulticlassAccuracy(7, average="micro")(p, t).item())
    assert ours.macro == pytest.approx(MulticlassAccuracy(7, average="macro")(p, t).item())
    tp, fp, tn, fn, _ = MulticlassStatScores(7, average="micro")(p, t).tolist()
    assert (ours.tp, ours.fp, ours.tn, ours.fn) == (tp, fp, tn, fn)
    assert ours.report_formula == pytest.approx((tp + tn) / (tp + tn + fp + fn))


def test_wilson_interval_by_hand():
    scores = accuracy(np.zeros(100, int), np.r_[np.zeros(90, int), np.ones(10, int)], 2)
    z, n, p = 1.959964, 100, 0.9
    centre, half = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert scores.accuracy_low == pytest.approx((centre - half) / (1 + z * z / n), abs=1e-6)
    assert scores.accuracy_high == pytest.approx((centre + half) / (1 + z * z / n), abs=1e-6)


def test_the_reports_formula_flatters_any_network():
    """A recogniser that is always wrong still scores nearly 1 by it: the reason why we do not use it."""
    labels = np.arange(100)
    scores = accuracy(labels, (labels + 1) % 100, 100)
    assert scores.accuracy == 0
    assert scores.report_formula == pytest.approx(0.98)


def test_macro_leaves_out_identities_without_test_photos():
    assert accuracy(np.array([0, 0, 1]), np.array([0, 1, 1]), 5).macro == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("labels", "predictions"), [([], []), ([0, 1], [0]), ([0, 5], [0, 0]), ([0, 1], [0, -1]), ([[0]], [[0]])]
)
def test_refuses(labels, predictions):
    with pytest.raises(ValueError, match=r"alike|out of"):
        accuracy(np.array(labels, int), np.array(predictions, int), 3)


def test_bootstrap_over_identities_is_wider_when_photos_of_a_person_are_alike():
    rng = np.random.default_rng(0)
    identities = np.repeat(np.arange(40), 10)
    alike = np.repeat(rng.random(40) < 0.8, 10)
    mixed = rng.permutation(alike)
    low, high = cluster_bootstrap(alike, identities)
    assert low < alike.mean() < high
    low_mixed, high_mixed = cluster_bootstrap(mixed, identities)
    assert high - low > 2 * (high_mixed - low_mixed)
    assert cluster_bootstrap(alike, identities) == (low, high)
