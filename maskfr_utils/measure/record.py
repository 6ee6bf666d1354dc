"""What the measurement commands share: arguments, lists beside the pictures, what made a record, errors in one line."""

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from maskfr_utils.messages import brief, start_command
from maskfr_utils.records import code_revision, provenance
from maskfr_utils.verdicts import Comparison, from_draws


def parser(command: str, doc: str, out: Path | None = None) -> argparse.ArgumentParser:
    """The arguments that each command has.

    Args:
        command: name of the module in this room.
        doc: its docstring; the first line describes the command.
        out: where the record goes unless `--out` says otherwise; without it `--out` must be given.
    """
    found = argparse.ArgumentParser(
        prog=f"python -m maskfr_utils.measure.{command}", description=doc.strip().splitlines()[0]
    )
    what = "folder of the records" if out and not out.suffix else "record, JSON,"
    found.add_argument("--out", type=Path, default=out, required=out is None, help=f"the {what} to write")
    return found


def read_list(path: Path, columns: list[str], *, as_text: bool = False) -> pd.DataFrame:
    """A CSV file of names and labels.

    Args:
        path: of the file, plain or compressed.
        columns: that are needed; others are left out.
        as_text: every value is taken as text, else numbers are recognised.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it has no such columns, or is no CSV file.
    """
    try:
        return pd.read_csv(path, dtype=str if as_text else None, keep_default_na=not as_text)[columns]
    except (KeyError, ValueError, EOFError) as error:
        raise ValueError(f"{path} is no list with the columns {', '.join(columns)}: {error}") from None


def made(started: float, *, data: str, device: str = "cpu", **more: object) -> dict:
    """What made a record that was begun at `started` (`time.perf_counter`); the rest is `records.provenance`'s."""
    seconds = time.perf_counter() - started
    return provenance(device=device, data=data, seconds=seconds, code_revision=code_revision(), **more)


def estimate(by_seed: np.ndarray) -> dict[str, object]:
    """`value`, `low`, `high`, `seeds` and `p` (None with few) of values (seeds, 1 + resamples), as `verdicts.Comparison`.

    Raises:
        ValueError: no draw gave a value.
    """
    drawn = by_seed[:, 1:].mean(0)
    if not np.isfinite(drawn).any():
        raise ValueError("in no draw of people can it be told: there are too few of them")
    one = from_draws(by_seed[:, 0], drawn[np.isfinite(drawn)])
    return dict(zip(("value", "low", "high"), np.round([one.value, one.low, one.high], 4).tolist(), strict=True)) | {
        "seeds": np.round(one.by_seed, 4).tolist(),
        "p": None if np.isnan(one.p) else float(f"{one.p:.3g}"),
    }


def comparison(found: Mapping[str, object]) -> Comparison:
    """What `estimate` told, as it was made."""
    p = found["p"]
    return Comparison(
        *(found[k] for k in ("value", "low", "high")), tuple(found["seeds"]), float("nan") if p is None else p
    )


def status(command: str, measure: Callable[[], None]) -> int:
    """Runs a measurement and returns the command's exit status; what is wrong with its input is one line on stderr."""
    start_command()
    try:
        measure()
    except (ValueError, OSError, KeyError) as error:
        print(f"maskfr_utils.measure.{command}: {brief(error)}", file=sys.stderr)
        return 1
    return 0


def percent(found: Mapping[str, float], sign: str = "") -> str:
    """A share in percent, with as much of its interval as a share can have: Student's *t* may go beyond.

    A share of 0 or 1 that has no width is told without: people drawn anew are all alike then, and say nothing of others.

    Args:
        found: `value`, `low`, `high`, fractions.
        sign: behind the value, for what stands in a sentence and not below a title that says percent.
    """
    value, low, high = (100 * min(max(found[k], 0), 1) for k in ("value", "low", "high"))
    if low == high and value in (0, 100):
        return f"{value:.1f}{sign}"
    return f"{value:.1f}{sign} ({low:.1f}–{high:.1f})"
