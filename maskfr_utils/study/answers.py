"""The study's answers as sentences: written by hand, with the numbers of the records, in words that the verdicts choose."""

import math
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

import pandas as pd

from maskfr_utils.names import CONDITIONS, REPORTED, TITLES
from maskfr_utils.study import alternatives, outcomes, plan, published, state, tables
from maskfr_utils.study.outcomes import Result, listed, points, signed, span
from maskfr_utils.study.run import Run
from maskfr_utils.study.scales import SCALES
from maskfr_utils.study.tables import FACES
from maskfr_utils.verdicts import SEEDS

Folder = str | Path | None
STILL = 1.0  # points of validation accuracy that the last epoch adds: from here on a network is still climbing
LEARNT = 90  # percent of the training photos: below, a network has not learnt what it was shown


def most_real(answer: Callable[[str, Folder], str], folder: Folder = None) -> str:
    """The answer of the scale nearest to real photos at full width that has one; else nothing."""
    return next((said for scale in reversed(SCALES) if (said := answer(scale, folder))), "")


def at_all_scales(answer: Callable[[str, Folder], str], first: str, folder: Folder = None) -> list[str]:
    """The answers of all scales that have one, that of a certain scale first."""
    return [said for scale in dict.fromkeys((first, *SCALES)) if (said := answer(scale, folder))]


def untrained(scale: str, folder: Folder = None) -> Result | None:
    """IResNet-50 trained without masks and tested with them."""
    return outcomes.results("table_1", scale, folder, "masked").get(Run(scale=scale, condition="unmasked"))


def _iresnet(scale: str, folder: Folder) -> tuple[Result | None, ...]:
    """IResNet-50 tested on bare faces, trained on them; on masked ones, trained on bare ones; and on masked, trained so."""
    ours = outcomes.specialists(scale, folder)
    return ours.get(("iresnet50", "unmasked")), untrained(scale, folder), ours.get(("iresnet50", "masked"))


def cost(scale: str, folder: Folder = None) -> str:
    """What a mask costs a network that has never seen one."""
    bare, masked, _ = _iresnet(scale, folder)
    compared = tables.costs(scale, folder)
    if tables.COST not in compared.index:
        return ""
    lost = compared.loc[tables.COST]
    return (
        f"On {FACES[scale]}, an IResNet-50 that has seen no masks names {100 * bare.mean:.1f}% of the bare test photos correctly,"
        f" and {100 * masked.mean:.1f}% of the same photos with a mask: a mask costs it {signed(lost['difference']).lstrip('+')} points{_between(lost)}."
    )


def gain(scale: str, folder: Folder = None) -> str:
    """What training with masks wins back of it."""
    *_, trained = _iresnet(scale, folder)
    compared = tables.costs(scale, folder)
    if not {tables.GAIN, tables.EACH_ITS_OWN} <= set(compared.index):
        return ""
    won, left = compared.loc[tables.GAIN], compared.loc[tables.EACH_ITS_OWN]
    apart, above = _apart(left)
    return (
        f"On {FACES[scale]}, an IResNet-50 that is trained on masked faces names {100 * trained.mean:.1f}% of the masked photos, which"
        f" wins back {signed(won['difference']).lstrip('+')} points{_between(won)} and leaves it {apart}"
        f" {'above' if above else 'below'} the network that was trained and tested on bare faces."
    )


def price(scale: str, folder: Folder = None) -> str:
    """What training with masks costs on bare faces, and what a mask then costs."""
    compared = tables.costs(scale, folder)
    if not {tables.GAIN_BARE, tables.COST_TRAINED} <= set(compared.index):
        return ""
    return (
        f"On bare faces its accuracy is {_higher(compared.loc[tables.GAIN_BARE])} than that of the network that was trained on them,"
        f" and {_higher(compared.loc[tables.COST_TRAINED])} than its own on the same photos with a mask."
    )


