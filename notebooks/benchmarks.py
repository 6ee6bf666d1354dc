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
# # Benchmarks
#
# **Question.** How much of a machine's arithmetic do the networks use, and what does each of our choices bring?
#
# Milliseconds belong to one machine on one day. So this chapter compares times by their ratios. The ways that are compared take turns in
# one process, and each ratio is the median of several rounds, with the smallest and the largest. Images a second stand beside them.
#
# The yardstick is the machine's own *matrix rate*: how many multiply-adds a second it reaches in a product of two large matrices. It
# is measured in single precision (fp32) and in bf16, a number format of 16 bits with the range of fp32 and 8 bits of precision, in
# which most of the arithmetic of training is done. A network of $M$ multiply-adds that embeds $n$ faces a second uses the share
#
# $$\frac{M\,n}{\text{multiply-adds a second of a product of two 2048×2048 matrices}}$$
#
# of that rate. A training step counts as three passes: one forward, and two backward, for the activations and for the weights.

# %% tags=["parameters"]
record = None  # a record of `python -m maskfr_utils.measure.speed`; default: the book's
measure = "smoke"  # what to measure now: "smoke" (a minute), "full" (a quarter of an hour or more)
peer = None  # a Python file with `iresnet50()`: another's network, timed beside ours; at "full"

# %% tags=["remove-input"]
from maskfr_utils.study import parameters

parameters.check(globals(), record=parameters.file, measure=("full", "smoke"), peer=parameters.file)

# %% tags=["hide-input"]
import statistics
from pathlib import Path

import pandas as pd
from IPython.display import display

from maskfr_utils import figures, records
from maskfr_utils.measure import speed, steps
from maskfr_utils.measure.speed import ratio
from maskfr_utils.models.choices import PUBLISHED
from maskfr_utils.names import TITLES
from maskfr_utils.study import pages, state

# %config InlineBackend.figure_formats = ["svg"]
now = speed.measure(speed.PLANS[measure], peer if measure == "full" else None)
recorded = records.read_measurement(Path(record).resolve() if record else "speed/cpu.json")
r = now if measure == "full" and "training" in now else recorded

# %% tags=["remove-input"]
made, half = r["provenance"], r["half"]
command = "python -m maskfr_utils.measure.speed --out book/results/speed/cpu.json --peer iresnet.py"
pages.made(
    f"All but the last section is read from a record: {made['device']}, {made['threads']} threads, "
    f"PyTorch {made['versions']['torch']}, {made['date']}, {made['seconds'] / 60:.0f} minutes; "
    f"load before the start {made['load_before']:g} (that of an idle machine is 0). "
    f"`{command}` makes it again ({state.made_from('benchmarks')})."
)

# %% [markdown]
# ## The yardstick

# %% tags=["remove-input"]
rate = {name: statistics.median(values) for name, values in r["rates"].items()}
limit = ratio(r["rates"][half], r["rates"]["fp32"])
each = ", ".join(f"{value / 1e9:.0f} G in {name}" for name, value in rate.items())
pages.Words(
    f"The machine of the record reaches {each} (billions of multiply-adds a second). {half} is {limit[0]:.2f} times as fast as fp32"
    f" ({limit[1]:.2f} to {limit[2]:.2f})."
)

# %% [markdown]
# That is what half precision can bring to matrix products. Norms and activations gain as well, since they move half the bytes, and our loop
# saves other work besides: a whole step may gain a little more than the ratio.
#
# ## A training step
#
# [The table](#tab-training-speed) and [the bars](#fig-training-speed) show steps of IResNet-50 at full width with 16 faces:
#
# - The *plain fp32 loop* is how such networks are usually trained: single precision, contiguous tensors, torch's own PReLU, no
#   compiling. Its faces are ready in memory.
# - *Our loop* is `loop.Trainer` with all that it does in a run: reading, mirroring, counting hits, logging.
# - A *bare step* is our network and arithmetic on tensors that are ready.
# - The *peer's network* is a step of the plain loop with arcface_torch's `iresnet.py`, where the record was made with it
#   (`--peer iresnet.py`).

# %% tags=["hide-input"] mystnb={"name": "tab-training-speed", "caption": "Training IResNet-50 at full width: images a second, beside the plain loop, and the share of the matrix rate that is used."}
seconds, plan = r["training"]["seconds"], r["plan"]
work = 3 * r["macs"]["iresnet50"] * plan["batch"]
peers, rows = next((name for name in seconds if name.startswith("peer")), None), {}
for name, values in seconds.items():
    times, low, high = ratio(seconds["plain fp32 loop"], values)
    kind = "fp32" if "fp32" in name else half
    rows[name] = {
        "images/s": f"{plan['batch'] / statistics.median(values):.1f}",
        "times the plain loop": f"{times:.2f} ({low:.2f} to {high:.2f})",
        "times the peer's": f"{ratio(seconds[peers], values)[0]:.2f}" if peers else "",
        "share of the matrix rate": f"{work / statistics.median(values) / rate[kind]:.0%} of {kind}",
    }
