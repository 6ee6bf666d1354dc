import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from maskfr_utils import figures


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def test_face_grid_of_rows_of_different_length():
    face = np.zeros((3, 112, 112, 3), np.uint8)
    figure = figures.faces.face_grid({"a": face, "b": face[:1]})
    assert isinstance(figure, Figure)
    assert sum(len(ax.images) for ax in figure.axes) == 4


def test_training_curves_with_and_without_tests():
    history = [{"epoch": i, "loss": 3.0 / i, "train_accuracy": 0.3 * i} for i in (1, 2)]
    assert len(figures.results.training_curves(history).axes[1].lines) == 1
    history[1] |= {"masked": 0.5, "unmasked": 0.6}
    labels = [line.get_label() for line in figures.results.training_curves(history).axes[1].lines]
    assert labels == ["training", "validation, masked", "validation, unmasked"]


def test_confusion_rows_are_shares():
    figure = figures.results.confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 3)
    values = np.asarray(figure.axes[0].collections[0].get_array()).reshape(3, 3)
    assert np.allclose(values, [[0.5, 0.5, 0], [0, 1, 0], [0, 0, 0]])


def test_rank_curves_in_percent():
    (ax,) = figures.results.rank_curves({"a": np.array([0.5, 0.75, 1.0])}).axes
    assert ax.lines[0].get_xydata().tolist() == [[1, 50], [2, 75], [3, 100]]


def test_estimates_put_each_line_where_its_name_is():
    table = pd.DataFrame({"accuracy": [0.5, 0.7], "low": [0.4, 0.65], "high": [0.55, 0.8]}, index=["x", "y"])
    (ax,) = figures.results.estimates({"a": table, "b": table.loc[["y"]]}, "%").axes
    assert [text.get_text() for text in ax.get_yticklabels()] == ["x", "y"]
    assert [text.get_text() for text in ax.get_legend().texts] == ["a", "b"]
    a, b = ax.containers
    assert list(a.lines[0].get_xdata()) == [50, 70] and [round(y) for y in a.lines[0].get_ydata()] == [0, 1]
    assert [round(y) for y in b.lines[0].get_ydata()] == [1]
    ends = np.array([segment[:, 0] for segment in a.lines[2][0].get_segments()])
    assert np.allclose(ends, [[40, 55], [65, 80]])


def test_batch_sizes_at_their_place():
    table = pd.DataFrame({"accuracy": [0.5, 0.7], "low": [0.4, 0.6], "high": [0.6, 0.8]}, index=[64, 128])
    (ax,) = figures.results.batch_sizes({"same epochs": table, "same steps": table.iloc[:0]}).axes
    assert [text.get_text() for text in ax.get_xticklabels()] == ["64", "128"]
    assert np.allclose(ax.containers[0].lines[0].get_ydata(), [50, 70])


def test_the_chosen_rate_of_each_network_wears_a_ring():
    """`c` has none: its trials go on."""
    lines = {"a": pd.Series({0.1: 0.5, 0.2: 0.9, 0.4: 0.7}), "b": pd.Series({0.1: 0.6, 0.2: 0.4})}
    lines["c"] = pd.Series({0.1: 0.5, 0.2: 0.6})
    (ax,) = figures.results.rates(lines, {"a": 0.2, "b": 0.1}).axes
    rings = [line.get_xydata().tolist() for line in ax.lines if len(line.get_xdata()) == 1]
    assert np.allclose(rings, [[[0.2, 90]], [[0.1, 60]]])
    assert [text.get_text() for text in ax.get_xticklabels()] == ["0.1", "0.2", "0.4"]


def test_a_network_looks_the_same_in_all_figures():
    one, three = (
        pd.DataFrame({name: [0.2, 0.5] for name in names}, index=[1, 2])
        for names in (("ResSaNet-50",), ("ResNet-50", "IResNet-50", "ResSaNet-50"))
    )
    first, *_ = figures.results.by_epoch(one).axes[0].lines
    *others, last = figures.results.by_epoch(three).axes[0].lines
    assert first.get_color() == last.get_color() and first.get_marker() == last.get_marker()
    assert len({line.get_color() for line in (*others, last)}) == 3


