"""Signals that make a run stop at its next checkpoint."""

from __future__ import annotations

import signal
from types import FrameType

import pytest

from dsrl.run.terminal.signals import Signals, Stopped


def test_a_sigterm_after_sigusr2_leaves_the_job_to_be_requeued() -> None:
    with Signals() as signals:
        signal.raise_signal(signal.SIGTERM)
        assert signals.requested == signal.SIGTERM
        signal.raise_signal(signal.SIGUSR2)
        signal.raise_signal(signal.SIGTERM)
        assert signals.requested == signal.SIGUSR2


def test_a_second_ctrl_c_stops_at_once_also_where_another_signal_came_between() -> None:
    with Signals() as signals:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        assert signals.requested == signal.SIGTERM
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_a_handler_that_a_task_installs_is_replaced_in_one_sentence() -> None:
    said: list[str] = []
    with Signals() as signals:
        signals.take_back(said.append)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signals.take_back(said.append)
        signal.raise_signal(signal.SIGINT)
        assert signals.requested == signal.SIGINT
        with pytest.raises(Stopped):
            signals.take_back(said.append)
    (sentence,) = said
    assert sentence == (
        "the task or the policy handled SIGINT; from now on the run stops with a checkpoint at it again"
    )


def test_a_repeated_signal_does_not_interrupt_the_handler_that_requeues() -> None:
    seen: list[int] = []

    def requeue(number: int, frame: FrameType | None) -> None:
        seen.append(number)
        if len(seen) == 1:
            signal.raise_signal(signal.SIGUSR2)

    before = signal.signal(signal.SIGUSR2, requeue)
    try:
        with pytest.raises(Stopped):
            _stopped_by_sigusr2()
        assert seen == [signal.SIGUSR2]
    finally:
        signal.signal(signal.SIGUSR2, before)


def _stopped_by_sigusr2() -> None:
    with Signals() as signals:
        signal.raise_signal(signal.SIGUSR2)
        signals.stop_if_requested()
