"""Figures about networks and losses; every function returns a matplotlib Figure."""

import copy
import math
from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import matplotlib.ticker as ticks
import numpy as np
import seaborn as sns
import torch
from matplotlib.figure import Figure
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from maskfr_utils.losses import CosineLoss
from maskfr_utils.models.blocks import MHSA, SE, FReLU, PReLU

PALETTE = sns.color_palette("colorblind")
FILL = {
    "convolution": sns.color_palette("pastel")[0],
    "norm": (0.9, 0.9, 0.9),
    "activation": sns.color_palette("pastel")[1],
    "attention": sns.color_palette("pastel")[2],
    "other": "white",
}


def _done(fig: Figure) -> Figure:
    fig.tight_layout()
    plt.close(fig)  # else a notebook shows it twice: as the value of the cell, and as an open figure
    return fig


def _legend(ax: plt.Axes, columns: int = 0) -> None:
    """Names the lines beside the axes, or above them in so many columns, in letters as large as the axes' own."""
    loc, anchor = ("lower center", (0.5, 1)) if columns else ("center left", (1, 0.5))
    ax.legend(ncol=columns or 1, fontsize=9, loc=loc, bbox_to_anchor=anchor, frameon=False)


class _Tracer(fx.Tracer):
    """Follows a block down to torch's own modules and to those that have a diagram of their own."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return isinstance(module, PReLU | SE | FReLU | MHSA) or super().is_leaf_module(module, name)


def _describe(node: fx.Node, block: nn.Module) -> tuple[str, str]:
    """The text in a box, and its kind in `FILL`."""
    if node.op in ("placeholder", "output"):
        return {"placeholder": "input", "output": "output"}[node.op], "other"
    if node.op == "call_module":
        module = block.get_submodule(node.target)
        match module:
            case nn.Conv2d():
                kind = "depthwise" if module.groups > 1 else "conv"
                text = f"{kind} {module.kernel_size[0]}×{module.kernel_size[1]}, {module.in_channels}→{module.out_channels}"
                return text + (f", stride {module.stride[0]}" if module.stride[0] > 1 else ""), "convolution"
            case nn.Linear():
                return f"1×1, {module.in_features}→{module.out_features}", "convolution"
            case nn.BatchNorm2d():
                return "BN", "norm"
            case nn.AvgPool2d():
                return f"average {module.kernel_size}×{module.kernel_size}", "other"
            case MHSA():
                return f"MHSA, {module.heads} heads, {module.size[0]}×{module.size[1]}", "attention"
            case SE():
                return "SE", "attention"
            case _:
                return type(module).__name__, "activation"
    name = node.target if isinstance(node.target, str) else node.target.__name__
    known = {
        "add": "+",
        "mul": "×",
        "maximum": "max",
        "relu": "ReLU",
        "sigmoid": "sigmoid",
        "mean": "mean of positions",
    }
    return known.get(name, name), "activation" if name in ("relu", "sigmoid", "maximum") else "other"


def block_diagram(block: nn.Module, shape: tuple[int, ...], title: str = "") -> Figure:
    """A block as its code runs: the layers that a trace of it finds, with the shapes of a live forward.

    Args:
        block: a module of `blocks` with one input; MHSA stays a box.
        shape: shape (N, C, H, W) of the input.
        title: heading of the figure.
    """
    block = copy.deepcopy(block).eval()
    module = fx.GraphModule(block, _Tracer().trace(block))
    with torch.no_grad():
        ShapeProp(module).propagate(torch.zeros(shape))
    nodes = [node for node in module.graph.nodes if not _is_silent(node, block)]
    inputs = {node: [_loud(i, block) for i in node.all_input_nodes] for node in nodes}
    depth: dict[fx.Node, int] = {}
    for node in nodes:
        depth[node] = max((depth[i] + 1 for i in inputs[node]), default=0)
    column: dict[fx.Node, int] = {}

    def place(node: fx.Node, at: int) -> None:
        """The longest way to the output goes straight down; what joins it on the way stands to the right."""
        if node not in column:
            column[node] = at
            for i, source in enumerate(sorted(inputs[node], key=depth.get, reverse=True)):
                place(source, at + (i > 0))

    place(nodes[-1], 0)
    x = {node: 3.4 * column[node] for node in nodes}
    half = {node: 0.08 + 0.032 * len(_describe(node, block)[0]) for node in nodes}  # width of a box
    fig, ax = plt.subplots()
    arrow = {"arrowstyle": "-|>", "color": "0.3", "lw": 1, "shrinkA": 0, "shrinkB": 0}
    right = max(x.values()) + 1.5
    for node in nodes:
        for source in inputs[node]:
            start, end = -depth[source], -depth[node]
            if column[source] != column[node]:  # a branch leaves sideways and comes back sideways
                out = column[source] < column[node]
                corner = (x[node], start) if out else (x[source], end)
                tail = (x[source] + half[source], start) if out else (x[source], start - 0.3)
                head = (x[node], end + 0.3) if out else (x[node] + half[node], end)
            elif depth[node] == depth[source] + 1:
                corner = tail = (x[source], start - 0.3)
                head = (x[node], end + 0.3)
            else:  # a skip runs to the right of all that lies between
                level = 2.1 + max(x[n] for n in nodes if depth[source] <= depth[n] <= depth[node])
                right = max(right, level)
                start -= 0.13  # clear of a branch that comes in
                ax.plot([x[source] + half[source], level], [start, start], color="0.3", lw=1)
                tail, corner, head = (level, start), (level, end), (x[node] + half[node], end)
            ax.plot(*zip(tail, corner, strict=True), color="0.3", lw=1)
            ax.annotate("", head, corner, arrowprops=arrow)
    for node in nodes:
        text, kind = _describe(node, block)
        box = {"boxstyle": "round,pad=0.3", "fc": FILL[kind], "ec": "0.3"}
        ax.text(x[node], -depth[node], text, ha="center", va="center", fontsize=8, bbox=box)
        size = tuple(node.meta["tensor_meta"].shape)[1:]
        ax.text(
            x[node] - 1.75, -depth[node], "×".join(map(str, size)), ha="right", va="center", fontsize=6.5, color="0.4"
        )
    ax.set(xlim=(-2.8, right + 0.2), ylim=(-max(depth.values()) - 0.6, 0.6))
    fig.set_size_inches(0.9 * (right + 3), 0.42 * (max(depth.values()) + 1) + 0.5)
    ax.set_title(title, fontsize=9)
    ax.axis("off")
    return _done(fig)


def _is_silent(node: fx.Node, block: nn.Module) -> bool:
    """Whether a node only passes its input on, or changes its view."""
    if node.op == "call_module":
        return isinstance(block.get_submodule(node.target), nn.Identity)
    return node.op in ("call_function", "call_method") and getattr(node.target, "__name__", node.target) == "getitem"


def _loud(node: fx.Node, block: nn.Module) -> fx.Node:
    """The node itself, or the one behind it that does something."""
    return _loud(node.all_input_nodes[0], block) if _is_silent(node, block) else node


def by_depth(series: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> Figure:
    """Activations and gradients by depth.

    Args:
        series: name -> (standard deviation of each block's output, norm of the gradient of each block's first BatchNorm).
    """
    fig, axes = plt.subplots(1, 2, figsize=(8, 3.2))
    for i, (name, values) in enumerate(series.items()):
        for ax, value in zip(axes, values, strict=True):
            ax.plot(range(1, len(value) + 1), value, color=PALETTE[i], ls=("-", "--", "-.", ":")[i % 4], label=name)
    axes[0].set(xlabel="block", ylabel="standard deviation of the output", ylim=(0, None))
    axes[1].set(xlabel="block", ylabel="norm of the gradient", yscale="log")
    axes[1].yaxis.set_major_locator(ticks.LogLocator(subs=(1, 2, 5)))
    axes[1].yaxis.set_major_formatter("{x:g}")
    axes[1].yaxis.set_minor_formatter(ticks.NullFormatter())
    lines, names = axes[0].get_legend_handles_labels()
    fig.legend(lines, names, ncol=len(names), fontsize=9, loc="lower center", bbox_to_anchor=(0.5, 0.97), frameon=False)
    sns.despine(fig)
    return _done(fig)


def stacked_bars(parts: Mapping[str, Mapping[str, float]], xlabel: str) -> Figure:
    """One horizontal bar a row, made of named parts.

    Args:
        parts: name of the row -> part -> value; the parts are the same in all rows.
        xlabel: what the values are, with their unit.
    """
    fig, ax = plt.subplots(figsize=(7, 0.4 * len(parts) + 1.2))
    names = list(next(iter(parts.values())))
    left = np.zeros(len(parts))
    for colour, name in zip(sns.color_palette("colorblind", len(names)), names, strict=True):
        values = np.array([row[name] for row in parts.values()])
        ax.barh(list(parts), values, left=left, color=colour, label=name, edgecolor="white", lw=0.5)
        left += values
    ax.invert_yaxis()
    ax.set(xlabel=xlabel)
    _legend(ax, columns=3)
    sns.despine(fig)
    return _done(fig)


def spread_bars(rows: Mapping[str, Sequence[float]], xlabel: str, marks: Mapping[str, float] | None = None) -> Figure:
    """One horizontal bar a row, as long as the median of its values, with their range.

    Args:
        rows: name -> values.
        xlabel: what the values are, with their unit.
        marks: name -> value at which a line is drawn across.
    """
    fig, ax = plt.subplots(figsize=(7, 0.34 * len(rows) + 1))
    middles = np.array([np.median(values) for values in rows.values()])
    ranges = np.abs([(np.min(values), np.max(values)) for values in rows.values()] - middles[:, None]).T
    ax.barh(list(rows), middles, xerr=ranges, color=PALETTE[0], ecolor="0.3", capsize=2, height=0.65)
    for i, (name, value) in enumerate((marks or {}).items()):
        ax.axvline(value, color=PALETTE[i + 1], ls=("--", ":")[i % 2], label=name)
    if marks:
        _legend(ax, columns=len(marks))
    ax.invert_yaxis()
    ax.set(xlabel=xlabel)
    sns.despine(fig)
    return _done(fig)


def fits(params: Mapping[str, tuple[float, float]], target: tuple[float, float], names: tuple[str, str]) -> Figure:
    """Totals of two networks under different choices, beside the published pair and its rounding.

    Args:
        params: name of the choices -> totals of both networks.
        target: the published totals, given to two decimals.
        names: what the two totals are, with their unit.
    """
    fig, ax = plt.subplots(figsize=(6.6, 3.4))
    ax.add_patch(plt.Rectangle((target[0] - 0.005, target[1] - 0.005), 0.01, 0.01, color="0.85", label="published"))
    for i, (name, (x, y)) in enumerate(params.items()):
        ax.plot(x, y, "os^Dv<>Pp*"[i % 10], color=PALETTE[i % 10], label=name)
    ax.set(xlabel=names[0], ylabel=names[1])
    _legend(ax)
    sns.despine(fig)
    return _done(fig)


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
                color=PALETTE[i],
                ls=("-", "--", "-.", ":")[i % 4],
            )
    ax.set(xlabel="angle to the own identity, degrees", ylabel="target logit / s", xticks=range(0, 181, 30))
    _legend(ax)
    sns.despine(fig)
    return _done(fig)


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
            colors=[PALETTE[i]],
            linestyles=[("-", "--", "-.", ":")[i % 4]],
        )
        ax.plot([], [], color=PALETTE[i], ls=("-", "--", "-.", ":")[i % 4], label=name)
    ax.set(xlabel="angle to the own identity, degrees", ylabel="angle to the other, degrees", aspect="equal")
    _legend(ax)
    sns.despine(fig)
    return _done(fig)


def curves(series: Mapping[str, tuple[np.ndarray, np.ndarray]], xlabel: str, ylabel: str, log: bool = False) -> Figure:
    """Lines over a common axis.

    Args:
        series: name -> x and y.
        xlabel: what x is, with its unit.
        ylabel: what y is, with its unit.
    """
    fig, ax = plt.subplots(figsize=(6, 3))
    for i, (name, (x, y)) in enumerate(series.items()):
        ax.plot(x, y, label=name, color=PALETTE[i % 10], ls=("-", "--", "-.", ":")[i % 4])
    ax.set(xlabel=xlabel, ylabel=ylabel)
    _legend(ax)
    sns.despine(fig)
    return _done(fig)


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
    return _done(fig)


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
        (start + angle, "$x$", PALETTE[0]),
        (start + angle + margin, "$x$ as it is scored", PALETTE[1]),
    )
    for at, name, colour in rays:
        ax.annotate(
            "", (math.cos(at), math.sin(at)), (0, 0), arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 1.5}
        )
        ax.text(1.08 * math.cos(at), 1.08 * math.sin(at), name, color=colour, fontsize=9, va="center")
    for radius, first, last, name, colour in (
        (0.45, start, start + angle, r"$\theta_y$", PALETTE[0]),
        (0.6, start + angle, start + angle + margin, "$m$", PALETTE[1]),
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
    return _done(fig)
