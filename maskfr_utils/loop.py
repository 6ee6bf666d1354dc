"""The training loop, on Lightning Fabric: any precision, one or many devices, resumable at any step.

Every random draw is a function of (seed, epoch, place in the epoch) or comes from a generator whose state a checkpoint
keeps, so a run that is killed and resumed ends with the same weights as one that was not.
"""

import math
import signal
import time
from collections.abc import Iterator
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from maskfr_utils import compiling, evaluation
from maskfr_utils.batches import OnDevice, TwinDataset, as_it_is, augment, fits_on_device, to_input
from maskfr_utils.devices import keep_memory
from maskfr_utils.messages import brief
from maskfr_utils.metrics import Accuracy
from maskfr_utils.progress import Progress, write_log
from maskfr_utils.run_folder import check_space
from maskfr_utils.run_state import Course, Diverged, RunState, TrainingError, set_random_state
from maskfr_utils.stopping import Stopped, Stopping
from maskfr_utils.store import TEST, VALIDATION

LOG_EVERY = 10  # steps between looks at the loss: each look waits for the device


class Trainer(RunState):
    """A run in its course: arguments, attributes and errors as `RunState`."""

    def __init__(self, *args: object):
        super().__init__(*args)
        self.stopping = Stopping()

    @property
    def compiles(self) -> bool:
        """Whether to compile the network (`compiling.wanted`)."""
        return compiling.wanted(self)

    def compile(self) -> None:
        """Compiles the network for training, where that is faster (`compiling.compile_network`)."""
        compiling.compile_network(self)

    def fit(self) -> None:
        """Trains to the last step; a checkpoint after each epoch and by time, the validation photos every `eval_every` epochs.

        Raises:
            TrainingError: the loss is no longer finite (`Diverged`), the faces cannot be read, or no checkpoint can be
                written; the last one is kept.
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
            for caveat in self.caveats():
                self.say(caveat)
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
                if first:
                    progress.epoch(entry)
                self.fabric.log_dict(entry, step=self.step)
                self.save_checkpoint()
                self.speed.skip()
                self.stop_if_asked(self.agreed()[1])

    def train_epoch(self, progress: Progress) -> dict[str, float]:
        """What is left of a pass over the training photos; what that pass adds to the history."""
        fabric = self.fabric
        faces_in_order = self.feed()
        course = self.course
        self.model.train()
        self.recogniser.rest(self.epoch < self.config.head_epochs)
        unchecked: dict[int, tuple[Tensor, float]] = {}  # step -> loss, learning rate
        for faces, labels in faces_in_order:
            rate, self.recogniser.head.margin_share = self.rate_and_margin_share()
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            images = self.vary(to_input(fabric.to_device(faces)), course.generator)
            self.optimizer.zero_grad()
            loss, hit = self.backward(images, fabric.to_device(labels))
            self.optimizer.step()
            self.step += 1
            course.seen += len(faces)
            course.loss_sum += loss * len(faces)
            unchecked[self.step] = loss, rate
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

    def backward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Adds up the gradient of a batch, in as many parts as the run asks for; its mean loss, and how many hits.

        A part of twins holds both of each photo. BatchNorm, and what a loss remembers or draws, sees a part at a time; else the sum is
        the whole batch's.
        """
        parts, twins = self.config.accumulate, self.batches.twins
        if parts == 1:
            loss, hits = self.model(images, labels)
            self.fabric.backward(loss)
            return loss.detach(), hits
        loss_sum, hit_sum = torch.zeros((), device=images.device), 0
        shared = (batch.unflatten(0, (twins, -1)).tensor_split(parts, 1) for batch in (images, labels))
        for number, (some, theirs) in enumerate(zip(*shared, strict=True), 1):
            with self.fabric.no_backward_sync(self.model, enabled=number < parts):
                loss, hits = self.model(some.flatten(0, 1), theirs.flatten(0, 1))
                loss = loss * (theirs.numel() / len(labels))
                self.fabric.backward(loss)
            loss_sum, hit_sum = loss_sum + loss.detach(), hit_sum + hits
        return loss_sum, hit_sum

    def vary(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """One variant of each training picture (`batches.augment`)."""
        return augment(images, generator, self.config.augment)

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
        resident = self.resident
        loader = DataLoader(
            TwinDataset(resident or self.store, self.config, self.epoch),
            batch_sampler=self.batches,
            num_workers=0 if resident else self.config.workers,
            collate_fn=as_it_is,
            pin_memory=not resident and self.fabric.device.type == "cuda",
        )
        iterator = iter(loader)  # takes a draw of torch's, as it did when the epoch began
        if self.course.random:
            set_random_state(self.course.random, self.fabric.device)
        return self.watched(iterator)

    @cached_property
    def resident(self) -> OnDevice | None:
        """The faces in the device's own memory, if they fit."""
        device = self.fabric.device
        if not fits_on_device(self.store, self.config, device):
            return None
        return OnDevice(self.store, self.config.condition, device)

    def watched(self, batches: Iterator) -> Iterator:
        """The batches; where one cannot be read, the state so far is saved before the run ends."""
        while True:
            try:
                batch = next(batches, None)
            except (OSError, ValueError, RuntimeError) as error:
                # Between epochs the last one's checkpoint is there; before the first step there is nothing to keep.
                if (
                    self.saved_at < math.inf
                    and self.fabric.world_size == 1
                    and self.place
                    and self.step != self.saved_step
                ):
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
            Diverged: one is not finite.
        """
        check_finite(unchecked, self.kept())
        unchecked.clear()

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
            text = f"stopped at step {self.step} of {self.total_steps}; {self.config.again} goes on from there"
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

    def evaluate(self, part: int = TEST) -> tuple[dict[str, Accuracy], dict[str, np.ndarray]]:
        """Scores and results of each photo of a part, `TEST` or `VALIDATION` (`evaluation.score`)."""
        return evaluation.score(self.predict, self.store, part)

    def predict(self, faces: np.ndarray) -> np.ndarray:
        """The logits (n, identities) of faces (n, 112, 112, 3) uint8, in evaluation mode."""
        return evaluation.logits(self, faces)


def check_finite(losses: dict[int, tuple[Tensor, float]], kept: str = "") -> None:
    """Stops a run that has left the numbers.

    Args:
        losses: of each step since the last look, the loss, a scalar, and the learning rate.
        kept: what is left of the run, in words.

    Raises:
        Diverged: a loss is not finite; it names the first such step.
    """
    if not losses or torch.stack([loss for loss, _ in losses.values()]).isfinite().all():  # waits for the device once
        return
    step = next(step for step, (loss, _) in losses.items() if not loss.isfinite())
    raise Diverged(
        f"the loss is {losses[step][0].item()} at step {step}, learning rate {losses[step][1]:.3g}. Likely causes: a "
        "learning rate too high (lower lr, or raise warmup_epochs), a scale or margin too large for so few steps "
        "(raise margin_warmup_epochs), or half precision (set precision to 32-true); " + kept,
        step,
    )
