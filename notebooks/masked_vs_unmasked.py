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
# # Masked and unmasked
#
# **Question.** What does a mask cost a network, and does training on masked faces win it back?
#
# The report trained IResNet-50 twice, on masked and on unmasked faces, and tested each network on its own kind. That mixes two
# things: masked faces are harder to tell apart, and a network does worse on what it was not trained for. Here a third
# network sees either twin of each photo, by the toss of a coin. All three are tested on both twins of every test photo
# ([all results](#tab-1)). So each photo is its own control, and the cost of a mask is a difference on the same $N$ photos of the same
# people:
#
# $$\text{cost} = \frac1N \sum_{i=1}^{N} (u_i - m_i)$$
#
# where $u_i$ is 1 if the network names photo $i$ correctly without the mask, else 0, and $m_i$ the same with it.
#
# **How sure is a difference?** Two kinds of luck must not be taken for one.
#
# - *The people who are tested.* Photos of one person succeed and fail together. So a *bootstrap* ([Efron, 1979](#cite-efron1979)) draws as
#   many people as there are, with replacement, each with all their photos. It does so 2,000 times. The interval holds 95% of the results.
# - *The seed.* Other initial weights and another order of the photos give another network. On real photos a seed also decides the split;
#   on rendered faces it also draws other people. From the differences $d_1, \dots, d_n$ of $n$
#   seeds, with mean $\bar d$ and standard deviation $\sigma_d$, Student's $t$ gives the interval
#
# $$\bar d \pm t_{0.975,\,n-1} \frac{\sigma_d}{\sqrt n}.$$
#
# The intervals of this study's comparisons are the wider of the two at either end (with fewer than three seeds, those of the bootstrap alone). A $p$ is the chance of a difference at least as large if there were none;
# the larger one of the two is given. *Better* or *worse* is said only with three seeds or more, and only where the interval leaves out 0
# and $p$, corrected as below, is under 0.05.
# Simulated networks that do not differ are then called different in at most 5% of cases, also where seeds matter as much as they do here
# (`tests/test_verdicts.py`).
#
# Among many comparisons some look large by luck. Holm's correction ([Holm, 1979](#cite-holm1979)) multiplies the smallest $p$ by the
# number of comparisons, the next by one less, and so on.

# %% tags=["parameters"]
results = None  # folder of records; default: the book's
scale = "pocket"  # of the study: demo (rendered faces), pocket (real photos), full (at full width)

# %% tags=["remove-input"]
from maskfr_utils.study import parameters, scales

parameters.check(globals(), results=parameters.folder, scale=scales.SCALES)

# %% tags=["hide-input"] mystnb={"name": "tab-1", "caption": "The report's Table 1 beside ours: IResNet-50 trained on one kind of faces or on both; test photos named correctly, with 95% intervals over seeds and people."}
# %config InlineBackend.figure_formats = ["svg"]
import numpy as np
import pandas as pd
from IPython.display import display

from maskfr_utils import figures, metrics, records
from maskfr_utils.measure import real_masks
from maskfr_utils.study import answers, captions, outcomes, pages, plan, state, tables

made = pages.made(*(captions.made_with("table_1", each, results) for each in scales.SCALES))
display(*pages.run_so_far(tables.table_1(results)), pages.Words(captions.shows(scale)), made)

# %% [markdown]
# The report's numbers come from other people, more photos and networks at full width. So compare the differences, not the accuracies.
# All of ours have the learning rate that suits training on masked faces ([Tuning](tuning.ipynb)). The network for bare faces has none of
# its own, so what masked training leaves open may be larger than these differences.
#
# ## How much the seed decides
#
# [The accuracy of each seed](#tab-seeds), and how much the seeds differ:

# %% tags=["hide-input"] mystnb={"name": "tab-seeds", "caption": "Accuracy of each seed in percent, their mean with its 95% interval, and their standard deviation."}
found = dict(sorted(tables.trained_and_tested(scale, results).items(), reverse=True))
rows = {
    f"trained on {trained}, tested on {tested}": dict(zip(result.records, result.by_seed, strict=True))
    | {"mean": result.mean, "low": result.interval[0], "high": result.interval[1]}
    for (trained, tested), result in found.items()
}
table = pd.DataFrame.from_dict(rows, orient="index").rename(columns=lambda c: c if isinstance(c, str) else f"seed {c}")
table["deviation"] = outcomes.deviations(dict(zip(rows, found.values(), strict=True)))
seeds = (100 * table).map("{:.1f}".format).replace("nan", "")
display(pages.shown(seeds), pages.made(captions.rerun("table_1", scale, results)))

