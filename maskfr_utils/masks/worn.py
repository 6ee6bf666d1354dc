"""Is a mask worn already? A small network that saw rendered people, bare and with drawn masks, and is tested on real ones.

How often it is right stands in a record, by `python -m maskfr_utils.measure.worn_masks`, which also trains it. It has seen no real
face and names nobody: all that it gives is one number a face.
"""

from functools import cache
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import load
from torch import Tensor, nn

WEIGHTS = Path(__file__).with_name("worn.safetensors")
SIZE = 56  # pixels of its input
LIKELY = 0.5
_BATCH = 256


def make_network() -> nn.Module:
    """(N, 3, 56, 56) float32 RGB in [-1, 1] -> (N, 1) logits of a mask; with fresh weights."""
    layers, channels = [], 3
    for wider in (12, 16, 24, 32):
        layers += [nn.Conv2d(channels, wider, 3, 2, 1, bias=False), nn.BatchNorm2d(wider), nn.ReLU()]
        channels = wider
    return nn.Sequential(
        *layers, nn.Conv2d(channels, 16, 1), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3), nn.Linear(16 * 4 * 4, 1)
    )


def to_input(faces: np.ndarray) -> Tensor:
    """Faces (N, 112, 112, 3) uint8 as the network takes them."""
    small = np.stack([cv2.resize(face, (SIZE, SIZE), interpolation=cv2.INTER_AREA) for face in faces])
    return torch.from_numpy(small).permute(0, 3, 1, 2).float() / 127.5 - 1


@torch.inference_mode()
def worn_probability(faces: np.ndarray, network: nn.Module | None = None) -> np.ndarray:
    """How likely it is that a mask is worn, by a face and its mirror image.

    Args:
        faces: (N, 112, 112, 3) uint8 RGB, aligned.
        network: of `make_network`, in evaluation mode; by default the package's.

    Returns:
        (N,) float32, 0 to 1.
    """
    network = network or _network()
    found = [np.zeros(0, np.float32)]
    for start in range(0, len(faces), _BATCH):
        images = to_input(faces[start : start + _BATCH])
        found.append(((network(images) + network(images.flip(3))) / 2).sigmoid()[:, 0].numpy())
    return np.concatenate(found)


def wears_mask(faces: np.ndarray) -> np.ndarray:
    """(N,) bool: a mask is worn in the face already; faces (N, 112, 112, 3) uint8 RGB, aligned."""
    return worn_probability(faces) > LIKELY


@cache
def _network() -> nn.Module:
    network = make_network()
    network.load_state_dict(load(WEIGHTS.read_bytes()))
    return network.eval()
