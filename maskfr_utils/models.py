"""The five networks of the study: ResNet-50, IResNet-50 and -100, ResSaNet-50 and -100.

Each maps aligned faces (N, 3, 112, 112), RGB in [-1, 1], to embeddings (N, 512) in float32.
"""

import copy
import json
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck

from maskfr_utils.blocks import IBT, IBasic, PReLU, SEIBasicF, conv1x1, conv3x3
from maskfr_utils.config import unknown
from maskfr_utils.legacy import LegacyNet
from maskfr_utils.paths import replacing

DEPTHS = {
    "resnet50": (3, 4, 6, 3),
    "iresnet50": (3, 4, 14, 3),
    "iresnet100": (3, 13, 30, 3),
    "ressanet50": (3, 4, 14, 3),
    "ressanet100": (3, 13, 30, 3),
}
MODELS = tuple(DEPTHS)
STRIDE = 16
"""Image pixels per position of the last feature map: the image size must be a multiple of it."""

PREPROCESSING = "RGB, (value - 127.5) / 127.5, aligned to the ArcFace template"

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
        # The scale of an embedding is lost when the loss normalises it: it stays at 1.
        self.features.weight.requires_grad_(False)
        initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        check_images(images, self.image_size)
        x = self.prelu(self.bn1(self.conv1(images)))
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

    def forward(self, images: Tensor) -> Tensor:
        check_images(images, self.image_size)
        x = F.relu(self.bn1(self.conv1(images)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        x = self.fc(self.dropout(x.mean((2, 3))))
        return self.features(x.float() if x.dtype in (torch.bfloat16, torch.float16) else x)


def bottlenecks(in_channels: int, channels: int, depth: int, stride: int) -> nn.Sequential:
    """A stage of torchvision's bottleneck blocks."""
    out_channels = 4 * channels
    project = nn.Sequential(conv1x1(in_channels, out_channels, stride), nn.BatchNorm2d(out_channels))
    rest = [Bottleneck(out_channels, channels) for _ in range(depth - 1)]
    return nn.Sequential(Bottleneck(in_channels, channels, stride, project), *rest)


def initialise(model: nn.Module) -> None:
    """He's normal initialisation for every convolution, by its outputs; torch's defaults for the rest.

    A BatchNorm follows every convolution of the main path, so their scales are free, and each block adds a variance of
    about 1 to the trunk: activations grow with the root of the depth and no faster. Only an untrained network in
    evaluation mode has no statistics to divide by, and its variance would double in every block; a running variance as
    large as the number of blocks, which training soon forgets, keeps that tame too.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    branches = [module.bn3 for module in model.modules() if hasattr(module, "bn3")]
    for norm in branches:
        norm.running_var.fill_(len(branches))


def check_images(images: Tensor, image_size: int) -> None:
    """Refuse a batch of another shape than (N, 3, image_size, image_size)."""
    if images.ndim != 4 or tuple(images.shape[1:]) != (3, image_size, image_size):
        raise ValueError(
            f"images of shape {tuple(images.shape)}; this network takes (N, 3, {image_size}, {image_size}): resize or "
            "align them, or build it with their image_size"
        )


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


def load_insightface_weights(model: nn.Module, weights: Mapping[str, Tensor] | str | Path) -> nn.Module:
    """Load weights that arcface_torch trained for an IResNet.

    Args:
        model: `create_model("iresnet50")` or `"iresnet100"`, changed in place.
        weights: the state dict, or the path of a `backbone.pth`, of which nothing but tensors is read.

    Returns:
        The model.

    Raises:
        ValueError: the file holds no state dict, or one of another network; the model is left as it was.
    """
    source = "the state dict"
    if isinstance(weights, str | Path):
        source = str(weights)
        try:
            weights = torch.load(weights, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
            raise ValueError(f"{source}: not a file of tensors that torch.save wrote ({error})") from error
    if not isinstance(weights, Mapping) or not all(isinstance(tensor, Tensor) for tensor in weights.values()):
        raise ValueError(f"{source}: not a state dict, which maps names to tensors")
    tensors = {name.removeprefix("module."): tensor for name, tensor in weights.items()}
    # Batch counters are absent from old files, and of no use to the outputs.
    expected = {name: tensor.shape for name, tensor in model.state_dict().items()}
    wrong = sorted(
        name
        for name in expected.keys() | tensors.keys()
        if not name.endswith("num_batches_tracked")
        and (name not in tensors or name not in expected or tensors[name].shape != expected[name])
    )
    if wrong:
        raise ValueError(
            f"{source}: does not fit this network in {len(wrong)} tensors, first {', '.join(wrong[:3])}; build the "
            "network that the weights were trained for, iresnet50 or iresnet100 at width 1"
        )
    model.load_state_dict(tensors, strict=False)
    return model


def save_model(path: str | Path, model: nn.Module, **header: object) -> None:
    """Write a network of `create_model` as safetensors.

    Args:
        path: the file, replaced as a whole.
        model: a network made by `create_model`.
        header: more entries for the JSON header, such as `classes` (the identities' names); values that JSON can hold.
    """
    save_tensors(path, model, {**model.config, "preprocessing": PREPROCESSING, **header})


def save_tensors(path: str | Path, module: nn.Module, header: dict[str, object]) -> None:
    """Write the tensors of any module as safetensors, whole or not at all, with `header` as JSON (`maskfr`)."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    with replacing(Path(path)) as temporary:
        save_file(tensors, temporary, metadata={"maskfr": json.dumps(header)})


def load_model(path: str | Path) -> tuple[nn.Module, dict]:
    """Read a network written by `save_model`. Nothing in the file is run.

    Returns:
        The network in evaluation mode, and its header.

    Raises:
        ValueError: the file is no safetensors, has no header of ours, or holds other tensors than the header says.
    """
    path = Path(path)
    try:
        # Read whole, not mapped: a file that is replaced or cut while it is mapped kills the process.
        data = path.read_bytes()
        header = json.loads(read_metadata(data)["maskfr"])
        arguments = {key: header[key] for key in ("name", "width", "embedding_dim", "image_size", "dropout", "legacy")}
        with torch.device("meta"):  # takes no memory, whatever size the header asks for
            model = create_model(**arguments)
        tensors = load(data)
        for name, tensor in model.state_dict().items():
            if name in tensors and tensors[name].dtype != tensor.dtype:
                raise ValueError(f"{name} is {tensors[name].dtype}, not {tensor.dtype}")
        model.load_state_dict(tensors, assign=True)
    except (SafetensorError, AttributeError, TypeError, KeyError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path}: not a network written by save_model ({error})") from error
    return model.eval(), header


def read_metadata(data: bytes) -> dict[str, str]:
    """The metadata of a safetensors file: a JSON text of a length that the first 8 bytes hold."""
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length])["__metadata__"]


def export_onnx(path: str | Path, model: nn.Module) -> None:
    """Write a network of `create_model` as ONNX: input `images` (N, 3, size, size), output `embeddings`, any N.

    Needs the packages `onnx` and `onnxscript`.
    """
    size = model.config["image_size"]
    images = torch.zeros(2, 3, size, size)
    program = torch.onnx.export(
        copy.deepcopy(model).cpu().eval(),
        (images,),
        input_names=["images"],
        output_names=["embeddings"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        dynamo=True,
        verbose=False,
    )
    with replacing(Path(path)) as temporary:
        program.save(temporary)
