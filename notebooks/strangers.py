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
# **Question.** How well do the networks distinguish people whom they have never seen?
#
# The tables so far name people of a *closed set*: everybody who is tested was trained on. Face recognition is used otherwise.
# A network maps a face $x$ to an embedding $f(x)$. People whom it meets later are compared by the cosine
#
# $$c(x, y) = \frac{f(x)^\top f(y)}{\lVert f(x) \rVert \, \lVert f(y) \rVert}.$$
#
# **Verification** asks whether two photos show one person. A pair is accepted where its cosine reaches a threshold $t$. Of the pairs
# $G$ of one person, the accepted share is the *true accept rate* (TAR). Of the pairs $I$ of two people it is the *false accept rate*
# (FAR):
#
# $$\mathrm{TAR}(t) = \frac{|\{g \in G : c_g \ge t\}|}{|G|}, \qquad \mathrm{FAR}(t) = \frac{|\{i \in I : c_i \ge t\}|}{|I|}.$$
#
# - *TAR at FAR 1%* takes the lowest $t$ at which at most 1% of the pairs of two are accepted.
# - The *equal error rate* (EER) is the error at the $t$ where as many pairs of one are refused as pairs of two accepted:
#   $\mathrm{FAR} = 1 - \mathrm{TAR}$.
# - *Accuracy* is that of the data set LFW ([Huang et al., 2007](#cite-huang2007)): the pairs are cut into ten parts, and each part is
#   decided by the threshold that is best on the other nine. Half of LFW's pairs are of one person, so a guess is right in 50% there;
#   ArcFace trained on millions of photos is right in 99.8% ([Deng et al., 2019a](#cite-deng2019)). MFR2 has other shares
#   ([the sets](#tab-strangers)).
#
# **Identification** asks who of the enrolled people is on a photo, the *probe*.
#
# - *Rank $k$* is the share of probes whose person is among the $k$ nearest.
# - In the *open set*, some probes are of nobody who is enrolled. The FPIR (false positive identification
#   rate) is the share of strangers' probes that are given a name. DIR (detection and identification rate) at FPIR 1% is the share of
#   enrolled people's probes that are named, and named correctly, where at most 1% of strangers' are given a name.
#
# The sets are LFW, MFR2, and glint24, a sample of Glint360K that has no list of pairs ([data card](../book/data_card.md)).
# People whom one of the networks was trained on are left out, by name. Intervals are of 95%, over seeds and over people drawn
# anew ([Masked and unmasked](masked_vs_unmasked.ipynb)). A pair of two people counts as often as the product of how often each of
# them is drawn. [The sets that are tried](#tab-strangers):

# %% tags=["parameters"]
results = None  # folder of records; default: the book's
network = ""  # whose curves are drawn, by its name in the tables; empty: the first

# %% tags=["remove-input"]
from maskfr_utils.study import parameters

parameters.check(globals(), results=parameters.folder, network=parameters.text_or_nothing)

# %% tags=["hide-input"] mystnb={"name": "tab-strangers", "caption": "Who is tried: people and photos of each set, pairs of one person and of two, and people left out because a network knows them."}
# %config InlineBackend.figure_formats = ["svg"]
import pandas as pd
from IPython.display import display

from maskfr_utils import figures, records
from maskfr_utils.measure import stranger_details, strangers
from maskfr_utils.metrics import error_by_luck
from maskfr_utils.names import unknown
from maskfr_utils.study import outcomes, pages, state

record = records.read_measurement("recognise/strangers.json", results)
command = f"{strangers.COMMAND} runs/RUN runs/RUN ..."
network = network or (next(iter(record["networks"])) if record else "")
if record and network not in record["networks"]:
    raise parameters.ParameterError(unknown("network", network, record["networks"]))
details = record["details"][network] if record else {"roc": {}, "reliability": {}, "carried": {}, "quality": {}}
sets = record["sets"] if record else {}
titles = {"rendered": "Rendered people", "lfw": "LFW", "mfr2": "MFR2, real masks", "glint24": "glint24"}


def pairs(s):
    """Pairs of one person and of two, also of each way to wear masks that not all of them have."""
    some = {worn: counts for worn, counts in s.get("worn", {}).items() if counts != s["pairs"]}
    return "; ".join(["{}, {}".format(*s["pairs"]), *(f"{worn} {a}, {b}" for worn, (a, b) in some.items())])


rows = {
    titles[name]: {
        "people": s["people"],
        "photos": s["photos"],
        "pairs of one, of two": pairs(s),
        "people left out": record["left_out"][name],
        "enrolled, photos of people": "; ".join(
            dict.fromkeys(f"{one['enrolled']} of {one['people']}" for one in s["identification"].values())
        ),
    }
    for name, s in sets.items()
}
more = "It takes finished runs, and any weights of arcface_torch's (`backbone.pth`, `.onnx`) in the same way."
made = pages.made(f"`{command}` measures it. {more}", state.made_from("strangers", results))
with pd.option_context("display.max_colwidth", None):
    display(
        pages.shown(pd.DataFrame.from_dict(rows, orient="index"), command), pages.Words(pages.networks(record)), made
    )

