"""What a representation knows of a factor of the image: hue, position, rotation."""

import math

import torch
from torch import Tensor

from simclr_edu._checks import (
    FLOATS,
    INTEGERS,
    check_choice,
    check_finite,
    check_positive,
    check_seed,
    check_tensor,
)
from simclr_edu.evaluate.checks import check_features_pair
from simclr_edu.evaluate.logistic import L2_GRID, RidgeFit, row_space, standardisation, standardised
from simclr_edu.evaluate.probe import fit_linear


def probe_factor(
    train_x: Tensor,
    train_values: Tensor,
    test_x: Tensor,
    test_values: Tensor,
    kind: str = "regression",
    period: float = 360.0,
    seed: int = 0,
) -> float:
    """How well a linear probe reads a known factor, such as hue or position, from features.

    The question behind Table 3 of Chen et al. 2020: what does h keep that z has thrown away? Ridge
    regression on standardised features, its strength chosen on a fifth of the training rows.

    Args:
        train_x: float ``(N, D)``, N at least 10.
        train_values: the factor ``(N,)``; for ``classification`` integer labels.
        test_x: float ``(M, D)``.
        test_values: the factor ``(M,)``.
        kind: ``regression``; ``circular`` for an angle, fitted as sine and cosine; ``classification``.
        period: of a circular factor, in its own units: 360 for a hue in degrees. Only ``circular`` uses it.
        seed: of the validation split.

    Returns:
        R squared on the test set, 1 for perfect, 0 for no better than the mean, below 0 for worse (for
        ``circular``, of sine and cosine together); for ``classification`` the accuracy.

    Raises:
        TypeError, ValueError: shapes, dtypes or ranges do not fit, or the factor is constant.
    """
    check_choice(kind, "kind", ("regression", "circular", "classification"))
    if kind == "classification":
        return fit_linear(train_x, train_values, test_x, test_values, seed=seed).accuracy
    period = check_positive(period, "period")
    train_x, test_x = (x.cpu() for x in check_features_pair(train_x, test_x))
    if len(train_x) < 10:
        raise ValueError(f"train_x must have at least 10 rows, got {len(train_x)}")
    targets = []
    for name, values, rows in (("train_values", train_values, train_x), ("test_values", test_values, test_x)):
        y = _check_values(values, name, len(rows))  # (N,)
        angle = y * (2 * math.pi / period)
        targets.append(torch.stack([angle.sin(), angle.cos()], 1) if kind == "circular" else y[:, None])
    y, test_y = targets  # (N, T), (M, T)

    mean, scale = standardisation(train_x)
    x, basis = row_space(standardised(train_x, mean, scale))  # (N, d)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(check_seed(seed)))
    val, fit = order[: len(x) // 5], order[len(x) // 5 :]
    part = RidgeFit(x[fit], y[fit])
    l2 = min(L2_GRID, key=lambda strength: float((part.predict(x[val], strength) - y[val]).square().sum()))
    test = standardised(test_x, mean, scale)
    predictions = RidgeFit(x, y).predict(test if basis is None else test @ basis, l2)  # (M, T)
    spread = (test_y - test_y.mean(0)).square().sum()
    if not spread > 0:
        raise ValueError("test_values must vary, got values that are equal but for rounding")
    return 1 - float((predictions - test_y).square().sum() / spread)


def _check_values(values: object, name: str, length: int) -> Tensor:
    """A factor (N,) as float64, finite and not constant."""
    v = check_tensor(values, name)
    if v.shape != (length,):
        raise ValueError(f"{name} must hold one value per row, shape ({length},), got {tuple(v.shape)}")
    if v.dtype not in (*FLOATS, *INTEGERS):
        raise TypeError(f"{name} must be real numbers, got {v.dtype}")
    v = check_finite(v.detach().cpu().double(), name)
    if v.min() == v.max():
        raise ValueError(f"{name} must not be constant, got {float(v[0])} in every row")
    return v
