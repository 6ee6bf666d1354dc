"""Every notebook runs under papermill at a small setting and shows what its chapter claims; the main one takes what the
command line takes.

The chapters of the study's results are run on records that were written by hand (`hand_made_records`), so that what they
must say can be counted out.
"""

import ast
import json
import re
from dataclasses import asdict
from functools import partial

import in_process
import nbformat
import papermill
import pytest
from hand_made_records import other_runs, some_runs
from papermill.exceptions import PapermillExecutionError
from shallow import shallow
from small_runs import PLAN

from maskfr_utils.config import TrainConfig
from maskfr_utils.measure import speed, steps
from maskfr_utils.names import NETWORKS
from maskfr_utils.paths import ROOT, results_dir
from maskfr_utils.recognise import demo
from maskfr_utils.study.pages import WAITING

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
ON_RECORDS = ("ablation", "batch_size", "compare_models", "masked_vs_unmasked", "results", "tuning")
ON_OTHERS = ("conditions", "losses")
ON_MEASUREMENTS = ("strangers", "where_it_looks")  # here without one
SMALL = {
    "train": {
        "model": "ressanet50",
        "width": 0.05,
        "identities": 4,
        "per_identity": 10,
        "epochs": 2,
        "batch_size": 8,
        "embedding_dim": 32,
    },
    "data": {"identities": 4, "per_identity": 10},
    "masking": {"faces": 30},
    "models": {"expansions": [2, 3], "reductions": [4, 8]},  # the setting that fits, and one beside it
    "arcface": {"steps": 30},
}
SHALLOW = (
    "ablation",
    "benchmarks",
    "compare_models",
    "memory",
)  # that tell costs: those of whole networks `models` tells


def one_second(runs, repeats=5, warm=True):
    """Instead of `timings`: how long anything takes, `test_speed` measures."""
    return {name: [1.0] * repeats for name in runs}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Runs a notebook once, away from the repository, and returns its folder and all the text that it shows."""
    pages = {}

    def run(name):
        if name not in pages:
            folder = tmp_path_factory.mktemp(name)
            parameters = dict(SMALL.get(name, {}))
            if name == "train":
                parameters["out_dir"] = str(folder / "run")
            if name in ON_RECORDS:
                parameters |= {"results": str(some_runs(folder))} | ({} if name == "results" else {"scale": "demo"})
            if name in ON_OTHERS:
                parameters |= {"results": str(other_runs(folder)), "scale": "demo"}
            if name in ON_MEASUREMENTS:
                parameters["results"] = str(folder)
            with pytest.MonkeyPatch.context() as patch:
                patch.setitem(speed.PLANS, "smoke", PLAN)
                for network in NETWORKS if name in SHALLOW else ():
                    patch.setitem(NETWORKS, network, shallow(network))
                if name == "benchmarks":
                    patch.setattr(speed, "timings", one_second)
                    patch.setattr(steps, "timings", one_second)
                    patch.setattr(
                        speed, "where_time_goes", lambda step: dict.fromkeys(steps.KINDS, 1 / len(steps.KINDS))
                    )
                if name == "recognise":
                    patch.setattr(demo, "write_photos", partial(demo.write_photos, people=3, strangers=1, photos=2))
                patch.chdir(folder)  # no notebook depends on the current folder
                source = ROOT / "notebooks" / f"{name}.ipynb"
                engine = None if name == "train" else in_process.NAME  # one in a kernel, as users run them all
                with (folder / "said.txt").open("w") as said:
                    papermill.execute_notebook(
                        source, folder / "out.ipynb", parameters, engine, progress_bar=False, stderr_file=said
                    )
            pages[name] = folder, words(folder / "out.ipynb")
        return pages[name]

    yield run
    in_process.Shell.clear_instance()


def words(notebook) -> str:
    """The text of a notebook's outputs, tables without their tags, one blank between words."""
    shown = []
    for cell in nbformat.read(notebook, as_version=4).cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            text = (
                output.get("text") or data.get("text/html") or data.get("text/markdown") or data.get("text/plain", "")
            )
            shown.append(re.sub(r"<style.*?</style>|<[^>]+>", " ", text, flags=re.S))
    return " ".join(" ".join(shown).replace("&lt;", "<").split())


@pytest.mark.parametrize("path", [pytest.param(p, id=p.stem) for p in NOTEBOOKS])
def test_runs_and_draws(path, page):
    folder, _ = page(path.stem)
    done = nbformat.read(folder / "out.ipynb", as_version=4)
    shown = [o.get("data", {}) for c in done.cells for o in c.get("outputs", [])]
    drawn = any({"image/png", "image/svg+xml"} & data.keys() or "<svg" in data.get("text/html", "") for data in shown)
    assert drawn or (
        path.stem in ("audit", "batch_size", *ON_MEASUREMENTS) and WAITING in str(shown)
    )  # no axes without anything in them


