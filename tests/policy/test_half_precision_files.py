"""Files that were cast to half precision after training are computed in the types that lerobot builds."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from toys.tiny_diffusion import make_tiny_diffusion
from toys.tiny_dit import make_tiny_dit
from toys.tiny_pi import make_tiny_pi, small_sizes
from toys.tiny_smolvla import make_tiny_checkpoint

from dsrl.policy.lerobot import load_policy

MAKERS: dict[str, Callable[[Path], Path]] = {
    "smolvla": lambda folder: make_tiny_checkpoint(folder, cameras=("front",), state_dim=4, action_dim=4, chunk=4),
    "pi0": lambda folder: make_tiny_pi(folder, "pi0"),
    "pi05": lambda folder: make_tiny_pi(folder, "pi05"),
    "diffusion": make_tiny_diffusion,
    "multi_task_dit": make_tiny_dit,
}


def _with_weights_in(checkpoint: Path, folder: Path, *types: torch.dtype) -> str:
    """Copy a checkpoint, and cast all of its numbers to each of the types in turn."""
    shutil.copytree(checkpoint, folder)
    weights = load_file(checkpoint / "model.safetensors")
    for kind in types:
        weights = {name: one.to(kind) if one.is_floating_point() else one for name, one in weights.items()}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return str(folder)


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", MAKERS)
def test_a_file_in_half_precision_gives_the_chunks_of_its_numbers_in_float32(
    kind: str, half: torch.dtype, tmp_path: Path
) -> None:
    with small_sizes():
        whole = MAKERS[kind](tmp_path / "whole")
        rounded = _with_weights_in(whole, tmp_path / "rounded", half, torch.float32)
        cast = _with_weights_in(whole, tmp_path / "cast", half)
        policies = [load_policy(path, "cpu", "checkpoint") for path in (rounded, cast)]
        load_policy(cast, "cpu", "bfloat16")  # can be loaded, too
    chunks = []
    for policy in policies:
        torch.manual_seed(0)
        chunks.append(policy.decode(policy._encode_random(), torch.randn(1, *policy.noise_shape)))
    torch.testing.assert_close(chunks[1], chunks[0], rtol=0, atol=1e-6)
