"""A change of what the code computes makes the right records stale and names the part; anything else makes none."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from maskfr_utils import batches, fingerprint, loop, losses, recogniser, run_state, splits, store
from maskfr_utils.masks import draw
from maskfr_utils.metrics import closed_set
from maskfr_utils.models import blocks, networks
from maskfr_utils.names import NETWORKS
from maskfr_utils.original import probes
from maskfr_utils.paths import ROOT
from maskfr_utils.probes import faces, training
from maskfr_utils.probes.runs import of_run
from maskfr_utils.rendered import render
from maskfr_utils.study.run import Run

pytestmark = pytest.mark.usefixtures("shallow")

DEMO, POCKET = Run(scale="demo"), Run(scale="pocket", model="ressanet50")
PARTS = of_run(DEMO.params()) | of_run(POCKET.params())


@pytest.fixture(autouse=True, scope="module")
def smaller_probe():
    """What a change moves hangs neither on the size of the probe nor, within a process, on its precision."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "trainer", partial(training.trainer, batch_size=2))
        patch.setattr(training, "EXACT", torch.float32)
        patch.setattr(training, "PRECISION", "32-true")
        yield


@pytest.fixture
def whole_probe(monkeypatch):
    """The probe as it is, whose numbers are compared with those of another process."""
    monkeypatch.setattr(training, "trainer", training.trainer.func)
    monkeypatch.setattr(training, "EXACT", torch.float64)
    monkeypatch.setattr(training, "PRECISION", "64-true")


@pytest.fixture(scope="module")
def then():
    return {name: compute() for name, compute in PARTS.items()}


def moved(then, parts=PARTS):
    now = {name: compute() for name, compute in parts.items()}
    return set(fingerprint.moved({name: then[name] for name in parts}, now))


def test_the_same_code_moves_nothing_and_leaves_torchs_draws_alone(then):
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    assert moved(then) == set()
    assert torch.equal(torch.rand(2), expected)


def wrap(monkeypatch, owner, name, change):
    """Lets `change` work on what a function gives."""
    original = getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *args, **kwargs: change(original(*args, **kwargs)))


def no_decay_of_the_head(monkeypatch):
    def moved(groups):
        (*rest, head), others = (group["params"] for group in groups)
        return [groups[0] | {"params": rest}, groups[1] | {"params": [*others, head]}]

    wrap(monkeypatch, recogniser.Recogniser, "groups", moved)


def nesterov(monkeypatch):
    class SGD(run_state.RowSGD):
        def __init__(self, parameters, **kwargs):
            super().__init__(parameters, **kwargs, nesterov=True)

    monkeypatch.setattr(run_state, "RowSGD", SGD)


def a_little_dot(images):
    images[0, 80:82, 50:52] ^= 127
    return images


