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
# # Five networks
#
# **Question.** Which network names masked people best, and which of the report's differences are more than noise?
#
# The report gives one number for each network, and orders the networks by these numbers, some of which hardly differ. Such a number
# depends on luck: with other photos, or another seed, it would be another one. Intervals, verdicts and Holm's correction are
# explained in [Masked and unmasked](masked_vs_unmasked.ipynb). [All results](#tab-2):

# %% tags=["parameters"]
results = None  # folder of records; default: the book's
scale = "demo"  # of the study: demo (rendered faces), pocket (real photos), full (at full width)

# %% tags=["remove-input"]
from maskfr_utils.study import parameters, scales

parameters.check(globals(), results=parameters.folder, scale=scales.SCALES)

# %% tags=["hide-input"] mystnb={"name": "tab-2", "caption": "The report's Table 2 beside ours: masked test photos named correctly, with 95% intervals over seeds and people."}
# %config InlineBackend.figure_formats = ["svg"]
from collections import Counter

import numpy as np
import pandas as pd
from IPython.display import display

from maskfr_utils import figures, metrics, records
from maskfr_utils.measure import resnet_parts
from maskfr_utils.models import create_model
from maskfr_utils.names import REPORTED, TITLES
from maskfr_utils.original.flaws import FLAWS
from maskfr_utils.profile import count_macs, count_parameters
from maskfr_utils.study import alternatives, answers, audit, captions, outcomes, pages, plan, published, state, tables

made = pages.made(*(captions.made_with("table_2", each, results) for each in scales.SCALES))
display(*pages.run_so_far(tables.table_2(results)), pages.Words(captions.shows(scale)), made)

# %% [markdown]
# All are trained and tested on masked faces, each at the learning rate that suits it best on validation photos
# ([Tuning](tuning.ipynb)). All of ours share one recipe and batch size, on the same faces. With fewer than three seeds, intervals are
# over people alone. The report's ResSaNet-100 has another batch size than its other networks, and its number was printed by a notebook
# that reads the faces from a folder whose name ends in `_no_mask` ([first page](../book/intro.md)).

# %% tags=["hide-input"] mystnb={"name": "fig-networks", "caption": "Accuracy of each network on masked test photos, with 95% intervals over seeds and people.", "image": {"alt": "The accuracy of each network as a dot with an error bar"}}
ours = tables.networks(scale, results)
shown = alternatives.forest(ours)
label = f"top-1 accuracy on masked {tables.FACES[scale].replace('photos', 'faces')}, %"
pages.drawn(shown, lambda: figures.results.estimates({tables.FACES[scale]: shown}, label))

# %% [markdown]
# [By seed](#tab-network-seeds): how much another seed changes the accuracy of each network, and how much it had learnt when it stopped.
# On rendered faces another seed also means other people.
# A network that learns slowly may vary far more than the others, so each has a deviation of its own.

# %% tags=["hide-input"] mystnb={"name": "tab-network-seeds", "caption": "Accuracy of each seed, its standard deviation, and the share of training photos named correctly in the last epoch."}
made = pages.made(captions.rerun("table_2", scale, results))
display(pages.shown(tables.by_seed(ours)), pages.Words(answers.learnt(scale, results)), made)

# %% [markdown]
# ## Why ResNet-50 learns slowly
#
# ResNet-50 learns slowest by far. It differs from IResNet-50 in several things at once, and three things could each be the cause.
#
# - **The head.** ResNet takes the mean of the last map over all places before the embedding. IResNet keeps the map, and so what is where.
# - **The stem.** ResNet's first convolution is 7 x 7 and halves the map. IResNet's is 3 x 3 and keeps every pixel.
# - **The start.** Each of ResNet's blocks adds as much as it passes on, from the first step. Later recipes let the last BatchNorm of
#   each block begin with a weight of 0, so that a block changes nothing until it has learnt something
#   ([Goyal et al., 2017](#cite-goyal2017)).
#
# [Each was changed alone](#tab-resnet-parts), with the recipe of ResNet-50 above, and scored on validation photos;
# [the course](#fig-resnet-parts) shows when they part. Bottleneck blocks and the ReLU after each sum stay as they are. All have the learning
# rate that was chosen for ResNet-50 as it is, by the validation photos of the first seed. So a change that helps does so at a rate that was not
# chosen for it, and one that is not shown to might at a rate of its own.

