"""Verdicts: intervals against scipy, and that two identical networks are called different in at most 5% of cases."""

import numpy as np
import pytest
from scipy import stats

from maskfr_utils import verdicts
from maskfr_utils.verdicts import Comparison, compare, over_seeds_and_people


def pair(rng, seeds=3, people=40, each=12, deviations=(0.007, 0.007), lead=0.0):
    """Hits of two networks on the same photos, whose accuracies (about 0.5) differ by `lead` and the luck of the seeds."""
    hard = (rng.normal(0, 1, people)[:, None] + rng.normal(0, 1.5, (people, each))).ravel()
    per_point = 5.2  # of the logit, a unit of accuracy near 0.5 with this spread of difficulty
    out = []
    for deviation, ahead in zip(deviations, (lead, 0.0), strict=True):
        shifts = per_point * (ahead + rng.normal(0, deviation, seeds))
        out.append([rng.random(people * each) < 1 / (1 + np.exp(hard - shift)) for shift in shifts])
    return (*out, [np.repeat(np.arange(people), each)] * seeds)


# Standard deviations over seeds of accuracies seen in this study: IResNet-50, the least; ResSaNets at a rate too high; ResNet-50, the most.
@pytest.mark.parametrize("deviations", [(0.006, 0.006), (0.0073, 0.0073), (0.037, 0.037), (0.0073, 0.047)])
def test_identical_networks_are_called_different_in_at_most_5_percent(deviations):
    rng, trials = np.random.default_rng(1), 600
    called = sum(
        compare(*pair(rng, deviations=deviations), resamples=400).verdict() in ("better", "worse")
        for _ in range(trials)
    )
    assert called / trials <= 0.05


def test_with_more_seeds_too():
    rng, trials = np.random.default_rng(2), 400
    verdict = [compare(*pair(rng, seeds=5, deviations=(0.03, 0.03)), resamples=400).verdict() for _ in range(trials)]
    assert sum(v != "undecided" for v in verdict) / trials <= 0.05


def test_where_seeds_decide_all_it_is_students_5_percent():
    """ResNet-50 beside IResNet-50: people hardly matter, so the interval is Student's alone, which errs in 5% of cases, not in fewer."""
    rng, trials = np.random.default_rng(7), 600
    called = sum(
        compare(*pair(rng, seeds=5, deviations=(0.006, 0.074)), resamples=200).verdict() != "undecided"
        for _ in range(trials)
    )
    assert abs(called / trials - 0.05) < 2.5 * np.sqrt(0.05 * 0.95 / trials)


def test_a_large_difference_is_found():
    rng = np.random.default_rng(3)
    verdict = [compare(*pair(rng, lead=0.1, people=100), resamples=400).verdict() for _ in range(40)]
    assert verdict.count("better") >= 36 and "worse" not in verdict
    a, b, people = pair(rng, lead=0.1, people=100)
    assert compare(b, a, people).verdict() == "worse"


def test_interval_over_seeds_is_students():
    """Where all people are alike, the bootstrap has no width and t is left."""
    values = [np.full(30, share) for share in (0.1, 0.14, 0.15, 0.11)]
    found = over_seeds_and_people(values, [np.arange(30) % 6] * 4)
    expected = stats.t.interval(0.95, 3, np.mean([0.1, 0.14, 0.15, 0.11]), stats.sem([0.1, 0.14, 0.15, 0.11]))
    np.testing.assert_allclose((found.low, found.high), expected)
    assert found.p == pytest.approx(max(stats.ttest_1samp([0.1, 0.14, 0.15, 0.11], 0).pvalue, 2 / verdicts.RESAMPLES))
    assert found.by_seed == pytest.approx((0.1, 0.14, 0.15, 0.11)) and found.verdict() == "better"


def test_interval_over_people_is_the_bootstraps():
    """Where all seeds agree, scipy's bootstrap over people gives the same interval."""
    rng = np.random.default_rng(4)
    shares = rng.random(50)
    values = np.repeat(shares, 8)
    people = np.repeat([f"p{i}" for i in range(50)], 8)
    found = over_seeds_and_people([values] * 3, [people] * 3, resamples=8000)
    expected = stats.bootstrap((shares,), np.mean, method="percentile", n_resamples=8000, rng=rng).confidence_interval
    np.testing.assert_allclose((found.low, found.high), expected, atol=0.006)


def test_people_of_one_name_are_drawn_together_and_seeds_may_test_other_photos():
    values = [np.array([1.0, 0.0, 1.0]), np.array([1.0, 1.0, 0.0, 0.0]), np.array([1.0, 0.0])]
    people = [np.array(["a", "b", "a"]), np.array(["a", "a", "b", "b"]), np.array(["a", "b"])]
    found = over_seeds_and_people(values, people)
    assert found.by_seed == pytest.approx((2 / 3, 0.5, 0.5))
    assert found.low <= 0 and found.high >= 1  # all draws of "a" alone, or of "b" alone, are among 2,000
    apart = over_seeds_and_people(values, [[f"{s}{p}" for p in who] for s, who in enumerate(people)])
    assert apart.high - apart.low < found.high - found.low + 1e-9


def test_a_seed_of_which_nobody_is_drawn_says_nothing():
    """Two people a seed, all their photos right: a draw may miss both of a seed, and the share is 1 all the same."""
    hits, people = [np.ones(4)] * 5, [np.array([0, 0, 1, 1]) + 10 * seed for seed in range(5)]
    found = over_seeds_and_people(hits, people)
    assert (found.low, found.value, found.high) == (1, 1, 1)


def test_a_network_is_no_better_than_itself():
    a, _, people = pair(np.random.default_rng(6))
    found = compare(a, a, people)
    assert (found.value, found.low, found.high, found.p) == (0, 0, 0, 1) and found.verdict() == "undecided"


def test_too_few_seeds_give_no_verdict():
    a, b, people = pair(np.random.default_rng(5), seeds=2, lead=0.3)
    found = compare(a, b, people)
    assert found.verdict() == "undecided (2 of 3 seeds)" and np.isnan(found.p) and found.low > 0


def test_correction_may_take_a_verdict_back():
    found = Comparison(0.02, 0.001, 0.04, (0.02, 0.021, 0.019), 0.03)
    assert found.verdict() == "better" and found.verdict(0.06) == "undecided"


def test_what_does_not_fit_is_refused():
    ones = np.ones(3)
    with pytest.raises(ValueError, match="photos differ"):
        compare([ones], [np.ones(4)], [np.arange(3)])
    for values, people in (([], []), ([ones], [np.arange(2)]), ([np.ones(0)], [np.ones(0)])):
        with pytest.raises(ValueError, match="at least one photo"):
            over_seeds_and_people(values, people)
