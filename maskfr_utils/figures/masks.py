"""How masks are drawn and where they lie, beside real ones."""

import zlib
from dataclasses import replace

import cv2
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from maskfr_utils import masks
from maskfr_utils.figures.style import finished
from maskfr_utils.masks import chance, cloth, light, plan, shapes, styles
from maskfr_utils.masks.placement import Placement

_ZOOM = 4  # faces are drawn at four times their size where lines go over them


def geometry(face: np.ndarray, landmarks: np.ndarray, *, kind: str = "surgical", seed: int = 0) -> Figure:
    """How a mask comes onto a face, in six steps.

    Args:
        face: (112, 112, 3) uint8.
        landmarks: (68, 2) pixels.
        kind: of mask.
        seed: of its draw.
    """
    image = cv2.resize(face, None, fx=_ZOOM, fy=_ZOOM, interpolation=cv2.INTER_CUBIC)
    points = ((landmarks + 0.5) * _ZOOM - 0.5).astype(np.float32)
    style = replace(styles.styles()[kind], patterns={"plain": 1}, wears={"normal": 1})
    done = masks.mask_photo(image, style=style, seed=seed, landmarks=points[None])
    thumb, thumb_points = light.thumbnail(image, points)
    draws = chance.draw(seed, [zlib.crc32(points.tobytes(), zlib.crc32(image))])
    thumbs = thumb[None], thumb_points[None].astype(np.float32)
    planned = plan.make_plan([image], points[None], *thumbs, draws, styles.resolve(style), shapes.FINE)
    placed, look = planned.place, planned.looks[0]  # of the mask as it is drawn
    net = (shapes.shape(kind, look.wear, height=look.height).net @ points).reshape(*shapes.COARSE[:2], 2)
    u, v = _mask_coordinates(placed, image.shape[:2])
    side = 256
    normals = cloth.normals(kind, look.wear, side, look.folds, look.cloth.valve)
    shading = (normals @ planned.light.shading[0]).reshape(side, side)

    fig, axes = plt.subplots(2, 3, figsize=(9, 6.6))
    titles = (
        "68 landmarks, head axes",
        "net on the head",
        "what the camera sees",
        "light on the cloth",
        "mask",
        "coverage",
    )
    for ax, title in zip(axes.flat, titles, strict=True):
        ax.set_title(title, fontsize=9)
        ax.axis("off")
    for ax in axes.flat[:3]:
        ax.imshow(image)
        ax.set_xlim(0, image.shape[1])
        ax.set_ylim(image.shape[0], 0)
    axes[0, 0].scatter(*points.T, s=5, color="white", edgecolor="black", linewidth=0.3)
    for axis, colour in zip(placed.axes[0], ("tab:red", "tab:green", "tab:blue"), strict=True):
        axes[0, 0].annotate("", points[30] + 0.8 * axis, points[30], arrowprops={"arrowstyle": "->", "color": colour})
    axes[0, 1].plot(*net.transpose(2, 0, 1), color="gold", linewidth=0.7)
    axes[0, 1].plot(*net.transpose(2, 1, 0), color="gold", linewidth=0.7)
    axes[0, 2].contour(u, np.linspace(-1, 1, 11), colors="white", linewidths=0.5)
    axes[0, 2].contour(v, np.linspace(0, 1, 9), colors="white", linewidths=0.5)
    axes[0, 2].plot(*placed.outline[0].T, color="tab:orange")
    axes[1, 0].imshow(shading, cmap="gray", vmin=0.2, vmax=1.3)
    axes[1, 1].imshow(done.image)
    axes[1, 2].imshow(done.alpha, cmap="gray")
    return finished(fig, pad=0.4)


