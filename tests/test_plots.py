import numpy as np
import pytest
from matplotlib.figure import Figure

from maskfr_utils import plots


@pytest.fixture(autouse=True)
def _close():
    yield
    plots.plt.close("all")


def test_face_grid_of_rows_of_different_length():
    face = np.zeros((3, 112, 112, 3), np.uint8)
    figure = plots.face_grid({"a": face, "b": face[:1]})
    assert isinstance(figure, Figure)
    assert sum(len(ax.images) for ax in figure.axes) == 4


def test_training_curves_with_and_without_tests():
    history = [{"epoch": i, "loss": 3.0 / i, "train_accuracy": 0.3 * i} for i in (1, 2)]
    assert len(plots.training_curves(history).axes[1].lines) == 1
    history[1] |= {"masked": 0.5, "unmasked": 0.6}
    labels = [line.get_label() for line in plots.training_curves(history).axes[1].lines]
    assert labels == ["training", "test, masked", "test, unmasked"]


def test_confusion_rows_are_shares():
    figure = plots.confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 3)
    values = np.asarray(figure.axes[0].collections[0].get_array()).reshape(3, 3)
    assert np.allclose(values, [[0.5, 0.5, 0], [0, 1, 0], [0, 0, 0]])
