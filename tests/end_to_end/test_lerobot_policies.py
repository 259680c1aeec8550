"""Policies of lerobot train from their YAML, and the checkpoint of a run plays again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from toys.algorithms import build_algorithm
from toys.commands import CONF, SHORT_PENDULUM, TRAINING_ALONE
from toys.pictures import Pictures
from toys.requests import request_of
from toys.runs import results, run, short_parts
from toys.tiny_diffusion import make_tiny_diffusion
from toys.tiny_pi import make_tiny_pi, small_sizes
from toys.tiny_smolvla import IMAGE_SIZE, make_tiny_checkpoint

from dsrl.evaluation.report import score_of
from dsrl.noise.repeat import RepeatNoise
from dsrl.noise_action_env import NoiseActionEnv
from dsrl.policy.lerobot import load_policy
from dsrl.run.components.build import build, check_budget
from dsrl.run.evaluate import evaluate_run
from dsrl.run.saved.folder import RunFolder
from dsrl.run.terminal.console import Screen
from dsrl.run.train import steer

SMALL = (
    "sac.hidden=8",
    "sac.critic_warmup_updates=2",
    "policy=lerobot",
    "policy.num_steps=5",
    "horizon=2",
)


def train(folder: Path, policy: Path, *options: str) -> None:
    """Train briefly on the pendulum and evaluate the run's own checkpoint."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", [*SHORT_PENDULUM, *TRAINING_ALONE, *SMALL, f"policy.path={policy}", *options])
    folder.mkdir()
    folder_of_run = RunFolder(folder)
    folder_of_run.write_configs({"config.yaml": OmegaConf.to_yaml(cfg)})
    parts = build(cfg, print)
    check_budget(parts, print)
    request = request_of(folder, base=False)
    steer(parts, folder_of_run, {}, Screen())
    score = score_of(json.loads(folder_of_run.summary.read_text())["steered"])
    assert evaluate_run(build(cfg, print), folder_of_run, request, folder_of_run.load("best"), Screen()) == score


@pytest.mark.parametrize("options", [("sac=dsrl_sac",), ("sac=dsrl_na", "sac.replay=observation", "decisions=50")])
def test_a_diffusion_policy_with_a_history_trains_and_plays_again(options: tuple[str, ...], tmp_path: Path) -> None:
    policy = make_tiny_diffusion(tmp_path / "policy", cameras=(), surroundings_dim=1, action_dim=1)
    train(tmp_path / "run", policy, *options)


@pytest.mark.parametrize(("kind", "algorithm"), [("pi0", "dsrl_na"), ("pi05", "dsrl_sac")])
def test_pi0_and_pi05_train_end_to_end_and_stay_frozen(kind: str, algorithm: str, tmp_path: Path) -> None:
    folder = make_tiny_pi(tmp_path / "policy", kind)
    with small_sizes():
        policy = load_policy(str(folder), "cpu", "checkpoint", num_steps=1)
    task, before = Pictures(4), policy.policy_sha256()
    policy.check_fits(task)
    env = NoiseActionEnv(task, policy, RepeatNoise(policy.noise_shape, 1.0, None), horizon=4)
    short = short_parts(algorithm)
    learner = build_algorithm(algorithm, env)
    run(tmp_path / "run", replace(short, task=task, policy=policy, noise=env.noise, env=env, algorithm=learner))
    assert len(results(tmp_path / "run")["rows"]) >= short.settings.decisions // short.settings.eval_every
    assert policy.policy_sha256() == before


@pytest.mark.parametrize(("typed", "executed"), [("null", 2), ("3", 3)])
def test_as_many_actions_are_executed_as_the_checkpoint_says_unless_horizon_is_typed(
    typed: str, executed: int, tmp_path: Path
) -> None:
    sizes: dict[str, Any] = {"state_dim": 4, "action_dim": 4, "chunk": 4, "n_action_steps": 2}
    policy = make_tiny_checkpoint(tmp_path / "policy", cameras=("front", "wrist"), **sizes)
    said: list[str] = []
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", [f"policy.path={policy}", f"horizon={typed}", f"task.image_size={IMAGE_SIZE}"])
    assert build(cfg, said.append).env.horizon == executed
    sentence = "2 of the 4 actions of a chunk are executed, as the checkpoint says; horizon changes it"
    assert (sentence in said) == (typed == "null")


def test_a_sampler_that_starts_far_below_pure_noise_is_announced(tmp_path: Path) -> None:
    folder = make_tiny_diffusion(tmp_path / "policy", state_dim=4, action_dim=4, num_inference_steps=2)
    said: list[str] = []
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", ["policy=lerobot", f"policy.path={folder}", "noise=full", "task.image_size=64"])
    build(cfg, said.append)
    assert any("with its own 2 steps, starts at level 50 of 0 to 99" in sentence for sentence in said)
