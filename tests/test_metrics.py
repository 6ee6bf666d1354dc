import itertools
from math import comb

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats
from torchmetrics.classification import MulticlassAccuracy, MulticlassStatScores

from maskfr_utils import metrics
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


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_scipys_and_takes_means_over_runs(counts):
    hits, n = counts
    ours, theirs = metrics.wilson(hits, n), stats.binomtest(hits, n).proportion_ci(0.95, method="wilson")
    assert ours == pytest.approx(tuple(theirs), abs=1e-12)
    assert 0 <= ours[0] <= hits / n <= ours[1] <= 1
    if hits < n:
        assert ours[0] <= metrics.wilson(hits + 0.5, n)[0] <= metrics.wilson(hits + 1, n)[0]


@pytest.mark.parametrize("k", [1, 2, 5, 7])
def test_rank_curve_is_torchmetrics_top_k(k):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(300, 7)), rng.integers(7, size=300)
    ranks = 1 + (logits > np.take_along_axis(logits, labels[:, None], 1)).sum(1)
    theirs = MulticlassAccuracy(7, average="micro", top_k=k)(torch.from_numpy(logits), torch.from_numpy(labels)).item()
    assert metrics.rank_curve(ranks, 7)[k - 1] == pytest.approx(theirs)


def test_bootstrap_agrees_with_scipys():
    """Equal clusters: drawing people is drawing their means, which scipy can do."""
    rng = np.random.default_rng(1)
    share = rng.random(60)
    correct = rng.random((60, 12)) < share[:, None]
    low, high = cluster_bootstrap(correct.ravel(), np.repeat(np.arange(60), 12))
    theirs = stats.bootstrap((correct.mean(1),), np.mean, method="percentile", n_resamples=5000, rng=2)
    assert (low, high) == pytest.approx(tuple(theirs.confidence_interval), abs=0.01)


def test_t_interval_is_scipys_and_two_values_have_none():
    values = [0.61, 0.64, 0.6]
    assert metrics.t_interval(values) == pytest.approx(tuple(stats.ttest_1samp(values, 0).confidence_interval(0.95)))
    assert np.isnan(metrics.t_interval(values[:2])).all()


@given(hnp.arrays(bool, 30), hnp.arrays(bool, 30))
def test_mcnemar_is_the_toss_of_a_coin(a, b):
    b_only, a_only = int((b & ~a).sum()), int((a & ~b).sum())
    n = a_only + b_only
    by_hand = min(1.0, 2 * sum(comb(n, k) for k in range(min(a_only, b_only) + 1)) / 2**n)
    assert metrics.mcnemar(a, b) == pytest.approx(by_hand)
    assert metrics.mcnemar(b, a) == metrics.mcnemar(a, b)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_bonferroni_in_every_set_of_tests(p):
    """Holm's method is the closed test: a claim holds if Bonferroni rejects each set of claims that it is in."""
    subsets = [s for k in range(1, len(p) + 1) for s in itertools.combinations(range(len(p)), k)]
    closed = [max(min(1.0, len(s) * min(p[j] for j in s)) for s in subsets if i in s) for i in range(len(p))]
    assert metrics.holm(np.array(p)) == pytest.approx(closed)


def test_holm_of_nothing():
    assert metrics.holm(np.array([])).shape == (0,)


def test_compare_finds_a_true_difference_and_no_other():
    rng = np.random.default_rng(0)
    identities = np.repeat(np.arange(50), 20)
    hard = rng.random(1000)
    weak, strong = (np.stack([0.9 * hard + 0.1 * rng.random(1000) < q for _ in range(2)]) for q in (0.6, 0.7))
    found = metrics.compare(strong, weak, identities)
    assert found.difference == pytest.approx(strong.mean() - weak.mean())
    assert found.by_seed == pytest.approx((strong.mean(1) - weak.mean(1)).tolist())
    assert found.low < found.difference < found.high and found.low > 0
    assert found.p == max(metrics.mcnemar(strong[0], weak[0]), metrics.mcnemar(strong[1], weak[1]))
    assert found.verdict() == "better" and metrics.compare(weak, strong, identities).verdict() == "worse"
    assert found.verdict(p=0.06) == "better on average"
    assert metrics.compare(strong[:1], weak[:1], identities).verdict() == "better in one seed"
    assert metrics.compare(strong, strong[::-1], identities).verdict() == "within noise"


@pytest.mark.parametrize(
    ("low", "by_seed", "p", "verdict"),
    [
        (0.01, (0.05, 0.01), 0.001, "better"),
        (0.01, (0.05, -0.01), 0.001, "better on average"),
        (0.01, (0.03, 0.01), 0.2, "better on average"),
        (-0.01, (0.05, 0.01), 0.001, "within noise"),
        (0.01, (0.02,), 0.001, "better in one seed"),
        (0.01, (0.02,), 0.2, "within noise"),
    ],
)
def test_a_verdict_says_as_much_as_interval_seeds_and_p_allow(low, by_seed, p, verdict):
    found = metrics.Comparison(difference=0.02, low=low, high=0.03, by_seed=by_seed, p=p)
    assert found.verdict() == verdict
    mirrored = metrics.Comparison(-0.02, -0.03, -low, tuple(-d for d in by_seed), p)
    assert mirrored.verdict() == verdict.replace("better", "worse")


def test_t_half_width_agrees_with_the_interval_of_few_values():
    values = np.array([0.7, 0.72, 0.77])
    low, high = metrics.t_interval(values)
    assert metrics.t_half_width(values.std(ddof=1), 2, 3) == pytest.approx((high - low) / 2)
    assert metrics.t_half_width(1.0, 10**9, 4) == pytest.approx(metrics.Z / 2, rel=1e-6)


@pytest.mark.parametrize(
    ("a", "b", "n"), [((2, 5), (1, 5), 5), ((5,), (5,), 5), ((2, 5), (2, 5), 4), ((0, 5), (0, 5), 5)]
)
def test_compare_refuses(a, b, n):
    with pytest.raises(ValueError, match="same runs and photos"):
        metrics.compare(np.zeros(a, bool), np.zeros(b, bool), np.zeros(n, int))


def test_false_alarms_are_rarer_than_five_in_a_hundred():
    """Two recognisers that are as good, with people of whom some are easy: they are hardly ever called different."""
    rng, identities, alarms = np.random.default_rng(0), np.repeat(np.arange(30), 10), 0
    for _ in range(200):
        easy = np.repeat(0.3 + 0.6 * rng.random(30), 10)
        a, b = rng.random((2, 1, 300)) < easy
        alarms += metrics.compare(a, b, identities).verdict() != "within noise"
    assert alarms <= 16  # of 200 with a chance of 5 % each, more would come up once in fifty


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
