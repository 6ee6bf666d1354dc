"""Figures of the study, by what they show; a function takes arrays, tables or records and returns a matplotlib Figure."""

from maskfr_utils.figures import audit, designer, faces, losses, masks, networks, results

__all__ = ["audit", "designer", "faces", "losses", "masks", "networks", "results"]
