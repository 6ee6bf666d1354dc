"""What a training step is fed: which photos, which twin of each, and how they are varied.

Order and twins are drawn by the loader from (seed, epoch, place in the epoch); mirroring and augmentation work on whole
batches on the training device, and every draw comes from one generator.
"""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from maskfr_utils.config import TrainConfig
from maskfr_utils.masks import mask_faces
from maskfr_utils.memory import free_memory
from maskfr_utils.names import CONDITIONS, unknown
from maskfr_utils.store import FACE_BYTES, FACE_SHAPE, TRAIN, FaceStore

LUMA = (0.299, 0.587, 0.114)
KEPT = 0.25  # of a GPU's free memory, at most, for the faces that it trains on
GREY = 127  # of what a condition hides: the middle of the range


class TwinDataset(Dataset):
    """Training pictures of one epoch: of each photo the twin that the condition asks for, and perhaps a new mask."""

    def __init__(self, store: FaceStore, config: TrainConfig, epoch: int = 0):
        self.store, self.config, self.epoch = store, config, epoch

    def __len__(self) -> int:
        return len(self.store)

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        """A batch (n, 112, 112, 3) uint8 with labels (n,); the first index and the epoch seed its draws.

        Where both twins come together it is twice as long: all photos unmasked, then in the same order masked.
        """
        config, indices = self.config, np.asarray(indices)
        rng = np.random.default_rng((config.seed, self.epoch, int(indices[0])))
        condition = CONDITIONS[config.condition]
        if condition.together:
            indices, masked = np.tile(indices, 2), np.repeat([False, True], len(indices))
        else:
            masked = rng.random(len(indices)) < condition.masked
        seed = int(rng.integers(2**31))
        images, labels = self.store.batch(indices, masked=masked & (not config.fresh_masks))
        if config.fresh_masks and masked.any():
            drawn = mask_faces(images[masked], self.store.landmarks[indices[masked]], style=config.style, seed=seed)
            images[masked] = drawn.images
        return torch.as_tensor(seen(images, config.condition)), torch.as_tensor(labels)

    __getitem__ = __getitems__


class OnDevice:
    """A store's training photos in the memory of a device, as `TwinDataset` asks for them: at a step none is read or moved.

    Args:
        store: whose photos.
        condition: of training, which decides whether one twin of each is needed or both.
        device: that trains.
    """

    def __init__(self, store: FaceStore, condition: str, device: torch.device):
        photos, self.labels, twins = store.indices(TRAIN), store.labels, _twins(condition)
        self.row = np.full(len(store), -1)
        self.row[photos] = np.arange(len(photos))
        self.faces = torch.empty((len(twins), len(photos), *FACE_SHAPE), dtype=torch.uint8, device=device)
        for faces, masked in zip(self.faces, twins, strict=True):
            for start in range(0, len(photos), 256):
                some = store.batch(photos[start : start + 256], masked=masked)[0]
                faces[start : start + len(some)] = torch.from_numpy(some)

    def __len__(self) -> int:
        return len(self.row)

    def batch(self, indices: np.ndarray, *, masked: np.ndarray) -> tuple[Tensor, np.ndarray]:
        """As `FaceStore.batch`, for training photos; the pictures are a tensor on the device."""
        twin = masked.astype(np.int64) if len(self.faces) == 2 else np.zeros(len(indices), np.int64)
        where = (torch.from_numpy(places).to(self.faces.device) for places in (twin, self.row[indices]))
        return self.faces[tuple(where)], self.labels[indices]


def fits_on_device(store: FaceStore, config: TrainConfig, device: torch.device) -> bool:
    """Whether a run's faces are kept by its device (`OnDevice`): a GPU, of whose free memory they take at most a quarter.

    Not where a face is drawn anew at each visit, or shown in part.
    """
    if device.type != "cuda" or config.fresh_masks or CONDITIONS[config.condition].rows != (0, FACE_SHAPE[0]):
        return False
    needed = len(store.indices(TRAIN)) * len(_twins(config.condition)) * FACE_BYTES
    return needed <= KEPT * free_memory(device)


def _twins(condition: str) -> tuple[bool, ...]:
    """Which twins a condition shows: bare (False), masked (True) or both."""
    return {0.0: (False,), 1.0: (True,)}.get(CONDITIONS[condition].masked, (False, True))


class FaceDataset(Dataset):
    """A store's faces for training code of one's own: `dataset[i]` is a picture and its label.

        >>> DataLoader(FaceDataset("people.h5", "both", transform=v2.RandomHorizontalFlip()), batch_size=64, num_workers=4)

    Args:
        store: a store, or the path of its file.
        condition: "masked", "unmasked", or another: each photo's unmasked picture, then each one's masked twin.
        split: which photos: `store.TRAIN`, `store.VALIDATION` or `store.TEST`.
        transform: of the picture, a (3, 112, 112) uint8 RGB tensor.

    Raises:
        ValueError: an unknown condition; else as `FaceStore`.
    """

    def __init__(
        self,
        store: FaceStore | str | Path,
        condition: str = "unmasked",
        *,
        split: int = TRAIN,
        transform: Callable[[Tensor], Any] | None = None,
    ):
        if condition not in CONDITIONS:
            raise ValueError(unknown("condition", condition, CONDITIONS))
        self.store = store if isinstance(store, FaceStore) else FaceStore(store)
        self.transform, self.condition, photos = transform, condition, self.store.indices(split)
        twins = _twins(condition)
        self.indices, self.masked = np.tile(photos, len(twins)), np.repeat(np.array(twins), len(photos))

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> list[tuple[Any, int]]:
        images, labels = self.store.batch(self.indices[indices], masked=self.masked[indices])
        pictures = torch.from_numpy(seen(images, self.condition)).permute(0, 3, 1, 2)
        changed = pictures if self.transform is None else map(self.transform, pictures)
        return list(zip(changed, labels.tolist(), strict=True))


