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
# This notebook is the main job of the study. It trains one network on one data set, and tests it on photos that it has never seen,
# each once with a mask and once without. As it stands it renders twenty people and names their faces. That
# takes some ten minutes on two cores; on a processor without bf16 (a 16-bit number format) it takes over half an hour. This page of the book was made at a quarter of the
# channels (`-p width 0.25`). The second line below trains on photos of yours:
#
# ```
# papermill notebooks/train.ipynb out.ipynb -p model ressanet50
# papermill notebooks/train.ipynb out.ipynb -p dataset my_photos -p width 0.25 -p epochs 20 -p worn_masks true
# ```
#
# Your photos are a folder, zip or tar of `<person>/<photo>`, of any size: at least two people, and at least five photos of each
# (`min_masked` sets this number). With only some tens of photos a person, start from a network that knows faces already:
# `-p weights runs/earlier -p head_epochs 5`.
#
# The same run without a notebook is `python -m maskfr_utils.train -p model ressanet50`; with `-h` it explains each parameter. A run
# that was stopped or killed goes on where it was when it is started again. One that has ended gives back its record. `train.log` in
# its folder tells how far it is.

# %% tags=["parameters"]
model = "ressanet50"  # resnet50, iresnet50, iresnet100, ressanet50, ressanet100
dataset = "demo"  # rendered faces, or a folder, tar or HDF5 file of <identity>/<picture>
condition = "both"  # what it trains on: masked, unmasked, both, twins, upper, periocular
twin_weight = 0.0  # with condition twins: how strongly the embeddings of a photo's twins are drawn together
epochs = 8
max_steps = None
batch_size = 16
loss = "arcface"
scale = 16.0  # the loss's s: 64 for thousands of identities; None: as in its paper
margin = 0.3  # radians
margin_warmup_epochs = 3.0
accumulate = 1  # parts that a batch is computed in, where the whole does not fit into the memory
class_rate = 1.0  # share of the identities that a step draws; below 1 for hundreds of thousands of them
sync_batchnorm = False  # BatchNorm over all processes of a run instead of over each one's share
lr = 0.0125
momentum = 0.9
weight_decay = 5e-4
decay = "weights"  # of convolutions, linear layers and classes; or all
schedule = "cosine"
warmup_epochs = 1.0
width = 1.0  # channels, as a multiple of the paper's
depthwise_fan = "group"
embedding_dim = 512
dropout = 0.0
weights = None  # a trained network to start from: a run's folder or file, or arcface_torch's backbone.pth
head_epochs = 0  # at first the network rests, and only the classes are trained
augment = 0.0
fresh_masks = False
flip_test = False
style = "random"
min_masked = 5
test_fraction = 0.1
validation_fraction = 0.1  # of the others; what is looked at while training
keep_copies = False  # near-duplicates of a person's photos stay, in one part
worn_masks = False  # photos in which a mask is worn already get no second one, and are a test on real masks
scored_on = "test"
identities = 20
per_identity = 30
difficulty = 0.1  # of the rendered faces, 0 to 1
precision = "auto"
device = "auto"  # cpu, cuda
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
# A name that is not a parameter, or a value that cannot work, stops the notebook here, before anything heavy is loaded.

# %%
from maskfr_utils.config import TrainConfig

config = TrainConfig.from_notebook(globals())

# %% [markdown]
# ## The faces
#
# A tenth of each person's photos is for testing (in the study a fifth, of rendered people three tenths). A photo and its masked twin
# always go the same way. So no test face is trained on, with or without its mask, and neither is a near-copy of it that was found. (If all
# photos of a person are alike, they are split all the same.)
# [These](#fig-test-faces) are some of the test photos.

# %% tags=["hide-input"] mystnb={"name": "fig-test-faces", "caption": "Some test photos, and below each its masked twin.", "image": {"alt": "Two rows of rendered faces: test photos, and below each its masked twin"}}
from IPython.display import display

