"""What the audit's records say: the accuracy as the code behind the report would print it, and what each deviation does to it.

Runs with other flaws may be tested on other photos of the same people, so accuracies are compared by seed and by person.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from maskfr_utils.names import TITLES
from maskfr_utils.original.flaws import FLAWS, LOGGING, NEEDS, SCORED, ordered
from maskfr_utils.original.scores import named
from maskfr_utils.study import alternatives, outcomes, plan, published, state
from maskfr_utils.study.scales import SCALES
from maskfr_utils.study.variants import LOSS_VARIANTS
from maskfr_utils.verdicts import Comparison, drawn_anew, from_draws

Records = Mapping[int, dict]  # seed -> record
Way = tuple[Records, tuple[str, ...]]  # runs that differ in their seed only, and the flaws of scoring

ALL = "all deviations together"
SAYS = {"better": "raises it", "worse": "lowers it"}


def runs(scale: str, folder: str | Path | None = None) -> dict[tuple[str, ...], dict[int, dict]]:
    """Flaws of training -> seed -> record, of the audit's runs that have been made.

    Args:
        scale: of the study.
        folder: of the records; default: the book's.
    """
    found = defaultdict(dict)
    for run, record in state.load("audit", scale, folder).items():
        found[run.flaws][run.seed] = record
    return dict(found)


def offered(scale: str) -> list[str]:
    """The deviations that a scale can show, in the order in which they are taken away."""
    trained = set().union(*plan.audit_flaws(scale))
    return [name for name in FLAWS if name in trained or name in SCORED]


def estimate(way: Way) -> Comparison:
    """The accuracy that is reported, over seeds and people."""
    return from_draws(*_drawn(way, _people(way)))


def difference(a: Way, b: Way) -> Comparison | None:
    """How much more accurate `a` is reported than `b`, over the seeds that both have; None where they have none."""
    seeds = a[0].keys() & b[0].keys()
    if not seeds:
        return None
    a, b = (({seed: way[0][seed] for seed in sorted(seeds)}, way[1]) for way in (a, b))
    people = np.union1d(_people(a), _people(b))
    (mine, mine_drawn), (theirs, theirs_drawn) = (_drawn(way, people) for way in (a, b))
    return from_draws(mine - theirs, mine_drawn - theirs_drawn)


def _people(way: Way) -> np.ndarray:
    return np.unique(np.concatenate([outcomes.who(record) for record in way[0].values()]))


def _drawn(way: Way, people: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The accuracy of each seed, and its mean over them with people drawn anew (see `verdicts.drawn_anew`)."""
    records, scoring = way
    hits, counts = np.zeros((2, len(records), len(people)))
    for i, record in enumerate(records.values()):
        labels, right = named(record, scoring)
        place = np.searchsorted(people, outcomes.who(record, labels))
        hits[i], counts[i] = np.bincount(place, right, len(people)), np.bincount(place, minlength=len(people))
    if "people_mean" in scoring:
        hits, counts = hits / np.maximum(counts, 1), (counts > 0).astype(float)
    times = np.vstack([np.ones(len(people)), drawn_anew(len(people))])
    hits, counts = times @ hits.T, times @ counts.T
    shares = np.divide(hits, counts, out=np.full(hits.shape, np.nan), where=counts > 0)
    shares = shares.round(12)  # no difference in a last bit
    return shares[0], np.nanmean(shares[1:], axis=1)


def _way(found: Mapping, flaws: Collection[str]) -> Way | None:
    """The runs with these flaws, scored with them; None where there is none."""
    scoring = tuple(name for name in SCORED if name in flaws)
    records = found.get(ordered(set(flaws) - set(SCORED)))
    return (records, scoring) if records else None


