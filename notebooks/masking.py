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
# There are millions of photos of bare faces and few of masked ones, so masks are drawn. The report did so with a public
# tool that found only some of the faces and drew flat masks with jagged edges. Here a mask is a surface on a head in three
# dimensions: it is turned as the head is, hides where the head hides it, is lit by the face's own light, and is as sharp and as
# grainy as the photo.
#
# Your own pictures, a folder, a tar or one photo, are masked into a folder by
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

# %%
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from IPython.display import display
from skimage.data import astronaut

from maskfr_utils import align, mask_figures, masks
from maskfr_utils.mask_folder import mask_folder
from maskfr_utils.rendered import render_faces

# %% [markdown]
# ## Masked faces
#
# Figure 1 of the report, on rendered faces. The draw of each mask depends on the seed and the picture's bytes alone: the
# same photo gets the same mask in any batch, order or process.

# %%
people = render_faces(faces // 2, 2, seed=seed)
masked = masks.mask_faces(people.images, people.landmarks, style=style, seed=seed)
mask_figures.sheet(masked.images[:40])

# %% [markdown]
# ## From landmarks to a mask
#
# 1. **Camera.** 68 landmarks $x_i$ of the photo and $X_i$ of a mean head give a weak-perspective camera,
#    $x_i \approx A X_i + t$, by least squares. The jaw counts little: in a turned face its landmarks slide along the contour.
# 2. **Net.** A mask is a net of points $G$ on the mean head. What the camera does not explain, $x_i - A X_i - t$ (this jaw,
#    this nose, this expression), is interpolated between the landmarks with a Gaussian kernel. Both steps are linear in the
#    landmarks: the whole net is one constant matrix times the 68 points.
# 3. **Sight.** A row of the net that turns back has gone behind its own silhouette; the rest is hidden. What is left gives the
#    outline and, for each pixel, the place $(u, v)$ on the cloth.
# 4. **Light.** The brightness of skin at some forty places is fitted by $b_0 + b \cdot n$ in the surface normal $n$; the
#    same $b$ lights the cloth with its pleats, seams and folds. Exposure and colour cast come from skin and picture.
# 5. **Blend.** The mask is blurred as the photo is blurred, gets the photo's grain, an anti-aliased edge and a soft
#    shadow on the skin. Eyes stay free; no pixel outside the coverage changes by a bit.

# %%
turned = int(np.argmax(np.abs(people.landmarks[:, 30, 0] - people.landmarks[:, [0, 16], 0].mean(1))))
mask_figures.geometry(people.images[turned], people.landmarks[turned], seed=seed)

# %% [markdown]
# ## Kinds, colours, patterns, ways to wear
#
# A style is a few lines of YAML: a kind with its colours, patterns and ways to wear it, each with a weight. Your own file
# extends them without code, and `style={"surgical": 0.5, "mine.yaml": 0.5}` mixes. `texture: logo.png` lays a picture over
# the cloth; colours are CSS names or `#rrggbb`.

# %%
frontal = int(np.argmin(np.abs(people.landmarks[:, 30, 0] - people.landmarks[:, [0, 16], 0].mean(1))))
mask_figures.kinds_by_colour(people.images[frontal], people.landmarks[frontal])

# %%
mask_figures.patterns_and_wears(people.images[frontal], people.landmarks[frontal])

# %% [markdown]
# ## Hard cases
#
# Masks are drawn in the photo's own pixels, whatever their number; grey pictures get grey masks, blurred ones blurred masks.

# %%
photo = np.ascontiguousarray(astronaut()[:240, 100:340])
points = align.landmarks68(photo, align.detect(photo)[0])
grey = np.repeat(photo.mean(2, keepdims=True).astype(np.uint8), 3, 2)
large = cv2.resize(photo, None, fx=6, fy=6, interpolation=cv2.INTER_CUBIC)
height, width = photo.shape[:2]
side = np.linspace(1.2, 0.25, width)[None, :, None]
mask_figures.cases(
    {
        "photo": (photo, points),
        "64 pixels of face": (
            cv2.resize(photo, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA),
            points * 0.6 - 0.2,
        ),
        "six times larger": (large, points * 6 + 2.5),
        "lit from the left": (np.clip(photo * side, 0, 255).astype(np.uint8), points),
        "dark": ((photo * 0.35).astype(np.uint8), points),
        "grey": (grey, points),
        "blurred": (cv2.GaussianBlur(photo, (0, 0), 2.5), points),
        "head down": (np.ascontiguousarray(photo[::-1, ::-1]), np.array([width - 1, height - 1]) - points),
        "cut off": (np.ascontiguousarray(photo[:, 110:]), points - np.array([110, 0])),
    },
    style=masks.Style("surgical", colours={"#a8cfe9": 1}),
)

# %% [markdown]
# ## Success and speed
#
# A mask fails only where the landmarks are no face: the camera's error is large, the face mirrored, or hardly any of the mask
# inside the picture. `ok` says so, and the picture is left as it was. Below: one core, rendered faces.

# %%
rows = []
for how, given in {"landmarks given": people.landmarks, "landmarks predicted": None}.items():
    masks.mask_faces(people.images[:8], None if given is None else given[:8])  # tables and predictor are made once
    start = time.process_time()
    result = masks.mask_faces(people.images, given, style=style, seed=seed)
    seconds = time.process_time() - start
    nose, mouth = (people.landmarks[:, i].round().astype(int).clip(0, 111) for i in (30, 66))
    rows.append(
        {
            "": how,
            "faces": len(result.ok),
            "masked": f"{result.ok.mean():.1%}",
            "nose tip covered": f"{(result.alpha[np.arange(len(nose)), nose[:, 1], nose[:, 0]] > 127).mean():.1%}",
            "mouth covered": f"{(result.alpha[np.arange(len(mouth)), mouth[:, 1], mouth[:, 0]] > 127).mean():.1%}",
            "faces a second": round(len(result.ok) / seconds),
        }
    )
pd.DataFrame(rows).set_index("")

# %%
mask_figures.coverage(masked)

# %% [markdown]
# Against MaskTheFace {cite}`anwar2020`, on the same photographs (its numbers were measured with the detector upsampled once):
#
# | | MaskTheFace | here |
# | --- | --- | --- |
# | aligned faces masked, `pins` | 93.2 % of 8,400 | 100.0 % of 16,333 |
# | aligned faces masked, `glint24` | 88.8 % of 313 | 100.0 % of 941 |
# | nose tip under the mask, `pins` | not measured | 99.6 % |
# | pictures a second | 58, in one process | table above; any number of processes |
# | kinds | surgical, N95, KN95, cloth, gas, inpaint | the same (gas: respirator), and bandana |
# | pose | three templates | continuous, to the profile; the far side is hidden |
# | light | mean brightness | direction, exposure, colour cast, contact shadow |
# | edges | jagged | anti-aliased, as sharp as the photo |
# | a mix, colours, textures, strength | yes | yes; in a file that needs no code |
# | ways to wear | no | below the nose, tight, loose |
# | told from real masks by a classifier (AUC; 0.5 is chance) | flat polygons: 1.00 | 0.94 |
#
# The last line is a support vector machine on gradients and colours of the lower face, which tells the real masks of MFR2 from
# drawn ones on the bare faces of the same 53 people, cross-validated by person, all pictures aligned anew in the same way. It has
# few pictures, and part of what it sees is that the two sets of photographs differ; but a flat mask it never misses.

# %% [markdown]
# ## Your own pictures
#
# With `source` and `out` set, every face of every picture is masked. `out/images` holds the pictures, `out/coverage` where the
# masks are (ground truth to train a segmentation on), and `out/manifest.jsonl` all that it takes to redraw each mask bit for bit. Stopped in
# between, it goes on where it was.

# %%
if source != "demo":
    if not out:
        raise ValueError(f"name the folder that the masked pictures of {source} go to: -p out masked/")
    counts = mask_folder(source, out, style=style, seed=seed)
    print("\n".join(f"{count:9,d} {what}" for what, count in counts.items()))
    done = sorted(Path(out, "images").rglob("*.png"))[:6]
    none = np.zeros((0, 68, 2))  # these pictures have their masks already
    display(mask_figures.cases({path.name: (cv2.imread(str(path))[..., ::-1], none) for path in done}))

# %% [markdown]
# ## Design a mask
#
# The controls change the mask at once (in JupyterLab; a printed page shows the last state).

# %%
mask_figures.designer(photo, points)

# %% [markdown]
# **What we learn.** Detection is not needed to mask aligned faces, and a mask that follows pose and light costs well under a
# millisecond: masks can be drawn afresh at every visit of a photo in training.
