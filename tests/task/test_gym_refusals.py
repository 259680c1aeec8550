"""An environment that breaks gymnasium's interface is refused by one sentence that says what it broke."""

from __future__ import annotations

import os
import sys
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from dsrl.policy.identity import IdentityPolicy
from dsrl.task import _world_memory
from dsrl.task._gym_calls import FailedError
from dsrl.task._gym_observations import ObservationParts
from dsrl.task._lerobot_world import World
from dsrl.task.gym import GymTask
from dsrl.training.loop import restoring


class Walk(gymnasium.Env):
    """A point that moves by its action, seen as numbers and by a camera."""

    observation_space: gymnasium.Space = gymnasium.spaces.Dict(
        {
            "camera": gymnasium.spaces.Box(0, 255, (4, 6, 3), np.uint8),
            "place": gymnasium.spaces.Box(-9, 9, (2,), np.float32),
        }
    )
    action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.place = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        return self.observed(), {}

    def step(self, action: Any) -> Any:
        self.place += action
        return self.observed(), self.reward(), self.ends(), False, {}

    def ends(self) -> Any:
        return False

    def observed(self) -> Any:
        return {"place": self.place.copy(), "camera": np.zeros((4, 6, 3), np.uint8)}

    def reward(self) -> Any:
        return 0.0


def walk(
    monkeypatch: pytest.MonkeyPatch, num_envs: int = 1, env_kwargs: dict[str, Any] | None = None, **replaced: Any
) -> tuple[GymTask, list[str]]:
    """Make a task of Walk with some methods replaced; returns it and what it announced but its lack of success."""
    announced: list[str] = []
    for name, method in replaced.items():
        monkeypatch.setattr(Walk, name, method)
    task = GymTask("dsrl-test/Walk-v0", num_envs, 20, env_kwargs, announced.append)
    return task, [line for line in announced if "scored by returns" not in line]


gymnasium.register("dsrl-test/Walk-v0", entry_point=Walk, disable_env_checker=True)


def test_an_environment_that_keeps_to_the_interface_is_not_remarked_upon(monkeypatch):
    assert walk(monkeypatch)[1] == []


def _unplugged(self, *, seed=None, options=None):
    raise RuntimeError("robot is\nunplugged")


def _without_seed(self, options=None):
    return self.observed(), {}


def _with_options(self, *, seed=None, options=None):
    return options["goal"]


def _old_reset(self, *, seed=None, options=None):
    return {"place": np.zeros(2, np.float32)}


def _old_step(self, action):
    return self.observed(), 0.0, False, {}


def _failing_step(self, action):
    raise RuntimeError("robot is\nunplugged")


def _without_memory(self, action):
    raise MemoryError("no room")


@pytest.mark.parametrize(
    ("replaced", "sentence"),
    [
        ({"reset": _unplugged}, r"raised in reset \(RuntimeError robot is unplugged, task/test_gym_refusals.py line"),
        ({"reset": _without_seed}, r"raised in reset \(TypeError .* unexpected keyword argument 'seed'.*; task=gym"),
        ({"reset": _with_options}, r"raised in reset .* calls reset\(seed=…\) without options, which returns \(obs"),
        ({"reset": _old_reset}, r"returned one dict in reset; task=gym calls .*or register a wrapper that has these"),
        ({"step": _old_step}, r"raised in step \(ValueError .*expected 5, got 4.* calls step\(action\), which returns"),
        ({"step": _failing_step}, r"raised in step \(RuntimeError robot is unplugged, task/test_gym_refusals.py"),
    ],
)
def test_what_reset_or_step_breaks_is_named_with_the_interface_that_works(
    replaced: dict[str, Any], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=f"task.id=dsrl-test/Walk-v0 {sentence}") as caught:
        walk(monkeypatch, **replaced)
    assert "env_kwargs" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_constructor_that_fails_without_arguments_is_not_told_to_type_others(monkeypatch):
    def made(self, level):
        raise AssertionError

    with pytest.raises(ValueError, match=r"Walk-v0 cannot be made without task.env_kwargs \(TypeError .*'level'"):
        walk(monkeypatch, __init__=made)
    with pytest.raises(ValueError, match=r"task.env_kwargs={'level': 3} does not suit .* \(AssertionError\); type"):
        walk(monkeypatch, env_kwargs={"level": 3}, __init__=made)


