"""The chain that makes a base policy from nothing, in short: agent, rollouts, cloning, measurement."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from dsrl.noise.full import FullNoise
from dsrl.noise_action_env import NoiseActionEnv
from dsrl.policy.identity import IdentityPolicy
from dsrl.run.terminal.errors import UserError
from dsrl.task.gym import GymTask
from scripts._demonstration_worlds import demonstration_world
from scripts._parts import build_parts
from scripts.medium_base.__main__ import main
from scripts.medium_base.agent import Agent, train_agent
from scripts.medium_base.rollouts import play
from scripts.medium_base.stages import _clear


def hopper(num_envs: int) -> NoiseActionEnv:
    task = GymTask("Hopper-v5", num_envs, None)
    policy = IdentityPolicy(task)
    return NoiseActionEnv(task, policy, FullNoise(policy.noise_shape, 1.0, None), 1)


def test_rollouts_are_complete_episodes_that_repeat_in_the_same_worlds() -> None:
    torch.manual_seed(0)
    episodes = list(play(hopper(3), Agent(11, 3), frames=100, seed=0))
    assert sum(len(one.rewards) for one in episodes) >= 100
    task = GymTask("Hopper-v5", 1, None)
    task.reset(torch.tensor([0]), [demonstration_world(0, 1)])
    first = task.observe().state[0].numpy()
    (episode,) = [one for one in episodes if np.array_equal(one.states[0], first)]
    for t, (action, reward) in enumerate(zip(episode.actions, episode.rewards, strict=True)):
        np.testing.assert_array_equal(task.observe().state[0].numpy(), episode.states[t])
        step = task.step(torch.from_numpy(action)[None])
        assert step.reward.item() == pytest.approx(reward)
    assert step.terminated.item()


def test_an_agent_below_its_target_is_one_sentence() -> None:
    with pytest.raises(ValueError, match=r"return is \d+ after 256 steps; lower --target 1000000 or raise"):
        train_agent(hopper(2), target=1e6, max_steps=1, seed=0, report=lambda line: None)


@pytest.mark.usefixtures("in_this_process")
def test_a_base_policy_is_made_from_nothing_and_not_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--task=hopper", "--target=1", "--frames=400", "--clone-steps=5", "--hidden=16", "--episodes=2"]
    main([*arguments, f"--out={tmp_path}"])
    frames = json.loads((tmp_path / "dataset.json").read_text())
    assert frames["frames"] >= 400
    assert json.loads((tmp_path / "base.json").read_text())["episodes"] == 2
    assert frames["options"] == {"frames": 400}

    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    dataset = LeRobotDataset("local/dataset", root=tmp_path / "dataset")
    columns = dataset.hf_dataset.with_format("numpy")[:]
    ends = np.flatnonzero(np.asarray(columns["next.done"]).ravel())
    np.testing.assert_array_equal(ends + 1, np.array(dataset.meta.episodes["dataset_to_index"]))
    assert len(ends) == frames["episodes"]
    assert not np.asarray(columns["next.truncated"]).any()  # an agent of so little training falls before the clock ends
    assert float(np.sum(columns["next.reward"])) == pytest.approx(frames["mean_return"] * frames["episodes"], rel=1e-4)

    capsys.readouterr()
    main([*arguments, f"--out={tmp_path}"])
    printed = capsys.readouterr().out.splitlines()
    assert printed == [f"{part}: exists already" for part in ("agent", "dataset", "policy", "base")]


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        ("--task=walker2d", "--task walker2d but .*agent.json was made with --task hopper; type that, or name another"),
        ("--seed=1", "--seed 1 but .*agent.json was made with --seed 0"),
        ("--target=9", "--target 9.0 but .*agent.json was made with --target 1.0"),
        ("--frames=5", "--frames 5 but .*dataset.json was made with --frames 400"),
        ("--clone-steps=3", "--clone-steps 3 but .*policy.json was made with --clone-steps 5000"),
    ],
)
def test_parts_of_other_options_are_refused_and_those_of_earlier_versions_are_taken(
    other: str, sentence: str, tmp_path: Path
) -> None:
    arguments = ["--task=hopper", "--target=1", other, f"--out={tmp_path}"]
    for part in ("agent", "dataset", "policy", "base"):
        (tmp_path / f"{part}.json").write_text("{}")
    main(arguments)
    (tmp_path / "agent.json").write_text('{"task": "hopper", "target": 1.0, "seed": 0}')
    if "frames" in other:
        (tmp_path / "dataset.json").write_text('{"frames": 417, "options": {"frames": 400}}')
    (tmp_path / "policy.json").write_text('{"options": {"clone_steps": 5000, "hidden": 128}}')
    with pytest.raises(SystemExit, match=sentence):
        main(arguments)


def test_a_missing_base_policy_names_the_script_that_makes_one() -> None:
    with pytest.raises(UserError, match=r"policy\.path=mine/diffusion_mlp is not .*scripts.medium_base"):
        build_parts(["task=walker2d", "policy.path=mine/diffusion_mlp"])


@pytest.mark.parametrize("typed", ["experiment=hopper_official", "task=hopper", "task=walker2d", "task=halfcheetah"])
def test_a_bundled_base_policy_moves_its_robot_on(typed: str) -> None:
    parts = build_parts([typed, "num_envs=4"])
    parts.env.reset()
    noise = np.zeros((len(parts.env), parts.noise.dim), np.float32)
    for _ in range(10):
        _, reward, terminated, _, info = parts.env.step(noise)
        assert [one["env_steps"] for one in info] == [4] * 4
        assert not terminated.any()
    assert (reward > 0).all()


@pytest.mark.parametrize("name", ["dataset", "dataset.partial"])
def test_a_folder_of_the_user_in_the_place_of_the_dataset_is_not_deleted(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "thesis.txt").write_text("words")
    with pytest.raises(FileExistsError, match="delete it or name another --out"):
        _clear(tmp_path / "dataset.partial", tmp_path / "dataset")
    assert (tmp_path / name / "thesis.txt").is_file()
