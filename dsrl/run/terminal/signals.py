"""Signals that end a run: they set a flag, and the run stops after its round with a checkpoint.

SIGTERM | SIGUSR2 | SIGINT -> Signals.requested -> (checkpoint) -> Stopped -> the previous handler, e.g. submitit's
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

HANDLED = (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT)


class Stopped(SystemExit):
    """The run stops because of a signal; the exit code is the shell's for that signal, 128 + number."""

    @property
    def name(self) -> str:
        """The signal's name."""
        return signal.Signals(int(self.code or 0) - 128).name


class Signals:
    """Handles signals while its block runs; left by `Stopped`, it calls the previous handler: submitit's requeues."""

    def __init__(self) -> None:
        self.requested: signal.Signals | None = None
        self._previous: dict[signal.Signals, Any] = {}
        self._interrupted = False  # by Ctrl-C, of which a second one ends the run at once
        self._when = "as soon as possible"

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():  # Python lets no other thread handle signals
            self._previous = {number: signal.signal(number, self._handle) for number in HANDLED}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if isinstance(error, Stopped) and self.requested not in (None, signal.SIGINT):
                self._call_previous()
        finally:
            for number, handler in self._previous.items():
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    def _call_previous(self) -> None:
        """Call the previous handler, other signals ignored: SLURM may send one again while submitit's requeues."""
        handler = None if self.requested is None else self._previous.get(self.requested)
        for number in self._previous:
            signal.signal(number, signal.SIG_IGN)
        if callable(handler):
            handler(self.requested, None)

    @contextmanager
    def writing_checkpoints(self) -> Iterator[None]:
        """Promise a checkpoint to whoever presses Ctrl-C while the block trains."""
        self._when, before = "after this round with a checkpoint", self._when
        try:
            yield
        finally:
            self._when = before

    def take_back(self, announce: Callable[[str], None]) -> None:
        """Handle all signals again, where a task or a policy that was built in the block handles one; raise `Stopped`.

        Drivers of robots do that at their start: Ctrl-C would then end the run without a checkpoint. `announce` gets
        the sentence about it.
        """
        taken = [number for number in self._previous if signal.getsignal(number) != self._handle]
        for number in taken:
            signal.signal(number, self._handle)
        if taken:
            names = " and ".join(number.name for number in taken)
            announce(f"the task or the policy handled {names}; from now on the run stops with a checkpoint at it again")
        self.stop_if_requested()

    def stop_if_requested(self) -> None:
        """Raise `Stopped` if a signal has come."""
        if self.requested is not None:
            raise Stopped(128 + self.requested)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            if self._interrupted:
                raise KeyboardInterrupt
            self._interrupted = True
            print(f"\nstopping {self._when}; press Ctrl-C again to stop at once", file=sys.stderr)
        if self.requested != signal.SIGUSR2:  # it requests a requeue, which a later SIGTERM must not cancel
            self.requested = signal.Signals(number)
