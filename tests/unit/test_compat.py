"""The torchvision shim, each case in its own process: an import happens once in an interpreter."""

import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.slow  # an interpreter a test, and torch takes seconds to import

# A stand-in for torchvision, put before the real one on the path: its __init__ is the given text.
RUN = """
import importlib.machinery, importlib.util, sys, types
import torch

attempts = []
declared = []
torch.library.define = lambda name, schema: declared.append((name, schema))


class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "torchvision":
            return importlib.machinery.ModuleSpec(name, self)

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        attempts.append(1)
{body}

sys.meta_path.insert(0, Finder())
try:
    import simclr_edu
    outcome = "imported"
except ImportError as error:
    outcome = f"ImportError from {{type(error.__cause__).__name__}}: {{error}}"
print(len(attempts), [name for name, _ in declared], outcome)
"""


def shim(body: str) -> str:
    """Import simclr_edu beside a torchvision whose import runs ``body``; return what came of it."""
    script = RUN.format(body=textwrap.indent(textwrap.dedent(body), " " * 8))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def missing(*operators: str) -> str:
    """A torchvision that asks for ``operators`` in turn, as the real one does for its shape rules."""
    return f"""
    for name in {operators!r}:
        if name not in [n for n, _ in declared]:
            raise RuntimeError(f"operator {{name}} does not exist")
    """


def test_a_torchvision_that_loads_is_left_alone():
    assert shim("pass") == "1 [] imported"


@pytest.mark.parametrize(
    "operators", [("torchvision::nms",), ("torchvision::qnms",), ("torchvision::nms", "torchvision::qnms")]
)
def test_declares_the_operators_that_the_import_asks_for_and_no_other(operators):
    assert shim(missing(*operators)) == f"{len(operators) + 1} {list(operators)} imported"


def test_another_operator_is_an_import_error_that_says_so():
    got = shim(missing("torchvision::roi_align"))
    assert got.startswith("1 [] ImportError from RuntimeError: torchvision does not load beside torch ")
    assert got.endswith("operator torchvision::roi_align does not exist")


def test_another_runtime_error_is_an_import_error_that_says_so():
    assert shim('raise RuntimeError("CUDA versions differ")').endswith(": CUDA versions differ")


def test_an_import_that_never_succeeds_stops_after_one_try_per_operator():
    got = shim('raise RuntimeError("operator torchvision::nms does not exist")')
    assert got.startswith("3 ") and "install a matching pair" in got


def test_a_missing_torchvision_stays_an_import_error():
    got = shim('raise ModuleNotFoundError("No module named torchvision")')
    assert "ImportError from NoneType: No module named torchvision" in got


def test_the_real_torchvision_works_for_what_the_course_needs():
    script = """
import simclr_edu, torch
from torchvision import datasets, models
from torchvision.transforms import v2
image = torch.zeros(3, 8, 8, dtype=torch.uint8)
network = models.resnet18(num_classes=2).eval()
print(tuple(v2.RandomResizedCrop(4)(image).shape), tuple(network(torch.zeros(1, 3, 32, 32)).shape))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "(3, 4, 4) (1, 2)", done.stderr
