"""What keeps the book from being built: records that are not what the study as it stands would make, stale chapters."""

from pathlib import Path

from maskfr_utils import paths
from maskfr_utils.records import read_record
from maskfr_utils.study import captions, plan
from maskfr_utils.study.plan import SCALES, command, runs
from maskfr_utils.study.state import SHOWN, digest, inconsistencies, made_from, status

CHAPTERS = {"masked_vs_unmasked": "table_1", "compare_models": "table_2", "batch_size": "figure_9", "results": None}
HEADLINE = "headline.md"  # beside the records: the table of the book's first page


def problems(folder: Path | None = None, book: Path | None = None) -> list[str]:
    """What keeps the book from being built: each a line that names the file and the way out. Runs not yet run are none.

    Args:
        folder: of the records; default: the book's.
        book: folder of the chapters; default: the book.
    """
    folder, book, found = folder or paths.results_dir(), book or paths.ROOT / "book", []
    known = {run.name for run in runs()}
    found += [
        f"{file.name} is of no run of the study: delete it, or name it in maskfr_utils/study/plan.py"
        for file in sorted(folder.glob("*.json"))
        if file.stem.split("-")[0] in SCALES and file.stem not in known
    ]
    for scale in SCALES:
        records = {}
        for run in runs(scales=[scale]):
            if (now := status(run, folder)) == "done":
                records[run] = read_record(run.record_path(folder))
            elif now != "missing":
                found.append(f"{run.name}.json is {now}: `{command(run=run)}` runs it again")
        found += inconsistencies(records)
        if (chosen := plan.chosen(scale, folder)) != plan.tuned_rates(scale):
            found.append(
                f"params/{scale}/tuned.yaml is not what the trials chose, {chosen}: `{command()} --choose` writes it"
            )
    if found:
        return found
    headline = folder / HEADLINE
    if not headline.exists() or headline.read_text(encoding="utf-8") != captions.headline(folder):
        found.append(f"{headline.name} is not of these records: `python -m maskfr_utils.study --headline` writes it")
    for chapter, group in CHAPTERS.items():
        path = book / f"{chapter}.ipynb"
        if not path.exists() or f"records {digest(group, folder)}" not in path.read_text(encoding="utf-8"):
            found.append(f"{path.name} was not executed from these records: `make chapters` does it")
    for chapter in SHOWN:
        path, line = book / f"{chapter}.ipynb", made_from(chapter, folder)
        if not path.exists() or line not in path.read_text(encoding="utf-8"):
            found.append(f"{path.name} is not {line}: `make chapters NOTEBOOKS={chapter}` makes it so")
    return found
