"""The tables of stages say what the papers' tables say."""

import torch
import torchvision

from maskfr_utils.models import create_model
from maskfr_utils.models.stages import by_stage


def test_stages_of_the_report_s_networks():
    with torch.device("meta"):
        rows = by_stage(create_model("ressanet50"), 112)
        assert (network := create_model("ressanet50")).training and by_stage(network, 112) == rows and network.training
    assert rows["stem"] == "3×3, 64 → 112×112"
    assert rows["stage 1"] == "IBasic, 64 (× 3) → 56×56"
    assert rows["stage 2"] == "SE-IBasic_F, 128 (× 4) → 28×28"
    assert rows["stage 3"] == "SE-IBasic_F, 256 (× 14) → 14×14"
    assert rows["stage 4"] == "IBT, 512 (× 3) → 7×7"
    assert rows["head"] == "linear → 512"


def test_stages_of_resnet():
    with torch.device("meta"):
        rows = by_stage(torchvision.models.resnet50(), 224)
    assert rows["stem"] == "7×7, 64, stride 2 → 112×112, max pool"
    assert rows["stage 2"] == "1×1, 128 / 3×3, 128 / 1×1, 512 (× 4) → 28×28"
    assert rows["head"] == "mean of positions, linear → 1000"
