"""Faults of a run: one sentence that names the last good checkpoint, or the run carries on."""

from __future__ import annotations

import errno
import json
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from toys.commands import ROOT, SHORT_PENDULUM
from toys.runs import toy_parts
from toys.typed import type_train

from dsrl.logging.csv import CsvLogger
from dsrl.logging.tensorboard import TensorBoardLogger
from dsrl.run.components.final_evaluation import play
from dsrl.run.monitor import Monitor
from dsrl.run.terminal.console import Screen
from dsrl.task.gym import GymTask

CONTINUES = "hydra.run.dir={run} continues from 80 decisions"


@pytest.fixture
def at_decision(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], Any]], None]:
    """Return a function that makes something happen once, in the round after so many decisions."""

    def arrange(decisions: int, happen: Callable[[], Any]) -> None:
        show, pending = Monitor.show, [happen]

        def shown(self: Monitor, counters: Any, recent: Any) -> None:
            show(self, counters, recent)
            if counters.decisions >= decisions and pending:
                pending.pop()()

        monkeypatch.setattr(Monitor, "show", shown)

    return arrange


def _raises(error: BaseException) -> Callable[[], None]:
    def raising() -> None:
        raise error

    return raising


ERRORS = (
    RuntimeError("the simulator\nis gone"),
    SystemExit(3),
    SystemExit(None),
    MemoryError(),
    AssertionError("bad state"),
    OSError(errno.EIO, "Input/output error", "/dev/robot"),
    RecursionError("too deep"),
)


@pytest.mark.parametrize("error", ERRORS, ids=lambda one: type(one).__name__)
def test_an_environment_that_raises_or_exits_is_one_sentence(
    error: BaseException, halfway: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, step, count = halfway, GymTask.step, iter(range(10000))

    def failing(self: GymTask, action: Any) -> Any:
        if next(count) > 3:
            raise error
        return step(self, action)

    with monkeypatch.context() as patch:
        patch.setattr(GymTask, "step", failing)
        ending = str(type_train(run))
    assert ending.startswith("error: ")
    assert "\n" not in ending
    assert f"hydra.run.dir={run} continues from 88 decisions" in ending  # the last whole round
    first, *rest = (run / "failure.txt").read_text().splitlines()
    assert first.startswith(type(error).__name__)
    assert any("in failing" in line for line in rest)
    assert type(error).__name__ in (run / "train.log").read_text() or isinstance(error, SystemExit)
    assert type_train(run) is None
    assert not (run / "failure.txt").exists()


def test_a_run_folder_that_vanishes_is_not_made_again(halfway: Path, at_decision: Any) -> None:
    run = halfway
    at_decision(90, lambda: shutil.rmtree(run))
    ending = str(type_train(run))
    assert "moved or removed" in ending or "No such file" in ending
    assert CONTINUES.format(run=run) in ending
    assert not run.exists()


@pytest.mark.parametrize("again", [False, True], ids=["renamed", "and another in its place"])
def test_a_renamed_run_folder_is_one_sentence_and_continues_under_its_new_name(
    again: bool, halfway: Path, at_decision: Any
) -> None:
    run, new = halfway, halfway.with_name("new")

    def rename() -> None:
        run.rename(new)
        if again:
            run.mkdir()

    at_decision(82, rename)
    ending = str(type_train(run, "checkpoint_minutes=0.0001"))
    assert "error: " in ending
    assert "continues from" in ending
    assert not (run / "resume").exists()
    assert type_train(new) is None


def test_a_run_without_file_handles_is_one_sentence(halfway: Path, at_decision: Any) -> None:
    run, limits = halfway, resource.getrlimit(resource.RLIMIT_NOFILE)
    at_decision(90, lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1])))
    try:
        ending = str(type_train(run))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert "Too many open files" in ending
    assert "ulimit -n" in ending
    assert CONTINUES.format(run=run) in ending
    assert type_train(run) is None


