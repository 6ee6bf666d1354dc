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
# # Masked and unmasked (Table 1)
#
# **Question.** What does a mask cost a network, and does training on masked faces win it back?
#
# The report trained IResNet-50 twice, on masked and on unmasked faces, and tested each on its own kind. That mixes two
# things: masked faces are harder to tell apart, and a network does worse on what it was not trained for. Here each of
# the two networks is tested on both twins of every test photo. A photo is then its own control, and the cost of a mask
# is a difference on the same $N$ photos of the same people:
#
# $$\text{cost} = \frac1N \sum_{i=1}^{N} (u_i - m_i)$$
#
# where $u_i$ is 1 if the network names photo $i$ rightly without the mask, else 0, and $m_i$ the same with it.
#
# Photos of one person succeed and fail together. So the 95 % intervals below are a bootstrap {cite}`efron1979` over
# *people*: as many people as there are, drawn from them with replacement, each with all their photos, 2,000 times; the
# interval holds 95 % of the 2,000 results.
#
# Two networks that are tested on the same photos can be told apart better than their intervals suggest, for only those
# photos count that one names rightly and the other does not. With $b$ photos won by the first and $c$ by the second,
# McNemar's exact test {cite}`mcnemar1947` asks how likely so uneven a split is if each were won by the toss of a coin:
#
# $$p = \min\Big(1,\; 2 \sum_{k=0}^{\min(b, c)} \binom{b + c}{k} 2^{-(b + c)}\Big)$$
#
# Who makes many comparisons finds something by luck. Holm's correction {cite}`holm1979` multiplies the smallest $p$ by the
# number of comparisons, the next by one less, and so on.

# %% tags=["parameters"]
results = None  # folder of records; default: the book's
scale = "pocket"  # of the figures: pocket (real photos) or demo (rendered faces)

# %%
# %config InlineBackend.figure_formats = ["svg"]
import pandas as pd
from IPython.display import Markdown, display

from maskfr_utils import metrics, plots
from maskfr_utils.measure import real_masks
from maskfr_utils.study import captions, state, tables

tables.table_1(results)

# %% [markdown]
# In brackets, 95 % intervals over people, of the mean over seeds. The report's numbers come from other people, more
# photos and full width: what can be compared is the differences, not the heights.

# %%
for each in ("pocket", "demo"):
    display(Markdown(captions.made_with("table_1", each, results)))

# %% [markdown]
# ## How much the seed decides
#
# An interval over people says nothing about another start: other initial weights, another order of the photos. Three
# runs give a rough idea. Student's $t$ makes an interval of them, at three values 2.5 standard deviations wide to either
# side. In percent:

# %%
found = {
    (run.condition, tested): result
    for tested in ("unmasked", "masked")
    for run, result in tables.results("table_1", scale, results, tested).items()
}
found = dict(sorted(found.items(), reverse=True))
rows = {
    f"trained on {trained}, tested on {tested}": [*result.by_seed, result.mean, *metrics.t_interval(result.by_seed)]
    for (trained, tested), result in found.items()
}
seeds = sorted({seed for result in found.values() for seed in result.records})
columns = [*(f"seed {seed}" for seed in seeds), "mean", "low (t)", "high (t)"]
if len({len(row) for row in rows.values()}) == 1:
    table = 100 * pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    display(table.map("{:.1f}".format).replace("nan", ""))
display(Markdown(captions.rerun("table_1", scale, results)))

# %% [markdown]
# ## The cost of a mask, and of the wrong training
#
# Each line is a difference on the same photos, of the same seeds; $p$ is McNemar's, the largest over the seeds, and
# corrected for the number of lines.

# %%
lines = {
    "The report's comparison: each on its own kind": (("unmasked", "unmasked"), ("masked", "masked")),
    "Cost of a mask, trained on unmasked": (("unmasked", "unmasked"), ("unmasked", "masked")),
    "Cost of a mask, trained on masked": (("masked", "unmasked"), ("masked", "masked")),
    "Gain of masked training, on masked faces": (("masked", "masked"), ("unmasked", "masked")),
    "Gain of masked training, on unmasked faces": (("masked", "unmasked"), ("unmasked", "unmasked")),
}
compared = tables.comparisons({k: (found[a], found[b]) for k, (a, b) in lines.items() if a in found and b in found})
display(tables.in_points(compared), Markdown(captions.VERDICTS))

# %% mystnb={"image": {"alt": "A dot with an error bar for each difference of the table above, beside a line at zero"}}
plots.estimates({"": compared}, "difference in top-1 accuracy, percentage points", value="difference", zero=True)

# %%
display(Markdown(captions.rerun("table_1", scale, results)))

