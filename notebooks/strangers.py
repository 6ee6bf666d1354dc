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
# # Strangers
#
# **Question.** How well do the networks tell people apart whom they have never seen?
#
# The tables so far name people of a closed set: everybody who is tested was trained on. Face recognition is used otherwise.
# A network maps a face $x$ to an embedding $f(x)$, and whatever people meet later are compared by the cosine
#
# $$s(x, y) = \frac{f(x)^\top f(y)}{\lVert f(x) \rVert \, \lVert f(y) \rVert}.$$
#
# *Verification*: do two photos show one person? They are accepted where $s \ge t$. With $G$ pairs of one person and $I$ of
# two,
#
# $$\mathrm{TAR}(t) = \frac{|\{g \in G : s_g \ge t\}|}{|G|}, \qquad \mathrm{FAR}(t) = \frac{|\{i \in I : s_i \ge t\}|}{|I|}.$$
#
# TAR at FAR 1 % takes the lowest $t$ at which at most 1 % of the pairs of two are accepted. EER is the error where
# $\mathrm{FAR} = 1 - \mathrm{TAR}$. *Accuracy* is LFW's {cite}`huang2007`: ten folds, each called by the threshold that is best
# on the other nine.
#
# *Identification*: who of the enrolled is this? Rank $k$ is the share of probes whose person is among the $k$ nearest. In the
# open set, some probes are of nobody enrolled: DIR at FPIR 1 % is the share of enrolled people's probes that are named, and
# named rightly, where at most 1 % of the strangers' probes are given a name.
#
# People whom one of the networks was trained on are left out, by name. Intervals are of 95 %, over seeds and over people drawn
# anew ([](masked_vs_unmasked)); a pair of two people counts as the product of how often both are drawn.

# %% tags=["parameters"]
results = None  # folder of records; default: the book's
network = None  # whose curves are drawn, by its name in the tables; default: the first

# %% tags=["hide-input"]
# %config InlineBackend.figure_formats = ["svg"]
import pandas as pd
from IPython.display import Markdown, display

from maskfr_utils import figures, records
from maskfr_utils.measure import strangers
from maskfr_utils.study import state

record = records.read_measurement("recognise/strangers.json", results)
not_run = (
    f"Not run yet: `{strangers.COMMAND} runs/RUN runs/RUN ...` measures the networks of finished runs, and any weights of"
    " arcface_torch's (`backbone.pth`, `.onnx`) in the same way."
)
network = network or (next(iter(record["networks"])) if record else "")
details = record["details"][network] if record else {"roc": {}, "reliability": {}, "carried": {}, "quality": {}}
sets = record["sets"] if record else {}
titles = {"rendered": "Rendered people", "lfw": "LFW", "mfr2": "MFR2, real masks", "glint24": "glint24"}
rows = {
    titles[name]: {
        "people": s["people"],
        "photos": s["photos"],
        "pairs of one, of two": "{}, {}".format(*s["pairs"]),
        "people left out": record["left_out"][name],
    }
    for name, s in sets.items()
}
display(pd.DataFrame.from_dict(rows, orient="index") if record else Markdown(not_run))
print(state.made_from("strangers", results))

# %% [markdown]
# ## Verification
#
# Percent of pairs. Masks are drawn on the second photo of each pair, or on both; those of MFR2 {cite}`anwar2020` are real.

# %% tags=["hide-input"]
for name in sets:
    if len(shown := strangers.table(record, name, list(strangers.VERIFICATION))):
        display(Markdown(f"**{titles[name]}**"), shown)
display(Markdown(f"Curves: {network}." if record else not_run))

# %% tags=["hide-input"] mystnb={"image": {"alt": "ROC curves of one network, a line for each set and what is worn; those with masks lie lower"}}
figures.results.roc_curves(details["roc"])

# %% [markdown]
# ## Identification, and people whom nobody knows
#
# *Enrolled bare, masked probed* is the gate of a company whose badge photos show no mask; the other way round, a person who
# was first seen with one. For the open set one half of the people is enrolled and the other half are strangers, then the
# other way round.

# %% tags=["hide-input"]
for name in sets:
    if len(shown := strangers.table(record, name, ["rank 1", "rank 5", *strangers.ALARMS])):
        display(Markdown(f"**{titles[name]}**"), shown)
display(Markdown(not_run) if not record else Markdown("Percent of probes."))

# %% [markdown]
# ## Which network is better?
#
# Each against the first, on the same pairs and probes; $p$ is corrected for the number of lines (Holm {cite}`holm1979`).

# %% tags=["hide-input"]
compared = strangers.differences(record) if record else pd.DataFrame()
display(compared if len(compared) else Markdown("Nothing to compare yet." if record else not_run))

# %% [markdown]
# ## Does a threshold hold elsewhere?
#
# A threshold is chosen on some people and used on others. Below, it was set so that 1 % of the strangers' pairs of the *row* are
# accepted, and tried on the pairs of the *column*: percent of these strangers that it lets pass.

