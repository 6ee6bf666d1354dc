"""How fast the networks train and answer on this machine: `python -m maskfr_utils.measure.speed --out record.json`.

The yardstick is the machine's own matrix rate, that of a product of two square matrices. Nearly all of a network's work is
such products, so its multiply-adds at that rate are the least time it can take. What is compared takes turns in one
process, and is judged by ratios: an absolute time belongs to one machine on one day.
"""

import contextlib
import io
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from maskfr_utils import batches, devices, loop, prepare
from maskfr_utils.batches import to_input
from maskfr_utils.config import TrainConfig
from maskfr_utils.measure import record as made_by
from maskfr_utils.measure.steps import (
    DTYPES,
    HALVES,
    SMALL,
    in_half,
    load_peer,
    macs,
    matrix_rates,
    onnx_session,
    pictures,
    plain_network,
    training_step,
    where_time_goes,
)
from maskfr_utils.models import create_model
from maskfr_utils.names import REPORTED
from maskfr_utils.peaks import end_with_parent
from maskfr_utils.profile import timings
from maskfr_utils.progress import Progress
from maskfr_utils.records import write_json
from maskfr_utils.store import FaceStore

Seconds = dict[str, list[float]]
"""What was timed -> its seconds in each round."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is measured, and how often.

    Attributes:
        rounds: turns that everything takes in each comparison.
        width: of the network whose training step is compared with the plain loop's, and of those that answer.
        batch: pictures of that step.
        compile: measure compiled steps too; each compiling takes a minute or two.
        networks: whose speed is measured.
        exported: those of them that are run in onnxruntime; an export takes ten seconds or more.
        answers: batch sizes of inference.
        narrow: widths of the small scale.
        narrow_batch: its pictures a step.
        cuda_batches: pictures a step on a GPU.
    """

    rounds: int = 5
    width: float = 1.0
    batch: int = 16
    compile: bool = True
    networks: tuple[str, ...] = REPORTED
    exported: tuple[str, ...] = REPORTED
    answers: tuple[int, ...] = (1, 64)
    narrow: tuple[float, ...] = (0.25, 0.5)
    narrow_batch: int = 64
    cuda_batches: tuple[int, ...] = (256, 512)


PLANS = {
    "full": Plan(),
    "smoke": Plan(
        rounds=3,
        width=0.25,
        compile=False,
        networks=("iresnet50",),
        exported=(),
        answers=(1,),
        narrow=(),
        narrow_batch=16,
        cuda_batches=(64,),
    ),
}


def measure(plan: Plan, peer: str | Path | None = None) -> dict:
    """Measures all that a plan names, with a progress bar.

    Args:
        plan: what to measure.
        peer: a Python file with a function `iresnet50()`, another's network to compare with; it is run.

    Returns:
        A record: `plan`, `rates`, one entry a comparison, `provenance`. All times are lists, a value a round.
    """
    start, load = time.perf_counter(), os.getloadavg()[0]
    theirs = load_peer(peer) if peer else None
    devices.keep_memory()
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    half = HALVES[devices.precision_for(TrainConfig(), device)]
    if device.type == "cuda":
        parts = {"cuda": lambda: cuda(plan, half)}
    else:
        parts = {
            "training": lambda: training(plan, half, theirs),
            "shares": lambda: {name: where_time_goes(step_of(name, plan, half)) for name in plan.networks},
            "inference": lambda: inference(plan, half),
        }
        if plan.narrow:
            parts |= {"variants": lambda: variants(plan, half), "narrow": lambda: narrow(plan, half)}
    record = {
        "plan": asdict(plan),
        "half": half,
        "rates": matrix_rates(half, plan.rounds, 8192 if device.type == "cuda" else 2048, device),
        "macs": {name: macs(name, plan.width) for name in plan.networks},
    }
    with tqdm(parts, unit="part", mininterval=1) as bar:
        for name in bar:
            bar.set_description(name)
            torch.compiler.reset()  # each part compiles its own networks
            record[name] = parts[name]()
    return record | {
        "provenance": made_by.made(
            start,
            device=devices.device_name(device),
            data="random pictures; rendered faces in the loop",
            date=time.strftime("%Y-%m-%d"),
            threads=torch.get_num_threads(),
            load_before=round(load, 2),
        )
    }


def step_of(name: str, plan: Plan, half: str, width: float = SMALL) -> Callable[[], None]:
    """A bare step of a network at the small scale, as our loop runs it: half precision, channels last."""
    network = create_model(name, width=width).to(memory_format=torch.channels_last)
    return training_step(network, *pictures(plan.narrow_batch), half)


