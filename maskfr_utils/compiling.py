"""Whether a run compiles its network for training, and the trial that tells whether that makes its steps faster."""

import math

import torch

from maskfr_utils.batches import TwinDataset, to_input
from maskfr_utils.profile import latency
from maskfr_utils.run_state import RunState

# Training pictures x width: fewer do not repay the minute or two that compiling costs.
COMPILE_FROM = {"cpu": 50_000, "cuda": 1_000_000}


def wanted(run: RunState) -> bool:
    """Whether to compile the network: as told, as a trial found, or else where the run is long enough to repay it."""
    if run.config.compile != "auto":
        return bool(run.config.compile)
    if run.compiled is not None:
        return run.compiled
    if run.recomputes:
        return False
    return run.total_steps * run.batches.batch_size * run.config.width >= COMPILE_FROM[run.fabric.device.type]


def compile_network(run: RunState) -> None:
    """Compiles the network for training, and with `compile: auto` drops that again where it makes steps no faster.

    What the compiler makes is kept (`train.run` says where), so that the next run of such a network compiles nothing. A
    resumed run goes on with what its trial found. Where compiling fails the run goes on without it and says so.
    No weight or statistic is changed, and each epoch seeds its own draws: the trial leaves no trace.
    """
    trial = run.config.compile == "auto" and run.compiled is None
    run.say(
        "compiling the network: this takes a minute or two, less where it was done before, and is repaid over the run"
    )
    faces, labels = TwinDataset(run.store, run.config)[run.batches.indices[: run.photos_at_once].tolist()]
    # As Fabric hands them over: of another type they would have to be compiled for once more.
    images = run.fabric.strategy.precision.convert_input(to_input(run.fabric.to_device(faces)))
    labels = run.fabric.to_device(labels)
    before = {name: value.clone() for name, value in run.recogniser.named_buffers()}
    backbone = run.recogniser.backbone
    whole = torch.compile(lambda images: backbone(images))  # a function: as a module it would be saved twice

    def step(call) -> None:
        run.recogniser.compiled = call
        with run.fabric.autocast():
            loss = run.recogniser(images, labels)[0]  # not `run.model`: processes need not wait for one another
        loss.backward()

    run.model.train()
    share = 0.0  # of an eager step's time
    try:
        step(whole)
        if trial:
            seconds = latency({"eager": lambda: step(None), "compiled": lambda: step(whole)}, repeats=3)
            share = seconds["compiled"] / seconds["eager"]
    except Exception as error:  # whatever the compiler or its C++ compiler may raise: the run does not need it
        run.say(f"compiling failed ({type(error).__name__}): training goes on without it")
        share = math.inf
    share = run.fabric.all_reduce(torch.tensor(share, device=run.fabric.device)).item()
    run.compiled = share < 1
    run.recogniser.compiled = whole if run.compiled else None
    if trial and share < math.inf:
        kept = "kept" if run.compiled else "dropped"
        run.say(f"compiled steps take {share:.2f} of the time of eager ones: {kept}")
    run.optimizer.zero_grad()
    with torch.no_grad():
        for name, value in run.recogniser.named_buffers():
            value.copy_(before[name])
