"""Replay buffers: of random play in an environment, and of transitions drawn at random for the equation tests."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from tianshou.data import Batch, Collector, ReplayBuffer

from dsrl.noise_action_env import NoiseActionEnv
from dsrl.training.replay_buffer import Replay
from dsrl.training.replay_format import PREFIX, Recorder
from toys.algorithms import build_algorithm

FEATURES, DIM, BATCH = 3, 2, 16


def played(env: NoiseActionEnv, decisions: int = 12, draws: int = 0) -> Replay:
    """Return the decisions of random play, with contexts and chunks of `draws` base noises as DSRL-NA stores them."""
    env.seed(0)
    buffer, recorder = Replay(decisions, len(env), 0), Recorder(env, "context", draws)
    policy = build_algorithm("dsrl_na", env).policy
    collector = Collector(policy, env, buffer, on_step_hook=lambda _, rollout: recorder.write(rollout))
    collector.reset_env()
    collector.collect(n_step=decisions, random=True)
    return buffer


def stored_context(buffer: ReplayBuffer) -> dict[str, torch.Tensor]:
    """Return the contexts of all transitions under the policy's own names."""
    return {key.removeprefix(PREFIX): torch.as_tensor(value) for key, value in buffer.info.before.items()}


def plain_buffer(size: int) -> ReplayBuffer:
    """Return an empty buffer of one part, without a time limit, in which no episode is cut."""
    buffer = ReplayBuffer(size)
    buffer.longest_episode, buffer.cut, buffer.incomplete = None, np.zeros(size, bool), np.zeros(size, bool)
    return buffer


def ends(i: int) -> dict[str, bool]:
    """Return the end of transition i: of every four, the second is terminated and the fourth truncated."""
    end = {"terminated": i % 4 == 1, "truncated": i % 4 == 3}
    return {**end, "done": any(end.values())}


def filled_buffer(reward: Callable[[int], float] = float) -> ReplayBuffer:
    """Return transitions of random features [3] and u [2]; `reward` gives that of transition i, by default i."""
    rng = np.random.default_rng(0)
    buffer = plain_buffer(BATCH)
    for i in range(BATCH):
        obs, obs_next = rng.standard_normal((2, FEATURES)).astype(np.float32)
        act = rng.uniform(-1, 1, DIM).astype(np.float32)
        buffer.add(Batch(obs=obs, obs_next=obs_next, act=act, rew=reward(i), info={}, **ends(i)))
    return buffer