def both(scale: str, folder: Folder = None) -> str:
    """What one network does that was trained on masked and bare faces."""
    found = {
        tested: outcomes.results("table_1", scale, folder, tested).get(Run(scale=scale, condition="both"))
        for tested in ("unmasked", "masked")
    }
    compared = tables.costs(scale, folder)
    if not set(tables.BOTH.values()) <= set(compared.index):
        return ""
    words = [
        f"{signed(row['difference'])} points{_between(row)} on {name} faces"
        for name, (_, row) in zip(("masked", "bare"), compared.loc[list(tables.BOTH.values())].iterrows(), strict=True)
    ]
    return (
        f"One network that sees either kind names {100 * found['masked'].mean:.1f}% of the masked and"
        f" {100 * found['unmasked'].mean:.1f}% of the bare photos. Against the two that were trained for one kind each, that is"
        f" {' and '.join(words)}."
    )


def precisions(group: str, scale: str, folder: Folder = None) -> str:
    """Which kinds of training of a group were made in another number format than the others; nothing where all are alike."""
    found: dict[str, set[str]] = {}
    for run, record in state.load(group, scale, folder).items():
        found.setdefault(record["provenance"]["precision"], set()).add(run.condition)
    if len(found) < 2:
        return ""
    kinds = [
        f"in `{precision}`: {listed([CONDITIONS[kind].title for kind in sorted(kinds)])}"
        for precision, kinds in sorted(found.items())
    ]
    return f"On {FACES[scale]} the kinds of training differ in number format ({'; '.join(kinds)}); this, too, may be part of a difference between them."


def attention(scale: str, folder: Folder = None) -> str:
    """Whether ResSaNet beats IResNet."""
    compared = tables.pairs_of_networks(scale, folder)
    asked = [(TITLES[a], TITLES[b]) for a, b in tables.QUESTION]
    pairs = {(a, b): compared.loc[f"{a} − {b}"] for a, b in asked if f"{a} − {b}" in compared.index}
    if not pairs:
        return ""
    said = {
        "better": "names more masked photos correctly than",
        "worse": "names fewer masked photos correctly than",
    }
    words = [
        f"{a} {said.get(row['verdict'], 'cannot be told apart from')} {b} ({signed(row['difference'])} points,"
        f" {signed(row['low'])} to {signed(row['high'])}{_few(row)})"
        for (a, b), row in pairs.items()
    ]
    said = (
        f"On {FACES[scale]}, after {len(tables.curves(scale, folder))} epochs at the learning rate that suits each,"
        f" {', and '.join(words)}."
        f" {climbing(scale, folder, [name for pair in pairs for name in pair])}"
    )
    return said.rstrip()


def parts(scale: str, folder: Folder = None, *, sure_only: bool = False) -> str:
    """Which part of ResSaNet does it; where one does, the others may be left out."""
    compared = tables.parts(scale, folder)
    plain, sure, unsure = TITLES["iresnet50"], {}, {}
    for name, row in compared[[not name.startswith(TITLES["ressanet50"]) for name in compared.index]].iterrows():
        part = name.split(" − ")[0].removeprefix(f"{plain} + ")
        part += " (self-attention, together with an inverted bottleneck and SE)" if part == "IBT" else ""
        if row["verdict"] in ("better", "worse"):
            sure[part] = f"{signed(row['difference'])} points{_between(row)}"
        else:
            unsure[part] = f"{signed(row['low'])} to {signed(row['high'])} points{_few(row)}"
    if not sure and not unsure:
        return ""
    undecided = (
        f"{listed(list(unsure))} {'is' if len(unsure) == 1 else 'are'} undecided ({listed(list(unsure.values()))})"
        if unsure
        else ""
    )
    every = [TITLES[model] for model in plan.ABLATION if TITLES[model].startswith(f"{plain} + ")]
    missing = [name.removeprefix(f"{plain} + ") for name in every if f"{name} − {plain}" not in compared.index]
    end = f" Not run yet: {listed(missing)}." * bool(missing)
    start = f"Of ResSaNet's parts, each put into {plain} alone, on {FACES[scale]},"
    if not sure:
        return f"{start} none{' that was run' * bool(missing)} is shown to change the accuracy: {undecided}.{end}"
    told = (
        f"{'only ' if unsure and not missing else ''}{listed(list(sure))} {'changes' if len(sure) == 1 else 'change'}"
    )
    return (
        f"{start} {told} the accuracy beyond noise: {listed(list(sure.values()))}."
        + f" {undecided}." * bool(unsure and not sure_only)
        + end
    )


