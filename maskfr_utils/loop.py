"""The training loop and the evaluation, on Lightning Fabric: any precision, one or many devices, resumable at any step.

Every random draw is a function of (seed, epoch, place in the epoch) or comes from a generator whose state a checkpoint
keeps, so a run that is killed and resumed ends with the same weights as one that was not.
"""

import math
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from maskfr_utils import fingerprint
from maskfr_utils.batches import EpochBatches, TwinDataset, as_it_is, augment, to_input
from maskfr_utils.checkpoints import Checkpoints, DamagedCheckpoint, Tree, check_tensors, read
from maskfr_utils.config import TrainConfig
from maskfr_utils.devices import keep_memory
from maskfr_utils.messages import PlainError, brief
from maskfr_utils.metrics import Accuracy, accuracy
from maskfr_utils.profile import latency
from maskfr_utils.progress import Progress, Speed, write_log
from maskfr_utils.recogniser import Recogniser
from maskfr_utils.run_folder import check_space, difference
from maskfr_utils.stopping import Stopped, Stopping
from maskfr_utils.store import TEST, TRAIN, VALIDATION, FaceStore

# Training pictures x width: fewer do not repay the minute or two that compiling costs.
COMPILE_FROM = {"cpu": 50_000, "cuda": 1_000_000}
LOG_EVERY = 10  # steps between looks at the loss: each look waits for the device
LARGEST = 1e300  # of a number in a checkpoint
MOMENTUM = "momentum_buffer"  # what SGD keeps of each parameter


class TrainingError(PlainError, RuntimeError):
    """A run that cannot go on; its text says why and what to do."""


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


