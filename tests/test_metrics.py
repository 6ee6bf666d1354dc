import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import (
    accuracy_score,
    multilabel_confusion_matrix,
    recall_score,
    roc_auc_score,
    top_k_accuracy_score,
)

from maskfr_utils import metrics
from maskfr_utils.metrics import accuracy


def test_agrees_with_scikit_learn():
    rng = np.random.default_rng(0)
    labels, predictions = rng.integers(7, size=500), rng.integers(7, size=500)
    labels[:300] = predictions[:300]
    ours = accuracy(labels, predictions, 7)
    assert ours.accuracy == pytest.approx(accuracy_score(labels, predictions))
    assert ours.macro == pytest.approx(recall_score(labels, predictions, average="macro"))
    (tn, fp), (fn, tp) = multilabel_confusion_matrix(labels, predictions).sum(0)
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


def test_many_identities_take_no_memory_of_their_square():
    people = np.arange(93_000)  # as many as MS1M's
    named = np.where(people < 31_000, people[::-1], people)
    scores = accuracy(people, named, len(people))
    assert scores.macro == pytest.approx(2 / 3) and (scores.tp, scores.fp) == (62_000, 31_000)


def test_macro_leaves_out_identities_without_test_photos():
    assert accuracy(np.array([0, 0, 1]), np.array([0, 1, 1]), 5).macro == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("labels", "predictions"), [([], []), ([0, 1], [0]), ([0, 5], [0, 0]), ([0, 1], [0, -1]), ([[0]], [[0]])]
)
def test_refuses(labels, predictions):
    with pytest.raises(ValueError, match=r"alike|out of"):
        accuracy(np.array(labels, int), np.array(predictions, int), 3)


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_scipys_and_takes_means_over_runs(counts):
    hits, n = counts
    ours, theirs = metrics.wilson(hits, n), stats.binomtest(hits, n).proportion_ci(0.95, method="wilson")
    assert ours == pytest.approx(tuple(theirs), abs=1e-12)
    assert 0 <= ours[0] <= hits / n <= ours[1] <= 1
    if hits < n:
        assert ours[0] <= metrics.wilson(hits + 0.5, n)[0] <= metrics.wilson(hits + 1, n)[0]


@pytest.mark.parametrize("k", [1, 2, 5, 6])
def test_rank_curve_is_scikit_learns_top_k(k):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(300, 7)), rng.integers(7, size=300)
    ranks = 1 + (logits > np.take_along_axis(logits, labels[:, None], 1)).sum(1)
    theirs = top_k_accuracy_score(labels, logits, k=k, labels=range(7))
    curve = metrics.rank_curve(ranks, 7)
    assert curve[k - 1] == pytest.approx(theirs) and curve[6] == 1


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_holm_is_bonferroni_in_every_set_of_tests(p):
    """Holm's method is the closed test: a claim holds if Bonferroni rejects each set of claims that it is in."""
    subsets = [s for k in range(1, len(p) + 1) for s in itertools.combinations(range(len(p)), k)]
    closed = [max(min(1.0, len(s) * min(p[j] for j in s)) for s in subsets if i in s) for i in range(len(p))]
    assert metrics.holm(np.array(p)) == pytest.approx(closed)


def test_holm_of_nothing_and_what_is_no_test():
    assert metrics.holm(np.array([])).shape == (0,)
    np.testing.assert_allclose(metrics.holm([np.nan, 0.01, 0.02]), [np.nan, 0.02, 0.02])


def test_disagreement_of_independent_and_of_like_errors():
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 200_000)) < np.array([[0.9], [0.8]])
    assert metrics.disagreement(a, b) == pytest.approx(1, abs=0.02)
    assert metrics.disagreement(a, a) == 0
    assert np.isnan(metrics.disagreement(a | True, a | True))


def test_half_width_is_the_spread_of_a_paired_difference():
    rng, n = np.random.default_rng(0), 2000
    hard = rng.random((4000, n // 10))  # photos a tenth as many, for speed: the width goes with the root
    a, b = hard < 0.9, (0.5 * hard + 0.5 * rng.random(hard.shape)) < 0.85
    spread = (a.mean(1) - b.mean(1)).std()
    shared = metrics.disagreement(a.ravel(), b.ravel())
    assert metrics.half_width(a.mean(), b.mean(), n // 10, shared) == pytest.approx(1.96 * spread, rel=0.05)
    assert metrics.half_width(0.9, 0.9, 10_000) == pytest.approx(1.96 * np.sqrt(2 * 0.9 * 0.1 / 10_000), rel=1e-3)


def test_auc_counts_a_pair_as_often_as_its_weight_says():
    rng = np.random.default_rng(0)
    same = rng.random(120) < 0.4
    scores = (rng.normal(size=120) + same).round(1)  # with ties
    weights = rng.integers(0, 4, (5, 120))
    for row, area in zip(weights, metrics.auc(scores, same, weights.astype(float)), strict=True):
        assert area == pytest.approx(roc_auc_score(same.repeat(row), scores.repeat(row)))
