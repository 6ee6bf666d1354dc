"""A class matrix of a few rows, whole, sampled or parted, and how it is trained."""

import torch
from torch import distributed

from maskfr_utils.losses import create_loss
from maskfr_utils.partial import PartialLoss, RowSGD, share_of

CLASSES, DIM, BATCH = 23, 6, 8


def head(name="arcface", rows=range(CLASSES), **more):
    loss = create_loss(name, DIM, len(rows), scale=16.0)
    whole = torch.randn(CLASSES, DIM, generator=torch.Generator().manual_seed(0))
    loss.weight.data = whole[rows.start : rows.stop].clone()
    return PartialLoss(loss, first=rows.start, **more) if more else loss


def step_data(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(step)
    return torch.randn(BATCH, DIM, generator=draw), torch.randint(CLASSES, (BATCH,), generator=draw)


def optimizer(parameters, kind=RowSGD):
    return kind(parameters, lr=0.1, momentum=0.9, weight_decay=0.01)


def train(loss, optimiser, steps) -> list[torch.Tensor]:
    """Losses, and the gradient of the embeddings of the last step."""
    said = []
    for step in steps:
        embeddings, labels = step_data(step)
        embeddings.requires_grad_()
        optimiser.zero_grad()
        value = loss(embeddings, labels)
        value.backward()
        optimiser.step()
        said.append(value.detach())
    return [*said, embeddings.grad]


def parted(folder, cases):
    """What one of several processes ends with in each case (rate, step at which it is stopped)."""
    distributed.init_process_group("gloo")
    rank, world = distributed.get_rank(), distributed.get_world_size()
    torch.save([steps_of_a_part(rank, world, folder, *case) for case in cases], f"{folder}/out-{rank}.pt")
    distributed.destroy_process_group()


def steps_of_a_part(rank, world, folder, rate, stop):
    torch.manual_seed(rank)
    loss = head(rows=share_of(CLASSES, rank, world), rate=rate)
    optimiser = optimizer(loss.parameters())
    said = []
    for step in range(6):
        if step == stop:  # as from a checkpoint: everything made anew
            torch.save((loss.state_dict(), optimiser.state_dict(), torch.get_rng_state()), f"{folder}/{rank}.pt")
            loss = head(rows=share_of(CLASSES, rank, world), rate=rate)
            weights, moved, draws = torch.load(f"{folder}/{rank}.pt")
            loss.load_state_dict(weights)
            optimiser = optimizer(loss.parameters())
            optimiser.load_state_dict(moved)
            torch.set_rng_state(draws)
        embeddings, labels = step_data(step)
        half = slice(rank * BATCH // world, (rank + 1) * BATCH // world)
        embeddings = embeddings[half].requires_grad_()
        optimiser.zero_grad()
        value = loss(embeddings, labels[half])
        value.backward()
        optimiser.step()
        said.append(value.item())
    return said, loss.whole_weight(), embeddings.grad / world  # as DDP averages