# %% [markdown]
# ## Which masks, which poses
#
# Accuracy on the masked twins by the kind of mask. The kinds were drawn by chance, and in unequal numbers; the unmasked
# twins of the same photos, on the network trained for them, show how much of a difference is the photos' own. The
# intervals here are Wilson's {cite}`wilson1927`, over photos.

# %% mystnb={"image": {"alt": "For each kind of mask, three dots with error bars: masked twins by both networks, unmasked twins by one"}}
shown = {
    "masked twin, trained on masked": found.get(("masked", "masked")),
    "masked twin, trained on unmasked": found.get(("unmasked", "masked")),
    "unmasked twin, trained on unmasked": found.get(("unmasked", "unmasked")),
}
shown = {name: result for name, result in shown.items() if result}
kinds = sorted({kind for result in shown.values() for kind in result.photos("mask")})
by_mask = {name: tables.by_group(result, result.photos("mask"), kinds) for name, result in shown.items()}
plots.estimates(by_mask, "top-1 accuracy, %")

# %% [markdown]
# And by how far the head is turned to either side, estimated from the landmarks:

# %% mystnb={"image": {"alt": "For each range of head turn, three dots with error bars: masked twins by both networks, unmasked twins by one"}}
by_yaw = {
    name: tables.by_group(result, tables.yaw_groups(result.photos("yaw")), list(tables.YAWS))
    for name, result in shown.items()
}
plots.estimates(by_yaw, "top-1 accuracy, %")

# %%
photos = {f"by {k}": table["photos"] for k, t in (("mask", by_mask), ("yaw", by_yaw)) for table in list(t.values())[:1]}
display(
    Markdown("Photos " + "; ".join(f"{k}: " + ", ".join(f"{n} {g}" for g, n in s.items()) for k, s in photos.items()))
)
display(Markdown(captions.rerun("table_1", scale, results)))

# %% [markdown]
# ## Second guesses
#
# A recogniser that is wrong may still have the right person among its best guesses. The rank-$k$ curve is the share of
# photos for which it has:

# %% mystnb={"image": {"alt": "Four curves that rise with k: two networks, each tested on masked and on unmasked twins"}}
curves = {
    f"trained on {trained}, tested on {tested}": metrics.rank_curve(result.ranks, 20)
    for (trained, tested), result in found.items()
}
plots.rank_curves(curves)

# %%
display(Markdown(captions.rerun("table_1", scale, results)))

# %% [markdown]
# ## On real masks
#
# All masks so far were drawn. MFR2 {cite}`anwar2020` has photos of people with and without real ones. The networks have not
# seen these people, so there is no identity to name: what can be compared are two embeddings $x_i$, $x_j$, by their cosine,
#
# $$s_{ij} = \frac{x_i^\top x_j}{\lVert x_i \rVert \, \lVert x_j \rVert}.$$
#
# *Identification* takes a photo as probe and looks for the one most like it among all photos without a mask: rank 1 is the
# share of probes for which that is the same person. *Verification* asks whether two photos show one person: its AUC is the
# probability that a pair of one person scores above a pair of two.
#
# As a yardstick, the photos without masks are tried once more with our masks drawn on them. If drawn masks stand in for real
# ones, training on them must gain about as much with real masks as with drawn ones.

# %%
real = real_masks.read(results)
if real:
    display(real_masks.table(real))

# %% [markdown]
# In brackets, 95 % intervals over people, of the mean over seeds. MFR2 has few people, so they are wide. The pairs "drawn"
# are all pairs of photos without masks, hence easier than MFR2's own; and a real mask hides the nose and mouth by which a
# face is aligned, while ours were drawn after that. So compare the gains, not the heights.

# %% mystnb={"image": {"alt": "The gain of masked training with real and with drawn masks, dots with error bars beside a line at zero"}}
gains = {"": real_masks.results(real, "gain")} if real else {}
plots.estimates(gains, "gain of masked training, percentage points", value="value", zero=True)

# %%
display(Markdown(real_masks.made_with(real)))
print(state.made_from("masked_vs_unmasked"))

# %% [markdown]
# ## What we learn

# %%
text = [f"- {words}" for words in captions.found(scale, results)[:1]]
points = tables.in_points(compared)
chosen = points.filter(regex="own kind|on unmasked faces", axis=0)
text += [f"- {name}: {row['difference, points']} points, {row['verdict']}." for name, row in chosen.iterrows()]
published = tables.claim_tables(results)["the report"].iloc[0]
text.append(f"- In the report, each on its own kind, the gap is {100 * published['difference']:.2f} points.")
for name, curve in curves.items():
    text.append(f"- {name.capitalize()}: right at once {curve[0]:.1%}, among the five best {curve[4]:.1%}.")
text += [real_masks.in_words(real)] if real else []
display(Markdown("\n".join(text)))
