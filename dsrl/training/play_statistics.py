"""Statistics of a collection of tianshou's, whose duration is positive also where the system's clock was set back."""

from __future__ import annotations

from tianshou.data import CollectStats

_SHORTEST = 1e-9  # s: tianshou divides by the duration


class PlayStatistics(CollectStats):  # type: ignore[misc]  # tianshou is not followed
    """What tianshou counts in one collection."""

    def set_collect_time(self, collect_time: float, update_collect_speed: bool = True) -> None:
        """Set the duration in seconds: a difference of time.time(), which tianshou refuses below zero."""
        super().set_collect_time(max(collect_time, _SHORTEST), update_collect_speed)
