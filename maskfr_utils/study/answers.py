"""The study's answers as sentences: written by hand, with the numbers of the records, in words that the verdicts choose."""

from collections.abc import Callable, Collection
from pathlib import Path

import pandas as pd

from maskfr_utils.names import REPORTED, TITLES
from maskfr_utils.study import alternatives, outcomes, published, state, tables, trials
from maskfr_utils.study.outcomes import Result, points, signed
from maskfr_utils.study.run import Run
from maskfr_utils.study.scales import SCALES
from maskfr_utils.study.tables import FACES
from maskfr_utils.verdicts import SEEDS

Folder = str | Path | None
STILL = 1.0  # points of validation accuracy that the last epoch adds: from here on a network is still climbing
LEARNT = 90  # percent of the training photos: below, a network has not learnt what it was shown
# The verdicts of `tables.claims` in a sentence, whatever their number.
CLAIMED = ("beyond noise", "holds", "the opposite", "undecided", tables.NOT_RUN)


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
    if not (bare and masked):
        return ""
    lost = outcomes.comparisons({"": (bare, masked)}).iloc[0]
    return (
        f"On {FACES[scale]}, an IResNet-50 that has seen no masks names {100 * bare.mean:.1f}% of the bare test photos correctly,"
        f" and {100 * masked.mean:.1f}% of the same photos with a mask: a mask costs it {100 * lost['difference']:.1f} points{_between(lost)}."
    )


def gain(scale: str, folder: Folder = None) -> str:
    """What training with masks wins back of it."""
    bare, masked, trained = _iresnet(scale, folder)
    if not (bare and masked and trained):
        return ""
    pairs = {"gain": (trained, masked), "left": (bare, trained)}
    won, left = (row for _, row in outcomes.comparisons(pairs).iterrows())
    return (
        f"On {FACES[scale]}, an IResNet-50 that is trained on masked faces names {100 * trained.mean:.1f}% of the masked photos: that"
        f" wins back {100 * won['difference']:.1f} points{_between(won)}, and "
        + (
            f"leaves it {100 * left['difference']:.1f} points{_between(left)} below the network that was trained and tested on bare faces."
            if left["difference"] > 0
            else "nothing is lost."
        )
    )


def price(scale: str, folder: Folder = None) -> str:
    """What training with masks costs on bare faces, and what a mask then costs."""
    found = outcomes.results("table_1", scale, folder, "unmasked").get(Run(scale=scale))
    bare, _, trained = _iresnet(scale, folder)
    if not (found and bare and trained):
        return ""
    pairs = {"bare": (found, bare), "mask": (trained, found)}
    other, mask = (row for _, row in outcomes.comparisons(pairs).iterrows())
    return (
        f"On bare faces it differs by {signed(other['difference'])} points{_between(other)} from the network that was trained on them. On masked photos its accuracy now"
        f" differs by {signed(mask['difference'])} points{_between(mask)} from that on bare ones."
    )


def both(scale: str, folder: Folder = None) -> str:
    """What one network does that was trained on masked and bare faces."""
    found = {
        tested: outcomes.results("table_1", scale, folder, tested).get(Run(scale=scale, condition="both"))
        for tested in ("unmasked", "masked")
    }
    bare, _, trained = _iresnet(scale, folder)
    if not all((*found.values(), bare, trained)):
        return ""
    pairs = {"masked": (found["masked"], trained), "bare": (found["unmasked"], bare)}
    words = [
        f"{signed(row['difference'])} points{_between(row)} on {name} faces"
        for name, row in outcomes.comparisons(pairs).iterrows()
    ]
    return (
        f"One network that sees either kind names {100 * found['masked'].mean:.1f}% of the masked and"
        f" {100 * found['unmasked'].mean:.1f}% of the bare photos; against the two that were trained for one kind each, that is"
        f" {' and '.join(words)}."
    )


