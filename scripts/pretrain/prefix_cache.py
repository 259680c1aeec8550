"""lerobot's flow-matching loss for a frozen VLM: encodes every frame once, then evaluates the action expert alone.

`SmolVLAPolicy.forward` runs the frozen VLM again in each epoch. Its keys and values never change, so they are stored
in half precision and the expert denoises from them, as it does at inference: the same loss for a fifth of the work.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


class PrefixCache:
    """The VLM's keys and values of some frames, and the loss of the expert on them."""

    def __init__(self, policy: Any, batches: Iterable[dict[str, Any]]) -> None:
        """batches: preprocessed batches of one prompt length, in the order of the rows."""
        encoded = [self._encode(policy, batch) for batch in batches]
        self.keys, self.values, self.pads, self.actions, self.outside = (
            torch.cat(parts) for parts in zip(*encoded, strict=True)
        )

    def loss(self, policy: Any, rows: Tensor, noise: Tensor | None = None, time: Tensor | None = None) -> Tensor:
        """Return `policy.forward(batch, noise, time)[0]` for the frames in `rows` [B]."""
        from transformers import DynamicCache

        model, actions = policy.model, self.actions[rows]
        noise = model.sample_noise(actions.shape, actions.device) if noise is None else noise
        time = model.sample_time(len(rows), actions.device) if time is None else time
        cache = DynamicCache()
        for layer in range(self.keys.shape[1]):
            cache.update(self.keys[rows, layer].float(), self.values[rows, layer].float(), layer)
        noisy = time[:, None, None] * noise + (1 - time[:, None, None]) * actions
        flow = model.denoise_step(self.pads[rows], cache, noisy, time)
        error = F.mse_loss(flow, noise - actions, reduction="none")[..., : policy.config.action_feature.shape[0]]
        inside = ~self.outside[rows][..., None]
        return (error * inside).sum() / (inside.sum() * error.shape[-1]).clamp_min(1)

    @staticmethod
    @torch.no_grad()
    def _encode(policy: Any, batch: dict[str, Any]) -> tuple[Tensor, ...]:
        from lerobot.utils.constants import OBS_LANGUAGE_ATTENTION_MASK, OBS_LANGUAGE_TOKENS

        from scripts._stock_prefix import prefill

        images, masks = policy.prepare_images(batch)
        tokens, token_masks = batch[OBS_LANGUAGE_TOKENS], batch[OBS_LANGUAGE_ATTENTION_MASK]
        prefix = prefill(policy.model, images, masks, tokens, token_masks, policy.prepare_state(batch))
        keys, values = (
            torch.stack([getattr(layer, name) for layer in prefix.cache.layers], 1).half()
            for name in ("keys", "values")
        )
        return keys, values, prefix.pad_masks, policy.prepare_action(batch), batch["action_is_pad"]