def test_differences_have_an_axis_for_each_table():
    table = pd.DataFrame(
        {"difference": [0.02, -0.01], "low": [0.01, -0.02], "high": [0.03, 0.0]}, index=["a − b", "c − d"]
    )
    left, right = figures.results.differences({"theirs": table, "ours": 10 * table[:1]}, "points").axes
    assert left.get_xlim()[1] < 10 < right.get_xlim()[1] and [ax.get_title() for ax in (left, right)] == [
        "theirs",
        "ours",
    ]
    assert [label.get_text() for label in left.get_yticklabels()] == ["a − b", "c − d"]


def test_a_curve_by_epoch_in_percent():
    (ax,) = figures.results.by_epoch(pd.DataFrame({"a": [0.2, 0.5]}, index=[1, 2])).axes
    assert ax.lines[0].get_xydata().tolist() == [[1, 20], [2, 50]]


@pytest.mark.parametrize(
    "draw",
    [
        figures.results.rank_curves,
        figures.results.batch_sizes,
        lambda none: figures.results.rates(none, {}),
        lambda none: figures.results.by_epoch(pd.DataFrame(none)),
        lambda tables: figures.results.estimates(tables, "%"),
    ],
)
def test_without_runs_a_figure_says_so(draw):
    assert [text.get_text() for text in draw({}).axes[0].texts] == ["not run yet"]


def test_curves_of_strangers():
    roc = figures.results.roc_curves({"a": {"far": [0.01, 1.0], "tar": [0.5, 1.0]}})
    assert roc.axes[0].lines[0].get_ydata().tolist() == [50, 100] and roc.axes[0].get_xscale() == "log"
    curve = {"far": [0.01, 1.0], "tar": [0.5, 1.0]}
    lines = figures.results.roc_curves(dict.fromkeys(("a, bare", "a, masked", "b, bare"), curve)).axes[0].lines
    assert [line.get_linestyle() for line in lines] == ["-", "--", "-"]
    assert lines[0].get_color() == lines[1].get_color() != lines[2].get_color()
    kept = figures.results.reliability({"a": {"promised": [0.1, 0.9], "came": [0.2, 0.8]}})
    assert [line.get_label() for line in kept.axes[0].lines] == ["a", "as promised"]
    assert isinstance(figures.results.roc_curves({}), Figure) and isinstance(figures.results.reliability({}), Figure)


def test_maps_lie_on_faces():
    face = np.zeros((112, 112, 3), np.uint8)
    found = figures.attribution.maps_on_faces({"bare": face, "masked": face}, {"network": {"bare": np.eye(28)}})
    assert [len(ax.images) for ax in found.axes] == [1, 1, 2, 0]
    heads = figures.attribution.heads(face, {"ibt": [np.eye(7)] * 4})
    assert [len(ax.images) for ax in heads.axes] == [2] * 4 and figures.attribution.heads(face, {})


def test_an_interval_that_is_far_wider_than_the_others_does_not_squeeze_them():
    narrow = pd.DataFrame(
        {"accuracy": [0.9, 0.91, 0.92], "low": [0.89, 0.9, 0.91], "high": [0.91, 0.92, 0.93]}, index=list("abc")
    )
    wide = pd.DataFrame({"accuracy": [0.9], "low": [0.4], "high": [1.4]}, index=["d"])
    (ax,) = figures.results.estimates({"": pd.concat([narrow, wide])}, "accuracy, %").axes
    low, high = ax.get_xlim()
    assert (
        80 < low < 89
        and 93 < high < 100
        and "1 interval goes on beyond the edge" in [text.get_text() for text in ax.texts]
    )
    far = pd.DataFrame({"accuracy": [0.5], "low": [0.2], "high": [0.8]}, index=["e"])
    (ax,) = figures.results.estimates({"": pd.concat([narrow, far])}, "accuracy, %").axes
    assert ax.get_xlim()[0] < 50  # an interval may be cut, a value is shown
    (ax,) = figures.results.estimates({"": narrow}, "accuracy, %").axes
    assert not [text for text in ax.texts if "edge" in text.get_text()]
    first, last = ax.get_ylim()
    assert last <= -0.5 and first >= 2.5  # no row touches the axis
    figures.results.estimates({}, "nothing")
