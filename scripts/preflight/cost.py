"""Times what DSRL-NA's targets would add to a run: the decoding of a batch of chunks for every update."""

from __future__ import annotations

import time
from statistics import median

import torch

from dsrl.noise_action_env import NoiseActionEnv

TURNS = 3  # timed, after one that is not: buffers and recordings are made in the first


def decoding_seconds(env: NoiseActionEnv, rows: int) -> float:
    """Return the seconds of decoding `rows` chunks at the states that the worlds were observed in last, a median."""
    assert env.encoding is not None, "the worlds have been reset"
    encoding = env.encoding[torch.arange(rows) % len(env)]
    vectors, seconds = torch.randn(rows, env.noise.dim, generator=torch.Generator().manual_seed(0)), []
    for _ in range(1 + TURNS):
        start = time.perf_counter()
        env.decode(encoding, vectors)  # returns on the CPU, and so waits for a GPU
        seconds.append(time.perf_counter() - start)
    return median(seconds[1:])


def cost_line(seconds: float, rows: int, updates: int) -> str:
    """Return a line on what `updates` updates that decode `rows` chunks in `seconds` each add to a run."""
    minutes = seconds * updates / 60
    added = f"at most {minutes:.0f} min" if minutes >= 1 else "less than a minute"
    return (
        f"sac=dsrl_na decodes up to {rows} chunks for each update: "
        f"{seconds * 1000:.3g} ms here, {added} in a run of {updates} updates"
    )