def training(plan: Plan, half: str, peer: nn.Module | None = None) -> dict:
    """IResNet-50 in our own loop, data and logging and all, beside bare steps and beside the plain loop.

    The plain loop gets its pictures ready made, so that it is rather favoured.

    Returns:
        `steps` in each turn, `seconds` a step, and `convolutions`, their share of bare steps, by kind.
    """
    config = TrainConfig(
        model="iresnet50", width=plan.width, batch_size=plan.batch, compile=plan.compile, epochs=10_000, resume=False,
        identities=4, per_identity=16, min_masked=2,
    )  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        store = FaceStore(prepare.prepare(**config.data(), progress=False))
    trainer = loop.Trainer(config, store, devices.make_fabric(config))
    backbone, steps = trainer.recogniser.backbone, len(trainer.batches)
    silent = Progress("", config.epochs, trainer.total_steps, 0, plan.batch, quiet=True)
    faces, labels = batches.TwinDataset(store, config)[trainer.batches.indices[: plan.batch].tolist()]
    images = to_input(faces)
    ready = images.to(DTYPES[half])  # as Fabric hands them to the network

    def turn(step: Callable[[], object], compiled: Callable | None = None, times: int = 1) -> Callable[[], None]:
        def run() -> None:
            trainer.recogniser.compiled = compiled
            for _ in range(times):
                step()

        return run

    plain = training_step(plain_network("iresnet50", width=plan.width), images.contiguous(), labels)
    runs = {"plain fp32 loop": turn(plain, times=steps)}
    if peer:
        runs["peer's network, fp32"] = turn(training_step(peer, images.contiguous(), labels), times=steps)
    kinds = {"eager": None}
    if plan.compile:
        trainer.compile()
        if trainer.recogniser.compiled:
            kinds["compiled"] = trainer.recogniser.compiled
    bare = {kind: training_step(backbone, ready, labels, half, compiled) for kind, compiled in kinds.items()}
    for kind, compiled in kinds.items():
        runs[f"bare step, {kind}"] = turn(bare[kind], times=steps)
        runs[f"our loop, {kind}"] = turn(lambda: trainer.train_epoch(silent), compiled)
    seconds = timings(runs, plan.rounds)
    shares = {kind: where_time_goes(step)["convolutions"] for kind, step in bare.items()}
    seconds = {name: [s / steps for s in values] for name, values in seconds.items()}
    return {"steps": steps, "seconds": seconds, "convolutions": shares}


def variants(plan: Plan, half: str) -> dict[str, Seconds]:
    """What each of our choices brings to a narrow IResNet-50: seconds of bare steps, and of steps by the allocator."""

    def step(network: nn.Module, channels_last: bool, arithmetic: str) -> Callable[[], None]:
        layout = torch.channels_last if channels_last else torch.contiguous_format
        images = pictures(plan.narrow_batch, channels_last)
        return training_step(network.to(memory_format=layout), *images, arithmetic)

    plain, ours = lambda: plain_network("iresnet50", width=SMALL), lambda: create_model("iresnet50", width=SMALL)
    runs = {
        "plain: fp32, contiguous, torch's PReLU": step(plain(), False, "fp32"),
        "and our PReLU": step(ours(), False, "fp32"),
        f"and {half}": step(ours(), False, half),
        "and channels last": step(ours(), True, half),
        "the same with torch's PReLU": step(plain(), True, half),
    }
    seconds = timings(runs, plan.rounds)
    with Elsewhere(plan, half, keep=False) as usual, Elsewhere(plan, half, keep=True) as kept:
        memory = timings({"given back": usual.step, "kept": kept.step}, plan.rounds)
    return {"steps": seconds, "freed memory": memory}


class Elsewhere:
    """Steps of a narrow IResNet-50 in a process of its own, with or without `devices.keep_memory`."""

    def __init__(self, plan: Plan, half: str, keep: bool):
        context = multiprocessing.get_context("spawn")
        self.pool = ProcessPoolExecutor(1, context, _make_step, (plan, half, keep))

    def step(self) -> None:
        """One step, awaited."""
        self.pool.submit(_run_step).result()

    def __enter__(self) -> "Elsewhere":
        return self

    def __exit__(self, *_: object) -> None:
        self.pool.shutdown()