# %% tags=["hide-input"] mystnb={"image": {"alt": "For each kind of pairs that a threshold came from, dots with error bars: the share of strangers accepted among the other kinds, beside the 1 % that was meant"}}
carried = {
    source: {target: strangers.percent(found["FAR"]) for target, found in by_target.items()}
    for source, by_target in details["carried"].items()
}
display(pd.DataFrame.from_dict(carried, orient="index") if carried else Markdown(not_run))
own = {
    source: pd.DataFrame.from_dict({t: f["FAR"] for t, f in by_target.items()}, orient="index")
    for source, by_target in list(details["carried"].items())[:3]
}
figures.results.estimates(own, "strangers accepted by a threshold from elsewhere, %", value="value")

# %% [markdown]
# A cosine is no probability. A logistic function of it, fitted on every other pair, makes it one, for as many pairs of one
# person as there are here. The curve shows whether promises are kept on the other half; the expected calibration error (ECE) is
# their mean distance to what came, in bins of equally many pairs.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Share of pairs of one person against the promised probability, a line for each kind of pairs, beside the diagonal"}}
logistic = {label: ways["logistic"] for label, ways in details["reliability"].items()}
errors = {
    label: {way: f"{100 * found['ECE']:.1f}" for way, found in ways.items()}
    | {
        f"logistic from {source}": f"{100 * details['carried'][source][label]['ECE']['value']:.1f}"
        for source in list(logistic)[:1]
    }
    for label, ways in details["reliability"].items()
}
display(pd.DataFrame.from_dict(errors, orient="index").rename_axis("ECE, points") if errors else Markdown(not_run))
figures.results.reliability(logistic)

# %% [markdown]
# ## What makes a face hard
#
# Share of pairs that are called rightly, by the harder photo of the two: turned to the side, blurred, small, covered; and by
# the kind of mask.

# %% tags=["hide-input"] mystnb={"image": {"alt": "For each group of pairs by head turn, sharpness, size, share covered and kind of mask, a dot with an error bar"}}
kinds = [label for label in details["quality"] if label.endswith(("mask on one", "all pairs"))]
groups = {
    label: pd.DataFrame.from_dict(
        {f"{what}, {group}": row for what, rows in details["quality"][label].items() for group, row in rows.items()},
        orient="index",
        columns=["value", "low", "high", "pairs"],
    )
    for label in kinds
}
figures.results.estimates(groups, "pairs called rightly, %", value="value")

# %% [markdown]
# ## More people to train on
#
# What a network learns to tell apart are the people whom it is shown, and 105 are few. All people of `pins`, those of `lfw`
# with twenty photos or more and `glint24` are one set of more than 150 after
#
# ```
# python -m maskfr_utils.faces.merged data/more_people pins/pins_112.tar lfw/lfw_112.tar glint24/glint24_112.tar --least 20
# python -m maskfr_utils.train -f params/pocket/study.yaml -p dataset data/more_people/faces.tar -p min_masked 20
# ```
#
# which takes people of one name, or who share photos under two, as one. LFW's frequent people are then no strangers any more:
# they are left out above, for all networks that are compared.

# %% tags=["hide-input"]
more = [label for label in (record or {"networks": []})["networks"] if "more_people" in label or "faces.tar" in label]
told = f"Trained on more people: {', '.join(more)}, in the tables above." if more else "This run is not made yet."
display(Markdown(told))

# %% [markdown]
# ## What we learn

# %% tags=["remove-input"]
text = [not_run]
if record:
    text = []
    for name, (bare, masked) in {
        "rendered": ("no mask", "masks on both"),
        "lfw": ("no mask", "masks on both"),
        "mfr2": ("all pairs", "real masks on both"),
    }.items():
        found = {label: by.get(name, {}) for label, by in record["networks"].items()}
        if found := {label: by for label, by in found.items() if masked in by}:
            best = max(found, key=lambda label: found[label][masked]["accuracy"]["value"])
            told = [strangers.percent(found[best][worn]["accuracy"]) for worn in (bare, masked)]
            text.append(
                f"{titles[name]}: the best with masks is {best}, right in {told[0]} % of the pairs ({bare}) and {told[1]} % ({masked})."
            )
    far = [
        f["FAR"]["value"]
        for s, by in details["carried"].items()
        for t, f in by.items()
        if s != t and s.endswith("no mask")
    ]
    if far:
        text.append(
            f"A threshold for bare faces that was to let 1 % of strangers pass lets {100 * min(far):.1f} to {100 * max(far):.1f} %"
            " pass elsewhere: it has to be set for masks, and for the people, that it is used on."
        )
display(Markdown(":::{admonition} What we learn\n" + "\n".join(f"- {words}" for words in text) + "\n:::"))
