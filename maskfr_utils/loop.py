"""The training loop and the evaluation, on Lightning Fabric: any precision, one or many devices, resumable by epoch.

Every random draw is a function of (seed, epoch, place in the epoch), so a run that is killed and resumed ends with the
same weights as one that was not.
"""

import math
import pickle
import sys
import time
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from maskfr_utils.batches import EpochBatches, TwinDataset, as_it_is, augment, to_input
from maskfr_utils.config import TrainConfig
from maskfr_utils.devices import keep_memory
from maskfr_utils.losses import create_loss
from maskfr_utils.metrics import Accuracy, accuracy
from maskfr_utils.models import create_model
from maskfr_utils.models.networks import shrink_depthwise
from maskfr_utils.paths import replacing
from maskfr_utils.profile import latency
from maskfr_utils.store import TEST, TRAIN, VALIDATION, FaceStore

# Training pictures x width: fewer do not repay the minute or two that compiling costs.
COMPILE_FROM = {"cpu": 50_000, "cuda": 1_000_000}
LOG_EVERY = 10  # steps between looks at the loss: each look waits for the device
WARMUP_STEPS = 5  # steps of a process that its throughput leaves out


class TrainingError(RuntimeError):
    """A run that cannot go on; its text says why and what to do."""


class Recogniser(nn.Module):
    """A network and its loss as one module, so that both train, scale over devices and are saved together."""

    def __init__(self, config: TrainConfig, num_classes: int):
        super().__init__()
        self.backbone = create_model(
            config.model, width=config.width, embedding_dim=config.embedding_dim, dropout=config.dropout
        )
        if config.depthwise_fan == "layer":
            shrink_depthwise(self.backbone)
        given = {name: value for name in ("scale", "margin") if (value := getattr(config, name)) is not None}
        self.head = create_loss(config.loss, config.embedding_dim, num_classes, **given)

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Loss, and the number of pictures that are named rightly."""
        embeddings = self.backbone(images)
        with torch.no_grad():
            hits = (self.head.logits(embeddings).argmax(1) == labels).sum()
        return self.head(embeddings, labels), hits

    def groups(self, weight_decay: float, decay: str) -> list[dict]:
        """Parameter groups of the optimiser: what decays, and what does not.

        Norms, slopes, biases and position terms have no scale that decay would keep in bounds.

        Args:
            weight_decay: of those that decay.
            decay: `weights`, of convolutions, linear layers and classes; or `all`.
        """
        layers = [module for module in self.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
        weights = {id(layer.weight) for layer in layers} | {id(p) for p in self.head.parameters()}
        parameters = [p for p in self.parameters() if p.requires_grad]
        decaying = [p for p in parameters if decay == "all" or id(p) in weights]
        others = [p for p in parameters if decay != "all" and id(p) not in weights]
        groups = [{"params": decaying, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
        return [group for group in groups if group["params"]]


class Speed:
    """Training pictures a second in the steady state: all counts but the first steps of a process and what is skipped.

    Attributes:
        images, seconds: what was counted.
    """

    def __init__(self, images: int = 0, seconds: float = 0.0):
        self.images, self.seconds = images, seconds
        self.steps, self.last = 0, 0.0

    def tick(self, images: int) -> None:
        """A step over so many pictures has ended."""
        now = time.perf_counter()
        self.steps += 1
        if self.steps > WARMUP_STEPS:
            self.images += images
            self.seconds += now - self.last
        self.last = now

    def skip(self) -> None:
        """Leave out the time since the last step."""
        self.last = time.perf_counter()

    @property
    def images_per_second(self) -> float:
        """The throughput; 0 where the run was too short to have one."""
        return self.images / self.seconds if self.seconds else 0.0


class Trainer:
    """A run in its course: the network, its optimizer, and where it stands.

    Args:
        config: what to run.
        store: the prepared faces.
        fabric: device, precision and processes.

    Attributes:
        scored: the part of the photos that the record is about, `store.TEST` or `store.VALIDATION`.

    Raises:
        TrainingError: the batch is too small for the processes, no photo can be scored, or the checkpoint in the folder
            cannot be used.
    """

    def __init__(self, config: TrainConfig, store: FaceStore, fabric: Fabric):
        self.config, self.store, self.fabric = config, store, fabric
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
        if config.resume and self.checkpoint.exists():
            self.load_checkpoint()
            fabric.print(f"resumed after epoch {self.epoch}, step {self.step} of {self.total_steps}")

    @property
    def checkpoint(self) -> Path:
        """File of the state after the last whole epoch; it is there only while the run is unfinished."""
        return self.config.folder / "unfinished.ckpt"

    @property
    def compiles(self) -> bool:
        """Whether to compile the network: as told, as a trial found, or else where the run is long enough to repay it."""
        if self.config.compile != "auto":
            return bool(self.config.compile)
        if self.compiled is not None:
            return self.compiled
        return self.total_steps * self.batches.batch_size * self.config.width >= COMPILE_FROM[self.fabric.device.type]

    def fit(self) -> None:
        """Trains to the last step; a checkpoint after each epoch, and the validation photos every `eval_every` epochs.

        Raises:
            TrainingError: the loss is no longer finite.
        """
        keep_memory()
        every = self.config.eval_every if len(self.store.indices(VALIDATION)) else 0
        if self.compiles and self.step < self.total_steps:
            self.compile()
        bar = tqdm(
            total=self.total_steps,
            initial=self.step,
            unit="step",
            desc=f"{self.config.model}, {self.fabric.device.type}",
            disable=not self.fabric.is_global_zero,
            mininterval=1 if sys.stderr.isatty() else 5,  # in a log or notebook each update is a line
        )
        with bar:
            while self.step < self.total_steps:
                entry = self.train_epoch(bar)
                if every and self.epoch % every == 0 and self.fabric.is_global_zero:
                    entry |= {name: round(value.accuracy, 4) for name, value in self.evaluate(VALIDATION)[0].items()}
                self.history.append(entry)
                self.speed.skip()
                if self.fabric.is_global_zero:
                    bar.write(", ".join(f"{name} {value:.4g}" for name, value in entry.items()), file=sys.stderr)
                    self.save_checkpoint()
                self.fabric.barrier()

    def train_epoch(self, bar: tqdm) -> dict[str, float]:
        """One pass over the training photos; what it adds to the history."""
        config, fabric = self.config, self.fabric
        seeds = np.random.SeedSequence((config.seed, self.epoch, fabric.global_rank)).generate_state(2)
        torch.manual_seed(int(seeds[0]))  # dropout
        generator = torch.Generator().manual_seed(int(seeds[1]))
        self.batches.epoch = self.epoch
        loader = DataLoader(
            TwinDataset(self.store, config, self.epoch),
            batch_sampler=self.batches,
            num_workers=config.workers,
            collate_fn=as_it_is,
            pin_memory=fabric.device.type == "cuda",
        )
        self.model.train()
        loss_sum, hits, seen = torch.zeros((), device=fabric.device), torch.zeros((), device=fabric.device), 0
        unchecked: dict[int, tuple[Tensor, float]] = {}  # step -> loss, learning rate
        for faces, labels in loader:
            rate, self.recogniser.head.margin_share = self.rate_and_margin_share()
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            images = augment(to_input(fabric.to_device(faces)), generator, config.augment)
            self.optimizer.zero_grad()
            loss, hit = self.model(images, fabric.to_device(labels))
            fabric.backward(loss)
            self.optimizer.step()
            self.step += 1
            seen += len(faces)
            loss_sum += loss.detach() * len(faces)
            unchecked[self.step] = loss.detach(), rate
            hits += hit
            self.speed.tick(len(faces) * fabric.world_size)
            done = self.step == self.total_steps
            if done or self.step % LOG_EVERY == 0:
                check_finite(unchecked)
                unchecked.clear()
                bar.set_postfix(
                    epoch=self.epoch + 1,
                    loss=f"{loss_sum.item() / seen:.2f}",
                    acc=f"{hits.item() / seen:.3f}",
                    images_s=f"{self.speed.images_per_second:.0f}",
                    refresh=False,
                )
            bar.update()
            if done:
                break
        check_finite(unchecked)
        self.epoch += 1
        return {
            "epoch": self.epoch,
            "loss": round(loss_sum.item() / seen, 4),
            "train_accuracy": round(hits.item() / seen, 4),
            "learning_rate": rate,
        }

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
        self.fabric.print("compiling the network: this takes a minute or two, and is repaid over the run")
        faces, labels = TwinDataset(self.store, self.config)[self.batches.indices[: self.batches.batch_size].tolist()]
        # As Fabric hands them over: of another type they would have to be compiled for once more.
        images = self.fabric._precision.convert_input(to_input(self.fabric.to_device(faces)))
        labels = self.fabric.to_device(labels)
        before = {name: value.clone() for name, value in self.recogniser.named_buffers()}
        backbone = self.recogniser.backbone
        backbone.compile()
        whole = backbone._compiled_call_impl

        def in_training(images: Tensor) -> Tensor:  # tests come in other batch sizes: each would be compiled anew
            return whole(images) if backbone.training else backbone._call_impl(images)

        def step(call) -> None:
            backbone._compiled_call_impl = call
            with self.fabric.autocast():
                loss = self.recogniser(images, labels)[0]  # not `self.model`: processes need not wait for one another
            loss.backward()

        self.model.train()
        share = 0.0  # of an eager step's time
        try:
            step(in_training)
            if trial:
                seconds = latency({"eager": lambda: step(None), "compiled": lambda: step(in_training)}, repeats=3)
                share = seconds["compiled"] / seconds["eager"]
        except Exception as error:  # whatever the compiler or its C++ compiler may raise: the run does not need it
            self.fabric.print(f"compiling failed ({type(error).__name__}): training goes on without it")
            share = math.inf
        share = self.fabric.all_reduce(torch.tensor(share, device=self.fabric.device)).item()
        self.compiled = share < 1
        backbone._compiled_call_impl = in_training if self.compiled else None
        if trial and share < math.inf:
            kept = "kept" if self.compiled else "dropped"
            self.fabric.print(f"compiled steps take {share:.2f} of the time of eager ones: {kept}")
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

    def state(self) -> dict:
        """What a checkpoint holds: tensors and plain values only."""
        return {
            "params": self.config.science(),
            "data": self.store.attrs["fingerprint"],
            "recogniser": self.recogniser.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "epoch": self.epoch,
            "step": self.step,
            "history": self.history,
            "speed": (self.speed.images, self.speed.seconds),
            "compiled": self.compiled,
        }

    def save_checkpoint(self) -> None:
        """Writes the state whole or not at all: to a temporary name, then renamed."""
        with replacing(self.checkpoint) as temporary:
            torch.save(self.state(), temporary)

    def load_checkpoint(self) -> None:
        """Takes up the state that a stopped run of the same parameters and data left."""
        way_out = "choose another out_dir, or set resume to false to start anew"
        try:
            state = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
            params, data = state["params"], state["data"]
        except (OSError, RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError) as error:
            raise TrainingError(
                f"{self.checkpoint} cannot be read ({type(error).__name__}: {str(error)[:100]}): {way_out}"
            ) from None
        now = self.config.science()
        changed = [f"{k} was {params.get(k)!r}, is {now[k]!r}" for k in now if params.get(k) != now[k]]
        if data != self.store.attrs["fingerprint"]:
            changed.append("the faces are others")
        if changed:
            raise TrainingError(f"{self.checkpoint} is of another run ({'; '.join(changed)}): {way_out}")
        self.recogniser.load_state_dict(state["recogniser"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch, self.step, self.history = state["epoch"], state["step"], state["history"]
        self.speed, self.compiled = Speed(*state["speed"]), state.get("compiled")


def check_finite(losses: dict[int, tuple[Tensor, float]]) -> None:
    """Stops a run that has left the numbers.

    Args:
        losses: of each step since the last look, the loss, a scalar, and the learning rate.

    Raises:
        TrainingError: a loss is not finite; it names the first such step.
    """
    if not losses or torch.stack([loss for loss, _ in losses.values()]).isfinite().all():  # waits for the device once
        return
    step = next(step for step, (loss, _) in losses.items() if not loss.isfinite())
    raise TrainingError(
        f"the loss is {losses[step][0].item()} at step {step}, learning rate {losses[step][1]:.3g}. Likely causes: a "
        "learning rate too high (lower lr, or raise warmup_epochs), a scale or margin too large for so few steps "
        "(raise margin_warmup_epochs), or half precision (set precision to 32-true)"
    )
