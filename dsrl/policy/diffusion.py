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

from lerobot.policies.diffusion.configuration_diffusion import DiffusionConfig
from lerobot.policies.diffusion.modeling_diffusion import DiffusionPolicy
from torch import Tensor

from dsrl.interfaces import Encoding
from dsrl.policy import _lerobot
from dsrl.policy._history_policy import HistoryPolicy, check_span


class Diffusion(HistoryPolicy):
    """A frozen Diffusion Policy; see `LerobotPolicy`. Features are its condition: normalised states and image features.

    The state of a task has the robot's numbers first, then those of `observation.environment_state`, if there are any.
    """

    policy_type = "diffusion"
    reads_instruction = False

    def _prepare(self, config: DiffusionConfig, checkpoint: Path, num_steps: int | None) -> None:
        config.noise_scheduler_type = "DDIM"
        config.pretrained_backbone_weights = None  # the checkpoint has them all
        config.compile_model = config.gradient_checkpointing = False
        self._set_ddim_steps(config, checkpoint, num_steps)
        check_span(config, checkpoint)

    def _load(self, config: DiffusionConfig, checkpoint: Path) -> Any:
        policy = _lerobot.load_weights(lambda: DiffusionPolicy(config), checkpoint, self.policy_type, _uncompiled)
        return policy.to(config.device)

    def _resizes(self) -> bool:
        return self._config.resize_shape is not None

    def _encode(self, batch: dict[str, Any]) -> Encoding:
        inputs = self._with_time_axis(batch)
        return Encoding(self._policy.diffusion._prepare_global_conditioning(inputs).float(), {})

    def _denoise(self, encoding: Encoding, noise: Tensor) -> Tensor:
        features = encoding.features.to(noise.device)
        actions: Tensor = self._policy.diffusion.conditional_sample(len(noise), global_cond=features, noise=noise)
        return self._from_now(actions)


def _uncompiled(stored: Iterable[str]) -> dict[str, str]:
    """Map the U-Net's weights to those that are stored: of a compiled U-Net, torch puts its own word into the names."""
    return {name.replace("unet._orig_mod.", "unet."): name for name in stored}
