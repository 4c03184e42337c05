"""What is installed where: one list, a core that moves no host, and files for other places that agree."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CORE = {Requirement(text).name for text in PROJECT["dependencies"]}
EXTRAS = PROJECT["optional-dependencies"]
SERVERS = {"jupyterlab", "notebook", "jupyter-server", "jupyterlab-rise"}  # what a host of notebooks runs on
# Where a module is not called as its package is.
PACKAGES = {"PIL": "pillow", "sklearn": "scikit-learn", "IPython": "ipywidgets"}


def of_extra(name):
    """The packages that an extra brings, those of the extras it names among them."""
    names = set()
    for requirement in map(Requirement, EXTRAS[name]):
        if requirement.name == "simclr_edu":
            names |= {package for extra in requirement.extras for package in of_extra(extra)}
        else:
            names.add(requirement.name)
    return names


def pins():
    """The exact version that constraints.txt has for each package."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {r.name.lower().replace("_", "-"): next(iter(r.specifier)).version for r in requirements}


def imported_by_the_package():
    names = set()
    for path in (ROOT / "simclr_edu").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.split(".")[0])
    return {
        PACKAGES.get(name, name)
        for name in names - set(sys.stdlib_module_names) - {"simclr_edu", "simclr_edu_torchvision"}
    }


def test_the_core_is_what_the_package_imports():
    assert imported_by_the_package() == CORE


def test_no_server_of_notebooks_is_in_the_core():
    assert not CORE & SERVERS
    # A kernel too: without JupyterLab nothing else brings one.
    assert {"nbclient", "ipykernel"} <= of_extra("course") and not of_extra("course") & SERVERS
    assert {"jupyterlab"} <= of_extra("lab") <= of_extra("slides") <= of_extra("test")


def test_every_direct_dependency_has_a_bound_and_a_pin_that_keeps_it():
    pinned = pins()
    for requirement in map(Requirement, [*PROJECT["dependencies"], *(r for e in EXTRAS.values() for r in e)]):
        if requirement.name == "simclr_edu":
            continue
        assert ">=" in {part.operator for part in requirement.specifier}, str(requirement)
        version = pinned[requirement.name.lower().replace("_", "-")]
        assert requirement.specifier.contains(version), f"{requirement} and {version}"


def test_the_pin_takes_the_build_without_cuda_too():
    for name in ("torch", "torchvision"):
        assert SpecifierSet(f"=={pins()[name]}").contains(f"{pins()[name]}+cpu")


def extras_named(text):
    """Every extra in requirements such as .[test,dev] within a text."""
    return {extra for found in re.findall(r"\.\[([\w,-]+)\]", text) for extra in found.split(",")}


@pytest.mark.parametrize(
    "file",
    [
        "Makefile",
        "environment.yml",
        "README.md",
        "CONTRIBUTING.md",
        ".github/workflows/test.yml",
        "binder/postBuild",
    ],
)
def test_every_extra_that_a_file_names_is_there(file):
    assert extras_named((ROOT / file).read_text(encoding="utf-8")) <= set(EXTRAS)


def test_conda_and_make_install_everything():
    listed = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    (pip,) = [entry["pip"] for entry in listed if isinstance(entry, dict)]
    assert pip == ["-c constraints.txt", "-e .[test,dev]"]
    assert of_extra("test") >= of_extra("course") | of_extra("slides")
    assert "-e '.[test,dev]'" in (ROOT / "Makefile").read_text() and set(EXTRAS) >= {
        "course",
        "lab",
        "slides",
        "dev",
    }


def test_the_dev_container_installs_by_the_makefile_without_cuda():
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
    image, python = container["image"].rsplit(":", 1)
    assert image and SpecifierSet(PROJECT["requires-python"]).contains(python)
    assert container["postCreateCommand"] == "make install TORCH=cpu"


def test_binder_installs_the_core_without_cuda():
    python = (ROOT / "binder" / "runtime.txt").read_text().strip().removeprefix("python-")
    assert SpecifierSet(PROJECT["requires-python"]).contains(python)
    script = (ROOT / "binder" / "postBuild").read_text(encoding="utf-8")
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0
    torch, rest = [line.split() for line in script.splitlines() if line.startswith("python -m pip install")]
    assert torch[-2:] == ["torch", "torchvision"] and torch[-3].endswith("/whl/cpu") and "--no-deps" in torch
    assert rest[-2:] == ["-e", "."]
    assert all(command[command.index("-c") + 1] == "constraints.txt" for command in (torch, rest))


def test_the_workflow_tries_lowest_newest_wheel_and_each_python():
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8"))["jobs"]
    pythons = ["3.11", "3.12", "3.13"]
    assert jobs["bounds"]["strategy"]["matrix"] == {
        "python": pythons,
        "resolution": ["lowest-direct", "highest"],
    }
    matrix = jobs["test"]["strategy"]["matrix"]
    assert sorted({*matrix["python"], *(extra["python"] for extra in matrix["include"])}) == pythons
    for job in jobs.values():
        for step in job["steps"]:
            for script in re.findall(r"(?:tools|\.ci)/[\w./]+", step.get("run", "")):
                assert (ROOT / script).is_file()
    assert "tools/wheel.py" in str(jobs["wheel"]["steps"])
