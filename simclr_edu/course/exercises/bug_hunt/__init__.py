"""The bug hunt of notebook 10: ten functions to mend."""

from simclr_edu.course.exercises.bug_hunt.bugs import BUGS, EXERCISES, check_bug_hunt, diagnose_bug_hunt

__all__ = [
    "BUGS",
    "EXERCISES",
    "check_bug_hunt",
    "diagnose_bug_hunt",
]
