"""Output on the terminal: a line per phase and a live line for long ones; the lines of phases go to a log file, too.

Names and texts of somebody's folder are among it: all of it is printable, on the terminal and in the log.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.segment import Segment

from dsrl.logging import naming
from dsrl.run.terminal.printable import printable

PLAIN_INTERVAL = 15.0  # seconds between lines where no terminal can redraw one
PLAIN_WIDTH = 80  # columns of tables where there is no terminal


class Screen:
    """Prints phases, tables and live lines, on a terminal or into a file."""

    def __init__(self, console: Console | None = None) -> None:
        """`console` is standard output unless given."""
        self.console = console or Console(highlight=False, soft_wrap=True)
        self._log: Console | None = None
        self._log_path = Path()
        self._unlogged: list[Any] = []  # printed before the log can be opened
        self._start = time.monotonic()

    @contextmanager
    def logging_to(self, path: Path) -> Iterator[None]:
        """Append everything that is printed in the block, and what was printed before it, to a file, too."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o644)
        file = open(descriptor, "a", encoding="utf-8", errors="replace")  # noqa: SIM115  its last flush is named, too
        self._log, self._log_path = Console(file=file, highlight=False, soft_wrap=True, width=PLAIN_WIDTH), path
        try:
            for content in self._unlogged:
                self._add(content)
            self._unlogged = []
            yield
        finally:
            self._log = None
            with naming(path):
                file.close()

    def log_only(self, sentence: str) -> None:
        """Add a sentence that the terminal shows by other means to the log."""
        if self._log is not None:
            self._add(_literal(sentence))

    def phase(self, sentence: str) -> None:
        """Print the beginning of a phase, or its result."""
        self._print(f"[dim]{time.monotonic() - self._start:6.0f} s[/dim]  {_literal(sentence)}")

    def print(self, content: Any) -> None:
        """Print a sentence, to the letter, or a table."""
        self._print(_literal(content) if isinstance(content, str) else _Printable(content))

    def _print(self, content: Any) -> None:
        self.console.print(content)
        if self._log is None:
            self._unlogged.append(content)
        else:
            self._add(content)

    def _add(self, content: Any) -> None:
        """Append to the log, which is open."""
        assert self._log is not None
        with naming(self._log_path):
            self._log.print(content)
            self._log.file.flush()

    @contextmanager
    def live(self, name: str, total: int, unit: str) -> Iterator[LiveLine]:
        """Show progress towards `total` units until the block ends."""
        line = LiveLine(self.console, self.print, name, total, unit)
        line.start()
        try:
            yield line
        finally:
            line.stop()


class LiveLine:
    """Progress of one phase: a bar on a terminal, an occasional plain line elsewhere."""

    def __init__(self, console: Console, plain: Callable[[str], None], name: str, total: int, unit: str) -> None:
        """`unit` is the noun that `total` counts, e.g. decisions; `plain` prints a line where no bar can be drawn."""
        self._console, self._plain, self._name, self._total, self._unit = console, plain, name, total, unit
        self._first = 0  # of the units; those before were not counted since `_start`
        self._start = self._printed = time.monotonic()
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def start(self) -> None:
        """Show the line."""
        if not self._console.is_terminal:
            return
        columns = (TextColumn("          {task.description}"), BarColumn(24), TextColumn("{task.fields[shown]}"))
        self._bar = Progress(*columns, TimeRemainingColumn(), console=self._console, transient=True)
        self._task = self._bar.add_task(self._name, total=self._total, shown="")
        self._bar.start()

    def stop(self) -> None:
        """Remove the line."""
        if self._bar is not None:
            self._bar.stop()

    def count(self, total: int, unit: str, done: int) -> None:
        """Count anew, maybe another unit: `done` are reached before now, and the rate is of those from now on."""
        self._total, self._unit, self._first = total, unit, done
        self._start = self._printed = time.monotonic()
        if self._bar is not None:
            self._bar.reset(self._task, total=total, completed=done)

    def update(self, done: int, shown: str) -> None:
        """Show that `done` of the total is reached; `shown` is the number to watch, e.g. success 61 %."""
        now = time.monotonic()
        text = f"{done}/{self._total} {self._unit} · {shown}"
        rate = (done - self._first) / max(now - self._start, 1e-9)
        if rate:
            text += f" · {rate:.0f} {self._unit}/s"
        if self._bar is not None:
            self._bar.update(self._task, completed=done, shown=text)
        elif now - self._printed >= PLAIN_INTERVAL:
            self._printed = now
            left = f" · {clock((self._total - done) / rate)} left" if rate else ""
            self._plain(f"          {self._name}: {text}{left}")


class _Printable:
    """A table whose cells may have any text."""

    def __init__(self, table: Any) -> None:
        self._table = table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the table, line by line."""
        for segment in console.render(self._table, options):
            lines = "\n".join(map(printable, segment.text.split("\n")))
            yield Segment(lines, segment.style)


def _literal(sentence: str) -> str:
    """Return a sentence on one line, without rich's markup."""
    return escape(printable(sentence))


def clock(seconds: float) -> str:
    """Format seconds for people: 42 s, 3 min 05 s."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
