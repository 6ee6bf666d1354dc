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
# # Memory of a training step
#
# **Question.** How large a batch fits into a memory, and what does it cost to fit a larger one?
#
# The report could not train ResSaNet-100 with batches of 512: the memory of its GPU was too small. To compute its gradient, each layer
# of a network keeps what went into it. These *activations* $a_l$ grow with the batch $B$. The weights $W$, their gradients and their
# momentum do not:
#
# $$M(B) = 3\,W + B\,\sum_{l} a_l$$
#
# A block can instead be *recomputed*: only its input is kept, and the rest is computed again when its gradient is due ([Chen et al.,
# 2016](#cite-chen2016)). The step then computes a third more, and its numbers stay the same to the bit.

# %% tags=["parameters"]
batch_size = 512  # pictures a step
limit = 16.0  # GiB of memory that there are

# %% tags=["remove-input"]
from maskfr_utils.study import parameters

parameters.check(globals(), batch_size=parameters.number(2, 2**16, whole=True), limit=parameters.number(0.1, 2**12))

# %% [markdown]
# ## Predicted from the modules
#
# [The curves](#fig-memory) and [the table](#tab-memory) need no training: the network runs on tensors that have a shape and no content
# (`memory.footprint`), and what autograd keeps of them is added up, each tensor once.

# %% tags=["hide-input"] mystnb={"name": "fig-memory", "caption": "Memory of a training step in fp32 on a CPU by batch, predicted: with all activations kept, and with each block recomputed. Grey: the memory that there is.", "image": {"alt": "Lines of gigabytes against pictures a step for three networks, each with and without recomputing, and the limit"}}
import pandas as pd
from IPython.display import display
from matplotlib import pyplot as plt

from maskfr_utils import figures, memory, records
from maskfr_utils.models import create_model
from maskfr_utils.names import TITLES
from maskfr_utils.study import pages, state

# %config InlineBackend.figure_formats = ["svg"]
GIB = 2**30
networks = ["iresnet50", "ressanet50", "ressanet100"]
told = {name: memory.footprint(create_model(name), batch_size) for name in networks}
figure, ax = plt.subplots(figsize=(7, 4))
for colour, (name, each) in enumerate(told.items()):
    for twice in (False, True):
        ends = [each.weights / GIB, each.peak(recompute=twice) / GIB]
        text = TITLES[name] + (", recomputed" if twice else "")
        ax.plot([0, batch_size], ends, f"C{colour}", linestyle="--" if twice else "-", label=text)
ax.axhline(limit, color="0.5", linewidth=1)
ax.set(xlabel="pictures a step", ylabel="GiB")
ax.legend()
figures.playable.pointed(figure)

# %% tags=["hide-input"] mystnb={"name": "tab-memory", "caption": "What a step in fp32 keeps on a CPU, predicted, and the batch at which that fills the memory; the largest batch that runs is smaller."}
room = limit * GIB


def largest(each, twice):
    activations = each.peak(recompute=twice) - each.weights
    return max(0, int((room - each.weights) / (activations / batch_size)))


rows = {
    TITLES[name]: {
        "weights, gradients, momentum, GiB": f"{each.weights / GIB:.2f}",
        f"kept, batch {batch_size}, GiB": f"{each.peak(recompute=False) / GIB:.1f}",
        "recomputed, GiB": f"{each.peak(recompute=True) / GIB:.1f}",
        f"batch that fills {limit:g} GiB": largest(each, False),
        "the same, recomputed": largest(each, True),
    }
    for name, each in told.items()
}
pd.DataFrame.from_dict(rows, orient="index")

# %% tags=["remove-input"]
gpu = memory.footprint(create_model("ressanet100"), batch_size, device="cuda")
pages.Words(
    f"On a GPU, where PReLU keeps one tensor less, a step of {batch_size} pictures of ResSaNet-100 takes"
    f" {gpu.peak(recompute=False) / GIB:.1f} GiB by prediction, recomputed {gpu.peak(recompute=True) / GIB:.1f}; that was not measured."
)

# %% [markdown]
# ## Measured
#
# [Measured](#tab-memory-measured) is the most that a process held during two steps, beyond what it held before. The time is
# that of the second step, of all cores together.

# %% tags=["hide-input"] mystnb={"name": "tab-memory-measured", "caption": "Memory of steps on a CPU, measured, beside the prediction; in bf16 activations are predicted to take half."}
measured = records.read_measurement("speed/memory.json")
rows = [
    {
        "network": TITLES[row["network"]],
        "batch": row["batch"],
        "precision": row["precision"],
        "activations": "recomputed" if row["recomputed"] else "kept",
        "predicted, GiB": f"{row['predicted'] / GIB:.2f}",
        "measured, GiB": f"{row['bytes'] / GIB:.2f}",
        "measured / predicted": f"{row['bytes'] / row['predicted']:.2f}",
        "processor time, s": f"{row['core_seconds']:.1f}",
    }
    for row in (measured["measured"] if measured else [])
]
shown = pages.shown(pd.DataFrame(rows), "python -m maskfr_utils.measure.memory --out book/results/speed/memory.json")
display(shown, pages.made(state.made_from("memory")))

# %% [markdown]
# A batch that does not fit even so can be computed in parts whose gradients are added up (`accumulate`). That equals the whole batch
# but for BatchNorm, whose mean and variance are then those of a part, and for what a loss remembers from batch to batch (CurricularFace,
# AdaFace) or draws (`class_rate`): that is done once a part.

# %% tags=["remove-input"]
each = told["ressanet100"]
held, runs = {}, f"fewer than {largest(each, True)}"
for row in measured["measured"] if measured else []:
    if (row["network"], row["batch"], row["recomputed"]) == ("ressanet100", batch_size, True):
        held[row["precision"]] = row["bytes"] / GIB
        if row["precision"] == "fp32":
            runs = (
                f"some {int(batch_size * (room - each.weights) / (row['bytes'] - each.weights))} (by the step measured)"
            )
fits = [precision for precision, most in held.items() if most <= limit]
pages.box(
    f"On a CPU, in {limit:g} GiB and fp32, a step of ResSaNet-100 runs with fewer than {largest(each, False)} pictures, or with {runs} if each block is "
    f"recomputed, for a third more computing by count. A step of {batch_size} pictures takes {each.peak(recompute=False) / GIB:.0f} "
    f"GiB by prediction, recomputed {each.peak(recompute=True) / GIB:.1f}. "
    + (
        f"Measured, the whole recomputed step held {' and '.join(f'{most:.1f} GiB in {precision}' for precision, most in held.items())}, so it fits "
        f"into {limit:g} GiB in {' and '.join(fits) or 'none of these'}. "
        if held
        else ""
    )
    + "`recompute: auto` recomputes where a step would not fit."
)

# %% [markdown]
# <details><summary><b>Exercise.</b> Why does recomputing cost a third more computing, and not twice as much?</summary>
#
# A step is one pass forward and one back, and the way back takes about twice as long as the way forward: once for the activations and
# once for the weights. With a second pass forward the step has four such parts instead of three.
#
# </details>
