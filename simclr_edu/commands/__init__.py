"""The commands of the command line: what each takes, and what it does."""

from simclr_edu.commands.comparing import Evidence, Transfer
from simclr_edu.commands.machine import Doctor, Notebooks
from simclr_edu.commands.measuring import Probe
from simclr_edu.commands.training import Pretrain

Command = Pretrain | Probe | Evidence | Transfer | Notebooks | Doctor

__all__ = ["Command", "Doctor", "Evidence", "Notebooks", "Pretrain", "Probe", "Transfer"]
