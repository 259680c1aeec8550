"""What the user sees while it works: one line per phase and one live line for what takes long."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

PLAIN_INTERVAL = 15.0  # seconds between lines where no terminal can redraw one


class Screen:
    """Prints phases and live lines, on a terminal or into a file."""

    def __init__(self, console: Console | None = None) -> None:
        """Without a console, standard output."""
        self.console = console or Console(highlight=False, soft_wrap=True)
        self._start = time.monotonic()

    def phase(self, sentence: str) -> None:
        """Say what begins now."""
        self.console.print(f"[dim]{time.monotonic() - self._start:6.0f} s[/dim]  {sentence}")

    @contextmanager
    def live(self, what: str, total: int, unit: str) -> Iterator[LiveLine]:
        """A line that shows progress towards `total` units until the block ends."""
        line = LiveLine(self.console, what, total, unit)
        line.start()
        try:
            yield line
        finally:
            line.stop()


class LiveLine:
    """Progress of one phase: a bar on a terminal, an occasional plain line elsewhere."""

    def __init__(self, console: Console, what: str, total: int, unit: str) -> None:
        """`unit` is what `total` counts, e.g. decisions."""
        self._console, self._what, self._total, self._unit = console, what, total, unit
        self._start = self._printed = time.monotonic()
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def start(self) -> None:
        """Show the line."""
        if not self._console.is_terminal:
            return
        columns = (TextColumn("          {task.description}"), BarColumn(24), TextColumn("{task.fields[shown]}"))
        self._bar = Progress(*columns, TimeRemainingColumn(), console=self._console, transient=True)
        self._task = self._bar.add_task(self._what, total=self._total, shown="")
        self._bar.start()

    def stop(self) -> None:
        """Take the line away."""
        if self._bar is not None:
            self._bar.stop()

    def update(self, done: int, shown: str) -> None:
        """`done` of the total is reached; `shown` is the figure to watch, e.g. success 61 %."""
        now = time.monotonic()
        rate = done / max(now - self._start, 1e-9)
        text = f"{done}/{self._total} {self._unit} · {shown} · {rate:.0f} {self._unit}/s"
        if self._bar is not None:
            self._bar.update(self._task, completed=done, shown=text)
        elif now - self._printed >= PLAIN_INTERVAL:
            self._printed = now
            self._console.print(
                f"          {self._what}: {text} · {clock((self._total - done) / max(rate, 1e-9))} left"
            )


def clock(seconds: float) -> str:
    """Seconds as a person says them: 42 s, 3 min 05 s."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
