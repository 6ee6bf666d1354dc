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
# # Recognise
#
# **Question.** Who is behind the mask, or is it nobody whom we know?
#
# **Before you enrol anybody.**
#
# - **Consent.** What is kept of a face is biometric data. Enrol only people who have agreed to it, for a purpose that they know. In many
#   places the law demands this, and forbids much even with consent.
# - **What is stored.** No photo. Of each photo an embedding is kept: 128 to 512 numbers by which its person is found in other photos.
#   With it go the names of the person and of the file, into one folder that only its owner can read. Nothing leaves the machine.
# - **How to delete.** `python -m maskfr_utils.recognise remove GALLERY NAME` writes the files anew without that person; deleting the
#   folder removes everybody. Backups, and the annotated pictures that you made, are yours to delete.
# - **The network that comes with this package is not for real people.** It names few of them, and some wrongly. It has seen rendered people only: it is here so that
#   this page works at once. For photos, name a network that was trained on photos. Even so: no door, no payment and no
#   decision about a person should depend on it (see the [model card](../book/model_card.md)).
#
# With a folder `people/<person>/<photo>`, 1 to 20 photos each, of any size, masked or not:
#
# ```
# python -m maskfr_utils.recognise enrol gallery/ people/ --network runs/my_run
# python -m maskfr_utils.recognise name gallery/ party/ --out named/
# python -m maskfr_utils.recognise verify a.jpg b.jpg --network runs/my_run
# ```
#
# `--network` takes a run of this study, its `model.safetensors`, or the file `backbone.pth` of the library arcface_torch. `-h` lists
# the other commands: `remove`, `embed` (embeddings of a folder, for other programs), `calibrate`, `export` (ONNX). In Python, a network
# is opened by `models.load_model` or `models.load_insightface_weights`, and written by `models.export_onnx`. This page itself runs on
# your photos, too:
#
# ```
# papermill notebooks/recognise.ipynb out.ipynb -p people my_people -p photos my_party -p network runs/my_run -p out named
# ```

# %% tags=["parameters"]
people = "demo"  # rendered people, or a folder, zip or tar of <person>/<photo>
photos = "demo"  # rendered people with masks, or a photo, folder, zip or tar of photos to name
network = ""  # a run's folder, its model.safetensors, or a backbone.pth; empty: the package's, for rendered people only
rate = 0.01  # share of strangers that may be taken for somebody
out = ""  # folder for gallery, annotated pictures and tables; empty: nothing is kept

# %% tags=["remove-input"]
from maskfr_utils.study import parameters

parameters.check(
    globals(),
    people=parameters.text,
    photos=parameters.text,
    network=parameters.text_or_nothing,
    rate=parameters.number(0.0001, 0.5),
    out=parameters.text_or_nothing,
)

# %% tags=["hide-input"]
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython import display
from PIL import Image

from maskfr_utils import masks, recognise
from maskfr_utils.measure import recognition, turned, worn_masks
from maskfr_utils.recognise import demo, results
from maskfr_utils.records import read_measurement
from maskfr_utils.rendered import render_faces
from maskfr_utils.study import pages, state

temporary = tempfile.TemporaryDirectory()
folder = Path(out or temporary.name)
if "demo" in (people, photos):
    demo.write_photos(Path(temporary.name) / "demo")
source = {"people": people, "photos": photos}
for what, name in (("people", "people"), ("photos", "met")):
    if source[what] == "demo":
        source[what] = Path(temporary.name) / "demo" / name

# %% [markdown]
# ## Enrol
#
# In each photo the face is detected, aligned and embedded: $e = f(x) / \lVert f(x) \rVert$, a point on a sphere. [The
# gallery](#tab-enrolled) is the list of these points. Photos without a face or with several are left out, and listed as such. A face
# that is small, blurred or turned is enrolled with a note.

