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
# # Data
#
# **Question.** What is a network trained and tested on, and can the test be trusted?
#
# The same photo is often on the web several times: recoloured, cropped differently, mirrored, or under a second name. If
# photos are split at random, copies of test photos end up in training, and the accuracy measures memory. This chapter
# follows a data set from its pictures to the one file that training reads. It then checks that no test photo is a copy, as far as copies can be found, of one that was trained on.
#
# It shows rendered faces unless you name a set of your own: a folder or tar of `<identity>/<picture>`. In photos, faces are
# detected and aligned. Pictures of 112 x 112 pixels are taken as aligned already:
#
# ```
# papermill notebooks/data.ipynb out.ipynb -p dataset my_photos/ -p min_masked 80
# ```

# %% tags=["parameters"]
dataset = "demo"  # rendered faces, or a folder, tar or HDF5 file of <identity>/<picture>
min_masked = 5  # identities with fewer masked pictures are left out; the report asks for more than 80
test_fraction = 0.1  # of each identity's pictures
validation_fraction = 0.1  # share of the others, on which choices are made
style = "random"  # of the masks
seed = 0
identities = 24  # rendered people, and
per_identity = 25  # pictures of each; only for "demo"

# %% tags=["remove-input"]
from maskfr_utils.study import parameters

parameters.check(
    globals(),
    dataset=parameters.text,
    min_masked=parameters.number(1, whole=True),
    test_fraction=parameters.number(0.01, 0.9),
    validation_fraction=parameters.number(0, 0.9),
    style=parameters.style,
    seed=parameters.number(0, whole=True),
    identities=parameters.number(2, whole=True),
    per_identity=parameters.number(4, whole=True),
)

# %% tags=["hide-input"]
import time

import h5py
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from IPython.display import display

from maskfr_utils import figures, records, splits
from maskfr_utils.prepare import prepare
from maskfr_utils.store import LEFT_OUT, TEST, TRAIN, VALIDATION, FaceStore
from maskfr_utils.study import pages, state

# %% [markdown]
# ## From pictures to one file
#
# `prepare` does all of it once, and finds the file again the next time. Every picture becomes an aligned face, and every
# face gets its masked twin. Copies and people with few pictures are left out, and the rest is split. What cannot be used (broken
# files, photos without a face) is skipped and counted.

# %%
path = prepare(
    dataset,
    seed=seed,
    style=style,
    min_masked=min_masked,
    test_fraction=test_fraction,
    validation_fraction=validation_fraction,
    identities=identities,
    per_identity=per_identity,
    difficulty=0.5,
)
store = FaceStore(path)
is_rendered = store.attrs.get("dataset") == "demo"  # an HDF5 file tells what it was made of
least = int(store.attrs.get("min_masked", min_masked))

# %% [markdown]
# ## A preview
#
# [The preview](#fig-preview) shows a few people, and below each photo its masked *twin*. Twins differ only in the mask, so
# the accuracies on masked and unmasked faces can be compared photo by photo.

# %% tags=["hide-input"] mystnb={"name": "fig-preview", "caption": "The report's Figure 8, on rendered faces: photos of four people, and below each row the same photos with masks.", "image": {"alt": "Grid of rendered people's pictures, each row of bare faces above a row of the same pictures with masks"}}
rows = {}
for label, name in enumerate(store.identities[:4]):
    pictures = np.flatnonzero((store.labels == label) & (store.split != LEFT_OUT))[:10]
    rows[name] = store.batch(pictures)[0]
    rows[f"{name}, masked"] = store.batch(pictures, masked=True)[0]
figures.faces.face_grid(rows)
# %% [markdown]
# ## Cleaning: one photo, once
#
# Two aligned pictures are taken for one photo if the correlation of their grey 32 x 32 thumbnails $a$ and $b$,
#
# $$r = \frac{\sum_i (a_i - \bar a)(b_i - \bar b)}{\lVert a - \bar a \rVert \, \lVert b - \bar b \rVert},$$
#
# is above 0.94, as they are or mirrored. $r$ does not depend on brightness or contrast. The thumbnail shows only the middle of
# the face, since copies differ in their margins. How well this works was measured on real photos, the set `pins`
# ([data card](../book/data_card.md)), of which many copies are known:

# %% tags=["remove-input"]
pins = records.read_measurement("sources/pins.json")
cleaning = pins["cleaning"]
middle, whole = cleaning["middle"], cleaning["whole"]
known, clean = cleaning["known"], cleaning["pictures"]
text = f"""Of {pins["aligned"]:,} detected faces {known:,} ({known / pins["aligned"]:.1%}) repeat another by the list that came with our copy of
the set, and the study leaves these out by name. The middle of the face finds {middle["found"] / known:.0%} of them; the whole picture, above
{whole["threshold"]}, {whole["found"] / known:.0%}. {pins["aligned"] - known - clean} more show one photograph under two names and are left out, too. The threshold was set on these copies, so on other photos it may find fewer.
The middle also marks {middle["others"]} of the other {clean:,} ({middle["others"] / clean:.1%}) as copies: either copies that
were not known, or different photos that are much alike. The study leaves them all out."""
made = f"{state.made_from('data')}, by `python -m maskfr_utils.measure.near_copies`"
display(pages.Words(text), pages.made(made))

