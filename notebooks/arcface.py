# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # ArcFace
#
# **Question.** What does the loss ask of an embedding, and what did the report's equation and code ask instead?
#
# A network that names people could be trained with softmax, which scores each identity $j$ of a face's embedding $x$ by $w_j^\top x + b_j$.
# But a new person has no $w_j$. Then embeddings are compared, by the angle between them. ArcFace ([Deng et al.,
# 2019a](#cite-deng2019)) trains what is used later, in two steps:
#
# - It divides $x$ and $w_j$ by their lengths. A score is then $s\cos\theta_j$, where $\theta_j$ is the angle between the two, and the
#   number $s$ sets how much differences of cosines count.
# - It asks a face for more than to be nearest to its identity: the true identity is scored as if its angle were larger by a *margin* $m$.

# %% tags=["parameters"]
s = 64.0  # of the loss: cosines are multiplied by it
m = 0.5  # of the loss, its margin in radians
steps = 150  # of training in the plane

# %% tags=["remove-input"]
from maskfr_utils.study import parameters

parameters.check(
    globals(),
    s=parameters.number(1, 512),
    m=parameters.number(0, 1.5),
    steps=parameters.number(1, 100_000, whole=True),
)

# %% tags=["hide-input"]
import math

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from IPython.display import display

from maskfr_utils import figures, records
from maskfr_utils.losses import ArcFace, CombinedMargin, CosFace, SphereFace, create_loss
from maskfr_utils.study import pages, scales, state

# %config InlineBackend.figure_formats = ["svg"]

# %% [markdown]
# ## The idea in a picture
#
# $\theta_y$ is the angle between a face's embedding $x$ and $w_y$, the direction of its identity. [The picture](#fig-margin) shows
# what the margin adds.

# %% tags=["hide-input"] mystnb={"name": "fig-margin", "caption": "The report's Figure 7: ArcFace on the unit circle. The face x is scored as if it were farther from its identity's direction by the margin m.", "image": {"alt": "Unit circle with a face's embedding at an angle to its identity's weight, and the margin added to that angle"}}
figures.losses.angular_margin(m, angle=0.6)

# %% [markdown]
# [In numbers](#tab-scored), for a face at 40° from its own identity and at 55°, 70° and 90° from three others: only the own angle is
# scored as a larger one.

# %% mystnb={"name": "tab-scored", "caption": "One face and four identities: angles, what the loss scores, and the probability of each identity with the margin and without."}
degrees = torch.tensor([40, 55, 70, 90], dtype=torch.float64)
cosines = degrees.deg2rad().cos().round(decimals=9)  # that of 90 degrees is 0, not 6e-17
scored = cosines.clone()
scored[0] = ArcFace(2, 2, s, m).with_margin(cosines[:1, None])[0, 0]
pd.DataFrame(
    {
        "angle, degrees": degrees,
        "cosine": cosines,
        "angle as scored": scored.acos().rad2deg(),
        "logit z": s * scored,
        "probability": (s * scored).softmax(0),
        "without margin": (s * cosines).softmax(0),
    },
    index=["own identity", "second", "third", "fourth"],
).map("{:.3g}".format)

# %% tags=["remove-input"]
own, *others = (s * scored).softmax(0).tolist()
certain = (s * cosines).softmax(0)[0]
told = "With it another identity is in front" if own < max(others) else "With it the own identity is still in front"
text = f"""Without a margin the own identity has a probability of {certain:.3g}, and little would be left to learn. {told}: the own
identity has {own:.3g}. The loss goes on pulling until the face has come nearer to its own direction."""
pages.Words(text)

# %% [markdown]
# $$L = -\frac1N \sum_{i=1}^{N} \log
# \frac{e^{s\cos(\theta_{y_i} + m)}}{e^{s\cos(\theta_{y_i} + m)} + \sum_{j \ne y_i} e^{s\cos\theta_j}}$$
#
# ## A slip in the report's equation
#
# The report prints the fraction without the logarithm, and without the target's term in the denominator. Both matter.
# Without the logarithm the loss of a hard face is flat: its fraction is near 0 whatever the angle. Without the
# target's term the fraction can become as large as $10^{51}$ with $s = 64$ and $m = 0.5$, and the "loss" of one easy face outweighs all others. [Both losses](#tab-slip) are given here
# for one face at angle $\theta$ from its identity and at 90° from nine others:

# %% tags=["hide-input"] mystnb={"name": "tab-slip", "caption": "ArcFace's loss, and the report's equation as it is printed, by the angle to the own identity."}
others = 9
degrees = np.array([20, 40, 60, 80, 100, 120])
target = torch.tensor(np.cos(np.radians(degrees)))[:, None]
z = s * ArcFace(2, 2, s, m).with_margin(target)[:, 0]
rest = math.log(others)  # log of the sum over nine identities at 90 degrees, where s cos t = 0
pd.DataFrame(
    {
        "angle, degrees": degrees,
        "the loss": F.softplus(rest - z),  # log(1 + e^(rest - z)), exact near 0
        "as printed": -torch.exp(z - rest),
    }
).set_index("angle, degrees").map("{:.3g}".format).rename_axis(index=None, columns="angle, degrees")

# %% [markdown]
# The report's code differs from its equation: it has the logarithm, but no angle. It divides the *scores* $w_j^\top x + b_j$ of a face
# by the length of the vector that they form and calls the result a cosine. We keep it as `LegacyArcFace`. [What the report's code
# did](audit.ipynb) lists the other differences.
#
# ## One family
#
# The margin losses differ in what they put in place of $\cos\theta_y$ ([the curves](#fig-family)). CosFace takes $\cos\theta_y - m$,
# SphereFace $\cos(m\,\theta_y)$, and the combined margin $(m_1, m_2, m_3)$ takes $\cos(m_1\theta_y + m_2) - m_3$. One detail: where $\theta + m$ passes
# 180°, its cosine would rise again, and a face on the far side would be pushed away. From there on our ArcFace, like other code, takes
# $\cos\theta - m \sin m$, which is a little lower (the step in its curve) and falls all the way.

# %% tags=["hide-input"] mystnb={"name": "fig-family", "caption": "What each loss puts in place of the cosine of the own angle.", "image": {"alt": "Line plot of the target's value over the angle to the own identity for softmax and four margin losses; all fall, the margin losses lie below"}}
family = {
    "softmax of cosines": lambda cosine: cosine,
    f"ArcFace, m = {m}": ArcFace(2, 2, margin=m).with_margin,
    "CosFace, m = 0.35": CosFace(2, 2).with_margin,
    "SphereFace, m = 1.35": SphereFace(2, 2, margin=1.35).with_margin,
    "combined (1, 0.3, 0.2)": CombinedMargin(2, 2).with_margin,
}
figures.playable.pointed(figures.losses.target_logits(family))

# %% [markdown]
# With two identities, a face is scored as the right one above the line on which the target's value equals the other's cosine
# ([the lines](#fig-boundaries)). The diagonal is the line without a margin. ArcFace's line runs parallel to it: the same gap in angle
# wherever a face lies. CosFace ([Wang et al., 2018](#cite-wang2018)) asks for a wide gap where a face is near its identity, for the
# narrowest near 80°, and for a wider one again beyond, SphereFace ([Liu et al., 2017](#cite-liu2017)) for one that grows with the angle.
#
# Other losses change something else. Sub-center ArcFace ([Deng et al., 2020](#cite-deng2020)) gives an identity several directions.
# CurricularFace ([Huang et al., 2020](#cite-huang2020)) lets hard wrong identities count for more as training goes on. MagFace ([Meng et
# al., 2021](#cite-meng2021)) lets the margin grow with the embedding's length. [Losses](losses.ipynb) compares them.

# %% tags=["hide-input"] mystnb={"name": "fig-boundaries", "caption": "The angles to the own and to another identity at which a face is scored as the right one: above each line.", "image": {"alt": "Plane of the angles to the own and to another identity with a boundary line for each loss; that of ArcFace runs parallel to the diagonal"}}
figures.losses.decision_boundaries(
    {
        "no margin": ArcFace(2, 2, margin=0.0),
        f"ArcFace, m = {m}": ArcFace(2, 2, margin=m),
        "CosFace, m = 0.35": CosFace(2, 2),
        "SphereFace, m = 1.35": SphereFace(2, 2, margin=1.35),
        "combined (1, 0.3, 0.2)": CombinedMargin(2, 2),
    }
)