def _names(count: int, among: str = "") -> str:
    """So many name, one or none names."""
    return f"{count or 'none'}{among} {'name' if count > 1 else 'names'}"


def _apart(row: pd.Series) -> tuple[str, bool]:
    """How many points two things lie apart, with the interval of what is told, and whether the first is the lower one."""
    lower = row["difference"] < 0
    told = pd.Series({"difference": -row["difference"], "low": -row["high"], "high": -row["low"]}) if lower else row
    between = _between(pd.concat([told[["low", "high"]], row[["verdict", "seeds"]]]))
    return f"{100 * told['difference']:.1f} points{between}", lower


def _higher(row: pd.Series) -> str:
    """How many points higher, or lower, with the interval of what is told."""
    apart, lower = _apart(row)
    return f"{apart} {'lower' if lower else 'higher'}"


def _between(row: pd.Series) -> str:
    """A difference's interval in points, and whether it is noise or has too few seeds to tell; in brackets, to stand behind it."""
    noise = "" if _few(row) or row["verdict"] in ("better", "worse") else "; not beyond noise"
    return f" ({signed(row['low'])} to {signed(row['high'])}{noise}{_few(row)})"


def _few(row: pd.Series) -> str:
    """How many seeds there are, where there are too few for a verdict."""
    return "" if len(row["seeds"]) >= SEEDS else f"; {len(row['seeds'])} of {SEEDS} seeds"


def climbing(scale: str, folder: Folder = None, names: Collection[str] = (), group: str = "table_2") -> str:
    """Which networks of a group, of these or of all, still gained in their last epoch, or nothing."""
    curves = tables.curves(scale, folder, group)
    curves = curves[[name for name in curves if name in names or not names]]
    if len(curves) < 2:
        return ""
    rise = 100 * (curves.iloc[-1] - curves.iloc[-2])
    still = {name: f"{gained:.1f}" for name, gained in rise.items() if gained >= STILL}
    if not still:
        return ""
    return (
        f"{listed(list(still))} still gained {listed(list(still.values()))} points on validation photos in the last epoch, so longer runs may"
        " change the order."
    )


def learnt(scale: str, folder: Folder = None) -> str:
    """How far the networks were when they stopped."""
    ours, text = outcomes.specialists(scale, folder), []
    if shares := [100 * result.learnt for result in ours.values()]:
        text.append(
            f"In the last epoch the networks named {span(f'{min(shares):.0f}', f'{max(shares):.0f}')}%"
            " of their training photos correctly."
        )
        few = [result for result in ours.values() if 100 * result.learnt < LEARNT]
        if few:
            names = listed(list(dict.fromkeys(TITLES[result.one["params"]["model"]] for result in few)))
            words = (
                ("its number says", "it learns", "it gets")
                if len(few) == 1
                else ("their numbers say", "they learn", "they get")
            )
            text.append(f"{names} had not learnt even those: {words[0]} how fast {words[1]}, not how good {words[2]}.")
    curves = tables.curves(scale, folder)
    if len(curves) > 1:
        rise = curves.iloc[-1] - curves.iloc[-2]
        text.append(
            f"All runs stop after {len(curves)} epochs, over which the learning rate falls to zero. The last epoch changed their"
            f" accuracy on validation photos by {span(signed(rise.min()), signed(rise.max()))} points."
        )
        text.append(climbing(scale, folder) or "What longer runs would change is not measured.")
    return " ".join(text)


