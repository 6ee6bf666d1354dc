"""The rooms of the package: who may import whom, and that functions fit on a screen."""

import ast
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from maskfr_utils.paths import ROOT

# From the ground up: a module imports from its own layer and from those before it. A name stands for a module or a room,
# the longest that fits a module counts. A new module must be given its place here.
LAYERS = {
    "the ground": "__init__ names paths engines records fingerprint messages plain_yaml stopping progress peaks",
    "faces and numbers": "faces store splits metrics verdicts profile",
    "what a run is made of": "rendered masks models losses partial norms memory",
    # Designed as a part of the ground's neighbourhood; but a run's style is checked by the masks' own styles, and devices
    # are made for a run's parameters.
    "a run's arguments": "config devices",
    # Probes compute what the code gives, so each stands beside what it computes: faces here, training below.
    "faces for a run": "batches convert merged parts prepare left_out probes.faces twins",
    "the run": "recogniser original run_folder checkpoints run_state compiling evaluation loop train probes",
    "what is made of runs": "recognise study measure figures attribution",
}
MODULES = sorted((ROOT / "maskfr_utils").rglob("*.py"))
FILES = MODULES + sorted((ROOT / "tests").glob("*.py")) + sorted((ROOT / "notebooks").glob("*.py"))
LONGEST = 60


def name_of(path: Path) -> str:
    """Of a module: without the package, and without `__init__` where it stands for a room."""
    parts = path.relative_to(ROOT / "maskfr_utils").with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


NAMES = {name_of(path): path for path in MODULES}


class Source(NamedTuple):
    """What the tests ask of a file, which is parsed once for all of them.

    Attributes:
        imports: (module, name, whether when the module is loaded) of all imports from the package; a module's own name is "".
        attributes: (name, attribute, line) of each `name.attribute`.
        functions: (name, lines).
    """

    imports: list[tuple[str, str, bool]]
    attributes: list[tuple[str, str, int]]
    functions: list[tuple[str, int]]


@cache
def read(path: Path) -> Source:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    inside = {id(node) for f in functions if isinstance(f, ast.FunctionDef) for node in ast.walk(f)}
    imports, attributes = [], []
    for node in nodes:
        at_once = id(node) not in inside
        if isinstance(node, ast.Import):
            imports += [(a.name, "", at_once) for a in node.names if a.name.split(".")[0] == "maskfr_utils"]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "maskfr_utils":
            imports += [(node.module, alias.name, at_once) for alias in node.names]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            attributes.append((node.value.id, node.attr, node.lineno))
    imports = [(module.removeprefix("maskfr_utils").strip("."), name, at_once) for module, name, at_once in imports]
    return Source(imports, attributes, [(node.name, node.end_lineno - node.lineno + 1) for node in functions])


def target(module: str, name: str) -> str:
    """The module that an import leads to."""
    whole = f"{module}.{name}".strip(".")
    return whole if whole in NAMES else module or "__init__"


def layer(name: str) -> int | None:
    places = {entry: i for i, entries in enumerate(LAYERS.values()) for entry in entries.split()}
    parts = name.split(".")
    tries = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
    return next((places[t] for t in tries if t in places), None)


@pytest.mark.parametrize("name", NAMES)
def test_arrows_point_down(name):
    mine = layer(name)
    assert mine is not None, f"{name} has no layer: give it one in {Path(__file__).name}"
    for module, imported, _ in read(NAMES[name]).imports:
        other = target(module, imported)
        theirs = layer(other)
        assert theirs is not None and theirs <= mine, f"{name} imports {other}, which lies above it"


def test_no_circle():
    """Modules that are loaded in a row never lead back; what a function imports when it is called does not count."""
    arrows = {
        name: {target(m, n) for m, n, at_once in read(path).imports if at_once} - {name} for name, path in NAMES.items()
    }
    left = dict(arrows)
    while free := [name for name, others in left.items() if not others & left.keys()]:
        for name in free:
            del left[name]
    assert not left, f"these modules import each other in a circle: {sorted(left)}"


def test_rooms_import_each_other_in_one_direction():
    """As modules, so rooms: one that imports another is not imported by it, by whatever way round."""
    arrows: dict[str, set[str]] = {}
    for name, path in NAMES.items():
        room = arrows.setdefault(name.split(".")[0], set())
        room |= {target(m, n).split(".")[0] for m, n, at_once in read(path).imports if at_once}
    left = {room: others - {room} for room, others in arrows.items()}
    while free := [room for room, others in left.items() if not others & left.keys()]:
        for room in free:
            del left[room]
    assert not left, f"these rooms import each other in a circle: {sorted(left)}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_private_name_of_another_module(path):
    modules = {}
    for module, name, _ in read(path).imports:
        private = name.startswith("_") and not name.startswith("__")
        assert not private, f"{path.name} imports {module}.{name}"
        if f"{module}.{name}".strip(".") in NAMES:
            modules[name] = module
    if path.parent.name == "tests":
        return  # a test may look into what it tests
    for owner, name, line in read(path).attributes:
        if owner in modules:
            private = name.startswith("_") and not name.startswith("__")
            assert not private, f"{path.name}, line {line}: {owner}.{name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_functions_fit_on_a_screen(path):
    for name, lines in read(path).functions:
        assert lines <= LONGEST, f"{path.name}: {name} has {lines} lines"
