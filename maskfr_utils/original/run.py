"""One run of the audit: `python -m maskfr_utils.original.run --flaws a b -f params/x.yaml -p name value`.

The study's group `audit` makes these calls (`python -m maskfr_utils.study audit`). They go through the training that every
run goes through; what is done otherwise is in `switches`, and only a call of this module can switch it on.
"""

import sys
from pathlib import Path

from maskfr_utils import train
from maskfr_utils.config import ConfigError, TrainConfig
from maskfr_utils.original import flaws as known
from maskfr_utils.original.probes import of_flaws
from maskfr_utils.original.scores import honest, reported


class Audited(train.Kind):
    """A run with flaws of training, some of `flaws.TRAINED` or none; it is scored rightly and with all flaws of scoring.

    Raises:
        ConfigError: a flaw that is none, or one whose parameters the run does not have.
    """

    def __init__(self, flaws: list[str] | tuple[str, ...], config: TrainConfig):
        try:
            self.flaws = known.ordered(flaws)
        except ValueError as error:
            raise ConfigError(str(error)) from None
        wanted = {"logit_loss": known.LOSS, "folders": {"condition": "unmasked"}}
        for flaw in wanted.keys() & set(self.flaws):
            for name, value in wanted[flaw].items():
                if getattr(config, name) != value:
                    raise ConfigError(
                        f"{flaw} is a run with {name}={value}, not {getattr(config, name)}: -p {name} {value}"
                    )

    def parts(self, config: TrainConfig) -> dict:
        """As `train.Kind.parts`, with what the flaws compute."""
        return of_flaws(config.science(), self.flaws)

    def open(self, path: Path):
        """The faces, pooled and split as the flaws have it."""
        from maskfr_utils.original.switches import Pool

        return Pool(path, self.flaws)

    def trainer(self, *args: object):
        """The run in its course."""
        from maskfr_utils.original.switches import FlawedTrainer

        return FlawedTrainer(self.flaws, *args)

    def findings(self, trainer, record: dict) -> dict:
        """`audit`: the flaws, further results of each photo, and the accuracies that are `reported` and `honest`."""
        from maskfr_utils.original.switches import by_batch_statistics

        part = trainer.scored
        photos = {
            f"{twin}_by_batch": by_batch_statistics(trainer, part, twin == "masked").tolist()
            for twin in ("masked", "unmasked")
        } | {"copy_trained_on": trainer.store.copy_trained_on(part).astype(int).tolist()}
        record = record | {"audit": {"flaws": list(self.flaws), "photos": photos}}
        loss, batches = trainer.history[-1]["loss"], len(trainer.batches)
        figures = {
            "reported": reported(record),
            "honest": honest(record),
            "loss": {"reported": round(loss * batches / trainer.config.epochs, 6), "honest": loss},
        }
        return {"audit": record["audit"] | figures}


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    argv = list(sys.argv[1:] if argv is None else argv)
    names = []
    if argv[:1] == ["--flaws"]:
        end = next((i for i, word in enumerate(argv) if i and word.startswith("-")), len(argv))
        names, argv = argv[1:end], argv[end:]
    return train.main(argv, kind=lambda config: Audited(names, config), prog="python -m maskfr_utils.original.run")


if __name__ == "__main__":
    sys.exit(main())
