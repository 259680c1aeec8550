"""Finds noise of the frozen policy for recorded actions, for algorithms that learn from noise.

    actions a [h, A] of a decision, state s  ->  w = argmin_w ‖(π_dp(s, w) - a) / spread‖² / σ² + ‖w‖²,  |w| <= b

The most probable noise under the prior if the decoded chunk may miss the actions by σ spreads. Levenberg-Marquardt in
the actor's own numbers and bounds, with slopes by differences of decoded chunks: it takes any policy and any
parametrisation. Integrating a flow backwards instead gives noise without bounds where a policy
contracts it: 1,000s of standard deviations for actions that it cannot make. `Fidelity` says how near the noise comes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from dsrl.interfaces import DrawsUnsteered, Encoding
from dsrl.noise_action_env import NoiseActionEnv
from dsrl.rules import policy_rules
from dsrl.training.slopes import Decode, slopes, step_of

SIGMA = 0.01  # error that weighs as much as one standard deviation of noise, in standard deviations of the actions
DRAWS = 16  # of the prior, the best of which starts the second search
ITERATIONS = 15
DAMPING, MOST = 1e-2, 1e6


@runtime_checkable
class ClonesNoise(Protocol):
    """An algorithm whose actor can start from noise that replay stores (optional)."""

    def clone(self, buffer: Any, indices: Any, batch_size: int, updates: int) -> Sequence[Any]:
        """Clone the noise of transitions `indices`: `updates` gradient steps of the actor; returns statistics."""


@dataclass(frozen=True)
class Fidelity:
    """How near decoded chunks come to recorded actions: means of absolute differences, in the task's units."""

    error: float  # with the noise that was found
    error_of_zero: float  # with w = 0
    bounded: float  # share of the noise's numbers that lie at the magnitude

    def __str__(self) -> str:
        return (
            f"noise was found whose actions differ by {self.error:.3g} from the recorded ones (w = 0: "
            f"{self.error_of_zero:.3g}); {self.bounded:.1%} of its numbers lie at the magnitude"
        )


def joined(parts: Sequence[tuple[int, Fidelity]]) -> Fidelity:
    """Return the fidelity of several parts of known lengths together."""
    total = sum(num for num, _ in parts)

    def mean(name: str) -> float:
        return sum(num * float(getattr(one, name)) for num, one in parts) / total

    return Fidelity(mean("error"), mean("error_of_zero"), mean("bounded"))


@torch.no_grad()
def noise_of(env: NoiseActionEnv, encoding: Encoding, actions: Tensor, spread: Tensor) -> tuple[Tensor, Fidelity]:
    """Return noise u [B, dim] in [-1, 1] for recorded actions [B, h, A] of known spreads [A], and how near it comes."""
    magnitude = env.noise.magnitude

    def decode(vectors: Tensor, rows: Tensor) -> Tensor:
        noise = _expanded(env, vectors, rows).to(encoding.features.device)
        chunk = policy_rules.decode(env.policy, encoding[rows], noise)[:, : env.horizon].to(vectors)
        return (chunk / spread).flatten(1)

    vectors = nearest(decode, (actions / spread).flatten(1), env.noise.dim, magnitude)
    rows = torch.arange(len(vectors))
    found, zero = (decode(one, rows).view_as(actions) * spread - actions for one in (vectors, 0 * vectors))
    at_bound = (vectors.abs() >= magnitude).float().mean()
    return vectors / magnitude, Fidelity(float(found.abs().mean()), float(zero.abs().mean()), float(at_bound))


def _expanded(env: NoiseActionEnv, vectors: Tensor, rows: Tensor) -> Tensor:
    """Return the sampler's noise [n, T', D]; numbers that are drawn besides are the same for a row each time."""
    noise = env.noise
    if not (isinstance(noise, DrawsUnsteered) and noise.draws):
        return noise.expand(vectors)
    streams = [torch.Generator().manual_seed(row) for row in rows.tolist()]
    return torch.cat([noise.expand_drawn(vectors[i : i + 1], stream) for i, stream in enumerate(streams)])


def nearest(decode: Decode, target: Tensor, dim: int, magnitude: float, sigma: float = SIGMA) -> Tensor:
    """Return the vectors [B, dim] within ±magnitude that minimise ‖decode - target‖² / σ² + ‖w‖², or locally do.

    Two searches, from w = 0 and from the best of some draws of the prior; the better result of each row counts.
    """
    rows, zero = torch.arange(len(target)), target.new_zeros(len(target), dim)
    drawn = _best_draw(decode, zero, rows, target, magnitude)
    step = step_of(decode, drawn, rows)
    results = [_descend(decode, start, rows, target, magnitude, sigma, step) for start in (zero, drawn)]
    (first, cost), (second, other_cost) = results
    return torch.where((cost <= other_cost)[:, None], first, second)


def _descend(
    decode: Decode, start: Tensor, rows: Tensor, target: Tensor, magnitude: float, sigma: float, difference: float
) -> tuple[Tensor, Tensor]:
    """Return a local minimum near `start` [B, dim], and its cost [B], by slopes of steps of `difference`."""
    w, residual = start.clone(), decode(start, rows) - target
    cost = _cost(w, residual, sigma)
    damping = torch.full_like(cost, DAMPING)
    active = rows
    for _ in range(ITERATIONS):
        decoded = residual[active] + target[active]
        slope = slopes(decode, w[active], active, decoded, difference) / sigma  # [n, M, dim]
        gradient = (slope.mT @ (residual[active] / sigma)[..., None])[..., 0] + w[active]
        free = ~((w[active].abs() >= magnitude) & (gradient * w[active] < 0))  # the others push against their bound
        slope, gradient = slope * free[:, None], gradient * free
        ridge = torch.diag_embed((1 + damping[active])[:, None].expand_as(gradient))
        step = torch.linalg.solve_ex(slope.mT @ slope + ridge, gradient)[0]
        proposed = (w[active] - step).clamp(-magnitude, magnitude)
        left = decode(proposed, active) - target[active]
        gain = cost[active] - _cost(proposed, left, sigma)
        better = gain > 0
        taken = active[better]
        w[taken], residual[taken] = proposed[better], left[better]
        cost[taken] -= gain[better]
        short = damping[active] > DAMPING  # a step may gain little because it is short
        damping[active] = torch.where(better, damping[active] / 10, damping[active] * 10)
        active = active[~((better & ~short & (gain <= 1e-6 * cost[active])) | (damping[active] > MOST))]
        if not len(active):
            break
    return w, cost


def _best_draw(decode: Decode, zero: Tensor, rows: Tensor, target: Tensor, magnitude: float) -> Tensor:
    """Return the draws of the prior [B, dim] that decode nearest to `target`."""
    generator, best = torch.Generator().manual_seed(0), zero.clone()
    least = torch.full_like(zero[:, 0], float("inf"))
    for _ in range(DRAWS):
        drawn = zero + torch.randn(zero.shape[1], generator=generator).to(zero).clamp(-magnitude, magnitude)
        error = (decode(drawn, rows) - target).square().sum(1)
        best = torch.where((error < least)[:, None], drawn, best)
        least = error.minimum(least)
    return best


def _cost(w: Tensor, residual: Tensor, sigma: float) -> Tensor:
    return (residual / sigma).square().sum(1) + w.square().sum(1)
