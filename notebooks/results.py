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
# # Results so far
#
# **Question.** How often is the right person named, with and without a mask?
#
# Each row is one run, read from the record that it left in `book/results/`. The interval is Wilson's at 95 % over the
# test photos. The command that makes a run again is `python -m maskfr_utils.train -f params/<scale>/<run>.yaml`; `pins`
# is a set of real photos of 105 people, the demo faces are rendered.

# %% tags=["parameters"]
results = None  # folder of records; default: the book's

# %%
from pathlib import Path

from maskfr_utils import paths, plots, report

folder = Path(results) if results else paths.results_dir()
records = {file.stem: report.read_record(file) for file in sorted(folder.glob("*.json"))}
report.result_table(records).T

# %% [markdown]
# ## Beside the report
#
# The report trained IResNet-50 at full width on a GPU, on masked faces for masked ones and on unmasked for unmasked,
# with about 1,000 people of MS-Celeb-1M. Its numbers stand here for orientation: other people, other photos, other
# scale.

# %%
import pandas as pd

ours = {
    f"{name} (ours, width {r['params']['width']:g})": {c: r["metrics"][c]["accuracy"] for c in ("masked", "unmasked")}
    for name, r in records.items()
}
pd.DataFrame.from_dict(
    {"IResNet-50, batch 512 (the report)": report.PUBLISHED_TABLE_1} | ours, orient="index"
).style.format("{:.1%}")

# %% [markdown]
# ## How the training went

# %%
from IPython.display import display

for name, record in records.items():
    figure = plots.training_curves(record["history"])
    figure.suptitle(f"{name}: {record['provenance']['device']}, {record['provenance']['seconds'] / 60:.0f} minutes")
    figure.tight_layout()
    display(figure)

# %% [markdown]
# ## Why not the report's formula
#
# It counts true negatives: with $n$ people, a photo that is named wrongly still brings $n - 2$ of $n$ decisions right.
# Beside top-1 accuracy, the mean of the per-person accuracies (what the original code printed) and the formula's value
# on the same predictions:

# %%
rows = {
    f"{name}, {c}": {k: r["metrics"][c][k] for k in ("accuracy", "macro", "report_formula", "tp", "fp", "fn", "tn")}
    for name, r in records.items()
    for c in ("masked", "unmasked")
}
pd.DataFrame.from_dict(rows, orient="index").style.format("{:.1%}", subset=["accuracy", "macro", "report_formula"])
