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
# # Scaling: hours and cost on many GPUs
#
# **Question.** How long would training on the largest face data sets take on 1 to 64 GPUs, and what sets the pace?
#
# **This page is a projection, not a measurement.** It starts from one number that was measured elsewhere, and of which there is no record here
# yet: one H200 trains ResSaNet-100 on 2,219 pictures a second. To this it adds by arithmetic what many GPUs and many identities cost; the
# cell below says which of its numbers are assumptions. Hours are for 20 epochs and hold the writing of a checkpoint every 15 minutes, too, at 1 GB a
# second. Cost is at 3 units of any currency for a GPU hour. A step of $g$ GPUs takes
#
# $$t = \max\left(\frac{b}{v} + \frac{3\,g b\,d\,C r / g}{P} + (1 - h)\,\frac{2 (g - 1)}{g}\,\frac{4 W}{\beta} + t_\text{embeddings},\ \frac{b}{k\,c}\right)$$
#
# seconds. The terms, and what they depend on:
#
# - the network: $b$ pictures a GPU, of which it trains on $v$ a second;
# - the classes: $C$ identities of $d$ dimensions, of which a share $r$ is drawn at each step, and $P$ multiply-adds a second (each GPU
#   holds a $g$-th of them, for the $g b$ pictures of all, so $g$ cancels);
# - the exchange of gradients: $W$ parameters at $\beta$ bytes a second, of which a share $h$ hides behind computing, and then the
#   exchange of embeddings;
# - behind the comma, the loading of pictures: $k$ cores that read $c$ pictures a second each. It runs beside the rest, so the longer
#   of the two counts.

# %% tags=["parameters"]
pictures = 2219  # that one GPU trains on a second; measured: one H200, ResSaNet-100, bf16, batch 512, a bare step
batch = 512  # pictures a step and GPU
products = 280e12  # multiply-adds a second of large products, an assumption
within = 300e9  # bytes a second between GPUs of a node, an assumption
between = 25e9  # bytes a second between nodes, an assumption
hidden = 0.7  # share of the exchange of gradients that hides behind their computation, an assumption
decoded = 1000  # pictures a second and core that are read and decoded, an assumption
cores = 12  # for loading, a GPU, an assumption
price = 3.0  # of a GPU and hour, in any currency, an assumption
epochs = 20  # passes over the set, an assumption

# %% tags=["remove-input"]
from maskfr_utils.study import parameters

parameters.check(
    globals(),
    pictures=parameters.number(1e-3),
    batch=parameters.number(1e-3),
    products=parameters.number(1e-3),
    within=parameters.number(1e-3),
    between=parameters.number(1e-3),
    hidden=parameters.number(0, 1),
    decoded=parameters.number(1e-3),
    cores=parameters.number(1e-3),
    price=parameters.number(1e-3),
    epochs=parameters.number(1e-3),
)

# %% [markdown]
# ## Hours and cost
#
# MS1M (here MS1M-RetinaFace, from which the report took its photos) has 5.2 million pictures of 93 thousand people. WebFace42M ([Zhu et al., 2021](#cite-zhu2021)) has 42.5 million of 2.06 million, of which each step draws a tenth.
# [The lines](#fig-scaling) and [the table](#tab-scaling):

# %% tags=["hide-input"] mystnb={"name": "fig-scaling", "caption": "Projected hours of training ResSaNet-100 by the number of GPUs; dotted: as if GPUs cost each other nothing.", "image": {"alt": "Two falling lines of hours against GPUs on logarithmic axes, for MS1M and WebFace42M, each near its dotted ideal"}}
from dataclasses import replace

import pandas as pd
from matplotlib import pyplot as plt

from maskfr_utils import figures
from maskfr_utils.study import pages
from maskfr_utils.study.projection import MS1M, WEBFACE42M, Machine, project

# %config InlineBackend.figure_formats = ["svg"]
machine = Machine(
    pictures=pictures,
    batch=batch,
    products=products,
    within=within,
    between=between,
    hidden=hidden,
    decoded=decoded,
    cores=cores,
    price=price,
)
sets = {"MS1M": replace(MS1M, epochs=epochs), "WebFace42M": replace(WEBFACE42M, epochs=epochs)}
gpus = [1, 2, 4, 8, 16, 32, 64]
found = {name: {g: project(work, machine, g) for g in gpus} for name, work in sets.items()}
figure, ax = plt.subplots(figsize=(7, 4))
for colour, (name, by_gpus) in enumerate(found.items()):
    ax.loglog(gpus, [p.hours for p in by_gpus.values()], f"C{colour}o-", label=name)
    ax.loglog(gpus, [by_gpus[1].hours / g for g in gpus], f"C{colour}:")
ax.set(xlabel="GPUs", ylabel="hours, projected", xticks=gpus, xticklabels=gpus)
ax.legend()
figures.playable.pointed(figure)

