"""Environments of lerobot: behaviour beyond the contract of tasks, in this process."""

from __future__ import annotations

import importlib.util
import sys

import gymnasium
import numpy as np
import pytest
import torch

from dsrl.interfaces import BoundedActions, Filmable, Restorable
from dsrl.run.components.few_worlds import FewWorlds
from dsrl.task import _world_memory
from dsrl.task._lerobot_world import World
from dsrl.task.lerobot import LATE, LerobotTask
from dsrl.task.pusht import PushTTask


def make(env: str = "pusht", name: str | None = None, num_envs: int = 2, max_steps: int | None = 12, **options):
    options = {"id": 0, "reward": "sparse", "processes": False, **options}
    return LerobotTask(env, name, num_envs=num_envs, max_steps=max_steps, **options)


@pytest.fixture(scope="module")
def pusht() -> LerobotTask:
    return make(num_envs=3)


def test_worlds_and_processed_observations_are_those_of_lerobot(pusht):
    from lerobot.envs.factory import make_env, make_env_config
    from lerobot.envs.utils import preprocess_observation

    ((_, suite),) = make_env(make_env_config("pusht"), n_envs=3).items()
    theirs, _ = suite[0].reset(seed=[4, 5, 6])
    pusht.reset(torch.arange(3), [4, 5, 6])
    for target in (100.0, 300.0):
        theirs, *_ = suite[0].step(np.full((3, 2), target, np.float32))
        pusht.step(torch.full((3, 2), target))
    expected, seen = preprocess_observation(theirs), pusht.observe()
    assert torch.equal(seen.state, expected["observation.state"])
    assert torch.equal(seen.images["image"].float() / 255, expected["observation.image"])


def test_an_ended_world_stands_still_and_pays_nothing_until_it_is_reset(pusht):
    pusht.reset(torch.arange(3), [1, 2, 3])
    for _ in range(12):
        step = pusht.step(torch.full((3, 2), 200.0))
    assert step.truncated.all()
    last = pusht.observe()
    pusht.reset(torch.tensor([0]), [9])
    step = pusht.step(torch.full((3, 2), 400.0))
    assert step.truncated.tolist() == [False, True, True]
    assert torch.equal(pusht.observe().state[1:], last.state[1:])
    assert not torch.equal(pusht.observe().state[0], last.state[0])


def test_a_world_without_a_seed_continues_the_stream_of_its_last_seed(pusht):
    def next_world(row: int) -> torch.Tensor:
        pusht.reset(torch.tensor([row]), [21])
        pusht.reset(torch.tensor([row]))
        return pusht.observe().images["image"][row]

    first = next_world(0)
    assert torch.equal(first, next_world(2))
    pusht.reset(torch.tensor([0]))
    assert not torch.equal(first, pusht.observe().images["image"][0])


def test_sparse_rewards_pay_once_at_success_and_dense_ones_are_the_environments(pusht):
    dense = make(reward="dense")
    for task in (pusht, dense):
        task.reset(torch.arange(task.num_envs), list(range(task.num_envs)))
    paid = [task.step(task.hold()).reward for task in (pusht, dense)]
    assert not paid[0].any()
    assert paid[1].any()  # PushT pays by the covered share of the outline


class Won(gymnasium.Env):
    """Is won by the second step, and counts its steps and resets."""

    observation_space = action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    spec = None
    _max_episode_steps = 7
    task_description = "win"

    def __init__(self) -> None:
        self.resets, self.steps = 0, 0

    def reset(self, *, seed=None, options=None):
        self.resets, self.steps = self.resets + 1, 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.steps += 1
        return np.full(1, self.steps, np.float32), 0.5, self.steps == 2, False, {"is_success": self.steps == 2}


def test_a_world_reports_its_end_once_and_waits_for_a_reset():
    inside = Won()
    world = World(inside, None)
    assert (world.limit, world.sentence) == (7, "win")
    world.reset(seed=3)
    ends = [world.step(np.zeros(1)) for _ in range(4)]
    assert [info["success"] for *_, info in ends] == [False, True, False, False]
    assert [info["terminated"] for *_, info in ends] == [False, True, False, False]
    assert [reward for _, reward, *_ in ends] == [0.5, 0.5, 0.0, 0.0]
    assert not any(terminated or truncated for _, _, terminated, truncated, _ in ends)
    assert (inside.resets, inside.steps) == (1, 2)


class Numbered(Won):
    """Has numbered initial states, as lerobot's LIBERO has; None: it draws them by its seed (init_states=False)."""

    def __init__(self, states):
        super().__init__()
        self._init_states = states


def test_seeds_of_pusht_are_endless_worlds_and_those_of_numbered_initial_states_repeat(pusht):
    assert isinstance(pusht, FewWorlds)
    assert pusht.num_worlds is None
    assert World(Numbered(np.zeros((50, 7))), None, kind="libero").num_worlds == 50
    assert World(Numbered(None), None, kind="libero").num_worlds is None
    assert World(Won(), None, kind="robomme").num_worlds == 1


def test_numbers_of_the_objects_follow_those_of_the_robot_in_the_state():
    task = make(env_kwargs={"obs_type": "environment_state_agent_pos"})
    assert (task.state_dim, task.cameras) == (2 + 16, {})


def test_drawing_changes_neither_the_worlds_nor_their_next_ones():
    def played(*, drawn: bool) -> list[torch.Tensor]:
        task = make(num_envs=2, reward="dense", env_kwargs={"obs_type": "environment_state_agent_pos"})
        task.reset(torch.arange(2), [4, 5])
        seen = []
        for target in (100.0, 300.0, 250.0, 200.0, 400.0):
            if drawn:
                task.picture(1)
            step = task.step(torch.full((2, 2), target))
            seen += [task.observe().state, step.reward]
        task.reset(torch.arange(2))
        return [*seen, task.observe().state]

    assert all(map(torch.equal, played(drawn=True), played(drawn=False)))


