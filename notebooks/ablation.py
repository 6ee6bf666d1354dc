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
# # Which part does what
#
# **Question.** ResSaNet changes three things in IResNet at once. Which of them brings or costs what?
#
# To say that self-attention helps, or does not, it has to be changed alone. ResSaNet-50 differs from IResNet-50 in its
# second to fourth stage ([Blocks](blocks.ipynb)):
#
# - **SE, squeeze and excitation** (stages 2 and 3): turns each channel down, more or less, by what all channels see in the whole map.
# - **FReLU** (stages 2 and 3, in place of PReLU): an activation whose threshold looks at the neighbours.
# - **IBT, in the report the IBasic Transformer** (stage 4): self-attention in place of the second convolution, then an inverted bottleneck with SE.
#
# Here each is put into IResNet-50 by itself. Every network is tuned like the others ([Tuning](tuning.ipynb)) and trained with the same
# seeds. Even IBT is not self-attention alone: it brings the inverted bottleneck with SE, too. On a CPU, training computes FReLU's maximum of $x$ and its
# threshold $t$ as $x + \mathrm{ReLU}(t - x)$. In bf16 that is rounded, by up to 0.4% of $|t - x|$; tests compute it exactly. What the rounding
# costs FReLU is not measured. Here $p$ is corrected for the four comparisons of this chapter; the question whether ResSaNet beats IResNet has
# a correction of its own ([Five networks](compare_models.ipynb)), so that its verdict may differ. [All five networks](#tab-parts):

# %% tags=["parameters"]
results = None  # folder of records; default: the book's
scale = "demo"  # of the study: demo (rendered faces), pocket (real photos), full (at full width)

# %% tags=["remove-input"]
from maskfr_utils.study import parameters, scales

parameters.check(globals(), results=parameters.folder, scale=scales.SCALES)

# %% tags=["hide-input"] mystnb={"name": "tab-parts", "caption": "IResNet-50, the same with one part of ResSaNet each, and ResSaNet-50: size, learning rate, and accuracy on masked test photos."}
# %config InlineBackend.figure_formats = ["svg"]
import pandas as pd
from IPython.display import display

from maskfr_utils import figures
from maskfr_utils.models import create_model
from maskfr_utils.names import TITLES
from maskfr_utils.profile import count_macs, count_parameters
from maskfr_utils.study import answers, captions, outcomes, pages, plan, tables, trials

ours = tables.ablation(scale, results)
rates = trials.chosen(scale, results)
rows = {}
for model in plan.ABLATION:
    network, name = create_model(model), TITLES[model]
    rows[name] = {
        "parameters, M (width 1)": f"{count_parameters(network) / 1e6:.1f}",
        "multiply-adds, G (width 1)": f"{count_macs(network) / 1e9:.2f}",
        "learning rate": f"{rates[model]:g}" if model in rates else "",
        f"masked {tables.FACES[scale]}": str(ours.get(name, tables.NOT_RUN)),
        "by seed": ours[name].each() if name in ours else "",
    }
made = pages.made(
    *(captions.made_with("ablation", each, results) for each in scales.SCALES),
    "The rates: " + captions.rerun("tuning", scale, results),
)
display(pd.DataFrame.from_dict(rows, orient="index"), pages.Words(captions.shows(scale)), made)

# %% [markdown]
# [Each part against plain IResNet-50](#tab-parts-compared), on the same photos of the same seeds; $p$ is corrected for all four together,
# run or not:

# %% tags=["hide-input"] mystnb={"name": "tab-parts-compared", "caption": "What each part changes in IResNet-50, in percentage points, with 95% intervals over seeds and people."}
compared = {each: tables.parts(each, results) for each in scales.SCALES}
words = {tables.FACES[each]: outcomes.in_points(table) for each, table in compared.items()}
plain = ours.get(TITLES["iresnet50"])
room = (
    f" At {plain.mean:.1%} plain {TITLES['iresnet50']} leaves little room for a gain."
    if plain and plain.mean > 0.95
    else ""
)
display(*pages.parts(words), pages.Words(f"{captions.VERDICTS}{room}"))

# %% tags=["hide-input"] mystnb={"name": "fig-parts", "caption": "What each part of ResSaNet changes in IResNet-50, with 95% intervals over seeds and people.", "image": {"alt": "A dot with an error bar for each part, the difference to IResNet-50, beside a line at zero"}}
pages.drawn(
    compared[scale],
    lambda: figures.results.estimates(
        {"": compared[scale]}, "difference in top-1 accuracy, percentage points", value="difference", zero=True
    ),
)

# %% [markdown]
# [By epoch](#fig-parts-epochs), on validation photos: a network whose curve still climbs at its end might have ended elsewhere.

# %% tags=["hide-input"] mystnb={"name": "fig-parts-epochs", "caption": "Accuracy on masked validation photos after each epoch, mean over seeds.", "image": {"alt": "For IResNet-50, each part of ResSaNet in it and ResSaNet-50 a line of validation accuracy by epoch"}}
curves = tables.curves(scale, results, "ablation")
display(
    pages.drawn(curves, lambda: figures.playable.pointed(figures.results.by_epoch(curves))),
    pages.made(captions.rerun("ablation", scale, results)),
)

# %% tags=["remove-input"]
text = answers.parts(scale, results) or (
    f"Which part does what is not measured yet on {tables.FACES[scale]}: `{plan.command('ablation', scale)}` measures it."
)
for _, row in tables.parts(scale, results).filter(like="ResSaNet-50 −", axis=0).iterrows():
    text += f" All of them together are ResSaNet-50: {outcomes.points(*row[['difference', 'low', 'high']])} points."
text += f" {answers.climbing(scale, results, group='ablation')}"
display(pages.box(text))

# %% [markdown]
# <details><summary><b>Exercise.</b> Why is each part added to IResNet-50, and not taken out of ResSaNet-50?</summary>
#
# Both answer a question. Adding a part asks what it does by itself, in the network that is in common use. Taking it out asks what the
# others cannot do without it. If parts help each other, the answers differ.
#
# </details>
