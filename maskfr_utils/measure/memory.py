"""What a training step takes at its peak, predicted and measured: `python -m maskfr_utils.measure.memory --out record.json`."""

import sys
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import torch

from maskfr_utils.measure import record as made_by
from maskfr_utils.memory import SHARE, footprint, free_memory, recompute
from maskfr_utils.models import create_model
from maskfr_utils.peaks import in_fresh_process, peak
from maskfr_utils.records import write_json

CASES = (
    *((name, batch, "fp32") for name in ("iresnet50", "ressanet100") for batch in (4, 8)),
    *(("ressanet100", 512, precision) for precision in ("fp32", "bf16")),
)
PREDICTED = (2, 16, 64, 256, 512)  # pictures a step
NETWORKS = ("iresnet50", "ressanet50", "ressanet100")


def step_of(name: str, batch: int, twice: bool, width: float = 1.0, precision: str = "fp32") -> dict[str, float]:
    """Bytes of two steps at their peak, beyond what torch itself takes, and the second one's seconds of processor time.

    Args:
        name: of the network.
        batch: pictures.
        twice: compute activations twice.
        width: of the network.
        precision: `fp32`, or `bf16`: activations in half precision, weights and their gradients in single.
    """
    torch.manual_seed(0)
    create_model("iresnet50", width=0.25)(
        torch.zeros(2, 3, 112, 112)
    ).sum().backward()  # what libraries load when first used
    before = peak()
    model = create_model(name, width=width).train()
    if twice:
        recompute(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    images = torch.rand(batch, 3, 112, 112) * 2 - 1
    for _ in range(2):
        start = time.process_time()
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            embeddings = model(images)
        embeddings.float().square().sum().backward()
        optimizer.step()
    return {"bytes": peak() - before, "core_seconds": round(time.process_time() - start, 3)}


def measure(out: Path, cases: tuple[tuple[str, int, str], ...] = CASES, width: float = 1.0) -> None:
    """Writes the record after each step: predictions for each network in fp32, and measured steps beside what was predicted of them.

    A step that would not fit into the memory that is free, or whose process is killed, is left out. Activations of a step in
    bf16 take half.
    """
    started, measured, predicted = time.perf_counter(), [], []
    for name in NETWORKS:
        model = create_model(name, width=width)
        for batch in PREDICTED:
            for device in ("cpu", "cuda"):
                told = footprint(model, batch, device=device)
                row = {"network": name, "batch": batch, "device": device}
                predicted.append(row | {"kept": told.peak(recompute=False), "recomputed": told.peak(recompute=True)})

    def write() -> None:
        made = made_by.made(started, data="random pictures")
        write_json(out, {"width": width, "predicted": predicted, "measured": measured, "provenance": made})

    write()
    for name, batch, precision in cases:
        told = footprint(create_model(name, width=width), batch)
        for twice in (False, True):
            activations = told.peak(recompute=twice) - told.weights
            needed = told.weights + activations // (2 if precision == "bf16" else 1)
            if needed > SHARE * free_memory(torch.device("cpu")):
                print(f"{name}, batch {batch}, {precision}: left out, it needs {needed / 2**30:.1f} GiB")
                continue
            row = {"network": name, "batch": batch, "precision": precision, "recomputed": twice, "predicted": needed}
            try:
                measured.append(row | in_fresh_process(step_of, name, batch, twice, width, precision))
            except BrokenProcessPool:
                print(
                    f"{name}, batch {batch}, {precision}: left out, its process was killed, perhaps for want of memory"
                )
                continue
            print(measured[-1])
            write()


def main(argv: list[str] | None = None) -> int:
    """The command."""
    arguments = made_by.parser("memory", __doc__).parse_args(argv)
    return made_by.status("memory", lambda: measure(arguments.out))


if __name__ == "__main__":
    sys.exit(main())
