"""The commands about this machine: what it has, and where the notebooks go on it."""

import os
import platform
import shlex
import sys
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import tyro

from simclr_edu import __version__, data
from simclr_edu.cores import usable_cores
from simclr_edu.course.notebooks import copy_notebooks
from simclr_edu.course.profiles import current_profile, device_name, gpu_note
from simclr_edu.device import bf16_is_fast, pick_device
from simclr_edu.home import home_folder, home_problem


@dataclass(frozen=True)
class Notebooks:
    """Copy the notebooks of the course into a folder of your own. A file that is there stays as it is."""

    directory: tyro.conf.Positional[str]  # not a Path: that would take '' for the current folder
    """Where to: made if it is not there."""

    def run(self) -> dict[str, Any]:
        done = copy_notebooks(self.directory)
        for name in done.changed:
            print(
                f"kept {Path(self.directory, name)}: it differs from the one that comes with the package",
                file=sys.stderr,
            )
        if find_spec("jupyterlab"):
            print(f"To open them: jupyter lab {shlex.quote(self.directory)}")
        else:
            print("To open them, JupyterLab is missing: pip install jupyterlab")
        return {"directory": self.directory, **asdict(done)}


@dataclass(frozen=True)
class Doctor:
    """Say what this machine has, which profile fits, and which data sets are on disk."""

    def run(self) -> dict[str, Any]:
        device, profile = pick_device("auto"), current_profile()
        sets, problem = data.available_datasets(), home_problem()
        report = {
            "simclr_edu": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "device": device.type,
            "device_name": device_name(device),
            "cores": usable_cores(),
            "threads": torch.get_num_threads(),
            "bf16": bf16_is_fast(device),
            "profile": profile.name,
            "home": None if problem else str(home_folder()),
            "datasets": sets,
        }
        print(f"{report['device_name']}; {report['cores']} of {os.cpu_count()} cores may be used")
        print(f"Python {report['python']}, torch {report['torch']}, simclr_edu {__version__}")
        print(problem or f"home of data, runs and results: {report['home']}")
        print(f"bfloat16 in hardware: {'yes' if report['bf16'] else 'no'}")
        print(f"profile: {profile.name} ({profile.cost})")
        if note := gpu_note():
            print(note)
        for name, state in sets.items():
            print(f"data set {name}: {state}")
        return report