# %% [markdown]
# ## What $s$ and $m$ do
#
# Cosines lie in $[-1, 1]$, and the softmax of such small numbers never comes near 0 or 1. The factor $s$ decides how near it may come.
# Among $n$ identities, with all others at 90°, the probability of the true one is at most $1 / (1 + (n - 1) e^{-s})$. Too
# small an $s$ leaves a loss that no embedding can remove; too large an $s$ turns the loss into a step. The margin shifts the curve to
# the left: a face must be nearer to its identity for the same probability. Move the sliders [of this figure](#fig-play) to see it. [The next
# figure](#fig-scale) shows several settings side by side.

# %% tags=["remove-input"] mystnb={"name": "fig-play", "caption": "Probability of the own identity by angle, with sliders for s and m.", "image": {"alt": "Line plot of the probability of the own identity over the angle, with two sliders that move the curve"}}
figures.playable.arcface(s, m)

# %% tags=["hide-input"] mystnb={"name": "fig-scale", "caption": "Probability of the own identity by angle, among 1,000 identities, for several s and m.", "image": {"alt": "Line plot of the probability of the own identity over the angle, for s from 8 to 64 and margins from 0 to 0.5; with a larger s they fall more steeply"}}
identities = 1000  # all others at 90 degrees
angles = torch.linspace(0, math.pi / 2, 181, dtype=torch.float64)


def probability(s, m):
    z = s * ArcFace(2, 2, s, m).with_margin(angles.cos()[:, None])[:, 0]
    return torch.sigmoid(z - math.log(identities - 1))


settings = [(8.0, m), (16.0, m), (32.0, m), (64.0, m), (64.0, 0.0), (64.0, 0.3)]
figures.playable.pointed(
    figures.losses.curves(
        {f"s = {s:g}, m = {m:g}": (angles.rad2deg(), probability(s, m)) for s, m in settings},
        "angle to the own identity, degrees",
        "probability of the own identity",
    )
)

# %% tags=["remove-input"]
ours = scales.recipe("pocket")
pins = records.read_measurement("sources/pins.json")
people = pins["identities"]
bound = {s: 1 / (1 + (people - 1) * math.exp(-s)) for s in (4, ours["scale"])}
said = (
    f"The paper's $s = 64$, $m = 0.5$ are meant for tens of thousands of identities. Our study on real "
    f"photos has {people} people and few epochs, and trains with $s = {ours['scale']:g}$, "
    f"$m = {ours['margin']:g}$. Its bound is {bound[ours['scale']]:.5f}, so it is no obstacle; "
    f"at $s = 4$ it would be {bound[4]:.2f}. Whether another $s$ trains better is a question for [Losses](losses.ipynb)."
)
display(pages.Words(said), pages.made(state.made_from("arcface")))

# %% [markdown]
# ## The gradient: true, or straight through
#
# arcface_torch, a widely used implementation, adds the margin outside of what is differentiated. Let $z_y$ be the score of the own
# identity. Up to $\theta_y = \pi - m$ that loss has the same value as ours, but another gradient: $\partial z_y / \partial
# \cos\theta_y = s$, called *straight through*, instead of the true $s \sin(\theta_y + m) / \sin\theta_y$.
#
# What moves an embedding along the sphere is the derivative by the angle, times the softmax's error. The derivative is
# $-s \sin(\theta_y + m)$ for the true gradient and $-s \sin\theta_y$ straight through ([the pull](#fig-pull)). So a face that is near its
# identity, but has not yet reached the margin, is still pulled by the true gradient and hardly moved by the other.
#
# (Beyond $\theta_y = \pi - m$, where $\cos(\theta_y + m)$ would rise again, ours goes on falling, and so does that code's older version.
# Its newer one lets it rise: at $\theta_y = 3$, $s = 64$ and $m = 0.5$ to $-59.9$, where ours gives $-78.7$. A face is hardly ever so
# far off.)


# %% tags=["hide-input"] mystnb={"name": "fig-pull", "caption": "How strongly a face is pulled towards its identity, by angle: true gradient and straight through.", "image": {"alt": "Line plot of the pull on a face over its angle: the true gradient is already strong at small angles, the straight-through one starts near zero"}}
def pull(straight_through):
    """|d z_y / d angle| over the angle."""
    t = angles[1:].clone().requires_grad_()
    loss = ArcFace(2, 2, s, m, straight_through=straight_through)
    (s * loss.with_margin(t.cos()[:, None])).sum().backward()
    return t.grad.abs().numpy()


