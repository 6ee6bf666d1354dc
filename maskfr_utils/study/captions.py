"""Sentences that stand beside the study's tables and figures, made from records: what made them, and what was found."""

from collections.abc import Iterable
from pathlib import Path

from maskfr_utils.names import TITLES
from maskfr_utils.study import answers, outcomes, plan, published, state
from maskfr_utils.study.scales import SCALES
from maskfr_utils.study.tables import FACES, NOT_RUN

NAMED = 3  # so many missing runs are listed by name; of more, their number says enough
RULE = "three seeds or more, the interval over seeds and people leaves 0 out, and the corrected *p* is below 0.05"
VERDICTS = f"*better*, *worse*: {RULE}; *undecided*: all else."
CLAIMED = (
    f"*holds*, *the opposite*: {RULE}; *beyond noise*: the report's single runs, as far as their photos alone can tell;"
    " *undecided*: all else."
)
EXPLAINED = "[Masked and unmasked](masked_vs_unmasked.ipynb) explains intervals, *p* and Holm's correction."
BEYOND = f"*beyond noise*: {RULE}; *undecided*: all else."  # of costs and gains, where more need not be better


def shows(scale: str) -> str:
    """Which faces a page is about."""
    return f"Where nothing else is said, this page shows {FACES[scale]}."


def made_with(group: str | None, scale: str, folder: str | Path | None = None) -> str:
    """What stands beside a table or figure, as Markdown: data, scale, recipe, seeds, device and precision, what is missing, the command."""
    wanted, records = plan.runs([group] if group else (), [scale], folder), state.load(group, scale, folder)
    missing = [run.name for run in wanted if run not in records]
    text = f"*{FACES[scale].capitalize()}* (scale `{scale}`): "
    if records:
        one, all_records = next(iter(records.values())), list(records.values())
        made, minutes = one["provenance"], [round(r["provenance"]["seconds"] / 60) for r in all_records]
        epochs = [record["params"]["epochs"] for run, record in records.items() if not run.steps_of]
        facts = [
            f"{made['identities']} people of `{Path(one['params']['dataset']).stem}`",
            f"{_span(r['provenance']['train_photos'] for r in all_records)} photos to train and {_scored(all_records)}",
            f"width {_all(r['params']['width'] for r in all_records)}",
            f"epochs {_all(epochs)}",
            f"batch size {_all(r['params']['batch_size'] for r in all_records)}",
            f"learning rate {_all(r['params']['lr'] for r in all_records)}",
            f"*s* = {_numbers(all_records, 'scale')}, *m* = {_numbers(all_records, 'margin')}",
            f"seed {_all(run.seed for run in records)}",
            f"{_all(r['provenance']['device'] for r in all_records)}, threads {_all(r['provenance']['threads'] for r in all_records)}"
            f", precision {_all(r['provenance']['precision'] for r in all_records)}",
            f"{_span(minutes)} minutes a run",
        ]
        text += "; ".join(facts) + ". "
    text += (
        f"{len(wanted) - len(missing)} of {len(wanted)} runs are done (records {state.digest(group, folder)}); "
        f"`{plan.command(group, scale)}` makes them."
    )
    return text + (f" Not run yet: {', '.join(missing)}." if 0 < len(missing) <= NAMED else "")


def progress(group: str, folder: str | Path | None = None, variant: str | None = None) -> str:
    """How many of a group's runs, or of those of one variant, are made, over all scales."""
    wanted = [run for run in plan.runs([group], folder=folder) if variant in (None, run.variant)]
    return f"{sum(run.record_path(folder).exists() for run in wanted)} of {len(wanted)} runs are made"


def rerun(group: str | None, scale: str, folder: str | Path | None = None) -> str:
    """`made_with` in short, where a page has said the rest before: faces, seeds, records, the command."""
    seeds = _all(run.seed for run in state.load(group, scale, folder)) or "none yet"
    return f"*{FACES[scale].capitalize()}*, seeds {seeds} (records {state.digest(group, folder)}): `{plan.command(group, scale)}`."


