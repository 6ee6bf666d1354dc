"""Very many identities: a loss over a part of them each step, its class matrix parted over processes (PartialFC).

A step of the whole softmax over a million identities multiplies by all of them, and keeps the products. Here a step takes
the identities of its batch and, at random, as many others as make up a share `rate` of all; the softmax runs over these
alone. At rate 1 it is the whole loss. Training (`class_rate`) uses it in one process. With several, which no command uses
yet, each holds the rows of a range of identities and draws among its own; the embeddings of all are gathered, and of the
softmax only two numbers a picture travel.

What is not drawn has no gradient, so `RowSGD` leaves it as it is: such an identity neither decays nor drifts on by its
momentum in that step; its momentum waits until it is drawn again. Plain SGD would move every row of the matrix each step.

Source: An et al., "Partial FC: training 10 million identities on a single machine", ICCVW 2021; "Killing two birds with
one stone", CVPR 2022.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, distributed, nn

from maskfr_utils.losses import CosineLoss, at_least_float32


def share_of(num_classes: int, rank: int, world: int) -> range:
    """The identities whose rows one of `world` processes holds: as many as another, or one more."""
    each, more = divmod(num_classes, world)
    first = rank * each + min(rank, more)
    return range(first, first + each + (rank < more))


class PartialLoss(nn.Module):
    """A margin loss over drawn identities; the rows of `loss.weight` are this process's share of them.

    Draws are of torch's own generator on the CPU, whose state a checkpoint keeps.

    Args:
        loss: of this process's identities; one whose logits are scaled cosines with a margin at the true identity.
        rate: share of the identities that a step draws, above 0, at most 1.
        first: label of its first row.
        group: the processes; by default all, where there are several.

    Raises:
        ValueError: a rate out of range, or a loss that looks at all identities in a way of its own.
    """

    def __init__(self, loss: CosineLoss, rate: float = 0.1, *, first: int = 0, group: Any = None):
        super().__init__()
        if not 0 < rate <= 1:
            raise ValueError(f"rate {rate}: the share of the identities that a step draws, above 0, at most 1")
        plain = isinstance(loss, CosineLoss) and all(
            getattr(type(loss), name) is getattr(CosineLoss, name) for name in ("compute", "cosines")
        )
        if not plain:
            raise ValueError(f"{type(loss).__name__} cannot be sampled: take arcface, cosface, sphereface or the like")
        self.loss, self.rate, self.first, self.group = loss, rate, first, group
        self.hits: Tensor | None = (
            None  # how many pictures of the last step were nearest to their own among those drawn
        )
        self.world = distributed.get_world_size(group) if distributed.is_initialized() else 1

    @property
    def margin_share(self) -> float:
        """The part of the margin in force, 0 to 1."""
        return self.loss.margin_share

    @margin_share.setter
    def margin_share(self, value: float) -> None:
        self.loss.margin_share = value

    def draw(self, own: Tensor) -> Tensor:
        """Rows (k,) int64, in order: those of the labels `own`, each once, and others at random up to the rate."""
        rows, held = own.unique(), len(self.loss.weight)
        count = max(math.ceil(self.rate * held), len(rows))
        if count == held:
            return torch.arange(held, device=own.device)
        lot = torch.rand(held)
        lot[rows.cpu()] = 2.0
        return lot.topk(count, sorted=False).indices.sort().values.to(own.device)

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Mean loss over the pictures of all processes, a scalar in float32 at least.

        As each process takes the same mean, DDP's average over processes would shrink the network's gradient; it is
        handed back as many times larger.

        Args:
            embeddings: (N, embedding_dim); N is the same in each process.
            labels: (N,) int64, of all identities.
        """
        with torch.autocast(embeddings.device.type, enabled=False):
            embeddings = at_least_float32(embeddings)
            if self.world > 1:
                embeddings = _Gathered.apply(embeddings, self.group)
                labels = torch.cat(_all(labels, self.group))
            places = labels - self.first
            mine = (places >= 0) & (places < len(self.loss.weight))
            rows = self.draw(places[mine])
            weight = F.embedding(rows, self.loss.weight, sparse=True)  # whose gradient holds these rows alone
            cosines = F.linear(F.normalize(embeddings), F.normalize(weight.to(embeddings.dtype)))
            column = torch.searchsorted(rows, places.clamp(0, len(self.loss.weight) - 1)).clamp_max(len(rows) - 1)
            true = cosines.gather(1, column[:, None])
            self.hits = (cosines.detach().argmax(1) == column)[mine].sum()
            target = torch.where(mine[:, None], self.loss.with_margin(true), true)
            logits = self.loss.factor(embeddings) * cosines.scatter(1, column[:, None], target)
            if self.world == 1:
                return F.cross_entropy(logits, column)
            return _CrossEntropy.apply(logits, column, mine, self.group)

    def whole_weight(self) -> Tensor:
        """The rows of all processes (num_classes, embedding_dim); all must ask for it together."""
        weight = self.loss.weight.detach()
        if self.world == 1:
            return weight
        counts = torch.cat(_all(torch.tensor([len(weight)], device=weight.device), self.group)).tolist()
        padded = F.pad(weight, (0, 0, 0, max(counts) - len(weight)))
        return torch.cat([rows[:count] for rows, count in zip(_all(padded, self.group), counts, strict=True)])

    def logits(self, embeddings: Tensor) -> Tensor:
        """Scores of this process's identities without margin, (N, rows)."""
        return self.loss.logits(embeddings)