# %% tags=["hide-input"] mystnb={"name": "tab-resnet-parts", "caption": "ResNet-50 with one thing changed: masked validation photos named correctly, with 95% intervals over seeds and people, and the share of training photos named correctly in the last epoch."}
found = records.read_measurement("networks/resnet_parts.json", results)
parts = resnet_parts.table(found) if found else pd.DataFrame()
how = resnet_parts.how(found) if found else ""
made = pages.made(how, captions.rerun("audit", "demo", results), state.made_from("compare_models", results))
display(pages.shown(parts, resnet_parts.COMMAND), made)

# %% tags=["remove-input"]
effects, flaw = audit.alone("demo", results), FLAWS["network"].title
said, also = resnet_parts.in_words(found) if found else "", ""
if flaw in effects.index:
    effect = outcomes.points(*effects.loc[flaw, ["difference", "low", "high"]])
    also = (
        "The network of the code behind the report has ResNet's stem and head, too, and other differences from the paper's. In place of"
        f" {TITLES[plan.AUDITED]} it changes the accuracy by {effect} points ([What the report's code did](audit.ipynb))."
    )
formats = [one["provenance"]["precision"] for one in (found, *(r.one for r in ours.values())) if one]
if found and len(set(formats)) > 1:
    also += f" These runs computed in `{formats[0]}`, those of [the networks](#fig-networks) in `{formats[-1]}`: compare within a table."
display(pages.Words(f"{said} {also}"))

# %% tags=["hide-input"] mystnb={"name": "fig-resnet-parts", "caption": "Accuracy on masked validation photos by epoch of ResNet-50 with one thing changed, mean over seeds.", "image": {"alt": "A curve for each variant of ResNet-50 that rises with the epochs"}}
courses = outcomes.courses(resnet_parts.results(found)) if found else pd.DataFrame()
pages.drawn(courses, lambda: figures.playable.pointed(figures.results.by_epoch(courses)))

# %% [markdown]
# ## What they cost
#
# [Parameters and multiply-adds](#tab-cost) of one picture, at full width as in the report's Figure 4, and at the width of our runs.
# How fast each network trains is measured in [Benchmarks](benchmarks.ipynb).

# %% tags=["hide-input"] mystnb={"name": "tab-cost", "caption": "Parameters and multiply-adds of each network, at full width and at the width of these runs."}
widths = (1.0, *sorted({result.one["params"]["width"] for result in ours.values()}))
rows = {TITLES[model]: {} for model in REPORTED}
for model in REPORTED:
    for width in widths:
        network = create_model(model, width=width)
        rows[TITLES[model]][f"parameters, M (width {width:g})"] = f"{count_parameters(network) / 1e6:.2f}"
        rows[TITLES[model]][f"multiply-adds, G (width {width:g})"] = f"{count_macs(network) / 1e9:.2f}"
pd.DataFrame.from_dict(rows, orient="index")

# %% [markdown]
# ## Every pair
#
# Five networks make ten pairs, and ten chances to find something by luck. Two of them are what this study asks: ResSaNet against IResNet,
# with 50 layers and with 100. [They come first](#tab-pairs), and their $p$ is corrected for the two. That was decided when the 50-layer
# networks had been run already, so the $p$ with all ten corrected together stands below the table. The $p$ of the other pairs is
# corrected for these eight together. Pairs that are not run yet count, so no *better* and no *worse* is taken back when they come. The network that the report
# ranks higher comes first in each pair.

