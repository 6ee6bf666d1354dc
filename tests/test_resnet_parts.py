"""One thing at a time is changed in ResNet-50, and nothing else; what the runs did is told with intervals, and a stopped command goes on."""

import json
import re

import numpy as np
import pytest
import torch
from shallow import shallow
from torch import nn

from maskfr_utils import models, paths
from maskfr_utils.measure import resnet_parts
from maskfr_utils.models.create import create_model
from maskfr_utils.names import NETWORKS
from maskfr_utils.study import outcomes

TINY = {"width": 0.05, "embedding_dim": 16, "identities": 4, "per_identity": 10, "epochs": 1, "batch_size": 8}


def network(part):
    torch.manual_seed(0)
    made = create_model("resnet50", width=0.05, embedding_dim=16)
    resnet_parts.PARTS[part](made)
    return made


def test_the_head_tells_places_apart_and_the_mean_does_not():
    maps = torch.rand(2, 102, 7, 7)
    for part, kept in ((resnet_parts.AS_IT_IS, False), ("IResNet's head", True)):
        made = network(part)
        added = made.layer4[3] if len(made.layer4) > 3 else nn.Identity()

        def embedding(x, made=made, added=added):
            return made.fc(added(x).mean((2, 3)))

        channels = made.fc.in_features // (49 if kept else 1)
        x = maps[:, :channels]
        assert torch.allclose(embedding(x), embedding(x.flip(3)), atol=1e-5) != kept


def test_the_stem_keeps_the_resolution_and_the_stages_their_maps():
    sizes = []
    for part in (resnet_parts.AS_IT_IS, "IResNet's stem"):
        made, seen = network(part), {}
        for name in ("conv1", "layer1", "layer2", "layer3", "layer4"):
            getattr(made, name).register_forward_hook(
                lambda m, i, o, name=name, seen=seen: seen.update({name: o.shape[-1]})
            )
        assert made(torch.zeros(2, 3, 112, 112)).shape == (2, 16)
        sizes.append(seen)
    assert sizes[0] == {"conv1": 56, "layer1": 56, "layer2": 28, "layer3": 14, "layer4": 7}
    assert sizes[1] == sizes[0] | {"conv1": 112}


def test_blocks_that_begin_at_zero_change_nothing_at_first():
    made = network("blocks that begin at zero").eval()
    x = torch.rand(2, made.layer2[1].conv1.in_channels, 28, 28)
    assert torch.equal(made.layer2[1](x), x)
    assert not torch.equal(network(resnet_parts.AS_IT_IS).eval().layer2[1](x), x)


def test_nothing_else_differs_from_the_studys_run():
    ours = resnet_parts.config_of("IResNet's head", 2).science()
    record = json.loads((paths.results_dir() / "demo-resnet50-masked-s2.json").read_text())["params"]
    differ = {name for name in ours if ours[name] != record.get(name, ours[name])}
    assert differ == {"scored_on"}


def test_runs_are_told_and_gone_on_with(tmp_path, monkeypatch, capsys, common):
    monkeypatch.setitem(NETWORKS, "resnet50", shallow("resnet50"))
    monkeypatch.setenv(
        "MASKFR_CACHE", str(common / "cache-shallow")
    )  # as the fixture `shallow`, but for this test alone
    monkeypatch.setattr(paths, "runs_dir", lambda: tmp_path)
    out = tmp_path / "resnet_parts.json"
    resnet_parts.measure(out, 1, **TINY)
    resnet_parts.measure(out, 1, **TINY)
    assert capsys.readouterr().out.count("this run has ended already") == len(resnet_parts.PARTS)
    found = json.loads(out.read_text())
    shown = resnet_parts.table(found)
    assert len(shown) == len(outcomes.courses(resnet_parts.results(found)).columns) == len(resnet_parts.PARTS)
    weights = {
        part: sorted(tmp_path.glob(f"*{part}*/model.safetensors")) for part in ("as-it-is", "head", "stem", "zero")
    }
    assert all(len(paths) == 1 for paths in weights.values())
    assert set(shown["verdict"][1:]) == {"undecided (1 of 3 seeds)"}
    models.load_model(weights.pop("as-it-is")[0])
    for (path,) in weights.values():  # they are for nothing else
        with pytest.raises(ValueError, match="resnet50, "):
            models.load_model(path)


def test_a_gain_is_that_of_the_same_photos_of_the_same_seeds():
    label = [0, 0, 1, 1]
    params = {"seed": 0, "data_seed": None, "dataset": "demo"}

    def run(seed, right):
        ranks = np.where(right, 1, 2).tolist()
        history = [{"masked": np.mean(right), "train_accuracy": 0.5}]
        return {"params": params | {"seed": seed}, "history": history, "photos": {"label": label, "masked_rank": ranks}}

    runs = {
        resnet_parts.AS_IT_IS: {str(seed): run(seed, [0, 0, 0, 1]) for seed in range(3)},
        "blocks that begin at zero": {str(seed): run(seed, [1, 0, 1, 1]) for seed in range(2)},
    }
    shown = resnet_parts.table({"runs": runs})
    assert shown.loc["ResNet-50, blocks that begin at zero", "difference, points"].startswith("+50.0 (")
    assert shown.loc["ResNet-50, as it is", "validation"].startswith("25.0% (")
    assert shown["seeds"].tolist() == [2, 2]  # of those that both have
    assert resnet_parts.in_words({"runs": runs}) == (
        "None of the changes is shown to matter: all differences may be luck."
    )
    for part in resnet_parts.PARTS:
        right = [1, 1, 1, 1] if part == "IResNet's head" else [0, 0, 0, 1]
        runs[part] = {str(seed): run(seed, right) for seed in range(3)}
    assert re.fullmatch(
        r"Beyond noise, with IResNet's head ResNet-50 names 75\.0 \([^)]*\) points more of the masked validation photos, and 50% of its"
        r" training photos instead of 50%\. None of the 2 others is shown to matter\.",
        resnet_parts.in_words({"runs": runs}),
    )
    runs["IResNet's head"]["0"]["history"] = []  # it left the numbers in its first epoch
    shown = resnet_parts.table({"runs": runs})
    assert shown.loc["ResNet-50, IResNet's head", "training"] == "nan%"
    assert "ResNet-50, IResNet's head" not in outcomes.courses(resnet_parts.results({"runs": runs}))
