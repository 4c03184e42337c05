"""The right programs of an exercise: the notebook's Solution and those of `answers`."""

import ast
import re
from pathlib import Path

import nbtools

# The names by which the notebooks' solutions go.
SOLUTIONS = {
    "my_flip": "horizontal_flip",
    "my_grayscale": "grayscale",
    "my_two_views": "two_views",
    "positive_index": "positive_index",
    "stable_logsumexp": "stable_logsumexp",
    "nt_xent": "nt_xent",
    "softmax_weights": "softmax_weights",
    "gradient_share": "gradient_share",
    "uniformity": "uniformity",
    "my_schedule": "learning_rate",
    "make_head": "projection_head",
    "my_train_step": "train_step",
    "my_order": "order_by_class",
    "my_neighbours": "nearest_neighbours",
    "my_effective_rank": "effective_rank",
    "my_freeze": "freeze",
    "my_extract": "extract_features",
    "my_subset": "label_subset",
}

_ROOMS = [
    n
    for n in ast.parse(Path(__file__).with_name("answers.py").read_text()).body
    if isinstance(n, ast.ClassDef)
]
ANSWERS = {room.name: [ast.unparse(function) for function in room.body] for room in _ROOMS}


def solutions() -> dict[str, str]:
    """The notebooks' own Solutions, by exercise."""
    found = {}
    for path in sorted((nbtools.NOTEBOOKS / "source").glob("*.py")):
        for cell in nbtools.read_source(path).cells:
            for block in re.findall(r"Solution</summary>\n\n```python\n(.*?)```", cell.source, re.DOTALL):
                name = re.search(r"^def (\w+)", block, re.MULTILINE)
                if name and name[1] in SOLUTIONS:
                    found[SOLUTIONS[name[1]]] = block
    return found


def programs(exercise: str) -> list[str]:
    """The right answers that variants of an exercise are made from."""
    own = solutions().get(exercise)
    return [*([own] if own else []), *ANSWERS[exercise]]
