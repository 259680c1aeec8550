"""The whole vocabulary of dsrl on one page: what flows between a task, a frozen policy and the learner.

    Task.observe() -> Observation -> policy.encode -> Encoding -> actor -> noise [B, T', D]
                                                        |                    |
                                                        +-> policy.decode <--+ -> chunk [B, T, A] -> T x Task.step

Everything here is a torch value with the batch of worlds first. A row is a world, for ever.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor


@dataclass(frozen=True)
class Observation:
    """What a batch of worlds looks like now."""

    state: Tensor  # [B, S] float32, proprioception in the task's own units
    images: Mapping[str, Tensor]  # camera name -> uint8 [B, 3, H, W]; empty for state-only tasks
    instruction: tuple[str, ...]  # B sentences; "" where the task has no language

    def __getitem__(self, rows: Tensor) -> Observation:
        """The observation of some rows (int64 [n]), in that order."""
        images = {name: image[rows] for name, image in self.images.items()}
        return Observation(self.state[rows], images, tuple(self.instruction[int(i)] for i in rows))


@dataclass(frozen=True)
class Encoding:
    """All that a policy knows about "now": features for the learner, a private context for `decode`."""

    features: Tensor  # [B, F] float32
    context: Mapping[str, Tensor]  # every tensor batch first (prefix keys and values, masks, ...)

    def __getitem__(self, rows: Tensor) -> Encoding:
        """The encoding of some rows (int64 [n]), in that order."""
        return Encoding(self.features[rows], {key: value[rows] for key, value in self.context.items()})


@dataclass(frozen=True)
class Step:
    """What one control step brought to every world."""

    reward: Tensor  # [B] float32
    terminated: Tensor  # [B] bool, ended for good: nothing comes after
    truncated: Tensor  # [B] bool, ended by the clock: the value of what would come after still counts
    success: Tensor | None  # [B] bool, or None for tasks that have no notion of success


class SteerablePolicy(Protocol):
    """A frozen generative policy whose only free input is its initial noise."""

    feature_dim: int  # F
    noise_shape: tuple[int, int]  # (T', D): what the sampler takes
    chunk_shape: tuple[int, int]  # (T, A): what it returns

    def encode(self, observation: Observation) -> Encoding:
        """Look once: the only pass over images and language in a decision."""

    def decode(self, encoding: Encoding, noise: Tensor) -> Tensor:
        """Denoise [B, T', D] noise into a [B, T, A] chunk. Deterministic, row-wise, leaves its input alone."""


class Task(Protocol):
    """A batch of worlds that advance together. Cheap to construct: what is heavy starts at the first `reset`."""

    num_envs: int  # B
    state_dim: int  # S
    action_dim: int  # A
    cameras: Mapping[str, tuple[int, int, int]]  # camera name -> (3, H, W)
    max_steps: int  # control steps before an episode is truncated
    has_success: bool  # whether Step.success is given

    def reset(self, rows: Tensor, seeds: Sequence[int] | None = None) -> None:
        """Start new episodes in `rows` (int64 [n]); the other worlds are untouched.

        With `seeds` (one per row) row i becomes exactly the world of seeds[i], whatever came before and whatever
        row it is; without, every row draws on from its own stream.
        """

    def observe(self) -> Observation:
        """Render and read all worlds. Called once per decision."""

    def step(self, action: Tensor) -> Step:
        """Advance all worlds by one control step of action [B, A]. Never renders."""

    def hold(self) -> Tensor:
        """The action [B, A] that keeps every world still: what parked worlds are given."""


@runtime_checkable
class Restorable(Protocol):
    """A task that can also tell in mid-episode all that its worlds are, and be set back to it (optional)."""

    def state(self) -> Any | None:
        """The worlds as nested dicts, lists and tuples of tensors and plain values; None where that is not known."""

    def set_state(self, state: Any) -> None:
        """Go on, to the last bit, from what `state` told, in this process or another; worlds have been reset."""
