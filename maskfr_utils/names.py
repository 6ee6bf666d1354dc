"""Every name that a user may type, once. Free of torch."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from maskfr_utils.messages import shown


@dataclass(frozen=True)
class Network:
    """What makes a network.

    Attributes:
        title: its name in texts and figures.
        depths: blocks in each of the four stages.
        blocks: the block of each stage, by its name in `models.create.BLOCKS`; none for torchvision's ResNet.
    """

    title: str
    depths: tuple[int, int, int, int]
    blocks: tuple[str, ...] = ()


_SANET = ("ibasic", "se_ibasic_f", "se_ibasic_f", "ibt")
NETWORKS = {
    "resnet50": Network("ResNet-50", (3, 4, 6, 3)),
    "iresnet50": Network("IResNet-50", (3, 4, 14, 3), ("ibasic",) * 4),
    "iresnet100": Network("IResNet-100", (3, 13, 30, 3), ("ibasic",) * 4),
    "iresnet50_se": Network("IResNet-50 + SE", (3, 4, 14, 3), ("ibasic", "se_ibasic", "se_ibasic", "ibasic")),
    "iresnet50_frelu": Network("IResNet-50 + FReLU", (3, 4, 14, 3), ("ibasic", "ibasic_f", "ibasic_f", "ibasic")),
    "iresnet50_ibt": Network("IResNet-50 + IBT", (3, 4, 14, 3), ("ibasic", "ibasic", "ibasic", "ibt")),
    "ressanet50": Network("ResSaNet-50", (3, 4, 14, 3), _SANET),
    "ressanet100": Network("ResSaNet-100", (3, 13, 30, 3), _SANET),
}
MODELS = tuple(NETWORKS)
REPORTED = ("resnet50", "iresnet50", "iresnet100", "ressanet50", "ressanet100")  # that the report compares
TITLES = {name: network.title for name, network in NETWORKS.items()}

# Name of a loss -> its class in `losses`, and arguments that belong to the name.
LOSSES: dict[str, tuple[str, dict[str, object]]] = {
    "arcface": ("ArcFace", {}),
    "arcface_straight_through": ("ArcFace", {"straight_through": True}),
    "softmax": ("Softmax", {}),
    "cosface": ("CosFace", {}),
    "sphereface": ("SphereFace", {}),
    "combined_margin": ("CombinedMargin", {}),
    "subcenter_arcface": ("SubCenterArcFace", {}),
    "curricularface": ("CurricularFace", {}),
    "magface": ("MagFace", {}),
    "adaface": ("AdaFace", {}),
    "legacy_arcface": ("LegacyArcFace", {}),
}
# Those that can draw a part of the identities each step (`partial`).
SAMPLED = ("arcface", "arcface_straight_through", "cosface", "sphereface", "combined_margin")


@dataclass(frozen=True)
class Condition:
    """What a network trains on.

    Attributes:
        title: in words.
        masked: the chance that a visit to a photo is to its masked twin.
        together: whether both twins of a photo come in one batch; then there is no chance in it.
        rows: of an aligned face those that are seen, in training and in tests, from the first to before the last; all
            else is grey. The eyes lie at row 52, the brows about row 43, the tip of the nose at row 72. Row 58 is the
            middle of the bridge of the nose, above which few masks reach.
    """

    title: str
    masked: float = 0.5
    together: bool = False
    rows: tuple[int, int] = (0, 112)


CONDITIONS = {
    "masked": Condition("masked faces", 1.0),
    "unmasked": Condition("unmasked faces", 0.0),
    "both": Condition("either twin, by the toss of a coin"),
    "twins": Condition("both twins of each photo in one batch", together=True),
    "upper": Condition("upper half of the face, of either twin", rows=(0, 58)),
    "periocular": Condition("band of the eyes, of either twin", rows=(32, 58)),
}
SIMPLE_CONDITIONS = ("masked", "unmasked", "both")  # that Table 1 compares
DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "32-true", "bf16-mixed", "16-mixed")
LOGGERS = ("none", "csv", "tensorboard")
SCHEDULES = ("cosine", "constant")
PARTS = ("test", "validation")
DECAY = ("weights", "all")
FANS = ("group", "layer")


def of_notebook(variables: Mapping[str, object]) -> dict[str, object]:
    """A notebook's parameters, name -> value: the plain values among its variables.

    Args:
        variables: its `globals()`, before it defines anything else.
    """
    plain, jupyter = (str, int, float, bool, type(None), list, dict), {"In", "Out"}
    return {k: v for k, v in variables.items() if not k.startswith("_") and k not in jupyter and isinstance(v, plain)}


def unknown(kind: str, name: object, known: Iterable[str]) -> str:
    """The message for a name that is not one of `known`, with the nearest right one."""
    known = list(known)
    near = difflib.get_close_matches(str(name)[:100], known, n=1, cutoff=0.5)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return f"unknown {kind} {shown(name)}: one of {', '.join(known)}{hint}"