class Trainer:
    """A run in its course: the network, its optimizer, and where it stands.

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
        self.recogniser = Recogniser(config, len(store.identities)).to(memory_format=torch.channels_last)
        self.batches = EpochBatches(
            store.indices(TRAIN), config.batch_size, config.seed, fabric.global_rank, fabric.world_size
        )
        if self.batches.batch_size < 2 * fabric.world_size:
            raise TrainingError(f"batch_size={self.batches.batch_size} is too small for {fabric.world_size} processes")
        self.scored = {"test": TEST, "validation": VALIDATION}[config.scored_on]
        if not len(store.indices(self.scored)):
            raise TrainingError(
                f"{store.path} holds no {config.scored_on} photos: give a data set with more, or a larger share"
            )
        self.total_steps = min(config.epochs * len(self.batches), config.max_steps or sys.maxsize)
        self.model = fabric.setup_module(self.recogniser)
        self.optimizer = fabric.setup_optimizers(
            torch.optim.SGD(
                self.recogniser.groups(config.weight_decay, config.decay), lr=config.lr, momentum=config.momentum
            )
        )
        self.epoch, self.step, self.history, self.speed = 0, 0, [], Speed()
        self.compiled: bool | None = None  # what a trial of compiling found
        self.course: Course | None = None  # of the epoch; none between epochs
        self.checkpoints = Checkpoints(config.folder)
        self.saved_step: int | None = None  # of the last checkpoint
        self.saved_at = math.inf  # its time: outside `fit` none falls due
        self.stopping = Stopping()
        if config.resume:
            self.resume()

    @property
    def compiles(self) -> bool:
        """Whether to compile the network: as told, as a trial found, or else where the run is long enough to repay it."""
        if self.config.compile != "auto":
            return bool(self.config.compile)
        if self.compiled is not None:
            return self.compiled
        return self.total_steps * self.batches.batch_size * self.config.width >= COMPILE_FROM[self.fabric.device.type]

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

    def fit(self) -> None:
        """Trains to the last step; a checkpoint after each epoch and by time, the validation photos every `eval_every` epochs.

        Raises:
            TrainingError: the loss is no longer finite, the faces cannot be read, or no checkpoint can be written; the
                last one is kept.
            Stopped: Ctrl-C or SIGTERM came; the state is saved.
            ConfigError: the disk is too full.
        """
        keep_memory()
        every = self.config.eval_every if len(self.store.indices(VALIDATION)) else 0
        first = self.fabric.is_global_zero
        if first:
            self.config.folder.mkdir(parents=True, exist_ok=True)
            self.checkpoints.tidy()
            check_space(self.config.folder, self.bytes_to_come())
        if self.compiles and self.step < self.total_steps:
            self.compile()
        progress = Progress(
            f"{self.config.model}, {self.fabric.device.type}",
            self.config.epochs,
            self.total_steps,
            self.step,
            self.batches.batch_size,
            self.config.folder / "train.log",
            quiet=not first,
        )
        self.saved_at = time.monotonic()
        with progress, self.stopping:
            while self.step < self.total_steps:
                entry = self.train_epoch(progress)
                if every and self.epoch % every == 0 and self.fabric.is_global_zero:
                    entry |= {name: round(value.accuracy, 4) for name, value in self.evaluate(VALIDATION)[0].items()}
                self.history.append(entry)
                self.speed.skip()
                if first:
                    progress.epoch(entry)
                self.fabric.log_dict(entry, step=self.step)
                self.save_checkpoint()
                self.stop_if_asked(self.agreed()[1])

    def train_epoch(self, progress: Progress) -> dict[str, float]:
        """What is left of a pass over the training photos; what that pass adds to the history."""
        config, fabric = self.config, self.fabric
        faces_in_order = self.feed()
        course = self.course
        self.model.train()
        self.recogniser.rest(self.epoch < config.head_epochs)
        unchecked: dict[int, tuple[Tensor, float]] = {}  # step -> loss, learning rate
        for faces, labels in faces_in_order:
            rate, self.recogniser.head.margin_share = self.rate_and_margin_share()
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            images = augment(to_input(fabric.to_device(faces)), course.generator, config.augment)
            self.optimizer.zero_grad()
            loss, hit = self.model(images, fabric.to_device(labels))
            fabric.backward(loss)
            self.optimizer.step()
            self.step += 1
            course.seen += len(faces)
            course.loss_sum += loss.detach() * len(faces)
            unchecked[self.step] = loss.detach(), rate
            course.hits += hit
            self.speed.tick(len(faces) * fabric.world_size)
            done = self.step == self.total_steps or self.place == len(self.batches)
            if done or self.step % LOG_EVERY == 0 or progress.due():
                self.check(unchecked)
                if progress.due() or (done and progress.live):
                    seen = course.seen
                    progress.show(self.epoch + 1, self.step, course.loss_sum.item() / seen, course.hits.item() / seen)
            if done:
                break
            save, stop = self.agreed()
            if save or stop:
                self.check(unchecked)
                self.save_checkpoint()
                self.speed.skip()
                self.stop_if_asked(stop)
        sums = torch.stack([course.loss_sum, course.hits, torch.full_like(course.hits, course.seen)]).double()
        loss_sum, hits, seen = fabric.all_reduce(sums, reduce_op="sum").tolist()
        self.epoch, self.course = self.epoch + 1, None
        return {
            "epoch": self.epoch,
            "loss": round(loss_sum / seen, 4),
            "train_accuracy": round(hits / seen, 4),
            "learning_rate": self.optimizer.param_groups[0]["lr"],
        }

    def feed(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches that are left of the epoch; begins it (`course`), or takes it up where a checkpoint left it.

        Raises:
            TrainingError: the store can no longer be read.
        """
        if self.course is None:
            seeds = np.random.SeedSequence((self.config.seed, self.epoch, self.fabric.global_rank)).generate_state(2)
            torch.manual_seed(int(seeds[0]))  # dropout
            zero = torch.zeros((), device=self.fabric.device)
            self.course = Course(torch.Generator().manual_seed(int(seeds[1])), zero, zero.clone())
        self.batches.epoch, self.batches.first = self.epoch, self.place
        loader = DataLoader(
            TwinDataset(self.store, self.config, self.epoch),
            batch_sampler=self.batches,
            num_workers=self.config.workers,
            collate_fn=as_it_is,
            pin_memory=self.fabric.device.type == "cuda",
        )
        iterator = iter(loader)  # takes a draw of torch's, as it did when the epoch began
        if self.course.random:
            set_random_state(self.course.random, self.fabric.device)
        return self.watched(iterator)

    def watched(self, batches: Iterator) -> Iterator:
        """The batches; where one cannot be read, the state so far is saved before the run ends."""
        while True:
            try:
                batch = next(batches, None)
            except (OSError, ValueError, RuntimeError) as error:
                if self.saved_at < math.inf and self.fabric.world_size == 1 and self.step != self.saved_step:
                    self.save_checkpoint()
                reason = str(error).strip().rpartition("\n")[2]  # a loader's worker sends a traceback before it
                raise TrainingError(
                    f"the faces cannot be read any more: {brief(reason, 160)}; {self.kept()}"
                ) from error
            if batch is None:
                return
            yield batch

    def check(self, unchecked: dict[int, tuple[Tensor, float]]) -> None:
        """Looks at the losses since the last look, and forgets them.

        Raises:
            TrainingError: one is not finite.
        """
        check_finite(unchecked, self.kept())
        unchecked.clear()

    def kept(self) -> str:
        """In words, which checkpoint there is."""
        step = self.saved_step
        return "there is no checkpoint yet" if step is None else f"the checkpoint of step {step} is kept"

    def agreed(self) -> tuple[bool, bool]:
        """Whether to save, and to stop, now: all processes must do so at the same step, which only some steps settle."""
        first = self.fabric.is_global_zero
        due = first and time.monotonic() - self.saved_at >= 60 * self.config.checkpoint_minutes
        wishes = due, bool(self.stopping.asked)
        if self.fabric.world_size == 1:
            return wishes
        if self.course is not None and self.step % LOG_EVERY:
            return False, False
        asked = self.fabric.all_reduce(
            torch.tensor(wishes, dtype=torch.float32, device=self.fabric.device), reduce_op="sum"
        )
        return bool(asked[0] > 0), bool(asked[1] > 0)

    def stop_if_asked(self, stop: bool) -> None:
        """Ends the run, whose state has been saved, where that was asked for."""
        if stop:
            text = f"stopped at step {self.step} of {self.total_steps}; the same command goes on from there"
            if self.fabric.is_global_zero:
                write_log(self.config.folder / "train.log", text)
            raise Stopped(f"{text} ({self.checkpoints.newest})", self.stopping.asked or signal.SIGTERM)

    def rate_and_margin_share(self) -> tuple[float, float]:
        """Learning rate, and share of the margin, of the step to come.

        The rate grows linearly over the warm-up, then follows half a cosine down to the last step, or stays. The
        margin grows linearly from none: a network that starts slowly learns less where it is whole from the start.
        """
        config, per_epoch = self.config, len(self.batches)
        growing = config.margin_warmup_epochs * per_epoch
        share = min(1.0, self.step / growing) if growing else 1.0
        warmup = min(round(config.warmup_epochs * per_epoch), self.total_steps - 1)
        if self.step < warmup:
            return config.lr * (self.step + 1) / warmup, share
        if config.schedule == "constant":
            return config.lr, share
        done = (self.step - warmup) / (self.total_steps - warmup)
        return config.lr * 0.5 * (1 + math.cos(math.pi * done)), share

    def compile(self) -> None:
        """Compiles the network for training, and with `compile: auto` drops that again where it makes steps no faster.

        A resumed run goes on with what its trial found. Where compiling fails the run goes on without it and says so.
        No weight or statistic is changed, and each epoch seeds its own draws: the trial leaves no trace.
        """
        trial = self.config.compile == "auto" and self.compiled is None
        self.say("compiling the network: this takes a minute or two, and is repaid over the run")
        faces, labels = TwinDataset(self.store, self.config)[self.batches.indices[: self.batches.batch_size].tolist()]
        # As Fabric hands them over: of another type they would have to be compiled for once more.
        images = self.fabric.strategy.precision.convert_input(to_input(self.fabric.to_device(faces)))
        labels = self.fabric.to_device(labels)
        before = {name: value.clone() for name, value in self.recogniser.named_buffers()}
        backbone = self.recogniser.backbone
        whole = torch.compile(lambda images: backbone(images))  # a function: as a module it would be saved twice

        def step(call) -> None:
            self.recogniser.compiled = call
            with self.fabric.autocast():
                loss = self.recogniser(images, labels)[0]  # not `self.model`: processes need not wait for one another
            loss.backward()

        self.model.train()
        share = 0.0  # of an eager step's time
        try:
            step(whole)
            if trial:
                seconds = latency({"eager": lambda: step(None), "compiled": lambda: step(whole)}, repeats=3)
                share = seconds["compiled"] / seconds["eager"]
        except Exception as error:  # whatever the compiler or its C++ compiler may raise: the run does not need it
            self.say(f"compiling failed ({type(error).__name__}): training goes on without it")
            share = math.inf
        share = self.fabric.all_reduce(torch.tensor(share, device=self.fabric.device)).item()
        self.compiled = share < 1
        self.recogniser.compiled = whole if self.compiled else None
        if trial and share < math.inf:
            kept = "kept" if self.compiled else "dropped"
            self.say(f"compiled steps take {share:.2f} of the time of eager ones: {kept}")
        self.optimizer.zero_grad()
        with torch.no_grad():
            for name, value in self.recogniser.named_buffers():
                value.copy_(before[name])

    @torch.no_grad()
    def evaluate(self, part: int = TEST) -> tuple[dict[str, Accuracy], dict[str, np.ndarray]]:
        """Accuracy on the masked and on the unmasked twins of a part's photos, and of each photo the results.

        Args:
            part: `TEST` or `VALIDATION`.

        Returns:
            Scores by condition; and by condition the predicted identities (n,), with `_rank` after its name the place
            (n,) of the right identity among all, 1 where the prediction is right.
        """
        places = self.store.indices(part)
        labels, photos, scores = self.store.labels[places], {}, {}
        for name, masked in (("masked", True), ("unmasked", False)):
            blocks = np.array_split(places, math.ceil(len(places) / 128))
            bar = tqdm(blocks, desc=f"{name} faces", unit="batch", leave=False, mininterval=1, delay=2)
            logits = np.concatenate([self.predict(self.store.batch(block, masked=masked)[0]) for block in bar])
            photos[name] = logits.argmax(1)
            above = (logits > np.take_along_axis(logits, labels[:, None], 1)).sum(1)
            photos[f"{name}_rank"] = np.where(photos[name] == labels, 1, np.maximum(above + 1, 2))  # a tie is no hit
            scores[name] = accuracy(labels, photos[name], len(self.store.identities))
        return scores, photos

    @torch.no_grad()
    def predict(self, faces: np.ndarray) -> np.ndarray:
        """The logits (n, identities) of faces (n, 112, 112, 3) uint8, in evaluation mode."""
        self.recogniser.eval()
        images = to_input(self.fabric.to_device(torch.from_numpy(faces)))
        with self.fabric.autocast():
            embeddings = self.recogniser.backbone(images).float()
            if self.config.flip_test:
                embeddings = embeddings + self.recogniser.backbone(images.flip(3)).float()
            return self.recogniser.head.logits(embeddings).float().cpu().numpy()

    def state(self) -> Tree:
        """What a checkpoint holds; within an epoch all processes must ask for it together."""
        return {
            "params": self.config.science(),
            "data": self.store.attrs.get("fingerprint"),
            "code": self.code,
            "processes": self.fabric.world_size,
            "recogniser": self.recogniser.state_dict(),
            "optimizer": {name: self.optimizer.state.get(p, {}) for name, p in self.recogniser.named_parameters()},
            "precision": self.fabric.strategy.precision.state_dict(),
            "epoch": self.epoch,
            "step": self.step,
            "history": self.history,
            "speed": [self.speed.images, self.speed.seconds],
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
                raise TrainingError(f"weights are no longer finite at step {self.step}: lower lr; {self.kept()}")
            try:
                self.checkpoints.save(state)
            except OSError as error:
                raise TrainingError(
                    f"no checkpoint can be written to {self.config.folder} ({error.strerror or error}); {self.kept()}: make "
                    "room, then the same command goes on"
                ) from error
            if self.saved_step is None:  # what is left there is of a run that this one replaces
                self.checkpoints.drop(self.checkpoints.before)
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
        """In words, what makes the run that left a state another one than this."""
        changed = [difference(state.get("params"), self.config.science())]
        if state.get("data") != self.store.attrs.get("fingerprint"):
            changed.append("the faces are others")
        if state.get("processes") != self.fabric.world_size:
            changed.append(f"processes were {state.get('processes')!r}, are {self.fabric.world_size}")
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
        if (saved := state["course"]) is not None:
            own = {name: rows[self.fabric.global_rank].clone() for name, rows in saved.items() if name != "seen"}
            generator = torch.Generator()
            generator.set_state(own["augmentation"])
            sums = [self.fabric.to_device(own[name].reshape(())) for name in ("loss_sum", "hits")]
            self.course = Course(generator, *sums, saved["seen"], own)


def check_state(state: Tree, run: Trainer) -> None:
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
    refuse_unless(state.get("compiled", "") in (None, True, False), "compiling")
    course, place = state.get("course"), step - epoch * per_epoch
    refuse_unless((course is None) == (ended or place == 0), "epoch in course")
    if course is not None:
        world, device = run.fabric.world_size, run.fabric.device
        seen = place * run.batches.batch_size // world
        refuse_unless(isinstance(course, dict) and course.get("seen") == seen, "epoch in course")
        sample = {"loss_sum": torch.zeros(1), "hits": torch.zeros(1), "augmentation": torch.Generator().get_state()}
        rows = {name: value.expand(world, -1) for name, value in (sample | random_state(device)).items()}
        check_tensors({name: value for name, value in course.items() if name != "seen"}, rows, "epoch in course")


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


def check_finite(losses: dict[int, tuple[Tensor, float]], kept: str = "") -> None:
    """Stops a run that has left the numbers.

    Args:
        losses: of each step since the last look, the loss, a scalar, and the learning rate.
        kept: what is left of the run, in words.

    Raises:
        TrainingError: a loss is not finite; it names the first such step.
    """
    if not losses or torch.stack([loss for loss, _ in losses.values()]).isfinite().all():  # waits for the device once
        return
    step = next(step for step, (loss, _) in losses.items() if not loss.isfinite())
    raise TrainingError(
        f"the loss is {losses[step][0].item()} at step {step}, learning rate {losses[step][1]:.3g}. Likely causes: a "
        "learning rate too high (lower lr, or raise warmup_epochs), a scale or margin too large for so few steps "
        "(raise margin_warmup_epochs), or half precision (set precision to 32-true); " + kept
    )
