"""The widget to design a mask."""

from typing import TYPE_CHECKING

import cv2
import numpy as np

from maskfr_utils import masks
from maskfr_utils.masks import cloth, shapes

if TYPE_CHECKING:
    import ipywidgets


def design(image: np.ndarray, landmarks: np.ndarray | None = None) -> "ipywidgets.Widget":
    """Controls of a mask on the left, the face that wears it on the right, at once.

    Args:
        image: (height, width, 3) uint8, an aligned face or any photo.
        landmarks: (68, 2) or (faces, 68, 2); found in the picture where None.
    """
    import ipywidgets as widgets

    if landmarks is None:
        landmarks = masks.mask_photo(image).landmarks
    points = np.array(landmarks, np.float32).reshape(-1, 68, 2)
    zoom = max(1, round(420 / image.shape[0]))
    image = cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
    points = (points + 0.5) * zoom - 0.5
    controls = {
        "kind": widgets.Dropdown(options=masks.KINDS, description="kind"),
        "colour": widgets.ColorPicker(value="#a8cfe9", description="colour"),
        "second": widgets.ColorPicker(value="#f4f3ef", description="second"),
        "pattern": widgets.Dropdown(options=cloth.PATTERNS, description="pattern"),
        "pattern_weight": widgets.FloatSlider(value=1, min=0, max=1, step=0.05, description="strength"),
        "wear": widgets.Dropdown(options=shapes.WEARS, description="worn"),
        "strap": widgets.ColorPicker(value="#eceae6", description="straps"),
        "valve": widgets.Checkbox(description="valve"),
        "intensity": widgets.FloatSlider(value=1, min=0, max=1, step=0.05, description="intensity"),
        "seed": widgets.IntSlider(max=50, description="seed"),
    }
    picture = widgets.Image(format="png")

    def draw(_: object = None) -> None:
        value = {name: control.value for name, control in controls.items()}
        style = masks.Style(
            value["kind"],
            colours={value["colour"]: 1},
            second_colours={value["second"]: 1},
            patterns={value["pattern"]: 1},
            pattern_weight=value["pattern_weight"],
            wears={value["wear"]: 1},
            straps={value["strap"]: 1},
            valve=float(value["valve"]),
            intensity=value["intensity"],
        )
        drawn = masks.mask_photo(image, style=style, seed=value["seed"], landmarks=points).image
        picture.value = cv2.imencode(".png", drawn[..., ::-1])[1].tobytes()

    for control in controls.values():
        control.observe(draw, names="value")
    draw()
    return widgets.HBox([widgets.VBox(list(controls.values())), picture])
