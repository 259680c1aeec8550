"""Places the rows of noise that the actor steers, and fills the remaining slots and dimensions.

w [B, K·d]  ->  K vectors [B, K, d]  ->  rows [B, S, d]  ->  S neighbouring slots, first d dimensions of [B, T', D]
                                                             the others: 0, or N(0, 1) drawn per decision
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from annotated_types import Ge, Le
from torch import Tensor

from dsrl.noise._padding import checked_magnitude, checked_vectors, steered_dims

Magnitude = Annotated[float, Ge(1e-6), Le(1_000_000)]
Unsteered = Literal["zero", "fresh"]


class SteeredNoise:
    """A parametrisation by K vectors; a subclass defines how they become the rows of S slots."""

    def __init__(
        self,
        noise_shape: tuple[int, int],
        magnitude: float,
        action_dims: int | None,
        unsteered: Unsteered,
        *,
        num_vectors: int,
        steered_slots: range | None = None,
    ) -> None:
        """`steered_slots` are S, None for all T'. Raises ValueError for values that do not fit `noise_shape`."""
        self.noise_shape = noise_shape
        self.magnitude = checked_magnitude(magnitude)
        self.slots = range(noise_shape[0]) if steered_slots is None else steered_slots
        self.steered = (len(self.slots), steered_dims(noise_shape, action_dims))  # (S, d)
        self.num_vectors = num_vectors  # K
        self.dim = num_vectors * self.steered[1]
        self.draws = unsteered == "fresh" and self.steered != tuple(noise_shape)

    def rows(self, vectors: Tensor) -> Tensor:
        """Return the rows [B, S, d] (or [B, 1, d] for all slots) of vectors [B, K, d]."""
        raise NotImplementedError

    def expand(self, vectors: Tensor) -> Tensor:
        """Return the sampler's noise [B, T', D] of actor vectors [B, dim], a new tensor.

        Fresh numbers are drawn from torch's global stream.
        """
        return self.expand_drawn(vectors, None)

    def expand_drawn(self, vectors: Tensor, generator: torch.Generator | None) -> Tensor:
        """Return the noise of `expand` with its fresh numbers drawn from `generator`."""
        shape, dims = (len(vectors), *self.noise_shape), self.steered[1]
        rows = self.rows(checked_vectors(vectors, self.dim).reshape(len(vectors), self.num_vectors, dims))
        noise = torch.randn(shape, generator=generator).to(vectors) if self.draws else vectors.new_zeros(shape)
        noise[:, self.slots.start : self.slots.stop, :dims] = rows
        return noise

    def sample_prior(self, num: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw N(0, I) vectors [num, dim], unclipped: random play of the policy in this parametrisation."""
        return torch.randn(num, self.dim, generator=generator)