class EpochBatches(Sampler[list[int]]):
    """This process's share of each batch of an epoch, in an order drawn from (seed, epoch); the last, partial batch is left out.

    Where both twins of a photo come together, a batch has half as many photos, and an epoch half of all photos, the next one
    the other half: steps and pictures stay as they are without.

    Attributes:
        batch_size: pictures a step over all processes, to each of which it gives equally many.
        photos: how many different photos these show.
        epoch: the one to draw.
        first: batches of it that were taken before.
    """

    def __init__(
        self, indices: np.ndarray, batch_size: int, seed: int, rank: int = 0, world: int = 1, together: bool = False
    ):
        self.indices, self.seed, self.rank, self.world = indices, seed, rank, world
        self.twins = 1 + together
        self.photos = min(batch_size // self.twins, len(indices) // (self.twins * world) * world)
        self.batch_size, self.epoch, self.first = self.twins * self.photos, 0, 0

    def __len__(self) -> int:
        return len(self.indices) // self.batch_size

    def __iter__(self) -> Iterator[list[int]]:
        drawn, part = divmod(self.epoch, self.twins)
        order = np.random.default_rng((self.seed, drawn)).permutation(self.indices)
        for step in range(self.first, len(self)):
            start = (part * len(self) + step) * self.photos
            yield order[start : start + self.photos][self.rank :: self.world].tolist()


def as_it_is(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Hands on what `TwinDataset` has made a batch of already."""
    return batch


def seen(faces: np.ndarray, condition: str) -> np.ndarray:
    """What a network that trains under a condition sees of faces (n, 112, 112, 3) uint8: the rest is `GREY`."""
    first, end = CONDITIONS[condition].rows
    if (first, end) == (0, faces.shape[1]):
        return faces
    cut = np.full_like(faces, GREY)
    cut[:, first:end] = faces[:, first:end]
    return cut


def to_input(faces: Tensor) -> Tensor:
    """(N, 112, 112, 3) uint8 RGB -> (N, 3, 112, 112) float32 in [-1, 1], the input of every network here."""
    return faces.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def augment(images: Tensor, generator: torch.Generator, strength: float = 0.0) -> Tensor:
    """Draws one variant of each picture.

    Half are mirrored. With `strength` 1 each is also turned by up to 15 degrees, scaled by up to 15%, moved by up to
    8% of its width, changed in brightness, contrast and saturation by up to 50%, made grey (1 in 10) or blurred by
    a change of resolution (1 in 5), and one rectangle of up to 40% of its sides is blanked. Smaller strengths scale these
    limits, and the chances of grey and blur; half are blanked at any strength.

    Args:
        images: (N, 3, H, W) float in [-1, 1].
        generator: on the CPU, the source of every draw.
        strength: 0 to 1.

    Returns:
        A tensor of the same shape, type and range.
    """
    n, _, height, width = images.shape

    def draw(*shape: int) -> Tensor:
        return torch.rand(n, *shape, generator=generator).to(images.device)

    def signed(limit: float) -> Tensor:
        return (2 * draw() - 1) * limit * strength

    mirror = torch.where(draw() < 0.5, -1.0, 1.0)
    if not strength:
        return torch.where(mirror[:, None, None, None] < 0, images.flip(3), images)

    angle, zoom = signed(math.radians(15)), torch.exp(signed(0.15))
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    matrix = torch.stack(
        [torch.stack([cos * mirror, -sin, signed(0.16)], 1), torch.stack([sin * mirror, cos, signed(0.16)], 1)], 1
    )
    grid = F.affine_grid(matrix, [n, 3, height, width], align_corners=False)
    images = F.grid_sample(images, grid.to(images.dtype), padding_mode="border", align_corners=False)

    blurred = draw() < 0.2 * strength
    small = F.avg_pool2d(images[blurred], 2)
    images[blurred] = F.interpolate(small, (height, width), mode="bilinear", align_corners=False)

    # Saturation, contrast and brightness as one matrix and one shift a picture: grey + saturation * (rgb - grey), then
    # mean + contrast * (that - mean) + brightness, where the mean of the grey is not changed by the first step.
    luma = images.new_tensor(LUMA)
    saturation = torch.where(draw() < 0.1 * strength, torch.zeros_like(angle), 1 + signed(0.5))
    contrast, brightness = 1 + signed(0.5), signed(0.5)
    keep, grey = (contrast * saturation)[:, None, None], (contrast * (1 - saturation))[:, None, None]
    colour = keep * torch.eye(3, device=images.device) + grey * luma.expand(3, 3)
    mean = images.mean((2, 3)) @ luma
    shift = ((1 - contrast) * mean + brightness)[:, None, None]
    images = torch.baddbmm(shift, colour, images.flatten(2)).view_as(images).clamp_(-1, 1)

    box = draw(2) * 0.4 * strength * (draw(1) < 0.5)  # height and width, as shares
    corner = draw(2) * (1 - box)
    y = (torch.arange(height, device=images.device) + 0.5) / height
    x = (torch.arange(width, device=images.device) + 0.5) / width
    rows = (y >= corner[:, :1]) & (y < corner[:, :1] + box[:, :1])
    columns = (x >= corner[:, 1:]) & (x < corner[:, 1:] + box[:, 1:])
    images.masked_fill_((rows[:, :, None] & columns[:, None, :])[:, None], 0.0)
    return images.contiguous(memory_format=torch.channels_last)
