"""Where a network looks: what of a face makes its embedding that person's.

Each map tells how much the pixels of a face bring to the cosine between its embedding and a reference, such as that of other
photos of the person. Occlusion covers a patch and sees what is lost (Zeiler and Fergus 2014); gradient times activation
is the first-order guess of what each place of a feature map brings (Selvaraju et al. 2017, without their averaging over
places). Attention is what the self-attention of ResSaNet computes, as it is.
"""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskfr_utils.batches import to_input
from maskfr_utils.models.blocks import MHSA


def occlusion(
    embed: Callable[[np.ndarray], np.ndarray],
    faces: np.ndarray,
    reference: np.ndarray,
    *,
    fill: np.ndarray,
    size: int = 16,
    stride: int = 8,
) -> np.ndarray:
    """How much of the cosine to the reference is lost where a square is covered.

    Args:
        embed: (m, height, width, 3) uint8 -> (m, d) of length 1.
        faces: (n, height, width, 3) uint8.
        reference: (n, d) of length 1.
        fill: (height, width, 3) uint8 that squares are covered with: a face that is nobody's, such as the mean face, brings
            fewer edges of its own than a grey square.
        size: of the square, pixels.
        stride: pixels between squares.

    Returns:
        (n, height, width) float32; each pixel the mean over the squares that cover it, 0 where none does.
    """
    height, width = faces.shape[1:3]
    lost = np.zeros((len(faces), height, width), np.float32)
    often = np.zeros((height, width), np.float32)
    places = [
        (slice(top, top + size), slice(left, left + size))
        for top in range(0, height - size + 1, stride)
        for left in range(0, width - size + 1, stride)
    ]
    for rows, columns in places:
        often[rows, columns] += 1
    for k, face in enumerate(faces):
        covered = np.repeat(face[None], len(places), 0)
        for row, (rows, columns) in zip(covered, places, strict=True):
            row[rows, columns] = fill[rows, columns]
        loss = embed(face[None]) @ reference[k] - embed(covered) @ reference[k]
        for drop, (rows, columns) in zip(loss, places, strict=True):
            lost[k, rows, columns] += drop
    return lost / np.maximum(often, 1)


def gradient_times_activation(model: nn.Module, faces: np.ndarray, reference: np.ndarray, layer: str) -> np.ndarray:
    """What each place of a feature map brings to the cosine to the reference, to first order; what harms it counts as 0.

    Args:
        model: in evaluation mode, (n, 3, height, width) RGB in [-1, 1] -> (n, d).
        faces: (n, height, width, 3) uint8.
        reference: (n, d) of length 1.
        layer: name of the module whose output (n, channels, rows, columns) is looked at.

    Returns:
        (n, height, width) float32, at least 0; enlarged along straight lines.

    Raises:
        ValueError: no such layer.
    """
    modules = dict(model.named_modules())
    if layer not in modules:
        raise ValueError(f"no layer {layer!r} in this network")
    kept = []
    hook = modules[layer].register_forward_hook(lambda module, inputs, output: kept.append(output))
    try:
        device = next((p.device for p in model.parameters()), torch.device("cpu"))
        images = to_input(torch.from_numpy(faces).to(device)).requires_grad_()
        with torch.enable_grad():
            cosine = (F.normalize(model(images).float()) * torch.from_numpy(reference).to(device)).sum()
            (gradient,) = torch.autograd.grad(cosine, kept)
    finally:
        hook.remove()
    brought = (gradient * kept[0]).sum(1, keepdim=True).relu().detach().float()
    size = faces.shape[1:3]
    return F.interpolate(brought, size, mode="bilinear", align_corners=False)[:, 0].cpu().numpy()


@torch.inference_mode()
def attention(model: nn.Module, faces: np.ndarray) -> dict[str, np.ndarray]:
    """How much each place of the last feature maps looks at each other.

    Args:
        model: in evaluation mode, as above.
        faces: (n, height, width, 3) uint8.

    Returns:
        Name of each self-attention -> (n, heads, places, places) float32, rows that sum to 1, places row by row; empty for a
        network that has none.
    """
    found: dict[str, np.ndarray] = {}

    def keep(name: str) -> Callable[[MHSA, tuple[Tensor, ...]], None]:
        def hook(module: MHSA, inputs: tuple[Tensor, ...]) -> None:
            found[name] = module.attention(inputs[0]).float().cpu().numpy()

        return hook

    modules = [(name, module) for name, module in model.named_modules() if isinstance(module, MHSA)]
    hooks = [module.register_forward_pre_hook(keep(name)) for name, module in modules]
    try:
        if hooks:
            device = next(model.parameters()).device
            model(to_input(torch.from_numpy(faces).to(device)))
    finally:
        for hook in hooks:
            hook.remove()
    return found
