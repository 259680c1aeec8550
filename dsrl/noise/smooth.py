"""Mixes a few noise vectors by smooth functions of the slot: between `repeat` (rank 1) and `full` (rank T').

    w [B, k·d]  ->  [B, k, d]  ->  row of slot t = Σ_j B[t, j] w_j  ->  (w, 0) [B, T', D]

    C[t, j] = c_j cos(π j (t + ½) / T'),  c_0 = 1, c_j = √2      the DCT-II, its first k functions of the slot
    B[t, :] = C[t, :] / ‖C[t, :]‖                                rows of unit length

For w ~ N(0, I) every slot is N(0, I), as in the policy's training: a truncated DCT without the division would have a
variance that changes along the chunk. Neighbouring slots are correlated by B Bᵀ. For k = 1, B is a column of ones;
for k = T' it is orthogonal, so that the prior is the base policy's own noise.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor

from dsrl.noise._steered import Magnitude, SteeredNoise, Unsteered


class SmoothNoise(SteeredNoise):
    """Expands w in R^(k·d), k = rank and d = action_dims or D, to all T' slots."""

    def __init__(
        self,
        noise_shape: tuple[int, int],
        magnitude: Magnitude,
        action_dims: Annotated[int, Ge(1)] | None,
        rank: Annotated[int, Ge(1)],
        unsteered: Unsteered,
    ) -> None:
        """`noise_shape` (T', D) is the policy's; `magnitude` bounds |w|, in standard deviations of the prior.

        Raises ValueError unless 1 <= rank <= T', where `action_dims` exceeds D or `magnitude` is not positive.
        """
        slots = noise_shape[0]
        if not 1 <= rank <= slots:
            raise ValueError(
                f"noise.rank={rank} but the policy's noise has {slots} slots; type 1 (as noise=repeat) to {slots}"
            )
        super().__init__(noise_shape, magnitude, action_dims, unsteered, num_vectors=rank)
        self.rank = rank
        self._basis = smooth_basis(slots, rank).float()  # [T', k]

    def rows(self, vectors: Tensor) -> Tensor:
        """Return the rows [B, T', d] that vectors [B, k, d] mix to."""
        columns = self._basis.to(vectors).unbind(1)
        rows = columns[0][:, None] * vectors[:, :1]
        for j in range(1, self.rank):  # a fixed order of sums: a matrix product may round by the size of the batch
            rows = rows + columns[j][:, None] * vectors[:, j : j + 1]
        return rows


def smooth_basis(slots: int, rank: int) -> Tensor:
    """Return B [slots, rank], float64: the first `rank` cosines of the DCT-II, scaled to unit length in every slot."""
    slot, order = torch.arange(slots, dtype=torch.float64), torch.arange(rank, dtype=torch.float64)
    cosines = torch.cos(math.pi / slots * order * (slot[:, None] + 0.5))
    cosines[:, 1:] *= math.sqrt(2)
    lengths: Tensor = torch.linalg.vector_norm(cosines, dim=1, keepdim=True)
    return cosines / lengths
