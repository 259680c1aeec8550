"""The vocabulary of dsrl on one page: the values that pass between task, policy and learner, and their contracts.

    Task.observe() -> Observation -> Policy.encode -> Encoding -> Algorithm.act -> Noise.expand -> noise [B, T', D]
                                                         |                                            |
                                                         +-------------> Policy.decode <--------------+
                                                                              |
                                                              chunk [B, T, A] -> T x Task.step -> Step

Everything here is a torch value with the batch of worlds first; row i is world i for the whole run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

StateDict = dict[str, Any]
"""The state of one object: nested dicts, lists and tuples of tensors and plain values."""

# ---- values


@dataclass(frozen=True)
class Observation:
    """The current observation of a batch of worlds."""

    state: Tensor  # [B, S] float32, proprioception in the task's own units; of a history [B, n, S]
    images: Mapping[str, Tensor]  # camera name -> uint8 [B, 3, H, W], or [B, n, 3, H, W]; empty for state-only tasks
    instruction: tuple[str, ...]  # B sentences; "" where the task has no language

    def __getitem__(self, rows: Tensor) -> Observation:
        """Select rows (int64 [n]), in that order."""
        images = {name: image[rows] for name, image in self.images.items()}
        return Observation(self.state[rows], images, tuple(self.instruction[int(i)] for i in rows))

    def with_rows(self, fresh: Observation, rows: Tensor) -> Observation:
        """Replace rows (int64 [n]) by those of `fresh` [n]."""
        images = {name: _with_rows(image, fresh.images[name], rows, name) for name, image in self.images.items()}
        instruction = list(self.instruction)
        for row, sentence in zip(rows.tolist(), fresh.instruction, strict=True):
            instruction[row] = sentence
        return Observation(_with_rows(self.state, fresh.state, rows, "state"), images, tuple(instruction))


@dataclass(frozen=True)
class Encoding:
    """A policy's encoding of observations: features for the learner, a private context for `decode`."""

    features: Tensor  # [B, F] float32
    context: Mapping[str, Tensor]  # every tensor batch first (prefix keys and values, masks, ...)

    def __getitem__(self, rows: Tensor) -> Encoding:
        """Select rows (int64 [n]), in that order."""
        return Encoding(self.features[rows], {key: value[rows] for key, value in self.context.items()})

    def with_rows(self, fresh: Encoding, rows: Tensor) -> Encoding:
        """Replace rows (int64 [n]) by those of `fresh` [n]; raises ValueError where the shapes of rows differ."""
        context = {key: _with_rows(old, fresh.context[key], rows, key) for key, old in self.context.items()}
        return Encoding(_with_rows(self.features, fresh.features, rows, "features"), context)


@dataclass(frozen=True)
class Step:
    """The result of one control step in every world."""

    reward: Tensor  # [B] float32
    terminated: Tensor  # [B] bool, ended for good: no state follows
    truncated: Tensor  # [B] bool, ended by the clock: the value of the next state still counts
    success: Tensor | None  # [B] bool, once in an episode is enough; None for tasks without a success criterion


def _with_rows(old: Tensor, fresh: Tensor, rows: Tensor, name: str) -> Tensor:
    if old.shape[1:] != fresh.shape[1:]:
        raise ValueError(
            f"{name!r} has rows of shape {tuple(fresh.shape[1:])} now but {tuple(old.shape[1:])} before; every world "
            "must be observed and encoded to the same shape (pad to a fixed length)"
        )
    return old.index_copy(0, rows.to(old.device), fresh)


# ---- task


class Task(Protocol):
    """A batch of worlds that advance together. Cheap to construct: simulation starts at the first `reset`."""

    num_envs: int  # B
    state_dim: int  # S
    action_dim: int  # A
    cameras: Mapping[str, tuple[int, int, int]]  # camera name -> (3, H, W)
    max_steps: int  # control steps before an episode is truncated
    has_success: bool  # whether Step.success is given

    def reset(self, rows: Tensor, seeds: Sequence[int] | None = None) -> None:
        """Start new episodes in `rows` (int64 [n]) and leave the other worlds untouched.

        Row rows[i] becomes exactly the world of seeds[i], whatever its history; without seeds it goes on in its stream.
        """

    def observe(self) -> Observation:
        """Render and read all worlds. Called once per decision, and after those earlier steps that a history needs."""

    def step(self, action: Tensor) -> Step:
        """Advance all worlds by one control step of action [B, A]. Never renders."""

    def hold(self) -> Tensor:
        """Return the action [B, A] that ended worlds are parked by; not every task's stops a running world."""


@runtime_checkable
class Restorable(Protocol):
    """A task whose worlds can be saved and restored in mid-episode (optional)."""

    def state_dict(self) -> StateDict | None:
        """Return the state of all worlds, tensors and plain values only; None where it is not exposed."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore all worlds exactly, bit by bit, in this process or another; they have been reset before."""


@runtime_checkable
class ObservesRows(Protocol):
    """A task that can draw and read some of its worlds without the others (optional)."""

    def observe_rows(self, rows: Tensor) -> Observation:
        """Render and read `rows` (int64 [n]) alone, bit by bit as `observe()[rows]`."""


@runtime_checkable
class Filmable(Protocol):
    """A task with a picture of its worlds for people, apart from the policy's cameras (optional)."""

    def picture(self, num_worlds: int) -> Tensor:
        """Draw the first worlds: uint8 [num_worlds, 3, H, W]."""


