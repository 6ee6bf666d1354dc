"""A run as it stands: made from its parameters, saved whole at any step, and taken up again.

Whatever a checkpoint holds is looked at before any of it is taken: it may be damaged, or another run's.
"""

import math
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from torch import Tensor
from tqdm import tqdm

from maskfr_utils import fingerprint, memory
from maskfr_utils.batches import EpochBatches
from maskfr_utils.checkpoints import Checkpoints, DamagedCheckpoint, Tree, check_tensors, read
from maskfr_utils.config import TrainConfig
from maskfr_utils.messages import PlainError, brief, shown
from maskfr_utils.models import given
from maskfr_utils.names import CONDITIONS
from maskfr_utils.norms import across_processes
from maskfr_utils.partial import RowSGD
from maskfr_utils.progress import Speed, write_log
from maskfr_utils.recogniser import Recogniser
from maskfr_utils.run_folder import FILES, difference
from maskfr_utils.store import TEST, TRAIN, VALIDATION, FaceStore

LARGEST = 1e300  # of a number in a checkpoint
MOMENTUM = "momentum_buffer"  # what SGD keeps of each parameter


class TrainingError(PlainError, RuntimeError):
    """A run that cannot go on; its text says why and what to do."""


class Diverged(TrainingError):
    """A run that has left the numbers: its loss or a weight is no longer finite.

    Attributes:
        step: where that was seen.
    """

    def __init__(self, text: str, step: int):
        super().__init__(text)
        self.step = step


@dataclass
class Course:
    """An epoch in its course, as this process sees it.

    Attributes:
        generator: of the draws of the augmentation.
        loss_sum, hits: scalars, over its pictures so far.
        seen: how many these are.
        random: where a checkpoint holds it, the state of torch's generators to go on with.
    """

    generator: torch.Generator
    loss_sum: Tensor
    hits: Tensor
    seen: int = 0
    random: dict[str, Tensor] | None = None


