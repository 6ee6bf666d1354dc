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
# found that ResSaNet-50 names far fewer people than IResNet-50. But a rate that suits one network may be far too high for
# another. Then the comparison shows which network suffers less from a wrong rate, not which one recognises better.
#
# So each network gets the same *trials* here, and is then judged at the rate that suits it:
#
# - The photos of each person are cut into three parts: **training**, **validation** (a tenth of the photos that are not for
#   testing) and **test**. Every choice is made on validation photos. Test photos are looked at once, by the final runs.
# - Each network is trained at five rates or more, each twice the one before. As long as the best rate is the lowest or the
#   highest tried, one more is tried beyond it.
# - The rate with the highest accuracy on masked validation photos is taken. Of equal ones it is the lowest.
#
# A trial is one seed, and the validation photos are few, so this does not show which of two neighbouring rates is better. That
# is enough for the purpose: what matters is to come near the best. On real photos a trial is also shorter than a final run (three epochs
# instead of eight; at full width six instead of twelve), and its warm-ups are shortened by the same factor.
#
# On real photos one overlap remains. A seed also decides the split, so a photo on which seed 0 chose the rate may be a test photo of
# seed 1. This is the same for all networks, and only one number is chosen from all validation photos, so it can hardly favour one network.
# On rendered faces each seed has people of its own. [The trials](#fig-rates):

# %% tags=["parameters"]
results = None  # folder of records; default: the book's
scale = "demo"  # of the study: demo (rendered faces), pocket (real photos), full (at full width)

# %% tags=["remove-input"]
from maskfr_utils.study import parameters, scales

parameters.check(globals(), results=parameters.folder, scale=scales.SCALES)

# %% tags=["hide-input"] mystnb={"name": "fig-rates", "caption": "Share of masked validation photos named correctly, by learning rate; trials of one seed. Rings: the rates that were chosen.", "image": {"alt": "For each network a line of validation accuracy against the learning rate, with a ring at the chosen rate"}}
# %config InlineBackend.figure_formats = ["svg"]
import pandas as pd
from IPython.display import display

from maskfr_utils import figures
from maskfr_utils.names import REPORTED, TITLES
from maskfr_utils.study import alternatives, answers, captions, outcomes, pages, plan, tables, trials

tried = tables.tried(scale, results)
reported = {TITLES[model]: tried[TITLES[model]] for model in REPORTED if TITLES[model] in tried}
made = pages.made(*(captions.made_with("tuning", each, results) for each in scales.SCALES))
lines = {name: table["masked"] for name, table in reported.items()}
chosen = {TITLES[model]: rate for model, rate in trials.chosen(scale, results).items()}
display(pages.drawn(lines, lambda: figures.playable.pointed(figures.results.rates(lines, chosen))))
display(pages.Words(captions.shows(scale)), made)

# %% [markdown]
# [In numbers](#tab-rates), percent:

# %% tags=["hide-input"] mystnb={"name": "tab-rates", "caption": "Masked validation photos named correctly, in percent, by learning rate, and the rate that was chosen."}
display(*pages.parts({tables.FACES[each]: tables.tuning_table(each, results) for each in scales.SCALES}))

# %% [markdown]
# One command makes the trials of a network anew, in a folder of your choice:
#
# ```bash
# python -m maskfr_utils.study tuning --scale demo --model iresnet50 --results my_trials
# ```
#
# ## What one rate for all would have said
#
# [The difference](#tab-one-rate) between ResSaNet-50 and IResNet-50 on validation photos, if both are given the same rate:

# %% tags=["hide-input"] mystnb={"name": "tab-one-rate", "caption": "ResSaNet-50 less IResNet-50 in percentage points of the validation photos, both at the same learning rate."}
same = {tables.FACES[each]: tables.at_one_rate(each, results) for each in scales.SCALES}
points = {name: at.rename("{:g}".format).map(outcomes.signed).to_frame("points") for name, at in same.items()}
display(*pages.parts(points))

# %% [markdown]
# ## Accuracy by epoch, and by time
#
# [The final runs on rendered faces](#fig-epochs) and [on real photos](#fig-epochs-real), each network at its own rate. A network that starts
# slowly may end ahead. All runs of a scale are stopped after the same number of epochs, over which the learning rate falls to zero. So the last
# epochs add little however much a longer run would: that a curve is flat at its end does not show that more epochs would not help.

# %% tags=["hide-input"] mystnb={"name": "fig-epochs", "caption": "Accuracy on masked validation photos of rendered faces after each epoch of the final runs, mean over seeds.", "image": {"alt": "For each network a line of validation accuracy by epoch, mean over seeds, rendered faces"}}
curves = {each: tables.curves(each, results) for each in scales.SCALES}
display(
    pages.drawn(curves["demo"], lambda: figures.playable.pointed(figures.results.by_epoch(curves["demo"]))),
    pages.made(captions.rerun("table_2", "demo", results)),
)

# %% tags=["hide-input"] mystnb={"name": "fig-epochs-real", "caption": "Accuracy on masked validation photos of real people after each epoch of the final runs, mean over seeds.", "image": {"alt": "For each network a line of validation accuracy by epoch, mean over seeds, real photos"}}
display(
    pages.drawn(curves["pocket"], lambda: figures.playable.pointed(figures.results.by_epoch(curves["pocket"]))),
    pages.made(captions.rerun("table_2", "pocket", results)),
)

