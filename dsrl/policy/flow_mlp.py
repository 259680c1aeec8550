"""A flow-matching MLP on state observations: integrates a learnt velocity from noise to a chunk by Euler steps.

    training   x_t = t·w + (1 - t)·a,  w ~ N(0, I),  t ~ U(0, 1);   v(s, x_t, t) -> w - a
    denoising  x_1 = w;   x_(t - 1/K) = x_t - v(s, x_t, t) / K,   t = 1, 1 - 1/K, … 1/K

Conditional flow matching (Lipman et al., arXiv 2210.02747) in the direction of time that lerobot's SmolVLA and π0 have.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dsrl.policy._denoiser import Denoiser
from dsrl.policy._mlp import MLPPolicy
from dsrl.policy._mlp_checkpoint import MLPConfig


class FlowMLP(MLPPolicy):
    """A frozen flow-matching MLP; see `MLPPolicy`."""

    kind = "flow_mlp"

    def _prepare(self, network: Denoiser, config: MLPConfig, num_steps: int) -> None:
        if num_steps < 1:
            raise ValueError(f"policy.num_steps={num_steps} but denoising takes at least one Euler step")
        times = 1 - torch.arange(num_steps, device=self.device) / num_steps
        with torch.no_grad():
            self._timed = network.timed(times)[:, None].unbind(0)  # per step [1, H]

    def _denoise(self, embedded: Tensor, noise: Tensor) -> Tensor:
        chunk = noise
        for timed in self._timed:
            chunk = torch.sub(chunk, self._network(embedded, chunk, timed), alpha=1 / len(self._timed))
        return chunk


def squared_errors(
    network: Denoiser, config: MLPConfig, features: Tensor, chunk: Tensor, noise: Tensor, level: Tensor
) -> Tensor:
    """Return the squared errors [B, N] of the velocity.

    For flat chunks in [-1, 1] and noise [B, N] at levels [B] in [0, 1): the time t.
    """
    noisy = torch.lerp(chunk, noise, level[:, None])
    velocity: Tensor = network(network.from_state(features), noisy, network.timed(level))
    return (velocity - (noise - chunk)).square()