pd.DataFrame.from_dict(rows, orient="index")

# %% tags=["hide-input"] mystnb={"name": "fig-training-speed", "caption": "Training speed of each choice as a multiple of the plain fp32 loop; bars reach from the smallest to the largest round.", "image": {"alt": "Bars of the training speed of each choice as a multiple of the plain fp32 loop, with their spread"}}
plain = seconds["plain fp32 loop"]
gains = {name: [a / b for a, b in zip(plain, s, strict=True)] for name, s in seconds.items()}
mark = {f"{half} / fp32 matrix rate": limit[0]}
figures.results.spread_bars(gains, "speed, times the plain fp32 loop", mark)

# %% [markdown]
# Two limits stand beside our loop's gain: what bf16 could bring if a step were matrix products alone, and what would be left if
# everything but the convolutions took no time.

# %% tags=["hide-input"]
kind = "compiled" if "our loop, compiled" in seconds else "eager"
cost, low, high = ratio(seconds[f"our loop, {kind}"], seconds[f"bare step, {kind}"])
gain = ratio(seconds["plain fp32 loop"], seconds[f"our loop, {kind}"])
gain_of_loop, seconds_of_loop = gain[0], seconds[f"our loop, {kind}"]
print(f"our loop takes {cost:.3f} of a bare step's time ({low:.3f} to {high:.3f})")
print(f"it is {gain[0]:.2f} times as fast as the plain loop ({gain[1]:.2f} to {gain[2]:.2f})")
print(f"{half} products could bring {limit[0]:.2f} ({limit[1]:.2f} to {limit[2]:.2f})")
share = r["training"]["convolutions"][kind]
bound = ratio(seconds["plain fp32 loop"], [share * s for s in seconds[f"bare step, {kind}"]])
print(f"convolutions take {share:.0%} of a bare step: they alone would be {bound[0]:.2f} times as fast as a plain step")

# %% [markdown]
# ## A quarter of the channels
#
# The study so far runs at width 0.25. Its convolutions then cost a sixteenth, but its element-wise operations a quarter. So
# what was small beside the products now counts ([shares of the time](#fig-shares)).

# %% tags=["hide-input"] mystnb={"name": "fig-shares", "caption": "Share of a training step's time by kind of operation, at a quarter of the channels.", "image": {"alt": "Stacked bars for each network: the shares of a training step's time that each kind of operation takes"}}
percent = 100 * pd.DataFrame(r["shares"]).rename(columns=TITLES)
figures.results.stacked_bars(percent.to_dict(), "share of a training step's time, %")

# %% [markdown]
# [Two things](#fig-narrow) help then. PyTorch's PReLU is slow on a CPU in bf16 and in the memory layout that convolutions want;
# `blocks.PReLU` computes the same function from faster operations. And each step frees and requests the same gigabytes. The C library
# gives them back to the operating system, which fills each page with zeros before it hands it out again. `devices.keep_memory` keeps
# them.

# %% tags=["hide-input"] mystnb={"name": "fig-narrow", "caption": "Training images a second of IResNet-50 at a quarter of the channels, by choice.", "image": {"alt": "Bars of training images a second of the narrow IResNet-50 for each choice, with their spread"}}
batch = plan["narrow_batch"]
rows = {name: [batch / s for s in values] for name, values in r["variants"]["steps"].items()}
memory = r["variants"]["freed memory"]
gain, least, most = ratio(memory["given back"], memory["kept"])
print(f"freed memory kept: steps {gain:.2f} times as fast as given back ({least:.2f} to {most:.2f})")
figures.results.spread_bars(rows, f"IResNet-50 at width {steps.SMALL:g}, batch {batch}: training images/s")

# %% [markdown]
# Compiling fuses the element-wise operations. It takes a minute or two, and is [not always faster](#tab-compiled), since some of
# PyTorch's own kernels are faster than what the compiler writes. So `compile: auto` tries it on long runs only, times a few steps both
# ways, and goes on with the faster one.

# %% tags=["hide-input"] mystnb={"name": "tab-compiled", "caption": "Training images a second of each network by width, eager and compiled; blank: not measured."}
rows = {}
for width, narrow in r["narrow"].items():
    for name in plan["networks"]:
        eager, compiled = narrow[f"{name}, eager"], narrow.get(f"{name}, compiled")
        rows[TITLES[name], width] = {
            "eager, images/s": f"{batch / statistics.median(eager):.0f}",
            "compiled, images/s": f"{batch / statistics.median(compiled):.0f}" if compiled else "",
            "compiled / eager": f"{ratio(eager, compiled)[0]:.2f}" if compiled else "",
        }
pd.DataFrame.from_dict(rows, orient="index").rename_axis(["network", "width"]).reset_index().style.hide()

