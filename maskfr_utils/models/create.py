"""Networks by name (`names.NETWORKS`), made of the blocks that stand there.

Each maps aligned faces (N, 3, 112, 112), RGB in [-1, 1], to embeddings (N, 512) in float32.
"""

from torch import nn

from maskfr_utils.models.blocks import IBT, IBasic, SEIBasicF
from maskfr_utils.models.legacy import LegacyNet
from maskfr_utils.models.networks import STRIDE, IResNet, ResNet, Stage, initialise
from maskfr_utils.names import MODELS, NETWORKS, REPORTED, unknown

# Name of a block -> a function (in_channels, out_channels, stride, height and width of the output) that makes one.
BLOCKS: dict[str, Stage] = {
    "ibasic": lambda in_channels, out_channels, stride, size: IBasic(in_channels, out_channels, stride),
    "ibasic_f": lambda in_channels, out_channels, stride, size: SEIBasicF(in_channels, out_channels, stride, se=False),
    "se_ibasic": lambda in_channels, out_channels, stride, size: SEIBasicF(
        in_channels, out_channels, stride, frelu=False
    ),
    "se_ibasic_f": lambda in_channels, out_channels, stride, size: SEIBasicF(in_channels, out_channels, stride),
    "ibt": lambda in_channels, out_channels, stride, size: IBT(in_channels, out_channels, size, stride),
}


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
        name: one of `names.NETWORKS`.
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
    _check(name, width, embedding_dim, image_size, dropout)
    # At least 16: torch 2.14 corrupts memory in the backward pass of a strided 1x1 convolution over fewer channels in
    # channels_last layout on a CPU.
    network = NETWORKS[name]
    channels = tuple(max(16, round(width * full / 8) * 8) for full in (64, 128, 256, 512))
    if legacy:
        if name not in REPORTED or not network.blocks or dropout:
            raise ValueError("legacy: IResNet and ResSaNet without dropout; the original's ResNet-50 was torchvision's")
        if embedding_dim != channels[-1]:
            raise ValueError(f"embedding_dim {embedding_dim}: a legacy network of width {width} has {channels[-1]}")
        model = LegacyNet(network.depths, channels, image_size, "ibt" in network.blocks)
        initialise(model)
    elif not network.blocks:
        model = ResNet(network.depths, channels, embedding_dim, image_size, dropout)
    else:
        blocks = tuple(BLOCKS[block] for block in network.blocks)
        model = IResNet(network.depths, blocks, channels, embedding_dim, image_size, dropout)
    model.config = {
        "name": name,
        "width": width,
        "embedding_dim": embedding_dim,
        "image_size": image_size,
        "dropout": dropout,
        "legacy": legacy,
    }
    return model


def _check(name: str, width: float, embedding_dim: int, image_size: int, dropout: float) -> None:
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