def asked(folder: Folder = None) -> str:
    """The differences between ResSaNet and IResNet of as many layers, on the faces of each scale."""
    told = []
    for scale in reversed(SCALES):
        compared = tables.pairs_of_networks(scale, folder)
        pairs = [name for a, b in tables.QUESTION if (name := f"{TITLES[a]} − {TITLES[b]}") in compared.index]
        words = [
            f"{signed(row['difference'])} ({name}, {row['verdict']})" for name, row in compared.loc[pairs].iterrows()
        ]
        told += [f"on {FACES[scale]} by {listed(words)}"] if words else []
    return f"ResSaNet differs from IResNet of as many layers, in points: {', '.join(told)}." if told else ""


def undecided_in_the_report(theirs: pd.DataFrame) -> str:
    """Which of the report's own orderings its test set does not support; `theirs` as of `tables.published_pairs`."""
    unsure = list(theirs.index[theirs["verdict"] != "better"])
    rest = sum(TITLES["ressanet100"] in name for name in theirs.index.difference(unsure))
    best = published.TABLE_2["ressanet100"][0]
    return (
        f"Of the report's {len(theirs)} differences at least {len(unsure)} are not beyond the noise of its own test set ({'; '.join(unsure)}),"
        f" and {rest} of the other {len(theirs) - len(unsure)} rest on the {best:.2%}, which may be of bare faces."
    )


def networks(scale: str, folder: Folder = None) -> str:
    """Which network has the highest accuracy, and over which its lead is more than noise."""
    found = tables.networks(scale, folder)
    if not found:
        return ""
    first, *others = sorted(found, key=lambda name: -found[name].mean)
    if not others:
        return f"On {FACES[scale]} one network has been run: {first}, {found[first]}."
    missing = [TITLES[name] for name in REPORTED if TITLES[name] not in found]
    of = f"Of the {len(found)} networks that are run on {FACES[scale]}," if missing else f"On {FACES[scale]}"
    compared = tables.pairs_of_networks(scale, folder)
    leads = {"better": "{first} − {name}", "worse": "{name} − {first}"}
    unsure = [
        name
        for name in others
        if all(
            compared["verdict"].get(pair.format(first=first, name=name)) != verdict for verdict, pair in leads.items()
        )
    ]
    lead = (
        f"its lead over {listed(unsure)} is undecided" if unsure else f"its lead over {listed(others)} is beyond noise"
    )
    return f"{of} {first} has the highest accuracy, {found[first]}; {lead}."


def all_pairs_together(scale: str, folder: Folder = None) -> str:
    """*p* of what the study asks, had all pairs of networks, run or not, been corrected together; nothing where it has none."""
    compared = tables.pairs_of_networks(scale, folder)
    planned = math.comb(len(published.TABLE_2), 2)
    corrected = pd.Series(outcomes.holm_of_planned(compared["p"].to_numpy(float), planned), compared.index)
    of_pair = corrected.dropna().to_dict()  # nan: too few seeds
    asked = [name for a, b in tables.QUESTION if (name := f"{TITLES[a]} − {TITLES[b]}") in of_pair]
    told = [f"{of_pair[name]:.3f} for {name}" + " (undecided)" * (of_pair[name] >= 0.05) for name in asked]
    if not told:
        return ""
    return f"With all {planned} pairs on {FACES[scale]} corrected together, run or not, *p* would be {listed(told)}."


