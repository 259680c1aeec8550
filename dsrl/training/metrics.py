"""Metrics of training: counters, returns and successes of the latest episodes, means over gradient steps."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from dsrl.interfaces import StateDict
from dsrl.training.restored_numbers import check_counts, check_finite_numbers

EPISODE_WINDOW = 64  # latest episodes behind train/success_rate and train/return

Metrics = dict[str, float]


@dataclass(frozen=True)
class Counters:
    """Four counts that must not be mixed; warm-up is included."""

    env_steps: int = 0  # control steps, summed over worlds, parked ones left out
    decisions: int = 0  # chunks begun, summed over worlds
    gradient_steps: int = 0  # updates of critics, with the actor or without; warm-up and distillation included
    episodes: int = 0  # episodes ended

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Counters:
        """Restore the counts of a state. Raises ValueError for one that is no whole number of at least 0."""
        check_counts(plain)
        return cls(**plain)

    def after(self, *, env_steps: int, decisions: int, episodes: int) -> Counters:
        """Return the counts after more play."""
        return replace(
            self,
            env_steps=self.env_steps + env_steps,
            decisions=self.decisions + decisions,
            episodes=self.episodes + episodes,
        )


class EpisodeStats:
    """Counters, returns and successes, updated with each decision."""

    def __init__(self, num_envs: int, has_success: bool) -> None:
        self.counters = Counters()
        self._has_success = has_success
        self._returns, self._won = np.zeros(num_envs), np.zeros(num_envs, dtype=bool)
        self._latest: deque[tuple[float, bool]] = deque(maxlen=EPISODE_WINDOW)

    def update(self, rollout: Any) -> None:
        """Add tianshou's rollout of one decision in every world.

        Its `info.success` becomes whether the episode has succeeded so far: once is enough, as in evaluations.
        """
        self._returns += rollout.rew
        self._won |= np.asarray(rollout.info.success, dtype=bool)
        rollout.info.success = self._won.copy()
        for world in np.flatnonzero(rollout.done):
            self._latest.append((float(self._returns[world]), bool(self._won[world])))
            self._returns[world], self._won[world] = 0.0, False
        self.counters = self.counters.after(
            env_steps=int(rollout.info.env_steps.sum()), decisions=len(rollout.rew), episodes=int(rollout.done.sum())
        )

    def add_gradient_steps(self, num: int) -> None:
        """Count `num` gradient steps."""
        self.counters = replace(self.counters, gradient_steps=self.counters.gradient_steps + num)

    def drop_unfinished(self) -> None:
        """Drop the returns of episodes that a reset of all worlds cut short."""
        self._returns[:], self._won[:] = 0.0, False

    def recent(self) -> Metrics:
        """Return mean return and success rate of the latest episodes; empty before the first has ended."""
        if not self._latest:
            return {}
        returns, successes = zip(*self._latest, strict=True)
        recent = {"train/return": float(np.mean(returns))}
        return recent | {"train/success_rate": float(np.mean(successes))} if self._has_success else recent

    def state_dict(self) -> StateDict:
        """Return counters, returns so far and the latest episodes."""
        episodes = {"returns": self._returns.tolist(), "won": self._won.tolist(), "latest": list(self._latest)}
        return {"counters": asdict(self.counters), **episodes}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a `state_dict`. Raises ValueError for counts below 0 and for returns that are not finite."""
        self.counters = Counters.from_dict(state["counters"])
        check_finite_numbers("returns of episodes", [*state["returns"], *(value for value, _ in state["latest"])])
        self._returns[:], self._won[:] = state["returns"], state.get("won", False)  # which earlier states lack
        self._latest.extend(state["latest"])


class UpdateStats:
    """Means over the rounds since the last call of `take` of each round's mean of tianshou's statistics."""

    def __init__(self) -> None:
        self._rounds: list[Metrics] = []

    def add(self, stats: Sequence[Any], gradient_steps: int) -> None:
        """Add the statistics of one round; raises FloatingPointError for a number that is not finite."""
        if stats:
            self._rounds.append(checked_means(stats, gradient_steps))

    def take(self) -> Metrics:
        """Return the means over rounds and begin anew."""
        names = dict.fromkeys(name for one in self._rounds for name in one)
        means = {name: float(np.mean([one[name] for one in self._rounds if name in one])) for name in names}
        self._rounds = []
        return means

    def state_dict(self) -> StateDict:
        """Return the rounds so far."""
        return {"rounds": self._rounds}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a `state_dict`."""
        self._rounds = list(state["rounds"])


def checked_means(stats: Sequence[Any], gradient_steps: int) -> Metrics:
    """Return the mean of each number over some gradient steps, with a single wait for the device.

    Raises FloatingPointError naming the first that is not finite.
    """
    rows = [one.get_loss_stats_dict() for one in stats]
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = [[torch.as_tensor(row[name]) for row in rows if name in row] for name in names]
    means = torch.stack([torch.stack(column).mean() for column in columns])
    for name, value in zip(names, means.tolist(), strict=True):
        if not np.isfinite(value):
            raise FloatingPointError(
                f"{name} is {value} after {gradient_steps} gradient steps; lower the learning rates or scale the reward"
            )
    return {f"learn/{name}": value for name, value in zip(names, means.tolist(), strict=True)}
