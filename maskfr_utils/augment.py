"""Batches for training: uint8 faces to network input, mirrored and, if wanted, moved, recoloured and partly erased.

Works on whole batches on the training device; every draw comes from one generator.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)


def to_input(faces: Tensor) -> Tensor:
    """(N, 112, 112, 3) uint8 RGB -> (N, 3, 112, 112) float32 in [-1, 1], the input of every network here."""
    return faces.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def augment(images: Tensor, generator: torch.Generator, strength: float = 0.0) -> Tensor:
    """Draws one variant of each picture.

    Half are mirrored. With `strength` 1 each is also turned by up to 15 degrees, scaled by up to 15 %, moved by up to
    8 % of its width, changed in brightness, contrast and saturation by up to 50 %, made grey (1 in 10) or blurred by
    a change of resolution (1 in 5), and one rectangle of up to 40 % of its sides is blanked (1 in 2); smaller
    strengths scale these limits and chances.

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
