"""Figures of the study; every function returns a matplotlib Figure."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.figure import Figure

MASKED, UNMASKED = sns.color_palette("colorblind")[:2]


def _done(fig: Figure, pad: float = 1.08) -> Figure:
    fig.tight_layout(pad=pad)
    plt.close(fig)  # else a notebook shows it twice: as the value of the cell, and as an open figure
    return fig


def face_grid(rows: dict[str, np.ndarray], *, size: float = 0.9) -> Figure:
    """Rows of faces with a title each.

    Args:
        rows: title -> (n, 112, 112, 3) uint8 RGB; rows may differ in length.
        size: inches a face.
    """
    columns = max(len(faces) for faces in rows.values())
    fig, axes = plt.subplots(
        len(rows), columns, figsize=(size * columns, size * len(rows) + 0.25 * len(rows)), squeeze=False
    )
    for line, (title, faces) in zip(axes, rows.items(), strict=True):
        line[0].set_title(title, loc="left", fontsize=9)
        for ax, face in zip(line, faces, strict=False):
            ax.imshow(face)
        for ax in line:
            ax.axis("off")
    return _done(fig, pad=0.3)


def training_curves(history: list[dict]) -> Figure:
    """Loss, and accuracy on training and test photos, by epoch.

    Args:
        history: one dict an epoch with `epoch`, `loss`, `train_accuracy`, and where it was tested `masked`, `unmasked`.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(8, 3))
    epochs = [h["epoch"] for h in history]
    left.plot(epochs, [h["loss"] for h in history], "k.-")
    left.set(xlabel="epoch", ylabel="training loss", ylim=(0, None))
    right.plot(epochs, [h["train_accuracy"] for h in history], "k.-", label="training")
    for name, colour in (("masked", MASKED), ("unmasked", UNMASKED)):
        tested = [(h["epoch"], h[name]) for h in history if name in h]
        right.plot(*zip(*tested, strict=True), "o-", color=colour, label=f"test, {name}") if tested else None
    right.set(xlabel="epoch", ylabel="top-1 accuracy", ylim=(0, 1.02))
    right.legend()
    sns.despine(fig)
    return _done(fig)


def confusion(labels: np.ndarray, predictions: np.ndarray, num_classes: int, title: str = "") -> Figure:
    """Confusion matrix: rows are true identities and sum to 1, columns the predicted ones.

    Args:
        labels: (N,) true identities.
        predictions: (N,) predicted identities.
        num_classes: number of identities.
    """
    from sklearn.metrics import confusion_matrix

    matrix = confusion_matrix(labels, predictions, labels=np.arange(num_classes), normalize="true")
    fig, ax = plt.subplots(figsize=(4.6, 4))
    sns.heatmap(matrix, ax=ax, vmin=0, vmax=1, cmap="mako_r", square=True, cbar_kws={"label": "share of the photos"})
    ax.set(xlabel="predicted identity", ylabel="true identity", title=title)
    return _done(fig)


def twins(path: str | Path) -> None:
    """Draws the picture on the project's first page: rendered faces and their masked twins, as PNG."""
    from .masks import mask_faces
    from .rendered import render_faces

    faces = render_faces(10, 1, seed=4)
    masked = mask_faces(faces.images, faces.landmarks, seed=2).images
    plt.imsave(path, np.vstack([np.hstack(faces.images), np.hstack(masked)]))
