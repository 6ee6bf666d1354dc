"""Networks on disk: safetensors of our own, weights that arcface_torch trained, and ONNX. Nothing in a file is run."""

import copy
import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from maskfr_utils.messages import brief
from maskfr_utils.models.create import create_model
from maskfr_utils.paths import replacing

PREPROCESSING = "RGB, (value - 127.5) / 127.5, aligned to the ArcFace template"


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
    source, tensors = "the state dict", weights
    if isinstance(weights, str | Path):
        source, tensors = str(weights), read_state_dict(weights)
    tensors = _named(tensors, source)
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


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """The tensors by name in a file that `torch.save` wrote, such as a `backbone.pth`; nothing in it is run.

    Raises:
        OSError: it cannot be read.
        ValueError: it holds anything else.
    """
    Path(path).open("rb").close()  # raises what names the file
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files raise nearly anything, in many lines, even an OSError
        reason = brief(error, 100)
        raise ValueError(f"{path}: not a file of tensors that torch.save wrote ({reason})") from error
    return _named(tensors, str(path))


def _named(tensors: object, source: str) -> dict[str, Tensor]:
    """A state dict without the prefix of `DataParallel`; ValueError of anything else."""
    if not isinstance(tensors, Mapping) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in tensors.items()
    ):
        raise ValueError(f"{source}: not a state dict, which maps names to tensors")
    return {name.removeprefix("module."): tensor for name, tensor in tensors.items()}


def save_model(path: str | Path, model: nn.Module, *, half: bool = False, **header: object) -> None:
    """Write a network of `create_model` as safetensors.

    Args:
        path: the file, replaced as a whole.
        model: a network made by `create_model`.
        half: store matrices and filters in 16 bits, half the size; `load_model` widens them again.
        header: more entries for the JSON header, such as `classes` (the identities' names); values that JSON can hold.
    """
    save_tensors(path, model, {**model.config, "preprocessing": PREPROCESSING, **header}, half=half)


def save_tensors(path: str | Path, module: nn.Module, header: dict[str, object], *, half: bool = False) -> None:
    """Write the tensors of any module as safetensors, whole or not at all, with `header` as JSON (`maskfr`)."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    if half:  # but no statistics: their small numbers would be lost
        tensors = {name: tensor.half() if tensor.ndim > 1 else tensor for name, tensor in tensors.items()}
    content = save(tensors, {"maskfr": json.dumps(header)})
    with replacing(Path(path), durable=True) as temporary:
        temporary.write_bytes(content)  # whose errors say what is wrong with the disk


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
            if name in tensors and tensors[name].dtype == torch.float16:
                tensors[name] = tensors[name].to(tensor.dtype)
            if name in tensors and tensors[name].dtype != tensor.dtype:
                raise ValueError(f"{name} is {tensors[name].dtype}, not {tensor.dtype}")
        model.load_state_dict(tensors, assign=True)
    except (SafetensorError, AttributeError, TypeError, KeyError, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(f"{path}: not a network written by save_model ({brief(error, 150)})") from error
    return model.eval(), header


def read_metadata(data: bytes) -> dict[str, str]:
    """The metadata of a safetensors file: a JSON text of a length that the first 8 bytes hold."""
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length])["__metadata__"]


def check_onnx() -> None:
    """Refuses to write ONNX where its packages are missing, by an ImportError that says how to install them."""
    if any(importlib.util.find_spec(package) is None for package in ("onnx", "onnxscript")):
        raise ImportError("ONNX needs two more packages: pip install onnx onnxscript")


def export_onnx(path: str | Path, model: nn.Module, **metadata: str) -> None:
    """Write a network of `create_model` as ONNX: input `images` (N, 3, size, size), output `embeddings`, any N.

    The file's metadata say how pictures become its input (`preprocessing`), and what else is given.

    Raises:
        ImportError: the packages `onnx` and `onnxscript` are missing.
    """
    check_onnx()
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
    program.model.metadata_props.update({"preprocessing": PREPROCESSING} | metadata)
    with replacing(Path(path)) as temporary:
        program.save(temporary)