from maskfr_utils import figures, left_out, prepare, train
from maskfr_utils.store import TEST, VALIDATION, FaceStore
from maskfr_utils.study import pages

path = prepare.prepare(**config.data(), progress=False)
store = FaceStore(path)
test = store.indices(TEST)
some = test[:: max(1, len(test) // 10)][:10]
figures.faces.face_grid({"test photos": store.batch(some)[0], "their masked twins": store.batch(some, masked=True)[0]})
# %% [markdown]
# Some photos may be left out. Which and why, and what they look like where a face was found, stands below.
# Near-copies are left out, since a copy of a test photo in training would make the result look better than it is. `keep_copies` keeps
# them, all in one part of the split. With `worn_masks`, photos in which a mask is worn already get no second one: they become a test
# on real masks.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Faces that were left out, a row a reason"}}
gone, faces = left_out.table(store), left_out.faces(store)
display(pages.Words("*Nothing was left out.*") if gone.empty else gone)
figures.faces.face_grid(faces) if faces else None

# %% [markdown]
# ## The run
#
# The loss is ArcFace unless `loss` says otherwise, with a factor $s$ and a margin $m$ ([ArcFace](arcface.ipynb) has the formula): each
# embedding is drawn to the direction of its own person, closer by $m$ than to any other. The margin grows from 0 over the first epochs.
# [The curves](#fig-run) show the run.
#
# The optimiser is the report's: SGD with momentum 0.9 and weight decay 5e-4. Its learning rate of 0.05 is for 512 photos a step; the default
# here is for 16. In the study's own runs each network has the learning rate that suits it ([Tuning](tuning.ipynb)). The rate warms up, then
# follows a cosine down to zero.

# %% mystnb={"name": "fig-run", "caption": "Left: the training loss by epoch. Right: accuracy on training photos, and on validation photos with masks and without; the last points are those of the test.", "image": {"alt": "Two line plots over the epochs: training loss falls; accuracy on training photos and on masked and unmasked test photos rises"}}
record = train.run(config)
*earlier, last = record["history"]
last |= {twin: scores["accuracy"] for twin, scores in record["metrics"].items()}  # the result, told below
figures.playable.pointed(figures.results.training_curves([*earlier, last]))
# %% [markdown]
# ## The result
#
# The interval is Wilson's ([Wilson, 1927](#cite-wilson1927)) at 95%, over test photos. It takes them as independent. But photos of one person are
# alike, and another seed would give another network, so the true interval is wider.

# %% tags=["hide-input"] mystnb={"name": "tab-run", "caption": "The result of this run on its test photos, and how it was made."}
from maskfr_utils.study import outcomes, tables

tables.result_table({record["run"]: record}).T

# %% [markdown]
# Where does it go wrong? In [the matrix](#fig-confusion) each row is a person. What lies off the diagonal was named as somebody else;
# [these pictures](#fig-mistakes) show some of it.

# %% tags=["hide-input"] mystnb={"name": "fig-confusion", "caption": "Who is taken for whom: test photos with masks, the true person by row, the named one by column.", "image": {"alt": "Confusion matrix of the masked test photos, true identity by row and predicted by column; nearly all weight lies on the diagonal"}}
import pandas as pd

predictions = pd.read_csv(config.folder / "predictions.csv")
figures.results.confusion(predictions["label"], predictions["masked"], len(store.identities), "test photos with masks")

# %% tags=["hide-input"] mystnb={"name": "fig-mistakes", "caption": "Masked photos that were taken for somebody else, and below each a photo of that person.", "image": {"alt": "Two rows of faces: masked photos that were named wrongly, and below each the person who was named"}}
scored = store.indices(TEST if config.scored_on == "test" else VALIDATION)
wrong = figures.faces.mistakes(store, scored, predictions["masked"].to_numpy())
wrong or pages.Words("*None was taken for somebody else.*")
# %% [markdown]
# [By kind of mask](#tab-by-mask), each with its interval, which is wide for so few photos:

# %% tags=["hide-input"] mystnb={"name": "tab-by-mask", "caption": "Accuracy on masked test photos by the kind of mask, with 95% intervals."}
from maskfr_utils import metrics

by_kind = (predictions["masked"] == predictions["label"]).groupby(predictions["mask"]).agg(["sum", "size"])
accuracy = {
    kind: outcomes.percent(right / photos, *metrics.wilson(right, photos))
    for kind, right, photos in by_kind.itertuples()
}
by_kind.rename(columns={"sum": "named correctly", "size": "photos"}).assign(accuracy=accuracy).rename_axis(
    index=None, columns="kind of mask"
)

# %% [markdown]
# ## The record
#
# A run leaves a record with all that is needed to check it: the parameters, the result for each photo, and [what made
# it](#tab-record). `data` is a fingerprint, by which another run knows whether it is about the same faces.

# %% tags=["remove-input"]
enrol = f"python -m maskfr_utils.recognise enrol gallery/ people/ --network {config.folder}"
pages.Words(
    f"It lies at `{config.folder / 'record.json'}`. With the network of this run, `{enrol}` names people in photos."
)

# %% tags=["hide-input"] mystnb={"name": "tab-record", "caption": "What the record says about how this run was made."}
made = record["provenance"] | record["provenance"]["versions"]
for name in ("versions", "fingerprint", "faces"):  # long lists, for programs
    made.pop(name, None)
pd.Series(made, name="this run").to_frame()

# %% [markdown]
# ## A head start
#
# A run need not begin with random weights: `weights` names a network that knows faces already. With `head_epochs` only the classes are
# trained at first, since their own random weights would spoil it. How much this brings with twenty photos a person is [measured](#tab-head-start)
# on rendered people whom that network, the small one of the package, has never seen. Where every way of using the given weights names
# all photos, the table shows what the weights bring, and not whether to train the classes first.

# %% tags=["hide-input"] mystnb={"name": "tab-head-start", "caption": "20 rendered people with 20 photos each, 8 epochs: test photos named correctly, in percent; the mean over three seeds, and in brackets the lowest and highest."}
from maskfr_utils.measure import head_start
from maskfr_utils.records import read_measurement
from maskfr_utils.study import state

start = read_measurement("recognise/head_start.json")
shown = pages.shown(head_start.table(start) if start else pd.DataFrame(), "python -m maskfr_utils.measure.head_start")
display(shown, pages.made(state.made_from("train")))

# %% tags=["remove-input"]
masked, unmasked = (record["metrics"][twin]["accuracy"] for twin in ("masked", "unmasked"))
agree = int((predictions["masked"] == predictions["unmasked"]).sum())
answer = (
    "Yes, most of them"
    if masked > 0.5
    else "Yes, better than by chance"
    if masked > 2 / len(store.identities)
    else "This one cannot"
)
text = f"""{answer}. This network names {masked:.1%} of the masked test photos correctly, and {unmasked:.1%} of the same photos without
a mask; a guess among {len(store.identities)} people would be right in {1 / len(store.identities):.0%}.

Of the {len(predictions)} photos, {agree} are given the same name with the mask and without. These are few photos and one run: what a mask
costs is measured in [Masked and unmasked](masked_vs_unmasked.ipynb)."""
pages.box(text)

# %% [markdown]
# <details><summary><b>Exercise.</b> Why may the accuracy on training photos be lower than on validation photos?</summary>
#
# Training counts its hits while the network still changes, with dropout and augmentation where these are on, and on both twins if the
# condition is <code>both</code>. Validation photos are looked at after the epoch, as they are.
#
# </details>
#
# <details><summary><b>Exercise.</b> Train with <code>-p condition unmasked</code>. Which of the two accuracies falls?</summary>
#
# The masked one: the network has seen no mask, and uses mouth and nose. [Masked and unmasked](masked_vs_unmasked.ipynb) measures it.
#
# </details>
