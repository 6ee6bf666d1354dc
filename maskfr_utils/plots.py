"""Figures of the study; every function returns a matplotlib Figure."""

import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

MASKED, UNMASKED = sns.color_palette("colorblind")[:2]
COLOURS, MARKERS = sns.color_palette("colorblind"), "osD^vPX"


def _done(fig: Figure, pad: float = 1.08) -> Figure:
    for ax in fig.axes:
        if ax.axison and not ax.has_data():
            ax.text(0.5, 0.5, "not run yet", transform=ax.transAxes, ha="center", va="center", color="grey")
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
    bar = {"label": "share of the photos"}
    sns.heatmap(matrix, ax=ax, vmin=0, vmax=1, cmap="mako_r", square=True, cbar_kws=bar, rasterized=True)
    ax.set(xlabel="predicted identity", ylabel="true identity", title=title)
    return _done(fig)


def rank_curves(curves: dict[str, np.ndarray]) -> Figure:
    """Rank-k curves: the share of the photos whose identity is among the k best.

    Args:
        curves: label -> (upto,) shares for k = 1..upto.
    """
    fig, ax = plt.subplots(figsize=(7.5, 3.4))
    for i, (label, shares) in enumerate(curves.items()):
        ax.plot(np.arange(1, len(shares) + 1), 100 * shares, color=COLOURS[i], marker=MARKERS[i], ms=4, label=label)
    ax.set(xlabel="k", ylabel="right identity among the k best, %", xscale="log")
    ticks = [k for k in (1, 2, 5, 10, 20, 50) if any(k <= len(shares) for shares in curves.values())]
    ax.set_xticks(ticks, ticks)
    ax.minorticks_off()
    if curves:
        ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    sns.despine(fig)
    return _done(fig)


def estimates(tables: dict[str, pd.DataFrame], xlabel: str, *, value: str = "accuracy", zero: bool = False) -> Figure:
    """Values with their intervals, a line each, the first on top; several tables in colours of their own.

    Args:
        tables: label -> table indexed by line with the column `value`, `low` and `high`, fractions; shown in percent.
        xlabel: what the values are.
        value: name of their column.
        zero: mark 0, where they are differences.
    """
    lines = list(dict.fromkeys(line for table in tables.values() for line in table.index))
    fig, ax = plt.subplots(figsize=(7.2, 1.3 + (0.22 + 0.12 * len(tables)) * max(len(lines), 4)))
    if zero and lines:
        ax.axvline(0, color="grey", lw=0.8)
    for i, (label, table) in enumerate(tables.items()):
        if len(table):
            at = [lines.index(line) + 0.24 * (i - (len(tables) - 1) / 2) for line in table.index]
            centre = 100 * table[value].to_numpy(float)
            bars = np.abs(100 * table[["low", "high"]].to_numpy(float).T - centre)
            ax.errorbar(centre, at, xerr=bars, fmt=MARKERS[i], color=COLOURS[i], capsize=2, ms=5, label=label)
    ax.set(xlabel=xlabel)
    ax.set_yticks(range(len(lines)), [textwrap.fill(str(line), 32) for line in lines])
    ax.invert_yaxis()
    ax.grid(axis="x", lw=0.4)
    if len(tables) > 1 and lines:
        side_by_side = sum(map(len, tables)) < 50  # else the labels would take the axes' width
        columns = len(tables) if side_by_side else 1
        ax.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, borderaxespad=0)
    sns.despine(fig, left=True)
    return _done(fig)


def batch_sizes(lines: dict[str, pd.DataFrame]) -> Figure:
    """Accuracy against batch size (Figure 9), with the number of steps at each point.

    Args:
        lines: label -> table indexed by batch size with `accuracy`, `low`, `high` (fractions) and `steps`.
    """
    fig, ax = plt.subplots(figsize=(6.5, 3.6))
    for i, (label, table) in enumerate(lines.items()):
        if len(table):
            x, y = table.index.to_numpy(float) * 1.03 ** (i - 0.5), 100 * table["accuracy"].to_numpy(float)
            bars = np.abs(100 * table[["low", "high"]].to_numpy(float).T - y)
            ax.errorbar(x, y, yerr=bars, fmt=f"{MARKERS[i]}-", color=COLOURS[i], capsize=2, label=label)
    sizes = sorted({size for table in lines.values() for size in table.index})
    ax.set_xscale("log", base=2)
    ax.set_xticks(sizes, sizes)
    ax.set(xlabel="batch size, photos a step", ylabel="top-1 accuracy on masked faces, %")
    if sizes:
        ax.legend(frameon=False)
    sns.despine(fig)
    return _done(fig)


def twins(path: str | Path) -> None:
    """Draws the picture on the project's first page: rendered faces and their masked twins, as PNG."""
    from maskfr_utils.masks import mask_faces
    from maskfr_utils.rendered import render_faces

    faces = render_faces(10, 1, seed=4)
    masked = mask_faces(faces.images, faces.landmarks, seed=2).images
    plt.imsave(path, np.vstack([np.hstack(faces.images), np.hstack(masked)]))
