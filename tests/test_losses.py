"""Losses against their formulas by hand, an independent implementation, and the ends of the angle's range."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning import losses as metric_learning

from maskfr_utils.losses import (
    LOSSES,
    ArcFace,
    CombinedMargin,
    CosFace,
    CurricularFace,
    MagFace,
    SphereFace,
    SubCenterArcFace,
    create_loss,
)

DIM, CLASSES, N = 6, 5, 24
ANGULAR = [name for name in LOSSES if name not in ("softmax", "legacy_arcface", "arcface_straight_through")]


def batch(dtype=torch.float64, seed=0, length=20.0):
    """Embeddings (N, DIM) of about the given length, and labels."""
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(N, DIM, generator=generator, dtype=torch.float64)
    embeddings *= length / DIM**0.5
    return embeddings.to(dtype), torch.arange(N) % CLASSES


def make(name, dtype=torch.float64, **arguments):
    """A loss with weights of no special size."""
    loss = create_loss(name, DIM, CLASSES, **arguments).to(dtype)
    generator = torch.Generator().manual_seed(1)
    for parameter in loss.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64).to(dtype)
    return loss


# By hand: one picture x (DIM,) of identity y, the loss's tensors, its scale s and margin m -> logits (CLASSES,)


def cosine(x, w):
    return (
        sum(a * b for a, b in zip(x, w, strict=True))
        / math.sqrt(sum(a * a for a in x))
        / math.sqrt(sum(b * b for b in w))
    )


def falling(u):
    k = math.floor(u / math.pi)
    return (-1) ** k * math.cos(u) - 2 * k


def arc(cos, m):
    t = math.acos(cos)
    return math.cos(t + m) if t <= math.pi - m else cos - m * math.sin(m)


def hand_arcface(x, y, loss, s=64, m=0.5):
    return [s * (arc(c, m) if j == y else c) for j, c in enumerate(cosine(x, w) for w in loss["weight"])]


def hand_cosface(x, y, loss, s=64, m=0.35):
    return [s * (c - m if j == y else c) for j, c in enumerate(cosine(x, w) for w in loss["weight"])]


def hand_sphereface(x, y, loss, m=4):
    s = math.sqrt(sum(a * a for a in x))
    return [
        s * (falling(m * math.acos(c)) if j == y else c) for j, c in enumerate(cosine(x, w) for w in loss["weight"])
    ]


def hand_combined_margin(x, y, loss, s=64, m=0.3):
    cosines = [cosine(x, w) for w in loss["weight"]]
    return [s * (falling(math.acos(c) + m) - 0.2 if j == y else c) for j, c in enumerate(cosines)]


def hand_subcenter_arcface(x, y, loss, s=64, m=0.5):
    cosines = [max(cosine(x, w) for w in centers) for centers in loss["weight"]]
    return [s * (arc(c, m) if j == y else c) for j, c in enumerate(cosines)]


def hand_curricularface(x, y, loss, s=64, m=0.5):
    cosines = [cosine(x, w) for w in loss["weight"]]
    target, t = arc(cosines[y], m), loss["t"]
    return [s * (target if j == y else c * (t + c) if c > target else c) for j, c in enumerate(cosines)]


def hand_magface(x, y, loss, s=64, m=0.8):
    a = min(110, max(10, math.sqrt(sum(v * v for v in x))))
    return hand_arcface(x, y, loss, s, 0.45 + (m - 0.45) * (a - 10) / 100)


def hand_adaface(x, y, loss, s=64, m=0.4):
    a = min(100, max(1e-3, math.sqrt(sum(v * v for v in x))))
    q = min(1, max(-1, (a - loss["mean"]) / max(loss["std"], 1e-3) * 0.333))
    cosines = [cosine(x, w) for w in loss["weight"]]
    turned = math.cos(min(math.pi, max(0, math.acos(cosines[y]) - m * q)))
    return [s * (turned - m - m * q if j == y else c) for j, c in enumerate(cosines)]


def hand_softmax(x, y, loss):
    return [
        sum(a * b for a, b in zip(x, w, strict=True)) + b for w, b in zip(loss["weight"], loss["bias"], strict=True)
    ]


def hand_legacy_arcface(x, y, loss, s=45, m=0.1):
    z = hand_softmax(x, y, loss)
    length = math.sqrt(sum(v * v for v in z))
    return [s * (arc(v / length, m) if j == y else v / length) for j, v in enumerate(z)]


hand_arcface_straight_through = hand_arcface
HAND = {name: globals()[f"hand_{name}"] for name in LOSSES}


def hand_loss(name, embeddings, labels, loss):
    """Mean cross entropy of the logits by hand, on the numbers that the module holds, in float64."""
    state = {key: value.double().numpy() for key, value in loss.state_dict().items()}
    terms = []
    for x, y in zip(embeddings.double().tolist(), labels.tolist(), strict=True):
        z = np.array(HAND[name](x, y, state))
        terms.append(np.log(np.exp(z - z.max()).sum()) + z.max() - z[y])
        if name == "magface":
            a = min(110, max(10, math.sqrt(sum(v * v for v in x))))
            terms[-1] += 35 * (a / 110**2 + 1 / a)
    return np.mean(terms)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 2e-6), (torch.bfloat16, 2e-6)])
@pytest.mark.parametrize("name", LOSSES)
def test_formula_by_hand(name, dtype, tolerance):
    """Half precision enters as it is and is computed in float32."""
    loss = make(name, dtype).eval()
    embeddings, labels = batch(dtype)
    value = loss(embeddings, labels)
    assert value.dtype == (torch.float32 if dtype == torch.bfloat16 else dtype) and value.shape == ()
    assert value.item() == pytest.approx(hand_loss(name, embeddings, labels, loss), rel=tolerance)


# An independent implementation

INDEPENDENT = {
    "arcface": lambda: metric_learning.ArcFaceLoss(CLASSES, DIM, margin=math.degrees(0.5), scale=64),
    "cosface": lambda: metric_learning.CosFaceLoss(CLASSES, DIM, margin=0.35, scale=64),
    "sphereface": lambda: metric_learning.SphereFaceLoss(CLASSES, DIM, margin=4, scale=1),
    "subcenter_arcface": lambda: metric_learning.SubCenterArcFaceLoss(
        num_classes=CLASSES, embedding_size=DIM, margin=math.degrees(0.5), scale=64, sub_centers=3
    ),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", INDEPENDENT)
def test_agrees_with_pytorch_metric_learning(name, seed):
    """In loss and both gradients to 1e-6, angles beyond pi - m among them."""
    ours, theirs = make(name), INDEPENDENT[name]()
    embeddings, labels = batch(seed=seed)
    embeddings[0] = -ours.weight.detach().reshape(CLASSES, -1, DIM)[labels[0], 0] + 0.01
    theirs.W.data = ours.weight.detach().reshape(-1, DIM).T.clone()
    results = []
    for loss, weight in ((ours, ours.weight), (theirs, theirs.W)):
        x = embeddings.clone().requires_grad_()
        value = loss(x, labels)
        value.backward()
        gradient = weight.grad if weight is ours.weight else weight.grad.T.reshape(ours.weight.shape)
        results.append((value.detach(), x.grad, gradient))
    for one, other in zip(*results, strict=True):
        assert (one - other).abs().max() < 1e-6


def test_agrees_with_pytorch_metric_learning_in_float32():
    ours, theirs = make("arcface", torch.float32), INDEPENDENT["arcface"]()
    theirs.W.data = ours.weight.detach().T.clone()
    embeddings, labels = batch(torch.float32)
    x, y = embeddings.clone().requires_grad_(), embeddings.clone().requires_grad_()
    one, other = ours(x, labels), theirs(y, labels)
    one.backward()
    other.backward()
    assert one.item() == pytest.approx(other.item(), rel=1e-6)
    torch.testing.assert_close(x.grad, y.grad, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(ours.weight.grad, theirs.W.grad.T, atol=1e-6, rtol=1e-5)


# Angles


def at_angles(loss, angles, dtype=torch.float32):
    """Embeddings at the given angles from the first identity's weight, in the plane of the first two."""
    axes = torch.eye(CLASSES, DIM, dtype=dtype)
    loss.weight.data = (axes[:, None].repeat(1, loss.weight.shape[1], 1) if loss.weight.ndim == 3 else axes).clone()
    angles = torch.as_tensor(angles, dtype=torch.float64)
    x = torch.zeros(len(angles), DIM, dtype=torch.float64)
    x[:, 0], x[:, -1] = angles.cos(), angles.sin()
    return (20 * x).to(dtype)