def test_play_and_training_draw_nothing_where_no_camera_is_observed(monkeypatch):
    task = make(env_kwargs={"obs_type": "environment_state_agent_pos"})
    monkeypatch.setattr(type(task._worlds.envs[0].unwrapped), "_draw", lambda env: pytest.fail("was drawn"))
    task.reset(torch.arange(2), [4, 5])
    task.step(task.hold())
    task.observe()


def test_a_task_with_a_camera_is_drawn_by_it(pusht):
    pusht.reset(torch.arange(3), [4, 5, 6])
    assert torch.equal(pusht.picture(2), pusht.observe().images["image"][:2])


def test_a_lerobot_task_is_bounded_and_filmable_and_cannot_be_restored_in_mid_episode(pusht):
    assert isinstance(pusht, BoundedActions)
    assert isinstance(pusht, Filmable)
    assert not isinstance(pusht, Restorable)
    assert pusht.action_high.tolist() == [512.0, 512.0]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"env": "pushit"}, r"task.env=pushit is none of lerobot's; type one of aloha, libero, "),
        ({"env": "isaaclab_arena"}, r"task.env=isaaclab_arena runs code from the hub, which a config must not start; "),
        ({"env": "gym_manipulator"}, r"task.env=gym_manipulator drives a real robot, which a config must not start; "),
        ({"name": "os:PushT"}, r"task.name=os:PushT is no single task of lerobot; type letters, digits, - and _ alone"),
        ({"id": 3}, r"task.id=3 but task.env=pusht has no numbered tasks; type task.id=0 and task.name=…"),
        ({"env_kwargs": {"size": 9}}, r"task.env_kwargs.size is no field of lerobot's pusht; type some of "),
        (
            {"env_kwargs": {"render_mode": "human"}},
            r"task.env_kwargs.render_mode is no field of lerobot's pusht; type ",
        ),
        (
            {"env_kwargs": {"observation_height": "abc"}},
            r"observation_height=abc must be of type int, whole numbers",
        ),
        (
            {"env_kwargs": {"observation_height": 0}},
            r"observation_height=0 must be of type int, whole numbers from",
        ),
        ({"env_kwargs": {"observation_width": None}}, r"task.env_kwargs.observation_width=None must be of type int"),
        ({"env_kwargs": {"fps": True}}, r"task.env_kwargs.fps=True must be of type int"),
        ({"env_kwargs": {"obs_type": 3}}, r"task.env_kwargs.obs_type=3 must be of type str"),
        (
            {"name": "Nope-v0"},
            r"task.env=pusht cannot be made of .*NameNotFound.*; type another task.name or ta",
        ),
        (
            {"num_envs": 100_000, "processes": True},
            "num_envs=100000 would start as many processes; type at most 1024, or task.processes=false",
        ),
        (
            {"env": "metaworld", "name": "push-v2"},
            r"task.env=metaworld cannot be made of .*KeyError 'push-v2'.*; type another task.name, such as push-v3, ",
        ),
        (
            {"env_kwargs": {"obs_type": "pixels"}},
            r"^with task.env_kwargs.obs_type=pixels, task.env=pusht observes nothing .* reads; type pixels_agent_pos ",
        ),
    ],
)
def test_what_lerobot_does_not_have_is_one_sentence(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        make(**options)


@pytest.mark.parametrize(("processes", "free"), [(True, 2 * 2**25 - 1), (False, 2 * 2 * 96 * 96 * 3)])
def test_more_worlds_than_the_free_memory_holds_are_refused(processes, free, monkeypatch):
    monkeypatch.setattr(_world_memory, "available_memory", lambda: free)
    with pytest.raises(
        _world_memory.TooManyWorldsError, match=r"^num_envs=2 would take .* by 1 made so far and their o"
    ):
        make(processes=processes, env_kwargs={"obs_type": "pixels_agent_pos"})


def test_pusht_observes_what_its_own_key_says():
    with pytest.raises(ValueError, match=r"obs_type would override task.observation; leave it out and type task.obser"):
        PushTTask("state", 1, "sparse", 12, False, {"obs_type": "pixels_agent_pos"})


def test_a_name_of_several_tasks_is_refused(monkeypatch):
    suites = {"easy": dict.fromkeys(range(28))}
    monkeypatch.setattr("lerobot.envs.factory.make_env", lambda config, **options: suites)
    with pytest.raises(ValueError, match=r"^task.name=easy is a group of 28 tasks of task.env=metaworld; type one of"):
        make("metaworld", "easy", num_envs=1)


def test_without_its_package_an_environment_is_one_sentence_with_what_to_type(monkeypatch):
    monkeypatch.setitem(sys.modules, "gym_pusht", None)
    monkeypatch.delitem(gymnasium.registry, "gym_pusht/PushT-v0", raising=False)
    with pytest.raises(
        ImportError, match=r"^task.env=pusht needs a package that is not here .*; type: uv pip"
    ) as caught:
        make()
    assert str(caught.value).endswith("type: uv pip install 'gym-pusht==0.1.8' 'pymunk==6.11.1'")


@pytest.mark.parametrize(("env", "package"), LATE.items())
def test_a_package_that_lerobot_imports_at_a_reset_is_missed_before(env, package):
    if importlib.util.find_spec(package) is not None:
        pytest.skip(f"{package} is installed")
    with pytest.raises(ImportError, match=f"^task.env={env} needs a package that is not here .*; install what lerobot"):
        make(env)
