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
# # Blocks
#
# **Question.** What do the networks of this study do inside a block, and can a signal pass through fifty of them?
#
# A network here is a row of *blocks*, in four *stages*; from stage to stage the map of pixels halves and the channels double. A residual
# block ([He et al., 2016a](#cite-he2016)) computes $y = x + f(x)$: whatever $f$ does to a signal or its gradient, the $x$ beside
# it, on the *shortcut*, passes unchanged.
#
# IResNet and the first three stages of ResSaNet differ only in $f$. ResSaNet's last stage also differs
# in the shortcut: each block is two sums in a row, and where it halves the map, its shortcut takes the mean of four pixels. The shortcut
# of IBasic keeps one of the four. ResNet-50 also puts a ReLU behind the sum. Each diagram below is drawn from the module that
# runs: its code is traced, a picture is sent through it, and the shape at each step is what came out.

# %% tags=["parameters"]
width = 0.125  # of the networks whose signals are measured
batch_size = 16
image_size = 48

# %% tags=["remove-input"]
from maskfr_utils.study import parameters

parameters.check(
    globals(),
    width=parameters.number(0.0625, 1),
    batch_size=parameters.number(2, 256, whole=True),
    image_size=parameters.number(32, 224, whole=True),
)

# %% tags=["hide-input"]
import pandas as pd
import torch
from IPython.display import display

from maskfr_utils import figures
from maskfr_utils.batches import to_input
from maskfr_utils.models import blocks, create_model
from maskfr_utils.names import TITLES
from maskfr_utils.profile import count_parameters, signal_by_depth
from maskfr_utils.rendered import render_faces
from maskfr_utils.study import pages, parameters

# %config InlineBackend.figure_formats = ["svg"]

# %% [markdown]
# ## IBasic, the block of IResNet
#
# $$f(x) = \mathrm{BN}(W_2 * \mathrm{PReLU}(\mathrm{BN}(W_1 * \mathrm{BN}(x))))$$
#
# Three things set it apart from the first ResNet. A BatchNorm comes first, so that the branch sees a normalised input however large $x$ has
# grown; and nothing follows the sum, so that the path from the stem, the first convolution, to the embedding is linear ([He et al.,
# 2016b](#cite-he2016identity)). And there is no activation before the first convolution, but a BatchNorm behind the last one ([Han et al.,
# 2017](#cite-han2017)). With a PReLU inside, it became the usual block for faces ([Deng et al., 2019a](#cite-deng2019)). The report
# names another paper ([Duta et al., 2021](#cite-duta2021)), which places BatchNorm and ReLU differently.
#
# The first block of a stage halves the map and doubles the channels, so its shortcut needs a projection. The report
# speaks of a bottleneck from 1×1 to 3×3 here. There is none: both convolutions are 3×3 ([IBasic](#fig-ibasic)).

# %% tags=["hide-input"] mystnb={"name": "fig-ibasic", "caption": "The report's Figure 3: IBasic, the block of IResNet, as its code runs; at each step channels × height × width.", "image": {"alt": "Block diagram of IBasic with the shape after each step: BN, conv, BN, PReLU, conv, BN, plus a projected shortcut"}}
torch.manual_seed(0)
figures.networks.block_diagram(blocks.IBasic(64, 128, stride=2), (1, 64, 56, 56), "IBasic, first block of stage 2")

# %% [markdown]
# ## SE-IBasic_F, stages 2 and 3 of ResSaNet
#
# [It](#fig-se-ibasic-f) differs from IBasic in two places. *Squeeze and excitation* (SE, [Hu et al., 2018](#cite-hu2018)) measures how strong each
# channel is on average, and turns it down, more or less ([the gate](#fig-se)). The gate is $g = \sigma(W_b\,\mathrm{ReLU}(W_a \bar{x}))$, where
# $\bar x$ is the mean over positions. And an activation called FReLU takes the place of PReLU.