figures.playable.pointed(
    figures.losses.curves(
        {name: (angles[1:].rad2deg(), pull(flag)) for name, flag in (("true", False), ("straight through", True))},
        "angle to the own identity, degrees",
        "pull on the face, |dz / d angle|",
    )
)

# %% [markdown]
# With both, the margin also keeps the softmax's error from vanishing before $\theta_y + m$, not only $\theta_y$, is small enough. Ours is
# the true gradient. `straight_through=True` gives the other, and `-p loss arcface_straight_through` trains a run with it.
#
# ## In the plane
#
# The same small network maps five identities into two dimensions, trained with four losses. In [the circles](#fig-plane) each dot is the
# direction of a face, and each line that of an identity. Softmax separates the identities. The margin draws each closer to its line and
# opens gaps between them. The loss of the report's code does not pull faces to their line.

# %% tags=["hide-input"] mystnb={"name": "fig-plane", "caption": "Directions of five identities' faces in two dimensions, trained with four losses.", "image": {"alt": "Four circles with the directions of five identities' faces, for softmax, CosFace, ArcFace and the loss of the report's code; margins pack each identity more tightly"}}
generator = torch.Generator().manual_seed(0)
centres = 2.2 * torch.randn(5, 16, generator=generator)
labels = torch.arange(300) % 5
points = centres[labels] + 1.5 * torch.randn(300, 16, generator=generator)


def train_in_the_plane(name, **arguments):
    torch.manual_seed(1)
    net = torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.PReLU(), torch.nn.Linear(32, 2))
    loss = create_loss(name, 2, 5, **arguments)
    optimizer = torch.optim.Adam([*net.parameters(), *loss.parameters()], lr=0.02)
    for step in range(steps):
        loss.margin_share = min(1.0, 2 * step / steps)  # eased in over the first half, as in a run
        optimizer.zero_grad()
        loss(net(points), labels).backward()
        optimizer.step()
    with torch.no_grad():
        embeddings = net(points)
        own = F.cosine_similarity(embeddings, loss.weight[labels]).clamp(-1, 1).acos().rad2deg().mean()
    return (embeddings.numpy(), labels.numpy(), loss.weight.detach().numpy()), own.item()


panels = {
    "softmax": train_in_the_plane("softmax"),
    "CosFace": train_in_the_plane("cosface", scale=16.0, margin=0.35),
    "ArcFace": train_in_the_plane("arcface", scale=16.0, margin=m),
    "the report's code": train_in_the_plane("legacy_arcface", scale=45.0, margin=0.1),
}
titled = {f"{name}:\n{own:.0f}° off on average": panel for name, (panel, own) in panels.items()}
figures.losses.embeddings_on_a_circle(titled)

# %% [markdown]
# <div class="admonition tip">
# <p class="admonition-title">In short</p>
#
# ArcFace asks that an embedding lie nearer to its identity's direction than to any other, by a margin in the angle; that angle is what
# recognition compares later. The report's equation asks next to nothing of hard faces: one easy face outweighs all others. Its code divides
# a face's scores by the length of the vector that they form and calls that a cosine, so no angle occurs in it. Ours is tested against an
# independent implementation ([Musgrave et al., 2020](#cite-musgrave2020)), in its loss and its gradient.
#
# </div>
#
# <details><summary><b>Exercise.</b> Among 1,000 identities, all others at 90°: from which <i>s</i> on can the probability exceed 0.99?</summary>
#
# $1 / (1 + 999\,e^{-s}) > 0.99$ gives $s > \ln(999 \cdot 99) \approx 11.5$. Try it with the slider, at $m = 0$ and 0°.
#
# </details>
#
# <details><summary><b>Exercise.</b> A face lies at 60° from its identity, and <i>m</i> = 0.5. At which angle is it scored, and by how much
# does its cosine fall?</summary>
#
# At $60° + 28.6° = 88.6°$. The cosine falls from 0.5 to 0.024.
#
# </details>
