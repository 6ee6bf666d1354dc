"""Blocks as their code runs, signals by depth, and totals beside published ones."""

import copy
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import matplotlib.ticker as ticks
import seaborn as sns
import torch
from matplotlib.figure import Figure
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from maskfr_utils.figures.style import COLOURS, DASHES, finished, legend_outside
from maskfr_utils.models.blocks import MHSA, SE, FReLU, PReLU

FILL = {
    "convolution": sns.color_palette("pastel")[0],
    "norm": (0.9, 0.9, 0.9),
    "activation": sns.color_palette("pastel")[1],
    "attention": sns.color_palette("pastel")[2],
    "other": "white",
}
COLUMN = 3.4  # from the middle of one column of boxes to that of the next
Inputs = dict[fx.Node, list[fx.Node]]  # of each node that is drawn, those that it takes from


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
    inputs = {
        node: [_loud(i, block) for i in node.all_input_nodes]
        for node in module.graph.nodes
        if not _is_silent(node, block)
    }
    depth, column = _layout(inputs)
    fig, ax = plt.subplots()
    right = _draw_ways(ax, inputs, depth, column, {node: len(_describe(node, block)[0]) for node in inputs})
    for node in inputs:
        text, kind = _describe(node, block)
        box = {"boxstyle": "round,pad=0.3", "fc": FILL[kind], "ec": "0.3"}
        x, y = COLUMN * column[node], -depth[node]
        ax.text(x, y, text, ha="center", va="center", fontsize=9.6, bbox=box)
        size = "×".join(map(str, tuple(node.meta["tensor_meta"].shape)[1:]))
        ax.text(x - 1.75, y, size, ha="right", va="center", fontsize=9, color="0.35")
    ax.set(xlim=(-2.8, right + 0.2), ylim=(-max(depth.values()) - 0.6, 0.6))
    fig.set_size_inches(1.08 * (right + 3), 0.5 * (max(depth.values()) + 1) + 0.6)
    ax.set_title(title, fontsize=11)
    ax.axis("off")
    return finished(fig)


def _layout(inputs: Inputs) -> tuple[dict[fx.Node, int], dict[fx.Node, int]]:
    """Depth of each node below the input, and its column: the longest way to the output goes straight down."""
    depth: dict[fx.Node, int] = {}
    for node, sources in inputs.items():
        depth[node] = max((depth[i] + 1 for i in sources), default=0)
    column: dict[fx.Node, int] = {}

    def place(node: fx.Node, at: int) -> None:
        """What joins the longest way stands to the right of it."""
        if node not in column:
            column[node] = at
            for i, source in enumerate(sorted(inputs[node], key=depth.get, reverse=True)):
                place(source, at + (i > 0))

    place(list(inputs)[-1], 0)
    return depth, column


def _draw_ways(
    ax: plt.Axes, inputs: Inputs, depth: dict[fx.Node, int], column: dict[fx.Node, int], letters: dict[fx.Node, int]
) -> float:
    """Draws an arrow from each node's inputs to it; `letters` is the length of its text. Returns how far right they reach."""
    x = {node: COLUMN * column[node] for node in inputs}
    half = {node: 0.08 + 0.032 * letters[node] for node in inputs}  # width of a box
    arrow = {"arrowstyle": "-|>", "color": "0.3", "lw": 1, "shrinkA": 0, "shrinkB": 0}
    right = max(x.values()) + 1.5
    for node, sources in inputs.items():
        for source in sources:
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
                level = 2.1 + max(x[n] for n in inputs if depth[source] <= depth[n] <= depth[node])
                right = max(right, level)
                start -= 0.13  # clear of a branch that comes in
                ax.plot([x[source] + half[source], level], [start, start], color="0.3", lw=1)
                tail, corner, head = (level, start), (level, end), (x[node] + half[node], end)
            ax.plot(*zip(tail, corner, strict=True), color="0.3", lw=1)
            ax.annotate("", head, corner, arrowprops=arrow)
    return right


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
            ax.plot(range(1, len(value) + 1), value, color=COLOURS[i], ls=DASHES[i % 4], label=name)
    axes[0].set(xlabel="block", ylabel="standard deviation of the output", ylim=(0, None))
    axes[1].set(xlabel="block", ylabel="norm of the gradient", yscale="log")
    axes[1].yaxis.set_major_locator(ticks.LogLocator(subs=(1, 2, 5)))
    axes[1].yaxis.set_major_formatter("{x:g}")
    axes[1].yaxis.set_minor_formatter(ticks.NullFormatter())
    lines, names = axes[0].get_legend_handles_labels()
    fig.legend(lines, names, ncol=len(names), fontsize=9, loc="lower center", bbox_to_anchor=(0.5, 0.97), frameon=False)
    sns.despine(fig)
    return finished(fig)


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
        ax.plot(x, y, "os^Dv<>Pp*"[i % 10], color=COLOURS[i % 10], label=name)
    ax.set(xlabel=names[0], ylabel=names[1])
    legend_outside(ax)
    sns.despine(fig)
    return finished(fig)
