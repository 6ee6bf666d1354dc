"""What `pip install .` gives: all rooms with their data files, nothing else, and defaults for life outside the repository."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from maskfr_utils import paths
from maskfr_utils.paths import ROOT

pytest.importorskip("setuptools", minversion="77", reason="building a wheel takes setuptools 77 or later")


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The wheel's contents, where nothing of the repository is around."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    shutil.copytree(ROOT / "maskfr_utils", source / "maskfr_utils", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "tests", source / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = "from setuptools import build_meta; print(build_meta.build_wheel('.'))"
    done = subprocess.run([sys.executable, "-c", build], cwd=source, capture_output=True, text=True, timeout=120)
    assert not done.returncode, done.stderr
    (wheel,) = source.glob("*.whl")
    assert wheel.stat().st_size < 5 * 2**20
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return target


def files(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_everything_and_nothing_else(installed):
    assert files(installed / "maskfr_utils") == files(ROOT / "maskfr_utils")
    assert {"py.typed", "masks/styles.yaml"} <= files(installed / "maskfr_utils")
    assert [path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")] == ["maskfr_utils"]


def run(installed: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    environment = {"PYTHONPATH": str(installed), "PATH": "", "HOME": str(folder), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )


def test_it_draws_and_keeps_its_files_in_the_current_folder(installed, tmp_path):
    lines = (
        "from maskfr_utils import masks, paths, rendered",
        "faces = rendered.render_faces(1, 2)",
        "print(masks.mask_faces(faces.images, faces.landmarks).ok.all())",
        "print(paths.__file__, paths.runs_dir(), paths.data_dir(), paths.cache_dir(), sep='\\n')",
    )
    done = run(installed, tmp_path, "-c", "\n".join(lines))
    assert not done.returncode, done.stderr
    ok, module, *folders = done.stdout.splitlines()
    assert ok == "True" and Path(module).is_relative_to(installed)
    assert folders == [str(tmp_path / name) for name in ("runs", "data", ".cache/maskfr_utils")]


def test_the_study_says_that_it_needs_the_repository(installed, tmp_path):
    done = run(installed, tmp_path, "-m", "maskfr_utils.study", "--list")
    assert done.returncode == 2 and not done.stdout
    assert "needs its repository" in done.stderr and len(done.stderr.splitlines()) == 1


def test_in_the_repository_they_lie_in_it(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MASKFR_DATA", raising=False)
    assert paths.is_checkout() and paths.runs_dir() == ROOT / "runs" and paths.data_dir() == ROOT / "data"
