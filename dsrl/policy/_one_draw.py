"""Replaces the one Gaussian draw of a computation by noise that the caller chooses.

Some policies of lerobot draw the noise that their actions start from inside of the sampler and take no argument for it.
torch shows every operation of a computation to a dispatch mode, so that the draw is found whichever function makes it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

GAUSSIAN = {"aten::randn", "aten::randn_like", "aten::normal", "aten::normal_", "aten::normal_functional"}
OTHER = {
    *("aten::rand", "aten::rand_like", "aten::uniform", "aten::uniform_", "aten::bernoulli", "aten::bernoulli_"),
    *("aten::randint", "aten::randint_like", "aten::randperm", "aten::multinomial", "aten::native_dropout"),
    *("aten::exponential_", "aten::cauchy_", "aten::log_normal_", "aten::geometric_", "aten::random_"),
}


def with_noise(noise: Tensor, compute: Callable[[], Tensor]) -> Tensor:
    """Run `compute` with `noise` in place of the one Gaussian draw that it makes; random states stay as they were.

    Raises:
        RuntimeError: where it draws no or other numbers, draws twice, or draws another shape.
    """
    devices = [noise.device] if noise.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), _Replacement(noise) as replacement:
        result = compute()
    if len(replacement.draws) != 1 or not replacement.replaced:
        raise RuntimeError(
            f"the sampler draws {', '.join(replacement.draws) or 'nothing'} but one Gaussian draw of "
            f"{list(noise.shape)} is what can be steered"
        )
    return result


class _Replacement(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records all draws, and replaces a Gaussian one of the noise's shape."""

    def __init__(self, noise: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.noise = noise
        self.draws: list[str] = []
        self.replaced = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        name = func._schema.name
        if name in GAUSSIAN or name in OTHER:
            shape = list(found.shape) if isinstance(found, Tensor) else "several"
            self.draws.append(f"{name.removeprefix('aten::')} {shape}")
            if name in GAUSSIAN and found.shape == self.noise.shape:
                self.replaced = True
                found.copy_(self.noise)
        return found
