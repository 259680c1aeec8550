"""The network of the MLP policies: maps features, a noisy chunk and a time to a velocity or a noise.

features [B, F] --from_state--> embedded [B, H] --+      once per decision
time [n] ---------from_time---> timed [n, H] -----+      once per policy
noisy [B, N] -----from_noisy----------------------+--> SiLU -> residual layers -> out [B, N]
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

_FREQUENCIES = 16
_FASTEST = 64.0  # radians over a denoising: levels 1/100 apart still differ clearly


class Denoiser(nn.Module):
    """A residual MLP over the N = T · A numbers of a flat chunk in [-1, 1] and times in [0, 1]."""

    def __init__(self, num_features: int, chunk: int, hidden: int, depth: int) -> None:
        super().__init__()
        self.from_state = nn.Sequential(nn.Linear(num_features, hidden), nn.SiLU(), nn.Linear(hidden, hidden))
        self.from_noisy = nn.Linear(chunk, hidden, bias=False)
        self.from_time = nn.Linear(2 * _FREQUENCIES, hidden, bias=False)
        self.residual = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(depth))
        self.out = nn.Linear(hidden, chunk)

    def timed(self, time: Tensor) -> Tensor:
        """Embed times [n] in [0, 1]: [n, H]."""
        speeds = torch.logspace(0, math.log10(_FASTEST), _FREQUENCIES, device=time.device)
        angles = time[:, None] * speeds
        embedded: Tensor = self.from_time(torch.cat([angles.sin(), angles.cos()], dim=1))
        return embedded

    def forward(self, embedded: Tensor, noisy: Tensor, timed: Tensor) -> Tensor:
        """Predict [B, N] from embedded [B, H] of `from_state`, noisy [B, N] and timed [B or 1, H] of `timed`."""
        hidden = embedded + timed + self.from_noisy(noisy)
        for layer in self.residual:
            hidden = hidden + F.silu(layer(hidden))
        predicted: Tensor = self.out(hidden)
        return predicted
