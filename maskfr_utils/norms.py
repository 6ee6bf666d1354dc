"""BatchNorm over all processes of a run: statistics of the whole batch, not of each process's share."""

import torch
from torch import Tensor, distributed, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn.modules.batchnorm import _BatchNorm


class _AcrossProcesses(_BatchNorm):
    """On any device; torch's own computes on GPUs only. Each process must have equally many pictures."""

    def _check_input_dim(self, x: Tensor) -> None:
        """Takes (N, C) and (N, C, H, W) alike."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        world, around = distributed.get_world_size(), [0, *range(2, x.ndim)]
        shape, given = [1, -1] + [1] * (x.ndim - 2), x.dtype
        x = x.to(torch.promote_types(given, torch.float32))  # statistics of half precision would be rounded
        mean = all_reduce(x.mean(around)) / world
        centred = x - mean.view(shape)
        variance = all_reduce(centred.square().mean(around)) / world
        with torch.no_grad():
            count = world * x.numel() // x.shape[1]
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / max(1, count - 1)), self.momentum)
        scale = (variance + self.eps).rsqrt()
        scale, shift = scale if self.weight is None else scale * self.weight, self.bias
        normed = centred * scale.view(shape)
        return (normed if shift is None else normed + shift.view(shape)).to(given)


def across_processes(module: nn.Module, device: torch.device) -> nn.Module:
    """The same module with every BatchNorm over all processes; names and values of its state stay.

    Args:
        module: changed in place on a CPU.
        device: that it will train on.
    """
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(module)
    for norm in module.modules():
        if isinstance(norm, _BatchNorm):
            norm.__class__ = _AcrossProcesses
    return module
