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
# **Question.** Is there one network for masked and bare faces, as good on each as a network that was trained for it alone?
#
# [](masked_vs_unmasked) trains one network without masks and one with, and each is good at its own kind of face. Whoever uses
# such a network does not know beforehand whether the next person wears a mask. Here IResNet-50 is trained in seven ways:
#
# | trained on | what a batch holds |
# | --- | --- |
# | masked | masked faces: the specialist for them |
# | unmasked | bare faces: the specialist for those |
# | both | of each photo either twin, by the toss of a coin |
# | twins | both twins of each photo, of half as many photos |
# | twins, drawn together | the same; to the loss comes $w\,(1 - \cos(x_i, x'_i))$, by which the embeddings $x_i$ and $x'_i$ of a photo's twins become alike |
# | upper half | either twin, cut in the middle of the bridge of the nose: below it is grey |
# | band of the eyes | either twin, of which brows, eyes and the root of the nose are left |
#
# All take as many steps of as many pictures. The last two see nothing else in tests either: few masks reach so high, so a mask
# can neither help nor harm them much, and what a face shows below is lost to them also where it is bare. The weight $w$ is the
# best of five on validation photos, by the mean over both kinds of faces.

# %% tags=["parameters"]
results = None  # folder of records; default: the book's
scale = "demo"  # of the figures: demo (rendered faces) or pocket (real photos)

# %% tags=["hide-input"] mystnb={"image": {"alt": "A rendered face and its masked twin, whole, cut below the bridge of the nose, and cut to the band of the eyes"}}
# %config InlineBackend.figure_formats = ["svg"]
import numpy as np
from IPython.display import Markdown, display

from maskfr_utils import figures
from maskfr_utils.batches import seen
from maskfr_utils.masks import mask_faces
from maskfr_utils.names import CONDITIONS
from maskfr_utils.rendered import render_faces
from maskfr_utils.study import alternatives, captions, outcomes, plan, tables
from maskfr_utils.study.variants import TWIN_TERM

people = render_faces(2, 1, seed=3)
twins = np.concatenate([people.images, mask_faces(people.images, people.landmarks, seed=3).images])
parts = ("both", "upper", "periocular")
figures.faces.face_grid({part: seen(twins, part) for part in parts})

# %% [markdown]
# Two rendered people, bare and masked: whole, the upper half, the band of the eyes.
#
# ## Accuracy on either kind of face

# %% tags=["hide-input"]
by_twin = {twin: alternatives.conditions(scale, results, twin) for twin in ("masked", "unmasked")}
lines = {name: alternatives.title(name) for name in (*CONDITIONS, TWIN_TERM)}
display(alternatives.table(by_twin, lines), Markdown(captions.made_with("conditions", scale, results)))
if weight := plan.chosen_variants(scale, results).get(TWIN_TERM):
    display(Markdown(f"The twin term's weight: $w$ = {weight['twin_weight']:g}."))

# %% tags=["hide-input"] mystnb={"image": {"alt": "For each condition two dots with error bars: its accuracy on masked and on unmasked test faces"}}
named = {twin: {lines[name]: result for name, result in found.items()} for twin, found in by_twin.items()}
figures.results.estimates(
    {f"on {twin} faces": alternatives.forest(found) for twin, found in named.items()}, "top-1 accuracy, %"
)

# %% [markdown]
# ## One network for all?
#
# Each network that sees both kinds of whole faces is held against itself, masked against bare, and against the specialist for
# either. The rule was made before the runs: *yes*, where the 95 % interval of all three differences lies above −1 point;
# *no*, where a specialist is better beyond noise or the gap is surely wider than a point; else *not shown*.

# %% tags=["hide-input"]
compared = alternatives.one_for_all(scale, results)
names = list(dict.fromkeys(condition for condition, _ in compared.index))
shown = outcomes.in_points(compared)
shown.index = [f"{lines[name]}: {what}" for name, what in compared.index]
display(shown, Markdown(captions.VERDICTS))
display(Markdown("; ".join(f"{lines[name]}: *{alternatives.reached(compared, name)}*" for name in names)))

# %% tags=["hide-input"] mystnb={"image": {"alt": "For each condition three differences with error bars beside a line at zero: masked against bare faces, and against the specialist for either"}}
figures.results.estimates(
    {lines[name]: compared.loc[name] for name in names},
    "difference in top-1 accuracy, percentage points",
    value="difference",
    zero=True,
)

# %% [markdown]
# ## Less to see
#
# Against the network that sees whole faces of either kind, on masked and on bare photos:

# %% tags=["hide-input"]
for twin, found in named.items():
    less = {lines[name]: found[lines[name]] for name in parts if lines[name] in found}
    display(Markdown(f"On {twin} faces:"), outcomes.in_points(alternatives.against(less, lines["both"])))

# %% [markdown]
# On the other scales:

# %% tags=["hide-input"]
for each in plan.SCALES:
    if each != scale:
        found = {twin: alternatives.conditions(each, results, twin) for twin in ("masked", "unmasked")}
        if found["masked"]:
            display(alternatives.table(found, lines), Markdown(captions.made_with("conditions", each, results)))
        else:
            display(
                Markdown(
                    f"*{tables.FACES[each].capitalize()}*: not run yet; `{plan.command('conditions', each)}` runs it."
                )
            )

# %% [markdown]
# ## What we learn

# %% tags=["remove-input"]
text = alternatives.condition_answer(scale, results) or [f"Not run yet: `{plan.command('conditions', scale)}` runs it."]
display(Markdown(":::{admonition} What we learn\n" + " ".join(text) + "\n:::"))
