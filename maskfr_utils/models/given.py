"""Trained networks from whatever file holds them: a run's folder, safetensors of our own, arcface_torch's `backbone.pth`."""

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from maskfr_utils.models.create import create_model
from maskfr_utils.models.weights import PREPROCESSING, load_insightface_weights, load_model, read_state_dict
from maskfr_utils.names import NETWORKS

IMAGE_SIZE = 112


def load_network(source: str | Path) -> tuple[nn.Module, dict]:
    """Read a trained network; nothing in a file is run.

    Args:
        source: the folder of a finished run, its `model.safetensors`, or a `backbone.pth` of arcface_torch's (iresnet50 or
            iresnet100).

    Returns:
        The network in evaluation mode, and what its file says beside the weights; nothing where that is a .pth.

    Raises:
        OSError: no such file.
        ValueError: it is none of these; the message names it.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        if not (path / "model.safetensors").is_file():
            raise ValueError(
                f"{path} has no model.safetensors: name the folder of a finished run, or a file of weights"
            )
        path = path / "model.safetensors"
    with path.open("rb") as file:
        is_safetensors = file.read(9)[8:] == b"{"
    return load_model(path) if is_safetensors else (_insightface(read_state_dict(path), str(path)).eval(), {})


def start_from(model: nn.Module, source: str | Path) -> None:
    """Give a network the weights of a trained one.

    Args:
        model: made by `create_model`, changed in place.
        source: as `load_network` takes it.

    Raises:
        OSError: no such file.
        ValueError: no trained network, or one of another kind or size; the model is left as it was.
    """
    given, _ = load_network(source)
    told = {"name": "model", "width": "width", "embedding_dim": "embedding_dim", "legacy": "legacy"}
    other = [(as_told, given.config[key]) for key, as_told in told.items() if given.config[key] != model.config[key]]
    if other:
        raise ValueError(f"weights {source} are of another network: set {', '.join(f'{k}={v}' for k, v in other)}")
    if (size := given.config["image_size"]) != model.config["image_size"]:
        raise ValueError(
            f"weights {source} are of a network for faces of {size} pixels, not {model.config['image_size']}"
        )
    model.load_state_dict(given.state_dict())


def fingerprint(model: nn.Module) -> str:
    """32 hexadecimal digits of a network's weights and of what its input is; two files of the same weights agree."""
    digest = hashlib.blake2b(f"{type(model).__qualname__} {PREPROCESSING}".encode(), digest_size=16)
    for name, tensor in sorted(model.state_dict().items()):
        if not name.endswith("num_batches_tracked"):  # of no use to the outputs, and absent from some files
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy())
    return digest.hexdigest()


def _insightface(tensors: Mapping[str, Tensor], source: str) -> nn.Module:
    """The IResNet that weights of arcface_torch's fit, by the number of their blocks and their shapes.

    Raises:
        ValueError: they are of no such network; the message names `source`.
    """
    depths = tuple(len({n.split(".")[1] for n in tensors if n.startswith(f"layer{i}.")}) for i in (1, 2, 3, 4))
    name = next((n for n, net in NETWORKS.items() if net.depths == depths and set(net.blocks) == {"ibasic"}), None)
    shapes = {key: tuple(tensors[key].shape) if key in tensors else () for key in ("bn2.weight", "fc.weight")}
    channels, (dim, features) = (shapes["bn2.weight"] + (0,))[0], (shapes["fc.weight"] + (0, 0))[:2]
    # At most as large as the published networks: a file must not ask for more memory than it brings.
    if name is None or not 16 <= channels <= 512 or not 1 <= dim <= 4096 or features < 1:
        raise ValueError(
            f"{source}: blocks {depths} are not those of arcface_torch's iresnet50 (3, 4, 14, 3) or iresnet100 "
            "(3, 13, 30, 3); a network trained here is the model.safetensors of its run"
        )
    size = 16 * round(math.sqrt(features / channels))
    if size != IMAGE_SIZE:
        raise ValueError(f"{source}: it takes pictures of {size} pixels, not of {IMAGE_SIZE}")
    return load_insightface_weights(create_model(name, width=channels / 512, embedding_dim=dim), tensors)
