"""Pictures of faces, and how distinct rendered people are."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from maskfr_utils.figures.style import closed, finished
from maskfr_utils.store import TRAIN, FaceStore


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
        line[0].set_title(title, loc="left", fontsize=9, parse_math=False)  # names may hold a $
        for ax, face in zip(line, faces, strict=False):
            ax.imshow(face)
        for ax in line:
            ax.axis("off")
    return finished(fig, pad=0.3)


def mistakes(store: FaceStore, places: np.ndarray, named: np.ndarray) -> Figure | None:
    """Masked photos that were taken for somebody else, ten at most: each above a training photo of that person; None without any.

    Args:
        store: the prepared faces.
        places: (n,) of the photos in it.
        named: (n,) identities that they were taken for.
    """
    wrong = np.flatnonzero(store.labels[places] != named)[:10]
    if not len(wrong):
        return None
    training = store.indices(TRAIN)
    others = [training[store.labels[training] == label][0] for label in named[wrong]]
    return face_grid(
        {"taken for somebody else": store.batch(places[wrong], masked=True)[0], "for whom": store.batch(others)[0]}
    )


def sheet(images: np.ndarray, *, columns: int = 10) -> Figure:
    """Faces side by side without anything between them: (N, height, width, 3) uint8."""
    rows = -(-len(images) // columns)
    height, width = images.shape[1:3]
    page = np.full((rows * columns, height, width, 3), 255, np.uint8)
    page[: len(images)] = images
    page = page.reshape(rows, columns, height, width, 3).swapaxes(1, 2).reshape(rows * height, columns * width, 3)
    fig = plt.figure(figsize=(columns, rows * height / width))
    ax = fig.add_axes((0, 0, 1, 1))
    ax.imshow(page)
    ax.axis("off")
    return closed(fig)


def distinct_people(record: dict) -> Figure:
    """Distances within and between rendered people, and accuracy by difficulty; from the record of `rendered_people`."""
    fig, (top, bottom) = plt.subplots(2, 1, figsize=(7.2, 5.6))
    found = record["distances"]
    edges = np.array(found["bins"])
    names = {"within": "same person", "nearest": "nearest other person", "between": "any other person"}
    for (name, label), colour in zip(names.items(), ("C0", "C1", "0.5"), strict=True):
        counts = np.array(found["counts"][name])
        top.stairs(counts / counts.sum(), edges, color=colour, fill=True, alpha=0.25)
        top.stairs(counts / counts.sum(), edges, color=colour, label=label)
    top.set(xlabel="cosine distance", ylabel="share", xlim=(0, 1.4))
    top.set_ylim(0, 1.45 * top.get_ylim()[1])  # room for the legend
    top.legend(loc="upper left", frameon=False)
    difficulty = record["difficulty"]
    for (name, scores), colour in zip(difficulty["accuracy"].items(), ("C2", "C1", "C0"), strict=True):
        bottom.plot(difficulty["values"], scores["unmasked"], "o-", color=colour, label=name)
        bottom.plot(difficulty["values"], scores["masked"], "o:", color=colour)
    bottom.plot([], [], "k:", label="tested on masked faces")
    bottom.set(xlabel="difficulty", ylabel="accuracy", ylim=(0, 1.02), xticks=difficulty["values"])
    bottom.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False)
    for ax in (top, bottom):
        ax.spines[["top", "right"]].set_visible(False)
    return finished(fig)


def twins(path: str | Path) -> None:
    """Draws the picture on the project's first page: rendered faces and their masked twins, as PNG."""
    from maskfr_utils.masks import mask_faces
    from maskfr_utils.rendered import render_faces

    faces = render_faces(10, 1, seed=4)
    masked = mask_faces(faces.images, faces.landmarks, seed=2).images
    plt.imsave(path, np.vstack([np.hstack(faces.images), np.hstack(masked)]))
