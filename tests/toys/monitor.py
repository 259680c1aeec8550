"""A monitor of training loops that records its calls and scores validations by a script."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from dsrl.evaluation.episodes import Evaluation
from dsrl.training.metrics import Counters, Metrics


class Recording:
    """The outside of a training loop: it records all that it is given, and returns scripted scores."""

    def __init__(
        self,
        scores: Sequence[float] = (),
        *,
        before_validation: Callable[[], object] = lambda: None,
        should_stop: bool = False,
    ) -> None:
        """Validations score `scores` in turn, then 0; `before_validation` may use the environment, as they do."""
        self._scores, self._before_validation, self._should_stop = iter(scores), before_validation, should_stop
        self.validated: list[Counters] = []
        self.logged: list[tuple[dict[str, float], Counters]] = []
        self.saved: list[str] = []
        self.rounds: list[Counters] = []
        self.updates: list[int] = []
        self.notes: list[str] = []

    def validate(self, counters: Counters) -> Evaluation:
        self.validated.append(counters)
        self._before_validation()
        return scored(next(self._scores, 0.0))

    def validate_as(self, name: str) -> Evaluation | None:
        return None

    def note(self, sentence: str) -> None:
        self.notes.append(sentence)

    def log(self, metrics: Mapping[str, float], counters: Counters) -> None:
        self.logged.append((dict(metrics), counters))

    def save(self, name: str) -> None:
        self.saved.append(name)

    def show(self, counters: Counters, recent: Metrics) -> None:
        self.rounds.append(counters)

    def show_updates(self, done: int, recent: Metrics) -> None:
        self.updates.append(done)

    def should_stop(self) -> bool:
        return self._should_stop


def scored(score: float) -> Evaluation:
    """Return an evaluation of twenty worlds with this success rate, a multiple of 0.05."""
    wins = round(20 * score)
    successes = tuple(world < wins for world in range(20))
    return Evaluation(tuple(range(20)), successes, tuple(map(float, successes)), (1,) * 20)
