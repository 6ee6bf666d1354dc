"""Every name that a user may type, once. Free of torch."""

import difflib
from collections.abc import Iterable

MODELS = ("resnet50", "iresnet50", "iresnet100", "ressanet50", "ressanet100")
LOSSES = (
    "arcface",
    "arcface_straight_through",
    "softmax",
    "cosface",
    "sphereface",
    "combined_margin",
    "subcenter_arcface",
    "curricularface",
    "magface",
    "legacy_arcface",
)
CONDITIONS = ("masked", "unmasked", "both")
PRECISIONS = ("auto", "32-true", "bf16-mixed", "16-mixed")
SCHEDULES = ("cosine", "constant")

TITLES = {
    "resnet50": "ResNet-50",
    "iresnet50": "IResNet-50",
    "iresnet100": "IResNet-100",
    "ressanet50": "ResSaNet-50",
    "ressanet100": "ResSaNet-100",
}


def unknown(kind: str, name: object, known: Iterable[str]) -> str:
    """The message for a name that is not one of `known`, with the nearest right one."""
    known = list(known)
    near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return f"unknown {kind} {name!r}: one of {', '.join(known)}{hint}"
