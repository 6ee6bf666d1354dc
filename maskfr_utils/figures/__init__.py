"""Figures of the study, by what they show; a function takes arrays, tables or records and returns a matplotlib Figure."""

from maskfr_utils.figures import designer, faces, losses, masks, networks, playable, results

__all__ = ["designer", "faces", "losses", "masks", "networks", "playable", "results"]
