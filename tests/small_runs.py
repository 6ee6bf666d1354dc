"""Runs of seconds, and how their results are compared."""

import torch
from safetensors.torch import load_file

from maskfr_utils.config import TrainConfig
from maskfr_utils.measure.kills import RUN, arguments
from maskfr_utils.measure.speed import Plan

__all__ = ["PLAN", "SMALL", "TINY", "arguments", "same", "small", "tiny", "weights"]

SMALL = {
    "model": "iresnet50",
    "width": 0.25,
    "embedding_dim": 32,
    "identities": 3,
    "per_identity": 10,
    "test_fraction": 0.2,
    "batch_size": 8,
    "epochs": 3,
    "precision": "32-true",
    "compile": False,
}
PLAN = Plan(
    rounds=2,
    width=0.1,
    batch=16,  # two steps an epoch
    compile=False,
    networks=("iresnet50",),
    exported=(),
    answers=(1, 2),
    narrow=(),
    narrow_batch=2,
    cuda_batches=(2,),
)
"""What a measurement of speed measures in a test."""
TINY = RUN  # everything that draws; saved at every step


def small(out, **more):
    return TrainConfig(**{**SMALL, "out_dir": str(out), **more})


def tiny(out, **more):
    return TrainConfig(**{**TINY, "out_dir": str(out), **more})


def weights(folder):
    return load_file(folder / "model.safetensors") | load_file(folder / "head.safetensors")


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)
