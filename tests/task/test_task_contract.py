"""The contract of every task. A task joins by adding a maker to MAKERS."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from toys import genesis_worlds

from dsrl.interfaces import Observation, ObservesRows, Task
from dsrl.task.gym import GymTask
from dsrl.task.lerobot import LerobotTask
from dsrl.task.metaworld import MetaWorldTask
from dsrl.task.pusht import PushTTask

MAKERS: dict[str, Callable[[], Task]] = {
    "pendulum": lambda: GymTask("Pendulum-v1", num_envs=3, max_steps=12),
    "gym": lambda: GymTask("MountainCarContinuous-v0", num_envs=3, max_steps=12),
    "hopper": lambda: GymTask("Hopper-v5", num_envs=3, max_steps=12),
    "metaworld": lambda: MetaWorldTask("push-v3", 3, "state", "sparse", 12, ["corner2"], 32),
    "metaworld images": lambda: MetaWorldTask("door-open-v3", 3, "images", "dense", 12, ["corner2", "gripperPOV"], 32),
    "gym images": lambda: GymTask("gym_pusht/PushT-v0", 3, 12, {"obs_type": "pixels_agent_pos"}),
    "lerobot pusht": lambda: LerobotTask("pusht", None, 0, 3, "sparse", 12, processes=True),
    "pusht state": lambda: PushTTask("state", 3, "dense", 12, processes=False),
    "simple_pick": genesis_worlds.simple_pick,
    "simple_pick joint": lambda: genesis_worlds.simple_pick("joint"),
    "simple_pick state": lambda: genesis_worlds.simple_pick(observation="state"),
    "pick_place": genesis_worlds.pick_place,
}
"""Name -> a task of at least 3 worlds; made once, when its first test runs."""

STILL_WITHIN: dict[str, float] = {
    "simple_pick": 5e-3,
    "simple_pick joint": 1e-2,
    "simple_pick state": 5e-3,
    "pick_place": 5e-3,
}
"""Name -> how far the state may drift in five held steps, for tasks whose `hold` means standing still."""


@pytest.fixture(scope="module", params=sorted(MAKERS))
def task(request: pytest.FixtureRequest) -> Task:
    return MAKERS[request.param]()


def all_worlds(task: Task) -> torch.Tensor:
    return torch.arange(task.num_envs)


def same(first: Observation, second: Observation, rows: torch.Tensor) -> bool:
    images = all(torch.equal(first.images[name][rows], second.images[name][rows]) for name in first.images)
    sentences = all(first.instruction[i] == second.instruction[i] for i in rows.tolist())
    return images and sentences and torch.equal(first.state[rows], second.state[rows])


def test_observations_and_steps_have_the_declared_shapes(task):
    task.reset(all_worlds(task), seeds=list(range(task.num_envs)))
    observation = task.observe()
    assert observation.state.shape == (task.num_envs, task.state_dim)
    assert observation.state.dtype == torch.float32
    assert {name: tuple(image.shape[1:]) for name, image in observation.images.items()} == dict(task.cameras)
    assert len(observation.instruction) == task.num_envs
    assert task.hold().shape == (task.num_envs, task.action_dim)
    step = task.step(task.hold())
    assert step.reward.shape == step.terminated.shape == step.truncated.shape == (task.num_envs,)
    assert step.terminated.dtype == step.truncated.dtype == torch.bool
    assert (step.success is not None) == task.has_success


def test_some_worlds_are_observed_bit_by_bit_as_among_all(task):
    if not isinstance(task, ObservesRows):
        pytest.skip("observes all worlds at once")
    task.reset(all_worlds(task), seeds=list(range(task.num_envs)))
    task.step(task.hold())
    everything = task.observe()
    for rows in ([2, 0], [1], list(range(task.num_envs))):
        some, expected = task.observe_rows(torch.tensor(rows)), everything[torch.tensor(rows)]
        assert same(some, expected, torch.arange(len(rows)))
        assert len(some.state) == len(some.instruction) == len(rows)


def test_resetting_one_world_leaves_the_others_alone(task):
    task.reset(all_worlds(task), seeds=[5, 6, 7, *range(100, 97 + task.num_envs)])
    task.step(task.hold())
    before = task.observe()
    task.reset(torch.tensor([1]), seeds=[9])
    after = task.observe()
    others = all_worlds(task)[all_worlds(task) != 1]
    assert torch.allclose(before.state[others], after.state[others], atol=1e-5)
    assert all(torch.equal(before.images[name][others], after.images[name][others]) for name in before.images)
    assert not same(before, after, torch.tensor([1]))


def test_a_replayed_seed_gives_the_same_world_whatever_its_row_and_history(task):
    task.reset(all_worlds(task), seeds=[11] * task.num_envs)
    first = task.observe()
    task.step(task.hold())
    task.reset(torch.tensor([2]), seeds=[11])
    again = task.observe()
    assert same(first, again, torch.tensor([2]))
    assert torch.allclose(first.state[0], first.state[2], atol=1e-6)


def test_other_seeds_give_other_worlds(task):
    task.reset(all_worlds(task), seeds=list(range(task.num_envs)))
    first = task.observe()
    pixels = any(not torch.equal(image[0], image[1]) for image in first.images.values())
    assert pixels or not torch.equal(first.state[0], first.state[1])


def test_running_out_of_time_is_a_truncation_and_no_termination(task):
    task.reset(all_worlds(task), seeds=list(range(task.num_envs)))
    for _ in range(task.max_steps - 1):
        step = task.step(task.hold())
        assert not step.truncated.any()
    step = task.step(task.hold())
    assert step.truncated.all()
    assert not step.terminated.any()


def test_holding_is_a_finite_action(task):
    assert torch.isfinite(task.hold()).all()


@pytest.mark.parametrize("task", sorted(STILL_WITHIN), indirect=True)
def test_holding_keeps_a_world_still(task, request):
    task.reset(all_worlds(task), seeds=list(range(task.num_envs)))
    before = task.observe()
    for _ in range(5):
        task.step(task.hold())
    assert (task.observe().state - before.state).abs().max() < STILL_WITHIN[request.node.callspec.params["task"]]
