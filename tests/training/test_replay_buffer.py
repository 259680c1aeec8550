"""The replay buffer: its parts draw from their own seeds, and a saved one continues to the last bit."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tianshou.data import Batch
from tianshou.data.buffer.manager import _next_index

from dsrl.training.random_state import load_random_state_dict, random_state_dict
from dsrl.training.replay_buffer import Replay


def rollout(value: float, num: int, done: bool = False) -> Any:
    """Return one transition of each of `num` worlds, all of whose numbers are `value`."""
    numbers, ends = np.full((num, 1), value, np.float32), np.full(num, done)
    info = Batch(env_steps=np.full(num, int(value)), before=Batch(stored_keys=np.full((num, 2), value, np.float16)))
    flags = {"terminated": ends, "truncated": np.zeros(num, bool), "done": ends}
    return Batch(obs=numbers, obs_next=numbers + 1, act=numbers, rew=numbers[:, 0], info=info, **flags)


def filled(seed: int = 0, rounds: int = 100, num_envs: int = 3, size: int = 300, **offline: Any) -> Replay:
    """Return a buffer of `rounds` decisions of every world, whose episodes end with every seventh."""
    buffer = Replay(size, num_envs, seed, **offline)
    for i in range(rounds):
        buffer.add(rollout(float(i), num_envs, done=i % 7 == 6), buffer_ids=np.arange(num_envs))
    return buffer


def drawn(buffer: Replay) -> list[Any]:
    """Draw three batches and return their indices and numbers."""
    batches = []
    for _ in range(3):
        batch, indices = buffer.sample(32)
        stored = batch.info.before.stored_keys
        assert stored.dtype == np.float16
        np.testing.assert_array_equal(batch.obs_next, batch.obs + 1)
        batches.append([indices.tolist(), batch.obs.tolist(), batch.rew.tolist(), batch.done.tolist(), stored.tolist()])
    return batches


def test_each_part_draws_from_its_own_seed() -> None:
    assert drawn(filled(0)) == drawn(filled(0))
    assert drawn(filled(0)) != drawn(filled(1))
    parts = [part.sample_indices(64) for part in filled(0).buffers]
    assert not np.array_equal(parts[0], parts[1])


@pytest.mark.parametrize("rounds", [1, 40, 137])  # one transition, some, and more than fit
def test_a_restored_buffer_draws_the_same_batches_and_takes_up_the_same_transitions(rounds: int) -> None:
    first, second = filled(rounds=rounds), Replay(300, 3, seed=7)
    first.sample(16)  # its generators are not at their start
    second.load_state_dict(deepcopy(first.state_dict()))
    assert len(first) == len(second)
    assert drawn(first) == drawn(second)
    for i in range(150):  # until all transitions have been replaced
        one, other = (
            buffer.add(rollout(1000.0 + i, 3, done=i % 5 == 4), buffer_ids=np.arange(3)) for buffer in (first, second)
        )
        for mine, theirs in zip(one, other, strict=True):
            np.testing.assert_array_equal(mine, theirs)
    assert drawn(first) == drawn(second)


@given(
    num_envs=st.integers(1, 4),
    plays=st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=60),
    size=st.integers(4, 24),
    offline=st.integers(0, 3),
    index=st.lists(st.integers(-30, 60), min_size=1, max_size=20),
)
def test_the_row_after_is_that_of_tianshou(
    num_envs: int, plays: list[tuple[int, bool]], size: int, offline: int, index: list[int]
) -> None:
    """Parts that are empty, fill and wrap, episodes that end or go on, and rows beyond the buffer."""
    buffer = Replay(max(size, num_envs), num_envs, seed=0, offline=offline)
    for world, done in plays:
        buffer.add(rollout(1.0, 1, done), buffer_ids=np.array([world % num_envs]))
    if not plays:
        return
    theirs = (buffer._extend_offset, buffer.done, buffer.last_index, buffer._lengths)
    for asked in (np.array(index), index):
        np.testing.assert_array_equal(buffer.next(asked), _next_index.py_func(np.array(index), *theirs))
    assert buffer.next(index[0]) == buffer.next(index)[0]


def test_next_observations_are_stored_once_and_apart_only_where_no_row_begins_with_them() -> None:
    """Episodes of seven decisions end in an observation that is not the next one's first; parts overflow and wrap."""
    buffer = Replay(30, 3, seed=0)
    rng = np.random.default_rng(0)
    expected: dict[int, Any] = {}
    now = rng.standard_normal((3, 4)).astype(np.float32)
    for i in range(47):
        following = rng.standard_normal((3, 4)).astype(np.float32)
        terminated, truncated = np.array([i % 7 == 6, False, False]), np.array([False, i % 7 == 6, i == 20])
        following[terminated] = now[terminated]  # no state follows
        ended = terminated | truncated
        flags = {"rew": np.ones(3), "terminated": terminated, "truncated": truncated, "done": ended}
        rows = buffer.add(Batch(obs=now, obs_next=following, act=now, info=Batch(), **flags), np.arange(3))[0]
        expected.update(zip(rows.tolist(), following, strict=True))
        filled_rows = np.array(sorted(expected))
        np.testing.assert_array_equal(buffer.obs_next[filled_rows], [expected[row] for row in filled_rows])
        now = np.where(ended[:, None], rng.standard_normal((3, 4)).astype(np.float32), following)
    assert "obs_next" not in buffer._meta
    apart = buffer.state_dict()["apart"]["rows"].tolist()
    assert apart == sorted({*buffer.last_index.tolist(), *np.flatnonzero(buffer.truncated).tolist()})
    row = int(buffer.last_index[0])
    np.testing.assert_array_equal(buffer[row].obs_next, expected[row])
    ends = np.flatnonzero(buffer.truncated)
    np.testing.assert_array_equal(buffer[buffer.truncated].obs_next, [expected[end] for end in ends])


