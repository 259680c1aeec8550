"""MetaWorld: behaviour beyond the contract of tasks."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from metaworld.env_dict import ALL_V3_ENVIRONMENTS
from metaworld.policies import ENV_POLICY_MAP
from toys.commands import ROOT

from dsrl.interfaces import BoundedActions, Filmable, Restorable
from dsrl.run.saved.checkpoint import read_checkpoint, write_checkpoint
from dsrl.task._metaworld_language import SENTENCES
from dsrl.task.metaworld import MetaWorldTask


def make(name: str = "push-v3", num_envs: int = 2, observation="state", reward="sparse", max_steps=200, image_size=32):
    return MetaWorldTask(name, num_envs, observation, reward, max_steps, ["corner2"], image_size)


def play_expert(task: MetaWorldTask, name: str, seeds: list[int]):
    """Yield the result of every control step of the scripted expert, until all worlds have ended."""
    expert = ENV_POLICY_MAP[name]()
    task.reset(torch.arange(task.num_envs), seeds)
    for _ in range(task.max_steps):
        actions = np.stack([np.clip(expert.get_action(world), -1, 1) for world in task.numbers().numpy()])
        step = task.step(torch.from_numpy(actions))
        yield step
        if (step.terminated | step.truncated).all():
            return


def test_every_task_of_metaworld_has_a_sentence():
    assert set(SENTENCES) == set(ALL_V3_ENVIRONMENTS)


@pytest.mark.parametrize("name", sorted(SENTENCES))
def test_a_seed_is_a_world_in_every_task_of_metaworld(name):
    task = make(name, num_envs=1)
    row, actions = torch.tensor([0]), torch.rand(8, 1, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1

    def episode(seed: int) -> torch.Tensor:
        task.reset(row, [seed])
        states = [task.observe().state]
        for action in actions:
            task.step(action)
            states.append(task.observe().state)
        return torch.stack(states)

    first, other = episode(11), episode(12)
    assert torch.equal(first, episode(11))
    assert not torch.equal(first[0], other[0])


def test_the_scripted_expert_sees_the_goal_and_reaches_it():
    task = make(num_envs=4)
    *_, last = play_expert(task, "push-v3", [0, 1, 2, 3])
    assert last.success.tolist() == [True] * 4
    assert (task.observe().state[:, 36:].abs().sum(1) > 0.1).all()


def test_an_episode_ends_at_its_success_which_pays_one():
    task = make(num_envs=2)
    rewards, ends = [], []
    for step in play_expert(task, "push-v3", [0, 3]):
        rewards.append(step.reward)
        ends.append(step.terminated)
        assert torch.equal(step.success, step.terminated)
    assert torch.stack(rewards).sum(0).tolist() == [1.0, 1.0]
    assert not torch.equal(torch.stack(ends)[:, 0], torch.stack(ends)[:, 1])


def test_dense_rewards_lie_between_zero_and_one_and_grow_on_the_way():
    rewards = torch.stack([step.reward for step in play_expert(make(num_envs=1, reward="dense"), "push-v3", [0])])
    assert rewards.min() >= 0.0
    assert rewards.max() <= 1.0
    assert rewards[-1] > 10 * rewards[0] > 0.0


def test_actions_beyond_the_box_count_as_its_border():
    task = make(num_envs=2)
    task.reset(torch.arange(2), [4, 4])
    for _ in range(3):
        task.step(torch.tensor([[5.0, -3.0, 9.0, 2.0], [1.0, -1.0, 1.0, 1.0]]))
    assert torch.equal(task.observe().state[0], task.observe().state[1])


@pytest.mark.parametrize(
    ("name", "observation", "reward"),
    [("push-v3", "state", "sparse"), ("door-open-v3", "images", "sparse"), ("pick-place-v3", "state", "dense")],
)
def test_worlds_saved_in_mid_episode_continue_bit_for_bit_in_another_task(name, observation, reward, tmp_path):
    one, other = (make(name, observation=observation, reward=reward, max_steps=40) for _ in range(2))
    actions = torch.rand(60, 2, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
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
        assert torch.equal(step.reward, again.reward)
        assert torch.equal(step.truncated, again.truncated)
        if number % 10 == 0 or observation == "state":
            seen, seen_again = one.observe(), other.observe()
            assert torch.equal(seen.state, seen_again.state)
            assert all(torch.equal(seen.images[camera], seen_again.images[camera]) for camera in seen.images)


def test_images_come_with_the_numbers_of_the_gripper_alone():
    numbers, images = make(), make(observation="images", image_size=48)
    for task in (numbers, images):
        task.reset(torch.arange(2), [8, 9])
    assert torch.equal(images.observe().state, numbers.observe().state[:, :4])
    assert images.observe().images["corner2"].float().std() > 20  # a scene, not a flat colour
    assert images.observe().instruction == ("Push the puck to a goal",) * 2
    assert (numbers.observation, images.observation) == ("state", "images")
    assert images.picture(1).shape == (1, 3, 448, 448)


def test_pictures_of_a_video_lack_shadows_and_leave_those_of_the_policy_as_they_are():
    task = make(num_envs=1, observation="images", image_size=448)
    task.reset(torch.tensor([0]), [8])
    seen = task.observe().images["corner2"]
    assert not torch.equal(task.picture(1), seen)
    assert torch.equal(task.observe().images["corner2"], seen)


ENDED_DISPLAY = """
import torch
from mujoco import egl
from OpenGL import EGL
from dsrl.task.metaworld import MetaWorldTask

