"""The networks that the code behind the report really trained, for the audit.

Rebuilt from a reading of the public repository shiyuhu1933/ResSaNet. They differ from the papers in the stem (7 x 7 with
stride 2, before four stages that each halve the map: 28, 14, 7, 4 positions at 112 pixels), in the head (the mean over
positions is the embedding), in blocks that take their order of layers from the improved ResNet of Duta et al. (2020)
and not from ArcFace, and in modules that are used twice. Images went in as 0 to 255 in BGR order.
"""

import copy
import math

import torch
from torch import Tensor, nn

from maskfr_utils.models.blocks import SE, FReLU, conv1x1, conv3x3
from maskfr_utils.models.networks import initialise, shrink_depthwise

REDUCTION = 16


def pooled_shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """Max pool where the map shrinks, then a projection where the channels grow."""
    layers = [nn.MaxPool2d(3, stride, padding=1)] if stride > 1 else []
    if in_channels != out_channels:
        layers += [conv1x1(in_channels, out_channels), nn.BatchNorm2d(out_channels)]
    return nn.Sequential(*layers)


class LegacyBasic(nn.Module):
    """Two convolutions in the order of the improved ResNet, which depends on the block's place in its stage.

    start: conv, BN, act, conv, BN, (SE), + shortcut; second: act, conv, BN, act, conv, (SE), + x; middle: the same with a
    BN before; end: as middle, and BN, act after the sum. One activation module serves all places.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, place: str, activation: nn.Module):
        super().__init__()
        self.place = place
        self.bn0 = nn.BatchNorm2d(in_channels) if place in ("middle", "end") else nn.Identity()
        self.conv1 = conv3x3(in_channels, out_channels, stride)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = conv3x3(out_channels, out_channels)
        self.bn2 = nn.BatchNorm2d(out_channels) if place in ("start", "end") else nn.Identity()
        self.activation = activation
        self.entry: nn.Module | None = None  # of the first place, where places are kept apart
        self.exit: nn.Module | None = None  # of the last
        self.apart = False
        self.se = nn.Identity()
        self.downsample = pooled_shortcut(in_channels, out_channels, stride)

    def keep_apart(self) -> None:
        """Gives each place an activation of its own."""
        self.apart = True
        if self.place != "start" and self.entry is None:
            self.entry = copy.deepcopy(self.activation)
        if self.place == "end":
            self.exit = copy.deepcopy(self.activation)

    def forward(self, x: Tensor) -> Tensor:
        entry, after = (self.entry, self.exit) if self.apart else (self.activation, self.activation)
        out = x if self.place == "start" else entry(self.bn0(x))
        out = self.conv2(self.activation(self.bn1(self.conv1(out))))
        if self.place == "start":
            out = self.bn2(out)
        out = self.se(out) + self.downsample(x)
        return after(self.bn2(out)) if self.place == "end" else out


class LegacySEBasicF(LegacyBasic):
    """`LegacyBasic` with SE and FReLU; a second FReLU is used in the second block of a stage alone and idle elsewhere."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, place: str):
        super().__init__(in_channels, out_channels, stride, place, FReLU(out_channels))
        self.entry = FReLU(in_channels)
        self.se = SE(out_channels, REDUCTION)

    def forward(self, x: Tensor) -> Tensor:
        if self.place != "second":
            return super().forward(x)
        out = self.conv2(self.activation(self.bn1(self.conv1(self.entry(x)))))
        return self.se(out) + x


