"""Other losses, and other conditions of training: what the records say of them, as tables and as sentences."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from maskfr_utils.names import CONDITIONS, TITLES
from maskfr_utils.study import trials
from maskfr_utils.study.outcomes import Result, comparisons, points, results
from maskfr_utils.study.run import Run
from maskfr_utils.study.tables import FACES, NOT_RUN
from maskfr_utils.study.variants import LOSS_VARIANTS, TWIN_TERM, VARIANTS
from maskfr_utils.verdicts import SEEDS

Folder = str | Path | None
REFERENCE = LOSS_VARIANTS["arcface"].title  # the loss that the others are compared with
TWINS = ("masked", "unmasked")
PARTS = ("upper", "periocular")  # that see a part of the face
GENERALISTS = ("both", "twins", TWIN_TERM, *PARTS)  # that may serve either kind
GAP = "masked − unmasked faces"  # of one network; then each kind against the network that was trained for it alone
SPECIALISTS = ("masked faces − specialist", "unmasked faces − specialist")
TRIALS = len(LOSS_VARIANTS["arcface"].settings)  # as many for each loss
POINT = 0.01  # as near as masked accuracy is to come to unmasked accuracy


def losses(scale: str, folder: Folder = None, tested: str = "masked") -> dict[str, Result]:
    """Title of a loss -> its result at the settings that its trials chose."""
    found = results("losses", scale, folder, tested)
    runs = {variant.title: Run(scale=scale, variant=name) for name, variant in LOSS_VARIANTS.items()}
    return {title: found[run] for title, run in runs.items() if run in found}


def loss_trials(scale: str, folder: Folder = None) -> pd.DataFrame:
    """Of each loss that was tried (rows) what was chosen, how good it was on masked validation photos, and how many trials it had."""
    rows, chosen = {}, trials.chosen_variants(scale, folder)
    columns = ["s", "m", "learning rate", "best trial, %", "median trial, %", "worst trial, %", "trials"]
    for name, variant in LOSS_VARIANTS.items():
        scores = [trials.validation(run, folder) for run in trials.variant_trials(scale, name)]
        made = [score for score in scores if score is not None]
        if made:
            settings = [f"{chosen[name][k]:g}" if k in chosen.get(name, {}) else "" for k in ("scale", "margin", "lr")]
            told = [f"{100 * score:.1f}" for score in (max(made), np.median(made), min(made))]
            rows[variant.title] = [*settings, *told, f"{len(made)} of {len(scores)}"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def conditions(scale: str, folder: Folder = None, tested: str = "masked") -> dict[str, Result]:
    """Condition, or the twin term -> its result; see `title`."""
    found = results("conditions", scale, folder, tested)
    runs = {name: Run(scale=scale, condition=name) for name in CONDITIONS}
    runs[TWIN_TERM] = Run(scale=scale, condition="twins", variant=TWIN_TERM)
    return {name: found[run] for name, run in runs.items() if run in found}


def title(condition: str) -> str:
    """A condition, or the twin term, in words."""
    return (CONDITIONS | VARIANTS)[condition].title


def report_recipe(scale: str, folder: Folder = None) -> pd.DataFrame:
    """Networks at their tuned recipe against the same at the report's, on masked test photos, see `comparisons`."""
    found, ours = results("report", scale, folder), results("table_2", scale, folder)
    pairs = {}
    for run, theirs in found.items():
        if tuned := ours.get(replace(run, recipe=None)):
            pairs[f"{TITLES[run.model]}, tuned − the report's recipe"] = (tuned, theirs)
    return comparisons(pairs)


def table(by_twin: dict[str, dict[str, Result]], lines: dict[str, str]) -> pd.DataFrame:
    """Accuracy on masked and unmasked test photos, with intervals over seeds and people, and of each seed; empty without any.

    Args:
        by_twin: `masked`, `unmasked` -> key -> result.
        lines: key -> name of its line; those without a result are shown as not run.
    """
    rows = {}
    for key, name in lines.items() if any(by_twin.values()) else ():
        rows[name] = {twin: str(by_twin[twin].get(key, NOT_RUN)) for twin in TWINS}
        rows[name] |= {f"{twin}, by seed": by_twin[twin][key].each() if key in by_twin[twin] else "" for twin in TWINS}
    return pd.DataFrame.from_dict(rows, orient="index")


def forest(found: dict[str, Result]) -> pd.DataFrame:
    """Some results as a forest plot takes them: `accuracy`, `low`, `high` by name."""
    rows = {name: (result.mean, *result.interval) for name, result in found.items()}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["accuracy", "low", "high"])


def against(found: dict[str, Result], reference: str) -> pd.DataFrame:
    """Each of some results against one of them, see `comparisons`."""
    if reference not in found:
        return comparisons({})
    return comparisons({f"{n} − {reference}": (r, found[reference]) for n, r in found.items() if n != reference})


