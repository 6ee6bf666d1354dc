"""Networks of five blocks."""

from dataclasses import replace

from maskfr_utils.names import NETWORKS, Network

DEPTHS = (1, 1, 2, 1)


def shallow(name: str) -> Network:
    """A network's shape with fewer blocks, each kind of which is still there."""
    return replace(NETWORKS[name], depths=DEPTHS)