# %% [markdown]
# ## Verification
#
# Percent of [pairs](#tab-verification). Masks are drawn on the second photo of each pair, or on both; those of MFR2
# ([Anwar and Raychowdhury, 2020](#cite-anwar2020)) are real. Where a set has too few pairs of two people for a rate, it is left out, here
# and below. [The curves](#fig-roc) show one network: a colour for each set, and dashes for what is worn.


# %% tags=["hide-input"] mystnb={"name": "tab-verification", "caption": "Verification of people whom no network was trained on: percent of pairs, with 95% intervals over seeds and people."}
def tables(measures):
    for name in sets:
        if len(found := strangers.table(record, name, measures)):
            found = found.rename_axis(["network", "worn"])
            display(pages.Words(f"*{titles[name]}*"), pages.shown(found))
    if not record:
        display(pages.shown(pd.DataFrame()))


tables(list(strangers.VERIFICATION))

# %% tags=["hide-input"] mystnb={"name": "fig-roc", "caption": "True accepts against false accepts of one network, its first seed, by set and by what is worn.", "image": {"alt": "Curves that rise from the left to 100%, a line for each set and what is worn, over a logarithmic axis"}}
roc = pages.drawn(details["roc"], lambda: figures.playable.pointed(figures.results.roc_curves(details["roc"])))
display(roc, *([pages.made(network)] if network else []))

# %% [markdown]
# ## Identification, and people whom nobody knows
#
# [The table](#tab-identification) has both directions. *Enrolled bare, masked probed* is the gate of a company whose badge photos
# show no mask. *Enrolled masked, bare probed* is a person who was first seen with one. For the open set, half of the people are
# enrolled and the others are strangers; then the halves change places. Rank 1 is lower the more people are enrolled
# ([the sets](#tab-strangers)), so it does not compare sets, and chapters that enrol other people of MFR2 find another one.

# %% tags=["hide-input"] mystnb={"name": "tab-identification", "caption": "Probes of people whom the network was not trained on: share whose person is the nearest (rank 1) or among the five nearest, and DIR in the open set; percent, with 95% intervals over seeds and people."}
tables(["rank 1", "rank 5", *strangers.ALARMS])

# %% [markdown]
# ## Which network is better?
#
# [Each against the first](#tab-strangers-compared), on the same pairs and probes; $p$ is corrected for the number of lines
# ([Holm, 1979](#cite-holm1979)).

# %% tags=["hide-input"] mystnb={"name": "tab-strangers-compared", "caption": "Difference of each other network from the first with strangers, in percentage points."}
compared = strangers.differences(record) if record else pd.DataFrame()
if record and compared.empty:
    display(pages.Words("One network alone: nothing to compare."))
else:
    display(pages.shown(compared.rename_axis(["network", "set", "measure"]) if record else compared))

# %% [markdown]
# ## Does a threshold hold elsewhere?
#
# A threshold is chosen on some people and used on others. [Here](#tab-carried) it was set so that at most 1% of the strangers' pairs of
# the *row* are accepted. Then it was tried on the strangers' pairs of the *column*. The table says what percentage of these it lets
# pass ([drawn](#fig-carried) for thresholds from real people). A 0.0 without an interval is of no pair at all. This section and the next show one network (the first in the
# tables, unless the notebook is told another) and of it the first seed.

# %% tags=["hide-input"] mystnb={"name": "tab-carried", "caption": "Pairs of two people that are accepted, in percent, by the pairs that the threshold came from (rows) and is used on (columns); at most 1% is meant. One network, its first seed."}
every = details["carried"]
carried = {
    source: {target: strangers.percent(found["FAR"]) for target, found in by_target.items()}
    for source, by_target in every.items()
}
display(pages.shown(pd.DataFrame.from_dict(carried, orient="index")))

# %% tags=["hide-input"] mystnb={"name": "fig-carried", "caption": "Pairs of two people that a threshold accepts which was set for at most 1% of other pairs, with 95% intervals over people; the threshold is taken as given. One network, its first seed.", "image": {"alt": "For each kind of pairs, dots with error bars for the sources of the threshold, pairs of real people"}}
own = {
    source: pd.DataFrame.from_dict({t: f["FAR"] for t, f in by_target.items()}, orient="index")
    for source, by_target in every.items()
    if not source.startswith("rendered")
}
pages.drawn(
    own, lambda: figures.results.estimates(own, "pairs accepted by a threshold from elsewhere, %", value="value")
)

# %% [markdown]
# A cosine is no probability. A logistic function of it becomes one when it is fitted on every other pair, as long as pairs of one
# person are as frequent as they are here. [The curve](#fig-reliability) compares, on the other half, the promised probability with
# the share of pairs that are of one person. The mean distance between the two, over bins of equally many pairs, is the *expected
# calibration error* (ECE). [The table](#tab-ece) has it for two ways of fitting: *logistic*, and *isotonic*, a staircase that may only
# rise. That follows bends that a logistic function cannot, and needs more pairs. With few pairs no error is 0: *by luck* is what probabilities
# that keep their promise would show of as many pairs. The last column fits the logistic function on the first row's pairs and uses it on all
# others. The same people may be in both halves.

