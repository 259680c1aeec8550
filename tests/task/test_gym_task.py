"""GymTask and the identity policy: behaviour beyond the contracts."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from toys.odd_worlds import ID, LATER

from dsrl.interfaces import BoundedActions, Encoding, Filmable, Restorable
from dsrl.policy.identity import IdentityPolicy
from dsrl.run.config.settings import completed
from dsrl.run.saved.checkpoint import read_checkpoint, write_checkpoint
from dsrl.task.gym import GymTask


def test_a_world_is_the_gymnasium_environment_of_that_seed():
    task = GymTask("Pendulum-v1", num_envs=2, max_steps=None)
    assert (task.state_dim, task.action_dim, task.max_steps, task.has_success) == (3, 1, 200, False)
    task.reset(torch.arange(2), seeds=[4, 5])
    reference = gymnasium.make("Pendulum-v1")
    state, _ = reference.reset(seed=5)
    np.testing.assert_array_equal(task.observe().state[1].numpy(), state)
    for torque in (0.5, -1.5):
        state, reward, *_ = reference.step(np.array([torque], np.float32))
        step = task.step(torch.tensor([[0.0], [torque]]))
        np.testing.assert_array_equal(task.observe().state[1].numpy(), state)
        assert step.reward[1].item() == pytest.approx(reward)
        assert step.success is None


def test_an_ended_world_has_no_reward_until_it_is_reset():
    task = GymTask("Pendulum-v1", num_envs=2, max_steps=3)
    task.reset(torch.arange(2), seeds=[1, 2])
    for _ in range(3):
        task.step(task.hold())
    last = task.observe()
    task.reset(torch.tensor([0]), seeds=[3])
    step = task.step(task.hold())
    assert step.reward[1] == 0.0
    assert step.truncated.tolist() == [False, True]
    assert torch.equal(task.observe().state[1], last.state[1])


class Reach(gymnasium.Env):
    """Reports success and ends with it."""

    observation_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gymnasium.spaces.Box(0.5, 2.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        won = bool(action[0] > 1.0)
        return np.zeros(1, np.float32), 1.0, won, False, {"is_success": won}


gymnasium.register("dsrl-test/Reach-v0", entry_point=Reach)


def test_success_is_what_the_environment_reports():
    task = GymTask("dsrl-test/Reach-v0", num_envs=2, max_steps=5)
    assert task.has_success
    assert task.hold().tolist() == [[0.5], [0.5]]
    task.reset(torch.arange(2), seeds=[0, 0])
    step = task.step(torch.tensor([[0.6], [1.5]]))
    assert step.success.tolist() == step.terminated.tolist() == [False, True]


class Exact(gymnasium.Env):
    """Asserts that an action is in its box, and shows it."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float64)

    def __init__(self, low: Any, high: Any, dtype: str, strict: bool = True) -> None:
        self.action_space = gymnasium.spaces.Box(np.array(low, dtype), np.array(high, dtype), dtype=np.dtype(dtype))
        self.strict = strict

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(2), {}

    def step(self, action):
        assert action.dtype == self.action_space.dtype
        assert not self.strict or self.action_space.contains(action)
        return action.astype(np.float64), 0.0, False, False, {"is_success": False}


gymnasium.register("dsrl-test/Exact-v0", entry_point=Exact)


@pytest.mark.parametrize(
    ("low", "high", "dtype"),
    [
        ([-0.1, 0.3], [0.1, 0.7], "float64"),
        ([-0.1, 1 / 3], [0.7, 1e9 + 0.1], "float64"),
        ([-3, 0], [3, 255], "int64"),
        ([0, -(2**31)], [1, 2**31 - 1], "int32"),
        ([0, 5], [255, 250], "uint8"),
    ],
)
def test_the_ends_of_the_action_box_are_those_of_the_environment(low, high, dtype):
    task = GymTask("dsrl-test/Exact-v0", 1, 5, {"low": low, "high": high, "dtype": dtype})
    task.reset(torch.arange(1), seeds=[0])
    policy = IdentityPolicy(task)
    for noise in (-1.0, -0.3, 0.9999999, 1.0):
        task.step(policy.decode(Encoding(torch.zeros(1, 2), {}), torch.full((1, 1, 2), noise))[:, 0])
    assert task.latest[0].tolist() == high
    task.step(task.action_low[None])
    assert task.latest[0].tolist() == low


def test_every_world_has_the_instruction_that_is_typed_and_runs_of_before_had_none():
    assert GymTask("Pendulum-v1", 2, None).observe().instruction == ("", "")
    assert GymTask("Pendulum-v1", 2, None, instruction="swing up").observe().instruction == ("swing up",) * 2
    previous = {"task._target_": "dsrl.task.gym.GymTask", "sac._target_": "mine"}
    assert completed(previous) == {**previous, "task.instruction": None}


def test_integer_actions_are_rounded():
    task = GymTask("dsrl-test/Exact-v0", 1, 5, {"low": [-3, 0], "high": [3, 9], "dtype": "int64"})
    task.reset(torch.arange(1), seeds=[0])
    task.step(torch.tensor([[-1.6, 1.6]]))
    assert task.latest[0].tolist() == [-2, 2]