# %% [markdown]
# [The disguises](#fig-disguises) show how $r$ sees one rendered photo that was changed in several ways:

# %% tags=["hide-input"] mystnb={"name": "fig-disguises", "caption": "One rendered photo in five disguises, and another photo. r: the correlation with the photo as it is.", "image": {"alt": "One rendered photo mirrored, darker, tinted, coarse and cropped, each with its correlation to the first, and another photo with a low one"}}
kept = np.flatnonzero(store.split != LEFT_OUT)
photo, another = store.batch(kept[:2])[0]
disguises = {
    "mirrored": photo[:, ::-1],
    "darker": photo // 2,
    "tinted": (photo * [1.0, 0.8, 0.6]).astype(np.uint8),
    "coarse": photo[::3, ::3].repeat(3, 0).repeat(3, 1)[:112, :112],
    "cropped": np.pad(photo[10:-10, 10:-10], ((10, 10), (10, 10), (0, 0))),
    "another photo": another,
}
likeness = splits.likeness(photo[None], np.stack(list(disguises.values())))[0]
fig, axes = plt.subplots(1, len(disguises) + 1, figsize=(9, 1.7))
titles = ["photo", *(f"{name}\nr = {r:.2f}" for name, r in zip(disguises, likeness, strict=True))]
for ax, picture, title in zip(axes, [photo, *disguises.values()], titles, strict=True):
    ax.imshow(picture)
    ax.set_title(title, fontsize=8)
    ax.axis("off")
fig.tight_layout()

# %% [markdown]
# Of each group of copies, the first by name is kept. A picture that occurs under two names is left out under both, since nobody knows whose it
# is. In sets of up to 100,000 pictures, changed copies under two names are looked for, too. Pictures of one person that are much alike but perhaps not copies
# (from 0.92 on) are kept, all in one part of the split. Rendered pictures are drawn one by one. However alike two of
# them are, they are not copies, so none are looked for. Of photos of your own, the copies that were found would be shown here, each
# below the photo that it repeats:

# %% tags=["hide-input"] mystnb={"image": {"alt": "Two rows of faces: pictures that were kept, and below each the copy that was left out"}}
copies = np.flatnonzero(store.duplicate_of >= 0)[:10]
pairs = {"kept": store.batch(store.duplicate_of[copies])[0], "left out": store.batch(copies)[0]}
figures.faces.face_grid(pairs) if len(copies) else pages.Words("*No copies.*")

# %% [markdown]
# ## The filter: identities with enough pictures
#
# The report keeps identities with more than 80 masked pictures, which left about 1,000 people. How many should be asked for?
# [The curves](#fig-filter) show, for `pins` or for your own set, how many people and how many pictures remain if each person must have
# at least a certain number of pictures.

# %% tags=["hide-input"] mystnb={"name": "fig-filter", "caption": "Shares of people and of pictures that remain, by the number of pictures that each person must have. Dotted: the number asked for (of pins 80, as in the report).", "image": {"alt": "Step plot of the shares of identities and of pictures that remain, falling with the number of pictures asked for"}}
people = pd.Series([name.split("/")[0] for name in store.sources])
own = people[store.masked_ok & (store.duplicate_of < 0)].value_counts().to_numpy()
counts, line = (np.array(cleaning["pictures_per_identity"]), 80) if is_rendered else (own, min(least, own.max()))
asked = np.arange(1, counts.max() + 1)
identities_left = np.array([(counts >= n).mean() for n in asked])
pictures_left = np.array([counts[counts >= n].sum() for n in asked]) / counts.sum()
fig, ax = plt.subplots(figsize=(6, 2.8))
ax.step(asked, identities_left, where="mid", label=f"identities (of {len(counts):,})")
ax.step(asked, pictures_left, "--", where="mid", label=f"pictures (of {counts.sum():,})")
ax.axvline(line, color="k", lw=0.8, ls=":")
ax.set(xlabel="pictures asked for", ylabel="share that remains", ylim=(0, 1.05))
figures.style.legend_outside(ax)
sns.despine(fig)
figures.playable.pointed(fig)

