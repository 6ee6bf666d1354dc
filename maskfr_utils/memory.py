"""What a training step keeps in memory, told from the modules; and blocks that compute their activations twice to keep less.

Of a block that is recomputed only the input is kept; the rest is computed again when the gradient comes back [Chen 2016]. The
numbers stay the same to the bit: dropout draws what it drew, and running statistics are not moved a second time.

Source: Chen et al., "Training deep nets with sublinear memory cost", 2016.
"""

import copy
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils.checkpoint import checkpoint

GROUP = Path("/sys/fs/cgroup")  # of the container that the process is in, or of the machine
LEAST = 32  # pictures of full width: a step of fewer fits anywhere, and is not looked at
SHARE = 0.7  # of the memory that is free: what a step may be predicted to take before its blocks are recomputed


@dataclass(frozen=True)
class Footprint:
    """Bytes of a training step of a batch.

    Attributes:
        weights: parameters, their gradients and momentum.
        activations: what is kept for the gradient.
        recomputed: the most of it, and of the gradients on their way, that is there at a time where stem and blocks are recomputed.
    """

    weights: int
    activations: int
    recomputed: int

    def peak(self, recompute: bool) -> int:
        """The whole of it."""
        return self.weights + (self.recomputed if recompute else self.activations)


def blocks(model: nn.Module) -> list[nn.Module]:
    """The blocks of a network's four stages."""
    stages = [getattr(model, f"layer{i}", None) for i in range(1, 5)]
    return [block for stage in stages if stage is not None for block in stage]


def footprint(model: nn.Module, batch: int, *, image_size: int = 112, device: str = "cpu") -> Footprint:
    """Predicts a training step of a network in float32, without computing anything: on tensors that have a shape only.

    While a block's gradient is computed, the inputs of the blocks before it are there, what it keeps itself, and the gradients
    of two tensors of its largest size.

    Args:
        model: the network; left as it is.
        batch: pictures.
        image_size: of them.
        device: its type; on a CPU the package's PReLU, made for speed, keeps one tensor more.
    """
    twin = copy.deepcopy(model).to("meta").train()
    parts: list[_Part] = [_Part()]  # in the order of the forward pass; what lies between blocks is a part too
    seen = {StorageWeakRef(t.untyped_storage()) for t in (*twin.parameters(), *twin.buffers())}
    alive = []  # a storage that is freed may lend its name to another

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if (name := StorageWeakRef(storage)) not in seen:
            seen.add(name)
            alive.append(storage)
            parts[-1].kept.append(storage.nbytes())
        return tensor

    def enter(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        parts.append(_Part(arguments[0].numel() * arguments[0].element_size()))

    def leave(*_: object) -> None:
        parts.append(_Part())

    def keep_positive_part(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        parts[-1].kept.append(arguments[0].numel() * arguments[0].element_size())

    for block in blocks(twin):
        block.register_forward_pre_hook(enter)
        block.register_forward_hook(leave)
    for module in twin.modules() if device == "cpu" else ():
        if isinstance(module, nn.PReLU):
            module.register_forward_pre_hook(keep_positive_part)
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        twin(torch.empty(batch, 3, image_size, image_size, device="meta"))
    weights = 3 * sum(p.numel() * p.element_size() for p in twin.parameters())
    inputs = accumulate((part.input for part in parts), initial=0)
    working = (part.bytes + 2 * max(part.kept, default=0) for part in parts)
    most = max(before + now for before, now in zip(inputs, working, strict=False))
    return Footprint(weights, sum(part.bytes for part in parts), most)


@dataclass
class _Part:
    """Bytes of a part's input, and of each tensor that it keeps."""

    input: int = 0
    kept: list[int] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        return sum(self.kept)


def free_memory(device: torch.device) -> int:
    """Bytes that are free on a device; on a CPU those that its container may still take."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return min(_of_machine(), _of_container())


def _of_container() -> int:
    """What is left of the limit of the control group; without a limit more than any machine has."""
    try:
        most, used = (int((GROUP / f"memory.{name}").read_text()) for name in ("max", "current"))  # "max": no limit
        told = dict(line.split() for line in (GROUP / "memory.stat").read_text().splitlines())
        return max(0, most - used + int(told["inactive_file"]))  # files that were read are let go when room is needed
    except (OSError, ValueError, KeyError):
        return 2**60


def _of_machine() -> int:
    try:
        with Path("/proc/meminfo").open(encoding="ascii") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 2**34


def is_tight(model: nn.Module, batch: int, width: float, device: torch.device, *, half: bool = False) -> bool:
    """Whether a step would take more than `SHARE` of the free memory if it kept all activations.

    Args:
        model: the network; the loss and its class matrix are not counted.
        batch: pictures a step.
        width: share of the channels.
        device: whose memory.
        half: activations take two bytes a number.
    """
    if batch * width < LEAST:
        return False
    found = footprint(model, batch, device=device.type)
    activations = found.peak(recompute=False) - found.weights
    return found.weights + activations / (1 + half) > SHARE * free_memory(device)


def recompute(model: nn.Module) -> None:
    """From now on a network's stem and each of its blocks compute their activations a second time instead of keeping them."""
    if isinstance(getattr(model, "stem", None), _Recomputed):
        return
    for block in blocks(model):
        block.forward = _Recomputed(block, block.forward, _norms(block))
    if hasattr(model, "stem"):
        model.stem = _Recomputed(model, model.stem, _norms(model.bn1))


class _Recomputed:
    """A part of a network that keeps its input alone: `forward`, whose norms are `norms`."""

    def __init__(self, part: nn.Module, forward: Callable[[Tensor], Tensor], norms: list[nn.Module]):
        self.part, self.forward, self.norms = part, forward, norms

    def __call__(self, x: Tensor) -> Tensor:
        if not (self.part.training and torch.is_grad_enabled()):
            return self.forward(x)
        at_rest = partial(_statistics_at_rest, self.norms)
        return checkpoint(self.forward, x, use_reentrant=False, context_fn=lambda: (nullcontext(), at_rest()))


def _norms(*modules: nn.Module) -> list[nn.Module]:
    return [m for module in modules for m in module.modules() if getattr(m, "running_mean", None) is not None]


@contextmanager
def _statistics_at_rest(norms: list[nn.Module]) -> Iterator[None]:
    """Norms go by the batch, as in training, and leave their running statistics as they are."""
    before = [(norm, norm.momentum, norm.num_batches_tracked.clone()) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum, count in before:
            norm.momentum = momentum
            norm.num_batches_tracked.copy_(count)
