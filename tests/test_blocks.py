"""Blocks against their formulas, and the health of activations and gradients at depth 100."""

import math

import pytest
import torch
import torch.nn.functional as F

from maskfr_utils.models import create_model
from maskfr_utils.models.blocks import IBSA, IBT, MHSA, SE, FReLU, IBasic, MBConv, PReLU, SEIBasicF
from maskfr_utils.profile import signal_by_depth

BLOCKS = {
    "ibasic": lambda stride: IBasic(8, 16, stride),
    "se_ibasic_f": lambda stride: SEIBasicF(8, 16, stride),
    "ibsa": lambda stride: IBSA(8, 16, 6 // stride, stride),
    "ibt": lambda stride: IBT(8, 16, 6 // stride, stride),
}


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def gradients(function, *tensors):
    tensors = [tensor.detach().clone().requires_grad_() for tensor in tensors]
    value = function(*tensors)
    return value, torch.autograd.grad((value * normal(*value.shape, seed=9)).sum(), tensors)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.parametrize("precision", ["float32", "autocast", "bfloat16"])
def test_shape_and_every_parameter_gets_a_gradient(name, stride, precision):
    block = BLOCKS[name](stride)
    x = normal(4, 8, 6, 6, dtype=torch.float32)
    if precision == "bfloat16":
        block, x = block.bfloat16(), x.bfloat16()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "autocast"):
        out = block(x)
    assert out.shape == (4, 16, 6 // stride, 6 // stride)
    assert out.isfinite().all()
    out.float().square().sum().backward()
    for parameter_name, parameter in block.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), parameter_name
        assert parameter.grad.any(), parameter_name


@pytest.mark.parametrize("block", [IBasic(8, 16, 2), SEIBasicF(8, 16, 2)])
def test_odd_maps_are_rounded_up(block):
    assert block(torch.zeros(2, 8, 7, 5)).shape == (2, 16, 4, 3)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("slope", [-0.3, 0.25, 0.9])
def test_prelu_is_torchs(training, slope):
    prelu = PReLU(5).double().train(training)
    prelu.weight.data.fill_(slope)
    x = normal(3, 5, 4, 4)
    ours, our_gradients = gradients(prelu, x)
    theirs, their_gradients = gradients(lambda x: F.prelu(x, prelu.weight), x)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(our_gradients, their_gradients)
    slopes = [
        torch.autograd.grad(f(x).square().sum(), prelu.weight) for f in (prelu, lambda x: F.prelu(x, prelu.weight))
    ]
    torch.testing.assert_close(slopes[0], slopes[1])


@pytest.mark.parametrize("training", [True, False])
def test_frelu_is_the_maximum_with_its_funnel(training):
    frelu = FReLU(5).double().train(training)
    x = normal(3, 5, 6, 6)
    funnel = lambda x: frelu.bn(F.conv2d(x, frelu.conv.weight, padding=1, groups=5))  # noqa: E731
    ours, our_gradients = gradients(frelu, x)
    theirs, their_gradients = gradients(lambda x: torch.maximum(x, funnel(x)), x)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(our_gradients, their_gradients)
    assert (ours >= x - 1e-12).all() and (ours > x).any() and torch.isclose(ours, x).any()


def test_se_gates_each_channel_by_all_means():
    se = SE(8, reduction=4).double()
    se.requires_grad_(False)
    x = normal(2, 8, 3, 3)
    for image, out in zip(x, se(x), strict=True):
        hidden = [
            max(0.0, sum(w * m for w, m in zip(row, image.mean((1, 2)), strict=True))) for row in se.reduce.weight
        ]
        gate = [1 / (1 + math.exp(-sum(w * h for w, h in zip(row, hidden, strict=True)))) for row in se.expand.weight]
        torch.testing.assert_close(out, image * torch.tensor(gate, dtype=x.dtype)[:, None, None])


def test_mhsa_attends_by_content_and_position():
    """Position by position in loops: softmax over j of (q_i k_j + q_i r_j) / sqrt(d)."""
    channels, height, width, heads = 8, 2, 3, 2
    mhsa = MHSA(channels, (height, width), heads).double()
    torch.nn.init.normal_(mhsa.rows)
    torch.nn.init.normal_(mhsa.columns)
    x = normal(1, channels, height, width)
    d = channels // heads
    q, k, v = (mhsa.qkv.weight[:, :, 0, 0] @ x[0].flatten(1)).reshape(3, heads, d, height * width)
    expected = torch.zeros(heads, d, height * width, dtype=x.dtype)
    for h in range(heads):
        for i in range(height * width):
            scores = []
            for j in range(height * width):
                position = mhsa.rows[h, :, j // width, 0] + mhsa.columns[h, :, 0, j % width]
                scores.append((q[h, :, i] @ k[h, :, j] + q[h, :, i] @ position) / math.sqrt(d))
            weights = torch.stack(scores).exp()
            expected[h, :, i] = v[h] @ (weights / weights.sum())
    torch.testing.assert_close(mhsa(x)[0], expected.reshape(channels, height, width))


def test_mhsa_refuses_what_cannot_fit():
    with pytest.raises(ValueError, match="multiple of 4"):
        MHSA(10, 7)
    with pytest.raises(ValueError, match=r"6 x 7 feature map.*7 x 7"):
        MHSA(8, 7)(torch.zeros(1, 8, 6, 7))


@pytest.mark.parametrize("block", [IBasic(8, 8), SEIBasicF(8, 8), IBSA(8, 8, 4), MBConv(8), IBT(8, 8, 4)])
def test_a_silent_branch_leaves_the_identity(block):
    """The shortcut is untouched: with the last BN of each branch at 0, a block of one shape passes its input on."""
    for module in block.modules():
        if hasattr(module, "bn3"):
            torch.nn.init.zeros_(module.bn3.weight)
    x = normal(2, 8, 4, 4, dtype=torch.float32)
    torch.testing.assert_close(block(x), x)


def test_ibsa_halves_the_map_between_convolution_and_attention():
    block = IBSA(8, 16, 3, stride=2)
    seen = {}
    block.conv1.register_forward_hook(lambda m, i, o: seen.update(conv=o.shape[-1]))
    block.mhsa.register_forward_hook(lambda m, i, o: seen.update(mhsa=i[0].shape[-1]))
    assert block(torch.zeros(2, 8, 6, 6)).shape[-1] == 3
    assert seen == {"conv": 6, "mhsa": 3}


@pytest.mark.parametrize("name", ["iresnet100", "ressanet100"])
def test_nothing_explodes_or_dies_at_depth_100(name):
    torch.manual_seed(0)
    model = create_model(name, width=0.125, embedding_dim=32, image_size=48)
    images = normal(16, 3, 48, 48, dtype=torch.float32)
    deviations, slopes = signal_by_depth(model, images)
    assert len(deviations) == len(slopes) == 49
    assert min(deviations) > 0.5 and max(deviations) < 10
    assert 0 < max(slopes) < 100 * min(slopes)
    with torch.no_grad():
        untrained = model.eval()(images)
    assert 1e-3 < untrained.std() < 1e3
