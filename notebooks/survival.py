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
# # Survival
#
# **Question.** What do files damaged at random and kills do to this code, and what does its data cost?
#
# Training sets come from strangers, and runs last for days on machines that fail. Two things are claimed. A file is read, or refused by one clear
# line, or loses parts that are counted. And a run that is killed ends with the same bits as one that was not.

# %% tags=["parameters"]
results = None  # folder of the records; None: the book's

# %% tags=["remove-input"]
from maskfr_utils.study import parameters

parameters.check(globals(), results=parameters.folder)

# %% [markdown]
# ## Damaged files
#
# `make soak`, a long test with damaged files, takes small whole files of each format and changes them at random. Bits are flipped; pieces are cut out, put in, doubled
# or swapped for words of the format; integers are set to the ends of their range. Most files then get right checksums again, so that
# what lies behind these is reached.
# A process of its own reads each as a user's call does. *Read* says that no error occurred, not that the content is unchanged. It counts as failed if it hangs, ends the interpreter or takes too much memory;
# if it starts another program, loads a Python class that the format does not need, or writes outside its folder; and if it ends in an
# error that is no clear line naming the file.
#
# `recordio` and `bin` are insightface's files, of training photos and of pairs; a `manifest` says which mask each picture of a folder got;
# a `list` names pictures or pairs; `shards` are the parts of one data set in several archives.

# %% tags=["hide-input"] mystnb={"name": "tab-soak", "caption": "What became of files that were damaged at random."}
import pandas as pd
from IPython.display import display

from maskfr_utils import records
from maskfr_utils.study import pages, state

soak = records.read_measurement("survival/soak.json", results)
rows = [
    {
        "format": name,
        "inputs": f"{each['inputs']:,}",
        "read": f"{each['read']:,}",
        "read but for parts, counted": f"{each['skipped']:,}",
        "refused by a clear line": f"{each['refused']:,}",
        "failed": each["failed"],
        "most memory, MB": f"{each['most_bytes'] / 2**20:.0f}",
        "slowest, s": each["slowest_seconds"],
    }
    for name, each in (soak["formats"] if soak else {}).items()
]
display(pages.shown(pd.DataFrame(rows), "make soak"), pages.made(state.made_from("survival")))

# %% tags=["hide-input"] mystnb={"name": "fig-soak", "caption": "Shares of the damaged files of each format that were read, lost parts, or were refused.", "image": {"alt": "A bar for each format, parted into read, read but for parts, refused and failed"}}
from matplotlib import pyplot as plt

# %config InlineBackend.figure_formats = ["svg"]
figure, ax = plt.subplots(figsize=(7, 4))
left = pd.Series(0.0, soak["formats"] if soak else [])
for colour, what in enumerate(("read", "skipped", "refused", "failed")):
    share = pd.Series(
        {name: 100 * each[what] / each["inputs"] for name, each in (soak["formats"] if soak else {}).items()}
    )
    ax.barh(
        list(left.index), share, left=left, color=f"C{colour}", label={"skipped": "read but for parts"}.get(what, what)
    )
    left = left + share
ax.set(xlabel="% of the inputs", xlim=(0, 100))
ax.invert_yaxis()
ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=4)
plt.close(figure)
figure

# %% [markdown]
# ## Kills
#
# A run of seconds, with everything that draws at random and a checkpoint at each step, is killed at random moments and started again
# until it ends. The signal is SIGKILL with a chance of three in four, else SIGTERM. Weights, scores and history must then be those of a run that nobody killed.

# %% tags=["hide-input"]
kills = (soak or {}).get("kills")
pages.Words(
    f"{kills['kills']} kills, {kills['asked']} of them by SIGTERM, met {kills['runs']} runs; {kills['resumed']} starts went on from a "
    f"checkpoint. {kills['unequal']} runs ended with other bits, {kills['failed']} failed, and {kills['left']} files were left half written."
    if kills
    else "*Not run yet:* `make soak` runs it."
)

# %% [markdown]
# ## What pictures cost
#
# Rates are by processor time of one core, on rendered faces. The names and labels of a million pictures are held while these are listed,
# split and written, and while an epoch is drawn from them.

# %% tags=["hide-input"] mystnb={"name": "tab-data-costs", "caption": "What pictures of 112 x 112 cost."}
costs = records.read_measurement("speed/data.json", results)
if costs:
    raw, jpeg, names = costs["raw"], costs["jpeg"], costs["names"]
    mb = {part: f"{names[part] / 1e6:,.0f} MB" for part in ("listed", "prepared", "read")}
    rows = {
        f"records of {costs['recordio']['bytes_a_record']:,} bytes decoded": f"{costs['recordio']['records_a_second']:,} a second",
        f"raw pictures read, in random batches of {costs['batch']}": f"{raw['pictures_a_second']:,} a second",
        "JPEGs read": f"{jpeg['pictures_a_second']:,} a second",
        "room of a raw picture": f"{raw['bytes_a_picture']:,} bytes",
        "room of a JPEG": f"{jpeg['bytes_a_picture']:,} bytes",
        "a JPEG's difference from the picture, mean": f"{jpeg['grey_levels_off']:.2f} grey levels of 256",
        f"{names['pictures']:,} names and labels, listed": mb["listed"],
        "listed, split and written": mb["prepared"],
        "read, and an epoch drawn": mb["read"],
    }
    table = pd.DataFrame({"rate or size": rows}).rename_axis("what")
else:
    table = pd.DataFrame()
pages.shown(table, "python -m maskfr_utils.measure.data_costs")

# %% tags=["remove-input"]
if soak:
    inputs, failed = (sum(each[what] for each in soak["formats"].values()) for what in ("inputs", "failed"))
    told = f"Of {inputs:,} damaged files in {len(soak['formats'])} formats {f'all but {failed} were' if failed else 'every one was'} read,"
    told += " read without its lost parts, or refused in a clear line."
    if kills:
        told += f" Of {kills['runs']} runs that were killed {kills['kills']} times, {kills['unequal'] or 'none'} ended with other results"
        told += " than one that was not"
        odd = {"failed": kills["failed"], "left files half written": kills["left"]}
        told += "".join(f", {count} {what}" for what, count in odd.items() if count) + "."
else:
    told = "Not measured yet: `make soak` takes ten minutes or more."
if costs:
    told += (
        f" A core decodes {costs['recordio']['records_a_second']:,} records a second, and a million names take {mb['prepared']} while they "
        "are prepared."
    )
pages.box(told)

# %% [markdown]
# <details><summary><b>Exercise.</b> A checkpoint is protected by a checksum. Why does this test put it right again on most damaged ones?</summary>
#
# Otherwise nearly all inputs would end at the checksum, and what reads the fields behind it would never be tried. A checksum tells of
# failing disks; whoever means harm can compute it as well.
#
# </details>
