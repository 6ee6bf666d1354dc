"""Where networks look."""

import textwrap
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from maskfr_utils.figures.style import finished

_MAP = "inferno"


def maps_on_faces(faces: Mapping[str, np.ndarray], rows: Mapping[str, Mapping[str, np.ndarray]]) -> Figure:
    """Maps over the faces that they belong to: a line for each network, a column for each kind of face.

    Args:
        faces: name of the column -> (112, 112, 3) uint8 RGB that its maps are laid on; shown by itself in the first line.
        rows: name of the line -> column -> map (rows, columns), at least 0.
    """
    fig, axes = plt.subplots(
        len(rows) + 1, len(faces), figsize=(2 * len(faces) + 2, 2.1 * (len(rows) + 1)), squeeze=False
    )
    for ax, (name, face) in zip(axes[0], faces.items(), strict=True):
        ax.imshow(face)
        ax.set_title(name, fontsize=9)
    for line, (label, maps) in zip(axes[1:], rows.items(), strict=True):
        for ax, (name, face) in zip(line, faces.items(), strict=True):
            if name in maps:
                ax.imshow(face.mean(-1), cmap="gray", extent=(0, 112, 112, 0))
                ax.imshow(maps[name], cmap=_MAP, alpha=0.6, extent=(0, 112, 112, 0), interpolation="bilinear", vmin=0)
        line[0].set_ylabel(label, fontsize=9, rotation=0, ha="right", va="center")
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    return finished(fig, pad=0.4)


def heads(face: np.ndarray, layers: Mapping[str, Sequence[np.ndarray]]) -> Figure:
    """How much each place is looked at by self-attention: a line for each layer, a column for each head.

    Args:
        face: (112, 112, 3) uint8 RGB that the maps are laid on.
        layers: name -> of each head a map (rows, columns), at least 0.
    """
    columns = max(map(len, layers.values()), default=1)
    fig, axes = plt.subplots(
        max(1, len(layers)), columns, figsize=(1.7 * columns + 2.5, 1.8 * max(1, len(layers))), squeeze=False
    )
    for row, (line, (name, maps)) in enumerate(zip(axes, layers.items(), strict=False)):
        for k, (ax, found) in enumerate(zip(line, maps, strict=False)):
            ax.imshow(face.mean(-1), cmap="gray", extent=(0, 112, 112, 0))
            ax.imshow(found, cmap=_MAP, alpha=0.6, extent=(0, 112, 112, 0), interpolation="nearest", vmin=0)
            if not row:
                ax.set_title(f"head {k + 1}", fontsize=9)
        line[0].set_ylabel(textwrap.fill(name, 30), fontsize=9, rotation=0, ha="right", va="center")
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    return finished(fig, pad=0.4)
