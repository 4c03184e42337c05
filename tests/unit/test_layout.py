"""The plan of the package: who may import whom, what is imported where, and how long a module may be."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import simclr_edu

PACKAGE = Path(simclr_edu.__file__).parent
MODULES = {
    ".".join(("simclr_edu", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
# What anybody may use, and what uses nobody.
ALWAYS = {
    "_checks",
    "_command",
    "_compat",
    "_downloads",
    "_locks",
    "_progress",
    "_randomness",
    "_settings",
    "cores",
    "device",
    "home",
}
# Each room, and the rooms that it may import beside those of ALWAYS.
ROOMS = {
    "augment": set(),
    "distributed": set(),
    "losses": {"distributed"},
    "encoders": set(),
    "checkpoints": set(),
    "diagnostics": set(),
    "data": set(),
    "simclr": {"augment", "encoders", "losses", "distributed"},
}
ROOMS["pretrain"] = {"data", "checkpoints", "diagnostics", *ROOMS, "simclr"}
ROOMS["evaluate"] = {"pretrain", *ROOMS["pretrain"]}
ROOMS["course"] = set(ROOMS)
ROOMS["commands"] = set(ROOMS)
ROOMS["__main__"] = set(ROOMS)
LONGEST = 400  # lines


def imported(path):
    """Every module of this package and every library that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports by dots"
            for alias in node.names:  # what is imported may be a module or a name in one
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else node.module


def room_of(module):
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_one_way(module):
    own = room_of(module)
    ours = {room_of(name) for name in imported(MODULES[module]) if name.split(".")[0] == "simclr_edu"} - {
        own,
        "",
    }
    if own in ALWAYS:
        assert ours <= ALWAYS
    elif own:
        assert ours - ALWAYS <= ROOMS[own], f"{module} imports {sorted(ours - ALWAYS - ROOMS[own])}"
    else:
        assert ours == {"_command", "_compat", "cores"}


def test_every_room_has_its_place_in_the_plan():
    assert {room_of(module) for module in MODULES} - {""} == ALWAYS | set(ROOMS)


@pytest.mark.parametrize("library", ["matplotlib", "ipywidgets", "IPython"])
def test_only_the_course_draws(library):
    users = {
        module for module, path in MODULES.items() if any(n.split(".")[0] == library for n in imported(path))
    }
    assert users and {room_of(module) for module in users} == {"course"}


@pytest.mark.slow
def test_the_package_loads_no_library_of_the_course():
    code = (
        "import sys, simclr_edu, simclr_edu.simclr, simclr_edu.pretrain, simclr_edu.evaluate;"
        "print(sorted({'matplotlib', 'ipywidgets', 'IPython', 'simclr_edu.course'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


@pytest.mark.parametrize("module", MODULES)
def test_a_module_is_short_and_has_no_banners(module):
    lines = MODULES[module].read_text(encoding="utf-8").splitlines()
    assert len(lines) <= LONGEST, f"{module} has {len(lines)} lines"
    assert not [line for line in lines if line.startswith(("# ---", "# ===", "####"))]


def test_no_file_bears_the_name_of_a_public_function():
    for package, path in MODULES.items():
        if path.name != "__init__.py":
            continue
        names = {path.stem for path in path.parent.glob("*.py")}
        tree = ast.parse(path.read_text(encoding="utf-8"))
        shown = {a.asname or a.name for n in tree.body if isinstance(n, ast.ImportFrom) for a in n.names}
        assert not names & shown, f"{package}: {names & shown} are files and functions"
