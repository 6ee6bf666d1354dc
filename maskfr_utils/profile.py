"""What a network costs: parameters, multiply-adds, time; and how its signals fare on the way through it."""

import statistics
import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm
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
    # On the meta device batch norms are half of the time, and nothing is counted in them.
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    training = model.training
    model.eval()
    try:
        for norm in norms:
            norm.forward = lambda x: x
        # The plain attention is made of two matrix products; the fused kernels of some devices have no formula.
        with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            model(image)
    finally:
        for norm in norms:
            del norm.forward
        model.train(training)
    return counter.get_total_flops() // 2


def timings(runs: Mapping[str, Callable[[], object]], repeats: int = 5, warm: bool = True) -> dict[str, list[float]]:
    """Seconds of each run, one value a round.

    The runs take turns, so that a machine that is busy for a while slows all of them and not one: compare the values by
    their ratios.

    Args:
        runs: name -> function without arguments.
        repeats: timed rounds.
        warm: run each once before, untimed.
    """
    for run in runs.values() if warm else ():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            _synchronize()
            start = time.perf_counter()
            run()
            _synchronize()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def latency(runs: Mapping[str, Callable[[], object]], repeats: int = 5) -> dict[str, float]:
    """Median of the `timings` of each run."""
    return {name: statistics.median(values) for name, values in timings(runs, repeats).items()}


def _synchronize() -> None:
    """Wait for what a GPU still has to do."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def signal_by_depth(model: nn.Module, images: Tensor) -> tuple[list[float], list[float]]:
    """How strong activations and gradients are in each block, for one forward and backward pass.

    Args:
        model: a network of `models`, in the mode that is to be looked at; its statistics are left as they were.
        images: (N, 3, size, size).

    Returns:
        For each block the standard deviation of its output, and the norm of the gradient of its first BatchNorm's weight
        for a loss that pulls the embeddings in a fixed random direction.
    """
    blocks = [block for i in (1, 2, 3, 4) for block in getattr(model, f"layer{i}")]
    deviations: list[float] = []
    hooks = [block.register_forward_hook(lambda m, x, out: deviations.append(out.std().item())) for block in blocks]
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    embeddings = model(images)
    direction = torch.randn(embeddings.shape, generator=torch.Generator().manual_seed(0)).to(embeddings)
    norms = [next(m for m in block.modules() if isinstance(m, nn.BatchNorm2d)) for block in blocks]
    gradients = torch.autograd.grad((embeddings * direction).mean(), [norm.weight for norm in norms])
    for hook in hooks:
        hook.remove()
    model.load_state_dict(buffers, strict=False)
    return deviations, [gradient.norm().item() for gradient in gradients]