# %% tags=["hide-input"] mystnb={"name": "tab-scaling", "caption": "Projected: milliseconds of a step for the network, the identities, the exchange and the loading; what sets the pace; hours and cost of the whole training."}
rows = [
    {
        "set": name,
        "GPUs": g,
        "network, ms": f"{1e3 * p.network:.0f}",
        "identities, ms": f"{1e3 * p.identities:.1f}",
        "exchange, ms": f"{1e3 * p.exchange:.1f}",
        "loading, ms": f"{1e3 * p.loading:.0f}",
        "pace set by": p.bound,
        "hours": f"{p.hours:.1f}",
        "cost": f"{p.cost:,.0f}",
    }
    for name, by_gpus in found.items()
    for g, p in by_gpus.items()
]
pd.DataFrame(rows).style.hide(axis="index")

# %% [markdown]
# ## Very many identities
#
# [This](#tab-identities) is measured: what a step of the loss alone costs on a CPU, with all identities and with a tenth of them drawn.

# %% tags=["hide-input"] mystnb={"name": "tab-identities", "caption": "A step of the loss, 64 embeddings of 512 numbers, by the number of identities and the share that is drawn."}
from IPython.display import display

from maskfr_utils import records
from maskfr_utils.study import state

steps = records.read_measurement("speed/loss_steps.json")
rows = [
    {
        "identities": f"{int(name.split()[0]):,}",
        "share drawn": name.split()[-1],
        "seconds": f"{step['seconds']:.3f}" if "seconds" in step else step["left_out"],
        "GiB": f"{step['bytes'] / 2**30:.2f}" if "bytes" in step else "",
    }
    for name, step in (steps["steps"] if steps else {}).items()
]
shown = pages.shown(
    pd.DataFrame(rows), "python -m maskfr_utils.measure.loss_steps --out book/results/speed/loss_steps.json"
)
display(shown, pages.made(state.made_from("scaling")))

# %% [markdown]
# ## The report's own size
#
# The report had about 200,000 images of 1,000 people, a tenth of them kept for the test: as we read it, 100,000 photos and their mirror images. [The table](#tab-report-size) is for what it
# takes to render so many photos with their masked twins, and to train one epoch on them. The whole comparison at this size is left to a GPU.

# %% tags=["hide-input"] mystnb={"name": "tab-report-size", "caption": "1,000 rendered people with 100 photos each, prepared and trained on for one epoch; the minutes of an epoch hold the test as well."}
size = records.read_measurement("speed/report_size.json")
works = {"prepared": "faces and masks, on all cores", "epoch": "an epoch of IResNet-50, a quarter of the channels"}
rows = [
    {
        "work": name,
        "minutes": f"{size[part]['seconds'] / 60:.0f}",
        "photos a second": f"{size[part]['photos_a_second']:.0f}",
        "memory of the main process, GiB": f"{size[part]['peak_bytes'] / 2**30:.1f}",
    }
    for part, name in (works if size else {}).items()
]
display(pages.shown(pd.DataFrame(rows), "python -m maskfr_utils.measure.report_size"))
if size:
    faces, epoch = size["prepared"], size["epoch"]
    display(
        pages.made(
            f"{size['provenance']['device']}; {epoch['precision']}; one seed. {faces['training']:,} photos are trained on, "
            f"{faces['test']:,} are for the test; faces and masked twins take {faces['file_bytes'] / 2**30:.1f} GiB of the disk. "
            f"After the epoch {epoch['accuracy']['masked']:.1%} of the masked test photos get the right name of {size['people']:,}."
        )
    )

# %% tags=["remove-input"]
one, most = found["WebFace42M"][8], found["WebFace42M"][64]
pages.box(
    f"By this projection {epochs} epochs of MS1M take {found['MS1M'][8].hours:.1f} hours on 8 GPUs and {found['MS1M'][64].hours:.2f} on 64, "
    f"those of WebFace42M {one.hours:.1f} and {most.hours:.1f}: for the latter 64 are {one.hours / most.hours:.1f} times as fast as 8. "
    f"The pace is set by the {most.bound}. No such training was run here, and whether so large batches learn as well is not known."
    + (
        f" Measured: one epoch on {size['prepared']['training']:,} rendered photos with a quarter of the channels took "
        f"{size['epoch']['seconds'] / 60:.0f} minutes on {size['cores']} cores of a processor."
        if size
        else ""
    )
)

# %% [markdown]
# <details><summary><b>Exercise.</b> Why do the milliseconds for the identities hardly change with the number of GPUs?</summary>
#
# Each GPU holds a share of the class matrix, $C r / g$ rows, but multiplies it by the embeddings of all GPUs, $g b$ of them. The product
# stays the same; only the memory that the matrix takes falls.
#
# </details>
