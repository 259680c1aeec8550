"""A recorder that needs no CUDA."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from dsrl.cuda_graph import Call, Tensors
from dsrl.interfaces import Observation


class CallsAgain:
    """Records nothing: a replay calls again, and so reads what the buffers hold then, as a CUDA graph does."""

    def __init__(self) -> None:
        self.recorded = 0

    def plain(self, call: Call) -> Tensors:
        return call()

    def record(self, call: Call) -> Call:
        self.recorded += 1
        return call


def results_beside(
    plain: Any, replayed: Any, observe: Callable[..., Observation]
) -> tuple[list[tuple[Tensor, Tensor]], list[tuple[Tensor, Tensor]]]:
    """Encode and decode with two policies in turns, for several numbers of worlds; 9 and 10 share a recording.

    Returns pairs, of `replayed` and of `plain`: features and contexts, and chunks.
    """
    encoded, chunks = [], []
    for turn, worlds in enumerate([5, 3, 5, 3, 5, 9, 10]):
        observation = observe(plain, seed=turn)[torch.arange(worlds) % 3]
        noise = torch.randn(worlds, *plain.noise_shape, generator=torch.Generator().manual_seed(turn))
        one, other = replayed.encode(observation), plain.encode(observation)
        assert one.context.keys() == other.context.keys()
        encoded += [(one.features, other.features), *((one.context[key], other.context[key]) for key in other.context)]
        chunks.append((replayed.decode(one, noise), plain.decode(other, noise)))
    return encoded, chunks
