"""The five networks: totals, shapes, weights in and out, export."""

import json
import pickle
import struct
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from maskfr_utils.models import MODELS, create_model, load_insightface_weights, load_model, save_model
from maskfr_utils.names import NETWORKS
from maskfr_utils.profile import count_macs, count_parameters

SMALL = {"width": 0.125, "embedding_dim": 16, "image_size": 32}


def small(name, **arguments):
    torch.manual_seed(0)
    return create_model(name, **SMALL | arguments)


def images(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# Totals


def totals(name):
    with torch.device("meta"):
        model = create_model(name)
    return count_parameters(model), count_macs(model)


@pytest.mark.parametrize(
    ("name", "parameters", "gmacs"), [("iresnet50", 43_590_848, 6.309), ("iresnet100", 65_156_160, 12.090)]
)
def test_iresnet_totals_are_the_fields(name, parameters, gmacs):
    found, macs = totals(name)
    assert found == parameters and round(macs / 1e9, 3) == gmacs


@pytest.mark.parametrize(("name", "mparameters", "gmacs"), [("ressanet50", 44.13, 6.29), ("ressanet100", 66.35, 12.11)])
def test_ressanet_totals_are_the_papers(name, mparameters, gmacs):
    parameters, macs = totals(name)
    assert parameters / 1e6 == pytest.approx(mparameters, rel=0.002) and macs / 1e9 == pytest.approx(gmacs, rel=0.006)


def test_resnet50_is_torchvisions_but_for_pool_and_head():
    head = 2048 * 512 + 512 + 2 * 512
    ours = create_model("resnet50").eval()
    assert count_parameters(ours) == 23_508_032 + head
    theirs = torchvision.models.resnet50().eval()
    body = {name: tensor for name, tensor in ours.state_dict().items() if not name.startswith(("fc.", "features."))}
    theirs.load_state_dict(body | {"fc.weight": theirs.fc.weight, "fc.bias": theirs.fc.bias})
    theirs.maxpool, theirs.fc = nn.Identity(), nn.Sequential(ours.fc, ours.features)
    x = images(2, 3, 112, 112)
    with torch.inference_mode():
        torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize(
    ("name", "mparameters"),
    [("iresnet50", 30.73), ("iresnet100", 52.28), ("ressanet50", 27.14), ("ressanet100", 48.96)],
)
def test_legacy_totals_are_the_audits(name, mparameters):
    with torch.device("meta"):
        assert round(count_parameters(create_model(name, legacy=True)) / 1e6, 2) == mparameters


@pytest.mark.parametrize("name", ["iresnet50", "ressanet50"])
def test_legacy_maps_shrink_to_4(name):
    model = create_model(name, width=0.125, embedding_dim=64, legacy=True)
    sizes = []
    for i in (1, 2, 3, 4):
        getattr(model, f"layer{i}").register_forward_hook(lambda m, x, out: sizes.append(out.shape[-1]))
    assert model(images(2, 3, 112, 112)).shape == (2, 64)
    assert sizes == [28, 14, 7, 4]


@pytest.mark.parametrize("apart", [False, True])
def test_legacy_weights_begin_as_there(apart):
    model = create_model("ressanet50", legacy=True)
    if apart:
        model.keep_apart()
    model.begin_as_there()
    block, gated = model.layer4[1], model.layer3[1]
    query, key, value = block.mhsa.qkv.weight.chunk(3)
    outputs = {  # of a layer's outputs, those that its input's errors come from: torch counts all groups of a depthwise one
        model.conv1: 49 * 64, block.conv1: 9 * 512, block.conv2: 512, block.depthwise[0]: 9 * 512,
        gated.activation.conv: 9 * 256, gated.se.reduce: 16, gated.se.expand: 256,
    }  # fmt: skip
    stds = {layer.weight: outputs[layer] for layer in outputs} | {query: 512, key: 512, value: 512}
    for weight, count in stds.items():
        assert weight.std().item() == pytest.approx((2 / count) ** 0.5, rel=0.05)
        assert abs(weight.mean().item()) < 0.1 * weight.std().item()


def test_stages_stand_at_56_28_14_7(few_blocks):
    for name in MODELS:
        model, sizes = create_model(name, width=0.125), []
        for i in (1, 2, 3, 4):
            getattr(model, f"layer{i}").register_forward_hook(
                lambda m, x, out, sizes=sizes: sizes.append(out.shape[-1])
            )
        with torch.inference_mode():
            model.eval()(images(1, 3, 112, 112))
        assert sizes == [56, 28, 14, 7], name


# Arguments


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("precision", ["float32", "autocast"])
def test_forward_and_backward(name, precision, few_blocks):
    model = small(name)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "autocast"):
        embeddings = model(images(4, 3, 32, 32))
    assert embeddings.shape == (4, 16) and embeddings.dtype == torch.float32 and embeddings.isfinite().all()
    (embeddings * images(4, 16, seed=1)).sum().backward()
    for parameter_name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and parameter.grad.isfinite().all(), parameter_name


