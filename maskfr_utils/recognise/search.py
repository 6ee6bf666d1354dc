"""Exact search: the people whose photos are most like a face, among any number of embeddings."""

import numpy as np

_ROWS = 1 << 16  # embeddings compared at a time: the cosines of a batch of faces stay small


def best_people(
    gallery: np.ndarray, starts: np.ndarray, probes: np.ndarray, count: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """For each probe the people with the most similar embeddings, a person counting by the most similar of hers.

    Every cosine is computed, by matrix products in single precision.

    Args:
        gallery: (n, d) float32 of length 1, those of a person one after the other.
        starts: (p,) rising, the first row of each person.
        probes: (m, d) float32 of length 1.
        count: people for each probe, at most p.

    Returns:
        Indices (m, count) int64 of people, best first, and their cosines (m, count) float32.
    """
    people = np.zeros((len(probes), 0), np.int64)
    cosines = np.zeros((len(probes), 0), np.float32)
    ends = np.r_[starts[1:], len(gallery)]
    first = 0
    while first < len(starts):
        # As many whole persons as fit, at least one.
        last = max(first + 1, int(np.searchsorted(ends, starts[first] + _ROWS, "right")))
        here = probes @ gallery[starts[first] : ends[last - 1]].T
        best = np.maximum.reduceat(here, starts[first:last] - starts[first], axis=1)
        people = np.concatenate([people, np.broadcast_to(np.arange(first, last), best.shape)], 1)
        cosines = np.concatenate([cosines, best], 1)
        if cosines.shape[1] > count:
            kept = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
            people, cosines = (np.take_along_axis(found, kept, 1) for found in (people, cosines))
        first = last
    order = np.argsort(-cosines, axis=1, kind="stable")
    return np.take_along_axis(people, order, 1), np.take_along_axis(cosines, order, 1)
