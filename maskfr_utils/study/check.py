"""What keeps the book from being built: records that are not what the study as it stands would make, stale chapters."""

from functools import partial
from pathlib import Path

from maskfr_utils import fingerprint, paths
from maskfr_utils.messages import brief
from maskfr_utils.probes.runs import of_run
from maskfr_utils.records import read_json, read_record
from maskfr_utils.study import captions, trials
from maskfr_utils.study.plan import command, runs
from maskfr_utils.study.scales import SCALES
from maskfr_utils.study.shown import chapters, groups, measurements, opened
from maskfr_utils.study.state import digest, inconsistencies, made_from, status

HEADLINE = "headline.md"  # beside the records: the table of the book's first page


def problems(folder: Path | None = None, book: Path | None = None) -> list[str]:
    """What keeps the book from being built: each a line that names the file and the way out. Runs not yet run are none.

    Args:
        folder: of the records; default: the book's.
        book: folder of the chapters; default: the book, where `folder` is its own; of others no chapter is asked for.
    """
    own, again, folder = folder is None, partial(command, folder=folder), folder or paths.results_dir()
    book, found = book or (paths.ROOT / "book" if own else None), []
    known = {run.name for run in runs(folder=folder)}
    unsure = (
        set()
    )  # scales with a trial to be made again: what trials choose, and which of them are called for, hangs on it
    for scale in SCALES:
        records = {}
        for run in runs(scales=[scale], folder=folder):
            if (now := status(run, folder)) == "done":
                records[run] = read_record(run.record_path(folder))
            elif now != "missing":
                found.append(f"{run.name}.json is {now}: `{again(run=run)}` runs it again")
                unsure |= {scale} if run.trial else set()
        found += inconsistencies(records)
        for name, (_, chosen, tuned) in trials.choices(scale, folder).items():
            if (chosen if own else tuned | chosen) != tuned and scale not in unsure:
                found.append(
                    f"params/{scale}/{name} is not what the trials chose, {chosen}: `{again()} --choose` writes it"
                )
    found += [
        f"{file.name} is of no run of the study: delete it, or name it in maskfr_utils/study/plan.py"
        for file in sorted(folder.glob("*.json"))
        if (scale := file.stem.split("-")[0]) in SCALES and scale not in unsure and file.stem not in known
    ]
    if found:
        return found
    for name in opened():
        try:
            if moved := of_older_networks(folder / name):
                found.append(f"{name} was measured on networks of older code ({', '.join(moved)} moved): measure again")
        except ValueError as error:
            found.append(str(error))
    if book is None:
        return found
    headline = folder / HEADLINE
    if not headline.exists() or headline.read_text(encoding="utf-8") != captions.headline(folder):
        found.append(f"{headline.name} is not of these records: `{again()} --headline` writes it")
    for notebook in chapters():
        found += of_chapter(notebook, folder, book / f"{notebook.stem}.ipynb")
    return found


def of_older_networks(path: Path) -> list[str]:
    """The parts of the code that have moved since the networks of a measurement were trained, where its record says what they computed.

    Raises:
        ValueError: the file is no JSON; the message names it.
    """
    try:
        record = read_json(path) if path.exists() else {}
    except ValueError as error:
        raise ValueError(f"{path} is no record of a measurement ({brief(error)}): measure again") from None
    params, made = (record.get(part) if isinstance(record, dict) else None for part in ("params", "provenance"))
    if not isinstance(params, dict) or not isinstance(made, dict) or not (known := made.get("networks")):
        return []
    return fingerprint.moved(known, fingerprint.numbers(of_run(params | {"condition": "masked"})))


def of_chapter(notebook: Path, folder: Path, path: Path) -> list[str]:
    """What keeps a chapter from being its notebook executed on the present records, a line each.

    Args:
        notebook: the py:percent half.
        folder: of the records.
        path: the chapter; it may be missing.
    """
    text, again = path.read_text(encoding="utf-8") if path.exists() else "", f"`make chapters NOTEBOOKS={path.stem}`"
    found = [
        f"{path.name} was not executed from these records: {again} does it"
        for group in groups(notebook)
        if f"records {digest(group, folder)}" not in text
    ][:1]
    if measurements(notebook) and (line := made_from(notebook.stem, folder, notebook.parent)) not in text:
        found.append(f"{path.name} is not {line}: {again} makes it so")
    return found
