"""Signals that ask a run to make room: they set a flag, and the run stops where it can go on later.

SIGTERM | SIGUSR2 -> Signals.asked -> (checkpoint) -> Stopped -> the handler that was there before, e.g. submitit's
"""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

ASKING = (signal.SIGTERM, signal.SIGUSR2)


class Stopped(SystemExit):
    """The run ends here because a signal asked for it; the exit code is the shell's for that signal, 128 + number."""


class Signals:
    """Listens while its block runs. Left by `Stopped`, it hands the signal on: submitit's handler requeues the job."""

    def __init__(self) -> None:
        self.asked: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():  # Python lets no other thread listen
            self._before = {number: signal.signal(number, self._note) for number in ASKING}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if isinstance(error, Stopped) and self.asked is not None:
                self._hand_on(self._before.get(self.asked))
        finally:
            for number, handler in self._before.items():
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    def _hand_on(self, handler: Any) -> None:
        """Call a handler undisturbed: SLURM may send a signal again while submitit's requeues."""
        for number in self._before:
            signal.signal(number, signal.SIG_IGN)
        if callable(handler):
            handler(self.asked, None)

    def stop_if_asked(self) -> None:
        """Raise `Stopped` if a signal has come."""
        if self.asked is not None:
            raise Stopped(128 + self.asked)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked != signal.SIGUSR2:  # which asks to go on elsewhere: a SIGTERM that follows must not undo it
            self.asked = signal.Signals(number)
