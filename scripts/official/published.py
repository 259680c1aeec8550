"""Trains the published DSRL-NA (`DSRL` of github.com/ajwagen/stable-baselines3) on a gymnasium task and our policy.

Re-implements the part of github.com/ajwagen/dsrl around it: train_dsrl.py, env_utils.py, utils.py and
cfg/gym/dsrl_hopper.yaml.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Sequence
from typing import Any, TextIO

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box
from numpy.typing import NDArray
from torch import Tensor

from dsrl.interfaces import Encoding, Observation

WORLDS, WIDTH, DEPTH = 4, 128, 3
COLUMNS = ("eval/timesteps", "eval/reward", "eval/reward_deterministic", "wall_time_s")


class ChunkWorld(gymnasium.Env):  # type: ignore[misc]  # gymnasium is not followed
    """One world whose action is a flat chunk, as in the published `ActionChunkWrapper`.

    A chunk is played to its last action, with rewards, even after the episode has ended, and a time-out is reported as
    a termination.
    """

    def __init__(self, id: str, policy: Any, max_steps: int) -> None:
        """`policy` standardises the states; its chunk shape gives the length of an action."""
        self._env = gymnasium.make(
            id, max_episode_steps=max_steps + policy.chunk_shape[0]
        )  # this class counts the steps
        self._policy, self._max_steps, self._count = policy, max_steps, 0
        inner = self._env.action_space
        assert isinstance(inner, Box)
        self.action_space = Box(*(np.tile(bound, policy.chunk_shape[0]) for bound in (inner.low, inner.high)))
        self.observation_space = Box(-np.inf, np.inf, (policy.feature_dim,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[NDArray[np.float32], dict[str, Any]]:
        state, _ = self._env.reset(seed=seed)
        self._count = 0
        return self._features(state), {}

    def step(self, action: NDArray[np.float32]) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        total, ended = 0.0, False
        for one in action.reshape(self._policy.chunk_shape):
            state, reward, terminated, _, _ = self._env.step(one)
            self._count += 1
            total, ended = total + float(reward), ended or terminated
        return self._features(state), total, ended or self._count >= self._max_steps, False, {}

    def _features(self, state: Any) -> NDArray[np.float32]:
        batch = torch.as_tensor(np.asarray(state), dtype=torch.float32)[None]
        features: Tensor = self._policy.encode(Observation(batch, {}, ("",))).features
        return features[0].numpy()


class BasePolicy:
    """A policy of ours with the signature of the published `DPPOBasePolicyWrapper`."""

    def __init__(self, policy: Any) -> None:
        self._policy = policy

    def __call__(self, obs: Tensor, initial_noise: Tensor, return_numpy: bool = True) -> Any:
        chunk = self._policy.decode(Encoding(obs, {}), initial_noise)
        return chunk.numpy() if return_numpy else chunk


def make_learner(fork: Any, world: Any, policy: Any, options: argparse.Namespace) -> Any:
    """Return the published algorithm with the published settings, except for `train_freq` (see README.md)."""
    sizes = [WIDTH] * DEPTH
    return fork.DSRL(
        "MlpPolicy",
        world,
        learning_rate=3e-4,
        buffer_size=options.decisions + WORLDS,
        learning_starts=1,
        batch_size=256,
        tau=0.005,
        gamma=0.99,
        train_freq=options.train_freq,
        gradient_steps=20,
        ent_coef="auto",
        target_entropy=0.0,
        policy_kwargs={
            "net_arch": {"pi": sizes, "qf": sizes},
            "activation_fn": torch.nn.Tanh,
            "log_std_init": 0.0,
            "post_linear_modules": [torch.nn.LayerNorm],
            "n_critics": 2,
        },
        diffusion_policy=BasePolicy(policy),
        diffusion_act_dim=policy.chunk_shape,
        noise_critic_grad_steps=10,
        critic_backup_combine_type="min",
        device="cpu",
    )


def warm_up(model: Any, world: Any, chunk_shape: tuple[int, int], chunks: int) -> None:
    """Play the base policy under N(0, I) into replay, like the published `collect_rollouts`."""
    features = world.reset()
    for _ in range(chunks // WORLDS):
        action = model.diffusion_policy(torch.as_tensor(features), torch.randn(WORLDS, *chunk_shape)).reshape(
            WORLDS, -1
        )
        after, reward, done, infos = world.step(action)
        model.replay_buffer.add(obs=features, next_obs=after, action=action, reward=reward, done=done, infos=infos)
        features = after


def returns(model: Any, env: Any, episodes: int, first_seed: int, deterministic: bool) -> float:
    """Return the mean return of the published actor in the worlds of train.py."""
    from dsrl.evaluation.episodes import evaluate

    def act(encoding: Encoding, seeds: Sequence[int], decision: int) -> Tensor:
        features = encoding.features.numpy()
        noise, _ = model.policy.predict(features, deterministic=deterministic)
        return torch.as_tensor(noise, dtype=torch.float32).view(len(features), *env.policy.noise_shape)

    return evaluate(env, act, episodes=episodes, first_seed=first_seed).score


def train(fork: Any, options: argparse.Namespace) -> None:
    """Train, write one row per evaluation, and print the returns in the test worlds at the end."""
    from stable_baselines3.common.vec_env import DummyVecEnv

    from scripts._parts import build_parts

    torch.set_num_threads(1)
    np.random.seed(options.seed)
    torch.manual_seed(options.seed)
    parts = build_parts([f"task={options.task}", f"num_envs={options.validation_episodes}"])
    policy, task = parts.policy, parts.task
    worlds = DummyVecEnv([lambda: ChunkWorld(options.id, policy, task.max_steps)] * WORLDS)
    worlds.seed(options.seed + 1)
    model = make_learner(fork, worlds, policy, options)
    warm_up(model, worlds, policy.chunk_shape, options.warmup_decisions)
    with options.out.open("w", newline="", encoding="utf-8") as file:
        callback = _evaluations(model, parts, file, options)
        model.learn(options.decisions - options.warmup_decisions, callback=callback)
    where = (parts.env, parts.settings.eval_episodes, parts.settings.test_seed)
    drawn, mean = (returns(model, *where, deterministic) for deterministic in (False, True))
    print(f"{where[1]} test worlds: {drawn:.0f} drawn, {mean:.0f} by the mean", flush=True)


def _evaluations(model: Any, parts: Any, file: TextIO, options: argparse.Namespace) -> Any:
    """Return the callback that evaluates every `--eval-every` chunks and writes a row into the CSV file."""
    from stable_baselines3.common.callbacks import BaseCallback

    rows, begin = csv.writer(file), time.monotonic()
    rows.writerow(COLUMNS)

    class Evaluate(BaseCallback):  # type: ignore[misc]  # not followed
        def _on_step(self) -> bool:
            played = options.warmup_decisions + self.num_timesteps
            if self.num_timesteps == WORLDS or played % options.eval_every == 0:
                where = (parts.env, options.validation_episodes, parts.settings.validation_seed)
                found = [returns(model, *where, deterministic) for deterministic in (False, True)]
                steps = parts.policy.chunk_shape[0] * played
                rows.writerow([steps, *(f"{value:.1f}" for value in found), f"{time.monotonic() - begin:.0f}"])
                file.flush()
                print(f"{steps} control steps: {found[0]:.0f} drawn, {found[1]:.0f} by the mean", flush=True)
            return True

    return Evaluate()
