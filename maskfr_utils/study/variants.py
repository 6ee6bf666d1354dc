"""Losses and conditions that have settings of their own, and the trials that choose among these.

Every loss gets nine trials. Scale, margin and learning rate have three levels each, and the nine are an orthogonal array: each
two levels of different settings meet exactly once, so no loss is judged by one level of anything. Scales and rates are
half, once and twice those that the recipe and the network's own trials say. Margins are the paper's and two smaller ones
(ArcFace, Sub-center, CurricularFace, CosFace, MagFace, combined), one on either side of it (AdaFace, the report's code), or, for
SphereFace, whose paper trains its 4 beside plain softmax, factors of later work. A loss without margin and scale has nine rates by factors
of two instead. All losses are trained in single precision, on whatever processor, so that any two can be compared.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Variant:
    """A loss or a condition with settings of its own.

    Attributes:
        title: in tables and figures.
        common: parameters of a run that make it.
        settings: of each trial. `rate` and `scale` multiply the network's tuned rate and the recipe's scale; all else are
            parameters as they stand.
        judged: the twins of the validation photos whose mean accuracy chooses.
    """

    title: str
    common: Mapping[str, object]
    settings: tuple[Mapping[str, float], ...]
    judged: tuple[str, ...] = field(default=("masked",))

    def parameters(self, setting: int, rate: float, scale: float) -> dict[str, float]:
        """A trial's parameters.

        Args:
            setting: number of the trial.
            rate: the network's tuned rate.
            scale: the recipe's.
        """
        own = dict(self.settings[setting])
        relative = {"lr": rate * own.pop("rate", 1.0)} | ({"scale": scale * own.pop("scale")} if "scale" in own else {})
        return own | relative


HALF_TO_TWICE = (0.5, 1.0, 2.0)
ARRAY = tuple((a, b, (a + b + 2) % 3) for a in range(3) for b in range(3))  # levels of scale, margin and rate


def _loss(title: str, name: str, margins: tuple[float, float, float] | None) -> Variant:
    if margins is None:
        settings = tuple({"rate": 2.0**k} for k in range(-4, 5))
    else:
        settings = tuple(
            {"scale": HALF_TO_TWICE[a], "margin": margins[b], "rate": HALF_TO_TWICE[c]} for a, b, c in ARRAY
        )
    return Variant(title, {"loss": name, "precision": "32-true"}, settings)


LOSS_VARIANTS = {
    "softmax": _loss("softmax", "softmax", None),
    "sphereface": _loss("SphereFace", "sphereface", (1.2, 1.35, 1.5)),
    "cosface": _loss("CosFace", "cosface", (0.1, 0.2, 0.35)),
    "arcface": _loss("ArcFace", "arcface", (0.1, 0.3, 0.5)),
    "combined_margin": _loss("combined margin", "combined_margin", (0.1, 0.2, 0.3)),
    "subcenter_arcface": _loss("Sub-center ArcFace", "subcenter_arcface", (0.1, 0.3, 0.5)),
    "curricularface": _loss("CurricularFace", "curricularface", (0.1, 0.3, 0.5)),
    "magface": _loss("MagFace", "magface", (0.2, 0.4, 0.8)),
    "adaface": _loss("AdaFace", "adaface", (0.2, 0.4, 0.6)),
    "legacy_arcface": _loss("the report's code", "legacy_arcface", (0.05, 0.1, 0.3)),
}
TWIN_TERM = "twin_term"
VARIANTS = LOSS_VARIANTS | {
    TWIN_TERM: Variant(
        "both twins in one batch, drawn together",
        {"condition": "twins"},
        tuple({"twin_weight": weight} for weight in (0.5, 1.0, 2.0, 4.0, 8.0)),
        ("masked", "unmasked"),
    )
}
