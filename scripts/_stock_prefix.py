"""Runs lerobot's own SmolVLA over the prefix of a denoising: what `sample_actions` computes before its first step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from lerobot.policies.common.vla_utils import make_att_2d_masks
from torch import Tensor


@dataclass(frozen=True)
class Prefix:
    """The VLM's outputs for a batch of observations."""

    output: Tensor  # [B, L, H] float32
    pad_masks: Tensor  # [B, L] bool, False for padding
    state_token: int  # index of the state's token
    cache: Any  # DynamicCache of the prefix


def prefill(
    model: Any, images: list[Tensor], image_masks: list[Tensor], tokens: Tensor, token_masks: Tensor, state: Tensor
) -> Prefix:
    """Run the first half of lerobot's `VLAFlowMatching.sample_actions`: embed the prefix and run the VLM over it.

    images: per camera float [B, 3, H, W] in [-1, 1], their masks [B]; tokens and masks [B, L]; state [B, S], padded.
    """
    embeddings, pad_masks, att_masks = model.embed_prefix(images, image_masks, tokens, token_masks, state=state)
    (output, _), cache = model.vlm_with_expert.forward(
        attention_mask=make_att_2d_masks(pad_masks, att_masks),
        position_ids=torch.cumsum(pad_masks, dim=1) - 1,
        past_key_values=None,
        inputs_embeds=[embeddings, None],
        use_cache=True,
    )
    # embed_prefix marks the state, and nothing else, as a token that the earlier ones may not see
    return Prefix(output.float(), pad_masks, int(att_masks[0].int().argmax()), cache)