# %% tags=["remove-input"]
higher = min(2 * line, counts.max())
share = (
    0.2 if is_rendered else store.attrs.get("test_fraction", test_fraction)
)  # of the study's real photos, which are shown then
shares = [
    f"{identities_left[n - 1]:.0%} of the people and {pictures_left[n - 1]:.0%} of the pictures" for n in (line, higher)
]
text = f"""If {line} pictures are asked for, {shares[0]} remain; if {higher} are, {shares[1]}. Each step up
costs people and pictures, so ask for no more than the test needs: of {line} photos {max(1, round(line * share))} a person are tested on."""
display(pages.Words(text))

# %% [markdown]
# ## The split
#
# [There are three parts](#tab-split). Each identity gives the same share of its pictures, at least one, to the **test**: a tenth on this
# page, a fifth of the study's real photos, three tenths of its rendered ones. A tenth of the
# rest is for **validation**. Every choice, such as the learning rate, is made on validation photos, so that the test is looked at only
# once. The others are for **training**. Which picture goes where is drawn from its name and the seed, so it does not depend
# on the order of the files. Twins always go to the same part. Mirrored copies are not stored: pictures are mirrored while training,
# so no mirror image of a test photo can be trained on.

# %% tags=["hide-input"] mystnb={"name": "tab-split", "caption": "The parts of the split, in pictures and people."}
sides = {"training": TRAIN, "validation": VALIDATION, "test": TEST, "left out": LEFT_OUT}
pd.DataFrame(
    {
        "pictures": {side: int((store.split == code).sum()) for side, code in sides.items()},
        "identities": {side: len(set(store.labels[store.split == code]) - {-1}) for side, code in sides.items()},
        "with a mask": {side: int(store.masked_ok[store.split == code].sum()) for side, code in sides.items()},
    }
)

# %% [markdown]
# Is any test photo repeated in training? [The histogram](#fig-leaks) shows, for every test photo, how much it resembles the most
# similar training photo of the same person. Real photos must all lie below the line: with them as its data set, this page ends in an error where
# one does not. Rendered pictures may lie above it: each was drawn by itself, so none is a copy.

# %% tags=["hide-input"] mystnb={"name": "fig-leaks", "caption": "Likeness of each test photo to the nearest training photo of the same person. Dotted: where photos count as copies.", "image": {"alt": "Histogram of each test photo's likeness to the nearest training photo, with the line from which photos count as copies"}}
nearest = []
for label in range(len(store.identities)):
    test, train = (np.flatnonzero((store.labels == label) & (store.split == side)) for side in (TEST, TRAIN))
    nearest.extend(splits.likeness(store.batch(test)[0], store.batch(train)[0]).max(axis=1))
fig, ax = plt.subplots(figsize=(6, 2.4))
ax.hist(nearest, bins=np.linspace(0, 1, 51))
ax.axvline(splits.CORRELATION, color="k", lw=0.8, ls=":")
ax.set(xlabel="likeness of the nearest training photo", ylabel="test photos")
sns.despine(fig)
assert is_rendered or max(nearest) <= splits.CORRELATION

# %% [markdown]
# ## The file
#
# The result is one file in the common format HDF5. [The table](#tab-file) lists its arrays. Pictures are stored uncompressed, each as a
# chunk of its own, because training reads them in random order:

# %% tags=["hide-input"] mystnb={"name": "tab-file", "caption": "The contents of the HDF5 file: of each array its shape, type and the part that is read at once."}
with h5py.File(path) as file:
    layout = {name: (data.shape, str(data.dtype), data.chunks) for name, data in file.items()}
pd.DataFrame.from_dict(layout, orient="index", columns=["shape", "type", "chunk"])

# %%
batch = np.random.default_rng(seed).choice(kept, 128)
start = time.perf_counter()
images, labels = store.batch(batch, masked=np.arange(128) % 2 == 0)
print(f"128 random faces, every other one masked: {(time.perf_counter() - start) * 1e3:.1f} ms, {images.shape}")

# %% tags=["remove-input"]
share = known / pins["aligned"]
text = f"""A network is tested on other photos of the people whom it was trained on, so no test photo may be a copy of a training photo. Among the
real photos {share:.1%} repeat another, and a random split puts some of these on both sides. Copies that are found are taken out before the split, and
pairs in doubt stay in one part; copies that differ more may remain. Each photo has a masked twin, so what one network loses from one twin to the other
is due to the mask."""
display(pages.box(text))

# %% [markdown]
# <details><summary><b>Exercise.</b> Why are mirrored copies made while training, and not stored in the file?</summary>
#
# A stored mirror image is one more picture, which a random split can put on the other side. Made while training, from training
# photos only, it cannot be the mirror image of a test photo. And it takes no space.
#
# </details>
#
# <details><summary><b>Exercise.</b> Why is a picture that occurs under two names left out under both?</summary>
#
# One of the names is wrong, and nobody knows which. Under either, it may be a wrong label that training learns or that the test
# counts as a mistake. If one copy went to training and the other to the test, a network that learns it would be marked wrong.
#
# </details>