def _mask_coordinates(placed: Placement, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """(u, v) at each pixel of a picture (height, width); NaN outside the mask."""
    maps = cv2.warpAffine(
        placed.lattice[0], placed.to_lattice[0], size[::-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    )
    inside = np.zeros(size, np.uint8)
    cv2.fillPoly(inside, [placed.outline[0].round().astype(np.int32)], 1)
    return tuple(np.where(inside > 0, maps[..., i], np.nan) for i in (0, 1))


def kinds_by_colour(face: np.ndarray, landmarks: np.ndarray, *, columns: int = 5) -> Figure:
    """One face (height, width, 3) in every kind of mask (rows) and its commonest colours."""
    known = styles.styles()
    fig, axes = plt.subplots(len(known), columns, figsize=(1.15 * columns, 1.2 * len(known)))
    for line, (name, style) in zip(axes, known.items(), strict=True):
        colours = sorted(style.colours, key=style.colours.get, reverse=True)[:columns]
        plain = replace(style, patterns={"plain": 1}, wears={"normal": 1})
        for ax, colour in zip(line, colours, strict=False):
            _show(ax, face, landmarks, replace(plain, colours={colour: 1}))
        for ax in line:
            ax.axis("off")
        line[0].set_title(name, loc="left", fontsize=9)
    return finished(fig, pad=0.5)


def patterns_and_wears(face: np.ndarray, landmarks: np.ndarray) -> Figure:
    """One face (height, width, 3) in every pattern of cloth, and in surgical masks worn in every way."""
    fabric, surgical = styles.styles()["cloth"], replace(styles.styles()["surgical"], colours={"#a8cfe9": 1})
    patterned = {p: replace(fabric, patterns={p: 1}, wears={"normal": 1}) for p in cloth.PATTERNS}
    worn = {w.replace("_", " "): replace(surgical, wears={w: 1}) for w in shapes.WEARS}
    worn |= {
        "intensity 0.5": replace(surgical, intensity=0.5),
        "with valve": replace(styles.styles()["n95"], valve=1),
    }
    columns = max(len(patterned), len(worn))
    fig, axes = plt.subplots(2, columns, figsize=(1.15 * columns, 3))
    for line, row in zip(axes, (patterned, worn), strict=True):
        for ax in line:
            ax.axis("off")
        for ax, (name, style) in zip(line, row.items(), strict=False):
            _show(ax, face, landmarks, style)
            ax.set_title(name, fontsize=8)
    return finished(fig, pad=0.4)


def _show(ax: plt.Axes, face: np.ndarray, landmarks: np.ndarray, style: masks.Style) -> None:
    ax.imshow(masks.mask_photo(face, style=style, landmarks=landmarks[None]).image)


def cases(pictures: dict[str, tuple[np.ndarray, np.ndarray]], *, style: masks.StyleLike = "random") -> Figure:
    """Pictures of any size, masked, each with its title; five a row.

    Args:
        pictures: title -> (picture (height, width, 3) uint8, landmarks (faces, 68, 2)).
        style: of the masks.
    """
    columns = min(5, max(1, len(pictures)))
    rows = -(-len(pictures) // columns)
    fig, axes = plt.subplots(rows, columns, figsize=(1.5 * columns, 1.75 * rows), squeeze=False)
    for ax in axes.flat:
        ax.axis("off")
    for ax, (title, (image, points)) in zip(axes.flat, pictures.items(), strict=False):
        ax.imshow(masks.mask_photo(image, style=style, landmarks=points).image)
        ax.set_title(title, fontsize=8, parse_math=False)  # names of files may hold a $
    return finished(fig, pad=0.2)


def coverage(result: masks.MaskedFaces) -> Figure:
    """Where masks lie in aligned faces: the mean of their coverage, and how much of the face each kind covers."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(8, 2.8), width_ratios=(1, 2))
    shown = left.imshow((result.alpha[result.ok] > 127).mean(0), cmap="magma", vmin=0, vmax=1)
    fig.colorbar(shown, ax=left, label="share of the faces")
    left.axis("off")
    kinds = [kind for kind in masks.KINDS if (result.kinds == kind).any()]
    shares = [(result.alpha[result.kinds == kind] > 127).mean((1, 2)) for kind in kinds]
    right.boxplot(shares, tick_labels=kinds)
    right.set_ylabel("share of the picture covered")
    right.set_ylim(0)
    return finished(fig)


def outlines(record: dict) -> Figure:
    """Where real and drawn masks lie: median and middle half of each statistic, from the record of `realism`."""
    names = {
        "real": "real masks",
        "drawn": "drawn",
        "drawn_known": "the same, known exactly",
    }
    titles = {
        "share": "share of the picture covered",
        "top_nose": "upper edge at the nose",
        "top_cheek": "upper edge at the cheeks",
        "width": "width at the mouth",
    }
    fig, axes = plt.subplots(2, 2, figsize=(7.2, 3.8), sharey=True)
    for ax, (key, title) in zip(axes.flat, titles.items(), strict=True):
        for place, (name, colour) in enumerate(zip(names, ("k", "C0", "0.6"), strict=True)):
            low, middle, high = record["outline"][name][key]
            ax.plot([low, high], [-place] * 2, color=colour, linewidth=4, alpha=0.4, solid_capstyle="butt")
            ax.plot(middle, -place, "o", color=colour)
        ax.set_title(title, fontsize=10)
        ax.set_xlabel("" if key == "share" else f"eye distances{' below the eyes' if 'top' in key else ''}")
        ax.spines[["top", "right"]].set_visible(False)
    axes[0, 0].set_yticks(-np.arange(len(names)), names.values())
    axes[0, 0].set_ylim(-len(names) + 0.5, 0.5)
    return finished(fig)


def giveaways(record: dict) -> Figure:
    """How well a classifier tells real masks from drawn ones, by masks, region and features; from the record.

    The dashed line is what it finds, by all features, where nothing is drawn.
    """
    titles = {"masks": "which masks", "regions": "where it looks", "features": "what it sees"}
    undrawn = record["auc"]["regions"]["forehead and eyes"]["auc"]
    sizes = [len(record["auc"][key]) for key in titles]
    fig, axes = plt.subplots(len(titles), 1, figsize=(7.2, 5.4), sharex=True, height_ratios=sizes)
    for ax, (key, title) in zip(axes, titles.items(), strict=True):
        scores = record["auc"][key]
        for place, auc in enumerate(scores.values()):
            ax.plot([auc["low"], auc["high"]], [-place] * 2, color="C0", linewidth=2)
            ax.plot(auc["auc"], -place, "o", color="C0")
        ax.set_yticks(-np.arange(len(scores)), scores)
        ax.set_ylim(0.5 - len(scores), 0.5)
        ax.axvline(0.5, color="k", linewidth=0.8, linestyle=":")
        if key != "features":  # by some features alone it was not looked for where nothing is drawn
            ax.axvline(undrawn, color="0.4", linewidth=0.8, linestyle="--")
        ax.set_xlim(0.45, 1.02)
        ax.set_title(title, fontsize=10, loc="left")
        ax.spines[["top", "right"]].set_visible(False)
    axes[-1].set_xlabel("AUC (dashed: where nothing is drawn; dotted: no difference)")
    return finished(fig)