ENDS = [
    0.0,
    1e-8,
    1e-4,
    1e-2,
    math.pi - 0.5 - 1e-6,
    math.pi - 0.5 + 1e-6,
    math.pi - 1e-2,
    math.pi - 1e-4,
    math.pi - 1e-8,
    math.pi,
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", LOSSES)
def test_finite_at_the_ends_of_the_angle(name, dtype):
    loss = make(name, dtype)
    x = at_angles(loss, ENDS, dtype).requires_grad_()
    for i in range(len(ENDS)):
        value = loss(x[i : i + 1], torch.tensor([0]))
        gradients = torch.autograd.grad(value, [x, loss.weight])
        assert value.isfinite() and all(g.isfinite().all() for g in gradients), ENDS[i]
        assert all(g.abs().max() < 1e4 for g in gradients), ENDS[i]


@pytest.mark.parametrize("name", ANGULAR)
def test_loss_rises_with_the_angle_all_the_way(name):
    loss = make(name).eval()
    x = at_angles(loss, np.linspace(0, math.pi, 400), torch.float64)
    values = torch.stack([loss(row[None], torch.tensor([0])) for row in x])
    assert (values.diff() > -1e-9).all()


def test_step_where_arcface_is_continued():
    """The field's continuation is lower by cos m + m sin m - 1 at pi - m; psi of the combined margin has no step."""
    cosines = torch.tensor([[math.pi - 0.5 - 1e-7], [math.pi - 0.5 + 1e-7]], dtype=torch.float64).cos()
    before, after = ArcFace(DIM, CLASSES).with_margin(cosines)
    assert (before - after).item() == pytest.approx(math.cos(0.5) + 0.5 * math.sin(0.5) - 1, abs=1e-6)
    before, after = CombinedMargin(DIM, CLASSES, margin=0.5).with_margin(cosines)
    assert (before - after).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("cos", "turned"), [(0, -0.479426), (0.5, 0.023596), (0.9, 0.580848), (1, 0.877583)])
