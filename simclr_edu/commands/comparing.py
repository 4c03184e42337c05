"""The commands that run the long comparisons."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from simclr_edu.course.evidence import arms, few_labels, training_steps, transfer
from simclr_edu.home import check_path


@dataclass(frozen=True)
class Evidence:
    """Run a comparison that ships with the package, and print its table. Goes on where it stopped.

    few-labels: probe and fine-tune 3 encoders on 5 draws of each budget, train from scratch on those labels.
    arms: pretrain with flips, crops, colours, both and neither, at two lengths, 3 seeds each.
    steps: train for ever longer with few labels, on training pictures held out.
    """

    out: Path
    """Folder of the comparison: made if it is not there."""
    what: Literal["few-labels", "arms", "steps"] = "few-labels"
    """Which comparison."""
    data: str = "shapes"
    """Data set to pretrain, probe and train on."""
    workers: int | None = None
    """Processes side by side; one a core if not given. The arms take one."""

    def run(self) -> dict[str, Any]:
        out = check_path(self.out, "--out")

        def report(line: str) -> None:
            print(line, file=sys.stderr, flush=True)

        if self.what == "arms":
            if self.workers is not None:
                raise ValueError("--workers does not go with --what arms, which take one process")
            of_arms = arms.Arms()
            of_arms = replace(of_arms, pretraining=replace(of_arms.pretraining, data=self.data))
            measured = arms.run_arms(of_arms, out, report)
            print(arms.table(measured))
            rows = {str(epochs): arms.summary(measured, epochs) for epochs in of_arms.epochs}
            return {"arms": rows, "directory": str(out)}
        config = few_labels.FewLabels()
        config = replace(config, pretraining=replace(config.pretraining, data=self.data))
        if self.what == "steps":
            of_steps = training_steps.Steps(pretraining=config.pretraining)
            longer = training_steps.run_steps(of_steps, out, self.workers, report)
            print(training_steps.table(longer))
            return {"steps": training_steps.summary(longer), "directory": str(out)}
        results = few_labels.run_few_labels(config, out, self.workers, report)
        print(few_labels.table(results))
        return {"few_labels": few_labels.summary(results), "directory": str(out)}


@dataclass(frozen=True)
class Transfer:
    """Encoders pretrained on shapes, probed and fine-tuned on the digits of scikit-learn, beside baselines.
    Takes the pretraining runs of a folder of ``evidence``, or makes them. Goes on where it stopped."""

    out: Path
    """Folder of the comparison: made if it is not there."""
    workers: int | None = None
    """Processes side by side; one a core if not given."""

    def run(self) -> dict[str, Any]:
        out = check_path(self.out, "--out")
        results = transfer.run_transfer(
            transfer.Transfer(),
            out,
            self.workers,
            report=lambda line: print(line, file=sys.stderr, flush=True),
        )
        print(transfer.table(results))
        return {"transfer": transfer.summary(results), "directory": str(out)}
