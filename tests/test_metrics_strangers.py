"""Metrics of strangers: against scikit-learn, hand-made cases, and counting it all out."""

import itertools

import numpy as np
import pytest
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from sklearn.calibration import calibration_curve
from sklearn.metrics import roc_auc_score, roc_curve
from sklearn.model_selection import KFold

from maskfr_utils import metrics
from maskfr_utils.recognise.search import best_people


@pytest.fixture(scope="module")
def pairs():
    """Scores with ties of 300 pairs, a third of one person, and weights of 6 draws."""
    rng = np.random.default_rng(0)
    same = rng.random(300) < 0.35
    return (rng.normal(size=300) + 1.5 * same).round(1), same, rng.integers(0, 4, (6, 300))


def test_roc_is_scikit_learns_in_every_draw(pairs):
    scores, same, weights = pairs
    thresholds, far, tar = metrics.roc(scores, same, weights)
    for row, mine, true in zip(weights, far, tar, strict=True):
        x, y, levels = roc_curve(same, scores, sample_weight=row, drop_intermediate=False)
        np.testing.assert_allclose(np.interp(levels[1:], thresholds[:0:-1], mine[:0:-1]), x[1:])
        np.testing.assert_allclose(np.interp(levels[1:], thresholds[:0:-1], true[:0:-1]), y[1:])
        np.testing.assert_allclose(metrics.auc(scores, same, row[None]), roc_auc_score(same, scores, sample_weight=row))


@pytest.mark.parametrize("far", [0.0, 0.01, 0.1, 0.3, 1.0])
def test_tar_at_far_by_trying_every_threshold(pairs, far):
    scores, same, weights = pairs
    found = metrics.tar_at_far(scores, same, far, weights)
    for row, tar in zip(weights, found, strict=True):
        mine, others = scores.repeat(row * same), scores.repeat(row * ~same)
        allowed = [t for t in (*scores, np.inf) if (others >= t).mean() <= far]
        assert tar == pytest.approx((mine >= min(allowed)).mean())
    assert np.isnan(metrics.tar_at_far(scores, same, far, np.stack([same, ~same]))).all()  # one kind alone was drawn
    t = metrics.threshold_at_far(scores, same, far)
    assert (scores[~same] >= t).mean() <= far
    accepted, true = metrics.false_accepts(scores, same, t, np.ones((1, 300)))
    assert accepted == pytest.approx((scores[~same] >= t).mean()) and true == pytest.approx((scores[same] >= t).mean())


def test_tar_at_far_by_hand():
    """Of 100 strangers one scores 0.9: at 1% it may pass, below it may not."""
    scores = np.r_[0.95, 0.91, 0.5, 0.1, 0.9, np.linspace(0, 0.4, 99)]
    same = np.arange(len(scores)) < 4
    assert metrics.tar_at_far(scores, same, 0.01) == 0.75  # the threshold is just above 0.4, the next stranger
    assert metrics.tar_at_far(scores, same, 0.009) == 0.5
    assert metrics.threshold_at_far(scores, same, 0.009) == 0.91


def test_equal_error_rate(pairs):
    scores, same, weights = pairs
    for row, mine in zip(weights, metrics.equal_error_rate(scores, same, weights), strict=True):
        far, tar, _ = roc_curve(same, scores, sample_weight=row, drop_intermediate=False)
        assert mine == pytest.approx(brentq(lambda x, a=far, b=tar: 1 - x - interp1d(a, b)(x), 0, 1), abs=1e-6)
    perfect = np.array([1.0, 2, 3, 4])
    assert metrics.equal_error_rate(perfect, perfect > 2) == 0 and metrics.equal_error_rate(-perfect, perfect > 2) == 1
    assert metrics.equal_error_rate(np.zeros(4), perfect > 2) == 0.5


@pytest.mark.parametrize("bad", [([1.0, np.nan], [True, False]), ([1.0], [True, False]), ([1.0, 2.0], [True, True])])
def test_roc_refuses(bad):
    with pytest.raises(ValueError, match="please"):
        metrics.roc(np.array(bad[0]), np.array(bad[1]))


def test_folds_choose_thresholds_on_the_others(pairs):
    scores, same, _ = pairs
    folds = np.arange(300) // 30
    found = metrics.fold_accuracy(scores, same, folds)
    for k, (train, test) in enumerate(KFold(10).split(scores)):
        best = max(((scores[train] >= t) == same[train]).mean() for t in (*scores, np.inf))
        assert ((scores[train] >= found.thresholds[k]) == same[train]).mean() == pytest.approx(best)
        assert found.accuracy[k] == ((scores[test] >= found.thresholds[k]) == same[test]).mean()
    assert found.hits.mean() == pytest.approx(found.accuracy.mean())
    apart = metrics.fold_accuracy(np.where(same, 0.8, 0.2), same, folds)
    assert apart.hits.all() and apart.thresholds == pytest.approx(0.5)
    with pytest.raises(ValueError, match="one fold"):
        metrics.fold_accuracy(scores, same, np.zeros(300))


def unit(rng, *shape):
    found = rng.normal(size=shape).astype(np.float32)
    return found / np.linalg.norm(found, axis=-1, keepdims=True)


def test_ranks_and_scores_of_people():
    rng = np.random.default_rng(0)
    gallery, owner, probes = unit(rng, 40, 8), rng.permutation(np.arange(40) % 9), unit(rng, 25, 8)
    scores = metrics.person_scores(gallery, owner, probes)
    own = max(probes[3] @ g for g, o in zip(gallery, owner, strict=True) if o == 4)
    assert scores[3, 4] == pytest.approx(own, abs=1e-6)
    order = np.argsort(owner, kind="stable")
    people, cosines = best_people(gallery[order], np.searchsorted(owner[order], np.arange(9)), probes, 9)
    right = rng.integers(9, size=25)
    np.testing.assert_allclose(np.sort(scores)[:, ::-1], cosines, atol=1e-6)
    assert (metrics.ranks(scores, right) == 1 + np.argmax(people == right[:, None], 1)).all()
    assert (metrics.ranks(np.zeros((2, 5)), np.array([0, 3])) == 5).all()  # alike to all: known to nobody


