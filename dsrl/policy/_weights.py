"""The folder of bundled policies, the device of a policy, and a digest of its weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

ASSETS = Path(__file__).resolve().parent.parent / "assets"  # the policies that come with dsrl

Device = Literal["auto", "cpu", "cuda", "cuda:<n>"]  # as a config names it; <n> is a number
Dtype = Literal["checkpoint", "float32", "bfloat16"]  # of a policy's computation


def choose_device(device: str, named: str = "policy.device=") -> torch.device:
    """Return the device that a config names; `auto` is CUDA where there is one. Errors begin with `named`.

    Raises:
        ValueError: if there is no such device, or not on this machine.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise ValueError(f"{named}{device} is no device; type auto, cpu or cuda") from None
    present = torch.cuda.device_count()
    if chosen.type == "cuda" and (chosen.index or 0) >= present:
        found = f"torch {torch.__version__} sees {present or 'no'} CUDA device{'s' if present > 1 else ''}"
        raise ValueError(f"{named}{device} but {found}; type auto or cpu")
    return chosen


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
