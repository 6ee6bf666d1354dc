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
# # Training
#
# **Question.** Can a network name people whose mouth and nose it cannot see?
#
# This notebook is the main job of the study: one network, one data set, one training run, tested on photos that it has
# never seen, each once with a mask and once without. As it is, it takes some ten minutes on two cores and renders its
# faces; or give it your own:
#
# ```
# papermill notebooks/train.ipynb out.ipynb -p model ressanet50
# papermill notebooks/train.ipynb out.ipynb -p dataset my_photos/ -p width 0.25 -p epochs 20
# ```
#
# The same run without a notebook: `python -m maskfr_utils.train -p model ressanet50`, where `-h` explains each
# parameter. A run that was stopped or killed goes on where it was when it is started again; one that has ended hands out
# its record. How far it is, `train.log` in its folder tells too.

# %% tags=["parameters"]
model = "ressanet50"  # resnet50, iresnet50, iresnet100, ressanet50, ressanet100
dataset = "demo"  # rendered faces, or a folder, tar or HDF5 file of <identity>/<picture>
condition = "both"  # what it trains on: masked, unmasked, both, twins, upper, periocular
twin_weight = 0.0  # with condition twins: how strongly the embeddings of a photo's twins are drawn together
epochs = 8
max_steps = None
batch_size = 16
loss = "arcface"
scale = 16.0  # 64 for thousands of identities; None: as in the loss's paper
margin = 0.3  # radians
margin_warmup_epochs = 3.0
accumulate = 1  # parts that a batch is computed in, where the whole does not fit into the memory
class_rate = 1.0  # share of the identities that a step draws; below 1 for hundreds of thousands of them
lr = 0.05
momentum = 0.9
weight_decay = 5e-4
decay = "weights"  # of convolutions, linear layers and classes; or all
schedule = "cosine"
warmup_epochs = 1.0
width = 1.0  # channels, as a multiple of the paper's
depthwise_fan = "group"
embedding_dim = 512
dropout = 0.0
augment = 0.0
fresh_masks = False
flip_test = False
style = "random"
min_masked = 5
test_fraction = 0.1
validation_fraction = 0.1  # of the others; what is looked at while training
scored_on = "test"
identities = 20
per_identity = 30
difficulty = 0.1  # of the rendered faces, 0 to 1
precision = "auto"
compile = "auto"
recompute = "auto"  # activations computed twice instead of kept, where memory is short
eval_every = 2
workers = 0
seed = 0
data_seed = None  # of split, masked twins and rendered people; None: as seed
out_dir = None  # default: runs/<name of the run>
resume = True
checkpoint_minutes = 3.0  # between checkpoints within an epoch; Ctrl-C, too, leaves one
logger = "none"  # csv, tensorboard: also log each epoch there

# %% [markdown]
# A name that is not a parameter, or a value that cannot work, stops here, before anything heavy is loaded.

# %%
from maskfr_utils.config import TrainConfig

config = TrainConfig.from_notebook(globals())

# %% [markdown]
# ## The faces
#
# Of each person's photos a tenth is for testing (in the study a fifth, of rendered people three tenths), and a photo and its
# masked twin go the same way: no test face is trained on, with or without its mask, and neither is a near-duplicate of
# it.

# %% mystnb={"image": {"alt": "Two rows of rendered faces: test photos, and below each its masked twin"}}
from maskfr_utils import figures, prepare, train
from maskfr_utils.store import TEST, FaceStore

path = prepare.prepare(**config.data(), progress=False)
store = FaceStore(path)
test = store.indices(TEST)
some = test[:: max(1, len(test) // 10)][:10]
figures.faces.face_grid({"test photos": store.batch(some)[0], "their masked twins": store.batch(some, masked=True)[0]})
# %% [markdown]
# ## The run
#
# The loss is ArcFace, with scale $s$ and margin $m$ ([](arcface) has the formula): each embedding is drawn to the direction
# of its own person, closer by $m$ than to any other. The margin grows from 0 over the first epochs.
#
# The optimiser is the report's: SGD with learning rate 0.05, momentum 0.9 and weight decay 5e-4. So it is in the study's
# `demo` runs; its `pocket` runs, which have few epochs, take twice that rate. The rate warms up, then follows a cosine down
# to zero.

# %% mystnb={"image": {"alt": "Two line plots over the epochs: training loss falls; accuracy on training photos and on masked and unmasked test photos rises"}}
record = train.run(config)
*earlier, last = record["history"]
last |= {twin: scores["accuracy"] for twin, scores in record["metrics"].items()}  # the result, told below
figures.results.training_curves([*earlier, last])
# %% [markdown]
# ## The result
#
# The interval is Wilson's {cite}`wilson1927` at 95 %, over test photos.

# %%
from maskfr_utils.study import outcomes, tables

tables.result_table({record["run"]: record}).T

# %% [markdown]
# Where does it go wrong? Each row is a person; what is off the diagonal was named as somebody else.

# %% mystnb={"image": {"alt": "Confusion matrix of the masked test photos, true identity by row and predicted by column; nearly all weight lies on the diagonal"}}
import pandas as pd

predictions = pd.read_csv(config.folder / "predictions.csv")
figures.results.confusion(predictions["label"], predictions["masked"], len(store.identities), "test photos with masks")
# %% [markdown]
# And by kind of mask, each with its interval, which is wide for so few photos:

# %%
from maskfr_utils import metrics
from maskfr_utils.study import tables

by_kind = (predictions["masked"] == predictions["label"]).groupby(predictions["mask"]).agg(["sum", "size"])
accuracy = {
    kind: outcomes.percent(right / photos, *metrics.wilson(right, photos))
    for kind, right, photos in by_kind.itertuples()
}
by_kind.rename(columns={"sum": "named rightly", "size": "photos"}).assign(accuracy=accuracy).rename_axis("kind of mask")

# %% [markdown]
# ## What we learn
#
# Eyes, brows, forehead and hair are enough to tell these people apart far above chance. What the record keeps is all
# that is needed to doubt it: the parameters, the result for each photo, and what made it. `data`, `code` and `faces` (mean
# grey values of some photos) are fingerprints, by which another run knows whether it is about the same.

# %%
print(config.folder / "record.json")
made = record["provenance"] | record["provenance"]["versions"] | {"faces": record["provenance"]["faces"][:3] + ["..."]}
del made["versions"]
pd.Series(made, name="this run").to_frame()
