"""What the vision-language-action models share: the shapes of their noise and chunks, and features of their prefix."""

from __future__ import annotations

import torch
from torch import Tensor

from dsrl.policy._lerobot_policy import LerobotPolicy


class VlaPolicy(LerobotPolicy):
    """A policy whose sampler denoises padded actions, one for each slot of a chunk; see `LerobotPolicy`."""

    def _shapes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        length = self._config.chunk_size
        return (length, self._config.max_action_dim), (length, self.embodiment.action_dim)


def prefix_features(state: Tensor, output: Tensor, kept: Tensor, token: int | Tensor) -> Tensor:
    """Return the normalised proprioception [S], the mean of the prefix outputs [H] and the one at `token` [H].

    This is how DSRL (arXiv 2506.15799) steers a VLA: features [B, S + 2 H] float32.

    Args:
        state: as the checkpoint's pre-processor returns it, [B, S].
        output: of the VLM's last layer, [B, L, H] float32.
        kept: bool or 0 and 1 [B, L], false for padding, which the mean leaves out.
        token: an index of L, the same for all rows or one for each [B].
    """
    mask = kept[..., None]
    pooled = (output * mask).sum(dim=1) / mask.sum(dim=1)
    rows = torch.arange(len(output), device=output.device)
    return torch.cat([state.float(), pooled, output[rows, token]], dim=1)
