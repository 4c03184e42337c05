"""Work that draws on torch's own random state gets it from a seed and leaves the caller's where it was."""

import ast
from pathlib import Path

import pytest
import torch

import simclr_edu
from simclr_edu.device import seeded

PACKAGE = Path(simclr_edu.__file__).parent


@pytest.mark.parametrize("seed", [0, 1, 12_345])
def test_the_same_draws_for_a_seed_and_the_callers_state_unmoved(seed):
    before = torch.get_rng_state()
    draws = []
    for _ in range(2):
        with seeded(seed):
            draws.append(torch.rand(3))
    assert torch.equal(*draws)
    assert torch.equal(draws[0], torch.rand(3, generator=torch.Generator().manual_seed(seed)))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_state_comes_back_after_an_error():
    before = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="stop"), seeded(0):
        torch.rand(3)
        raise RuntimeError("stop")
    assert torch.equal(torch.get_rng_state(), before)


def test_work_on_the_cpu_seeds_no_gpu(monkeypatch):
    asked = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", asked.append)
    with seeded(3, "cpu"):
        pass
    assert asked == []


def calls_of_manual_seed(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and node.attr == "manual_seed":
            if isinstance(node.value, ast.Name) and node.value.id == "torch":
                yield node.lineno


def test_nobody_else_seeds_the_global_state():
    found = {path.name for path in PACKAGE.rglob("*.py") if list(calls_of_manual_seed(path))}
    assert found == set()
