"""The memory that replay takes, checked before training against the memory that is free."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from dsrl.available_memory import available_memory
from dsrl.interfaces import Encoding, Replay, ReplaysDraws
from dsrl.noise_action_env import NoiseActionEnv
from dsrl.rules import policy_rules
from dsrl.training.replay_format import blank_observation, stored_arrays
from dsrl.training.state_tensors import num_bytes

GIB = 2**30
MIB = 2**20
CONTEXTS = ("context", "exact_context")


def buffer_length(buffer_size: int, decisions: int, num_envs: int) -> int:
    """Return the number of transitions that replay will store: `buffer_size`, or all of a shorter run."""
    return min(buffer_size, num_envs * max(1, -(-decisions // num_envs)))


def draws_of(algorithm: Any) -> int:
    """Return the number of base noises whose chunks `algorithm` learns from, 0 for none."""
    return algorithm.base_draws if isinstance(algorithm, ReplaysDraws) else 0


def replay_bytes(env: NoiseActionEnv, replay: Replay, transitions: int, draws: int = 0) -> int:
    """Return the bytes of `transitions` transitions, from encoding one blank observation: nothing is simulated.

    `draws` is the number of base noises whose chunks are stored of each state.
    """
    numbers = env.policy.feature_dim + env.noise.dim + 8  # reward, flags, counts
    ends = len(env) + -(-transitions // env.longest_episode)  # next observations that are stored apart
    apart = 4 * ends * env.policy.feature_dim
    if replay == "noise":
        return transitions * 4 * numbers + apart
    length, action_dim = env.chunk_shape
    blank = blank_observation(env)
    with torch.no_grad():
        encoding = policy_rules.encode(env.policy, blank) if replay in CONTEXTS else Encoding(blank.state, {})
    state = sum(array.nbytes for array in stored_arrays(encoding, blank, replay).values())
    drawn = 4 * draws * (env.noise.dim + length * action_dim)
    return apart + transitions * (4 * (numbers + length * action_dim) + drawn + (1 if draws else 2) * state)


def checked_replay_bytes(
    env: NoiseActionEnv, replay: Replay, transitions: int, available: int | None = None, draws: int = 0
) -> int:
    """Return `replay_bytes`; raises ValueError where they exceed `available` bytes (None: those of the system)."""
    needed = replay_bytes(env, replay, transitions, draws)
    free = available_memory() if available is None else available
    if needed > free:
        fitting = int(free / needed * transitions)
        raise ValueError(
            f"replay of {transitions} transitions takes {needed / GIB:.1f} GiB but {free / GIB:.1f} GiB are free; "
            f"choose a buffer_size (or decisions) below {fitting}, {_smaller(env, replay, needed, transitions, draws)}"
        )
    return needed


def check_stored(
    state: Mapping[str, Any], env: NoiseActionEnv, replay: Replay, transitions: int, draws: int = 0
) -> None:
    """Check the state of a buffer of `transitions` transitions before any is copied: a sparse file is gigabytes.

    Raises ValueError for observations or noise of another size, and for more than all transitions can take.
    """
    widths = {"obs": env.policy.feature_dim, "act": env.noise.dim}
    for name, width in widths.items() if state["rows"] else ():
        shape = list(state["rows"][name].shape)
        if shape[1:] != [width]:
            raise ValueError(f"{name} of the checkpoint's replay has shape {shape}, but rows of {width} here")
    most = 2 * replay_bytes(env, replay, transitions, draws) + 64 * MIB  # earlier versions stored observations twice
    found = num_bytes(state)
    if found > most:
        raise ValueError(
            f"the checkpoint's replay takes {found / MIB:.0f} MiB, but that of this run {most / MIB:.0f} MiB at most; "
            "give num_envs as it was and no smaller buffer_size"
        )


def _smaller(env: NoiseActionEnv, replay: Replay, needed: int, transitions: int, draws: int) -> str:
    """Return the choices that take less memory than `replay`, for a message."""
    if replay == "chunks":
        return "fewer sac.base_draws, or sac=dsrl_sac, which stores no chunks"
    least = replay_bytes(env, "observation", transitions, draws)
    if replay in CONTEXTS and least < needed:
        return f"sac.replay=observation ({least / GIB:.1f} GiB), or sac=dsrl_sac, which stores no states"
    return "or sac=dsrl_sac, which stores no states"
