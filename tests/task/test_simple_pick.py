"""The Genesis tasks: observations, instructions, rewards and videos, and that a perfect operator succeeds."""

from __future__ import annotations

import inspect
import itertools
from functools import partial

import numpy as np
import pytest
import torch
from toys.genesis_worlds import perfect_targets, pick_place, play, restart, simple_pick

from dsrl.evaluation.video import VideoRecorder, can_record
from dsrl.run.saved.checkpoint import read_checkpoint, write_checkpoint
from dsrl.task import _genesis
from dsrl.task._tabletop import COLOURS, Tabletop
from dsrl.task.pick_place import PickPlace
from dsrl.task.simple_pick import SimplePick

ALL_WORLDS = torch.arange(4)


@pytest.fixture
def task() -> SimplePick:
    return simple_pick()


def test_every_camera_draws_a_different_picture_of_every_world(task):
    restart(task)
    for image in task.observe().images.values():
        assert not any(torch.equal(one, other) for one, other in itertools.combinations(image, 2))


def test_a_reset_changes_the_pictures_of_that_world_only(task):
    restart(task)
    before = task.observe().images
    task.reset(torch.tensor([2]), [40])
    for name, image in task.observe().images.items():
        changed = [not torch.equal(image[row], before[name][row]) for row in range(4)]
        assert changed == [False, False, True, False], name


def test_only_the_worlds_that_are_observed_are_drawn(task, monkeypatch):
    restart(task)
    drawn = []

    def record(draw, *args, env_idx, **kwargs):
        drawn.append(env_idx)
        return draw(*args, env_idx=env_idx, **kwargs)

    for target in task._scene.visualizer.rasterizer._camera_targets.values():
        monkeypatch.setattr(target, "_forward_pass", partial(record, target._forward_pass))
    task.observe_rows(torch.tensor([3, 1]))
    assert drawn == [1, 3, 1, 3]  # by the first camera, then by the second


def test_each_colour_appears_where_its_cube_is(task):
    restart(task)
    pictures = task.observe().images["front"].float()  # [B, 3, H, W]
    columns, places = [], []
    for i, colour in enumerate(COLOURS.values()):
        strongest = int(np.argmax(colour))
        others = pictures[:, [c for c in range(3) if c != strongest]].amax(dim=1)
        mask = (pictures[:, strongest] > 1.6 * others) & (pictures[:, strongest] > 60)
        assert mask.flatten(1).any(dim=1).all(), list(COLOURS)[i]
        columns += [float(one.nonzero()[:, 1].float().mean()) for one in mask]
        places += task.cube_positions()[:, i, 1].tolist()
    assert abs(np.corrcoef(columns, places)[0, 1]) > 0.95


def test_the_instruction_contains_the_colour_of_the_named_cube(task):
    restart(task, first_seed=10)
    names = list(COLOURS)
    for row, sentence in enumerate(task.observe().instruction):
        (colour,) = [name for name in names if name in sentence]
        assert torch.equal(task.named_cube()[row], task.cube_positions()[row, names.index(colour)])
    found = set()
    for seed in range(12):
        task.reset(torch.tensor([0]), [seed])
        found.add(task.observe().instruction[0])
    assert found == set(SimplePick.instructions)


@pytest.mark.parametrize("control", ["hand", "joint"])
def test_a_perfect_operator_picks_the_named_cube_up_in_every_world(control):
    task = simple_pick(control)
    restart(task)
    assert task.hold().shape == (4, {"hand": 4, "joint": 9}[control])
    steps = play(task, perfect_targets(task))
    assert torch.stack([step.success for step in steps]).any(dim=0).all()
    for step in steps:
        assert torch.equal(step.terminated, step.success)
        assert torch.equal(step.reward, step.success.float())
        assert not (step.truncated & step.terminated).any()


