"""What of a data set was left out when it was prepared, and why: as a table and as pictures."""

import json

import numpy as np
import pandas as pd

from maskfr_utils.store import LEFT_OUT, WORN, FaceStore

COPY, MASKED, UNPLACED, TWO_NAMES = (  # as `splits` calls them
    "near-duplicate",
    "wears a mask already",
    "mask not placed",
    "one photo under two names",
)


def table(store: FaceStore, names: int = 3) -> pd.DataFrame:
    """A line a reason: how many pictures, and the names of some of them.

    Args:
        store: a prepared data set; one that somebody else wrote has no reasons.
        names: how many.
    """
    counts = {reason: n for key in ("skipped", "dropped") for reason, n in _mapping(store, key).items() if n}
    named: dict[str, list[str]] = {}
    for name, reason in _mapping(store, "without").items():
        named.setdefault(reason, []).append(name)
    for reason, places in places_by_reason(store).items():
        named.setdefault(reason, []).extend(store.sources[place] for place in places[:names])
    rows = [(reason, n, ", ".join(named.get(reason, [])[:names])) for reason, n in counts.items()]
    return pd.DataFrame(rows, columns=["left out because", "pictures", "such as"]).set_index("left out because")


def faces(store: FaceStore, most: int = 10) -> dict[str, np.ndarray]:
    """By reason the first (n, 112, 112, 3) of the faces that were found but left out.

    Args:
        store: a prepared data set.
        most: faces a reason.
    """
    return {reason: store.batch(places[:most])[0] for reason, places in places_by_reason(store).items()}


def places_by_reason(store: FaceStore) -> dict[str, np.ndarray]:
    """Places in the store of the faces that are in no part, by reason."""
    kinds, left_out = np.array(store.mask_kinds), store.split == LEFT_OUT
    worn, copies = kinds == WORN, store.duplicate_of >= 0
    unplaced = ~store.masked_ok & ~worn
    rest, too_few = ~(worn | unplaced | copies), f"identity below {store.attrs.get('min_masked', '?')} pictures"
    which = {MASKED: worn, UNPLACED: unplaced, COPY: copies}
    which |= {TWO_NAMES: rest & (store.labels >= 0), too_few: rest & (store.labels < 0)}
    found = {reason: np.flatnonzero(left_out & here) for reason, here in which.items()}
    return {reason: places for reason, places in found.items() if len(places)}


def _mapping(store: FaceStore, key: str) -> dict:
    try:
        found = json.loads(store.attrs.get(key, "{}"))
    except (TypeError, ValueError):  # another program's
        return {}
    return found if isinstance(found, dict) else {}
