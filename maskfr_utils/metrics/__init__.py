"""How good a recogniser is and how sure that is: known people named, pairs told apart, strangers noticed, probabilities.

Measures take `weights`, (draws, n) how often each photo or pair counts; `people.Draws` makes them, the first row of ones, the
others with people drawn anew, so that every measure gets an interval over people.
"""

from maskfr_utils.metrics.closed_set import (
    Accuracy,
    Z,
    accuracy,
    disagreement,
    half_width,
    holm,
    rank_curve,
    wilson,
)
from maskfr_utils.metrics.identification import detection_and_identification, person_scores, ranks
from maskfr_utils.metrics.people import Draws, share, summary
from maskfr_utils.metrics.probability import calibration_error, calibrator, error_by_luck, reliability
from maskfr_utils.metrics.verification import (
    Folds,
    auc,
    equal_error_rate,
    false_accepts,
    fold_accuracy,
    roc,
    stranger_thresholds,
    tar_at_far,
    threshold_at_far,
)

__all__ = [
    "Accuracy",
    "Draws",
    "Folds",
    "Z",
    "accuracy",
    "auc",
    "calibration_error",
    "calibrator",
    "detection_and_identification",
    "disagreement",
    "equal_error_rate",
    "error_by_luck",
    "false_accepts",
    "fold_accuracy",
    "half_width",
    "holm",
    "person_scores",
    "rank_curve",
    "ranks",
    "reliability",
    "roc",
    "share",
    "stranger_thresholds",
    "summary",
    "tar_at_far",
    "threshold_at_far",
    "wilson",
]