def test_a_constructor_that_fails_after_some_worlds_is_told_to_make_fewer(monkeypatch):
    left = [None, None]
    with pytest.raises(ValueError, match=r"made but not num_envs=9 times \(pop from empty list\); type a smaller"):
        walk(monkeypatch, num_envs=9, __init__=lambda self: left.pop())


def test_worlds_that_the_free_memory_does_not_hold_are_refused_once_a_few_are_made(monkeypatch):
    made = []
    monkeypatch.setattr(_world_memory, "_resident", lambda: 2**24 * len(made))
    words = r"^num_envs=1000 would take 15\.5 GiB more, by 8 made so far and their observations, but 8.0 GiB are free; "
    monkeypatch.setattr(_world_memory, "available_memory", lambda: 2**33)
    with pytest.raises(_world_memory.TooManyWorldsError, match=words):
        walk(monkeypatch, num_envs=1000, __init__=lambda self: made.append(1))
    assert len(made) == 8
    monkeypatch.setattr(_world_memory, "available_memory", lambda: 2 * 9 * (4 * 6 * 3 + 2 * 4) - 1)
    with pytest.raises(
        _world_memory.TooManyWorldsError, match=r"^num_envs=9 would take 0\.0 GiB more, by 1 made so far"
    ):
        walk(monkeypatch, num_envs=9)


def test_an_id_that_cannot_be_used_is_made_once(monkeypatch):
    made = []
    monkeypatch.setattr(Walk, "action_space", gymnasium.spaces.Discrete(2))
    with pytest.raises(ValueError, match=r"has action_space Discrete\(2\) but task=gym needs a flat Box"):
        walk(monkeypatch, num_envs=9, __init__=lambda self: made.append(1))
    assert len(made) == 1


def _needing(error: type[Exception]) -> Any:
    def needing(self: Any, *args: Any, **kwargs: Any) -> Any:
        raise error("No module named 'jax'")

    return needing


@pytest.mark.parametrize("error", [ImportError, gymnasium.error.DependencyNotInstalled])
@pytest.mark.parametrize("call", ["__init__", "reset", "step"])
def test_a_package_that_an_environment_lacks_is_to_be_installed(call, error, monkeypatch):
    sentence = r"^task.id=\S+Walk-v0 needs a package that is not here \(No module named 'jax'\); install it, or type an"
    with pytest.raises(ImportError, match=sentence):
        walk(monkeypatch, **{call: _needing(error)})


@pytest.mark.parametrize(("display", "drawn_by"), [("", "egl"), (":0", None)])
def test_mujoco_draws_without_a_display_by_egl(display, drawn_by, monkeypatch):
    there = {name: value for name, value in os.environ.items() if name not in ("MUJOCO_GL", "WAYLAND_DISPLAY")}
    monkeypatch.setattr(os, "environ", {**there, "DISPLAY": display})
    monkeypatch.setattr(sys, "platform", "linux")
    walk(monkeypatch)
    assert os.environ.get("MUJOCO_GL") == drawn_by


def test_cameras_have_names_that_a_dataset_can_have():
    parts = ObservationParts("Walk", gymnasium.spaces.Dict({"cam/top": Walk.observation_space["camera"]}))
    assert parts.shapes == {"cam_top": (3, 4, 6)}
    assert parts.read_images([{"cam/top": np.ones((4, 6, 3), np.uint8)}])["cam_top"].all()
    numbered = gymnasium.spaces.Dict({0: Walk.observation_space["camera"], 1: gymnasium.spaces.Box(-1, 1, (2,))})
    assert ObservationParts("Walk", numbered).shapes == {"0": (3, 4, 6)}


