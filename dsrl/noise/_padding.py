"""Restricting the actor to the first dimensions of the sampler's noise, shared by all noise parametrisations."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def steered_dims(noise_shape: tuple[int, int], action_dims: int | None) -> int:
    """How many of the D noise dimensions the actor steers: `action_dims`, or all of them for None.

    Raises ValueError where `action_dims` is not in 1..D.
    """
    dims = noise_shape[1]
    if action_dims is None:
        return dims
    if not 1 <= action_dims <= dims:
        raise ValueError(
            f"noise.action_dims is {action_dims} but the policy's noise has {dims} dimensions; "
            f"choose 1 to {dims}, or null for all of them"
        )
    return action_dims


def checked_magnitude(magnitude: float) -> float:
    """`magnitude` as a float; raises ValueError unless it is positive."""
    if not magnitude > 0:
        raise ValueError(f"noise.magnitude is {magnitude} standard deviations; choose a number above 0, such as 1.5")
    return float(magnitude)


def checked_vectors(vectors: Tensor, dim: int) -> Tensor:
    """`vectors` as they are; raises ValueError unless they are [B, dim]."""
    if vectors.ndim != 2 or vectors.shape[1] != dim:
        raise ValueError(f"noise vectors have shape {tuple(vectors.shape)} but this parametrisation takes [B, {dim}]")
    return vectors


def pad_with_zeros(noise: Tensor, dims: int) -> Tensor:
    """A new [..., D] tensor: `noise` first, then zeros (the prior's mean) in the dimensions nobody steers."""
    return functional.pad(noise, (0, dims - noise.shape[-1])).clone()


def standard_normal(num: int, dim: int, generator: torch.Generator | None) -> Tensor:
    """N(0, I) vectors [num, dim], float32, unclipped."""
    return torch.randn(num, dim, generator=generator)