def _scored(records: Iterable[dict]) -> str:
    """How many photos the records score: to validate by trials, to test by all else."""
    found = {"validation": [], "test": []}
    for record in records:
        found[record["params"]["scored_on"]].append(len(record["photos"]["label"]))
    words = {"validation": "to validate", "test": "to test"}
    return " or ".join(f"{_span(numbers)} {words[kind]}" for kind, numbers in found.items() if numbers)


def _numbers(records: Iterable[dict], name: str) -> str:
    """The different values of a parameter, in order."""
    return ", ".join(f"{value:g}" for value in sorted({record["params"][name] for record in records}))


def _all(values: Iterable, joint: str = ", ") -> str:
    """The different values, in order."""
    return joint.join(str(v) for v in sorted(set(values)))


def _span(values: Iterable[int]) -> str:
    """The smallest and the largest value, or the one where all are equal."""
    found = sorted(set(values))
    return f"{found[0]:,} to {found[-1]:,}" if len(found) > 1 else f"{found[0]:,}"


def headline(folder: str | Path | None = None) -> str:
    """The answers and the table of the book's first page, as Markdown."""
    ours = {scale: outcomes.specialists(scale, folder) for scale in reversed(SCALES)}
    scales = [scale for scale, found in ours.items() if found] or list(ours)  # no column in which nothing was run
    waiting = [FACES[scale] for scale in ours if scale not in scales]
    # Name of the line -> the report's accuracy, and ours by scale.
    lines = {"IResNet-50, without masks": (published.TABLE_1["unmasked"], ("iresnet50", "unmasked"))}
    lines |= {
        f"{TITLES[model]}, with masks": (value, (model, "masked")) for model, (value, _) in published.TABLE_2.items()
    }
    text = [f"{i}. {answer}" for i, answer in enumerate(answers.page_one(folder), 1)]
    text += [
        "",
        "```{table} Share of the test photos named correctly, beside the report's numbers. In brackets: 95% intervals.",
        ":name: tab-headline",
        f"| network and test | the report | {' | '.join(FACES[scale] for scale in scales)} |",
        f"| --- | --- |{' --- |' * len(scales)}",
    ]
    for name, (value, run) in lines.items():
        cells = [str(ours[scale].get(run, NOT_RUN)) for scale in scales]
        text.append(f"| {name} | {100 * value:.2f}% | {' | '.join(cells)} |")
    untrained = [str(answers.untrained(scale, folder) or NOT_RUN) for scale in scales]
    text.append(f"| IResNet-50, with masks, but trained without | | {' | '.join(untrained)} |")
    settings = [line for scale in scales if (line := _settings(scale, folder))]
    text += ["```", "", *([f"*Not run yet: {'; '.join(waiting)}.*", ""] if waiting else [])]
    text += [stricter, ""] if (stricter := answers.most_real(answers.all_pairs_together, folder)) else []
    text += ["```{dropdown} Settings, and how to make these numbers again"]
    text += ["Intervals are over seeds and people; with fewer than three seeds, over people alone.", ""]
    text += [
        *settings,
        "",
        f"`{plan.command()}` runs what is missing, `python -m maskfr_utils.study --headline` writes this.",
    ]
    return "\n".join([*text, "```"]) + "\n"


def _settings(scale: str, folder: str | Path | None) -> str:
    """What a scale's numbers on the first page were made with, as a line of a list; nothing where there are none."""
    if not (ours := outcomes.specialists(scale, folder)):
        return ""
    one = next(iter(ours.values())).one
    others = " a seed, other ones for each" if one["params"]["dataset"] == "demo" else ""
    seeds = _all((len(result.records) for result in ours.values()), " or ")
    photos = _span(len(labels) for result in ours.values() for labels in result.people)
    return (
        f"- *{FACES[scale].capitalize()}*: {one['provenance']['identities']} people{others}, {photos} test photos a seed,"
        f" width {one['params']['width']:g}, {one['params']['epochs']} epochs, seeds a network: {seeds};"
        f" {one['provenance']['device']}. {answers.learnt(scale, folder)}"
    )
