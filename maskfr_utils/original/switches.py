"""The switches: what each deviation of the code behind the report does to data, network, training and scoring.

Source: the public repository shiyuhu1933/ResSaNet, read as a description (see `flaws` for where). Its networks are in
`models.legacy`, its loss is `losses.LegacyArcFace`.
"""

import copy
import math
from collections.abc import Collection
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from maskfr_utils import loop
from maskfr_utils.batches import to_input
from maskfr_utils.config import TrainConfig
from maskfr_utils.faces.pose import MIRROR
from maskfr_utils.models import create_model
from maskfr_utils.recogniser import Recogniser
from maskfr_utils.store import FACE_SHAPE, TEST, TRAIN, VALIDATION, FaceStore

TEST_BATCH = 256  # photos, of its ResSaNet notebook


class Pool(FaceStore):
    """A prepared store as the original would have split it; without flaws the store itself.

    `near_copies`: repeats of kept photos count as photos, and each person's photos are drawn anew one by one, in the same
    shares. `mirrored_twins`: a second half of rows holds every photo mirrored; each person's mirror images fall into the
    parts in the same numbers as the photos, by chance.

    Args:
        path: the prepared file.
        flaws: of training.
    """

    def __init__(self, path: str | Path, flaws: Collection[str]):
        super().__init__(path)
        self.mirrored = "mirrored_twins" in flaws
        self.photos = len(self.labels)  # of the file
        origin = np.where(self.duplicate_of >= 0, self.duplicate_of, np.arange(self.photos))
        rng = np.random.default_rng(int(self.attrs.get("seed", 0)))
        if "near_copies" in flaws:
            self.split = self._drawn_anew(rng)
        if self.mirrored:
            mirrors = self.split.copy()
            for person in range(len(self.identities)):
                mine = np.flatnonzero((self.labels == person) & (self.split >= 0))
                mirrors[mine] = rng.permutation(self.split[mine])
            self.split, self.labels = np.concatenate([self.split, mirrors]), np.tile(self.labels, 2)
            origin = np.tile(origin, 2)
        self.origin = origin  # (N,) int64: photos with the same one are copies of each other
        if flaws:  # a checkpoint or record of one is none of the other
            self.attrs = self.attrs | {"fingerprint": f"{self.attrs.get('fingerprint')} with {', '.join(flaws)}"}

    def _drawn_anew(self, rng: np.random.Generator) -> np.ndarray:
        """(photos,) int8: the parts when copies count as photos."""
        split = np.full_like(self.split, -1)
        for person in range(len(self.identities)):
            mine = (self.labels == person) & self.masked_ok
            kept = self.split[mine & (self.split >= 0)]
            pool = rng.permutation(np.flatnonzero(mine & ((self.split >= 0) | (self.duplicate_of >= 0))))
            parts = (TEST, VALIDATION)
            sizes = [-(-int((kept == part).sum()) * len(pool) // max(len(kept), 1)) for part in parts]  # rounded up
            ends = np.cumsum(sizes)
            for part, some in zip((*parts, TRAIN), np.split(pool, ends), strict=True):
                split[some] = part
        return split

    def copy_trained_on(self, part: int) -> np.ndarray:
        """(n,) bool: of each photo of a part, whether its mirror image or another copy is trained on."""
        return np.isin(self.origin[self.indices(part)], self.origin[self.indices(TRAIN)])

    def batch(self, indices: np.ndarray, *, masked: bool | np.ndarray = False) -> tuple[np.ndarray, np.ndarray]:
        """As `FaceStore.batch`."""
        places = np.arange(len(self))[np.asarray(indices)]
        images, labels = super().batch(places % self.photos, masked=masked)
        mirrored = places >= self.photos
        images[mirrored] = images[mirrored][:, :, ::-1]
        return images, labels

    @cached_property
    def landmarks(self) -> np.ndarray:
        """(N, 68, 2) float32 pixels (x, y)."""
        points = super().landmarks
        if not self.mirrored:
            return points
        mirrors = points[:, MIRROR] * np.float32((-1, 1)) + np.float32((FACE_SHAPE[1] - 1, 0))
        return np.concatenate([points, mirrors])

    @cached_property
    def sources(self) -> np.ndarray:
        """(N,) str: `<identity>/<picture>`, a mirrored one with a word that says so."""
        names = super().sources
        return np.concatenate([names, names + " mirrored"]) if self.mirrored else names

    @cached_property
    def mask_kinds(self) -> np.ndarray:
        """(N,) str: the mask that each twin wears."""
        return np.tile(super().mask_kinds, 1 + self.mirrored)


def bgr_255(images: Tensor) -> Tensor:
    """(N, 3, H, W) RGB in [-1, 1] -> BGR from 0 to 255, the whole numbers that the pictures hold."""
    return ((images + 1) * 127.5).round().flip(1)


def recogniser(config: TrainConfig, num_classes: int, flaws: Collection[str]) -> Recogniser:
    """The network and its loss with these flaws; without any of the network's own, just those of the run."""
    made = Recogniser(config, num_classes)
    if "network" in flaws:
        made.backbone = create_model(config.model, width=config.width, embedding_dim=config.embedding_dim, legacy=True)
        if "shared_modules" not in flaws:
            made.backbone.keep_apart()
        if "initial_weights" in flaws:
            made.backbone.begin_as_there()
    if "bgr_255" in flaws:
        made.backbone.register_forward_pre_hook(lambda module, given: (bgr_255(given[0]), *given[1:]))
    if flaws:  # its weights are for nothing else: `load_model` refuses the name
        made.backbone.config = made.backbone.config | {"name": f"{config.model} of the audit ({', '.join(flaws)})"}
    return made


class FlawedTrainer(loop.Trainer):
    """A run with flaws; arguments after `flaws`, attributes and errors as `loop.Trainer`."""

    def __init__(self, flaws: Collection[str], *args: object):
        self.flaws = flaws
        super().__init__(*args)

    def build(self) -> Recogniser:
        """The network and its loss."""
        return recogniser(self.config, len(self.store.identities), self.flaws)

    def vary(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Training pictures: where mirror images are stored, none is mirrored."""
        return images if "mirrored_twins" in self.flaws else super().vary(images, generator)


@torch.no_grad()
def by_batch_statistics(run: loop.Trainer, part: int, masked: bool) -> np.ndarray:
    """Who is named on each photo of a part (n,) by a network in training mode, whose BatchNorms go by the batch.

    Photos come in an order drawn from the run's seed, `TEST_BATCH` at a time or a few less; the network is left as it was.
    """
    places = run.store.indices(part)
    order = np.random.default_rng(run.config.seed).permutation(len(places))
    found = np.empty(len(places), np.int64)
    before = copy.deepcopy(run.recogniser.state_dict())
    run.recogniser.train()
    for some in np.array_split(order, math.ceil(len(order) / TEST_BATCH)):
        faces, _ = run.store.batch(places[some], masked=masked)
        with run.fabric.autocast():
            embeddings = run.recogniser.backbone(to_input(run.fabric.to_device(torch.from_numpy(faces)))).float()
            found[some] = run.recogniser.head.logits(embeddings).argmax(1).cpu().numpy()
    run.recogniser.load_state_dict(before)
    run.recogniser.eval()
    return found
