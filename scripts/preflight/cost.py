"""Times what DSRL-NA's targets would add to a run: the decoding of a batch of chunks for every update."""

from __future__ import annotations

import time
from statistics import median

import torch

from dsrl.noise_action_env import NoiseActionEnv

TURNS = 3  # of a batch
SLOW = 1.0  # seconds: a large policy on a CPU, which would take minutes for a batch


def decoding_seconds(env: NoiseActionEnv, rows: int) -> float:
    """Return the seconds of decoding `rows` chunks at the states that the worlds were observed in last.

    Where a chunk for each world takes more than `SLOW` seconds, the batch is not decoded: its time grows with its rows.
    """
    few = _timed(env, len(env), turns=1)
    if few > SLOW:
        return few * rows / len(env)
    _timed(env, rows, turns=1)  # makes buffers and recordings
    return _timed(env, rows, turns=TURNS)


def _timed(env: NoiseActionEnv, rows: int, turns: int) -> float:
    """Return the median seconds of decoding `rows` chunks."""
    assert env.encoding is not None, "the worlds have been reset"
    encoding = env.encoding[torch.arange(rows) % len(env)]
    vectors, seconds = torch.randn(rows, env.noise.dim, generator=torch.Generator().manual_seed(0)), []
    for _ in range(turns):
        start = time.perf_counter()
        env.decode(encoding, vectors)  # returns on the CPU, and so waits for a GPU
        seconds.append(time.perf_counter() - start)
    return median(seconds)


def cost_line(seconds: float, rows: int, updates: int) -> str:
    """Return a line on what `updates` updates that decode `rows` chunks in `seconds` each add to a run."""
    minutes = seconds * updates / 60
    added = f"at most {minutes:.0f} min" if minutes >= 1 else "less than a minute"
    return (
        f"sac=dsrl_na decodes up to {rows} chunks for each update: "
        f"{seconds * 1000:.3g} ms here, {added} in a run of {updates} updates"
    )
