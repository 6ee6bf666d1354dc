"""What stands behind the measures of strangers: ROC curves, thresholds and probabilities carried over, hard photos."""

from collections.abc import Iterable, Mapping

import numpy as np

from maskfr_utils import metrics
from maskfr_utils.measure.picture_sets import PictureSet
from maskfr_utils.metrics import Draws
from maskfr_utils.study.outcomes import YAWS, yaw_groups

RATES = np.logspace(-4, 0, 33)  # false accept rates at which a ROC curve is kept
FAR = 0.01  # at which thresholds are carried over
LEAST = 30  # pairs in a group
# What is worn -> pairs (m, 2), scores (m,), whether masks are drawn on the first and second photo of each (0 or 1).
Scored = Mapping[str, tuple[np.ndarray, np.ndarray, tuple[int, int]]]


def details(sets: Mapping[str, tuple[PictureSet, Scored]], resamples: int) -> dict[str, object]:
    """Of one network: `roc`, `carried` (thresholds and probabilities from one kind of pairs to another), `reliability`, `quality`.

    Args:
        sets: by name the pictures and what became of their pairs.
        resamples: draws of people for the intervals.
    """
    pairs = {
        (name, worn): (scores, pictures.people[pairs[:, 0]] == pictures.people[pairs[:, 1]], pictures, pairs, drawn)
        for name, (pictures, scored) in sets.items()
        for worn, (pairs, scores, drawn) in scored.items()
    }
    draws = {name: Draws(pictures.people, resamples) for name, (pictures, _) in sets.items()}
    weights = {key: draws[key[0]].pairs(*pictures.people[at].T) for key, (_, _, pictures, at, _) in pairs.items()}
    told = {", ".join(key): key for key in pairs}
    return {
        "roc": {label: _roc(*pairs[key][:2]) for label, key in told.items()},
        "carried": {
            source: {target: _carried(pairs[a][:2], pairs[b][:2], weights[b]) for target, b in told.items()}
            for source, a in told.items()
        },
        "reliability": {label: _reliability(*pairs[key][:2]) for label, key in told.items()},
        "quality": {label: _quality(*pairs[key], weights[key]) for label, key in told.items()},
    }


def _roc(scores: np.ndarray, same: np.ndarray) -> dict[str, list[float]]:
    """TAR at false accept rates that the pairs can tell."""
    rates = RATES[RATES * (~same).sum() >= 1]
    _, far, tar = metrics.roc(scores, same)
    at = (far[0] <= rates[:, None] + 1e-12).sum(1) - 1
    return {"far": np.round(rates, 6).tolist(), "tar": np.round(tar[0][at], 4).tolist()}


def _carried(
    source: tuple[np.ndarray, np.ndarray], target: tuple[np.ndarray, np.ndarray], weights: np.ndarray
) -> dict[str, object]:
    """The threshold of FAR 1% and the logistic probability of one kind of pairs, tried on another."""
    threshold = metrics.threshold_at_far(*source, FAR)
    far, tar = metrics.false_accepts(*target, threshold, weights)
    error = metrics.calibration_error(metrics.calibrator(*source)(target[0]), target[1], weights)
    return {
        "threshold": round(min(threshold, 1.0), 4),  # inf where even the nearest pair of two is too many
        "FAR": metrics.summary(far),
        "TAR": metrics.summary(tar),
        "ECE": metrics.summary(error),
    }


def _reliability(scores: np.ndarray, same: np.ndarray) -> dict[str, dict]:
    """Probabilities fitted on every other pair of each kind, tried on the rest: `promised`, `came` in bins, and `ECE`."""
    order = np.r_[np.flatnonzero(same), np.flatnonzero(~same)]
    fit, rest = order[::2], order[1::2]
    found = {}
    for way in ("logistic", "isotonic"):
        probability = metrics.calibrator(scores[fit], same[fit], way)(scores[rest])
        promised, came, _ = metrics.reliability(probability, same[rest])
        full = np.isfinite(promised[0])
        found[way] = {
            "promised": np.round(promised[0][full], 4).tolist(),
            "came": np.round(came[0][full], 4).tolist(),
            "ECE": round(float(metrics.calibration_error(probability, same[rest])[0]), 4),
        }
    return found


def _quality(
    scores: np.ndarray,
    same: np.ndarray,
    pictures: PictureSet,
    pairs: np.ndarray,
    drawn: tuple[int, int],
    weights: np.ndarray,
) -> dict[str, dict[str, dict]]:
    """Share of pairs called rightly at the best threshold of all, by the harder photo of each: what -> group -> share.

    A kind of mask is that of the second photo, where it wears one. How much of the picture a real one covers is not known.
    """
    thresholds, far, tar = metrics.roc(scores, same)
    right = tar[0] * same.sum() + (1 - far[0]) * (~same).sum()
    hits = (scores >= thresholds[right.argmax()]) == same
    real = pictures.worn[pairs].T
    groups = {"mask": np.where(real[1] | bool(drawn[1]), pictures.kinds[pairs[:, 1]], "")}
    for name, values in pictures.quality.items():
        both = values[pairs].T
        if name == "covered":
            both = np.where(real, np.nan, np.where(np.array(drawn)[:, None], both, 0.0))
        harder = (np.maximum if name in ("turned", "covered") else np.minimum)(*both)
        groups[name] = yaw_groups(harder) if name == "turned" else _thirds(harder)
    found = {}
    for what, group in groups.items():
        names = list(YAWS) if what == "turned" else sorted(set(group.tolist()) - {"", "unknown"})
        inside = {name: group == name for name in names}
        rows = {
            name: metrics.summary(metrics.share(hits[some], weights[:, some])) | {"pairs": int(some.sum())}
            for name, some in inside.items()
            if some.sum() >= LEAST
        }
        if len(rows) > 1:
            found[what] = rows
    return found


def far_apart(groups: Iterable[str]) -> bool:
    """Whether the upper third of a quantity begins at least a fifth above the end of the lower one; groups that are no thirds are."""
    ends = [float(name.split()[-1]) for name in groups if name.startswith(("1:", "3:"))]
    return len(ends) < 2 or ends[1] >= 1.2 * ends[0]


def _thirds(values: np.ndarray) -> np.ndarray:
    """The third (n,) that each value lies in, by name; "unknown" where it is none, or all are alike."""
    known = np.isfinite(values)
    if not known.any() or np.ptp(values[known]) == 0:
        return np.full(len(values), "unknown")
    low, high = np.quantile(values[known], (1 / 3, 2 / 3))
    names = [f"1: below {low:.3g}", f"2: {low:.3g} to {high:.3g}", f"3: above {high:.3g}"]
    return np.select([~known, values < low, values <= high], ["unknown", *names[:2]], names[2])
