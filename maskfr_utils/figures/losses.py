"""Losses over angles, and the embeddings that they make."""

import math
from collections.abc import Callable, Mapping

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
import torch
from matplotlib.figure import Figure
from torch import Tensor

from maskfr_utils.figures.style import COLOURS, DASHES, finished, legend_outside
from maskfr_utils.losses import CosineLoss


def target_logits(curves: Mapping[str, Callable[[Tensor], Tensor]]) -> Figure:
    """What stands in place of cos t for the true identity, over the angle t.

    Args:
        curves: name -> function of cosines (n, 1).
    """
    fig, ax = plt.subplots(figsize=(6, 3.2))
    angles = torch.linspace(0, math.pi, 721, dtype=torch.float64)
    for i, (name, curve) in enumerate(curves.items()):
        with torch.no_grad():
            ax.plot(
                angles.rad2deg(),
                curve(angles.cos()[:, None])[:, 0],
                label=name,
                color=COLOURS[i],
                ls=DASHES[i % 4],
            )
    ax.set(xlabel="angle to the own identity, degrees", ylabel="target logit / s", xticks=range(0, 181, 30))
    legend_outside(ax)
    sns.despine(fig)
    return finished(fig)


def decision_boundaries(losses: Mapping[str, CosineLoss]) -> Figure:
    """Where training is content: the angles to two identities at which the logit of the first equals that of the second.

    Args:
        losses: name -> loss; above its line, where the other identity is farther, the logit of the first is higher.
    """
    fig, ax = plt.subplots(figsize=(4.6, 3.6))
    grid = torch.linspace(0, math.pi / 2, 300, dtype=torch.float64)
    first, second = torch.meshgrid(grid, grid, indexing="xy")
    for i, (name, loss) in enumerate(losses.items()):
        with torch.no_grad():
            gap = loss.with_margin(first.cos().reshape(-1, 1)).reshape(first.shape) - second.cos()
        ax.contour(
            first.rad2deg(),
            second.rad2deg(),
            gap,
            levels=[0],
            colors=[COLOURS[i]],
            linestyles=[DASHES[i % 4]],
        )
        ax.plot([], [], color=COLOURS[i], ls=DASHES[i % 4], label=name)
    ax.set(xlabel="angle to the own identity, degrees", ylabel="angle to the other, degrees", aspect="equal")
    legend_outside(ax)
    sns.despine(fig)
    return finished(fig)


def curves(series: Mapping[str, tuple[np.ndarray, np.ndarray]], xlabel: str, ylabel: str) -> Figure:
    """Lines over a common axis.

    Args:
        series: name -> x and y.
        xlabel: what x is, with its unit.
        ylabel: what y is, with its unit.
    """
    fig, ax = plt.subplots(figsize=(6, 3))
    for i, (name, (x, y)) in enumerate(series.items()):
        ax.plot(x, y, label=name, color=COLOURS[i % 10], ls=DASHES[i % 4])
    ax.set(xlabel=xlabel, ylabel=ylabel)
    legend_outside(ax)
    sns.despine(fig)
    return finished(fig)


def embeddings_on_a_circle(panels: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Figure:
    """Two-dimensional embeddings and class weights, by what they were trained with.

    Args:
        panels: title -> embeddings (N, 2), labels (N,), class weights (classes, 2).
    """
    fig, axes = plt.subplots(1, len(panels), figsize=(2 * len(panels), 2.4))
    for ax, (title, (points, labels, weights)) in zip(np.atleast_1d(axes), panels.items(), strict=True):
        colours = sns.color_palette("colorblind", len(weights))
        points = points / np.linalg.norm(points, axis=1, keepdims=True)
        for k, weight in enumerate(weights / np.linalg.norm(weights, axis=1, keepdims=True)):
            ax.plot([0, weight[0]], [0, weight[1]], color=colours[k], lw=1.5)
            ax.scatter(*(1.08 * points[labels == k]).T, s=5, color=colours[k])
        ax.add_patch(plt.Circle((0, 0), 1, fill=False, color="0.7"))
        ax.set(title=title, aspect="equal", xlim=(-1.25, 1.25), ylim=(-1.25, 1.25))
        ax.title.set_fontsize(8)
        ax.axis("off")
    return finished(fig)


def angular_margin(margin: float, angle: float) -> Figure:
    """ArcFace's geometry: an embedding at an angle from its identity's weight, pushed away by the margin.

    Args:
        margin: m in radians.
        angle: t in radians.
    """
    fig, ax = plt.subplots(figsize=(3.6, 2.9))
    start = math.radians(20)
    ax.add_patch(plt.Circle((0, 0), 1, fill=False, color="0.7"))
    rays = (
        (start, "$w_y$", "black"),
        (start + angle, "$x$", COLOURS[0]),
        (start + angle + margin, "$x$ as it is scored", COLOURS[1]),
    )
    for at, name, colour in rays:
        ax.annotate(
            "", (math.cos(at), math.sin(at)), (0, 0), arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 1.5}
        )
        ax.text(1.08 * math.cos(at), 1.08 * math.sin(at), name, color=colour, fontsize=9, va="center")
    for radius, first, last, name, colour in (
        (0.45, start, start + angle, r"$\theta_y$", COLOURS[0]),
        (0.6, start + angle, start + angle + margin, "$m$", COLOURS[1]),
    ):
        arc = np.linspace(first, last, 50)
        ax.plot(radius * np.cos(arc), radius * np.sin(arc), color=colour)
        middle = (first + last) / 2
        ax.text(
            (radius + 0.08) * math.cos(middle),
            (radius + 0.08) * math.sin(middle),
            name,
            color=colour,
            fontsize=10,
            ha="center",
            va="center",
        )
    ax.set(aspect="equal", xlim=(-0.3, 1.6), ylim=(-0.1, 1.2))
    ax.axis("off")
    return finished(fig)