# %% [markdown]
# [The same in percent](#tab-epochs); *last step* is what the last epoch added, in points.

# %% tags=["hide-input"] mystnb={"name": "tab-epochs", "caption": "Accuracy on masked validation photos by epoch, in percent, and what the last epoch added."}
shown = {}
for each, curve in curves.items():
    shown[tables.FACES[each]] = table = (100 * curve).T
    if len(curve) > 1:
        table["last step"] = table.iloc[:, -1] - table.iloc[:, -2]
display(*pages.parts({name: table.round(1) for name, table in shown.items()}, plan.command("table_2")))

# %% [markdown]
# The networks do not take the same time for an epoch. [The table](#tab-time) shows them at equal epochs and at equal time: *by then* is the time
# in which the fastest network has ended. The others have then trained for fewer epochs, at a learning rate that is still high; a shorter run of
# theirs, whose rate falls to zero by then, would end higher. Minutes are those of a network's fastest run, which had one core of a machine of
# two, as other work ran beside some of the runs.

# %% tags=["hide-input"] mystnb={"name": "tab-time", "caption": "Masked validation photos named correctly at equal epochs (at the end of the runs) and at equal time (when the fastest network has ended)."}
at = {tables.FACES[each]: tables.by_time(each, results) for each in scales.SCALES}
words = {
    name: pd.DataFrame(
        {
            "minutes a run": table["minutes"].map("{:.1f}".format),
            "at the end, %": (100 * table["accuracy"]).map("{:.1f}".format),
            "epochs by then": table["epochs"],
            "by then, %": (100 * table["by_then"]).map("{:.1f}".format).replace("nan", ""),
        }
    )
    for name, table in at.items()
}
display(*pages.parts(words, plan.command("table_2")))

# %% [markdown]
# ## The rest of the recipe
#
# Further settings were put right or tried, each alone and on validation photos, with one network of either kind:
#
# - *Weight decay* pulls weights towards 0. It belongs on the weights of convolutions, linear layers and classes; the first
#   version let it pull on BatchNorm's weights, PReLU's slopes and biases, too (`decay_all`).
# - *Depthwise filters*, which of these two only ResSaNet has, started too small, since the number of their inputs was counted over all channels instead of
#   the one that each sees. They were six to sixteen times too small at the width of these runs, eleven to thirty-two at full width. A step then turns them
#   much further than other filters (`fan_layer`).
# - A *new mask at each visit* (`fresh_masks`) and *augmentation* (`augment`: turned, moved, recoloured, partly covered).
#
# [The best validation accuracy](#tab-recipe) over the rates tried:

# %% tags=["hide-input"] mystnb={"name": "tab-recipe", "caption": "The recipe, and each change of it alone: best accuracy on masked validation photos over the rates tried, in percent."}
changed = {tables.FACES[each]: tables.recipe_changes(each, results) for each in scales.SCALES}
words = {
    name: table.map("{:.1f}".format).replace("nan", "") if len(table) > 1 else table.iloc[:0]
    for name, table in changed.items()
}
made = pages.made(*(captions.made_with("changes", each, results) for each in scales.SCALES))
display(*pages.parts(words, plan.command("changes")), made)

# %% tags=["remove-input"]
if said := answers.at_all_scales(answers.changes, scale, results):
    display(
        pages.Words(" ".join([*said, "One or two photos are no reason to change the recipe, so it stayed as it is."]))
    )

# %% [markdown]
# ## The report's recipe
#
# The report trains every network at a rate of 0.05, by its text with batches of 512 (ResSaNet-100: 256), and with weight decay on all parameters. For the same step a
# photo, a smaller batch has a lower rate: 0.0016 at a batch of 16. `params/<scale>/report.yaml` holds this rate, decay on all parameters,
# and depthwise filters that start too small. Batch size, epochs, $s$ and $m$ are ours. So [the table](#tab-report-recipe) says, on test
# photos, what these three cost in a short run, not how good the report's training is:

# %% tags=["hide-input"] mystnb={"name": "tab-report-recipe", "caption": "The tuned recipe against the report's rate, decay and start of filters on masked test photos, in percentage points, with 95% intervals over seeds and people."}
recipes = {tables.FACES[each]: outcomes.in_points(alternatives.report_recipe(each, results)) for each in scales.SCALES}
display(*pages.parts(recipes, plan.command("report")), pages.Words(f"{captions.VERDICTS} {captions.EXPLAINED}"))
display(pages.made(*(captions.made_with("report", each, results) for each in scales.SCALES)))
if said := answers.at_all_scales(answers.recipe, scale, results):
    display(pages.Words(" ".join(said)))

# %% tags=["remove-input"]
text = answers.rates(results) or "No network has been tried yet."
display(pages.box(text))

# %% [markdown]
# <details><summary><b>Exercise.</b> Why are the rates chosen on validation photos and not on test photos?</summary>
#
# The best of several tries is best partly by luck. On the photos that it was chosen by, its accuracy is too high. The test must
# not have had a say.
#
# </details>
#
# <details><summary><b>Exercise.</b> A network is best at the highest rate that was tried. What follows?</summary>
#
# Nothing yet: its best may lie beyond. The study then tries twice that rate, until the best one lies between two others.
#
# </details>
