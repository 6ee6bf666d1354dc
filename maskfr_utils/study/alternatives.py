"""Other losses, and other conditions of training: what the records say of them, as tables and as sentences."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from maskfr_utils.names import CONDITIONS, TITLES
from maskfr_utils.study import plan, trials
from maskfr_utils.study.outcomes import Result, comparisons, listed, points, results, with_enough_seeds
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
    columns = ["s", "m", "learning rate", "best trial, %", "as good", "median trial, %", "worst trial, %", "trials"]
    for (name, variant), scores in zip(LOSS_VARIANTS.items(), _scores(scale, folder).values(), strict=True):
        made = [score for score in scores if score is not None]
        if made:
            settings = [f"{chosen[name][k]:g}" if k in chosen.get(name, {}) else "" for k in ("scale", "margin", "lr")]
            best, *others = [f"{100 * score:.1f}" for score in (max(made), np.median(made), min(made))]
            rows[variant.title] = [*settings, best, made.count(max(made)), *others, f"{len(made)} of {len(scores)}"]
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
    return comparisons(pairs, planned=len({run.model for run in plan.report(scale)}))


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


def against_arcface(found: dict[str, Result]) -> pd.DataFrame:
    """Each loss of `losses` against ArcFace, see `comparisons`; p is corrected for all losses, run or not."""
    if REFERENCE not in found:
        return comparisons({})
    pairs = {f"{name} − {REFERENCE}": (r, found[REFERENCE]) for name, r in found.items() if name != REFERENCE}
    return comparisons(pairs, planned=len(LOSS_VARIANTS) - 1)


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
    return comparisons(pairs, planned=3 * len(GENERALISTS))


def less_to_see(scale: str, folder: Folder = None) -> pd.DataFrame:
    """Networks that see a part of the face only against the one that sees it whole, of either kind, see `comparisons`.

    Returns:
        Indexed by (`masked` or `unmasked`, condition).
    """
    pairs = {}
    for twin in TWINS:
        found = conditions(scale, folder, twin)
        pairs |= {(twin, name): (found[name], found["both"]) for name in PARTS if name in found and "both" in found}
    return comparisons(pairs, planned=len(TWINS) * len(PARTS))


def reached(compared: pd.DataFrame, condition: str) -> str:
    """Whether a network of a condition is the one for all: `yes`, `not shown` or `no`, of `one_for_all`.

    The rule, made before the runs. Its masked accuracy is within a point of its unmasked accuracy: *yes* needs the whole 95%
    interval above -1 point, *no* the whole of it below. It is not below a specialist: *yes* needs a difference that is not
    *worse* and whose interval lies above -1 point, *no* is one that is *worse*. One *no* is enough; with fewer than three
    seeds nothing is shown.
    """
    own = compared.loc[[key for key in compared.index if key[0] == condition]]
    gap, *specialists = (row for _, row in own.iterrows())
    if min(len(row["seeds"]) for row in (gap, *specialists)) < SEEDS:
        return "not shown"
    if gap["high"] < -POINT or any(row["verdict"] == "worse" for row in specialists):
        return "no"
    return "yes" if all(row["low"] > -POINT for row in (gap, *specialists)) else "not shown"


def verdicts(compared: pd.DataFrame) -> dict[str, str]:
    """Condition -> `reached`, of all conditions in `one_for_all`."""
    return {name: reached(compared, name) for name in dict.fromkeys(condition for condition, _ in compared.index)}


def loss_answer(scale: str, folder: Folder = None) -> list[str]:
    """What the losses' records say, sentence by sentence; fewer where runs are missing."""
    found = losses(scale, folder)
    compared, better, worse = decided(against_arcface(found))
    others = len(LOSS_VARIANTS) - 1
    if found and compared.empty:
        return [
            f"Not known yet: {len(found)} of {others + 1} losses are run on {FACES[scale]}, and a verdict takes {SEEDS} seeds of"
            f" {REFERENCE} and of another."
        ]
    if compared.empty:
        return []
    those = "other loss" if len(compared) == 1 else "other losses"
    those += "" if len(compared) == others else f" run so far, of {others}"
    low, high = (compared.loc[getattr(compared["difference"], which)()] for which in ("idxmin", "idxmax"))
    text = [
        f"{'Yes' if len(better) else 'Not shown'}: of {len(compared)} {those}, each with settings of its own, {each_with_difference(better)} {'name' if len(better) > 1 else 'names'} more"
        f" masked {FACES[scale]} than {REFERENCE} ({found[REFERENCE]}) beyond noise; {each_with_difference(worse)} {'name' if len(worse) > 1 else 'names'} fewer.",
    ]
    if len(compared) > 1:
        text.append(
            f"Their differences from it, in points, go from {_points(low)} for {low.name} to {_points(high)} for {high.name}."
        )
    elif better.empty and worse.empty:
        text.append(f"The difference is {_points(low)} points, for {low.name}.")
    apart = LOSS_VARIANTS["softmax"].title
    scores = {title: each for title, each in _scores(scale, folder).items() if None not in each and title != apart}
    spread = {title: 100 * (max(each) - min(each)) for title, each in scores.items()}
    if spread:
        least, most = min(spread, key=spread.get), max(spread, key=spread.get)
        both = f"{spread[least]:.1f} points ({least})" + f" to {spread[most]:.1f} ({most})" * (least != most)
        text.append(
            f"From its worst trial to its best, of {TRIALS} with one seed each, a loss gains {both} on validation photos;"
            f" a trial whose loss became infinite or undefined counts as 0% ({apart}, whose rates lie further apart, is left out)."
        )
    return text


