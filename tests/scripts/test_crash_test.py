"""The crash test kills where it says, before a file is opened or takes its place; phases are read from its log."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from toys.commands import ROOT

from scripts.crash_test.kills import PHASES
from scripts.crash_test.runs import Run

WRITE_TWO = """
import sys
from pathlib import Path
from dsrl.run.saved.files import atomic_write
from scripts.crash_test.runs import _kill_at
_kill_at(sys.argv[1], "summary.json")
for name in ("base.json", "summary.json"):
    atomic_write(Path(sys.argv[2]) / name, b"new")
"""


@pytest.mark.parametrize(("event", "partial"), [("open", []), ("os.rename", [b"new"])])
def test_a_process_dies_before_a_file_is_opened_or_takes_its_place(
    event: str, partial: list[bytes], tmp_path: Path
) -> None:
    (tmp_path / "summary.json").write_bytes(b"old")
    done = subprocess.run([sys.executable, "-c", WRITE_TWO, event, str(tmp_path)], cwd=ROOT)
    assert done.returncode == -signal.SIGKILL
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
