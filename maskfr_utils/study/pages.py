"""What the chapters' pages share: boxes, folds, and tables for the eye. Readable in JupyterLab and in the built book alike."""

from collections.abc import Callable, Collection, Mapping

import pandas as pd

from maskfr_utils.study.scales import SCALES
from maskfr_utils.study.tables import NOT_RUN

WAITING = "*Not run yet.*"
ELSEWHERE = "Measured, but on nothing that answers the question; the tables tell what."


class Words(str):
    """Markdown that a notebook shows as text."""

    def _repr_markdown_(self) -> str:
        return str(self)


def box(text: str) -> Words:
    """A box of Markdown: what a chapter answers to the question at its head.

    Args:
        text: one or several paragraphs.
    """
    return Words(f'<div class="admonition tip">\n<p class="admonition-title">In short</p>\n\n{text}\n\n</div>')


def made(*texts: str) -> Words:
    """What a figure or table was made with, folded: in the book it stands below the caption.

    Args:
        texts: paragraphs of Markdown.
    """
    inside = "\n\n".join(texts)
    return Words(f'<details class="made"><summary>How this was made</summary>\n\n{inside}\n\n</details>')


def networks(record: Mapping | None) -> str:
    """Which networks a record of a measurement looked at: what they were trained on, and their seeds; nothing without a record."""
    if not record:
        return ""
    of = dict.fromkeys(run.split("-")[0] for run in record["runs"])
    seeds = "; ".join(f"{label}: seed {', '.join(map(str, found))}" for label, found in record["seeds"].items())
    if not of.keys() <= SCALES.keys():  # others' weights
        return f"{seeds}."
    faces = " or ".join(f"{SCALES[scale].faces} (scale `{scale}`)" for scale in of)
    return f"{seeds}. They were trained on {faces}."


def shown(table: pd.DataFrame, command: str = "") -> "pd.DataFrame | Words":
    """A table with one header row and no line numbers; of one that has no line yet, the command that fills it.

    Args:
        table: any.
        command: that makes the runs it is about; without it nothing is said of how.
    """
    if table.empty:
        return Words(f"*Not run yet:* `{command}` runs it." if command else WAITING)
    if table.index.nlevels > 1:
        table = table.reset_index()
    if isinstance(table.index, pd.RangeIndex):
        table = table.set_index(table.columns[0])
    return table.rename_axis(index=None, columns=table.index.name or table.columns.name)


def parts(tables: Mapping[str, pd.DataFrame], command: str = "") -> list["pd.DataFrame | Words"]:
    """Tables under their titles, and one line for all that have no line yet.

    Args:
        tables: title -> table.
        command: that makes the runs which are missing.
    """
    missing = [title for title, table in tables.items() if table.empty]
    if len(missing) == len(tables):
        return [shown(pd.DataFrame(), command)]
    full = [(Words(f"*{title[:1].upper()}{title[1:]}*"), shown(table)) for title, table in tables.items() if len(table)]
    said = f"*Not run yet: {'; '.join(missing)}.*" + (f" `{command}` runs it." if command else "")
    return [part for pair in full for part in pair] + [Words(said)] * bool(missing)


def run_so_far(table: pd.DataFrame) -> list["pd.DataFrame | Words"]:
    """A table without the columns in which nothing was run yet, and a line that names these.

    Args:
        table: of words, `NOT_RUN` where a run is missing.
    """
    waiting = [name for name in table if (table[name] == NOT_RUN).all()]
    said = [Words(f"*Not run yet: {'; '.join(waiting)}.*")] if waiting else []
    return [table.drop(columns=waiting), *said]


def drawn(data: Mapping[str, Collection] | pd.DataFrame, draw: Callable[[], object]) -> object:
    """A figure; of data in which there is nothing yet, the words that say so instead of empty axes.

    Args:
        data: what is drawn: tables or lines by label, or a table.
        draw: makes the figure.
    """
    empty = data.empty if isinstance(data, pd.DataFrame) else not any(map(len, data.values()))
    return Words(WAITING) if empty else draw()
