"""The runs of the study by group: each table and figure has one."""

import shlex
from collections.abc import Iterable
from pathlib import Path

from maskfr_utils.names import CONDITIONS, SIMPLE_CONDITIONS
from maskfr_utils.original import flaws as original
from maskfr_utils.study import published, scales
from maskfr_utils.study.run import CHANGES, Run
from maskfr_utils.study.scales import SCALES
from maskfr_utils.study.trials import rate_trials, variant_trials
from maskfr_utils.study.variants import LOSS_VARIANTS, TWIN_TERM

AUDITED = "ressanet50"  # the network of the audit: each flaw of the original applies to it
ABLATION = ("iresnet50", "iresnet50_se", "iresnet50_frelu", "iresnet50_ibt", "ressanet50")


def tuning(scale: str, folder: str | Path | None = None) -> list[Run]:
    """Each network at several learning rates, scored on the validation photos."""
    return [
        run for model in dict.fromkeys((*published.TABLE_2, *ABLATION)) for run in rate_trials(scale, model, folder)
    ]


def changes(scale: str) -> list[Run]:
    """Each change of the recipe alone, at every rate, scored on the validation photos, by one network of either kind.

    Only ResSaNet has depthwise filters whose fan could be counted otherwise.
    """
    pairs = [(m, c) for m in ("iresnet50", "ressanet50") for c in CHANGES if (m, c) != ("iresnet50", "fan_layer")]
    return [Run(scale=scale, model=m, rate=r, change=c, trial=True) for m, c in pairs for r in SCALES[scale].rates]


def table_1(scale: str) -> list[Run]:
    """IResNet-50 trained on masked faces, on unmasked ones, and on both."""
    return [Run(scale=scale, condition=c, seed=s) for s in range(SCALES[scale].seeds) for c in SIMPLE_CONDITIONS]


def table_2(scale: str) -> list[Run]:
    """The five networks trained on masked faces."""
    return [Run(scale=scale, model=m, seed=s) for s in range(SCALES[scale].seeds) for m in published.TABLE_2]


def ablation(scale: str) -> list[Run]:
    """IResNet-50, with each part of ResSaNet alone, and with all."""
    return [Run(scale=scale, model=m, seed=s) for s in range(SCALES[scale].seeds) for m in ABLATION]


def figure_9(scale: str) -> list[Run]:
    """IResNet-50 on masked faces by batch size: at one rate, at a rate that grows with it, and for as many steps."""
    _, *others = SCALES[scale].batches
    runs = []
    for seed in range(3):
        runs += [Run(scale=scale, batch_size=size, seed=seed) for size in (None, *others)]
        runs += [Run(scale=scale, batch_size=size, scaled=True, seed=seed) for size in others]
        runs += [Run(scale=scale, batch_size=size, steps_of=others[-1], seed=seed) for size in (None, *others[:-1])]
    return runs


def losses(scale: str) -> list[Run]:
    """IResNet-50 trained on masked faces with each loss: its trials, and the final runs at the settings that they chose."""
    finals = [
        Run(scale=scale, variant=name, seed=seed) for seed in range(SCALES[scale].seeds) for name in LOSS_VARIANTS
    ]
    return finals + [run for name in LOSS_VARIANTS for run in variant_trials(scale, name)]


def conditions(scale: str) -> list[Run]:
    """IResNet-50 under each condition of training; with the twin term at the weight that its trials chose."""
    finals = []
    for seed in range(SCALES[scale].seeds):
        finals += [Run(scale=scale, condition=condition, seed=seed) for condition in CONDITIONS]
        finals.append(Run(scale=scale, condition="twins", variant=TWIN_TERM, seed=seed))
    return finals + variant_trials(scale, TWIN_TERM)


def report(scale: str) -> list[Run]:
    """A network of either kind by the report's recipe."""
    seeds = range(SCALES[scale].seeds)
    return [Run(scale=scale, model=m, recipe="report", seed=s) for s in seeds for m in ("iresnet50", "ressanet50")]


def audit_flaws(scale: str) -> list[tuple[str, ...]]:
    """The sets of flaws that the audit trains with: none, each alone, and all with one after the other taken away.

    Rendered faces have no near-copies. On real photos with a CPU only those of data and all together: the rest is for a GPU.
    """
    photos = scales.recipe(scale)["dataset"] != "demo"
    offered = [name for name in original.TRAINED if photos or name != "near_copies"]
    alone = [original.ordered({name, original.NEEDS.get(name, name)}) for name in offered]
    fewer = [tuple(offered[i:]) for i in range(len(offered) - 1)]
    sets = list(dict.fromkeys([(), *alone, *fewer]))
    if photos and not SCALES[scale].gpu:
        sets = [(), *((name,) for name in ("folders", *original.POOL)), tuple(offered)]
    return sets


def audit(scale: str) -> list[Run]:
    """ResSaNet-50 with the deviations of the code behind the report."""
    sets = audit_flaws(scale)
    return [Run(scale=scale, model=AUDITED, flaws=s, seed=seed) for seed in range(SCALES[scale].seeds) for s in sets]


GROUPS = {
    "tuning": tuning,
    "table_2": table_2,
    "table_1": table_1,
    "ablation": ablation,
    "figure_9": figure_9,
    "changes": changes,
    "losses": losses,
    "conditions": conditions,
    "report": report,
    "audit": audit,
}


def runs(groups: Iterable[str] = (), scales: Iterable[str] = SCALES, folder: str | Path | None = None) -> list[Run]:
    """The runs of these groups (or of all) and scales, each once, first seeds first.

    Args:
        groups: some of `GROUPS`.
        scales: some of `SCALES`.
        folder: of the records, on which the trials depend; default: the book's.
    """
    found = {}
    for scale in scales:
        for group in groups or GROUPS:
            made = tuning(scale, folder) if group == "tuning" else GROUPS[group](scale)
            found |= dict.fromkeys(made)
    return sorted(found, key=lambda run: run.seed)


def command(
    group: str | None = None, scale: str | None = None, run: Run | None = None, folder: str | Path | None = None
) -> str:
    """The command line that makes a group, or a run, of the study.

    Args:
        group: one of `GROUPS`; None: all.
        scale: one of `SCALES`; None: all.
        run: what to make, instead of these.
        folder: of the records; default: the book's.
    """
    model = None
    if run:
        # The rates that are tried hang on a folder's records: the book's need not call for each.
        rated = run.trial and run.rate and not run.change
        group, scale = "tuning" if rated else next(g for g in GROUPS if run in GROUPS[g](run.scale)), run.scale
        model = run.model if group == "tuning" else None
    options = [
        *([group] if group else []),
        *(["--scale", scale] if scale else []),
        *(["--model", model] if model else []),
        *(["--results", shlex.quote(str(folder))] if folder else []),
    ]
    return " ".join(["python -m maskfr_utils.study", *options])
