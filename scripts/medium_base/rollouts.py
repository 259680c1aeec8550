"""Plays an agent and writes its episodes into a LeRobotDataset."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from dsrl.training.lerobot_columns import ACTION, DONE, REWARD, STATE, TRUNCATED
from scripts._demonstration_worlds import demonstration_world

if TYPE_CHECKING:
    from dsrl.noise_action_env import NoiseActionEnv
    from scripts.medium_base.agent import Agent


@dataclass
class Episode:
    """One episode: row t is observation, action and reward of step t."""

    states: list[NDArray[np.float32]]  # [S] each
    actions: list[NDArray[np.float32]]  # [A] each
    rewards: list[float]
    truncated: bool = False  # ended by the clock


def play(env: NoiseActionEnv, agent: Agent, frames: int, seed: int) -> Iterator[Episode]:
    """Return whole episodes of `agent`, as they end; none begins once those begun have `frames` steps or more.

    `env` is one whose noise is the action. Every world goes on with the next seed as soon as it has ended.
    """
    generator = torch.Generator().manual_seed(seed)
    rows: NDArray[np.int64] = np.arange(len(env))
    seeds = (demonstration_world(seed, index) for index in count())
    running = {int(row): Episode([], [], []) for row in rows}
    taken = 0
    features, _ = env.reset(rows, [next(seeds) for _ in rows])
    while len(rows):
        before = features
        features, reward, terminated, truncated, _ = env.step(agent.act(features, generator).numpy(), rows)
        taken += len(rows)
        _append(running, rows, before, env, reward)
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


def _append(
    running: dict[int, Episode], rows: NDArray[np.int64], states: Any, env: NoiseActionEnv, reward: Any
) -> None:
    """Add the step that `env` has just taken to the episodes of `rows`."""
    assert env.decision is not None
    actions = env.decision.chunk[:, 0].cpu().numpy()
    for i, row in enumerate(rows):
        running[row].states.append(states[i])
        running[row].actions.append(actions[i])
        running[row].rewards.append(float(reward[i]))


def write(dataset: Any, episode: Episode, task: str) -> None:
    """Add one episode to a dataset."""
    last = len(episode.rewards) - 1
    for t, (state, action, reward) in enumerate(zip(episode.states, episode.actions, episode.rewards, strict=True)):
        dataset.add_frame(
            {
                STATE: state,
                ACTION: action,
                REWARD: np.array([reward], np.float32),
                DONE: np.array([t == last]),
                TRUNCATED: np.array([t == last and episode.truncated]),
                "task": task,
            }
        )
    dataset.save_episode()
