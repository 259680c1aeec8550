"""The folder of bundled policies, and a digest of a policy's weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

ASSETS = Path(__file__).resolve().parent.parent / "assets"  # the policies that come with dsrl

Dtype = Literal["checkpoint", "float32", "bfloat16"]  # of a policy's computation


def weights_sha256(module: nn.Module) -> str:
    """Return the SHA-256 of the name, type, shape and bytes of every parameter and buffer."""
    return tensors_sha256((*module.named_parameters(), *module.named_buffers()))


def tensors_sha256(named: Iterable[tuple[str, Tensor]]) -> str:
    """Return the SHA-256 of the name, type, shape and bytes of every tensor."""
    digest = hashlib.sha256()
    for name, tensor in sorted(named):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