def steps(scale: str, folder: str | Path | None = None) -> pd.DataFrame:
    """From the accuracy as reported to the honest one: each deviation taken away in turn.

    Returns:
        A line a step, indexed by what was taken away (the first: nothing yet): `accuracy`, `low`, `high` after it, and
        `change`, `change_low`, `change_high` by it; fractions, over the seeds that have both ends. Where runs between are
        missing, several are taken away at once; where an end is, there is no line.
    """
    found, names = runs(scale, folder), offered(scale)
    everything, nothing = _way(found, names), _way(found, ())
    seeds = everything[0].keys() & nothing[0].keys() if everything and nothing else set()
    rows, before, taken = {}, None, []
    for i in range(len(names) + 1) if seeds else ():
        taken += names[i - 1 : i] if i else []
        way = _way(found, names[i:])
        if way is None or not seeds <= way[0].keys():
            continue
        way = {seed: way[0][seed] for seed in sorted(seeds)}, way[1]
        now, change = estimate(way), difference(way, before) if before else None
        line = ", ".join(FLAWS[name].title for name in taken) or ALL
        low, high = outcomes.clipped(now)
        rows[line] = {"accuracy": now.value, "low": low, "high": high}
        changed = (change.value, change.low, change.high) if change else (np.nan,) * 3
        rows[line] |= dict(zip(("change", "change_low", "change_high"), changed, strict=True))
        before, taken = way, []
    columns = ["accuracy", "low", "high", "change", "change_low", "change_high"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def alone(scale: str, folder: str | Path | None = None) -> pd.DataFrame:
    """What each deviation alone does to the reported accuracy, a line each as `outcomes.comparisons` gives them.

    One that is of the original's network only is compared with that network without it.
    """
    found, compared = runs(scale, folder), {}
    for name in offered(scale):
        base = {NEEDS[name]} if name in NEEDS else set()
        ways = _way(found, base | {name}), _way(found, base)
        if None not in ways and (change := difference(*ways)):
            compared[FLAWS[name].title] = change
    return outcomes.with_verdicts(compared, planned=len(offered(scale))).replace({"verdict": SAYS})


def table(scales: Collection[str], folder: str | Path | None = None) -> pd.DataFrame:
    """Every deviation: what the code does, where it shows, and what it does alone to the accuracy of each scale."""
    plain = {flaw.title: [flaw.fact, flaw.source] for flaw in FLAWS.values()}
    found = pd.DataFrame.from_dict(plain, orient="index", columns=["what the code does", "where that is seen"])
    for scale in scales:
        words, faces = outcomes.in_points(alone(scale, folder)), SCALES[scale].faces
        effects, planned = {}, [set(flaws) for flaws in plan.audit_flaws(scale)]
        for name, flaw in FLAWS.items():
            if flaw.title in words.index:
                row = words.loc[flaw.title]
                effects[flaw.title] = f"{row['difference, points']}: {row['verdict']}"
            elif flaw.changes == LOGGING:
                effects[flaw.title] = "changes no accuracy"
            else:
                made = name in SCORED or {name, NEEDS.get(name, name)} in planned
                effects[flaw.title] = "not run yet" if made else "no run of this scale shows it alone"
        found[f"effect alone on {faces}, points"] = effects
    return found


def copies(scale: str, folder: str | Path | None = None) -> pd.DataFrame:
    """Where copies went into the split: accuracy on test photos of which a copy was trained on, and on the others.

    Returns:
        A line a deviation: `copy trained on`, `none` (fractions, means over seeds), `share` (of photos with a copy), `seeds`.
    """
    rows = {}
    for flaw in ("mirrored_twins", "near_copies"):
        by_seed = []
        for record in runs(scale, folder).get((flaw,), {}).values():
            _, hits = named(record)
            seen = np.array(record["audit"]["photos"]["copy_trained_on"], bool)
            if 0 < seen.sum() < len(seen):
                by_seed.append((hits[seen].mean(), hits[~seen].mean(), seen.mean()))
        if by_seed:
            values = np.mean(by_seed, 0)
            rows[FLAWS[flaw].title] = dict(zip(("copy trained on", "none", "share"), values, strict=True))
            rows[FLAWS[flaw].title]["seeds"] = len(by_seed)
    return pd.DataFrame.from_dict(rows, orient="index", columns=["copy trained on", "none", "share", "seeds"])


def _ends(way: pd.DataFrame) -> list[str]:
    """The accuracy as reported and the honest one, of `steps`, in words."""
    return [outcomes.percent(*way.iloc[line, :3].astype(float)) for line in (0, -1)]


def together(scale: str, folder: str | Path | None = None) -> str:
    """What all deviations together do, in a sentence; nothing where runs are missing."""
    way = steps(scale, folder)
    if not len(way):
        return ""
    reported, honest = _ends(way)
    return (
        f"With all deviations that {SCALES[scale].faces} can show, {TITLES[plan.AUDITED]} would be reported at {reported}; "
        f"trained and scored as this study does it reaches {honest}."
    )


def told(scale: str, folder: str | Path | None = None) -> str:
    """What the audit found, in a few sentences; where its runs are missing, the command that makes them."""
    way, effects = steps(scale, folder), alone(scale, folder)
    if not len(way) and not len(effects):
        return f"These runs are not made yet: `{plan.command('audit', scale)}` makes them."
    sure = effects[effects["verdict"].isin(SAYS.values())]
    told = [f"{name} {outcomes.points(*row[['difference', 'low', 'high']])}" for name, row in sure.iterrows()]
    text = (
        f"Alone, {len(sure) or 'none'} of {len(effects)} {'have' if len(sure) > 1 else 'has'} an effect beyond noise"
        + (f", in points: {outcomes.listed(told)}." if told else ".")
    )
    if len(way):
        reported, honest = _ends(way)
        text = (
            f"With all deviations that {SCALES[scale].faces} can show, {TITLES[plan.AUDITED]} would be reported at {reported} instead of"
            f" {honest}. {text}"
        )
    compared = alternatives.against_arcface(alternatives.losses(scale, folder))
    if (tuned := f"{LOSS_VARIANTS['legacy_arcface'].title} − {alternatives.REFERENCE}") in compared.index:
        difference = outcomes.points(*compared.loc[tuned, ["difference", "low", "high"]])
        text += (
            f" The loss has its own *s* and *m* here, but our rate; with settings of its own, in IResNet-50, it differs from"
            f" {alternatives.REFERENCE} by {difference} points ([Losses](losses.ipynb))."
        )
    ways = _unmasked_folder(way, effects)
    if not ways:
        return text
    theirs, gap = published.TABLE_2["ressanet100"][0], published.TABLE_1["unmasked"] - published.TABLE_1["masked"]
    return (
        f"{text} If the report's {theirs:.2%} is of unmasked photos, it would be {theirs - gap:.1%} on masked ones by its own difference"
        f" between the two kinds, and by ours {_without(ways)}."
    )


def unmasked_folder(scale: str, folder: str | Path | None = None) -> str:
    """What the report's best number would be on masked photos, if reading unmasked ones brought it what it brings here."""
    theirs = 100 * published.TABLE_2["ressanet100"][0]
    ways = _unmasked_folder(steps(scale, folder), alone(scale, folder))
    if not ways:
        return f"What the {theirs:.2f}% would be on masked photos is not measured yet."
    brings = " and ".join(f"{outcomes.points(*row)} points {name}" for name, row in ways.items())
    gap = 100 * (published.TABLE_1["unmasked"] - published.TABLE_1["masked"])
    return (
        f"By the report's own Table 1, masked faces cost IResNet-50 {gap:.2f} points, by which the {theirs:.2f}% would be {theirs - gap:.1f}%."
        f" On {SCALES[scale].faces}, reading unmasked photos brings {brings}. If it brought the report's network as much, its {theirs:.2f}%"
        f" would be on masked ones {_without(ways)}."
    )


def _without(ways: Mapping[str, Sequence[float]]) -> str:
    """The report's best number less what reading unmasked photos brings in each of `_unmasked_folder`."""
    theirs = published.TABLE_2["ressanet100"][0]
    left = {
        name: [100 * min(theirs - each, 1) for each in (value, high, low)] for name, (value, low, high) in ways.items()
    }
    return " or ".join("{:.1f}% ({:.1f} to {:.1f}) {}".format(*shares, name) for name, shares in left.items())


def _unmasked_folder(way: pd.DataFrame, effects: pd.DataFrame) -> dict[str, tuple[float, ...]]:
    """What reading unmasked photos brings, alone and beside all other deviations: value, low, high; nothing where it was not run."""
    folders, ways = FLAWS["folders"].title, {}
    if folders in effects.index:
        ways["alone"] = tuple(effects.loc[folders, ["difference", "low", "high"]])
    if ways and folders in way.index:
        ways["with all other deviations present"] = tuple(-way.loc[folders, ["change", "change_high", "change_low"]])
    return ways
