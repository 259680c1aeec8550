"""Replay as one tianshou buffer: a part for each world, and one for what was recorded elsewhere.

[ world 0 | world 1 | … | recorded ]  -> a batch, of which `share` comes from what was recorded
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from tianshou.data import ReplayBuffer, ReplayBufferManager


class Replay(ReplayBufferManager):  # type: ignore[misc]  # tianshou is not followed
    """Parts of equal size for the worlds, in their order, then one for `recorded` transitions where there are any."""

    def __init__(self, size: int, num_envs: int, recorded: int, share: float | None) -> None:
        """`share` of each batch is drawn from the recorded part; None draws alike from all transitions."""
        self.num_envs, self.share = num_envs, share
        sizes = [-(-size // num_envs)] * num_envs + [recorded] * bool(recorded)
        super().__init__([ReplayBuffer(part) for part in sizes])

    def _compile(self) -> None:
        """Leaves out tianshou's eager numba compilation of `prev` and `next`: they compile when first called."""

    @property
    def played(self) -> slice:
        """The rows of the worlds' parts."""
        return slice(0, int(self._extend_offset[self.num_envs]))

    def record(self, batch: Any) -> None:
        """Add transitions to the recorded part."""
        for row in range(len(batch)):
            self.add(batch[row : row + 1], buffer_ids=np.array([self.num_envs]))

    def sample_indices(self, batch_size: int | None) -> NDArray[np.int64]:
        """Indices of a batch; all transitions for 0 or None."""
        worlds = self._lengths[: self.num_envs].sum()
        if self.share is None or not batch_size or batch_size < 0 or not worlds or worlds == len(self):
            everywhere: NDArray[np.int64] = super().sample_indices(batch_size)
            return everywhere
        recorded = round(self.share * batch_size)
        chances = self._lengths[: self.num_envs] / worlds
        counts = [*self._random_state.multinomial(batch_size - recorded, chances).tolist(), recorded]
        parts = zip(self._offset, self.buffers, counts, strict=True)
        return np.concatenate([part.sample_indices(num) + start for start, part, num in parts if num])


def make_buffer(size: int, num_envs: int, seed: int, *, recorded: int = 0, share: float | None = None) -> Replay:
    """A replay buffer of `size` transitions of the worlds and `recorded` others, whose batches are drawn from `seed`.

    Raises ValueError where not every world would hold a transition.
    """
    if size < num_envs:
        raise ValueError(f"buffer_size is {size} but there are {num_envs} worlds; give each one transition at least")
    buffer = Replay(size, num_envs, recorded, share)
    # tianshou hands a seed to none of them: each part, and the choice among parts, would draw from RandomState(42)
    for i, part in enumerate([buffer, *buffer.buffers]):
        part._random_state = np.random.RandomState([seed, i])
    return buffer
