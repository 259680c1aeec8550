"""The four stages of a base policy. Each writes its part below --out and returns the content of its JSON file.

agent -> agent.safetensors      dataset -> dataset/      policy -> policy/      base -> the measured return alone
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scripts._parts import build_parts
from scripts.medium_base.recipes import RECIPES

if TYPE_CHECKING:
    from dsrl.noise_action_env import NoiseActionEnv

AGENT_WORLDS, BASE_WORLDS = 16, 25


def make_agent(options: argparse.Namespace) -> dict[str, Any]:
    """Train the PPO agent."""
    from safetensors.torch import save_file

    from scripts.medium_base.agent import train_agent

    agent, score, steps = train_agent(
        _agent_env(options.task),
        target=options.target,
        max_steps=options.steps,
        seed=options.seed,
        report=lambda line: print(f"agent: {line}", flush=True),
    )
    save_file(agent.state_dict(), options.out / "agent.safetensors")
    return {"mean_return": score, "env_steps": steps}


def make_dataset(options: argparse.Namespace) -> dict[str, Any]:
    """Record the agent's rollouts, under another name until they are complete."""
    from safetensors.torch import load_file

    from dsrl.training.lerobot_columns import DONE, TRUNCATED
    from scripts._lerobot_dataset import create_dataset
    from scripts.medium_base.agent import Agent
    from scripts.medium_base.rollouts import play, write

    env = _agent_env(options.task)
    agent = Agent(env.observation_space.shape[0], env.action_space.shape[0])
    agent.load_state_dict(load_file(options.out / "agent.safetensors"))
    partial, complete = options.out / "dataset.partial", options.out / "dataset"
    _clear(partial, complete)
    dataset = create_dataset(
        partial, env.task, RECIPES[options.task].hz, options.frames, DONE, TRUNCATED, reward=True
    )  # no more episodes than frames
    returns, frames = list[float](), 0
    for episode in play(env, agent, options.frames, options.seed):
        write(dataset, episode, options.task)
        frames += len(episode.rewards)
        returns.append(sum(episode.rewards))
    dataset.finalize()
    partial.rename(complete)
    return {"frames": frames, "episodes": len(returns), "mean_return": float(np.mean(returns))}


def make_policy(options: argparse.Namespace) -> dict[str, Any]:
    """Clone the rollouts in chunks of 4 actions with 20 noise levels, sampled in 5 steps, as in the DSRL paper."""
    from scripts.pretrain import __main__ as pretrain

    command = ["--policy", "diffusion_mlp", "--chunk", "4", "--num-steps", "5", "--train-steps", "20"]
    command += ["--dataset", str(options.out / "dataset"), "--out", str(options.out / "policy")]
    command += ["--hidden", str(options.hidden), "--batch", "1024"]
    command += ["--steps", str(options.clone_steps), "--seed", str(options.seed)]
    pretrain.main(command)
    return {"steps": options.clone_steps}


def measure_base(options: argparse.Namespace) -> dict[str, Any]:
    """Play the unsteered policy in the test worlds of `train.py`."""
    from dsrl.evaluation.episodes import evaluate
    from dsrl.evaluation.noise_sources import base_noise

    path = (options.out / "policy").resolve()
    parts = build_parts([f"task={options.task}", f"policy.path='{path}'", f"num_envs={BASE_WORLDS}"])
    noise = base_noise(parts.policy.noise_shape)
    found = evaluate(parts.env, noise, episodes=options.episodes, first_seed=parts.settings.test_seed)
    spread = float(np.std(found.returns, ddof=1)) if len(found.returns) > 1 else None
    return {
        "mean_return": found.score,
        "ci95_half_width": None if spread is None else 1.96 * spread / len(found.returns) ** 0.5,
        "std": spread,
        "mean_length": float(np.mean(found.lengths)),
        "episodes": len(found.returns),
    }


STAGES: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "agent": make_agent,
    "dataset": make_dataset,
    "policy": make_policy,
    "base": measure_base,
}


def _clear(partial: Path, complete: Path) -> None:
    """Delete an interrupted recording. Raises FileExistsError for a folder that no recording left there."""
    if complete.exists():
        raise FileExistsError(f"{complete} exists but {complete}.json does not; delete it or name another --out")
    if not partial.exists():
        return
    if not (partial / "meta" / "info.json").is_file():
        raise FileExistsError(f"{partial} is no interrupted recording; delete it or name another --out")
    shutil.rmtree(partial)


def _agent_env(task: str) -> NoiseActionEnv:
    """Return the environment of the task with noise as its action."""
    env: NoiseActionEnv = build_parts(["task=gym", f"task.id={RECIPES[task].id}", f"num_envs={AGENT_WORLDS}"]).env
    return env