@pytest.mark.parametrize("alarms", [0.0, 0.1, 0.5])
def test_detection_and_identification_by_trying_every_threshold(alarms):
    rng = np.random.default_rng(0)
    known, strange, right = rng.normal(size=(60, 7)), rng.normal(size=(40, 7)), rng.integers(7, size=60)
    known[np.arange(60), right] += 1.5
    weights = rng.integers(0, 3, (4, 60)), rng.integers(0, 3, (4, 40))
    found = metrics.detection_and_identification(known, right, strange, alarms, weights)
    for mine, theirs, rate in zip(*weights, found, strict=True):
        named = known.argmax(1) == right
        best = strange.max(1).repeat(theirs)
        levels = [t for t in (*strange.max(1), *known.max(1), np.inf) if (best >= t).mean() <= alarms]
        expected = (named & (known.max(1) >= min(levels))).repeat(mine).mean()
        assert rate == pytest.approx(expected)


def test_draws_are_of_people():
    people = np.array(["b", "a", "b", "c"])
    draws = metrics.Draws(people, 200, seed=3)
    weights = draws.photos(people)
    assert (weights[0] == 1).all() and (draws.times.sum(1) == 3).all() and (weights[:, 0] == weights[:, 2]).all()
    pairs = draws.pairs(np.array(["a", "b"]), np.array(["c", "b"]))
    assert (pairs[:, 0] == draws.times[:, 0] * draws.times[:, 2]).all() and (pairs[:, 1] == draws.times[:, 1]).all()
    with pytest.raises(ValueError, match="among"):
        draws.photos(np.array(["zoe"]))
    assert metrics.share(np.array([True, False, True, True]), weights)[0] == 0.75
    told = metrics.summary(np.r_[0.5, np.linspace(0, 1, 101), np.nan])
    assert told == {"value": 0.5, "low": 0.025, "high": 0.975}


def test_interval_of_pairs_holds_the_truth():
    """Intervals of TAR over 40 people hold what very many people have, nearly always."""

    def tar(count, seed):
        rng = np.random.default_rng(seed)
        centres = unit(rng, count, 16)
        found = centres.repeat(3, 0) + 0.25 * rng.normal(size=(3 * count, 16))
        found /= np.linalg.norm(found, axis=1, keepdims=True)
        who = np.arange(count).repeat(3)
        a, b = np.array(list(itertools.combinations(range(3 * count), 2))).T
        scores = (found[a] * found[b]).sum(1)
        weights = metrics.Draws(who, 300).pairs(who[a], who[b])
        return metrics.summary(metrics.tar_at_far(scores, who[a] == who[b], 0.01, weights))

    truth = np.mean([tar(40, seed)["value"] for seed in range(100, 112)])
    held = [found["low"] <= truth <= found["high"] for found in (tar(40, seed) for seed in range(10))]
    assert np.mean(held) >= 0.8


def test_calibration(pairs):
    rng = np.random.default_rng(0)
    scores = rng.uniform(-2, 2, 20_000)
    truth = 1 / (1 + np.exp(-(3 * scores - 1)))
    same = rng.random(20_000) < truth
    for way, within in (("logistic", 0.015), ("isotonic", 0.05)):
        probability = metrics.calibrator(scores[:10_000], same[:10_000], way)(scores[10_000:])
        assert np.abs(probability - truth[10_000:]).mean() < within
        assert metrics.calibration_error(probability, same[10_000:]) < 0.02
    promised, came, part = metrics.reliability(truth, same)
    x, y = calibration_curve(same, truth, n_bins=10, strategy="quantile")[::-1]
    np.testing.assert_allclose(promised[0], x, atol=1e-3), np.testing.assert_allclose(came[0], y, atol=2e-3)
    assert part[0] == pytest.approx(0.1, abs=1e-3)
    assert metrics.calibration_error(np.full(4, 0.9), np.array([True, False, False, False])) == pytest.approx(0.65)
    twice = metrics.calibration_error(truth, same, np.stack([np.ones(20_000), 2 * np.ones(20_000)]))
    assert twice[0] == pytest.approx(twice[1])
    one = rng.beta(2, 2, 400)  # probabilities that keep what they promise, of few pairs
    errors = [metrics.calibration_error(one, rng.random(400) < one)[0] for _ in range(200)]
    promised, *_ = metrics.reliability(one, same[:400])
    assert metrics.error_by_luck(promised[0], 400) == pytest.approx(np.mean(errors), rel=0.1)
    with pytest.raises(ValueError, match="unknown way"):
        metrics.calibrator(scores, same, "beta")
    with pytest.raises(ValueError, match="please"):
        metrics.calibrator(scores, same | True)


def test_thresholds_of_strangers_by_comparing_each_with_each():
    rng = np.random.default_rng(0)
    embeddings, owner = unit(rng, 120, 8), np.arange(120) % 30
    a, b = np.array([(i, j) for i in range(120) for j in range(i) if owner[i] != owner[j]]).T
    cosines = (embeddings[a] * embeddings[b]).sum(1)
    for rate, found in zip((0.1, 0.01), metrics.stranger_thresholds(embeddings, owner, [0.1, 0.01]), strict=True):
        assert found == pytest.approx(np.quantile(cosines, 1 - rate), abs=2e-3)
