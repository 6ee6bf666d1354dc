"""The sampled, parted class matrix against the whole one."""

import copy
import math
from functools import partial

import pytest
import torch
from small_losses import BATCH, CLASSES, DIM, head, optimizer, step_data, train

from maskfr_utils.losses import create_loss
from maskfr_utils.partial import PartialLoss, RowSGD, share_of


@pytest.mark.parametrize("name", ["arcface", "cosface", "sphereface"])
def test_rate_one_is_the_whole_loss(name):
    whole, part = head(name), head(name, rate=1.0)
    plain = train(whole, optimizer(whole.parameters(), torch.optim.SGD), range(5))
    drawn = train(part, optimizer(part.parameters()), range(5))
    for a, b in zip(plain, drawn, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(whole.weight, part.loss.weight, rtol=1e-6, atol=1e-7)


def test_a_step_draws_its_own_identities_and_others_up_to_the_rate():
    loss, labels = head(rate=0.4), torch.tensor([3, 3, 20])
    torch.manual_seed(1)
    drawn = [loss.draw(labels) for _ in range(400)]
    for rows in drawn:
        assert len(rows) == math.ceil(0.4 * CLASSES) == len(rows.unique()) and {3, 20} <= set(rows.tolist())
        assert (rows.diff() > 0).all()
    times = torch.bincount(torch.cat(drawn), minlength=CLASSES).float()
    others = times[[i for i in range(CLASSES) if i not in (3, 20)]] / 400
    assert abs(others.mean() - 8 / 21) < 1e-6 and others.std() < 0.05  # each as often as another
    many = torch.arange(15)
    assert torch.equal(loss.draw(many), many)  # a batch of more identities than the rate allows takes them all


def test_the_sampled_loss_is_the_formula_over_what_was_drawn():
    loss = head(rate=0.3)
    embeddings, labels = step_data(0)
    torch.manual_seed(5)
    rows = loss.draw(labels)
    torch.manual_seed(5)
    value = loss(embeddings, labels)
    unit = torch.nn.functional.normalize
    angles = (unit(embeddings) @ unit(loss.loss.weight[rows]).T).clamp(-1, 1).acos()
    column = (rows[None] == labels[:, None]).long().argmax(1)
    angles[torch.arange(BATCH), column] += loss.loss.margin
    assert (angles < math.pi).all()
    wanted = torch.nn.functional.cross_entropy(16 * angles.cos(), column)
    torch.testing.assert_close(value, wanted, rtol=1e-5, atol=1e-6)


def test_what_is_not_drawn_neither_decays_nor_drifts():
    loss = head(rate=0.3)
    optimiser = optimizer(loss.parameters())
    torch.manual_seed(2)
    train(loss, optimiser, range(3))
    weight, momentum = loss.loss.weight.detach().clone(), optimiser.state[loss.loss.weight]["momentum_buffer"].clone()
    train(loss, optimiser, [3])
    rows = loss.loss.weight.grad.coalesce().indices()[0]
    others = torch.tensor([i for i in range(CLASSES) if i not in rows])
    assert torch.equal(loss.loss.weight[others], weight[others])
    assert torch.equal(optimiser.state[loss.loss.weight]["momentum_buffer"][others], momentum[others])
    assert momentum[others].any() and not torch.equal(loss.loss.weight[rows], weight[rows])


def test_resumed_ends_as_if_it_had_not_stopped():
    torch.manual_seed(3)
    loss = head(rate=0.3)
    optimiser = optimizer(loss.parameters())
    train(loss, optimiser, range(3))
    kept = copy.deepcopy((loss.state_dict(), optimiser.state_dict(), torch.get_rng_state()))
    wanted = train(loss, optimiser, range(3, 6))
    again = head(rate=0.3)
    optimiser = optimizer(again.parameters())
    again.load_state_dict(kept[0])
    optimiser.load_state_dict(kept[1])
    torch.set_rng_state(kept[2])
    assert all(map(torch.equal, wanted, train(again, optimiser, range(3, 6))))
    assert torch.equal(again.loss.weight, loss.loss.weight)


@pytest.mark.parametrize("overflow", [False, True])
def test_a_fused_step_in_fp16_takes_the_scale_off(overflow):
    """The scaler leaves it to a fused optimiser, for whole gradients and for those of some rows alike."""
    ends = []
    for fused in (False, True):
        loss, other = head(rate=0.4), torch.nn.Parameter(torch.ones(3))
        optimiser = RowSGD([*loss.parameters(), other], lr=0.1, momentum=0.9, fused=fused or None)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
        for step in range(3):
            embeddings, labels = step_data(step)
            optimiser.zero_grad()
            torch.manual_seed(step)
            value = loss(embeddings, labels) + other.sum()
            scaler.scale(value * (math.inf if overflow and step == 1 else 1)).backward()
            scaler.step(optimiser)
            scaler.update()
        ends.append((loss.loss.weight.detach(), other.detach()))
    for plain, fused in zip(*ends, strict=True):
        torch.testing.assert_close(fused, plain, rtol=1e-6, atol=1e-7)
    assert (ends[0][1] < 1).all() and not torch.equal(ends[0][0], head(rate=0.4).loss.weight)


def test_identities_are_shared_out():
    shares = [share_of(23, rank, 4) for rank in range(4)]
    assert [i for share in shares for i in share] == list(range(23)) and {len(s) for s in shares} == {5, 6}


@pytest.mark.parametrize("name", ["curricularface", "magface", "subcenter_arcface", "softmax"])
def test_losses_of_their_own_are_refused(name):
    with pytest.raises(ValueError, match="cannot be sampled"):
        PartialLoss(create_loss(name, DIM, CLASSES), 0.5)


@pytest.mark.parametrize("rate", [0, -1, 1.5, math.nan])
def test_rates_out_of_range_are_refused(rate):
    with pytest.raises(ValueError, match="rate"):
        head(rate=rate)


@pytest.mark.parametrize("rate", [1.0, 0.4])
def test_a_fused_step_is_the_same(rate):
    """As on a GPU: of dense gradients, and where only some rows of the class weights have one."""
    found = []
    for fused in (None, True):
        torch.manual_seed(3)  # of the identities that are drawn
        loss = head(rate=rate) if rate < 1 else head()
        more = partial(RowSGD, fused=fused)
        found.append([*train(loss, optimizer(loss.parameters(), more), range(5)), *loss.parameters()])
    for plain, fast in zip(*found, strict=True):
        torch.testing.assert_close(fast, plain)