def test_state_observations_contain_the_cubes_with_the_named_one_first_and_draw_no_picture(monkeypatch):
    task = simple_pick(observation="state")
    restart(task)
    with monkeypatch.context() as patch:
        patch.setattr(task._video_camera, "render", None)  # drawing would fail
        observation = task.observe()
    assert observation.images == {}
    assert task.cameras == {}
    state = observation.state
    torch.testing.assert_close(state[:, :4], task.robot_state())
    torch.testing.assert_close(state[:, 4:7], task.named_cube())
    for row, named in enumerate(task.named.tolist()):
        others = task.cube_positions()[row, [(named + 1) % 3, (named + 2) % 3]]
        torch.testing.assert_close(state[row, 7:], others.flatten())
    assert any(step.success.all() for step in play(task, perfect_targets(task)))


def test_a_video_of_state_observations_shows_the_first_worlds_at_400_pixels_or_more():
    task = simple_pick(observation="state")
    assert can_record(task)
    recorder = VideoRecorder(task, num_worlds=2)
    recorder.reset(ALL_WORLDS, [0, 1, 2, 3])
    for _ in range(2):
        recorder.step(recorder.hold())
    first, second = recorder.frames
    assert len(first) == len(second) == 3  # the start, and every control step
    assert min(first[0].shape[:2]) >= 400
    assert not np.array_equal(first[0], second[0])


@pytest.mark.parametrize("num_worlds", [1, 2, 3])
def test_drawing_the_first_worlds_gives_the_pictures_of_drawing_all(task, num_worlds):
    restart(task)
    assert torch.equal(task.picture(num_worlds), task.picture(4)[:num_worlds])


def test_drawing_for_a_video_changes_neither_observations_nor_steps(task):
    seen = []
    for draw in (False, True):
        restart(task)
        steps = []
        for target in perfect_targets(task)[:, :12].unbind(1):
            if draw:
                task.picture(1)
            steps.append(task.step(task.action_towards(target)))
        seen.append((task.observe(), task.cube_positions(), steps[-1].reward))
    (plain, cubes, reward), (drawn, drawn_cubes, drawn_reward) = seen
    assert torch.equal(plain.state, drawn.state)
    assert all(torch.equal(image, drawn.images[name]) for name, image in plain.images.items())
    assert torch.equal(cubes, drawn_cubes)
    assert torch.equal(reward, drawn_reward)


def test_a_single_world_has_the_same_shapes_as_many():
    task = simple_pick(num_worlds=1)
    restart(task)
    assert {name: image.shape for name, image in task.observe().images.items()} == {
        "front": (1, 3, 96, 96),
        "wrist": (1, 3, 96, 96),
    }
    assert any(step.success.all() for step in play(task, perfect_targets(task)))


def test_picking_up_another_cube_is_no_success(task):
    restart(task)
    right = task.named.clone()
    task.named = (right + 1) % 3
    targets = perfect_targets(task)
    task.named = right
    assert not torch.stack([step.success for step in play(task, targets)]).any()


def test_the_dense_reward_grows_on_the_way_to_success(task, monkeypatch):
    monkeypatch.setattr(task, "reward", "dense")
    restart(task)
    start = task.progress()
    rewards = torch.stack([step.reward for step in play(task, perfect_targets(task))])  # [24, B]
    ends_of_phases = torch.stack([start, rewards[7], rewards[12], rewards.amax(dim=0)])
    assert (ends_of_phases.diff(dim=0) > 0).all()
    assert (rewards >= 0).all()
    assert (rewards <= 1).all()


def test_a_seed_played_again_gives_the_same_pictures_and_steps_bit_for_bit(task):
    replays = []
    for _ in range(2):
        restart(task, first_seed=20)
        targets = perfect_targets(task)[:, :14]
        first = task.observe()
        steps = play(task, targets)
        replays.append((first, targets, steps, task.observe(), task.cube_positions()))
    (first, targets, steps, last, cubes), (again, again_targets, again_steps, again_last, again_cubes) = replays
    for one, other in ((first, again), (last, again_last)):
        assert torch.equal(one.state, other.state)
        assert all(torch.equal(one.images[name], other.images[name]) for name in one.images)
    assert torch.equal(targets, again_targets)
    assert torch.equal(cubes, again_cubes)
    assert all(torch.equal(one.reward, other.reward) for one, other in zip(steps, again_steps, strict=True))


