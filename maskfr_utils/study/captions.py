"""Sentences that stand beside the study's tables and figures, made from records: what made them, and what was found."""

from collections.abc import Iterable
from pathlib import Path

from maskfr_utils.names import TITLES
from maskfr_utils.study import outcomes, plan, published, state, tables
from maskfr_utils.study.outcomes import Result
from maskfr_utils.study.plan import SCALES, Run
from maskfr_utils.study.tables import FACES, NOT_RUN

STILL = 1.0  # points of validation accuracy that the last epoch adds: from here on a network is still climbing
VERDICTS = (
    "*better*, *worse*: three seeds or more, the interval over seeds and people leaves 0 out, and the corrected *p* is below"
    " 0.05; *undecided*: all else."
)


def made_with(group: str | None, scale: str, folder: str | Path | None = None) -> str:
    """What stands beside a table or figure, as Markdown: data, scale, recipe, seeds, device, what is missing, the command."""
    wanted, records = plan.runs([group] if group else (), [scale], folder), state.load(group, scale, folder)
    missing = [run.name for run in wanted if run not in records]
    text = f"*{FACES[scale].capitalize()}* (scale `{scale}`): "
    if records:
        one, all_records = next(iter(records.values())), list(records.values())
        made, minutes = one["provenance"], [round(r["provenance"]["seconds"] / 60) for r in all_records]
        epochs = [record["params"]["epochs"] for run, record in records.items() if not run.steps_of]
        facts = [
            f"{made['identities']} people of `{Path(one['params']['dataset']).stem}`",
            f"{made['train_photos']:,} photos to train and {len(one['photos']['label']):,} {_scored(one)}",
            f"width {_all(r['params']['width'] for r in all_records)}",
            f"epochs {_all(epochs)}",
            f"batch size {_all(r['params']['batch_size'] for r in all_records)}",
            f"learning rate {_all(r['params']['lr'] for r in all_records)}",
            f"*s* = {_numbers(all_records, 'scale')}, *m* = {_numbers(all_records, 'margin')}",
            f"seed {_all(run.seed for run in records)}",
            f"{_all(r['provenance']['device'] for r in all_records)}, threads {_all(r['provenance']['threads'] for r in all_records)}",
            f"{_all({min(minutes), max(minutes)}, ' to ')} minutes a run",
        ]
        text += "; ".join(facts) + ". "
    text += (
        f"{len(wanted) - len(missing)} of {len(wanted)} runs are done (records {state.digest(group, folder)}); "
        f"`{plan.command(group, scale)}` makes them."
    )
    return text + (f" Not run yet: {', '.join(missing)}." if missing else "")


def rerun(group: str | None, scale: str, folder: str | Path | None = None) -> str:
    """`made_with` in short, where the page has said the rest before: faces, seeds, the command."""
    seeds = _all(run.seed for run in state.load(group, scale, folder)) or "none yet"
    return f"*{FACES[scale].capitalize()}*, seeds {seeds}: `{plan.command(group, scale)}`."


def _scored(record: dict) -> str:
    return {"test": "to test", "validation": "to validate"}[record["params"]["scored_on"]]


def _numbers(records: Iterable[dict], name: str) -> str:
    """The different values of a parameter, in order."""
    return ", ".join(f"{value:g}" for value in sorted({record["params"][name] for record in records}))


def _all(values: Iterable, joint: str = ", ") -> str:
    """The different values, in order."""
    return joint.join(str(v) for v in sorted(set(values)))


