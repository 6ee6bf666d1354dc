"""What a step of the loss costs by the number of identities, whole and sampled: `python -m maskfr_utils.measure.loss_steps --out record.json`."""

import statistics
import sys
import time
from pathlib import Path

import torch

from maskfr_utils.losses import ArcFace
from maskfr_utils.measure import record as made_by
from maskfr_utils.memory import SHARE, free_memory
from maskfr_utils.partial import PartialLoss, RowSGD
from maskfr_utils.peaks import in_fresh_process, peak
from maskfr_utils.records import write_json

COUNTS = (1_000, 10_000, 100_000, 1_000_000)
RATES = (1.0, 0.1)
BATCH, DIM = 64, 512
FEW = 100
COPIES = 5  # of the class matrix in a step of the whole loss: itself, normalised twice, gradient, momentum


def step_of(count: int, rate: float, repeats: int = 3) -> dict[str, float]:
    """Seconds of a step, forward, backward and update, and bytes that it took at its peak beyond what torch itself takes.

    Args:
        count: identities.
        rate: share of them that a step draws; at 1 the loss is the plain one.
        repeats: timed steps, after one that is not.
    """
    torch.manual_seed(0)
    if count > FEW:
        step_of(FEW, rate, 1)  # what libraries load when first used
    before = peak()
    loss = ArcFace(DIM, count)
    loss = PartialLoss(loss, rate) if rate < 1 else loss
    optimizer = RowSGD(loss.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    seconds = []
    for _ in range(repeats + 1):
        embeddings, labels = torch.randn(BATCH, DIM, requires_grad=True), torch.randint(count, (BATCH,))
        start = time.perf_counter()
        optimizer.zero_grad()
        loss(embeddings, labels).backward()
        optimizer.step()
        seconds.append(time.perf_counter() - start)
    return {"seconds": statistics.median(seconds[1:]), "bytes": peak() - before}


def measure(out: Path, counts: tuple[int, ...] = COUNTS) -> None:
    """Writes the record; a step that would not fit into the memory that is free is left out, and said to be."""
    started, found = time.perf_counter(), {}
    for count in counts:
        for rate in RATES:
            needed = 4 * COPIES * DIM * count * (1 if rate == 1 else 0.6)
            name = f"{count} at {rate:g}"
            if needed > SHARE * free_memory(torch.device("cpu")):
                found[name] = {"left_out": f"{needed / 2**30:.1f} GiB were not free"}
            else:
                found[name] = {k: round(v, 6) for k, v in in_fresh_process(step_of, count, rate).items()}
            print(name, found[name])
            made = made_by.made(started, data="random embeddings")
            settings = {"batch": BATCH, "embedding_dim": DIM, "threads": torch.get_num_threads()}
            write_json(out, settings | {"steps": found, "provenance": made})  # each time: the last ones take long


def main(argv: list[str] | None = None) -> int:
    """The command."""
    arguments = made_by.parser("loss_steps", __doc__).parse_args(argv)
    return made_by.status("loss_steps", lambda: measure(arguments.out))


if __name__ == "__main__":
    sys.exit(main())