@runtime_checkable
class BoundedActions(Protocol):
    """A task with a box of actions (optional)."""

    action_low: Tensor  # [A]
    action_high: Tensor  # [A]


# ---- policy


class Policy(Protocol):
    """A frozen generative policy whose only free input is its initial noise."""

    feature_dim: int  # F
    noise_shape: tuple[int, int]  # (T', D): the shape of the sampler's noise
    chunk_shape: tuple[int, int]  # (T, A): the shape of its chunks

    def encode(self, observation: Observation) -> Encoding:
        """Encode once per decision: the only pass over images and language."""

    def decode(self, encoding: Encoding, noise: Tensor) -> Tensor:
        """Denoise [B, T', D] noise into a [B, T, A] chunk. Deterministic, row-wise, does not change its inputs."""


@runtime_checkable
class HasWeights(Protocol):
    """A policy with weights, so that there is a base policy to steer (optional)."""

    def policy_sha256(self) -> str:
        """Return the digest of the weights, to check that they stay frozen."""


@runtime_checkable
class ChecksTask(Protocol):
    """A policy that was trained for one robot and compares it with the task's (optional)."""

    def check_fits(self, task: Task) -> None:
        """Raise ValueError where cameras, state or actions of `task` differ from those of the policy."""


@runtime_checkable
class HasDevice(Protocol):
    """A policy that computes on a device of its own, where its encodings are (optional)."""

    device: torch.device


@runtime_checkable
class HasHistory(Protocol):
    """A policy that encodes several observations of consecutive control steps (optional)."""

    num_observations: int  # n: `encode` gets states [B, n, S] and images [B, n, 3, H, W], oldest first, if n > 1


# ---- noise


class Noise(Protocol):
    """A parametrisation of the sampler's initial noise by the actor's vector."""

    dim: int
    magnitude: float  # bound of the actor's numbers, in standard deviations of the prior

    def expand(self, vectors: Tensor) -> Tensor:
        """Return the sampler's noise [B, T', D] of actor vectors [B, dim]; a new tensor."""

    def sample_prior(self, num: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw N(0, I) vectors [num, dim], unclipped."""


@runtime_checkable
class DrawsUnsteered(Protocol):
    """A parametrisation whose `expand` can draw noise besides the actor's, from torch's global stream (optional)."""

    draws: bool  # whether it draws any

    def expand_drawn(self, vectors: Tensor, generator: torch.Generator) -> Tensor:
        """Return the noise of `expand` with its draws from `generator`, for evaluations."""


# ---- algorithm

Replay = Literal["noise", "chunks", "context", "exact_context", "observation"]
"""Data that replay stores besides a state's features: the actor's noise alone, chunks alone, or chunks and states: the
policy's context in half precision or as it is, or the observation, which is small and encoded again for every batch."""


class Algorithm(Protocol):
    """An agent that chooses noise for a frozen policy."""

    replay: Replay
    bounded: bool  # whether its noise stays within ±magnitude; the noise of warm-up then does as well
    stochastic: bool  # whether evaluations draw from it rather than take its mean

    def act(self, features: Tensor, normal: Tensor | None = None) -> Tensor:
        """Choose noise vectors [n, dim] for features [n, F]; a draw where normal numbers [n, dim] are given."""

    def state_dict(self) -> StateDict:
        """Return networks, targets, optimisers and temperature."""

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any:
        """Restore a `state_dict`."""


class Learner(Algorithm, Protocol):
    """An algorithm that learns by gradients from tianshou's replay buffer."""

    policy: Any  # tianshou's, for its collector

    def warm_up(self, buffer: Any, batch_size: int) -> Sequence[Any]:
        """Learn from the base policy's play before the actor acts; returns tianshou's statistics of each step."""

    def learn(self, buffer: Any, batch_size: int, updates: int) -> Sequence[Any]:
        """Learn after a round of play: `updates` gradient steps of `batch_size` transitions; returns statistics."""


@runtime_checkable
class ReplaysDraws(Protocol):
    """An algorithm that learns from chunks which replay stores of the base policy's noise (optional)."""

    base_draws: int  # chunks of each state, decoded once, when it is stored; 0: none


@runtime_checkable
class Searcher(Protocol):
    """An algorithm that chooses among fixed noise vectors by play alone."""

    candidates: Tensor  # [K, dim]

    def choose(self, index: int) -> None:
        """Play candidate `index` from now on."""


@runtime_checkable
class ChunkCritic(Protocol):
    """An algorithm that values chunks, whichever noise they come from (optional)."""

    def chunk_values(self, encoding: Encoding, vectors: Tensor) -> Tensor:
        """Return the values [E, B] of the chunks that noise vectors [B, dim] decode to, by E critics."""


@runtime_checkable
class NoiseCritic(Protocol):
    """An algorithm that values noise (optional)."""

    def noise_values(self, features: Tensor, vectors: Tensor) -> Tensor:
        """Return the values [E, B] of noise vectors [B, dim] by E critics."""


class Decoder(Protocol):
    """The frozen policy with its noise parametrisation, at live and at replayed states."""

    def decode(self, encoding: Encoding, vectors: Tensor) -> Tensor:
        """Decode noise vectors [B, dim], of any length, into executed chunks [B, horizon, A]."""

    def decode_replayed(
        self, features: Tensor, info: Any, when: Literal["before", "after"], rows: Any, vectors: Tensor
    ) -> Tensor:
        """Decode noise [B, dim] at the states before or after `rows` of tianshou's `info` into chunks [B, h, A]."""
