"""One list of dependencies: pyproject.toml. What else names packages must agree with it."""

import re
import tomllib

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from maskfr_utils.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REQUIREMENTS = [
    Requirement(r) for group in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()) for r in group
]


def test_conda_environment_installs_this_package_with_all_extras():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    (pip,) = [d["pip"] for d in environment["dependencies"] if isinstance(d, dict)]
    match = re.fullmatch(r"-e \.\[([\w,]+)\]", pip[0])
    assert len(pip) == 1 and set(match[1].split(",")) == set(PROJECT["optional-dependencies"])
    (python,) = [d for d in environment["dependencies"] if str(d).startswith("python=")]
    assert Requirement(f"x{PROJECT['requires-python']}").specifier.contains(python.split("=")[1])


def test_lock_pins_a_version_that_fits_for_every_dependency():
    pins = {}
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        pin = Requirement(line)
        pins.setdefault(canonicalize_name(pin.name), []).append(pin)
    for requirement in REQUIREMENTS:
        found = pins[canonicalize_name(requirement.name)]
        for pin in found:
            (version,) = [s.version for s in pin.specifier if s.operator == "=="]
            assert requirement.specifier.contains(Version(version), prereleases=True), f"{requirement}: {pin}"


def test_the_packages_that_the_study_is_built_on_are_there():
    names = {canonicalize_name(r.name) for r in REQUIREMENTS}
    assert names >= {"jupyterlab", "jupytext", "papermill", "jupyter-book", "matplotlib", "seaborn", "pandas"}
    assert names >= {"torch", "torchvision", "h5py"}
    assert "dlib-bin" in names and "opencv-python-headless" in names


def test_the_container_is_built_from_files_that_are_here_and_the_same_pins():
    lines = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    commands = [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]
    python = next(rest for command, rest in commands if command == "FROM").removeprefix("python:").removesuffix("-slim")
    assert Requirement(f"x{PROJECT['requires-python']}").specifier.contains(python)
    copied = [word for command, rest in commands if command == "COPY" for word in rest.split()[:-1] if word[:2] != "--"]
    assert copied and all((ROOT / name).exists() for name in copied)
    assert any("-r requirements.lock" in rest for command, rest in commands if command == "RUN")
    assert next(rest for command, rest in commands if command == "USER") != "root"


def test_no_faces_runs_or_environment_get_into_an_image():
    left_out = (ROOT / ".dockerignore").read_text().splitlines()
    assert {".venv", ".git", "data", "runs", "gallery"} <= set(left_out)
