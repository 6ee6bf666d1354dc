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
# # What to train on
#
# **Question.** Can one network serve masked and bare faces as well as two that were each trained for one?
#
# [Masked and unmasked](masked_vs_unmasked.ipynb) trains one network without masks and one with them. Each is good at its own kind of face.
# But in use nobody knows beforehand whether the next person wears a mask. Here IResNet-50 is trained in seven ways, on batches that hold
#
# - **masked faces**: the specialist for them.
# - **unmasked faces**: bare ones, the specialist for those.
# - **either twin, by the toss of a coin**: of each photo one of the two, anew in each epoch.
# - **both twins of each photo in one batch**: twice as many pictures of half as many photos.
# - **both twins in one batch, drawn together** (the *twin term*): the same; to the loss comes $w\,(1 - \cos(x_i, x'_i))$, by which the embeddings $x_i$ and $x'_i$ of a photo's twins become alike.
# - **upper half of the face, of either twin**: cut in the middle of the bridge of the nose: below it is grey.
# - **band of the eyes, of either twin**: brows, eyes and the root of the nose are left.
#
# All take the same number of steps, with batches of the same size. The last two see only that part of the face in tests, too. Few masks reach so
# high, so a mask hardly changes what they see; but they never see the lower half, also where it is bare. The weight $w$ is the
# best of five on validation photos, by the mean over both kinds of faces. [Two people](#fig-seen) as these networks see them:

# %% tags=["parameters"]
results = None  # folder of records; default: the book's
scale = "demo"  # of the study: demo (rendered faces), pocket (real photos), full (at full width)

# %% tags=["remove-input"]
from maskfr_utils.study import parameters, scales

parameters.check(globals(), results=parameters.folder, scale=scales.SCALES)

# %% tags=["hide-input"] mystnb={"name": "fig-seen", "caption": "Two rendered people, bare and masked: the whole face, the upper half, and the band of the eyes.", "image": {"alt": "Three rows of four rendered faces, two of them masked: whole, grey below the bridge of the nose, and grey but for a band of the eyes"}}
# %config InlineBackend.figure_formats = ["svg"]
import numpy as np
from IPython.display import display

from maskfr_utils import figures, names
from maskfr_utils.batches import seen
from maskfr_utils.masks import mask_faces
from maskfr_utils.rendered import render_faces
from maskfr_utils.study import alternatives, answers, captions, outcomes, pages, plan, tables, trials, variants

people = render_faces(2, 1, seed=3)
twins = np.concatenate([people.images, mask_faces(people.images, people.landmarks, seed=3).images])
parts = {"both": "whole", "upper": "upper half", "periocular": "band of the eyes"}
figures.faces.face_grid({title: seen(twins, part) for part, title in parts.items()})

# %% [markdown]
# ## Accuracy on either kind of face
#
# [The table](#tab-conditions) and [the plot](#fig-conditions) show each network on masked and on bare faces.

# %% tags=["hide-input"] mystnb={"name": "tab-conditions", "caption": "IResNet-50 by what it was trained on: accuracy on masked and on bare test photos, with 95% intervals over seeds and people."}
lines = {name: alternatives.title(name) for name in (*names.CONDITIONS, variants.TWIN_TERM)}
found = {
    each: {twin: alternatives.conditions(each, results, twin) for twin in alternatives.TWINS} for each in scales.SCALES
}
shown = {each: alternatives.table(of, lines).rename_axis("trained on").add_prefix("on ") for each, of in found.items()}
display(*pages.parts({tables.FACES[each]: table for each, table in shown.items()}))
for each in scales.SCALES:
    if weight := trials.chosen_variants(each, results).get(variants.TWIN_TERM):
        display(pages.Words(f"The twin term's weight on {tables.FACES[each]}: $w$ = {weight['twin_weight']:g}."))
display(pages.made(*(captions.made_with("conditions", each, results) for each in scales.SCALES)))

