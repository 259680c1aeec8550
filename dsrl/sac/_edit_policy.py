"""The edit head: a bounded residual of a decoded chunk, and the choice among the chunk and its edits.

e(s, a) = reach · tanh(m(s, a) + σ ε)       reach = edit_scale · standard deviation of the base policy's chunks
m = 0 before the first step: without ε the chunk itself
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from dsrl.edits import within
from dsrl.sac._networks import hidden_layers, zero_layer

Bounds = tuple[Tensor, Tensor]

UNBOUNDED = torch.finfo(torch.float32).max  # a checkpoint holds finite numbers alone


class EditHead(nn.Module):
    """The mean m of edits before tanh, its fixed deviation σ, and the reach of each number of the chunk."""

    reach: Tensor  # [h·A], in action units; 0 until it is fitted
    low: Tensor  # [A]
    high: Tensor  # [A]

    def __init__(self, trunk: nn.Module, hidden: int, chunk_shape: tuple[int, int], scale: float, noise: float) -> None:
        """`trunk` maps features and chunk, both scaled, to `hidden` units; `noise` is σ, `scale` that of the reach."""
        super().__init__()
        self.chunk_shape, self.scale = chunk_shape, scale
        self.log_std = math.log(noise)
        size = chunk_shape[0] * chunk_shape[1]
        self.trunk, self.head = trunk, zero_layer(hidden, size)
        self.register_buffer("reach", torch.zeros(size))
        self.register_buffer("low", torch.full((chunk_shape[1],), -UNBOUNDED))
        self.register_buffer("high", torch.full((chunk_shape[1],), UNBOUNDED))

    def bound(self, bounds: Bounds | None) -> None:
        """Limit edited chunks to the least and greatest actions [A]; None leaves them without bounds."""
        if bounds is not None:
            self.low.copy_(bounds[0])
            self.high.copy_(bounds[1])

    @torch.no_grad()
    def fit(self, chunks: Tensor) -> None:
        """Fit the reach to chunks of warm-up and recorded data [N, h, A]: numbers that never vary are never edited."""
        self.reach.copy_(self.scale * chunks.flatten(1).std(0, correction=0))

    def forward(self, features: Tensor, scaled: Tensor) -> Tensor:
        """Return m [n, h·A] for standardised features [n, F] and scaled, flat chunks [n, h·A]."""
        mean: Tensor = self.head(self.trunk(torch.cat([features, scaled], -1)))
        return mean

    def applied(self, chunk: Tensor, mean: Tensor, normal: Tensor | None = None) -> Tensor:
        """Return chunks [n, h, A] with the edits of m [n, h·A], by normal numbers ε where given, within the bounds."""
        raw = mean if normal is None else mean + math.exp(self.log_std) * normal
        edited = chunk + (self.reach * torch.tanh(raw)).view(-1, *self.chunk_shape)
        return within(chunk, edited, self.low, self.high)


def build_edit_head(
    features: int,
    chunk_shape: tuple[int, int],
    *,
    hidden: int,
    depth: int,
    activation: str,
    scale: float,
    noise: float,
    bounds: Bounds | None,
) -> EditHead:
    """Build an edit head for features [F] and chunks of `chunk_shape` (h, A)."""
    trunk = hidden_layers(features + chunk_shape[0] * chunk_shape[1], hidden, depth, activation)
    head = EditHead(trunk, hidden, chunk_shape, scale, noise)
    head.bound(bounds)
    return head
