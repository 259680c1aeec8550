"""lerobot's SmolVLA as a steerable policy: encode an observation once, then denoise any noise from its prefix cache.

    images, state, instruction -> saved preprocessor -> embed_prefix -> VLM -+-> features [B, F]
                                                                             +-> context: prefix keys and values
    noise [B, T', D] + context -> Euler steps of the action expert -> saved postprocessor -> chunk [B, T, A]

The first line is lerobot's own computation, the second rearranges it (`_smolvla_expert`): a chunk equals
`predict_action_chunk(batch, noise=noise)` to rounding, 1e-6. Images become float32 in [0, 1] and all tensors move to
the policy's device here; chunks come back on the CPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from lerobot.policies.common.vla_utils import make_att_2d_masks
from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from lerobot.utils.constants import OBS_LANGUAGE_ATTENTION_MASK, OBS_LANGUAGE_TOKENS, OBS_STATE
from torch import Tensor

from dsrl.cuda_graph import Replayed, recorder
from dsrl.interfaces import Encoding
from dsrl.policy import _lerobot, _smolvlm
from dsrl.policy._find import PREPROCESSOR, find_backbone
from dsrl.policy._linear import speed_up_linear_layers
from dsrl.policy._smolvla_expert import Expert
from dsrl.policy._vla import VlaPolicy, prefix_features
from dsrl.policy._weights import Dtype


class SmolVLA(VlaPolicy):
    """A frozen SmolVLA; see `LerobotPolicy`. `path` may also be a bundled policy's name.

    `dtype=bfloat16` casts the weights of the VLM and the expert, which is faster than autocast and moves chunks.

    Features are the normalised proprioception [S], the mean of the VLM's prefix outputs [H] and its output at the
    state token [H], in the way that DSRL (arXiv 2506.15799) steers a VLA: F = S + 2 H.
    """

    policy_type = "smolvla"

    def _prepare(self, config: SmolVLAConfig, checkpoint: Path, num_steps: int | None) -> None:
        if num_steps is not None and num_steps < 1:
            raise ValueError(f"policy.num_steps={num_steps} but denoising takes at least one Euler step")
        config.num_steps = num_steps or config.num_steps
        config.load_vlm_weights = False  # the checkpoint holds them all
        config.use_cache = True  # without a cache lerobot cannot sample; with one the numbers are the same
        config.compile_model = False
        config.rtc_config = None  # real-time chunking needs the last chunk, but policies here have no memory

    def _load(self, config: SmolVLAConfig, checkpoint: Path) -> Any:
        backbone, root = find_backbone(config.vlm_model_name, checkpoint)
        sizes = _smolvlm.read_backbone(backbone, root)
        _smolvlm.check_lengths(sizes, config, checkpoint)
        self._backbone.append(sizes)
        with _smolvlm.clean_backbone(backbone, root) as clean:
            config.vlm_model_name = str(clean)
            policy = _lerobot.load_weights(lambda: SmolVLAPolicy(config), checkpoint, self.policy_type)
        config.vlm_model_name = str(backbone)
        return policy.to(config.device)

    def _set_dtype(self, dtype: Dtype) -> None:
        if dtype == "float32":
            self._policy.float()
        elif dtype == "bfloat16":  # of both towers; states and actions enter in float32
            self._policy.model.vlm_with_expert.bfloat16()
        speed_up_linear_layers(self._policy)
        self._expert = Expert(self._policy.model, self._config.num_steps)
        device_recorder = recorder(self.device)
        self._denoised = Replayed(lambda *given: (self._expert.denoise(*given),), device_recorder)
        self._embedded = Replayed(self._vision, device_recorder)
        self._ran_layers = Replayed(self._layers, device_recorder)
        self._policy.model.vlm_with_expert.embed_image = self._embed_image

    def _processors(self, checkpoint: Path, steps: dict[str, Any]) -> tuple[Any, Any]:
        name = steps[PREPROCESSOR]["tokenizer_processor"]["config"].get("tokenizer_name", self._config.vlm_model_name)
        clean = _smolvlm.clean_backbone(*find_backbone(name, checkpoint))
        pipelines = self._processors_with(checkpoint, steps, "tokenizer_processor", "tokenizer_name", clean)
        tokenizer = _lerobot.processor_step(pipelines[0], "tokenizer_processor")
        self._longest_prompt: int = tokenizer.max_length
        _check_vocabulary(tokenizer.input_tokenizer, self._policy, checkpoint)
        return pipelines

    def _encode(self, batch: dict[str, Any]) -> Encoding:
        """Encode a preprocessed batch.

        The context is the prefix as the action expert's layers see it: `prefix_keys` and `prefix_values` [B, layers,
        heads, L, head_dim], `pad_masks` [B, L] bool, with the same L for every instruction.
        """
        state = batch[OBS_STATE].clone()  # the next line may write into it
        prefix = self._prefix(self._policy._prepare_batch(batch))
        features = prefix_features(state, prefix.output, prefix.pad_masks, prefix.state_token)
        # lerobot pads to the longest prompt of a batch; padding to the longest of all lets rows of two batches mix
        room = prefix.state_token + 1 + self._longest_prompt - batch[OBS_LANGUAGE_TOKENS].shape[1]
        spare = max(0, room - prefix.pad_masks.shape[1])
        context = {
            "prefix_keys": F.pad(prefix.keys, (0, 0, 0, spare)),
            "prefix_values": F.pad(prefix.values, (0, 0, 0, spare)),
            "pad_masks": F.pad(prefix.pad_masks, (0, spare)),
        }
        return Encoding(features, context)

    def _denoise(self, encoding: Encoding, noise: Tensor) -> Tensor:
        context = encoding.context
        (actions,) = self._denoised(context["prefix_keys"], context["prefix_values"], context["pad_masks"], noise)
        actions = actions[:, :, : self.embodiment.action_dim]
        if self._config.adapt_to_pi_aloha:
            actions = self._policy._pi_aloha_encode_actions(actions)
        return actions

    def _prefix(self, batch: dict[str, Any]) -> Prefix:
        """Run the VLM over a preprocessed batch: the first half of lerobot's `VLAFlowMatching.sample_actions`."""
        policy, model = self._policy, self._policy.model
        images, image_masks = policy.prepare_images(batch)
        tokens, token_masks = batch[OBS_LANGUAGE_TOKENS], batch[OBS_LANGUAGE_ATTENTION_MASK]
        state = policy.prepare_state(batch).to(model.state_proj.weight.dtype)  # a saved processor may have cast it
        embeddings, pad_masks, att_masks = model.embed_prefix(images, image_masks, tokens, token_masks, state=state)
        output, keys, values = self._ran_layers(make_att_2d_masks(pad_masks, att_masks), pad_masks, embeddings)
        # embed_prefix marks the state, and nothing else, as a token that the earlier ones may not see
        return Prefix(output, keys, values, pad_masks, int(att_masks[0].int().argmax()))

    def _layers(self, attention: Tensor, pad_masks: Tensor, embeddings: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Run the VLM's layers over embeddings [B, L, H], with masks [B, L, L] and [B, L]; see `Prefix`."""
        (output, _), cache = self._policy.model.vlm_with_expert.forward(
            attention_mask=attention,
            position_ids=torch.cumsum(pad_masks, dim=1) - 1,
            past_key_values=None,
            inputs_embeds=[embeddings, None],
            use_cache=True,
        )
        keys, values = self._expert.project(
            [layer.keys for layer in cache.layers], [layer.values for layer in cache.layers]
        )
        return output.float(), keys, values

    def _embed_image(self, image: Tensor) -> Tensor:
        """Embed images [B, 3, H, W] as lerobot's `embed_image` does: tokens [B, L, H].

        Patches are embedded apart: the shapes within depend on values, so that CUDA cannot record it.
        """
        vision = self._policy.model.vlm_with_expert.get_vlm_model().vision_model
        pixels = image.to(dtype=vision.dtype)
        patches = (len(pixels), *(side // vision.patch_size for side in pixels.shape[2:]))
        everywhere = torch.ones(patches, dtype=torch.bool, device=pixels.device)
        (embedded,) = self._embedded(vision.embeddings(pixel_values=pixels, patch_attention_mask=everywhere))
        return embedded

    def _vision(self, patches: Tensor) -> tuple[Tensor]:
        """Run the vision tower over embedded patches [B, P, V]; returns tokens [B, L, H]."""
        model = self._policy.model.vlm_with_expert.get_vlm_model()
        hidden = model.vision_model.encoder(inputs_embeds=patches, attention_mask=None).last_hidden_state
        return (model.connector(model.vision_model.post_layernorm(hidden)),)


@dataclass(frozen=True)
class Prefix:
    """The VLM's outputs for a batch of observations."""

    output: Tensor  # [B, L, H] float32
    keys: Tensor  # [B, layers of the expert, heads, L, head_dim], projected for it
    values: Tensor
    pad_masks: Tensor  # [B, L] bool, False for padding
    state_token: int  # index of the state's token


def _check_vocabulary(tokenizer: Any, policy: Any, checkpoint: Path) -> None:
    """Compare the tokenizer with the backbone's embeddings; raises ValueError for a token that has none."""
    known = policy.model.vlm_with_expert.get_vlm_model().text_model.get_input_embeddings().num_embeddings
    largest = max(tokenizer.get_vocab().values(), default=0)
    if largest >= known:
        raise ValueError(
            f"{checkpoint} has a tokenizer with the token {largest} but a backbone of {known} tokens; copy the "
            "tokenizer that it was trained with"
        )
