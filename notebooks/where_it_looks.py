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
# # Where it looks
#
# **Question.** A mask leaves eyes and brows. Does training on masked faces teach a network to look there?
#
# Let $e = f(x)$ be the embedding of a photo and $r$ that of the person's other photos, both of length 1. Two maps tell what of
# $x$ makes $e^\top r$ large. *Occlusion* {cite}`zeiler2014` covers a square $S$ with the mean face, and sees what is lost:
#
# $$o(S) = f(x)^\top r - f(x_{\setminus S})^\top r.$$
#
# *Gradient times activation* {cite}`selvaraju2017` takes a feature map $A$ inside the network and asks, to first order, what
# each of its places $u$ brings:
#
# $$g(u) = \max\Big(0, \sum_c \frac{\partial\, e^\top r}{\partial A_c(u)}\, A_c(u)\Big).$$
#
# The first needs no look inside but covers 16 pixels at a time; the second is finer, and a first-order guess. Where both
# agree, there is something. Each person counts once, on people whom no network has seen. As aligned faces have their eyes, nose and
# mouth at the same places, maps are averaged as they are, and shown on a mean rendered face.

# %% tags=["parameters"]
results = None  # folder of records; default: the book's

# %% tags=["hide-input"]
# %config InlineBackend.figure_formats = ["svg"]
import numpy as np
import pandas as pd
from IPython.display import Markdown, display

from maskfr_utils import figures, records
from maskfr_utils.faces.regions import EYES, REGIONS, regions
from maskfr_utils.masks import mask_faces
from maskfr_utils.measure import where_it_looks
from maskfr_utils.rendered import render_faces
from maskfr_utils.study import state

record = records.read_measurement("recognise/where_it_looks.json", results)
not_run = f"Not run yet: `{where_it_looks.COMMAND} runs/RUN runs/RUN ...` looks at the networks of finished runs."
people = render_faces(30, 1, seed=11)
twins = (people.images, mask_faces(people.images, people.landmarks).images)
mean = {name: x.mean(0).round().astype(np.uint8) for name, x in zip(where_it_looks.TWINS, twins, strict=True)}
if record:
    seeds = "; ".join(f"{label}: seed {', '.join(map(str, s))}" for label, s in record["seeds"].items())
    display(Markdown(f"{record['people']} people ({record['set']}). {seeds}."))
else:
    display(Markdown(not_run))
print(state.made_from("where_it_looks", results))

# %% [markdown]
# ## The parts of a face
#
# Shares are counted by five parts, from each face's own landmarks: where half of a map lies in a tenth of the picture, that part
# counts five times as much as its area.

# %% tags=["hide-input"] mystnb={"image": {"alt": "A rendered face, and the same with its parts in colours: eyes and brows, nose, mouth, the rest of the face, what is around it"}}
inside = regions(people.landmarks[0])
colours = np.array([figures.style.COLOURS[i] for i in range(len(REGIONS))])
painted = (255 * sum(inside[name][..., None] * colours[i] for i, name in enumerate(REGIONS))).astype(np.uint8)
half = ((people.images[0].astype(int) + painted) // 2).astype(np.uint8)
figures.faces.face_grid({", ".join(REGIONS): np.stack([people.images[0], half])}, size=2)

# %% [markdown]
# ## Do they look at eyes and brows?
#
# The share of a map that lies on eyes and brows, without a mask and with one; by both ways to make a map.

# %% tags=["hide-input"] mystnb={"image": {"alt": "For each network two dots with error bars, the share of its occlusion map on eyes and brows, without and with a mask"}}
shown = {
    way: where_it_looks.parts(record, way, EYES) if record else {twin: pd.DataFrame() for twin in where_it_looks.TWINS}
    for way in where_it_looks.WAYS
}
figures.results.estimates(shown["occlusion"], "share of the occlusion map on eyes and brows, %", value="share")

# %% tags=["hide-input"] mystnb={"image": {"alt": "The same for gradient times activation"}}
figures.results.estimates(
    shown["gradient times activation"], "share of gradient times activation on eyes and brows, %", value="share"
)

# %% tags=["hide-input"]
for way in where_it_looks.WAYS:
    display(Markdown(f"**{way.capitalize()}**"), where_it_looks.table(record, way) if record else Markdown(not_run))

# %% [markdown]
# ## The maps

# %% tags=["hide-input"] mystnb={"image": {"alt": "Occlusion maps laid on a mean rendered face, a line for each network, without and with a mask"}}
maps = {
    way: {
        label: {twin: np.array(by[twin][way]["map"]) for twin in where_it_looks.TWINS if way in by[twin]}
        for label, by in (record["networks"] if record else {}).items()
    }
    for way in where_it_looks.WAYS
}
figures.attribution.maps_on_faces(mean, maps["occlusion"])

# %% tags=["hide-input"] mystnb={"image": {"alt": "Gradient times activation laid on a mean rendered face, a line for each network, without and with a mask"}}
figures.attribution.maps_on_faces(mean, maps["gradient times activation"])

# %% [markdown]
# ## Attention
#
# ResSaNet's last stage has self-attention: each of 7 x 7 places takes from all places what it needs. As it is computed: how
# much each place is looked at, the mean over those that look and over people; with a mask. A place there sees a large part of
# the face already, so this says less about pixels than the maps above.

# %% tags=["hide-input"] mystnb={"image": {"alt": "How much each of 7 by 7 places is looked at, laid on a mean rendered masked face, for each head of each self-attention"}}
twin = where_it_looks.TWINS[1]
heads = {
    label: by[twin]["attention"]
    for label, by in (record["networks"] if record else {}).items()
    if by[twin]["attention"]
}
for label, layers in heads.items():
    display(Markdown(f"**{label}**"))
    display(figures.attribution.heads(mean[twin], {name: [np.array(h) for h in x] for name, x in layers.items()}))
if not heads:
    display(Markdown("No network with self-attention was looked at." if record else not_run))

# %% [markdown]
# ## What we learn

# %% tags=["remove-input"]
text = [not_run]
if record:
    text = []
    for way, by_twin in shown.items():
        told = [
            f"{label} {100 * by_twin[where_it_looks.TWINS[0]].loc[label, 'share']:.0f} % without and {100 * row['share']:.0f} % with a mask"
            for label, row in by_twin[where_it_looks.TWINS[1]].iterrows()
        ]
        text.append(
            f"{way.capitalize()}, share on eyes and brows ({100 * record['area'][EYES]:.0f} % of the picture): {'; '.join(told)}."
        )
display(Markdown(":::{admonition} What we learn\n" + "\n".join(f"- {words}" for words in text) + "\n:::"))
