"""What replay keeps of a decision beyond features and u: the executed chunk, and what it takes to decode anew.

    NoiseActionEnv.decision -> Recorder.write -> info.chunk [n, h, A], info.{context, next_context}.look_*  -> buffer
                                                                  |
                                              NoiseActionEnv.decode(features, context, w) -> chunk

A look is the policy's context or, with `observation`, what the worlds looked like, which the policy then encodes again.
torch and numpy meet here for looks only, as in `NoiseActionEnv`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsrl.interfaces import Encoding, Observation
from dsrl.noise_action_env import Decision, NoiseActionEnv
from dsrl.training.looks import tensors_of

CONTEXT, EXACT_CONTEXT, OBSERVATION, NOISE = "context", "exact_context", "observation", "noise"
"""What an algorithm may ask replay to keep of a look: the context (in half precision or as it is), the observation,
which is small but encoded again for every batch, or nothing (u alone)."""

HALVED_FROM = 1024
"""Numbers in a row from which a context tensor is kept in half precision; smaller ones would save nothing."""

GIB = 2**30


class Recorder:
    """Writes the chunk that was executed, and the contexts before and after it, into each transition's `info`."""

    def __init__(self, env: NoiseActionEnv, replay: str) -> None:
        """`replay` is `context`, `exact_context` or `observation`."""
        self.env, self.replay = env, replay

    def write(self, rollout: Any) -> None:
        """Complete tianshou's rollout batch of the environment's latest decision."""
        decision = self.env.decision
        assert decision is not None, "the rollout comes from a step of this environment"
        write_decision(rollout.info, decision, self.replay)


def write_decision(info: Any, decision: Decision, replay: str) -> None:
    """Put the chunk and both looks of a decision into tianshou's `info`, as `replay` says."""
    info.chunk = decision.chunk.float().cpu().numpy()
    looks = (("context", decision.before, decision.seen_before), ("next_context", decision.after, decision.seen_after))
    for name, encoding, seen in looks:
        arrays = look_arrays(encoding, seen, replay)
        if arrays:  # prefixed: tianshou's batches cannot hold what is named like a method, such as `keys`
            info[name] = type(info)({f"look_{key}": array for key, array in arrays.items()})


def look_arrays(encoding: Encoding, seen: Observation, replay: str) -> dict[str, NDArray[Any]]:
    """What `replay` keeps of a look, as numpy arrays."""
    if replay == OBSERVATION:
        return {key: value.numpy() for key, value in tensors_of(seen).items()}
    return context_arrays(encoding.context, replay)


def context_arrays(context: Mapping[str, Tensor], replay: str) -> dict[str, NDArray[Any]]:
    """A context as numpy arrays for replay. Raises FloatingPointError where half precision cannot hold a number."""
    return {key: _array(key, value, replay) for key, value in context.items()}


def _array(key: str, value: Tensor, replay: str) -> NDArray[Any]:
    if not value.is_floating_point():
        return value.cpu().numpy()
    if replay == CONTEXT and value[0].numel() >= HALVED_FROM:
        halved = value.half()
        if not torch.isfinite(halved).all():
            raise FloatingPointError(
                f"context {key!r} has numbers that half precision cannot hold; choose sac.replay={EXACT_CONTEXT}"
            )
        return halved.cpu().numpy()
    return (value.float() if value.dtype == torch.bfloat16 else value).cpu().numpy()


def buffer_length(buffer_size: int, decisions: int, num_envs: int) -> int:
    """Transitions that replay will hold: `buffer_size`, or all of a run that has fewer."""
    return min(buffer_size, num_envs * max(1, -(-decisions // num_envs)))


def replay_bytes(env: NoiseActionEnv, replay: str, transitions: int) -> int:
    """Bytes that `transitions` transitions take, from one look at a blank observation: nothing is simulated."""
    numbers = 2 * env.policy.feature_dim + env.noise.dim + 8  # reward, flags, counts
    if replay == NOISE:
        return transitions * 4 * numbers
    length, action_dim = env.chunk_shape
    blank = _blank(env)
    with torch.no_grad():
        encoding = Encoding(blank.state, {}) if replay == OBSERVATION else env.policy.encode(blank)
    arrays = look_arrays(encoding, blank, replay)
    context = sum(array.nbytes for array in arrays.values())
    return transitions * (4 * (numbers + length * action_dim) + 2 * context)


def checked_replay_bytes(env: NoiseActionEnv, replay: str, transitions: int, available: int | None = None) -> int:
    """`replay_bytes`; raises ValueError where that exceeds the memory `available` (bytes; None asks the system)."""
    needed, free = replay_bytes(env, replay, transitions), available_memory() if available is None else available
    if needed > free:
        fitting = int(free / needed * transitions)
        raise ValueError(
            f"replay of {transitions} transitions takes {needed / GIB:.1f} GiB but {free / GIB:.1f} GiB are free; "
            f"choose a buffer_size (or decisions) below {fitting}, {_smaller(env, replay, needed, transitions)}"
        )
    return needed


def available_memory() -> int:
    """Bytes that this process can still take: what the system has free, within its control group's limit."""
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        fields = dict(line.split(":") for line in meminfo.read_text().splitlines())
        free = int(fields["MemAvailable"].split()[0]) * 1024
    else:
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit, used = (Path("/sys/fs/cgroup") / name for name in ("memory.max", "memory.current"))
    if limit.is_file() and used.is_file() and limit.read_text().strip() != "max":
        free = min(free, int(limit.read_text()) - int(used.read_text()))
    return max(free, 0)


def _smaller(env: NoiseActionEnv, replay: str, needed: int, transitions: int) -> str:
    """What else to choose where `replay` does not fit."""
    least = replay_bytes(env, OBSERVATION, transitions)
    if replay in (CONTEXT, EXACT_CONTEXT) and least < needed:
        return f"sac.replay={OBSERVATION} ({least / GIB:.1f} GiB), or sac=dsrl_sac, which keeps no looks"
    return "or sac=dsrl_sac, which keeps no looks"


def _blank(env: NoiseActionEnv) -> Observation:
    task = env.task
    images = {name: torch.zeros(1, *shape, dtype=torch.uint8) for name, shape in task.cameras.items()}
    return Observation(torch.from_numpy(np.zeros((1, task.state_dim), np.float32)), images, ("",))
