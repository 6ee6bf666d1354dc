"""What a network is built of, stage by stage, read from the modules themselves: the tables of the report's Figures 2 and 4."""

import torch
from torch import nn

STAGES = ("layer1", "layer2", "layer3", "layer4")
NAMES = {"SEIBasicF": "SE-IBasic_F"}


def by_stage(model: nn.Module, image_size: int) -> dict[str, str]:
    """Of a ResNet, IResNet or ResSaNet the stem, the four stages and the head, in words.

    Args:
        model: on the meta device or any other.
        image_size: pixels of the side of the input.

    Returns:
        Part of the network -> its blocks, their channels, and the side of the maps that they put out.
    """
    shapes: dict[str, torch.Size] = {}
    hooks = [
        getattr(model, name).register_forward_hook(lambda _, __, out, name=name: shapes.__setitem__(name, out.shape))
        for name in ("conv1", *STAGES)
    ]
    training = model.training
    try:
        with torch.no_grad():
            model.eval()(torch.empty(1, 3, image_size, image_size, device=next(model.parameters()).device))
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    conv = model.conv1
    stride = f", stride {conv.stride[0]}" if conv.stride[0] > 1 else ""
    pool = ", max pool" if hasattr(model, "maxpool") else ""
    rows = {"stem": f"{_kernel(conv)}, {conv.out_channels}{stride} → {_side(shapes['conv1'])}{pool}"}
    for i, name in enumerate(STAGES, 1):
        stage = getattr(model, name)
        kinds = [_block(block, shapes[name][1]) for block in stage]
        blocks = ", ".join(f"{kind} (× {kinds.count(kind)})" for kind in dict.fromkeys(kinds))
        rows[f"stage {i}"] = f"{blocks} → {_side(shapes[name])}"
    rows["head"] = ("" if hasattr(model, "bn2") else "mean of positions, ") + f"linear → {model.fc.out_features}"
    return rows


def _block(block: nn.Module, channels: int) -> str:
    """A block of torchvision by its convolutions, one of ours by its name and the channels that it puts out."""
    convs = [module for name, module in block.named_children() if name.startswith("conv")]
    if type(block).__module__.startswith("torchvision"):
        return " / ".join(f"{_kernel(conv)}, {conv.out_channels}" for conv in convs)
    return f"{NAMES.get(type(block).__name__, type(block).__name__)}, {channels}"


def _kernel(conv: nn.Conv2d) -> str:
    return "×".join(map(str, conv.kernel_size))


def _side(shape: torch.Size) -> str:
    return f"{shape[-2]}×{shape[-1]}"