def attention(scale: str, folder: Folder = None) -> str:
    """Whether ResSaNet beats IResNet."""
    compared = tables.pairs_of_networks(scale, folder)
    asked = [(TITLES[a], TITLES[b]) for a, b in tables.QUESTION]
    pairs = {(a, b): compared.loc[f"{a} − {b}"] for a, b in asked if f"{a} − {b}" in compared.index}
    if not pairs:
        return ""
    said = {
        "better": "names more masked people than",
        "worse": "names fewer masked people than",
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


def parts(scale: str, folder: Folder = None) -> str:
    """Which part of ResSaNet does it."""
    compared = tables.parts(scale, folder)
    single = compared[[not name.startswith(TITLES["ressanet50"]) for name in compared.index]]
    if single.empty:
        return ""
    told, sure, names = [], [], [name.split(" − ")[0] for name in single.index]
    for name, (_, row) in zip(names, single.iterrows(), strict=True):
        part = name.removeprefix(f"{TITLES['iresnet50']} + ")
        sure += [part] if row["verdict"] in ("better", "worse") else []
        part += " (self-attention, together with an inverted bottleneck and SE)" if part == "IBT" else ""
        told.append(f"{part} {points(*row[['difference', 'low', 'high']])}")
    return (
        f"Each of ResSaNet's parts put into IResNet-50 alone changes the accuracy, on {FACES[scale]}, in points: {'; '.join(told)}."
        f" Beyond noise: {', '.join(sure) or 'none of them'}. {climbing(scale, folder, names, 'ablation')}".rstrip()
    )


def _between(row: pd.Series) -> str:
    """A difference's interval in points, and whether it is noise; in brackets, to stand behind it."""
    sure = row["verdict"] in ("better", "worse")
    return f" ({signed(row['low'])} to {signed(row['high'])}{'' if sure else '; not beyond noise'})"


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
    still = [f"{name} still gained {gained:.1f} points" for name, gained in rise.items() if gained >= STILL]
    if not still:
        return ""
    return f"In the last epoch {' and '.join(still)} on validation photos, so longer runs may change the order."


def learnt(scale: str, folder: Folder = None) -> str:
    """How far the networks were when they stopped."""
    ours, text = outcomes.specialists(scale, folder), []
    if shares := [100 * result.learnt for result in ours.values()]:
        text.append(
            f"In the last epoch the networks named {' to '.join(dict.fromkeys(f'{x:.0f}' for x in (min(shares), max(shares))))}%"
            " of their training photos correctly."
        )
        if min(shares) < LEARNT:
            text.append(
                "Those far below 100% were still learning: they are ordered by how fast they learn, not by how good they get."
            )
    curves = tables.curves(scale, folder)
    if len(curves) > 1:
        rise = curves.iloc[-1] - curves.iloc[-2]
        text.append(
            f"They were stopped after {len(curves)} epochs, over which the learning rate falls to zero. The last one changed their"
            f" accuracy on validation photos by {signed(rise.min())} to {signed(rise.max())} points; what longer runs would"
            " change is not measured."
        )
    return " ".join(text)


def undecided_in_the_report(theirs: pd.DataFrame) -> str:
    """How many of the report's own orderings its test set supports; `theirs` as of `tables.published_pairs`."""
    unsure = int((theirs["verdict"] != "better").sum())
    return f"By its own test set, {unsure} of the report's {len(theirs)} differences between networks are not beyond noise."


def networks(scale: str, folder: Folder = None) -> str:
    """The order of the networks, and how much of it is more than noise."""
    found = tables.networks(scale, folder)
    if not found:
        return ""
    first, *others = (f"{name}, {found[name]}" for name in sorted(found, key=lambda name: -found[name].mean))
    if not others:
        return f"On {FACES[scale]} one network has been run: {first}."
    missing = [TITLES[name] for name in REPORTED if TITLES[name] not in found]
    verdicts = tables.pairs_of_networks(scale, folder)["verdict"].str.split(" ").str[0]
    sure = int(verdicts.isin(["better", "worse"]).sum())
    beyond = (
        f"Of the {len(verdicts)} differences between them {sure or 'none'} {'is' if sure < 2 else 'are'} beyond noise"
        if len(verdicts) > 1
        else f"Their difference is {'' if sure else 'not '}beyond noise"
    )
    return (
        f"On {FACES[scale]} the network with the highest mean accuracy is {first}; after it {'comes' if len(others) == 1 else 'come'}"
        f" {'; '.join(others)}. {beyond}." + (f" Not run yet: {', '.join(missing)}." if missing else "")
    )


def rates(scale: str, folder: Folder = None) -> str:
    """Whether the order depends on the learning rate."""
    same = tables.at_one_rate(scale, folder)
    if same.empty:
        return ""
    tried = tables.tried(scale, folder)
    ours, theirs = (tried[TITLES[model]]["masked"].max() for model in tables.QUESTION[0])
    chosen = trials.chosen(scale, folder)
    if same.min() < 0 < same.max():
        turns = "which of the two is ahead depends on the rate"
    else:
        turns = f"{'ResSaNet-50' if same.max() <= 0 else 'IResNet-50'} is ahead at none of them, and how far behind depends on the rate"
    judged = " and ".join(f"{TITLES[model]} at {chosen[model]:g}" for model in tables.QUESTION[0] if model in chosen)
    return (
        f"On {FACES[scale]}, at the same rate for both, the difference between ResSaNet-50 and IResNet-50 lies anywhere from"
        f" {signed(same.min())} to {signed(same.max())} points of the validation photos: {turns}. At the best rate of each"
        f" it is {signed(ours - theirs)} points. Trials have one seed: they choose rates, and are no verdict."
        + (f" So the other chapters compare, on {FACES[scale]}, {judged}." if judged else "")
    )


def changes(scale: str, folder: Folder = None) -> str:
    """Which changes of the recipe validation photos would take: those with which one network names more and none fewer."""
    table = tables.recipe_changes(scale, folder)
    if len(table) < 2 or "the recipe" not in table.index:
        return ""
    gains = table.drop("the recipe") - table.loc["the recipe"]
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
    return f"On {FACES[scale]}, the tuned recipe gains {' and '.join(told)} over the report's, on test photos."


def batches(scale: str, folder: Folder = None) -> str:
    """Whether a larger batch is better."""
    compared = tables.batches_compared(scale, folder)
    if compared.empty:
        return ""
    kinds, told, fallen = set(), [], 0
    for line, rows in compared.groupby(compared.index.str.split(": ").str[0], sort=False):
        more, fewer = (int((rows["verdict"] == verdict).sum()) for verdict in ("better", "worse"))
        kinds.add((more > 0, fewer > 0))
        fallen += fewer
        why = " (there a larger batch sees more photos)" if line.endswith("steps") else ""
        told.append(f"{line}, {more or 'none'} of {len(rows)}{why}")
    least = compared["difference"].idxmin()
    answer = {
        (True, False): "yes",
        (False, True): "no",
        (False, False): "that is not shown",
    }.get(kinds.pop() if len(kinds) == 1 else None, "that depends on what is kept the same")
    return (
        f"On {FACES[scale]}, {answer}. Larger batches that name more masked people than the smallest one, beyond noise:"
        f" {'; '.join(told)}. Those that name fewer, beyond noise: {fallen or 'none'}. The lowest is {least},"
        f" {points(*compared.loc[least, ['difference', 'low', 'high']])} points, {compared.loc[least, 'verdict']}."
    )


def claims(folder: Folder = None) -> str:
    """How many of the report's conclusions hold, by its own numbers and by ours."""
    text = []
    for name, cells in tables.claims(folder).items():
        verdicts = cells.str.split(r"[:(]").str[0].str.strip().value_counts()
        if verdicts.get(tables.NOT_RUN, 0) == len(cells):
            continue
        counts = [f"*{verdict}* {verdicts[verdict]}" for verdict in CLAIMED if verdict in verdicts]
        whose = "the report's own numbers" if name == "the report" else f"ours on {name}"
        text.append(f"By {whose}, of {len(cells)} conclusions: {', '.join(counts)}.")
        doubtful = sum(
            cell.startswith("beyond noise") for claim, cell in cells.items() if TITLES["ressanet100"] in claim
        )
        if name == "the report" and doubtful:
            share = published.TABLE_2["ressanet100"][0]
            text.append(
                f"Of those beyond noise, {doubtful} rest on the {share:.2%}, which was printed for a folder whose name ends in `_no_mask`."
            )
    return " ".join(text)


def page_one(folder: Folder = None) -> list[str]:
    """The study's three answers, a sentence or two each."""
    waiting = "is not measured yet"
    third = most_real(attention, folder) or f"Whether ResSaNet beats IResNet {waiting}."
    return [
        most_real(cost, folder) or f"What a mask costs {waiting}.",
        most_real(gain, folder) or f"What training with masks wins back {waiting}.",
        f"{third} {most_real(parts, folder) or 'Which of its parts is responsible has not been measured yet.'}",
    ]


def best_batch() -> str:
    """What the report says of batch sizes."""
    return f"The report found {published.BEST_BATCH} the best; it does not say whether epochs or steps were the same."