def headline(folder: str | Path | None = None) -> str:
    """The table of the book's first page and what it says, as Markdown."""
    scales = list(reversed(SCALES))
    ours = {scale: outcomes.specialists(scale, folder) for scale in scales}
    # Name of the line -> the report's accuracy, and ours by scale.
    lines = {"IResNet-50, without masks": (published.TABLE_1["unmasked"], ("iresnet50", "unmasked"))}
    lines |= {
        f"{TITLES[model]}, with masks": (value, (model, "masked")) for model, (value, _) in published.TABLE_2.items()
    }
    text = [
        f"| share of photos named rightly | the report | {' | '.join(FACES[scale] for scale in scales)} |",
        f"| --- | --- |{' --- |' * len(scales)}",
    ]
    for name, (value, run) in lines.items():
        cells = [str(ours[scale].get(run, NOT_RUN)) for scale in scales]
        text.append(f"| {name} | {100 * value:.2f}\N{NO-BREAK SPACE}% | {' | '.join(cells)} |")
    untrained = [str(_untrained(scale, folder) or NOT_RUN) for scale in scales]
    text.append(f"| IResNet-50, with masks, but trained without | | {' | '.join(untrained)} |")
    text += [
        "",
        "In brackets, 95 % intervals over seeds and people (with fewer than three seeds, over people alone).",
        "",
    ]
    for scale in scales:
        if ours[scale]:
            one = next(iter(ours[scale].values())).one
            seeds = _all((len(result.records) for result in ours[scale].values()), " or ")
            text.append(
                f"- *{FACES[scale].capitalize()}* ({one['provenance']['identities']} people, "
                f"{len(one['photos']['label']):,} test photos, width {one['params']['width']:g}, "
                f"{one['params']['epochs']} epochs, seeds a network: {seeds}; {one['provenance']['device']}): "
                + " ".join(found(scale, folder))
            )
    text += ["", f"`{plan.command()}` runs what is missing, `python -m maskfr_utils.study --headline` writes this."]
    return "\n".join(text) + "\n"


def _untrained(scale: str, folder: str | Path | None) -> Result | None:
    """IResNet-50 trained without masks and tested with them."""
    return outcomes.results("table_1", scale, folder, "masked").get(Run(scale=scale, condition="unmasked"))


def found(scale: str, folder: str | Path | None = None) -> list[str]:
    """What a scale's records say to the study's two questions, and how far its networks were when they stopped."""
    ours, text = outcomes.specialists(scale, folder), []
    without, masked, untrained = (
        ours.get(("iresnet50", "unmasked")),
        ours.get(("iresnet50", "masked")),
        _untrained(scale, folder),
    )
    if without and masked and untrained:
        pairs = {"cost": (without, untrained), "gain": (masked, untrained)}
        cost, gain = outcomes.comparisons(pairs)["difference"]
        text.append(
            f"A mask costs IResNet-50 {100 * cost:.1f} points if it was trained without; training with masks wins back"
            f" {100 * gain:.1f} of them."
        )
    attention = {
        f"ResSaNet-{n} against IResNet-{n}": (ours[f"ressanet{n}", "masked"], ours[f"iresnet{n}", "masked"])
        for n in (50, 100)
        if (f"ressanet{n}", "masked") in ours and (f"iresnet{n}", "masked") in ours
    }
    if attention:
        words = outcomes.in_points(outcomes.comparisons(attention))
        text.append(
            "Each at the learning rate that suits it best on validation photos: "
            + "; ".join(
                f"{name} {row['difference, points']} points, {row['verdict']}" for name, row in words.iterrows()
            )
            + "."
        )
    if learnt := [100 * result.learnt for result in ours.values()]:
        so = "Those far below 100 % were still learning: the table orders how fast they learn, not how good they get."
        text.append(
            f"In the last epoch the networks named {min(learnt):.0f} to {max(learnt):.0f} % of their training photos rightly"
            + (f". {so}" if min(learnt) < 90 else ".")
        )
    if len(curves := tables.curves(scale, folder)) > 1:
        rise = 100 * (curves.iloc[-1] - curves.iloc[-2])
        still = [f"{name} by {points:.1f}" for name, points in rise.items() if points >= STILL]
        text.append(
            "On validation photos, "
            + (
                f"the last epoch still added points ({', '.join(still)}): "
                if still
                else "the last epoch added little: "
            )
            + ("longer runs may change the order." if still else "the curves are flat.")
        )
    return text
