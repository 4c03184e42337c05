"""Answers to the exercises: one file a notebook, each with a list of right and a list of wrong ones.

``RIGHT[name]`` lists functions, ``WRONG[name]`` pairs of a function and words that only its diagnosis holds.
"""

from answers import augmentation, embeddings, linear_probe, nt_xent, pretraining, temperature

NOTEBOOKS = (augmentation, nt_xent, temperature, pretraining, embeddings, linear_probe)
RIGHT = {name: answers for notebook in NOTEBOOKS for name, answers in notebook.RIGHT.items()}
WRONG = {name: answers for notebook in NOTEBOOKS for name, answers in notebook.WRONG.items()}
