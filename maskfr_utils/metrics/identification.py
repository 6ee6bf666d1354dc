"""Who of the enrolled is this, or is it nobody of them?"""

import numpy as np

from maskfr_utils.metrics.verification import tar_at_far


def person_scores(gallery: np.ndarray, owner: np.ndarray, probes: np.ndarray) -> np.ndarray:
    """How alike each probe is to each enrolled person: the highest cosine with a photo of his or hers.

    Args:
        gallery: (n, d) embeddings of length 1.
        owner: (n,) integers, whose they are; 0..p-1, each at least once.
        probes: (m, d) embeddings of length 1.

    Returns:
        (m, p) floats.
    """
    order = np.argsort(owner, kind="stable")
    starts = np.searchsorted(owner[order], np.arange(owner.max() + 1))
    return np.maximum.reduceat(probes @ gallery[order].T, starts, axis=1)


def ranks(scores: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The place (m,) of the right person among all, 1 the best; of those who score alike he or she comes last.

    Args:
        scores: (m, p), see `person_scores`.
        right: (m,) integers, who it is.
    """
    return (scores >= np.take_along_axis(scores, right[:, None], 1)).sum(1)


def detection_and_identification(
    known: np.ndarray,
    right: np.ndarray,
    strange: np.ndarray,
    alarms: float,
    weights: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    """The share of probes of enrolled people that are named rightly where at most a share `alarms` of strangers is named.

    The detection and identification rate of the open set (Phillips, Grother and Micheals 2011): the nearest person is the
    right one, and near enough.

    Args:
        known: (m, p) scores of probes of enrolled people, see `person_scores`.
        right: (m,) integers, who it is.
        strange: (k, p) scores of probes of people who are not enrolled.
        alarms: share of these that may be taken for somebody.
        weights: (draws, m) and (draws, k), how often each probe counts; default: each once.

    Returns:
        (draws,) shares.
    """
    named = np.where(ranks(known, right) == 1, known.max(1), -np.inf)
    scores, enrolled = np.r_[named, strange.max(1)], np.arange(len(known) + len(strange)) < len(known)
    return tar_at_far(scores, enrolled, alarms, None if weights is None else np.concatenate(weights, 1))
