"""Checks and helpers of all parametrisations: the actor may steer only the first dimensions of the sampler's noise."""

from __future__ import annotations

from torch import Tensor


def steered_dims(noise_shape: tuple[int, int], action_dims: int | None) -> int:
    """Return the number of noise dimensions that the actor steers: `action_dims`, or all D for None.

    Raises ValueError where `action_dims` is not in 1..D.
    """
    dims = noise_shape[1]
    if action_dims is None:
        return dims
    if not 1 <= action_dims <= dims:
        raise ValueError(
            f"noise.action_dims={action_dims} but the policy's noise has {dims} dimensions; "
            f"type 1 to {dims}, or null for all of them"
        )
    return action_dims


def checked_magnitude(magnitude: float) -> float:
    """Return `magnitude` as a float; raises ValueError unless it is positive."""
    if not magnitude > 0:
        raise ValueError(
            f"noise.magnitude={magnitude} must be above 0; type a number of standard deviations, such as 1.5"
        )
    return float(magnitude)


def checked_vectors(vectors: Tensor, dim: int) -> Tensor:
    """Return `vectors` unchanged; raises ValueError unless they are [B, dim]."""
    if vectors.ndim != 2 or vectors.shape[1] != dim:
        raise ValueError(f"noise vectors have shape {tuple(vectors.shape)} but this parametrisation takes [B, {dim}]")
    return vectors