# %% [markdown]
# ## The cost of a mask, and of the wrong training
#
# Each line of [the table](#tab-costs) is a difference on the same photos, of the same seeds; $p$ is corrected for all
# seven together, run or not. [What to train on](conditions.ipynb) corrects more of them together, so a verdict may differ there.

# %% tags=["hide-input"] mystnb={"name": "tab-costs", "caption": "What a mask costs and what training brings, in percentage points, with 95% intervals over seeds and people."}
compared = tables.costs(scale, results)
differences = outcomes.in_points(compared).replace({"verdict": {"better": "beyond noise", "worse": "beyond noise"}})
said = filter(None, (captions.BEYOND, answers.both(scale, results), answers.precisions("table_1", scale, results)))
display(pages.shown(differences), *map(pages.Words, said))

# %% tags=["hide-input"] mystnb={"name": "fig-costs", "caption": "The cost of a mask, and the gains of training, as differences on the same photos, with 95% intervals over seeds and people.", "image": {"alt": "A dot with an error bar for each difference of the table above, beside a line at zero"}}
pages.drawn(
    compared,
    lambda: figures.results.estimates(
        {"": compared}, "difference in top-1 accuracy, percentage points", value="difference", zero=True
    ),
)

# %% [markdown]
# ## Which masks, which poses
#
# [By the kind of mask](#fig-by-mask): the kinds were drawn by chance, and in unequal numbers. The unmasked twins of the same photos,
# named by the network that was trained for them, show how much of a difference is due to the photos themselves.

# %% tags=["hide-input"] mystnb={"name": "fig-by-mask", "caption": "Accuracy by the kind of mask, with 95% intervals.", "image": {"alt": "For each kind of mask, three dots with error bars: masked twins by both networks, unmasked twins by one"}}
shown = {
    "masked twin, trained on masked": found.get(("masked", "masked")),
    "masked twin, trained on unmasked": found.get(("unmasked", "masked")),
    "unmasked twin, trained on unmasked": found.get(("unmasked", "unmasked")),
}
shown = {name: result for name, result in shown.items() if result}
kinds = sorted({kind for result in shown.values() for seed in result.photos("mask") for kind in seed})
by_mask = {name: outcomes.by_group(result, result.photos("mask"), kinds) for name, result in shown.items()}
pages.drawn(by_mask, lambda: figures.results.estimates(by_mask, "top-1 accuracy, %"))

# %% tags=["remove-input"]
pages.Words(
    f"Masked twins, trained on masked: {outcomes.extremes(next(iter(by_mask.values()), pd.DataFrame())) or 'not run yet'}."
)

# %% [markdown]
# [By how far the head is turned](#fig-by-yaw), estimated from the landmarks:

# %% tags=["hide-input"] mystnb={"name": "fig-by-yaw", "caption": "Accuracy by how far the head is turned to either side, with 95% intervals.", "image": {"alt": "For each range of head turn, three dots with error bars: masked twins by both networks, unmasked twins by one"}}
by_yaw = {
    name: outcomes.by_group(result, [outcomes.yaw_groups(yaw) for yaw in result.photos("yaw")], list(outcomes.YAWS))
    for name, result in shown.items()
}
photos = {f"by {k}": table["photos"] for k, t in (("mask", by_mask), ("yaw", by_yaw)) for table in list(t.values())[:1]}
counted = "; ".join(f"{k}: " + ", ".join(f"{n} {g}" for g, n in s.items()) for k, s in photos.items())
display(
    pages.drawn(by_yaw, lambda: figures.results.estimates(by_yaw, "top-1 accuracy, %")),
    pages.made(f"Photos {counted}", captions.rerun("table_1", scale, results)),
)

# %% tags=["remove-input"]
pages.Words(
    f"Masked twins, trained on masked: {outcomes.extremes(next(iter(by_yaw.values()), pd.DataFrame())) or 'not run yet'}."
)

# %% [markdown]
# ## Second guesses
#
# A recogniser that is wrong may still have the right person among its best guesses. [The rank-$k$ curve](#fig-ranks) is the share of
# photos for which it has:

# %% tags=["hide-input"] mystnb={"name": "fig-ranks", "caption": "Share of photos whose person is among the k best guesses.", "image": {"alt": "Curves that rise with k: for each network one of masked and one of unmasked twins"}}
curves = {
    f"trained on {trained}, tested on {tested}": metrics.rank_curve(np.concatenate(result.ranks), 20)
    for (trained, tested), result in found.items()
}
pages.drawn(curves, lambda: figures.playable.pointed(figures.results.rank_curves(curves)))

# %% [markdown]
# ## On real masks
#
# All masks so far were drawn. MFR2 ([Anwar and Raychowdhury, 2020](#cite-anwar2020)) has photos of people with real masks and without.
# The networks were not trained on these people, so they cannot name them. But the embeddings $x_i$, $x_j$ of two photos can be compared
# by their cosine,
#
# $$c_{ij} = \frac{x_i^\top x_j}{\lVert x_i \rVert \, \lVert x_j \rVert}.$$
#
# - *Identification* takes a photo, the *probe*, and looks for the most similar one among all photos without a mask. *Rank 1* is the share
#   of probes for which that one shows the same person.
# - *Verification* asks whether two photos show one person. Its *AUC* is the chance that a pair of one person has a higher cosine than a
#   pair of two.
#
# For comparison, the photos without masks are tried once more with our masks drawn on them. Only people who have at least
# two photos with a real mask and two without take part, so that both kinds of probes are of the same people. A probe with a real mask
# can be found by two photos of its person, a drawn one by one only, since its own is left out. If drawn masks
# stand in for real ones, training on them must gain about as much with real masks as with drawn ones ([the table](#tab-real)).

# %% tags=["hide-input"] mystnb={"name": "tab-real", "caption": "IResNet-50 on people whom it has not seen (MFR2), with real and with drawn masks: trained with masks, without, and the gain."}
real = records.read_measurement("masks/real_masks.json", results)
table = real_masks.table(real) if real else pd.DataFrame()
display(
    pages.shown(table, "python -m maskfr_utils.measure.real_masks runs/..."),
    pages.Words(f"{captions.VERDICTS} {real_masks.without_guessed(real)}" if real else ""),
    pages.made(real_masks.made_with(real), state.made_from("masked_vs_unmasked", results)),
)

# %% [markdown]
# In brackets are 95% intervals of the mean, over seeds and people. They are wide, since MFR2 has few people. $p$ is corrected for all
# lines together. The pairs called *drawn* are all pairs of photos without masks, which are easier than MFR2's own pairs. And a real
# mask hides the nose and mouth by which a face is aligned, while ours were drawn after alignment. So compare
# [the gains](#fig-real), not the values themselves. [Strangers](strangers.ipynb) and [Recognise](recognise.ipynb) search among other people
# and photos of MFR2, so their rank 1 differs from this one.
#
# One thing makes our masks look better here than they are. How high they sit, and how much that differs, was set by quartiles over these
# photos of MFR2 ([Masking](masking.ipynb)). The networks were trained on none of its people, but the masks that they were trained on
# were fitted to its masks. On other photos, where masks are worn in other ways, training on drawn ones may gain less.

# %% tags=["hide-input"] mystnb={"name": "fig-real", "caption": "What training with drawn masks gains, measured with real and with drawn masks, with 95% intervals.", "image": {"alt": "The gain of masked training with real and with drawn masks, dots with error bars beside a line at zero"}}
gains = {"": real_masks.results(real, "gain")} if real else {}
pages.drawn(
    gains,
    lambda: figures.results.estimates(gains, "gain of masked training, percentage points", value="value", zero=True),
)

# %% tags=["remove-input"]
said = [answer(scale, results) for answer in (answers.cost, answers.gain, answers.price)]
text = " ".join(filter(None, said)) or f"These runs are not made yet: `{plan.command('table_1', scale)}` makes them."
real_words = real_masks.answer(real) if real else "Whether drawn masks stand in for real ones is not measured yet."
display(pages.box(f"{text} {real_words}"))

# %% [markdown]
# <details><summary><b>Exercise.</b> The report compares a network trained and tested without masks with one trained and tested with
# them. Which two effects does that gap mix?</summary>
#
# What the mask hides, and what the training is fitted to. The first is the difference between the twins on one network; the second
# that between two networks on the same twin. [The differences](#tab-costs) show both.
#
# </details>
#
# <details><summary><b>Exercise.</b> Why does the bootstrap draw people and not photos?</summary>
#
# What is hard about one photo of a person is often hard about the others. To draw photos would treat them as independent, and the intervals would be too
# narrow.
#
# </details>