first, second = (MetaWorldTask("push-v3", 1, "images", "sparse", 200, ["corner2"], 48) for _ in range(2))
first.reset(torch.arange(1), [0])
before = first.observe().images["corner2"]
EGL.eglTerminate(egl.EGL_DISPLAY)
second.reset(torch.arange(1), [0])
assert torch.equal(second.observe().images["corner2"], before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="EGL draws on Linux")
def test_images_are_drawn_although_another_renderer_of_the_process_ended_the_display():
    """In a process of its own, because the other scenes of this one draw no more afterwards."""
    subprocess.run([sys.executable, "-c", ENDED_DISPLAY], cwd=ROOT, check=True)


KEPT_TO_THE_END = """
import argparse, torch
from dsrl.task.metaworld import MetaWorldTask

argparse.kept = task = MetaWorldTask("push-v3", 1, "state", "sparse", 200, ["corner2"], 48)
task.reset(torch.arange(1), [0])
task.picture(1)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="EGL draws on Linux")
def test_a_renderer_that_outlives_the_display_prints_no_error_when_python_ends():
    done = subprocess.run([sys.executable, "-c", KEPT_TO_THE_END], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "Exception ignored" not in done.stderr, done.stderr


def test_a_metaworld_task_is_bounded_restorable_and_filmable():
    task = make(num_envs=1)
    assert isinstance(task, BoundedActions)
    assert isinstance(task, Restorable)
    assert isinstance(task, Filmable)


def test_a_name_or_camera_that_is_not_there_is_one_sentence():
    with pytest.raises(ValueError, match=r"task.name=push-v2 is no MetaWorld task; type one of its 50, such as push"):
        make("push-v2")
    with pytest.raises(ValueError, match=r"task.cameras=\['top'\] has no camera top; type some of topview, corner, "):
        MetaWorldTask("push-v3", 1, "images", "sparse", 10, ["top"], 32)
    with pytest.raises(ValueError, match=r"task.cameras=\[\] shows nothing; type some of topview, "):
        MetaWorldTask("push-v3", 1, "images", "sparse", 10, [], 32)


def test_without_metaworld_one_sentence_names_what_to_type(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "metaworld"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"^task=metaworld needs MetaWorld.*type: uv pip install 'metaworld==3.0.0'"):
        make()
