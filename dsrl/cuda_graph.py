"""Records functions of tensors and replays them: on CUDA one launch instead of thousands.

    first calls of a shape   plain, on buffers that hold a copy of the arguments
    the next one             recorded as a CUDA graph, replayed
    later calls              copied into the buffers, replayed

A function that is recorded computes from its arguments and from tensors that stay where they are, with shapes that do
not depend on values. Where there is no CUDA, and where CUDA cannot record it, every call is plain.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

Tensors = tuple[Tensor, ...]
Function = Callable[..., Tensors]
Call = Callable[[], Tensors]
MOST_SHAPES = 32  # recordings of one function


class Recorder(Protocol):
    """Runs calls as a device needs it before a recording, and records them."""

    def plain(self, call: Call) -> Tensors:
        """Run a call."""

    def record(self, call: Call) -> Call:
        """Return a replay of a call, without running it. Raises RuntimeError where it cannot be recorded."""


class Replayed:
    """A function of tensors [n, ...] with a tuple of tensors [n, ...] as its result, replayed from recordings.

    It must be row-wise, since a number of rows is rounded up to one of few: see `rounded_up`. With `by_rows=False` its
    shapes are any and stay as they are; it may then change tensors, such as weights, and draw on its device.
    """

    def __init__(
        self, function: Function, recorder: Recorder | None, *, plain_calls: int = 1, by_rows: bool = True
    ) -> None:
        """Without `recorder` all calls are plain; otherwise the first `plain_calls` of a shape."""
        self._function, self._recorder = function, recorder
        self._plain_calls, self._by_rows = plain_calls, by_rows
        self._recordings: dict[Any, _Recording] = {}

    def __call__(self, *arguments: Tensor) -> Tensors:
        """Compute the function; where it is recorded, the results are copies that no later call changes."""
        if self._recorder is None:
            return self._function(*arguments)
        rows = len(arguments[0]) if self._by_rows else 0
        room = rounded_up(rows)
        shape = (room, *((argument.shape[self._by_rows :], argument.dtype) for argument in arguments))
        if shape not in self._recordings:
            if len(self._recordings) >= MOST_SHAPES:
                return self._function(*arguments)
            self._recordings[shape] = _Recording(arguments, rows, room)
        results = self._recordings[shape].call(self._function, arguments, self._recorder, self._plain_calls)
        if results is None:
            self._recorder = None
            return self._function(*arguments)
        return tuple((result[:rows] if self._by_rows else result).clone() for result in results)


class _Recording:
    """One shape of a function: its buffers, how often it was called, and its replay."""

    def __init__(self, arguments: Tensors, rows: int, room: int) -> None:
        device = arguments[0].device
        filled = torch.arange(room, device=device).clamp(max=rows - 1)  # rows beyond the given ones repeat the last
        self.buffers = tuple(argument[filled] if room else argument.clone() for argument in arguments)
        self.calls = 0
        self.replay: Call | None = None

    def call(self, function: Function, arguments: Tensors, recorder: Recorder, plain_calls: int) -> Tensors | None:
        """Call the function on the buffers; None, with a warning, where it cannot be recorded."""
        for buffer, argument in zip(self.buffers, arguments, strict=True):
            (buffer[: len(argument)] if argument.ndim else buffer).copy_(argument)
        self.calls += 1
        if self.calls <= plain_calls:
            return recorder.plain(lambda: function(*self.buffers))
        if self.replay is None:
            try:
                self.replay = recorder.record(lambda: function(*self.buffers))
            except RuntimeError as error:  # an operation that this CUDA, driver or memory cannot record
                reason = str(error).splitlines()[0][:120]
                warnings.warn(
                    f"a computation is not recorded as a CUDA graph ({reason}); it runs step by step", stacklevel=3
                )
                return None
        return self.replay()


def rounded_up(rows: int) -> int:
    """Round a number of rows up to one of four for each power of two: at most a quarter more."""
    step = 1 << max(0, rows.bit_length() - 3)
    return -(-rows // step) * step


def recorder(device: torch.device) -> Recorder | None:
    """Return a recorder for a device, or None where calls are plain."""
    return CudaRecorder(device) if device.type == "cuda" else None


class CudaRecorder:
    """Records calls as CUDA graphs that share memory: replays follow each other, and results are copied at once."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._pool: Any = None

    def plain(self, call: Call) -> Tensors:
        """Run a call beside the main stream, as CUDA asks of what is recorded next."""
        main = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(main)
        with torch.cuda.stream(self._stream):
            results = call()
        main.wait_stream(self._stream)
        return results

    def record(self, call: Call) -> Call:
        """Record a call, which `plain` has run before, so that libraries have chosen their kernels."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(self._device), torch.cuda.graph(graph, pool=self._pool):
            results = call()
        self._pool = graph.pool()

        def replay() -> Tensors:
            graph.replay()
            return results

        return replay