def test_every_filter_starts_at_one_scale_depthwise_or_not():
    model = small("ressanet50", width=0.5)
    for name, m in model.named_modules():
        if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3):
            outputs = m.out_channels // m.groups
            variance = 2 / (outputs * 9)  # He's, by the outputs of a group
            assert float(m.weight.detach().var()) == pytest.approx(variance, rel=0.25), name


@pytest.mark.parametrize("name", ["resnet50", "ressanet50"])
def test_traces_as_one_graph(name, monkeypatch):
    """Nothing in the code of a network breaks the graph that torch.compile works on; IResNet's block is ResSaNet's first."""
    monkeypatch.setitem(NETWORKS, name, replace(NETWORKS[name], depths=(1, 1, 1, 1)))
    model = small(name)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    x = images(4, 3, 32, 32)
    torch.testing.assert_close(compiled(x), model(x))
    torch._dynamo.reset()


@pytest.mark.parametrize("name", MODELS)
def test_pictures_do_not_depend_on_their_batch(name, few_blocks):
    model, x = small(name).eval(), images(3, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(model(x)[1:2], model(x[1:2]))


@pytest.mark.parametrize(("width", "channels"), [(1.0, 512), (0.5, 256), (0.25, 128), (0.1, 48), (0.001, 16)])
def test_width_scales_channels_but_not_the_embedding(width, channels, few_blocks):
    with torch.device("meta"):
        for name in MODELS[1:]:
            model = create_model(name, width=width)
            assert model.fc.in_features == channels * 49 and model.fc.out_features == 512


@pytest.mark.parametrize("image_size", [16, 48, 128])
def test_other_image_sizes(image_size):
    model = small("ressanet50", image_size=image_size)
    assert model(images(2, 3, image_size, image_size)).shape == (2, 16)
    with pytest.raises(ValueError, match=rf"takes \(N, 3, {image_size}, {image_size}\)"):
        model(images(2, 3, image_size + 16, image_size + 16))


def test_dropout_acts_in_training_alone():
    model, x = small("iresnet50", dropout=0.5), images(4, 3, 32, 32)
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("resanet50", {}, "did you mean ressanet50"),
        ("iresnet50", {"width": 0}, "width 0"),
        ("iresnet50", {"width": float("nan")}, "width nan"),
        ("iresnet50", {"embedding_dim": 0}, "embedding_dim 0"),
        ("iresnet50", {"image_size": 100}, "image_size 100: a multiple of 16, such as 96"),
        ("iresnet50", {"dropout": 1.0}, "dropout 1.0"),
        ("resnet50", {"legacy": True}, "torchvision"),
        (
            "ressanet50",
            {"legacy": True, "embedding_dim": 128},
            "embedding_dim 128: a legacy network of width 1.0 has 512",
        ),
    ],
)
def test_refuses_wrong_arguments(name, arguments, message):
    with torch.device("meta"), pytest.raises(ValueError, match=message):
        create_model(name, **arguments)


# The field's weights


def norm(features, generator):
    """A BatchNorm in the state a trained one might have."""
    uniform = lambda low, high: low + (high - low) * torch.rand(features, generator=generator)  # noqa: E731
    return {
        "weight": uniform(0.3, 0.9),
        "bias": uniform(-0.2, 0.2),
        "running_mean": uniform(-0.2, 0.2),
        "running_var": uniform(1, 3),
    }


def insightface_state(depths, channels=(64, 128, 256, 512)):
    """A state dict with the names, shapes and order of arcface_torch's files, with drawn values."""
    generator = torch.Generator().manual_seed(0)
    state = {}

    def put(prefix, tensors):
        state.update({f"{prefix}.{key}": value for key, value in tensors.items()})

    def conv(prefix, inputs, outputs, size):
        state[f"{prefix}.weight"] = (
            torch.randn(outputs, inputs, size, size, generator=generator) / (inputs * size * size) ** 0.5
        )

    inputs = channels[0]
    conv("conv1", 3, inputs, 3)
    put("bn1", norm(inputs, generator))
    state["prelu.weight"] = torch.rand(inputs, generator=generator)
    for stage, (depth, outputs) in enumerate(zip(depths, channels, strict=True), 1):
        for i in range(depth):
            name = f"layer{stage}.{i}"
            put(f"{name}.bn1", norm(inputs, generator))
            conv(f"{name}.conv1", inputs, outputs, 3)
            put(f"{name}.bn2", norm(outputs, generator))
            state[f"{name}.prelu.weight"] = torch.rand(outputs, generator=generator)
            conv(f"{name}.conv2", outputs, outputs, 3)
            put(f"{name}.bn3", norm(outputs, generator))
            if i == 0:
                conv(f"{name}.downsample.0", inputs, outputs, 1)
                put(f"{name}.downsample.1", norm(outputs, generator))
            inputs = outputs
    put("bn2", norm(inputs, generator))
    state["fc.weight"] = torch.randn(512, 49 * inputs, generator=generator) / (49 * inputs) ** 0.5
    state["fc.bias"] = torch.randn(512, generator=generator)
    put("features", norm(512, generator) | {"weight": torch.ones(512)})
    return state


