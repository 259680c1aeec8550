"""Makes the collector of tianshou's that plays in worlds, also where the system's clock is set back in the midst."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tianshou.data import Collector, CollectStats

from dsrl.noise_action_env import NoiseActionEnv
from dsrl.training.replay_buffer import Replay

_SHORTEST = 1e-9  # s: tianshou divides by the duration


def make_collector(
    policy: Any, env: NoiseActionEnv, buffer: Replay, on_step: Callable[[Any, Any], None] | None = None
) -> Collector:
    """Return the collector; `on_step(actions, rollout)` is called with each step before it enters the buffer."""
    return Collector(policy, env, buffer, on_step_hook=on_step, collect_stats_class=_Statistics)


class _Statistics(CollectStats):  # type: ignore[misc]  # tianshou is not followed
    """The counts and the duration of one collection."""

    def set_collect_time(self, collect_time: float, update_collect_speed: bool = True) -> None:
        """Set the duration in seconds: a difference of time.time(), which tianshou refuses below zero."""
        super().set_collect_time(max(collect_time, _SHORTEST), update_collect_speed)
