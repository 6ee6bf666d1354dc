"""Masks as a torchvision transform, for one's own training."""

from typing import Any

import numpy as np
import torch
from PIL.Image import Image, fromarray
from torchvision import tv_tensors
from torchvision.transforms import v2

from maskfr_utils.faces.align import FACE_SIZE
from maskfr_utils.masks.draw import mask_faces
from maskfr_utils.masks.styles import StyleLike, resolve


class RandomVirtualMask(v2.Transform):
    """Draws a virtual mask on aligned faces, each with probability `p`.

        >>> v2.Compose([RandomVirtualMask(p=0.5), v2.ToDtype(torch.float32, scale=True)])

    Landmarks are predicted, unless the sample has them beside its pictures: `tv_tensors.KeyPoints` (..., 68, 2) in pixels, in
    the iBUG order, one set a face; they come back as they are.

    Takes (..., 3, 112, 112) uint8 tensors and 112 x 112 RGB pictures of PIL, and gives the same kind back; a face on which no
    mask could be placed comes back as it was. Chance comes from torch's global generator, as with every transform of v2: the
    same seed gives the same masks, and each worker of a loader its own. Measured on one core of a busy AMD EPYC, a masked face
    costs 5 ms one at a time and 2.5 ms in a batch of 96, of which the prediction of landmarks takes 1.7 ms; the first some hundred cost more,
    until the textures are made.

    Args:
        style: as for `mask_faces`.
        p: how likely each picture is to get a mask, 0..1.

    Raises:
        ValueError: an unknown style, `p` out of range, or when called: pictures of another size, colour or dtype, or landmarks
            of another shape or number.
    """

    _transformed_types = (
        v2.functional.is_pure_tensor,
        tv_tensors.Image,
        tv_tensors.Video,
        tv_tensors.KeyPoints,
        Image,
    )

    def __init__(self, style: StyleLike = "random", p: float = 1.0) -> None:
        super().__init__()
        self._styles = resolve(style)  # once: a style file takes longer to read than a mask to draw
        if not 0 <= p <= 1:
            raise ValueError(f"p of RandomVirtualMask must lie in 0..1, got {p!r}")
        self.style = style
        self.p = p

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """The landmarks (n, 68, 2) in a sample, None where it has none."""
        found = [points for points in flat_inputs if isinstance(points, tv_tensors.KeyPoints)]
        if not found:
            return {"landmarks": None}
        if len(found) > 1 or found[0].shape[-2:] != (68, 2):
            raise ValueError(
                f"RandomVirtualMask takes one set of key points, (..., 68, 2), got {[tuple(p.shape) for p in found]}"
            )
        return {"landmarks": found[0].reshape(-1, 68, 2).cpu().numpy().astype(np.float32)}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Masks one input of a sample."""
        if isinstance(inpt, tv_tensors.KeyPoints):
            return inpt
        landmarks = params["landmarks"]
        if isinstance(inpt, Image):
            if inpt.mode != "RGB" or inpt.size != (FACE_SIZE, FACE_SIZE):
                raise self._refusal(f"a picture of {inpt.width} x {inpt.height} in mode {inpt.mode}")
            return fromarray(self._mask(np.asarray(inpt)[None], landmarks)[0])
        if inpt.dtype != torch.uint8 or inpt.shape[-3:] != (3, FACE_SIZE, FACE_SIZE):
            raise self._refusal(f"{tuple(inpt.shape)} {inpt.dtype}")
        faces = inpt.reshape(-1, *inpt.shape[-3:]).permute(0, 2, 3, 1).cpu().numpy()
        masked = torch.from_numpy(self._mask(faces, landmarks)).permute(0, 3, 1, 2).reshape(inpt.shape).to(inpt.device)
        return tv_tensors.wrap(masked, like=inpt)

    def _mask(self, faces: np.ndarray, landmarks: np.ndarray | None) -> np.ndarray:
        if landmarks is not None and len(landmarks) != len(faces):
            raise ValueError(f"RandomVirtualMask got landmarks of {len(landmarks)} faces for {len(faces)} faces")
        chosen = (torch.rand(len(faces)) < self.p).numpy()
        seed = int(torch.randint(2**62, ()))
        out = faces.copy()
        points = None if landmarks is None else landmarks[chosen]
        out[chosen] = mask_faces(faces[chosen], points, style=self._styles, seed=seed).images
        return out

    @staticmethod
    def _refusal(got: str) -> ValueError:
        return ValueError(
            f"RandomVirtualMask takes aligned faces, (..., 3, {FACE_SIZE}, {FACE_SIZE}) uint8 or RGB pictures of PIL, got {got}: "
            f"align them with faces.align.align_face, and put it before what changes size or dtype"
        )
