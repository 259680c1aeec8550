"""lerobot's Diffusion Policy as a steerable policy: encode the latest observations once, then denoise by DDIM.

    n states, images -> saved preprocessor -> ResNet, spatial softmax -> condition: the features [B, F]
    noise [B, horizon, A] + condition -> DDIM steps of the U-Net -> actions from now on -> saved postprocessor -> chunk

Every computation is lerobot's own: a chunk equals `predict_action_chunk(batch, noise=noise)` of a checkpoint with
`noise_scheduler_type="DDIM"`. A checkpoint with DDPM is sampled by DDIM as well (Song et al., arXiv 2010.02502): its
network is the same, and DDPM's further draws would hide the noise that is steered.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from lerobot.policies.diffusion.configuration_diffusion import DiffusionConfig
from lerobot.policies.diffusion.modeling_diffusion import DiffusionPolicy
from lerobot.utils.constants import OBS_ENV_STATE, OBS_IMAGES, OBS_STATE
from torch import Tensor

from dsrl.interfaces import Encoding
from dsrl.policy import _lerobot
from dsrl.policy._ddim import check_ddim_steps, far_from_noise
from dsrl.policy._lerobot_policy import LerobotPolicy


class Diffusion(LerobotPolicy):
    """A frozen Diffusion Policy; see `LerobotPolicy`. Features are its condition: normalised states and image features.

    The state of a task has the robot's numbers first, then those of `observation.environment_state`, if there are any.
    """

    policy_type = "diffusion"
    history = True
    reads_instruction = False

    def _prepare(self, config: DiffusionConfig, checkpoint: Path, num_steps: int | None) -> None:
        config.noise_scheduler_type = "DDIM"
        config.pretrained_backbone_weights = None  # the checkpoint has them all
        config.compile_model = config.gradient_checkpointing = False
        self.remarks = set_ddim_steps(config, checkpoint, num_steps)
        check_span(config, checkpoint)

    def _load(self, config: DiffusionConfig, checkpoint: Path) -> Any:
        policy = _lerobot.load_weights(lambda: DiffusionPolicy(config), checkpoint, self.policy_type, _uncompiled)
        return policy.to(config.device)

    def _resizes(self) -> bool:
        return self._config.resize_shape is not None

    def _shapes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        action_dim = self.embodiment.action_dim
        return (self._config.horizon, action_dim), (self._config.n_action_steps, action_dim)

    def _encode(self, batch: dict[str, Any]) -> Encoding:
        inputs = with_time_axis(self._config, batch)
        return Encoding(self._policy.diffusion._prepare_global_conditioning(inputs).float(), {})

    def _denoise(self, encoding: Encoding, noise: Tensor) -> Tensor:
        features = encoding.features.to(noise.device)
        actions: Tensor = self._policy.diffusion.conditional_sample(len(noise), global_cond=features, noise=noise)
        return actions[:, self.first_slot : self.first_slot + self._config.n_action_steps]


def _uncompiled(stored: Iterable[str]) -> dict[str, str]:
    """Map the U-Net's weights to those that are stored: of a compiled U-Net, torch puts its own word into the names."""
    return {name.replace("unet._orig_mod.", "unet."): name for name in stored}


def with_time_axis(config: Any, batch: dict[str, Any]) -> dict[str, Tensor]:
    """Return the batch with one axis of time after that of the batch, and all cameras as one tensor."""
    keys = [OBS_STATE, *([OBS_ENV_STATE] if config.env_state_feature else []), *config.image_features]
    timed = {key: batch[key] if config.n_obs_steps > 1 else batch[key][:, None] for key in keys}
    if config.image_features:
        timed[OBS_IMAGES] = torch.stack([timed[key] for key in config.image_features], dim=-4)
    return timed


def set_ddim_steps(config: Any, checkpoint: Path, num_steps: int | None) -> tuple[str, ...]:
    """Set the DDIM steps of a denoising; returns what there is to announce about the checkpoint's own number.

    Raises ValueError for a typed number that is larger than that of the levels, or starts far below pure noise.
    """
    levels = config.num_train_timesteps
    if num_steps is not None:
        check_ddim_steps(num_steps, levels, str(checkpoint))
        config.num_inference_steps = num_steps
        return ()
    own = config.num_inference_steps or levels
    problem = far_from_noise(own, levels) if own <= levels else ""
    return (f"the sampler of {checkpoint}, with its own {own} steps, {problem}",) if problem else ()


def check_span(config: Any, checkpoint: Path) -> None:
    """Check that the network's horizon reaches to the last action that is executed. Raises ValueError."""
    most = config.horizon - config.n_obs_steps + 1
    if config.n_action_steps > most:
        raise ValueError(
            f"{checkpoint / 'config.json'} has n_action_steps={config.n_action_steps} but a horizon of "
            f"{config.horizon} has {most} actions after {config.n_obs_steps} observations; write n_action_steps={most}"
        )
