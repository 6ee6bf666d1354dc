"""What decides a run once its faces are prepared, as numbers: batches, schedule, network, loss, steps, evaluation.

The faces are noise, the networks narrow; draws and steps are those of `loop.Trainer` itself. The arithmetic is double
precision on a CPU: BatchNorm over a few pictures makes of single precision's rounding, which hangs on the number of
threads, other losses within three steps. Nothing is left behind: no file, and no draw of torch's is used up.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

from maskfr_utils import loop, losses, models
from maskfr_utils.config import TrainConfig
from maskfr_utils.fingerprint import Numbers, sketch
from maskfr_utils.names import SIMPLE_CONDITIONS
from maskfr_utils.probes import faces
from maskfr_utils.progress import Progress
from maskfr_utils.store import TEST, TRAIN, FaceStore, FaceWriter

PEOPLE, EACH, TESTED = 4, 7, 2
EXACT, PRECISION = torch.float64, "64-true"  # a test that compares what one process computes can do with half


@contextmanager
def trainer(**values: object) -> Iterator[loop.Trainer]:
    """A run over a few noise pictures, with these parameters."""
    n = PEOPLE * EACH
    names = [f"{chr(97 + i // EACH)}/{i % EACH}" for i in range(n)]
    with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]):
        path = Path(folder, "faces.h5")
        with FaceWriter(path, {"fingerprint": "probe"}) as writer:
            writer.append(
                faces.plain_faces(n, seed=4),
                faces.plain_faces(n, seed=5),
                [name[0] for name in names],
                names,
                np.tile(faces.plain_landmarks(1), (n, 1, 1)),
            )
            labels = np.repeat(np.arange(PEOPLE), EACH)
            split = np.where(np.arange(n) % EACH < TESTED, TEST, TRAIN)
            writer.assign(labels, split, [chr(97 + i) for i in range(PEOPLE)])
        given = {"width": 0.05, "embedding_dim": 16, "batch_size": 4, "precision": "32-true", "compile": False}
        config = TrainConfig(**given | {"resume": False, "out_dir": folder, "eval_every": 0} | values)
        yield loop.Trainer(config, FaceStore(path), Fabric(accelerator="cpu", devices=1, precision=PRECISION))


@contextmanager
def double_precision() -> Iterator[None]:
    """What torch draws and computes without being told a type is of double precision."""
    usual = torch.get_default_dtype()
    torch.set_default_dtype(EXACT)
    try:
        yield
    finally:
        torch.set_default_dtype(usual)


def batches() -> Numbers:
    """Which photos come when, and as which twin; a new mask where that is asked for."""
    found = {}
    with trainer(epochs=2) as run:
        for epoch in range(2):
            run.batches.epoch = epoch
            found[f"order of epoch {epoch}"] = [float(i) for batch in run.batches for i in batch]
        for condition in SIMPLE_CONDITIONS:
            config = TrainConfig(**{**run.config.science(), "condition": condition})
            images, labels = loop.TwinDataset(run.store, config, epoch=1)[[9, 2, 26, 5]]
            found[condition] = [x for image in images.numpy() for x in sketch(image)] + labels.tolist()
    return found


def condition(name: str) -> Numbers:
    """Which photos come when under a condition that is none of the simple ones, what is seen of them, in tests as well."""
    found = {}
    with trainer(epochs=2, condition=name) as run:
        for epoch in range(2):
            run.batches.epoch = epoch
            found[f"order of epoch {epoch}"] = [float(i) for batch in run.batches for i in batch]
        images, labels = loop.TwinDataset(run.store, run.config, epoch=1)[[9, 2, 26, 5]]
        found["batch"] = [x for image in images.numpy() for x in sketch(image)] + labels.tolist()
        tested = []
        run.recogniser.backbone = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, 16))
        run.recogniser.backbone.register_forward_pre_hook(lambda module, given: tested.append(given[0]))
        run.predict(run.store.batch(np.arange(2))[0])
        found["tested"] = tested[0].mean((1, 2, 3)).tolist() + tested[0][0, 0, ::8, 50].tolist()
    return found


def twin_term() -> Numbers:
    """Value and gradient of the twin term for fixed embeddings."""
    embeddings = torch.randn(6, 8, generator=torch.Generator().manual_seed(5)).requires_grad_()
    value = losses.twin_distance(embeddings)
    (gradient,) = torch.autograd.grad(value, embeddings)
    return {"value": [value.item(), *(10 * gradient.norm(dim=1)).tolist()]}


def fresh_masks() -> Numbers:
    """A batch with a new mask on each face."""
    with trainer(fresh_masks=True, condition="masked") as run:
        images, _ = loop.TwinDataset(run.store, run.config, epoch=1)[[9, 2, 26, 5]]
        return {"faces": [x for image in images.numpy() for x in sketch(image)]}


def augmentation() -> Numbers:
    """The input of the network, mirrored alone and with everything else."""
    images = loop.to_input(torch.from_numpy(faces.plain_faces(6, seed=6)))
    found = {"input": images.mean((1, 2, 3)).tolist() + images[0, :, 3, 5].tolist()}
    for strength in (0.0, 0.5):
        with trainer(augment=strength) as run:
            varied = run.vary(images.clone(), torch.Generator().manual_seed(1))
        found[f"strength {strength:g}"] = (varied * torch.linspace(-1, 1, 112)).mean((2, 3)).flatten().tolist()
    return found


def schedule() -> Numbers:
    """Learning rate and share of the margin at some steps."""
    found = {}
    common = {"epochs": 6, "warmup_epochs": 1.5, "margin_warmup_epochs": 3.0, "lr": 1.0}
    for name in ("cosine", "constant"):
        with trainer(schedule=name, **common) as run:
            for step in (0, 3, 9, 14, run.total_steps - 1):
                run.step = step
                found[f"{name}, step {step}"] = list(run.rate_and_margin_share())
    return found


def network(name: str) -> Numbers:
    """Embeddings by fresh weights, and how strongly each kind of parameter is pulled."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        model = models.create_model(name, width=0.05, embedding_dim=16).to(EXACT).train()
        images = loop.to_input(torch.from_numpy(faces.plain_faces(4, seed=8))).to(EXACT)
        embeddings = model(images)
        (1000 * (embeddings * torch.linspace(-1, 1, 16)).square().mean()).backward()
        tested = model.eval()(images)
    norms: dict[str, float] = {}
    for path, parameter in model.named_parameters():
        if parameter.grad is not None:
            kind = path.rsplit(".", 2)[-2:]
            norms[".".join(kind)] = norms.get(".".join(kind), 0.0) + float(parameter.grad.square().sum())
    heaviest = sorted(norms.values(), reverse=True)
    return {
        "embeddings": embeddings[:2].flatten().tolist(),
        "tested": tested[:2].flatten().tolist(),
        "gradients": np.sqrt(heaviest).tolist(),
    }


