"""Trials: runs that are scored on validation photos, and what the best of them choose."""

from pathlib import Path

import yaml

from maskfr_utils import paths
from maskfr_utils.names import MODELS
from maskfr_utils.records import record_or_none
from maskfr_utils.study import scales
from maskfr_utils.study.run import Run
from maskfr_utils.study.variants import VARIANTS

TUNED = (
    "# The learning rate of each network: the best of its trials on validation photos, which `python -m maskfr_utils.study"
    " tuning`\n# makes and `--choose` writes here.\n"
)
TUNED_VARIANTS = (
    "# The settings of each loss and of the twin term: the best of its trials on validation photos, which `python -m"
    " maskfr_utils.study`\n# makes (groups losses, conditions) and `--choose` writes here.\n"
)


def rate_trials(scale: str, model: str, folder: str | Path | None = None) -> list[Run]:
    """A network's trials: every rate of the scale; further ones, by factors of two, while the best is at an edge."""
    rates = list(scales.SCALES[scale].rates)
    while True:
        runs = [Run(scale=scale, model=model, rate=rate, trial=True) for rate in sorted(rates)]
        scores = [validation(run, folder) for run in runs]
        if None in scores:
            return runs
        best = runs[scores.index(max(scores))].rate
        if best not in (min(rates), max(rates)):
            return runs
        rates.append(best / 2 if best == min(rates) else best * 2)


def validation(run: Run, folder: str | Path | None = None) -> float | None:
    """What a trial is judged by: its accuracy on the masked validation photos, a variant's on the twins that it names.

    Returns:
        A fraction, 0 of a trial that left the numbers; None where it has no record that can be read.
    """
    if (record := record_or_none(run.record_path(folder))) is None:
        return None
    twins = VARIANTS[run.variant].judged if run.variant else ("masked",)
    return sum(record["metrics"][twin]["accuracy"] for twin in twins) / len(twins)


def chosen(scale: str, folder: str | Path | None = None) -> dict[str, float]:
    """Network -> the best of its trials' learning rates, of those as good the lowest; of networks whose trials are done."""
    found = {}
    for model in MODELS:
        runs = rate_trials(scale, model, folder)
        scores = [validation(run, folder) for run in runs]
        if None not in scores:
            found[model] = runs[scores.index(max(scores))].rate
    return found


def variant_trials(scale: str, variant: str) -> list[Run]:
    """A variant's trials, by IResNet-50."""
    condition = VARIANTS[variant].common.get("condition", "masked")
    count = len(VARIANTS[variant].settings)
    return [Run(scale=scale, condition=condition, variant=variant, setting=i, trial=True) for i in range(count)]


def chosen_variants(scale: str, folder: str | Path | None = None) -> dict[str, dict[str, float]]:
    """Loss or twin term -> the parameters of the best of its trials, of those as good the first; of those whose trials are done."""
    found = {}
    for variant in VARIANTS:
        runs = variant_trials(scale, variant)
        scores = [validation(run, folder) for run in runs]
        if None not in scores:
            found[variant] = runs[scores.index(max(scores))].settings()
    return found


def choices(scale: str, folder: str | Path | None = None) -> dict[str, tuple[str, dict, dict]]:
    """File of a scale that holds what trials chose -> its first lines, what they chose, and what it says."""
    return {
        "tuned.yaml": (TUNED, chosen(scale, folder), scales.tuned_rates(scale)),
        "tuned_variants.yaml": (TUNED_VARIANTS, chosen_variants(scale, folder), scales.tuned_variants(scale)),
    }


def write_tuned(scale: str, folder: str | Path | None = None) -> None:
    """Writes `tuned.yaml` and `tuned_variants.yaml` of a scale: what its trials chose, if there were any.

    Trials in another folder than the book's choose for what they tried; what they say nothing of stays.
    """
    for name, (head, now, before) in choices(scale, folder).items():
        now = now if folder is None else before | now
        if now and now != before:
            with paths.replacing(scales.PARAMS / scale / name) as temporary:
                temporary.write_text(head + yaml.safe_dump(now, sort_keys=False), encoding="utf-8")


def waits(run: Run) -> bool:
    """Whether trials that decide a run's parameters are still to be made."""
    if run.recipe or (run.trial and not run.variant):  # their rate is given
        return False
    own = run.variant and not run.trial and run.variant not in scales.tuned_variants(run.scale)
    return bool(own or run.model not in scales.tuned_rates(run.scale))
