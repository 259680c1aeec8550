"""Refuses networks of an algorithm that take more memory than is free, before any is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dsrl.available_memory import available_memory
from dsrl.training.replay_memory import GIB


def check_networks(node: Mapping[str, Any], features: int, noise: int, chunk: int) -> None:
    """Raise ValueError, before any is made, where the networks of an algorithm take more memory than is free.

    `features`, `noise` and `chunk` are the numbers that they take of each; `chunk` is 0 without critics of chunks.
    """
    sizes = {f"sac.{name}": node[name] for name in ("hidden", "depth", "num_critics") if name in node}
    if len(sizes) < 3:
        return
    hidden, depth, critics = sizes.values()
    networks = [(1, features + 2 * noise), (critics, features + noise)]  # number, inputs and outputs: actor, critics
    if chunk:
        networks += [(1, features + 2 * chunk), (critics, features + noise + chunk)]  # head of edits, critics of chunks
    weights = sum(number * hidden * (ends + (depth - 1) * hidden) for number, ends in networks)
    needed, free = 20 * weights, available_memory()  # bytes: weights, gradients, two of Adam, targets
    if needed > free:
        typed = ", ".join(f"{key}={value}" for key, value in sizes.items())
        raise ValueError(
            f"{typed} make networks of {needed / GIB:.1f} GiB for {features} features, {noise} numbers of noise and "
            f"{chunk} of a chunk but {free / GIB:.1f} GiB are free; type smaller ones"
        )
