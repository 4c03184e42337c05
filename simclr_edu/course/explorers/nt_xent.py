"""The explorers of notebook 02."""

import ipywidgets
import torch
from torch import Tensor

from simclr_edu._checks import check_int, check_matrix
from simclr_edu.course import figures
from simclr_edu.course.explorers.base import Explorer, make_slider, temperature_slider


def similarity_explorer(z1: Tensor, z2: Tensor) -> Explorer:
    """Pick an anchor and a temperature: its row of the similarity matrix, the softmax, the loss.

    Static twin: ``plots.anchor_softmax``.

    Args:
        z1: projections of view 1, ``(N, d)``, N from 2 to 256.
        z2: projections of view 2, ``(N, d)``.

    Raises:
        TypeError, ValueError: not two such matrices of one shape.
    """
    first, second = check_matrix(z1, "z1"), check_matrix(z2, "z2")
    if first.shape != second.shape:
        raise ValueError(f"z1 and z2 must have one shape, got {tuple(first.shape)} and {tuple(second.shape)}")
    check_int(len(first), "the number of pairs", 2, 256)
    z = torch.nn.functional.normalize(torch.cat([first, second]).detach().cpu().double(), dim=1)  # (2N, d)
    sim = z @ z.T  # (2N, 2N)
    sliders = {
        "anchor": make_slider(ipywidgets.IntSlider, "anchor", min=0, max=len(z) - 1, value=0),
        "temperature": temperature_slider(),
    }
    return Explorer(sliders, lambda anchor, temperature: figures.anchor_softmax(sim, anchor, temperature))


def loss_floor_explorer() -> Explorer:
    """Move the batch size: what a guessing encoder scores. Static twin: ``plots.loss_floor``."""
    sizes = [2**k for k in range(1, 14)]
    slider = make_slider(ipywidgets.SelectionSlider, "batch size N", options=sizes, value=256)
    return Explorer({"num_pairs": slider}, figures.loss_floor)
