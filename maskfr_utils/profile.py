"""What a network costs: parameters, multiply-adds."""

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def count_parameters(model: nn.Module) -> int:
    """All parameters, frozen ones too; buffers such as the running statistics are left out."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_macs(model: nn.Module, image_size: int = 112) -> int:
    """Multiply-adds of one image through the convolutions, linear layers and attention products.

    Counted by `torch.utils.flop_counter`, which sees every matrix product that is run and counts a multiply-add as
    two; batch norms, activations and sums are left out.
    """
    parameter = next(model.parameters())
    image = torch.zeros(1, 3, image_size, image_size, dtype=parameter.dtype, device=parameter.device)
    training = model.training
    model.eval()
    # The plain attention is made of two matrix products; the fused kernels of some devices have no formula.
    with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(image)
    model.train(training)
    return counter.get_total_flops() // 2