# %% tags=["hide-input"] mystnb={"name": "tab-pairs", "caption": "Differences between networks on masked test photos, in percentage points, with 95% intervals over seeds and people."}
pairs = {each: tables.pairs_of_networks(each, results) for each in scales.SCALES}
compared, words = pairs[scale], {tables.FACES[each]: outcomes.in_points(table) for each, table in pairs.items()}
made = pages.made(*(captions.rerun("table_2", each, results) for each in scales.SCALES))
said = answers.at_all_scales(answers.attention, scale, results)
together = filter(None, (answers.all_pairs_together(each, results) for each in scales.SCALES))
display(*pages.parts(words), pages.Words(captions.VERDICTS), *map(pages.Words, (*said, *together)), made)

# %% [markdown]
# ## The noise in the report's own differences
#
# The report gives no interval, but enough to work one out. It says how many pictures there were, of which half were mirror images of
# the others, and that a tenth was tested on. It does not say how often two networks disagree, on which the variance of a
# difference on the same photos depends:
#
# $$\text{half width} = 1.96 \sqrt{\frac{d - (a_1 - a_2)^2}{N}}, \qquad
# d = r \, \big(a_1 (1 - a_2) + a_2 (1 - a_1)\big)$$
#
# Here $a_1$ and $a_2$ are the accuracies, and $d$ is the share of the photos that only one of the two networks names correctly. The
# factor $r$ is 1 if their errors are independent; we measure it on our networks, and take the faces for which it is largest. The interval leaves out what
# another seed would change, and that photos of one person are alike, so the true one is wider. A difference is
# *beyond noise* only where its $p$ is below 0.05 once it is corrected for all ten pairs ([with ours](#fig-pairs)).

# %% tags=["hide-input"] mystnb={"name": "fig-pairs", "caption": "Differences between networks: the report's, with the interval that its test set allows, and ours; each panel has an axis of its own.", "image": {"alt": "A panel for the report and one for each kind of our faces; in each, for every pair of networks a dot with an error bar beside a line at zero"}}
most = tables.disagreeing(results)
disagreements = tables.disagreements(most, results)
disagreement = float(np.nanmedian(disagreements))
theirs = tables.published_pairs(disagreement)
shown = {"the report": theirs} | {tables.FACES[each]: pairs[each] for each in reversed(pairs) if len(pairs[each])}
figures.results.differences(shown, "difference in top-1 accuracy, percentage points")

# %% tags=["remove-input"]
few = tables.published_pairs(disagreement, photos=3_000)
unsure = [f"{name} ({100 * row['difference']:.2f})" for name, row in theirs.iterrows() if row["verdict"] != "better"]
half = 100 * (theirs["high"] - theirs["difference"])
display(
    pages.Words(
        f"The report's test set holds about {published.TEST_PHOTOS:,} different photos. On {tables.FACES[most]}, where they"
        f" disagree most, our networks do so {disagreement:.2f} times as often as independent errors would (median; {np.nanmin(disagreements):.2f}"
        f" to {np.nanmax(disagreements):.2f} over pairs and seeds). With that, the report's differences carry at least"
        f" ± {half.min():.2f} to ± {half.max():.2f} points."
        f" {len(unsure)} of {len(theirs)} are then undecided: {', '.join(unsure)}."
        f" If the test set held three pictures of each of 1,000 people, as a notebook of the report's code has it,"
        f" {(few['verdict'] != 'better').sum()} would be."
    )
)

# %% [markdown]
# ## Three ways to count
#
# *micro* is the share of the photos that are named correctly: what this book means by accuracy. *macro* is the mean of the
# people's own shares: what the report's code printed; where all people have equally many test photos, as the rendered ones here, the two are the same.
# The report's formula, $(TP + TN) / (TP + TN + FP + FN)$, counts a
# decision for each photo and each person. With $n$ people, a photo that is named wrongly still brings $n - 2$ of $n$
# decisions right, and any network looks nearly perfect ([all three](#tab-counts)). Counts are means over seeds.

# %% tags=["hide-input"] mystnb={"name": "tab-counts", "caption": "The same predictions counted in three ways, and the decisions behind the report's formula."}
rows = {}
for name, result in ours.items():
    shares = {k: f"{result.metric(k):.1%}" for k in ("accuracy", "macro", "report_formula")}
    rows[name] = shares | {k.upper(): f"{result.metric(k):,.0f}" for k in ("tp", "fp", "fn", "tn")}
