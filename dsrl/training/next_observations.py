"""The next observations of replay without a second copy: those of the next rows, and a few that are stored apart.

    row        0    1    2 truncated   3    4 latest
    obs        s0   s1   s2            t0   t1
    apart                s3                 t2            obs_next[1] = obs[2], obs_next[2] = s3

An episode that ran out of time ends in an observation that no row begins with, and the latest row has no next one yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dsrl.interfaces import StateDict

Rows = NDArray[np.int64]


class NextObservations:
    """The next observations of a buffer with parts, indexed by its rows as an array would be."""

    def __init__(self, buffer: Any) -> None:
        self._buffer = buffer
        self._apart: dict[int, NDArray[Any]] = {}

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """Return the next observations [B, F] of rows [B], a copy; `index` may also be one row, a mask or a slice."""
        rows = self._buffer._indices[index]
        found = np.array(self._buffer.obs[self._buffer.next(rows)])
        for place, row in np.ndenumerate(rows):
            if row in self._apart:
                found[place] = self._apart[row]
        return found

    def release(self, latest: Rows, obs: NDArray[Any]) -> None:
        """Drop what is stored apart of the `latest` rows [n] where the next ones begin with the same, `obs` [n, F]."""
        for row, following in zip(latest.tolist(), obs, strict=True):
            if not self._buffer.done[row] and np.array_equal(self._apart[row], following):
                del self._apart[row]

    def store(self, rows: Rows, obs: NDArray[Any], obs_next: NDArray[Any]) -> None:
        """Store the next observations [n, F] of new `rows` [n]; an end whose observation is its own needs no room."""
        for row, own, following in zip(rows.tolist(), obs, obs_next, strict=True):
            self._apart.pop(row, None)
            if not (self._buffer.done[row] and np.array_equal(own, following)):
                self._apart[row] = np.array(following)

    def state_dict(self, end: int) -> StateDict:
        """Return what is stored apart of the rows before `end`."""
        rows = sorted(row for row in self._apart if row < end)
        return {"rows": torch.tensor(rows), "obs": [torch.from_numpy(self._apart[row]) for row in rows]}

    def load_state_dict(self, state: Mapping[str, Any], moved: Rows) -> None:
        """Restore a `state_dict`, whose row i is row `moved[i]` now; other rows remain."""
        for row, obs in zip(state["rows"].tolist(), state["obs"], strict=True):
            self._apart[int(moved[row])] = obs.numpy().copy()
