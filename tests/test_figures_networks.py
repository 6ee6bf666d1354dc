"""Diagrams say what the modules are, and every figure names its axes."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from maskfr_utils import figures
from maskfr_utils.losses import ArcFace, CosFace
from maskfr_utils.models.blocks import IBT, SE, FReLU, IBasic, SEIBasicF


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts if text.get_text()]


def test_block_diagram_names_layers_and_live_shapes():
    found = texts(figures.networks.block_diagram(IBasic(8, 16, stride=2), (1, 8, 12, 12)))
    layers = ["input", "BN", "conv 3×3, 8→16", "BN", "PReLU", "conv 3×3, 16→16, stride 2", "BN", "+", "output"]
    assert set(layers) <= set(found)
    assert found.count("BN") == 4 and "conv 1×1, 8→16, stride 2" in found  # one BN in the shortcut
    assert "8×12×12" in found and "16×12×12" in found and "16×6×6" in found


@pytest.mark.parametrize(
    ("block", "shape", "expected"),
    [
        (SEIBasicF(8, 8), (1, 8, 6, 6), {"FReLU", "SE", "+"}),
        (SE(8), (1, 8, 6, 6), {"mean of positions", "1×1, 8→2", "ReLU", "1×1, 2→8", "sigmoid", "×"}),
        (FReLU(8), (1, 8, 6, 6), {"depthwise 3×3, 8→8", "BN", "max"}),
        (IBT(8, 16, 3, 2), (1, 8, 6, 6), {"MHSA, 4 heads, 3×3", "average 2×2", "depthwise 3×3, 32→32", "SE"}),
    ],
)
def test_diagram_of_each_block(block, shape, expected):
    assert expected <= set(texts(figures.networks.block_diagram(block, shape)))


def test_drawing_leaves_a_block_in_its_mode():
    block = IBasic(8, 8)
    figures.networks.block_diagram(block, (1, 8, 4, 4))
    assert block.training


AXES = {
    "by_depth": lambda: figures.networks.by_depth({"net": ([1.0, 2.0], [0.1, 0.2])}),
    "stacked_bars": lambda: figures.results.stacked_bars({"net": {"a": 1.0, "b": 2.0}}, "millions"),
    "spread_bars": lambda: figures.results.spread_bars({"one": [1.0, 2.0], "two": [3.0]}, "images/s", {"limit": 4.0}),
    "fits": lambda: figures.networks.fits({"one": (1.0, 2.0)}, (1.01, 2.01), ("x, M", "y, M")),
    "target_logits": lambda: figures.losses.target_logits({"arcface": ArcFace(2, 2).with_margin}),
    "decision_boundaries": lambda: figures.losses.decision_boundaries({"cosface": CosFace(2, 2)}),
    "curves": lambda: figures.losses.curves({"line": (np.arange(3), np.arange(3))}, "x", "y"),
}


@pytest.mark.parametrize("name", AXES)
def test_axes_are_labelled(name):
    figure = AXES[name]()
    assert isinstance(figure, Figure)
    assert all(ax.get_xlabel() for ax in figure.axes)


def test_decision_boundary_of_arcface_is_the_margin():
    """The line through pairs of angles that training is content with lies one margin above the diagonal."""
    figure = figures.losses.decision_boundaries({"arcface": ArcFace(2, 2, margin=0.5)})
    (line,) = [path for c in figure.axes[0].collections for path in c.get_paths() if len(path.vertices)]
    x, y = np.radians(line.vertices).T
    np.testing.assert_allclose(y - x, 0.5, atol=0.01)


def test_geometry_figures_draw():
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(10, 2, generator=generator).numpy()
    panels = {"a": (points, np.arange(10) % 2, points[:2]), "b": (points, np.arange(10) % 2, points[:2])}
    assert len(figures.losses.embeddings_on_a_circle(panels).axes) == 2
    assert {"$x$", "$m$", "$w_y$"} <= set(texts(figures.losses.angular_margin(0.5, 0.6)))
