"""What faces look like to a simple classifier, and how well it tells two kinds apart.

Hand-written, since scikit-image's give other numbers: its histograms of gradients know no least strength, so that flat cells
are all noise, and its local binary patterns interpolate the diagonal neighbours. With them the classifier tells the committed
record's real masks from drawn ones at an AUC of 0.846 in place of 0.829, and by texture alone at 0.755 in place of 0.711.
"""

import cv2
import numpy as np
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from maskfr_utils.faces.align import FACE_SIZE as SIZE
from maskfr_utils.metrics import Draws, auc, summary

CELL = 16
_CELLS = SIZE // CELL
GROUPS = {"gradients": slice(0, 9), "texture": slice(9, 19), "colour": slice(19, 25), "all": slice(0, 25)}
_LOWER = (slice(3, 7), slice(0, 7))
REGIONS = {  # rows and columns of cells
    "lower face": _LOWER,
    "cloth": (slice(4, 7), slice(2, 5)),
    "upper edge": (slice(3, 5), slice(1, 6)),
    "straps and cheeks": (slice(3, 7), [0, 1, 5, 6]),
    "forehead and eyes": (slice(0, 3), slice(0, 7)),
}


def features(faces: np.ndarray) -> np.ndarray:
    """What a face looks like, cell by cell of 16 pixels: (N, 7, 7, 25) float32 of faces (N, 112, 112, 3) uint8.

    Nine orientations of the gradient (Dalal and Triggs 2005), ten uniform local binary patterns (Ojala et al. 2002), mean and
    spread of the three Lab channels.
    """
    return np.array([_features(face) for face in faces], np.float32).reshape(-1, _CELLS, _CELLS, 25)


def _features(face: np.ndarray) -> np.ndarray:
    lab = cv2.cvtColor(face, cv2.COLOR_RGB2Lab).astype(np.float32)
    grey = cv2.copyMakeBorder(lab[..., 0], 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    edges = gradients(lab[..., 0], CELL)

    ring = [(0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0), (0, 0)]
    brighter = np.stack([grey[r : r + SIZE, c : c + SIZE] > grey[1:-1, 1:-1] for r, c in ring], -1)
    changes = (brighter != np.roll(brighter, 1, -1)).sum(-1)
    pattern = np.where(changes <= 2, brighter.sum(-1), 9)
    texture = np.sqrt(_cells((pattern[..., None] == np.arange(10)).astype(np.float32)))

    mean = _cells(lab)
    spread = np.sqrt(np.maximum(_cells(lab**2) - mean**2, 0))
    return np.concatenate([edges, texture, mean, spread], -1)


def gradients(grey: np.ndarray, cell: int) -> np.ndarray:
    """Nine orientations of the gradient by cell, each the root of its share: (rows, columns, 9) of (height, width)."""
    padded = cv2.copyMakeBorder(grey.astype(np.float32), 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    dx, dy = padded[1:-1, 2:] - padded[1:-1, :-2], padded[2:, 1:-1] - padded[:-2, 1:-1]
    bins = (np.arctan2(dy, dx) % np.pi * (9 / np.pi)).astype(int) % 9
    summed = _cells(np.where(bins[..., None] == np.arange(9), np.hypot(dx, dy)[..., None], 0), cell)
    return np.sqrt(summed / (summed.sum(-1, keepdims=True) + 2))


def _cells(values: np.ndarray, cell: int = CELL) -> np.ndarray:
    """Means over cells: (height, width, n) -> (height / cell, width / cell, n)."""
    height, width, n = values.shape
    return values.reshape(height // cell, cell, width // cell, cell, n).mean((1, 3))


def separation(real: np.ndarray, drawn: np.ndarray, people: np.ndarray, drawn_people: np.ndarray) -> dict[str, float]:
    """How well a classifier tells real from drawn: a support vector machine, tested on people it has not seen.

    Args:
        real, drawn: (n, ...) features.
        people, drawn_people: (n,) whose faces they are; five folds by person.

    Returns:
        `auc`, 0.5 where nothing tells them apart, with its 95% interval `low`, `high` over people drawn anew.
    """
    x = np.concatenate([real.reshape(len(real), -1), drawn.reshape(len(drawn), -1)])
    y, groups = np.repeat([1, 0], [len(real), len(drawn)]), np.concatenate([people, drawn_people])
    model = make_pipeline(StandardScaler(), SVC(class_weight="balanced"))
    scores = cross_val_predict(model, x, y, groups=groups, cv=GroupKFold(5), method="decision_function")
    found = summary(auc(scores, y == 1, Draws(groups).photos(groups)), digits=16)
    return {"auc": found.pop("value"), **found}
