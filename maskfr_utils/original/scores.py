"""How accuracies come out, rightly and as the code behind the report computed them, from the record of an audit's run."""

from collections.abc import Collection, Mapping

import numpy as np

from maskfr_utils.original.flaws import SCORED

EACH = 3  # photos of a person that its split notebook tests on


def three_each(labels: np.ndarray, seed: int) -> np.ndarray:
    """(N,) bool: three photos of each person (N,), or all that there are, drawn from `seed`."""
    drawn = np.random.default_rng(seed).permutation(len(labels))
    place = np.empty(len(labels), int)
    for person in np.unique(labels):
        mine = drawn[labels[drawn] == person]
        place[mine] = np.arange(len(mine))
    return place < EACH


def named(record: Mapping, scoring: Collection[str] = ()) -> tuple[np.ndarray, np.ndarray]:
    """Who is on each photo that is scored, and whether the run names it rightly.

    Args:
        record: of an audit's run. Where its folders were mixed up, its unmasked photos are what is reported.
        scoring: some of `flaws.SCORED`; `people_mean` changes neither.

    Returns:
        (n,) integers and (n,) bool.
    """
    audit, photos = record["audit"], record["photos"]
    twin = "unmasked" if "folders" in audit["flaws"] else "masked"
    labels = np.array(photos["label"])
    predictions = audit["photos"][f"{twin}_by_batch"] if "batch_statistics" in scoring else photos[twin]
    hits = np.array(predictions) == labels
    if "three_photos" in scoring:
        some = three_each(labels, record["params"]["seed"])
        labels, hits = labels[some], hits[some]
    return labels, hits


def accuracy(labels: np.ndarray, hits: np.ndarray, scoring: Collection[str] = ()) -> float:
    """The share of right photos; with `people_mean` the mean over people of that share."""
    if "people_mean" not in scoring:
        return float(hits.mean())
    return float(np.mean([hits[labels == person].mean() for person in np.unique(labels)]))


def reported(record: Mapping) -> dict[str, float]:
    """The run's accuracy as its flaws of training have it, with each flaw of scoring, and with all of them."""
    ways = {"": (), **{name: (name,) for name in SCORED}, "all": SCORED}
    return {name or "none": round(accuracy(*named(record, way), way), 6) for name, way in ways.items()}


def honest(record: Mapping) -> float | None:
    """The same network's accuracy on masked photos of which it was trained on no copy; None where there are none."""
    labels = np.array(record["photos"]["label"])
    unseen = ~np.array(record["audit"]["photos"]["copy_trained_on"], bool)
    hits = (np.array(record["photos"]["masked"]) == labels)[unseen]
    return round(float(hits.mean()), 6) if len(hits) else None
