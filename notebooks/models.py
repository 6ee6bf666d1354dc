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
# # Models
#
# **Question.** Is this ResSaNet the one of the paper {cite}`chang2021`?
#
# The paper prints, for each network, its parameters, its multiply-adds and its time for one face, but no code. Totals are
# a fingerprint: whoever builds the same network gets the same numbers. This chapter counts ours, tries every choice that
# the paper leaves open, and says which of them the printed numbers allow.

# %% tags=["parameters"]
expansions = [1, 2, 3, 4]
reductions = [2, 4, 8, 16]

# %%
import itertools
from dataclasses import replace

import pandas as pd
import torch
import torchvision
from IPython.display import Markdown

from maskfr_utils import figures, records
from maskfr_utils.measure.speed import ratio
from maskfr_utils.models import create_model
from maskfr_utils.models.choices import COUNTER, POSITIONS, PUBLISHED, SHRINKS, Choices, in_words, printed, total
from maskfr_utils.names import NETWORKS, REPORTED, TITLES
from maskfr_utils.profile import count_macs, count_parameters
from maskfr_utils.study import state

# %config InlineBackend.figure_formats = ["svg"]

# %% [markdown]
# ## ResNet (Figure 2)
#
# The report's table comes from the first ResNet paper. torchvision's networks move the stride of a bottleneck from its
# first 1×1 to its 3×3 convolution; with the stride put back, the counts are within 2 % of the printed ones, which have one
# decimal.

# %%
depths = (18, 34, 50, 101, 152)
published = dict(zip(depths, (1.8, 3.6, 3.8, 7.6, 11.3), strict=True))  # 10^9, 224 × 224


def gmacs(name, stride_first):
    with torch.device("meta"):
        model = torchvision.models.get_model(name)
    for block in model.modules():
        if stride_first and isinstance(block, torchvision.models.resnet.Bottleneck):
            block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride
    return count_macs(model, image_size=224) / 1e9


rows = {}
for depth, value in published.items():
    ours = gmacs(f"resnet{depth}", True)
    row = {"published": value, "torchvision": gmacs(f"resnet{depth}", False)}
    row |= {"stride in the first 1×1": ours, "difference, %": 100 * (ours / value - 1)}
    rows[f"ResNet-{depth}"] = row
pd.DataFrame.from_dict(rows, orient="index").round(2)

# %% [markdown]
# For faces of 112 × 112 we keep torchvision's ResNet-50 but for two things: without the max pool its stages work on 56,
# 28, 14 and 7 positions like the other networks', and a linear layer with a BatchNorm turns the pooled 2048 channels into
# an embedding of 512.
#
# ## IResNet and ResSaNet (Figure 4)
#
# Both count stages of 3, 4, 14, 3 blocks ("50") or 3, 13, 30, 3 ("100"). Multiply-adds are those of convolutions, linear
# layers and attention products, as PyTorch's own counter sees them. Times are ratios to IResNet-50's: the paper's
# milliseconds belong to its machine, ours to the record's, which [](benchmarks) shows in full.

# %%
with torch.device("meta"):  # counting needs no numbers
    nets = {name: create_model(name).eval() for name in REPORTED}
speed = records.read_measurement("speed/cpu.json")
seconds = {name: speed["inference"]["1"][f"{name}, eager fp32"] for name in REPORTED}


def beside(what, ours, published):
    """Three rows of a network's column: ours, the paper's, and how far off ours is."""
    off = f"{100 * (ours / published - 1):+.2f}" if published else ""
    return {what: f"{ours:.3f}", f"{what}: published": published or "", f"{what}: off by %": off}


columns = {}
for name, net in nets.items():
    parameters, macs, ms = PUBLISHED.get(name, (None, None, None))
    column = {"blocks": ", ".join(map(str, NETWORKS[name].depths))}
    column |= beside("parameters, M", count_parameters(net) / 1e6, parameters)
    column |= beside("multiply-adds, G", count_macs(net) / 1e9, macs)
    column["time of a face"] = f"{ratio(seconds[name], seconds['iresnet50'])[0]:.2f}"
    column["time of a face: published"] = f"{ms / PUBLISHED['iresnet50'][2]:.2f}" if ms else ""
    columns[TITLES[name]] = column
made = speed["provenance"]
print(f"time: fp32, not compiled, {made['device']}, {made['date']}; {state.made_from('models')}")
pd.DataFrame(columns)