def one_for_all(scale: str, folder: Folder = None) -> pd.DataFrame:
    """The study's headline, tested: of each network that may serve either kind of faces three differences, see `comparisons`.

    Masked against unmasked accuracy of the same network and photos, and each against the specialist for that kind.

    Returns:
        Indexed by (condition, what is compared); a condition is there once all three can be told.
    """
    masked, unmasked = (conditions(scale, folder, twin) for twin in TWINS)
    pairs = {}
    for name in GENERALISTS:
        if name in masked and "masked" in masked and "unmasked" in unmasked:
            pairs[name, GAP] = (masked[name], unmasked[name])
            pairs[name, SPECIALISTS[0]] = (masked[name], masked["masked"])
            pairs[name, SPECIALISTS[1]] = (unmasked[name], unmasked["unmasked"])
    return comparisons(pairs)


def less_to_see(scale: str, folder: Folder = None) -> pd.DataFrame:
    """Networks that see a part of the face only against the one that sees it whole, of either kind, see `comparisons`.

    Returns:
        Indexed by (`masked` or `unmasked`, condition).
    """
    pairs = {}
    for twin in TWINS:
        found = conditions(scale, folder, twin)
        pairs |= {(twin, name): (found[name], found["both"]) for name in PARTS if name in found and "both" in found}
    return comparisons(pairs)


def reached(compared: pd.DataFrame, condition: str) -> str:
    """Whether a network of a condition is the one for all: `yes`, `not shown` or `no`, of `one_for_all`.

    The rule, made before the runs. Its masked accuracy is within a point of its unmasked accuracy: *yes* needs the whole 95%
    interval above -1 point, *no* the whole of it below. It is not below a specialist: *yes* needs a difference that is not
    *worse* and whose interval lies above -1 point, *no* is one that is *worse*. One *no* is enough; with fewer than three
    seeds nothing is shown.
    """
    own = compared.loc[[key for key in compared.index if key[0] == condition]]
    gap, *specialists = (row for _, row in own.iterrows())
    if len(gap["seeds"]) < SEEDS:
        return "not shown"
    if gap["high"] < -POINT or any(row["verdict"] == "worse" for row in specialists):
        return "no"
    return "yes" if all(row["low"] > -POINT for row in (gap, *specialists)) else "not shown"


def verdicts(compared: pd.DataFrame) -> dict[str, str]:
    """Condition -> `reached`, of all conditions in `one_for_all`."""
    return {name: reached(compared, name) for name in dict.fromkeys(condition for condition, _ in compared.index)}


def loss_answer(scale: str, folder: Folder = None) -> list[str]:
    """What the losses' records say, in three sentences; fewer where runs are missing."""
    found = losses(scale, folder)
    compared = against(found, REFERENCE)
    if compared.empty:
        return []
    order = sorted(found, key=lambda name: -found[name].mean)
    sure = compared[compared["verdict"].isin(["better", "worse"])]
    said = [f"{name.split(' − ')[0]} ({row['verdict']}, {_points(row)})" for name, row in sure.iterrows()]
    every = len(LOSS_VARIANTS)
    so_far = f"Of the {len(found)} losses that are run so far, of {every}, each" if len(found) < every else "Each"
    text = [
        f"{so_far} with settings of its own, {order[0]} comes highest on masked {FACES[scale]} ({found[order[0]]}) and {order[-1]}"
        f" lowest ({found[order[-1]]}).",
        f"Differences from {REFERENCE} beyond noise: {len(sure)} of {len(compared)}" + _listed(said) + ".",
    ]
    made = loss_trials(scale, folder)
    if len(made := made[made["trials"] == f"{TRIALS} of {TRIALS}"]):
        spread = made["best trial, %"].astype(float) - made["worst trial, %"].astype(float)
        text.append(
            f"From the worst to the best of its {TRIALS} trials, of one seed each, a loss gains {spread.min():.1f} to"
            f" {spread.max():.1f} points on validation photos."
        )
    return text


def condition_answer(scale: str, folder: Folder = None) -> list[str]:
    """What the conditions' records say, in a few sentences; fewer where runs are missing."""
    compared = one_for_all(scale, folder)
    if compared.empty:
        return []
    said = verdicts(compared)
    nearest = max(said, key=lambda name: compared.loc[name, "low"].min())
    gap, masked, bare = (compared.loc[(nearest, what)] for what in (GAP, *SPECIALISTS))
    seeds = len(gap["seeds"])
    serves = {
        "yes": "one network serves",
        "not shown": "no network is shown to serve",
        "no": "no network that was run serves",
    }
    answer = next(verdict for verdict in serves if verdict in said.values())
    name = f"*{title(nearest)}*"
    lead = (
        f"Nearest on {FACES[scale]} comes {name}" if len(said) > 1 else f"On {FACES[scale]} only {name} is run so far"
    )
    by_verdict = {v: [title(n) for n in said if said[n] == v] for v in serves}
    told = [f"*{verdict}* for {' | '.join(names)}" for verdict, names in by_verdict.items() if names]
    return [
        f"{answer.capitalize()}: on {FACES[scale]}{f' ({seeds} of {SEEDS} seeds)' if seeds < SEEDS else ''} {serves[answer]} both kinds of faces.",
        f"{lead}: its accuracy on masked faces differs by {_points(gap)} points from"
        f" that on bare ones, and by {_points(masked)} and {_points(bare)} points from the specialists' on masked and on bare faces.",
        f"By the rule above: {'; '.join(told)}.",
    ]


def _points(row: pd.Series) -> str:
    return points(row["difference"], row["low"], row["high"])


def _listed(words: list[str]) -> str:
    return f": {'; '.join(words)}" if words else ""
