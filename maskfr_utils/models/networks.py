"""The shapes of the networks: IResNet, whose stages take any blocks, and torchvision's ResNet adapted to faces."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskfr_utils.models.blocks import PReLU, conv1x1, conv3x3

STRIDE = 16
"""Image pixels per position of the last feature map: the image size must be a multiple of it."""

Stage = Callable[[int, int, int, int], nn.Module]


class IResNet(nn.Module):
    """The improved residual network for faces: a full-resolution stem, four stages that halve the map, a flat head.

    The modules carry the names of the widely shared weights, so that those load as they are. ResSaNet has the same
    stem and head, and other blocks in its stages.

    Source: Deng et al., "ArcFace", CVPR 2019, and Chang, Tsai and Lo, "ResSaNet", ICCVW 2021.

    Args:
        depths: blocks in each stage.
        blocks: for each stage a function (in_channels, out_channels, stride, size) -> block, `size` being the height
            and width of its output.
        channels: channels of the four stages; the stem has those of the first.
        embedding_dim: length of the embedding.
        image_size: height and width of the input, a multiple of 16.
        dropout: probability of zeroing a feature before the embedding.
    """

    def __init__(
        self,
        depths: tuple[int, ...],
        blocks: tuple[Stage, ...],
        channels: tuple[int, ...] = (64, 128, 256, 512),
        embedding_dim: int = 512,
        image_size: int = 112,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.image_size = image_size
        self.conv1 = conv3x3(3, channels[0])
        self.bn1 = nn.BatchNorm2d(channels[0])
        self.prelu = PReLU(channels[0])
        inputs = (channels[0], *channels)
        for i, (depth, block) in enumerate(zip(depths, blocks, strict=True)):
            size = image_size // 2 ** (i + 1)
            first = block(inputs[i], channels[i], 2, size)
            rest = [block(channels[i], channels[i], 1, size) for _ in range(depth - 1)]
            self.add_module(f"layer{i + 1}", nn.Sequential(first, *rest))
        self.bn2 = nn.BatchNorm2d(channels[-1])
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(channels[-1] * (image_size // STRIDE) ** 2, embedding_dim)
        self.features = nn.BatchNorm1d(embedding_dim)
        # Most losses normalise an embedding, so its scale stays at 1; those that go by its length (MagFace, AdaFace) find the
        # mean square of lengths fixed by that, but for the bias.
        self.features.weight.requires_grad_(False)
        initialise(self)

    def stem(self, images: Tensor) -> Tensor:
        """What comes before the first stage."""
        return self.prelu(self.bn1(self.conv1(images)))

    def forward(self, images: Tensor) -> Tensor:
        check_images(images, self.image_size)
        x = self.stem(images)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        x = self.fc(self.dropout(self.bn2(x).flatten(1)))
        return self.features(x.float() if x.dtype in (torch.bfloat16, torch.float16) else x)


class ResNet(nn.Module):
    """torchvision's ResNet with two adaptations to faces.

    The max pool is left out, so that the stages work on 56, 28, 14 and 7 positions as in the other networks; the
    classifier gives way to a linear layer and a BatchNorm that make the embedding. Arguments as `IResNet`'s; the
    channels are those inside a bottleneck, which puts out four times as many.
    """

    def __init__(
        self,
        depths: tuple[int, ...],
        channels: tuple[int, ...] = (64, 128, 256, 512),
        embedding_dim: int = 512,
        image_size: int = 112,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.image_size = image_size
        self.conv1 = nn.Conv2d(3, channels[0], 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(channels[0])
        self.layer1 = bottlenecks(channels[0], channels[0], depths[0], 1)
        for i in range(1, 4):
            self.add_module(f"layer{i + 1}", bottlenecks(4 * channels[i - 1], channels[i], depths[i], 2))
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(4 * channels[-1], embedding_dim)
        self.features = nn.BatchNorm1d(embedding_dim)
        self.features.weight.requires_grad_(False)
        initialise(self)

    def stem(self, images: Tensor) -> Tensor:
        """What comes before the first stage."""
        return F.relu(self.bn1(self.conv1(images)))

    def forward(self, images: Tensor) -> Tensor:
        check_images(images, self.image_size)
        x = self.stem(images)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        x = self.fc(self.dropout(x.mean((2, 3))))
        return self.features(x.float() if x.dtype in (torch.bfloat16, torch.float16) else x)


def bottlenecks(in_channels: int, channels: int, depth: int, stride: int) -> nn.Sequential:
    """A stage of torchvision's bottleneck blocks."""
    from torchvision.models.resnet import Bottleneck  # seconds to load, and one network of eight needs it

    out_channels = 4 * channels
    project = nn.Sequential(conv1x1(in_channels, out_channels, stride), nn.BatchNorm2d(out_channels))
    rest = [Bottleneck(out_channels, channels) for _ in range(depth - 1)]
    return nn.Sequential(Bottleneck(in_channels, channels, stride, project), *rest)


def initialise(model: nn.Module) -> None:
    """He's normal initialisation for every convolution, by its outputs in a group; torch's defaults for the rest.

    A BatchNorm follows every convolution of the main path, so their scales are free (not those of attention's queries and
    keys), and each block adds a variance of
    about 1 to the trunk: activations grow with the root of the depth and no faster. Only an untrained network in
    evaluation mode has no statistics to divide by, and its variance would double in every block; a running variance as
    large as the number of blocks, which training soon forgets, keeps that tame too.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            with torch.no_grad():
                module.weight.mul_(module.groups**0.5)  # torch counts the outputs of all groups
    branches = [module.bn3 for module in model.modules() if hasattr(module, "bn3")]
    for norm in branches:
        norm.running_var.fill_(len(branches))


def shrink_depthwise(model: nn.Module) -> None:
    """Depthwise filters as if each output saw all channels, which the first version of this study did.

    A BatchNorm makes up for their scale, but a step turns so small a filter much further.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            with torch.no_grad():
                module.weight.div_(module.groups**0.5)


def check_images(images: Tensor, image_size: int) -> None:
    """Refuse a batch of another shape than (N, 3, image_size, image_size)."""
    if images.ndim != 4 or tuple(images.shape[1:]) != (3, image_size, image_size):
        raise ValueError(
            f"images of shape {tuple(images.shape)}; this network takes (N, 3, {image_size}, {image_size}): resize or "
            "align them, or build it with their image_size"
        )
