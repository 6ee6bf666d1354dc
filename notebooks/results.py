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
# the report's own numbers the interval is what its test set allows, worked out in [](compare_models). By ours it comes from
# drawing people anew; and a conclusion *holds* only if the interval, every seed and McNemar's $p$, corrected after Holm for
# the number of conclusions, agree.

# %% tags=["parameters"]
results = None  # folder of records; default: the book's

# %%
# %config InlineBackend.figure_formats = ["svg"]
from IPython.display import Markdown, display

from maskfr_utils import plots, report, tables

tables.claims(results)

# %% [markdown]
# Differences in percentage points, with 95 % intervals.

# %% mystnb={"image": {"alt": "For each conclusion three dots with error bars, the report, real photos and rendered faces, beside a line at zero"}}
compared = tables.claim_tables(results)
plots.estimates(compared, "difference in top-1 accuracy, percentage points", value="difference", zero=True)

# %%
for each in ("pocket", "demo"):
    display(Markdown(tables.made_with(None, each, results)))

# %% [markdown]
# ## In words

# %%
text = []
for name, cells in tables.claims(results).items():
    verdicts = cells.str.split(":").str[0]
    for verdict in verdicts.unique():
        which = verdicts.index[verdicts == verdict]
        text.append(f"- {name.capitalize()}, {verdict}: {len(which)} of {len(verdicts)} ({'; '.join(which)}).")
text.append(f"- Batch size: the report's best is {report.PUBLISHED_BEST_BATCH}.")
for each in ("pocket", "demo"):
    for name, table in tables.figure_9(each, results).items():
        if len(table) > 1:
            sizes = f"{table.index.min()} to {table.index.max()}"
            text.append(
                f"- {tables.FACES[each].capitalize()}: of {sizes} at the {name}, {table['accuracy'].idxmax()} is best."
            )
display(Markdown("\n".join(text)))

# %% [markdown]
# ## What these numbers are not
#
# - They are not the report's experiment. It used MS-Celeb-1M, a set that was withdrawn by its publisher; we have fewer people,
#   networks with a fraction of the channels, and few epochs. What differs between networks at this scale
#   may differ otherwise at full size.
# - Ours share one recipe. A network that wants another learning rate, or more epochs, is judged below its best.
# - The masks are virtual. A network can learn the masks' drawing, and a real mask is not drawn.
# - The people are a closed set: each test photo shows somebody who was trained on. Telling strangers apart is another question.
# - Intervals over people assume that other people would be like these. They are actors and public figures, well lit.
