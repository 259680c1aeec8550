"""Batches with a set share of transitions from episodes that ended with success."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tianshou.data import Batch
from toys.runs import Killed, few_evaluations, results, run, short_parts

from dsrl.run.components.build import build
from dsrl.run.terminal.errors import UserError
from dsrl.training.replay_buffer import Replay, succeeds

WORLDS, SIZE = 3, 24  # 8 transitions in each part

Round = list[tuple[bool, bool]]  # for each world, whether its episode ends and whether the decision is a success


def rollout(number: int, ends: Round) -> Any:
    """Return decision `number` of all worlds; its observation names the decision and the world."""
    done, success = (np.array([one[i] for one in ends]) for i in (0, 1))
    names = np.stack([np.full(len(ends), number), np.arange(len(ends))], 1).astype(np.float32)
    flags = {"terminated": done & success, "truncated": done & ~success, "done": done}
    info = Batch(success=success)
    return Batch(obs=names, obs_next=names, act=names, rew=np.zeros(len(ends)), info=info, **flags)


def names_of(buffer: Replay, indices: Any) -> list[tuple[int, int]]:
    return [(int(number), int(world)) for number, world in buffer.obs[indices]]


rounds = st.lists(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=WORLDS, max_size=WORLDS), max_size=40)


def succeeded_by_hand(played: list[Round]) -> set[tuple[int, int]]:
    """Name the transitions that replay still has and whose episode ended with success."""
    names = set()
    for world in range(WORLDS):
        episode: list[int] = []
        for number, ends in enumerate(played):
            episode.append(number)
            if ends[world][0]:
                names |= {(one, world) for one in episode if ends[world][1]}
                episode = []
    return {name for name in names if name[0] >= len(played) - SIZE // WORLDS}


@settings(max_examples=60, deadline=None)
@given(played=rounds.filter(bool), share=st.floats(0, 1), num=st.integers(1, 64), seed=st.integers(0, 9))
def test_the_share_of_succeeding_episodes_in_a_batch_is_the_one_that_is_set(
    played: list[Round], share: float, num: int, seed: int
) -> None:
    buffer = Replay(SIZE, WORLDS, seed, success_share=share)
    for number, ends in enumerate(played):
        buffer.add(rollout(number, ends), buffer_ids=np.arange(WORLDS))
    expected = succeeded_by_hand(played)
    drawn = names_of(buffer, buffer.sample_indices(num))
    assert len(drawn) == num
    share = 0.0 if not expected else 1.0 if len(expected) == len(buffer) else share
    assert sum(name in expected for name in drawn) == round(share * num)
    everything = names_of(buffer, buffer.sample_indices(0))
    assert len(everything) == len(set(everything)) == min(SIZE, WORLDS * len(played))
    assert expected <= set(everything)

    restored = Replay(SIZE, WORLDS, seed + 1, success_share=share)  # the kinds follow from the rows
    restored.load_state_dict(deepcopy(buffer.state_dict()))
    assert [restored.sample_indices(num).tolist() for _ in range(2)] == [
        buffer.sample_indices(num).tolist() for _ in range(2)
    ]


def test_all_transitions_of_both_kinds_are_drawn_alike() -> None:
    buffer = Replay(SIZE, WORLDS, 0, success_share=0.5)
    for number in range(8):
        buffer.add(rollout(number, [(number % 4 == 3, world == 0) for world in range(WORLDS)]), np.arange(WORLDS))
    counts = np.bincount(buffer.sample_indices(8000), minlength=SIZE)
    assert (abs(counts[:8] - 500) < 100).all()
    assert (abs(counts[8:] - 250) < 75).all()


def test_an_episode_that_a_reset_cuts_or_that_goes_on_is_no_success() -> None:
    buffer = Replay(SIZE, WORLDS, 0, success_share=1.0)
    buffer.add(rollout(0, [(True, True), (False, False), (False, False)]), np.arange(WORLDS))
    assert set(names_of(buffer, buffer.sample_indices(50))) == {(0, 0)}
    buffer.cut_episodes()
    buffer.add(rollout(1, [(False, False), (True, True), (False, True)]), np.arange(WORLDS))
    assert set(names_of(buffer, buffer.sample_indices(50))) == {(0, 0), (1, 1)}
    assert succeeds(np.array([], bool), np.array([], bool)).tolist() == []


def test_each_of_play_and_offline_data_has_its_share() -> None:
    buffer = Replay(SIZE, WORLDS, 0, offline=4, share=0.5, success_share=0.25)
    ends = [[(False, False)], [(True, True)], [(False, False)], [(True, False)]]
    for number, one in enumerate(ends):
        buffer.add_offline(rollout(100 + number, one))
    first = names_of(buffer, buffer.sample_indices(40))
    assert sum(number in (100, 101) for number, _ in first) == 10
    buffer.add(rollout(0, [(True, True), (True, False), (False, False)]), np.arange(WORLDS))
    drawn = names_of(buffer, buffer.sample_indices(40))
    assert sum(number in (100, 101) for number, _ in drawn) == 5
    assert sum(number in (102, 103) for number, _ in drawn) == 15
    assert drawn.count((0, 0)) == 5


@pytest.mark.parametrize("share", [None, 0.0, 0.5, 1.0])
def test_off_is_the_default_and_draws_as_before(share: float | None) -> None:
    def drawn(**options: Any) -> list[int]:
        buffer = Replay(SIZE, WORLDS, 0, **options)
        for number in range(9):
            buffer.add(rollout(number, [(number % 3 == 2, number % 2 == 0)] * WORLDS), np.arange(WORLDS))
        indices: list[int] = buffer.sample_indices(32).tolist()
        return indices

    assert (drawn(success_share=share) == drawn()) == (share is None)


@pytest.mark.parametrize("algorithm", ["dsrl_sac", "dsrl_na", "lp_ds"])
def test_a_killed_run_ends_like_one_that_is_not(algorithm: str, tmp_path: Any, killed: Any) -> None:
    def parts() -> Any:
        made = few_evaluations(short_parts(algorithm))
        made.settings.success_share = 0.5
        return made

    run(tmp_path / "whole", parts())
    killed(2, "after")
    with pytest.raises(Killed):
        run(tmp_path / "cut", parts())
    run(tmp_path / "cut", parts())
    assert results(tmp_path / "cut") == results(tmp_path / "whole")
    plain = few_evaluations(short_parts(algorithm))
    run(tmp_path / "plain", plain)
    assert results(tmp_path / "plain")["rows"] != results(tmp_path / "whole")["rows"]


def test_a_task_without_success_is_refused() -> None:
    from toys.complaints import composed

    with pytest.raises(UserError, match=r"success_share=0\.5 needs a task with a success, .* type success_share=null"):
        build(composed("task=pendulum", "success_share=0.5"), print)
