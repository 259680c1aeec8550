"""DSRL-NA on a policy whose chunk is affine in noise, features and context, with a replay buffer to learn from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from tianshou.data import Batch, ReplayBuffer

from dsrl.interfaces import Encoding
from dsrl.noise.space import NoiseSpace
from dsrl.sac.dsrl_na import DSRLNA, build_dsrl_na
from toys.options import BY_HAND, BY_HAND_TEMPERATURE, NA, Options
from toys.replay import BATCH, DIM, FEATURES, ends, plain_buffer

HORIZON, ACTION, GAMMA, TAU = 2, 2, NA["gamma"], BY_HAND["tau"]
BY_NOISE = torch.tensor([[1.0, 0.5, -1.0, 0.0], [0.25, -2.0, 0.5, 1.0]])
BY_FEATURES = torch.tensor([[0.5, 0.0, 0.0, 1.0], [0.0, -0.5, 0.25, 0.0], [1.0, 0.0, -1.0, 0.5]])


class Affine:
    """chunk = w · BY_NOISE + s · BY_FEATURES + shift; `vectors` lists the noise of all calls."""

    def __init__(self) -> None:
        self.vectors: list[torch.Tensor] = []

    def decode(self, encoding, vectors):
        self.vectors.append(vectors.clone())
        flat = vectors @ BY_NOISE + encoding.features @ BY_FEATURES + encoding.context["shift"]
        return flat.reshape(-1, HORIZON, ACTION)

    def decode_replayed(self, features, info, when, rows, vectors):
        shift = torch.as_tensor(info[when].stored_shift[rows])
        return self.decode(Encoding(features, {"shift": shift}), vectors)


def build_na(magnitude: float = 1.5, **changes) -> DSRLNA:
    return build_affine(build_dsrl_na, NA, magnitude, **changes)


def build_affine(build: Callable[..., Any], own: Options, magnitude: float = 1.5, **changes) -> Any:
    """Build an algorithm on chunks with its own options for tests, changed to what is computed by hand."""
    live = {"decoder": Affine(), "chunk_shape": (HORIZON, ACTION)}
    options = own | BY_HAND | BY_HAND_TEMPERATURE | {"noise_critic_grad_steps": 4} | live
    torch.manual_seed(0)
    box = Box(-np.inf, np.inf, (FEATURES,), np.float32)
    algorithm = build(box, NoiseSpace(DIM, magnitude), **(options | changes))
    with torch.no_grad():
        algorithm.policy.actor.head.weight.normal_(std=0.3)  # away from the prior, the same in every state
    algorithm.policy.scaler.fit(torch.randn(50, FEATURES) * 3 + 1)
    algorithm.chunk_scaler.fit(torch.randn(50, HORIZON * ACTION) * 2 - 1)
    return algorithm


def na_buffer(size: int = BATCH) -> ReplayBuffer:
    rng = np.random.default_rng(0)
    buffer = plain_buffer(size)
    for i in range(size):
        obs, obs_next = rng.standard_normal((2, FEATURES)).astype(np.float32)
        shift, next_shift = rng.standard_normal((2, HORIZON * ACTION)).astype(np.float32)
        info = {
            "chunk": rng.standard_normal((HORIZON, ACTION)).astype(np.float32),
            "before": {"stored_shift": shift},
            "after": {"stored_shift": next_shift},
        }
        act = np.full(DIM, np.nan, np.float32)  # DSRL-NA learns from chunks alone
        buffer.add(Batch(obs=obs, obs_next=obs_next, act=act, rew=float(i), info=info, **ends(i)))
    return buffer