def test_masked_vs_unmasked_tells_cost_and_gain_and_whether_they_are_more_than_luck(page):
    _, text = page("masked_vs_unmasked")
    # Seven differences are planned: the gain's p of 0.020, of Student's t over three seeds, is none of seven.
    gain = r"Gain of masked training, on masked faces \+40\.0 \(\+15\.2 to \+64\.8\) undecided 0\.020 \S+ \+30\.0, \+40\.0, \+50\.0"
    assert re.search(gain, text)
    assert re.search(r"Cost of a mask, trained on unmasked \+55\.0 .*? beyond noise", text)
    assert "Gain of masked training, on unmasked faces 0.0 (0.0 to 0.0) undecided 1.000 1.000 0.0, 0.0, 0.0" in text
    assert "100.0% of the bare test photos correctly, and 45.0% of the same photos with a mask" in text
    assert "Whether drawn masks stand in for real ones is not measured yet." in text
    assert "by mask: 12 cloth, 8 n95; by yaw: 20 under 10°" in text
    assert "Not measured yet: `python -m maskfr_utils.measure.real_masks" in text


def test_compare_models_orders_networks_without_calling_two_seeds_a_verdict(page):
    _, text = page("compare_models")
    assert re.search(r"ResSaNet-50 − IResNet-50 \+10\.0 \([^)]*\) undecided \(2 of 3 seeds\) \+10\.0, \+10\.0", text)
    assert re.search(
        r"Of the 2 networks that are run on rendered faces, ResSaNet-50 has the highest accuracy, 92\.5% [^;]*; its lead over"
        r" IResNet-50 is undecided\.",
        text,
    )
    assert "ResSaNet-50, seed 0: 2 of 20 photos are named wrongly" in text and "happens 1 time." in text
    # 3 of 20 wrong on average; the report's formula counts 80 decisions, of which each wrong name spoils two
    assert "IResNet-50 85.0% 85.0% 92.5% 17 3 3 57" in text
    assert "IResNet-50 80.0, 85.0, 90.0 5.0 60" in text  # by seed, deviation, learnt


def test_results_say_of_each_conclusion_whether_it_holds(page):
    _, text = page("results")
    assert (
        "IResNet-50 does better without masks than with them, each trained on its own kind" in text
        and "undecided: +15.0 (+2.6 to +27.4)" in text  # of six that are planned
    )
    said = r"Of the report's 6 conclusions 2 are undecided: IResNet-50 does better without masks [^(]*\(rendered faces \+15\.0\) and "
    assert re.search(said, text)
    assert " and ResSaNet-50 beats IResNet-50 (rendered faces +10.0). 4 are not run yet: " in text


def test_batch_size_knows_what_was_not_run(page):
    _, text = page("batch_size")
    assert "The report found 512 the best" in text and "not run yet" in text and "85.0" in text


def test_tuning_and_ablation_say_what_was_not_run(page):
    _, text = page("tuning")
    assert "No network has been tried yet." in text and "ResSaNet-50 10.0 20.0 10.0" in text  # by epoch, last step
    _, text = page("ablation")
    assert re.search(r"ResSaNet-50 − IResNet-50 \+10\.0 .* undecided \(2 of 3 seeds\)", text)
    assert "IResNet-50 + SE" in text and "not run yet" in text


def test_losses_and_conditions_tell_what_was_run_and_what_was_not(page):
    _, text = page("losses")
    assert re.search(r"CosFace 16 0\.2 \S+ 95\.0 \d 85\.0 85\.0 9 of 9", text)
    assert "MagFace not run yet not run yet" in text
    assert re.search(r"softmax − ArcFace −40\.0 \(−40\.0 to −40\.0\) worse .*? −40\.0, −40\.0, −40\.0", text)
    assert "so far, of 9, each with settings of its own, none names more masked rendered faces than ArcFace" in text
    assert (
        "*Not run yet: real photos; real photos at full width.* `python -m maskfr_utils.study losses` runs it." in text
    )
    _, text = page("conditions")
    assert re.search(r"toss of a coin: masked − unmasked faces −10\.0 \([^)]*\) undecided [^:]* not shown", text)
    assert "both twins of each photo in one batch not run yet" in text


def test_strangers_say_how_to_measure_what_was_not_run(page):
    for name in ON_MEASUREMENTS:
        _, text = page(name)
        assert f"not measured yet: `python -m maskfr_utils.measure.{name} runs/RUN runs/RUN ...` measures it" in text
        assert "made from no record" in text