def test_reference_values_of_the_turned_cosine(cos, turned):
    assert ArcFace(DIM, CLASSES).with_margin(torch.tensor([[cos]], dtype=torch.float64)).item() == pytest.approx(
        turned, abs=1e-6
    )


def test_gradient_is_the_functions_own():
    loss = make("arcface", scale=8.0)
    embeddings, labels = batch(length=1.0)
    assert torch.autograd.gradcheck(lambda x: loss(x, labels), embeddings.requires_grad_())
    assert torch.autograd.gradcheck(lambda w: functional_arcface(loss, embeddings.detach(), w, labels), loss.weight)


def functional_arcface(loss, embeddings, weight, labels):
    return torch.func.functional_call(loss, {"weight": weight}, (embeddings, labels))


def test_straight_through_has_the_same_value_and_the_gradient_without_margin():
    """d z_y / d cos t_y = s: the gradient is that of cosines scaled, at the softmax that the margin leads to."""
    embeddings, labels = batch()
    true, straight = make("arcface"), make("arcface", straight_through=True)
    x = embeddings.clone().requires_grad_()
    value = straight(x, labels)
    assert value.item() == pytest.approx(true(embeddings, labels).item(), rel=1e-12)
    value.backward()
    y = embeddings.clone().requires_grad_()
    cosines = F.linear(F.normalize(y), F.normalize(true.weight))
    with torch.no_grad():
        angle = cosines.gather(1, labels[:, None]).acos()
        target = torch.where(angle <= math.pi - 0.5, (angle + 0.5).cos(), angle.cos() - 0.5 * math.sin(0.5))
        error = (64 * cosines.scatter(1, labels[:, None], target)).softmax(1) - F.one_hot(labels, CLASSES)
    (64 * cosines).backward(error / N)
    torch.testing.assert_close(x.grad, y.grad)
    torch.testing.assert_close(straight.weight.grad, true.weight.grad)
    z = embeddings.clone().requires_grad_()
    true(z, labels).backward()
    assert (z.grad - x.grad).abs().max() > 0.01 * x.grad.abs().max()


