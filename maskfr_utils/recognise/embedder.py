"""A network as `recognise` uses it: faces in, embeddings of length 1 out, known by a hash of its weights."""

import copy
import hashlib
import json
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from maskfr_utils.batches import to_input
from maskfr_utils.faces.align import FACE_SIZE
from maskfr_utils.messages import brief
from maskfr_utils.models import export_onnx, save_model
from maskfr_utils.models.given import fingerprint, load_network
from maskfr_utils.models.weights import check_onnx
from maskfr_utils.names import NETWORKS
from maskfr_utils.recognise.calibration import Calibration

DEFAULT = Path(__file__).with_name("rendered_people.safetensors")
"""The network that comes with the package. It has seen rendered people only, and names hardly any real one."""

_BATCH = 64


class Embedder:
    """A network with the preprocessing that it needs.

    The network is copied: training it further changes nothing here.

    Args:
        model: (N, 3, 112, 112) float32 RGB in [-1, 1] -> (N, d).
        title: what it is, in a few words.
        calibration: how alike it finds strangers, if that has been measured.

    Attributes:
        model: the network, in evaluation mode.
        fingerprint: 32 hexadecimal digits of its weights and preprocessing.
        dim: length d of an embedding.
    """

    def __init__(self, model: nn.Module, *, title: str = "", calibration: Calibration | None = None):
        self.model = copy.deepcopy(model).eval()
        self.title = title or getattr(model, "config", {}).get("name", type(model).__name__)
        self.calibration = calibration
        self.fingerprint = fingerprint(self.model)
        self.dim = self(np.zeros((1, FACE_SIZE, FACE_SIZE, 3), np.uint8)).shape[1]

    @property
    def device(self) -> torch.device:
        """Where it computes; onnxruntime, which has no parameters, on the CPU."""
        return next((p.device for p in self.model.parameters()), torch.device("cpu"))

    @torch.inference_mode()
    def __call__(self, faces: np.ndarray) -> np.ndarray:
        """Embeds aligned faces.

        Args:
            faces: (n, 112, 112, 3) uint8 RGB, n at least 1.

        Returns:
            (n, d) float32, each of length 1.

        Raises:
            ValueError: other shapes, or a network that gives no finite numbers.
        """
        faces = np.asarray(faces)
        if faces.dtype != np.uint8 or faces.ndim != 4 or faces.shape[1:] != (FACE_SIZE, FACE_SIZE, 3) or not len(faces):
            raise ValueError(
                f"faces must be (n, {FACE_SIZE}, {FACE_SIZE}, 3) uint8 RGB, got {faces.shape} {faces.dtype}"
            )
        parts = torch.from_numpy(faces).split(_BATCH)
        found = torch.cat([self.model(to_input(part.to(self.device))).float() for part in parts]).cpu()
        if not found.isfinite().all():
            raise ValueError(f"{self.title} gives embeddings that are not finite: its weights are broken")
        return torch.nn.functional.normalize(found).numpy()


def load_embedder(source: str | Path | None = None) -> Embedder:
    """A trained network from disk; nothing in a file is run.

    Args:
        source: the folder of a finished run, its `model.safetensors`, a `backbone.pth` of arcface_torch's (iresnet50 or
            iresnet100), or an `.onnx` of either; by default the small network that comes with the package.

    Raises:
        OSError: no such file.
        ValueError: it is none of these; the message names it.
    """
    path = Path(source or DEFAULT)
    if path.suffix == ".onnx":
        network = OnnxNetwork(path)
        return Embedder(network, title=path.name, calibration=_calibration(network.calibration, path))
    model, header = load_network(path)
    if not header:
        return Embedder(model, title=f"{model.config['name']} from {path.name}")
    calibration = _calibration(header.get("calibration"), path)
    name = NETWORKS[model.config["name"]].title
    return Embedder(model, title=f"{name} at width {model.config['width']:g}", calibration=calibration)


