"""A run goes on when its output cannot be written: the reader of a pipe has gone, or the disk behind it is full."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest
from toys.commands import ASCII, ROOT, SHORT_PENDULUM

from dsrl.run.terminal.standard_output import lasting_output

LATE = "import sys; sys.stdin.readline()"  # ends, and closes its end of the pipe, after the first line


@contextmanager
def _reader_that_goes_away() -> Iterator[IO[Any]]:
    with subprocess.Popen([sys.executable, "-c", LATE], stdin=subprocess.PIPE) as reader:
        assert reader.stdin is not None
        yield reader.stdin


@contextmanager
def _full_disk() -> Iterator[IO[Any]]:
    with open("/dev/full", "wb") as disk:
        yield disk


def _trained(run: Path, out: IO[Any], *, errors: bool, typed: tuple[str, ...] = ()) -> int:
    """Type a short run whose standard output, and with `errors` standard error, is `out`; returns the exit code."""
    short = (*SHORT_PENDULUM, "plot=false", "utd=0.05")
    command = [sys.executable, str(ROOT / "train.py"), *short, f"hydra.run.dir={run}", *typed]
    stderr = subprocess.STDOUT if errors else subprocess.PIPE
    done = subprocess.run(command, stdout=out, stderr=stderr, env={**os.environ, **ASCII}, timeout=500, check=False)
    assert errors or done.stderr == b""
    return done.returncode


@pytest.mark.parametrize(("output", "errors"), [(_reader_that_goes_away, True), (_full_disk, False)])
def test_a_run_ends_as_usual_though_its_output_cannot_be_written(output: Any, errors: bool, tmp_path: Path) -> None:
    with output() as out:
        assert _trained(tmp_path / "run", out, errors=errors) == 0
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["decisions"] == 120
    log = (tmp_path / "run" / "train.log").read_text(encoding="utf-8")
    assert "run folder" in log
    assert "…" in log  # which this terminal lacks
    assert "evaluate again" in log


def test_a_refused_command_has_its_exit_code_though_its_output_cannot_be_written(tmp_path: Path) -> None:
    with _full_disk() as out:
        assert _trained(tmp_path / "run", out, errors=True, typed=("gamma=3",)) == 1


def test_the_output_is_no_other_than_that_of_the_interpreter() -> None:
    """Genesis takes a sys.stdout that is not sys.__stdout__ for a notebook's, and prints after each of its calls."""
    with lasting_output():
        assert sys.stdout is sys.__stdout__
