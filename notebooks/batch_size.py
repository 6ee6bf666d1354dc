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
# # Batch size (Figure 9)
#
# **Question.** Is a larger batch better, as the report's Figure 9 has it?
#
# The report trained IResNet-50 with several batch sizes and found 512 the best. It did not say what it kept the same. With $n$ photos, $E$ epochs and batches of $B$, SGD takes
#
# $$\text{steps} = E \left\lfloor n / B \right\rfloor$$
#
# steps: at the same epochs, a batch twice as large takes half the steps, each with less noise in its gradient. At the same
# number of steps it sees twice the photos. These are two experiments, and here are both; the second takes the steps that
# the largest batch takes in the first. The learning rate stays the same for all sizes. In the second experiment the
# warm-ups of rate and margin last the same number of steps, too.

# %% tags=["parameters"]
results = None  # folder of records; default: the book's
scale = "demo"  # of the figures: demo (rendered faces) or pocket (real photos)

# %% mystnb={"image": {"alt": "Two lines of accuracy against batch size with error bars: for the same epochs and the same number of steps"}}
# %config InlineBackend.figure_formats = ["svg"]
import numpy as np
from IPython.display import Markdown, display

from maskfr_utils import figures
from maskfr_utils.study import captions, published, tables

lines = tables.figure_9(scale, results)
figures.results.batch_sizes(lines)

# %% [markdown]
# Bars are 95 % intervals over people, of one seed. The numbers, for both scales:

# %%
for each in ("pocket", "demo"):
    display(Markdown(captions.made_with("figure_9", each, results)), tables.figure_9_table(each, results))

# %% [markdown]
# ## Is it more than noise?
#
# Each batch size against the smallest, on the same photos. A point is one seed: what an interval over people leaves out may
# still be the seed's doing, so nothing is decided here. How much the seed alone changes, [](compare_models) shows at one
# batch size.

# %%
pairs = {}
for name, runs in tables.figure_9_runs(scale).items():
    found = tables.results("figure_9", scale, results)
    first, *rest = [run for run in runs if run in found] or [None]
    pairs |= {f"{name}: {run.batch} − {first.batch}": (found[run], found[first]) for run in rest}
compared = tables.comparisons(pairs)
display(tables.in_points(compared), Markdown(captions.VERDICTS), Markdown(captions.rerun("figure_9", scale, results)))

# %% [markdown]
# ## What we learn

# %%
text = [f"- The report's best is {published.BEST_BATCH}."]
for name, table in lines.items():
    if len(table) > 1:
        best, points = table["accuracy"].idxmax(), 100 * table["accuracy"]
        sizes = ", ".join(map(str, table.index))
        text.append(
            f"- At the {name}, the best of {sizes} is {best} with {points[best]:.1f} %; "
            f"{points.idxmin()} is the worst, {np.ptp(points):.1f} points lower."
        )
noise = compared.index[compared["verdict"].str.startswith("undecided")]
text.append(f"- Undecided are {len(noise)} of {len(compared)} differences, since a point is one seed.")
usual = tables.specialists(scale, results).get(("iresnet50", "masked"))
if usual:
    text.append(f"- The seed alone, at batch size {usual.one['params']['batch_size']}: {usual.each()} %.")
display(Markdown("\n".join(text)))
