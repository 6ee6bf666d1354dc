"""Export of the five networks, checked in onnxruntime."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from maskfr_utils.models import create_model, export_onnx
from maskfr_utils.names import NETWORKS


def images(batch):
    return torch.randn(batch, 3, 32, 32, generator=torch.Generator().manual_seed(batch))


@pytest.mark.parametrize("name", ["resnet50", "ressanet50"])
def test_onnx_agrees_for_any_batch(tmp_path, name, monkeypatch):
    """Every kind of block, first of a stage and not: full depth, and the networks of 100 layers, repeat them, and take the exporter a minute.

    IResNet is made of the blocks of ResSaNet's first stage; `test_recognise` exports it.
    """
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    monkeypatch.setitem(NETWORKS, name, replace(NETWORKS[name], depths=(2, 2, 1, 2)))
    torch.manual_seed(0)
    model = create_model(name, width=0.125, embedding_dim=16, image_size=32)
    for norm in [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]:
        norm.momentum = 1.0
    model(images(16))  # statistics as after training
    export_onnx(tmp_path / "model.onnx", model)
    assert model.training and [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    model.eval()
    for batch in (1, 5):
        x = images(batch)
        (theirs,) = session.run(["embeddings"], {"images": x.numpy()})
        np.testing.assert_allclose(theirs, model(x).detach().numpy(), atol=1e-4)
