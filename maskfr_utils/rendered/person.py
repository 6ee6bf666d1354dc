"""Who is rendered: a made-up person's shape and looks, drawn by name.

Lengths are centimetres on the mean face (see `head`), most others shares of 1. Sex, age and skin tone come first and
move the means of the rest, so that a person hangs together; all of them are continuous. The means bring the landmarks
near those of the mean frontal photo (how near, and of which photos: see `head`).
"""

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np

# What each hair style sets: height on top and at the sides, where it ends over temple, ear and neck, its lowest row,
# the fringe (1 or 0), how much it widens downwards, and how dense it is.
_HAIR = {"top": 0.9, "side": 0.25, "sideburn": 2.5, "over_ear": -1.0, "nape": 7.0, "end": 8.0, "fringe": 0.0, "flare": 0.0, "density": 1.0}  # fmt: skip
# Beards: moustache, chin, cheeks (shares), thickness, density.
_BEARDS = {
    "none": (0, 0, 1, 0, 0.1),
    "stubble": (0.3, 0.3, 0.9, 0.02, 0.4),
    "moustache": (1, 0, 0, 0.2, 0.9),
    "goatee": (1, 1, 0, 0.3, 0.9),
    "full": (1, 1, 1, 0.35, 0.9),
    "long": (1, 1, 1, 1.1, 0.95),
}
_FRAMES = np.array(
    [
        [0.01, 0.01, 0.012],
        [0.09, 0.035, 0.015],
        [0.3, 0.3, 0.32],
        [0.45, 0.32, 0.12],
        [0.04, 0.05, 0.12],
        [0.25, 0.02, 0.03],
    ]
)


def draw_person(rng: np.random.Generator, spread: float) -> SimpleNamespace:
    """Draw a person; `spread` scales how far the shape lies from the mean."""

    def about(mean: float, sigma: float) -> float:
        return mean + spread * sigma * float(np.clip(rng.standard_normal(), -2.3, 2.3))

    def chance(probability: float) -> float:
        return float(rng.random() < probability)

    # Sex from -1 (feminine) to 1 (masculine), with people in between.
    sex = float(np.clip(rng.choice([-0.75, 0.75]) + 0.35 * rng.standard_normal(), -1.2, 1.2))
    age = float(rng.beta(1.6, 2.0))  # 0: twenty, 1: eighty
    tone = float(rng.uniform(0, 4.99))  # of `skin.SKIN`, light to dark
    p = SimpleNamespace(sex=sex, age=age, tone=tone)

    p.width, p.height = about(0.02 * sex, 0.04), about(0.01 * sex, 0.04)
    p.temple, p.cheek = about(0, 0.025), about(-0.01 * sex, 0.035)
    p.jaw, p.jaw_angle, p.neck = about(0.05 * sex, 0.06), about(0, 0.5), 5.0 + 0.6 * sex
    p.flat, p.forehead = about(0.86, 0.06), about(-0.1 * sex, 0.3)
    p.chin, p.chin_z, p.cleft = about(-0.4 + 0.15 * sex, 0.35), about(0.1 * sex, 0.3), chance(0.15)
    p.cheek_z, p.hollow = about(0.5, 0.15), about(0.45 + 0.1 * age, 0.2)
    p.bags, p.fold = about(1.2 * age, 0.4), about(0.3 + 0.9 * age, 0.25)
    p.ear_out, p.ear_size = about(1.2, 0.3), about(2.9 + 0.3 * age, 0.2)

    p.eye_x, p.eye_y, p.eye_z = about(3.15, 0.15), about(0, 0.14), about(-0.1 * sex, 0.2)
    p.eye_w, p.eye_high, p.eye_low = about(1.38, 0.1), about(0.63 - 0.05 * sex - 0.08 * age, 0.08), about(0.36, 0.05)
    p.eye_peak, p.eye_tilt, p.crease = about(0.1, 0.1), about(-0.06 + 0.05 * age, 0.06), about(0.36 - 0.1 * age, 0.13)
    p.brow_y, p.brow_z, p.brow_tilt = about(-1.6 + 0.2 * sex, 0.2), about(0.15 * sex, 0.14), about(0.05, 0.25)
    p.brow_arc, p.brow_thick = about(0.75 - 0.15 * sex, 0.15), about(0.36 + 0.08 * sex, 0.06)
    p.brow_dark = about(0.75 - 0.1 * age, 0.13)

    p.nose_y, p.nose_w = about(4.35 + 0.1 * age, 0.25), about(0.95 + 0.05 * sex + 0.02 * tone, 0.11)
    p.nose_z, p.nose_bridge = about(1.9 + 0.1 * sex - 0.06 * tone, 0.26), about(0.0, 0.18)
    p.nose_tip, p.nose_fat = about(0.9, 0.25), about(0.5, 0.9)
    p.mouth_y, p.mouth_w, p.mouth_z = about(6.75, 0.2), about(2.42, 0.17), about(0.05 * tone, 0.18)
    p.mouth_bow, p.cupid = about(0.12, 0.1), about(0.14, 0.07)
    p.lip_up = about(0.68 - 0.08 * sex - 0.12 * age + 0.05 * tone, 0.12)
    p.lip_low = about(0.9 - 0.06 * sex - 0.12 * age + 0.05 * tone, 0.14)

    p.red, p.yellow, p.freckles = about(0, 0.05), about(0, 0.06), chance(0.2) * (tone < 1.5)
    p.lip_red = float(np.clip(about(0.45 - 0.25 * sex, 0.2), 0, 1))
    p.make_up = chance(0.5) * max(0.0, -sex) * rng.random()
    p.moles = int(rng.poisson(1.2))
    p.iris = int(rng.choice(6, p=[0.3, 0.25, 0.15, 0.1, 0.12, 0.08]) if tone < 2 else rng.choice(3, p=[0.6, 0.3, 0.1]))
    _draw_hair(p, rng, about)
    p.beard = "none"
    if sex > 0.2:
        p.beard = str(rng.choice(list(_BEARDS), p=[0.4, 0.25, 0.06, 0.1, 0.13, 0.06]))
    p.beard_moustache, p.beard_chin, p.beard_cheeks, p.beard_thick, p.beard_density = _BEARDS[p.beard]
    p.beard_density *= (sex > 0.2) * rng.uniform(0.7, 1.1)
    p.glasses = bool(chance(0.1 + 0.25 * age))
    p.lens = rng.uniform(1.9, 2.6), rng.uniform(1.4, 2.2), rng.choice([2.0, 2.6, 4.0])  # half sizes, squareness
    p.rim, p.frame = rng.uniform(0.07, 0.25), rng.choice(_FRAMES, p=[0.4, 0.2, 0.15, 0.1, 0.1, 0.05])
    return p


