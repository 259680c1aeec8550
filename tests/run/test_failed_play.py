"""A task that fails in the midst of play costs a run no more than the round, or the validation, in which it fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toys.guess import Guess
from toys.runs import results, run, short_parts

from dsrl.run.monitor import Monitor
from dsrl.run.saved.checkpoint import read_checkpoint
from dsrl.run.saved.folder import RunFolder
from dsrl.training.trainer import Trainer


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that makes a method of the task raise once, after a call of the monitor's at so many decisions.

    `before`: before the call in place of after it.
    """

    def arrange(
        task_method: str,
        monitor_method: str,
        decisions: int,
        before: bool = False,
        error: type[Exception] = RuntimeError,
    ) -> None:
        work, call, state = getattr(Guess, task_method), getattr(Monitor, monitor_method), {"due": False, "left": 1}

        def called(self: Monitor, counters: Any, *more: Any) -> Any:
            state["due"] = before and counters.decisions >= decisions
            result = call(self, counters, *more)
            state["due"] = counters.decisions >= decisions
            return result

        def worked(self: Guess, *arguments: Any) -> Any:
            if state["due"] and state["left"]:
                state["left"] = 0
                raise error("emergency stop")
            return work(self, *arguments)

        monkeypatch.setattr(Monitor, monitor_method, called)
        monkeypatch.setattr(Guess, task_method, worked)

    return arrange


def _newest(folder: Path) -> dict[str, Any]:
    state = read_checkpoint(max(RunFolder(folder).resume.iterdir()))
    assert isinstance(state, dict)
    return state


@pytest.mark.parametrize("decisions", [12, 52])  # in warm-up, and while the actor plays
@pytest.mark.parametrize("error", [RuntimeError, FloatingPointError])
def test_a_failed_step_costs_its_round(
    decisions: int, error: type[Exception], tmp_path: Path, failing: Callable[..., None]
) -> None:
    failing("step", "show", decisions, error=error)
    with pytest.raises(error, match="emergency stop"):
        run(tmp_path, short_parts("dsrl_sac"))
    state = _newest(tmp_path)
    assert state["decisions"] == decisions == sum(part["size"] for part in state["loop"]["buffer"]["parts"])
    assert state["loop"]["env"]["worlds"] is None  # of the failed step
    run(tmp_path, short_parts("dsrl_sac"))
    assert results(tmp_path)["summary"]["decisions"] == 120


@pytest.mark.parametrize(("decisions", "pending"), [(52, None), (116, "round")])  # also after the last of 120
def test_a_failed_reset_after_a_decision_costs_nothing_that_replay_has(
    decisions: int, pending: str | None, tmp_path: Path, failing: Callable[..., None]
) -> None:
    """After the last decision its learning and the validation are left to the next process."""
    failing("reset", "show", decisions)
    with pytest.raises(RuntimeError, match="emergency stop"):
        run(tmp_path, short_parts("dsrl_sac"))
    state = _newest(tmp_path)
    assert state["decisions"] > decisions
    assert (state["loop"]["pending"], state["decisions"] == 120) == (pending, pending == "round")
    assert state["decisions"] == sum(part["size"] for part in state["loop"]["buffer"]["parts"])
    run(tmp_path, short_parts("dsrl_sac"))
    summary = results(tmp_path)["summary"]
    warm_up = short_parts("dsrl_sac").algorithm.critic_warmup_updates
    assert (summary["decisions"], summary["gradient_steps"]) == (120, warm_up + 25)  # one in each round of play


def test_a_failed_reset_after_a_validation_leaves_its_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    should_stop, reset, validated = Monitor.should_stop, Guess.reset, []

    def stops(self: Monitor) -> bool:  # asked after a validation, before worlds are reset
        validated.append(True)
        return should_stop(self)

    def resets(self: Guess, *arguments: Any) -> None:
        if validated == [True]:
            validated.append(True)
            raise RuntimeError("emergency stop")
        reset(self, *arguments)

    monkeypatch.setattr(Monitor, "should_stop", stops)
    monkeypatch.setattr(Guess, "reset", resets)
    with pytest.raises(RuntimeError, match="emergency stop"):
        run(tmp_path, short_parts("dsrl_sac"))
    assert (_newest(tmp_path)["decisions"], _newest(tmp_path)["loop"]["pending"]) == (40, None)
    run(tmp_path, short_parts("dsrl_sac"))
    assert results(tmp_path)["summary"]["decisions"] == 120


@pytest.mark.parametrize("algorithm", ["dsrl_sac", "dsrl_na"])
@pytest.mark.parametrize(
    ("method", "decisions", "before"),
    [
        ("step", 20, True),
        ("step", 20, False),  # of w = 0
        ("step", 80, True),
        ("step", 80, False),  # of the actor's mean, where draws are validated
        ("reset", 120, True),
    ],
)
def test_a_failed_validation_is_repeated_with_the_same_results(
    method: str,
    decisions: int,
    before: bool,
    algorithm: str,
    tmp_path: Path,
    failing: Callable[..., None],
) -> None:
    run(tmp_path / "whole", short_parts(algorithm))
    failing(method, "validate", decisions, before)
    with pytest.raises(RuntimeError, match="emergency stop"):
        run(tmp_path / "cut", short_parts(algorithm))
    assert _newest(tmp_path / "cut")["decisions"] == decisions
    run(tmp_path / "cut", short_parts(algorithm))
    assert results(tmp_path / "cut") == results(tmp_path / "whole")


def test_an_actor_that_has_diverged_is_not_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learn = Trainer._learn

    def diverging(self: Trainer) -> None:
        learn(self)
        if self.stats.counters.decisions >= 52:
            for value in self.algorithm.policy.parameters():
                value.data.fill_(float("nan"))

    monkeypatch.setattr(Trainer, "_learn", diverging)
    with pytest.raises(FloatingPointError):
        run(tmp_path, short_parts("dsrl_sac"))
    assert _newest(tmp_path)["decisions"] == 40
