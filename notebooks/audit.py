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
# # What the report's code did
#
# **Question.** What does the report's code do otherwise than the report says, and how much of the reported accuracy comes from it?
#
# This chapter is possible because the report's authors published their notebooks, which is to their credit: most studies cannot be looked
# into at all. Each *deviation* below is a common slip, and this study has made slips of its own, too ([What holds and what does
# not](results.ipynb) tells them). So each is stated as a fact with its place, switched on in our code, and measured.
#
# Let $a(D)$ be the accuracy that is printed with the deviations $D$. Two questions are asked of each deviation $d$. What does it
# do alone, $a(\{d\}) - a(\varnothing)$? And what changes with it when the deviations are taken away one after the other, from all
# of them down to none? The two answers need not agree, since deviations act on one another.
#
# Most of them change the training, so that a network is trained for each. Three change only how the same network is scored, so
# they need no training. One changes a printed loss and no accuracy. The network is ResSaNet-50: the report's best kind, and the only
# one to which all deviations apply. The runs without deviations follow the study's own recipe and learning rate.

# %% tags=["parameters"]
results = None  # folder of records; default: the book's
scale = "demo"  # of the study: demo (rendered faces), pocket (real photos), full (at full width)

# %% tags=["remove-input"]
from maskfr_utils.study import parameters, scales

parameters.check(globals(), results=parameters.folder, scale=scales.SCALES)

# %% tags=["hide-input"]
# %config InlineBackend.figure_formats = ["svg"]
import pandas as pd
from IPython.display import display

from maskfr_utils import figures
from maskfr_utils.study import audit, captions, outcomes, pages

# %% [markdown]
# ## From the reported number to the one without deviations
#
# The upper dot of [the figure](#fig-audit) is what would be printed with all deviations at once that these faces can show (near-copies need
# photos). Each line below takes one more away. The lower dot is the network trained and scored as in the rest of this book.

# %% tags=["hide-input"] mystnb={"name": "fig-audit", "caption": "The accuracy of ResSaNet-50 that would be reported (upper dot), less each deviation in turn (bars), down to the one without any (lower dot). Lines are 95% intervals over seeds and people; that of a change stands at its end.", "image": {"alt": "A waterfall: the accuracy with all deviations, the change by each that is taken away, and the accuracy without any, with error bars"}}
steps = audit.steps(scale, results)
display(
    pages.drawn(steps, lambda: figures.audit.waterfall(steps, "accuracy as reported, %")),
    pages.Words(captions.shows(scale)),
    pages.made(*(captions.made_with("audit", each, results) for each in scales.SCALES)),
)

# %% [markdown]
# A step to the left, orange, is accuracy that the deviation had added; one to the right, green, what it had cost. Where the
# interval of a step reaches back across its start, the effect may be zero.
#
# ## Each deviation alone
#
# [The table](#tab-audit) gives the fact and its place, and the effect where it was measured. A positive number means that the deviation raises what is
# reported. Two deviations, modules that are used twice and other initial weights, exist only in the network of the report's code. So each of
# the two is compared with that network without it. [Those that were measured](#tab-audit-alone) follow with their seeds and *p*.

# %% tags=["hide-input"] mystnb={"name": "tab-audit", "caption": "What the report's code does otherwise than the report says, where that is seen, and what it does alone to the reported accuracy."}
with pd.option_context("display.max_colwidth", None):
    display(audit.table([each for each in scales.SCALES if len(audit.alone(each, results))], results))

# %% tags=["hide-input"] mystnb={"name": "tab-audit-alone", "caption": "Each deviation alone, with ResSaNet-50: the change of the reported accuracy in percentage points, with 95% intervals over seeds and people."}
display(pages.shown(outcomes.in_points(audit.alone(scale, results))))

# %% [markdown]
# *Raises it*, *lowers it*: three seeds or more, the interval over seeds and people leaves 0 out, and *p*, corrected for all
# deviations together, is below 0.05; *undecided*: all else. Where all people have equally many test photos, as in `demo`, the mean over
# people is that over photos, so this deviation changes nothing.
#
# ## Copies on both sides of the split
#
# Where mirror images or near-copies are split like photos of their own, some test photos have a copy among the training
# photos and others have none. [The same network](#tab-audit-copies) can be asked about both:

# %% tags=["hide-input"] mystnb={"name": "tab-audit-copies", "caption": "Share of test photos named correctly, of those of which a copy was trained on and of those with none; means over seeds."}
both = [audit.copies(each, results).assign(faces=scales.SCALES[each].faces) for each in scales.SCALES]
seen = pd.concat([table for table in both if len(table)] or both[:1])
shares = ["copy trained on", "none", "share"]
seen[shares] = seen[shares].map("{:.1%}".format)
display(pages.shown(seen.rename(columns={"share": "photos with a copy"})))

