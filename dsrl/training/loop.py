"""The parts that every training loop shares: its monitor, its checkpoints, and validations that choose the best."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol, runtime_checkable

from torch import Tensor

from dsrl.evaluation.diagnostics import diagnose
from dsrl.evaluation.episodes import Evaluation
from dsrl.evaluation.summary import metrics as evaluation_metrics
from dsrl.interfaces import Algorithm, StateDict
from dsrl.noise_action_env import NoiseActionEnv
from dsrl.training.metrics import Counters, Metrics


class Monitor(Protocol):
    """The outputs of a training loop: it validates, logs, saves and shows progress."""

    def validate(self, counters: Counters) -> Evaluation:
        """Evaluate the algorithm as it is; may use the environment, whose worlds are reset afterwards."""

    def validate_zero(self) -> Evaluation | None:
        """Evaluate the algorithm while it plays w = 0; None where evaluations do not play its actor."""

    def log(self, metrics: Mapping[str, float], counters: Counters) -> None:
        """Log metrics."""

    def save(self, name: Literal["best", "last"]) -> None:
        """Save the algorithm as it is; may use the environment, whose worlds are reset afterwards."""

    def show(self, counters: Counters, recent: Metrics) -> None:
        """Show progress after a round of all worlds."""

    def show_updates(self, done: int, recent: Metrics) -> None:
        """Show progress of learning without play, after `done` gradient steps of it."""

    def should_stop(self) -> bool:
        """Return whether training ends early; called after each validation of a moving actor."""


@runtime_checkable
class PlaysZero(Protocol):
    """An algorithm that can play w = 0 in its actor's place (optional)."""

    def play_zero(self, on: bool) -> None:
        """Play w = 0 from now on, the mean of the base policy's noise, or the actor again."""


class Checkpointer(Protocol):
    """Saves the state of a loop and returns the one that a previous process saved."""

    @property
    def previous(self) -> StateDict | None:
        """The loop's state to continue from; None at the start of a run."""

    def save_at_reset(self, state: Callable[[], StateDict], decisions: int) -> None:
        """Save where all worlds have just been reset: every task can continue exactly from here."""

    def save_if_due(self, state: Callable[[], StateDict], decisions: int) -> None:
        """Save after a round where it is time, or a signal requests it; raises where the run must stop.

        The state's entry `exact` is whether training can continue from it exactly, bit by bit.
        """


class NoCheckpoints:
    """A checkpointer that saves nothing."""

    previous: StateDict | None = None

    def save_at_reset(self, state: Callable[[], StateDict], decisions: int) -> None:
        """Save nothing."""

    def save_if_due(self, state: Callable[[], StateDict], decisions: int) -> None:
        """Save nothing."""


class Validator:
    """Validates an algorithm, logs the result, and saves it as "last", and as "best" unless it was beaten before."""

    def __init__(self, env: NoiseActionEnv, algorithm: Algorithm, monitor: Monitor) -> None:
        self.env, self.algorithm, self.monitor = env, algorithm, monitor
        self.best = -float("inf")  # score

    def validate(self, counters: Counters) -> None:
        """Diagnose, evaluate and save the algorithm as it is. Raises FloatingPointError for weights without value."""
        check_finite(self.algorithm.state_dict())
        self.monitor.log(diagnose(self.env, self.algorithm), counters)
        result = self.monitor.validate(counters)
        self.monitor.log(evaluation_metrics(result), counters)
        if result.score >= self.best:
            self.best = result.score
            self.monitor.save("best")
        self.monitor.save("last")

    def validate_zero(self, counters: Counters) -> None:
        """Let w = 0 compete for "best" before the actor's first step: many policies do better by it than by draws."""
        if not isinstance(self.algorithm, PlaysZero):
            return
        self.algorithm.play_zero(True)
        result = self.monitor.validate_zero()
        if result is not None:
            self.monitor.log({"eval/zero_noise": result.score}, counters)
            if result.score > self.best:
                self.best = result.score
                self.monitor.save("best")
        self.algorithm.play_zero(False)

    def state_dict(self) -> StateDict:
        """Return the best score."""
        return {"best": self.best}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a `state_dict`."""
        self.best = state["best"]


def check_finite(state: Any, whose: str = "the algorithm's", name: str = "") -> None:
    """Raise FloatingPointError naming the first tensor of a state that has a number that is not finite."""
    if isinstance(state, Tensor):
        if state.is_floating_point() and not bool(state.isfinite().all()):
            raise FloatingPointError(f"{whose} {name} is not finite; lower the learning rates or scale the reward")
    elif isinstance(state, Mapping | list | tuple):
        parts = state.items() if isinstance(state, Mapping) else enumerate(state)
        for key, part in parts:
            check_finite(part, whose, f"{name}.{key}" if name else str(key))