def test_actions_beyond_the_box_count_as_its_border():
    task = GymTask("dsrl-test/Exact-v0", 1, 5, {"low": [-0.1, -1], "high": [0.1, 1], "dtype": "float64"})
    task.reset(torch.arange(1), seeds=[0])
    task.step(torch.tensor([[-4.0, 1.5]]))
    assert task.latest[0].tolist() == [-0.1, 1.0]


def test_actions_are_not_clipped_where_the_box_has_no_border():
    low, high = [-np.inf, -1], [1, np.inf]
    task = GymTask("dsrl-test/Exact-v0", 1, 5, {"low": low, "high": high, "dtype": "float32"})
    task.reset(torch.arange(1), seeds=[0])
    task.step(torch.tensor([[-400.0, 400.0]]))
    assert task.latest[0].tolist() == [-400.0, 400.0]


@pytest.mark.parametrize(
    ("id", "env_kwargs", "sentence"),
    [
        (
            "Pendulum-v1",
            {"g": "heavy"},
            r"task.env_kwargs={'g': 'heavy'} does not suit task.id=Pendulum-v1",
        ),
        ("Pendulum-v1", {"nope": 1}, r"does not suit task.id=Pendulum-v1 \(TypeError .*; type others"),
        (
            "Pendulum-v1",
            {"render_mode": "nope"},
            r"task.env_kwargs.render_mode=nope is none of task.id=Pendulum-v1",
        ),
        (
            "Hopper-v5",
            {"xml_file": "/nowhere"},
            r"does not suit task.id=Hopper-v5 \(OSError File /nowhere does not",
        ),
        ("Hopper-v5", {"xml_file": "/etc/hosts"}, r"does not suit task.id=Hopper-v5 \(ValueError XML parse error"),
        ("Hopper-v5", {"frame_skip": 0}, r"does not suit task.id=Hopper-v5 \(ZeroDivisionError"),
        (":Pendulum-v1", {}, r"task.id=':Pendulum-v1' names no package before the colon; type task.id=Pendulum-v1"),
    ],
)
def test_arguments_that_no_environment_takes_are_one_sentence(
    id: str, env_kwargs: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence) as caught:
        GymTask(id, num_envs=1, max_steps=5, env_kwargs=env_kwargs)
    assert "\n" not in str(caught.value)


def test_an_environment_that_does_not_fit_raises_one_sentence():
    with pytest.raises(ValueError, match=r"task.id='Pendulun-v1' cannot be made by gymnasium"):
        GymTask("Pendulun-v1", num_envs=1, max_steps=None)
    with pytest.raises(
        ValueError, match=r"task.id=CartPole-v1 has action_space Discrete\(2\) but task=gym needs a flat Box"
    ):
        GymTask("CartPole-v1", num_envs=1, max_steps=None)
    with pytest.raises(ValueError, match=r"task.max_steps=null but task.id=dsrl-test/Reach-v0 has no time limit"):
        GymTask("dsrl-test/Reach-v0", num_envs=1, max_steps=None)


class Seen(gymnasium.Env):
    """Nested dictionaries of numbers and images; success under its short name."""

    observation_space = gymnasium.spaces.Dict(
        {
            "pixels": gymnasium.spaces.Dict({"top": gymnasium.spaces.Box(0, 255, (4, 6, 3), np.uint8)}),
            "agent": gymnasium.spaces.Box(-9, 9, (2,), np.float64),
            "goal": gymnasium.spaces.Box(-9, 9, (), np.float32),
        }
    )
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

    def _observation(self):
        picture = np.zeros((4, 6, 3), np.uint8)
        picture[1, 2] = (10, 20, 30)
        return {"pixels": {"top": picture}, "agent": np.array([1.0, 2.0]), "goal": np.float32(3.0)}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self._observation(), {}

    def step(self, action):
        return self._observation(), 0.0, False, False, {"success": 1.0}


gymnasium.register("dsrl-test/Seen-v0", entry_point=Seen)


def test_dictionaries_become_state_and_cameras_and_success_has_either_name():
    task = GymTask("dsrl-test/Seen-v0", num_envs=2, max_steps=5)
    assert (task.state_dim, task.cameras, task.has_success) == (3, {"top": (3, 4, 6)}, True)
    task.reset(torch.arange(2), seeds=[0, 1])
    seen = task.observe()
    assert seen.state.tolist() == [[1.0, 2.0, 3.0]] * 2
    assert seen.images["top"][1, :, 1, 2].tolist() == [10, 20, 30]
    assert task.step(task.hold()).success.tolist() == [True, True]
    assert task.state_dict() is None


@pytest.mark.parametrize("id", ["gym_pusht/PushT-v0", "gym_pusht:gym_pusht/PushT-v0"])
def test_an_installed_package_registers_its_ids(id):
    task = GymTask(id, num_envs=1, max_steps=5)
    assert (task.state_dim, task.action_dim, task.has_success) == (5, 2, True)