def loss(name: str) -> Numbers:
    """Value and gradient for fixed embeddings, with half and with the whole margin."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        head = losses.create_loss(name, 8, 5)
        embeddings = torch.randn(6, 8, generator=torch.Generator().manual_seed(4)).requires_grad_()
    labels = torch.arange(6) % 5
    found = {"logits": head.logits(embeddings).flatten().tolist()}
    for head.margin_share in (0.5, 1.0):
        value = head(embeddings, labels)
        (gradient,) = torch.autograd.grad(value, embeddings)
        found[f"margin share {head.margin_share:g}"] = [value.item(), *gradient.norm(dim=1).tolist()]
    return found


def steps(model: str, *options: str) -> Numbers:
    """Losses of the first steps, and what they leave of the weights: a step too large would hide the optimiser in chaos.

    With options of the recipe, such as `decay=all`. Without dropout, which torch draws otherwise on Intel's processors than on AMD's.
    All is of double precision, weights from the first draw on, and pictures are mirrored alone: how single precision rounds
    a logarithm or a sine hangs on the processor, and BatchNorm over four pictures makes another loss of that in three steps.
    """
    values = {"lr": 0.02, "weight_decay": 0.5, "warmup_epochs": 0.0, "epochs": 4, "max_steps": 3}
    values |= dict(option.split("=") for option in options)
    with double_precision(), trainer(model=model, condition="both", augment=0.0, **values) as run:
        seen = []
        run.recogniser.register_forward_hook(lambda module, given, out: seen.append([x.item() for x in out]))
        run.train_epoch(Progress("", run.config.epochs, run.total_steps, 0, run.batches.batch_size, quiet=True))
        kinds: dict[str, float] = {}
        for path, parameter in run.recogniser.named_parameters():
            kind = f"weights of {parameter.ndim} dimensions in the {path.split('.')[0]}"
            kinds[kind] = kinds.get(kind, 0.0) + float(parameter.detach().square().sum())
    return {"loss and hits": [x for pair in seen for x in pair]} | {k: [v**0.5] for k, v in kinds.items()}


def evaluation() -> Numbers:
    """Logits that a small network gives to two photos; scores and results of each photo for given ones, a tie among them."""
    with trainer() as run:
        test, rng, call = run.store.indices(TEST), np.random.default_rng(9), count()
        torch.manual_seed(6)
        run.recogniser.backbone = nn.Sequential(
            nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, 16), nn.BatchNorm1d(16)
        )
        nn.init.normal_(run.recogniser.head.weight)
        found = {"logits": run.predict(run.store.batch(test[:2])[0]).flatten().tolist()}
        given = [rng.normal(size=(len(test), PEOPLE)).round(1) for _ in range(2)]
        given[0][0], given[0][3] = 1.0, (2.0, 2.0, 0.0, 0.0)
        run.predict = lambda images: given[next(call)]
        scores, photos = run.evaluate()
    found |= {f"{name} score": [float(v) for v in score.as_dict().values()] for name, score in scores.items()}
    return found | {name: np.asarray(values, float).tolist() for name, values in photos.items()}


PARTS: dict[str, Callable[..., Numbers]] = {
    "batches": batches,
    "condition": condition,
    "twin term": twin_term,
    "fresh masks": fresh_masks,
    "augmentation": augmentation,
    "schedule": schedule,
    "network": network,
    "loss": loss,
    "steps": steps,
    "evaluation": evaluation,
}