class RunState:
    """A run: the network, its optimizer, and where it stands.

    Args:
        config: what to run.
        store: the prepared faces.
        fabric: device, precision and processes.
        code: what the code computes (see `fingerprint`), where a run that other code began is not to go on.

    Attributes:
        scored: the part of the photos that the record is about, `store.TEST` or `store.VALIDATION`.

    Raises:
        TrainingError: the batch is too small for the processes, no photo can be scored, or the checkpoint in the folder
            cannot be used.
    """

    def __init__(
        self,
        config: TrainConfig,
        store: FaceStore,
        fabric: Fabric,
        code: Mapping[str, fingerprint.Numbers] | None = None,
    ):
        self.config, self.store, self.fabric, self.code = config, store, fabric, dict(code or {})
        torch.manual_seed(config.seed)
        self.recogniser = self.build().to(memory_format=torch.channels_last)
        self.begun_with = None if config.weights is None else given.fingerprint(self.recogniser.backbone)
        together, world = CONDITIONS[config.condition].together, fabric.world_size
        self.batches = EpochBatches(
            store.indices(TRAIN), config.batch_size, config.seed, fabric.global_rank, world, together
        )
        if self.batches.batch_size < 2 * world or self.batches.photos % world:
            raise TrainingError(
                f"batch_size={config.batch_size} is too small for {world} processes, or gives them unequal shares: take a "
                f"multiple of {world * (1 + together)}"
            )
        self.scored = {"test": TEST, "validation": VALIDATION}[config.scored_on]
        if not len(store.indices(self.scored)):
            raise TrainingError(
                f"{store.path} holds no {config.scored_on} photos: give a data set with more, or a larger share"
            )
        self.total_steps = min(config.epochs * len(self.batches), config.max_steps or sys.maxsize)
        self.share_out(together)
        self.model = fabric.setup_module(self.recogniser)
        self.optimizer = fabric.setup_optimizers(
            RowSGD(
                self.recogniser.groups(config.weight_decay, config.decay),
                lr=config.lr,
                momentum=config.momentum,
                fused=fabric.device.type == "cuda" or None,  # else as torch chooses
            )
        )
        self.epoch, self.step, self.history, self.speed = 0, 0, [], Speed()
        self.began, self.seconds_before = time.perf_counter(), 0.0  # this process, and what others took until it
        self.compiled: bool | None = None  # what a trial of compiling found
        self.course: Course | None = None  # of the epoch; none between epochs
        self.checkpoints = Checkpoints(config.folder)
        self.saved_step: int | None = None  # of the last checkpoint
        self.saved_at = math.inf  # its time: outside `fit` none falls due
        if config.resume:
            self.resume()
            steps = fabric.all_gather(torch.tensor(self.step, device=fabric.device)).reshape(-1).tolist()
            if len(set(steps)) > 1:
                raise TrainingError(
                    f"processes would go on from different steps ({brief(steps, 60)}): let all see one out_dir, "
                    "or set resume to false to start anew"
                )

    @property
    def photos_at_once(self) -> int:
        """Photos that a process takes at once: of its share of a batch as much as is not added up one after the other."""
        return -(-self.batches.photos // self.fabric.world_size // self.config.accumulate)

    def share_out(self, together: bool) -> None:
        """Looks at how a batch is shared out, over processes and one after the other, and readies the network for it.

        Raises:
            TrainingError: a part would be too small, or the class matrix cannot be drawn from in several processes.
        """
        config, world = self.config, self.fabric.world_size
        if config.accumulate > 1 and self.batches.photos // world < 2 * config.accumulate:
            raise TrainingError(
                f"accumulate={config.accumulate} parts of {self.batches.photos // world} photos a process: at least 2 each"
            )
        if config.class_rate < 1 and world > 1:
            raise TrainingError(f"class_rate={config.class_rate:g} in {world} processes: train in one, or set it to 1")
        part = (1 + together) * self.photos_at_once
        half = self.fabric.strategy.precision.precision in ("bf16-mixed", "16-mixed")
        tight = config.recompute == "auto" and memory.is_tight(
            self.recogniser.backbone, part, config.width, self.fabric.device, half=half
        )
        # Where it is tight for one process all recompute: else they would wait for one another in unlike places.
        told = self.fabric.all_reduce(torch.tensor(float(tight), device=self.fabric.device), reduce_op="sum")
        self.recomputes = config.recompute is True or told.item() > 0
        if config.sync_batchnorm and world > 1:  # after the prediction: what waits for other processes predicts nothing
            self.recogniser = across_processes(self.recogniser, self.fabric.device)
        if self.recomputes:
            memory.recompute(self.recogniser.backbone)
            self.say("activations are computed twice instead of kept: less memory, longer steps")

    def build(self) -> Recogniser:
        """The network and its loss, with fresh weights."""
        return Recogniser(self.config, len(self.store.identities))

    @property
    def place(self) -> int:
        """Steps taken in the epoch in course."""
        return self.step - self.epoch * len(self.batches)

    def say(self, text: str) -> None:
        """Tells the user something, once, on the terminal and in the run's log."""
        if self.fabric.is_global_zero:
            tqdm.write(text)
            if self.config.folder.is_dir():
                write_log(self.config.folder / "train.log", text)

    def caveats(self) -> Iterator[str]:
        """In words, what of its parameters the run does otherwise."""
        config, batches = self.config, self.batches
        if batches.photos < config.batch_size // batches.twins:
            yield f"batch_size={config.batch_size} is more than all training photos: a step takes {batches.batch_size}"
        growing = config.margin_warmup_epochs * len(batches)
        if config.margin != 0 and config.loss != "softmax" and self.total_steps < growing:
            yield (
                f"the margin grows for {config.margin_warmup_epochs:g} epochs, and the run ends at "
                f"{self.total_steps / growing:.0%} of it: lower margin_warmup_epochs, or train for longer"
            )

    def kept(self) -> str:
        """In words, which checkpoint there is."""
        step = self.saved_step
        return "there is no checkpoint yet" if step is None else f"the checkpoint of step {step} is kept"

    def state(self) -> Tree:
        """What a checkpoint holds; within an epoch all processes must ask for it together."""
        return {
            "params": self.config.science(),
            "data": self.store.attrs.get("fingerprint"),
            "code": self.code,
            "weights": self.begun_with,
            "processes": self.fabric.world_size,
            "recogniser": self.recogniser.state_dict(),
            "optimizer": {name: self.optimizer.state.get(p, {}) for name, p in self.recogniser.named_parameters()},
            "arithmetic": self.fabric.strategy.precision.precision,  # what `precision: auto` came to
            "precision": self.fabric.strategy.precision.state_dict(),
            "epoch": self.epoch,
            "step": self.step,
            "history": self.history,
            "speed": [self.speed.images, self.speed.seconds],
            "seconds": self.seconds_before + time.perf_counter() - self.began,
            "compiled": self.compiled,
            "course": self.course and self.course_state(),
        }

    def course_state(self) -> Tree:
        """The epoch in its course; each tensor has a row a process."""
        course, device = self.course, self.fabric.device
        own = {"loss_sum": course.loss_sum, "hits": course.hits, "augmentation": course.generator.get_state()}
        own |= random_state(device)
        rows = {name: self.fabric.all_gather(value.to(device)).cpu() for name, value in own.items()}
        return {name: value.reshape(self.fabric.world_size, -1) for name, value in rows.items()} | {"seen": course.seen}

    def save_checkpoint(self) -> None:
        """Saves the state, whole or not at all; within an epoch all processes must do so together.

        Raises:
            TrainingError: a weight is no longer finite, or the disk does not take it; the last checkpoint is kept.
        """
        state = self.state()
        if self.fabric.is_global_zero:
            if not all(t.isfinite().all() for t in state["recogniser"].values() if t.is_floating_point()):
                raise Diverged(f"weights are no longer finite at step {self.step}: lower lr; {self.kept()}", self.step)
            try:
                self.checkpoints.save(state)
            except OSError as error:
                raise TrainingError(
                    f"no checkpoint can be written to {self.config.folder} ({error.strerror or error}); {self.kept()}: make "
                    f"room, then {self.config.again} goes on"
                ) from error
            if self.saved_step is None:  # what is left there is of a run that this one replaces
                self.checkpoints.drop(self.checkpoints.before)
                for name in FILES:
                    (self.config.folder / name).unlink(missing_ok=True)
        self.saved_step = self.step
        if self.saved_at < math.inf:
            self.saved_at = time.monotonic()
        self.fabric.barrier()

    def bytes_to_come(self) -> int:
        """Bytes that the run will at most still need on the disk: checkpoints, one of them being written, and weights."""
        weights = sum(t.numel() * t.element_size() for t in self.recogniser.state_dict().values())
        there = [path.stat().st_size for path in self.checkpoints.paths]
        return max(0, 3 * 2 * weights + 2**20 - sum(there)) + weights

    def resume(self) -> None:
        """Takes up the newest state that is whole; there may be none.

        Raises:
            TrainingError: none that is there can be used, or they are another run's.
        """
        way_out = "choose another out_dir, or set resume to false to start anew"
        paths, reasons = self.checkpoints.paths, []
        for path in paths:
            try:
                state = read(path)
                changed = self.difference(state)
                if not changed:
                    self.take(state)
            except DamagedCheckpoint as error:
                reasons.append(str(error) if str(path) in str(error) else f"{path} cannot be used: {error}")
                continue
            if changed:
                raise TrainingError(f"{path} is of another run ({changed}): {way_out}")
            for reason, damaged in zip(reasons, paths, strict=False):
                self.say(f"{reason}; the one before it is used")
                if self.fabric.is_global_zero:
                    self.checkpoints.drop(damaged)
            self.saved_step = self.step
            self.say(f"resumed after epoch {self.epoch}, step {self.step} of {self.total_steps}")
            return
        if reasons:
            others = f", nor can {' and '.join(path.name for path in paths[1:])}" if paths[1:] else ""
            raise TrainingError(f"{brief(reasons[0], 200)}{others}: {way_out}")

    def difference(self, state: Tree) -> str:
        """In words, what makes the run that left a state another one than this.

        Raises:
            DamagedCheckpoint: a tensor stands where it cannot be.
        """
        for name in ("params", "data", "code", "weights", "processes", "arithmetic"):
            if not without_tensors(state.get(name)):
                raise DamagedCheckpoint(f"its {name} cannot be this run's")
        changed = [difference(state.get("params"), self.config.science())]
        if state.get("data") != self.store.attrs.get("fingerprint"):
            changed.append("the faces are others")
        if state.get("weights", self.begun_with) != self.begun_with:
            changed.append("the network that it began with is another")
        arithmetic = self.fabric.strategy.precision.precision
        if (then := state.get("arithmetic", arithmetic)) != arithmetic:
            changed.append(f"it computed in {shown(then)}, and would go on in {arithmetic}: set precision")
        if state.get("processes") != self.fabric.world_size:
            changed.append(f"processes were {state.get('processes')!r}, are {self.fabric.world_size}")
        if isinstance(course := state.get("course"), dict) and ("cuda" in course) != (
            self.fabric.device.type == "cuda"
        ):
            here, there = ("none", "a GPU") if "cuda" in course else ("a GPU", "none")
            changed.append(f"within its epoch it needs the device that it began on: that was {there}, this is {here}")
        if moved := fingerprint.moved(state.get("code") or {}, self.code) if self.code else []:
            changed.append(f"the code now computes other numbers for {', '.join(moved)}")
        return ", ".join(filter(None, changed))

    def take(self, state: Tree) -> None:
        """Takes up a state, of which every part is looked at first.

        Raises:
            DamagedCheckpoint: a part is missing, or cannot be this run's; nothing was changed then.
        """
        check_state(state, self)
        parameters = dict(self.recogniser.named_parameters())
        self.recogniser.load_state_dict(state["recogniser"])
        for name, values in state["optimizer"].items():  # laid out as the parameter is
            parameter = parameters[name]
            self.optimizer.state[parameter] = {
                key: torch.empty_like(parameter).copy_(value) if key == MOMENTUM else value
                for key, value in values.items()
            }
        self.fabric.strategy.precision.load_state_dict(state["precision"])
        self.epoch, self.step, self.history = state["epoch"], state["step"], state["history"]
        self.speed, self.compiled = Speed(*state["speed"]), state["compiled"]
        self.seconds_before = state.get("seconds", 0.0)
        if (saved := state["course"]) is not None:
            own = {name: rows[self.fabric.global_rank].clone() for name, rows in saved.items() if name != "seen"}
            generator = torch.Generator()
            generator.set_state(own["augmentation"])
            sums = [self.fabric.to_device(own[name].reshape(())) for name in ("loss_sum", "hits")]
            self.course = Course(generator, *sums, saved["seen"], own)


def check_state(state: Tree, run: RunState) -> None:
    """Refuses a state that cannot be one of this run, whoever wrote it.

    Raises:
        DamagedCheckpoint: it names the first part that is missing or wrong.
    """

    def refuse_unless(right: bool, name: str) -> None:
        if not right:
            raise DamagedCheckpoint(f"its {name} cannot be this run's")

    def is_count(value: object, most: int) -> bool:
        return type(value) is int and 0 <= value <= most

    parameters = dict(run.recogniser.named_parameters())
    check_tensors(state.get("recogniser"), run.recogniser.state_dict(), "weights")
    optimizer = state.get("optimizer")
    refuse_unless(isinstance(optimizer, dict) and optimizer.keys() == parameters.keys(), "optimiser")
    moved = {name: values for name, values in optimizer.items() if values != {}}
    for name, values in moved.items():
        check_tensors(values, {MOMENTUM: parameters[name]}, "optimiser")
    precision, scaler = state.get("precision"), run.fabric.strategy.precision.state_dict()
    refuse_unless(isinstance(precision, dict) and precision.keys() == scaler.keys(), "precision")
    refuse_unless(all(map(is_number, precision.values())), "precision")
    step, epoch, per_epoch = state.get("step"), state.get("epoch"), len(run.batches)
    refuse_unless(is_count(step, run.total_steps), "step")
    ended = step == run.total_steps
    refuse_unless(
        is_count(epoch, run.config.epochs) and epoch == (-(-step // per_epoch) if ended else step // per_epoch), "epoch"
    )
    history = state.get("history")
    refuse_unless(isinstance(history, list) and len(history) == epoch, "history")
    refuse_unless(all(isinstance(entry, dict) and all(map(is_number, entry.values())) for entry in history), "history")
    speed = state.get("speed")
    refuse_unless(isinstance(speed, list) and len(speed) == 2 and all(is_number(x) and x >= 0 for x in speed), "speed")
    seconds = state.get("seconds", 0.0)
    refuse_unless(is_number(seconds) and seconds >= 0, "seconds")
    refuse_unless(any(state.get("compiled", "") is each for each in (None, True, False)), "compiling")
    course, place = state.get("course"), step - epoch * per_epoch
    refuse_unless((course is None) == (ended or place == 0), "epoch in course")
    if course is not None:
        world, device = run.fabric.world_size, run.fabric.device
        seen = place * run.batches.batch_size // world
        refuse_unless(isinstance(course, dict) and is_count(course.get("seen"), seen), "epoch in course")
        refuse_unless(course["seen"] == seen, "epoch in course")
        sample = {"loss_sum": torch.zeros(1), "hits": torch.zeros(1), "augmentation": torch.Generator().get_state()}
        rows = {name: value.expand(world, -1) for name, value in (sample | random_state(device)).items()}
        check_tensors({name: value for name, value in course.items() if name != "seen"}, rows, "epoch in course")
        for row in (*course["augmentation"], *course["torch"]):
            try:
                torch.Generator().set_state(row.contiguous())
            except RuntimeError:
                raise DamagedCheckpoint("its epoch in course cannot be this run's") from None


def without_tensors(value: object) -> bool:
    """Whether a value of a checkpoint is one of JSON's alone."""
    if isinstance(value, dict):
        value = list(value.values())
    return all(map(without_tensors, value)) if isinstance(value, list) else not isinstance(value, Tensor)


def is_number(value: object) -> bool:
    """Whether a value from JSON is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST


def random_state(device: torch.device) -> dict[str, Tensor]:
    """The state of torch's own generators, uint8, on the CPU and on the device."""
    state = {"torch": torch.get_rng_state()}
    return state | {"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else state


def set_random_state(state: Mapping[str, Tensor], device: torch.device) -> None:
    """Sets them."""
    torch.set_rng_state(state["torch"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)
