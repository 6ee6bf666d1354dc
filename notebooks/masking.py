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
# # Masking
#
# **Question.** How does a face get a mask that was never there, and would a network take it for a real one?
#
# There are millions of photos of bare faces and few of masked ones, so masks are drawn. The report did so with MaskTheFace, a public
# tool ([Anwar and Raychowdhury, 2020](#cite-anwar2020)), which found only some of the faces and drew flat masks with jagged edges. Here
# a mask is a surface on a head in three dimensions. It turns as the head turns, disappears where the head hides it, is lit by the light
# on the face, and is as sharp and as grainy as the photo.
#
# Your own pictures (a folder, a tar or one photo) are masked by
#
# ```
# papermill notebooks/masking.ipynb out.ipynb -p source my_photos -p out masked/
# ```

# %% tags=["parameters"]
source = "demo"  # rendered faces, or a folder, tar or photo of yours, whose masked pictures go to `out`
out = ""  # folder to write into; only for a source of your own
style = "random"  # a style's name, a style file, or a mapping of these to their shares
seed = 0
faces = 80  # rendered faces to show and to measure

# %% tags=["remove-input"]
from maskfr_utils.study import parameters

parameters.check(
    globals(),
    source=parameters.text,
    out=parameters.text_or_nothing,
    style=parameters.style,
    seed=parameters.number(0, whole=True),
    faces=parameters.number(30, 10_000, whole=True),
)

# %% tags=["hide-input"]
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from IPython.display import display
from skimage.data import astronaut

from maskfr_utils import figures, masks, records
from maskfr_utils.faces import align
from maskfr_utils.masks.folder import mask_folder
from maskfr_utils.measure import mask_success, outline
from maskfr_utils.rendered import render_faces
from maskfr_utils.study import pages, state

# %% [markdown]
# ## Masked faces
#
# [The sheet](#fig-masked) shows what a network is trained on. Which mask a face gets depends only on the seed and the picture
# itself: the same photo gets the same mask in any batch, order or process.

