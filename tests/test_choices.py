"""The arithmetic against the networks that are really built, and against the published totals."""

import itertools
from dataclasses import fields

import pytest
import torch

from maskfr_utils.models import create_model
from maskfr_utils.models.blocks import IBSA, IBT, MHSA
from maskfr_utils.models.choices import COUNTER, WORDS, Choices, block, in_words, printed, total
from maskfr_utils.profile import count_macs, count_parameters


@pytest.mark.parametrize("name", ["iresnet50", "iresnet100", "ressanet50", "ressanet100"])
def test_default_choices_are_the_networks(name):
    with torch.device("meta"):
        model = create_model(name)
    result = total(name)
    assert sum(result.parameters.values()) == count_parameters(model)
    assert sum(result.operations[kind] for kind in ("product", "depthwise", "attention")) == count_macs(model)


@pytest.mark.parametrize("name", ["iresnet50", "ressanet50"])
def test_norms_and_activations_are_the_networks(name):
    """Elements that pass through each BatchNorm and PReLU, counted by hooks in a live forward at a small width."""
    with torch.device("meta"):
        model = create_model(name).eval()
    counted = {"norm": 0, "prelu": 0}
    for module in model.modules():
        kind = "norm" if "BatchNorm" in type(module).__name__ else "prelu" if "PReLU" in type(module).__name__ else None
        if kind:
            module.register_forward_hook(
                lambda m, x, out, kind=kind: counted.update({kind: counted[kind] + out.numel()})
            )
    model(torch.zeros(1, 3, 112, 112, device="meta"))
    operations = total(name).operations
    assert {kind: operations[kind] for kind in counted} == counted


@pytest.mark.parametrize(("expansion", "reduction"), [(1, 8), (3, 4), (4, 16)])
def test_expansion_and_reduction(expansion, reduction):
    with torch.device("meta"):
        built = IBT(256, 512, 7, 2, expansion=expansion, reduction=reduction)
    ours = block("ibt", 4, True, Choices(expansion=expansion, reduction=reduction))
    assert sum(ours.parameters.values()) == count_parameters(built)


def test_positions_are_bare_parameters():
    with torch.device("meta"):
        bare = sum(p.numel() for m in IBT(512, 512, 7).modules() if isinstance(m, MHSA) for p in (m.rows, m.columns))
    assert block("ibt", 4, False, Choices()).parameters["positions"] == bare == 7168


def test_depthwise_is_mbconvs():
    with torch.device("meta"):
        mbconv = IBT(512, 512, 7).mbconv
    expected = count_parameters(mbconv.depthwise) + count_parameters(mbconv.bn2)
    assert block("ibt", 4, False, Choices()).parameters["depthwise"] == expected == 11264


def test_attention_at_full_size_costs_more():
    with torch.device("meta"):
        ibsa = IBSA(256, 512, 7, 2)
    assert ibsa.mhsa.size == (7, 7)
    products = {
        shrink: total("ressanet50", Choices(shrink=shrink)).operations["product"]
        for shrink in ("convolution", "attention", "end")
    }
    assert products["convolution"] < products["attention"] < products["end"]
    assert products["end"] - products["attention"] == 3 * 512**2 * (14**2 - 7**2)


def test_prelus_are_the_networks():
    with torch.device("meta"):
        model = create_model("iresnet100")
    slopes = sum(m.weight.numel() for m in model.modules() if "PReLU" in type(m).__name__)
    assert total("iresnet100").parameters["prelu"] == slopes


def test_published_totals_single_out_one_counter():
    """IResNet's four published totals, to the last digit, need a BatchNorm counted as two operations an element, PReLU
    counted, and two code bases."""
    fits = []
    for norm, known, *forms in itertools.product((0, 1, 2, 4), (0, 1), (True, False), (True, False)):
        sums = [total(f"iresnet{d}", Choices(middle_norm=form)) for d, form in zip((50, 100), forms, strict=True)]
        numbers = [round(s.millions(() if known else ("prelu",)), 2) for s in sums]
        numbers += [round(s.billions(COUNTER | {"norm": norm, "prelu": known}), 2) for s in sums]
        if numbers == [43.57, 65.16, 6.31, 12.12]:
            fits.append((norm, known, *forms))
    assert fits == [(2, 1, False, True)]


def test_printed_rounds_as_the_paper():
    network = total("ressanet100")
    assert printed(network, "ressanet100", ("positions", "depthwise")) == (True, True)
    assert printed(network, "ressanet100") == (False, True)
    assert printed(network, "ressanet100", (), COUNTER | {"softmax": 0}) == (False, False)
    assert printed(network, "ressanet50") == (False, False)


def test_in_words_gathers_what_was_found():
    found = [(Choices(expansion=1), ()), (Choices(positions="none", full_shortcut=False), ("positions", "depthwise"))]
    words = in_words(found)
    assert list(words) == list(WORDS.values())
    assert words[WORDS["expansion"]] == "1, 2"  # no word, though 1 == True
    assert words[WORDS["full_shortcut"]] == "no, yes"
    assert words[WORDS["se_bias"]] == "no"
    assert words[WORDS["missed"]] == "nothing, positions and depthwise"
    assert set(WORDS) == {field.name for field in fields(Choices)} | {"missed"}
