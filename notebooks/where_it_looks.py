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
# Let $e = f(x)$ be the embedding of a photo and $r$ that of the person's other photos, both of length 1. Their product $e^\top r$ is
# the cosine between them: the larger it is, the more alike the photos are to the network. Two kinds of maps tell which parts of $x$
# make it large. *Occlusion* ([Zeiler and Fergus, 2014](#cite-zeiler2014)) covers a square $S$ with the mean face, and
# measures what is lost:
#
# $$o(S) = f(x)^\top r - f(x_{\setminus S})^\top r.$$
#
# A pixel gets the mean of $o$ over the squares that cover it; below 0 it counts as 0.
#
# *Gradient times activation* ([Selvaraju et al., 2017](#cite-selvaraju2017)) takes a feature map $A$ inside the network and asks, to
# first order, what each of its places $u$ brings:
#
# $$g(u) = \max\Big(0, \sum_c \frac{\partial\, e^\top r}{\partial A_c(u)}\, A_c(u)\Big).$$
#
# The first needs no look inside the network but covers 16 pixels at a time. The second is finer, but only a first-order estimate.
# A finding counts where both agree. The people of the record are rendered ones, though networks may be trained on real
# photos; no network was trained on these people, and each counts once. As aligned faces have
# their eyes, nose and mouth at the same places, maps are averaged as they are, and shown on a mean rendered face.

# %% tags=["parameters"]
results = None  # folder of records; default: the book's

# %% tags=["remove-input"]
from maskfr_utils.study import parameters

parameters.check(globals(), results=parameters.folder)

# %% tags=["hide-input"] mystnb={"name": "fig-parts-of-a-face", "caption": "A rendered face and its five parts: eyes and brows (blue), nose (orange), mouth (green), the rest of the face (red), what is around it (purple).", "image": {"alt": "A rendered face, and beside it the same face painted over in five colours, one for each part"}}
# %config InlineBackend.figure_formats = ["svg"]
import numpy as np
import pandas as pd
from IPython.display import display

from maskfr_utils import figures, records
from maskfr_utils.faces import regions
from maskfr_utils.masks import mask_faces
from maskfr_utils.measure import where_it_looks
from maskfr_utils.rendered import render_faces
from maskfr_utils.study import pages, state

