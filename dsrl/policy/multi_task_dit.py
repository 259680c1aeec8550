"""lerobot's multi-task DiT as a steerable policy: encode the latest observations once, then denoise any noise.

    n states, images, instruction -> saved preprocessor -> CLIP -> condition: the features [B, F]
    noise [B, horizon, A] + condition -> DDIM or flow steps of the transformer -> saved postprocessor -> chunk

Every computation is lerobot's own. Its sampler draws the noise itself; `with_noise` replaces that one draw. A
checkpoint with DDPM is sampled by DDIM, whose only draw is the noise.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lerobot.policies.multi_task_dit import modeling_multi_task_dit as lerobots
from lerobot.policies.multi_task_dit.configuration_multi_task_dit import MultiTaskDiTConfig
from lerobot.utils.constants import OBS_LANGUAGE_ATTENTION_MASK, OBS_LANGUAGE_TOKENS
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPVisionConfig, CLIPVisionModel

from dsrl.interfaces import Encoding
from dsrl.policy import _lerobot
from dsrl.policy._clip import read_clip
from dsrl.policy._find import find_backbone
from dsrl.policy._history_policy import HistoryPolicy, check_span
from dsrl.policy._one_draw import with_noise
from dsrl.policy._tokenizer import check_tokens


class MultiTaskDiT(HistoryPolicy):
    """A frozen multi-task DiT; see `LerobotPolicy`. Features are its condition: states, image and text features."""

    policy_type = "multi_task_dit"

    def _prepare(self, config: MultiTaskDiTConfig, checkpoint: Path, num_steps: int | None) -> None:
        config.noise_scheduler_type = "DDIM"
        if config.objective == "diffusion":
            self._set_ddim_steps(config, checkpoint, num_steps)
        else:
            config.num_integration_steps = num_steps or config.num_integration_steps
        check_span(config, checkpoint)

    def _load(self, config: MultiTaskDiTConfig, checkpoint: Path) -> Any:
        with _clip_without_weights(checkpoint) as sizes:
            policy = _lerobot.load_weights(lambda: lerobots.MultiTaskDiTPolicy(config), checkpoint, self.policy_type)
        self._backbone.append(sizes)
        return policy.to(config.device)

    def _resizes(self) -> bool:
        return self._config.image_resize_shape is not None

    def _processors(self, checkpoint: Path, steps: dict[str, Any]) -> tuple[Any, Any]:
        return self._with_clean_tokenizer(checkpoint, steps)

    def _encode(self, batch: dict[str, Any]) -> Encoding:
        words = {key: batch[key] for key in (OBS_LANGUAGE_TOKENS, OBS_LANGUAGE_ATTENTION_MASK)}
        inputs = self._with_time_axis(batch)
        clip = self._policy.observation_encoder.text_encoder.text_encoder
        check_tokens(words[OBS_LANGUAGE_TOKENS], clip.get_input_embeddings().num_embeddings)
        return Encoding(self._policy.observation_encoder.encode({**inputs, **words}).float(), {})

    def _denoise(self, encoding: Encoding, noise: Tensor) -> Tensor:
        policy, features = self._policy, encoding.features.to(noise.device)

        def sample() -> Tensor:
            actions: Tensor = policy.objective.conditional_sample(policy.noise_predictor, len(noise), features)
            return actions

        return self._from_now(with_noise(noise, sample))


@contextmanager
def _clip_without_weights(checkpoint: Path) -> Iterator[dict[str, Any]]:
    """Let lerobot build CLIP's encoders by their sizes: it would download weights that the checkpoint then replaces.

    Yields the sizes, which are there once both are built.
    """
    sizes: dict[str, Any] = {}

    def built(model: Any, config: Any, part: str) -> Any:
        class Built:
            @staticmethod
            def from_pretrained(name: str) -> Any:
                sizes[part] = read_clip(*find_backbone(name, checkpoint))[part]
                return model(config(**sizes[part]))

        return Built

    before = lerobots.CLIPVisionModel, lerobots.CLIPTextModel
    lerobots.CLIPVisionModel = built(CLIPVisionModel, CLIPVisionConfig, "vision_config")
    lerobots.CLIPTextModel = built(CLIPTextModel, CLIPTextConfig, "text_config")
    try:
        yield sizes
    finally:
        lerobots.CLIPVisionModel, lerobots.CLIPTextModel = before
