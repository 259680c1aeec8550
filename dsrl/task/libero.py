"""LIBERO: a Panda arm, 130 tasks in five suites, two cameras and language; see dsrl.task.lerobot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from annotated_types import Ge

from dsrl.task._options import Steps
from dsrl.task.lerobot import LerobotTask


class LiberoTask(LerobotTask):
    """Simulates `num_envs` worlds of one LIBERO task. Seed s is initial state s modulo their number (50)."""

    other_worlds = "type 'task.env_kwargs={init_states: false}' for placements that LIBERO draws anew by each seed"

    def __init__(
        self,
        suite: Literal["libero_spatial", "libero_object", "libero_goal", "libero_10", "libero_90"],
        id: Annotated[int, Ge(0)],
        num_envs: Annotated[int, Ge(1)],
        reward: Literal["sparse", "dense"],
        max_steps: Steps | None,
        processes: bool,
        env_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        """Make the worlds of task `id` of a suite; the others are those of `LerobotTask`."""
        super().__init__("libero", suite, id, num_envs, reward, max_steps, processes, env_kwargs)
