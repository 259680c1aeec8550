"""Refuses numbers of a task or a policy that are not finite, by the worlds that have them."""

from __future__ import annotations

import torch
from torch import Tensor

CHECK = "check the task's state and the policy's normalisation statistics"


def check_worlds_finite(values: Tensor, worlds: Tensor, quantity: str, advice: str = CHECK) -> None:
    """Raise FloatingPointError that names those of `worlds` (int64 [n]) whose row of `values` is not finite."""
    if not torch.isfinite(values).all():
        bad = ~torch.isfinite(values.flatten(1) if values.ndim > 1 else values[:, None]).all(1)
        raise FloatingPointError(f"{quantity} of world {worlds[bad.cpu()].tolist()} is not finite; {advice}")