# %% tags=["hide-input"] mystnb={"name": "fig-conditions", "caption": "Accuracy of IResNet-50 on masked and on bare test photos by what it was trained on, 95% intervals over seeds and people.", "image": {"alt": "For each condition two dots with error bars: its accuracy on masked and on unmasked test faces"}}
named = {twin: {lines[name]: result for name, result in of.items()} for twin, of in found[scale].items()}
forests = {f"on {twin} faces": alternatives.forest(of) for twin, of in named.items()}
pages.drawn(forests, lambda: figures.results.estimates(forests, "top-1 accuracy, %"))

# %% [markdown]
# ## One network for all?
#
# A *specialist* is a network that was trained for one kind of face alone. Each network that may serve both kinds is compared in
# [three ways](#tab-one-for-all): its masked accuracy with its bare one, and either with the specialist's. The rule was made before the
# runs; the networks that see a part of the face joined this table after theirs:
#
# - *yes*, where the 95% intervals of all three differences lie above −1 point;
# - *no*, where a specialist is better beyond noise, or the whole interval of masked less bare accuracy lies below −1 point;
# - *not shown* in all other cases, and wherever fewer than three seeds are run.
#
# Where a specialist is called better, $p$ is corrected for all networks and differences. A *yes* is not: it takes three intervals at once, but
# several networks are tried. More differences are corrected together here than in [Masked and unmasked](masked_vs_unmasked.ipynb), so a
# verdict may differ from the one there.

# %% tags=["hide-input"] mystnb={"name": "tab-one-for-all", "caption": "Networks that may serve both kinds of faces: masked against bare photos, and against the specialist for either, in percentage points with 95% intervals over seeds and people."}
compared = {each: alternatives.one_for_all(each, results) for each in scales.SCALES}
words = {}
for each, table in compared.items():
    said = alternatives.verdicts(table)
    rows = outcomes.in_points(table).assign(**{"one for all": [said[name] for name, _ in table.index]})
    words[tables.FACES[each]] = rows.set_axis([f"{lines[name]}: {what}" for name, what in table.index])
formats = [pages.Words(said) for each in scales.SCALES if (said := answers.precisions("conditions", each, results))]
display(*pages.parts(words), pages.Words(captions.VERDICTS), *formats)

# %% tags=["hide-input"] mystnb={"name": "fig-one-for-all", "caption": "Masked against bare photos of one network, and against the specialist for either, with 95% intervals over seeds and people.", "image": {"alt": "For each condition three differences with error bars beside a line at zero"}}
differences = {lines[name]: compared[scale].loc[name] for name in alternatives.verdicts(compared[scale])}
label = "difference in top-1 accuracy, percentage points"
pages.drawn(differences, lambda: figures.results.estimates(differences, label, value="difference", zero=True))

# %% [markdown]
# ## Less to see
#
# [Against the network that sees whole faces](#tab-less) of either kind; $p$ is corrected for all four comparisons on one kind of
# photos, run or not. FaceX-Zoo
# ([Wang et al., 2021](#cite-wang2021)) tried the upper half before, on other faces with masks, and found it worse: 71.4% at rank 1. Whole
# faces, bare and masked, gave 78.5%, and whole face and upper half together 79.2%.

# %% tags=["hide-input"] mystnb={"name": "tab-less", "caption": "Networks that see a part of the face only, against one that sees it whole, in percentage points with 95% intervals over seeds and people."}
less = {}
for each in scales.SCALES:
    rows = outcomes.in_points(alternatives.less_to_see(each, results))
    less[tables.FACES[each]] = rows.set_axis([f"{lines[name]}, {twin} faces" for twin, name in rows.index])
display(*pages.parts(less, plan.command("conditions")), *formats)

# %% tags=["remove-input"]
text = alternatives.condition_answer(scale, results) or [
    f"Whether one network serves both is not measured yet on {tables.FACES[scale]}: `{plan.command('conditions', scale)}` measures it."
]
for each in scales.SCALES:
    text += alternatives.condition_answer(each, results) if each != scale else []
display(pages.box(" ".join(text)))

# %% [markdown]
# <details><summary><b>Exercise.</b> A network that maps every face to the same point makes the twin term 0. Why does training not end
# there?</summary>
#
# The classification loss is added to it, and that loss is high if all people are at one point. The weight $w$ balances the two, which
# is why it has to be tuned.
#
# </details>
