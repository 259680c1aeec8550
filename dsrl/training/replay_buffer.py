"""Replay as one tianshou buffer: a part for each world, and one for offline data.

[ world 0 | world 1 | … | offline ]  -> a batch, `share` of which comes from offline data, and `success_share` of
                                        either from episodes that ended with success
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tianshou.data import Batch, ReplayBuffer, ReplayBufferManager

from dsrl.interfaces import StateDict
from dsrl.training.next_observations import NextObservations
from dsrl.training.random_state import check_position
from dsrl.training.state_tensors import as_arrays, as_tensors

Pools = tuple[NDArray[np.int64], NDArray[np.int64]]


class Replay(ReplayBufferManager):  # type: ignore[misc]  # tianshou is not followed
    """Parts of equal size for the worlds, in their order, then one for `offline` transitions where there are any.

    Observations are stored once, see `NextObservations`.
    """

    def __init__(
        self,
        size: int,
        num_envs: int,
        seed: int,
        *,
        offline: int = 0,
        share: float | None = None,
        success_share: float | None = None,
        longest_episode: int | None = None,
    ) -> None:
        """`size` transitions of the worlds and `offline` others; batches are drawn from `seed`.

        `longest_episode` is the number of decisions until the task's time limit, for algorithms that look at it.

        `share` of each batch is drawn from the offline part; None draws alike from all transitions. `success_share` of
        what is drawn comes from episodes that ended with success, the rest from all others; while there are none of one
        kind, all comes from the other. Raises ValueError where the buffer is smaller than one transition per world.
        """
        if size < num_envs:
            raise ValueError(f"buffer_size={size} must be at least the {num_envs} worlds of num_envs")
        self.num_envs, self.share, self.success_share = num_envs, share, success_share
        self.longest_episode = longest_episode
        self._pools: list[Pools] | None = None  # by success, of all parts; None after a change of the rows
        sizes = [-(-size // num_envs)] * num_envs + [offline] * bool(offline)
        super().__init__([ReplayBuffer(part, ignore_obs_next=True) for part in sizes])
        self._next = NextObservations(self)
        self.cut = np.zeros(self.maxsize, dtype=bool)  # rows after which a reset ended their episode
        self.incomplete = self.cut.copy()  # of episodes that show no time limit: cut, recorded, their first rows lost
        # tianshou seeds none of them: each part, and the choice among parts, would draw from RandomState(42)
        for i, part in enumerate(self._with_random_state()):
            part._random_state = np.random.RandomState([seed, i])

    def _compile(self) -> None:
        """Leave out tianshou's eager numba compilation: `next` is defined here, and nothing calls `prev`."""

    def next(self, index: Any) -> NDArray[np.int64]:
        """Return the row after each of `index` in its episode, or the row itself where the episode or the play ends.

        tianshou's own does the same after numba has compiled it, which takes 4 seconds in each process.
        """
        rows = np.asarray(index) % self.maxsize
        parts = np.searchsorted(self._extend_offset, rows, side="right") - 1
        start = self._extend_offset[parts]
        ends = self.done[rows] | (rows == self.last_index[parts])
        after: NDArray[np.int64] = (rows - start + ~ends) % self._lengths[parts].clip(1) + start
        return after

    @property
    def obs_next(self) -> NextObservations:
        """The next observations, indexed by rows."""
        return self._next

    def __getitem__(self, index: Any) -> Any:
        """Return transitions as a batch, their next observations included."""
        rows = self.sample_indices(0) if isinstance(index, slice) and index == slice(None) else self._indices[index]
        batch = super().__getitem__(rows)
        batch.obs_next = self._next[rows]
        return batch

    def add(self, batch: Any, buffer_ids: Any = None) -> tuple[Any, Any, Any, Any]:
        """Add one transition to each of the parts `buffer_ids` (None: all); see tianshou's for what it returns."""
        self._pools = None
        parts = np.arange(self.buffer_num) if buffer_ids is None else np.asarray(buffer_ids)
        begun = self._lengths[parts] > 0
        self._next.release(self.last_index[parts[begun]], batch.obs[begun])
        torn = self._torn(parts)
        added = super().add(batch, buffer_ids)
        self._next.store(added[0], batch.obs, batch.obs_next)
        self.cut[added[0]] = False
        self.incomplete[added[0]] = parts == self.num_envs
        self.incomplete[torn] = True
        return added  # type: ignore[no-any-return]

    def _torn(self, parts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the rows whose episode loses the row before them when each of `parts` gets one: in full parts."""
        full = parts[self._lengths[parts] == np.diff(self._extend_offset)[parts]]
        start, size, last = self._offset[full], self._lengths[full], self.last_index[full]
        oldest, second = (start + (last - start + ahead) % size for ahead in (1, 2))
        return np.asarray(second[~self.done[oldest]] if len(full) else second)

    def add_offline(self, batch: Any) -> None:
        """Add transitions to the offline part."""
        for row in range(len(batch)):
            self.add(batch[row : row + 1], buffer_ids=np.array([self.num_envs]))

    def offline_successes(self) -> NDArray[np.int64]:
        """Return the indices of the offline transitions whose episode ended with success."""
        return self._by_success()[self.num_envs][0]

    def cut_episodes(self) -> None:
        """End the unfinished episode of every world as a time-out does: its worlds are reset before it ends."""
        self._pools = None
        for i, part in enumerate(self.buffers[: self.num_envs]):
            if len(part) and not self.done[self.last_index[i]]:
                self._meta.truncated[self.last_index[i]] = self._meta.done[self.last_index[i]] = True
                self.cut[self.last_index[i]] = self.incomplete[self.last_index[i]] = True
                part._ep_return, part._ep_len, part._ep_start_idx = 0.0, 0, part._insertion_idx

    def sample_indices(self, batch_size: int | None) -> NDArray[np.int64]:
        """Draw the indices of a batch; all transitions for 0 or None."""
        played = self._lengths[: self.num_envs].sum()
        share = self.share if played and played < len(self) else None
        if not batch_size or batch_size < 0 or (share is None and self.success_share is None):
            everywhere: NDArray[np.int64] = super().sample_indices(batch_size)
            return everywhere
        if self.success_share is not None:
            return self._sample_by_success(batch_size, self.success_share, share)
        assert share is not None
        offline = round(share * batch_size)
        chances = self._lengths[: self.num_envs] / played
        counts = [*self._random_state.multinomial(batch_size - offline, chances).tolist(), offline]
        parts = zip(self._offset, self.buffers, counts, strict=True)
        return np.concatenate([part.sample_indices(num) + start for start, part, num in parts if num])

    def _sample_by_success(self, batch_size: int, success_share: float, share: float | None) -> NDArray[np.int64]:
        """Draw the indices of a batch; `share` of it from offline data, None: from all parts alike."""
        pools = self._by_success()
        offline = 0 if share is None else round(share * batch_size)
        apart = [(pools[:-1], batch_size - offline), (pools[-1:], offline)]
        drawn = []
        for parts, num in [(pools, batch_size)] if share is None else apart:
            succeeded, others = (np.concatenate(kind) for kind in zip(*parts, strict=True))
            fortunate = round(success_share * num) if len(succeeded) and len(others) else num * bool(len(succeeded))
            for pool, count in ((succeeded, fortunate), (others, num - fortunate)):
                drawn.append(pool[self._random_state.randint(len(pool), size=count)] if count else pool[:0])
        return np.concatenate(drawn)

    def _by_success(self) -> list[Pools]:
        """Return the indices, in each part, of the transitions of episodes that succeeded and of all others.

        They follow from the rows, so that no checkpoint contains them.
        """
        if self._pools is None:
            self._pools = []
            for start, part in zip(self._offset, self.buffers, strict=True):
                rows = start + part.sample_indices(0)  # oldest first
                won = succeeds(self.done[rows], self.info.success[rows])
                self._pools.append((rows[won], rows[~won]))
        return self._pools

    def state_dict(self) -> StateDict:
        """Return all transitions of the worlds and the random state; offline data are read again instead."""
        parts = [
            {
                "size": part._size,
                "insertion": part._insertion_idx,
                "last": int(part.last_index[0]),
                "episode": (float(part._ep_return), int(part._ep_len), int(part._ep_start_idx)),
            }
            for part in self.buffers[: self.num_envs]
        ]
        rows = as_tensors(self._meta[: self.played_size].to_dict()) if len(self) else {}
        random = [as_tensors(part._random_state.get_state(legacy=False)) for part in self._with_random_state()]
        ends = {
            "apart": self._next.state_dict(self.played_size),
            "cut": torch.from_numpy(np.flatnonzero(self.cut[: self.played_size])),
            "incomplete": torch.from_numpy(np.flatnonzero(self.incomplete[: self.played_size])),
        }
        return {"rows": rows, **ends, "part_size": self.buffers[0].maxsize, "parts": parts, "random": random}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a `state_dict` before any world has played, also into a larger buffer, for a run that is extended.

        Raises ValueError for one of more transitions or other worlds, and for rows that are not in it.
        """
        self._pools = None
        size, previous_size = self.buffers[0].maxsize, state["part_size"]
        if len(state["parts"]) != self.num_envs or previous_size > size:
            raise ValueError(
                f"replay has {self.num_envs} parts of {size} transitions but the checkpoint's has "
                f"{len(state['parts'])} of {previous_size}; give num_envs as it was and no smaller buffer_size"
            )
        for part in state["parts"]:
            _check_rows(part, previous_size)
        for random in state["random"]:
            check_position(random["state"]["key"], random["state"]["pos"])
        parts = [_unrolled(part, previous_size) if previous_size < size else part for part in state["parts"]]
        if state["rows"]:
            rows = dict(state["rows"])
            apart = _apart_of_earlier(rows, state["parts"], previous_size) if "obs_next" in rows else state["apart"]
            self.set_batch(self._enlarged(Batch(as_arrays(rows)), parts, previous_size))
            order = np.concatenate([i * previous_size + _order(part, previous_size) for i, part in enumerate(parts)])
            moved = np.empty(len(order), dtype=np.int64)
            moved[order] = np.concatenate([i * size + np.arange(previous_size) for i in range(len(parts))])
            self._next.load_state_dict(apart, moved)
            cut = np.asarray(state.get("cut", []), dtype=np.int64)
            self.cut[moved[cut]] = True
            self.incomplete[moved[np.asarray(state.get("incomplete", cut), dtype=np.int64)]] = True
        for i, (part, previous) in enumerate(zip(self.buffers, parts, strict=False)):
            part._size, part._insertion_idx = previous["size"], previous["insertion"]
            part.last_index = np.array([previous["last"]])
            part._ep_return, part._ep_len, part._ep_start_idx = previous["episode"]
            self._lengths[i] = previous["size"]
            self.last_index[i] = self._offset[i] + previous["last"]
        for part, random in zip(self._with_random_state(), state["random"], strict=True):
            part._random_state.set_state(as_arrays(random))

    def _enlarged(self, rows: Batch, parts: Sequence[Mapping[str, Any]], previous_size: int) -> Batch:
        """Return a batch for the whole buffer: each part's rows in their order, then blank ones, then offline data."""
        size = self.buffers[0].maxsize
        blank = [] if previous_size == size else [_blank(rows, size - previous_size)]
        batches = []
        for i, part in enumerate(parts):
            batches += [rows[i * previous_size + _order(part, previous_size)], *blank]
        end = self.played_size
        return Batch.cat([*batches, self._meta[end:]] if self.maxsize > end else batches)

    @property
    def played_size(self) -> int:
        """The number of rows of the worlds' parts, which come first."""
        return int(self._extend_offset[self.num_envs])

    def _with_random_state(self) -> list[Any]:
        return [self, *self.buffers]


def succeeds(done: NDArray[np.bool_], success: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return whether the episode of each transition [N], in the order of play, has ended with success."""
    ends = np.flatnonzero(done)
    known = np.repeat(np.asarray(success, dtype=bool)[ends], np.diff(ends, prepend=-1))
    return np.concatenate([known, np.zeros(len(done) - len(known), dtype=bool)])


def _check_rows(part: Mapping[str, Any], size: int) -> None:
    """Raise ValueError for rows beyond a part: compiled returns read them unchecked."""
    rows = (part["insertion"], part["last"], part["episode"][2])
    if not 0 <= part["size"] <= size or not all(0 <= row < size for row in rows):
        raise ValueError(f"a part of the checkpoint's replay has rows {rows} of {part['size']}, but room for {size}")


def _unrolled(part: Mapping[str, Any], size: int) -> dict[str, Any]:
    """Return the state of a part whose `order` of rows puts the oldest transition first, so that it can grow."""
    oldest = part["insertion"] if part["size"] == size else 0
    value, length, start = part["episode"]
    return {
        "order": (oldest + np.arange(size)) % size,
        "size": part["size"],
        "insertion": part["size"],
        "last": (part["last"] - oldest) % size,
        "episode": (value, length, (start - oldest) % size if length else part["size"]),
    }


def _apart_of_earlier(rows: dict[str, Any], parts: Sequence[Mapping[str, Any]], size: int) -> StateDict:
    """Remove the next observations that earlier versions stored of every row; return those that are needed apart."""
    obs_next = rows.pop("obs_next")
    latest = [i * size + part["last"] for i, part in enumerate(parts)]
    apart = sorted({*latest, *rows["truncated"].nonzero()[:, 0].tolist()})
    return {"rows": torch.tensor(apart), "obs": list(obs_next[apart])}


def _order(part: Mapping[str, Any], size: int) -> NDArray[np.int64]:
    """Return the rows of a part, whose state it is, in the order that they get."""
    order: NDArray[np.int64] = part.get("order", np.arange(size))
    return order


def _blank(rows: Batch, num: int) -> Batch:
    """Return `num` placeholder rows of the same keys, shapes and types, which are never sampled."""
    return rows[np.zeros(num, dtype=int)]