def decided(compared: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Comparisons with ArcFace by the title of the loss: all of enough seeds, and of these the better and the worse."""
    compared = with_enough_seeds(compared)
    compared.index = [name.split(" − ")[0] for name in compared.index]
    return compared, *(compared[compared["verdict"] == verdict] for verdict in ("better", "worse"))


def each_with_difference(compared: pd.DataFrame) -> str:
    """Losses by name, each with its difference."""
    return listed([f"{name} ({_points(row)})" for name, row in compared.iterrows()]) or "none"


def _scores(scale: str, folder: Folder) -> dict[str, list[float | None]]:
    """Title of a loss -> what each of its trials is judged by; None where that is not run."""
    return {
        variant.title: [trials.validation(run, folder) for run in trials.variant_trials(scale, name)]
        for name, variant in LOSS_VARIANTS.items()
    }


def condition_answer(scale: str, folder: Folder = None) -> list[str]:
    """What the conditions' records say: the verdict, and how near the nearest comes; nothing where runs are missing."""
    compared = one_for_all(scale, folder)
    if compared.empty:
        return []
    said = verdicts(compared)
    serves = {
        "yes": "one network serves",
        "not shown": "no network is shown to serve",
        "no": "no network that was run serves",
    }
    answer = next(verdict for verdict in serves if verdict in said.values())
    seeds_of = {name: min(map(len, compared.loc[name, "seeds"])) for name in said}
    few = {name: min(seeds, SEEDS) for name, seeds in seeds_of.items()}  # more than enough are no better than enough
    nearest = max(
        (name for name in said if said[name] == answer), key=lambda name: (few[name], compared.loc[name, "low"].min())
    )
    gap, masked, bare = (compared.loc[(nearest, what)] for what in (GAP, *SPECIALISTS))
    seeds = seeds_of[nearest]
    name = f"*{title(nearest)}*"
    by = "" if len(said) == 1 else ", by the worst of three intervals,"
    lead = f"Nearest{by} comes {name}" if by else f"Only {name} is run so far"
    beside = [f"{_points(row)} ({row['verdict']})" for row in (masked, bare)]
    return [
        f"{answer.capitalize()}: on {FACES[scale]}{f' ({seeds} of {SEEDS} seeds)' if seeds < SEEDS else ''} {serves[answer]} both kinds of faces.",
        f"{lead}: its accuracy on masked faces differs by {_points(gap)} points from that on bare ones, and from the"
        f" specialists' by {beside[0]} on masked faces and {beside[1]} on bare ones.",
    ]


def _points(row: pd.Series) -> str:
    return points(row["difference"], row["low"], row["high"])