# %% tags=["hide-input"] mystnb={"name": "fig-se-ibasic-f", "caption": "The report's Figure 5: SE-IBasic_F, the block of ResSaNet's stages 2 and 3.", "image": {"alt": "Block diagram of SE-IBasic_F: as IBasic, with FReLU in place of PReLU and SE before the sum"}}
figures.networks.block_diagram(
    blocks.SEIBasicF(64, 128, stride=2), (1, 64, 56, 56), "SE-IBasic_F, first block of stage 2"
)

# %% tags=["hide-input"] mystnb={"name": "fig-se", "caption": "SE, squeeze and excitation: a gate for each channel.", "image": {"alt": "Block diagram of squeeze and excitation: mean of positions, 1x1 convolution, ReLU, 1x1 convolution, sigmoid, times the input"}}
figures.networks.block_diagram(blocks.SE(128), (1, 128, 28, 28), "SE")

# %% [markdown]
# FReLU, the *funnel* ([Ma et al., 2020](#cite-ma2020)), replaces the threshold 0 of ReLU by one that depends on the neighbours:
# $\mathrm{FReLU}(x) = \max(x, \mathrm{BN}(D * x))$. Its 3×3 convolution $D$ is *depthwise*: it filters each channel by itself.
# It costs nine multiply-adds an element ([FReLU](#fig-frelu)), where the convolution beside it costs hundreds.

# %% tags=["hide-input"] mystnb={"name": "fig-frelu", "caption": "FReLU: the larger of a value and what its neighbours suggest.", "image": {"alt": "Block diagram of FReLU: the larger of the input and its depthwise 3x3 convolution with BN"}}
figures.networks.block_diagram(blocks.FReLU(128), (1, 128, 28, 28), "FReLU")

# %% [markdown]
# [These faces](#fig-funnel) show what that means for a picture: they pass a ReLU, and a funnel whose $D$ is a blur. ReLU cuts each pixel
# by itself. The funnel fills what is darker than its surroundings, and keeps what is brighter.

# %% tags=["hide-input"] mystnb={"name": "fig-funnel", "caption": "Rendered faces as they are, after ReLU, and after a FReLU whose convolution is a blur.", "image": {"alt": "Four rendered faces: as they are, after ReLU, which loses what is dark, and after FReLU with a blur, which keeps it"}}
faces = to_input(torch.from_numpy(render_faces(4, 1, seed=3).images))
funnel = blocks.FReLU(3).eval()
with torch.no_grad():
    funnel.conv.weight.fill_(1 / 9)
    activated = {"input": faces, "ReLU": faces.relu(), "FReLU with a blur": funnel(faces)}
pictures = {name: ((x + 1) * 127.5).clamp(0, 255).byte() for name, x in activated.items()}
figures.faces.face_grid({name: x.permute(0, 2, 3, 1).numpy() for name, x in pictures.items()})

# %% [markdown]
# ## IBT, stage 4 of ResSaNet
#
# A 3×3 convolution sees only neighbouring pixels. On a masked face, the features that distinguish two people may lie far from each
# other: an eye, and the outline of the head. *IBT*, in the report the *IBasic Transformer* ([its diagram](#fig-ibt)), lets each of the 7×7 positions look
# at all the others. Its first half, called IBSA, is an IBasic whose second convolution is multi-head self-attention ([Srinivas et al., 2021](#cite-srinivas2021)); in each of four heads,
#
# $$\mathrm{MHSA}(x) = \mathrm{softmax}\!\left(\frac{q k^\top + q r^\top}{\sqrt d}\right) v, \qquad
# r_{ij} = R^h_i + R^w_j,$$
#
# with queries, keys and values $q, k, v$ of $d$ channels from 1×1 convolutions. $R^h$ and $R^w$ are learned for each row and column: without
# them attention would not know where anything is. The second half is an *MBConv*, also called inverted bottleneck ([Sandler et al., 2018](#cite-sandler2018)), which widens
# the channels, filters each one by itself, and narrows them again.