STEPS, OF_RESSANET = {"steps iresnet50"}, {"network ressanet50", "steps ressanet50"}
CHANGES = {
    "people rendered a little brighter": (
        lambda patch: wrap(patch, render, "RenderedFaces", lambda out: (np.copyto(out.images, out.images | 1), out)[1]),
        {"rendered people"},
    ),
    "a dot on each first mask": (
        lambda patch: wrap(patch, draw, "MaskedFaces", lambda out: (a_little_dot(out.images), out)[1]),
        {"masks"},
    ),
    "copies found at another likeness": (
        lambda patch: patch.setattr(splits, "_likeness", lambda a, b: a @ b.T),
        {"split"},
    ),
    "another share of each person tested": (
        lambda patch: wrap(patch, splits, "make_splits", lambda out: (np.negative(out.split, out.split), out)[1]),
        {"split"},
    ),
    "batches of the store reversed": (
        lambda patch: wrap(patch, store.FaceStore, "batch", lambda out: (out[0][::-1].copy(), out[1])),
        {"batches", "evaluation"} | STEPS,
    ),
    "another order": (
        lambda patch: wrap(patch, batches.EpochBatches, "__iter__", lambda out: iter(list(out)[::-1])),
        {"batches"} | STEPS,
    ),
    "never mirrored": (
        lambda patch: patch.setattr(loop, "augment", lambda images, generator, strength=0.0: images),
        {"augmentation"} | STEPS,
    ),
    "a rate that ends higher": (
        lambda patch: wrap(patch, loop.Trainer, "rate_and_margin_share", lambda out: (out[0] * 1.01, out[1])),
        {"schedule"} | STEPS,
    ),
    "a margin that is whole at once": (
        lambda patch: wrap(patch, loop.Trainer, "rate_and_margin_share", lambda out: (out[0], 1.0)),
        {"schedule"} | STEPS,
    ),
    "squeeze and excitation twice": (
        lambda patch: patch.setattr(blocks.SE, "forward", lambda self, x: x * 0.9),
        OF_RESSANET,
    ),
    "other initial weights": (
        lambda patch: patch.setattr(networks, "initialise", lambda model: None),
        {"network iresnet50"} | STEPS | OF_RESSANET,
    ),
    "another margin": (
        lambda patch: patch.setattr(losses, "turn", lambda cosine, margin: cosine - margin),
        {"loss arcface"} | STEPS,
    ),
    "another optimiser argument": (nesterov, STEPS),
    "no weight decay of the class weights": (no_decay_of_the_head, STEPS),
    "gradients that add up": (
        lambda patch: patch.setattr(torch.optim.Optimizer, "zero_grad", lambda self: None),
        STEPS,
    ),
    "other metrics": (
        lambda patch: wrap(patch, closed_set, "wilson", lambda out: (out[0] * 0.9, out[1])),
        {"evaluation"},
    ),
    "ties count as hits": (
        lambda patch: wrap(patch, loop.Trainer, "evaluate", lambda out: (out[0], out[1] | {"masked_rank": [1]})),
        {"evaluation"},
    ),
    "training mode while testing": (
        lambda patch: patch.setattr(nn.Module, "eval", lambda self: self),
        {"evaluation", "network iresnet50", "network ressanet50"},
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_caught_where_it_is_made(then, monkeypatch, change):
    apply, expected = CHANGES[change]
    apply(monkeypatch)
    parts = set(PARTS)
    if not expected & faces.PARTS.keys():  # what trains cannot reach back to how faces are made
        parts -= faces.PARTS.keys()
    if not expected & OF_RESSANET:  # one network stands for both where nothing of their own is changed
        parts -= OF_RESSANET
    assert moved(then, {name: PARTS[name] for name in parts}) == expected


def test_only_the_records_that_hang_on_a_part_are_stale():
    demo, pocket = (set(of_run(run.params())) for run in (DEMO, POCKET))
    assert {"rendered people", "network iresnet50", "steps iresnet50"} == demo - pocket
    assert {"pictures", "network ressanet50", "steps ressanet50"} == pocket - demo
    fresh = of_run(DEMO.params() | {"fresh_masks": True, "loss": "cosface"})
    assert set(fresh) - demo == {"fresh masks", "loss cosface"}


def test_the_reports_recipe_has_parts_of_its_own(monkeypatch):
    report = of_run(Run(scale="demo", recipe="report").params())
    new = {"steps iresnet50 decay=all", "steps iresnet50 depthwise_fan=layer"}
    assert set(report) - set(of_run(DEMO.params())) == new
    decay = report["steps iresnet50 decay=all"]
    then = {"decay": decay()}
    assert fingerprint.moved({"decay": report["steps iresnet50"]()}, then)  # it is another recipe
    wrap(monkeypatch, recogniser.Recogniser, "groups", lambda groups: [groups[0] | {"weight_decay": 0.0}, *groups[1:]])
    assert fingerprint.moved(then, {"decay": decay()}) == ["decay"]


def test_a_new_loss_network_or_kind_of_mask_moves_nothing(then, monkeypatch):
    monkeypatch.setitem(losses.LOSSES, "mine", losses.LOSSES["cosface"])
    monkeypatch.setitem(NETWORKS, "mine", NETWORKS["iresnet50"])
    assert losses.create_loss("mine", 8, 5) is not None
    parts = [part for part in PARTS if part.startswith(("network", "loss", "steps", "evaluation"))]
    assert moved(then, {part: PARTS[part] for part in parts}) == set()


def test_what_is_new_makes_nothing_stale():
    then = {"masks": {"cloth": [1.0, 2.0]}, "loss arcface": {"x": [3.0]}}
    now = {"masks": {"cloth": [1.0, 2.0004], "snood": [7.0]}, "loss arcface": {"x": [3.0]}, "loss mine": {"x": [0.0]}}
    assert fingerprint.moved(then, now) == []
    assert fingerprint.moved(then, now | {"masks": {"cloth": [1.0, 2.01]}}) == ["masks"]
    assert fingerprint.moved(then, now | {"masks": {"cloth": [1.0]}}) == ["masks"]
    assert fingerprint.moved(then, {"masks": {"snood": [7.0]}}) == ["masks", "loss arcface"]


def test_a_sketch_sees_a_dot_but_no_last_bits():
    rng = np.random.default_rng(1)
    picture = rng.integers(1, 254, (112, 112, 3)).astype(np.uint8)
    bits = picture + (rng.random(picture.shape) < 0.02).astype(np.uint8)
    dot = picture.copy()
    dot[50:53, 60:63] = 0

    def same(other):
        sketches = ({"x": {"y": fingerprint.sketch(p)}} for p in (picture, other))
        return not fingerprint.moved(*sketches)

    assert same(bits) and not same(dot)


@pytest.fixture
def copy(tmp_path):
    """The package in a folder of its own, as another commit would have it."""
    for folder in ("maskfr_utils", "params"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def python(folder, code, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, env=os.environ | environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


SHOW = """
from maskfr_utils import fingerprint
from maskfr_utils.probes.runs import of_run
from maskfr_utils.study.run import Run
parts = of_run(Run(scale="pocket").params())
few = {name: parts[name] for name in ("batches", "schedule", "loss arcface")}
print(fingerprint.sources(), fingerprint.digest(fingerprint.numbers(few)))
"""


def test_files_may_be_renamed_and_code_written_otherwise(copy, whole_probe, capsys):
    exec(SHOW, {})  # what a process says that has this code
    first_sources, first = capsys.readouterr().out.split()
    package = copy / "maskfr_utils"
    (package / "batches.py").rename(package / "feeding.py")
    for path in package.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("maskfr_utils.batches", "maskfr_utils.feeding"))
    loop_text = (package / "loop.py").read_text(encoding="utf-8")
    assert "LOG_EVERY" in loop_text
    (package / "loop.py").write_text("# A remark.\n" + loop_text.replace("LOG_EVERY", "STEPS_BETWEEN_LOOKS"))
    second_sources, second = python(copy, SHOW).split()
    assert first_sources != second_sources and first == second


def test_what_was_computed_is_read_again_without_torch(copy):
    python(copy, SHOW)
    quick = SHOW + "import sys; assert 'torch' not in sys.modules"
    assert python(copy, quick) == python(copy, SHOW)


def test_a_broken_memory_is_computed_anew(monkeypatch, tmp_path):
    monkeypatch.setenv("MASKFR_CACHE", str(tmp_path))
    part = {"part": lambda: {"x": [1.0]}}
    assert fingerprint.numbers(part) == {"part": {"x": [1.0]}}
    (memory,) = tmp_path.glob("fingerprint-*.json")
    for text in ("", "{", "[]", '"x"'):
        memory.write_text(text)
        assert fingerprint.numbers(part) == {"part": {"x": [1.0]}}
    assert fingerprint.numbers({"part": lambda: {"x": [2.0]}}) == {"part": {"x": [1.0]}}  # remembered


def test_what_two_compute_at_once_is_computed_once_and_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("MASKFR_CACHE", str(tmp_path))
    made, begin = [], threading.Barrier(2)

    def part(name):
        def compute():
            time.sleep(0.05)
            made.append(name)
            return {"x": [float(len(name))]}

        return compute

    def look(names):
        begin.wait()
        return fingerprint.numbers({name: part(name) for name in names})

    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(look, (["a", "bb", "ccc"], ["bb", "ccc", "dddd"]))
    assert sorted(made) == ["a", "bb", "ccc", "dddd"]
    assert one | two == {name: {"x": [float(len(name))]} for name in made}
    assert fingerprint.numbers(dict.fromkeys(made, pytest.fail)) == one | two


def test_numbers_do_not_hang_on_the_threads_that_a_process_has():
    threads = torch.get_num_threads()
    try:
        found = []
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append([PARTS["network iresnet50"](), probes.network("ressanet50", ("shared_modules", "network"))])
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    assert found[0] == found[1]


ELSEWHERE = """
import json
from maskfr_utils.probes.runs import of_run
from maskfr_utils.study.run import Run
parts = of_run(Run(scale="demo", model="resnet50").params())
few = {name: parts[name]() for name in ("augmentation", "loss arcface", "steps resnet50")}
print(json.dumps(few))
"""


@pytest.mark.slow  # a book's build compares the records' numbers, made on other processors, with those of this one
def test_numbers_do_not_hang_on_the_processor(shallow, whole_probe, monkeypatch):
    """Torch without the instructions that it would choose here rounds otherwise; a whole ResNet makes most of that."""
    monkeypatch.setitem(NETWORKS, "resnet50", shallow["resnet50"])
    there = json.loads(python(ROOT, ELSEWHERE, ATEN_CPU_CAPABILITY="default"))
    parts = of_run(Run(scale="demo", model="resnet50").params())
    here = {name: parts[name]() for name in there}
    assert here != there and fingerprint.moved(here, there) == [] == fingerprint.moved(there, here)