def _calibration(values: object, path: Path) -> Calibration | None:
    """What a file says of a network's calibration, a mapping or that as JSON; None where it says nothing."""
    if values is None:
        return None
    try:
        if isinstance(values, str):
            with suppress(ValueError, RecursionError):
                values = json.loads(values)
        return Calibration.from_dict(values)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def save_embedder(path: str | Path, embedder: Embedder, *, half: bool = False) -> None:
    """Writes a network for other programs: `.onnx` or `.safetensors`, with preprocessing and calibration in the metadata.

    Args:
        path: the file.
        embedder: the network.
        half: write .safetensors in 16 bits.

    Raises:
        ImportError: .onnx needs the packages onnx and onnxscript.
        ValueError: another suffix, half an .onnx, or a network that `create_model` did not make.
    """
    check_output(path, embedder, half=half)
    path, calibration = Path(path), embedder.calibration
    if path.suffix == ".onnx":
        use = "embeddings are compared by their cosine: divide each by its length"
        told = {} if calibration is None else {"calibration": json.dumps(calibration.as_dict())}
        export_onnx(path, embedder.model, use=use, fingerprint=embedder.fingerprint, **told)
    else:
        told = {} if calibration is None else {"calibration": calibration.as_dict()}
        save_model(path, embedder.model, half=half, **told)


def check_output(path: str | Path, embedder: Embedder, *, half: bool = False) -> None:
    """Refuses what `save_embedder` would, before anything slow is done for it; errors are those of `save_embedder`."""
    if not hasattr(embedder.model, "config"):
        raise ValueError(
            f"{embedder.title}: only networks of `create_model` can be written; name a run's folder, its model.safetensors, "
            "or a backbone.pth"
        )
    if Path(path).suffix not in (".onnx", ".safetensors"):
        raise ValueError(f"{path}: a network is written as .onnx or .safetensors; name a file that ends so")
    if Path(path).suffix == ".onnx":
        if half:
            raise ValueError(
                f"{path}: half the size is for .safetensors; leave --half out, or name a file that ends so"
            )
        check_onnx()


class OnnxNetwork(nn.Module):
    """A network that onnxruntime computes on the CPU: it must take what ours take, and give one embedding a picture.

    Args:
        path: the file; nothing in it but the operators that onnxruntime knows is run.

    Attributes:
        calibration: what the file says of it, as JSON; None where it says nothing.

    Raises:
        OSError: no such file.
        ImportError: the package onnxruntime is missing.
        ValueError: no ONNX file, of other inputs or outputs, or one that does not run.
    """

    def __init__(self, path: Path):
        super().__init__()
        data = path.read_bytes()
        import onnxruntime  # half a second, and an extra

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what fails is raised, and told in one line
        try:
            self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
            inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
            self.calibration = self._session.get_modelmeta().custom_metadata_map.get("calibration")
        except Exception as error:  # the classes of onnxruntime's errors have no public base
            raise ValueError(f"{path}: no network in ONNX ({brief(error, 120)})") from None
        if len(inputs) != 1 or len(outputs) != 1 or list(inputs[0].shape[1:]) != [3, FACE_SIZE, FACE_SIZE]:
            shapes = [list(i.shape) for i in inputs], len(outputs)
            raise ValueError(
                f"{path}: inputs {shapes[0]} and {shapes[1]} outputs; expected one (n, 3, {FACE_SIZE}, {FACE_SIZE}) and one"
            )
        self._input = inputs[0].name
        self._one = inputs[0].shape[0] == 1  # exported for one picture at a time
        digest = hashlib.blake2b(data, digest_size=16).digest()
        self.register_buffer("file", torch.frombuffer(bytearray(digest), dtype=torch.uint8))
        for count in (1, 2):  # a file may say that it takes any number, and take only that which it was exported with
            self._try(path, count)

    def __deepcopy__(self, memo: dict) -> "OnnxNetwork":
        return self  # it never changes

    def forward(self, images: Tensor) -> Tensor:
        parts = images.split(1) if self._one else [images]
        found = [self._session.run(None, {self._input: part.cpu().numpy()})[0] for part in parts]
        return torch.from_numpy(np.concatenate(found))

    def _try(self, path: Path, count: int) -> None:
        try:
            found = self(torch.zeros(count, 3, FACE_SIZE, FACE_SIZE))
            good = found.ndim == 2 and len(found) == count and found.is_floating_point()
            reason = f"of {count} pictures it makes {tuple(found.shape)} {found.dtype}"
        except Exception as error:  # the classes of onnxruntime's errors have no public base
            good, reason = False, brief(error, 120)
        if not good:
            raise ValueError(
                f"{path}: must make (n, d) embeddings of (n, 3, {FACE_SIZE}, {FACE_SIZE}) float32 pictures, n left "
                f"open or fixed at 1: export it so ({reason})"
            )
