"""The result of a check, and how it is printed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "note", "FAIL"]  # FAIL: the main job cannot run


@dataclass(frozen=True)
class Finding:
    """The result of one check; `remedy` is what to do about a note or a failure."""

    state: State
    text: str
    remedy: str = ""


@dataclass(frozen=True)
class Check:
    """A named check; an error in one that the main job needs is a failure, in another a note."""

    name: str
    run: Callable[[], Finding]
    needed: bool = True


def examine(check: Check) -> Finding:
    """Run a check; an exception becomes a finding with its type and message."""
    try:
        return check.run()
    except Exception as error:  # a doctor must reach its last check
        text = f"the check ended with {type(error).__name__}: {' '.join(str(error).split())[:200]}"
        return Finding("FAIL" if check.needed else "note", text)


def line(name: str, finding: Finding, seconds: float) -> str:
    """Return one line: state, name, text and remedy."""
    took = f" ({seconds:.0f} s)" if seconds >= 2 else ""
    remedy = f"; {finding.remedy}" if finding.remedy else ""
    return f"{finding.state:<5} {name:<14} {finding.text}{took}{remedy}"


def print_all(checks: list[Check]) -> bool:
    """Print a line per check; returns whether the main job can run."""
    able = True
    for check in checks:
        begin = time.monotonic()
        finding = examine(check)
        able &= finding.state != "FAIL"
        print(line(check.name, finding, time.monotonic() - begin), flush=True)
    return able