# The interface


@pytest.mark.parametrize("name", LOSSES)
def test_autocast_changes_nothing(name):
    loss = make(name, torch.float32).eval()
    embeddings, labels = batch(torch.float32)
    value, logits = loss(embeddings, labels), loss.logits(embeddings)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(loss(embeddings, labels), value)
        assert torch.equal(loss.logits(embeddings), logits)
    assert logits.shape == (N, CLASSES) and logits.dtype == torch.float32


@pytest.mark.parametrize("name", ["arcface", "cosface", "sphereface", "combined_margin", "subcenter_arcface"])
def test_share_of_the_margin_goes_from_none_to_the_whole(name):
    more = {"multiplier": 1.2} if name == "combined_margin" else {}
    loss = make(name, scale=16.0, **more)
    embeddings, labels = batch()
    whole = loss(embeddings, labels)
    values = []
    for loss.margin_share in (0.0, 0.5, 1.0):
        values.append(loss(embeddings, labels))
    assert values[0].item() == pytest.approx(F.cross_entropy(loss.logits(embeddings), labels).item())
    assert values[0] < values[1] < values[2] and values[2] == whole


@pytest.mark.parametrize("name", LOSSES)
def test_separates_identities(name):
    """A few steps on free embeddings end with each at its own identity."""
    torch.manual_seed(0)
    loss = create_loss(name, DIM, CLASSES)
    embeddings = torch.nn.Parameter(torch.randn(N, DIM) * 4)
    labels = torch.arange(N) % CLASSES
    optimizer = torch.optim.Adam([embeddings, *loss.parameters()], lr=0.1)
    first = loss(embeddings, labels).item()
    for _ in range(150):
        optimizer.zero_grad()
        value = loss(embeddings, labels)
        value.backward()
        optimizer.step()
    assert value < first
    assert (loss.logits(embeddings).argmax(1) == labels).all()


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**31), st.floats(0.01, 100), st.floats(0.01, 100), st.floats(0, 1.5), st.floats(1, 64))
def test_arcface_knows_directions_alone(seed, a, b, margin, scale):
    embeddings, labels = batch(seed=seed)
    loss = make("arcface", scale=scale, margin=margin)
    value = loss(embeddings, labels)
    assert value >= 0
    loss.weight.data *= b
    torch.testing.assert_close(loss(a * embeddings, labels), value)
    order = torch.randperm(N, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(loss(embeddings[order], labels[order]), value)


def test_legacy_arcface_knows_no_cosine():
    """Scaling one identity's weight, which no angle sees, changes what the original code predicts."""
    loss = make("legacy_arcface")
    embeddings, labels = batch()
    before = loss.logits(embeddings).argmax(1)
    loss.weight.data[2] *= 50
    assert (loss.logits(embeddings).argmax(1) != before).any()
    loss.bias.data.zero_()
    torch.testing.assert_close(
        loss(3 * embeddings, labels), loss(embeddings, labels)
    )  # the length over identities goes


def test_curricularface_follows_the_mean_in_training_alone():
    loss = make("curricularface")
    embeddings, labels = batch()
    mean = (F.normalize(embeddings) * F.normalize(loss.weight)[labels]).sum(1).mean()
    loss(embeddings, labels)
    assert loss.t.item() == pytest.approx(0.01 * mean.item())
    loss.eval()(embeddings, labels)
    assert loss.t.item() == pytest.approx(0.01 * mean.item())
    assert "t" in CurricularFace(DIM, CLASSES).state_dict()


def test_magface_gives_long_embeddings_a_larger_margin():
    loss = MagFace(DIM, CLASSES, regularisation=0.0)
    x = at_angles(loss, [0.8] * 5)
    values = [loss(length / 20 * x, torch.zeros(5, dtype=torch.int64)).item() for length in (5, 10, 50, 110, 200)]
    assert values[0] == pytest.approx(values[1]) and values[1] < values[2] < values[3] == pytest.approx(values[4])


def test_adafaces_margin_goes_by_the_length_of_the_embedding():
    """Short ones bear it as an angle, like ArcFace; those of mean length as a drop, like CosFace; the gradient takes no part."""
    loss = make("adaface").eval()
    loss.mean.fill_(20.0)
    loss.std.fill_(3.0)
    embeddings, labels = batch()
    directions = F.normalize(embeddings)
    state = {"weight": loss.weight.data}
    for length, name, margin in ((5.0, "arcface", 0.4), (20.0, "cosface", 0.4)):
        other = create_loss(name, DIM, CLASSES, margin=margin).double()
        other.load_state_dict(state)
        near = loss.weight.data[labels] + 0.3 * directions  # within pi - m
        near = length * F.normalize(near)
        torch.testing.assert_close(loss(near, labels), other(near, labels))
    x = (19.0 * directions).requires_grad_()  # the loss changes with the length, of which the gradient knows nothing
    loss(x, labels).backward()
    assert (x.grad * directions).sum(1).abs().max() < 1e-9
    torch.testing.assert_close(loss(500 * directions, labels), loss(100 * directions, labels))


def test_adaface_follows_the_lengths_in_training_alone():
    loss = make("adaface")
    embeddings, labels = batch()
    length = embeddings.norm(dim=1)
    loss(embeddings, labels)
    assert loss.mean.item() == pytest.approx(length.mean().item())
    assert loss.std.item() == pytest.approx(length.std(correction=0).item() + 1e-3)
    loss(2 * embeddings, labels)
    assert loss.mean.item() == pytest.approx(1.01 * length.mean().item())
    loss.eval()(embeddings, labels)
    assert loss.mean.item() == pytest.approx(1.01 * length.mean().item())


def test_subcenters_take_the_nearest():
    loss = SubCenterArcFace(DIM, CLASSES, centers=2)
    assert loss.weight.shape == (CLASSES, 2, DIM)
    x = loss.weight[3, 1][None]
    assert loss.logits(x)[0, 3].item() == pytest.approx(64, rel=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: create_loss("arc-face", DIM, CLASSES), "did you mean arcface"),
        (lambda: ArcFace(DIM, 0), "0 classes"),
        (lambda: ArcFace(DIM, CLASSES, scale=0), "scale 0"),
        (lambda: ArcFace(DIM, CLASSES, scale=math.inf), "scale inf"),
        (lambda: ArcFace(DIM, CLASSES, scale=None), "scale None"),
        (lambda: ArcFace(DIM, CLASSES, margin=-0.1), "margin -0.1"),
        (lambda: ArcFace(DIM, CLASSES, margin=28.6), "margin 28.6: from 0 to 3.14159 for ArcFace"),
        (lambda: CosFace(DIM, CLASSES, margin=math.nan), "margin nan"),
        (lambda: SphereFace(DIM, CLASSES, margin=0.5), "margin 0.5: from 1"),
        (lambda: SubCenterArcFace(DIM, CLASSES, centers=0), "centers 0"),
    ],
)
def test_refuses_wrong_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_sphereface_with_a_scale_of_its_own():
    loss = make("sphereface", scale=30.0, margin=1.5)
    embeddings, labels = batch()
    torch.testing.assert_close(loss(7 * embeddings, labels), loss(embeddings, labels))
    assert SphereFace(DIM, CLASSES).scale is None
