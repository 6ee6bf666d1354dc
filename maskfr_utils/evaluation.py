"""What a network makes of photos that it was not trained on: logits, the identities that it names, accuracies."""

import math
from collections.abc import Callable

import numpy as np
import torch
from tqdm import tqdm

from maskfr_utils.batches import seen, to_input
from maskfr_utils.metrics import Accuracy, accuracy
from maskfr_utils.run_state import RunState
from maskfr_utils.store import WORN, FaceStore


@torch.no_grad()
def logits(run: RunState, faces: np.ndarray) -> np.ndarray:
    """The logits (n, identities) of faces (n, 112, 112, 3) uint8, in evaluation mode, by what the run's condition shows."""
    run.recogniser.eval()
    images = to_input(run.fabric.to_device(torch.from_numpy(seen(faces, run.config.condition))))
    with run.fabric.autocast():
        embeddings = run.recogniser.backbone(images).float()
        if run.config.flip_test:
            embeddings = embeddings + run.recogniser.backbone(images.flip(3)).float()
        return run.recogniser.head.logits(embeddings).float().cpu().numpy()


def none_right(store: FaceStore, part: int) -> tuple[dict[str, Accuracy], dict[str, np.ndarray]]:
    """What `score` gives where no photo is named rightly: of a network that has left the numbers."""
    labels, people = store.labels[store.indices(part)], len(store.identities)
    wrong, last = (labels + 1) % people, np.full(len(labels), people)
    names = ("masked", "unmasked")
    photos = {f"{name}{end}": values for name in names for end, values in (("", wrong), ("_rank", last))}
    return {name: accuracy(labels, wrong, people) for name in names}, photos


def score(
    predict: Callable[[np.ndarray], np.ndarray], store: FaceStore, part: int
) -> tuple[dict[str, Accuracy], dict[str, np.ndarray]]:
    """Accuracy on the masked and on the unmasked twins of a part's photos, and of each photo the results.

    Args:
        predict: gives the logits (n, identities) of faces (n, 112, 112, 3) uint8.
        store: the prepared faces.
        part: `store.TEST` or `store.VALIDATION`.

    Returns:
        Scores by condition; and by condition the predicted identities (n,), with `_rank` after its name the place
        (n,) of the right identity among all, 1 where the prediction is right.
    """
    places = store.indices(part)
    labels, photos, scores = store.labels[places], {}, {}
    for name, masked in (("masked", True), ("unmasked", False)):
        photos[name], photos[f"{name}_rank"] = _named(predict, store, places, name, masked)
        scores[name] = accuracy(labels, photos[name], len(store.identities))
    return scores, photos


def score_worn(predict: Callable[[np.ndarray], np.ndarray], store: FaceStore) -> dict[str, Accuracy]:
    """As `worn`, the accuracy on photos of known people in which a mask is worn already; nothing where there is none.

    They were neither trained on nor used for any choice. Near-copies among them all count.

    Args:
        predict: as for `score`.
        store: prepared with `worn_masks`.
    """
    places = np.flatnonzero((np.array(store.mask_kinds) == WORN) & (store.labels >= 0))
    if not len(places):
        return {}
    named, _ = _named(predict, store, places, "worn")
    return {"worn": accuracy(store.labels[places], named, len(store.identities))}


def _named(
    predict: Callable[[np.ndarray], np.ndarray], store: FaceStore, places: np.ndarray, name: str, masked: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """The identities (n,) that are named on the photos at `places` (n,), or on their masked twins, and the ranks (n,) of the right ones.

    Some photos at a time: the logits of all, n x identities, may be more than memory holds.
    """
    named, ranks = [], []
    blocks = np.array_split(places, math.ceil(len(places) / 128))
    bar = tqdm(blocks, desc=f"{name} faces", unit="batch", leave=False, mininterval=1, delay=2)
    for block in bar:
        images, labels = store.batch(block, masked=masked)
        found = predict(images)
        named.append(found.argmax(1))
        above = (found > np.take_along_axis(found, labels[:, None], 1)).sum(1)
        ranks.append(
            np.where(named[-1] == labels, 1, np.maximum(above + 1, 2))
        )  # a tie is no first rank, unless argmax names the right one
    return np.concatenate(named), np.concatenate(ranks)