class LegacyMHSA(nn.Module):
    """Attention with biases, no scale, and the position term on the wrong side.

    The weight that position i gives to position j comes from q_i k_j + r_i q_j: the query meets the position of the one
    who asks, where BoTNet has q_i r_j.
    """

    def __init__(self, channels: int, size: int, heads: int = 4):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.rows = nn.Parameter(torch.randn(heads, channels // heads, size, 1))
        self.columns = nn.Parameter(torch.randn(heads, channels // heads, 1, size))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).reshape(x.shape[0], 3, self.heads, -1, x.shape[2] * x.shape[3]).mT.unbind(1)
        positions = (self.rows + self.columns).flatten(2).mT
        attention = (q @ k.mT + positions @ q.mT).softmax(-1)
        return (attention @ v).mT.reshape(x.shape)


class LegacyIBT(nn.Module):
    """Attention and a depthwise convolution, with one conv3x3 and one BN that are each used twice."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, place: str, size: int):
        super().__init__()
        self.place = place
        self.bn0 = nn.BatchNorm2d(out_channels) if place in ("middle", "end") else nn.Identity()
        self.conv1 = conv3x3(in_channels, out_channels, stride)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.prelu = nn.PReLU()
        # One module at two places each, unless they are kept apart.
        self.conv1_again, self.bn1_again, self.prelu_again = None, None, None
        self.mhsa = LegacyMHSA(out_channels, size)
        self.conv2 = conv1x1(out_channels, out_channels)
        self.depthwise = nn.Sequential(
            conv3x3(out_channels, out_channels, groups=out_channels), nn.BatchNorm2d(out_channels)
        )
        self.se = SE(out_channels, REDUCTION)
        self.bn2 = nn.BatchNorm2d(out_channels) if place in ("start", "end") else nn.Identity()
        self.downsample = pooled_shortcut(in_channels, out_channels, stride) if place == "start" else None

    def keep_apart(self) -> None:
        """Gives each place a convolution, a BatchNorm and a PReLU of its own."""
        self.conv1_again, self.bn1_again = copy.deepcopy(self.conv1), copy.deepcopy(self.bn1)
        if self.place == "end":
            self.prelu_again = copy.deepcopy(self.prelu)

    def forward(self, x: Tensor) -> Tensor:
        again = self.conv1 if self.conv1_again is None else self.conv1_again
        out = x if self.place == "start" else self.bn0(x).relu()
        out = self.mhsa(self.bn1(self.conv1(out)).relu()) + again(x)
        identity = out if self.downsample is None else self.downsample(x)
        again = self.bn1 if self.bn1_again is None else self.bn1_again
        out = self.conv2(self.se(self.depthwise(self.prelu(again(out)))))
        if self.place == "start":
            out = self.bn2(out)
        out = out + identity
        again = self.prelu if self.prelu_again is None else self.prelu_again
        return again(self.bn2(out)) if self.place == "end" else out


class LegacyNet(nn.Module):
    """The original IResNet, or with `ressanet` the original ResSaNet: images -> the mean over the last 4 x 4 positions."""

    def __init__(
        self, depths: tuple[int, ...], channels: tuple[int, ...], image_size: int = 112, ressanet: bool = False
    ):
        super().__init__()
        self.conv1 = nn.Conv2d(3, channels[0], 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(channels[0])
        inputs, size = (channels[0], *channels), math.ceil(image_size / 2)
        for i, depth in enumerate(depths):
            size = math.ceil(size / 2)
            blocks = []
            for j in range(depth):
                place = "start" if j == 0 else "end" if j == depth - 1 else "second" if j == 1 else "middle"
                shape = (inputs[i] if j == 0 else channels[i], channels[i], 2 if j == 0 else 1, place)
                if not ressanet:
                    # As there: in place, so that in a second block it changes the shortcut too.
                    blocks.append(LegacyBasic(*shape, nn.ReLU(inplace=True)))
                elif i == 0:
                    blocks.append(LegacyBasic(*shape, nn.PReLU()))
                else:
                    blocks.append(LegacyIBT(*shape, size) if i == 3 else LegacySEBasicF(*shape))
            self.add_module(f"layer{i + 1}", nn.Sequential(*blocks))

    def keep_apart(self) -> None:
        """Gives each place of a block a module of its own where the original used one at two; weights are drawn anew."""
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            for block in layer:
                block.keep_apart()
        initialise(self)

    def begin_as_there(self) -> None:
        """Draws weights anew, as the original did: He's normal by the outputs of all groups, a gate's layers like the 1 x 1 convolutions that they were."""
        for gate in (module for module in self.modules() if isinstance(module, SE)):
            for layer in gate.children():
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        initialise(self)
        shrink_depthwise(self)
        with torch.no_grad():
            for module in self.modules():
                if isinstance(module, LegacyMHSA):  # three convolutions there, each with a third of the outputs
                    module.qkv.weight.mul_(3**0.5)

    def forward(self, images: Tensor) -> Tensor:
        x = self.bn1(self.conv1(images)).relu()
        x = self.layer4(self.layer3(self.layer2(self.layer1(x)))).mean((2, 3))
        return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
