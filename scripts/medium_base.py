"""A base policy worth steering, from nothing: an agent of medium return, its rollouts, a policy that clones them.

    python -m scripts.medium_base --task hopper --out data/hopper

    --out/agent.safetensors   a PPO agent, stopped when it earns --target      (scripts/medium_agent.py)
    --out/dataset             its play as a LeRobotDataset without images
    --out/policy              a diffusion policy that clones it                (scripts/pretrain.py)
    --out/base.json           the return of that policy, unsteered

What is there already is not made again: delete a part, and those after it, to make it anew. Then
`python train.py task=hopper policy.path=data/hopper/policy` steers the policy.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scripts.parts import build_parts

if TYPE_CHECKING:
    from dsrl.noise_action_env import NoiseActionEnv
    from scripts.medium_agent import Agent

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read when torch is imported: spinning threads starve each other

AGENT_WORLDS, BASE_WORLDS = 16, 25
FIRST_ROLLOUT_SEED = 3_000_000  # above those of validation and test, below those of training


@dataclass(frozen=True)
class Recipe:
    """What is particular to a task."""

    id: str  # gymnasium's
    target: float  # return at which the agent is stopped: a third to a half of what good agents earn
    hz: int  # control steps per second


RECIPES = {
    "hopper": Recipe("Hopper-v5", 1500.0, 125),
    "walker2d": Recipe("Walker2d-v5", 2000.0, 125),
    "halfcheetah": Recipe("HalfCheetah-v5", 2000.0, 20),
}


@dataclass
class Episode:
    """One episode of play: row t is what was seen, done and earned at step t."""

    states: list[NDArray[np.float32]]  # [S] each
    actions: list[NDArray[np.float32]]  # [A] each
    rewards: list[float]
    truncated: bool = False  # ended by the clock


def main(arguments: Sequence[str] | None = None) -> None:
    """Make what is missing, in order; ends with one sentence where that cannot work."""
    options = _options(arguments)
    import torch

    from dsrl.run.errors import UserError

    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    steps = (("agent", _make_agent), ("dataset", _make_dataset), ("policy", _make_policy), ("base", _measure))
    try:
        for name, make in steps:
            if (options.out / f"{name}.json").is_file():
                print(f"{name}: there already", flush=True)
                continue
            began = time.perf_counter()
            figures = {**make(options), "seconds": round(time.perf_counter() - began)}
            (options.out / f"{name}.json").write_text(json.dumps(figures, indent=2) + "\n")
            print(f"{name}: {figures}", flush=True)
    except (UserError, ValueError) as error:
        raise SystemExit(f"error: {' '.join(str(error).split())}") from None


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=sorted(RECIPES), required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder of all parts")
    parser.add_argument("--target", type=float, help="mean return at which the agent is stopped")
    parser.add_argument("--steps", type=int, default=10_000_000, help="of the environment, for the agent at most")
    parser.add_argument("--frames", type=int, default=50_000, help="of the dataset, at least")
    parser.add_argument("--clone-steps", type=int, default=5_000, help="gradient steps of cloning")
    parser.add_argument("--hidden", type=int, default=128, help="width of the cloning policy")
    parser.add_argument("--episodes", type=int, default=100, help="of the unsteered policy")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    options.target = RECIPES[options.task].target if options.target is None else options.target
    return options


def _make_agent(options: argparse.Namespace) -> dict[str, Any]:
    from safetensors.torch import save_file

    from scripts.medium_agent import train_agent

    env = _agents_env(options.task)
    agent, score, steps = train_agent(
        env,
        target=options.target,
        max_steps=options.steps,
        seed=options.seed,
        report=lambda line: print(f"agent: {line}", flush=True),
    )
    save_file(agent.state_dict(), options.out / "agent.safetensors")
    return {"mean_return": score, "env_steps": steps, "target": options.target, "seed": options.seed}


def _make_dataset(options: argparse.Namespace) -> dict[str, Any]:
    """Written under another name first, so that what is called dataset is whole."""
    from safetensors.torch import load_file

    from scripts.collect_rollouts import create_dataset
    from scripts.medium_agent import Agent

    env = _agents_env(options.task)
    agent = Agent(env.observation_space.shape[0], env.action_space.shape[0])
    agent.load_state_dict(load_file(options.out / "agent.safetensors"))
    partial, whole = options.out / "dataset.partial", options.out / "dataset"
    for folder in (partial, whole):
        shutil.rmtree(folder, ignore_errors=True)
    # no more episodes than frames
    dataset = create_dataset(partial, env.task, RECIPES[options.task].hz, options.frames)
    returns, frames = list[float](), 0
    for episode in play(env, agent, options.frames, options.seed):
        _write(dataset, episode, options.task)
        frames += len(episode.rewards)
        returns.append(sum(episode.rewards))
    dataset.finalize()
    partial.rename(whole)
    return {"frames": frames, "episodes": len(returns), "mean_return": float(np.mean(returns))}


def play(env: NoiseActionEnv, agent: Agent, frames: int, seed: int) -> Iterator[Episode]:
    """Whole episodes of `agent`, as they end; none begins once those begun hold `frames` steps or more.

    `env` is one whose noise is the action. Every world goes on with the next seed as soon as it has ended.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    rows: NDArray[np.int64] = np.arange(len(env))
    seeds = iter(range(FIRST_ROLLOUT_SEED, 2**30))
    running = {int(row): Episode([], [], []) for row in rows}
    taken = 0
    features, _ = env.reset(rows, [next(seeds) for _ in rows])
    while len(rows):
        before = features
        features, reward, terminated, truncated, _ = env.step(agent.act(features, generator).numpy(), rows)
        assert env.decision is not None
        actions = env.decision.chunk[:, 0].cpu().numpy()
        taken += len(rows)
        for i, row in enumerate(rows):
            running[row].states.append(before[i])
            running[row].actions.append(actions[i])
            running[row].rewards.append(float(reward[i]))
        for i in np.flatnonzero(truncated):
            running[rows[i]].truncated = True
        ended = terminated | truncated
        yield from (running.pop(row) for row in rows[ended])
        fresh = rows[ended] if taken < frames else rows[:0]
        rows, features = rows[~ended], features[~ended]
        if len(fresh):
            first, _ = env.reset(fresh, [next(seeds) for _ in fresh])
            running.update({int(row): Episode([], [], []) for row in fresh})
            rows, features = np.concatenate([rows, fresh]), np.concatenate([features, first])


