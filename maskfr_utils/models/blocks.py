"""Building blocks of IResNet and ResSaNet.

Every block maps (N, in_channels, H, W) to (N, out_channels, H / stride, W / stride), in any floating dtype; of odd sides the
halves are rounded up, but for IBSA and IBT, which average over 2 x 2 places and round down.

Sources: IBasic from Deng et al., "ArcFace", CVPR 2019, after Han et al., "Deep pyramidal residual networks", CVPR 2017;
SE from Hu et al., CVPR 2018; FReLU from Ma et al., ECCV 2020; MHSA from Srinivas et al., "BoTNet", CVPR 2021; MBConv
from Sandler et al., CVPR 2018; SE-IBasic_F, IBSA and IBT from Chang, Tsai and Lo, "ResSaNet", ICCVW 2021.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def conv3x3(in_channels: int, out_channels: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """A 3 x 3 convolution without bias that keeps the size at stride 1."""
    return nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, groups=groups, bias=False)


def conv1x1(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """A 1 x 1 convolution without bias."""
    return nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)


def shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module | None:
    """The projection beside a block that changes shape, or None where the identity fits."""
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(conv1x1(in_channels, out_channels, stride), nn.BatchNorm2d(out_channels))


class PReLU(nn.PReLU):
    """max(0, x) + a min(0, x), with a slope a learned for each channel."""

    def __init__(self, channels: int):
        super().__init__(channels)

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and x.device.type == "cpu"):
            return super().forward(x)
        # The same function; on a CPU the gradient of torch's own takes three times as long.
        return torch.lerp(F.relu(x), x, self.weight.to(x.dtype).view(-1, 1, 1))


class IBasic(nn.Module):
    """The improved basic block: BN, conv3x3, BN, PReLU, conv3x3 (stride), BN, + shortcut.

    No activation follows the sum, so the identity path stays linear from the stem to the head.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = conv3x3(in_channels, out_channels)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.prelu = PReLU(out_channels)
        self.conv2 = conv3x3(out_channels, out_channels, stride)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample = shortcut(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        out = self.bn3(self.conv2(out))
        return out + (x if self.downsample is None else self.downsample(x))


class SE(nn.Module):
    """Squeeze and excitation: scales each channel by a gate in (0, 1) computed from all channels' means."""

    def __init__(self, channels: int, reduction: int = 4):
        super().__init__()
        hidden = max(1, channels // reduction)
        self.reduce = nn.Linear(channels, hidden, bias=False)
        self.expand = nn.Linear(hidden, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.expand(F.relu(self.reduce(x.mean((2, 3))))).sigmoid()
        return x * gate[:, :, None, None]


class FReLU(nn.Module):
    """The funnel activation max(x, T(x)), where T is a depthwise conv3x3 and BN: ReLU with a threshold that sees its
    neighbours."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = conv3x3(channels, channels, groups=channels)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        threshold = self.bn(self.conv(x))
        if not (self.training and x.device.type == "cpu"):
            return torch.maximum(x, threshold)
        # The same function but for rounding, which bf16 makes visible; on a CPU the gradient of the maximum takes four times as long.
        return x + F.relu(threshold - x)


class SEIBasicF(nn.Module):
    """SE-IBasic_F: BN, conv3x3, BN, FReLU, conv3x3 (stride), BN, SE, + shortcut.

    The ablation leaves out `se`, or takes PReLU instead of `frelu`; without either it is IBasic.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        reduction: int = 4,
        *,
        se: bool = True,
        frelu: bool = True,
    ):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = conv3x3(in_channels, out_channels)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.frelu = FReLU(out_channels) if frelu else PReLU(out_channels)
        self.conv2 = conv3x3(out_channels, out_channels, stride)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.se = SE(out_channels, reduction) if se else nn.Identity()
        self.downsample = shortcut(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = self.frelu(self.bn2(self.conv1(self.bn1(x))))
        out = self.se(self.bn3(self.conv2(out)))
        return out + (x if self.downsample is None else self.downsample(x))


class MHSA(nn.Module):
    """Multi-head self-attention over the positions of a feature map, with learned positions.

    Per head softmax((q k^T + q r^T) / sqrt(d)) v, where r = R_h + R_w holds a learned vector for each row and each
    column and d is the channels of a head.

    Args:
        channels: channels in and out, a multiple of `heads`.
        size: height and width of the feature map; the position terms fit this size alone.
        heads: number of heads.

    Raises:
        ValueError: `channels` is no multiple of `heads`, or an input has another size.
    """

    def __init__(self, channels: int, size: int | tuple[int, int], heads: int = 4):
        super().__init__()
        if channels % heads:
            raise ValueError(f"MHSA: {channels} channels can't be split into {heads} heads; take a multiple of {heads}")
        self.size = (size, size) if isinstance(size, int) else tuple(size)
        self.heads = heads
        self.qkv = conv1x1(channels, 3 * channels)
        self.rows = nn.Parameter(torch.zeros(heads, channels // heads, self.size[0], 1))
        self.columns = nn.Parameter(torch.zeros(heads, channels // heads, 1, self.size[1]))
        nn.init.normal_(self.rows, std=0.02)
        nn.init.normal_(self.columns, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        if tuple(x.shape[2:]) != self.size:
            raise ValueError(
                f"MHSA: a {x.shape[2]} x {x.shape[3]} feature map, but the position terms are {self.size[0]} x "
                f"{self.size[1]}; build the network with the image size that it is given"
            )
        q, k, v = self._qkv(x)
        return F.scaled_dot_product_attention(q, k, v).transpose(-1, -2).reshape(x.shape)

    def attention(self, x: Tensor) -> Tensor:
        """How much each position looks at each other: (N, heads, positions, positions), rows that sum to 1; x as forward's."""
        q, k, _ = self._qkv(x)
        return (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)

    def _qkv(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = (
            self.qkv(x).reshape(x.shape[0], 3, self.heads, -1, self.size[0] * self.size[1]).transpose(-1, -2).unbind(1)
        )
        # q k^T + q r^T = q (k + r)^T, so that the fused attention kernels apply
        return q, k + (self.rows + self.columns).flatten(2).transpose(-1, -2).to(k.dtype), v


class IBSA(nn.Module):
    """IBasic with attention for its second convolution: BN, conv3x3, BN, PReLU, MHSA, BN, + shortcut.

    With stride 2 the map is halved by averaging, between the PReLU and the MHSA on the one path, behind the projection on
    the other: of the places where the stride can sit, those whose multiply-adds match the published ones.
    """

    def __init__(self, in_channels: int, out_channels: int, size: int, stride: int = 1, heads: int = 4):
        """`size` is the height and width of the output."""
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = conv3x3(in_channels, out_channels)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.prelu = PReLU(out_channels)
        self.pool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.mhsa = MHSA(out_channels, size, heads)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample = shortcut(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        out = self.pool(self.prelu(self.bn2(self.conv1(self.bn1(x)))))
        out = self.bn3(self.mhsa(out))
        return out + self.pool(x if self.downsample is None else self.downsample(x))


class MBConv(nn.Module):
    """The inverted bottleneck: 1x1 ReLU BN, depthwise 3x3 ReLU BN, SE, 1x1 BN, + identity."""

    def __init__(self, channels: int, expansion: int = 2, reduction: int = 4):
        super().__init__()
        hidden = channels * expansion
        self.expand = conv1x1(channels, hidden)
        self.bn1 = nn.BatchNorm2d(hidden)
        self.depthwise = conv3x3(hidden, hidden, groups=hidden)
        self.bn2 = nn.BatchNorm2d(hidden)
        self.se = SE(hidden, reduction)
        self.project = conv1x1(hidden, channels)
        self.bn3 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn1(F.relu(self.expand(x)))
        out = self.bn2(F.relu(self.depthwise(out)))
        return x + self.bn3(self.project(self.se(out)))


class IBT(nn.Sequential):
    """IBT, the report's IBasic Transformer: IBSA, then MBConv."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        size: int,
        stride: int = 1,
        heads: int = 4,
        expansion: int = 2,
        reduction: int = 4,
    ):
        """`size` is the height and width of the output."""
        super().__init__()
        self.ibsa = IBSA(in_channels, out_channels, size, stride, heads)
        self.mbconv = MBConv(out_channels, expansion, reduction)
