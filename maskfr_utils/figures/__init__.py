"""Figures of the study, by what they show; a function takes arrays, tables or records and returns a matplotlib Figure."""

from maskfr_utils.figures import attribution, designer, faces, losses, masks, networks, playable, results, style

__all__ = ["attribution", "designer", "faces", "losses", "masks", "networks", "playable", "results", "style"]