# %% [markdown]
# Here three tenths (`demo`) or two tenths (`pocket`) of the photos are tested on, and a tenth of the rest validates. In the
# report's split, with a tenth for testing and mirror images drawn like photos, nine in ten test photos would have theirs among the training
# photos, so its number may depend on copies more than ours.
#
# ## The loss that is printed
#
# The notebooks divide the sum of an epoch's losses by the number of epochs, not of batches. That trains the same network, but
# [the printed loss](#tab-audit-loss) says something else of how far the training has come: it is the mean loss times batches over
# epochs.

# %% tags=["hide-input"] mystnb={"name": "tab-audit-loss", "caption": "ResSaNet-50: the loss of the last epoch as those notebooks would print it, and as it is, without any deviation."}
plain = audit.runs(scale, results).get((), {})
losses = {f"seed {seed}": record["audit"]["loss"] for seed, record in sorted(plain.items())}
printed = pd.DataFrame.from_dict(losses, orient="index", columns=["reported", "honest"])
printed.columns = ["printed as there", "mean loss"]
display(pages.shown(printed.round(2)))

# %% [markdown]
# ## What the report's best number would be
#
# Its 92.08% for ResSaNet-100 was printed by a notebook that reads a folder whose name ends in `_no_mask` ([first page](../book/intro.md)). What
# the number would be on masked photos can be estimated in two ways: by the difference that the report itself has between the two kinds of faces,
# and by what reading unmasked photos brings our network. Both are rough. The report's is of another network, each trained on the kind that it
# was tested on; ours is of a small network, on other faces.

# %% tags=["remove-input"]
display(pages.Words(audit.unmasked_folder(scale, results)))

# %% [markdown]
# ## What cannot be known
#
# - **The numbers of the report itself.** Its photos, weights and most of its logs are not public. What is measured here is
#   what each deviation does to *our* networks on *our* faces, many fewer than its 1,000 people; at its size each may weigh
#   more or less.
# - **Whether the published notebooks are those that made every number.** They were edited between runs (their names of folders
#   differ), and two of the three load weights of the same name, `model-30.ckpt`. A masked run of ResSaNet-100 may have
#   existed.
# - **How sure its numbers are.** Each is one run: of seeds nothing is known. ResSaNet-100 was tested after 30 of 100 planned
#   epochs, as it was interrupted in the 34th.
# - **How many near-copies its faces held.** MS1M-RetinaFace is not at hand; the real photos here are of another set.
# - **Which photos its numbers come from.** No published notebook makes the split that they were made with: that mirror images were there before
#   it is inferred, and the notebook that takes three photos a person ran on more people. The two cannot both be; the sum of all deviations
#   above has both.
# - **What a deviation would do at a learning rate of its own.** All runs here have the rate that suits ResSaNet-50 without deviations.
#   Another loss or network may want another rate, and then it loses more here than it must: part of what the loss and the stem cost may
#   be the rate. Its loss has *s* = 45, nearly three times ours, which makes each step larger; [Losses](losses.ipynb) gives it
#   a rate, an *s* and a margin of its own, in IResNet-50: there it is not shown to lose anything.
# - **What testing on three photos a person does to training.** Here three of a person's test photos are drawn, from the same network. That changes by how much
#   the number varies, not what it is on average. There the other photos were trained on, which is not done here.
# - **What ResNet-50 in the report's table was trained on.** Its notebook reads another folder than the others' and prints 447 people, where the
#   report speaks of about 1,000. So its 89.62% may be of an easier task.
# - **What longer training would leave of it.** ResSaNet's notebook planned 100 epochs, the others 30; ours are few. Weights that begin badly cost most at
#   first, and a slower network may catch up.
# - **What its batch sizes would have done at its rate.** Here a batch of half the size takes twice the steps at the
#   network's own rate; there the rate was 0.05 for all.
#
# Some differences are not among the deviations, since they are choices rather than slips. The report's code has no warm-up, no falling
# rate and no margin that grows over the first epochs. It lets weights decay everywhere, also in norms and biases; it trains on the last batch
# of an epoch, however small, and in single precision; and its linear layer begins larger, where ours begins near zero. Where mirrored twins
# are stored, as there, none is mirrored while training, and the run is as many steps long as without them, so that it sees each picture half as
# often.

# %% tags=["remove-input"]
display(pages.box(audit.told(scale, results)))

# %% [markdown]
# <details><summary><b>Exercise.</b> Why can a mirrored copy in the training photos raise the accuracy on its twin, though every
# training here mirrors half of its photos?</summary>
#
# Because the split decides whose face is mirrored. Mirroring while training varies photos that are trained on anyway. A copy made
# before the split carries a test photo's light, pose, expression and background over to the training side: the network need not
# know the person, it is enough to know the photo. [The table of copies](#tab-audit-copies) compares test
# photos with a copy and without, and [that of each deviation](#tab-audit-alone) tells whether the effect is beyond noise.
#
# </details>
