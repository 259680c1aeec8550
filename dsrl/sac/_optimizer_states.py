"""Checks saved states of optimisers, which may come from anybody: torch's fused kernels write them unchecked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor


def check_optimizers(optimizers: Sequence[Any], saved: Sequence[Mapping[str, Any]]) -> None:
    """Check states for `optimizers` of tianshou.

    Raises ValueError where a moment has not the shape of its weights, or a count of steps is not one number.
    """
    for optimizer, state in zip(optimizers, saved, strict=True):
        own = [weight for group in optimizer._optim.param_groups for weight in group["params"]]
        numbers = [number for group in state["param_groups"] for number in group["params"]]
        weights = dict(zip(numbers, own, strict=True))
        for number, moments in state["state"].items():
            for name, moment in moments.items():
                shape = () if name == "step" else weights[number].shape
                if isinstance(moment, Tensor) and moment.shape != shape:
                    raise ValueError(f"{name} of an optimiser has shape {list(moment.shape)}, not {list(shape)}")
