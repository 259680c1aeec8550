"""Rollouts that lerobot-eval records enter replay as they are: its columns are named as its environments name them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from toys.mlp_checkpoints import load, make_config

from dsrl.noise.full import FullNoise
from dsrl.noise_action_env import NoiseActionEnv
from dsrl.policy._mlp_checkpoint import save_checkpoint
from dsrl.run.exported import Described
from dsrl.training.lerobot_columns import image_column
from dsrl.training.offline_data import OfflineData

EPISODES = ((3, True), (5, False))  # control steps, success


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two episodes of PushT, written by the functions of lerobot-eval."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset
    from lerobot.envs.configs import PushtEnv
    from lerobot.scripts.lerobot_eval import _build_raw_frame, _env_features_to_dataset_features

    folder = tmp_path_factory.mktemp("recording") / "recordings"
    features = _env_features_to_dataset_features(PushtEnv(obs_type="environment_state_agent_pos").features)
    dataset = LeRobotDataset.create("eval_recording", fps=10, features=features, root=str(folder), use_videos=True)
    frame = 0
    for length, success in EPISODES:
        for step in range(length):
            seen = {"agent_pos": np.full((1, 2), frame, np.float64), "environment_state": np.full((1, 16), -frame)}
            seen["environment_state"] = seen["environment_state"].astype(np.float64)
            last = step == length - 1
            action = np.full(2, frame, np.float32)
            made = _build_raw_frame(seen, 0, action, 0.5, success and last, last, "push", dataset.features)
            dataset.add_frame(made)
            frame += 1
        dataset.save_episode()
    dataset.finalize()
    return folder


def test_states_actions_rewards_and_ends_are_read(recording: Path, tmp_path: Path) -> None:
    config = replace(make_config("flow_mlp"), chunk=2, state_mean=(0.0,) * 18, state_std=(1.0,) * 18)
    save_checkpoint(tmp_path, config, config.build())
    policy = load("flow_mlp", tmp_path, None)
    env = NoiseActionEnv(Described(18, 2, {}, 10), policy, FullNoise((2, 2), 1.0, None), horizon=2)
    data = OfflineData(str(recording), env)
    assert data.num_episodes == 2
    found = [(one.before, one.reward, one.terminated, one.truncated) for one in data.transitions]
    assert found == [
        (0, 1.0, False, False),
        (2, 0.5, True, False),
        (3, 1.0, False, False),
        (5, 1.0, False, False),
        (7, 0.5, False, True),
    ]
    seen = data._observation([4])
    assert torch.equal(seen.state, torch.tensor([[4.0] * 2 + [-4.0] * 16]))
    assert seen.instruction == ("push",)


def test_a_camera_is_found_under_the_names_of_a_task_and_of_lerobots_environments() -> None:
    assert image_column(["observation.images.top", "pixels"], "top") == "observation.images.top"
    assert image_column(["pixels"], "image") == "pixels"
    assert image_column(["observation.image", "pixels"], "image") == "observation.image"
    assert image_column(["pixels/top"], "top") == "pixels/top"
    assert image_column(["pixels"], "top") is None