# %% mystnb={"name": "tab-enrolled", "caption": "The gallery: how many photos of each person were enrolled, or what was left out and why."}
kept = folder / ("demo_gallery" if people == "demo" else "gallery")  # people who are in it already stay
gallery = recognise.Gallery.load(kept, network or None) if kept.is_dir() else recognise.Gallery(network or None)
gallery.rate = rate
enrolment = gallery.enrol(source["people"])
if out:
    gallery.save(kept)
told = pd.Series(enrolment.left_out, dtype=str).to_frame("left out because")
print(f"{len(gallery.people)} people, {len(gallery)} photos; {gallery.embedder.title}")
pd.DataFrame({"photos": enrolment.people}).T if told.empty else told

# %% [markdown]
# ## Nobody whom we know
#
# A new face belongs to the person on the most similar photo, if that is similar enough. But how similar is enough? Two photos of
# different people reach a cosine of $t$ in a share $F(t)$ of cases; this is measured on people who are neither trained on nor enrolled.
# A stranger has $n$ chances to be taken for somebody, one for each photo in the gallery. That happens in at most a share $r$ of cases if
#
# $$ n \, F(t) \le r . $$
#
# So the threshold is not chosen by eye, and it rises with the number of enrolled photos ([the threshold](#fig-threshold)). To name one
# person among thousands takes better photos, or a better network.

# %% tags=["hide-input"] mystnb={"name": "fig-threshold", "caption": "Share of pairs of strangers that reach a cosine. Dotted: the threshold of this gallery.", "image": {"alt": "The share of pairs of strangers that reach a cosine falls from one in ten to one in ten thousand as the cosine rises; a line marks the threshold of this gallery"}}
calibration = gallery.calibration
fig, ax = plt.subplots(figsize=(6, 2.8))
ax.semilogy(calibration.cosines, calibration.rates, "o-")
ax.axvline(gallery.threshold, color="grey", linestyle=":")
ax.annotate(f"{len(gallery)} photos, {100 * rate:g}% of strangers ", (gallery.threshold, 0.03), ha="right")
ax.set(xlabel="cosine", ylabel="pairs of strangers that reach it", title=calibration.validation)
plt.close(fig)
fig

# %% [markdown]
# ## Name
#
# [The photos](#fig-named), and [a group](#fig-group). The number is the cosine to the nearest enrolled photo; it is no probability.

