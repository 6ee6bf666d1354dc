"""The networks and training steps that `speed` times, and where the time of a step goes."""

import importlib.util
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from maskfr_utils.losses import ArcFace
from maskfr_utils.models import blocks, create_model, export_onnx
from maskfr_utils.profile import count_macs, timings

HALVES = {"bf16-mixed": "bf16", "16-mixed": "fp16", "32-true": "fp32"}
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
IDENTITIES = 105  # that the bare steps tell apart
SMALL = 0.25  # width of the small scale


def matrix_rates(
    half: str, rounds: int, size: int = 2048, device: torch.device | str = "cpu"
) -> dict[str, list[float]]:
    """Multiply-adds a second of a product of two `size` x `size` matrices, in single and in half precision."""
    matrices = {name: torch.randn(size, size, device=device).to(DTYPES[name]) for name in ("fp32", half)}
    seconds = timings({name: lambda m=m: m @ m for name, m in matrices.items()}, 3 * rounds)
    return {name: [size**3 / s for s in values] for name, values in seconds.items()}


def plain_network(name: str, **arguments: float) -> nn.Module:
    """The network with torch's own PReLU in place of ours: what the field's code amounts to."""
    network = create_model(name, **arguments)
    for parent in list(network.modules()):
        for child_name, child in parent.named_children():
            if isinstance(child, blocks.PReLU):
                setattr(parent, child_name, nn.PReLU(child.num_parameters))
    return network


def macs(name: str, width: float) -> int:
    """Multiply-adds of a network for one face."""
    with torch.device("meta"):
        return count_macs(create_model(name, width=width))


def training_step(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    half: str = "fp32",
    compiled: Callable[[Tensor], Tensor] | None = None,
) -> Callable[[], None]:
    """One bare step on ready tensors: forward, ArcFace, backward, SGD. The learning rate is small: nothing overflows.

    Args:
        network: whose weights are trained.
        images, labels: the batch.
        half: its arithmetic, one of `DTYPES`, or fp32.
        compiled: the network's compiled twin, to call in its place.
    """
    head = ArcFace(512, IDENTITIES).to(images.device)
    optimizer = torch.optim.SGD([*network.parameters(), *head.parameters()], lr=1e-4, momentum=0.9, weight_decay=5e-4)
    network.train()

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(images.device.type, DTYPES[half], enabled=half != "fp32"):
            loss = head((compiled or network)(images), labels)
        loss.backward()
        optimizer.step()

    return step


def pictures(batch: int, channels_last: bool = True, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """Random pictures (batch, 3, 112, 112), and labels."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    images = torch.randn(batch, 3, 112, 112, device=device).to(memory_format=layout)
    return images, torch.randint(0, IDENTITIES, (batch,), device=device)


def load_peer(path: str | Path) -> nn.Module:
    """The network that `iresnet50()` of a Python file makes."""
    spec = importlib.util.spec_from_file_location("peer", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.iresnet50()


KINDS = {
    "convolutions": ("conv",),
    "batch norm": ("batch_norm",),
    "linear, attention": ("mm", "attention"),
    "copies, casts": ("copy_", "clone", "contiguous"),
    "SGD": ("_foreach", "Optimizer"),
    "element by element": ("",),
}
"""Parts of a step -> what the names of their operations hold; the first that fits counts."""


def where_time_goes(step: Callable[[], None]) -> dict[str, float]:
    """Shares of the parts of a training step, from a profile of one step after a warm one.

    Operations that touch memory for the first time pay for its pages: no share of its own is seen for that.
    """
    step()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        step()
    time_of: Counter[str] = Counter()
    for event in profile.key_averages():
        kind = next(kind for kind, words in KINDS.items() if any(word in event.key for word in words))
        time_of[kind] += event.self_cpu_time_total
    return {kind: time_of[kind] / time_of.total() for kind in KINDS}


def in_half(network: Callable[[Tensor], Tensor], half: str) -> Callable[[Tensor], Tensor]:
    """The network under autocast."""

    def run(images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, DTYPES[half], enabled=half != "fp32"):
            return network(images)

    return run


def onnx_session(network: nn.Module, path: Path) -> Callable[[Tensor], object]:
    """The network in onnxruntime, by way of a file, on as many threads as torch has."""
    import onnxruntime

    export_onnx(path, network)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"images": images.contiguous().numpy()})[0]
