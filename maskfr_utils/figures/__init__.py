"""Figures of the study, by what they show; a function takes arrays, tables or records and returns a matplotlib Figure."""

from maskfr_utils.figures import attribution, audit, designer, faces, losses, masks, networks, playable, results, style

__all__ = ["attribution", "audit", "designer", "faces", "losses", "masks", "networks", "playable", "results", "style"]
