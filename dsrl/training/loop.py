"""The parts that every training loop shares: its monitor, its checkpoints, and validations that choose the best."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, Protocol, runtime_checkable

from dsrl.evaluation.confirmation import p_better
from dsrl.evaluation.diagnostics import diagnose
from dsrl.evaluation.episodes import Evaluation
from dsrl.evaluation.summary import metrics as evaluation_metrics
from dsrl.foreign_json import first_line
from dsrl.interfaces import Algorithm, StateDict
from dsrl.noise_action_env import NoiseActionEnv
from dsrl.training.metrics import Counters, Metrics
from dsrl.training.state_tensors import named_tensors

MEAN_FAILS = 0.01  # p-value of w = 0 being as good as draws, below which actors are played by draws


class Monitor(Protocol):
    """The outputs of a training loop: it validates, logs, saves and shows progress."""

    def validate(self, counters: Counters) -> Evaluation:
        """Evaluate the algorithm as it is; may use the environment, whose worlds are reset afterwards."""

    def validate_as(self, name: str) -> Evaluation | None:
        """Evaluate what the algorithm plays for once, called `name`; None where evaluations play something else."""

    def note(self, sentence: str) -> None:
        """Show a sentence."""

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
class Plays(Protocol):
    """An algorithm whose evaluations can play something else than its actor's mean (optional)."""

    def play(self, how: Literal["actor", "zero", "draws"]) -> None:
        """Play the actor from now on (its draws until its first step, then its mean), w = 0, or the actor's draws."""


@runtime_checkable
class LowersDiscount(Protocol):
    """An algorithm whose warm-up may lower its discount (optional)."""

    gamma: float
    discount_at_limit: float  # gamma^T once lowered, T the decisions to the limit; success there counts gamma^(T-1)


class Checkpointer(Protocol):
    """Saves the state of a loop and returns the one that a previous process saved."""

    @property
    def previous(self) -> StateDict | None:
        """The loop's state to continue from; None at the start of a run."""

    def restored(self, decisions: int) -> None:
        """Note that the previous state, of so many decisions, was restored; raises ValueError where it has others."""

    def save_at_reset(self, state: Callable[[], StateDict], decisions: int, updates: int = 0) -> None:
        """Save where all worlds have just been reset: every task can continue exactly from here.

        `updates` is the number of gradient steps so far that were taken without play.
        """

    def prepared(self, state: StateDict, decisions: int, updates: int = 0) -> Callable[[], None]:
        """Return what saves `state` and the rest of the run as it is now, unless a state as far was saved before."""

    def save_if_due(self, state: Callable[[], StateDict], decisions: int, updates: int = 0) -> None:
        """Save after a round where it is time, or a signal requests it; raises where the run must stop.

        The state's entry `exact` is whether training can continue from it exactly, bit by bit.
        """


class NoCheckpoints:
    """A checkpointer that saves nothing."""

    previous: StateDict | None = None

    def restored(self, decisions: int) -> None:
        """Note nothing."""

    def save_at_reset(self, state: Callable[[], StateDict], decisions: int, updates: int = 0) -> None:
        """Save nothing."""

    def prepared(self, state: StateDict, decisions: int, updates: int = 0) -> Callable[[], None]:
        """Return what saves nothing."""
        return lambda: None

    def save_if_due(self, state: Callable[[], StateDict], decisions: int, updates: int = 0) -> None:
        """Save nothing."""


class Validator:
    """Validates an algorithm, logs the result, and saves it as "last", and as "best" unless it was beaten before."""

    def __init__(self, env: NoiseActionEnv, algorithm: Algorithm, monitor: Monitor) -> None:
        self.env, self.algorithm, self.monitor = env, algorithm, monitor
        self.best = -float("inf")  # score
        self.by_draws = False  # whether the actor is played by its draws, and its mean is validated besides

    def diagnose(self, counters: Counters) -> None:
        """Measure the algorithm in the worlds as they are. Raises FloatingPointError for weights without value."""
        check_finite(self.algorithm.state_dict())
        self.monitor.log(diagnose(self.env, self.algorithm), counters)

    def validate(self, counters: Counters) -> Evaluation:
        """Evaluate and save the algorithm as it is, once it was diagnosed."""
        result = self.monitor.validate(counters)
        self.monitor.log(evaluation_metrics(result), counters)
        if result.score >= self.best:
            self.best = result.score
            self.monitor.save("best")
        if self.by_draws:
            self._compete("actor", f"the actor's mean after {counters.decisions} decisions", "eval/mean", counters)
        self.monitor.save("last")
        return result

    def validate_start(self, counters: Counters) -> None:
        """Validate before the actor's first step: the base policy's draws, and w = 0, which competes for "best".

        Many policies do better by w = 0 than by draws. Where it is significantly worse, a mean is no policy there: the
        actor is then played by its draws, and its mean is validated besides.
        """
        drawn = self.validate(counters)
        zero = self._compete("zero", "w = 0, without any learning", "eval/zero_noise", counters)
        if zero is not None and isinstance(self.algorithm, Plays) and p_better(zero, drawn) < MEAN_FAILS:
            self.by_draws = True
            self.algorithm.play("draws")
            self.monitor.note("w = 0 is worse than draws: validations draw from the actor, and then play its mean")

    def _compete(self, how: Literal["actor", "zero"], name: str, metric: str, counters: Counters) -> Evaluation | None:
        """Evaluate something else that the algorithm can play, and save it as "best" where it is better."""
        if not isinstance(self.algorithm, Plays):
            return None
        self.algorithm.play(how)
        untouched = how == "actor" and self.algorithm.stochastic  # whose mean is w = 0
        result = None if untouched else self.monitor.validate_as(name)
        if result is not None:
            self.monitor.log({metric: result.score}, counters)
            if result.score > self.best:
                self.best = result.score
                self.monitor.save("best")
        self.algorithm.play("draws" if self.by_draws else "actor")
        return result

    def state_dict(self) -> StateDict:
        """Return the best score, and how the actor is played."""
        return {"best": self.best, "by_draws": self.by_draws}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a `state_dict`."""
        self.best, self.by_draws = state["best"], state.get("by_draws", False)
        if not self.best < float("inf"):  # no later one would be better
            raise ValueError(f"the best score is {self.best}")


class UnfitStateError(ValueError):
    """A state cannot be restored: it is damaged, of something else, or was changed by somebody."""


@contextmanager
def restoring() -> Iterator[None]:
    """Raise UnfitStateError for whatever a state that somebody wrote raises while it is restored."""
    try:
        yield
    except (AttributeError, LookupError, OverflowError, TypeError, ValueError, AssertionError) as error:
        kind = "" if type(error) is ValueError else f"{type(error).__name__} "
        raise UnfitStateError(f"{kind}{first_line(error)}") from error


def check_finite(state: Any, whose: str = "the algorithm's") -> None:
    """Raise FloatingPointError naming the first tensor of a state that has a number that is not finite."""
    for name, tensor in named_tensors(state):
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise FloatingPointError(f"{whose} {name} is not finite; lower the learning rates or scale the reward")