def test_worlds_that_draw_into_one_buffer_have_a_picture_each(monkeypatch):
    buffer = np.zeros((4, 6, 3), np.uint8)

    def drawn(self):
        buffer[:] = int(50 * (self.place[0] + 2))
        return {"place": self.place.copy(), "camera": buffer}

    task, _ = walk(monkeypatch, num_envs=3, observed=drawn)
    task.reset(torch.arange(3), seeds=[1, 2, 3])
    for _ in range(2):
        seen = task.observe()
        assert seen.images["camera"][:, 0, 0, 0].tolist() == (50 * (seen.state[:, 0] + 2)).int().tolist()
        task.step(torch.tensor([[0.5, 0.0], [0.0, 0.0], [-0.5, 0.0]]))


@pytest.mark.parametrize(("shape", "kind"), [((3, 4, 6), np.uint8), ((4, 6, 3), np.float32)])
def test_what_an_image_is_stands_where_a_space_is_none(shape, kind, monkeypatch):
    pictures = gymnasium.spaces.Dict({"wrist": gymnasium.spaces.Box(0, 1, shape, kind)})
    monkeypatch.setattr(Walk, "observation_space", pictures)
    with pytest.raises(ValueError, match=r"observation_space wrist Box.* or images: boxes \[H, W, 3\] of uint8; type"):
        walk(monkeypatch)


def _seen(**parts: Any) -> Any:
    return lambda self: {"place": np.zeros(2, np.float32), "camera": np.zeros((4, 6, 3), np.uint8), **parts}


@pytest.mark.parametrize(
    ("observed", "sentence"),
    [
        (
            _seen(camera=np.zeros((2, 6, 3), np.uint8)),
            r"an image camera of shape \(2, 6, 3\) and type uint8 but its observation_space has \(4, 6, 3\) and uint8",
        ),
        (_seen(camera=np.full((4, 6, 3), 0.5, np.float32)), r"\(4, 6, 3\) and type float32 but .* \(4, 6, 3\) and uin"),
        (lambda self: {"place": np.zeros(2, np.float32)}, r"without camera, which its .* has \(it is \['place'\]\); c"),
        (lambda self: np.zeros(2, np.float32), r"without place, which its observation_space has \(it is ndarray\)"),
        (_seen(place=None), r" None in its observation but its observation_space has numbers there"),
    ],
)
def test_observations_are_compared_with_their_space(
    observed: Any, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=f"task.id=dsrl-test/Walk-v0 returned.*{sentence}"):
        walk(monkeypatch, observed=observed)


def test_an_image_of_another_size_in_mid_episode_is_refused_too(monkeypatch):
    task, _ = walk(monkeypatch)
    task.reset(torch.arange(1), seeds=[0])
    monkeypatch.setattr(Walk, "observed", _seen(camera=np.zeros((2, 6, 3), np.uint8)))
    with pytest.raises(ValueError, match=r"of shape \(2, 6, 3\) and type uint8 but"):
        task.step(torch.zeros(1, 2))


@pytest.mark.parametrize("reward", [None, "1", np.array("1"), np.ones(2), [1.0], 1j, {}], ids=repr)
def test_a_reward_that_is_no_number_is_named(reward, monkeypatch):
    with pytest.raises(ValueError, match=r"Walk-v0 returned the reward .* of type .* but a reward is a number; return"):
        walk(monkeypatch, reward=lambda self: reward)


@pytest.mark.parametrize("reward", [1e300, np.array([-4e38])], ids=repr)
def test_a_reward_that_float32_lacks_is_named(reward, monkeypatch):
    with pytest.raises(ValueError, match=r"Walk-v0 returned the reward \S+e\+\d+ .* not finite in float32 .*; check"):
        walk(monkeypatch, reward=lambda self: reward)


@pytest.mark.parametrize("reward", [float("nan"), -float("inf")], ids=repr)
def test_a_reward_that_is_not_finite_is_named_by_the_trial(reward, monkeypatch):
    with pytest.raises(ValueError, match=r"Walk-v0 returned the reward (nan|-inf) in its step, which is not finite;"):
        walk(monkeypatch, reward=lambda self: reward)


