"""What the diffusion policies share: several observations, DDIM, and a network that denoises actions since the first.

noise and actions of the network [B, horizon, A]:  | n - 1 of the past | n_action_steps: the chunk | rest |
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lerobot.utils.constants import OBS_ENV_STATE, OBS_IMAGES, OBS_STATE
from torch import Tensor

from dsrl.policy._ddim import check_ddim_steps, far_from_noise
from dsrl.policy._lerobot_policy import LerobotPolicy


class HistoryPolicy(LerobotPolicy):
    """A policy that encodes its last `n_obs_steps` observations and denoises actions since the first of them."""

    history = True

    def _shapes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        action_dim = self.embodiment.action_dim
        return (self._config.horizon, action_dim), (self._config.n_action_steps, action_dim)

    def _with_time_axis(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Return the batch with one axis of time after that of the batch, and all cameras as one tensor."""
        config = self._config
        keys = [OBS_STATE, *([OBS_ENV_STATE] if config.env_state_feature else []), *config.image_features]
        timed = {key: batch[key] if config.n_obs_steps > 1 else batch[key][:, None] for key in keys}
        if config.image_features:
            timed[OBS_IMAGES] = torch.stack([timed[key] for key in config.image_features], dim=-4)
        return timed

    def _from_now(self, actions: Tensor) -> Tensor:
        """Return the chunk among the network's actions [B, horizon, A]."""
        return actions[:, self.first_slot : self.first_slot + self._config.n_action_steps]

    def _set_ddim_steps(self, config: Any, checkpoint: Path, num_steps: int | None) -> None:
        """Set the DDIM steps of a denoising, and what there is to announce about the checkpoint's own number.

        Raises ValueError for a typed number that is larger than that of the levels, or starts far below pure noise.
        """
        levels = config.num_train_timesteps
        if num_steps is not None:
            check_ddim_steps(num_steps, levels, str(checkpoint))
            config.num_inference_steps = num_steps
            return
        own = config.num_inference_steps or levels
        problem = far_from_noise(own, levels) if own <= levels else ""
        if problem:
            self.remarks = (f"the sampler of {checkpoint}, with its own {own} steps, {problem}",)


def check_span(config: Any, checkpoint: Path) -> None:
    """Check that the network's horizon reaches to the last action that is executed. Raises ValueError."""
    most = config.horizon - config.n_obs_steps + 1
    if config.n_action_steps > most:
        raise ValueError(
            f"{checkpoint / 'config.json'} has n_action_steps={config.n_action_steps} but a horizon of "
            f"{config.horizon} has {most} actions after {config.n_obs_steps} observations; write n_action_steps={most}"
        )