names = {"accuracy": "micro", "report_formula": "the report's formula"}
counted = pd.DataFrame.from_dict(rows, orient="index").rename(columns=names)
display(pages.shown(counted))

# %% [markdown]
# ## Second guesses, masks and poses
#
# [The rank-$k$ curve](#fig-network-ranks) is the share of the photos whose person is among the $k$ best guesses.

# %% tags=["hide-input"] mystnb={"name": "fig-network-ranks", "caption": "Share of masked test photos whose person is among the k best guesses.", "image": {"alt": "A curve for each network that rises with k: the share of photos whose person is among the k best guesses"}}
ranks = {name: metrics.rank_curve(np.concatenate(result.ranks), 20) for name, result in ours.items()}
pages.drawn(ranks, lambda: figures.playable.pointed(figures.results.rank_curves(ranks)))

# %% [markdown]
# [Accuracy by the kind of mask and the turn of the head](#tab-groups):

# %% tags=["hide-input"] mystnb={"name": "tab-groups", "caption": "Accuracy in percent by the kind of mask and by how far the head is turned, mean over seeds, with the number of photos."}
columns = {}
for name, result in ours.items():
    kinds = outcomes.by_group(result, result.photos("mask"), sorted(set(result.photos("mask")[0])))
    turned = outcomes.by_group(result, [outcomes.yaw_groups(yaw) for yaw in result.photos("yaw")], list(outcomes.YAWS))
    both = pd.concat([kinds, turned])
    columns["photos"] = both["photos"].astype(int)
    columns[name] = (100 * both["accuracy"]).round(1)
display(pages.shown(pd.DataFrame(columns)))

# %% [markdown]
# ## Who is taken for whom
#
# [The confusion matrix](#fig-who) is that of the network with the highest mean. A person who is often taken for the same other one would
# show as a dark spot off the diagonal.

# %% tags=["hide-input"] mystnb={"name": "fig-who", "caption": "Who is taken for whom by the network with the highest mean, in its first seed.", "image": {"alt": "A square of true against predicted people: dark along the diagonal, spots elsewhere are mistakes"}}
best = max(ours, key=lambda name: ours[name].mean, default=None)
if best:
    one = ours[best].one
    people = one["provenance"]["identities"]
    figure = figures.results.confusion(one["photos"]["label"], one["photos"]["masked"], people, f"{best}, masked twins")
    display(figure)
else:
    display(pages.Words(pages.WAITING))

# %% tags=["remove-input"]
if best:
    named = zip(one["photos"]["label"], one["photos"]["masked"], strict=True)
    mistakes = Counter((person, other) for person, other in named if person != other)
    most = max(mistakes.values(), default=0)
    display(
        pages.Words(
            f"{best}, seed {min(ours[best].records)}: {mistakes.total()} of {len(one['photos']['label'])} photos are named"
            f" wrongly; the commonest mistake, one person for one certain other, happens {most} time{'' if most == 1 else 's'}."
        )
    )

# %% tags=["remove-input"]
said = [*(answers.networks(each, results) for each in reversed(scales.SCALES)), answers.asked(results)]
text = " ".join(filter(None, said)) or "No network has been run yet."
display(pages.box(f"{text} {answers.undecided_in_the_report(theirs)}"))

# %% [markdown]
# <details><summary><b>Exercise.</b> Of 1,000 people, a network names one photo wrongly. What is its accuracy on that photo by the report's
# formula?</summary>
#
# Of 1,000 decisions 998 are right: all but the true person (a false negative) and the one that was named (a false positive). So
# 99.8%, for a wrong answer.
#
# </details>
#
# <details><summary><b>Exercise.</b> Two networks name 90% and 91% of 1,000 photos correctly, and disagree on 30 photos. Is that beyond
# noise?</summary>
#
# $d = 0.03$, so the half width is $1.96 \sqrt{(0.03 - 0.0001) / 1000} \approx 1.07$ points: more than the difference of one point.
# It is not.
#
# </details>
