"""lerobot's EO-1 as a steerable policy: encode an observation once, then denoise any noise from its prefix.

    images, state, instruction -> saved preprocessor -> prompt -> Qwen2.5-VL -+-> features [B, F]
                                                                              +-> context: prefix keys and values
    noise [B, T', D] + context -> Euler steps through Qwen2.5-VL -> saved postprocessor -> chunk [B, T, A]

Every computation is lerobot's own; `sample_actions`, which fuses the two lines and draws its noise between them, is
split there, so that a chunk equals `predict_action_chunk(batch)` with the noise that it draws.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from lerobot.policies.common.flow_matching import euler_integrate
from lerobot.policies.eo1.configuration_eo1 import EO1Config
from lerobot.policies.eo1.modeling_eo1 import EO1Policy
from lerobot.utils.constants import OBS_STATE
from torch import Tensor
from transformers import DynamicCache

from dsrl.interfaces import Encoding
from dsrl.policy import _lerobot
from dsrl.policy._checkpoint_files import bound_attention
from dsrl.policy._find import PREPROCESSOR, find_backbone
from dsrl.policy._qwen import clean_processor, read_qwen
from dsrl.policy._tokenizer import check_tokens
from dsrl.policy._vla import VlaPolicy, prefix_features

QWEN = "eo1_qwen_processor"
MOST_WORDS = 128  # tokens of a prompt without its images: about 30 of lerobot's frame, and an instruction
logging.getLogger("transformers.processing_utils").addFilter(  # lerobot's call of the processor logs it at every encode
    lambda entry: not str(entry.msg).startswith("Kwargs passed to `processor.__call__` have to be")
)


class EO1(VlaPolicy):
    """A frozen EO-1; see `LerobotPolicy`.

    Features are the normalised proprioception [S], the mean of Qwen2.5-VL's prefix outputs [H] and its output at the
    last token before the actions [H]: F = S + 2 H.
    """

    policy_type = "eo1"

    def _prepare(self, config: EO1Config, checkpoint: Path, num_steps: int | None) -> None:
        file = checkpoint / "config.json"
        config.vlm_config = read_qwen(file, config.vlm_config)
        vision, text = config.vlm_config["vision_config"], config.vlm_config["text_config"]
        patch, merge = vision.get("patch_size", 14), vision.get("spatial_merge_size", 2)
        patches = (config.image_max_pixels or 0) // patch**2
        bound_attention(file, "patches of an image", patches, vision.get("num_heads", 16))
        tokens = len(config.image_features) * patches // merge**2 + MOST_WORDS + config.chunk_size
        bound_attention(file, "tokens of a decision", tokens, text.get("num_attention_heads", 64))
        config.num_denoise_steps = num_steps or config.num_denoise_steps
        config.gradient_checkpointing = False
        config.attn_implementation = None if config.attn_implementation is None else "eager"
        config.pretrained_path = Path(checkpoint)  # lerobot would download a backbone that the checkpoint replaces

    def _load(self, config: EO1Config, checkpoint: Path) -> Any:
        def build() -> Any:
            policy = EO1Policy(config)
            policy.model.vlm_backbone.tie_weights()  # which `load_weights` skips with all filling of weights
            return policy

        return _lerobot.load_where_built(config, build, checkpoint, self.policy_type)

    def _processors(self, checkpoint: Path, steps: dict[str, Any]) -> tuple[Any, Any]:
        name = steps[PREPROCESSOR][QWEN]["config"].get("processor_name", "")
        clean = clean_processor(*find_backbone(name, checkpoint, needs="tokenizer_config.json"))
        return self._processors_with(checkpoint, steps, QWEN, "processor_name", clean)

    def _encode(self, batch: dict[str, Any]) -> Encoding:
        policy, model = self._policy, self._policy.model
        ids, masks, kinds = _pad_to_one_length(batch)
        check_tokens(ids, model.vlm_backbone.get_input_embeddings().num_embeddings)
        tokens = {"state_token_id": batch["state_token_id"], "action_token_id": batch["action_token_id"]}
        embeddings = model.embed_prefix(ids, states=policy.prepare_state(batch[OBS_STATE]), **tokens)
        start = int((ids[0] == tokens["action_token_id"]).int().argmax())
        grid = batch["image_grid_thw"]
        places, _ = model.vlm_backbone.model.get_rope_index(
            ids, image_grid_thw=grid, attention_mask=masks, mm_token_type_ids=kinds
        )
        places = places.to(ids.device)
        outputs = model.vlm_backbone.model(
            input_ids=ids[:, :start],
            attention_mask=masks[:, :start],
            position_ids=places[..., :start],
            inputs_embeds=embeddings[:, :start],
            pixel_values=batch["pixel_values"],
            image_grid_thw=grid,
            mm_token_type_ids=kinds[:, :start],
            use_cache=True,
            return_dict=True,
        )
        output = outputs.last_hidden_state.float()
        layers = outputs.past_key_values.layers
        context = {
            "keys": torch.stack([layer.keys for layer in layers], dim=1),
            "values": torch.stack([layer.values for layer in layers], dim=1),
            "masks": masks[:, :start],
            "places": places[..., start : start + self._config.chunk_size].transpose(0, 1),
        }
        return Encoding(prefix_features(batch[OBS_STATE], output, masks[:, :start], -1), context)

    def _denoise(self, encoding: Encoding, noise: Tensor) -> Tensor:
        model, cache, context = self._policy.model, DynamicCache(), encoding.context
        for layer in range(context["keys"].shape[1]):
            cache.update(context["keys"][:, layer], context["values"][:, layer], layer)
        length, places = context["masks"].shape[1], context["places"].transpose(0, 1)
        masks = F.pad(context["masks"], (0, noise.shape[1]), value=1)
        prefix_dtype = model.get_input_embeddings().weight.dtype

        def velocity(noisy: Tensor, time: Tensor) -> Tensor:
            cache.crop(length)
            outputs = model.vlm_backbone.model(
                attention_mask=masks,
                past_key_values=cache,
                inputs_embeds=model.embed_suffix(time, noisy).to(prefix_dtype),
                position_ids=places,
                use_cache=True,
                return_dict=True,
            )
            with model.flow_head_autocast_context():
                flow: Tensor = model.action_out_proj(outputs.last_hidden_state.to(model.action_out_proj.dtype))
            return flow.to(noisy.dtype)

        start = noise.to(model.action_in_proj.weight.dtype)
        actions: Tensor = euler_integrate(velocity, start, self._config.num_denoise_steps)
        return actions[:, :, : self.embodiment.action_dim]


def _pad_to_one_length(batch: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
    """Pad ids, masks and kinds of tokens [B, L] on the left to one L for every instruction, so that batches mix.

    Raises:
        ValueError: if an instruction is longer.
    """
    ids, masks, kinds = batch["input_ids"], batch["attention_mask"], batch["mm_token_type_ids"]
    others = int((ids[0] == batch["action_token_id"]).sum() + (kinds[0] != 0).sum())
    spare = MOST_WORDS + others - ids.shape[1]
    if spare < 0:
        words = MOST_WORDS - spare
        raise ValueError(f"an instruction makes a prompt of {words} tokens but {MOST_WORDS} are the most; shorten it")
    padded = (F.pad(tensor, (spare, 0)) for tensor in (ids, masks, kinds))
    return next(padded), next(padded), next(padded)
