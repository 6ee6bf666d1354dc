"""Maps of networks of which it is known where they look."""

import json

import numpy as np
import pytest
import torch
from shallow import shallow
from torch import nn

from maskfr_utils import models
from maskfr_utils.attribution import attention, gradient_times_activation, occlusion
from maskfr_utils.faces.regions import EYES, REGIONS, regions
from maskfr_utils.measure import picture_sets, where_it_looks
from maskfr_utils.models.blocks import MHSA
from maskfr_utils.names import NETWORKS
from maskfr_utils.recognise import Embedder
from maskfr_utils.rendered import render_faces

ROWS, COLUMNS = slice(32, 48), slice(64, 80)  # the square that is seen


class OneSquare(nn.Module):
    """Sees one square of the picture, 4 x 4 pixels at a time, and nothing else."""

    def __init__(self):
        super().__init__()
        self.layer2 = nn.Conv2d(3, 3, 4, 4, bias=False)
        nn.init.dirac_(self.layer2.weight)
        nn.init.constant_(self.layer2.weight, 0.02)

    def forward(self, images):
        seen = self.layer2(images)[:, :, ROWS.start // 4 : ROWS.stop // 4, COLUMNS.start // 4 : COLUMNS.stop // 4]
        return seen.flatten(1) + 0.1


@pytest.fixture(scope="module")
def faces():
    return render_faces(4, 1, seed=9)


@pytest.fixture(scope="module")
def square():
    inside = np.zeros((112, 112), bool)
    inside[ROWS, COLUMNS] = True
    return inside


def test_a_network_that_sees_one_square_lights_up_there(faces, square):
    embedder = Embedder(OneSquare().eval())
    reference, fill = embedder(faces.images), np.full((112, 112, 3), 128, np.uint8)
    found = occlusion(embedder, faces.images, reference, fill=fill, size=16, stride=8)
    # The map is coarse: a pixel shares its squares with those up to 15 pixels away.
    near = np.zeros_like(square)
    near[ROWS.start - 15 : ROWS.stop + 15, COLUMNS.start - 15 : COLUMNS.stop + 15] = True
    assert np.abs(found[:, ~near]).max() < 1e-6 and (found[:, square].mean(1) > 2 * found[:, near].mean(1)).all()
    brought = gradient_times_activation(embedder.model, faces.images, reference, "layer2")
    # enlarged from 28 x 28 places: at most 4 pixels beyond
    near[:] = False
    near[ROWS.start - 4 : ROWS.stop + 4, COLUMNS.start - 4 : COLUMNS.stop + 4] = True
    assert (brought >= 0).all() and np.abs(brought[:, ~near]).max() < 1e-7
    with pytest.raises(ValueError, match="no layer 'layer9'"):
        gradient_times_activation(embedder.model, faces.images, reference, "layer9")


def test_occlusion_by_hand(faces):
    """A network that sees the mean of the left half and of the right half: without the left only the right is left."""

    def embed(images):
        halves = np.stack([images[:, :, :56].mean((1, 2, 3)), images[:, :, 56:].mean((1, 2, 3))], 1)
        return halves / np.linalg.norm(halves, axis=1, keepdims=True)

    face = np.full((1, 112, 112, 3), 200, np.uint8)
    found = occlusion(embed, face, embed(face), fill=np.zeros((112, 112, 3), np.uint8), size=56, stride=56)
    assert found[0, :, :56] == pytest.approx(1 - np.dot([1, 2], [1, 1]) / np.sqrt(10), abs=1e-6)


def test_attention_is_what_the_block_computes():
    torch.manual_seed(0)
    block = MHSA(32, 7).eval()
    x = torch.randn(2, 32, 7, 7)
    looks = block.attention(x)
    assert looks.shape == (2, 4, 49, 49) and torch.allclose(looks.sum(-1), torch.ones(2, 4, 49))
    v = block.qkv(x).reshape(2, 3, 4, 8, 49)[:, 2]
    mixed = torch.einsum("nhpq,nhdq->nhdp", looks, v).reshape(2, 32, 7, 7)
    torch.testing.assert_close(mixed, block(x))


def test_attention_of_a_whole_network(faces):
    model = models.create_model("ressanet50", width=0.0625, embedding_dim=16).eval()
    found = attention(model, faces.images[:2])
    assert [heads.shape for heads in found.values()] == [(2, 4, 49, 49)] * 3
    assert attention(models.create_model("iresnet50", width=0.0625, embedding_dim=16).eval(), faces.images) == {}
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_each_pixel_is_in_one_part_of_the_face(faces):
    for points in faces.landmarks:
        found = regions(points)
        assert tuple(found) == REGIONS and (np.sum(list(found.values()), 0) == 1).all()
        for name, some in ((EYES, [19, 24, 37, 44]), ("nose", [30]), ("mouth", [62, 51, 57])):
            for x, y in np.round(points[some]).astype(int):
                assert found[name][y, x]
        assert found["around the face"][2, 2]


def test_shares_of_a_map():
    points = render_faces(1, 1, seed=9).landmarks
    where = regions(points[0])
    found = where_it_looks.shares(np.stack([where[EYES] + 0.0, np.ones((112, 112))]), points.repeat(2, 0))
    assert found[EYES][0] == 1 and found["mouth"][0] == 0
    assert {name: share[1] for name, share in found.items()} == pytest.approx({n: w.mean() for n, w in where.items()})
    assert where_it_looks.shares(np.zeros((1, 112, 112)), points)[EYES] == 0


def test_the_record_and_what_the_chapter_shows(tmp_path, monkeypatch):
    monkeypatch.setattr(where_it_looks, "RESAMPLES", 50)
    monkeypatch.setattr(where_it_looks, "STRIDE", 32)
    monkeypatch.setattr(picture_sets.rendered, "__defaults__", (6, 4))
    paths = []
    for name in ("iresnet50", "ressanet50"):
        torch.manual_seed(0)
        monkeypatch.setitem(NETWORKS, name, shallow(name))
        model = models.create_model(name, width=0.0625, embedding_dim=16)
        paths.append(str(tmp_path / f"{name}.safetensors"))
        models.save_model(paths[-1], model, classes=["Unseen 001"])
    assert where_it_looks.main([*paths, "--people", "2", "--out", str(tmp_path / "r.json")]) == 0
    record = json.loads((tmp_path / "r.json").read_text())
    assert (
        record["people"] == 2 and record["left_out"] == 1 and sum(record["area"].values()) == pytest.approx(1, abs=1e-3)
    )
    first, second = record["networks"].values()
    for by_twin in (first, second):
        for twin in where_it_looks.TWINS:
            for way in where_it_looks.WAYS:
                one = by_twin[twin][way]
                assert np.shape(one["map"]) == (28, 28) and np.max(one["map"]) == 999
                assert sum(x["value"] for x in one["parts"].values()) == pytest.approx(1, abs=1e-3)
    assert not first[twin]["attention"] and np.shape(next(iter(second[twin]["attention"].values()))) == (4, 7, 7)
    shown = where_it_looks.table(record, "occlusion")
    assert len(shown) == 5 and list(shown) == list(REGIONS)
    assert [len(t) for t in where_it_looks.parts(record, "occlusion", EYES).values()] == [2, 2]


@pytest.mark.parametrize(
    ("masked", "begins", "said"),
    [
        (
            ((0.5, 0.6), (0.5, 0.6)),
            "Yes for IResNet-50: without a mask (55% against 25% by occlusion)",
            "at no other part",
        ),
        (
            ((0.5, 0.6), (0.2, 0.6)),
            "Not shown for IResNet-50.",
            "looks at no part more or less, by both maps and beyond",
        ),
        (
            ((0.1, 0.3), (0.1, 0.3)),
            "Not shown for IResNet-50.",
            "looks at no part more or less, by both maps and beyond",
        ),
        (((0.0, 0.1), (0.0, 0.1)), "Not shown for IResNet-50.", f"less at the {EYES} without a mask (5% against 25%"),
    ],
)
def test_training_teaches_where_to_look_only_if_both_maps_say_so(masked, begins, said):
    def seen(*intervals):
        some = ({"value": (low + high) / 2, "low": low, "high": high} for low, high in intervals)
        one = {way: {"parts": {EYES: row}} for way, row in zip(where_it_looks.WAYS, some, strict=True)}
        return dict.fromkeys(where_it_looks.TWINS, one)

    networks = {
        "IResNet-50 trained on masked": seen(*masked),
        "IResNet-50 trained on unmasked": seen((0.2, 0.3), (0.2, 0.3)),
        "ResSaNet-50 trained on masked": seen((0.9, 1.0), (0.9, 1.0)),
    }
    record = {"networks": networks, "area": {EYES: 0.12}, "seeds": {key: [0, 1, 2] for key in networks}}
    few = where_it_looks.answer(record | {"seeds": {key: [0] for key in networks}})
    assert few.startswith("Undecided for IResNet-50 (1 of 3 seeds).")
    assert (f"more at the {EYES} without a mask (55% against 25%" if begins.startswith("Yes") else said) in few
    text = where_it_looks.answer(record)
    assert text.startswith(begins) and said in text and "ResSaNet" not in text
    share, low, high = (round(100 * x) for x in (sum(masked[1]) / 2, *masked[1]))
    assert f"Eyes and brows, 12% of the picture, hold {where_it_looks.TWINS[0]} " in text
    assert f", and {share}% ({low}–{high}) of the maps by gradient times activation against 25% (20–30). " in text
    assert text.endswith(f"By occlusion, what differs most is *{EYES}*: {100 * sum(masked[0]) / 2:.0f}% against 25%.")