def test_an_episode_that_is_cut_keeps_its_last_observation() -> None:
    buffer = filled(rounds=5)
    last = buffer.last_index.copy()
    buffer.cut_episodes()
    buffer.add(rollout(50.0, 3), buffer_ids=np.arange(3))
    assert (buffer.obs_next[last] == 5.0).all()
    twin = Replay(300, 3, seed=0)
    twin.load_state_dict(deepcopy(buffer.state_dict()))
    np.testing.assert_array_equal(twin.obs_next[twin.sample_indices(0)], buffer.obs_next[buffer.sample_indices(0)])


def test_a_buffer_of_an_earlier_version_which_stored_next_observations_of_every_row_is_restored() -> None:
    def cut(buffer: Replay) -> Replay:
        buffer._meta.truncated[:] = buffer.terminated
        buffer._meta.terminated[:] = False
        return buffer

    first = cut(filled(rounds=40))
    state = deepcopy(first.state_dict())
    del state["apart"]
    state["rows"]["obs_next"] = state["rows"]["obs"] + 1
    second = Replay(300, 3, seed=7)
    second.load_state_dict(state)
    assert drawn(first) == drawn(second)
    assert second.state_dict()["apart"]["rows"].tolist() == first.state_dict()["apart"]["rows"].tolist()


def test_an_empty_buffer_is_restored_too() -> None:
    first, second = Replay(300, 3, seed=0), Replay(300, 3, seed=7)
    second.load_state_dict(deepcopy(first.state_dict()))
    for buffer in (first, second):
        for i in range(10):
            buffer.add(rollout(float(i), 3), buffer_ids=np.arange(3))
    assert drawn(first) == drawn(second)


def test_a_restored_buffer_has_the_offline_transitions_that_were_read_again() -> None:
    first, second = (Replay(300, 3, seed, offline=20, share=0.25) for seed in (0, 7))
    for buffer in (first, second):
        buffer.add_offline(rollout(-1.0, 20))
    for i in range(40):
        first.add(rollout(float(i), 3), buffer_ids=np.arange(3))
    state = first.state_dict()
    assert -1.0 not in state["rows"]["rew"]
    second.load_state_dict(deepcopy(state))
    assert len(first) == len(second) == 3 * 40 + 20
    assert drawn(first) == drawn(second)
    assert (second.sample(32)[0].rew == -1.0).sum() == 8


@pytest.mark.parametrize("rounds", [0, 40, 137])
def test_a_larger_buffer_takes_up_a_smaller_one_oldest_first_and_keeps_what_follows(rounds: int) -> None:
    small, large = filled(rounds=rounds), Replay(600, 3, seed=7)
    large.load_state_dict(deepcopy(small.state_dict()))
    for i in range(100):
        large.add(rollout(1000.0 + i, 3, done=i % 5 == 4), buffer_ids=np.arange(3))
    expected = [*range(max(0, rounds - 100), rounds), *range(1000, 1100)]
    assert len(large) == 3 * len(expected)
    for part in range(3):
        start = 200 * part
        assert large.obs[start : start + len(expected), 0].tolist() == expected
        assert (large.obs_next[start : start + len(expected)][:, 0] == np.array(expected) + 1).all()
    assert set(large.sample(256)[0].obs[:, 0].tolist()) <= set(expected)


def test_a_buffer_that_is_smaller_or_of_other_worlds_is_refused() -> None:
    state = filled().state_dict()
    for other in (Replay(200, 3, seed=0), Replay(300, 2, seed=0)):
        with pytest.raises(ValueError, match=r"but the checkpoint's has 3 of 100; give num_envs as it was and no"):
            other.load_state_dict(state)
    with pytest.raises(ValueError, match=r"buffer_size=2 must be at least the 3 worlds of num_envs"):
        Replay(2, 3, seed=0)


def test_the_share_of_offline_transitions_in_a_batch_is_the_one_that_is_set() -> None:
    def values(share: float | None) -> Any:
        buffer = Replay(20, 2, seed=0, offline=30, share=share)
        buffer.add_offline(rollout(1.0, 30))
        assert (buffer[buffer.sample_indices(64)].obs == 1.0).all()  # before any world has played
        for _ in range(5):
            buffer.add(rollout(0.0, 2), buffer_ids=np.arange(2))
        assert len(buffer.sample_indices(0)) == 40
        return buffer[buffer.sample_indices(64)].obs

    assert values(0.25).sum() == 16
    assert values(1.0).sum() == 64
    assert values(0.0).sum() == 0
    assert 36 <= values(None).sum() <= 60  # three in four


def test_rows_and_positions_beyond_their_arrays_are_refused() -> None:
    """Compiled code would read them unchecked."""
    for key, row in (("size", 101), ("insertion", 100), ("last", -1)):
        state = filled().state_dict()
        state["parts"][0][key] = row
        with pytest.raises(ValueError, match="room for 100"):
            filled(rounds=0).load_state_dict(state)
    state = filled().state_dict()
    state["random"][1]["state"]["pos"] = 2**30
    with pytest.raises(ValueError, match="at position 1073741824"):
        filled(rounds=0).load_state_dict(state)
    state = random_state_dict()
    state["numpy"][1] = 625
    with pytest.raises(ValueError, match="at position 625"):
        load_random_state_dict(state)