# %% tags=["hide-input"] mystnb={"name": "fig-ibt", "caption": "The report's Figure 6: IBT, the block of ResSaNet's stage 4, an IBSA and an MBConv.", "image": {"alt": "Block diagram of IBT: an IBasic block with multi-head self-attention in place of its second convolution, then an MBConv, each with a shortcut"}}
figures.networks.block_diagram(
    blocks.IBT(256, 512, size=7, stride=2), (1, 256, 14, 14), "IBT = IBSA, then MBConv: first of stage 4"
)

# %% [markdown]
# ## Does a signal survive?
#
# Every convolution starts from the normal distribution of [He et al., 2015](#cite-he2015), every BatchNorm from 1 and 0. So each branch $f$
# adds a variance of about 1 to the sum. (Where SE closes it with a gate of about 1/2, it adds a quarter of that.) The standard deviation
# then grows like $\sqrt{n}$ with the number $n$ of blocks in a stage, and the projection at the start of the next stage normalises it
# again. [The curves](#fig-signals) and [the table](#tab-signals) show signal and gradient in untrained networks of 24 and 49 blocks, with an eighth of the channels.

# %% tags=["hide-input"] mystnb={"name": "fig-signals", "caption": "Strength of the output of each block, and of the gradient that reaches its first BatchNorm, in untrained networks.", "image": {"alt": "Two line plots over the block's number for four networks: the strength of the output, and of the gradient; neither vanishes nor explodes"}}
torch.manual_seed(0)
images = torch.randn(batch_size, 3, image_size, image_size)
names = ("iresnet50", "iresnet100", "ressanet50", "ressanet100")
models = {TITLES[n]: create_model(n, width=width, image_size=image_size) for n in names}
signals = {name: signal_by_depth(model, images) for name, model in models.items()}
figures.playable.pointed(figures.networks.by_depth(signals))

# %% tags=["hide-input"] mystnb={"name": "tab-signals", "caption": "The networks whose signals were measured: parameters, outputs, and how much the gradients of their blocks differ."}
pd.DataFrame(
    {
        name: {
            "parameters": f"{count_parameters(models[name]):,}",
            "smallest output": f"{min(outputs):.2f}",
            "largest output": f"{max(outputs):.2f}",
            "largest / smallest gradient": f"{max(gradients) / min(gradients):.0f}",
        }
        for name, (outputs, gradients) in signals.items()
    }
).T

# %% tags=["remove-input"]
worst = max(max(gradients) / min(gradients) for _, gradients in signals.values())
text = f"""A block of IResNet holds two 3×3 convolutions; one of ResNet-50 a 3×3 between two 1×1, with a ReLU behind the sum. ResSaNet adds a gate
for each channel (SE), an activation that looks at the neighbours of a pixel (FReLU), and in its last stage attention and an inverted bottleneck (IBT).
A signal does pass through fifty blocks: the gradients of any two blocks of a network differ by a factor of {worst:.0f} at most."""
display(pages.box(text))

# %% [markdown]
# <details><summary><b>Exercise.</b> Why does IBasic begin with a BatchNorm, and not with a convolution?</summary>
#
# The sum $x$ grows from block to block. The BatchNorm gives the branch an input of the same size everywhere, while the shortcut
# stays linear. Behind the sum, the BatchNorm would be part of that path.
#
# </details>
#
# <details><summary><b>Exercise.</b> How many multiply-adds does attention over 7×7 positions and 512 channels take, and over 14×14?</summary>
#
# Products of queries and keys, and of weights and values, take $2 P^2 C$ for $P$ positions and $C$ channels: $2 \cdot 49^2 \cdot
# 512 \approx 2.5$ million, and sixteen times as many for 14×14. So attention is used where the map is smallest.
#
# </details>
