"""The projection against sums done by hand, and what must hold of any."""

from dataclasses import replace
from itertools import pairwise

import pytest

from maskfr_utils.models import create_model
from maskfr_utils.study.projection import MS1M, WEBFACE42M, Machine, project

MACHINE = Machine(pictures=2_000, checkpoint_minutes=1e9)


def test_one_gpu_by_hand():
    found = project(replace(MS1M, epochs=1), MACHINE, 1)
    assert found.network == pytest.approx(128 / 2000) and found.exchange == 0
    assert found.identities == pytest.approx(3 * 128 * 93_431 * 512 / 280e12)
    assert found.hours == pytest.approx(5_179_510 / 128 * (found.network + found.identities) / 3600)
    assert found.cost == pytest.approx(3 * found.hours) and found.bound == "GPUs"


def test_two_gpus_by_hand():
    found = project(MS1M, replace(MACHINE, hidden=0.5), 2)
    assert MS1M.parameters == sum(p.numel() for p in create_model("ressanet100").parameters())
    gradients, embeddings = MS1M.parameters * 4 / 300e9, 1.5 * 256 * 512 * 4 / 300e9
    assert found.exchange == pytest.approx(0.5 * gradients + embeddings)
    assert found.identities == pytest.approx(3 * 256 * 93_431 / 2 * 512 / 280e12)


@pytest.mark.parametrize("work", [MS1M, WEBFACE42M])
def test_more_gpus_take_less_time_and_more_money(work):
    found = [project(work, MACHINE, gpus) for gpus in (1, 2, 4, 8, 16, 32, 64)]
    for fewer, more in pairwise(found):
        assert fewer.hours / 2 <= more.hours * 1.000001 and more.hours < fewer.hours and more.cost >= 0.999 * fewer.cost


def test_slow_loaders_and_checkpoints_cost():
    found = project(MS1M, replace(MACHINE, cores=1), 8)
    assert found.bound == "loaders" and found.step == pytest.approx(128 / 1000)
    assert project(MS1M, replace(MACHINE, checkpoint_minutes=1), 8).hours > project(MS1M, MACHINE, 8).hours
    with pytest.raises(ValueError, match="0 GPUs"):
        project(MS1M, MACHINE, 0)
