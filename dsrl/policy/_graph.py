"""Records a function of tensors once per shape and replays it: on CUDA one launch instead of thousands.

    call 1 of a shape   plain
    call 2              copied into buffers, recorded as a CUDA graph, replayed
    later calls         copied into the buffers, replayed

A function that is recorded must compute from its arguments and from constants alone, with shapes that do not depend on
values. Where there is no CUDA, and where CUDA cannot record it, every call is plain.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Function = Callable[..., Tensor]
Replay = Callable[[], Tensor]
MOST_SHAPES = 16  # recordings: each occupies the memory of its intermediate values


class Replayed:
    """A function of tensors with one tensor as its result, replayed from recordings where `record` is given."""

    def __init__(self, function: Function, record: Callable[[Replay], Replay] | None) -> None:
        """`record` takes a call without arguments and returns its replay; None for plain calls, always."""
        self._function, self._record = function, record
        self._recorded: dict[Any, tuple[tuple[Tensor, ...], Replay] | None] = {}

    @torch.no_grad()
    def __call__(self, *arguments: Tensor) -> Tensor:
        """Compute the function; the result is a tensor of its own, which no later call changes."""
        shape = tuple((tuple(argument.shape), argument.dtype) for argument in arguments)
        if self._record is None or (shape not in self._recorded and len(self._recorded) >= MOST_SHAPES):
            return self._function(*arguments)
        if shape not in self._recorded:
            self._recorded[shape] = None
            return self._function(*arguments)
        recording = self._recorded[shape] or self._record_call(shape, arguments)
        if recording is None:
            return self._function(*arguments)
        buffers, replay = recording
        for buffer, argument in zip(buffers, arguments, strict=True):
            buffer.copy_(argument)
        return replay().clone()

    def _record_call(self, shape: Any, arguments: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], Replay] | None:
        assert self._record is not None
        buffers = tuple(argument.clone() for argument in arguments)
        try:
            self._recorded[shape] = (buffers, self._record(lambda: self._function(*buffers)))
        except RuntimeError as error:  # an operation that this CUDA, driver or memory cannot record
            reason = str(error).splitlines()[0][:120]
            warnings.warn(f"decoding is not recorded as a CUDA graph ({reason}); it runs step by step", stacklevel=3)
            self._record = None
        return self._recorded[shape]


def recorder(device: torch.device) -> Callable[[Replay], Replay] | None:
    """Return the recorder of a device, or None where calls are plain."""
    return record_cuda if device.type == "cuda" else None


def record_cuda(call: Replay) -> Replay:
    """Record a call as a CUDA graph, after three plain calls in which libraries choose their kernels."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = call()

    def replay() -> Tensor:
        graph.replay()
        return result

    return replay
