"""Virtual masks: drawn on aligned faces or on whole photos, fitted to 68 landmarks (iBUG order) and to the light.

    >>> masked = mask_faces(faces, seed=1)
    >>> masked.images[masked.ok]

From landmarks to pixels, a module a step:

- `kinds`: what a kind of mask is: its net on the mean head, straps, relief, trim. To add a kind, begin (and mostly end) here.
- `styles` (and `styles.yaml`): which kind, colour, pattern and way to wear it, picked by the numbers that `chance` draws from
  the seed and the picture's bytes, whatever batch it comes in.
- `shapes`, `placement`: the net becomes a matrix times the landmarks (pose up to the profile), then an outline and mask
  coordinates (u, v) in the picture, without what the head hides.
- `light`: brightness and its direction fitted to the skin, colour cast, sharpness and grain measured in the picture.
- `plan`: all of that together for n faces; straps, and where eyes are near.
- `cloth` (drawn with `strokes`): the textures over (u, v); `paint`: warped, lit, blurred and laid over the face.
- `draw`: `mask_faces` and `mask_photo`, which call `plan` and `paint`; `jpeg`: a photo's JPEG traces, for the mask too.
- `transform`: the same for torchvision; only it needs torch.
"""

from typing import TYPE_CHECKING, Any

from maskfr_utils.masks.draw import MaskedFaces, MaskedPhoto, mask_faces, mask_photo
from maskfr_utils.masks.kinds import KINDS, NO_MASK
from maskfr_utils.masks.styles import Style, StyleLike, load_styles

if TYPE_CHECKING:
    from maskfr_utils.masks.transform import RandomVirtualMask

__all__ = [
    "KINDS",
    "NO_MASK",
    "MaskedFaces",
    "MaskedPhoto",
    "RandomVirtualMask",
    "Style",
    "StyleLike",
    "load_styles",
    "mask_faces",
    "mask_photo",
]


def __getattr__(name: str) -> Any:
    if name == "RandomVirtualMask":  # not before it is asked for: torch takes seconds to import
        from maskfr_utils.masks.transform import RandomVirtualMask

        return RandomVirtualMask
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
