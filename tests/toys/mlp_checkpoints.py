"""Writes and loads checkpoints of small untrained MLP policies."""

from __future__ import annotations

from pathlib import Path

import torch

from dsrl.policy._mlp import MLPPolicy
from dsrl.policy._mlp_checkpoint import MLPConfig, save_checkpoint
from dsrl.policy.diffusion_mlp import DiffusionMLP
from dsrl.policy.flow_mlp import FlowMLP

KINDS = ("flow_mlp", "diffusion_mlp")
CHUNK = 4


def make_config(kind: str) -> MLPConfig:
    return MLPConfig(
        policy=kind,
        chunk=CHUNK,
        hidden=32,
        depth=2,
        num_steps=3,
        train_steps=12 if kind == "diffusion_mlp" else None,
        state_mean=(1.0, -2.0, 0.5),
        state_std=(0.5, 1.0, 2.0),
        action_low=(-2.0, 0.0),
        action_high=(2.0, 5.0),
    )


def make_mlp_checkpoint(folder: Path, kind: str) -> Path:
    config = make_config(kind)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_checkpoint(folder, config, config.build())
    return folder


def load(kind: str, folder: Path, num_steps: int | None) -> MLPPolicy:
    return {"flow_mlp": FlowMLP, "diffusion_mlp": DiffusionMLP}[kind](str(folder), "cpu", num_steps)
