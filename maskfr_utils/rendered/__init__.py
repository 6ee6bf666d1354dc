"""People who do not exist: heads drawn by chance, lit, photographed, with landmarks that are exactly known."""

from maskfr_utils.rendered.checksums import kept
from maskfr_utils.rendered.render import RenderedFaces, check_arguments, render_faces

__all__ = ["RenderedFaces", "check_arguments", "kept", "render_faces"]
