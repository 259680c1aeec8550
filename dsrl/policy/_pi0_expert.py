"""The action expert of π0 and π0.5, arranged for denoising one observation many times and for CUDA graphs.

    prefix keys, values [B, layers, heads, L, head_dim] + noise [B, T, D] --> num_steps x expert --> actions [B, T, D]

The layers are lerobot's own modules. Its `denoise_step` builds masks, positions and the embedding of time anew in
every Euler step, partly from lists in Python, which CUDA cannot record. None of these depends on the noise: they are
computed once here.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from lerobot.policies.common.vla_utils import (
    create_sinusoidal_pos_embedding,
    make_att_2d_masks,
    prepare_attention_masks_4d,
)
from torch import Tensor
from transformers import DynamicCache


class Tokens(NamedTuple):
    """What the expert's layers read of one Euler step."""

    embedded: Tensor  # [B, N, H]: of the state, where the expert reads it, and of the T noisy actions
    condition: Tensor | None  # [B, H] of the adaptive norms; None: the norms have none


class Pi0Expert:
    """The denoiser of a loaded π0, whose weights have their final type and device."""

    state_tokens = 1

    def __init__(self, model: Any, num_steps: int) -> None:
        """`model` is lerobot's PI0Pytorch; `num_steps` the Euler steps of a denoising."""
        self._model, self._num_steps = model, num_steps
        model.paligemma_with_expert.gemma_expert.model.config._attn_implementation = "eager"  # as in `denoise_step`
        projection, config = model.action_in_proj, model.config
        device = projection.weight.device
        times = torch.tensor([1.0 - step / num_steps for step in range(num_steps)], dtype=torch.float32, device=device)
        self._waves = create_sinusoidal_pos_embedding(  # [num_steps, H]
            times, projection.out_features, config.min_period, config.max_period, device
        ).float()
        later = [0] * (config.chunk_size - 1)  # an action sees all actions; a state, which comes first, sees none
        starts = torch.tensor([[1] * self.state_tokens + [1, *later]], device=device)
        self._seen = make_att_2d_masks(torch.ones_like(starts, dtype=torch.bool), starts)  # [1, N, N]

    @torch.no_grad()
    def denoise(self, keys: Tensor, values: Tensor, pad_masks: Tensor, noise: Tensor, *state: Tensor) -> Tensor:
        """Denoise [B, T, D] float32 noise by the prefix, its masks [B, L] and π0's state [B, S]: actions [B, T, D]."""
        length, batch = self._seen.shape[1], len(noise)
        of_prefix = pad_masks[:, None].expand(-1, length, -1)
        masks = prepare_attention_masks_4d(torch.cat([of_prefix, self._seen.expand(batch, -1, -1)], dim=2))
        positions = pad_masks.sum(dim=1)[:, None] + torch.arange(length, device=pad_masks.device)
        towers, actions = self._model.paligemma_with_expert, noise
        for waves in self._waves:
            tokens = self._tokens(actions, waves.expand(batch, -1), *state)
            (_, output), _ = towers.forward(
                attention_mask=masks,
                position_ids=positions,
                past_key_values=_cache(keys, values),
                inputs_embeds=[None, tokens.embedded],
                use_cache=False,
                adarms_cond=[None, tokens.condition],
            )
            flow = self._model.action_out_proj(output[:, self.state_tokens :].float())
            actions = actions - flow.float() / self._num_steps
        return actions

    def _tokens(self, actions: Tensor, waves: Tensor, *state: Tensor) -> Tokens:
        """Embed noisy actions [B, T, D], their time as waves [B, H] and the state [B, S], as `embed_suffix` does."""
        model = self._model
        of_state = model.state_proj(state[0].to(model.state_proj.weight.dtype))[:, None]
        of_actions = model.action_in_proj(actions)
        timed = torch.cat([of_actions, waves[:, None].expand_as(of_actions)], dim=2)
        embedded = model.action_time_mlp_out(F.silu(model.action_time_mlp_in(timed)))
        return Tokens(torch.cat([of_state, embedded], dim=1), None)


class Pi05Expert(Pi0Expert):
    """The denoiser of a loaded π0.5: it reads the time in its norms, and no state."""

    state_tokens = 0

    def _tokens(self, actions: Tensor, waves: Tensor, *state: Tensor) -> Tokens:
        model = self._model
        return Tokens(model.action_in_proj(actions), F.silu(model.time_mlp_out(F.silu(model.time_mlp_in(waves)))))


def _cache(keys: Tensor, values: Tensor) -> DynamicCache:
    """Return a cache of the prefix, [B, layers, heads, L, head_dim] each; the layers append to it."""
    cache = DynamicCache()
    for layer in range(keys.shape[1]):
        cache.update(keys[:, layer], values[:, layer], layer)
    return cache
