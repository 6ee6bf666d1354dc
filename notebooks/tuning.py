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
# # Tuning
#
# **Question.** Does the order of the networks depend on the learning rate, and at which rate should each be judged?
#
# The *learning rate* is the length of a training step. The first version of this study gave all networks one rate and
# found that ResSaNet-50 names far fewer people than IResNet-50. A rate that suits one network may be far too high for
# another: then the comparison tells who stands a wrong rate better, not who recognises better.
#
# So each network gets the same trials here, and is then judged at the rate that suits it.
#
# - The photos of each person are cut into three parts: **training**, **validation** (a tenth of the photos that are not for
#   testing) and **test**. Every choice is made on validation photos. Test photos are looked at once, by the final runs.
# - Each network is trained at five rates or more, each twice the one before. While the best rate is the lowest or the
#   highest tried, one more is tried beyond it.
# - The rate with the highest accuracy on masked validation photos is taken; of equal ones, the lowest.
#
# A trial is one seed, and the validation photos are few, so rates that lie close together cannot be told apart. That
# is enough for the purpose: what matters is to come near the top.

# %% tags=["parameters"]
results = None  # folder of records; default: the book's
scale = "demo"  # of the figures: demo (rendered faces) or pocket (real photos)

# %% tags=["hide-input"] mystnb={"image": {"alt": "For each network a line of validation accuracy against the learning rate, with a ring at the chosen rate"}}
# %config InlineBackend.figure_formats = ["svg"]
import pandas as pd
from IPython.display import Markdown, display

from maskfr_utils import figures
from maskfr_utils.names import REPORTED, TITLES
from maskfr_utils.study import captions, plan, tables

tried = tables.tried(scale, results)
reported = {TITLES[model]: tried[TITLES[model]] for model in REPORTED if TITLES[model] in tried}
figures.results.rates({name: table["masked"] for name, table in reported.items()})

# %% [markdown]
# The share of masked validation photos that each network names rightly, by its learning rate; a ring marks the rate that was
# chosen. In numbers, percent:

# %% tags=["hide-input"]
for each in plan.SCALES:
    display(Markdown(captions.made_with("tuning", each, results)), tables.tuning_table(each, results))

# %% [markdown]
# One command makes the trials of a network anew, in a folder of your choice:
#
# ```bash
# python -m maskfr_utils.study tuning --scale demo --model iresnet50 --results my_trials
# ```
#
# ## What one rate for all would have said
#
# The difference of ResSaNet-50 and IResNet-50 on validation photos, in percentage points, if both were given the same rate:

# %% tags=["hide-input"]
pair = [TITLES[model] for model in ("ressanet50", "iresnet50")]
if all(name in tried for name in pair):
    both = pd.concat([tried[name]["masked"] for name in pair], axis=1, keys=pair).dropna()
    same = 100 * (both[pair[0]] - both[pair[1]])
    best = 100 * (tried[pair[0]]["masked"].max() - tried[pair[1]]["masked"].max())
    display(same.round(1).rename("ResSaNet-50 − IResNet-50, points").to_frame().T)

# %% [markdown]
# ## Who leads when
#
# The final runs, each network at its own rate: accuracy on the masked validation photos after each epoch, mean over seeds.
# A network that starts slowly may end ahead. Training ends where the learning rate has come down to nothing; whether
# more epochs would help, the slope of the last ones tells.

# %% tags=["hide-input"] mystnb={"image": {"alt": "For each network a line of validation accuracy by epoch, mean over seeds"}}
curves = tables.curves(scale, results)
figures.results.by_epoch(curves)

# %% [markdown]
# In percent; *last step* is what the last epoch added, in points.

# %% tags=["hide-input"]
shown = (100 * curves).T
if len(curves) > 1:
    shown["last step"] = shown.iloc[:, -1] - shown.iloc[:, -2]
display(shown.round(1), Markdown(captions.rerun("table_2", scale, results)))

# %% [markdown]
# ## The rest of the recipe
#
# Three further settings were put right or tried, each alone and on validation photos, with one network of either kind:
#
# - *Weight decay* pulls weights towards 0. It belongs on the weights of convolutions, linear layers and classes; the first
#   version let it pull on norms, slopes and biases, too (`decay_all`).
# - *Depthwise filters*, which only ResSaNet has, started some thirty times too small, since their fan was counted
#   over all channels instead of the one that each sees. A step then turns them much further than other filters
#   (`fan_layer`).
# - A *new mask at each visit* (`fresh_masks`) and *augmentation* (`augment`: turned, moved, recoloured, partly covered).
#
# The best validation accuracy over the rates tried, percent:

# %% tags=["hide-input"]
for each in plan.SCALES:
    if len(table := tables.recipe_changes(each, results)) > 1:
        display(table.round(1), Markdown(captions.rerun("changes", each, results)))
    else:
        display(
            Markdown(f"*{tables.FACES[each].capitalize()}*: not run yet; `{plan.command('changes', each)}` runs it.")
        )

# %% [markdown]
# ## What we learn

# %% tags=["remove-input"]
text = "No network has been tried yet."
if all(name in tried for name in pair):
    rates = plan.chosen(scale, results)
    text = (
        f"Yes, it does. On {tables.FACES[scale]}, with one rate for both, ResSaNet-50 trails IResNet-50 by anything from"
        f" {abs(same.max()):.1f} to {abs(same.min()):.1f} points, by the rate alone; each at its best, the validation"
        f" photos put {abs(best):.1f} points between them. IResNet-50 was judged at {rates['iresnet50']:g} and"
        f" ResSaNet-50 at {rates['ressanet50']:g}. Whoever compares networks at one rate compares rates."
    )
display(Markdown(f":::{{admonition}} What we learn\n{text}\n:::"))
