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
# # Losses
#
# **Question.** Would another loss than ArcFace name more masked people?
#
# The report trains with ArcFace and names other losses as future work. Here the same network, IResNet-50, is trained on the
# same masked faces with ten losses. All but the first and the last score an identity by an angle and make the true
# one's score harder to raise ([](arcface)); they differ in where the margin stands, and whom it spares:
#
# | loss | how the true identity's score is lowered |
# | --- | --- |
# | softmax | not at all; no angle, no scale |
# | SphereFace | the angle is multiplied |
# | CosFace | a constant is taken from the cosine |
# | ArcFace | a constant is added to the angle |
# | combined margin | a constant is added to the angle and another taken from the cosine |
# | Sub-center ArcFace | ArcFace; a person has three centres, of which the nearest counts |
# | CurricularFace | ArcFace; hard negatives count for more as training goes on |
# | MagFace | ArcFace; the margin grows with the length of the embedding |
# | AdaFace | the margin changes its form with the length: hard pictures of poor quality are spared |
# | the original's | ArcFace's formula on scores that are no cosines |
#
# A loss with the wrong scale or margin loses to any other, so each is tuned. **Every loss gets nine trials**: three scales
# (half, once and twice the recipe's), three margins around its paper's and three learning rates (half, once and twice
# the network's own), set as an orthogonal array, in which each two levels of different settings meet once. Softmax, which has
# neither scale nor margin, has nine rates. The best on masked validation photos is then trained with three seeds.

# %% tags=["parameters"]
results = None  # folder of records; default: the book's
scale = "demo"  # of the figures: demo (rendered faces) or pocket (real photos)

# %% tags=["hide-input"]
# %config InlineBackend.figure_formats = ["svg"]
from IPython.display import Markdown, display

from maskfr_utils import figures
from maskfr_utils.study import alternatives, captions, outcomes, plan, tables
from maskfr_utils.study.variants import LOSS_VARIANTS

display(alternatives.loss_trials(scale, results))

# %% [markdown]
# The settings that were chosen, and how much they matter: the best, the median and the worst trial on validation photos. A
# trial whose loss left the numbers counts as 0 %. Where a loss's best is the largest or the smallest value that was tried, a
# wider search might still help it; all losses were searched as widely.
#
# The final runs, on test photos:

# %% tags=["hide-input"]
by_twin = {twin: alternatives.losses(scale, results, twin) for twin in ("masked", "unmasked")}
lines = {variant.title: variant.title for variant in LOSS_VARIANTS.values()}
display(alternatives.table(by_twin, lines), Markdown(captions.made_with("losses", scale, results)))

# %% tags=["hide-input"] mystnb={"image": {"alt": "For each loss two dots with error bars: its accuracy on masked and on unmasked test faces"}}
figures.results.estimates(
    {f"on {twin} faces": alternatives.forest(found) for twin, found in by_twin.items()},
    "top-1 accuracy, %",
)

# %% [markdown]
# Each loss against ArcFace, on the same masked photos of the same seeds; $p$ is corrected for the number of lines:

# %% tags=["hide-input"]
compared = alternatives.against(by_twin["masked"], alternatives.REFERENCE)
display(outcomes.in_points(compared), Markdown(captions.VERDICTS))

# %% tags=["hide-input"] mystnb={"image": {"alt": "For each loss a dot with an error bar, its difference to ArcFace, beside a line at zero"}}
figures.results.estimates(
    {"": compared}, "difference in top-1 accuracy, percentage points", value="difference", zero=True
)

# %% [markdown]
# Naming people whom a network knows is not what margins were made for: they are to keep *strangers* apart, whom it has never
# seen. A network whose loss does no better here may do better there.
#
# On the other scales:

# %% tags=["hide-input"]
for each in plan.SCALES:
    if each != scale:
        found = {twin: alternatives.losses(each, results, twin) for twin in ("masked", "unmasked")}
        if found["masked"]:
            display(alternatives.table(found, lines), Markdown(captions.made_with("losses", each, results)))
        else:
            display(
                Markdown(f"*{tables.FACES[each].capitalize()}*: not run yet; `{plan.command('losses', each)}` runs it.")
            )

# %% [markdown]
# ## What we learn

# %% tags=["remove-input"]
text = alternatives.loss_answer(scale, results) or [f"Not run yet: `{plan.command('losses', scale)}` runs it."]
display(Markdown(":::{admonition} What we learn\n" + " ".join(text) + "\n:::"))