def _make_step(plan: Plan, half: str, keep: bool) -> None:
    global _step
    end_with_parent()
    if keep:
        devices.keep_memory()
    _step = step_of("iresnet50", plan, half)


def _run_step() -> None:
    _step()


def narrow(plan: Plan, half: str) -> dict[str, Seconds]:
    """Seconds of a bare step of each network at the small scale, by width; of IResNet-50 and ResSaNet-50 compiled too."""
    result = {}
    for width in plan.narrow:
        runs = {f"{name}, eager": step_of(name, plan, half, width) for name in plan.networks}
        for name in ("iresnet50", "ressanet50") if plan.compile and width == SMALL else ():
            network = create_model(name, width=width).to(memory_format=torch.channels_last)
            network.compile()
            runs[f"{name}, compiled"] = training_step(network, *pictures(plan.narrow_batch), half)
        result[f"{width:g}"] = timings(runs, 3)
    return result


def inference(plan: Plan, half: str) -> dict[str, dict]:
    """Seconds of a batch, by batch size, and by network and way: eager, compiled, onnxruntime.

    Under `onnx difference` stands, by network, the largest difference between the embeddings of the exported network and
    torch's, as a share of their largest value.
    """
    runs: dict[str, Callable[[Tensor], object]] = {}
    result: dict[str, dict] = {"onnx difference": {}}
    with tempfile.TemporaryDirectory() as folder:
        for name in plan.networks:
            network = create_model(name, width=plan.width).eval()
            if name in plan.exported:
                answer = runs[f"{name}, onnxruntime fp32"] = onnx_session(network, Path(folder) / f"{name}.onnx")
                with torch.inference_mode():
                    images = pictures(2)[0]
                    difference = (torch.from_numpy(answer(images)) - (truth := network(images))).abs().max()
                result["onnx difference"][name] = (difference / truth.abs().max()).item()
            runs[f"{name}, eager fp32"] = network.to(memory_format=torch.channels_last)
            runs[f"{name}, eager {half}"] = in_half(network, half)
            if plan.compile:
                runs[f"{name}, compiled {half}"] = in_half(torch.compile(network, dynamic=False), half)
        for batch in plan.answers:
            images = pictures(batch)[0]
            # Of a large batch each round takes a minute: it is not run once more to warm up, the median drops the first.
            few = {"warm": True, "repeats": 3 * plan.rounds} if batch == 1 else {"warm": False, "repeats": 3}
            ready = {
                name: lambda run=run, x=images: run(x)
                for name, run in runs.items()
                if batch == 1 or not name.endswith("eager fp32")
            }
            with torch.inference_mode():
                for run in (run for name, run in ready.items() if "compiled" in name):
                    run()  # compiles
                result[str(batch)] = timings(ready, **few)
    return result


def cuda(plan: Plan, half: str, device: str = "cuda") -> dict[str, Seconds]:
    """Seconds of training steps on a GPU by batch size: ours compiled and channels last, and the plain loop with AMP."""
    result = {}
    for batch in plan.cuda_batches:
        images, labels = pictures(batch, device=device)
        plain = plain_network("iresnet50", width=plan.width).to(device)
        runs = {"iresnet50, plain loop with AMP": training_step(plain, images.contiguous(), labels, half)}
        for name in plan.networks:
            network = create_model(name, width=plan.width).to(device, memory_format=torch.channels_last)
            if plan.compile:
                network.compile()
            runs[f"{name}, ours"] = training_step(network, images, labels, half)
        result[str(batch)] = timings(runs, plan.rounds)
    return result


def ratio(above: list[float], below: list[float]) -> tuple[float, float, float]:
    """Median, smallest and largest ratio of two times that took turns, round by round."""
    ratios = [a / b for a, b in zip(above, below, strict=True)]
    return statistics.median(ratios), min(ratios), max(ratios)


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = made_by.parser("speed", __doc__)
    parser.add_argument(
        "--plan", choices=PLANS, default="full", help="full: a quarter of an hour on two cores; smoke: seconds"
    )
    parser.add_argument("--peer", help="a Python file with `iresnet50()`, another's network to compare with; it is run")
    args = parser.parse_args(argv)
    if os.getloadavg()[0] > 0.3:
        print(f"speed: the machine is busy (load {os.getloadavg()[0]:.1f}): times will be off", file=sys.stderr)

    def run() -> None:
        write_json(args.out, measure(PLANS[args.plan], args.peer))
        print(args.out)

    return made_by.status("speed", run)


if __name__ == "__main__":
    sys.exit(main())