# %% mystnb={"name": "fig-masked", "caption": "The report's Figure 1, on rendered faces: thirty of them with masks drawn by chance.", "image": {"alt": "Sheet of thirty rendered faces with masks of many kinds, colours and patterns"}}
people = render_faces(faces // 2, 2, seed=seed)
masked = masks.mask_faces(people.images, people.landmarks, style=style, seed=seed)
figures.faces.sheet(masked.images[:30])

# %% [markdown]
# ## From landmarks to a mask
#
# *Landmarks* are 68 named points of a face: eyes, brows, nose, mouth and the contour of the jaw. [Five steps](#fig-geometry) lead from
# them to a mask, here on a turned face:
#
# 1. **Camera.** The landmarks $x_i$ of the photo and those of a mean head, $X_i$, give a camera by least squares:
#    $x_i \approx A X_i + t$. Its perspective is *weak*: all of the head is taken to be equally far away, so that near parts look no larger.
#    The jaw counts little, since the landmarks of a turned face slide along its contour.
# 2. **Net.** A mask is a net of points on the mean head. What the camera does not explain, $x_i - A X_i - t$ (this jaw,
#    this nose, this expression), is interpolated between the landmarks with a Gaussian kernel. Both steps are linear in the
#    landmarks, so the whole net is one constant matrix times the 68 points.
# 3. **What is seen.** Where a row of the net turns back, the rest of it lies behind the head and is hidden. What is left gives the
#    outline and, for each pixel, the place $(u, v)$ on the cloth.
# 4. **Light.** The brightness of the skin at some forty places is fitted by $b_0 + b \cdot n$, where $n$ is the direction in which the
#    surface faces. The same $b$ lights the cloth with its pleats, seams and folds. Exposure and colour cast come from skin and picture.
# 5. **Blend.** The mask is blurred as much as the photo, and gets the photo's grain, a smooth edge and a soft
#    shadow on the skin. Eyes stay free. No pixel outside the *coverage*, the area of the mask, changes.

# %% tags=["hide-input"] mystnb={"name": "fig-geometry", "caption": "How a mask comes onto one turned face: landmarks and axes, the net, what the camera sees of it, its light, the finished mask, its coverage.", "image": {"alt": "One turned face six times: landmarks and axes, the mask's net on the head, what the camera sees of it, its light, the finished mask, its coverage"}}
turned = int(np.argmax(np.abs(people.landmarks[:, 30, 0] - people.landmarks[:, [0, 16], 0].mean(1))))
figures.masks.geometry(people.images[turned], people.landmarks[turned], seed=seed)

# %% [markdown]
# ## Kinds, colours, patterns, ways to wear
#
# A *style* is a few lines of YAML: a kind of mask with its colours, patterns and ways to wear it, each with a weight. A file of your own
# adds a style without code, and `style={"surgical": 0.5, "mine.yaml": 0.5}` mixes two. `texture: logo.png` lays a picture over
# the cloth; colours are CSS names or `#rrggbb`. The seed decides how high and how straight a mask sits, and where its cloth creases.
# [Kinds and colours](#fig-kinds), and [patterns and ways to wear them](#fig-patterns), on a real photograph:

# %% tags=["hide-input"] mystnb={"name": "fig-kinds", "caption": "Every kind of mask in its colours, on NASA's portrait of the astronaut Eileen Collins.", "image": {"alt": "The astronaut's portrait with each kind of mask in its colours, a row a kind: surgical, N95, KN95, cloth, bandana, respirator, inpaint"}}
photo = np.ascontiguousarray(astronaut()[:240, 100:340])
points = align.landmarks68(photo, align.detect(photo)[0])
portrait, its_points = np.ascontiguousarray(photo[45:185, 57:197]), points - np.array([57, 45])
figures.masks.kinds_by_colour(portrait, its_points)

# %% tags=["hide-input"] mystnb={"name": "fig-patterns", "caption": "Above: patterns of cloth masks. Below: ways to wear a surgical mask, one at half intensity, and a mask with a valve.", "image": {"alt": "The astronaut's portrait with seven patterns of cloth; below with surgical masks worn normally, below the nose, tight and loose, with one at half intensity, and with a valve"}}
figures.masks.patterns_and_wears(portrait, its_points)

# %% [markdown]
# ## Hard cases
#
# Masks are drawn at the photo's own resolution. Grey pictures get grey masks, blurred ones blurred masks. A photo
# that was a JPEG file shows at which quality it was saved: the coefficients of its 8 x 8 blocks are multiples of a step. The
# mask is rounded to the same steps, and nothing beside it changes ([hard cases](#fig-hard)).

# %% tags=["hide-input"] mystnb={"name": "fig-hard", "caption": "A surgical mask on pictures that are hard to mask.", "image": {"alt": "The astronaut's portrait with a mask in hard cases: few pixels, many pixels, lit from the side, dark, grey, blurred, head down, cut off"}}
grey = np.repeat(photo.mean(2, keepdims=True).astype(np.uint8), 3, 2)
large = cv2.resize(photo, None, fx=6, fy=6, interpolation=cv2.INTER_CUBIC)
coarse = cv2.imdecode(cv2.imencode(".jpg", photo[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 30])[1], cv2.IMREAD_COLOR)
coarse = np.ascontiguousarray(coarse[..., ::-1])
height, width = photo.shape[:2]
small = 64 / np.ptp(points[:, 0])  # the jaw's width
side = np.linspace(1.2, 0.25, width)[None, :, None]
figures.masks.cases(
    {
        "photo": (photo, points),
        "64 pixels of face": (
            cv2.resize(photo, None, fx=small, fy=small, interpolation=cv2.INTER_AREA),
            (points + 0.5) * small - 0.5,
        ),
        "six times larger": (large, points * 6 + 2.5),
        "lit from the left": (np.clip(photo * side, 0, 255).astype(np.uint8), points),
        "dark": ((photo * 0.35).astype(np.uint8), points),
        "grey": (grey, points),
        "blurred": (cv2.GaussianBlur(photo, (0, 0), 2.5), points),
        "head down": (np.ascontiguousarray(photo[::-1, ::-1]), np.array([width - 1, height - 1]) - points),
        "coarse JPEG": (coarse, points),
        "cut off": (np.ascontiguousarray(photo[:, 110:]), points - np.array([110, 0])),
    },
    style=masks.Style("surgical", colours={"#a8cfe9": 1}),
)

# %% [markdown]
# ## Success and speed
#
# A mask is refused where the landmarks are not those of a face. That is so if the camera's error is large, the face is mirrored, or
# hardly any of the mask lies inside the picture. `ok` says so, and the picture is left as it was. [On the rendered faces](#tab-success-rendered) of
# this page, with [what they cover](#fig-coverage):

# %% tags=["hide-input"] mystnb={"name": "tab-success-rendered", "caption": "Masks on the rendered faces of this page: how many got one, and whether it covers nose tip and mouth."}
nose, mouth = (people.landmarks[:, i].round().astype(int).clip(0, 111) for i in (30, 66))
rows, each = {}, np.arange(len(people.images))
for how, given in {"landmarks given": people.landmarks, "landmarks predicted": None}.items():
    done = masks.mask_faces(people.images, given, style=style, seed=seed)
    rows[how] = {"faces": len(done.ok), "masked": done.ok.mean()}
    for place, (x, y) in {"nose tip covered": nose.T, "mouth covered": mouth.T}.items():
        rows[how][place] = (done.alpha[each, y, x] > 127).mean()
pd.DataFrame.from_dict(rows, orient="index").style.format(
    "{:.1%}", subset=["masked", "nose tip covered", "mouth covered"]
)

# %% tags=["hide-input"] mystnb={"name": "fig-coverage", "caption": "Left: how often each pixel is under a mask. Right: the share of the picture that each kind of mask covers.", "image": {"alt": "Map of how often each pixel is under a mask, and box plots of the covered share for each kind of mask"}}
figures.masks.coverage(masked)

# %% [markdown]
# [On real photos](#tab-success-real), crops of the sets `pins` and `glint24` ([data card](../book/data_card.md)), the landmarks are predicted from the aligned crop alone, and checked against landmarks from the
# whole photo, where these are known. Where a pupil is covered, the two disagree.

# %% tags=["hide-input"] mystnb={"name": "tab-success-real", "caption": "Masks on aligned crops of real photos: how many got one, and what it covers."}
record = {
    "success": records.read_measurement("masks/success.json"),
    "speed": records.read_measurement("masks/speed.json"),
    "realism": records.read_measurement("masks/realism.json"),
    "peer": records.read_measurement("masks/peer.json"),
    "rendered": records.read_measurement("masks/rendered.json"),
}
aligned = pd.DataFrame(record["success"]["aligned"]).T
table = aligned[["faces"]].assign(masked=aligned["masked"] / aligned["faces"])
for column, name in {"nose": "nose tip covered", "mouth": "mouth covered", "eyes": "a pupil covered"}.items():
    table[name] = aligned[column] / aligned["checked"]
display(table.style.format("{:.1%}", subset=list(table)[1:]).format("{:,}", subset=["faces"]))

# %% tags=["remove-input"]
speed = record["speed"]
given, predicted = (1e3 / speed["one_core"][f"landmarks_{how}"] for how in ("given", "predicted"))
text = f"A mask takes {given:.1f} ms where the landmarks are given, and {predicted:.1f} ms where they are predicted as well"
how = "`python -m maskfr_utils.measure.mask_success success` measures the tables again, `speed` the speed"
made = f"One core of {speed['processor']}. {how}. The numbers of this page are {state.made_from('masking')}."
display(pages.Words(f"{text}."), pages.made(made))

# %% [markdown]
# In [whole photos](#tab-photos) a face has to be found first. The detector knows frontal faces. It finds nearly every bare
# face, and nothing in photos without a face. Where people wear a real mask already, it finds far fewer. Where
# there are more masks than photos, several people are on one, in a group or in the background.

# %% tags=["hide-input"] mystnb={"name": "tab-photos", "caption": "Whole photos: how many faces were found and masked, by set of photos."}
photos = pd.DataFrame(record["success"]["photos"]).T.rename(index=lambda name: name.replace("_", " "))
names = {
    "photos": "photos",
    "broken": "unreadable",
    "with_face": "a face found",
    "turned": "only when turned",
    "masks": "masks",
}
order = sorted(photos.index, key=lambda name: ("real masks" in name, -photos.loc[name, "photos"]))
worn = photos[["real masks" in name for name in photos.index]].sum()
text = f"Where people wear a real mask already, a face is found on {worn['with_face']} of {worn['photos']} photos."
display(photos.loc[order, list(names)].rename(columns=names), pages.Words(text))

# %% [markdown]
# ## Beside real masks
#
# The data set MFR2 ([Anwar and Raychowdhury, 2020](#cite-anwar2020)) has photos of the same people with a real mask and without. On each
# bare face a mask of the same kind and colour as the real one is drawn. Both pictures are saved as JPEG and aligned anew, by the eyes as
# they are predicted *with the mask on*. In some photos no face was detected under the mask, and it was cropped where faces usually lie.
# These faces are *guessed*, and left out here. ([Masked and unmasked](masked_vs_unmasked.ipynb) keeps all photos in its table, and says what
# changes without the guessed ones. There faces that the detector found only below its usual threshold count as guessed, too; here they
# stay, since every face is aligned anew.)
#
# Where a real mask lies is found by GrabCut ([Rother et al., 2004](#cite-rother2004)). It cuts a picture in two along its edges, so that
# colours within each part are alike, and starts from a sketch: the mouth belongs to the mask, everything above the eyes does not. How good
# that is can be seen on drawn masks, whose place is known:

# %% tags=["remove-input"]
# %config InlineBackend.figure_formats = ["svg"]
found = record["realism"]
counts, segmentation = found["photos"], found["segmentation"]
low, middle, high = segmentation["overlap"]
text = f"{counts['real']} photos of {counts['people']} people; left out, of all: {counts['left_out']} photos with guessed faces."
text += f" Estimate and truth of drawn masks share {middle:.0%} of what either covers (middle half {low:.0%} to {high:.0%})."
display(pages.Words(text))

# %% tags=["hide-input"] mystnb={"name": "fig-outlines", "caption": "Where real and drawn masks lie on the same people: medians (points) and the middle half of the photos (bars). Grey: drawn masks as they were drawn, not estimated.", "image": {"alt": "Four plots of where real and drawn masks lie: share covered, upper edge at nose and cheeks, width; medians and middle halves; they nearly agree"}}
figures.masks.outlines(found)

# %% [markdown]
# [The numbers](#tab-outlines) to [this comparison](#fig-outlines):

# %% tags=["hide-input"] mystnb={"name": "tab-outlines", "caption": "Differences of the medians, real less drawn, with 95% intervals over people."}
pd.DataFrame(found["outline_difference"]).T.rename(index=outline.STATISTICS).style.format("{:+.3f}")

# %% [markdown]
# Drawn masks sit about where real ones do. They were fitted to do so. How high they are worn, and how much that
# differs from one to the next, was set by quartiles over all of MFR2. It was then checked on every other of its people (the
# first, third, ... by name). Shown here are the others. Nothing was fitted to them alone, but they are part of
# those quartiles, and were seen while the masks were made. So this is no clean test: on other photos drawn masks
# may fit less well.
#
# Would a network take them for real? A simple classifier, a support vector machine, is trained to separate real masks from drawn ones by
# what the lower face shows in cells of 16 pixels: orientations of the gradient, local binary patterns, colour. It is tested on people it
# has not seen. Its *AUC* is the chance that of a real and a drawn mask, picked at random, it takes the right one for the real:
# 0.5 means that it cannot tell, 1 that it always can. Forehead and eyes, where nothing is drawn, are the *control*: the dashed
# line of [the plot](#fig-giveaways).

# %% tags=["remove-input"]
more, draws = found["auc"]["all_photos"], found["auc"]["draws"]
text = f"Masks of the same kinds and colours, drawn with {len(draws)} seeds: AUC {min(draws):.2f} to {max(draws):.2f}."
text += f" On all {more['photos']} photos: {more['auc']:.2f} ({more['low']:.2f} to {more['high']:.2f})."
control = found["auc"]["regions"]["forehead and eyes"]
text += f" The control, forehead and eyes of the photos above: {control['auc']:.2f} ({control['low']:.2f} to {control['high']:.2f})."
display(pages.Words(text), pages.made("`python -m maskfr_utils.measure.realism` measures all of this section again."))

# %% tags=["hide-input"] mystnb={"name": "fig-giveaways", "caption": "How well a classifier tells real from drawn masks (AUC with its interval). Dashed: the same for forehead and eyes, where nothing is drawn.", "image": {"alt": "How well a classifier tells real masks from drawn ones (AUC with interval), by masks, by region of the face and by feature; a dashed line marks the region where nothing is drawn"}}
figures.masks.giveaways(found)

# %% [markdown]
# Compare with the dashed line, not with 0.5. The classifier separates foreheads and eyes, too, although nothing is drawn there: the
# photos with a real mask are other photos than those that we draw on, with another light, pose and look. A perfect mask would be
# separated about as often; what goes beyond that would be a fault of our masks, and only where the intervals lie apart is it shown. (The control has other cells than the lower
# face, so it is a guide and no exact limit.) It uses all features; what each kind of them alone would find there was not measured.
#
# The intervals are wide, the seed of the masks moves the score by some hundredths, and a classifier that learns from all photos
# is better at it. So these numbers compare masks on these photos; they are no property of the masks alone.
#
# In this comparison our masks are recognised as drawn less often than those of MaskTheFace, and a flat polygon is recognised always.
# (MaskTheFace's code ran unchanged on the same faces, with current versions of numpy and dlib. It drew a mix of masks with about MFR2's
# shares, so our `style random` is the fairer line to compare it with.) Straps and cheeks are recognised no more often than the control. The
# cloth is what the classifier recognises best, by its gradients: real cloth creases and shines in other ways.
#
# ## Against MaskTheFace
#
# [The table](#tab-peer) goes point by point. The numbers of MaskTheFace come from running it unchanged on crops of the
# same sets, its features from its code and manual.

# %% tags=["hide-input"] mystnb={"name": "tab-peer", "caption": "This package's masks beside those of MaskTheFace, point by point."}
with pd.option_context("display.max_colwidth", None):
    display(pages.shown(mask_success.against_the_peer(record["success"], speed, found, record["peer"])))
text = f"Processors: theirs {record['peer']['processor']}, here {speed['processor']}."
again = "`python -m maskfr_utils.measure.mask_success peer` measures theirs again, where a copy of it is."
display(pages.made(f"{text} {again}"))

# %% tags=["remove-input"]
theirs = [f"{100 * of['masked'] / of['faces']:.1f}% (`{name}`)" for name, of in record["peer"]["aligned"].items()]
text = f"The report says that MaskTheFace masked about 8% of its images. On these aligned crops it masks {' and '.join(theirs)}, so what held it back"
display(pages.Words(f"{text} there is not known."))

# %% [markdown]
# ## The people on this page
#
# They are rendered: heads in three dimensions, with skin, hair, light and camera, made by a program from a seed. A detector made for
# photographs accepts them, and its landmarks lie near the exact ones:

# %% tags=["remove-input"]
accepted = record["rendered"]["accepted"]
text = f"Of {accepted['faces']} rendered faces it finds {accepted['detected']:.0%}; half of the landmarks (the jaw aside) lie within"
display(pages.Words(f"{text} {accepted['landmark_error']:.0%} of the distance between the eyes."))

# %% [markdown]
# Are they different people? Faces are described by their gradients, in directions that separate *other* rendered people.
# [The histograms](#fig-people) are for 1,000 people. They compare the means of two halves of one person's pictures, and the means of
# different people's. Below them, simple recognisers name 60 people after training on a few bare faces of each. The parameter `difficulty`
# makes that easy or hard, so that better and worse networks get different accuracies.

# %% tags=["remove-input"]
apart = record["rendered"]["distances"]
text = f"With each person seen twice, as the mean of {apart['per_identity'] // 2} pictures,"
text += f" {apart['recognised']:.0%} of {apart['identities']:,} people lie nearest to themselves."
display(pages.Words(text), pages.made("`python -m maskfr_utils.measure.rendered_people` measures this again."))

# %% tags=["hide-input"] mystnb={"name": "fig-people", "caption": "Above: distances between halves of one rendered person's pictures, and between people. Below: accuracy of simple recognisers on bare and on masked faces, by difficulty.", "image": {"alt": "Above, histograms of the distance between pictures of the same rendered person and of others; below, recognition accuracy falling with difficulty"}}
figures.faces.distinct_people(record["rendered"])

# %% [markdown]
# ## Your own pictures
#
# With `source` and `out` set, every face of every picture is masked. `out/images` holds the pictures. `out/coverage` shows where the
# masks are, to train a segmentation on. `out/manifest.jsonl` has all that is needed to draw each mask again bit for bit. If it was
# stopped, it goes on where it was.

# %%
# %config InlineBackend.figure_formats = ["png"]
if source != "demo":
    if not out:
        raise ValueError(f"name the folder that the masked pictures of {source} go to: -p out masked/")
    counts = mask_folder(source, out, style=style, seed=seed)
    print("\n".join(f"{count:9,d} {what}" for what, count in counts.items()))
    folder, none = Path(out, "images"), np.zeros((0, 68, 2))  # these pictures have their masks already
    done = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*.png"))[:6]}
    display(figures.masks.cases({name: (cv2.imread(str(path))[..., ::-1], none) for name, path in done.items()}))

# %% [markdown]
# ## Design a mask
#
# In JupyterLab, controls appear below that change a mask at once. This page cannot show them.

# %%
figures.designer.design(photo, points)

# %% tags=["remove-input"]
pins, auc = record["success"]["aligned"]["pins"], found["auc"]["draws"]
text = f"""A mask is bent over the head that the landmarks show, lit like the face and blended into the photo; {pins["masked"] / pins["faces"]:.1%} of the
`pins` crops get one. A network would not always take it for real: a simple classifier separates drawn from real masks (AUC {min(auc):.2f} to
{max(auc):.2f}, {more["auc"]:.2f} where it learns from all photos; forehead and eyes, where nothing is drawn, give {control["auc"]:.2f}), best by
the cloth. Drawn masks sit about where real ones do, but
they were fitted to do so. So accuracies with drawn masks must be checked on real ones."""
display(pages.box(text))

# %% [markdown]
# <details><summary><b>Exercise.</b> Why does the mask of a photo not depend on the other photos that are masked with it?</summary>
#
# Its random numbers are seeded by the picture's own bytes. So a data set can be masked in parts, in several processes, or again years
# later, and each photo gets the same mask.
#
# </details>
#
# <details><summary><b>Exercise.</b> The classifier also tells apart foreheads, where nothing is drawn. Why is that the yardstick, and not 0.5?</summary>
#
# The photos with a real mask are other photos: another day, light and pose. Whatever separates them there has nothing to do with
# the drawing. Only what the lower face adds to that can be blamed on it.
#
# </details>