def test_holding_keeps_the_cubes_where_they_are(task):
    restart(task)
    before = task.cube_positions()
    for _ in range(5):
        task.step(task.hold())
    assert (task.cube_positions() - before).abs().max() < 1e-3


def test_holding_keeps_the_arm_still_and_a_lifted_cube_lifted(task):
    restart(task)
    (*_, last) = play(task, perfect_targets(task))
    assert last.success.all()
    for _ in range(3):
        task.step(task.hold())
    settled = task.robot_state()
    for _ in range(10):
        step = task.step(task.hold())
    assert step.success.all()
    assert (task.robot_state() - settled).abs().max() < 1e-3


def test_a_perfect_operator_puts_the_named_cube_into_the_box():
    task = pick_place()
    restart(task)
    targets = perfect_targets(task)
    assert targets.shape[1] <= task.max_steps
    success = torch.stack([step.success for step in play(task, targets)]).any(dim=0)
    assert success.all()


def test_a_cube_held_over_the_box_is_not_placed_yet():
    task = pick_place()
    restart(task)
    targets = perfect_targets(task)[:, :34]
    assert not torch.stack([step.success for step in play(task, targets)]).any()


@pytest.mark.parametrize("make", [SimplePick, PickPlace])
@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"control": "x"}, r"task\.control='x' is not supported; type one of hand, joint"),
        ({"reward": "x"}, r"task\.reward='x' is not supported; type one of sparse, dense"),
        ({"observation": "x"}, r"task\.observation='x' is not supported; type one of images, state"),
        ({"backend": "x"}, r"task\.backend='x' is not supported; type one of cpu, gpu"),
        ({"num_envs": 0}, r"num_envs=0 is too small; type 1 or more"),
    ],
)
def test_a_wrong_option_raises_one_sentence_before_the_simulator_starts(make, wrong, sentence):
    options = {"num_envs": 2, "control": "hand", "reward": "sparse", "max_steps": 24, "image_size": 96}
    with pytest.raises(ValueError, match=sentence):
        make(**{**options, "backend": "cpu", **wrong})


def test_an_action_of_the_wrong_shape_is_refused(task):
    restart(task)
    with pytest.raises(ValueError, match=r"the action has shape \(4, 9\) but this task takes \(4, 4\)"):
        task.step(torch.zeros(4, 9))


def test_an_error_of_opengl_names_the_packages_to_install_and_others_pass_through():
    opengl: dict[str, object] = {"__name__": "OpenGL.EGL"}
    exec("def draw():\n    raise RuntimeError('no display')", opengl)
    with (
        pytest.raises(ImportError, match=r"\(RuntimeError: no display\).* apt-get install libegl1 .*libxrender1"),
        _genesis.drawing(),
    ):
        opengl["draw"]()
    with pytest.raises(ZeroDivisionError), _genesis.drawing():
        1 / 0  # noqa: B018


def test_the_shared_base_cannot_be_a_task_by_itself():
    with pytest.raises(TypeError, match="abstract"):
        Tabletop(1, "hand", "sparse", 24, 96, "cpu")  # type: ignore[abstract]


def test_worlds_saved_in_mid_episode_continue_bit_for_bit_from_files(task, tmp_path):
    restart(task, 30)
    targets = perfect_targets(task)
    play(task, targets[:, :11])  # on the way up, cubes in the fingers
    write_checkpoint(tmp_path, task.state_dict())

    def rest():
        task.reset(torch.tensor([2]))  # from its own stream
        steps = play(task, targets[:, 11:16])
        step = task.step(task.hold())
        assert all(not one.truncated.any() for one in steps)
        observation = task.observe()
        return [task.cube_positions(), observation.state, step.reward, *observation.images.values()]

    undisturbed = rest()
    restart(task, 90)
    play(task, targets[:, :3])
    task.load_state_dict(read_checkpoint(tmp_path))
    assert all(torch.equal(one, other) for one, other in zip(undisturbed, rest(), strict=True))


def test_python_does_not_look_for_importlib_in_all_modules_at_every_kernel_of_genesis():
    _genesis.start_genesis("cpu")
    assert inspect.getmodule(None, "<frozen importlib._bootstrap>").__name__ == "importlib._bootstrap"
