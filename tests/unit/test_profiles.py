"""The course is the same on every machine: one with a GPU only pretends to have it here."""

import json

import pytest
import torch

from simclr_edu import __main__ as cli
from simclr_edu.course import profiles

MACHINES = ("cpu", "cuda", "mps")


@pytest.fixture(params=MACHINES)
def machine(request, monkeypatch):
    """A machine with this device; nothing is asked of the device itself."""
    kind = request.param
    monkeypatch.delenv("SIMCLR_EDU_PROFILE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: kind == "cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: int(kind == "cuda"))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a pretended GPU")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: kind == "mps")
    return kind


def test_laptop_is_the_default_on_every_machine(machine):
    profile = profiles.current_profile()
    assert profile == profiles.LAPTOP and profile.config.device == "cpu" and profile.config.data == "shapes"
    first, cost, *note = profiles.describe(seed=1).split("\n")
    assert first.startswith("profile laptop | CPU (") and cost == f"cost: {profile.cost}"
    if machine == "cpu":
        assert note == []
    else:
        assert len(note) == 1 and "is there and not used" in note[0] and "SIMCLR_EDU_PROFILE=gpu" in note[0]


def test_gpu_is_asked_for(machine, monkeypatch):
    monkeypatch.setenv("SIMCLR_EDU_PROFILE", "gpu")
    profile = profiles.current_profile()
    assert (profile.config.data, profile.config.encoder) == ("cifar10", "resnet18")
    assert profile.config.compile == (machine == "cuda")
    text = profiles.describe()
    assert "not used" not in text and ("no GPU is there" in text) == (machine == "cpu")


def test_an_empty_variable_names_no_profile(machine, monkeypatch):
    monkeypatch.setenv("SIMCLR_EDU_PROFILE", "")
    assert profiles.current_profile().name == "laptop"


def test_doctor_says_what_is_there_and_not_used(machine, capsys):
    assert cli.main(["doctor"]) == 0
    text = capsys.readouterr().out
    report = json.loads(text.splitlines()[-1])
    assert report["profile"] == "laptop" and report["device"] == machine
    assert ("is there and not used" in text) == (machine != "cpu")


def test_a_command_takes_the_device_that_is_there(machine):
    command = cli._parse(["pretrain", "--out", "x"])
    assert command.config.device == "auto" and command.config.data == "shapes"