class RowSGD(torch.optim.SGD):
    """SGD that, where a gradient holds some rows of a matrix alone, moves these and leaves all others as they are.

    A row that is drawn moves as SGD would move it: decay joins its gradient, both join its momentum. One that is not drawn
    keeps weight and momentum. Dense gradients are SGD's own affair.
    """

    @torch.no_grad()
    def step(self, closure=None):
        """One step.

        In fp16 a fused optimiser is given gradients as many times too large as `grad_scale` says, and is to leave out a step of
        which `found_inf` says that they overflowed; both are the scaler's, which sets them for the step.
        """
        held, overflowed = [], getattr(self, "found_inf", None)
        moves = overflowed is None or not overflowed.item()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None and p.grad.is_sparse:
                    if moves:
                        self._move(p, group)
                    held.append((p, p.grad))
                    p.grad = None
        loss = super().step(closure)
        for p, grad in held:
            p.grad = grad
        return loss

    def _move(self, p: Tensor, group: dict) -> None:
        grad = p.grad.coalesce()
        rows, change = grad.indices()[0], grad.values()
        if (scale := getattr(self, "grad_scale", None)) is not None:
            change = change / scale
        if group["weight_decay"]:
            change = change.add(p[rows], alpha=group["weight_decay"])
        if group["momentum"]:
            if self.state[p].get("momentum_buffer") is None:
                self.state[p]["momentum_buffer"] = torch.zeros_like(p)
            buffer = self.state[p]["momentum_buffer"]
            change = buffer[rows].mul_(group["momentum"]).add_(change)
            buffer[rows] = change
        p.index_add_(0, rows, change, alpha=-group["lr"])


def _all(x: Tensor, group: Any) -> list[Tensor]:
    """The tensors of all processes, all of one shape."""
    found = [torch.empty_like(x) for _ in range(distributed.get_world_size(group))]
    distributed.all_gather(found, x.contiguous(), group)
    return found


class _Gathered(torch.autograd.Function):
    """The rows of all processes; the gradient of one's own rows is the sum over processes, times their number."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Any) -> Tensor:
        ctx.group, ctx.size = group, len(x)
        return torch.cat(_all(x, group))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        grad = grad.contiguous()
        distributed.all_reduce(grad, group=ctx.group)
        start = distributed.get_rank(ctx.group) * ctx.size
        return grad[start : start + ctx.size] * distributed.get_world_size(ctx.group), None


class _CrossEntropy(torch.autograd.Function):
    """Mean cross entropy of logits (N, k) whose columns are parted over processes; `mine` (N,) says whose target is here."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, column: Tensor, mine: Tensor, group: Any) -> Tensor:
        highest = logits.amax(1)
        distributed.all_reduce(highest, distributed.ReduceOp.MAX, group)
        share = (logits - highest[:, None]).exp_()
        sums = torch.stack([share.sum(1), (logits.gather(1, column[:, None])[:, 0] - highest) * mine])
        distributed.all_reduce(sums, group=group)
        share /= sums[0][:, None]
        ctx.save_for_backward(share, column, mine)
        return (sums[0].log() - sums[1]).mean()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        share, column, mine = ctx.saved_tensors
        change = share.scatter_add(1, column[:, None], -mine.to(share.dtype)[:, None])
        return change * (grad / len(share)), None, None, None
