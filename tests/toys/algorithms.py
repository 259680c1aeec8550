"""Builds every algorithm by its name, as dsrl.run.components.build does, from the options in toys.options."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

import torch

from dsrl.edits import action_bounds
from dsrl.noise_action_env import NoiseActionEnv
from dsrl.training.replay_format import ReplayDecoder
from toys.options import OPTIONS


def build_algorithm(name: str, env: NoiseActionEnv, *, seed: int = 0, **changes: Any) -> Any:
    """Build the algorithm `name` for the spaces of `env`, with some of its options changed."""
    build = getattr(import_module(f"dsrl.sac.{name}"), f"build_{name}")
    accepted = inspect.signature(build).parameters
    decoder = ReplayDecoder(env, (OPTIONS[name] | changes).get("replay", "noise"))
    live = {"decoder": decoder, "chunk_shape": env.chunk_shape, "action_bounds": action_bounds(env.task)}
    options = OPTIONS[name] | {key: value for key, value in live.items() if key in accepted} | changes
    torch.manual_seed(seed)
    return build(env.observation_space, env.action_space, **options)
