"""The audit's figure."""

import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from maskfr_utils.figures.style import COLOURS, finished


def waterfall(table: pd.DataFrame, xlabel: str) -> Figure:
    """A reported accuracy on its way down to the honest one: dots at the ends, the change of each step between.

    Args:
        table: of `study.audit.steps`: indexed by step, with `accuracy`, `low`, `high` after it and `change`, `change_low`,
            `change_high` by it; fractions.
        xlabel: what the accuracy is, in percent.
    """
    fig, ax = plt.subplots(figsize=(8.5, 1.6 + 0.42 * max(len(table), 5)))
    if len(table):
        values = 100 * table.to_numpy(float)
        after, changes = values[:, 0], values[:, 3]
        lines = [*table.index, "without any"]
        place = np.arange(len(table))
        ends, at = after[[0, -1]], np.array([0, len(table)])
        bars = np.abs(values[[0, -1], 1:3].T - ends)
        ax.errorbar(ends, at, xerr=bars, fmt="o", color="0.25", capsize=3)  # no bars: the axis does not begin at 0
        colours = [COLOURS[3] if change < 0 else COLOURS[2] for change in changes[1:]]
        ax.barh(place[1:], changes[1:], left=after[:-1], color=colours, height=0.62)
        # The interval of a change stands at the end that the change leads to.
        bars = np.abs(values[1:, 4:6].T - changes[1:])
        ax.errorbar(after[1:], place[1:], xerr=bars, fmt="none", ecolor="0.25", capsize=3)
        for y, (end, change) in enumerate(zip(after, changes, strict=True)):
            text = f"{end:.1f}" if np.isnan(change) else f"{round(change, 1) + 0.0:+.1f}".replace("-", "\N{MINUS SIGN}")
            ax.annotate(text, (1.01, y), xycoords=("axes fraction", "data"), va="center", fontsize=9)
        ax.annotate(f"{after[-1]:.1f}", (1.01, len(table)), xycoords=("axes fraction", "data"), va="center", fontsize=9)
        reach = np.concatenate([after, values[[0, -1], 1], after[1:] + values[1:, 4] - changes[1:]])
        ax.set_xlim(max(0, np.nanmin(reach) - 4), 100)
        ax.set_yticks(
            range(len(lines)),
            [textwrap.fill(f"− {line}" if 0 < i < len(table) else line, 38) for i, line in enumerate(lines)],
        )
        ax.invert_yaxis()
        ax.grid(axis="x", lw=0.4)
        ax.set_axisbelow(True)
    ax.set(xlabel=xlabel)
    sns.despine(fig, left=True)
    return finished(fig)