def reference_forward(state, x):
    """IResNet as the papers draw it, on bare tensors, in float64."""
    state = {key: value.double() for key, value in state.items()}

    def bn(x, name):
        shape = (1, -1) + (1,) * (x.ndim - 2)
        mean, variance = state[f"{name}.running_mean"].view(shape), state[f"{name}.running_var"].view(shape)
        return (x - mean) / (variance + 1e-5).sqrt() * state[f"{name}.weight"].view(shape) + state[f"{name}.bias"].view(
            shape
        )

    def prelu(x, name):
        return x.clamp_min(0) + state[f"{name}.weight"].view(1, -1, 1, 1) * x.clamp_max(0)

    x = prelu(bn(F.conv2d(x.double(), state["conv1.weight"], padding=1), "bn1"), "prelu")
    for stage in (1, 2, 3, 4):
        i = 0
        while (name := f"layer{stage}.{i}") + ".conv1.weight" in state:
            stride = 2 if i == 0 else 1
            out = F.conv2d(bn(x, f"{name}.bn1"), state[f"{name}.conv1.weight"], padding=1)
            out = prelu(bn(out, f"{name}.bn2"), f"{name}.prelu")
            out = bn(F.conv2d(out, state[f"{name}.conv2.weight"], stride=stride, padding=1), f"{name}.bn3")
            if i == 0:
                x = bn(F.conv2d(x, state[f"{name}.downsample.0.weight"], stride=2), f"{name}.downsample.1")
            x, i = x + out, i + 1
    return bn(bn(x, "bn2").flatten(1) @ state["fc.weight"].T + state["fc.bias"], "features")


@pytest.mark.parametrize("name", ["iresnet50", "iresnet100"])
def test_insightface_weights_give_the_same_embeddings(name):
    """At a quarter of the channels, which no file has, but the arithmetic is the same; a whole file is read below."""
    state = insightface_state(NETWORKS[name].depths, (16, 32, 64, 128))
    model = load_insightface_weights(create_model(name, width=0.25), state).eval()
    x = images(1, 3, 112, 112)
    with torch.inference_mode():
        ours, theirs = model(x), reference_forward(state, x)
    assert theirs.std() > 0.1
    torch.testing.assert_close(ours.double(), theirs, atol=1e-5, rtol=0)


@pytest.fixture(scope="module")
def iresnet50():
    return create_model("iresnet50")


def test_insightface_file_with_parallel_prefix_and_counters(tmp_path, iresnet50):
    state = insightface_state(NETWORKS["iresnet50"].depths)
    stored = {f"module.{key}": value for key, value in state.items()} | {
        "module.bn1.num_batches_tracked": torch.tensor(7)
    }
    torch.save(stored, tmp_path / "backbone.pth")
    model = load_insightface_weights(iresnet50, tmp_path / "backbone.pth")
    assert torch.equal(model.fc.weight, state["fc.weight"])
    assert model.bn1.num_batches_tracked == 7


class Bomb:
    def __reduce__(self):
        return (open, ("bomb_went_off", "w"))


def test_refuses_files_that_would_run_code(tmp_path, monkeypatch, iresnet50):
    monkeypatch.chdir(tmp_path)
    torch.save({"conv1.weight": Bomb()}, "bomb.pth")
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(Bomb()))
    for file in ("bomb.pth", "plain.pkl"):
        with pytest.raises(ValueError, match=file):
            load_insightface_weights(iresnet50, file)
        with pytest.raises(ValueError, match=file):
            load_model(file)
    assert not (tmp_path / "bomb_went_off").exists()


