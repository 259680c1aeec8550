"""Worlds of gymnasium continue exactly after they were saved, or say that they cannot be saved; never anything between.

Every environment keeps its state in another kind of attribute.
"""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.envs.mujoco.inverted_pendulum_v5 import InvertedPendulumEnv

from dsrl.run.saved.checkpoint import read_checkpoint, write_checkpoint
from dsrl.task.gym import GymTask


class Cart(gymnasium.Env):
    """A cart at `position`, which subclasses keep wherever they like; drift is drawn from the world's own stream."""

    observation_space = gymnasium.spaces.Box(-1e6, 1e6, (1,), np.float64)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

    def start(self) -> None:
        """Set the attributes of a new episode."""

    def move(self, by: float) -> None:
        """Write the attributes."""

    def where(self) -> float:
        """Read the attributes."""
        return 0.0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.start()
        return np.array([self.where()]), {}

    def step(self, action):
        self.move(float(action[0]) + self.np_random.normal())
        return np.array([self.where()]), self.where(), False, False, {"is_success": False}


class InADictionary(Cart):
    """As most environments that people write."""

    def start(self):
        self.state: dict[Any, Any] = {"cart": {"x": 0.0}, 0: np.zeros(2), (1, "wheel"): [1, 2]}

    def move(self, by):
        self.state["cart"]["x"] += by
        self.state[0] += by

    def where(self):
        return self.state["cart"]["x"] + self.state[0].sum()


class InAText(Cart):
    """A stage that is entered once."""

    def start(self):
        self.stage, self.moves, self.x = "reach", 0, 0.0

    def move(self, by):
        self.moves += 1
        if self.moves == 3:
            self.stage = "lift"
        self.x += by * (10 if self.stage == "lift" else 1)

    def where(self):
        return self.x


class InAView(Cart):
    """Position and velocity are parts of one array."""

    def start(self):
        self.q = np.zeros((3, 2))
        self.pos, self.velocity = self.q[:, 0], self.q[::-1, 1]

    def move(self, by):
        self.q += by
        self.velocity[0] -= 1

    def where(self):
        return self.pos.sum() + self.q[2, 1]


class InPartsOfAHiddenArray(Cart):
    """The array of which both are parts is no attribute."""

    def start(self):
        q = np.zeros(4)
        self.left, self.right = q[:3], q[1:]

    def move(self, by):
        self.left += by

    def where(self):
        return self.right.sum()


class UnderTwoNames(Cart):
    """One array, one list and one random generator, each of which two attributes have."""

    def start(self):
        self.arm = np.zeros(2)
        self.tool, self.chain = self.arm, [self.arm, [0.0]]
        self.link, self.rng = self.chain[1], self.np_random

    def move(self, by):
        self.arm += by + self.rng.normal()
        self.link[0] += 1.0

    def where(self):
        return self.tool.sum() + self.chain[0].sum() + self.chain[1][0]


class FromItsClass(Cart):
    """Its first value is its class's, and another attribute begins in a step."""

    x = 0.0

    def move(self, by):
        self.x += by
        self.last = [by]

    def where(self):
        return self.x + sum(getattr(self, "last", []))


class ByColumns(Cart):
    """A part of an array that is stored by columns."""

    def start(self):
        self.q = np.zeros((2, 3), order="F")
        self.pos = self.q[0]

    def move(self, by):
        self.q += by

    def where(self):
        return self.pos.sum()


class InMemoryOfOthers(Cart):
    """A view of bytes that another library may write."""

    def start(self):
        self.memory = torch.zeros(2).numpy()

    def move(self, by):
        self.memory += by

    def where(self):
        return float(self.memory.sum())


class InAnotherEnvironment(Cart):
    """Wraps a simulation without being a wrapper."""

    def start(self):
        self.sim = gymnasium.make("Pendulum-v1")
        self.sim.reset(seed=1)

    def move(self, by):
        self.sim.step(np.array([by], np.float32))

    def where(self):
        return float(self.sim.unwrapped.state[0])


class Pose(NamedTuple):
    x: float


class InANamedTuple(Cart):
    """A class of the environment's own."""

    def start(self):
        self.pose = Pose(0.0)

    def move(self, by):
        self.pose = Pose(self.pose.x + by)

    def where(self):
        return self.pose.x


