"""What runs and measurements found."""

import textwrap
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from maskfr_utils.figures.style import COLOURS, DASHES, MARKERS, MASKED, UNMASKED, finished, legend_outside, look

WIDE = 6  # so many times the median width of the intervals: a wider one is cut


def training_curves(history: list[dict]) -> Figure:
    """Loss, and accuracy on training and validation photos, by epoch.

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
        right.plot(*zip(*tested, strict=True), "o-", color=colour, label=f"validation, {name}") if tested else None
    right.set(xlabel="epoch", ylabel="top-1 accuracy", ylim=(0, 1.02))
    right.legend()
    sns.despine(fig)
    return finished(fig)


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
    return finished(fig)


def rank_curves(curves: dict[str, np.ndarray]) -> Figure:
    """Rank-k curves: the share of the photos whose identity is among the k best.

    Args:
        curves: label -> (upto,) shares for k = 1..upto.
    """
    fig, ax = plt.subplots(figsize=(7.5, 3.4))
    for i, (label, shares) in enumerate(curves.items()):
        ax.plot(np.arange(1, len(shares) + 1), 100 * shares, **look(label, i), ms=4, label=label)
    ax.set(xlabel="k", ylabel="right identity among the k best, %", xscale="log")
    ticks = [k for k in (1, 2, 5, 10, 20, 50) if any(k <= len(shares) for shares in curves.values())]
    ax.set_xticks(ticks, ticks)
    ax.minorticks_off()
    if curves:
        ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    sns.despine(fig)
    return finished(fig)


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
    drawn = [label for label, table in tables.items() if len(table)]
    apart = 0.72 / max(3, len(drawn))  # the last of a line must not lie on the first of the next
    for i, (label, table) in enumerate(tables.items()):
        if len(table):
            at = [lines.index(line) + apart * (drawn.index(label) - (len(drawn) - 1) / 2) for line in table.index]
            _dots(ax, table, at, i, value, label=label)
    ax.set(xlabel=xlabel)
    _name_lines(ax, lines)
    ax.grid(axis="x", lw=0.4)
    if lines:
        shown = [
            table[["low", "high", value]].set_axis(["low", "high", "value"], axis=1)
            for table in tables.values()
            if len(table)
        ]
        _cut_wide(ax, 100 * pd.concat(shown).astype(float))
    if len(tables) > 1 and lines:
        side_by_side = sum(map(len, tables)) < 50  # else the labels would take the axes' width
        columns = len(tables) if side_by_side else 1
        ax.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, borderaxespad=0)
    sns.despine(fig, left=True)
    return finished(fig)


def differences(tables: dict[str, pd.DataFrame], xlabel: str) -> Figure:
    """Differences with their intervals, a line each, and a panel with an axis of its own for each table.

    Args:
        tables: label -> table indexed by line with `difference`, `low` and `high`, fractions; shown in percent.
        xlabel: what the values are.
    """
    lines = list(dict.fromkeys(line for table in tables.values() for line in table.index))
    tallest = max((_wrapped(line).count("\n") + 1 for line in lines), default=1)
    size = (2.6 + 2.3 * len(tables), 1.3 + max(0.26, 0.17 * tallest) * max(len(lines), 4))
    fig, axes = plt.subplots(1, max(1, len(tables)), figsize=size, sharey=True, squeeze=False)
    for i, (ax, (label, table)) in enumerate(zip(axes[0], tables.items(), strict=False)):
        ax.axvline(0, color="grey", lw=0.8)
        _dots(ax, table, [lines.index(line) for line in table.index], i, "difference")
        ax.set_title(label, fontsize=10)
        ax.grid(axis="x", lw=0.4)
    _name_lines(axes[0, 0], lines)
    fig.supxlabel(xlabel, fontsize=10)
    sns.despine(fig, left=True)
    return finished(fig)


def _dots(ax: plt.Axes, table: pd.DataFrame, at: list[float], look_of: int, value: str, **more: object) -> None:
    """A table's values, fractions, in percent with their intervals, at these heights, with the colour and marker of a number."""
    centre = 100 * table[value].to_numpy(float)
    bars = np.abs(100 * table[["low", "high"]].to_numpy(float).T - centre)
    ax.errorbar(centre, at, xerr=bars, fmt=MARKERS[look_of], color=COLOURS[look_of], capsize=2, ms=5, **more)


def _wrapped(line: object) -> str:
    """The name of a line, in lines of its own that leave the axes their width."""
    return textwrap.fill(str(line), 32)


def _name_lines(ax: plt.Axes, lines: list[object]) -> None:
    """The names of lines beside the axes, the first on top."""
    ax.set_yticks(range(len(lines)), [_wrapped(line) for line in lines])
    ax.set_ylim(max(len(lines), 1) - 0.4, -0.6)


