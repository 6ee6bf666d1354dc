"""The five networks of the study: ResNet-50, IResNet-50 and -100, ResSaNet-50 and -100.

Each maps aligned faces (N, 3, 112, 112), RGB in [-1, 1], to embeddings (N, 512) in float32.
"""

from torch import nn

from maskfr_utils.models.blocks import IBT, IBasic, SEIBasicF
from maskfr_utils.models.legacy import LegacyNet
from maskfr_utils.models.networks import STRIDE, IResNet, ResNet, Stage, initialise
from maskfr_utils.names import unknown

DEPTHS = {
    "resnet50": (3, 4, 6, 3),
    "iresnet50": (3, 4, 14, 3),
    "iresnet100": (3, 13, 30, 3),
    "ressanet50": (3, 4, 14, 3),
    "ressanet100": (3, 13, 30, 3),
}
MODELS = tuple(DEPTHS)


def stages(name: str) -> tuple[Stage, ...]:
    """The block of each of the four stages of an IResNet or a ResSaNet."""

    def ibasic(in_channels: int, out_channels: int, stride: int, size: int) -> nn.Module:
        return IBasic(in_channels, out_channels, stride)

    def se_ibasic_f(in_channels: int, out_channels: int, stride: int, size: int) -> nn.Module:
        return SEIBasicF(in_channels, out_channels, stride)

    def ibt(in_channels: int, out_channels: int, stride: int, size: int) -> nn.Module:
        return IBT(in_channels, out_channels, size, stride)

    return (ibasic, se_ibasic_f, se_ibasic_f, ibt) if name.startswith("ressanet") else (ibasic,) * 4


def create_model(
    name: str,
    *,
    width: float = 1.0,
    embedding_dim: int = 512,
    image_size: int = 112,
    dropout: float = 0.0,
    legacy: bool = False,
) -> nn.Module:
    """Build a network with fresh weights; its attribute `config` keeps the arguments.

    Args:
        name: one of `MODELS`.
        width: factor on the channels 64, 128, 256, 512, rounded to multiples of 8, at least 16; the embedding is not
            scaled.
        embedding_dim: length of the embedding.
        image_size: height and width of the input in pixels, a multiple of 16.
        dropout: probability of zeroing a feature before the embedding, in [0, 1).
        legacy: build what the code behind the report trained under this name (see `legacy`), for the audit; its
            embedding is as long as its last stage has channels.

    Returns:
        A module: (N, 3, image_size, image_size) RGB in [-1, 1] -> (N, embedding_dim) float32.

    Raises:
        ValueError: an unknown name, or a value out of range.
    """
    if name not in MODELS:
        raise ValueError(unknown("model", name, MODELS))
    if not 0 < width <= 8:
        raise ValueError(f"width {width}: a factor on the channels, above 0 and up to 8")
    if embedding_dim < 1:
        raise ValueError(f"embedding_dim {embedding_dim}: at least 1")
    if image_size < STRIDE or image_size % STRIDE:
        near = max(1, round(image_size / STRIDE)) * STRIDE
        raise ValueError(f"image_size {image_size}: a multiple of {STRIDE}, such as {near}")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout {dropout}: a probability in [0, 1)")
    # At least 16: torch 2.14 corrupts memory in the backward pass of a strided 1x1 convolution over fewer channels in
    # channels_last layout on a CPU.
    channels = tuple(max(16, round(width * full / 8) * 8) for full in (64, 128, 256, 512))
    if legacy:
        if name == "resnet50" or dropout:
            raise ValueError("legacy: IResNet and ResSaNet without dropout; the original's ResNet-50 was torchvision's")
        if embedding_dim != channels[-1]:
            raise ValueError(f"embedding_dim {embedding_dim}: a legacy network of width {width} has {channels[-1]}")
        model = LegacyNet(DEPTHS[name], channels, image_size, name.startswith("ressanet"))
        initialise(model)
    elif name == "resnet50":
        model = ResNet(DEPTHS[name], channels, embedding_dim, image_size, dropout)
    else:
        model = IResNet(DEPTHS[name], stages(name), channels, embedding_dim, image_size, dropout)
    model.config = {
        "name": name,
        "width": width,
        "embedding_dim": embedding_dim,
        "image_size": image_size,
        "dropout": dropout,
        "legacy": legacy,
    }
    return model