def _write(dataset: Any, episode: Episode, task: str) -> None:
    last = len(episode.rewards) - 1
    for t, (state, action, reward) in enumerate(zip(episode.states, episode.actions, episode.rewards, strict=True)):
        dataset.add_frame(
            {
                "observation.state": state,
                "action": action,
                "next.reward": np.array([reward], np.float32),
                "next.done": np.array([t == last]),
                "next.truncated": np.array([t == last and episode.truncated]),
                "task": task,
            }
        )
    dataset.save_episode()


def _make_policy(options: argparse.Namespace) -> dict[str, Any]:
    """Chunks of 4 actions and 20 levels of noise, sampled in 5 steps: those of the published experiments."""
    from scripts.pretrain import __main__ as pretrain

    command = ["--policy", "diffusion_mlp", "--chunk", "4", "--num-steps", "5", "--train-steps", "20"]
    command += ["--dataset", str(options.out / "dataset"), "--out", str(options.out / "policy")]
    command += ["--hidden", str(options.hidden), "--batch", "1024"]
    command += ["--steps", str(options.clone_steps), "--seed", str(options.seed)]
    pretrain.main(command)
    return {"steps": options.clone_steps}


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    """The unsteered policy on the test worlds of `train.py`."""
    from dsrl.evaluation.episodes import base_noise, evaluate

    path = (options.out / "policy").resolve()
    parts = build_parts([f"task={options.task}", f"policy.path={path}", f"num_envs={BASE_WORLDS}"])
    noise = base_noise(parts.policy.noise_shape)
    found = evaluate(parts.env, noise, episodes=options.episodes, first_seed=parts.settings.test_seed)
    spread = float(np.std(found.returns, ddof=1)) if len(found.returns) > 1 else float("nan")
    return {
        "mean_return": found.score,
        "ci95_half_width": 1.96 * spread / len(found.returns) ** 0.5,
        "std": spread,
        "mean_length": float(np.mean(found.lengths)),
        "episodes": len(found.returns),
    }


def _agents_env(task: str) -> NoiseActionEnv:
    """The task with noise for its action."""
    env: NoiseActionEnv = build_parts(["task=gym", f"task.id={RECIPES[task].id}", f"num_envs={AGENT_WORLDS}"]).env
    return env


if __name__ == "__main__":
    main()