# %% tags=["hide-input"] mystnb={"name": "tab-ece", "caption": "Expected calibration error, in points: fitted on the same kind of pairs in two ways, what luck alone would show, and carried over from the first kind. One network, its first seed."}
logistic = {label: ways["logistic"] for label, ways in details["reliability"].items()}
source, errors = next(iter(logistic), ""), {}
for label, ways in details["reliability"].items():
    name, worn = label.split(", ", 1)
    tested = sum(sets[name].get("worn", {}).get(worn, sets[name]["pairs"])) // 2
    errors[label] = {way: f"{100 * found['ECE']:.1f}" for way, found in ways.items()}
    errors[label]["by luck"] = f"{100 * error_by_luck(logistic[label]['promised'], tested):.1f}"
    carried_over = every[source][label]["ECE"]["value"]
    errors[label][f"logistic, of {source}"] = "" if label == source else f"{100 * carried_over:.1f}"
display(pages.shown(pd.DataFrame.from_dict(errors, orient="index")))

# %% tags=["hide-input"] mystnb={"name": "fig-reliability", "caption": "What came of promised probabilities, on pairs that they were not fitted on: one network, its first seed.", "image": {"alt": "The share of pairs that are of one person against the promised probability, a line for each kind of pairs, beside the diagonal"}}
pages.drawn(logistic, lambda: figures.playable.pointed(figures.results.reliability(logistic)))

# %% [markdown]
# ## What makes a face hard
#
# [Share of pairs decided correctly](#fig-strangers-hard), by the harder photo of the two: turned to the side or blurred; and by
# the kind of mask. Thirds are those of each set's own pairs; size and share covered are shown only where the thirds differ by a fifth or
# more. The threshold is the one that is best for all pairs of the set, so the groups
# compare, and their level is a little too high.

# %% tags=["hide-input"] mystnb={"name": "fig-strangers-hard", "caption": "Pairs decided correctly by head turn, sharpness and kind of mask (of the second photo), with 95% intervals over people: one network, its first seed, masks on one photo, or all pairs of MFR2.", "image": {"alt": "A dot with an error bar for each group of pairs, in a colour for each set"}}
thirds = {"1:": "lowest third", "2:": "middle third", "3:": "highest third"}  # of a set's own pairs


def told(group):
    return thirds.get(group[:2]) or " ".join(reversed(group.split("_")))  # MFR2's: cloth_black


groups = {
    label: pd.DataFrame.from_dict(
        {
            f"{what}, {told(group)}": row
            for what, rows in by_what.items()
            if stranger_details.far_apart(rows)
            for group, row in rows.items()
        },
        orient="index",
        columns=["value", "low", "high", "pairs"],
    )
    for label, by_what in details["quality"].items()
    if label.endswith((", mask on one", "all pairs"))
}
pages.drawn(groups, lambda: figures.results.estimates(groups, "pairs decided correctly, %", value="value"))

# %% tags=["remove-input"]
turned = {
    label: outcomes.extremes(pd.DataFrame.from_dict(by_what["turned"], orient="index"), "value")
    for label, by_what in details["quality"].items()
    if label in groups and "turned" in by_what
}
pages.Words(
    "By how far the head is turned: " + ". ".join(f"*{label}*, {said}" for label, said in turned.items()) + "."
    if turned
    else ""
)

# %% [markdown]
# ## More people to train on
#
# A network learns to tell apart the people whom it is shown, and 105 are few. These commands put all people of `pins` and `glint24`,
# and those of `lfw` with twenty photos or more, into one set of more than 150, and train on it:
#
# ```
# python -m maskfr_utils.merged data/more_people pins/pins_112.tar lfw/lfw_112.tar glint24/glint24_112.tar --least 20
# python -m maskfr_utils.train -f params/pocket/study.yaml -p dataset data/more_people/faces.tar -p min_masked 20
# ```
#
# Two folders are taken for one person if they have the same name or share photos. LFW's frequent people are then no strangers any
# more: if such a network is among those compared, they are left out above for all.

# %% tags=["remove-input"]
trained = [label for label in (record["networks"] if record else ()) if "faces.tar" in label]
told = (
    f"Trained on more people, in the tables above: {', '.join(trained)}."
    if trained
    else "No network has been trained on this set yet."
)
pages.Words(told)

# %% tags=["remove-input"]
text = f"How well they distinguish strangers is not measured yet: `{command}` measures it."
if record:
    text = strangers.answer(record) or pages.ELSEWHERE
display(pages.box(text))

# %% [markdown]
# <details><summary><b>Exercise.</b> A gate sees 2,000 enrolled people. Why is a FAR of 0.1% too much there?</summary>
#
# A stranger is compared with each of the 2,000. If each comparison lets 0.1% pass, independently of the others, none of them does in
# $0.999^{2000} = 13.5\,\%$ of cases: most strangers are taken for somebody. That is why identification is measured by itself, and
# why a threshold has to be higher the more people are enrolled ([Recognise](recognise.ipynb)).
#
# </details>