@pytest.mark.parametrize(
    ("call", "replaced", "kind", "sentence"),
    [
        ("reset", _unplugged, FailedError, r"task.id=\S+Walk-v0 raised in reset \(RuntimeError robot is unplugged, "),
        ("step", _failing_step, FailedError, r"task.id=\S+Walk-v0 raised in step \(RuntimeError robot is unplugged, "),
        ("step", _without_memory, MemoryError, "no room$"),  # which is no mistake of the environment
    ],
)
def test_what_an_environment_raises_in_a_run_is_named_with_the_call(call, replaced, kind, sentence, monkeypatch):
    task, _ = walk(monkeypatch)
    monkeypatch.setattr(Walk, call, replaced)
    with pytest.raises(kind, match=f"^{sentence}"), restoring():  # which would blame a checkpoint for a ValueError
        _begin(task)


@pytest.mark.parametrize("reward", [1, True, np.float32(1), np.array(1), np.array([1.0]), torch.ones(1)], ids=repr)
def test_a_reward_may_be_any_single_number(reward, monkeypatch):
    task, _ = walk(monkeypatch, reward=lambda self: reward)
    task.reset(torch.arange(1), seeds=[0])
    assert task.step(torch.zeros(1, 2)).reward.tolist() == [1.0]


@pytest.mark.parametrize("ends", ["False", None, np.ones(2, bool), 0.5], ids=repr)
def test_an_end_that_is_neither_true_nor_false_is_named(ends, monkeypatch):
    with pytest.raises(ValueError, match=r"Walk-v0 returned terminated=.* of type .* terminated is true or false; ret"):
        walk(monkeypatch, ends=lambda self: ends)


@pytest.mark.parametrize("ends", [1, True, np.bool_(True), np.array([True]), torch.tensor(True)], ids=repr)
def test_an_end_may_be_any_single_bool(ends, monkeypatch):
    task, _ = walk(monkeypatch, ends=lambda self: ends)
    task.reset(torch.arange(1), seeds=[0])
    assert task.step(torch.zeros(1, 2)).terminated.tolist() == [True]


def _exiting(self: Any, *args: Any, **kwargs: Any) -> Any:
    sys.exit(0)


@pytest.mark.parametrize("call", ["reset", "step"])
def test_an_environment_that_ends_the_program_fails_in_the_trial_and_later(call, monkeypatch):
    sentence = rf"Walk-v0 ended the program in {call} \(SystemExit 0, task/test_gym_refusals.py line \d+\); let the"
    task, _ = walk(monkeypatch)
    with pytest.raises(ValueError, match=sentence):
        walk(monkeypatch, **{call: _exiting})
    with pytest.raises(ValueError, match=sentence):
        _begin(task)


def _begin(task: GymTask) -> None:
    task.reset(torch.arange(1), seeds=[0])
    task.step(torch.zeros(1, 2))


def test_a_constructor_that_ends_the_program_fails(monkeypatch):
    with pytest.raises(ValueError, match=r"Walk-v0 cannot be made without task.env_kwargs \(SystemExit 0\)"):
        walk(monkeypatch, __init__=_exiting)


@pytest.mark.parametrize("call", ["reset", "step"])
def test_worlds_of_lerobot_that_end_the_program_fail(call, monkeypatch):
    world = World(Walk(), 20, kind="mine")
    world.reset(seed=0)
    monkeypatch.setattr(Walk, call, _exiting)
    played = {"reset": lambda: world.reset(seed=0), "step": lambda: world.step(np.zeros(2, np.float32))}
    with pytest.raises(ValueError, match=rf"task.env=mine ended the program in {call} \(SystemExit 0"):
        played[call]()


def test_worlds_of_lerobot_have_rewards_that_are_numbers(monkeypatch):
    monkeypatch.setattr(Walk, "reward", lambda self: None)
    world = World(Walk(), 20, kind="mine")
    world.reset(seed=0)
    with pytest.raises(ValueError, match=r"task.env=mine returned the reward None of type NoneType"):
        world.step(np.zeros(2, np.float32))


def test_an_environment_without_numbers_and_images_gives_identity_nothing_to_see(monkeypatch):
    monkeypatch.setattr(Walk, "observation_space", gymnasium.spaces.Box(-1, 1, (0,), np.float32))
    task, _ = walk(monkeypatch, observed=lambda self: np.zeros(0, np.float32))
    with pytest.raises(ValueError, match="sees numbers but the task observes none at all; type a task"):
        IdentityPolicy(task)
