"""What the switches compute, as numbers: the parts of the code that decide a run of the audit. Torch is loaded when needed."""

from collections.abc import Callable, Collection, Mapping
from functools import partial

import numpy as np

from maskfr_utils.fingerprint import Numbers, sketch
from maskfr_utils.original import scores
from maskfr_utils.original.flaws import NETWORK, POOL, SCORED
from maskfr_utils.probes.runs import of_run, one_thread

EMBEDDING = 24  # of the original's networks at width 0.05


def of_flaws(params: Mapping[str, object], flaws: Collection[str]) -> dict[str, Callable[[], Numbers]]:
    """The parts that decide a run with these flaws: name -> the function that computes it. Without any, the plain run's first.

    Args:
        params: of the run, as `TrainConfig.science` gives them.
        flaws: of training.
    """
    parts, model = of_run(params), params["model"]
    if "network" in flaws:  # of the paper's nothing is used
        parts = {name: part for name, part in parts.items() if name not in (f"network {model}", f"steps {model}")}
    if own := [flaw for flaw in NETWORK if flaw in flaws]:
        parts[f"audit's network {model}, {' '.join(own)}"] = partial(network, model, tuple(own))
    if own := [flaw for flaw in POOL if flaw in flaws]:
        parts[f"audit's photos, {' '.join(own)}"] = partial(pool, tuple(own))
    return parts | {"audit's scores": scored}


@one_thread()
def network(model: str, flaws: tuple[str, ...]) -> Numbers:
    """Embeddings by fresh weights, and how strongly the parameters are pulled."""
    import torch

    from maskfr_utils.batches import to_input
    from maskfr_utils.config import TrainConfig
    from maskfr_utils.original.switches import recogniser
    from maskfr_utils.probes.faces import plain_faces

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        config = TrainConfig(model=model, width=0.05, embedding_dim=EMBEDDING)
        made = recogniser(config, 4, flaws).double().train()
        embeddings = made.backbone(to_input(torch.from_numpy(plain_faces(4, seed=8))).double())
        (1000 * (embeddings * torch.linspace(-1, 1, EMBEDDING)).square().mean()).backward()
    pulled = [float(p.grad.square().sum()) ** 0.5 for p in made.backbone.parameters() if p.grad is not None]
    return {"embeddings": embeddings[:2].flatten().tolist(), "gradients": sorted(pulled, reverse=True)[:20]}


@one_thread()
def pool(flaws: tuple[str, ...]) -> Numbers:
    """Which photos are in which part, and some as they are read."""
    from maskfr_utils.original.switches import Pool
    from maskfr_utils.probes.training import trainer

    with trainer() as run:
        found = Pool(run.store.path, flaws)
        images, _ = found.batch([0, 9, len(found) - 1])
        return {
            "split": found.split.tolist(),
            "copies": found.origin.tolist(),
            "faces": [x for image in images for x in sketch(image)],
        }


@one_thread()
def scored() -> Numbers:
    """Accuracies of given results by each flaw of scoring, and who is named on the statistics of a batch."""
    import torch

    from maskfr_utils.original.switches import by_batch_statistics
    from maskfr_utils.probes.training import trainer
    from maskfr_utils.store import TEST

    rng = np.random.default_rng(5)
    labels = rng.integers(6, size=60)
    guesses = [np.where(rng.random(60) < 0.7, labels, 0).tolist() for _ in range(2)]
    record = {
        "params": {"seed": 1},
        "photos": {"label": labels.tolist(), "masked": guesses[0]},
        "audit": {"flaws": [], "photos": {"masked_by_batch": guesses[1], "copy_trained_on": [0, 1, 0] * 20}},
    }
    with trainer() as run:
        torch.manual_seed(6)
        norm, flat = torch.nn.BatchNorm2d(3), torch.nn.AdaptiveAvgPool2d(4)
        run.recogniser.backbone = torch.nn.Sequential(norm, flat, torch.nn.Flatten(), torch.nn.Linear(48, 16))
        torch.nn.init.normal_(run.recogniser.head.weight)
        named = by_batch_statistics(run, TEST, True)
    found = {"ways": [*scores.reported(record).values(), scores.honest(record)], "named": named.tolist()}
    return found | {"ways of scoring": [float(len(SCORED))]}
