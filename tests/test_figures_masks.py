"""Figures of the masks, and the designer."""

import io

import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure

from maskfr_utils import figures, masks
from maskfr_utils.rendered import render_faces


@pytest.fixture(scope="module")
def faces():
    return render_faces(3, 1, seed=2)


def pixels(figure: Figure) -> np.ndarray:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=60)
    return cv2.imdecode(np.frombuffer(buffer.getvalue(), np.uint8), 1)


def test_sheet_shows_every_face_once(faces):
    fig = figures.faces.sheet(faces.images, columns=2)
    shown = fig.axes[0].images[0].get_array()
    assert shown.shape == (224, 224, 3)
    for i, (row, column) in enumerate([(0, 0), (0, 1), (1, 0)]):
        tile = shown[row * 112 : row * 112 + 112, column * 112 : column * 112 + 112]
        np.testing.assert_array_equal(tile, faces.images[i])
    assert (shown[112:, 112:] == 255).all()


def test_figures_are_drawn(faces):
    image, points = faces.images[0], faces.landmarks[0]
    drawn = {
        "geometry": figures.masks.geometry(image, points, kind="n95"),
        "kinds": figures.masks.kinds_by_colour(image, points, columns=2),
        "patterns": figures.masks.patterns_and_wears(image, points),
        "cases": figures.masks.cases({"one": (image, points[None]), "none": (image, np.zeros((0, 68, 2)))}),
        "coverage": figures.masks.coverage(masks.mask_faces(faces.images, faces.landmarks)),
    }
    for name, figure in drawn.items():
        assert isinstance(figure, Figure), name
        assert pixels(figure).std() > 10, name
    assert len(drawn["kinds"].axes) == 2 * len(masks.load_styles())
    np.testing.assert_array_equal(drawn["cases"].axes[1].images[0].get_array(), image)


def test_designer_redraws_at_once(faces):
    box = figures.designer.design(faces.images[0], faces.landmarks[0])
    controls, picture = box.children
    by_name = {control.description: control for control in controls.children}
    seen = {picture.value}
    for name, value in [("kind", "kn95"), ("colour", "#ff0000"), ("worn", "loose"), ("intensity", 0.5), ("seed", 3)]:
        by_name[name].value = value
        assert picture.value not in seen
        seen.add(picture.value)
    assert cv2.imdecode(np.frombuffer(picture.value, np.uint8), 1).shape[0] >= 420