@pytest.mark.parametrize("weights", [{}, {"conv1.weight": 3}, [1, 2], {"conv1.weight": torch.zeros(64, 3, 3, 3)}])
def test_refuses_what_is_no_such_state(weights, iresnet50):
    before = iresnet50.conv1.weight.clone()
    with pytest.raises(ValueError, match="the state dict"):
        load_insightface_weights(iresnet50, weights)
    assert torch.equal(iresnet50.conv1.weight, before)


def test_names_the_way_out_for_another_depth(iresnet50):
    with torch.device("meta"):
        other = create_model("iresnet100")
    with pytest.raises(ValueError, match=r"first layer2.10.bn1.bias.*iresnet50 or iresnet100"):
        load_insightface_weights(iresnet50, other.state_dict())


# Files


@pytest.mark.parametrize(
    "arguments", [{"name": name} for name in MODELS] + [{"name": "ressanet50", "legacy": True, "embedding_dim": 64}]
)
def test_saved_model_comes_back(tmp_path, arguments, few_blocks):
    model = small(**arguments)
    model(images(4, 3, 32, 32))  # moves the running statistics
    save_model(tmp_path / "model.safetensors", model, classes=["ä", "b"])
    loaded, header = load_model(tmp_path / "model.safetensors")
    assert header["classes"] == ["ä", "b"] and header["name"] == arguments["name"] and "RGB" in header["preprocessing"]
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
    x = images(2, 3, 32, 32, seed=1)
    assert torch.equal(loaded(x), model.eval()(x))
    assert [p.requires_grad for p in loaded.parameters()] == [p.requires_grad for p in model.parameters()]


def test_a_save_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(path, small("iresnet50"))
    before = path.read_bytes()
    with pytest.raises(TypeError):
        save_model(path, small("iresnet50"), classes={1, 2})
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == [path.name]


def with_header(data, change):
    """A safetensors file with its JSON text changed."""
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    ours = json.loads(header["__metadata__"]["maskfr"])
    change(header, ours)
    if "__metadata__" in header:
        header["__metadata__"]["maskfr"] = json.dumps(ours)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def swap_dtype(header, ours):
    header["conv1.weight"]["dtype"] = "I32"


HOSTILE = {
    "empty": lambda data: b"",
    "text": lambda data: b"not a model at all" * 10,
    "truncated": lambda data: data[: len(data) // 2],
    "long header": lambda data: struct.pack("<Q", 2**62) + data[8:],
    "header is no object": lambda data: struct.pack("<Q", 2) + b"[]",
    "no metadata": lambda data: with_header(data, lambda h, o: h.pop("__metadata__")),
    "huge": lambda data: with_header(data, lambda h, o: o.update(width=8.0, embedding_dim=10**9)),
    "unknown name": lambda data: with_header(data, lambda h, o: o.update(name="os.system")),
    "number for a name": lambda data: with_header(data, lambda h, o: o.update(name=3)),
    "text for a width": lambda data: with_header(data, lambda h, o: o.update(width="wide")),
    "no width": lambda data: with_header(data, lambda h, o: o.pop("width")),
    "another network": lambda data: with_header(data, lambda h, o: o.update(name="ressanet100")),
    "integers": lambda data: with_header(data, swap_dtype),
    "endless picture": lambda data: with_header(data, lambda h, o: o.update(image_size=float("inf"))),
    "no picture": lambda data: with_header(data, lambda h, o: o.update(image_size=float("nan"))),
    "huge picture": lambda data: with_header(data, lambda h, o: o.update(image_size=16 * 10**400)),
    "long name": lambda data: with_header(data, lambda h, o: o.update(name="x" * 100_000)),
    "long header of ours": lambda data: with_header(data, lambda h, o: o.update(width=["x" * 1000] * 100)),
    "nested": lambda data: struct.pack("<Q", 200_000) + b"[" * 200_000,
    "missing tensor": lambda data: with_header(data, lambda h, o: h.update({"conv1.x": h.pop("conv1.weight")})),
    "tensor beyond the end": lambda data: with_header(
        data, lambda h, o: h["conv1.weight"].update(data_offsets=[0, 2**40])
    ),
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The bytes of a file that is in order."""
    path = tmp_path_factory.mktemp("saved") / "model.safetensors"
    save_model(path, small("iresnet50"))
    return path.read_bytes()


@pytest.mark.parametrize("name", HOSTILE)
def test_refuses_hostile_files(tmp_path, name, saved):
    path = tmp_path / "model.safetensors"
    path.write_bytes(HOSTILE[name](saved))
    with pytest.raises(ValueError, match=r"model\.safetensors: not a network written by save_model") as refused:
        load_model(path)
    assert len(str(refused.value)) <= 300 + len(str(tmp_path)) and "\n" not in str(refused.value)


def test_a_missing_file_is_called_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_model(tmp_path / "nothing.safetensors")