# %% [markdown]
# ## Embedding faces
#
# [The table](#tab-answers) is for one face, and for 64 at once. onnxruntime computes in fp32 here. Each share is of the matrix rate in the
# same precision. A share may pass 100%: the rate is that of one size of plain product, and some convolutions do better.

# %% tags=["hide-input"] mystnb={"name": "tab-answers", "caption": "Faces embedded a second, one at a time and 64 at once, and the share of the matrix rate that is used."}
rows = {}
for size in plan["answers"]:
    for name, values in r["inference"][str(size)].items():
        network, way = name.split(", ")
        each = size / statistics.median(values)
        share = r["macs"][network] * each / rate[way.split()[-1]]
        rows.setdefault((TITLES[network], way), {})[f"batch {size}"] = f"{each:.1f}/s, {share:.0%}"
answered = pd.DataFrame.from_dict(rows, orient="index").fillna("").rename_axis(["network", "way"])
answered.reset_index().style.hide()

# %% tags=["remove-input"]
worst = max(r["inference"]["onnx difference"].values())
difference = f"Embeddings in onnxruntime differ from torch's by {worst:.0e} of the largest value at most."
display(pages.Words(difference))

# %% [markdown]
# The paper of ResSaNet ([Chang et al., 2021](#cite-chang2021)) gives times for one face, on another machine. [As multiples of
# IResNet-50's](#tab-one-face) they can be compared:

# %% tags=["hide-input"] mystnb={"name": "tab-one-face", "caption": "Time to embed one face as a multiple of IResNet-50's: published, and measured here."}
one = r["inference"]["1"]
rows = {}
for name in plan["networks"]:
    rows[TITLES[name]] = {"published": PUBLISHED[name][2] / PUBLISHED["iresnet50"][2]} if name in PUBLISHED else {}
    for way in ("eager fp32", f"eager {half}", "onnxruntime fp32"):
        if f"{name}, {way}" in one:
            rows[TITLES[name]][way] = ratio(one[f"{name}, {way}"], one[f"iresnet50, {way}"])[0]
pd.DataFrame.from_dict(rows, orient="index").style.format("{:.2f}", na_rep="")

# %% [markdown]
# ## On a GPU
#
# [The same on a GPU](#tab-gpu), where one was measured:

# %% tags=["hide-input"] mystnb={"name": "tab-gpu", "caption": "Training on a GPU: images a second, and the share of the matrix rate that is used."}
gpu = now if "cuda" in now else records.read_measurement("speed/cuda.json")
rows = {}
for size, runs in gpu["cuda"].items() if gpu else ():
    for name, values in runs.items():
        each = int(size) / statistics.median(values)
        share = 3 * gpu["macs"][name.split(",")[0]] * each / statistics.median(gpu["rates"][gpu["half"]])
        rows[f"{name}, batch {size}"] = {"images/s": round(each), "share of the matrix rate": f"{share:.0%}"}
rows = rows or {"not measured yet": {"images/s": "", "share of the matrix rate": ""}}
display(pages.Words(gpu["provenance"]["device"] if gpu else ""), pd.DataFrame.from_dict(rows, orient="index"))

# %% [markdown]
# ## Here and now
#
# The numbers above are read from a record. [A much smaller measurement](#tab-now) was made together with this page: the same code on a
# narrow network. On a busy machine its ratios vary widely.

# %% tags=["hide-input"] mystnb={"name": "tab-now", "caption": "The same code on a narrow network, measured while this page was made."}
seconds = now["training"]["seconds"] if "training" in now else {}
rows = {}
for name, values in seconds.items():
    times, low, high = ratio(seconds["plain fp32 loop"], values)
    rows[name] = {"times the plain loop": f"{times:.2f} ({low:.2f} to {high:.2f})"}
here = now["provenance"]
place = f"{here['device']}, {here['threads']} threads, load {here['load_before']:g}; width {now['plan']['width']:g}"
display(pd.DataFrame.from_dict(rows, orient="index"), pages.made(place))

# %% tags=["remove-input"]
text = f"""At full width, training IResNet-50 with our loop uses {work / statistics.median(seconds_of_loop) / rate[half]:.0%} of the
matrix rate in {half}, and is {gain_of_loop:.2f} times as fast as the plain loop in fp32; {half} makes matrix products alone {limit[0]:.2f} times as fast. What surrounds the
network costs little: a step of our loop takes {cost:.3f} times as long as a bare one.

At a quarter of the channels the arithmetic is small, and what surrounds it counts: keeping freed memory for the next step alone makes a step
{gain:.2f} times as fast ({least:.2f} to {most:.2f} by round)."""
pages.box(text)

# %% [markdown]
# <details><summary><b>Exercise.</b> Why are speeds given as ratios of times that took turns?</summary>
#
# A machine is faster at one time than at another. If both ways are timed in turns, a slow minute slows both, and the ratio stays.
#
# </details>