@pytest.mark.parametrize("id", ["os:Nope-v7", "tests:Nope-v7", "torch:Nope-v7"])
def test_nothing_is_imported_but_installed_packages_of_environments(id):
    package = id.partition(":")[0]
    sentence = f"would import {package}, which is no installed package that depends on gymnasium; install a module of "
    sentence += r"yours by `uv pip install -e …` .* dependencies = \[.gymnasium.\] \(docs/own_environment.md\)"
    with pytest.raises(ValueError, match=sentence):
        GymTask(id, num_envs=1, max_steps=5)


@pytest.mark.parametrize(
    ("id", "advice"),
    [
        ("MyOwn-v0", r"type a registered id .*, or task.id=<module>:MyOwn-v0 where .* \(docs/own_environment.md\)"),
        ("gym_pusht:MyOwn-v0", "type an id that gym_pusht registers when it is imported"),
        ("nowhere/MyOwn-v0", "install the package that registers it and type task.id=<package>:nowhere/MyOwn-v0"),
    ],
)
def test_an_id_that_nothing_registered_is_told_what_to_type(id, advice):
    with pytest.raises(ValueError, match=f"cannot be made by gymnasium .*; {advice}"):
        GymTask(id, num_envs=1, max_steps=5)


def test_identity_scales_noise_to_the_action_box_and_leaves_it_alone():
    policy = IdentityPolicy(GymTask("dsrl-test/Reach-v0", num_envs=3, max_steps=5))
    noise = torch.tensor([-1.0, 0.0, 1.0, 9.0]).reshape(4, 1, 1)
    chunk = policy.decode(Encoding(torch.zeros(4, 1), {}), noise)
    assert chunk.flatten().tolist() == [0.5, 1.25, 2.0, 2.0]
    assert noise.flatten().tolist() == [-1.0, 0.0, 1.0, 9.0]


def test_identity_needs_an_action_box():
    with pytest.raises(ValueError, match="policy=identity needs a task with an action box but object has none; choose"):
        IdentityPolicy(object())


@pytest.mark.parametrize("high", [np.inf, np.finfo(np.float32).max])
def test_identity_needs_an_action_box_that_ends(high):
    low = [-1, -high]
    task = GymTask("dsrl-test/Exact-v0", 1, 5, {"low": low, "high": [1, high], "dtype": "float32", "strict": False})
    with pytest.raises(ValueError, match=r"but action 1 is between -(inf|3\.4\S+) and (inf|3\.4\S+); type a task, "):
        IdentityPolicy(task)


def test_identity_needs_numbers_to_look_at():
    task = GymTask("gym_pusht/PushT-v0", 1, 5, {"obs_type": "pixels"})
    with pytest.raises(ValueError, match=r"sees numbers alone but the task observes none, only images \(image\); type"):
        IdentityPolicy(task)
    IdentityPolicy(GymTask("gym_pusht/PushT-v0", 1, 5, {"obs_type": "pixels_agent_pos"}))


@pytest.mark.parametrize("id", ["MountainCarContinuous-v0", "Hopper-v5", "Ant-v5"])
def test_worlds_saved_in_mid_episode_continue_bit_for_bit_in_another_task(id, tmp_path):
    one, other = (GymTask(id, num_envs=2, max_steps=30) for _ in range(2))
    actions = torch.rand(50, 2, one.action_dim, generator=torch.Generator().manual_seed(0)) * 2 - 1
    one.reset(torch.arange(2), seeds=[3, 4])
    for action in actions[:17]:
        one.step(action)
    one.reset(torch.tensor([1]), seeds=[5])
    one.step(actions[17])
    write_checkpoint(tmp_path, one.state_dict())
    other.reset(torch.arange(2), seeds=[6, 7])
    other.step(actions[0])
    other.load_state_dict(read_checkpoint(tmp_path))
    for number, action in enumerate(actions[18:]):
        if number == 10:  # each world's own random stream continues
            one.reset(torch.tensor([0]))
            other.reset(torch.tensor([0]))
        step, again = one.step(action), other.step(action)
        for name in ("reward", "terminated", "truncated"):
            assert torch.equal(getattr(step, name), getattr(again, name))
        assert torch.equal(one.observe().state, other.observe().state)


def test_a_gym_task_has_an_action_box_and_can_be_restored_and_is_not_filmed():
    task = GymTask("Pendulum-v1", num_envs=2, max_steps=None)
    assert isinstance(task, BoundedActions)
    assert isinstance(task, Restorable)
    assert not isinstance(task, Filmable)


def test_an_observation_of_another_length_than_its_space_is_named():
    task = GymTask(ID, num_envs=1, max_steps=None, env_kwargs={"numbers": 1})
    task.reset(torch.arange(1), seeds=[0])
    for _ in range(LATER - 1):
        task.step(torch.zeros(1, 2))
    with pytest.raises(
        ValueError, match=f"task.id={ID} returned an observation of 1 numbers but its .* has 3; correct"
    ):
        task.step(torch.zeros(1, 2))