# %% [markdown]
# Where the parameters lie: the embedding layer alone holds 12.8 million, and an IBT block about as many as the IBasic that
# it replaces.

# %% mystnb={"image": {"alt": "Bars of the five networks' parameters by part: stem, four stages, embedding; stage 3 grows most with depth"}}
parts = {"stem": ("conv1", "bn1", "prelu")} | {f"stage {i}": (f"layer{i}",) for i in (1, 2, 3, 4)}
parts["embedding"] = ("bn2", "fc", "features")


def by_part(net):
    return {
        part: sum(count_parameters(getattr(net, name)) for name in names if hasattr(net, name)) / 1e6
        for part, names in parts.items()
    }


bars = {TITLES[name]: by_part(net) for name, net in nets.items()}
figures.results.stacked_bars(bars, "parameters, millions")

# %% [markdown]
# ## Which ResSaNet fits?
#
# First, how did the authors count? IResNet is known, so its four numbers tell. Let a BatchNorm cost 0, 1, 2 or 4 operations
# an element. Let the counter know PReLU, at one operation an element, or miss it, parameters and all. And let each IResNet
# be in one of the two forms that circulate: with a BatchNorm between a block's first convolution and its activation, or
# without it, and then with a max pool for a shortcut in stage 1.

# %%
flags = (False, True)
for norm, known, form_50, form_100 in itertools.product((0, 1, 2, 4), flags, flags, flags):
    forms = {"iresnet50": form_50, "iresnet100": form_100}
    missed, counter = () if known else ("prelu",), COUNTER | {"norm": norm, "prelu": int(known)}
    sums = {name: total(name, Choices(middle_norm=form)) for name, form in forms.items()}
    if all(all(printed(s, name, missed, counter)) for name, s in sums.items()):
        print(f"BatchNorm: {norm} operations an element; PReLU: {'counted' if known else 'missed'}")
        for name, form in forms.items():
            print(f"{TITLES[name]}: {'with' if form else 'without'} the BatchNorm in between")

# %% [markdown]
# One combination of 32 hits all four numbers to the last digit: the two IResNet columns come from two code bases, and their
# counter takes two operations for an element of a BatchNorm and knows PReLU. So does
# [THOP](https://github.com/Lyken17/pytorch-OpCounter), a package that watches a network run and adds up what a rule for each
# type of module says. It got rules for PReLU and softmax in September 2021, a month before the paper appeared. A module without
# a rule counts nothing, not even its parameters; and what is no module it does not see, as attention's products and position
# terms. `COUNTER` holds its rules of then.
#
# Now ResSaNet's parameters. The paper is silent on the expansion $k$ of MBConv, the reduction $r$ of SE and what it reduces,
# biases, an output projection of the attention, the position terms (for each row and column: axes; for each difference:
# relative; for each place: table; or none), and which form of the block it starts from. Let all of them vary, and let the
# counter have missed the position terms, the depthwise convolution of MBConv with its BatchNorm, both, or nothing:

# %%
ressanets = ("ressanet50", "ressanet100")
ways = ((), ("positions",), ("depthwise",), ("positions", "depthwise"))
allowed, tried = [], 0
for *most, norm in itertools.product(expansions, reductions, *[flags] * 5, POSITIONS, flags):
    choices = Choices(*most, middle_norm=norm)
    sums = {name: total(name, choices) for name in ressanets}
    for missed in ways:
        tried += 1
        if all(printed(s, name, missed)[0] for name, s in sums.items()):
            allowed.append((choices, missed))
print(f"{len(allowed)} of {tried:,} combinations print the published parameters")

# %% [markdown]
# All of them lack the depthwise convolutions in the count, and have no position terms in it. Why, a picture tells:


# %% mystnb={"image": {"alt": "Scatter plot of ResSaNet-100's over ResSaNet-50's parameters for six ways to count; only the count without position terms and depthwise convolutions hits the published point"}}
def pair(missed, **choices):
    return tuple(total(name, Choices(**choices)).millions(missed) for name in ressanets)


figures.networks.fits(
    {
        "ours, all": pair(()),
        "less position terms": pair(("positions",)),
        "less depthwise convolutions": pair(("depthwise",)),
        "less both": pair(("positions", "depthwise")),
        "all, with biases in SE": pair((), se_bias=True),
        "all, no middle BatchNorm": pair((), middle_norm=False),
    },
    tuple(PUBLISHED[name][0] for name in ressanets),
    ("ResSaNet-50, million parameters", "ResSaNet-100, million parameters"),
)

