"""Signals that make a run stop at its next checkpoint."""

from __future__ import annotations

import signal
from types import FrameType

import pytest

from dsrl.run.signals import Signals, Stopped


def test_a_sigterm_after_sigusr2_does_not_undo_the_request_to_go_on_elsewhere() -> None:
    with Signals() as signals:
        signal.raise_signal(signal.SIGTERM)
        assert signals.asked == signal.SIGTERM
        signal.raise_signal(signal.SIGUSR2)
        signal.raise_signal(signal.SIGTERM)
        assert signals.asked == signal.SIGUSR2


def test_a_signal_that_comes_again_does_not_disturb_the_handler_that_requeues() -> None:
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
        signals.stop_if_asked()