record = records.read_measurement("recognise/where_it_looks.json", results)
command = f"{where_it_looks.COMMAND} runs/RUN runs/RUN ..."
people = render_faces(30, 1, seed=11)
twins = (people.images, mask_faces(people.images, people.landmarks).images)
mean = {name: x.mean(0).round().astype(np.uint8) for name, x in zip(where_it_looks.TWINS, twins, strict=True)}
inside = regions.regions(people.landmarks[0])
colours = np.array(figures.style.COLOURS[: len(regions.REGIONS)])
painted = (255 * sum(inside[name][..., None] * colours[i] for i, name in enumerate(regions.REGIONS))).astype(np.uint8)
half = ((people.images[0].astype(int) + painted) // 2).astype(np.uint8)
figures.faces.face_grid({"": np.stack([people.images[0], half])}, size=2)

# %% [markdown]
# A map is summed up by its shares on five [parts](#fig-parts-of-a-face) of the picture, found by each face's own landmarks. *Around the
# face* are background and hair, and also the forehead above the brows. A part that
# is a tenth of the picture and holds half of the map counts five times as much as its area.
#
# ## Do they look at eyes and brows?
#
# The share of a map that lies on eyes and brows, without a mask and with one: by [occlusion](#fig-eyes-occlusion), and by
# [gradient times activation](#fig-eyes-gradient); [the table](#tab-parts-looked-at) has all parts. A share is called
# larger than another one where their 95% intervals do not overlap, which is stricter than a paired comparison. ResSaNet-50 was trained on masked
# faces only, so what that taught it is not shown; `python -m maskfr_utils.train -f params/pocket/study.yaml -p model ressanet50 -p condition
# unmasked` makes a run without masks.

# %% tags=["hide-input"] mystnb={"name": "fig-eyes-occlusion", "caption": "Share of the occlusion map on eyes and brows, with 95% intervals over seeds and people.", "image": {"alt": "For each network two dots with error bars, without a mask and with one"}}
shown = {
    way: where_it_looks.parts(record, way, regions.EYES)
    if record
    else {twin: pd.DataFrame() for twin in where_it_looks.TWINS}
    for way in where_it_looks.WAYS
}
who = f"{record['people']} people ({record['set']}), {record['left_out']} left out." if record else ""
made = pages.made(f"`{command}` looks at finished runs.", who, state.made_from("where_it_looks", results))


def eyes(way):
    def draw():
        masked_first = dict(reversed(shown[way].items()))  # in the colours that masked and bare faces have elsewhere
        figure = figures.results.estimates(masked_first, "share on eyes and brows, %", value="share")
        highs = [table["high"].max() for by_twin in shown.values() for table in by_twin.values() if len(table)]
        figure.axes[0].set_xlim(0, 105 * max(highs))  # the same for both figures
        return figure

    return pages.drawn(shown[way], draw)


display(eyes("occlusion"), pages.Words(pages.networks(record)), made)

# %% tags=["hide-input"] mystnb={"name": "fig-eyes-gradient", "caption": "Share of gradient times activation on eyes and brows, with 95% intervals over seeds and people.", "image": {"alt": "For each network two dots with error bars, without a mask and with one, as for occlusion"}}
eyes("gradient times activation")

# %% tags=["hide-input"] mystnb={"name": "tab-parts-looked-at", "caption": "Share of the maps on each part of the face: percent, with 95% intervals over seeds and people."}
looked_at = {
    way: where_it_looks.table(record, way).rename_axis(["network", "face"]) if record else pd.DataFrame()
    for way in where_it_looks.WAYS
}
display(*pages.parts(looked_at, command))

# %% [markdown]
# ## The maps
#
# The mean over people, laid on a mean rendered face: [occlusion](#fig-map-occlusion), and
# [gradient times activation](#fig-map-gradient).

# %% tags=["hide-input"] mystnb={"name": "fig-map-occlusion", "caption": "What is lost where a square is covered, mean over people, by network. Bright: much; each map has a scale of its own.", "image": {"alt": "Maps laid on a mean rendered face, a line for each network, without and with a mask; bright where covering costs most"}}
maps = {
    way: {
        label: {twin: np.array(by[twin][way]["map"]) for twin in where_it_looks.TWINS if way in by[twin]}
        for label, by in (record["networks"] if record else {}).items()
    }
    for way in where_it_looks.WAYS
}
pages.drawn(maps["occlusion"], lambda: figures.attribution.maps_on_faces(mean, maps["occlusion"]))

# %% tags=["hide-input"] mystnb={"name": "fig-map-gradient", "caption": "Gradient times activation of 28 x 28 places, mean over people, by network. Bright: much; each map has a scale of its own.", "image": {"alt": "Maps laid on a mean rendered face, a line for each network, without and with a mask; bright where most is brought"}}
gradient = maps["gradient times activation"]
pages.drawn(gradient, lambda: figures.attribution.maps_on_faces(mean, gradient))

# %% [markdown]
# ## Attention
#
# ResSaNet's last stage has self-attention: each of its 7 x 7 places takes from all places what it needs. [The figure](#fig-attention)
# shows how much each place is looked at: the mean over the places that look and over people, with a mask. A place there has already
# seen a large part of the face, so this says less about pixels than the maps above.

# %% tags=["hide-input"] mystnb={"name": "fig-attention", "caption": "How much each of 7 x 7 places is looked at, by self-attention and head, on masked faces, of the first seed. Bright: much; each map has a scale of its own, so an even one looks as uneven as others.", "image": {"alt": "Maps of 7 by 7 squares on a mean rendered masked face, a line for each self-attention of a network, a column for each head"}}
twin = where_it_looks.TWINS[1]
heads = {
    f"{label}: block {block}": [np.array(head) for head in found]
    for label, by in (record["networks"] if record else {}).items()
    for block, found in enumerate(by[twin]["attention"].values(), 1)
}
pages.drawn(heads, lambda: figures.attribution.heads(mean[twin], heads))

# %% tags=["remove-input"]
LOWER = slice(4, 7)  # of the seven rows: where the mask is
shares = [head[LOWER].sum() / head.sum() for found in heads.values() for head in found]
if shares:
    said = f"The lower three of the seven rows, where the mask is, get {np.mean(shares):.0%} of the attention (by head {min(shares):.0%} to {max(shares):.0%});"
    display(pages.Words(f"{said} if all places were looked at alike, it would be {3 / 7:.0%}."))

# %% tags=["remove-input"]
text = f"Where the networks look is not measured yet: `{command}` measures it."
if record:
    text = where_it_looks.answer(record) or pages.ELSEWHERE
display(pages.box(text))

# %% [markdown]
# <details><summary><b>Exercise.</b> Why is the square covered with the mean face, and not with grey?</summary>
#
# A grey square is something that the network has never seen: its edges alone move the embedding, wherever it lies, and on a masked
# face it looks like one more mask. The mean face has nothing of this person but is a face at that place; what is lost is what was
# this person's.
#
# </details>
