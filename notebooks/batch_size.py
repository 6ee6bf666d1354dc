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
# # Batch size
#
# **Question.** Is a larger batch better, as the report's Figure 9 has it?
#
# The report trained IResNet-50 with several batch sizes and found 512 the best. It gives one learning rate, 0.05, for everything,
# and does not say whether epochs or steps were the same. With $n$ photos, $E$ epochs and batches of $B$, SGD takes
#
# $$\text{steps} = E \left\lfloor n / B \right\rfloor$$
#
# steps. At the same number of epochs, a batch twice as large takes half the steps, each with less noise in its gradient. Its steps
# should then be longer: a common rule doubles the learning rate with the batch ([Goyal et al., 2017](#cite-goyal2017)). So there are
# [three experiments](#fig-9):
#
# - **one rate**: the one that suits the smallest batch, for the same epochs;
# - **rate scaled with the batch**, for the same epochs;
# - **one rate, as many steps**: each size takes as many steps as the largest one, so smaller batches see fewer photos.
#   The warm-ups of rate and margin last the same number of steps, too.

# %% tags=["parameters"]
results = None  # folder of records; default: the book's
scale = "demo"  # of the study: demo (rendered faces), pocket (real photos), full (at full width)

# %% tags=["remove-input"]
from maskfr_utils.study import parameters, scales

parameters.check(globals(), results=parameters.folder, scale=scales.SCALES)

# %% tags=["hide-input"] mystnb={"name": "fig-9", "caption": "The report's Figure 9, in three experiments: accuracy on masked test photos by batch size, with 95% intervals over seeds and people.", "image": {"alt": "Three lines of accuracy against batch size with error bars: one rate, a rate scaled with the batch, as many steps"}}
# %config InlineBackend.figure_formats = ["svg"]
from IPython.display import display

from maskfr_utils import figures
from maskfr_utils.study import answers, captions, outcomes, pages, plan, tables

lines = {name: line for name, line in tables.figure_9(scale, results).items() if len(line) > 1}
made = pages.made(*(captions.made_with("figure_9", each, results) for each in scales.SCALES))
display(
    pages.drawn(lines, lambda: figures.playable.pointed(figures.results.batch_sizes(lines))),
    pages.Words(captions.shows(scale)),
    made,
)

# %% [markdown]
# [In numbers](#tab-9). Each point has three seeds. Other chapters show all seeds of the same network, on rendered faces five, so its
# number may differ there by some tenths.

# %% tags=["hide-input"] mystnb={"name": "tab-9", "caption": "Accuracy on masked test photos by batch size, with 95% intervals over seeds and people."}
display(*pages.parts({tables.FACES[each]: tables.figure_9_table(each, results) for each in scales.SCALES}))

# %% [markdown]
# ## Is it more than noise?
#
# [Each batch size against the smallest](#tab-9-compared), on the same photos of the same seeds. $p$ is corrected for all lines together, run or not.

# %% tags=["hide-input"] mystnb={"name": "tab-9-compared", "caption": "Each batch size against the smallest, in percentage points, with 95% intervals over seeds and people."}
compared = tables.batches_compared(scale, results)
display(pages.shown(outcomes.in_points(compared)), pages.Words(captions.VERDICTS))

# %% tags=["remove-input"]
text = answers.batches(scale, results) or (
    f"Whether a larger batch is better is not measured yet on {tables.FACES[scale]}: `{plan.command('figure_9', scale)}` measures it."
)
display(pages.box(f"{text}\n\n{answers.best_batch(scale, results)}"))

# %% [markdown]
# <details><summary><b>Exercise.</b> 1,000 photos, 10 epochs. How many steps does SGD take with batches of 16, and of 512?</summary>
#
# $10 \cdot \lfloor 1000 / 16 \rfloor = 620$, and $10 \cdot \lfloor 1000 / 512 \rfloor = 10$. With so few steps at the same rate, the large
# batch has hardly begun to learn. So a curve at one rate compares numbers of steps, not batch sizes.
#
# </details>
