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
# steps: at the same epochs, a batch twice as large takes half the steps, each with less noise in its gradient. Its steps
# should then be longer: the usual rule doubles the learning rate with the batch ([Goyal et al., 2017](#cite-goyal2017)). So there are three
# experiments, and here are all:
#
# - **one rate**, the one that suits the smallest batch, for the same epochs;
# - **the rate scaled with the batch**, for the same epochs;
# - **one rate, as many steps**: each size takes the steps that the largest takes, hence sees fewer photos the smaller it is.
#   The warm-ups of rate and margin last the same number of steps, too.

# %% tags=["parameters"]
results = None  # folder of records; default: the book's
scale = "demo"  # of the figures: demo (rendered faces) or pocket (real photos)

# %% mystnb={"image": {"alt": "Three lines of accuracy against batch size with error bars: one rate, a rate scaled with the batch, as many steps"}}
# %config InlineBackend.figure_formats = ["svg"]
from IPython.display import Markdown, display

from maskfr_utils import figures
from maskfr_utils.study import captions, outcomes, plan, published, tables

lines = tables.figure_9(scale, results)
figures.results.batch_sizes(lines)

# %% [markdown]
# Bars are 95 % intervals over seeds and people. The numbers, for both scales:

# %%
for each in plan.SCALES:
    display(Markdown(captions.made_with("figure_9", each, results)), tables.figure_9_table(each, results))

# %% [markdown]
# ## Is it more than noise?
#
# Each batch size against the smallest, on the same photos of the same seeds.

# %%
pairs = {}
for name, runs in tables.figure_9_runs(scale).items():
    found = outcomes.results("figure_9", scale, results)
    first, *rest = [run for run in runs if run in found] or [None]
    pairs |= {f"{name}: {run.batch} − {first.batch}": (found[run], found[first]) for run in rest}
compared = outcomes.comparisons(pairs)
display(outcomes.in_points(compared), Markdown(captions.VERDICTS), Markdown(captions.rerun("figure_9", scale, results)))

# %% [markdown]
# ## What we learn

# %% tags=["remove-input"]
text = f"The report's best batch size is {published.BEST_BATCH}; what it kept the same between sizes it does not say."
if len(compared):
    verdicts = compared["verdict"].value_counts()
    said = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items())
    ends = [
        f"at {name}, {table['accuracy'].idxmax()} comes highest with {100 * table['accuracy'].max():.1f} %"
        for name, table in lines.items()
        if len(table) > 1
    ]
    text += f" Here, {'; '.join(ends)}. Of {len(compared)} differences to the smallest batch: {said}."
display(Markdown(f":::{{admonition}} What we learn\n{text}\n:::"))
