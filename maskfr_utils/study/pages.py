"""What the chapters' pages share: boxes, folds, and tables for the eye. Readable in JupyterLab and in the built book alike."""

import pandas as pd


class Words(str):
    """Markdown that a notebook shows as text."""

    def _repr_markdown_(self) -> str:
        return str(self)


def box(text: str, title: str = "In short") -> Words:
    """A box of Markdown: what a chapter answers to the question at its head.

    Args:
        text: one or several paragraphs.
        title: its heading.
    """
    return Words(f'<div class="admonition tip">\n<p class="admonition-title">{title}</p>\n\n{text}\n\n</div>')


def made(*texts: str) -> Words:
    """What a figure or table was made with, folded: in the book it stands below the caption.

    Args:
        texts: paragraphs of Markdown.
    """
    inside = "\n\n".join(texts)
    return Words(f'<details class="made"><summary>How this was made</summary>\n\n{inside}\n\n</details>')


def shown(table: pd.DataFrame, command: str) -> "pd.DataFrame | Words":
    """A table with one header row; of one that has no line yet, the command that fills it.

    Args:
        table: any.
        command: that makes the runs it is about.
    """
    if table.empty:
        return Words(f"*Not run yet:* `{command}` runs it.")
    if table.index.nlevels > 1:
        table = table.reset_index()
        table = table.set_index(table.columns[0])
    return table.rename_axis(index=None, columns=table.index.name or table.columns.name)
