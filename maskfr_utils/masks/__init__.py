"""Virtual masks: drawn on aligned faces or on whole photos, fitted to 68 landmarks (iBUG order) and to the light.

    >>> masked = mask_faces(faces, seed=1)
    >>> masked.images[masked.ok]

A mask is placed by `mask_shapes` (pose up to the profile), looks as `mask_styles` draws it, and is lit as the face
below it is: brightness and its direction are fitted to the skin (a linear function of the surface normal, the first
two orders of a spherical harmonic), colour cast, sharpness and grain measured in the picture. Every face is drawn by
its own numbers, derived from the seed and the picture's bytes, whatever batch it comes in.
"""

from maskfr_utils.masks.draw import MaskedFaces, MaskedPhoto, StyleLike, mask_faces, mask_photo
from maskfr_utils.masks.kinds import KINDS, NO_MASK
from maskfr_utils.masks.styles import Style, load_styles

__all__ = [
    "KINDS",
    "NO_MASK",
    "MaskedFaces",
    "MaskedPhoto",
    "Style",
    "StyleLike",
    "load_styles",
    "mask_faces",
    "mask_photo",
]
