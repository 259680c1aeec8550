"""Writes the outcomes of a sweep: a block for each failed run, and a table of all runs at the end.

Everything fits `width` columns, except paths and the lines of a log: they stay whole, to be copied.
"""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser

from dsrl.run.terminal.errors import UserError
from hydra_plugins.dsrl_launcher._outcome import Outcome, Run

_TAIL = 20  # lines of the log
_RULE = 64  # columns
_DRAWN = re.compile(r"-?\d+\.\d{12,}(e[+-]?\d+)?")


def width() -> int:
    """Return the columns of the terminal; 80 where the output goes elsewhere."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 80


def say(sentence: str) -> None:
    """Print a sentence at once, wrapped."""
    print(wrapped(sentence, width()), flush=True)


def wrapped(sentence: str, width: int, indent: str = "") -> str:
    """Break a sentence between words; the lines after the first begin with `indent`."""
    text = textwrap.fill(sentence, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return text.replace("\0", " ")


def whole(text: object) -> str:
    """Return a path or a command for a sentence that is wrapped later, which then does not break its spaces."""
    return str(text).replace(" ", "\0")


def failure_block(outcome: Outcome, width: int) -> str:
    """Return the problem of a failed run, its paths, and the last lines of its log, unless the run was refused."""
    run, log = outcome.run, _lines(outcome.log)
    more = log[1:] or not str(outcome.problem).endswith("".join(log))  # a refused run's log is its problem alone
    overrides = " ".join(text for text in run.overrides if not text.startswith("cluster")) or "none"
    head = [
        f"── job {run.number} failed ".ljust(_RULE, "─"),
        wrapped(f"  {outcome.problem}", width, indent="  "),
        wrapped(f"  overrides   {overrides}", width, indent=" " * 14),
        f"  run folder  {run.folder}",
        *([f"  log         {shown(outcome.log)}"] if outcome.log.is_file() and more else []),
    ]
    tail = [f"    {line}" for line in log[-_TAIL:] if more and not _was_refused(outcome)]
    return "\n".join([*head, *(["  last lines of the log:", *tail] if tail else []), "─" * _RULE])


def _was_refused(outcome: Outcome) -> bool:
    """Return whether the problem is a sentence about what was typed, of which a traceback says nothing more."""
    noted = _lines(outcome.run.folder / "failure.txt")[:1]
    return any(line.startswith(f"{UserError.__name__}: ") and str(outcome.problem).endswith(line) for line in noted)


def table(outcomes: Sequence[Outcome], sweep: Path, width: int, searched: Collection[str] = ()) -> str:
    """Return one row per run: number, result, best validation, folder in the sweep, and the overrides that differ.

    Values of the keys `searched` are shown always: a search launches its trials one by one, and each is alone.
    """
    runs = [outcome.run for outcome in outcomes]
    rows = [("job", "result", "validation", "folder", "overrides")]
    for outcome in outcomes:
        run, result = outcome.run, "done" if outcome.problem is None else "FAILED"
        score = "-" if outcome.score is None else f"{outcome.score:.4g}"
        folder = run.folder.relative_to(sweep) if run.folder.is_relative_to(sweep) else run.folder
        rows.append((str(run.number), result, score, str(folder), differing(run, runs, searched)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    lines = [f"results in {sweep}"]
    for *cells, overrides in rows:
        head = "".join(cell.ljust(width) + "  " for cell, width in zip(cells, widths, strict=True))
        narrow = textwrap.wrap(overrides, max(20, width - len(head)), break_on_hyphens=False)
        lines.append(head + f"\n{' ' * len(head)}".join(narrow))
    return "\n".join(lines)


def due(launched: Sequence[Outcome], ended: Sequence[Outcome], total: int | None) -> Sequence[Outcome]:
    """Return the outcomes for the table after a launch: of that launch, and of all where a search of `total` ends."""
    return ended if len(ended) == total else launched


def differing(run: Run, runs: Sequence[Run], searched: Collection[str] = ()) -> str:
    """Return the overrides of a run that not all runs share, and those of the keys `searched`."""
    shared = set(runs[0].overrides).intersection(*(one.overrides for one in runs))
    own = [text for text in run.overrides if text not in shared or text.partition("=")[0] in searched]
    return " ".join(map(_rounded, own)) or "-"


def searched_keys(hydra: Any) -> set[str]:
    """Return the keys for which a sweep chooses values: of ranges in files and of those that were typed."""
    parsed = OverridesParser.create().parse_overrides(list(hydra.overrides.task))
    typed = {one.key_or_group for one in parsed if one.is_sweep_override()}
    return typed | {str(key) for key in hydra.sweeper.get("params") or ()}


def _rounded(override: str) -> str:
    """Return a drawn number with 6 digits, all of which are in the run's folder; what somebody types is shorter."""
    key, _, value = override.partition("=")
    return f"{key}={float(value):.6g}" if _DRAWN.fullmatch(value) else override


def shown(path: Path) -> Path:
    """Return a path relative to the working directory where it lies below."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _lines(path: Path) -> list[str]:
    return path.read_text(errors="replace", encoding="utf-8").splitlines() if path.is_file() else []
