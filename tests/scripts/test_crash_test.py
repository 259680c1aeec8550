"""The crash test kills where it says, before a file is opened or takes its place; phases are read from its log."""

from __future__ import annotations

import signal
from multiprocessing import get_context
from pathlib import Path

import pytest

from dsrl.run.saved.files import atomic_write
from scripts.crash_test.kills import PHASES
from scripts.crash_test.runs import Run, _kill_at


def _write_two(event: str, folder: Path) -> None:
    _kill_at(event, "summary.json")
    for name in ("base.json", "summary.json"):
        atomic_write(folder / name, b"new")


@pytest.mark.filterwarnings("ignore:.*multi-threaded")  # threads of libraries, none of which the child uses
@pytest.mark.parametrize(("event", "partial"), [("open", []), ("os.rename", [b"new"])])
def test_a_process_dies_before_a_file_is_opened_or_takes_its_place(
    event: str, partial: list[bytes], tmp_path: Path
) -> None:
    (tmp_path / "summary.json").write_bytes(b"old")
    writer = get_context("fork").Process(target=_write_two, args=(event, tmp_path))
    writer.start()
    writer.join(100)
    assert writer.exitcode == -signal.SIGKILL
    assert (tmp_path / "base.json").read_bytes() == b"new"
    assert (tmp_path / "summary.json").read_bytes() == b"old"
    assert [path.read_bytes() for path in tmp_path.glob("summary.json.*.partial")] == partial


def test_the_phase_of_a_run_is_its_latest_since_the_start(tmp_path: Path) -> None:
    run = Run(tmp_path, "pendulum")
    assert run.phase(PHASES) is None
    lines = "     1 s  training for 5 decisions; …\n    12 s  confirming that it beats …\n    12 s  not confirmed: …\n"
    (tmp_path / "train.log").write_text(lines)
    assert run.phase(PHASES) == "confirmation"
    run._logged = len(lines.encode())
    assert run.phase(PHASES) is None