def rates(folder: Folder = None) -> str:
    """Whether the order depends on the learning rate, on the faces of each scale."""
    told, turns = [], []
    for scale in SCALES:
        same = tables.at_one_rate(scale, folder)
        if same.empty:
            continue
        tried = tables.tried(scale, folder)
        ours, theirs = (tried[TITLES[model]]["masked"].max() for model in tables.QUESTION[0])
        for a, b in tables.changing_places(scale, folder):
            apart = (tried[a]["masked"] - tried[b]["masked"]).abs().max()
            turns.append(f"{a} and {b} on {FACES[scale]}, which are at most {100 * apart:.1f} points apart at any rate")
        told.append(
            f"On {FACES[scale]}, ResSaNet-50 differs from IResNet-50 by {span(signed(same.min()), signed(same.max()))}"
            f" points of the validation photos where both have one rate, and by {signed(ours - theirs)} where each has its best."
        )
    if not told:
        return ""
    lead = (
        f"Of the report's networks {'one pair changes' if len(turns) == 1 else 'some pairs change'} places with the rate: {'; '.join(turns)}."
        if turns
        else "No two of the report's networks change places with the rate, at those that were tried."
    )
    end = "These are trials of one seed, which choose rates and are no verdict, so each network is judged at the rate that its own trials chose."
    return " ".join([lead, *told, end])


def changes(scale: str, folder: Folder = None) -> str:
    """Which changes of the recipe validation photos would take: those with which one network names more and none fewer."""
    table = tables.recipe_changes(scale, folder)
    if len(table) < 2 or "the recipe" not in table.index:
        return ""
    gains = table.drop("the recipe") - table.loc["the recipe"]
    planned = {(run.change, TITLES[run.model]) for run in plan.changes(scale)}
    waiting = {change for change, name in planned if name not in gains or pd.isna(gains[name].get(change))}
    gains = gains.drop(list(waiting), errors="ignore")
    taken = gains[(gains.min(axis=1) >= 0) & (gains.max(axis=1) > 0)].max(axis=1)
    photos = len(next(iter(state.load("changes", scale, folder).values()))["photos"]["label"])
    edge = tables.changes_at_an_edge(scale, folder)
    told = [f"`{name}` (by {round(gain * photos / 100)} of {photos} photos at most)" for name, gain in taken.items()]
    return (
        f"On {FACES[scale]}, each network at its best rate, one names more validation photos and none names fewer"
        f" with {' and with '.join(told) or 'no change at all'}."
        " Trials have one seed: they choose, and are no verdict."
        + (
            f" Best at the lowest or highest rate tried, so that the best may lie beyond: {', '.join(edge)}."
            if edge
            else ""
        )
    )


def recipe(scale: str, folder: Folder = None) -> str:
    """What the report's recipe costs against the tuned one."""
    compared = alternatives.report_recipe(scale, folder)
    if compared.empty:
        return ""
    told = [
        f"{signed(row['difference'])} points{_between(row)} with {name.split(',')[0]}"
        for name, row in compared.iterrows()
    ]
    return f"On {FACES[scale]}, the tuned recipe gains {' and '.join(told)} over the report's rate, decay and start of filters, on test photos."


def batches(scale: str, folder: Folder = None) -> str:
    """Whether a larger batch is better."""
    compared = outcomes.with_enough_seeds(tables.batches_compared(scale, folder))
    if compared.empty:
        return ""
    as_many_steps = compared.index.str.split(": ").str[0].str.endswith("steps")
    epochs, steps = compared[~as_many_steps], compared[as_many_steps]
    more, fewer = (int((epochs["verdict"] == verdict).sum()) for verdict in ("better", "worse"))
    if epochs.empty:
        return ""
    smallest = epochs.index[0].split(" − ")[1]
    answer = "Yes" if more and not fewer else "No" if fewer and not more else "Not shown"
    text = (
        f"{answer}, on {FACES[scale]}: of {len(epochs)} settings with a larger batch that see the photos as often, {_names(more)} more masked photos correctly than"
        f" a batch of {smallest} beyond noise, and {fewer or 'none'} fewer."
    )
    least = epochs["difference"].idxmin()
    line, pair = least.split(": ")
    text += f" The lowest, {pair.split(' − ')[0]} at {line}, differs by {points(*epochs.loc[least, ['difference', 'low', 'high']])} points ({epochs.loc[least, 'verdict']})."
    if len(steps):
        text += f" With as many steps {_names(int((steps['verdict'] == 'better').sum()), f' of {len(steps)}')} more, but these see more photos."
    return text


