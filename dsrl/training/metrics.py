"""What training has been through: counts, and the returns and successes of the latest episodes."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from dsrl.run.files import Tree
from dsrl.training.replay_format import Recorder

EPISODE_WINDOW = 64  # latest episodes behind train/success_rate and train/return

Metrics = dict[str, float]


@dataclass(frozen=True)
class Counters:
    """Four clocks that must not be mixed; warm-up counts."""

    env_steps: int = 0  # control steps, summed over worlds, parked ones left out
    decisions: int = 0  # chunks begun, summed over worlds
    gradient_steps: int = 0  # updates of critics, with the actor or without; warm-up and distillation included
    episodes: int = 0  # episodes ended


class Diary:
    """Counts, returns and successes, written down as each decision comes in."""

    def __init__(self, num_envs: int, has_success: bool, recorder: Recorder | None) -> None:
        self.counters = Counters()
        self._recorder = recorder
        self._has_success = has_success
        self._returns = np.zeros(num_envs)
        self._latest: deque[tuple[float, bool]] = deque(maxlen=EPISODE_WINDOW)

    def write(self, _: Any, rollout: Any) -> None:
        """tianshou's step hook: one decision in every world, before it goes into the buffer."""
        if self._recorder is not None:
            self._recorder.write(rollout)
        self._returns += rollout.rew
        for world in np.flatnonzero(rollout.done):
            self._latest.append((float(self._returns[world]), bool(rollout.info.success[world])))
            self._returns[world] = 0.0
        self.counters = replace(
            self.counters,
            env_steps=self.counters.env_steps + int(rollout.info.env_steps.sum()),
            decisions=self.counters.decisions + len(rollout.rew),
            episodes=self.counters.episodes + int(rollout.done.sum()),
        )

    def state(self) -> Tree:
        """All that it holds."""
        return {"counters": asdict(self.counters), "returns": self._returns.tolist(), "latest": list(self._latest)}

    def restore(self, state: Tree) -> None:
        """Take over what another one held."""
        self.counters = Counters(**state["counters"])
        self._returns[:] = state["returns"]
        self._latest.extend(state["latest"])

    def forget_unfinished(self) -> None:
        """All worlds were reset from outside."""
        self._returns[:] = 0.0

    def recent(self) -> Metrics:
        """Mean return and success rate of the latest episodes; empty before the first has ended."""
        if not self._latest:
            return {}
        returns, successes = zip(*self._latest, strict=True)
        recent = {"train/return": float(np.mean(returns))}
        return recent | {"train/success_rate": float(np.mean(successes))} if self._has_success else recent
