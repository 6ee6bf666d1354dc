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
# # What holds and what does not
#
# **Question.** The report orders networks and conditions by its tables. Which of these conclusions stand, by its own numbers and by ours?
#
# The chapters before this one hold the tables. Here each conclusion is a difference of two accuracies, with an interval. By
# the report's own numbers the interval is what its test set allows, worked out in [](compare_models). By ours it
# answers for seeds and people, as [](masked_vs_unmasked) explains, and a conclusion needs three seeds to *hold*. Read *holds* for *better* below, and *the opposite* for *worse*.

# %% tags=["parameters"]
results = None  # folder of records; default: the book's

# %%
# %config InlineBackend.figure_formats = ["svg"]
from IPython.display import Markdown, display

from maskfr_utils import figures
from maskfr_utils.study import captions, published, tables

display(tables.claims(results), Markdown(captions.VERDICTS))

# %% [markdown]
# Differences in percentage points, with 95 % intervals.

# %% mystnb={"image": {"alt": "For each conclusion three dots with error bars, the report, real photos and rendered faces, beside a line at zero"}}
compared = tables.claim_tables(results)
figures.results.estimates(compared, "difference in top-1 accuracy, percentage points", value="difference", zero=True)

# %%
for each in ("pocket", "demo"):
    display(Markdown(captions.made_with(None, each, results)))

# %% [markdown]
# ## In words

# %%
text = []
for name, cells in tables.claims(results).items():
    verdicts = cells.str.split(":").str[0]
    counts = ", ".join(f"{verdict} {count}" for verdict, count in verdicts.value_counts().items())
    text.append(f"- {name.capitalize()}, of {len(verdicts)} conclusions: {counts}.")
for each in ("pocket", "demo"):
    text.append(f"- {tables.FACES[each].capitalize()}: {' '.join(captions.found(each, results))}")
    for name, table in tables.figure_9(each, results).items():
        if len(table) > 1:
            sizes = f"{table.index.min()} to {table.index.max()}"
            best, worst = table["accuracy"].idxmax(), table["accuracy"].idxmin()
            ends = f"{best} comes highest, {worst} lowest"
            text.append(f"- {tables.FACES[each].capitalize()}: of batch sizes {sizes} at the {name}, {ends}.")
text.append(f"- Batch size: the report's best is {published.BEST_BATCH}.")
display(Markdown("\n".join(text)))

# %% [markdown]
# ## What the original code does otherwise
#
# The report tells what was meant; its notebooks tell what was run. Where they part, this book does what was meant.
#
# | the original code | here |
# | --- | --- |
# | The "ArcFace" divides the scores of a picture by their length over the people; no angle occurs. | the published loss; the other one is kept as `LegacyArcFace`: [](arcface) |
# | A stem of 7 x 7 with stride 2 and stride 2 in all four stages: maps of 28 to 4 instead of 56 to 7, then a mean over them. | stem and head of the papers; `legacy=True` builds the others: [](models) |
# | Blocks use one convolution, or one activation, at two places. | each place has its own: [](blocks) |
# | Each picture is mirrored, then picture and mirror image are split at random: test photos are trained on, mirrored. | photos are split first, near copies stay together: [](data) |
# | No test calls `model.eval()`: BatchNorm uses the test batch's own statistics. | tests use the statistics of training |
# | Pictures enter as blue, green, red from 0 to 255. | red, green, blue from -1 to 1 |
# | 92.08 % of ResSaNet-100 was printed by a notebook that reads a folder named `_no_mask`. | each network is tested on both twins: [](masked_vs_unmasked) |
# | The accuracy is the mean over people, and batch sizes differ between networks. | both means stand side by side, one batch size a scale: [](compare_models) |
#
# ## What these numbers are not
#
# - They are not the report's experiment. It used MS-Celeb-1M, a set that was withdrawn by its publisher; we have fewer people,
#   networks with a fraction of the channels, and few epochs. What differs between networks at this scale
#   may differ otherwise at full size.
# - Ours stop after few epochs, most of them while still learning: their order is that of how fast they learn under one
#   recipe. A network that wants another learning rate, or more epochs, is judged below its best.
# - The masks are virtual. A network can learn the masks' drawing, and a real mask is not drawn.
# - The people are a *closed set*: each test photo shows somebody who was trained on. Telling strangers apart is another
#   question.
# - Intervals over people assume that other people would be like these. They are actors and public figures, well lit.