def claims(folder: Folder = None) -> str:
    """Which of the report's conclusions hold by our runs, and on what those rest that hold by its own numbers."""
    table = tables.claims(folder)
    verdicts = table.apply(lambda cells: cells.str.split(r"[:(]").str[0].str.strip())
    ours = verdicts.drop(columns="the report")
    stand, turned = ((ours == verdict).any(axis=1) for verdict in ("holds", "the opposite"))
    run = (ours != tables.NOT_RUN).any(axis=1)
    kinds = {
        ("holds", "hold"): stand & ~turned,
        ("comes out reversed in our runs", "come out reversed in our runs"): turned & ~stand,
        ("depends on the faces", "depend on the faces"): stand & turned,
        ("is undecided", "are undecided"): run & ~stand & ~turned,
        ("is not run yet", "are not run yet"): ~run,
    }
    slow = [
        FACES[scale]
        for scale in SCALES
        if (found := outcomes.specialists(scale, folder).get(("resnet50", "masked"))) and 100 * found.learnt < LEARNT
    ]
    how = f", as ResNet-50 had not learnt even its training photos on {listed(slow)}" if slow else ""
    text = [
        f"{len(some)} {words[len(some) > 1]}: {listed([_claim(claim, table) + how * claim.endswith(' ResNet-50') for claim in some])}."
        for words, which in kinds.items()
        if len(some := table.index[which])
    ]
    text[0] = f"Of the report's {len(table)} conclusions {text[0]}"
    theirs = verdicts["the report"]
    doubtful = sum(theirs[claim] == "beyond noise" for claim in table.index if TITLES["ressanet100"] in claim)
    supported = (
        f"By the report's own numbers {int((theirs == 'beyond noise').sum())} of the {len(table)} are beyond noise"
    )
    if doubtful:
        share = published.TABLE_2["ressanet100"][0]
        supported += f"; {doubtful} of these rest on the {share:.2%}, which was printed for a folder whose name ends in `_no_mask`"
    return " ".join([*text, f"{supported}."])


def _claim(claim: str, table: pd.DataFrame) -> str:
    """A conclusion, with our differences on each kind of faces, and which of them are undecided where not all are."""
    cells = table.loc[claim].drop("the report")
    cells = cells[cells != tables.NOT_RUN]
    unsure = cells.str.startswith("undecided")
    told = [
        f"{faces} {cell.split(': ')[1].split(' (')[0]}" + ", undecided" * bool(unsure[faces] and not unsure.all())
        for faces, cell in cells.items()
    ]
    return claim + (f" ({'; '.join(told)})" if told else "")


def page_one(folder: Folder = None) -> list[str]:
    """The study's three answers, a sentence or two each."""
    waiting = "is not measured yet"
    third = most_real(attention, folder) or f"Whether ResSaNet beats IResNet {waiting}."
    each = (
        most_real(partial(parts, sure_only=True), folder)
        or "Which of its parts is responsible has not been measured yet."
    )
    return [
        most_real(cost, folder) or f"What a mask costs {waiting}.",
        most_real(gain, folder) or f"What training with masks wins back {waiting}.",
        f"{third} {each}",
    ]


def best_batch(scale: str, folder: Folder = None) -> str:
    """What the report says of batch sizes, and whether ours reach as far."""
    tried = [run.batch for run in outcomes.results("figure_9", scale, folder)]
    short = (
        f"; our sizes end at {max(tried)}, so that is not tested" if tried and max(tried) < published.BEST_BATCH else ""
    )
    return f"The report found {published.BEST_BATCH} the best, without saying whether epochs or steps were the same{short}."
