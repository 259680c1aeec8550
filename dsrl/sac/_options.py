"""Options that several algorithms share, converted from the values in YAML."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt, Le
from tianshou.algorithm.optim import OptimizerFactory, TorchOptimizerFactory

Count = Annotated[int, Ge(1)]
Width = Annotated[int, Ge(1), Le(65_536)]  # units of a layer
Depth = Annotated[int, Ge(1), Le(100)]  # layers
Discount = Annotated[float, Ge(0), Le(1)]
Share = Annotated[float, Gt(0), Le(1)]  # of new weights in a moving average
Rate = Annotated[float, Gt(0), Le(1)]  # of learning
Positive = Annotated[float, Gt(0)]
Activation = Literal["ReLU", "Tanh", "SiLU", "GELU", "ELU"]
Auto = Literal["auto"]


def initial_temperature(alpha: float | Auto, initial_alpha: float) -> float:
    """Return the initial α: `alpha` if that is a number, else `initial_alpha`. Raises ValueError unless above 0."""
    if isinstance(alpha, str) and alpha != "auto":
        raise ValueError(f"sac.alpha={alpha} must be a number, to fix the temperature, or auto, to tune it")
    start = float(initial_alpha if alpha == "auto" else alpha)
    if not start > 0:
        name = "initial_alpha" if alpha == "auto" else "alpha"
        raise ValueError(f"sac.{name}={start} must be above 0, such as 0.1")
    return start


def adam(lr: float) -> OptimizerFactory:
    """Return the factory of an Adam optimiser that steps in one fused kernel."""
    return TorchOptimizerFactory(torch.optim.Adam, lr=lr, fused=True)
