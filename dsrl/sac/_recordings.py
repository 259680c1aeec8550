"""Gradient steps as functions of tensors, which CUDA replays from recordings: their time is mostly that of launches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, TypeVar

from tianshou.algorithm.algorithm_base import TrainingStats
from torch import Tensor

from dsrl.cuda_graph import Replayed, Tensors, recorder

PLAIN_CALLS = 3  # of a step before it is recorded: optimisers make their state in the first
Stats = TypeVar("Stats", bound=TrainingStats)


class Recordings:
    """The gradient steps of one algorithm, each recorded on its own."""

    def __init__(self, optimisers: Sequence[Any]) -> None:
        """`optimisers` are tianshou's, of all parameters that the steps change."""
        self._optimisers = optimisers
        self._steps: dict[str, Replayed] = {}
        self._stats: dict[str, tuple[type[Any], tuple[str, ...]]] = {}

    def forget(self) -> None:
        """Forget all recordings: parameters or optimisers' states have moved in memory."""
        self._steps = {}

    def run(self, step: Callable[..., Tensors], *given: Tensor) -> Tensors:
        """Take a step, a method of the algorithm, on tensors; returns its results."""
        return self._run(step.__name__, step, *given)

    def run_for_stats(self, step: Callable[[Any], Stats], batch: Any) -> Stats:
        """Take a step on a dataclass of tensors; returns its statistics."""

        def tensors(*given: Tensor) -> Tensors:
            stats = step(type(batch)(*given))
            found = {field.name: getattr(stats, field.name) for field in fields(stats) if field.init}
            kept = {key: value for key, value in found.items() if isinstance(value, Tensor)}
            self._stats[step.__name__] = type(stats), tuple(kept)
            return tuple(kept.values())

        values = self._run(step.__name__, tensors, *(getattr(batch, field.name) for field in fields(batch)))
        kind, names = self._stats[step.__name__]
        return kind(**dict(zip(names, values, strict=True)))  # type: ignore[no-any-return]

    def _run(self, name: str, step: Callable[..., Tensors], *given: Tensor) -> Tensors:
        if name not in self._steps:
            device_recorder = recorder(given[0].device)
            if device_recorder is not None:
                for group in (group for one in self._optimisers for group in one._optim.param_groups):
                    group["capturable"] = True
            self._steps[name] = Replayed(step, device_recorder, plain_calls=PLAIN_CALLS, by_rows=False)
        return self._steps[name](*given)
