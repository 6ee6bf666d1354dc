"""What a loss is worth with people whom the network has never seen: the study's losses on rendered strangers.

    python -m maskfr_utils.measure.loss_strangers

Takes the networks that the final runs of `python -m maskfr_utils.study losses --scale demo` have left in the folder of
runs, and names those that are not there, or not as the study would make them now. Where the records are there without the
networks, `--results NEW_FOLDER` makes all runs anew.
"""

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from maskfr_utils import paths
from maskfr_utils.measure.recognition import classes_of
from maskfr_utils.measure.record import comparison, parser, percent, status
from maskfr_utils.measure.strangers import Network, make_record
from maskfr_utils.recognise import load_embedder
from maskfr_utils.records import record_or_none, write_json
from maskfr_utils.study.alternatives import REFERENCE, decided, each_with_difference
from maskfr_utils.study.outcomes import with_verdicts
from maskfr_utils.study.run import Run
from maskfr_utils.study.scales import SCALES
from maskfr_utils.study.state import stale
from maskfr_utils.study.variants import LOSS_VARIANTS

RECORD = Path("recognise") / "loss_strangers.json"  # below the records of the study
COMMAND = "python -m maskfr_utils.measure.loss_strangers"
SET = "rendered"
SHOWN = {  # column -> what is worn, measure
    "no mask: accuracy": ("no mask", "accuracy"),
    "masks on both: accuracy": ("masks on both", "accuracy"),
    "mask on one: accuracy": ("mask on one", "accuracy"),
    "mask on one: TAR at FAR 1%": ("mask on one", "TAR@FAR 1%"),
    "enrolled bare, masked probed: rank 1": ("enrolled bare, masked probed", "rank 1"),
}
DECIDES = ("mask on one", "accuracy")  # the one measure by which losses are compared


def runs(scale: str = "demo") -> dict[Run, str]:
    """The final runs of each loss -> its title; ArcFace first, which the others are compared with."""
    titles = {name: variant.title for name, variant in LOSS_VARIANTS.items()}
    ordered = sorted(titles, key=lambda name: titles[name] != REFERENCE)
    seeds = range(SCALES[scale].seeds)
    return {Run(scale=scale, variant=name, seed=seed): titles[name] for name in ordered for seed in seeds}


def is_there(run: Run) -> bool:
    """Whether the folder of runs holds the network of a run, made as the study would make it now."""
    record = record_or_none(run.folder / "record.json")
    return record is not None and (run.folder / "model.safetensors").exists() and not stale(run, record)


def measure(found: dict[Run, str]) -> dict:
    """The record, of runs whose networks are there."""
    networks = [
        Network(title, run.seed, load_embedder(run.folder), tuple(classes_of(str(run.folder))), run.name)
        for run, title in found.items()
    ]
    record = make_record(networks, [SET])
    pairs = [[record_or_none(path) for path in (run.record_path(), run.folder / "record.json")] for run in found]
    again = [(book, own) for book, own in pairs if book and book != own]
    apart = [abs(np.subtract(*(each["metrics"]["masked"]["accuracy"] for each in pair))) for pair in again]
    record["again"] = {"networks": len(again), "apart": round(float(max(apart, default=0)), 4)}
    del record["details"]  # of thresholds and kinds of photos: the chapter on strangers has them, of better networks
    return record


def origin(record: dict) -> str:
    """In words, how many of the networks are not the very ones whose accuracies the study's records hold; or nothing."""
    count, apart = record["again"]["networks"], 100 * record["again"]["apart"]
    if not count:
        return ""
    return (
        f"{count} of the {len(record['runs'])} networks were trained again for this, by the same recipe and seed; rounded otherwise, their"
        f" accuracies on masked test photos differ from those in the table above by up to {apart:.1f} points."
    )


def table(record: dict) -> pd.DataFrame:
    """Percent with intervals, a line a loss in the study's order, a column for each of `SHOWN`."""
    networks = record["networks"]
    found = {v.title: networks[v.title][SET] for v in LOSS_VARIANTS.values() if v.title in networks}
    columns = {name: [percent(by[worn][measure]) for by in found.values()] for name, (worn, measure) in SHOWN.items()}
    return pd.DataFrame(columns, index=list(found))


def against_arcface(record: dict) -> pd.DataFrame:
    """Each loss against ArcFace by `DECIDES`, as `outcomes.comparisons`; p is corrected for all losses, measured or not."""
    worn, measure = DECIDES
    found = {title: by[SET][worn][measure] for title, by in record["differences"].items()}
    compared = {f"{title} − {REFERENCE}": comparison(one) for title, one in found.items()}
    return with_verdicts(compared, planned=len(LOSS_VARIANTS) - 1)


def answer(record: dict) -> str:
    """Which losses decide more or fewer of the strangers' pairs correctly than ArcFace, in a sentence; "" of too few seeds."""
    compared, better, worse = decided(against_arcface(record))
    if compared.empty:
        return ""
    worn, measure = DECIDES
    own = percent(record["networks"][REFERENCE][SET][worn][measure], "%")
    return (
        f"Of pairs of {record['sets'][SET]['people']} rendered strangers with a mask on one of the two photos, {REFERENCE}"
        f" decides {own} correctly; of {len(compared)} other losses {each_with_difference(better)}"
        f" {'decide' if len(better) > 1 else 'decides'} more beyond noise, and {each_with_difference(worse)} fewer."
    )


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    args = parser("loss_strangers", __doc__, paths.results_dir() / RECORD).parse_args(argv)

    def run() -> None:
        wanted = runs()
        found = {run: title for run, title in wanted.items() if is_there(run)}
        missing = Counter(title for run, title in wanted.items() if run not in found)
        if missing:
            told = ", ".join(f"{count} of {title}" for title, count in missing.items())
            print(f"not in {paths.runs_dir()}, or of older code: {told}", file=sys.stderr)
        if REFERENCE not in found.values():
            raise ValueError(f"no network of {REFERENCE}: python -m maskfr_utils.study losses --scale demo trains them")
        record = measure(found)
        write_json(args.out, record)
        print(table(record).to_string(), against_arcface(record).to_string(), args.out, sep="\n")

    return status("loss_strangers", run)


if __name__ == "__main__":
    sys.exit(main())
