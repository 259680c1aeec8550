"""Rollouts are recorded as they were played, whatever the task does with its tensors afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
import torch
from torch import Tensor

from dsrl.interfaces import Observation, Step
from scripts.collect_rollouts import RecordingTask, rows_of


class Overwriting:
    """A task that returns its own tensors and changes them in place: its state and picture count the control steps.

    The reward is the action that it got.
    """

    state_dim, action_dim, has_success, max_steps = 1, 1, True, 3
    cameras: Mapping[str, tuple[int, int, int]] = {"front": (3, 2, 2)}
    action_low, action_high = torch.tensor([-1.0]), torch.tensor([1.0])

    def __init__(self) -> None:
        self.num_envs = 2
        self.state, self.picture = torch.zeros(2, 1), torch.zeros(2, 3, 2, 2, dtype=torch.uint8)
        self.reward, self.truncated = torch.zeros(2), torch.zeros(2, dtype=torch.bool)
        self.success = torch.zeros(2, dtype=torch.bool)

    def reset(self, rows: Tensor, seeds: Sequence[int] | None = None) -> None:
        for tensor in (self.state, self.picture, self.reward, self.truncated, self.success):
            tensor[rows] = 0

    def observe(self) -> Observation:
        return Observation(self.state, {"front": self.picture}, ("count", "count"))

    def step(self, action: Tensor) -> Step:
        self.state += 1
        self.picture += 1
        self.reward[:] = action[:, 0]
        self.success[:] = self.state[:, 0] == 2
        self.truncated[:] = self.state[:, 0] >= self.max_steps
        action.zero_()
        return Step(self.reward, torch.zeros(2, dtype=torch.bool), self.truncated, self.success)

    def hold(self) -> Tensor:
        return torch.zeros(2, 1)


def test_frames_stay_as_they_were_played_and_actions_are_those_within_the_bounds() -> None:
    task = RecordingTask(Overwriting())
    task.reset(torch.arange(2), [0, 1])
    for number in (0.5, 3.0, -2.0):
        task.step(torch.full((2, 1), number))
    rows = list(rows_of(task.frames, 1))
    assert [row["observation.state"].item() for row in rows] == [0, 1, 2]
    assert [row["observation.images.front"].max() for row in rows] == [0, 1, 2]
    assert [row["action"].item() for row in rows] == [row["next.reward"].item() for row in rows] == [0.5, 1.0, -1.0]
    assert [row["next.success"].item() for row in rows] == [False, True, False]
    assert [row["next.truncated"].item() for row in rows] == [False, False, True]


class Untyped(Overwriting):
    def step(self, action: Tensor) -> Step:
        return tuple(vars(super().step(action)).values())  # type: ignore[return-value]


def test_a_task_that_returns_something_else_is_named_itself() -> None:
    task = RecordingTask(Untyped())
    with pytest.raises(
        ValueError, match=r"^task Untyped.step returned builtins.tuple; return a Step of dsrl.interfaces"
    ):
        task.step(torch.zeros(2, 1))