# %% [markdown]
# The operations ask one thing more, where the first IBT block halves the map: at its convolution, before the attention, or
# at its end; and its shortcut at the projection or after it. Both searches joined, and what each choice may still be:


# %%
def search(counter):
    """Those of the settings that print the published operations too."""
    return [
        (choices, missed)
        for choices, missed in settings
        if all(printed(total(name, choices), name, (), counter)[1] for name in ressanets)
    ]


settings = [
    (replace(choices, shrink=shrink, full_shortcut=full), missed)
    for (choices, missed), shrink, full in itertools.product(allowed, SHRINKS, flags)
]
joint = search(COUNTER)
left = {replace(choices, positions="any") for choices, _ in joint}
print(f"{len(joint)} of {len(settings)} print all four numbers; {len(left)} but for position terms")
pd.DataFrame({"by parameters": in_words(settings), "by both": in_words(joint)})

# %% [markdown]
# Together they leave one setting; only the kind of position terms stays open, which neither count sees. But it hangs by a
# thread. What if the counter had other rules?

# %%
basic = ("product", "depthwise", "bias", "norm")
rules = {
    "convolutions, linear layers, two for a BatchNorm": basic,
    "and pools: THOP until August 2021": (*basic, "pool"),
    "and PReLU": (*basic, "pool", "prelu"),
    "and softmax: THOP since September 2021": (*basic, "pool", "prelu", "softmax"),
    "the same, less MBConv's depthwise": ("product", "bias", "norm", "pool", "prelu", "softmax"),
}
rows = {}
for rule, kinds in rules.items():
    counter = {kind: COUNTER[kind] for kind in kinds}
    row = {f"{TITLES[name]}, G": f"{total(name).billions(counter):.5f}" for name in ressanets}
    found = search(counter)
    row["settings that fit"] = len({replace(choices, positions="any") for choices, _ in found})
    rows[rule] = row
pd.DataFrame.from_dict(rows, orient="index")

# %% [markdown]
# The published 12.11 begins at 12.105. And how far off is the map halved elsewhere?

# %%
places = dict(zip(SHRINKS, ("at the convolution", "before attention", "at the end"), strict=True))
rows = {}
for shrink, full in itertools.product(SHRINKS, flags):
    row = {}
    for name in ressanets:
        ours = total(name, Choices(shrink=shrink, full_shortcut=full)).billions()
        row[f"{TITLES[name]}, G"] = f"{ours:.3f}"
        row[f"{TITLES[name]}, off by %"] = 100 * (ours / PUBLISHED[name][1] - 1)
    rows[places[shrink], "after its projection" if full else "at its projection"] = row
table = pd.DataFrame.from_dict(rows, orient="index")
table = table.rename_axis(["main path halved", "shortcut halved"])
table.style.format(precision=2)

# %%
elsewhere = table.drop(index="before attention").filter(like="off").abs().min()


def weight(**choices):
    """What other choices add to ResSaNet-50's parameters, or save."""
    other = total("ressanet50", Choices(**choices)).millions()
    return f"{100 * abs(other / total('ressanet50').millions() - 1):.2f} %"


Markdown(
    f"Any other place on the main path is off by {elsewhere.iloc[0]:.1f} % or more for ResSaNet-50, and "
    f"by {elsewhere.iloc[1]:.1f} % or more for ResSaNet-100. What the rest weighs, in parameters of "
    f"ResSaNet-50: a projection behind the attention {weight(attention_projection=True)}, SE that "
    f"narrows the block's channels {weight(se_from_input=True)}, biases in SE "
    f"{weight(se_bias=True)}, a table of position terms {weight(positions='table')}. "
    f"By parameters alone the first two cancel."
)

# %% [markdown]
# **What we learn.** The network of this study has $k = 2$, $r = 4$, no biases and no projection, and halves the map between
# the convolution and the attention, with its shortcut projected first. Counted by THOP's rules it prints the published
# operations to the last digit, and of the settings that print the published parameters it is the only one.
#
# How sure is that? $k$ and $r$: as sure as printed numbers can make it, for no other value prints the parameters under any
# setting of the rest. The place on the main path: sure as well, others are off by far more than the rules of counting change. That
# the shortcut is projected first, and that there are no biases and no projection: likely; it rests on the last digit, and on
# the rules of one counter, without any of which nothing fits. One thing does not fit at all: the parameters come out only
# without MBConv's depthwise convolutions, the operations only with them. So we can say where the difference in parameters
# lies, and not why.