@contextmanager
def _disk() -> Iterator[Callable[[int], None]]:
    """Yield a function that lets no file grow beyond a size, as a full disk does, until the block ends."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("when", [1, 90])
def test_a_full_disk_is_one_sentence_or_carries_on(
    when: int, tmp_path: Path, killed_halfway: Path, finished: Path, at_decision: Any
) -> None:
    """Each command finds what the one before, stopped by another size, has left; at last there is room."""
    run = tmp_path / "run"
    for size in (0, 1, 100, 1000, 3000, 5000, 10_000, 30_000, 100_000, 300_000, None):
        if when > 80 and not run.exists():
            shutil.copytree(killed_halfway, run)
        with _disk() as limit:
            if size is not None:
                at_decision(when, lambda limit=limit, size=size: limit(size))
            ending = type_train(run, "plot=true")
        if ending is None:
            assert type_train(run, "plot=true") is None, size
            assert _steered(run) == _steered(finished), size
            shutil.rmtree(run)
        else:
            assert not list(run.glob("**/*.partial")), size
            assert "make room, then the same command" in str(ending), size
            assert "\n" not in str(ending), size
    assert ending is None


def test_a_disk_that_is_full_from_the_start_is_one_sentence(tmp_path: Path) -> None:
    for size in (0, 10, 100, 1000, 5000):
        with _disk() as limit:
            limit(size)
            ending = type_train(tmp_path / "run")
        assert "make room, then the same command" in str(ending), size
    assert type_train(tmp_path / "run") is None


def _log_phase(folder: Path) -> None:
    screen = Screen(Console(file=StringIO()))  # standard output may be a file, too
    with screen.logging_to(folder / "train.log"):
        screen.phase("training …")


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("metrics.jsonl", lambda folder: CsvLogger(str(folder)).log({"a": 1.0}, 10)),
        ("events.out", lambda folder: TensorBoardLogger(str(folder)).log({"a": 1.0}, 10)),
        ("train.log", _log_phase),
    ],
)
def test_the_file_that_a_full_disk_refuses_is_named(name: str, write: Callable[[Path], None], tmp_path: Path) -> None:
    with _disk() as limit:
        limit(0)
        with pytest.raises(OSError, match="File too large") as found:
            write(tmp_path)
    assert name in str(found.value.filename)


ODD = (
    "file",
    "1",
    "000000001x",
    "999999999",
    "99999999999999999999",
    "000000120",
    "-00000001",
    "٠٠٠٠٠٠٠٠٩",
    ".unfinished",
)


@pytest.mark.parametrize("kind", ["file", "empty folder", "folder with a file", "folder with an empty manifest"])
def test_odd_entries_beside_checkpoints_stop_neither_checkpoints_nor_the_run(kind: str, run: Path) -> None:
    for name in ODD:
        entry = run / "resume" / name
        if entry.exists():
            continue
        if kind == "file":
            entry.write_text("mine")
            continue
        entry.mkdir()
        if kind != "empty folder":
            (entry / {"folder with a file": "mine.txt"}.get(kind, "manifest.json")).write_text("")
    assert type_train(run, "decisions=160") is None
    assert json.loads((run / "summary.json").read_text())["decisions"] == 160
    assert (run / "resume" / "000000160" / "manifest.json").is_file()
    if kind == "folder with a file":
        assert (run / "resume" / "999999999" / "mine.txt").exists()
    if kind == "file":
        assert (run / "resume" / ".unfinished").read_text() == "mine"


def test_resume_that_is_no_folder_is_one_sentence(run: Path) -> None:
    shutil.rmtree(run / "resume")
    (run / "resume").write_text("mine")
    assert "is a file where a run has a folder; remove it" in str(type_train(run, "decisions=160"))


def test_after_a_clock_was_set_back_points_are_in_later_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    for i, clock in enumerate((now, now - 1e6, now - 2e6)):
        monkeypatch.setattr(time, "time", lambda clock=clock: clock)
        logger = TensorBoardLogger(str(tmp_path))
        logger.load_state_dict(i or None)
        logger.log({"a": 1.0}, i + 1)
    files = sorted((tmp_path / "tensorboard").iterdir())
    assert [path.name.rpartition(".")[2] for path in files] == ["0", "1", "2"]


def test_ctrl_c_writes_a_checkpoint_and_the_run_continues_bit_by_bit(tmp_path: Path) -> None:
    run, options = tmp_path / "run", ["eval_every=400", "plot=false", "utd=0.05", "buffer_size=100"]
    typed = [*SHORT_PENDULUM, *options, "decisions=20000", f"hydra.run.dir={run}"]  # far more than it will take
    command = [sys.executable, str(ROOT / "train.py"), *typed]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (run / "resume").exists():
        time.sleep(0.05)
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGINT
    assert "Traceback" not in err
    assert "stopping after this round with a checkpoint" in err
    assert "stopped by SIGINT; the same command with hydra.run.dir=" in out
    stopped = max(int(path.name) for path in (run / "resume").iterdir())
    assert f"continues from {stopped} decisions" in out
    options.append(f"decisions={stopped + 100}")
    assert type_train(run, *options) is None
    assert type_train(tmp_path / "whole", *options) is None
    assert _steered(run) == _steered(tmp_path / "whole")
    assert _weights(run) == _weights(tmp_path / "whole")


def _steered(run: Path) -> Any:
    return json.loads((run / "summary.json").read_text())["steered"]


def _weights(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "checkpoints").glob("*/*.safetensors"))


def test_the_log_has_what_the_terminal_showed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run [red] [/x]"
    assert type_train(run) is None
    shown = capsys.readouterr().out.split()
    assert (run / "train.log").read_text().split() == shown
    assert str(run) in " ".join(shown)


@pytest.mark.parametrize("fault", [RuntimeError("emergency stop"), KeyboardInterrupt()], ids=repr)
def test_the_result_of_what_was_played_before_an_evaluation_failed_is_announced(
    fault: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = toy_parts()
    reset = parts.task.reset

    def stopping(rows: Any, seeds: Any = None) -> None:
        if seeds[0] >= 8:
            raise fault
        reset(rows, seeds)

    monkeypatch.setattr(parts.task, "reset", stopping)
    with pytest.raises(type(fault)):
        play(parts, lambda encoding, seeds, decision: torch.ones(len(seeds), 2, 1), Screen(), episodes=20, first_seed=0)
    # the action 1 is right in the worlds 5, 6 and 7 of 0 to 7
    assert "this evaluation ended after 8 of 20 episodes (success 37.5%)" in capsys.readouterr().out
