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
# **Question.** ResSaNet is IResNet with three changes at once. Which of them brings or costs what?
#
# To say that self-attention helps, or does not, one must change it alone. ResSaNet-50 differs from IResNet-50 in its
# second to fourth stage ([Blocks](blocks.ipynb)):
#
# | part | where | what it does |
# | --- | --- | --- |
# | SE, squeeze and excitation | stages 2 and 3 | scales each channel by what all channels see in the whole map |
# | FReLU | stages 2 and 3, in place of PReLU | an activation whose threshold looks at the neighbours |
# | IBT, the bottleneck transformer | stage 4 | self-attention in place of the second convolution, then an inverted bottleneck with SE |
#
# Here each is put into IResNet-50 by itself. Every network was tuned like the others ([Tuning](tuning.ipynb)), and trained with the same
# seeds. Even IBT is not self-attention alone: it brings the inverted bottleneck, too.

# %% tags=["parameters"]
results = None  # folder of records; default: the book's
scale = "demo"  # of the figures: demo (rendered faces) or pocket (real photos)

# %% tags=["hide-input"]
# %config InlineBackend.figure_formats = ["svg"]
import pandas as pd
from IPython.display import Markdown, display

from maskfr_utils import figures
from maskfr_utils.models import create_model
from maskfr_utils.names import TITLES
from maskfr_utils.profile import count_macs, count_parameters
from maskfr_utils.study import captions, outcomes, plan, tables

ours = tables.ablation(scale, results)
rates = plan.chosen(scale, results)
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
display(pd.DataFrame.from_dict(rows, orient="index"), Markdown(captions.made_with("ablation", scale, results)))

# %% [markdown]
# Each part against plain IResNet-50, on the same photos of the same seeds; $p$ is corrected for the number of lines:

# %% tags=["hide-input"]
compared = tables.parts(scale, results)
display(outcomes.in_points(compared), Markdown(captions.VERDICTS))

# %% tags=["hide-input"] mystnb={"image": {"alt": "A dot with an error bar for each part, the difference to IResNet-50, beside a line at zero"}}
figures.results.estimates(
    {"": compared}, "difference in top-1 accuracy, percentage points", value="difference", zero=True
)

# %% [markdown]
# On the other scale:

# %% tags=["hide-input"]
for each in plan.SCALES:
    if each != scale:
        display(
            outcomes.in_points(tables.parts(each, results)), Markdown(captions.made_with("ablation", each, results))
        )

# %% [markdown]
# ## What we learn

# %% tags=["remove-input"]
words = outcomes.in_points(compared)
said = [f"{name.split(' − ')[0]} {row['difference, points']} ({row['verdict']})" for name, row in words.iterrows()]
text = (
    f"Against plain IResNet-50 on {tables.FACES[scale]}, in points: {'; '.join(said)}. A part whose verdict is *undecided* is"
    " neither shown to help nor to harm at this size."
    if said
    else "These runs are not made yet."
)
display(Markdown(f":::{{admonition}} What we learn\n{text}\n:::"))