# %% tags=["hide-input"] mystnb={"name": "fig-named", "caption": "Photos of rendered people with masks, named by the gallery. Blue: named. Orange: unknown.", "image": {"alt": "Rendered people with masks, a box round each face, and below it a name or the word unknown with the cosine"}}
named, skipped = results.name_photos(gallery, source["photos"], folder / "named")
group = max(named, key=lambda photo: len(photo.matches))  # shown large, below
shown = [photo for photo in named if photo.annotated and photo is not group][:12] or [group] * bool(group.annotated)
rows = max(1, -(-len(shown) // 4))
fig, axes = plt.subplots(rows, 4, figsize=(8, 2.1 * rows), squeeze=False)
for ax in axes.flat:
    ax.axis("off")
for ax, photo in zip(axes.flat, shown, strict=False):
    ax.imshow(Image.open(folder / "named" / photo.annotated))
    ax.set_title(photo.picture[-30:], fontsize=8, parse_math=False)
fig.tight_layout()
plt.close(fig)
fig

# %% tags=["hide-input"] mystnb={"name": "fig-group", "caption": "Several rendered people in one photo, some of them strangers. Blue: named. Orange: unknown.", "image": {"alt": "A photo of several rendered people side by side, all masked: some are named, others unknown, one is not found"}}
display.Image(str(folder / "named" / group.annotated)) if group.annotated else pages.Words(group.problem)

# %% [markdown]
# Faces in a photo are harder than aligned ones. A mask hides what the detector and the landmarks look for. So some faces are missed, and
# others are cut out askew and then resemble nobody. [What was found](#tab-named):

# %% tags=["hide-input"] mystnb={"name": "tab-named", "caption": "What the gallery says of each face: name, cosine, threshold, nearest person."}
table = pd.DataFrame([row for photo in named for row in photo.rows()])
table[["picture", "name", "cosine", "threshold", "nearest", "notes"]].style.hide(axis="index").format(
    precision=2, escape="html"
)

# %% [markdown]
# The same table is in `names.csv` and `names.json`, beside the annotated pictures. The gallery is a folder, too: `gallery.json`, the
# embeddings as safetensors, and the network that made them, without which they mean nothing. Another network is
# refused.

# %%
print(f"kept in {out}/: {kept.name}/, named/" if out else "nothing was kept")

# %% [markdown]
# ## What is said of a face
#
# *Too small*, *blurred*, *turned* and *already masked* are notes, no refusals. Whether a mask is worn is decided by a network of 13,000
# weights that has seen only rendered people, bare and with drawn masks. [How often it finds a mask](#tab-worn) was measured on faces that it
# has not seen; those of `mfr2` wear real masks. The masking program draws no second mask where this network sees one
# (`masks.folder --leave-worn`), and a training run keeps such photos for a test (`worn_masks`).

# %% tags=["hide-input"] mystnb={"name": "tab-worn", "caption": "Faces in which a mask is said to be worn, in percent, with 95% intervals over people."}
worn = read_measurement("masks/worn.json")
command = "python -m maskfr_utils.measure.worn_masks"
pages.shown(worn_masks.table(worn) if worn else pd.DataFrame(), command)

# %% [markdown]
# A photo may lie on its side or stand on its head without saying so in its EXIF data. It is put upright, or left out and counted, as in
# [these photos that were turned](#tab-turned) on purpose. To name somebody, a photo of which cannot be told which way is up is taken as it
# stands.

# %% tags=["hide-input"] mystnb={"name": "tab-turned", "caption": "Photos turned by quarters, of those in which a face was found as they came: put upright, left out, or taken the wrong way up."}
turns = read_measurement("masks/turned.json")
pages.shown(turned.table(turns) if turns else pd.DataFrame(), "python -m maskfr_utils.measure.turned")

# %% [markdown]
# ## How likeness depends on the mask
#
# [The histograms](#fig-likeness) show the cosine of two photos of one person, and of two people, with and without masks. The photos are
# of rendered people whom the network has never seen.

# %% tags=["hide-input"] mystnb={"name": "fig-likeness", "caption": "Cosines of pairs of photos of one person and of two people, without masks, with one, and with two.", "image": {"alt": "Histograms of cosines for pairs of one person and of two people: both bare, one masked, both masked; the two overlap more with masks"}}
faces = render_faces(30, 4, seed=recognition.SEED)
bare = gallery.embedder(faces.images)
masked = gallery.embedder(masks.mask_faces(faces.images, faces.landmarks).images)
one, pair = faces.labels[:, None] == faces.labels, np.triu(np.ones((len(bare),) * 2, bool), 1)
fig, axes = plt.subplots(1, 3, figsize=(8, 2.4), sharex=True)
for ax, (title, a, b) in zip(
    axes,
    (("no mask", bare, bare), ("one masked", bare, masked), ("both masked", masked, masked)),
    strict=True,
):
    cosines = a @ b.T
    for label, which in (("two people", ~one & pair), ("one person", one & pair)):
        ax.hist(cosines[which], np.linspace(-0.5, 1, 61), density=True, alpha=0.6, label=label)
    ax.set(title=title, xlabel="cosine", yticks=[])
axes[0].legend(fontsize=7)
fig.tight_layout()
plt.close(fig)
fig

# %% [markdown]
# ## How good it is
#
# [The first measurement](#tab-recognition) is of the package's network, [the second](#tab-recognition-real) of one that the study trained on
# 105 real people wearing drawn masks; none of them is among the people whom it is tried on.
#
# - *Rank 1*: the nearest person is the right one.
# - *Named*: the nearest person is the right one and near enough.
# - *Misnamed*: an enrolled person gets another's name.
# - *False accepts*: a stranger gets a name. The threshold is to keep this at 1% of the photos that it was set on, bare and masked ones
#   together. On others, and with masks or without, it can be more or less ([the table](#tab-recognition)).
#
# On real photos the package's network names hardly anybody, since it has seen no real person. These are `lfw` ([Huang et al.,
# 2007](#cite-huang2007)) and, with real masks, `mfr2` ([Anwar and Raychowdhury, 2020](#cite-anwar2020)); the threshold there comes from
# other people of `lfw`. [Strangers](strangers.ipynb) searches among all people of `mfr2` and finds another rank 1. A 0.0 or 100.0 without an
# interval is of none or of all: people drawn anew are all alike then. Of $n$ such people, up to some $3/n$ of others may still be different.

# %% tags=["hide-input"] mystnb={"name": "tab-recognition", "caption": "How good the package's network is, in percent of photos, with 95% intervals over people."}
command = "python -m maskfr_utils.measure.recognition"


def measured(record, command):
    """The table of a record of `measure.recognition`, or the command that makes it."""
    if not record:
        return pages.shown(pd.DataFrame(), command)
    table = recognition.table(record).rename_axis(["faces", "mask"])
    return pages.shown(table.rename(columns=lambda name: name.replace("_", " ")), command)


record = read_measurement("recognise/rendered_people.json")
made = pages.made(f"{state.made_from('recognise')}, by `{command}`")
display.display(measured(record, command), made)

# %% tags=["hide-input"] mystnb={"name": "tab-recognition-real", "caption": "The same for IResNet-50 trained on 105 masked people (pocket scale: width 0.25, 8 epochs, seed 0)."}
options = "--network runs/RUN --out book/results/recognise/real_people.json"
measured(read_measurement("recognise/real_people.json"), f"{command} {options}")

# %% [markdown]
# A face is compared with all enrolled photos, none is skipped. [How long](#tab-search) that takes:

# %% tags=["hide-input"] mystnb={"name": "tab-search", "caption": "Seconds to compare one face with so many enrolled photos, by the length of the embeddings."}
seconds = pd.DataFrame(record["search_seconds"] if record else {}).T
pages.shown(seconds.add_suffix(" photos").rename(index="{} numbers".format), command)

# %% tags=["remove-input"]
met = [row for photo in named for row in photo.rows() if row["name"]]  # a photo without a face has no name
unknown = sum(row["name"] == "unknown" for row in met)
few = ""
if people := read_measurement("recognise/real_people.json"):
    shares = recognition.table(people)["named"]
    bare, drawn = (shares["lfw", mask].replace(" (", "% (", 1) for mask in ("no mask", "drawn mask"))
    few = f": this study's, of 105, names {bare} of LFW's bare photos and {drawn} of its masked ones"
text = f"""A face gets the name of the enrolled person whose photo is most like it, if the likeness reaches a threshold that few pairs of
strangers reach, and is "unknown" otherwise. On this page
{len(met) - unknown} of {len(met)} faces got a name and {unknown} did not: strangers, and some who are enrolled but were not near enough.

A mask makes two photos of one person less alike, so at the same threshold fewer people are named. The network that comes with the package is
for rendered people; real ones need a network trained on photos of many people{few}."""
pages.box(text)

# %% [markdown]
# <details><summary><b>Exercise.</b> A gallery grows from 100 to 1,000 photos. What happens to the threshold, and to those whom it names?</summary>
#
# A stranger has ten times as many chances to be taken for somebody. To keep the rate, only a tenth as many pairs of strangers may reach
# the threshold. So it rises, and more of the enrolled people come out as "unknown".
#
# </details>

# %% tags=["remove-input"]
temporary.cleanup()
