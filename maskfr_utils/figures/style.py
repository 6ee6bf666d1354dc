"""What all figures share: colours, markers, and how a figure is finished."""

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.figure import Figure

from maskfr_utils.names import REPORTED, TITLES

COLOURS, MARKERS, DASHES = sns.color_palette("colorblind"), "osD^vPX", ("-", "--", "-.", ":")
MASKED, UNMASKED = COLOURS[:2]
_NETWORKS = list(dict.fromkeys([*(TITLES[name] for name in REPORTED), *TITLES.values()]))


def look(name: str, place: int) -> dict[str, object]:
    """Colour and marker of a line: a network has the same in all figures.

    Args:
        name: of a network (its title), or of anything else.
        place: of the line among those of its figure, which decides where it is no network.
    """
    number = _NETWORKS.index(name) if name in _NETWORKS else place
    return {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)]}


def finished(fig: Figure, pad: float = 1.08) -> Figure:
    """A figure laid out, with a word where nothing is drawn yet, and closed.

    Args:
        pad: space round the axes, in letters.
    """
    for ax in fig.axes:
        if ax.axison and not ax.has_data():
            ax.text(0.5, 0.5, "not run yet", transform=ax.transAxes, ha="center", va="center", color="grey")
    fig.tight_layout(pad=pad)
    return closed(fig)


def closed(fig: Figure) -> Figure:
    """The figure, no more open: else a notebook shows it twice, as the value of the cell too."""
    plt.close(fig)
    return fig


def legend_outside(ax: plt.Axes, columns: int = 0) -> None:
    """Names the lines beside the axes, or above them in so many columns, in letters as large as the axes' own."""
    loc, anchor = ("lower center", (0.5, 1)) if columns else ("center left", (1, 0.5))
    ax.legend(ncol=columns or 1, fontsize=9, loc=loc, bbox_to_anchor=anchor, frameon=False)
