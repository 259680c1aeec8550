"""Tries the rules of a noise once, when an environment is built: nothing is simulated and no policy is needed.

    sample_prior   [n, dim]
    expand         [n, T', D]; vectors unchanged; the same vectors -> the same noise; of a row alone

A noise that declares draws of its own (`DrawsUnsteered`) is not compared with itself. A trial is of three rows, and
leaves torch's global random stream as it was.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dsrl.interfaces import DrawsUnsteered, Noise
from dsrl.rules._described import described

ROWS = 3
ROUNDED = 1e-3  # of the largest number of the noise: rounding, which may depend on the size of a batch


@torch.no_grad()
def try_rules(noise: Noise, noise_shape: tuple[int, int]) -> None:
    """Try a noise for a sampler that takes `noise_shape` (T', D). Raises ValueError with the rule that is broken."""
    with torch.random.fork_rng(devices=[]):
        name, vectors = f"noise {type(noise).__name__}", noise.sample_prior(ROWS, torch.Generator().manual_seed(0))
        if not isinstance(vectors, Tensor) or tuple(vectors.shape) != (ROWS, noise.dim):
            raise ValueError(
                f"{name}.sample_prior returned {described(vectors)} but {ROWS} vectors of its dim={noise.dim} make a "
                f"torch tensor [{ROWS}, {noise.dim}]"
            )
        kept = vectors.clone()
        first = _expanded(noise, vectors, noise_shape).clone()
        _check(vectors, kept, f"{name}.expand changes its inputs: it moved vectors", "compute with a clone() of them")
        again, alone = (_expanded(noise, kept[:rows].clone(), noise_shape) for rows in (ROWS, 1))
    if isinstance(noise, DrawsUnsteered) and noise.draws:
        return
    allowed = ROUNDED * float(first.abs().max())
    advice = "draw nothing in it, or declare that it draws (DrawsUnsteered of dsrl.interfaces)"
    _check(again, first, f"{name}.expand is not deterministic: the same vectors moved its noise", advice, allowed)
    advice = "compute each row from that row alone"
    _check(alone, first[:1], f"{name}.expand is not row-wise: the rest of the batch moved a row", advice, allowed)


def _expanded(noise: Noise, vectors: Tensor, noise_shape: tuple[int, int]) -> Tensor:
    found: Any = noise.expand(vectors)
    if not isinstance(found, Tensor) or found.ndim == 0 or len(found) != len(vectors):
        raise ValueError(
            f"noise {type(noise).__name__}.expand returned {described(found)} but {len(vectors)} vectors make a torch "
            f"tensor {[len(vectors), *noise_shape]}"
        )
    expanded, takes = tuple(found.shape[1:]), tuple(noise_shape)
    if expanded != takes:
        raise ValueError(f"noise expands to {expanded} but the sampler takes {takes}; build it with that noise_shape")
    return found


def _check(found: Tensor, expected: Tensor, broken: str, advice: str, allowed: float = 0.0) -> None:
    drift = float((found - expected).abs().max())
    if not drift <= allowed:
        raise ValueError(f"{broken} by {drift:.2g}; {advice}")