def _cut_wide(ax: plt.Axes, intervals: pd.DataFrame) -> None:
    """Lets intervals that are far wider than most go on beyond the edge, so that the others can be read; no value is cut off."""
    intervals = intervals.dropna()
    width = intervals["high"] - intervals["low"]
    narrow = intervals[width <= WIDE * width.median()]
    if len(narrow) < len(intervals):
        low, high = (
            min(narrow["low"].min(), intervals["value"].min()),
            max(narrow["high"].max(), intervals["value"].max()),
        )
        ax.set_xlim(low - 0.2 * (high - low), high + 0.2 * (high - low))
        left, right = ax.get_xlim()
        if cut := int(((intervals["low"] < left) | (intervals["high"] > right)).sum()):
            told = f"{cut} interval{' goes' if cut == 1 else 's go'} on beyond the edge"
            ax.text(1, 1, told, transform=ax.transAxes, ha="right", fontsize=9)


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
    return finished(fig)


def roc_curves(curves: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """True accepts by false accepts, the latter on a scale of powers of ten.

    Args:
        curves: `set, what is worn` -> `far` and `tar`, rates. A set has one colour, and its lines differ in their dashes.
    """
    fig, ax = plt.subplots(figsize=(7.5, 3.6))
    sets = [label.split(", ")[0] for label in curves]
    for i, (label, curve) in enumerate(curves.items()):
        far, tar = (100 * np.array(curve[name], float) for name in ("far", "tar"))
        colour, dashes = list(dict.fromkeys(sets)).index(sets[i]), sets[:i].count(sets[i])
        ax.plot(far, tar, color=COLOURS[colour % len(COLOURS)], ls=DASHES[dashes % len(DASHES)], label=label)
    ax.set(xscale="log", xlabel="pairs of strangers accepted (FAR), %", ylabel="pairs of one person accepted, %")
    ax.set_ylim(0, 101)
    sns.despine(fig)
    if curves:
        legend_outside(ax)
    return finished(fig)


def reliability(curves: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """What came of promised probabilities, beside the line where both are equal.

    Args:
        curves: label -> `promised` and `came`, shares.
    """
    fig, ax = plt.subplots(figsize=(7, 3.6))
    for i, (label, curve) in enumerate(curves.items()):
        style = {"marker": MARKERS[i % len(MARKERS)], "color": COLOURS[i % len(COLOURS)]}
        ax.plot(curve["promised"], curve["came"], ms=4, label=label, **style)
    if curves:
        ax.plot([0, 1], [0, 1], color="grey", lw=0.8, label="as promised")
        legend_outside(ax)
    ax.set(xlabel="promised probability of one person", ylabel="share of pairs that are")
    sns.despine(fig)
    return finished(fig)


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
    legend_outside(ax, columns=3)
    sns.despine(fig)
    return finished(fig)


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
    ax.barh(list(rows), middles, xerr=ranges, color=COLOURS[0], ecolor="0.3", capsize=2, height=0.65)
    for i, (name, value) in enumerate((marks or {}).items()):
        ax.axvline(value, color=COLOURS[i + 1], ls=("--", ":")[i % 2], label=name)
    if marks:
        legend_outside(ax, columns=len(marks))
    ax.invert_yaxis()
    ax.set(xlabel=xlabel)
    sns.despine(fig)
    return finished(fig)


def rates(lines: Mapping[str, pd.Series], chosen: Mapping[str, float]) -> Figure:
    """Accuracy against the learning rate, with a ring at the rate that was chosen for each network.

    Args:
        lines: name of the network -> accuracy, a fraction, indexed by learning rate.
        chosen: name of the network -> the rate; those whose trials go on are not in it.
    """
    fig, ax = plt.subplots(figsize=(7.5, 3.8))
    for i, (name, line) in enumerate(lines.items()):
        style = look(name, i)
        ax.plot(line.index, 100 * line, **style, label=name)
        if name in chosen:
            ax.plot(chosen[name], 100 * line[chosen[name]], "o", ms=13, mfc="none", mec=style["color"])
    ax.set(xscale="log", xlabel="learning rate", ylabel="accuracy on masked validation photos, %")
    ticks = sorted({rate for line in lines.values() for rate in line.index})
    ax.set_xticks(ticks, [f"{rate:g}" for rate in ticks])
    ax.minorticks_off()
    sns.despine(fig)
    legend_outside(ax)
    return finished(fig)


def by_epoch(curves: pd.DataFrame) -> Figure:
    """Accuracy by epoch.

    Args:
        curves: one column a network, fractions, indexed by epoch.
    """
    fig, ax = plt.subplots(figsize=(7.5, 3.6))
    for i, name in enumerate(curves):
        ax.plot(curves.index, 100 * curves[name], label=name, **look(name, i))
    ax.set(xlabel="epoch", ylabel="accuracy on masked validation photos, %", xticks=curves.index)
    sns.despine(fig)
    legend_outside(ax)
    return finished(fig)
