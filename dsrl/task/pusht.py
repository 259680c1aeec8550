"""PushT: push a T onto its outline in the plane, seen by its corners or by a camera; see dsrl.task.lerobot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from annotated_types import Ge

from dsrl.task._options import Steps
from dsrl.task.lerobot import LerobotTask

OBSERVATIONS = {"images": "pixels_agent_pos", "state": "environment_state_agent_pos"}  # lerobot's obs_type


class PushTTask(LerobotTask):
    """Simulates `num_envs` worlds of PushT. Success is 95 % of the outline covered, and ends an episode."""

    def __init__(
        self,
        observation: Literal["images", "state"],
        num_envs: Annotated[int, Ge(1)],
        reward: Literal["sparse", "dense"],
        max_steps: Steps | None,
        processes: bool,
        env_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        """observation: the agent's position with an image of 96 x 96 pixels, or with the block's 8 corners.

        The others are those of `LerobotTask`. Raises ValueError for an obs_type in env_kwargs, which `observation` is.
        """
        self.observation = observation
        if "obs_type" in (env_kwargs or {}):
            raise ValueError(
                "task.env_kwargs.obs_type would override task.observation; leave it out and type "
                "task.observation=images or task.observation=state"
            )
        fields = {"obs_type": OBSERVATIONS[observation], **(env_kwargs or {})}
        super().__init__("pusht", "PushT-v0", 0, num_envs, reward, max_steps, processes, fields)