def test_data_gives_each_photo_one_part(page):
    _, text = page("data")
    total = int(re.search(r"pictures (\d+)", text)[1])
    parts = {p: int(re.search(rf"{p} (\d+) \d+ \d+", text)[1]) for p in ("training", "validation", "test", "left out")}
    assert sum(parts.values()) == total == 40 and parts["left out"] == 0  # rendered pictures have no copies
    assert min(parts["training"], parts["validation"], parts["test"]) > 0
    pins = json.loads((results_dir() / "sources" / "pins.json").read_text())["cleaning"]
    assert (
        f"leaves these out by name. The middle of the face finds {pins['middle']['found'] / pins['known']:.0%}" in text
    )


def test_models_reproduces_the_published_numbers(page):
    _, text = page("models")
    assert re.search(r"parameters, M 24\.558 43\.591 65\.156 44\.\d+ 66\.\d+", text)
    assert "parameters, M: published 43.57 65.16 44.13 66.35" in text
    assert "BatchNorm: 2 operations an element; PReLU: counted" in text
    assert "5 of 180 print all four numbers" in text


def test_arcface_puts_the_equation_right(page):
    """A face 40 degrees from its identity is scored as if 0.5 radians (28.6 degrees) farther: cos 68.6° = 0.364."""
    _, text = page("arcface")
    assert re.search(r"own identity 40 0\.766 68\.6 23\.3", text)  # 64 * 0.364
    printed = re.search(r"angle, degrees the loss as printed 20 (\S+) (\S+) 40", text)
    assert float(printed[1]) > 0 > float(printed[2])  # without its logarithm no loss: it has no lower bound
    assert "at $s = 4$ it would be 0.34" in text  # 1 / (1 + 104 exp(-4))


def test_blocks_neither_vanish_nor_explode(page):
    _, text = page("blocks")
    rows = re.findall(r"(?:IResNet|ResSaNet)-\d+ [\d,]+ ([\d.]+) ([\d.]+) ([\d.]+)", text)
    assert len(rows) == 4
    for smallest, largest, gradients in rows:
        assert 0.1 < float(smallest) < float(largest) < 20 and float(gradients) < 100


def test_masking_tells_what_the_records_say(page):
    _, text = page("masking")
    success, realism, rendered = (
        json.loads((results_dir() / "masks" / f"{name}.json").read_text())
        for name in ("success", "realism", "rendered")
    )
    pins, draws = success["aligned"]["pins"], realism["auc"]["draws"]
    assert re.search(rf"pins {pins['faces']:,} {pins['masked'] / pins['faces']:.1%}", text)
    assert f"drawn with {len(draws)} seeds: AUC {min(draws):.2f} to {max(draws):.2f}." in text
    assert f"Of {rendered['accepted']['faces']} rendered faces it finds {rendered['accepted']['detected']:.0%}" in text


def test_benchmarks_read_a_record_and_measure_anew(page):
    _, text = page("benchmarks")
    record = json.loads((results_dir() / "speed" / "cpu.json").read_text())
    assert f"{record['provenance']['device']}, {record['provenance']['threads']} threads, PyTorch" in text
    assert re.search(r"bf16 is \d\.\d+ times as fast as fp32|fp16 is", text)
    # of the record, beside its images a second, and of here and now
    assert len(re.findall(r"plain fp32 loop (?:[\d.]+ )?1\.00 \(1\.00 to 1\.00\)", text)) == 2


def test_train_shows_the_accuracy_of_its_record(page):
    folder, text = page("train")
    record = json.loads((folder / "run" / "record.json").read_text())
    assert record["params"]["model"] == "ressanet50" and len(record["history"]) == 2
    for twin in ("masked", "unmasked"):
        assert re.search(rf"{twin} {record['metrics'][twin]['accuracy']:.1%} \(", text)
    assert (folder / "run" / "predictions.csv").exists()
    for file in (folder / "said.txt", folder / "run" / "train.log"):  # what `make train` shows meanwhile
        said = file.read_text()
        assert re.search(r"epoch 2, loss [\d.]+, train_accuracy", said) and len(said.splitlines()) < 250


def test_parameters_of_the_train_notebook_are_those_of_a_run():
    found = papermill.inspect_notebook(ROOT / "notebooks" / "train.ipynb")
    assert {name: ast.literal_eval(p["default"]) for name, p in found.items()} == asdict(TrainConfig())


def test_misspelt_parameter_stops_the_train_notebook(tmp_path):
    with pytest.raises(PapermillExecutionError, match="did you mean model"):
        papermill.execute_notebook(
            ROOT / "notebooks" / "train.ipynb", tmp_path / "out.ipynb", {"modle": "iresnet50"}, progress_bar=False
        )
