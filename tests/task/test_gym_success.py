"""Whether a gymnasium environment has a success is found by a trial that leaves its worlds as they were."""

from __future__ import annotations

from collections import deque
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from toys.odd_worlds import ID, LATER, OddWorld

from dsrl.task import _gym_trial
from dsrl.task._lerobot_world import World
from dsrl.task.gym import GymTask


class Lift(gymnasium.Env):
    """Ends when the hand has risen by 3; an action is its speed, and every move has a draw of the world's own."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float64)

    def __init__(self, told: str, box: tuple[float, float, str] = (-1, 1, "float32"), readable: bool = True) -> None:
        low, high, dtype = box
        self.action_space = gymnasium.spaces.Box(low, high, (1,), np.dtype(dtype))
        self.told = told
        self.episodes = [0] if readable else deque([0])
        self.steps = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.height = self.np_random.random()
        self.episodes[0] += 1
        return np.array([self.height, 0.0]), {}

    def step(self, action):
        assert self.action_space.contains(action)
        self.steps += 1
        self.height += abs(float(action[0])) + 0.1 * self.np_random.random()
        ended = self.height > 3
        return np.array([self.height, 0.0]), 0.0, ended, False, self._info(ended)

    def _info(self, ended: bool) -> dict[str, Any]:
        if self.told == "always":
            return {"success": ended}
        if ended and self.told == "at the end":
            return {"is_success": True}
        if ended and self.told == "in final_info":
            return {"final_info": {"is_success": True}}
        return {"final_info": None}


gymnasium.register("dsrl-test/Lift-v0", entry_point=Lift)


def lift(told: str, num_envs: int = 1, max_steps: int = 100, **env_kwargs: Any) -> tuple[GymTask, list[str]]:
    """Return a task and what it announced."""
    announced: list[str] = []
    task = GymTask("dsrl-test/Lift-v0", num_envs, max_steps, {"told": told, **env_kwargs}, announced.append)
    return task, announced


@pytest.mark.parametrize("told", ["always", "at the end", "in final_info"])
def test_success_may_be_reported_in_the_last_step_alone(told):
    task, announced = lift(told)
    assert task.has_success
    assert announced == []
    task.reset(torch.arange(1), seeds=[0])
    assert [task.step(torch.tensor([[1.0]])).success.item() for _ in range(3)] == [False, False, True]


def test_a_task_without_success_says_so():
    task, announced = lift("never")
    assert not task.has_success
    assert announced == [
        "task.id=dsrl-test/Lift-v0: no info of a trial episode has is_success or success, "
        "so that the run is scored by returns"
    ]


@pytest.mark.parametrize(
    "box", [(-0.1, 0.1, "float64"), (0, 3, "int64"), (0, 255, "uint8"), (-np.inf, np.inf, "float32")]
)
def test_the_trial_acts_within_the_box(box):
    assert lift("at the end", box=box)[0].has_success


def _unrewarded(self: Lift, action: Any) -> Any:
    return np.zeros(2), float("nan"), False, False, {}


@pytest.mark.parametrize(
    ("refuse", "reason"),
    [
        (lambda self, action: 1 / 0, "ZeroDivisionError division by zero, task/test_gym_success.py line"),
        (_unrewarded, "the reward nan is not finite), which would end the run"),
    ],
)
def test_an_environment_that_refuses_random_actions_has_no_success_but_is_made(refuse, reason, monkeypatch):
    step = Lift.step
    monkeypatch.setattr(Lift, "step", lambda self, action: (step if action[0] == 0 else refuse)(self, action))
    task, announced = lift("never")
    assert not task.has_success
    assert f"raise an error (step: {reason}" in announced[0]
    assert "is scored by returns" in announced[1]


def test_an_environment_that_refuses_the_action_nearest_to_zero_too_is_one_sentence(monkeypatch):
    monkeypatch.setattr(Lift, "_info", lambda self, ended: {} if self.steps < 3 else 1 / 0)
    with pytest.raises(
        ValueError, match=r"Lift-v0 \(step: ZeroDivisionError division by zero, task/test_gym_success.py"
    ):
        lift("at the end")


def test_a_trial_is_short(monkeypatch):
    longest = 0

    def info(self, ended):
        nonlocal longest
        longest = max(longest, self.steps)
        return {}

    monkeypatch.setattr(Lift, "_info", info)
    lift("never", max_steps=1_000_000, box=(0, 1e-9, "float64"))
    assert longest <= _gym_trial.LONGEST + 1


@pytest.mark.parametrize("readable", [True, False])
def test_after_a_trial_of_any_length_a_world_continues_its_own_random_stream(readable):
    played = []
    for told in ("always", "never"):
        task, _ = lift(told, readable=readable)
        task.reset(torch.arange(1))
        started = task.observe().state
        task.step(torch.ones(1, 1))
        played.append((started, task.observe().state))
    for one, other in zip(*played, strict=True):
        assert torch.equal(one, other)


def test_what_outlives_an_episode_counts_one_step_for_a_trial_and_nothing_else():
    task, _ = lift("never")
    task.reset(torch.arange(1), seeds=[0])
    assert task.state_dict()["worlds"][0][-1]["episodes"] == {"list": [{"plain": 2}]}


YES = (True, np.True_, 1, 1.0, np.float64(1), np.array([True]), np.array(1), torch.tensor([[True]]))
NO = (False, np.False_, 0, 0.0, np.int64(0), np.array([[0.0]]), torch.tensor(False), None)
NEITHER = (0.3, float("nan"), "False", "", 2, -1, np.array([True, True]), np.zeros(0), [True], {})


@pytest.mark.parametrize("value", YES + NO, ids=repr)
def test_a_success_is_a_bool_or_0_or_1_alone_or_in_an_array(value):
    task = GymTask(ID, num_envs=1, max_steps=None, env_kwargs={"success": value})
    task.reset(torch.arange(1), seeds=[0])
    assert task.step(torch.zeros(1, 2)).success.item() == any(value is one for one in YES)


@pytest.mark.parametrize("value", NEITHER, ids=repr)
def test_another_success_is_refused_in_the_trial(value):
    with pytest.raises(
        ValueError, match=f"task.id={ID} reports is_success=.* but a success is true or false; report a"
    ):
        GymTask(ID, num_envs=1, max_steps=None, env_kwargs={"success": value})


def test_a_success_that_a_random_episode_alone_shows_is_refused_too(monkeypatch):
    monkeypatch.setattr(Lift, "_info", lambda self, ended: {"success": 0.5} if ended else {})
    with pytest.raises(ValueError, match=r"Lift-v0 reports success=0.5 in its info but"):
        lift("at the end")


def test_a_success_that_is_a_number_later_ends_the_run():
    task = GymTask(ID, num_envs=1, max_steps=None, env_kwargs={"later": 0.3})
    task.reset(torch.arange(1), seeds=[0])
    for _ in range(LATER - 1):
        task.step(torch.zeros(1, 2))
    with pytest.raises(ValueError, match=f"task.id={ID} reports is_success=0.3 in its info"):
        task.step(torch.zeros(1, 2))


def test_worlds_of_lerobot_refuse_the_same():
    world = World(OddWorld(success=0.3), 20, kind="mine")
    world.reset(seed=0)
    with pytest.raises(ValueError, match=r"task.env=mine reports is_success=0.3 in its info"):
        world.step(np.zeros(2, np.float32))
