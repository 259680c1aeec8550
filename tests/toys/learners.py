"""Algorithms that learn by gradients, of any sizes and with chunks of zeros, and random transitions for them."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from tianshou.data import Batch, ReplayBuffer

from dsrl.noise.space import NoiseSpace
from toys.options import OPTIONS
from toys.replay import BATCH, ends, plain_buffer

LEARNERS = sorted(name for name in OPTIONS if name != "golden_ticket")
HORIZON, ACTION = 3, 2
NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


class Zeros:
    """Decodes every noise to a chunk of zeros, on the device of the noise."""

    def decode(self, encoding: Any, vectors: torch.Tensor) -> torch.Tensor:
        return vectors.new_zeros(len(vectors), HORIZON, ACTION)

    def decode_replayed(self, features: Any, info: Any, when: str, rows: Any, vectors: torch.Tensor) -> torch.Tensor:
        assert len(features) == len(rows) == len(vectors)
        return self.decode(None, vectors)


def learner(name: str, features: int, dim: int, **changes: Any) -> Any:
    """Build an algorithm for features [features] and noise [dim]; chunks are zeros."""
    builder = getattr(import_module(f"dsrl.sac.{name}"), f"build_{name}")
    live = {"decoder": Zeros(), "chunk_shape": (HORIZON, ACTION), "action_bounds": None}
    accepted = {key: value for key, value in live.items() if key in inspect.signature(builder).parameters}
    box = Box(-np.inf, np.inf, (features,), np.float32)
    return builder(box, NoiseSpace(dim, 1.5), **(OPTIONS[name] | accepted | changes))


def filled(features: int, dim: int) -> ReplayBuffer:
    """Return transitions of random features and noise, with executed chunks."""
    rng, buffer = np.random.default_rng(0), plain_buffer(BATCH)
    for i in range(BATCH):
        obs, obs_next = rng.standard_normal((2, features)).astype(np.float32)
        act = rng.uniform(-1, 1, dim).astype(np.float32)
        info = {"chunk": rng.standard_normal((HORIZON, ACTION)).astype(np.float32)}
        buffer.add(Batch(obs=obs, obs_next=obs_next, act=act, rew=float(i % 3), info=info, **ends(i)))
    return buffer