class InAQueue(Cart):
    """The last moves."""

    def start(self):
        self.moves = deque([0.0], maxlen=3)

    def move(self, by):
        self.moves.append(by)

    def where(self):
        return sum(self.moves)


class WithAGeneratorOfAnotherKind(Cart):
    """Draws from a generator that is not numpy's default."""

    def start(self):
        self.x, self.rng = 0.0, np.random.Generator(np.random.MT19937(0))

    def move(self, by):
        self.x += self.rng.normal()

    def where(self):
        return self.x


RESTORED = (InADictionary, InAText, InAView, InPartsOfAHiddenArray, UnderTwoNames, FromItsClass)
UNREADABLE = (ByColumns, InMemoryOfOthers, InAnotherEnvironment, InANamedTuple, InAQueue, WithAGeneratorOfAnotherKind)


def make(kind: type[Cart]) -> GymTask:
    id = f"dsrl-test/{kind.__name__}-v0"
    if id not in gymnasium.registry:
        gymnasium.register(id, entry_point=kind)
    return GymTask(id, num_envs=2, max_steps=30)


def play(task: GymTask, steps: int) -> torch.Tensor:
    """Return the states and rewards of some steps, in the last of which world 0 has begun a new episode."""
    seen = []
    for number in range(steps):
        if number == steps - 1:
            task.reset(torch.tensor([0]))
        step = task.step(torch.full((2, 1), 0.5))
        seen += [task.observe().state[:, 0], step.reward]
    return torch.stack(seen)


@pytest.mark.parametrize("kind", RESTORED)
def test_a_saved_world_continues_bit_for_bit_and_can_be_saved_again(kind, tmp_path):
    first, second, third = make(kind), make(kind), make(kind)
    first.reset(torch.arange(2), seeds=[3, 4])
    play(first, 6)
    for one, other in ((first, second), (second, third)):
        write_checkpoint(tmp_path, one.state_dict())
        other.reset(torch.arange(2), seeds=[5, 6])
        other.load_state_dict(read_checkpoint(tmp_path))
    undisturbed = play(first, 6)
    assert torch.equal(play(second, 6), undisturbed)
    assert torch.equal(play(third, 6), undisturbed)


@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_world_that_cannot_be_made_again_exactly_is_not_saved(kind):
    task = make(kind)
    task.reset(torch.arange(2), seeds=[3, 4])
    play(task, 6)
    assert task.state_dict() is None


class Named(gymnasium.Wrapper):
    """Has the innermost environment under a name of its own."""

    def __init__(self, env):
        super().__init__(env)
        self.inner = env.unwrapped


def test_a_wrapper_may_name_a_layer_below_it():
    gymnasium.register("dsrl-test/Named-v0", entry_point=lambda: Named(InAText()))
    task = GymTask("dsrl-test/Named-v0", num_envs=1, max_steps=5)
    assert task.state_dict() is not None


class DrawnPhysics(InvertedPendulumEnv):
    """Every episode has a pole of another mass, other damping and gravity."""

    def reset_model(self):
        model = self.model
        model.body_mass[1:] = self.np_random.uniform(1, 9, model.nbody - 1)
        model.dof_damping[:] = self.np_random.uniform(0, 3, model.nv)
        model.opt.gravity[2] = self.np_random.uniform(-20, -5)
        model.opt.viscosity = self.np_random.uniform(0, 1)
        return super().reset_model()


def test_physics_that_an_episode_has_drawn_are_those_of_the_world_that_goes_on(tmp_path):
    gymnasium.register("dsrl-test/DrawnPhysics-v0", entry_point=DrawnPhysics)
    first, second = (GymTask("dsrl-test/DrawnPhysics-v0", num_envs=2, max_steps=30) for _ in range(2))
    first.reset(torch.arange(2), seeds=[3, 4])
    second.reset(torch.arange(2), seeds=[5, 6])
    push = torch.full((2, 1), 0.1)
    first.step(push)
    write_checkpoint(tmp_path, first.state_dict())
    second.load_state_dict(read_checkpoint(tmp_path))
    for _ in range(8):
        assert torch.equal(first.step(push).reward, second.step(push).reward)
        assert torch.equal(first.observe().state, second.observe().state)