def _draw_hair(p: SimpleNamespace, rng: np.random.Generator, about: Callable[[float, float], float]) -> None:
    """Hair of a person: colour, style, curl."""
    dark = rng.random() < min(p.tone / 2.2, 1.0)
    p.hair_colour = int(rng.choice(2) if dark else rng.choice(6, p=[0.24, 0.26, 0.22, 0.13, 0.09, 0.06]))
    p.grey = float(np.clip((p.age - 0.6) * 2 + 0.35 * rng.standard_normal(), 0, 1)) * (p.age > 0.35)
    curls = [0.6, 0.2, 0.2] if p.tone < 2.5 else [0.25, 0.15, 0.6]
    p.curly = float(rng.choice([0, 0.5, 1], p=curls))  # straight, wavy, curly
    if rng.random() < 0.5 - 0.5 * np.clip(1.5 * p.sex, -0.9, 0.9):
        p.style = str(rng.choice(["long", "bob", "tied", "short"], p=[0.4, 0.2, 0.25, 0.15]))
    else:
        shares = [0.4, 0.2, 0.08 + 0.12 * p.age, 0.27 - 0.12 * p.age, 0.05]
        p.style = str(rng.choice(["short", "buzz", "bald", "side", "long"], p=shares))
    u = rng.random(4)
    hair = _HAIR | {
        "bald": {"top": 0.0, "side": 0.0, "density": 0.25 * u[0]},
        "buzz": {"top": 0.12, "side": 0.05, "density": 0.75},
        "short": {"top": 0.5 + 1.7 * u[0], "side": 0.1 + 0.6 * u[1]},
        "side": {"top": 1.5, "side": 0.4, "fringe": 1.0, "over_ear": 2.5 * u[0] - 1},
        "tied": {"top": 0.5, "side": 0.05, "sideburn": 0.5, "nape": 5.0},
        "bob": {"side": 0.9, "sideburn": 7.5, "over_ear": 8.0, "nape": 8.0, "end": 9.5, "flare": 0.6, "fringe": u[0] < 0.5},
        "long": {"side": 0.7, "sideburn": 2.0 if u[0] < 0.5 else 14.0, "over_ear": 16.0, "nape": 16.0, "end": 16.0,
                 "flare": 1.5 * u[1], "fringe": u[2] < 0.25},
    }[p.style]  # fmt: skip
    if p.curly == 1 and p.style not in ("bald", "buzz", "tied"):
        hair |= {"top": 1 + 2.5 * u[2], "side": 0.8 + 2 * u[3], "fringe": 0.0}
    for name, value in hair.items():
        setattr(p, f"hair_{name}", float(value))
    loss = p.age * max(p.sex, 0.0)
    p.hair_line, p.receding = about(-6.7, 0.45) - 1.2 * loss, max(0.0, about(0.3 + 2.5 * loss, 0.5))
    p.hair_combed, p.hair_parting = rng.normal(0, 0.9), rng.normal(0, 0.6)  # texels a row; radians
    p.fringe_y, p.fringe_slope = rng.uniform(-4.6, -2.6), rng.uniform(-1.2, 1.2)
